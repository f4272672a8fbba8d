"""Receiving messages: with ``receive``, ``async for`` and ``async with``."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from test.aio import CLOSE, TEXT, eventually, on_loops, peer_of, serving
from ws4py.async_websocket import WebSocket
from ws4py.limits import Limits

made: list[Any] = []


class Keeping(WebSocket):
    """Handles no messages itself."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        made.append(self)


@pytest.fixture(autouse=True)
def nothing_made() -> None:
    made.clear()


@on_loops
async def test_messages_are_received_in_opened_and_a_close_ends_the_loop() -> None:
    events = []

    class Receives(WebSocket):
        async def opened(self) -> None:
            async for message in self:
                await self.send(f"answer to {message}")
            events.append("no more")

        async def closed(self, code: int, reason: str | None = None) -> None:
            events.append(code)

    async with serving(Receives) as server, peer_of(server) as peer:
        peer.send(*((TEXT, b"%d" % number) for number in range(500)), (CLOSE, b"\x0f\xa0"))
        for number in range(500):
            assert await peer.message() == (TEXT, b"answer to %d" % number)
        assert await peer.close_code() == 4000
    assert events == ["no more", 4000]


@on_loops
async def test_messages_that_nobody_receives_yet_wait_and_none_is_lost() -> None:
    async with serving(Keeping) as server, peer_of(server) as peer:
        for number in range(3000):
            peer.send((TEXT, b"%d" % number + b" " * 1000))
        websocket = made[0]
        await eventually(lambda: websocket._paused)
        assert len(websocket._inbox) <= 66
        for number in range(3000):
            message = await websocket.receive()
            assert int(message.data) == number
        peer.send_close(4000)
        assert await websocket.receive() is None
        assert await websocket.receive() is None
        assert await peer.close_code() == 4000


@on_loops
async def test_our_close_is_not_kept_waiting_by_messages_that_nobody_receives() -> None:
    async with serving(Keeping) as server, peer_of(server) as peer:
        peer.send(*((TEXT, b"x") for _ in range(500)))
        await eventually(lambda: made and made[0]._paused)
        made[0].close(4000)
        assert await peer.close_code() == 4000
        peer.send_close(4001)
        await made[0].wait_closed()
        assert made[0].close_code == 4001


@on_loops
async def test_receiving_is_for_one_task_and_not_where_messages_are_handled() -> None:
    class Handles(Keeping):
        async def received_message(self, message: Any) -> None:
            """Do nothing."""

    async with serving({"/": Keeping}) as server, peer_of(server) as peer:
        task = asyncio.ensure_future(made[0].receive())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="another task is receiving"):
            await made[0].receive()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        peer.send((TEXT, b"one"))
        assert str(await made[0].receive()) == "one"
    async with serving(Handles) as server, peer_of(server):
        with pytest.raises(RuntimeError, match="overridden"):
            async for _ in made[-1]:
                pass


@on_loops
async def test_a_loop_over_messages_can_be_left_and_the_connection_closed() -> None:
    async with serving(Keeping) as server, peer_of(server) as peer:
        peer.send((TEXT, b"one"), (TEXT, b"two"))
        async for message in made[0]:
            assert str(message) == "one"
            break
        made[0].close(4000)
        assert await peer.close_code() == 4000
        peer.send_close()
        await made[0].wait_closed()


class Hasty(Keeping):
    """Lets its peer's Close wait for a short time only."""

    limits = Limits(close_timeout=0.3)
    entered = 0

    async def wait(self) -> None:
        try:
            Hasty.entered += 1
            await asyncio.Event().wait()
        finally:
            Hasty.entered -= 1


class TakesOne(Hasty):
    """Receives one message of many."""

    async def opened(self) -> None:
        await self.receive()
        await self.wait()


class TakesLong(Hasty):
    """Is never done with a message."""

    async def received_message(self, message: Any) -> None:
        await self.wait()


class ClosesLong(Hasty):
    """Is never done with the peer's Close."""

    async def close(self, code: int = 1000, reason: Any = "") -> None:  # type: ignore[override]
        await self.wait()


@pytest.mark.parametrize("handler", [TakesOne, TakesLong, ClosesLong])
@on_loops
async def test_a_close_waits_for_the_application_for_a_time(handler: Any) -> None:
    async with serving(handler) as server, peer_of(server) as peer:
        peer.send((TEXT, b"one"), (TEXT, b"two"), (CLOSE, b"\x0f\xa0"))
        assert await peer.close_code() == 4000
        await made[0].wait_closed()
        assert made[0].close_code == 4000
        assert Hasty.entered == 0


@on_loops
async def test_where_nobody_receives_that_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "ws4py")
    async with serving(Keeping) as server, peer_of(server) as peer:
        peer.send(*((TEXT, b"x") for _ in range(500)))
        await eventually(lambda: made and made[0]._paused)
        assert caplog.text.count("is not read until somebody receives") == 1
        made[0].terminate()


@pytest.mark.parametrize("end", ["leave", "violate", "terminate"])
@on_loops
async def test_a_receiver_is_told_of_the_end_however_it_comes(end: str) -> None:
    async with serving(Keeping) as server, peer_of(server) as peer:
        receiving = asyncio.ensure_future(made[0].receive())
        await asyncio.sleep(0)
        if end == "terminate":
            made[0].terminate()
        elif end == "violate":
            peer.send((CLOSE, b"\x03"))
            assert await peer.close_code() == 1002
        peer.leave()
        assert await receiving is None


@on_loops
async def test_a_connection_is_a_context_that_closes_it() -> None:
    async with serving(Keeping) as server:
        for error, code in ((None, 1000), (LookupError(), 1011)):
            async with peer_of(server) as peer:
                closing = asyncio.ensure_future(leave_context(made[-1], error))
                assert await peer.close_code() == code
                assert not closing.done()
                await peer.answer()
                assert await closing is error


async def leave_context(websocket: Any, error: Exception | None) -> Exception | None:
    try:
        async with websocket:
            if error is not None:
                raise error
    except LookupError as caught:
        assert websocket.stream is None
        return caught
    return None
