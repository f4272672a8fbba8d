"""WebSocket: bytes in, callbacks and bytes out, without an engine."""

from __future__ import annotations

import socket
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
    byte_by_byte,
    frame,
    read_to_end,
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


def test_run_of_a_websocket_that_has_ended_calls_nothing_twice() -> None:
    ws = RecordingWebSocket(RecordingSocket())
    ws.run()
    assert ws.all_events() == [("opened",), ("closed", 1006, "Going away")]


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


def test_a_pong_behind_a_fault_of_the_application_is_not_handed_to_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Fails(WebSocket):
        def ponged(self, pong: Any) -> None:
            raise LookupError("a fault of the application")

    Fails(RecordingSocket(2 * frame(10, b"x"))).run()
    assert caplog.text.count("LookupError: ") == 1


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
