"""What tests of compressed messages share: a reader of what a server sends."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from typing import Any

from test.helpers import RecordingSocket
from ws4py.deflate import PerMessageDeflate
from ws4py.framing import OPCODE_BINARY, OPCODE_TEXT, RSV1, decode_header
from ws4py.websocket import WebSocket

TEXT, BINARY = OPCODE_TEXT | RSV1, OPCODE_BINARY | RSV1
AGREED = "permessage-deflate"
FORGETFUL = "permessage-deflate; server_no_context_takeover"
LONG = b"0123456789 " * 30
NOISE = random.Random(1).randbytes(60_000)

Message = tuple[int, bytes]


class Reading:
    """The frames of a server, and the messages that they inflate to."""

    def __init__(self, keeps_context: bool = True) -> None:
        self._keeps_context = keeps_context
        self._inflater = zlib.decompressobj(-15)
        self._rest = b""
        self._message: Message | None = None
        #: The opcode, with RSV1, and the size of each frame.
        self.frames: list[tuple[int, int]] = []

    def feed(self, data: bytes) -> Iterator[Message]:
        """Yield the messages that ``data`` completes, control frames included."""
        self._rest += data
        while True:
            first = self._rest[:1]
            missing, fin, opcode, length, _, start = decode_header(self._rest, 0, (None,) * 256)
            if missing or len(self._rest) < start + length:
                return
            payload, self._rest = self._rest[start : start + length], self._rest[start + length :]
            assert first[0] & 0x30 == 0
            self.frames.append((opcode, length))
            yield from self._take(opcode, payload, bool(fin))

    def _take(self, opcode: int, payload: bytes, fin: bool) -> Iterator[Message]:
        if opcode & 0x8:
            yield opcode, payload
            return
        if opcode & 0xF:
            assert self._message is None, "a message begins within another one"
            self._message = (opcode, b"")
        assert self._message is not None
        kind, begun = self._message
        if kind & RSV1:
            payload = self._inflater.decompress(payload + (b"\x00\x00\xff\xff" if fin else b""))
        self._message = (kind, begun + payload)
        if fin:
            yield self._message
            self._message = None
            if not self._keeps_context:
                self._inflater = zlib.decompressobj(-15)


def agree(ws: WebSocket, agreed: str = AGREED, **options: Any) -> None:
    """Do what an opening handshake does that has agreed on compression."""
    ws._agree(PerMessageDeflate(**options), [agreed])


def sent(ws: WebSocket, sock: RecordingSocket, reading: Reading) -> list[Message]:
    messages = list(reading.feed(bytes(sock.sent)))
    sock.sent.clear()
    return messages
