"""Generators that are sent while others send too."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from test.helpers import (
    TIMEOUT,
    RecordingWebSocket,
    eventually,
    frame,
    read_exactly,
    read_to_end,
)
from ws4py.limits import Limits
from ws4py.manager import WebSocketManager


def test_terminate_ends_a_thread_that_waits_for_the_end_of_a_generator(pair: Any) -> None:
    begun, goes_on = threading.Event(), threading.Event()

    def chunks() -> Iterator[str]:
        yield "one"
        yield "two"
        begun.set()
        goes_on.wait(TIMEOUT)
        yield "three"

    def send(payload: Any) -> None:
        with suppress(RuntimeError):
            ws.send(payload)

    ours, _theirs = pair
    ws = RecordingWebSocket(ours)
    generating = threading.Thread(target=send, args=(chunks(),))
    generating.start()
    assert begun.wait(TIMEOUT)
    waiting = threading.Thread(target=send, args=("behind it",))
    waiting.start()
    ws.terminate()
    waiting.join(TIMEOUT)
    assert not waiting.is_alive()
    goes_on.set()
    generating.join(TIMEOUT)
    assert not generating.is_alive()


def test_a_ping_goes_out_though_much_is_put_off_behind_a_generator(
    manager: WebSocketManager, connect: Any
) -> None:
    class Strict(RecordingWebSocket):
        limits = Limits(max_queue=1000, high_water=1000, low_water=100, when_full="wait")

    def chunks() -> Iterator[bytes]:
        yield b"one"
        yield b"two"
        manager.call_later(0, lambda: ws.send(b"y" * 2000, binary=True))
        eventually(lambda: ws._deferred_size > 1000, "it is not put off")
        manager.call_later(0, lambda: ws.ping("?"))
        assert read_exactly(peer, 5) == b"\x02\x03one"
        assert read_exactly(peer, 3) == b"\x89\x01?"

    ws, peer = connect(Strict)
    ws.send(chunks(), binary=True)
    assert read_exactly(peer, 5) == b"\x80\x03two"
    assert len(read_exactly(peer, 2004)) == 2004


def test_what_is_sent_behind_a_large_generator_does_not_hold_it_up(
    manager: WebSocketManager, connect: Any
) -> None:
    class Streams(RecordingWebSocket):
        def received_message(self, message: Any) -> None:
            self.send((b"x" * 10_000 for _ in range(100)), binary=True)
            self.send(b"y" * 100_000, binary=True)

    _ws, peer = connect(Streams)
    peer.sendall(frame(1, b"go"))
    size = 100 * (4 + 10_000) + 10 + 100_000
    assert read_exactly(peer, size).endswith(b"y" * 100_000)


def test_what_a_callback_sends_behind_a_threads_generator_does_not_stop_it(
    manager: WebSocketManager, connect: Any
) -> None:
    answered = threading.Event()

    class Answers(RecordingWebSocket):
        def received_message(self, message: Any) -> None:
            self.send(b"y" * 100_000, binary=True)
            answered.set()

    def chunks() -> Iterator[bytes]:
        yield b"one"
        peer.sendall(frame(1, b"go"))
        assert answered.wait(TIMEOUT)
        yield b"two"

    ws, peer = connect(Answers)
    sending = threading.Thread(target=ws.send, args=(chunks(),), kwargs={"binary": True})
    sending.start()
    assert read_exactly(peer, 10 + 10 + 100_000).startswith(b"\x02\x03one\x80\x03two\x82\x7f")
    sending.join(TIMEOUT)
    assert not sending.is_alive()


def test_a_generator_that_yields_nothing_lets_others_have_their_turn(
    manager: WebSocketManager, connect: Any
) -> None:
    ended = threading.Event()

    class Streams(RecordingWebSocket):
        def received_message(self, message: Any) -> None:
            def nothing() -> Iterator[bytes]:
                while not ended.is_set():
                    yield b""

            self.send(nothing())

    class Echo(RecordingWebSocket):
        def received_message(self, message: Any) -> None:
            ended.set()
            self.send(message.data)

    _ws, busy = connect(Streams)
    _other, peer = connect(Echo)
    reading = threading.Thread(target=read_to_end, args=(busy,))
    reading.start()
    busy.sendall(frame(1, b"go"))
    peer.sendall(frame(1, b"hello"))
    assert read_exactly(peer, 7) == b"\x81\x05hello"
    busy.sendall(frame(8, b"\x03\xe8"))
    reading.join(TIMEOUT)
    assert not reading.is_alive()
