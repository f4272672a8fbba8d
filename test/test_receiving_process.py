"""What ``process`` and ``once`` do with bytes, and say of the connection."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from test.helpers import (
    Recorder,
    RecordingSocket,
    RecordingWebSocket,
    byte_by_byte,
    frame,
    whole,
)
from ws4py.limits import Limits
from ws4py.websocket import EchoWebSocket, WebSocket

pytestmark = pytest.mark.usefixtures("no_thread_left")

Feeding = Callable[[bytes], "list[bytes]"]
feedings = pytest.mark.parametrize("feed", [whole, byte_by_byte])


class Echo(Recorder, EchoWebSocket):
    """Records, and echoes."""

    def received_message(self, message: Any) -> None:
        super().received_message(message)
        self.send(message.data, message.is_binary)


def process(ws: WebSocket, chunks: list[bytes]) -> list[bool]:
    return [ws.process(chunk) for chunk in chunks]


@feedings
def test_process_handles_all_that_the_bytes_complete(feed: Feeding) -> None:
    ws = Echo(RecordingSocket())
    data = frame(1, b"a", 0) + frame(9, b"?") + frame(0, b"b") + frame(10, b"!") + frame(2, b"")
    assert all(process(ws, feed(data)))
    assert list(ws.events.queue) == [("text", b"ab"), ("pong", b"!"), ("binary", b"")]
    assert ws.sock.sent == b"\x8a\x01?\x81\x02ab\x82\x00"
    ws.terminate()


@feedings
def test_process_says_when_a_server_is_done(feed: Feeding) -> None:
    ws = Echo(RecordingSocket())
    results = process(ws, feed(frame(8, b"\x03\xe8bye")))
    assert results[-1] is False
    assert all(results[:-1])
    assert ws.sock.sent == b"\x88\x05\x03\xe8bye"
    assert ws.terminated
    assert ws.events.empty()
    ws.terminate()
    assert ws.all_events() == [("closed", 1000, "bye")]


def test_process_says_that_a_client_waits_for_the_server_to_end() -> None:
    ws = RecordingWebSocket(RecordingSocket())
    ws._is_client = True
    ws.stream.expect_masking = False
    assert ws.process(frame(8, b"\x03\xe8", key=None))
    assert ws.terminated
    assert not ws.process(b"")
    ws.terminate()


def test_process_of_nothing_is_the_end() -> None:
    ws = RecordingWebSocket(RecordingSocket())
    assert ws.process(b"") is False
    ws.terminate()
    assert ws.process(frame(1, b"late")) is False
    assert ws.all_events() == [("closed", 1006, "Going away")]


def test_bytes_after_a_close_are_not_looked_at() -> None:
    ws = Echo(RecordingSocket())
    assert not ws.process(frame(8, b"\x03\xe8") + frame(1, b"late"))
    ws.terminate()
    assert [event[0] for event in ws.events.queue] == ["closed"]


def test_what_comes_after_a_violation_is_taken_and_not_looked_at() -> None:
    ws = Echo(RecordingSocket())
    assert ws.process(frame(1, b"before") + b"\x83" + frame(1)[1:] + frame(1, b"after"))
    assert ws.process(frame(1, b"and more"))
    assert ws.process(b"\xff" * 10_000)
    assert list(ws.events.queue) == [("text", b"before")]
    assert ws.sock.sent.startswith(b"\x81\x06before\x88")
    assert ws.sock.is_shut
    ws.terminate()


def test_messages_after_our_close_are_still_delivered() -> None:
    ws = Echo(RecordingSocket())
    ws.close()
    assert ws.process(frame(1, b"you could not know"))
    assert list(ws.events.queue) == [("text", b"you could not know")]
    assert ws.sock.sent == b"\x88\x02\x03\xe8"
    assert not ws.process(frame(8))
    ws.terminate()
    assert ws.all_events()[-1] == ("closed", 1005, "")


def test_a_message_of_exactly_the_limit_passes_in_fragments() -> None:
    class Small(Echo):
        limits = Limits(max_message_size=10, max_fragments=3)

    ws = Small(RecordingSocket())
    assert ws.process(frame(1, b"12345", 0) + frame(0, b"67890", 0) + frame(0, b""))
    assert ws.events.get_nowait() == ("text", b"1234567890")
    ws.process(frame(1, b"12345", 0) + frame(0, b"67890", 0) + frame(0, b"x", 0))
    assert ws.sock.sent[-200:].find((1009).to_bytes(2, "big")) > 0
    ws.terminate()


def test_too_many_fragments_are_1008() -> None:
    class Small(Echo):
        limits = Limits(max_fragments=3)

    ws = Small(RecordingSocket())
    ws.process(frame(1, b"", 0) + frame(0, b"", 0) * 3)
    assert ws.sock.sent[2:4] == (1008).to_bytes(2, "big")
    ws.terminate()


def test_limits_that_are_set_after_construction_hold() -> None:
    ws = Echo(RecordingSocket())
    ws.limits = Limits(max_message_size=1)
    ws.process(frame(1, b"12"))
    assert ws.sock.sent[2:4] == (1009).to_bytes(2, "big")
    ws.terminate()


def test_a_pong_behind_a_fault_of_the_application_is_not_handed_to_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Fails(WebSocket):
        def ponged(self, pong: Any) -> None:
            raise LookupError("a fault of the application")

    Fails(RecordingSocket(2 * frame(10, b"x"))).run()
    assert caplog.text.count("LookupError: ") == 1


def test_an_error_of_the_socket_reaches_unhandled_error() -> None:
    class Breaks(RecordingSocket):
        def recv(self, size: int) -> bytes:
            raise ConnectionResetError("reset by the peer")

    class Notes(RecordingWebSocket):
        def unhandled_error(self, error: OSError) -> None:
            self.events.put(("error", str(error)))

    ws = Notes(Breaks())
    ws.run()
    assert ws.all_events() == [
        ("opened",),
        ("error", "reset by the peer"),
        ("closed", 1006, "Going away"),
    ]


def test_nothing_in_sock_timeout_seconds_is_an_error() -> None:
    class Hasty(RecordingWebSocket):
        sock_timeout = 0.05

        def unhandled_error(self, error: OSError) -> None:
            self.events.put((type(error),))

    ours, theirs = socket.socketpair()
    with theirs:
        ws = Hasty(ours)
        ws.run()
    assert ws.all_events()[1] == (TimeoutError,)


def test_once_reads_once_and_true_is_that_it_goes_on() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        ours.setblocking(False)
        ws = RecordingWebSocket(ours)
        assert ws.once() is True
        theirs.sendall(frame(1, b"hello"))
        assert ws.once() is True
        assert ws.next_event() == ("text", b"hello")
        theirs.close()
        assert ws.once() is False
        ws.terminate()


def test_reading_buffer_size_caps_each_read() -> None:
    class Sizes(RecordingSocket):
        def recv(self, size: int) -> bytes:
            sizes.append(size)
            return super().recv(size)

    sizes: list[int] = []
    ws = WebSocket(Sizes())
    ws.reading_buffer_size = 7
    ws.once()
    assert sizes == [7]
    ws.terminate()


def test_a_close_of_the_programs_answers_the_peers() -> None:
    class Polite(WebSocket):
        def close(self, code: int = 1000, reason: Any = "") -> None:
            super().close(code, f"{reason}, and thanks")

    ws = Polite(RecordingSocket())
    assert not ws.process(frame(8, b"\x03\xe8bye"))
    assert ws.sock.sent == b"\x88\x11\x03\xe8bye, and thanks"
    ws.terminate()
