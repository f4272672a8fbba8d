"""WebSocket: bytes in, callbacks and bytes out, without an engine."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from test.helpers import (
    Recorder,
    RecordingSocket,
    RecordingWebSocket,
    frame,
)
from ws4py.websocket import EchoWebSocket, WebSocket

pytestmark = pytest.mark.usefixtures("no_thread_left")


class Echo(Recorder, EchoWebSocket):
    """Records, and echoes."""

    def received_message(self, message: Any) -> None:
        super().received_message(message)
        self.send(message.data, message.is_binary)


def test_run_of_a_websocket_that_has_ended_calls_nothing_twice() -> None:
    ws = RecordingWebSocket(RecordingSocket())
    ws.run()
    assert ws.all_events() == [("opened",), ("closed", 1006, "Going away")]


def test_a_socket_that_another_thread_closes_as_it_begins_to_be_read_is_a_lost_connection() -> None:
    class Closed(RecordingSocket):
        def settimeout(self, _timeout: float | None) -> None:
            raise OSError(errno.EBADF, "Bad file descriptor")

    ws = RecordingWebSocket(Closed())
    ws.run()
    assert ws.all_events() == [("opened",), ("closed", 1006, "Going away")]


def test_methods_are_replaced_on_an_object() -> None:
    ws = WebSocket(RecordingSocket(frame(1, b"hello")))
    seen: list[bytes] = []
    ws.received_message = lambda message: seen.append(message.data)  # type: ignore[method-assign]
    ws.run()
    assert seen == [b"hello"]


def test_the_data_of_a_message_stays_after_the_handler() -> None:
    class Keeps(WebSocket):
        def received_message(self, message: Any) -> None:
            kept.append(message)

    kept: list[Any] = []
    Keeps(RecordingSocket(frame(1, b"one") + frame(1, b"two"))).run()
    assert [message.data for message in kept] == [b"one", b"two"]


def test_a_constructor_does_not_overwrite_the_heartbeat_of_its_class() -> None:
    class Beats(WebSocket):
        heartbeat_freq = 5.0

    assert Beats(RecordingSocket()).heartbeat_freq == 5.0
    assert Beats(RecordingSocket(), heartbeat_freq=1.0).heartbeat_freq == 1.0
    assert WebSocket(RecordingSocket()).heartbeat_freq is None


def test_a_websocket_works_on_what_has_recv_and_sendall_alone() -> None:
    class Bare:
        def __init__(self) -> None:
            self.sent = b""
            self.incoming = [frame(1, b"hello")]

        def recv(self, size: int) -> bytes:
            return self.incoming.pop() if self.incoming else b""

        def sendall(self, data: bytes) -> None:
            self.sent += data

    bare = Bare()
    EchoWebSocket(bare).run()
    assert bare.sent == b"\x81\x05hello"


def test_a_message_behind_the_one_that_terminates_is_not_delivered(pair: Any) -> None:
    ours, theirs = pair

    class Ends(RecordingWebSocket):
        def received_message(self, message: Any) -> None:
            super().received_message(message)
            self.terminate()

    ws = Ends(ours)
    theirs.sendall(frame(1, b"one") + frame(1, b"two"))
    ws.run()
    assert [event[0] for event in ws.all_events()] == ["opened", "text", "closed"]
