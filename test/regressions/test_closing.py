"""Faults 9 to 17: how a connection ends."""

from __future__ import annotations

import socket
import struct
import threading
from typing import Any

import pytest

from test.helpers import (
    HANDSHAKE,
    TIMEOUT,
    Recorder,
    RecordingSocket,
    RecordingWebSocket,
    descriptors,
    echo_server,
    eventually,
    frame,
    raw_connection,
    read_exactly,
    read_to_end,
)
from test.regressions import (
    Seen,
    close_code,
    collecting,
    driven_by_thread,
    fake_server,
    on_both_drivers,
    read_frame,
    read_head,
    regression,
    running_manager,
    socket_pair,
    switch,
    wsgiref_server,
)
from ws4py.client.threadedclient import WebSocketClient
from ws4py.limits import Limits
from ws4py.websocket import EchoWebSocket

SHORT = Limits(close_timeout=0.3)
OVER = "Cannot send on a terminated websocket"


class RecordingClient(Recorder, WebSocketClient):
    """A threaded client that records."""


class Leaving(RecordingWebSocket):
    """Closes at the first message."""

    def received_message(self, message: Any) -> None:
        super().received_message(message)
        self.close(1001, "leaving")


class FailingInMessage(RecordingWebSocket):
    def received_message(self, message: Any) -> None:
        raise LookupError("of the application")


class FailingInClosed(RecordingWebSocket):
    def closed(self, code: int, reason: str | None = None) -> None:
        super().closed(code, reason)
        raise LookupError("of the application")


def tracebacks(caplog: pytest.LogCaptureFixture) -> list[type]:
    """Return the exceptions that the log has with their tracebacks."""
    return [record.exc_info[0] for record in caplog.records if record.exc_info]  # type: ignore[misc]


@regression(9)
def test_a_close_that_the_server_starts_calls_closed_and_frees_the_socket() -> None:
    make, made = collecting(Leaving)
    with echo_server(make) as server:
        before = descriptors()
        sock, _ = raw_connection(server.server_address[1])
        with sock:
            sock.sendall(frame(1, b"go"))
            assert read_frame(sock) == Seen(1, 8, b"\x03\xe9leaving")
            sock.sendall(frame(8, b"\x03\xe9"))
            assert read_to_end(sock) == b""
            websocket = made.get(timeout=TIMEOUT)
            assert websocket.all_events()[-1] == ("closed", 1001, "")
            eventually(lambda: websocket.sock is None)
        eventually(lambda: descriptors() == before, "the socket was not closed")
        assert len(server.manager) == 0


@regression(9)
def test_a_close_that_wsgirefs_server_starts_calls_closed_and_frees_the_socket() -> None:
    make, made = collecting(Leaving)
    with wsgiref_server(handler=make) as port:
        before = descriptors()
        sock, _ = raw_connection(port, HANDSHAKE + frame(1, b"go"))
        with sock:
            assert close_code(read_frame(sock)) == 1001
            sock.sendall(frame(8, b"\x03\xe9"))
            assert read_to_end(sock) == b""
            assert made.get(timeout=TIMEOUT).all_events()[-1] == ("closed", 1001, "")
        eventually(lambda: descriptors() == before, "the socket was not closed")


@regression(9)
def test_a_close_from_another_thread_than_the_managers_calls_closed_there() -> None:
    with running_manager() as manager, socket_pair() as (ours, theirs):
        threads = []

        class Placed(RecordingWebSocket):
            def closed(self, code: int, reason: str | None = None) -> None:
                threads.append(threading.current_thread())
                super().closed(code, reason)

        websocket = Placed(ours)
        manager.add(websocket)
        websocket.close(1001, "leaving")
        assert close_code(read_frame(theirs)) == 1001
        theirs.sendall(frame(8, b"\x03\xe9"))
        assert websocket.all_events()[-1] == ("closed", 1001, "")
        assert threads == [manager]
        eventually(lambda: ours.fileno() == -1, "the socket was not closed")


@regression(10)
def test_an_exception_in_closed_leaves_the_manager_and_the_others_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with running_manager() as manager, socket_pair() as one, socket_pair() as two:
        failing, other = FailingInClosed(one[0]), EchoWebSocket(two[0])
        manager.add(failing)
        manager.add(other)
        one[1].sendall(frame(8))
        assert failing.all_events()[-1] == ("closed", 1005, "")
        assert read_to_end(one[1]) == b"\x88\0"
        two[1].sendall(frame(1, b"still there"))
        assert read_frame(two[1]) == Seen(1, 1, b"still there")
        assert list(manager) == [other]
    assert tracebacks(caplog) == [LookupError]


@regression(11)
@on_both_drivers
def test_an_exception_in_received_message_closes_with_1011_and_is_logged_with_its_traceback(
    driven: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with driven(FailingInMessage) as (websocket, peer):
        peer.sendall(frame(1, b"go"))
        assert close_code(read_frame(peer)) == 1011
        peer.sendall(frame(8, b"\x03\xf3"))
        assert websocket.all_events()[-1] == ("closed", 1011, "")
    assert tracebacks(caplog) == [LookupError]


@regression(11)
def test_an_exception_in_a_clients_received_message_closes_with_1011(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Failing(RecordingClient):
        def received_message(self, message: Any) -> None:
            raise LookupError("of the application")

    seen = []

    def conversation(sock: socket.socket) -> None:
        sock.sendall(switch(read_head(sock)) + frame(1, b"go", key=None))
        seen.append(read_frame(sock))
        sock.sendall(frame(8, b"\x03\xf3", key=None))

    with fake_server(conversation) as port:
        client = Failing(f"ws://127.0.0.1:{port}/")
        client.connect()
        client.run_forever()
    assert [close_code(each) for each in seen] == [1011]
    assert tracebacks(caplog) == [LookupError]


@regression(12)
@on_both_drivers
def test_close_to_a_silent_peer_ends_after_the_time_for_it(driven: Any) -> None:
    with driven(limits=SHORT) as (websocket, peer):
        websocket.close(1000, "bye")
        assert read_to_end(peer) == b"\x88\x05\x03\xe8bye"
        assert websocket.all_events()[-1][:2] == ("closed", 1006)


@regression(12)
@on_both_drivers
def test_close_to_a_peer_that_goes_on_talking_ends_after_the_time_for_it(driven: Any) -> None:
    with driven(limits=SHORT) as (websocket, peer):
        websocket.close()
        try:
            while not websocket.ended.wait(0.01):
                peer.sendall(frame(1, b"and another thing"))
        except (BrokenPipeError, ConnectionResetError):
            pass  # It has ended.
        assert websocket.all_events()[-1][:2] == ("closed", 1006)


@regression(12)
def test_close_by_a_client_of_a_silent_server_ends_after_the_time_for_it() -> None:
    ended = threading.Event()

    def conversation(sock: socket.socket) -> None:
        sock.sendall(switch(read_head(sock)))
        assert ended.wait(TIMEOUT)

    with fake_server(conversation) as port:
        client = RecordingClient(f"ws://127.0.0.1:{port}/")
        client.limits = SHORT
        client.connect()
        client.close()
        assert client.all_events()[-1][:2] == ("closed", 1006)
        client.run_forever()
        ended.set()


@regression(13)
@on_both_drivers
def test_an_empty_close_is_answered_with_an_empty_one_and_is_1005_to_closed(driven: Any) -> None:
    with driven() as (websocket, peer):
        peer.sendall(frame(8))
        assert read_to_end(peer) == b"\x88\0"
        assert websocket.all_events()[-1] == ("closed", 1005, "")


@regression(13)
def test_close_with_1005_sends_an_empty_close() -> None:
    with driven_by_thread() as (websocket, peer):
        websocket.close(1005)
        assert read_frame(peer) == Seen(1, 8, b"")


@regression(13)
@pytest.mark.parametrize("code", [0x10000, 999, 1004, 1006, 1015, 1016, 2999, 5000])
def test_close_refuses_a_code_that_no_frame_can_have_and_sends_nothing(code: int) -> None:
    with driven_by_thread() as (websocket, peer):
        with pytest.raises(ValueError, match=str(code)):
            websocket.close(code)
        websocket.send("still open")
        assert read_frame(peer) == Seen(1, 1, b"still open")


@regression(13)
@on_both_drivers
@pytest.mark.parametrize("code", [1012, 1013, 1014])
def test_the_codes_1012_to_1014_are_accepted_from_a_peer(code: int, driven: Any) -> None:
    body = struct.pack("!H", code) + b"later"
    with driven() as (websocket, peer):
        peer.sendall(frame(8, body))
        assert read_frame(peer) == Seen(1, 8, body)
        assert websocket.all_events()[-1] == ("closed", code, "later")


@regression(13)
@pytest.mark.parametrize("code", [1012, 1013, 1014])
def test_the_codes_1012_to_1014_can_be_sent(code: int) -> None:
    with driven_by_thread() as (websocket, peer):
        websocket.close(code)
        assert close_code(read_frame(peer)) == code


@regression(14)
@pytest.mark.parametrize(
    ("reason", "sent"),
    [("x" * 500, b"x" * 123), ("é" * 100, "é".encode() * 61), ("x" * 123, b"x" * 123)],
)
def test_a_reason_is_cut_to_what_a_close_frame_carries(reason: str, sent: bytes) -> None:
    with driven_by_thread() as (websocket, peer):
        websocket.close(1000, reason)
        assert read_exactly(peer, 2) == bytes([0x88, 2 + len(sent)])
        assert read_exactly(peer, 2 + len(sent)) == b"\x03\xe8" + sent


@regression(14)
def test_a_ping_of_more_than_125_bytes_is_an_error_and_sends_nothing() -> None:
    with driven_by_thread() as (websocket, peer):
        with pytest.raises(ValueError, match="126"):
            websocket.ping("x" * 126)
        websocket.ping("x" * 125)
        assert read_frame(peer) == Seen(1, 9, b"x" * 125)


@regression(15)
@on_both_drivers
def test_terminate_twice_calls_closed_once(driven: Any) -> None:
    with driven() as (websocket, peer):
        websocket.terminate()
        websocket.terminate()
        assert read_to_end(peer) == b""
        assert websocket.all_events()[-1][0] == "closed"
        eventually(lambda: websocket.stream is None)
        websocket.terminate()
        assert [event[0] for event in websocket.all_events()].count("closed") == 1


@regression(15)
@on_both_drivers
@pytest.mark.parametrize("payload", ["text", (chunk for chunk in "ab"), b"bytes"])
def test_send_after_the_end_is_a_runtime_error(payload: Any, driven: Any) -> None:
    with driven() as (websocket, _):
        websocket.terminate()
        websocket.all_events()
        eventually(lambda: websocket.stream is None)
        with pytest.raises(RuntimeError, match=OVER):
            websocket.send(payload)


@regression(15)
def test_close_after_the_end_does_nothing() -> None:
    websocket = RecordingWebSocket(RecordingSocket())
    websocket.terminate()
    websocket.close()
    assert websocket.all_events() == [("closed", 1006, "Going away")]


@regression(16)
@on_both_drivers
def test_a_websocket_knows_how_it_was_closed(driven: Any) -> None:
    with driven() as (websocket, peer):
        assert (websocket.close_code, websocket.close_reason) == (None, None)
        peer.sendall(frame(8, b"\x0f\xa0done"))
        websocket.all_events()
        assert (websocket.close_code, websocket.close_reason) == (4000, "done")


@regression(16)
@on_both_drivers
def test_a_websocket_knows_that_no_close_came(driven: Any) -> None:
    with driven() as (websocket, peer):
        peer.close()
        websocket.all_events()
        assert (websocket.close_code, websocket.close_reason) == (1006, "Going away")


@regression(17)
def test_a_connection_that_was_reset_is_closed_although_it_cannot_be_shut_down() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()
    with pytest.raises(ConnectionResetError):
        ours.recv(1)
    with pytest.raises(OSError, match="not connected"):
        ours.shutdown(socket.SHUT_RDWR)
    websocket = RecordingWebSocket(ours)
    websocket.close_connection()
    assert ours.fileno() == -1
    assert websocket.sock is None


@regression(17)
def test_a_socket_whose_shutdown_fails_is_closed() -> None:
    class Unshuttable(RecordingSocket):
        def shutdown(self, _how: int) -> None:
            raise OSError("cannot be shut down")

    sock = Unshuttable()
    RecordingWebSocket(sock).terminate()
    assert sock.is_closed
