"""Draining on loops of asyncio: callbacks that wait, and those that do not let go."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from test.aio import eventually, on_loops, peer_of, serving
from test.conformance import TEXT
from test.helpers import HANDSHAKE
from ws4py.async_websocket import EchoWebSocket, WebSocket
from ws4py.limits import Limits
from ws4py.server.asgi import WebSocketASGIApplication

events: list[Any] = []
REQUEST = [
    (name.lower(), value)
    for name, value in (line.split(b": ") for line in HANDSHAKE.split(b"\r\n")[1:-2])
]


@pytest.fixture(autouse=True)
def _fresh() -> None:
    events.clear()


@on_loops
async def test_a_peer_that_reads_nothing_is_dropped_when_the_time_is_over() -> None:
    class Sends(WebSocket):
        async def opened(self) -> None:
            for _ in range(100):
                self.send(b"x" * 65536)  # The default limit of the queue is for those who wait.

    async with serving(Sends, limits=Limits(max_queue=None)) as server, peer_of(server):
        await eventually(lambda: list(server.websockets))
        await server.shutdown(drain=0.1)
        assert not list(server.websockets)


@on_loops
async def test_a_peer_that_has_left_and_reads_nothing_is_dropped_when_the_time_is_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Sends(WebSocket):
        async def opened(self) -> None:
            for _ in range(400):
                self.send(b"x" * 65536)

        async def closed(self, code: int, reason: str | None = None) -> None:
            events.append(code)

    async with serving(Sends, limits=Limits(max_queue=None)) as server, peer_of(server) as peer:
        peer.writer.write_eof()
        await eventually(lambda: events)
        assert list(server.websockets), "TCP has ended as well, which is not what is tested"
        await server.shutdown(drain=0.1)
        assert not list(server.websockets)
    assert "does not end" not in caplog.text


@on_loops
async def test_serve_forever_waits_until_the_time_of_a_drain_is_over() -> None:
    async with serving(EchoWebSocket, limits=Limits(close_timeout=0.05)) as server:
        forever = asyncio.ensure_future(server.serve_forever())
        async with peer_of(server) as first, peer_of(server) as second:
            for peer in (first, second):
                peer.send((TEXT, b"ready"))
                assert await peer.message() == (TEXT, b"ready")
            draining = asyncio.ensure_future(server.shutdown(drain=1))
            codes = [asyncio.ensure_future(peer.close_code()) for peer in (first, second)]
            await asyncio.wait(codes, return_when=asyncio.FIRST_COMPLETED)
            assert not forever.done()
            assert [await each for each in codes] == [1001, 1001]
        await draining
        await forever


@on_loops
async def test_a_shutdown_without_a_drain_is_close_and_wait_closed() -> None:
    async with serving(EchoWebSocket) as server, peer_of(server) as peer:
        ending = asyncio.ensure_future(server.shutdown())
        assert await peer.close_code() == 1001
        await peer.answer(1001)
        await ending
        await server.shutdown(drain=600)  # There is nothing left to end.


@on_loops
async def test_one_that_was_let_in_just_before_is_closed_at_once() -> None:
    application = WebSocketASGIApplication(EchoWebSocket)
    sent: asyncio.Queue[Any] = asyncio.Queue()
    received: asyncio.Queue[Any] = asyncio.Queue()
    received.put_nowait({"type": "websocket.connect"})

    async def send(event: Any) -> None:
        sent.put_nowait(event)
        if event["type"] == "websocket.accept":
            await application.drain(0)

    scope = {"type": "websocket", "path": "/", "headers": REQUEST, "http_version": "1.1"}
    serving = asyncio.ensure_future(application(scope, received.get, send))
    assert (await sent.get())["type"] == "websocket.accept"
    closing = await sent.get()
    assert (closing["type"], closing["code"]) == ("websocket.close", 1001)
    received.put_nowait({"type": "websocket.disconnect", "code": 1001})
    await serving
