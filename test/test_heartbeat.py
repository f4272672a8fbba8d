"""Heartbeats: Pings, and dead peers, under threads and under a manager."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from test.conformance import PING, PONG, TEXT, Peer
from test.helpers import (
    TIMEOUT,
    RecordingSocket,
    RecordingWebSocket,
    eventually,
    frame,
    read_exactly,
)
from ws4py.client import WebSocketBaseClient
from ws4py.heartbeat import Pulse, check_frequency
from ws4py.limits import Limits
from ws4py.manager import WebSocketManager
from ws4py.server._accept import Acceptor
from ws4py.server.standalone import WebSocketServer
from ws4py.websocket import Heartbeat, WebSocket

pytestmark = pytest.mark.usefixtures("no_thread_left")

Start = Callable[..., tuple[Any, Peer]]


class Beats(RecordingWebSocket):
    """Finds a dead peer soon."""

    limits = Limits(heartbeat_timeout=0.2, high_water=1000, low_water=100)


class Clock:
    """A time that passes when a test says so, however long that takes."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of all heartbeats."""
    clock = Clock()
    monkeypatch.setattr("ws4py.heartbeat.monotonic", clock)
    return clock


@pytest.fixture(params=["thread", "manager"])
def start(request: pytest.FixtureRequest) -> Iterator[Start]:
    """Runs a websocket of a class, with a heartbeat; returns it and its peer."""
    ends: list[Callable[[], object]] = []
    manager = WebSocketManager()
    manager.start()

    def make(websocket_class: Any = Beats, frequency: float | None = 0.02) -> tuple[Any, Peer]:
        ours, theirs = socket.socketpair()
        ws = websocket_class(ours, heartbeat_freq=frequency)
        if request.param == "manager":
            manager.add(ws)
        else:
            thread = threading.Thread(target=ws.run)
            thread.start()
            ends.append(lambda: thread.join(TIMEOUT))
        ends.extend((ws.terminate, theirs.close))
        return ws, Peer(theirs, masks=True)

    yield make
    for end in reversed(ends):
        end()
    manager.stop()
    manager.join(TIMEOUT)


def test_pings_are_sent_and_answers_keep_it_alive(start: Start, clock: Clock) -> None:
    ws, peer = start()
    assert ws.next_event() == ("opened",)
    for _ in range(10):
        assert peer.message() == (PING, b"")
        peer.send(PONG)
        assert ws.next_event() == ("pong", b"")
        clock.now += 0.15
    assert not ws.terminated


def test_any_byte_is_a_sign_of_life(start: Start, clock: Clock) -> None:
    ws, peer = start(frequency=None)
    pulse = Pulse(ws, 0.02)
    whole = frame(TEXT, b"x" * 100)
    for byte in whole[:10]:
        assert pulse.beat() is not None
        peer.sock.sendall(bytes((byte,)))
        eventually(lambda: ws._alive, "a byte is no sign of life")
        clock.now += 0.3
    assert pulse.beat() is not None
    peer.sock.sendall(whole[10:])
    assert [ws.next_event(), ws.next_event()] == [("opened",), ("text", b"x" * 100)]


def test_a_silent_peer_is_told_1011_and_closed_with_1006(start: Start) -> None:
    ws, peer = start()
    opcode, payload = PING, b""
    while opcode == PING:
        opcode, payload = peer.message()
    assert (opcode, payload[:2]) == (8, (1011).to_bytes(2, "big"))
    peer.expect_end()
    assert ws.all_events()[-1] == ("closed", 1006, "no sign of life in 0.2 s")


def test_a_peer_that_reads_nothing_at_all_is_closed(start: Start) -> None:
    class Stuck(Beats):
        limits = Limits(heartbeat_timeout=0.2, high_water=10_000_000)

    ws, _ = start(Stuck)
    filler = threading.Thread(target=send_much, args=(ws, 5_000_000))
    filler.start()
    assert ws.all_events()[-1][:2] == ("closed", 1006)
    filler.join(TIMEOUT)


def send_much(ws: Any, size: int) -> None:
    try:
        ws.send(b"x" * size, binary=True)
    except RuntimeError:
        return


def test_progress_of_a_backlog_is_a_sign_of_life(start: Start, clock: Clock) -> None:
    ws, peer = start(frequency=None)
    pulse = Pulse(ws, 0.02)
    sender = threading.Thread(target=send_much, args=(ws, 3_000_000))
    sender.start()
    eventually(lambda: len(ws._outgoing) > 0, "nothing was queued")  # While nobody reads.
    for _ in range(5):
        read_exactly(peer.sock, 500_000)  # more than the kernel has of it
        eventually(lambda: ws._alive, "progress is no sign of life")
        clock.now += 0.3
        assert pulse.beat() is not None
    assert len(read_exactly(peer.sock, 500_010)) == 500_010
    sender.join(TIMEOUT)
    assert not ws.terminated


def test_the_heartbeat_ends_with_the_connection(start: Start) -> None:
    ws, peer = start(frequency=1000)
    ws.close()
    assert peer.close_frame() == (1000, "")
    peer.send_close()
    peer.leave()
    ws.all_events()


@pytest.mark.parametrize("frequency", [None, 0])
def test_without_a_frequency_there_is_no_thread(frequency: float | None) -> None:
    before = threading.active_count()
    ws = WebSocket(RecordingSocket())
    with Heartbeat(ws, frequency) as heartbeat:
        assert threading.active_count() == before
        assert not heartbeat.running


def test_a_heartbeat_of_ones_own_pings() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.settimeout(TIMEOUT)
        ws = WebSocket(ours)
        with Heartbeat(ws, frequency=0.01) as heartbeat:
            assert heartbeat.daemon
            assert heartbeat.running
            assert read_exactly(theirs, 2) == b"\x89\x00"
        heartbeat.join(TIMEOUT)
        assert not heartbeat.is_alive()
        ws.terminate()


def test_a_heartbeat_that_was_stopped_before_it_starts_does_nothing() -> None:
    sock = RecordingSocket()
    heartbeat = Heartbeat(WebSocket(sock), 0.001)
    heartbeat.stop()
    heartbeat.start()
    heartbeat.join(TIMEOUT)
    assert not heartbeat.is_alive()
    assert sock.sent == b""


def test_a_pulse_of_what_has_ended_does_not_beat() -> None:
    sock = RecordingSocket()
    ws = WebSocket(sock)
    pulse = Pulse(ws, 0.001)
    assert pulse.beat() is not None
    ws.terminate()
    assert pulse.beat() is None
    assert sock.sent == b"\x89\x00"


def test_a_pulse_looks_more_often_than_it_pings() -> None:
    sock = RecordingSocket()
    ws = WebSocket(sock)
    ws.limits = Limits(heartbeat_timeout=1)
    pulse = Pulse(ws, 3600)
    assert 0 < (pulse.beat() or 0) <= 1
    assert 0 < (pulse.beat() or 0) <= 1
    assert sock.sent == b"\x89\x00"
    ws.terminate()


@pytest.mark.parametrize("seconds", [None, 0, 0.5, 3600])
def test_a_time_between_pings_may_be_none_or_nothing(seconds: Any) -> None:
    check_frequency(seconds)


@pytest.mark.parametrize("seconds", [-1, "5", float("nan"), float("inf"), 1e12])
def test_what_is_no_time_between_pings_is_a_value_error_everywhere(seconds: Any) -> None:
    makers: list[Any] = [
        lambda: WebSocket(None, heartbeat_freq=seconds),
        lambda: WebSocketBaseClient("ws://127.0.0.1/", heartbeat_freq=seconds),
        lambda: Acceptor(WebSocket, heartbeat_freq=seconds),
        lambda: WebSocketServer(("127.0.0.1", 0), heartbeat_freq=seconds),
    ]
    for make in makers:
        with pytest.raises(ValueError, match="heartbeat_freq is a number"):
            make()
