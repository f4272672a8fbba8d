"""The ends of a manager's websockets that come while something else is done to them."""

from __future__ import annotations

import os
import socket
import threading
from typing import Any

import pytest

from test.helpers import (
    TIMEOUT,
    RecordingWebSocket,
    echo_server,
    frame,
    in_one_turn,
    read_exactly,
    read_to_end,
)
from ws4py.client.threadedclient import WebSocketClient
from ws4py.limits import Limits
from ws4py.manager import SelectPoller, WebSocketManager
from ws4py.websocket import EchoWebSocket, WebSocket

pytestmark = pytest.mark.usefixtures("no_thread_left")

TWO = frame(1, b"1") + frame(1, b"2")


def test_to_remove_one_that_has_ended_does_nothing(manager: WebSocketManager, connect: Any) -> None:
    ws, peer = connect()
    peer.close()
    ended = ws.all_events()
    with in_one_turn(manager):  # so that this thread is in no race with the end
        pass
    manager.remove(ws)
    manager.remove(ws)
    assert ws.all_events() == ended == [("opened",), ("closed", 1006, "Going away")]
    with pytest.raises(RuntimeError, match="has ended"):
        manager.add(ws)


def test_what_cannot_be_driven_is_refused(manager: WebSocketManager) -> None:
    for none in "text", WebSocket, None:
        with pytest.raises(TypeError, match="is no WebSocket"):
            manager.add(none)  # type: ignore[arg-type]
    with echo_server() as server:
        client = WebSocketClient(f"ws://127.0.0.1:{server.server_address[1]}/")
        with pytest.raises(RuntimeError, match="is not connected yet"):
            manager.add(client)
        client.connect()
        with pytest.raises(RuntimeError, match="a thread of its own reads this websocket"):
            manager.add(client)
        client.close()
        client.run_forever()
    assert (len(manager), client.close_code) == (0, 1000)


@pytest.mark.parametrize("poller", [None, SelectPoller])
def test_one_that_is_closed_as_it_is_added_is_told_its_end_and_add_fails(
    poller: Any, pairs: Any
) -> None:
    class First(RecordingWebSocket):
        def closed(self, code: int, reason: str | None = None) -> None:
            second.close_connection()
            super().closed(code, reason)

    manager = WebSocketManager(poller and poller())
    ours, _ = pairs()
    first, fd = First(ours), ours.fileno()
    manager.add(first)
    other, theirs = pairs()
    ours.close()
    with other:
        os.dup2(other.fileno(), fd, inheritable=False)
    second = RecordingWebSocket(socket.socket(fileno=fd))
    with pytest.raises((OSError, ValueError)):
        manager.add(second)
    assert (len(manager), list(manager)) == (0, [])
    assert second.all_events() == [("closed", 1006, "Going away")]
    assert read_to_end(theirs) == b""
    manager.stop()
    assert [event[0] for event in first.all_events()] == ["opened", "closed"]


def test_terminate_in_another_thread_during_opened_has_closed_follow_opened(
    manager: WebSocketManager, connect: Any
) -> None:
    class IsEnded(RecordingWebSocket):
        def opened(self) -> None:
            thread = threading.Thread(target=self.terminate)
            thread.start()
            thread.join(TIMEOUT)
            with in_one_turn(manager):
                assert self.close_code is None
            super().opened()

    ws, peer = connect(IsEnded)
    assert ws.all_events() == [("opened",), ("closed", 1006, "Going away")]
    assert read_to_end(peer) == b""


def test_one_whose_stream_an_application_has_replaced_ends_nevertheless(
    manager: WebSocketManager, connect: Any, pairs: Any
) -> None:
    class Takes(RecordingWebSocket):
        def opened(self) -> None:
            super().opened()
            self.stream: Any = "mine"

    class TakesLater(RecordingWebSocket):
        def received_message(self, message: Any) -> None:
            super().received_message(message)
            self.stream: Any = "mine"

    ours, theirs = pairs()
    first = Takes(ours)
    with pytest.raises(AttributeError, match="'str' object"):
        manager.add(first)
    second, peer = connect(TakesLater)
    peer.sendall(frame(1, b"1"))
    assert [second.next_event()[0] for _ in range(2)] == ["opened", "text"]
    peer.sendall(frame(1, b"2"))
    assert first.all_events() == [("opened",), ("closed", 1006, "Going away")]
    assert second.all_events() == [("closed", 1006, "Going away")]
    assert read_to_end(theirs) == read_to_end(peer) == b""
    assert len(manager) == 0


def test_a_class_that_ends_its_connection_by_itself_is_not_ended_again(
    manager: WebSocketManager, connect: Any
) -> None:
    class Leaves(RecordingWebSocket):
        def once(self) -> bool:
            goes_on = super().once()
            if not goes_on:
                manager.remove(self)
                self.terminate()
            return goes_on

        def terminate(self) -> None:
            self.events.put("terminate")
            super().terminate()

    ws, peer = connect(Leaves)
    peer.sendall(frame(8, b"\x0f\xa0bye"))
    assert read_to_end(peer) == b"\x88\x05\x0f\xa0bye"
    with in_one_turn(manager):
        pass
    assert ws.all_events() == [("opened",), "terminate", ("closed", 4000, "bye")]


def test_what_another_thread_has_a_websocket_process_is_answered(connect: Any) -> None:
    class Slow(EchoWebSocket):
        def _goes_on(self, took: float) -> bool:  # in this thread, however long it takes
            return super()._goes_on(0.0)

        def received_message(self, message: Any) -> None:
            super().received_message(message)
            threading.Event().wait(0.002)

    ws, peer = connect(Slow)
    assert ws.process(TWO + TWO)
    assert read_exactly(peer, 12) == b"\x81\x011\x81\x012" * 2


def test_a_socket_that_fails_as_none_does_ends_its_own_connection_alone(
    manager: WebSocketManager, connect: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Faulty(socket.socket):
        def send(self, *arguments: Any) -> int:
            raise LookupError("a fault of the socket's")

    class Answers(RecordingWebSocket):
        def received_message(self, message: Any) -> None:
            self.send(message.data)

    _, good = connect(EchoWebSocket)
    ours, theirs = socket.socketpair()
    with theirs:
        ws = Answers(Faulty(fileno=ours.detach()))
        manager.add(ws)
        with in_one_turn(manager):
            theirs.sendall(TWO)
            good.sendall(TWO)
        assert ws.all_events() == [("opened",), ("closed", 1006, "Going away")]
    assert read_exactly(good, 6) == b"\x81\x011\x81\x012"
    assert "A websocket failed, and is ended" in caplog.text
    assert "LookupError: a fault of the socket's" in caplog.text


def test_stop_waits_for_a_close_that_has_no_time_limit(
    manager: WebSocketManager, connect: Any
) -> None:
    class Patient(RecordingWebSocket):
        limits = Limits(close_timeout=None)

        def received_message(self, message: Any) -> None:
            manager.close_all(4000, "")
            manager.stop()

    ws, peer = connect(Patient)
    peer.sendall(frame(1, b"stop"))
    assert read_exactly(peer, 4) == b"\x88\x02\x0f\xa0"
    peer.sendall(frame(8, b"\x0f\xa1"))
    manager.join(TIMEOUT)
    assert not manager.is_alive()
    assert ws.all_events() == [("opened",), ("closed", 4001, "")]
