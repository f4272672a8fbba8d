"""WebSocketManager: many websockets in one thread."""

from __future__ import annotations

import socket
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
from ws4py.limits import Limits
from ws4py.manager import SelectPoller, WebSocketManager
from ws4py.websocket import EchoWebSocket, WebSocket

pytestmark = pytest.mark.usefixtures("no_thread_left")


class Foreign:
    """A poller with four methods, which takes nothing that was not meant for it."""

    def __init__(self) -> None:
        self.fds: set[int] = set()
        self.inner = SelectPoller(0.01)

    def register(self, fd: int) -> None:
        assert fd not in self.fds, "registered twice"
        self.fds.add(fd)
        self.inner.register(fd)

    def unregister(self, fd: int) -> None:
        self.fds.remove(fd)
        self.inner.unregister(fd)

    def poll(self) -> list[int]:
        return self.inner.poll()

    def release(self) -> None:
        self.inner.release()


@pytest.fixture(params=[None, SelectPoller, Foreign], ids=["best", "select", "foreign"])
def idle(request: pytest.FixtureRequest, pairs: Any) -> Iterator[WebSocketManager]:
    """A manager that has not been started."""
    manager = WebSocketManager(request.param and request.param())
    yield manager
    manager.stop()
    if manager.ident is not None:
        manager.join(TIMEOUT)
        assert not manager.is_alive()


@pytest.fixture
def manager(idle: WebSocketManager) -> WebSocketManager:
    """A manager that runs."""
    idle.start()
    return idle


def test_a_manager_counts_iterates_and_contains(manager: WebSocketManager, pairs: Any) -> None:
    assert (len(manager), list(manager)) == (0, [])
    ws = RecordingWebSocket(pairs()[0])
    fd = ws.sock.fileno()
    manager.add(ws)
    assert (len(manager), list(manager), ws in manager) == (1, [ws], True)
    assert manager.websockets == {fd: ws}
    assert RecordingWebSocket(pairs()[0]) not in manager
    assert None not in manager


def test_add_calls_opened_in_the_calling_thread_and_once(
    manager: WebSocketManager, pairs: Any
) -> None:
    class Names(RecordingWebSocket):
        def opened(self) -> None:
            super().opened()
            self.thread = threading.current_thread()

    ws = Names(pairs()[0])
    manager.add(ws)
    manager.add(ws)
    assert ws.thread is threading.current_thread()
    assert list(ws.events.queue) == [("opened",)]


def test_callbacks_after_opened_run_in_the_managers_thread(
    manager: WebSocketManager, pairs: Any
) -> None:
    class Names(RecordingWebSocket):
        def received_message(self, message: Any) -> None:
            self.events.put(threading.current_thread())

        def closed(self, code: int, reason: str | None = None) -> None:
            self.events.put(threading.current_thread())
            super().closed(code, reason)

    ours, theirs = pairs()
    ws = Names(ours)
    manager.add(ws)
    theirs.sendall(frame(1, b"x"))
    eventually(lambda: ws.events.qsize() == 2)
    ws.terminate()
    events = ws.all_events()
    assert events[1:3] == [manager, manager]


def test_what_is_added_before_start_is_served_after_it(idle: WebSocketManager, pairs: Any) -> None:
    ours, theirs = pairs()
    ws = EchoWebSocket(ours)
    idle.add(ws)
    theirs.sendall(frame(1, b"early"))
    idle.start()
    assert read_exactly(theirs, 7) == b"\x81\x05early"


def test_a_websocket_is_added_in_a_callback(manager: WebSocketManager, pairs: Any) -> None:
    ours, theirs = pairs()
    other, far = pairs()

    class Adds(RecordingWebSocket):
        def received_message(self, _message: Any) -> None:
            manager.add(EchoWebSocket(other))

    manager.add(Adds(ours))
    theirs.sendall(frame(1, b"go"))
    far.sendall(frame(1, b"hello"))
    assert read_exactly(far, 7) == b"\x81\x05hello"


def test_websockets_are_added_from_many_threads(manager: WebSocketManager, pairs: Any) -> None:
    ends = [pairs() for _ in range(40)]

    def add(some: Any) -> None:
        for ours, theirs in some:
            manager.add(EchoWebSocket(ours))
            theirs.sendall(frame(1, b"hello"))

    threads = [threading.Thread(target=add, args=(ends[i::4],)) for i in range(4)]
    for thread in threads:
        thread.start()
    for _, theirs in ends:
        assert read_exactly(theirs, 7) == b"\x81\x05hello"
    for thread in threads:
        thread.join(TIMEOUT)
    assert len(manager) == 40


def test_what_has_ended_cannot_be_added(manager: WebSocketManager, pairs: Any) -> None:
    ws = RecordingWebSocket(pairs()[0])
    ws.terminate()
    with pytest.raises(RuntimeError, match="has ended"):
        manager.add(ws)


def test_a_manager_that_was_stopped_takes_no_more(idle: WebSocketManager, pairs: Any) -> None:
    idle.stop()
    with pytest.raises(RuntimeError, match="has been stopped"):
        idle.add(RecordingWebSocket(pairs()[0]))


def test_stop_calls_closed_for_each_before_join_returns(
    manager: WebSocketManager, pairs: Any
) -> None:
    websockets = [RecordingWebSocket(pairs()[0]) for _ in range(5)]
    for ws in websockets:
        manager.add(ws)
    assert manager.running
    manager.stop()
    manager.stop()
    manager.join(TIMEOUT)
    assert not manager.running
    for ws in websockets:
        assert list(ws.events.queue)[-1] == ("closed", 1006, "Going away")
        assert ws.sock is None
    assert len(manager) == 0


def test_stop_of_a_manager_that_was_never_started_calls_closed(
    idle: WebSocketManager, pairs: Any
) -> None:
    ours, theirs = pairs()
    ws = RecordingWebSocket(ours)
    idle.add(ws)
    idle.stop()
    assert list(ws.events.queue) == [("opened",), ("closed", 1006, "Going away")]
    assert read_to_end(theirs) == b""
    idle.start()


def test_stop_right_after_start_ends_it(idle: WebSocketManager, pairs: Any) -> None:
    ws = RecordingWebSocket(pairs()[0])
    idle.add(ws)
    idle.start()
    idle.stop()
    idle.join(TIMEOUT)
    assert list(ws.events.queue)[-1][0] == "closed"


def test_stop_in_a_callback_ends_all(manager: WebSocketManager, pairs: Any) -> None:
    class Stops(RecordingWebSocket):
        def received_message(self, message: Any) -> None:
            manager.stop()

    ours, theirs = pairs()
    websockets = [Stops(ours), RecordingWebSocket(pairs()[0])]
    for ws in websockets:
        manager.add(ws)
    theirs.sendall(frame(1, b"stop"))
    manager.join(TIMEOUT)
    for ws in websockets:
        assert [event[0] for event in ws.events.queue] == ["opened", "closed"]


def test_stop_in_closed_ends_all(manager: WebSocketManager, pairs: Any) -> None:
    class Stops(RecordingWebSocket):
        def closed(self, code: int, reason: str | None = None) -> None:
            manager.stop()
            super().closed(code, reason)

    websockets = [Stops(pairs()[0]) for _ in range(3)]
    for ws in websockets:
        manager.add(ws)
    websockets[1].terminate()
    manager.join(TIMEOUT)
    for ws in websockets:
        assert [event[0] for event in ws.events.queue] == ["opened", "closed"]


def test_stop_waits_for_those_that_are_closing(manager: WebSocketManager, pairs: Any) -> None:
    ours, theirs = pairs()
    ws = RecordingWebSocket(ours)
    manager.add(ws)
    manager.close_all(4000, "bye")
    manager.stop()
    assert read_exactly(theirs, 7) == b"\x88\x05\x0f\xa0bye"
    theirs.sendall(frame(8, b"\x0f\xa1"))
    manager.join(TIMEOUT)
    assert list(ws.events.queue)[-1] == ("closed", 4001, "")


def test_stop_waits_no_longer_than_the_close_timeout(manager: WebSocketManager, pairs: Any) -> None:
    class Impatient(RecordingWebSocket):
        limits = Limits(close_timeout=0.1)

    ws = Impatient(pairs()[0])
    manager.add(ws)
    manager.close_all()
    manager.stop()
    manager.join(TIMEOUT)
    assert ws.all_events()[-1][:2] == ("closed", 1006)


def test_remove_calls_no_closed_and_the_websocket_goes_on(
    manager: WebSocketManager, pairs: Any
) -> None:
    ours, theirs = pairs()
    ws = RecordingWebSocket(ours)
    manager.add(ws)
    manager.remove(ws)
    manager.remove(ws)
    assert ws not in manager
    ws.send("from nobody's thread")
    assert read_exactly(theirs, 22) == b"\x81\x14from nobody's thread"
    thread = threading.Thread(target=ws.run)
    thread.start()
    theirs.sendall(frame(1, b"in a thread"))
    assert [ws.next_event(), ws.next_event()] == [("opened",), ("text", b"in a thread")]
    ws.terminate()
    thread.join(TIMEOUT)
    assert ws.all_events()[-1][0] == "closed"


def test_what_was_queued_is_sent_after_remove(pairs: Any) -> None:
    manager = WebSocketManager()
    ours, theirs = pairs()
    ws = RecordingWebSocket(ours)
    manager.add(ws)
    ws.send(b"x" * 1_000_000, binary=True)
    manager.remove(ws)
    sender = threading.Thread(target=ws.send, args=("end",))
    sender.start()
    assert read_exactly(theirs, 1_000_010)[-1:] == b"x"
    assert read_exactly(theirs, 5) == b"\x81\x03end"
    sender.join(TIMEOUT)
    ws.terminate()
    manager.stop()


def test_a_removed_websocket_may_be_added_to_another_manager(
    manager: WebSocketManager, pairs: Any
) -> None:
    other = WebSocketManager()
    other.start()
    ours, theirs = pairs()
    ws = EchoWebSocket(ours)
    manager.add(ws)
    manager.remove(ws)
    other.add(ws)
    theirs.sendall(frame(1, b"hello"))
    assert read_exactly(theirs, 7) == b"\x81\x05hello"
    assert (ws in manager, ws in other) == (False, True)
    other.stop()
    other.join(TIMEOUT)


def test_close_all_refuses_a_code_that_is_none(manager: WebSocketManager, pairs: Any) -> None:
    manager.add(RecordingWebSocket(pairs()[0]))
    with pytest.raises(ValueError, match="1006"):
        manager.close_all(1006)


def test_close_all_closes_all_but_the_one_that_fails(
    manager: WebSocketManager, pairs: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Fails(RecordingWebSocket):
        def close(self, code: int = 1000, reason: Any = "") -> None:
            raise LookupError("not today")

    (ours, theirs), (others, _), (last, farthest) = pairs(), pairs(), pairs()
    for ws in RecordingWebSocket(ours), Fails(others), RecordingWebSocket(last):
        manager.add(ws)
    manager.close_all(4000, "")
    for peer in theirs, farthest:
        assert read_exactly(peer, 4) == b"\x88\x02\x0f\xa0"
        peer.close()
    assert "LookupError: not today" in caplog.text


def test_close_all_calls_close_with_names(manager: WebSocketManager, pairs: Any) -> None:
    class Notes(RecordingWebSocket):
        def close(self, **given: Any) -> None:  # type: ignore[override]
            self.given = given

    ws = Notes(pairs()[0])
    manager.add(ws)
    manager.close_all()
    assert ws.given == {"code": 1001, "reason": "Server is shutting down"}


@pytest.mark.parametrize("view", ["keys", "values", "items", "copy"])
def test_the_dict_of_websockets_may_change_while_it_is_iterated(
    manager: WebSocketManager, pairs: Any, view: str
) -> None:
    for _ in range(3):
        manager.add(RecordingWebSocket(pairs()[0]))
    seen = 0
    for _ in getattr(manager.websockets, view)():
        for ws in manager:
            manager.remove(ws)
        manager.add(RecordingWebSocket(pairs()[0]))
        seen += 1
    assert seen == 3


def test_the_dict_itself_and_the_manager_may_change_while_they_are_iterated(
    manager: WebSocketManager, pairs: Any
) -> None:
    for _ in range(3):
        manager.add(RecordingWebSocket(pairs()[0]))
    for fd in manager.websockets:
        ws = manager.websockets[fd]
        ws.terminate()
        eventually(lambda ws=ws: ws not in manager)
    assert len(manager) == 0


def test_what_has_ended_leaves_the_manager(manager: WebSocketManager, pairs: Any) -> None:
    ours, theirs = pairs()
    ws = RecordingWebSocket(ours)
    manager.add(ws)
    theirs.close()
    ws.all_events()
    eventually(lambda: ws not in manager)


def test_a_descriptor_number_that_is_used_again_is_the_new_websockets(
    manager: WebSocketManager, pairs: Any
) -> None:
    ours, theirs = pairs()
    first = RecordingWebSocket(ours)
    manager.add(first)
    fd = ours.fileno()
    ours.close()
    ours, theirs = pairs()
    assert ours.fileno() == fd, "the system gave another number"
    manager.add(EchoWebSocket(ours))
    theirs.sendall(frame(1, b"hello"))
    assert read_exactly(theirs, 7) == b"\x81\x05hello"
    assert [event[0] for event in first.all_events()] == ["opened", "closed"]


def test_an_exception_in_opened_does_not_leave_add(manager: WebSocketManager, pairs: Any) -> None:
    class Fails(RecordingWebSocket):
        limits = Limits(close_timeout=0.5)  # Nobody answers.

        def opened(self) -> None:
            raise LookupError("a fault of the application")

    ours, theirs = pairs()
    manager.add(Fails(ours))
    assert read_exactly(theirs, 4)[2:] == (1011).to_bytes(2, "big")


def test_a_method_that_was_overridden_and_fails_ends_its_websocket_alone(
    manager: WebSocketManager, pairs: Any
) -> None:
    class Fails(RecordingWebSocket):
        def once(self) -> bool:
            raise LookupError("a fault of the application")

    ours, theirs = pairs()
    other, far = pairs()
    failing, good = Fails(ours), EchoWebSocket(other)
    manager.add(failing)
    manager.add(good)
    theirs.sendall(frame(1, b"x"))
    assert failing.all_events()[-1][0] == "closed"
    far.sendall(frame(1, b"hello"))
    assert read_exactly(far, 7) == b"\x81\x05hello"


def test_a_terminate_that_was_overridden_and_fails_does_not_keep_the_manager_from_stopping(
    manager: WebSocketManager, pairs: Any
) -> None:
    class Fails(RecordingWebSocket):
        def terminate(self) -> None:
            raise LookupError("a fault of the application")

    manager.add(Fails(pairs()[0]))
    good = RecordingWebSocket(pairs()[0])
    manager.add(good)
    manager.stop()
    manager.join(TIMEOUT)
    assert good.all_events()[-1][0] == "closed"


def test_terminate_in_opened_calls_closed_though_the_peer_is_silent(
    manager: WebSocketManager, pairs: Any
) -> None:
    class Ends(RecordingWebSocket):
        def opened(self) -> None:
            super().opened()
            self.terminate()

    ours, theirs = pairs()
    ws = Ends(ours)
    manager.add(ws)
    assert ws.all_events() == [("opened",), ("closed", 1006, "Going away")]
    assert read_to_end(theirs) == b""


def test_a_poller_that_does_not_know_the_descriptor_lets_add_fail(pairs: Any) -> None:
    class Refuses(Foreign):
        def register(self, fd: int) -> None:
            if self.fds:
                raise ValueError(f"descriptor {fd}")
            super().register(fd)

    manager = WebSocketManager(Refuses())
    ws = RecordingWebSocket(pairs()[0])
    with pytest.raises(ValueError, match="descriptor"):
        manager.add(ws)
    assert len(manager) == 0
    assert ws.events.empty()
    ws.terminate()
    manager.stop()


def test_a_websocket_without_a_descriptor_cannot_be_added(manager: WebSocketManager) -> None:
    with pytest.raises((ValueError, AttributeError)):
        manager.add(RecordingWebSocket(RecordingSocket()))
    assert len(manager) == 0


def test_a_websocket_with_coroutines_is_refused_by_name(manager: WebSocketManager) -> None:
    class Waits(WebSocket):
        async def received_message(self, message: object) -> None:
            pass

    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(TypeError, match=r"Waits\.received_message is a coroutine"):
        manager.add(Waits(ours))
    assert len(manager) == 0
