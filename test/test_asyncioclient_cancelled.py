"""Whoever is cancelled while a loop's client connects, or a server ends, is told so."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from test.aio import on_loops, serving, url_of
from ws4py.async_websocket import EchoWebSocket
from ws4py.client.asyncioclient import WebSocketClient


class Cancelling:
    """A mixin before a client: has ``task`` cancelled some turns after a callback."""

    task: asyncio.Task[Any]
    turns: int
    is_cancelled = False

    def count(self) -> None:
        if self.turns:
            self.turns -= 1
            asyncio.get_running_loop().call_soon(self.count)
        else:
            self.is_cancelled = self.task.cancel()


async def outcome(work: Any, cancelling: Any) -> str:
    """Say how ``work`` ended, and in which order."""
    try:
        await work
    except asyncio.CancelledError:
        return "cancelled"
    return "swallowed" if cancelling.is_cancelled else "returned"


@pytest.mark.parametrize("turns", range(8))
@on_loops
async def test_who_is_cancelled_while_it_connects_is_told_and_the_connection_ends(
    turns: int,
) -> None:
    class Client(Cancelling, WebSocketClient):
        def opened(self) -> None:
            self.count()

    async with serving(EchoWebSocket) as server:
        client = Client(url_of(server))
        client.turns = turns
        client.task = asyncio.ensure_future(outcome(client.connect(), client))
        how = await client.task
        assert how in ("cancelled", "returned")
        assert client.terminated is (how == "cancelled")
        client.terminate()
        await client.wait_closed()


@pytest.mark.parametrize("turns", range(8))
@on_loops
async def test_who_is_cancelled_while_it_waits_for_the_end_is_told(turns: int) -> None:
    class Last(Cancelling, EchoWebSocket):
        async def closed(self, code: int, reason: str | None = None) -> None:
            self.count()

    async with serving(Last) as server, WebSocketClient(url_of(server)):
        (websocket,) = server.websockets
        websocket.turns = turns
        server.close()
        websocket.task = asyncio.ensure_future(outcome(server.wait_closed(), websocket))
        assert await websocket.task in ("cancelled", "returned")
