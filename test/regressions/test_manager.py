"""Faults 24 to 29 but 25 and 26: what one connection may do to the others of a manager."""

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
    eventually,
    frame,
    raw_connection,
    read_to_end,
)
from test.regressions import (
    Seen,
    close_code,
    read_frame,
    regression,
    running_manager,
    socket_pair,
)
from ws4py.manager import EPollPoller, SelectPoller, WebSocketManager
from ws4py.websocket import EchoWebSocket

on_each_poller = pytest.mark.parametrize("make_poller", [SelectPoller, EPollPoller])


def in_time(action: Any, *arguments: Any) -> None:
    """Call ``action`` in a thread, and fail if it does not return."""
    thread = threading.Thread(target=action, args=arguments, daemon=True)
    thread.start()
    thread.join(TIMEOUT)
    assert not thread.is_alive(), f"{action} did not return"


@regression(24)
@on_each_poller
def test_a_peer_that_does_not_read_its_echoes_stops_nobody(make_poller: Any) -> None:
    with running_manager(make_poller()) as manager, socket_pair() as deaf, socket_pair() as other:
        manager.add(EchoWebSocket(deaf[0]))
        manager.add(EchoWebSocket(other[0]))
        deaf[1].settimeout(0.2)
        with pytest.raises((TimeoutError, socket.timeout)):  # It is not read any more.
            for _ in range(1000):
                deaf[1].sendall(frame(2, b"x" * 50_000))
        other[1].sendall(frame(1, b"hello"))
        assert read_frame(other[1]) == Seen(1, 1, b"hello")


@regression(24)
def test_a_peer_that_does_not_read_stops_nobody_on_a_server() -> None:
    with echo_server() as server:
        deaf, _ = raw_connection(server.server_address[1])
        other, _ = raw_connection(server.server_address[1])
        with deaf, other:
            deaf.settimeout(0.2)
            with pytest.raises((TimeoutError, socket.timeout)):
                for _ in range(1000):
                    deaf.sendall(frame(2, b"x" * 50_000))
            other.sendall(frame(1, b"hello"))
            assert read_frame(other) == Seen(1, 1, b"hello")


@regression(24)
@on_each_poller
def test_a_broadcast_goes_on_behind_a_peer_that_does_not_read(make_poller: Any) -> None:
    message = b"x" * 100_000
    with running_manager(make_poller()) as manager, socket_pair() as deaf, socket_pair() as other:
        manager.add(RecordingWebSocket(deaf[0]))
        manager.add(RecordingWebSocket(other[0]))
        for _ in range(30):
            in_time(manager.broadcast, message, True)
            assert read_frame(other[1]) == Seen(1, 2, message)


@regression(24)
def test_a_broadcast_goes_on_behind_a_websocket_that_fails() -> None:
    class Failing(RecordingWebSocket):
        def send(self, payload: Any, binary: bool = False) -> None:
            raise LookupError("of the application")

    with running_manager() as manager, socket_pair() as one, socket_pair() as two:
        manager.add(Failing(one[0]))
        manager.add(RecordingWebSocket(two[0]))
        manager.broadcast("to all")
        assert read_frame(two[1]) == Seen(1, 1, b"to all")


@regression(27)
@on_each_poller
def test_a_poller_that_is_released_while_it_polls_raises_nothing(make_poller: Any) -> None:
    errors = []

    def poll(poller: Any, begun: threading.Event) -> None:
        try:
            for _ in range(4):
                begun.set()
                list(poller.poll())
        except Exception as error:  # noqa: BLE001 - whatever it is
            errors.append(error)

    # Most of the times it is released just as a poll begins.
    for _ in range(20):
        poller, begun = make_poller(timeout=0.01), threading.Event()
        thread = threading.Thread(target=poll, args=(poller, begun))
        with socket.socket() as sock:
            poller.register(sock.fileno())
            thread.start()
            assert begun.wait(TIMEOUT)
            poller.release()
            thread.join(TIMEOUT)
        assert not thread.is_alive()
    assert errors == []


@regression(27)
@on_each_poller
def test_a_manager_that_is_stopped_while_it_polls_ends_and_raises_nothing(
    make_poller: Any, caplog: pytest.LogCaptureFixture
) -> None:
    manager = WebSocketManager(make_poller())
    with socket_pair() as (ours, theirs):
        websocket = RecordingWebSocket(ours)
        manager.add(websocket)
        manager.start()
        manager.stop()
        manager.stop()
        manager.join(TIMEOUT)
        assert not manager.is_alive()
        assert websocket.all_events()[-1] == ("closed", 1006, "Going away")
        assert read_to_end(theirs) == b""
    assert not [record for record in caplog.records if record.exc_info]


@regression(27)
@on_each_poller
def test_a_closed_descriptor_can_be_unregistered(make_poller: Any) -> None:
    poller = make_poller(timeout=0)
    with socket.socket() as sock:
        fd = sock.fileno()
        poller.register(fd)
        sock.close()
        poller.unregister(fd)
        poller.unregister(fd)
        assert list(poller.poll()) == []
    poller.release()
    poller.unregister(fd)


class Patient(SelectPoller):
    """A poller that says when it polls, and polls as long as it takes."""

    def __init__(self) -> None:
        super().__init__(None)
        self.polls = threading.Event()

    def poll_events(self, timeout: float | None = None) -> Any:
        self.polls.set()
        return super().poll_events(timeout)


@regression(27)
def test_add_does_not_wait_for_a_poll_to_end() -> None:
    poller = Patient()
    with running_manager(poller) as manager, socket_pair() as (ours, theirs):
        assert poller.polls.wait(TIMEOUT)
        in_time(manager.add, EchoWebSocket(ours))
        theirs.sendall(frame(1, b"hello"))
        assert read_frame(theirs) == Seen(1, 1, b"hello")


@regression(27)
def test_add_does_not_wait_for_a_handler() -> None:
    entered, leave = threading.Event(), threading.Event()

    class Slow(RecordingWebSocket):
        def received_message(self, message: Any) -> None:
            entered.set()
            assert leave.wait(TIMEOUT)

    with running_manager() as manager, socket_pair() as one, socket_pair() as two:
        manager.add(Slow(one[0]))
        one[1].sendall(frame(1, b"go"))
        assert entered.wait(TIMEOUT)
        in_time(manager.add, RecordingWebSocket(two[0]))
        assert len(manager) == 2
        leave.set()


@regression(27)
def test_close_all_can_meet_callbacks_that_use_the_manager() -> None:
    class Busy(RecordingWebSocket):
        manager: WebSocketManager

        def close(self, code: int = 1000, reason: Any = "") -> None:
            assert self in self.manager or self.terminated
            super().close(code, reason)

        def closed(self, code: int, reason: str | None = None) -> None:
            self.manager.broadcast("one has gone")
            self.manager.remove(self)
            super().closed(code, reason)

    with running_manager() as manager, socket_pair() as one, socket_pair() as two:
        websockets = [Busy(one[0]), Busy(two[0])]
        for websocket in websockets:
            websocket.manager = manager
            manager.add(websocket)
        callers = [threading.Thread(target=manager.close_all) for _ in range(3)]
        for caller in callers:
            caller.start()
        for _, theirs in (one, two):
            seen = read_frame(theirs)
            while seen.opcode == 1:  # The other one has gone before a caller came to this one.
                seen = read_frame(theirs)
            assert close_code(seen) == 1001
            theirs.sendall(frame(8, b"\x03\xe9"))
        for caller in callers:
            caller.join(TIMEOUT)
            assert not caller.is_alive()
        assert [websocket.all_events()[-1][1] for websocket in websockets] == [1001, 1001]


@regression(27)
def test_close_all_can_be_called_in_a_callback() -> None:
    with running_manager() as manager, socket_pair() as one, socket_pair() as two:

        class Ending(RecordingWebSocket):
            def received_message(self, message: Any) -> None:
                manager.close_all(1000, "over")

        websockets = [Ending(one[0]), RecordingWebSocket(two[0])]
        for websocket in websockets:
            manager.add(websocket)
        one[1].sendall(frame(1, b"go"))
        for _, theirs in (one, two):
            assert read_frame(theirs) == Seen(1, 8, b"\x03\xe8over")
            theirs.sendall(frame(8, b"\x03\xe8"))
        assert [websocket.all_events()[-1][1] for websocket in websockets] == [1000, 1000]


class Reuse:
    """A descriptor that is closed behind the manager's back, and the next one of its number."""

    def __init__(self, manager: WebSocketManager, old: socket.socket) -> None:
        self.manager = manager
        self.first = RecordingWebSocket(old)
        self.second: Any = None
        self.peer: Any = None

    def replace(self) -> None:
        """Close the first one's socket, and add a second websocket on the same number."""
        ours, self.peer = socket.socketpair()
        self.peer.settimeout(TIMEOUT)
        with ours:
            fd = self.first.sock.detach()
            os.dup2(ours.fileno(), fd)
        self.second = RecordingWebSocket(socket.socket(fileno=fd))
        self.manager.add(self.second)

    def check(self) -> None:
        """Only the second one gets what its peer sends."""
        with self.peer:
            self.peer.sendall(frame(1, b"for the second"))
            assert self.second.next_event() == ("opened",)
            assert self.second.next_event() == ("text", b"for the second")
            events = self.first.all_events()
            assert [event[0] for event in events] == ["opened", "closed"]
            assert list(self.manager) == [self.second]
            self.second.send("alive")
            assert read_frame(self.peer) == Seen(1, 1, b"alive")


@regression(28)
@on_each_poller
def test_a_reused_descriptor_number_reaches_the_new_websocket_alone(make_poller: Any) -> None:
    with running_manager(make_poller()) as manager, socket_pair() as (ours, _):
        reuse = Reuse(manager, ours)
        manager.add(reuse.first)
        reuse.replace()
        reuse.check()


@regression(28)
@on_each_poller
def test_a_number_that_is_reused_in_a_callback_reaches_the_new_websocket_alone(
    make_poller: Any,
) -> None:
    done = threading.Event()

    with running_manager(make_poller()) as manager, socket_pair() as old, socket_pair() as other:
        reuse = Reuse(manager, old[0])

        class Replacing(RecordingWebSocket):
            def received_message(self, message: Any) -> None:
                reuse.replace()
                done.set()

        manager.add(reuse.first)
        replacing = Replacing(other[0])
        manager.add(replacing)
        other[1].sendall(frame(1, b"go"))
        assert done.wait(TIMEOUT)
        other[1].close()
        replacing.all_events()
        eventually(lambda: replacing not in manager)
        reuse.check()


@regression(28)
def test_a_websocket_that_is_terminated_gets_nothing_and_its_number_is_free_for_the_next() -> None:
    with running_manager() as manager:
        for turn in range(20):
            with socket_pair() as (ours, theirs):
                websocket = EchoWebSocket(ours)
                manager.add(websocket)
                theirs.sendall(frame(1, b"%d" % turn))
                assert read_frame(theirs) == Seen(1, 1, b"%d" % turn)
                websocket.terminate()
                assert read_to_end(theirs) == b""


@regression(29)
def test_an_exception_in_opened_does_not_leave_add(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(RecordingWebSocket):
        def opened(self) -> None:
            raise LookupError("of the application")

    with running_manager() as manager, socket_pair() as one, socket_pair() as two:
        failing = Failing(one[0])
        manager.add(failing)
        assert close_code(read_frame(one[1])) == 1011
        one[1].sendall(frame(8, b"\x03\xf3"))
        assert failing.all_events() == [("closed", 1011, "")]
        manager.add(EchoWebSocket(two[0]))
        two[1].sendall(frame(1, b"hello"))
        assert read_frame(two[1]) == Seen(1, 1, b"hello")
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [LookupError]
