"""A Close that has something before it: a queue, or a generator."""

from __future__ import annotations

import gc
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import monotonic, sleep
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
from ws4py import closing
from ws4py.limits import Limits
from ws4py.manager import WebSocketManager
from ws4py.outgoing import PAUSED

pytestmark = pytest.mark.usefixtures("no_thread_left")

SIZE = 3_000_000
RESERVED = b"\x83\x80\0\0\0\0"  # a frame with opcode 3


LATE = "the peer did not end the connection in 0.5 s"


class Hasty(RecordingWebSocket):
    """Gives its peer little time to answer its Close."""

    limits = Limits(close_timeout=0.5, max_queue=None)


class Sends(Hasty):
    """Closes behind much that it sends."""

    def opened(self) -> None:
        self.send(bytes(SIZE), binary=True)
        self.close()


def test_the_time_to_answer_begins_when_our_close_has_left(connect: Any) -> None:
    class Patient(Sends):
        limits = Limits(close_timeout=2, max_queue=None)

    ws, peer = connect(Patient)
    for _ in range(8):
        threading.Event().wait(0.3)
        assert len(read_exactly(peer, SIZE // 10)) == SIZE // 10
    assert len(read_exactly(peer, SIZE // 5 + 10)) == SIZE // 5 + 10
    assert read_exactly(peer, 4) == b"\x88\x02\x03\xe8"
    assert ws.all_events()[-1] == ("closed", 1006, LATE.replace("0.5", "2"))


def test_a_peer_that_takes_nothing_before_our_close_has_as_long(connect: Any) -> None:
    ws, _ = connect(Sends)
    assert ws.all_events()[-1] == ("closed", 1006, "the peer took nothing in 0.5 s")


def test_a_close_that_waits_for_a_generator_has_its_time_afterwards(pair: Any) -> None:
    ws = Sends(pair[0])
    with generating(ws) as goes_on:
        ws.close()
        threading.Event().wait(1)
        assert not ws.terminated
        goes_on.set()
        assert read_exactly(pair[1], 12) == b"\x01\x03one\x80\x03two\x88\x02"
    assert ws.all_events() == [("closed", 1006, LATE)]


# What may not wait for the end of a generator.


@contextmanager
def generating(ws: Any, error: Exception | None = None) -> Iterator[threading.Event]:
    """Have another thread send a generator, which waits in its middle for the event."""
    begun, goes_on = threading.Event(), threading.Event()

    def chunks() -> Iterator[str]:
        yield "one"
        yield "two"
        begun.set()
        assert goes_on.wait(TIMEOUT)
        if error is not None:
            raise error

    def send() -> None:
        with suppress(RuntimeError, KeyError):
            ws.send(chunks())

    thread = threading.Thread(target=send)
    thread.start()
    assert begun.wait(TIMEOUT)
    try:
        yield goes_on
    finally:
        goes_on.set()
        thread.join(TIMEOUT)
        assert not thread.is_alive()


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (frame(8, b"\x0f\xa0"), b"\x88\x02\x0f\xa0"),
        (RESERVED, b"\x88"),
        (frame(2, b"x") + frame(1, b"\xff"), b"\x88"),
    ],
    ids=["a Close", "an opcode that is reserved", "text that is none"],
)
def test_a_close_that_is_put_off_gives_way_to_one_that_cannot_wait(
    run: Any, sent: bytes, answer: bytes
) -> None:
    ws, peer = run(RecordingWebSocket)
    with generating(ws) as goes_on:
        assert read_exactly(peer, 5) == b"\x01\x03one"
        ws.close()
        peer.sendall(sent)
        assert read_exactly(peer, len(answer)) == answer
        goes_on.set()
        peer.shutdown(socket.SHUT_WR)
        assert b"two" not in read_to_end(peer)
    ws.all_events()


def test_a_close_that_leaves_as_its_time_is_looked_at_has_all_of_it(monkeypatch: Any) -> None:
    ws = RecordingWebSocket(RecordingSocket())
    ws.limits = Limits(close_timeout=None)
    with generating(ws) as goes_on:
        ws.close()
        ws._progress = monotonic() - 2 * TIMEOUT

        def look_while_it_leaves() -> float:
            goes_on.set()
            for _ in range(20):
                if not ws._sealed:
                    sleep(0.01)
            return monotonic()

        monkeypatch.setattr(closing, "monotonic", look_while_it_leaves)
        ws._check_end(TIMEOUT)
    assert ws._sealed
    assert not ws._lost
    ws.terminate()


def test_a_generator_that_fails_before_a_close_has_the_close_say_so(run: Any) -> None:
    ws, peer = run(RecordingWebSocket)
    with generating(ws, KeyError("the application's")) as goes_on:
        ws.close()
        goes_on.set()
        assert read_exactly(peer, 9)[5:] == b"\x88\x10\x03\xf3"
        peer.close()
    ws.all_events()


def test_a_thread_that_waits_for_a_generator_goes_on_when_the_peer_closes(run: Any) -> None:
    ws, peer = run(RecordingWebSocket)
    with generating(ws):
        waiting = threading.Thread(target=ws.send, args=((c for c in ("three", "four")),))
        waiting.start()
        eventually(lambda: bool(ws._waiters), "nobody waits")
        peer.sendall(frame(8, b"\x03\xe8"))
        waiting.join(TIMEOUT)
        assert not waiting.is_alive()


# What a generator does at its end may be anything.


class Pours(Hasty):
    """Sends without end, and sends and closes when that is ended."""

    def received_message(self, message: Any) -> None:
        self.send(self.chunks(), binary=True)

    def chunks(self) -> Iterator[bytes]:
        try:
            while True:
                yield bytes(10_000)
        finally:
            with suppress(RuntimeError):
                self.send("the last word")
            self.close(4000)
            self.events.put(("released",))


def is_released(ws: Any) -> bool:
    gc.collect()  # PyPy lets go of it then.
    return ("released",) in ws.events.queue


@pytest.mark.parametrize("end", ["closes", "resets", "violates"])
def test_the_end_of_a_generator_may_use_its_websocket(
    manager: WebSocketManager, connect: Any, pairs: Any, end: str
) -> None:
    ws, peer = connect(Pours)
    assert ws.next_event() == ("opened",)
    peer.sendall(frame(1, b"go"))
    read_exactly(peer, 500_000)
    eventually(lambda: ws._fragmenter == PAUSED, "it is not paused")
    if end == "resets":
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
    else:
        peer.sendall(frame(8, b"\x03\xe8") if end == "closes" else RESERVED)
    eventually(lambda: is_released(ws))
    other, its_peer = connect(RecordingWebSocket)
    its_peer.sendall(frame(1, b"still there?"))
    assert other.next_event() == ("opened",)
    assert other.next_event() == ("text", b"still there?")


# Whoever drives the connection may change, or fail, or end.


def test_a_manager_that_stops_waits_for_no_generator_for_ever(
    manager: WebSocketManager, connect: Any
) -> None:
    ws, _ = connect(Hasty)
    with generating(ws):
        ws.close()
        manager.stop()
        manager.join(TIMEOUT)
        assert not manager.is_alive()
        assert ws.all_events()[-1][:2] == ("closed", 1006)


def test_a_manager_that_lets_go_of_a_websocket_leaves_its_time_to_end(
    manager: WebSocketManager, connect: Any
) -> None:
    ws, peer = connect(Hasty)
    ws.close()
    manager.remove(ws)
    manager.stop()
    manager.join(TIMEOUT)
    assert ws.all_events()[-1] == ("closed", 1006, LATE)
    assert read_to_end(peer) == b"\x88\x02\x03\xe8"
