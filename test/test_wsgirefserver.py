"""The server of the standard library: plain requests beside websockets."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from wsgiref import util
from wsgiref.simple_server import make_server

import pytest

from test.helpers import (
    HANDSHAKE,
    TIMEOUT,
    RecordingWebSocket,
    descriptors,
    eventually,
    frame,
    raw_connection,
    read_exactly,
    read_to_end,
)
from test.test_standalone_http import SPLITTING, check_not_split, redirecting
from ws4py.manager import WebSocketManager
from ws4py.server.wsgirefserver import (
    WebSocketWSGIHandler,
    WebSocketWSGIRequestHandler,
    WSGIServer,
)
from ws4py.server.wsgiutils import WebSocketWSGIApplication
from ws4py.websocket import EchoWebSocket

pytestmark = pytest.mark.usefixtures("no_thread_left")


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Serve websockets at /ws, and something plain elsewhere."""
    if environ["PATH_INFO"] == "/ws":
        return WebSocketWSGIApplication(handler_cls=EchoWebSocket)(environ, start_response)
    if environ["PATH_INFO"] == "/fail":
        raise LookupError("a fault of the application")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)) or b"plain"]


@contextmanager
def serving(
    app: Any = application,
    host: str = "127.0.0.1",
    server_class: type[WSGIServer] = WSGIServer,
    **attributes: Any,
) -> Iterator[WSGIServer]:
    handler = type("Handler", (WebSocketWSGIRequestHandler,), attributes)
    server = make_server(host, 0, app, server_class, handler_class=handler)
    server.initialize_websockets_manager()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join(TIMEOUT)
        server.server_close()


def get(server: WSGIServer, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", server.server_port, timeout=TIMEOUT)
    try:
        connection.request("GET" if body is None else "POST", path, body)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_plain_requests_and_websockets_are_served_side_by_side() -> None:
    asked = HANDSHAKE.replace(b"/ ", b"/ws ", 1)
    with serving() as server:
        sock, head = raw_connection(server.server_port, asked + frame(1, b"hello"))
        with sock:
            assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
            assert b"Content-Length" not in head
            assert get(server, "/") == (200, b"plain")
            assert get(server, "/", b"posted") == (200, b"posted")
            assert read_exactly(sock, 7) == b"\x81\x05hello"


def test_a_server_may_have_a_manager_of_its_own_drive_its_websockets() -> None:
    class Server(WSGIServer):
        def link_websocket_to_server(self, ws: Any) -> None:
            own.add(ws)

    asked = HANDSHAKE.replace(b"/ ", b"/ws ", 1)
    own = WebSocketManager()
    own.start()
    with serving(server_class=Server) as server:
        sock, _ = raw_connection(server.server_port, asked + frame(1, b"hello"))
        with sock:
            assert read_exactly(sock, 7) == b"\x81\x05hello"
            assert get(server, "/") == (200, b"plain")
            sock.sendall(frame(1, b"again"))
            assert read_exactly(sock, 7) == b"\x81\x05again"
            own.stop()
            own.join(TIMEOUT)
            read_to_end(sock)


@pytest.mark.parametrize("way", ["terminate", "close_connection"])
def test_one_that_is_ended_before_the_answer_is_not_linked(way: str) -> None:
    class Server(WSGIServer):
        def link_websocket_to_server(self, ws: Any) -> None:
            raise AssertionError("it has ended")

    def ends(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        result = application(environ, start_response)
        getattr(environ["ws4py.websocket"], way)()
        return result

    asked = HANDSHAKE.replace(b"/ ", b"/ws ", 1)
    with serving(ends, server_class=Server) as server:
        before = descriptors()
        for _ in range(3):
            sock, _ = raw_connection(server.server_port, asked)
            with sock:
                assert read_to_end(sock) == b""
        eventually(lambda: descriptors() <= before, "a descriptor was left open")


def test_without_our_server_the_application_takes_the_connection_over() -> None:
    asked = HANDSHAKE.replace(b"/ ", b"/ws ", 1)
    with make_server("127.0.0.1", 0, application, handler_class=WebSocketWSGIRequestHandler) as one:
        thread = threading.Thread(target=one.handle_request)
        thread.start()
        sock, _ = raw_connection(one.server_port, asked + frame(1, b"hello"))
        with sock:
            assert read_exactly(sock, 7) == b"\x81\x05hello"
            sock.sendall(frame(8, b"\x03\xe8"))
            read_to_end(sock)
        thread.join(TIMEOUT)


def test_a_bad_handshake_is_answered() -> None:
    with serving() as server:
        assert get(server, "/ws")[0] == 426
        sock, head = raw_connection(
            server.server_port, HANDSHAKE.replace(b"/ ", b"/ws ", 1).replace(b": 13", b": 8")
        )
        with sock:
            assert head.startswith(b"HTTP/1.1 426 ")
            assert b"\r\nSec-WebSocket-Version: 13\r\n" in head
            read_to_end(sock)


def test_an_exception_in_the_application_is_500_and_the_server_goes_on() -> None:
    with serving() as server:
        assert get(server, "/fail")[0] == 500
        assert get(server, "/") == (200, b"plain")


def test_a_line_break_in_a_header_of_an_application_does_not_split_its_response(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with serving(redirecting) as server:
        sock, head = raw_connection(server.server_port, SPLITTING)
        with sock:
            check_not_split(head + read_to_end(sock), capsys.readouterr().err)


def test_a_line_break_in_a_header_that_is_kept_for_later_does_not_split_it_either(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refusing(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("426 Upgrade Required", [("Location", "/app" + environ["PATH_INFO"])])
        return []

    with serving(refusing) as server:
        sock, head = raw_connection(server.server_port, SPLITTING)
        with sock:
            check_not_split(head + read_to_end(sock), capsys.readouterr().err)


def test_plain_requests_leave_no_descriptor_open() -> None:
    with serving() as server:
        get(server, "/")
        before = descriptors()
        for _ in range(20):
            get(server, "/")
            get(server, "/ws")
        eventually(lambda: descriptors() <= before, "descriptors were left open")


def test_websockets_leave_no_descriptor_open() -> None:
    with serving() as server:
        before = descriptors()
        for _ in range(10):
            sock, _ = raw_connection(server.server_port, HANDSHAKE.replace(b"/ ", b"/ws ", 1))
            sock.close()
        eventually(lambda: descriptors() <= before, "descriptors were left open")
        assert len(server.manager) == 0


def test_a_silent_client_is_dropped_in_time() -> None:
    with serving(timeout=0.1) as server:
        with socket.create_connection(("127.0.0.1", server.server_port), TIMEOUT) as sock:
            assert read_to_end(sock) == b""
        server.RequestHandlerClass.timeout = TIMEOUT
        assert get(server, "/") == (200, b"plain")


def test_a_client_that_vanishes_does_not_end_the_server() -> None:
    with serving() as server:
        for begun in (b"", b"GET /", HANDSHAKE[:50], HANDSHAKE.replace(b"/ ", b"/ws ", 1)):
            sock = socket.create_connection(("127.0.0.1", server.server_port), TIMEOUT)
            sock.sendall(begun)
            sock.close()
        assert get(server, "/") == (200, b"plain")


def test_a_line_that_is_too_long_is_answered() -> None:
    with serving() as server:
        # As much as it reads at once, twice: with less it would wait for more.
        sock, head = raw_connection(server.server_port, b"GET /".ljust(2 << 16, b"x"))
        sock.close()
        assert head.split(b" ")[1] == b"414"


def test_server_close_says_1001() -> None:
    made: list[RecordingWebSocket] = []

    def make(*args: Any, **kwargs: Any) -> RecordingWebSocket:
        made.append(RecordingWebSocket(*args, **kwargs))
        return made[0]

    with serving(WebSocketWSGIApplication(handler_cls=make)) as server:
        sock, _ = raw_connection(server.server_port)
        eventually(lambda: len(server.manager) == 1)
        closing = threading.Thread(target=server.server_close)
        closing.start()
        with sock:
            assert read_exactly(sock, 4) == b"\x88\x19\x03\xe9"
            sock.sendall(frame(8, b"\x03\xe9"))
            closing.join(TIMEOUT)
        assert not closing.is_alive()
    assert made[0].all_events()[-1] == ("closed", 1001, "")


def test_the_websocket_is_in_environ_only_while_the_application_runs() -> None:
    class Notes(WebSocketWSGIHandler):
        def finish_response(self) -> None:
            environ = self.environ
            seen.append({"ws4py.socket", "ws4py.websocket"} & set(environ))
            super().finish_response()
            seen.append({"ws4py.socket", "ws4py.websocket"} & set(environ))

    seen: list[set[str]] = []
    with serving(WebSocketWSGIHandler=Notes) as server:
        sock, _ = raw_connection(server.server_port, HANDSHAKE.replace(b"/ ", b"/ws ", 1))
        eventually(lambda: len(seen) == 2)
        sock.close()
    assert seen == [{"ws4py.socket", "ws4py.websocket"}, set()]


def test_the_standard_library_is_left_as_it_is() -> None:
    assert util.is_hop_by_hop("Connection")
    assert util.is_hop_by_hop("Upgrade")


@pytest.mark.parametrize("ending", [KeyboardInterrupt, SystemExit])
def test_ctrl_c_within_a_request_ends_the_server(ending: type[BaseException]) -> None:
    def interrupted(_environ: dict[str, Any], _start_response: Any) -> Iterable[bytes]:
        raise ending

    with (
        make_server("127.0.0.1", 0, interrupted, WSGIServer, WebSocketWSGIRequestHandler) as server,
        socket.create_connection(server.server_address, TIMEOUT) as sock,
    ):
        sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with pytest.raises(ending):
            server.handle_request()
        assert read_to_end(sock) == b""


def test_a_request_may_take_any_time_where_none_is_set() -> None:
    with serving(timeout=None) as server:
        address = ("127.0.0.1", server.server_port)
        with socket.create_connection(address, TIMEOUT) as sock:
            sock.sendall(HANDSHAKE[:30].replace(b"/ ", b"/ws ", 1))
            sock.sendall(HANDSHAKE[30:])
            assert read_exactly(sock, 13) == b"HTTP/1.1 101 "
        assert get(server, "/") == (200, b"plain")


def test_an_address_of_ipv6_is_served() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    with (
        serving(host="::1") as server,
        socket.create_connection(("::1", server.server_port), TIMEOUT) as sock,
    ):
        sock.sendall(HANDSHAKE.replace(b"/ ", b"/ws ", 1))
        assert read_exactly(sock, 13) == b"HTTP/1.1 101 "


def test_a_server_without_an_application_answers_nothing_until_it_has_one() -> None:
    with serving(None) as server:
        with socket.create_connection(("127.0.0.1", server.server_port), TIMEOUT) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert read_to_end(sock) == b""
        server.set_app(application)
        assert get(server, "/") == (200, b"plain")


def test_what_a_handler_logs_goes_to_the_logger_and_not_to_the_standard_error(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    def setup(self: Any) -> None:
        WebSocketWSGIRequestHandler.setup(self)
        self.log_message("asked by %s", self.client_address[0])

    with caplog.at_level(logging.INFO, "ws4py"), serving(setup=setup) as server:
        assert get(server, "/") == (200, b"plain")
    assert ("ws4py", logging.INFO, "asked by 127.0.0.1") in caplog.record_tuples
    assert capsys.readouterr().err == ""


def test_a_websocket_that_its_manager_does_not_take_is_dropped_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    made: list[EchoWebSocket] = []

    def make(*args: Any, **kwargs: Any) -> EchoWebSocket:
        made.append(EchoWebSocket(*args, **kwargs))
        return made[-1]

    with serving(WebSocketWSGIApplication(handler_cls=make)) as server:
        server.manager.stop()
        sock, head = raw_connection(server.server_port)
        with sock:
            assert head.startswith(b"HTTP/1.1 101 ")
            assert read_to_end(sock) == b""
        assert get(server, "/")[0] == 426
    assert made[0].terminated
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == ("ERROR", "A websocket could not be started")
    assert "this manager has been stopped" in caplog.text


def test_a_server_that_has_had_no_websocket_ends_in_its_time() -> None:
    server = make_server("127.0.0.1", 0, application, WSGIServer, WebSocketWSGIRequestHandler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    assert get(server, "/") == (200, b"plain")
    server.shutdown(drain=600)
    thread.join(TIMEOUT)
    assert not thread.is_alive()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(server.server_address, TIMEOUT)


def test_no_descriptor_for_a_connection_is_logged_and_it_is_served_later() -> None:
    program = textwrap.dedent(
        """
        import logging, os, resource
        from test.helpers import *
        from test.test_wsgirefserver import serving

        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        logged, told = threading.Event(), logging.Handler()
        told.emit = lambda record: (print(record.levelname, record.getMessage()), logged.set())
        logging.getLogger("ws4py").addHandler(told)
        with serving() as server, socket.socket() as sock:
            sock.settimeout(TIMEOUT)
            taken = use_up_descriptors()
            sock.connect(server.server_address)
            assert logged.wait(TIMEOUT)
            for fd in taken:
                os.close(fd)
            sock.sendall(b"GET / HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
            assert read_to_end(sock).endswith(b"plain")
        """
    )
    command, here = [sys.executable, "-c", program], Path(__file__).parent.parent
    done = subprocess.run(command, capture_output=True, text=True, timeout=3 * TIMEOUT, cwd=here)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines
    for line in lines:  # It may have been tried more than once.
        assert line.startswith("ERROR No connection can be accepted now: ")
