"""What a loop does after the turns of descriptors, and with exceptions that end programs."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from test.helpers import TIMEOUT
from test.test_loop import turns
from ws4py import loop as loops
from ws4py.loop import Loop
from ws4py.pollers import SelectPoller, make_poller


@pytest.fixture(params=[make_poller, SelectPoller])
def loop(request: pytest.FixtureRequest) -> Iterator[Loop]:
    loop = Loop(request.param())
    yield loop
    loop.close()


@pytest.fixture
def ready() -> Iterator[list[socket.socket]]:
    """Sockets that can be read."""
    pairs = [socket.socketpair() for _ in range(3)]
    for _, theirs in pairs:
        theirs.send(b"x")
    yield [ours for ours, _ in pairs]
    for pair in pairs:
        for sock in pair:
            sock.close()


def watch_all(loop: Loop, socks: list[socket.socket], watcher: Any) -> None:
    for sock in socks:
        loop.watch(sock.fileno(), watcher)


def unwatch_all(loop: Loop, socks: list[socket.socket]) -> None:
    for sock in socks:
        loop.unwatch(sock.fileno())


def test_a_call_is_made_once_after_all_have_had_their_turn(loop: Loop, ready: Any) -> None:
    seen: list[str] = []

    def watcher(*_: Any) -> None:
        seen.append("turn")
        assert loop.serves in [sock.fileno() for sock in ready]
        loop.call_afterwards(lambda: seen.append("afterwards"), 60)

    watch_all(loop, ready, watcher)
    turns(loop)
    assert seen == ["turn"] * 3 + ["afterwards"]
    assert loop.serves is None
    unwatch_all(loop, ready)
    loop.keep_time()
    assert seen == ["turn"] * 3 + ["afterwards"]


def test_a_call_that_is_due_is_made_between_two_turns(loop: Loop, ready: Any) -> None:
    seen: list[str] = []

    def watcher(*_: Any) -> None:
        seen.append("turn")
        loop.call_afterwards(lambda: seen.append("afterwards"), 0.001)
        time.sleep(0.002)

    watch_all(loop, ready, watcher)
    turns(loop)
    assert seen == ["turn", "afterwards"] * 3
    unwatch_all(loop, ready)


def test_a_slow_turn_makes_the_loop_not_quick_for_a_while(
    loop: Loop, ready: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loops, "_A_WHILE", 1.0)
    seen: list[bool] = []

    def watcher(*_: Any) -> None:
        seen.append(loop.quick)
        loop.call_afterwards(lambda: None, 60)
        time.sleep(0.05 if len(seen) < 3 else 0)
        if len(seen) == 3:
            unwatch_all(loop, ready)

    watch_all(loop, ready, watcher)
    turns(loop)
    assert seen == [True, False, False]
    loop.run(lambda: not loop.quick)
    assert loop.quick


def test_what_is_left_to_call_afterwards_is_called_when_the_loop_stops(
    loop: Loop, ready: Any
) -> None:
    seen: list[str] = []

    def watcher(*_: Any) -> None:
        loop.call_afterwards(lambda: seen.append("afterwards"), 60)
        loop.run(lambda: False)
        seen.append("turn")
        unwatch_all(loop, ready)

    watch_all(loop, ready, watcher)
    turns(loop)
    assert seen == ["afterwards", "turn"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_program_comes_out_of_the_main_thread(
    loop: Loop, ready: Any, error: type[BaseException]
) -> None:
    def fail(*_: Any) -> None:
        raise error

    loop.watch(ready[0].fileno(), fail)
    with pytest.raises(error):
        turns(loop)
    assert not loop.running
    loop.unwatch(ready[0].fileno())
    loop.call_soon(fail)
    with pytest.raises(error):
        turns(loop)


def test_what_would_end_another_thread_is_logged(
    loop: Loop, ready: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def leave(*_: Any) -> None:
        loop.unwatch(ready[0].fileno())
        raise SystemExit(3)

    loop.watch(ready[0].fileno(), leave)
    with caplog.at_level(logging.ERROR, "ws4py"):
        thread = threading.Thread(target=turns, args=(loop,))
        thread.start()
        thread.join(TIMEOUT)
    assert [record.exc_info[0] for record in caplog.records] == [SystemExit]


def test_what_cannot_be_polled_is_not_watched(loop: Loop) -> None:
    ours, theirs = socket.socketpair()
    fd = ours.fileno()
    ours.close()
    with theirs, pytest.raises((OSError, ValueError)):
        loop.watch(fd, lambda *_: None)
    assert fd not in loop._watchers
    loop.unwatch(fd)


def test_a_number_that_is_used_again_is_watched_anew(loop: Loop, ready: Any) -> None:
    seen: list[str] = []
    fd = ready[0].fileno()
    loop.watch(fd, lambda *_: seen.append("first"))
    loop.watch(fd, lambda *_: seen.append("second"))
    turns(loop)
    assert seen == ["second"]
    loop.unwatch(fd)


def test_nobody_is_watched_for_what_nobody_wants(loop: Loop, ready: Any) -> None:
    seen: list[str] = []
    fd = ready[0].fileno()
    loop.watch(fd, lambda *_: seen.append("read"), read=False)
    loop.call_soon(lambda: None)
    turns(loop)
    loop.want(fd, False, False)
    assert not seen
    loop.want(fd, True, False)
    turns(loop)
    assert seen == ["read"]
    loop.unwatch(fd)
    loop.want(fd, True, True)
    loop.call_soon(lambda: None)
    turns(loop)
    assert seen == ["read"]


def test_calls_are_made_before_a_loop_closes() -> None:
    made: list[int] = []
    loop = Loop(make_poller())
    loop.call_soon(lambda: made.append(1))
    loop.close()
    assert made == [1]
