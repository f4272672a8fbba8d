"""Callbacks that fail as few do, or do not end at all."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from test.aio import PONG, TEXT, eventually, on_loops, peer_of, serving
from ws4py.async_websocket import WebSocket
from ws4py.limits import Limits


class GivesUp(BaseException):
    """What a library may raise past ``except Exception``, as pytest and gevent do."""


@on_loops
async def test_what_is_raised_past_except_exception_closes_with_1011_and_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: list[Any] = []

    class Fails(WebSocket):
        async def received_message(self, message: Any) -> None:
            await asyncio.sleep(0)
            raise GivesUp(f"at {message}")

        async def closed(self, code: int, reason: str | None = None) -> None:
            told.append(code)

    async with serving(Fails) as server, peer_of(server) as peer:
        peer.send((TEXT, b"one"), (TEXT, b"two"))
        assert await peer.close_code() == 1011
        await peer.answer(1011)
        await eventually(lambda: told)
    assert told == [1011]
    assert "GivesUp: at one" in caplog.text
    assert "at two" not in caplog.text


async def cling_on(gate: asyncio.Event) -> None:
    """Wait, and do not let go when this is cancelled."""
    while not gate.is_set():
        try:
            await gate.wait()
        except asyncio.CancelledError:
            continue


@on_loops
async def test_who_waits_for_the_end_of_one_that_was_given_up_does_not_hang() -> None:
    tasks: list[Any] = []
    gate = asyncio.Event()

    class ClingsOn(WebSocket):
        async def received_message(self, message: Any) -> None:
            tasks.append(asyncio.current_task())
            await cling_on(gate)

    limits = Limits(close_timeout=0.1)
    async with serving(ClingsOn, limits=limits) as server, peer_of(server) as peer:
        peer.send((TEXT, b"hello"))
        await eventually(lambda: tasks)
        (websocket,) = server.websockets
        waiting = asyncio.ensure_future(websocket.wait_closed())
        server.close()
        await server.wait_closed()
        await waiting
        await websocket.wait_closed()
        assert not tasks[0].done()
        gate.set()
        await asyncio.wait(tasks)


@on_loops
async def test_one_that_was_given_up_is_told_its_end_when_its_last_callback_has_ended() -> None:
    tasks: list[Any] = []
    told: list[int] = []
    gates = [asyncio.Event(), asyncio.Event()]

    class ClingsOn(WebSocket):
        async def opened(self) -> None:
            tasks.append(asyncio.current_task())
            await cling_on(gates[0])

        async def ponged(self, pong: Any) -> None:
            tasks.append(asyncio.current_task())
            await cling_on(gates[1])
            self.close_connection()

        async def closed(self, code: int, reason: str | None = None) -> None:
            told.append(code)

    limits = Limits(close_timeout=0.1)
    async with serving(ClingsOn, limits=limits) as server, peer_of(server) as peer:
        peer.send((PONG, b"hello"))
        await eventually(lambda: len(tasks) == 2)
        server.close()
        await server.wait_closed()
        gates[1].set()
        await asyncio.wait(tasks[1:])
        assert told == []
        gates[0].set()
        await eventually(lambda: told)
    assert told == [1006]
