"""Our own server: plain requests, paths, its end, and what connections that open may not do."""

from __future__ import annotations

import errno
import re
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterable
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import pytest

from test.helpers import (
    HANDSHAKE,
    TIMEOUT,
    Recorder,
    RecordingWebSocket,
    echo_server,
    eventually,
    frame,
    raw_connection,
    read_exactly,
    read_to_end,
    running,
    url_of,
)
from ws4py.client.threadedclient import WebSocketClient
from ws4py.limits import Limits
from ws4py.manager import WebSocketManager
from ws4py.server.standalone import WebSocketServer
from ws4py.websocket import EchoWebSocket, WebSocket

pytestmark = pytest.mark.usefixtures("no_thread_left")


class Client(Recorder, WebSocketClient):
    """A threaded client that records."""


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Answer with what was asked for."""
    if environ["PATH_INFO"] == "/fail":
        raise LookupError("a fault of the application")
    start_response("200 OK", [("Content-Type", "text/plain")])
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    asked = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']} {environ['QUERY_STRING']} "
    return [asked.encode(), body]


def request(server: WebSocketServer, *args: Any, **kwargs: Any) -> tuple[HTTPResponse, bytes]:
    connection = HTTPConnection("127.0.0.1", server.server_address[1], timeout=TIMEOUT)
    try:
        connection.request(*args, **kwargs)
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def status_of(server: WebSocketServer, head: bytes) -> bytes:
    sock, answer = raw_connection(server.server_address[1], head)
    sock.close()
    return answer.split(b"\r\n")[0]


def serves(server: WebSocketServer) -> bool:
    """Say whether a new connection is served."""
    sock, head = raw_connection(server.server_address[1], HANDSHAKE + frame(1, b"hello"))
    with sock:
        return head.startswith(b"HTTP/1.1 101 ") and read_exactly(sock, 7) == b"\x81\x05hello"


def test_paths_have_classes_and_other_paths_are_404() -> None:
    with echo_server({"/echo": EchoWebSocket, "/other": RecordingWebSocket}) as server:
        assert status_of(server, HANDSHAKE.replace(b"/ ", b"/echo ", 1)).startswith(b"HTTP/1.1 101")
        assert status_of(server, HANDSHAKE.replace(b"/ ", b"/echo?x ", 1))[9:12] == b"101"
        for path in (b"/", b"/echo/", b"/Echo"):
            assert status_of(server, HANDSHAKE.replace(b"/ ", path + b" ", 1))[9:12] == b"404"


def test_a_plain_request_without_an_application_is_426() -> None:
    with echo_server() as server:
        response, body = request(server, "GET", "/")
        assert response.status == 426
        assert response.headers["Upgrade"] == "websocket"
        assert body


def test_a_plain_request_is_answered_by_the_application() -> None:
    with echo_server(http=application) as server:
        response, body = request(server, "GET", "/a%20b?c=d")
        assert (response.status, body) == (200, b"GET /a b c=d ")
        assert serves(server)


def test_the_body_of_a_plain_request_reaches_the_application() -> None:
    with echo_server(http=application, limits=Limits(max_body=100_000)) as server:
        _, body = request(server, "POST", "/", b"x" * 100_000)
        assert body == b"POST /  " + b"x" * 100_000


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"Content-Length: 65537\r\n", b"413"),
        (b"Content-Length: 1" + b"0" * 5000 + b"\r\n", b"413"),
        (b"Content-Length: -1\r\n", b"400"),
        (b"Content-Length: +5\r\n", b"400"),
        (b"Content-Length: 5, 5\r\n", b"400"),
        (b"Content-Length: 5\r\nContent-Length: 5\r\n", b"400"),
        (b"Transfer-Encoding: chunked\r\n", b"411"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused(head: bytes, status: bytes) -> None:
    with echo_server(http=application) as server:
        asked = b"POST / HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n"
        assert status_of(server, asked)[9:12] == status
        assert serves(server)


def test_the_answer_to_head_has_no_body() -> None:
    with echo_server(http=application) as server:
        sock, head = raw_connection(
            server.server_address[1], b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n"
        )
        with sock:
            assert head.split(b" ")[1] == b"200"
            assert read_to_end(sock) == b""


def test_an_exception_in_the_application_is_500_and_the_server_goes_on() -> None:
    with echo_server(http=application) as server:
        response, body = request(server, "GET", "/fail")
        assert response.status == 500
        assert b"LookupError" not in body
        assert serves(server)


def test_a_large_answer_of_the_application_arrives() -> None:
    def large(_environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [b"x" * 1_000_000] * 8

    with echo_server(http=large) as server:
        assert len(request(server, "GET", "/")[1]) == 8_000_000


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"hello\r\n\r\n", b"400"),
        (b"\r\n\r\n", b"400"),
        (HANDSHAKE.replace(b"GET", b"POST"), b"405"),
        (HANDSHAKE.replace(b"HTTP/1.1", b"HTTP/1.0"), b"400"),
        (HANDSHAKE.replace(b": 13", b": 8"), b"426"),
        (HANDSHAKE.replace(b"dGhl", b"????"), b"400"),
        (HANDSHAKE.replace(b"\r\n\r\n", b"\r\nContent-Length: 1\r\n\r\n"), b"400"),
        (HANDSHAKE.replace(b"Upgrade: websocket", b"Upgrade: h2c"), b"426"),
        (b"GET /" + b"x" * 9000, b"414"),
        (b"GET / HTTP/1.1\r\n" + b"X: x\r\n" * 200 + b"\r\n", b"431"),
    ],
    ids=lambda value: repr(value[:40]),
)
def test_a_bad_request_is_answered_and_the_connection_ends(head: bytes, status: bytes) -> None:
    with echo_server() as server:
        sock, answer = raw_connection(server.server_address[1], head)
        with sock:
            assert answer.split(b" ")[1] == status
            read_to_end(sock)
        assert serves(server)


def test_a_refused_head_request_has_no_body() -> None:
    with echo_server() as server:
        request = HANDSHAKE.replace(b"GET", b"HEAD")
        sock, answer = raw_connection(server.server_address[1], request)
        with sock:
            assert answer.startswith(b"HTTP/1.1 405 ")
            assert read_to_end(sock) == b""


def test_subprotocols_and_origins_are_judged() -> None:
    with echo_server(protocols=["a", "b"], origins=["https://example.com"]) as server:
        good = HANDSHAKE.replace(b"\r\n\r\n", b"\r\nOrigin: https://example.com\r\n\r\n")
        assert status_of(server, good)[9:12] == b"101"
        assert status_of(server, HANDSHAKE)[9:12] == b"403"
        assert status_of(server, good.replace(b".com", b".org"))[9:12] == b"403"
        asked = good.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: x, b, a\r\n\r\n")
        sock, head = raw_connection(server.server_address[1], asked)
        sock.close()
        assert b"\r\nSec-WebSocket-Protocol: b\r\n" in head
        assert status_of(server, asked.replace(b": x, b, a", b": x"))[9:12] == b"400"


def test_a_constructor_that_fails_is_500_and_the_server_goes_on() -> None:
    class Fails(EchoWebSocket):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            if self.environ["PATH_INFO"] == "/fail":
                raise LookupError("a fault of the application")

    with echo_server(Fails) as server:
        failing = HANDSHAKE.replace(b"/ ", b"/fail ", 1)
        sock, head = raw_connection(server.server_address[1], failing)
        with sock:
            assert head.startswith(b"HTTP/1.1 500 ")
            assert b"a fault" not in read_to_end(sock)
        assert serves(server)


def test_a_handler_class_that_is_none_is_refused_at_once() -> None:
    class Waits(WebSocket):
        async def received_message(self, message: Any) -> None: ...

    for handler in (Waits, {"/": Waits}, "EchoWebSocket"):
        with pytest.raises(TypeError):
            WebSocketServer(("127.0.0.1", 0), handler)


def test_a_taken_port_is_an_os_error() -> None:
    with echo_server() as server, pytest.raises(OSError) as caught:
        WebSocketServer(server.server_address)
    assert caught.value.errno == errno.EADDRINUSE


@pytest.mark.parametrize(
    "address", [9000, None, ("127.0.0.1",), ("127.0.0.1", "9000"), (9000, "127.0.0.1"), (None, 0)]
)
def test_what_is_no_address_is_a_type_error_that_names_it(address: Any) -> None:
    with pytest.raises(TypeError, match=re.escape(repr(address))):
        WebSocketServer(address)


@pytest.mark.parametrize("port", [-1, 65536, 99999])
def test_what_is_no_port_is_a_value_error_that_names_it(port: int) -> None:
    with pytest.raises(ValueError, match=f"^{port} is not a port"):
        WebSocketServer(("127.0.0.1", port))


@pytest.mark.parametrize("tls", [False, True])
def test_connections_that_say_nothing_are_dropped_in_time_and_block_nobody(
    tls: bool, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    context = server_tls if tls else None
    with echo_server(ssl_context=context, limits=Limits(open_timeout=2)) as server:
        address = ("127.0.0.1", server.server_address[1])
        silent = [socket.create_connection(address, TIMEOUT) for _ in range(20)]
        for sock in silent[10:]:
            sock.sendall(b"\x16\x03" if tls else b"GET / HTTP/1.1\r\nHost:")
        client = Client(url_of(server), ssl_context=client_tls)
        client.connect()
        client.send("hello")
        assert [client.next_event(), client.next_event()][1] == ("text", b"hello")
        for sock in silent:
            with sock:
                try:
                    read_to_end(sock)
                except ConnectionResetError:
                    continue
        assert not server._openings
        client.close()
        client.run_forever()


def test_a_client_that_does_not_take_its_refusal_is_dropped_in_time() -> None:
    with echo_server(limits=Limits(open_timeout=2)) as server:
        sock, head = raw_connection(server.server_address[1], b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        with sock:
            assert head.split(b" ")[1] == b"426"
            eventually(lambda: not server._openings, "a refused connection is held open")


@pytest.mark.parametrize("tls", [False, True])
def test_shutdown_from_another_thread_closes_everybody_with_1001(
    tls: bool, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    server = WebSocketServer(("127.0.0.1", 0), ssl_context=server_tls if tls else None)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    clients = [Client(url_of(server), ssl_context=client_tls) for _ in range(3)]
    for client in clients:
        client.connect()
    server.shutdown()
    assert len(server.manager) == 0
    thread.join(TIMEOUT)
    assert not thread.is_alive()
    for client in clients:
        assert client.all_events()[-1] == ("closed", 1001, "Server is shutting down")
        client.run_forever()
    server.server_close()


def test_shutdown_ends_connections_that_are_opening() -> None:
    with echo_server() as server:
        opening = socket.create_connection(("127.0.0.1", server.server_address[1]), TIMEOUT)
        eventually(lambda: bool(server._openings), "the connection was not accepted")
        server.shutdown()
        with opening:
            assert read_to_end(opening) == b""


def test_shutdown_does_not_wait_for_longer_than_the_close_timeout() -> None:
    with echo_server(limits=Limits(close_timeout=0.1)) as server:
        sock, _ = raw_connection(server.server_address[1])
        server.shutdown()
        with sock:
            assert read_exactly(sock, 2)[0] == 0x88


def test_who_has_been_answered_gets_a_close_when_another_ends_the_server_meanwhile() -> None:
    class Ends(WebSocket):
        def opened(self) -> None:
            server.shutdown()

    server = WebSocketServer(("127.0.0.1", 0), Ends, limits=Limits(close_timeout=0.1))
    address = ("127.0.0.1", server.server_address[1])
    together = [socket.create_connection(address, TIMEOUT) for _ in range(5)]
    for sock in together:
        sock.sendall(HANDSHAKE)
    server.serve_forever()
    server.server_close()
    for sock in together:
        with sock:
            head, _, rest = read_to_end(sock).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101 ")
            assert rest[:1] == b"\x88"


def test_shutdown_in_a_callback_ends_the_server() -> None:
    class Ends(Recorder, WebSocket):
        def received_message(self, _message: Any) -> None:
            server.shutdown()

    server = WebSocketServer(("127.0.0.1", 0), Ends, limits=Limits(close_timeout=5))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    client = Client(url_of(server))
    client.connect()
    client.send("end")
    assert client.all_events()[-1][:2] == ("closed", 1001)
    client.run_forever()
    thread.join(TIMEOUT)
    assert not thread.is_alive()
    server.server_close()


def test_server_close_may_be_called_twice_and_before_serving() -> None:
    server = WebSocketServer(("127.0.0.1", 0))
    address = server.server_address
    server.server_close()
    server.server_close()
    server.shutdown()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, TIMEOUT)


def test_a_server_that_was_shut_down_before_it_serves_returns_at_once() -> None:
    with WebSocketServer(("127.0.0.1", 0)) as server:
        server.shutdown()
        server.serve_forever()


def test_a_server_ends_with_its_context() -> None:
    with WebSocketServer(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        assert serves(server)
    thread.join(TIMEOUT)
    assert not thread.is_alive()
    assert server.fileno() == -1


def test_a_given_manager_is_left_alone() -> None:
    manager = WebSocketManager()
    manager.start()
    with running(WebSocketServer(("127.0.0.1", 0), manager=manager)) as server:
        client = Client(url_of(server))
        client.connect()
        eventually(lambda: len(manager) == 1, "there is not one websocket")
        server.server_close()
        client.send("still here")
        assert [client.next_event(), client.next_event()][1] == ("text", b"still here")
    with running(WebSocketServer(("127.0.0.1", 0), manager=manager)) as server:
        assert serves(server)
    assert manager.running
    manager.close_all()
    client.run_forever()
    manager.stop()
    manager.join(TIMEOUT)


def test_two_servers_share_a_manager() -> None:
    manager = WebSocketManager()
    manager.start()
    servers = [WebSocketServer(("127.0.0.1", 0), manager=manager) for _ in range(2)]
    with running(servers[0]) as one, running(servers[1]) as two:
        assert serves(one)
        assert serves(two)
        one.server_close()
        assert serves(two)
    manager.stop()
    manager.join(TIMEOUT)


def test_a_descriptor_that_the_application_closes_reaches_no_other_connection() -> None:
    class Careless(Recorder, WebSocket):
        def received_message(self, message: Any) -> None:
            self.sock.close()

    class Handler(EchoWebSocket):
        pass

    with echo_server({"/": Handler, "/careless": Careless}) as server:
        sock, _ = raw_connection(
            server.server_address[1], HANDSHAKE.replace(b"/ ", b"/careless ", 1)
        )
        with sock:
            sock.sendall(frame(1, b"close"))
            assert read_to_end(sock) == b""
        assert serves(server)


def test_a_server_serves_again_after_its_descriptors_had_run_out() -> None:
    program = textwrap.dedent(
        """
        import resource, socket, threading
        from test.helpers import *
        from ws4py.client.threadedclient import WebSocketClient

        with echo_server() as server:
            resource.setrlimit(resource.RLIMIT_NOFILE, (30, 30))
            address = ("127.0.0.1", server.server_address[1])
            socks = []
            try:
                while True:
                    socks.append(socket.create_connection(address, TIMEOUT))
            except OSError as error:
                assert error.errno == 24, error
            for sock in socks:
                sock.close()
            sock, head = raw_connection(address[1], HANDSHAKE + frame(1, b"hello"))
            assert head.startswith(b"HTTP/1.1 101 "), head
            assert read_exactly(sock, 7) == b"\\x81\\x05hello"
            sock.close()
        print("served")
        """
    )
    command, here = [sys.executable, "-c", program], Path(__file__).parent.parent
    done = subprocess.run(command, capture_output=True, text=True, timeout=3 * TIMEOUT, cwd=here)
    assert done.stdout == "served\n", done.stderr


def test_a_handshake_and_small_messages_allocate_no_block_for_a_large_read() -> None:
    tracemalloc = pytest.importorskip("tracemalloc", reason="PyPy has none")
    with echo_server() as server:
        for is_measured in (False, True):
            sock = socket.create_connection(server.server_address, timeout=TIMEOUT)
            if is_measured:
                tracemalloc.start()
            with sock:
                sock.sendall(HANDSHAKE)
                assert sock.recv(1000).startswith(b"HTTP/1.1 101 ")
                for _ in range(10):
                    sock.sendall(frame(1, b"hello"))
                    assert read_exactly(sock, 7) == b"\x81\x05hello"
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 32 * 1024


def test_the_listening_socket_can_be_duplicated() -> None:
    with echo_server() as server, server.socket.dup() as other:
        assert (other.family, other.getsockname()) == (socket.AF_INET, server.server_address)
