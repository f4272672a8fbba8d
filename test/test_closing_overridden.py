"""Closing: what the log says of it, and what of it programs override."""

from __future__ import annotations

import logging
import socket
from contextlib import suppress
from typing import Any

import pytest

from test.helpers import (
    TIMEOUT,
    Recorder,
    RecordingSocket,
    RecordingWebSocket,
    echo_server,
    eventually,
    frame,
    read_to_end,
    url_of,
)
from test.regressions import close_code, on_both_drivers, read_frame, socket_pair
from ws4py.client.threadedclient import WebSocketClient
from ws4py.manager import WebSocketManager

pytestmark = pytest.mark.usefixtures("no_thread_left")

AGAIN = "A websocket that is closing or has ended was closed again"


@pytest.fixture
def closed_again(caplog: pytest.LogCaptureFixture) -> Any:
    """Return how often the log says that something was closed again."""
    caplog.set_level(logging.DEBUG, "ws4py")
    return lambda: caplog.messages.count(AGAIN)


@on_both_drivers
def test_a_handshake_that_we_begin_is_no_second_close(driven: Any, closed_again: Any) -> None:
    with driven() as (websocket, peer):
        websocket.close(1001)
        assert close_code(read_frame(peer)) == 1001
        peer.sendall(frame(8, b"\x03\xe9"))
        assert websocket.all_events()[-1] == ("closed", 1001, "")
        assert closed_again() == 0
        websocket.close()
        assert closed_again() == 1


@on_both_drivers
def test_a_handshake_that_the_peer_begins_is_no_second_close(
    driven: Any, closed_again: Any
) -> None:
    with driven() as (websocket, peer):
        peer.sendall(frame(8, b"\x03\xe9"))
        assert read_to_end(peer) == b"\x88\x02\x03\xe9"
        assert websocket.all_events()[-1] == ("closed", 1001, "")
        assert closed_again() == 0


def test_neither_end_of_a_handshake_logs_a_second_close(closed_again: Any) -> None:
    with echo_server() as server:
        client = WebSocketClient(url_of(server))
        client.connect()
        client.close()
        client.run_forever()
        assert closed_again() == 0


@on_both_drivers
def test_a_violation_after_our_close_is_no_second_close(driven: Any, closed_again: Any) -> None:
    with driven() as (websocket, peer):
        websocket.close(1001)
        assert close_code(read_frame(peer)) == 1001
        peer.sendall(frame(0, b"of no message"))
        peer.shutdown(socket.SHUT_WR)
        assert websocket.all_events()[-1][:2] == ("closed", 1006)
        assert closed_again() == 0


@on_both_drivers
def test_a_second_close_is_logged(driven: Any, closed_again: Any) -> None:
    with driven() as (websocket, peer):
        websocket.close()
        websocket.close()
        assert closed_again() == 1
        peer.sendall(frame(8))
        assert websocket.ended.wait(TIMEOUT)
        assert closed_again() == 1


class Cleaning(RecordingWebSocket):
    """Notes each call of its ``close_connection``."""

    def close_connection(self) -> None:
        self.events.put(("close_connection",))
        super().close_connection()


@on_both_drivers
def test_methods_of_an_object_are_called_as_those_of_a_class(driven: Any) -> None:
    with driven() as (websocket, peer):
        calls = []
        websocket.close = lambda *arguments: calls.append(("close", *arguments))
        websocket.close_connection = lambda: calls.append(("close_connection",))
        peer.sendall(frame(8, b"\x0f\xa0done"))
        assert read_to_end(peer) == b"\x88\x06\x0f\xa0done"
        eventually(lambda: websocket.stream is None)
        assert calls == [("close", 4000, "done"), ("close_connection",)]


@on_both_drivers
def test_a_close_that_fails_is_logged_and_answers_with_1011(
    driven: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(RecordingWebSocket):
        def close(self, code: int = 1000, reason: Any = "") -> None:
            raise LookupError("of the application")

    with driven(Failing) as (websocket, peer):
        peer.sendall(frame(8, b"\x0f\xa0"))
        assert close_code(read_frame(peer)) == 1011
        assert websocket.all_events()[-1] == ("closed", 4000, "")
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [LookupError]


@on_both_drivers
def test_a_close_of_a_program_may_send_before_it_closes(driven: Any) -> None:
    class Parting(RecordingWebSocket):
        def close(self, code: int = 1000, reason: Any = "") -> None:
            self.send("one more thing")
            super().close(code, reason)

    with driven(Parting) as (_, peer):
        peer.sendall(frame(8, b"\x03\xe8"))
        assert read_to_end(peer) == b"\x81\x0eone more thing\x88\x02\x03\xe8"


@on_both_drivers
def test_a_close_that_terminates_ends_the_connection(driven: Any) -> None:
    class Ending(RecordingWebSocket):
        def close(self, code: int = 1000, reason: Any = "") -> None:
            self.terminate()

    with driven(Ending) as (websocket, peer):
        peer.sendall(frame(8, b"\x0f\xa0"))
        assert read_to_end(peer) in (b"", b"\x88\x02\x0f\xa0")
        assert websocket.all_events() == [("opened",), ("closed", 4000, "")]


@on_both_drivers
@pytest.mark.parametrize("where", ["opened", "received_message"])
def test_close_connection_in_a_callback_counts_as_its_one_call_and_leads_to_closed(
    driven: Any, where: str
) -> None:
    class Leaving(Cleaning):
        def opened(self) -> None:
            super().opened()
            if where == "opened":
                self.close_connection()

        def received_message(self, message: Any) -> None:
            self.close_connection()

    with driven(Leaving) as (websocket, peer):
        with suppress(BrokenPipeError):
            peer.sendall(frame(1, b"go"))
        with suppress(ConnectionResetError):
            assert read_to_end(peer) == b""
        eventually(lambda: websocket.stream is None)
        events = [event[0] for event in websocket.all_events()]
        assert events == ["opened", "close_connection", "closed"]


def test_close_connection_in_opened_under_a_manager_that_has_not_started_leads_to_closed() -> None:
    class Leaving(RecordingWebSocket):
        def opened(self) -> None:
            super().opened()
            self.close_connection()
            self.events.put(("returns",))

    manager = WebSocketManager()
    with socket_pair() as (ours, theirs):
        websocket = Leaving(ours)
        manager.add(websocket)
        assert read_to_end(theirs) == b""
        events = [event[0] for event in websocket.all_events()]
        assert events == ["opened", "returns", "closed"]
        assert len(manager) == 0
    manager.stop()


def test_a_connection_that_nobody_reads_ends_in_a_call_of_close_connection_once() -> None:
    class Terminating(Cleaning):
        def close_connection(self) -> None:
            super().close_connection()
            self.terminate()

    websocket = Terminating(RecordingSocket())
    websocket.close_connection()
    assert [event[0] for event in websocket.all_events()] == ["close_connection", "closed"]


def test_an_exception_in_close_connection_is_logged_and_all_is_let_go_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Failing(RecordingWebSocket):
        def close_connection(self) -> None:
            raise LookupError("of the application")

    sock = RecordingSocket()
    websocket = Failing(sock)
    websocket.terminate()
    assert sock.is_closed
    assert (websocket.sock, websocket.stream) == (None, None)
    assert caplog.messages == ["An exception in close_connection()"]


class Client(Recorder, WebSocketClient):
    """Notes each call of its ``close_connection``; connects again in ``closed``, once."""

    def opened(self) -> None:
        super().opened()
        self.close()

    def closed(self, code: int, reason: str | None = None) -> None:
        self.events.put(("closed", code, reason))
        if self.events.qsize() < 4:
            self.connect()
        else:
            self.ended.set()

    def close_connection(self) -> None:
        self.events.put(("close_connection", self.sock is None))
        super().close_connection()


def test_a_client_that_connects_again_in_closed_has_let_go_of_its_old_connection_first() -> None:
    with echo_server() as server:
        client = Client(url_of(server))
        client.connect()
        client.run_forever()
        one = [("opened",), ("closed", 1000, ""), ("close_connection", False)]
        assert client.all_events() == one * 2


def test_a_client_that_finds_no_server_calls_close_connection_once_each_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    client = Client(f"ws://127.0.0.1:{port}/")
    for _ in range(2):
        with pytest.raises(ConnectionRefusedError):
            client.connect()
        assert client.events.get_nowait() == ("close_connection", False)
        assert client.events.empty()
    assert client.sock is None
