"""Loop: descriptors, timers and calls, in one thread."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from test.helpers import TIMEOUT
from ws4py.loop import Loop
from ws4py.pollers import SelectPoller, make_poller


@pytest.fixture(params=[make_poller, SelectPoller])
def loop(request: pytest.FixtureRequest) -> Iterator[Loop]:
    loop = Loop(request.param())
    yield loop
    loop.close()


class Running:
    """Runs a loop in a thread until ``stop``."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.going = True
        self.thread = threading.Thread(target=loop.run, args=(lambda: self.going,))
        self.thread.start()

    def stop(self) -> None:
        self.going = False
        self.loop.wake()
        self.thread.join(TIMEOUT)
        assert not self.thread.is_alive()


@pytest.fixture
def running(loop: Loop) -> Iterator[Running]:
    running = Running(loop)
    yield running
    running.stop()


def turns(loop: Loop, count: int = 1) -> None:
    """Run so many turns; something has to end each poll."""
    left = iter([True] * count + [False])
    loop.run(lambda: next(left))


def test_calls_are_made_in_their_order(loop: Loop) -> None:
    made: list[int] = []
    for number in range(3):
        loop.call_soon(lambda number=number: made.append(number))
    turns(loop)
    assert made == [0, 1, 2]


def test_a_call_of_another_thread_wakes_the_loop(loop: Loop, running: Running) -> None:
    done = threading.Event()
    loop.call_soon(done.set)
    assert done.wait(TIMEOUT)


def test_what_a_call_calls_waits_for_the_next_turn(loop: Loop) -> None:
    made: list[int] = []

    def again() -> None:
        made.append(len(made))
        loop.call_soon(again)

    loop.call_soon(again)
    turns(loop)
    assert made == [0]
    turns(loop, 2)
    assert made == [0, 1, 2]


def test_an_exception_ends_neither_the_loop_nor_the_turn(
    loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    done = threading.Event()
    loop.call_soon(lambda: 1 / 0)
    loop.call_soon(done.set)
    turns(loop)
    assert done.is_set()
    assert "ZeroDivisionError" in caplog.text


def test_timers_are_called_in_the_order_of_their_times(loop: Loop) -> None:
    made: list[str] = []
    loop.call_later(0.02, lambda: made.append("late"))
    loop.call_later(0, lambda: made.append("soon"))
    loop.call_later(0.01, lambda: made.append("later"))
    loop.run(lambda: len(made) < 3)
    assert made == ["soon", "later", "late"]


def test_a_cancelled_timer_is_not_called(loop: Loop) -> None:
    made: list[str] = []
    loop.call_later(0, lambda: made.append("cancelled")).cancel()
    timer = loop.call_later(0.001, lambda: made.append("called"))
    loop.run(lambda: not made)
    timer.cancel()
    timer.cancel()
    assert made == ["called"]


def test_a_timer_may_cancel_the_next_one_and_itself(loop: Loop) -> None:
    made: list[str] = []

    def first() -> None:
        made.append("first")
        one.cancel()
        two.cancel()
        loop.call_later(0, lambda: made.append("third"))

    one = loop.call_later(0, first)
    two = loop.call_later(0, lambda: made.append("second"))
    loop.run(lambda: "third" not in made)
    assert made == ["first", "third"]


def test_cancelled_timers_are_forgotten(loop: Loop) -> None:
    for _ in range(10_000):
        loop.call_later(1000, lambda: None).cancel()
    assert len(loop._timers) < 1000


def test_a_timer_of_another_thread_shortens_the_poll(loop: Loop, running: Running) -> None:
    done = threading.Event()
    loop.call_later(1000, lambda: None)
    loop.call_later(0.01, done.set)
    assert done.wait(TIMEOUT)


def test_a_watcher_is_called_with_what_is_ready(loop: Loop) -> None:
    ours, theirs = socket.socketpair()
    seen: list[tuple[bool, bool]] = []
    with ours, theirs:
        loop.watch(ours.fileno(), lambda *ready: seen.append(ready))
        theirs.send(b"x")
        turns(loop)
        loop.want(ours.fileno(), False, True)
        turns(loop)
        loop.want(ours.fileno(), False, False)
        loop.call_soon(lambda: None)
        turns(loop)
        loop.unwatch(ours.fileno())
    assert seen == [(True, False), (False, True)]


def test_what_is_watched_from_another_thread_is_polled(loop: Loop, running: Running) -> None:
    ours, theirs = socket.socketpair()
    done = threading.Event()

    def read(_readable: bool, _writable: bool) -> None:
        ours.recv(1)
        done.set()

    with ours, theirs:
        loop.watch(ours.fileno(), read)
        theirs.send(b"x")
        assert done.wait(TIMEOUT)
        loop.unwatch(ours.fileno())


def test_what_a_watcher_unwatches_is_not_called_in_the_same_turn(loop: Loop) -> None:
    pairs = [socket.socketpair() for _ in range(5)]
    seen: list[int] = []

    def unwatch_all(*_: Any) -> None:
        seen.append(1)
        for ours, _theirs in pairs:
            loop.unwatch(ours.fileno())

    for ours, theirs in pairs:
        loop.watch(ours.fileno(), unwatch_all)
        theirs.send(b"x")
    turns(loop)
    assert seen == [1]
    for pair in pairs:
        for sock in pair:
            sock.close()


def test_a_descriptor_that_is_handed_on_stays_in_the_poller(loop: Loop) -> None:
    seen: list[str] = []
    here, there = socket.socketpair()
    with here, there:
        loop.watch(here.fileno(), lambda *_: seen.append("first"))
        register, loop.poller.register = loop.poller.register, None
        loop.hand_on(
            here.fileno(), lambda: loop.watch(here.fileno(), lambda *_: seen.append("second"))
        )
        loop.poller.register = register
        there.send(b"x")
        turns(loop)
        loop.unwatch(here.fileno())
    assert seen == ["second"]


def test_a_descriptor_that_nobody_takes_is_polled_no_more(loop: Loop) -> None:
    seen: list[str] = []

    def fail() -> None:
        raise RuntimeError("not taken")

    here, there = socket.socketpair()
    with here, there:
        there.send(b"x")
        loop.watch(here.fileno(), lambda *_: seen.append("first"))
        with pytest.raises(RuntimeError, match="not taken"):
            loop.hand_on(here.fileno(), fail)
        loop.call_soon(lambda: None)
        turns(loop)
        assert not seen
        loop.watch(here.fileno(), lambda *_: seen.append("second"))
        turns(loop)
        loop.unwatch(here.fileno())
    assert seen == ["second"]


def test_timers_run_after_what_could_be_read_by_then(loop: Loop) -> None:
    ours, theirs = socket.socketpair()
    seen: list[str] = []
    with ours, theirs:
        loop.watch(ours.fileno(), lambda *_: seen.append("read"))
        theirs.send(b"x")
        loop.call_later(0, lambda: seen.append("timer"))
        turns(loop)
        loop.unwatch(ours.fileno())
    assert seen == ["read", "timer"]


def test_a_loop_is_run_by_one_thread_at_a_time(loop: Loop, running: Running) -> None:
    started = threading.Event()
    loop.call_soon(started.set)
    assert started.wait(TIMEOUT)
    assert loop.running
    assert not loop.is_current
    with pytest.raises(RuntimeError, match="another thread"):
        loop.run(lambda: True)


def test_a_callback_may_run_the_loop_further(loop: Loop) -> None:
    made: list[int] = []

    def inner() -> None:
        loop.call_soon(lambda: made.append(1))
        loop.run(lambda: not made)

    loop.call_soon(inner)
    turns(loop)
    assert made == [1]
    assert not loop.running


def test_a_loop_is_closed_once_and_wakes_nobody_after(loop: Loop) -> None:
    loop.close()
    loop.close()
    loop.wake()
    loop.call_soon(lambda: None)


def test_a_poller_with_four_methods_is_enough() -> None:
    class Minimal:
        def __init__(self) -> None:
            self.inner = SelectPoller(0.01)
            self.register = lambda fd: self.inner.register(fd)
            self.unregister = lambda fd: self.inner.unregister(fd)
            self.poll = lambda: self.inner.poll()
            self.release = lambda: self.inner.release()

    loop = Loop(Minimal())
    made: list[str] = []
    ours, theirs = socket.socketpair()
    with ours, theirs:
        loop.watch(ours.fileno(), lambda *_: made.append("read"))
        theirs.send(b"x")
        loop.call_later(0, lambda: made.append("timer"))
        loop.run(lambda: len(set(made)) < 2)
        loop.unwatch(ours.fileno())
    assert made[0] == "read"
    loop.close()
