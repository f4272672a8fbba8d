"""Measure what compressed connections cost a server in memory, with several parameters.

    python -m benchmark.compressed
    python -m benchmark.compressed --connections 5000 --servers none,defaults

For each choice of parameters a standalone server runs in a process of its own. The connections are
opened; each exchanges messages of 4 KiB, echoed, and then all are idle for as long as it takes to
let go of what is kept. What is printed is what the server's resident memory (RSS) has grown by, for
one connection, in KiB: when they are open, when they have exchanged messages, when they have been
idle, and then without what the process has free but has not returned (``malloc_trim`` of glibc).
"""

from __future__ import annotations

import argparse
import ctypes
import json
import random
import resource
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from ws4py.deflate import PerMessageDeflate
from ws4py.framing import COMPRESSED, RSV1, Frame, decode_header
from ws4py.server.standalone import WebSocketServer
from ws4py.websocket import EchoWebSocket

ROOT = Path(__file__).resolve().parent.parent
REQUEST = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
)
KEY, TEXT = b"\x37\xfa\x21\x3d", 0x1
#: Bytes of a message, about, and how many a connection exchanges: enough to fill any window.
SIZE, MESSAGES = 4096, 25
#: Seconds; a round of messages has to take less.
IDLE_RELEASE = 10.0

SERVERS: dict[str, PerMessageDeflate | None] = {
    "none": None,
    "defaults": PerMessageDeflate(idle_release=IDLE_RELEASE),
    "15-bits-level-8": PerMessageDeflate(
        server_max_window_bits=15,
        client_max_window_bits=15,
        memory_level=8,
        idle_release=IDLE_RELEASE,
    ),
    "no-context": PerMessageDeflate(
        server_no_context_takeover=True, client_no_context_takeover=True
    ),
    "no-client-context": PerMessageDeflate(
        client_no_context_takeover=True, idle_release=IDLE_RELEASE
    ),
}


def serve(name: str) -> None:
    """Serve, say where, and return free memory for each line on the standard input."""
    compression = SERVERS[name]
    allow_many()
    address = ("127.0.0.1", 0)
    server = WebSocketServer(address, EchoWebSocket, heartbeat_freq=None, compression=compression)
    print(server.server_address[1], flush=True)
    threading.Thread(target=trim, daemon=True).start()
    server.serve_forever()


def trim() -> None:
    for _ in sys.stdin:
        ctypes.CDLL(None).malloc_trim(0)
        print("trimmed", flush=True)


def allow_many() -> None:
    """Allow as many descriptors as this process may have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class Connection:
    """A client's end: sends one message, and reads the same one."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.sendall(REQUEST)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.sock.recv(4096)
        self.compresses = b"permessage-deflate" in head
        self._forgets = b"client_no_context_takeover" in head, b"server_no_context" in head
        bits = 12 if b"client_max_window_bits=12" in head else 15
        self._bits = -bits
        self._deflater: Any = None
        self._inflater: Any = None

    def exchange(self, message: bytes) -> None:
        payload = self._deflate(message) if self.compresses else message
        frame = bytearray(Frame(TEXT, payload, KEY, 1).build())
        frame[0] |= RSV1 if self.compresses else 0
        self.sock.sendall(frame)
        assert self._read() == message

    def _deflate(self, message: bytes) -> bytes:
        deflater = self._deflater or zlib.compressobj(6, zlib.DEFLATED, self._bits)
        self._deflater = None if self._forgets[0] else deflater
        data: bytes = deflater.compress(message) + deflater.flush(zlib.Z_SYNC_FLUSH)
        return data[:-4]

    def _read(self) -> bytes:
        data, missing, length, start = b"", 1, 0, 0
        while missing or len(data) < start + length:
            data += self.sock.recv(65536)
            missing, _, opcode, length, _, start = decode_header(data, 0, COMPRESSED)
        assert bool(opcode & RSV1) == self.compresses
        if not self.compresses:
            return data[start:]
        inflater = self._inflater or zlib.decompressobj(-15)
        self._inflater = None if self._forgets[1] else inflater
        message: bytes = inflater.decompress(data[start:] + b"\x00\x00\xff\xff")
        return message


def messages(count: int) -> list[bytes]:
    """Return messages as JSON has them, none like another."""
    chance = random.Random(1)

    def entry() -> dict[str, Any]:
        number = chance.randrange(10**6)
        return {"id": number, "price": chance.random(), "name": f"item {number % 97}", "on": True}

    return [json.dumps([entry() for _ in range(SIZE // 70)]).encode() for _ in range(count)]


@contextmanager
def running(name: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "benchmark.compressed", "--serve", name]
    process = subprocess.Popen(
        command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate()


def resident(process: subprocess.Popen[str]) -> int:
    """Return the RSS of a process in KiB."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def measure(name: str, connections: int, stack: ExitStack) -> list[int]:
    """Return the RSS in KiB: at first, open, after messages, idle, and trimmed."""
    process = stack.enter_context(running(name))
    assert process.stdin is not None
    assert process.stdout is not None
    port = int(process.stdout.readline())
    sent = messages(MESSAGES)
    warm = Connection(port)
    warm.exchange(sent[0])
    warm.sock.close()
    sizes = [resident(process)]
    peers = [Connection(port) for _ in range(connections)]
    for peer in peers:
        stack.enter_context(peer.sock)
        assert peer.compresses is (SERVERS[name] is not None)
    sizes.append(resident(process))
    for message in sent:
        for peer in peers:
            peer.exchange(message)
    sizes.append(resident(process))
    time.sleep(IDLE_RELEASE * 1.5)
    sizes.append(resident(process))
    process.stdin.write("\n")
    process.stdin.flush()
    process.stdout.readline()
    return [*sizes, resident(process)]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmark.compressed", description=__doc__)
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--servers", default=",".join(SERVERS), help=",".join(SERVERS))
    parser.add_argument("--serve", choices=SERVERS, help="be that server")
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return 0
    allow_many()
    print(f"{'KiB per connection':20} {'open':>8} {'active':>8} {'idle':>8} {'trimmed':>8}")
    for name in options.servers.split(","):
        with ExitStack() as stack:
            first, *sizes = measure(name, options.connections, stack)
        grown = [(size - first) / options.connections for size in sizes]
        print(f"{name:20} " + " ".join(f"{size:8.1f}" for size in grown), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
