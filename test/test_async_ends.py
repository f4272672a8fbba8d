"""The end of what a peer sends, without a Close, while coroutines are at work."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, ClassVar

import pytest

from test.aio import BINARY, TEXT, Peer, eventually, on_loops, peer_of, serving
from ws4py.async_websocket import WebSocket
from ws4py.limits import Limits


class Gated(WebSocket):
    """Answers each message, once ``gate`` is open."""

    made: ClassVar[list[Any]] = []
    told: Any = None

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.made[:] = [self]
        self.gate = asyncio.Event()

    async def received_message(self, message: Any) -> None:
        await self.gate.wait()
        await self.send(message.data)

    async def closed(self, code: int, reason: str | None = None) -> None:
        self.told = (code, reason)


async def half_close(peer: Peer) -> Any:
    """End the peer's direction; return the websocket once it knows."""
    peer.writer.write_eof()
    websocket = Gated.made[0]
    await eventually(lambda: websocket._ending or websocket._driver._has_end)
    return websocket


@pytest.mark.parametrize("number", [1, 60])
@on_loops
async def test_all_that_came_before_the_end_is_answered(number: int) -> None:
    async with serving(Gated) as server, peer_of(server) as peer:
        peer.send(*[(TEXT, b"%d" % n) for n in range(number)])
        websocket = await half_close(peer)
        websocket.gate.set()
        for n in range(number):
            assert await peer.message() == (TEXT, b"%d" % n)
        await peer.expect_end()
        await eventually(lambda: websocket.told)
    assert websocket.told[0] == 1006


@on_loops
async def test_more_than_waits_for_a_callback_is_answered_too() -> None:
    async with serving(Gated) as server, peer_of(server) as peer:
        peer.send(*[(TEXT, b"%d" % n) for n in range(200)])
        peer.writer.write_eof()
        await eventually(lambda: Gated.made[0]._paused)
        Gated.made[0].gate.set()
        for n in range(200):
            assert await peer.message() == (TEXT, b"%d" % n)
        await peer.expect_end()


@pytest.mark.parametrize("generates", [False, True])
@on_loops
async def test_an_answer_that_the_peer_has_not_taken_yet_is_sent(generates: bool) -> None:
    parts = [b"x" * (1 << 16)] * 256

    class Generous(Gated):
        async def received_message(self, message: Any) -> None:
            await self.gate.wait()
            self.send((each for each in parts) if generates else b"".join(parts), binary=True)

    async with serving(Generous) as server, peer_of(server) as peer:
        peer.send((TEXT, b"go"))
        websocket = await half_close(peer)
        websocket.gate.set()
        await eventually(lambda: websocket._task is None and websocket._outgoing)
        received, fin, first = 0, 0, True
        while not fin:
            fin, opcode, payload = await peer.frame()
            assert opcode == (BINARY if first else 0)
            received, first = received + len(payload), False
        assert received == 256 << 16
        await peer.expect_end()


@on_loops
async def test_messages_that_wait_to_be_received_are_received_and_answered() -> None:
    class Loops(Gated):
        received_message = WebSocket.received_message  # type: ignore[assignment]

        async def opened(self) -> None:
            async for message in self:
                await self.gate.wait()
                await self.send(message.data)

    async with serving(Loops) as server, peer_of(server) as peer:
        peer.send((TEXT, b"one"), (TEXT, b"two"), (TEXT, b"three"))
        (await half_close(peer)).gate.set()
        assert [await peer.message() for _ in range(3)] == [
            (TEXT, b"one"),
            (TEXT, b"two"),
            (TEXT, b"three"),
        ]
        await peer.expect_end()


@on_loops
async def test_a_callback_that_goes_on_and_on_is_waited_for_so_long() -> None:
    class Hasty(Gated):
        limits = Limits(close_timeout=0.2)

    async with serving(Hasty) as server, peer_of(server) as peer:
        peer.send((TEXT, b"one"), (TEXT, b"two"))
        websocket = await half_close(peer)
        await peer.expect_end()
        await eventually(lambda: websocket.told)
        await eventually(lambda: not list(server.websockets))
        assert websocket.told[0] == 1006


@on_loops
async def test_who_is_idle_is_told_the_end_at_once() -> None:
    async with serving(Gated, limits=Limits(close_timeout=None)) as server:
        async with peer_of(server) as peer:
            await eventually(lambda: list(server.websockets))
            peer.writer.write_eof()
            await peer.expect_end()
        await eventually(lambda: not list(server.websockets))


@on_loops
async def test_a_send_that_fails_is_no_fault_of_reading(caplog: pytest.LogCaptureFixture) -> None:
    class Insists(Gated):
        async def received_message(self, message: Any) -> None:
            await self.gate.wait()
            while not self._ending:
                self.send("are you there?")
                await asyncio.sleep(0)

    caplog.set_level(logging.INFO, "ws4py")
    async with serving(Insists) as server:
        async with peer_of(server) as peer:
            peer.send((TEXT, b"hello"))
            websocket = await half_close(peer)
        websocket.gate.set()
        await eventually(lambda: websocket.told)
    assert websocket.told == (1006, "sending failed: [Errno 32] Broken pipe")
    assert "A connection is given up: sending failed: [Errno 32] Broken pipe" in caplog.text
    assert not [each for each in caplog.records if each.levelno > logging.INFO]
