"""What the tests share that run within a loop: the loops, a server on one, and a peer."""

from __future__ import annotations

import asyncio
import inspect
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any, Callable

import pytest

from test.helpers import HANDSHAKE, KEY, TIMEOUT, frame, unmasked
from ws4py.handshake import accept_token
from ws4py.server.asyncioserver import WebSocketServer, serve

try:
    import uvloop
except ImportError:  # PyPy
    uvloop = None

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
if uvloop is not None:
    LOOPS["uvloop"] = uvloop.new_event_loop

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA

_on_loops = pytest.mark.parametrize("new_loop", LOOPS.values(), ids=LOOPS)


def run(new_loop: Callable[[], asyncio.AbstractEventLoop], test: Any) -> None:
    """Run a coroutine on a new loop; fails if it leaves a task, or something goes wrong unseen."""
    loop = new_loop()
    wrong: list[Any] = []
    loop.set_exception_handler(lambda _, context: wrong.append(context))
    try:
        loop.run_until_complete(asyncio.wait_for(test, TIMEOUT))
        left = [task for task in asyncio.all_tasks(loop) if not task.done()]
        loop.run_until_complete(asyncio.sleep(0))
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()
    assert not left, f"tasks were left: {left}"
    assert not wrong, f"the loop met with: {wrong}"


def on_loops(test: Callable[..., Any]) -> Callable[..., None]:
    """Make a test of a coroutine function, which runs on every loop."""

    @wraps(test)
    def run_on(new_loop: Any, **fixtures: Any) -> None:
        run(new_loop, test(**fixtures))

    parameter = inspect.Parameter("new_loop", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = [parameter, *inspect.signature(test).parameters.values()]
    run_on.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    marked: Callable[..., None] = _on_loops(run_on)
    return marked


class Peer:
    """The other end of a connection, which sends and reads one frame at a time."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, masks: bool = True
    ) -> None:
        self.reader, self.writer, self.masks = reader, writer, masks

    def send(self, *frames: Any) -> None:
        """Send frames together, each an opcode and a payload, and perhaps its FIN bit."""
        key = KEY if self.masks else None
        self.writer.write(b"".join(frame(*each, key=key) for each in frames))

    def send_close(self, code: int = 1000) -> None:
        self.send((CLOSE, code.to_bytes(2, "big")))

    def pause(self) -> None:
        """Leave what comes in the kernel, until ``resume``."""
        self.writer.transport.pause_reading()  # type: ignore[attr-defined]

    def resume(self) -> None:
        self.writer.transport.resume_reading()  # type: ignore[attr-defined]

    async def frame(self) -> tuple[int, int, bytes]:
        """Return the FIN bit, the opcode and the payload of the next frame."""
        head = await self.reader.readexactly(2)
        length = head[1] & 0x7F
        if length > 125:
            extended = await self.reader.readexactly(2 if length == 126 else 8)
            length = int.from_bytes(extended, "big")
        key = await self.reader.readexactly(4) if head[1] & 0x80 else b""
        payload = await self.reader.readexactly(length)
        if key:
            payload = unmasked(payload, key)
        return head[0] >> 7, head[0] & 0xF, payload

    async def message(self) -> tuple[int, bytes]:
        """Return the opcode and the payload of the next frame, which is a whole message."""
        fin, opcode, payload = await self.frame()
        assert fin == 1
        return opcode, payload

    async def close_code(self) -> int:
        """Return the code of the next frame, which is a Close."""
        opcode, payload = await self.message()
        assert opcode == CLOSE, f"opcode {opcode}: {payload[:80]!r}"
        return int.from_bytes(payload[:2], "big")

    async def end(self, code: int = 1000) -> None:
        """Do the closing handshake as a client."""
        self.send_close(code)
        await self.close_code()
        await self.expect_end()

    async def answer(self, code: int = 1000) -> None:
        """Answer the Close that has been read, as a client."""
        self.send_close(code)
        await self.expect_end()

    async def expect_end(self) -> None:
        """Fail if anything but the end of the connection comes, and leave."""
        assert await self.reader.read() == b""
        self.leave()

    def leave(self) -> None:
        """Close the connection, without any handshake."""
        self.writer.transport.abort()


@asynccontextmanager
async def serving(handler: Any, **options: Any) -> AsyncIterator[WebSocketServer]:
    """Serve ``handler`` on a free port."""
    options = {"heartbeat_freq": None, "host": "127.0.0.1", "port": 0, **options}
    async with serve(handler, **options) as server:
        yield server


def port_of(server: Any) -> int:
    port: int = server.sockets[0].getsockname()[1]
    return port


def url_of(server: Any, path: str = "/", scheme: str = "ws") -> str:
    return f"{scheme}://localhost:{port_of(server)}{path}"


async def connect(
    server: Any, request: bytes = HANDSHAKE, tls: ssl.SSLContext | None = None
) -> tuple[Peer, bytes]:
    """Connect to a server, send ``request``, and return the peer and the head of the answer."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port_of(server), ssl=tls, server_hostname="localhost" if tls else None
    )
    writer.write(request)
    return Peer(reader, writer), await reader.readuntil(b"\r\n\r\n")


@asynccontextmanager
async def peer_of(
    server: Any, early: bytes = b"", tls: ssl.SSLContext | None = None
) -> AsyncIterator[Peer]:
    """Connect to a server, as a peer that leaves at the end."""
    peer, head = await connect(server, HANDSHAKE + early, tls)
    assert head.startswith(b"HTTP/1.1 101 "), head
    try:
        yield peer
    finally:
        peer.leave()


@asynccontextmanager
async def fake_server(
    talk: Callable[[Peer], Any], answers: bool = True, **options: Any
) -> AsyncIterator[Any]:
    """Serve by ``talk``, after a good answer or, unless ``answers``, with none."""
    talks: list[asyncio.Future[None]] = []

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.append(asyncio.ensure_future(hold(reader, writer)))

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer, masks=False)
        try:
            if answers:
                writer.write(switch(await reader.readuntil(b"\r\n\r\n")))
            await talk(peer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            peer.leave()

    server = await asyncio.start_server(accept, "127.0.0.1", 0, **options)
    try:
        yield server
    finally:
        server.close()
        for each in talks:
            each.cancel()
        await asyncio.gather(*talks, return_exceptions=True)


def switch(request: bytes) -> bytes:
    """Return the answer that accepts a request."""
    key = request.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0].decode()
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept_token(key)}\r\n\r\n"
    ).encode()


async def eventually(condition: Callable[[], Any], what: str = "it did not happen") -> None:
    """Wait for something that nothing announces; fails after TIMEOUT."""
    for _ in range(int(TIMEOUT / 0.01)):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(what)
