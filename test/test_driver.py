"""The timers of connections that have no loop."""

from __future__ import annotations

import os
import threading
from typing import Any

import pytest

from test.helpers import TIMEOUT, eventually
from ws4py.driver import ThreadDriver, _Timers, _timers

pytestmark = pytest.mark.usefixtures("no_thread_left")


def waiting(timers: _Timers) -> int:
    return sum(getattr(thread, "_target", 0) == timers._run for thread in threading.enumerate())


def test_calls_are_made_when_they_are_due_whatever_their_order() -> None:
    driver, made = ThreadDriver(), []
    last = threading.Event()

    def call(number: int) -> Any:
        return lambda: (made.append(number), last.set() if number == 3 else None)

    for number in (3, 1, 2):
        driver.call_later(0.05 * number, call(number))
    assert last.wait(TIMEOUT)
    assert made == [1, 2, 3]


def test_one_thread_waits_for_all_and_ends_with_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = _Timers()
    monkeypatch.setattr("ws4py.driver._timers", ours)
    driver = ThreadDriver()
    timers = [driver.call_later(3600, list) for _ in range(100)]
    assert waiting(ours) == 1
    for timer in timers:
        timer.cancel()
    eventually(lambda: not waiting(ours), "it goes on")
    assert not ours._timers
    driver.call_later(3600, list).cancel()


def test_a_call_that_takes_its_time_delays_no_other() -> None:
    driver, goes_on, made = ThreadDriver(), threading.Event(), threading.Event()
    driver.call_later(0, goes_on.wait)
    driver.call_later(0.01, made.set)
    assert made.wait(TIMEOUT)
    goes_on.set()


def test_a_call_that_was_cancelled_is_not_made() -> None:
    driver, made, other = ThreadDriver(), threading.Event(), threading.Event()
    timer = driver.call_later(0.05, made.set)
    driver.call_later(0.1, other.set)
    timer.cancel()
    timer.cancel()
    assert other.wait(TIMEOUT)
    assert not made.is_set()


def test_timers_go_on_when_a_thread_could_not_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    driver, made, then = ThreadDriver(), threading.Event(), threading.Event()
    start = threading.Thread.start

    def fail(thread: threading.Thread) -> None:
        if thread.name != "Timers":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", fail)
    driver.call_later(0.01, made.set)
    assert made.wait(TIMEOUT)
    monkeypatch.undo()
    driver.call_later(0.01, then.set)
    assert then.wait(TIMEOUT)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this platform")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_process_that_is_forked_has_timers_of_its_own() -> None:
    driver = ThreadDriver()
    timer = driver.call_later(3600, list)
    child = os.fork()
    if not child:
        made = threading.Event()
        driver.call_later(0.01, made.set)
        os._exit(0 if made.wait(TIMEOUT) and len(_timers._timers) == 0 else 1)
    assert os.waitpid(child, 0)[1] == 0
    timer.cancel()
