"""Turns of a websocket that is compiled for the plain case, and what callbacks do within them."""

from __future__ import annotations

import signal
import socket
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest

from test.helpers import TIMEOUT, RecordingWebSocket, eventually, frame
from ws4py.limits import Limits
from ws4py.manager import WebSocketManager
from ws4py.streaming import Stream
from ws4py.websocket import WebSocket


def test_turns_in_turns_do_not_mix_what_they_read(connect: Any) -> None:
    """A callback that has another websocket read keeps the rest of what it was called for."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(TIMEOUT)
    inner = RecordingWebSocket(ours)
    inner._transport.unblock()  # type: ignore[union-attr]

    class Outer(RecordingWebSocket):
        def received_message(self, message: Any) -> None:
            theirs.sendall(frame(2, b"inner" * 100))
            assert inner.once()
            super().received_message(message)

    ws, peer = connect(Outer)
    peer.sendall(frame(1, b"one") + frame(1, b"two") + frame(1, b"three"))
    events = [ws.next_event()[1:] for _ in range(4)]
    assert events == [(), (b"one",), (b"two",), (b"three",)]
    assert [inner.next_event()[1] for _ in range(3)] == [b"inner" * 100] * 3
    inner.terminate()
    theirs.close()


HALF = frame(2, b"hello" + frame(1, b"injected"))


@pytest.fixture
def lone(pair: Any) -> Iterator[Any]:
    """Makes a websocket that nobody reads but the test, by ``once``; it has read once already."""
    made = []

    def make(handler: Any) -> Any:
        ours, theirs = pair
        ours.setblocking(False)
        ws = handler(ours)
        made.append(ws)
        theirs.sendall(frame(1, b"first"))
        assert ws.once()
        return ws, theirs

    yield make
    for ws in made:
        ws.terminate()


class Keeps(WebSocket):
    """Keeps what it receives, and does something once in between."""

    act: Any = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.got: list[bytes] = []

    def received_message(self, message: Any) -> None:
        self.got.append(message.data)
        act, self.act = self.act, None
        if act is not None:
            act()


def test_who_reads_within_a_callback_goes_on_where_the_message_ends(lone: Any) -> None:
    ws, peer = lone(Keeps)
    whole, half = frame(1, b"one") + HALF[:15], HALF[15:] + frame(1, b"two")

    def read() -> None:
        peer.sendall(half)
        assert ws.once()

    ws.act = read
    peer.sendall(whole)
    assert ws.once()
    assert ws.got == [b"first", b"one", b"hello" + frame(1, b"injected"), b"two"]


def test_after_an_exit_that_is_caught_nothing_is_lost(lone: Any) -> None:
    ws, peer = lone(Keeps)
    ws.act = sys.exit
    peer.sendall(frame(1, b"one") + frame(1, b"two") + frame(1, b"three")[:4])
    with pytest.raises(SystemExit):
        ws.once()
    peer.sendall(frame(1, b"three")[4:])
    assert ws.once()
    assert ws.got == [b"first", b"one", b"two", b"three"]


def test_who_is_moved_to_another_manager_within_a_callback_loses_nothing(connect: Any) -> None:
    other = WebSocketManager()
    other.start()
    ws, peer = connect(Keeps)
    first = ws._driver

    def move() -> None:
        first.remove(ws)
        other.add(ws)

    ws.act = move
    peer.sendall(frame(1, b"one") + frame(1, b"two") + frame(1, b"three")[:4])
    eventually(lambda: ws._driver is other)
    peer.sendall(frame(1, b"three")[4:])
    eventually(lambda: ws.got == [b"one", b"two", b"three"])
    other.stop()
    other.join(TIMEOUT)


def test_who_waited_for_a_peer_that_went_is_told(pair: Any) -> None:
    ours, theirs = pair
    ws = WebSocket(ours)
    sent = threading.Event()

    def read_some_and_go() -> None:
        sent.wait(TIMEOUT)
        theirs.recv(1000)
        theirs.close()

    thread = threading.Thread(target=read_some_and_go)
    thread.start()
    with pytest.raises(RuntimeError):
        while True:
            ws.send(b"x" * 15_000)
            sent.set()
    thread.join(TIMEOUT)
    ws.terminate()


def test_a_reading_size_that_ends_the_connection_reads_nobody_elses_bytes(lone: Any) -> None:
    class Closes(Keeps):
        closes = False

        @property
        def reading_buffer_size(self) -> int:  # type: ignore[override]
            if self.closes:
                self.sock.close()
                others.extend(socket.socketpair())
                for end in others:
                    end.sendall(frame(1, b"of others"))
            return 1000

    others: list[socket.socket] = []
    ws, peer = lone(Closes)
    peer.sendall(frame(1, b"one"))
    ws.closes = True
    assert not ws.once()
    assert ws.got == [b"first"]
    for end in others:
        end.close()


def test_limits_that_change_count(lone: Any) -> None:
    ws, peer = lone(Keeps)
    limits = SimpleNamespace(**vars(Limits()))
    ws.limits = limits
    peer.sendall(frame(1, b"x" * 50))
    assert ws.once()
    limits.max_message_size = 10
    peer.sendall(frame(1, b"y" * 50))
    assert ws.once()
    assert ws.got == [b"first", b"x" * 50]
    assert ws.close_sent


def test_messages_that_are_kept_in_any_way_stay_as_they_are(lone: Any) -> None:
    class Collects(WebSocket):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.kept: list[Any] = []
            self.seen: list[tuple[bytes, bool, Any]] = []
            self.dead: list[int] = []

        def received_message(self, message: Any) -> None:
            number = len(self.seen)
            self.seen.append((message.data, message.completed, dict(vars(message))))
            if number % 4 == 0:
                self.kept.append(message)
            elif number % 4 == 1:
                self.kept.append(weakref.ref(message, lambda _: self.dead.append(number)))
            elif number % 4 == 2:
                message.mark = number
            else:
                message.data, message.completed = b"changed", False

    ws, peer = lone(Collects)
    payloads = [b"%d" % number for number in range(1, 17)]
    frames = [frame(1 + number % 3 % 2, each) for number, each in enumerate(payloads)]
    peer.sendall(b"".join(frames))
    assert ws.once()
    assert ws.seen == [(each, True, {}) for each in [b"first", *payloads]]
    assert [each.data for each in ws.kept[::2]] == [b"first", b"4", b"8", b"12", b"16"]
    assert ws.dead == [1, 5, 9, 13]
    assert not any(each() for each in ws.kept[1::2])


def test_messages_that_python_had_to_take_leave_the_stream_at_rest(lone: Any) -> None:
    ws, peer = lone(Keeps)
    peer.sendall(frame(9, b"ping") + frame(1, b"one") + frame(1, b"two") + frame(1, b"three"))
    assert ws.once()
    assert ws.got == [b"first", b"one", b"two", b"three"]
    assert ws.stream._rests


def test_a_message_that_was_added_to_has_no_part_in_the_next_one(lone: Any) -> None:
    class Adds(Keeps):
        def received_message(self, message: Any) -> None:
            message.extend(b"!")
            is_second = len(self.got) == 1
            self.got.append(b"not looked at" if is_second else message.data)

    ws, peer = lone(Adds)
    peer.sendall(frame(2, b"A") + frame(2, b"B") + frame(2, b"C"))
    assert ws.once()
    assert ws.got == [b"first!", b"not looked at", b"B!", b"C!"]


def test_who_exchanges_the_stream_within_a_callback_loses_nothing(lone: Any) -> None:
    ws, peer = lone(Keeps)
    ws.act = lambda: setattr(ws, "stream", Stream())
    peer.sendall(frame(1, b"one") + frame(1, b"two") + frame(1, b"three"))
    assert ws.once()
    assert ws.got == [b"first", b"one", b"two", b"three"]


def test_methods_can_be_referred_to_weakly(lone: Any) -> None:
    ws, _ = lone(Keeps)
    for method in (ws.send, ws.once):
        assert weakref.WeakMethod(method)() == method


@pytest.mark.parametrize("name", ["_lock", "buf", "_answers", "_busy", "_at", "_chunk", "stream"])
def test_what_was_deleted_is_missed_and_nothing_worse(lone: Any, name: str) -> None:
    ws, peer = lone(Keeps)
    kept = getattr(ws, name)
    ws.act = lambda: delattr(ws, name)
    peer.sendall(frame(1, b"one") + frame(1, b"two"))
    with suppress(AttributeError):
        ws.once()
    with suppress(AttributeError):
        ws.send(b"answer")
    setattr(ws, name, kept)


class Interrupted(Exception):
    pass


# It may strike in the finalizer of something else, too.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_while_a_frame_is_written_in_part_leaves_the_lock_free() -> None:
    """It may strike between the write and the note of what the kernel has not taken."""

    armed = False

    def interrupt(*_: Any) -> None:
        if armed:
            raise Interrupted

    def write(ws: WebSocket, delay: float) -> None:
        nonlocal armed
        armed = True
        signal.setitimer(signal.ITIMER_REAL, delay)
        while not ws._outgoing:
            ws.send(b"x" * 16_000)
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for delay in range(5, 100):
            for _ in range(5):
                ours, theirs = socket.socketpair()
                ws = WebSocket(ours)
                ws._transport.unblock()  # type: ignore[union-attr]
                ws._driver = SimpleNamespace(  # type: ignore[assignment]
                    get_ident=threading.get_ident, may_wait=lambda: False, drain=lambda _: None
                )
                with suppress(Interrupted):
                    write(ws, delay * 1e-6)
                assert not ws._lock.locked()
                ours.close()
                theirs.close()
    finally:
        signal.signal(signal.SIGALRM, before)
