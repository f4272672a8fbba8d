"""How connections end that are not open yet, that nobody answers, and that have ended before."""

from __future__ import annotations

import logging
import socket
import threading
from typing import Any

import pytest

from test.compressing import LONG, agree
from test.helpers import (
    TIMEOUT,
    RecordingSocket,
    RecordingWebSocket,
    eventually,
    frame,
    read_exactly,
    read_to_end,
)
from ws4py.client.threadedclient import WebSocketClient
from ws4py.limits import Limits
from ws4py.manager import WebSocketManager
from ws4py.sending import broadcast
from ws4py.websocket import WebSocket

pytestmark = pytest.mark.usefixtures("no_thread_left")

MUCH = bytes(3_000_000)


class Hasty(RecordingWebSocket):
    """Waits for nobody."""

    limits = Limits(close_timeout=0.05, write_timeout=0.1, max_queue=None)


class Again(RecordingWebSocket):
    """Begins anew, on another socket, when it has ended."""

    second: RecordingSocket

    def closed(self, code: int, reason: str | None = None) -> None:
        super().closed(code, reason)
        if self.sock is not self.second:
            self._renew()
            self.sock = self.second


def test_a_client_that_is_not_connected_cannot_be_closed() -> None:
    client = WebSocketClient("ws://localhost/")
    with pytest.raises(RuntimeError, match="before it is connected"):
        client.close()


@pytest.mark.parametrize("code", [0, 999, 1004, 1006, 1015, 1016, 2999, 5000])
def test_a_code_that_no_close_can_have_is_refused(code: int) -> None:
    sock = RecordingSocket()
    ws = WebSocket(sock)
    with pytest.raises(ValueError, match=f"{code} is not a code"):
        ws.close(code)
    assert sock.sent == b""
    ws.terminate()


def test_a_peer_that_does_not_answer_our_close_in_time_is_dropped(pair: Any) -> None:
    ours, theirs = pair
    ws = Hasty(ours)
    ws.close()
    reason = "the peer did not end the connection in 0.05 s"
    assert ws.all_events() == [("closed", 1006, reason)]
    assert read_to_end(theirs) == b"\x88\x02\x03\xe8"


def test_without_a_time_to_close_the_peer_may_take_its_own() -> None:
    ws = RecordingWebSocket(RecordingSocket())
    ws.limits = Limits(close_timeout=None)
    ws.close()
    assert ws._deadline is None
    ws.terminate()


def test_the_end_takes_its_timers_along(pair: Any) -> None:
    ws = RecordingWebSocket(pair[0])
    ws.close()
    assert ws._deadline is not None
    ws.terminate()
    assert ws._deadline is None


# Peers that take nothing, under a manager.


def test_a_peer_that_takes_nothing_in_time_is_given_up(connect: Any) -> None:
    ws, _ = connect(Hasty)
    assert ws.next_event() == ("opened",)
    broadcast([ws], MUCH, binary=True)
    assert ws.all_events()[-1] == ("closed", 1006, "the peer took nothing in 0.1 s")


def test_a_peer_that_takes_some_now_and_then_is_waited_for(connect: Any) -> None:
    ws, peer = connect(Hasty)
    ws.limits = Limits(write_timeout=2, max_queue=None)
    broadcast([ws], MUCH, binary=True)
    for _ in range(8):
        threading.Event().wait(0.3)
        read_exactly(peer, 300_000)
    assert not ws.terminated
    read_exactly(peer, len(MUCH) + 10 - 8 * 300_000)
    eventually(lambda: not ws._draining)
    eventually(lambda: ws._drain_timer is None)
    assert not ws.terminated


def test_a_time_that_is_lifted_meanwhile_does_not_count(connect: Any) -> None:
    ws, peer = connect(Hasty)
    ws.limits = Limits(write_timeout=2, max_queue=None)
    broadcast([ws], MUCH, binary=True)
    eventually(lambda: ws._drain_timer is not None)
    ws.limits = Limits(write_timeout=None, max_queue=None)
    eventually(lambda: ws._drain_timer is None)
    assert not ws.terminated
    assert len(read_exactly(peer, len(MUCH) + 10)) == len(MUCH) + 10
    broadcast([ws], MUCH, binary=True)
    assert ws._drain_timer is None
    assert len(read_exactly(peer, len(MUCH) + 10)) == len(MUCH) + 10


# What has ended before.


def test_what_is_lost_twice_is_lost_once(caplog: pytest.LogCaptureFixture) -> None:
    ws = RecordingWebSocket(RecordingSocket())
    with caplog.at_level(logging.INFO, "ws4py"):
        ws._lose("the first")
        ws._lose("the second")
    assert ws.all_events() == [("closed", 1006, "the first")]
    assert caplog.text.count("A connection is given up") == 1


def test_what_is_lost_without_its_socket_ends_all_the_same() -> None:
    ws = RecordingWebSocket(RecordingSocket())
    ws.close_connection()
    ws.close_connection()
    ws._lose("nobody is there")
    assert ws.all_events() == [("closed", 1006, "nobody is there")]


def test_a_peer_that_seems_dead_is_told_and_not_waited_for() -> None:
    sock = RecordingSocket()
    ws = RecordingWebSocket(sock)
    ws._give_up("no sign of life")
    assert sock.sent == b"\x88\x11\x03\xf3no sign of life"
    assert ws.all_events() == [("closed", 1006, "no sign of life")]


def test_a_callback_that_sends_too_late_has_not_failed(caplog: pytest.LogCaptureFixture) -> None:
    class Late(RecordingWebSocket):
        def received_message(self, message: Any) -> None:
            self.close()
            self.close_received = True
            self.send("too late")

    ws = Late(RecordingSocket())
    with caplog.at_level(logging.DEBUG, "ws4py"):
        ws.process(frame(1, b"go"))
    assert "A callback sent on a connection that had ended" in caplog.text
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]
    ws.terminate()


def test_a_close_of_what_is_closing_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    sock = RecordingSocket()
    ws = WebSocket(sock)
    with caplog.at_level(logging.DEBUG, "ws4py"):
        ws.close(4000)
        ws.close(4001)
        ws.terminate()
        ws.close(4002)
    assert sock.sent == b"\x88\x02\x0f\xa0"
    assert caplog.text.count("was closed again") == 2


def test_who_is_reading_closes_the_descriptor_that_another_shuts_down(pair: Any) -> None:
    ours, theirs = pair
    ws = RecordingWebSocket(ours)
    reading = threading.Thread(target=ws.run)
    reading.start()
    assert ws.next_event() == ("opened",)
    ws.close_connection()
    reading.join(TIMEOUT)
    assert not reading.is_alive()
    assert read_to_end(theirs) == b""
    assert ours.fileno() == -1
    assert ws.all_events()[-1][:2] == ("closed", 1006)


def test_who_closes_the_descriptor_itself_is_told_the_end_later(pair: Any) -> None:
    ours, theirs = pair
    ws = RecordingWebSocket(ours)
    ws.close_connection()
    assert ours.fileno() == -1
    assert ws.events.empty()
    ws.terminate()
    assert ws.all_events() == [("closed", 1006, "Going away")]
    assert read_to_end(theirs) == b""


def test_an_end_does_not_end_the_connection_that_follows_it(pair: Any) -> None:
    ours, theirs = pair
    ws = Again(ours)
    ws.second = RecordingSocket()
    theirs.close()
    ws._gather(b"\x81\x01x")
    ws.terminate()
    assert ws.sock is ws.second
    assert not ws.terminated
    ws.send("anew")
    assert ws.second.sent == b"\x81\x04anew"
    ws.terminate()


def test_the_codes_of_both_sides_are_told() -> None:
    manager = WebSocketManager()
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.settimeout(TIMEOUT)
        ws = RecordingWebSocket(ours)
        manager.start()
        manager.add(ws)
        theirs.sendall(frame(8, b"\x0f\xa0why"))
        assert ws.all_events() == [("opened",), ("closed", 4000, "why")]
        assert (ws.close_code, ws.close_reason) == (4000, "why")
        assert read_to_end(theirs) == b"\x88\x05\x0f\xa0why"
    manager.stop()
    manager.join(TIMEOUT)


def test_what_compresses_is_let_go_of_by_the_manager_that_drives_it_then(
    manager: WebSocketManager, pair: Any
) -> None:
    ours, _ = pair
    ws = RecordingWebSocket(ours)
    agree(ws, idle_release=0.05)
    ws.send(LONG)
    manager.add(ws)
    eventually(lambda: ws._deflater._compressor is None, "it is still kept")
    ws.terminate()


def test_who_has_made_a_connection_is_told_of_its_beginning_and_end(pair: Any) -> None:
    class Keeper:
        told: list[tuple[str, Any]] = []  # noqa: RUF012

        def _add(self, websocket: Any) -> None:
            self.told.append(("begins", websocket))

        def _discard(self, websocket: Any) -> None:
            self.told.append(("has ended", websocket))

    ours, theirs = pair
    ws = RecordingWebSocket(ours)
    ws._keeper = Keeper()
    theirs.close()
    ws.run()
    assert Keeper.told == [("begins", ws), ("has ended", ws)]
