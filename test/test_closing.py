"""Closing: what is sent, what ``closed`` is told, and what is let go of."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from test.helpers import (
    TIMEOUT,
    Recorder,
    RecordingSocket,
    RecordingWebSocket,
    frame,
    read_to_end,
)
from ws4py.websocket import EchoWebSocket, WebSocket

pytestmark = pytest.mark.usefixtures("no_thread_left")


class Echo(Recorder, EchoWebSocket):
    """Records, and echoes."""

    def received_message(self, message: Any) -> None:
        super().received_message(message)
        self.send(message.data, message.is_binary)


@pytest.mark.parametrize(
    ("code", "reason", "sent"),
    [
        (1000, "", b"\x88\x02\x03\xe8"),
        (4999, "é", b"\x88\x04\x13\x87\xc3\xa9"),
        (3000, b"x", b"\x88\x03\x0b\xb8x"),
        (1005, "not sent", b"\x88\x00"),
        (1014, None, b"\x88\x02\x03\xf6"),
        (1000, "x" * 200, b"\x88\x7d\x03\xe8" + b"x" * 123),
        (1000, "x" + "é" * 100, b"\x88\x7d\x03\xe8x" + "é".encode() * 61),
    ],
)
def test_close_sends_a_close(code: int, reason: Any, sent: bytes) -> None:
    sock = RecordingSocket()
    ws = WebSocket(sock)
    ws.close(code, reason)
    assert sock.sent == sent
    assert ws.close_sent
    ws.terminate()


def test_the_state_is_told_by_role() -> None:
    ws = WebSocket(RecordingSocket())
    assert (ws.client_terminated, ws.server_terminated, ws.terminated) == (False, False, False)
    ws.close()
    assert (ws.client_terminated, ws.server_terminated, ws.terminated) == (False, True, False)
    ws.client_terminated = True
    assert ws.terminated
    ws.server_terminated = False
    assert not ws.terminated
    ws.terminate()
    assert (ws.client_terminated, ws.server_terminated, ws.terminated) == (True, True, True)


def test_terminate_twice_calls_closed_once() -> None:
    ws = RecordingWebSocket(RecordingSocket())
    ws.terminate()
    ws.terminate()
    assert ws.all_events() == [("closed", 1006, "Going away")]


def test_an_exception_in_closed_still_lets_go(caplog: pytest.LogCaptureFixture) -> None:
    class Fails(WebSocket):
        def closed(self, code: int, reason: str | None = None) -> None:
            raise LookupError("a fault of the application")

    sock = RecordingSocket()
    ws = Fails(sock)
    ws.terminate()
    assert sock.is_closed
    assert (ws.sock, ws.stream) == (None, None)
    assert "LookupError" in caplog.text


def test_an_exception_in_a_callback_is_logged_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Fails(WebSocket):
        def received_message(self, message: Any) -> None:
            raise LookupError("a fault of the application")

    ws = Fails(RecordingSocket(frame(1, b"x")))
    ws.run()
    assert "LookupError: a fault of the application" in caplog.text
    assert "received_message" in caplog.text


def test_a_generator_that_fails_in_a_callback_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Fails(WebSocket):
        def received_message(self, message: Any) -> None:
            def chunks() -> Iterator[str]:
                yield from ("1", "2")
                raise LookupError("a fault of the application")

            self.send(chunks())

    sock = RecordingSocket(2 * frame(1, b"x"))
    Fails(sock).run()
    assert caplog.text.count("LookupError: ") == 1
    assert sock.sent == frame(1, b"1", fin=0, key=None) + frame(
        8, b"\x03\xf3Internal error", key=None
    )


def test_a_shutdown_that_fails_does_not_keep_the_descriptor_open() -> None:
    class Fails(RecordingSocket):
        def shutdown(self, how: int) -> None:
            raise OSError("already shut")

    sock = Fails()
    WebSocket(sock).terminate()
    assert sock.is_closed


def test_close_connection_ends_a_write_that_hangs_while_a_callback_sends() -> None:
    class Stuck:
        """Writes until it is shut down."""

        def __init__(self) -> None:
            self.writes, self.is_shut = threading.Event(), threading.Event()

        def recv(self, size: int) -> bytes:
            return b"" if self.is_shut.is_set() else frame(1, b"1") + frame(1, b"2")

        def sendall(self, data: bytes) -> None:
            self.writes.set()
            self.is_shut.wait(TIMEOUT)

        def shutdown(self, how: int) -> None:
            self.is_shut.set()

        def close(self) -> None:
            pass

    class Sends(RecordingWebSocket):
        def received_message(self, message: Any) -> None:
            called.set()
            stuck.writes.wait(TIMEOUT)
            self.send("an answer")
            sent.set()
            stuck.is_shut.wait(TIMEOUT)

    stuck, called, sent = Stuck(), threading.Event(), threading.Event()
    ws = Sends(stuck)
    reading = threading.Thread(target=ws.run)
    reading.start()
    assert called.wait(TIMEOUT)
    writing = threading.Thread(target=ws.send, args=("what hangs",))
    writing.start()
    assert sent.wait(TIMEOUT)
    closing = threading.Thread(target=ws.close_connection)
    closing.start()
    closing.join(TIMEOUT / 2)
    assert stuck.is_shut.is_set() and not closing.is_alive()
    for thread in (reading, writing):
        thread.join(TIMEOUT)
        assert not thread.is_alive()


def test_the_reading_thread_calls_closed_after_the_callback_it_is_in(pair: Any) -> None:
    ours, theirs = pair
    inside, go_on = threading.Event(), threading.Event()

    class Slow(RecordingWebSocket):
        def received_message(self, message: Any) -> None:
            inside.set()
            go_on.wait(TIMEOUT)
            super().received_message(message)

        def closed(self, code: int, reason: str | None = None) -> None:
            self.thread = threading.current_thread()
            super().closed(code, reason)

    ws = Slow(ours)
    thread = threading.Thread(target=ws.run)
    thread.start()
    theirs.sendall(frame(1, b"hello"))
    assert inside.wait(TIMEOUT)
    ws.terminate()
    assert not ws.ended.is_set()
    go_on.set()
    assert [event[0] for event in ws.all_events()] == ["opened", "text", "closed"]
    assert ws.thread is thread
    thread.join(TIMEOUT)


def test_what_was_sent_before_terminate_in_a_callback_arrives(pair: Any) -> None:
    ours, theirs = pair

    class Ends(RecordingWebSocket):
        def received_message(self, message: Any) -> None:
            self.send("bye")
            self.terminate()

    theirs.sendall(frame(1, b"one") + frame(1, b"two"))
    Ends(ours).run()
    assert read_to_end(theirs) == b"\x81\x03bye"


@pytest.mark.parametrize("seed", range(10))
def test_threads_that_send_close_and_terminate_at_once_leave_nothing(pair: Any, seed: int) -> None:
    ours, theirs = pair
    ws = Echo(ours)
    together = threading.Barrier(6)

    def quietly(act: Callable[[], object]) -> None:
        together.wait(TIMEOUT)
        try:
            for _ in range(20 + seed):
                act()
        except RuntimeError as error:
            assert str(error) == "Cannot send on a terminated websocket"

    def read_or_be_reset() -> None:
        with suppress(ConnectionResetError):  # terminate() leaves what came unread
            read_to_end(theirs)

    acts: list[Callable[[], object]] = [
        lambda: ws.send("x" * 1000),
        lambda: ws.send(chunk for chunk in "abc"),
        lambda: ws.ping("!"),
        lambda: ws.close(4000) if seed % 2 else None,
        lambda: ws.terminate() if seed % 3 == 0 else None,
    ]
    threads = [threading.Thread(target=quietly, args=(act,)) for act in acts]
    reader = threading.Thread(target=ws.run)
    drain = threading.Thread(target=read_or_be_reset)
    for thread in [*threads, reader, drain]:
        thread.start()
    together.wait(TIMEOUT)
    with suppress(ConnectionError):
        theirs.sendall(frame(1, b"e") * 50)
    for thread in threads:
        thread.join(TIMEOUT)
        assert not thread.is_alive()
    ws.terminate()
    reader.join(TIMEOUT)
    drain.join(TIMEOUT)
    assert [event[0] for event in ws.all_events()].count("closed") == 1
    assert ws.sock is None
