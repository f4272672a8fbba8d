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

from test.engines import (
    Engine,
    Served,
    asgi_,
    asyncio_,
    builtin,
    cherrypy_,
    gevent_,
    tornado_,
    wsgi,
)
from test.helpers import (
    HANDSHAKE,
    KEY,
    TIMEOUT,
    Recorder,
    eventually,
    frame,
    read_exactly,
    unmasked,
)
from ws4py.handshake import accept_token
from ws4py.messaging import Message
from ws4py.transport import TLSTransport
from ws4py.websocket import WebSocket

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA


class TwoWay:
    """A TLS socket for two threads: those of the ssl module break when they are shared."""

    def __init__(self, sock: ssl.SSLSocket) -> None:
        self._transport = TLSTransport(sock)

    def recv(self, size: int) -> bytes:
        while (data := self._transport.read_now(size)) is None:
            assert any(self._transport.wait(True, False, TIMEOUT)), "nothing comes"
        return data

    def sendall(self, data: bytes) -> None:
        while data:
            data = data[self._transport.write(data) :]
            assert not data or any(self._transport.wait(False, True, TIMEOUT)), "nothing goes"

    def close(self) -> None:
        self._transport.close()


class Peer:
    """The other end of a connection: sends and reads one frame at a time.

    Args:
        sock: A blocking socket, after the opening handshake.
        masks: Whether it is a client.
    """

    def __init__(self, sock: socket.socket, masks: bool) -> None:
        self.sock: Any = sock
        self.masks = masks
        sock.settimeout(TIMEOUT)

    def share(self) -> None:
        """Let one thread write while another one reads."""
        if isinstance(self.sock, ssl.SSLSocket):
            self.sock = TwoWay(self.sock)

    def build(self, opcode: int, payload: bytes = b"", fin: int = 1) -> bytes:
        return frame(opcode, payload, fin, KEY if self.masks else None)

    def send(self, opcode: int, payload: bytes = b"", fin: int = 1) -> None:
        self.sock.sendall(self.build(opcode, payload, fin))

    def read(self) -> tuple[int, bytes]:
        """Read a frame; return its first byte, and its payload."""
        head = read_exactly(self.sock, 2)
        assert len(head) == 2, "the connection ended where a frame was expected"
        assert bool(head[1] & 0x80) is not self.masks, "only a client masks"
        length = head[1] & 0x7F
        if length > 125:
            length = int.from_bytes(read_exactly(self.sock, 2 if length == 126 else 8), "big")
        key = b"" if self.masks else read_exactly(self.sock, 4)
        payload = read_exactly(self.sock, length)
        assert len(payload) == length, "the connection ended within a frame"
        if key:
            payload = unmasked(payload, key)
        return head[0], payload

    def frame(self) -> tuple[int, int, bytes]:
        """Read a frame; return its FIN bit, opcode and payload."""
        first, payload = self.read()
        assert first & 0x70 == 0, "a reserved bit is set"
        return first >> 7, first & 0xF, payload

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
    *cherrypy_.ENGINES,
    *gevent_.ENGINES,
    *wsgi.ENGINES,
    *tornado_.ENGINES,
    *asgi_.ENGINES,
]


@dataclass
class Link:
    """Connects websockets that have a behaviour with peers.

    Attributes:
        served: The server that runs, on a server's engine.
        head: What the other side has sent of the last opening handshake.
    """

    engine: Engine
    server_tls: ssl.SSLContext | None
    client_tls: ssl.SSLContext | None
    _stack: ExitStack
    head: bytes = b""
    _made: Queue[Any] = field(default_factory=Queue)
    _again: Callable[..., Any] | None = None

    def __call__(
        self,
        behaviour: type = Recorder,
        early: bytes = b"",
        request: bytes = HANDSHAKE,
        answer: bytes = b"",
        **options: Any,
    ) -> Any:
        """Return a websocket that has been opened, and its peer.

        Args:
            behaviour: A mixin before the websocket's class.
            early: What the peer sends right behind its part of the handshake.
            request: The peer's request, of a client.
            answer: More headers of the peer's answer, of a server; or a whole other answer.
            options: Of the server, or of the client.
        """
        start = self._clients if self.engine.is_client else self._server
        self._again = start(behaviour, **options)
        return self.again(early, request, answer)

    def build(self, opcode: int, payload: bytes = b"") -> bytes:
        """Return a frame as the peer builds it."""
        return frame(opcode, payload, key=None if self.engine.is_client else KEY)

    def again(self, early: bytes = b"", request: bytes = HANDSHAKE, answer: bytes = b"") -> Any:
        """Connect another one to the same server, or another client."""
        assert self._again is not None
        return self._again(early, answer if self.engine.is_client else request)

    def ask(self, request: bytes) -> tuple[socket.socket, bytes]:
        """Connect to the server that runs, send a request, and return the answer's head."""
        sock = socket.create_connection(("127.0.0.1", self.served.port), timeout=TIMEOUT)
        if self.client_tls is not None:
            sock = self.client_tls.wrap_socket(sock, server_hostname="localhost")
        self._stack.enter_context(sock)
        sock.sendall(request)
        return sock, read_head(sock)

    def _server(self, behaviour: type, **options: Any) -> Callable[[bytes, bytes], Any]:
        made = self._made

        def make(*args: Any, **kwargs: Any) -> Any:
            websocket = handler(*args, **kwargs)
            made.put(websocket)
            return websocket

        handler: Any = type("Handler", (behaviour, WebSocket), {})
        self.served: Served = self._stack.enter_context(
            self.engine.start(make, self.server_tls, **options)
        )

        def connect(early: bytes, request: bytes) -> Any:
            sock, self.head = self.ask(request + early)
            assert self.head.startswith(b"HTTP/1.1 101 "), self.head
            websocket = made.get(timeout=TIMEOUT)
            eventually(lambda: not websocket.events.empty(), "opened() was not called")
            return websocket, Peer(sock, masks=True)

        return connect

    def _clients(self, behaviour: type, **options: Any) -> Callable[[bytes, bytes], Any]:
        connect = self._stack.enter_context(self.engine.start(behaviour, self.client_tls))
        listener = self._stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        listener.settimeout(TIMEOUT)
        accepted: list[socket.socket] = []

        def accept(early: bytes, answer: bytes) -> None:
            sock, _ = listener.accept()
            if self.server_tls is not None:
                sock = self.server_tls.wrap_socket(sock, server_side=True)
            self._stack.enter_context(sock)
            self.head = read_head(sock)
            sock.sendall(_answer(self.head, answer) + early)
            accepted.append(sock)

        def link(early: bytes, answer: bytes) -> Any:
            thread = threading.Thread(target=accept, args=(early, answer))
            thread.start()
            try:
                websocket = connect(listener.getsockname()[1], **options)
            finally:
                thread.join(TIMEOUT)
            eventually(lambda: not websocket.events.empty(), "opened() was not called")
            return websocket, Peer(accepted.pop(), masks=False)

        return link


def _answer(request: bytes, more: bytes) -> bytes:
    """Return the answer of a server: with more headers, or another one."""
    if more.startswith(b"HTTP/"):
        return more
    key = request.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0]
    answer = (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept_token(key.decode())}\r\n"
    )
    return answer.encode() + more + b"\r\n"


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


class Faulty(Echo):
    """Fails in the callback ``where``."""

    where = ""

    def fail_in(self, callback: str) -> None:
        if callback == self.where:
            raise LookupError("a fault of the application")

    def opened(self) -> None:
        super().opened()
        self.fail_in("opened")

    def received_message(self, message: Any) -> None:
        super().received_message(message)
        self.fail_in("received_message")

    def ponged(self, pong: Any) -> None:
        super().ponged(pong)
        self.fail_in("ponged")

    def closed(self, code: int, reason: str | None = None) -> None:
        super().closed(code, reason)
        self.fail_in("closed")


class Acting(Faulty):
    """Calls ``act`` in the callback ``where``."""

    act: Any = None

    def fail_in(self, callback: str) -> None:
        if callback == self.where:
            type(self).act(self)


def end(peer: Peer, code: int = 1000) -> None:
    """Do the closing handshake as the peer."""
    peer.send_close(code)
    peer.close_frame()
    peer.leave()
