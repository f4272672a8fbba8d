"""Connections that threads drive: who writes, who closes, and who has to wait for whom."""

from __future__ import annotations

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
from ws4py.driver import ThreadDriver, Visitors, _Timers, broadcasting, is_broadcasting
from ws4py.limits import Limits
from ws4py.sending import broadcast
from ws4py.websocket import EchoWebSocket, WebSocket

pytestmark = pytest.mark.usefixtures("no_thread_left")

MUCH = bytes(5_000_000)


def test_a_broadcast_is_one_for_its_thread_alone() -> None:
    seen: list[bool] = []
    with broadcasting():
        with broadcasting():
            pass
        assert is_broadcasting()
        other = threading.Thread(target=lambda: seen.append(is_broadcasting()))
        other.start()
        other.join(TIMEOUT)
    assert not is_broadcasting()
    assert seen == [False]


def test_messages_that_come_together_are_answered_together(run: Any) -> None:
    _, peer = run(EchoWebSocket)
    peer.sendall(frame(1, b"one") + frame(1, b"two") + frame(1, b"three"))
    assert read_exactly(peer, 17) == b"\x81\x03one\x81\x03two\x81\x05three"


def test_a_callback_that_takes_its_time_loses_nothing(run: Any) -> None:
    class Slow(EchoWebSocket):
        def received_message(self, message: Any) -> None:
            threading.Event().wait(0.012)
            super().received_message(message)

    _, peer = run(Slow)
    peer.sendall(b"".join(frame(1, b"%d" % number) for number in range(4)))
    assert read_exactly(peer, 12) == b"\x81\x010\x81\x011\x81\x012\x81\x013"


def test_the_thread_that_reads_writes_what_its_callback_could_not(run: Any) -> None:
    class Answers(WebSocket):
        def received_message(self, message: Any) -> None:
            self.send(MUCH, binary=True)

    _, peer = run(Answers)
    peer.sendall(frame(1, b"go"))
    assert read_exactly(peer, len(MUCH) + 10)[10:] == MUCH


def test_another_thread_writes_all_that_it_sends_itself(pair: Any) -> None:
    ours, theirs = pair
    ws = WebSocket(ours)
    sender = threading.Thread(target=ws.send, args=(MUCH, True))
    sender.start()
    assert read_exactly(theirs, len(MUCH) + 10)[10:] == MUCH
    sender.join(TIMEOUT)
    assert not sender.is_alive()
    ws.terminate()


def test_what_a_broadcast_leaves_is_written_by_a_thread_of_its_own(pair: Any) -> None:
    ours, theirs = pair
    ws = WebSocket(ours)
    ws.limits = Limits(max_queue=None)
    broadcast([ws], MUCH, binary=True)
    assert read_exactly(theirs, len(MUCH) + 10)[10:] == MUCH
    eventually(lambda: not ws._draining)
    ws.terminate()


def test_a_heartbeat_beats_while_the_connection_is_read(run: Any) -> None:
    _, peer = run(WebSocket, heartbeat_freq=0.01)
    assert read_exactly(peer, 4) == b"\x89\x00\x89\x00"


def test_who_ends_a_connection_that_a_thread_reads_leaves_closed_to_that(run: Any) -> None:
    ws, peer = run(RecordingWebSocket)
    assert ws.next_event() == ("opened",)
    ws.terminate()
    assert ws.next_event() == ("closed", 1006, "Going away")
    assert read_to_end(peer) == b""


def test_who_ends_a_connection_that_nobody_reads_calls_closed() -> None:
    sock = RecordingSocket()
    ws = RecordingWebSocket(sock)
    assert ThreadDriver().may_close(ws)
    ws.terminate()
    assert sock.is_closed
    assert list(ws.events.queue) == [("closed", 1006, "Going away")]


def test_what_ends_without_its_socket_needs_no_shutdown(run: Any) -> None:
    class Leaves(RecordingWebSocket):
        def received_message(self, message: Any) -> None:
            self.close_connection()
            other = threading.Thread(target=self.terminate)
            other.start()
            other.join(TIMEOUT)
            super().received_message(message)

    ws, peer = run(Leaves)
    peer.sendall(frame(1, b"go"))
    assert ws.all_events() == [("opened",), ("text", b"go"), ("closed", 1006, "Going away")]


def test_who_is_a_visitor_twice_leaves_twice_or_for_good() -> None:
    visitors = Visitors(threading.Lock())
    driver, me = ThreadDriver(), threading.get_ident()
    with visitors.visit(me), visitors.visit(me):
        visitors.wait_for_others(driver)
        visitors.leave_for_good(me)
    assert visitors._idents == ()


def test_others_are_waited_for_until_they_have_left() -> None:
    lock = threading.Lock()
    visitors, driver = Visitors(lock), ThreadDriver()
    entered, leaves = threading.Event(), threading.Event()
    waited: list[bool] = []

    def visit() -> None:
        with visitors.visit(driver.get_ident()):
            entered.set()
            assert leaves.wait(TIMEOUT)

    def wait() -> None:
        with lock:
            visitors.wait_for_others(driver)
            waited.append(leaves.is_set())

    threads = [threading.Thread(target=each) for each in (visit, wait)]
    threads[0].start()
    assert entered.wait(TIMEOUT)
    threads[1].start()
    assert not waited
    leaves.set()
    for thread in threads:
        thread.join(TIMEOUT)
    assert waited == [True]


def test_a_timer_that_finds_no_thread_says_so_and_the_next_one_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    timers = _Timers()
    monkeypatch.setattr("ws4py.driver._timers", timers)  # Others' may have their thread already.
    driver, lost, made = ThreadDriver(), threading.Event(), threading.Event()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", fail)
        with pytest.raises(RuntimeError, match="new thread"):
            driver.call_later(0, lost.set)
    driver.call_later(0.01, made.set)
    assert made.wait(TIMEOUT)
    eventually(lambda: not timers._runs)
    assert not lost.is_set()


def test_an_answer_leaves_though_the_next_message_has_come_in_part(run: Any) -> None:
    _, peer = run(EchoWebSocket)
    two = frame(1, b"two")
    peer.sendall(frame(1, b"one") + two[:3])
    assert read_exactly(peer, 5) == b"\x81\x03one"
    peer.sendall(two[3:])
    assert read_exactly(peer, 5) == b"\x81\x03two"


def test_a_thread_waits_for_the_end_of_a_message_that_another_sends() -> None:
    sock = RecordingSocket()
    ws = WebSocket(sock)
    other = threading.Thread(target=ws.send, args=("other",))

    def chunks() -> Iterator[str]:
        yield "a"
        other.start()
        eventually(lambda: bool(ws._waiters), "nobody waits")
        yield "b"

    ws.send(chunks())
    other.join(TIMEOUT)
    assert sock.sent == b"\x01\x01a\x80\x01b\x81\x05other"
    ws.terminate()


def test_who_waits_in_a_thread_may_be_made_to_wait_in_any_way(manager: Any) -> None:
    assert ThreadDriver().find_sleep() is None
    assert manager.find_sleep() is None
