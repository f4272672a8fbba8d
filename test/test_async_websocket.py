"""Callbacks that are coroutine functions: their order, the look-ahead, and how it all ends."""

from __future__ import annotations

import asyncio
import gc
import logging
import ssl
import sys
from typing import Any

import pytest

from test.aio import CLOSE, PING, PONG, TEXT, eventually, on_loops, peer_of, run, serving, url_of
from ws4py.async_websocket import EchoWebSocket, WebSocket
from ws4py.client.asyncioclient import WebSocketClient
from ws4py.limits import Limits

HASTY = Limits(close_timeout=0.2)


class Recording(WebSocket):
    """Records its callbacks; each waits for ``gate`` to be opened."""

    events: list[Any]
    gate: asyncio.Event

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        made.append(self)
        self.events = []
        self.gate = asyncio.Event()

    async def note(self, what: Any) -> None:
        self.events.append(("begun", what))
        await self.gate.wait()
        self.events.append(("done", what))

    async def opened(self) -> None:
        await self.note("opened")

    async def received_message(self, message: Any) -> None:
        await self.note(str(message))

    async def ponged(self, pong: Any) -> None:
        await self.note(f"pong {pong.data.decode()}")

    async def closed(self, code: int, reason: str | None = None) -> None:
        await self.note(("closed", code))


class Answering(Recording):
    """Answers each message, once the gate is open."""

    async def opened(self) -> None:
        """Do nothing."""

    async def received_message(self, message: Any) -> None:
        await self.note(str(message))
        await self.send(f"answer to {message}")


made: list[Any] = []


@pytest.fixture(autouse=True)
def nothing_made() -> None:
    made.clear()


def done(*events: Any) -> list[Any]:
    """Return what is recorded when callbacks run one after the other."""
    return [(when, what) for what in events for when in ("begun", "done")]


@on_loops
async def test_callbacks_run_in_order_and_one_at_a_time() -> None:
    async with serving(Recording) as server, peer_of(server) as peer:
        peer.send((TEXT, b"one"), (PONG, b"two"), (TEXT, b"three"), (PING, b"here?"))
        assert await peer.message() == (PONG, b"here?")
        assert made[0].events == [("begun", "opened")]
        made[0].gate.set()
        await peer.end(4000)
    assert made[0].events == done("opened", "one", "pong two", "three", ("closed", 4000))


@on_loops
async def test_other_connections_go_on_while_a_callback_waits() -> None:
    async with serving(Answering) as server, peer_of(server) as first, peer_of(server) as second:
        first.send((TEXT, b"one"))
        second.send((TEXT, b"two"))
        await eventually(lambda: made[0].events and made[1].events)
        made[1].gate.set()
        assert await second.message() == (TEXT, b"answer to two")
        made[0].gate.set()
        assert await first.message() == (TEXT, b"answer to one")


@on_loops
async def test_callbacks_may_be_plain_functions_too() -> None:
    class Mixed(Recording):
        def opened(self) -> None:  # type: ignore[override]
            self.events.append("opened")

        def received_message(self, message: Any) -> Any:
            self.events.append(str(message))
            return self.send(message.data)

    async with serving(Mixed) as server, peer_of(server) as peer:
        peer.send((TEXT, b"one"))
        assert await peer.message() == (TEXT, b"one")
        made[0].gate.set()
        await peer.end()
    assert made[0].events == ["opened", "one", *done(("closed", 1000))]


@on_loops
async def test_a_close_waits_for_the_answers_to_what_came_before_it() -> None:
    async with serving(Answering) as server, peer_of(server) as peer:
        peer.send((TEXT, b"one"), (TEXT, b"two"), (PING, b"here?"), (CLOSE, b"\x03\xe8"))
        assert await peer.message() == (PONG, b"here?")
        assert not made[0].close_received
        made[0].gate.set()
        assert await peer.message() == (TEXT, b"answer to one")
        assert await peer.message() == (TEXT, b"answer to two")
        assert await peer.close_code() == 1000
    assert made[0].events == done("one", "two", ("closed", 1000))


@on_loops
async def test_a_violation_is_told_after_the_answers_to_what_came_before_it() -> None:
    async with serving(Answering) as server, peer_of(server) as peer:
        peer.send((TEXT, b"one"), (CLOSE, b"\x03"))
        await eventually(lambda: made and made[0].events)
        made[0].gate.set()
        assert await peer.message() == (TEXT, b"answer to one")
        assert await peer.close_code() == 1002


@on_loops
async def test_a_flood_while_a_callback_waits_is_bounded_and_nothing_is_lost() -> None:
    async with serving(Recording) as server, peer_of(server) as peer:
        for number in range(2000):
            peer.send((TEXT, b"%05d" % number + b"x" * 10_000))
        websocket = made[0]
        await eventually(lambda: websocket._paused)
        held = len(websocket._backlog) * 10_000 + len(websocket.buf) + websocket.stream.unread
        assert held < 1024 * 1024
        websocket.gate.set()
        await peer.end()
    seen = [what[:5] for when, what in websocket.events if when == "done" and what[0].isdigit()]
    assert seen == [f"{number:05}" for number in range(2000)]


@pytest.mark.parametrize("where", ["opened", "received_message", "ponged"])
@on_loops
async def test_an_exception_in_a_coroutine_closes_with_1011_and_is_logged(
    where: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(self: Any, *_: Any) -> None:
        await asyncio.sleep(0)
        raise LookupError("a fault of the application")

    handler: Any = type("Fails", (Answering,), {where: fail})
    async with serving(handler) as server, peer_of(server) as peer:
        made[0].gate.set()
        peer.send((TEXT, b"one") if where == "received_message" else (PONG, b""), (TEXT, b"two"))
        assert await peer.close_code() == 1011
        await peer.answer(1011)
    assert made[0].events[-2:] == done(("closed", 1011))
    assert ("begun", "two") not in made[0].events
    record = next(each for each in caplog.records if each.exc_info)
    assert record.exc_info is not None
    assert record.exc_info[0] is LookupError


@on_loops
async def test_an_exception_in_closed_is_logged_and_ends_the_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Fails(EchoWebSocket):
        async def closed(self, code: int, reason: str | None = None) -> None:
            await asyncio.sleep(0)
            raise LookupError("a fault of the application")

    async with serving(Fails) as server:
        async with peer_of(server) as peer:
            await peer.end()
        await eventually(lambda: not list(server.websockets))
    assert "An exception in closed()" in caplog.text


@pytest.mark.parametrize("inside", [True, False])
@on_loops
async def test_a_callback_that_is_cancelled_closes_its_websocket(inside: bool) -> None:
    class Cancelled(Recording):
        async def received_message(self, message: Any) -> None:
            if inside:
                future = asyncio.get_running_loop().create_future()
                future.cancel()
                await future
            await super().received_message(message)

    async with serving(Cancelled) as server, peer_of(server) as peer:
        made[0].gate.set()
        await eventually(lambda: made[0]._task is None)
        made[0].gate.clear()
        peer.send((TEXT, b"one"), (TEXT, b"two"))
        if not inside:
            await eventually(lambda: ("begun", "one") in made[0].events)
            made[0]._task.cancel()
        assert await peer.close_code() == 1011
        made[0].gate.set()
        await peer.answer()
    assert made[0].events[-1] == ("done", ("closed", 1000))
    assert ("begun", "two") not in made[0].events


@on_loops
async def test_a_task_that_is_cancelled_before_it_has_begun_is_not_waited_for() -> None:
    class Cancels(Answering):
        async def received_message(self, message: Any) -> None:
            raise AssertionError("it was cancelled")

        def _start(self, callback: Any, arguments: Any) -> Any:
            awaitable = super()._start(callback, arguments)
            if callback == self.received_message:
                self._loop.call_soon(self._cancel)
                awaitable.close()
            return awaitable

    async with serving(Cancels) as server, peer_of(server) as peer:
        peer.send((TEXT, b"one"))
        assert await peer.close_code() == 1011
        made[0].gate.set()
        await peer.answer()


@on_loops
async def test_closed_comes_last_and_once_and_its_stream_and_environ_are_there() -> None:
    class Looks(Recording):
        async def closed(self, code: int, reason: str | None = None) -> None:
            self.terminate()
            await asyncio.sleep(0.01)
            assert self.environ is not None
            self.events.append((code, self.stream.closing.code, self.environ["PATH_INFO"]))

    async with serving(Looks) as server, peer_of(server) as peer:
        peer.send((TEXT, b"one"))
        made[0].gate.set()
        await peer.end(4001)
        made[0].terminate()
        await made[0].wait_closed()
        assert made[0].events == [*done("opened", "one"), (4001, 4001, "/")]
        assert (made[0].stream, made[0].environ) == (None, None)


@on_loops
async def test_closed_waits_for_the_callback_that_is_at_work() -> None:
    async with serving(Recording) as server:
        async with peer_of(server) as peer:
            peer.send((TEXT, b"one"), (PING, b""))
            await peer.message()
        websocket = made[0]
        await eventually(lambda: websocket._finishing)
        assert websocket.events == [("begun", "opened")]
        websocket.gate.set()
    assert websocket.events == done("opened", "one", ("closed", 1006))


@on_loops
async def test_a_callback_that_waits_for_ever_is_cancelled_after_the_end() -> None:
    class Waits(Recording):
        limits = HASTY

        async def received_message(self, message: Any) -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.events.append("cancelled")
                raise

    async with serving(Waits) as server:
        async with peer_of(server) as peer:
            await eventually(lambda: made)
            made[0].gate.set()
            peer.send((TEXT, b"one"), (PING, b""))
            await peer.message()
        await eventually(lambda: not list(server.websockets))
    assert made[0].events == [*done("opened"), "cancelled", *done(("closed", 1006))]


@on_loops
async def test_a_server_that_closes_cancels_callbacks_that_wait_for_ever() -> None:
    class Waits(WebSocket):
        limits = HASTY

        async def opened(self) -> None:
            made.append("opened")
            await asyncio.Event().wait()

        async def closed(self, code: int, reason: str | None = None) -> None:
            made.append("closed")
            await asyncio.Event().wait()

    async with serving(Waits) as server, peer_of(server) as peer:
        server.close()
        assert await peer.close_code() == 1001
        await server.wait_closed()
        assert made == ["opened", "closed"]
        assert not list(server.websockets)


@on_loops
async def test_a_callback_cannot_wait_for_the_end_of_its_own_connection() -> None:
    class Waits(Recording):
        async def received_message(self, message: Any) -> None:
            with pytest.raises(RuntimeError, match="its own connection"):
                await self.wait_closed()
            self.close(4000)

    async with serving(Waits) as server, peer_of(server) as peer:
        await eventually(lambda: made)
        made[0].gate.set()
        peer.send((TEXT, b"one"))
        assert await peer.close_code() == 4000
        await peer.answer()


@on_loops
async def test_answers_to_messages_that_came_together_are_sent_together() -> None:
    async with serving(EchoWebSocket) as server, peer_of(server) as peer:
        sent = []
        (websocket,) = server.websockets
        transport: Any = websocket._transport
        write = transport.write
        transport.write = lambda *data: sent.append(len(data[0])) or write(*data)
        peer.send(*((TEXT, b"x") for _ in range(100)))
        for _ in range(100):
            assert await peer.message() == (TEXT, b"x")
        assert len(sent) < 20


@pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks are never eager")
def test_tasks_that_begin_at_once_do_no_harm() -> None:
    run(asyncio.new_event_loop, begin_at_once())  # uvloop has no such tasks on 3.13.0


async def begin_at_once() -> None:
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
    async with serving(Answering) as server, peer_of(server) as peer:
        made[0].gate.set()
        peer.send((TEXT, b"one"))
        assert await peer.message() == (TEXT, b"answer to one")
        made[0].gate.clear()
        peer.send((TEXT, b"two"), (TEXT, b"three"))
        await eventually(lambda: ("begun", "two") in made[0].events)
        made[0].gate.set()
        assert await peer.message() == (TEXT, b"answer to two")
        assert await peer.message() == (TEXT, b"answer to three")
        await peer.end()
    assert made[0].events == done("one", "two", "three", ("closed", 1000))
    asyncio.get_running_loop().set_task_factory(None)


@on_loops
async def test_it_is_all_the_same_over_tls(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    async with (
        serving(Answering, ssl=server_tls) as server,
        peer_of(server, tls=client_tls) as peer,
    ):
        peer.send((TEXT, b"one"), (TEXT, b"two"), (PING, b"here?"), (CLOSE, b"\x03\xe8"))
        assert await peer.message() == (PONG, b"here?")
        made[0].gate.set()
        assert await peer.message() == (TEXT, b"answer to one")
        assert await peer.message() == (TEXT, b"answer to two")
        assert await peer.close_code() == 1000
    assert made[0].events == done("one", "two", ("closed", 1000))


@on_loops
async def test_nothing_is_logged_as_an_error_when_all_goes_well(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving(EchoWebSocket) as server, peer_of(server) as peer:
        peer.send((TEXT, b"one"))
        assert await peer.message() == (TEXT, b"one")
        await peer.end()
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]


@pytest.mark.parametrize("ending", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_program_within_a_callback_is_not_told_of_besides(
    ending: type[BaseException], caplog: Any
) -> None:
    class Ends(WebSocket):
        async def received_message(self, message: Any) -> None:
            await asyncio.sleep(0)
            raise ending

    async def until_it_ends() -> None:
        async with serving(Ends) as server, peer_of(server) as peer:
            peer.send((TEXT, b"one"))
            await peer.end()

    with pytest.raises(ending):
        asyncio.run(until_it_ends())
    gc.collect()
    assert not caplog.records


class ClosingLater(Recording):
    """Has a ``close`` that is a coroutine function, and closes once the gate is open."""

    closes = True

    async def opened(self) -> None:
        """Do nothing."""

    async def closed(self, code: int, reason: str | None = None) -> None:
        self.events.append(("closed", code))

    async def close(self, code: int = 1000, reason: Any = "") -> None:  # type: ignore[override]
        await self.note(("close", code))
        if self.closes:
            await super().close(4009, reason)


@on_loops
async def test_a_close_that_is_a_coroutine_function_answers_the_peers_when_it_does() -> None:
    async with serving(ClosingLater) as server, peer_of(server) as peer:
        peer.send((CLOSE, b"\x0f\xa1"), (TEXT, b"nothing may follow"), (CLOSE, b""))
        await eventually(lambda: made and made[0].events)
        assert made[0].close_received
        made[0].gate.set()
        assert await peer.close_code() == 4009
        await peer.expect_end()
    assert made[0].events == [*done(("close", 4001)), ("closed", 4001)]


@on_loops
async def test_a_close_that_is_a_coroutine_function_and_does_not_close_has_the_answer_follow() -> (
    None
):
    class Looks(ClosingLater):
        closes = False

    async with serving(Looks) as server, peer_of(server) as peer:
        peer.send_close(4001)
        await eventually(lambda: made and made[0].events)
        made[0].gate.set()
        assert await peer.close_code() == 4001
        await peer.expect_end()
    assert made[0].events == [*done(("close", 4001)), ("closed", 4001)]


@on_loops
async def test_a_peer_that_leaves_while_its_close_is_being_answered_is_let_go_of() -> None:
    async with serving(ClosingLater) as server, peer_of(server) as peer:
        peer.send_close(4001)
        await eventually(lambda: made and made[0].events)
        peer.leave()
        made[0].gate.set()
        await eventually(lambda: made[0].stream is None)
    assert made[0].events == [*done(("close", 4001)), ("closed", 4001)]


@on_loops
async def test_a_client_whose_closed_connects_again_lets_go_of_its_old_connection_first() -> None:
    class Client(WebSocketClient):
        connections = 0

        async def opened(self) -> None:
            self.connections += 1
            self.close()

        async def closed(self, code: int, reason: str | None = None) -> None:
            events.append(("closed", self.connections))
            if self.connections < 2:
                await self.connect()

        def close_connection(self) -> None:
            events.append(("close_connection", self.connections))
            super().close_connection()

    events: list[Any] = []
    async with serving(EchoWebSocket) as server:
        client = Client(url_of(server))
        await client.connect()
        await eventually(lambda: len(events) == 4 and client.stream is None)
    assert events == [(what, n) for n in (1, 2) for what in ("closed", "close_connection")]
