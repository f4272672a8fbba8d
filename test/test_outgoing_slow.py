"""What a loop's thread is told of a peer that takes less than it is sent."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from test.helpers import (
    TIMEOUT,
    RecordingSocket,
    RecordingWebSocket,
    eventually,
    frame,
    read_exactly,
    read_to_end,
)
from ws4py.driver import ThreadDriver
from ws4py.exc import QueueFull
from ws4py.limits import Limits
from ws4py.manager import WebSocketManager

SIZE = 100_000
MESSAGE = b"x" * SIZE
ON_THE_WIRE = SIZE + 10


class Filling(RecordingWebSocket):
    """Sends in its callback, until that is refused."""

    limits = Limits(max_queue=SIZE, when_full="wait")
    refused: QueueFull | None = None

    def received_message(self, message: Any) -> None:
        sent = 0
        try:
            while True:
                self.send(MESSAGE, binary=True)
                sent += 1
        except QueueFull as error:
            self.refused = error
        self.events.put(("sent", sent))


def test_a_loop_that_would_have_to_wait_is_refused_and_nothing_is_lost(connect: Any) -> None:
    ws, peer = connect(Filling)
    peer.sendall(frame(1, b"go"))
    assert ws.next_event() == ("opened",)
    kind, sent = ws.next_event()
    assert (kind, sent > 0) == ("sent", True)
    assert "bytes are queued for a peer that does not read" in str(ws.refused)
    assert "this thread cannot wait" in str(ws.refused)
    received = read_exactly(peer, sent * ON_THE_WIRE)
    assert received.count(MESSAGE) == sent
    ws.send("it goes on")
    assert read_exactly(peer, 12) == b"\x81\x0ait goes on"


def test_a_refusal_that_nobody_expects_closes_with_1011(connect: Any) -> None:
    class Careless(Filling):
        def received_message(self, message: Any) -> None:
            while True:
                self.send(MESSAGE, binary=True)

    ws, peer = connect(Careless)
    peer.sendall(frame(1, b"go"))
    eventually(lambda: bool(ws.close_sent), "it was not closed")
    data = bytearray()
    while b"\x88\x10\x03\xf3Internal error" not in data[-64:]:
        more = peer.recv(1 << 20)
        assert more
        data += more


def test_a_broadcast_of_a_loops_thread_leaves_out_whoever_it_would_have_to_wait_for(
    manager: WebSocketManager, connect: Any
) -> None:
    class Announcing(RecordingWebSocket):
        def received_message(self, message: Any) -> None:
            for _ in range(100):
                manager.broadcast(MESSAGE, binary=True)
            self.events.put(("done",))

    class Roomy(Announcing):
        limits = Limits(max_queue=None)

    slow, _ = connect(Filling)
    ws, peer = connect(Roomy)
    peer.sendall(frame(1, b"go"))
    assert read_exactly(peer, 100 * ON_THE_WIRE).count(MESSAGE) == 100
    eventually(lambda: ("done",) in list(ws.events.queue), "the callback did not return")
    assert 0 < slow.dropped_messages < 100
    assert not slow.terminated


@pytest.mark.parametrize("send", ["one", "all"])
def test_generators_that_wait_for_their_turn_count_as_queued(
    manager: WebSocketManager, connect: Any, send: str
) -> None:
    class Many(RecordingWebSocket):
        limits = Limits(max_queue=SIZE)

        def received_message(self, message: Any) -> None:
            for _ in range(10_000):
                chunks = (MESSAGE for _ in range(10))
                if send == "one":
                    self.send(chunks, binary=True)
                else:
                    manager.broadcast(chunks, binary=True)

    ws, peer = connect(Many)
    peer.sendall(frame(1, b"go"))
    event = ws.all_events()[-1]
    assert event[:2] == ("closed", 1006)
    assert "bytes are queued" in event[2]


def test_a_coroutine_that_does_not_await_is_refused_on_asyncio() -> None:
    from ws4py.async_websocket import WebSocket
    from ws4py.client.asyncioclient import WebSocketClient
    from ws4py.server import asyncioserver

    refused = threading.Event()

    class Handler(WebSocket):
        limits = Limits(max_queue=SIZE, when_full="wait")

        async def received_message(self, message: Any) -> None:
            room = None
            try:
                while True:
                    room = self.send(MESSAGE, binary=True)
            except QueueFull:
                refused.set()
            assert room is not None
            await room
            await self.send("it goes on")

    async def main() -> None:
        server = await asyncioserver.serve(Handler, "127.0.0.1", 0)
        ended = asyncio.Event()

        class Client(WebSocketClient):
            def received_message(self, message: Any) -> None:
                if message.is_text:
                    assert message.data == b"it goes on"
                    ended.set()

        client = Client(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        await client.connect()
        client.send("go")
        await asyncio.wait_for(ended.wait(), 20)
        client.close()
        server.close()
        await server.wait_closed()

    asyncio.run(main())
    assert refused.is_set()


def test_who_is_interrupted_while_it_writes_leaves_the_rest_to_others(pair: Any) -> None:
    ours, theirs = pair
    ws = RecordingWebSocket(ours)
    driver, drain = ws._driver, type(ws._driver).drain

    def interrupted(_websocket: Any) -> None:
        driver.drain = drain.__get__(driver)
        raise KeyboardInterrupt

    ws._driver = driver = type(driver)()
    driver.drain = interrupted
    with pytest.raises(KeyboardInterrupt):
        ws.send(bytes(30 * SIZE), binary=True)
    closing = threading.Thread(target=ws.close)
    closing.start()
    assert len(read_exactly(theirs, 30 * SIZE + 10)) == 30 * SIZE + 10
    assert read_exactly(theirs, 4) == b"\x88\x02\x03\xe8"
    closing.join(TIMEOUT)
    ws.terminate()


def test_what_another_thread_has_written_meanwhile_is_left_to_nobody() -> None:
    class Sees(ThreadDriver):
        """Another thread writes what is queued, when this one is about to look after it."""

        def get_ident(self) -> int:
            writing = threading.Thread(target=ws._advance)
            writing.start()
            writing.join(TIMEOUT)
            return super().get_ident()

        def drain(self, websocket: Any) -> None:
            pytest.fail("nothing is left to drain")

    sock = RecordingSocket()
    ws = RecordingWebSocket(sock)
    ws._keep(b"\x81\x05hello")
    ws._driver = Sees()
    ws._settle()
    assert sock.sent == b"\x81\x05hello"
    ws._driver = ThreadDriver()
    ws.terminate()


def test_who_sends_on_after_the_close_lets_others_run(
    pair: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = pair
    ws = RecordingWebSocket(ours)
    ws.close()
    given: list[bool] = []
    monkeypatch.setattr(type(ws._driver), "give_way", lambda _driver: given.append(True))
    for _ in range(3):
        ws.send("too late")
    assert len(given) == 3
    ws.terminate()
    assert read_to_end(theirs) == b"\x88\x02\x03\xe8"


def test_a_second_close_behind_a_generator_adds_nothing(pair: Any) -> None:
    ours, theirs = pair
    ws = RecordingWebSocket(ours)

    def chunks() -> Iterator[bytes]:
        yield b"a"
        ws.close()
        ws.close(1001)
        yield b"b"

    ws.send(chunks())
    ws.terminate()
    fragments = frame(0x1, b"a", 0, None) + frame(0x0, b"b", 1, None)
    assert read_to_end(theirs) == fragments + b"\x88\x02\x03\xe8"
