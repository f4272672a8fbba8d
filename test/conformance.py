"""What every engine has to do: one class of behaviours, seen by a peer that speaks raw frames.

A behaviour is a mixin before a WebSocket class, so it is the same on every engine and in both
roles. ``link(behaviour)`` connects a websocket with that behaviour to a :class:`Peer`.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from queue import Queue
from typing import Any

from test.engines import Engine, asgi_, asyncio_, builtin
from test.helpers import (
    HANDSHAKE,
    KEY,
    TIMEOUT,
    Recorder,
    eventually,
    frame,
    read_exactly,
)
from ws4py.handshake import accept_token
from ws4py.messaging import Message
from ws4py.websocket import WebSocket

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA


class Peer:
    """The other end of a connection: sends and reads one frame at a time.

    Args:
        sock: A blocking socket, after the opening handshake.
        masks: Whether it is a client.
    """

    def __init__(self, sock: socket.socket, masks: bool) -> None:
        self.sock = sock
        self.masks = masks
        sock.settimeout(TIMEOUT)

    def build(self, opcode: int, payload: bytes = b"", fin: int = 1) -> bytes:
        return frame(opcode, payload, fin, KEY if self.masks else None)

    def send(self, opcode: int, payload: bytes = b"", fin: int = 1) -> None:
        self.sock.sendall(self.build(opcode, payload, fin))

    def frame(self) -> tuple[int, int, bytes]:
        """Read a frame; return its FIN bit, opcode and payload."""
        head = read_exactly(self.sock, 2)
        assert len(head) == 2, "the connection ended where a frame was expected"
        assert head[0] & 0x70 == 0, "a reserved bit is set"
        assert bool(head[1] & 0x80) is not self.masks, "only a client masks"
        length = head[1] & 0x7F
        if length > 125:
            length = int.from_bytes(read_exactly(self.sock, 2 if length == 126 else 8), "big")
        key = b"" if self.masks else read_exactly(self.sock, 4)
        payload = read_exactly(self.sock, length)
        assert len(payload) == length, "the connection ended within a frame"
        if key:
            payload = bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))
        return head[0] >> 7, head[0] & 0xF, payload

    def message(self) -> tuple[int, bytes]:
        """Read a frame that is a whole message; return its opcode and payload."""
        fin, opcode, payload = self.frame()
        assert fin == 1
        return opcode, payload

    def close_frame(self) -> tuple[int, str] | None:
        """Read a Close frame; return its code and reason, None if it is empty."""
        opcode, payload = self.message()
        assert opcode == CLOSE, f"a frame with opcode {opcode} and not a Close: {payload[:80]!r}"
        return (int.from_bytes(payload[:2], "big"), payload[2:].decode()) if payload else None

    def send_close(self, code: int | None = 1000, reason: bytes = b"") -> None:
        self.send(CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason)

    def leave(self) -> None:
        """End the TCP connection as the peer's role has it: a client lets the server do so."""
        if self.masks:
            self.expect_end()
        self.sock.close()

    def expect_end(self) -> None:
        """Fail if anything but the end of the connection comes."""
        with suppress(ConnectionError, ssl.SSLError):
            assert self.sock.recv(1) == b""


#: Every engine; a new one is a line here.
ENGINES = [
    *builtin.ENGINES,
    *asyncio_.ENGINES,
    *asgi_.ENGINES,
]


@dataclass
class Link:
    """Connects websockets that have a behaviour with peers."""

    engine: Engine
    server_tls: ssl.SSLContext | None
    client_tls: ssl.SSLContext | None
    _stack: ExitStack
    _made: Queue[Any] = field(default_factory=Queue)
    _again: Callable[..., Any] | None = None

    def __call__(self, behaviour: type = Recorder, early: bytes = b"", **options: Any) -> Any:
        """Return a websocket that has been opened, and its peer.

        The peer sends ``early`` right behind its part of the handshake.
        """
        start = self._clients if self.engine.is_client else self._server
        self._again = start(behaviour, **options)
        return self.again(early)

    def build(self, opcode: int, payload: bytes = b"") -> bytes:
        """Return a frame as the peer builds it."""
        return frame(opcode, payload, key=None if self.engine.is_client else KEY)

    def again(self, early: bytes = b"") -> Any:
        """Connect another one to the same server, or another client."""
        assert self._again is not None
        return self._again(early)

    def _server(self, behaviour: type, **options: Any) -> Callable[[bytes], Any]:
        made = self._made

        def make(*args: Any, **kwargs: Any) -> Any:
            websocket = handler(*args, **kwargs)
            made.put(websocket)
            return websocket

        handler: Any = type("Handler", (behaviour, WebSocket), {})
        port = self._stack.enter_context(self.engine.start(make, self.server_tls, **options))

        def connect(early: bytes) -> Any:
            sock = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)
            if self.client_tls is not None:
                sock = self.client_tls.wrap_socket(sock, server_hostname="localhost")
            self._stack.enter_context(sock)
            sock.sendall(HANDSHAKE + early)
            assert read_head(sock).startswith(b"HTTP/1.1 101 ")
            websocket = made.get(timeout=TIMEOUT)
            eventually(lambda: not websocket.events.empty(), "opened() was not called")
            return websocket, Peer(sock, masks=True)

        return connect

    def _clients(self, behaviour: type) -> Callable[[bytes], Any]:
        connect = self._stack.enter_context(self.engine.start(behaviour, self.client_tls))
        listener = self._stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        listener.settimeout(TIMEOUT)
        accepted: Queue[socket.socket] = Queue()

        def accept(early: bytes) -> None:
            sock, _ = listener.accept()
            if self.server_tls is not None:
                sock = self.server_tls.wrap_socket(sock, server_side=True)
            key = read_head(sock).split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0]
            answer = (
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Accept: {accept_token(key.decode())}\r\n\r\n"
            )
            sock.sendall(answer.encode() + early)
            accepted.put(sock)

        def link(early: bytes) -> Any:
            thread = threading.Thread(target=accept, args=(early,))
            thread.start()
            websocket = connect(listener.getsockname()[1])
            thread.join(TIMEOUT)
            sock = self._stack.enter_context(accepted.get_nowait())
            return websocket, Peer(sock, masks=False)

        return link


def read_head(sock: socket.socket) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        assert byte, f"the connection ended within a head: {head!r}"
        head += byte
    return head


class Echo(Recorder):
    """Records, and answers every message with the same one."""

    def received_message(self, message: Message) -> None:
        super().received_message(message)
        self.send(message.data, message.is_binary)  # type: ignore[attr-defined]
