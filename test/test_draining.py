"""Draining: the schedule that every engine follows, and the end of a manager by it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from test.conformance import Peer
from test.helpers import TIMEOUT, RecordingSocket, RecordingWebSocket, frame, read_to_end
from ws4py.draining import check_drain, draining, go_away
from ws4py.manager import WebSocketManager
from ws4py.websocket import WebSocket

CLOSE = frame(8, b"\x03\xe9Server is shutting down", key=None)
BAD = [-1, -0.5, float("nan"), float("inf"), "5", b"5", True, [5]]


class Ended(WebSocket):
    """A websocket that leaves ``live`` when it has ended, as those of a server do."""

    live: list[Any]

    def closed(self, code: int, reason: str | None = None) -> None:
        self.live.remove(self)


def make(number: int) -> list[Any]:
    live: list[Any] = []
    handler: Any = type("OfServer", (Ended,), {"live": live})
    live.extend(handler(RecordingSocket()) for _ in range(number))
    return live


def told(websockets: list[Any]) -> list[bool]:
    return [each.close_sent for each in websockets]


def wait(seconds: float) -> None:
    """Let a time pass that a step has asked for."""
    threading.Event().wait(seconds)


def test_there_is_no_step_without_a_websocket() -> None:
    assert list(draining(list, 60)) == []


def test_a_lone_websocket_is_closed_at_once() -> None:
    live = make(1)
    next(draining(lambda: live, 60))
    assert bytes(live[0].sock.sent) == CLOSE


def test_one_is_closed_after_another_and_none_when_it_is_not_its_time() -> None:
    live = make(10)
    steps = draining(lambda: live, 3600)
    for _ in range(3):
        assert 0 < next(steps) < 1
    assert told(live) == [True] + [False] * 9


def test_all_have_been_closed_by_half_the_time_in_their_order() -> None:
    live, is_late = make(10), False
    steps = draining(lambda: live, 0.6)
    next(steps)
    begin = time.monotonic()
    for seconds in steps:
        now = told(live)
        assert now == sorted(now, reverse=True)
        assert all(now) or not is_late
        wait(seconds)
        is_late = time.monotonic() - begin > 0.3
    assert is_late


def test_the_steps_end_when_all_have_ended() -> None:
    live = make(3)
    steps = draining(lambda: live, 3600)
    next(steps)
    live.clear()
    assert list(steps) == []


def test_what_is_left_at_the_end_of_the_time_is_dropped() -> None:
    live = make(3)
    websockets = list(live)
    for seconds in draining(lambda: list(live), 0.1):
        wait(seconds)
    assert live == []
    assert [bytes(each.close_code.to_bytes(2, "big")) for each in websockets] == [b"\x03\xee"] * 3
    assert "0.1 s" in websockets[0].close_reason


def test_no_time_at_all_closes_and_drops() -> None:
    live = make(3)
    sockets = [each.sock for each in live]
    steps = draining(lambda: list(live), 0)
    assert next(steps) < 0.1
    assert [bytes(sock.sent) for sock in sockets] == [CLOSE] * 3
    assert list(steps) == []
    assert live == []


def test_one_that_comes_later_is_told_before_it_is_dropped() -> None:
    live = make(1)
    steps = draining(lambda: list(live), 0.1)
    next(steps)
    late = make(1)[0]
    late.live = live
    live.append(late)
    sock = late.sock
    for seconds in steps:
        wait(seconds)
    assert bytes(sock.sent) == CLOSE
    assert live == []


def test_a_close_that_fails_does_not_keep_the_others(caplog: pytest.LogCaptureFixture) -> None:
    live = make(2)
    live[0].close = None
    for each in live:
        go_away(each)
    assert told(live) == [False, True]
    assert "could not be closed" in caplog.text


@pytest.mark.parametrize("seconds", BAD)
def test_what_is_no_time_is_refused_by_its_name_before_anything_is_done(seconds: Any) -> None:
    for refuse in (check_drain, lambda bad: draining(list, bad), WebSocketManager().stop):
        with pytest.raises(ValueError, match=r"drain=.* is not a number of seconds"):
            refuse(seconds)


@pytest.fixture
def peers(manager: WebSocketManager) -> Iterator[list[tuple[RecordingWebSocket, Peer]]]:
    """Three websockets of a manager, and the peers of these."""
    pairs = [socket.socketpair() for _ in range(3)]
    websockets = [RecordingWebSocket(ours) for ours, _ in pairs]
    for websocket in websockets:
        manager.add(websocket)
    yield list(zip(websockets, [Peer(theirs, masks=True) for _, theirs in pairs]))
    for pair in pairs:
        for sock in pair:
            sock.close()


def test_a_manager_ends_as_soon_as_its_peers_have_answered_or_left(
    manager: WebSocketManager, peers: Any
) -> None:
    manager.stop(drain=3600)
    websocket, peer = peers[0]
    assert peer.close_frame() == (1001, "Server is shutting down")
    peer.send_close(1001)
    assert websocket.ended.wait(TIMEOUT)
    assert websocket.close_code == 1001
    for _, each in peers[1:]:
        each.sock.close()
    manager.join(TIMEOUT)
    assert not manager.is_alive()


def test_a_manager_serves_those_that_wait_for_their_close(
    manager: WebSocketManager, peers: Any
) -> None:
    manager.stop(drain=3600)
    assert peers[0][1].close_frame() == (1001, "Server is shutting down")
    websocket, peer = peers[2]
    peer.send(1, b"still here")
    assert [websocket.next_event() for _ in range(2)] == [("opened",), ("text", b"still here")]
    assert not websocket.close_sent
    for _, each in peers:
        each.sock.close()
    manager.join(TIMEOUT)


def test_a_manager_takes_no_more_once_it_drains(manager: WebSocketManager, peers: Any) -> None:
    manager.stop(drain=0.2)
    with pytest.raises(RuntimeError, match="stopped"):
        manager.add(WebSocket(peers[0][1].sock))
    manager.stop()  # The first call has said how.
    manager.join(TIMEOUT)
    for websocket, peer in peers:
        assert read_to_end(peer.sock) == CLOSE
        assert websocket.close_code == 1006


def test_a_manager_that_does_not_run_closes_and_drops_at_once() -> None:
    manager = WebSocketManager()
    ours, theirs = socket.socketpair()
    with theirs:
        websocket = RecordingWebSocket(ours)
        manager.add(websocket)
        manager.stop(drain=3600)
        assert read_to_end(theirs) == CLOSE
    assert websocket.all_events()[-1][:2] == ("closed", 1006)
