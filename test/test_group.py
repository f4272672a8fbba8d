"""The websockets of a server on a loop: what is done to all of them, and how they end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from test.aio import CLOSE, TEXT, eventually, on_loops, peer_of, serving
from ws4py import _group, websocket
from ws4py.async_websocket import EchoWebSocket, WebSocket
from ws4py.limits import Limits

events: list[Any] = []


@pytest.fixture(autouse=True)
def _fresh() -> None:
    events.clear()


class Waits(WebSocket):
    """Waits for ever when it has been opened."""

    async def opened(self) -> None:
        events.append("opened")
        await asyncio.Event().wait()

    async def received_message(self, message: Any) -> None:
        """Take nothing."""

    async def closed(self, code: int, reason: str | None = None) -> None:
        events.append(("closed", code))


class ClingsOn(Waits):
    """Goes on when it is cancelled, until the test is over."""

    over = False

    async def opened(self) -> None:
        events.append(asyncio.current_task())
        while not self.over:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                events.append("cancelled")


async def let_go(websocket: ClingsOn) -> None:
    """Let the callback end that has been given up, so that the test leaves no task."""
    websocket.over = True
    events[0].cancel()
    await asyncio.wait([events[0]])


@on_loops
async def test_a_message_and_a_close_reach_all_but_one_that_fails(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Second(EchoWebSocket):
        async def opened(self) -> None:
            events.append(self)

        def close(self, code: int = 1000, reason: Any = "") -> Any:
            if self is events[1]:
                raise LookupError("not today")
            return super().close(code, reason)

    async with serving(Second) as server:
        group = server._connected
        async with peer_of(server) as one, peer_of(server) as two, peer_of(server) as three:
            await eventually(lambda: len(events) == 3)
            assert len(group) == 3
            assert set(group) == set(events)
            group.broadcast("to all")
            for peer in (one, two, three):
                assert await peer.message() == (TEXT, b"to all")
            group.close_all(4000, "over")
            closed = [events.index(each) for each in group if each.close_sent]
            assert sorted(closed) == [0, 2]
        assert "LookupError: not today" in caplog.text
        with pytest.raises(ValueError, match="1006 is not a code"):
            group.close_all(1006)


@on_loops
async def test_a_close_of_the_programs_that_is_a_coroutine_function_is_awaited(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Says(EchoWebSocket):
        async def close(self, code: int = 1000, reason: Any = "") -> None:  # type: ignore[override]
            await self.send("farewell")
            await super().close(code, reason)
            raise LookupError("too late")

    async with serving(Says) as server, peer_of(server) as peer:
        await eventually(lambda: len(server._connected) == 1)
        server.close_all(4000, "over")
        assert await peer.message() == (TEXT, b"farewell")
        assert await peer.message() == (CLOSE, b"\x0f\xa0over")
        await peer.answer(4000)
    assert "LookupError: too late" in caplog.text


@on_loops
async def test_who_gives_up_waiting_is_forgotten_and_wakes_nobody() -> None:
    waiters: list[asyncio.Future[None]] = []
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(_group.wait_in(waiters), 0.01)
    assert waiters == []
    waiting = asyncio.ensure_future(_group.wait_in(waiters))
    await eventually(lambda: waiters)
    (future,) = waiters
    waiters.clear()  # as who wakes them does
    for _ in range(2):
        _group.wake(future)
    await waiting


@on_loops
async def test_all_who_wait_for_the_end_are_told() -> None:
    async with serving(EchoWebSocket) as server, peer_of(server) as peer:
        await eventually(lambda: len(server._connected) == 1)
        group = server._connected
        waiting = [asyncio.ensure_future(group.wait_closed()) for _ in range(2)]
        group.close_all()
        assert await peer.close_code() == 1001
        assert not any(each.done() for each in waiting)
        await peer.answer(1001)
        await asyncio.gather(*waiting)


@on_loops
async def test_one_that_has_not_ended_after_all_is_given_up() -> None:
    async with serving(websocket.EchoWebSocket) as server, peer_of(server) as peer:
        await eventually(lambda: len(server._connected) == 1)
        await server._connected._wait_ended(0.01)
        assert not list(server._connected)
        await peer.expect_end()


@on_loops
async def test_an_end_without_a_limit_is_waited_for() -> None:
    limits = Limits(close_timeout=None)
    async with serving(EchoWebSocket, limits=limits) as server, peer_of(server) as peer:
        await eventually(lambda: len(server._connected) == 1)
        server.close_all()
        waiting = asyncio.ensure_future(server._connected.wait_closed())
        assert await peer.close_code() == 1001
        assert not waiting.done()
        await peer.answer(1001)
        await waiting


@on_loops
async def test_a_callback_that_waits_is_cancelled_when_the_time_is_over() -> None:
    async with serving(Waits) as server, peer_of(server) as peer:
        await eventually(lambda: events)
        await server.shutdown(drain=0.2)
        assert await peer.close_code() == 1001
        assert events == ["opened", ("closed", 1006)]
        assert not list(server.websockets)


@on_loops
async def test_a_callback_that_cannot_be_cancelled_is_given_up_when_a_server_drains(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_group, "GRACE", 0.05)
    async with serving(ClingsOn) as server, peer_of(server) as peer:
        await eventually(lambda: events)
        (websocket,) = server.websockets
        await server.shutdown(drain=0.1)
        assert await peer.close_code() == 1001
        await peer.expect_end()
        assert not list(server.websockets)
        assert "A callback does not end" in caplog.text
        await let_go(websocket)


@on_loops
async def test_a_callback_that_cannot_be_cancelled_is_given_up_when_a_server_closes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    limits = Limits(close_timeout=0.1)
    async with serving(ClingsOn, limits=limits) as server, peer_of(server):
        await eventually(lambda: events)
        (websocket,) = server.websockets
        server.close()
        await server.wait_closed()
        assert not list(server.websockets)
        assert "A callback does not end" in caplog.text
        await let_go(websocket)


@on_loops
async def test_only_the_first_drain_of_a_group_tells_how_long() -> None:
    group = _group.WebSockets()
    await group.drain(0)
    assert group.is_draining
    await group.drain(600)
    await group.wait_closed()
    with pytest.raises(ValueError, match="drain=-1 is not a number"):
        await group.drain(-1)


@pytest.mark.parametrize("done", [False, True])
@on_loops
async def test_who_is_cancelled_is_told_so_even_where_its_work_is_done_at_that_moment(
    done: bool,
) -> None:
    async def work() -> None:
        try:
            events.append("begun")
            await goes_on
            events.append("done")
        finally:
            events.append("ended")

    goes_on = asyncio.get_running_loop().create_future()
    waiting = asyncio.ensure_future(_group.within(600, work()))
    await eventually(lambda: events)
    if done:
        goes_on.set_result(None)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert events == ["begun", *["done"] * done, "ended"]
