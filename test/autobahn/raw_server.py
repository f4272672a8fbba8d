"""An echo server that knows what it has sent: ``python -m test.autobahn.raw_server PORT HOW``.

It uses nothing of ws4py, and counts on its own what counting.py has to count. It agrees to
permessage-deflate whether it was offered or not, which wstest's offers allow, and to nothing else.
HOW it echoes: ``halves`` compresses every second message, and sends it in two frames; ``plain``
compresses none. At the end of each connection it prints the counts as a line of JSON.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socketserver
import sys
import zlib
from collections.abc import Iterator

from .frames import Sent

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
ANSWER = """HTTP/1.1 101 Switching Protocols\r
Upgrade: websocket\r
Connection: Upgrade\r
Sec-WebSocket-Accept: {}\r
Sec-WebSocket-Extensions: permessage-deflate\r
\r
"""
FIN, RSV1, CLOSE = 0x80, 0x40, 8
TAIL = b"\x00\x00\xff\xff"


class Echo(socketserver.StreamRequestHandler):
    """One connection, on which no message is fragmented, and no control frame but Close."""

    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.inflater = zlib.decompressobj(-15)
        self.deflater = zlib.compressobj(wbits=-15)

    def handle(self) -> None:
        head = b"".join(iter(self.rfile.readline, b"\r\n"))
        key = re.search(rb"(?i)^sec-websocket-key: *(\S+)", head, re.MULTILINE)
        if key is None:  # Nothing was sent: the runner waits until the port is open.
            return
        accept = base64.b64encode(hashlib.sha1(key[1] + GUID).digest()).decode()
        self.wfile.write(ANSWER.format(accept).encode())
        print(json.dumps(self.echo().as_json()), flush=True)

    def echo(self) -> Sent:
        """Echo until the peer closes; return what was sent."""
        sent = Sent()
        for number, (first, payload) in enumerate(self.frames()):
            opcode = first & 0x0F
            if opcode == CLOSE:
                self.send(FIN | CLOSE, payload)
                break
            if first & RSV1:
                payload = self.inflater.decompress(payload + TAIL)
            if number % 2 and sys.argv[2] == "halves":
                data = self.deflater.compress(payload) + self.deflater.flush(zlib.Z_SYNC_FLUSH)
                data = data[: -len(TAIL)]
                self.send(RSV1 | opcode, data[:9])
                self.send(FIN, data[9:])
                sent += Sent(2, 1, 1, len(data), len(payload))
            else:
                self.send(FIN | opcode, payload)
                sent += Sent(1, 0, 1, len(payload), len(payload))
        return sent

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """Yield the first octet and the payload of each frame."""
        while head := self.rfile.read(2):
            size = head[1] & 0x7F
            if size > 125:
                size = int.from_bytes(self.rfile.read(2 if size == 126 else 8), "big")
            key = self.rfile.read(4)
            payload = self.rfile.read(size)
            yield head[0], bytes(octet ^ key[i % 4] for i, octet in enumerate(payload))

    def send(self, first: int, payload: bytes) -> None:
        """Send a frame of less than 64 KiB."""
        size = len(payload)
        length = bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2, "big")
        self.wfile.write(bytes([first]) + length + payload)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    Server(("127.0.0.1", int(sys.argv[1])), Echo).serve_forever()
