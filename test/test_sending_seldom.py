"""Sending in moments that come seldom: without room, after the end, and late timers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from test.compressing import LONG, NOISE, agree
from test.helpers import (
    RecordingSocket,
    RecordingWebSocket,
    eventually,
    frame,
    read_exactly,
)
from ws4py.driver import ThreadDriver, broadcasting
from ws4py.limits import Limits
from ws4py.messaging import PingControlMessage
from ws4py.sending import broadcast
from ws4py.websocket import EchoWebSocket, WebSocket

pytestmark = pytest.mark.usefixtures("no_thread_left")

MUCH = bytes(3_000_000)
ON_THE_WIRE = len(MUCH) + 10


@pytest.mark.parametrize("payload", ["text", b"bytes", PingControlMessage("?")], ids=repr)
def test_after_the_end_nothing_can_be_sent(payload: Any) -> None:
    ws = WebSocket(RecordingSocket())
    ws.terminate()
    with pytest.raises(RuntimeError, match="terminated websocket"):
        ws.send(payload)
    broadcast([ws], "nobody hears")


def test_short_answers_to_many_messages_keep_their_order() -> None:
    class Twice(EchoWebSocket):
        def received_message(self, message: Any) -> None:
            self.send(message.data)
            self.send(message.data, binary=True)

    sock = RecordingSocket()
    ws = Twice(sock)
    ws.process(b"".join(frame(1, b"%d" % number) for number in range(9)))
    expected = [b"\x81\x01%d\x82\x01%d" % (number, number) for number in range(9)]
    assert sock.sent == b"".join(expected)
    ws.terminate()


def test_what_is_sent_behind_our_close_is_dropped_whatever_it_is() -> None:
    sock = RecordingSocket()
    ws = WebSocket(sock)
    agree(ws)
    ws.close()
    ws.send(chunk for chunk in "late")
    ws.send(NOISE, binary=True)
    ws.send("late")
    assert sock.sent == b"\x88\x02\x03\xe8"
    ws.terminate()


def test_a_large_compressed_message_for_a_peer_that_is_gone_is_an_error(pair: Any) -> None:
    ours, theirs = pair
    ws = RecordingWebSocket(ours)
    agree(ws)
    theirs.close()
    with pytest.raises(RuntimeError, match="terminated websocket"):
        ws.send(NOISE, binary=True)
    assert ws.all_events()[-1][:2] == ("closed", 1006)


def test_what_is_compressed_while_another_connection_follows_goes_nowhere() -> None:
    class Again:
        """Compresses, and meanwhile the connection ends and another one begins."""

        def compress(self, data: bytes) -> bytes:
            ws.terminate()
            ws._renew()
            ws.sock = second
            return data

        def flush(self, mode: int) -> bytes:
            return b""

    first, second = RecordingSocket(), RecordingSocket()
    ws = WebSocket(first)
    agree(ws)
    ws._deflater._compressor = Again()  # type: ignore[assignment,union-attr]
    ws.send(NOISE, binary=True)
    ws.send("anew")
    assert (first.sent, second.sent) == (b"", b"\x81\x04anew")
    ws.terminate()


# What is kept for the next message.


def test_what_is_kept_is_let_go_of_only_after_the_last_message(pair: Any) -> None:
    ws = WebSocket(pair[0])
    agree(ws, idle_release=2)
    deflater = ws._deflater
    assert deflater is not None
    ws.send(LONG)
    threading.Event().wait(1.2)
    ws.send(LONG)
    threading.Event().wait(1.2)
    assert deflater._compressor is not None
    eventually(lambda: deflater._compressor is None, "it is kept")
    ws.terminate()


def test_a_timer_that_comes_too_late_lets_go_of_nothing_of_the_next_connection() -> None:
    ws = WebSocket(RecordingSocket())
    agree(ws)
    before = ws._deflater
    assert before is not None
    agree(ws)
    ws.send(LONG)
    ws._check_idle(before)
    assert ws._deflater is not None
    assert ws._deflater._compressor is not None
    ws.terminate()


class AtOnce(ThreadDriver):
    """Makes a call that is due later at once, and when it is due."""

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Any:
        callback()
        return super().call_later(seconds, callback)


def test_a_timer_of_a_connection_that_is_over_is_never_due() -> None:
    ws = WebSocket(RecordingSocket())
    ws._driver = AtOnce()
    made: list[str] = []
    ws._start_timer("_deadline", 0, ws.stream, lambda: made.append("this one's"))
    ws._start_timer("_deadline", 3600, object(), lambda: made.append("another's"))
    eventually(lambda: len(made) == 2)
    assert made == ["this one's"] * 2
    ws.terminate()


# Pings and Pongs.


def test_where_the_host_sends_pings_nobody_else_can() -> None:
    class Hosted(ThreadDriver):
        no_pings = "the host sends them"

    ws = WebSocket(RecordingSocket())
    ws._driver = Hosted()
    with pytest.raises(NotImplementedError, match="the host sends them"):
        ws.ping()
    ws.terminate()
    with pytest.raises(RuntimeError, match="terminated websocket"):
        ws.ping()


def test_of_many_pings_the_last_is_answered_when_there_is_room(pair: Any) -> None:
    ours, theirs = pair
    ws = WebSocket(ours)
    broadcast([ws], MUCH, binary=True)
    eventually(lambda: bool(ws._outgoing))
    for number in range(3):
        ws.process(frame(9, b"%d" % number))
    assert read_exactly(theirs, ON_THE_WIRE + 3)[ON_THE_WIRE:] == b"\x8a\x012"
    ws.process(frame(9, b"now"))
    assert read_exactly(theirs, 5) == b"\x8a\x03now"
    ws.terminate()


# Broadcasts.


def test_a_broadcast_of_fragments_leaves_out_whoever_has_no_room(pair: Any) -> None:
    ours, theirs = pair
    ws = WebSocket(ours)
    ws.limits = Limits(high_water=1000, low_water=100, max_queue=10_000, when_full="drop_message")
    broadcast([ws], MUCH, binary=True)
    eventually(lambda: bool(ws._outgoing))
    broadcast([ws], (chunk for chunk in "ab"))
    assert ws.dropped_messages == 1
    assert len(read_exactly(theirs, ON_THE_WIRE)) == ON_THE_WIRE
    eventually(lambda: not ws._draining)
    broadcast([ws], (chunk for chunk in "ab"))
    assert read_exactly(theirs, 6) == b"\x01\x01a\x80\x01b"
    ws.terminate()


@pytest.mark.parametrize(
    ("message", "binary"),
    [
        (5, False),
        ({"a": 1}, False),
        ("text", True),
        (["a", "b", 5], False),
        (["a", "\ud800"], False),
    ],
    ids=repr,
)
def test_a_broadcast_of_what_cannot_be_sent_reaches_those_that_send_in_their_own_way(
    message: Any, binary: bool, caplog: pytest.LogCaptureFixture
) -> None:
    class Shouts(WebSocket):
        def send(self, payload: Any, binary: bool = False) -> None:  # type: ignore[override]
            super().send("sent", False)

    sock, other = RecordingSocket(), RecordingSocket()
    ended, *members = [WebSocket(sock), WebSocket(sock), Shouts(other), WebSocket(sock)] * 50
    ended.terminate()
    broadcast([ended], message, binary)
    with pytest.raises((TypeError, ValueError)):
        broadcast(members, (c for c in message) if isinstance(message, list) else message, binary)
    assert (sock.sent, other.sent) == (b"", b"\x81\x04sent" * 50)
    assert caplog.records == []
    for ws in members:
        ws.terminate()


def test_a_generator_that_fails_in_a_thread_that_cannot_wait_closes_with_1011(
    pair: Any, caplog: pytest.LogCaptureFixture
) -> None:
    ours, theirs = pair
    ws = WebSocket(ours)
    with broadcasting():
        ws.send(chunk for chunk in ["a", "b", 5])
    assert read_exactly(theirs, 10) == b"\x01\x01a\x00\x01b\x88\x10\x03\xf3"
    assert "Unsupported type" in caplog.text
    ws.terminate()


def test_a_broadcast_of_something_else_is_up_to_a_send_that_is_overridden() -> None:
    class Tells(WebSocket):
        def send(self, payload: Any, binary: bool = False) -> None:  # type: ignore[override]
            super().send(repr(payload), binary)

    sock = RecordingSocket()
    ws, replaced = Tells(sock), WebSocket(RecordingSocket())
    replaced.send = ws.send  # type: ignore[method-assign]
    broadcast([ws, replaced], {"a": 1})
    assert sock.sent == b"\x81\x08{'a': 1}" * 2
    ws.terminate()
    replaced.terminate()


def test_a_broadcast_of_a_ping_goes_to_send() -> None:
    sock = RecordingSocket()
    ws = WebSocket(sock)
    broadcast([ws], PingControlMessage("?"))
    assert sock.sent == b"\x89\x01?"
    ws.terminate()
