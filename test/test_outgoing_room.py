"""Who waits for room in the queue, who is let pass, and what stays in order meanwhile."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from test.compressing import LONG, TEXT, Reading, agree, sent
from test.helpers import (
    TIMEOUT,
    RecordingSocket,
    RecordingWebSocket,
    eventually,
    frame,
    read_exactly,
)
from ws4py.driver import ThreadDriver, Waiter
from ws4py.framing import OPCODE_TEXT, Uncompressed
from ws4py.limits import Limits
from ws4py.sending import broadcast
from ws4py.websocket import WebSocket

pytestmark = pytest.mark.usefixtures("no_thread_left")

MUCH = bytes(3_000_000)
ON_THE_WIRE = len(MUCH) + 10
#: Two messages, and the beginning of a third one.
TOGETHER = frame(1, b"1") + frame(1, b"2") + frame(1, b"3")[:3]

Run = Callable[..., tuple[Any, socket.socket]]


def in_thread(function: Callable[..., object], *arguments: Any) -> threading.Thread:
    thread = threading.Thread(target=function, args=arguments)
    thread.start()
    return thread


def joined(*threads: threading.Thread) -> None:
    for thread in threads:
        thread.join(TIMEOUT)
        assert not thread.is_alive()


def test_a_callback_that_sends_more_than_there_is_room_for_waits_and_writes_meanwhile(
    run: Run,
) -> None:
    class Pours(RecordingWebSocket):
        def received_message(self, message: Any) -> None:
            for _ in range(3):
                self.send(MUCH, binary=True)

    _, peer = run(Pours)
    peer.sendall(frame(1, b"go"))
    assert read_exactly(peer, 3 * ON_THE_WIRE).count(MUCH) == 3


@pytest.mark.parametrize("high_water", [1000, 10_000_000], ids=["no room", "room"])
def test_a_peer_that_takes_nothing_of_what_a_callback_sent_is_given_up(
    run: Run, high_water: int
) -> None:
    class Hasty(RecordingWebSocket):
        limits = Limits(write_timeout=0.1, high_water=high_water, low_water=100)

        def received_message(self, message: Any) -> None:
            self.send(MUCH, binary=True)

    ws, peer = run(Hasty)
    peer.sendall(frame(1, b"go"))
    assert ws.all_events()[-1] == ("closed", 1006, "the peer took nothing in 0.1 s")


def test_a_peer_that_sends_is_read_though_it_takes_nothing_yet(run: Run) -> None:
    class Answers(RecordingWebSocket):
        limits = Limits(high_water=10_000_000)

        def received_message(self, message: Any) -> None:
            super().received_message(message)
            if message.data == b"go":
                self.send(MUCH, binary=True)

    ws, peer = run(Answers)
    peer.sendall(frame(1, b"go"))
    eventually(lambda: ws._draining, "nothing is queued")
    peer.sendall(frame(1, b"while you wait"))
    events = [ws.next_event() for _ in range(3)]
    assert events == [("opened",), ("text", b"go"), ("text", b"while you wait")]
    assert len(read_exactly(peer, ON_THE_WIRE)) == ON_THE_WIRE


def test_what_others_have_queued_keeps_no_callback_from_its_answer(connect: Any) -> None:
    class Answers(RecordingWebSocket):
        limits = Limits(high_water=1000, low_water=100, max_queue=10_000_000)

        def received_message(self, message: Any) -> None:
            self.send("an answer")
            super().received_message(message)

    ws, peer = connect(Answers)
    assert ws.next_event() == ("opened",)
    broadcast([ws], MUCH, binary=True)
    assert ws._outgoing
    peer.sendall(frame(1, b"go"))
    assert ws.next_event() == ("text", b"go")
    data = read_exactly(peer, ON_THE_WIRE + 11)
    assert data[ON_THE_WIRE:] == b"\x81\x09an answer"


def test_much_that_the_last_of_several_messages_has_sent_asks_for_room(connect: Any) -> None:
    class Pours(RecordingWebSocket):
        limits = Limits(max_queue=1_000_000)

        def received_message(self, message: Any) -> None:
            for _ in range(1 if message.data == b"1" else 30_000):
                self.send(b"x" * 1000, binary=True)

    ws, peer = connect(Pours)
    peer.sendall(frame(1, b"1") + frame(1, b"2"))
    eventually(lambda: ws.close_code == 1006)
    assert "are queued for a peer that does not read them" in ws.close_reason


def test_a_socket_that_somebody_closes_before_it_is_waited_for_is_a_lost_connection(
    pair: Any,
) -> None:
    class Vanishing(socket.socket):
        def send(self, data: Any, flags: int = 0) -> int:  # type: ignore[override]
            self.close()
            raise BlockingIOError

    ws = RecordingWebSocket(Vanishing(fileno=pair[0].detach()))
    with pytest.raises(RuntimeError, match="terminated websocket"):
        ws.send("nobody hears")
    assert ws.all_events()[-1][:2] == ("closed", 1006)


def test_who_writes_what_is_queued_ends_when_the_connection_is_closed_by_hand(pair: Any) -> None:
    ws = RecordingWebSocket(pair[0])
    broadcast([ws], MUCH, binary=True)
    eventually(lambda: bool(ws._outgoing))
    ws.close_connection()
    assert ws.all_events()[-1][:2] == ("closed", 1006)


def test_what_the_kernel_says_is_told_in_the_reason(pair: Any) -> None:
    """As what is compiled does, which writes by itself."""
    ws = RecordingWebSocket(pair[0])
    ws._write_failed(OSError("the cable is cut"))
    with pytest.raises(RuntimeError, match="terminated websocket"):
        ws.send("nobody hears")
    assert ws.all_events() == [("closed", 1006, "sending failed: the cable is cut")]


# What gathers.


def test_what_gathered_leaves_before_its_callback_closes_the_connection() -> None:
    class Leaves(RecordingWebSocket):
        def received_message(self, message: Any) -> None:
            self.send("an answer")
            self.close_connection()

    sock = RecordingSocket(TOGETHER)
    Leaves(sock).run()
    assert sock.sent == b"\x81\x09an answer"


def test_who_closes_the_connection_of_another_threads_callback_writes_nothing_of_its() -> None:
    class Leaves(RecordingWebSocket):
        def received_message(self, message: Any) -> None:
            self.send("an answer")
            joined(in_thread(self.close_connection))
            super().received_message(message)

    sock = RecordingSocket(TOGETHER)
    ws = Leaves(sock)
    ws.run()
    assert sock.is_shut
    assert ws.all_events()[-1][:2] == ("closed", 1006)


def test_messages_that_gather_are_compressed_in_their_order() -> None:
    class Answers(WebSocket):
        def received_message(self, message: Any) -> None:
            self.send(LONG)
            self.ping("?")

    sock = RecordingSocket()
    ws = Answers(sock)
    agree(ws)
    ws.process(TOGETHER)
    assert sent(ws, sock, Reading()) == [(TEXT, LONG), (9, b"?")] * 2
    ws.terminate()


def test_what_was_to_be_compressed_needs_the_connection_that_compresses() -> None:
    sock = RecordingSocket()
    ws = WebSocket(sock)
    with pytest.raises(RuntimeError, match="terminated websocket"):
        ws._write(Uncompressed(OPCODE_TEXT, LONG))
    assert sock.sent == b""
    ws.terminate()


# While a message of fragments is open.


class Late(ThreadDriver):
    """Threads that go on late, once they have been woken."""

    def __init__(self) -> None:
        self.goes_on = threading.Event()

    def make_waiter(self) -> Waiter:
        wake, wait = super().make_waiter()

        def wait_longer() -> None:
            wait()
            assert self.goes_on.wait(TIMEOUT)

        return wake, wait_longer


def test_what_gathers_when_another_begins_a_message_of_fragments_comes_behind_it() -> None:
    class Answers(WebSocket):
        def received_message(self, message: Any) -> None:
            if message.data == b"1":
                open_ends.set()
                joined(first)
                self.ping("?")
                self.send("gathered")
                driver.goes_on.set()
                joined(second)

    def chunks() -> Iterator[str]:
        yield "a"
        eventually(lambda: bool(ws._waiters), "nobody waits")
        assert open_ends.wait(TIMEOUT)
        yield "b"

    sock, driver, open_ends = RecordingSocket(), Late(), threading.Event()
    ws = Answers(sock)
    ws._driver = driver
    first = in_thread(ws.send, chunks())
    eventually(lambda: ws._fragmenter is not None)
    second = in_thread(ws.send, (each for each in "cd"))
    ws.process(TOGETHER)
    assert sock.sent == b"\x01\x01a\x80\x01b\x89\x01?\x01\x01c\x80\x01d\x81\x08gathered"
    ws.terminate()


def test_a_message_of_another_thread_waits_for_the_last_fragment() -> None:
    sock = RecordingSocket()
    ws = WebSocket(sock)
    others: list[threading.Thread] = []

    def chunks() -> Iterator[str]:
        yield "a"
        others.append(in_thread(ws.send, "other"))
        eventually(lambda: bool(ws._waiters), "nobody waits")
        ws.ping("?")
        yield "b"

    ws.send(chunks())
    joined(*others)
    assert sock.sent == b"\x89\x01?\x01\x01a\x80\x01b\x81\x05other"
    ws.terminate()


def test_who_has_to_write_what_is_queued_does_so_while_it_waits_for_its_turn(run: Run) -> None:
    class Answers(RecordingWebSocket):
        limits = Limits(high_water=100_000_000)

        def received_message(self, message: Any) -> None:
            self.send(MUCH if message.data == b"1" else b"last", binary=True)
            super().received_message(message)

    ws, peer = run(Answers)
    peer.sendall(frame(1, b"1"))
    eventually(lambda: ws._draining, "nothing is queued")
    ends = threading.Event()

    def chunks() -> Iterator[bytes]:
        yield MUCH
        yield MUCH
        assert ends.wait(TIMEOUT)

    other = in_thread(ws.send, chunks(), True)
    eventually(lambda: ws._fragmenter is not None)
    peer.sendall(frame(1, b"2"))
    data = read_exactly(peer, 2 * ON_THE_WIRE)
    assert data.count(MUCH) == 2
    ends.set()
    rest = read_exactly(peer, ON_THE_WIRE + 6)
    assert rest[ON_THE_WIRE:] == b"\x82\x04last"
    joined(other)


def test_what_a_loops_thread_sends_outside_of_callbacks_waits_for_the_last_fragment(
    manager: Any, connect: Any
) -> None:
    ws, peer = connect(RecordingWebSocket)
    assert ws.next_event() == ("opened",)
    ws.limits = Limits(high_water=1000, low_water=100, max_queue=None)

    def send_both() -> None:
        ws.send((MUCH for _ in range(2)), True)
        ws.send("behind")

    manager.loop.call_soon(send_both)
    data = read_exactly(peer, 2 * ON_THE_WIRE + 8)
    assert data.count(MUCH) == 2
    assert data.endswith(b"\x81\x06behind")


def test_a_message_of_a_connection_before_ends_with_that() -> None:
    class Again(RecordingWebSocket):
        def closed(self, code: int, reason: str | None = None) -> None:
            if self.sock is first:
                self._renew()
                self.sock = second

    def chunks() -> Iterator[str]:
        yield "a"
        yield "b"
        ws.terminate()
        yield "c"
        yield "d"

    first, second = RecordingSocket(), RecordingSocket()
    ws = Again(first)
    with pytest.raises(RuntimeError, match="terminated websocket"):
        ws.send(chunks())
    ws.send("anew")
    assert (first.sent, second.sent) == (b"\x01\x01a", b"\x81\x04anew")
    ws.terminate()
