"""How our own server ends, goes on without descriptors, and what opens meanwhile."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterable
from http.client import HTTPConnection, RemoteDisconnected
from pathlib import Path
from typing import Any

import pytest

from test.helpers import (
    HANDSHAKE,
    TIMEOUT,
    RecordingWebSocket,
    echo_server,
    eventually,
    frame,
    in_one_turn,
    only_websocket,
    raw_connection,
    read_exactly,
    read_to_end,
    running,
)
from ws4py.limits import Limits
from ws4py.manager import WebSocketManager
from ws4py.server.standalone import WebSocketServer

pytestmark = pytest.mark.usefixtures("no_thread_left")

ROOT = Path(__file__).parent.parent
ECHOED = b"\x81\x05hello"
AWAY = frame(8, b"\x03\xe9Server is shutting down", key=None)


def echoes(sock: socket.socket) -> bool:
    """Say whether a websocket still answers."""
    sock.sendall(frame(1, b"hello"))
    return read_exactly(sock, len(ECHOED)) == ECHOED


def printed(program: str) -> str:
    """Run a program of its own; return what it has printed, and fail if it did."""
    command = [sys.executable, "-c", "from test.helpers import *\n" + textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3 * TIMEOUT, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_one_whose_handshake_the_server_does_not_answer_any_more_is_told_its_end() -> None:
    class Last(RecordingWebSocket):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            made.append(self)
            server.shutdown()

    made: list[Any] = []
    with (
        echo_server(Last) as server,
        socket.create_connection(server.server_address, TIMEOUT) as sock,
    ):
        sock.sendall(HANDSHAKE)
        assert read_to_end(sock) == b""
        assert made[0].all_events() == [("closed", 1006, "Going away")]
        assert made[0].terminated
        with pytest.raises(RuntimeError, match="terminated"):
            made[0].send("too late")


def test_a_handshake_may_take_any_time_where_none_is_set() -> None:
    with (
        echo_server(limits=Limits(open_timeout=None)) as server,
        socket.create_connection(server.server_address, TIMEOUT) as sock,
    ):
        sock.sendall(HANDSHAKE[:30])
        eventually(lambda: bool(server._openings), "the connection was not accepted")
        sock.sendall(HANDSHAKE[30:])
        assert read_exactly(sock, 13) == b"HTTP/1.1 101 "


def test_more_connections_than_one_turn_accepts_are_all_served() -> None:
    with WebSocketServer(("127.0.0.1", 0)) as server:
        address = server.server_address
        together = [socket.create_connection(address, TIMEOUT) for _ in range(100)]
        for sock in together:
            sock.sendall(HANDSHAKE + frame(1, b"hello"))
        with running(server):
            for sock in together:
                with sock:
                    answer = b""
                    while not answer.endswith(ECHOED):
                        more = sock.recv(4096)
                        assert more, answer
                        answer += more


def test_shutdown_waits_for_the_thread_of_its_own_manager() -> None:
    with WebSocketServer(("127.0.0.1", 0), limits=Limits(close_timeout=0.1)) as server:
        server.manager.start()
        sock, _ = raw_connection(server.server_address[1])
        with sock:
            assert echoes(sock)
            server.shutdown()
            assert not server.manager.is_alive()
            assert read_to_end(sock) == AWAY


def test_shutdown_waits_for_a_peer_that_does_not_answer_as_long_as_it_may() -> None:
    with echo_server(limits=Limits(close_timeout=2.5)) as server:
        sock, _ = raw_connection(server.server_address[1])
        with sock:
            websocket = only_websocket(server)
            server.shutdown()
            assert websocket.terminated
            assert read_to_end(sock) == AWAY


def test_a_server_ends_whose_listening_socket_has_been_closed() -> None:
    with echo_server(limits=Limits(close_timeout=0.1)) as server:
        sock, _ = raw_connection(server.server_address[1])
        with sock:
            assert echoes(sock)
            server.socket.close()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(server.server_address, TIMEOUT)
            assert echoes(sock)
            server.shutdown()
            assert read_to_end(sock) == AWAY


def test_a_listening_socket_that_fails_keeps_nobody_from_being_served(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with echo_server(limits=Limits(close_timeout=0.1)) as server:
        sock, _ = raw_connection(server.server_address[1])
        with sock:
            assert echoes(sock)
            server.socket.shutdown(socket.SHUT_RDWR)  # accept() is an EINVAL from now on
            for _ in range(3):
                assert echoes(sock)
            server.shutdown()
            assert read_to_end(sock) == AWAY
    assert not caplog.records


def test_what_opens_while_an_application_ends_the_server_is_dropped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def application(_environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        server.shutdown()
        start_response("200 OK", [])
        return [b"ended"]

    with echo_server(http=application) as server:
        connection = HTTPConnection(*server.server_address, timeout=TIMEOUT)
        connection.request("GET", "/")
        with pytest.raises(RemoteDisconnected):
            connection.getresponse()
        connection.close()
        eventually(lambda: not server.manager.loop.running, "the server did not end")
    assert not caplog.records


def test_an_answer_that_takes_longer_than_a_handshake_may_is_dropped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def application(_environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        threading.Event().wait(3.2)
        start_response("200 OK", [])
        return [b"late"]

    with (
        caplog.at_level(logging.INFO, "ws4py"),
        echo_server(http=application, limits=Limits(open_timeout=3)) as server,
        socket.create_connection(server.server_address, TIMEOUT) as sock,
    ):
        eventually(lambda: bool(server._openings), "the connection was not accepted")
        sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert read_to_end(sock) == b""
    assert not caplog.records


def test_a_websocket_is_not_answered_in_the_turn_in_which_the_server_ends() -> None:
    def application(_environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        server.shutdown()
        start_response("200 OK", [])
        return []

    with echo_server(http=application) as server:
        address = server.server_address
        with (
            socket.create_connection(address, TIMEOUT) as one,
            socket.create_connection(address, TIMEOUT) as other,
        ):
            eventually(lambda: len(server._openings) == 2, "they were not accepted")
            with in_one_turn(server.manager):
                one.sendall(HANDSHAKE)
                other.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert read_to_end(one) == b""
            assert read_to_end(other) == b""


def test_a_handshake_that_a_stopped_manager_can_take_no_more_is_dropped_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    manager = WebSocketManager()
    manager.start()
    with running(WebSocketServer(("127.0.0.1", 0), manager=manager)) as server:
        closing, _ = raw_connection(server.server_address[1])
        with closing:
            assert echoes(closing)
            manager.close_all()
            assert read_exactly(closing, len(AWAY)) == AWAY
            manager.stop()  # It ends once that has been answered.
            with caplog.at_level(logging.INFO, "ws4py"):
                late, head = raw_connection(server.server_address[1])
                with late:
                    assert read_to_end(late) == b""
            closing.sendall(frame(8, b"\x03\xe9"))
            manager.join(TIMEOUT)
    assert head.startswith(b"HTTP/1.1 101 ")
    assert "ended before it was opened: cannot add a websocket: this manager has been stopped" in (
        caplog.text
    )


def test_no_descriptor_for_a_connection_is_logged_and_it_is_served_later() -> None:
    program = """
        import logging, os, resource, sys
        from ws4py.server.standalone import WebSocketServer

        logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(message)s")
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        with echo_server() as server, socket.socket() as sock:
            sock.settimeout(TIMEOUT)
            taken = use_up_descriptors()
            logged, told = threading.Event(), logging.Handler()
            told.emit = lambda record: logged.set()
            logging.getLogger("ws4py").addHandler(told)
            sock.connect(server.server_address)
            assert logged.wait(TIMEOUT)
            for fd in taken:
                os.close(fd)
            sock.sendall(HANDSHAKE + frame(1, b"hello"))
            answer = b""
            while not answer.endswith(b"hello"):
                more = sock.recv(1)
                assert more, answer
                answer += more
        """
    lines = printed(program).splitlines()
    assert lines
    for line in lines:  # It may have been tried more than once.
        assert line.startswith("ERROR No connection can be accepted now: ")


def test_a_server_that_is_ended_for_want_of_descriptors_accepts_no_more() -> None:
    program = """
        import logging, os, resource, sys
        from ws4py.server.standalone import WebSocketServer

        class Ends(logging.Handler):
            def emit(self, record):
                print(record.levelname, record.getMessage())
                server.shutdown(drain=2)

        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        with echo_server() as server:
            sock, _ = raw_connection(server.server_address[1])
            only_websocket(server)
            late = socket.socket()
            use_up_descriptors()
            logging.getLogger("ws4py").addHandler(Ends())
            with late, sock:
                late.connect(server.server_address)
                print(read_to_end(sock)[4:])  # which answers nothing, and is dropped in the end
                try:
                    print(late.recv(1))
                except ConnectionResetError:
                    print("reset")
        """
    text, *rest = printed(program).splitlines()
    assert text.startswith("ERROR No connection can be accepted now: ")
    assert rest == ["b'Server is shutting down'", "reset"]


def test_a_server_serves_where_gevent_has_replaced_sockets_after_its_import() -> None:
    program = """
        from gevent import monkey
        from ws4py.server.standalone import WebSocketServer

        monkey.patch_socket()
        with echo_server() as server:
            sock, head = raw_connection(server.server_address[1], HANDSHAKE + frame(1, b"hello"))
            with sock:
                print(head[:12].decode(), read_exactly(sock, 7)[2:].decode())
        """
    pytest.importorskip("gevent")
    assert printed(program) == "HTTP/1.1 101 hello\n"
