"""CherryPy's tool: requests, page handlers and the way to a websocket."""

from __future__ import annotations

import re
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from queue import Queue
from typing import Any

import cherrypy
import pytest

from test.conformance import PING, TEXT, Echo, Peer, read_head
from test.engines import cherrypy_
from test.engines.cherrypy_ import Root, TLSAdapter, application, port_of, serving
from test.helpers import (
    HANDSHAKE,
    TIMEOUT,
    RecordingWebSocket,
    eventually,
    raw_connection,
    read_exactly,
    read_to_end,
)
from ws4py.limits import Limits
from ws4py.websocket import EchoWebSocket, WebSocket

pytestmark = pytest.mark.usefixtures("no_thread_left")

made: Queue[Any] = Queue()


class Handler(Echo, WebSocket):
    """An echo that can be asked for."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        made.put(self)


@pytest.fixture(autouse=True)
def nothing_made() -> None:
    made.queue.clear()


@pytest.fixture
def serve() -> Iterator[Callable[..., int]]:
    """Serves the page handlers of a root, with the tool on at every path; returns the port."""
    with ExitStack() as stack:

        def serve(root: Any, path: str = "/", threads: int = 2, **options: Any) -> int:
            app = application(root, path, handler_cls=options.pop("handler_cls", Handler))
            app.merge({path: options})
            return port_of(stack.enter_context(serving(app, threads=threads)))

        yield serve


def connect(port: int, request: bytes = HANDSHAKE) -> Peer:
    """Do the opening handshake; return the client."""
    sock, head = raw_connection(port, request)
    assert head.startswith(b"HTTP/1.1 101 "), head
    return Peer(sock, masks=True)


def ask(port: int, request: bytes = HANDSHAKE) -> tuple[bytes, bytes]:
    """Return the head and the body of the answer to a request after which the connection ends."""
    sock, head = raw_connection(port, request)
    with sock:
        return head, read_to_end(sock)


def get(path: bytes) -> bytes:
    return b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path


def reset(sock: socket.socket) -> None:
    """End a connection so that the other end cannot write any more."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def expect_echo(peer: Peer, text: bytes = b"hello") -> None:
    peer.send(TEXT, text)
    assert peer.message() == (TEXT, text)


def test_the_page_handler_has_the_websocket_before_it_is_opened(serve: Any) -> None:
    seen: Queue[Any] = Queue()

    class Page:
        @cherrypy.expose
        def index(self, name: str) -> None:
            websocket = cherrypy.request.ws_handler
            seen.put((websocket, websocket.peer_address, websocket.events.empty(), name))

    peer = connect(serve(Page()), HANDSHAKE.replace(b"GET / ", b"GET /?name=Ada "))
    websocket = made.get(timeout=TIMEOUT)
    assert seen.get(timeout=TIMEOUT) == (websocket, peer.sock.getsockname(), True, "Ada")


def test_the_environ_is_that_of_the_request(serve: Any) -> None:
    tree = cherrypy._cptree.Tree()
    tree.mount(Root(), "/app", application(Root(), handler_cls=Handler).config)
    request = HANDSHAKE.replace(b"GET / ", b"GET /app/a%20b/c?x=1&y=%20 ")
    with serving(tree) as server:
        peer = connect(port_of(server), request[:-2] + b"X-One: 1\r\n\r\n")
        environ = made.get(timeout=TIMEOUT).environ
        peer.sock.close()
    expected = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "/app",
        "PATH_INFO": "/a b/c",
        "QUERY_STRING": "x=1&y=%20",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "localhost",
        "HTTP_X_ONE": "1",
        "wsgi.url_scheme": "http",
    }
    assert {name: environ[name] for name in expected} == expected
    assert "wsgi.input" not in environ


def test_under_tls_the_environ_says_so(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    app = application(Root(), handler_cls=Handler)
    with serving(app, tls=TLSAdapter(server_tls)) as server:
        plain = socket.create_connection(("127.0.0.1", port_of(server)), TIMEOUT)
        with client_tls.wrap_socket(plain, server_hostname="localhost") as sock:
            sock.sendall(HANDSHAKE)
            assert read_head(sock).startswith(b"HTTP/1.1 101 ")
            assert made.get(timeout=TIMEOUT).environ["wsgi.url_scheme"] == "https"


def test_a_websocket_that_sends_before_it_is_opened_is_a_server_error(serve: Any) -> None:
    class Page:
        @cherrypy.expose
        def index(self) -> None:
            cherrypy.request.ws_handler.send("too early")

    head, body = ask(serve(Page()))
    assert head.startswith(b"HTTP/1.1 500 ")
    assert b"a websocket cannot send before it is connected" in body
    assert made.get(timeout=TIMEOUT).events.empty()


@pytest.mark.parametrize("way", ["terminate", "close_connection"])
def test_a_page_handler_may_end_the_websocket_which_refuses_the_request(
    serve: Any, way: str
) -> None:
    class Page:
        @cherrypy.expose
        def index(self, end: str = "") -> None:
            if end:
                getattr(cherrypy.request.ws_handler, way)()

    port = serve(Page())
    friend = connect(port)
    for _ in range(3):
        head, body = ask(port, HANDSHAKE.replace(b"GET / ", b"GET /?end=1 "))
        assert head.startswith(b"HTTP/1.1 403 ")
        assert b"Sec-WebSocket-Accept" not in head
        assert b"ended before" in body
    friend.send(1, b"hello")
    assert friend.message() == (1, b"hello")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (LookupError("a fault of the page"), b"500"),
        (cherrypy.HTTPError(403, "not you"), b"403"),
        (cherrypy.HTTPRedirect("http://localhost/elsewhere"), b"303"),
    ],
    ids=repr,
)
def test_a_page_handler_that_raises_opens_no_websocket(
    serve: Any, error: Exception, status: bytes
) -> None:
    class Page:
        @cherrypy.expose
        def index(self) -> None:
            raise error

    head, _ = ask(serve(Page()))
    assert head.split(b" ")[1] == status
    assert b"\r\nContent-Length: " in head
    assert b"\r\nConnection: close\r\n" in head
    assert b"Sec-WebSocket-Accept" not in head
    websocket = made.get(timeout=TIMEOUT)
    assert (websocket.sock, websocket.events.empty()) == (None, True)


def test_nothing_follows_an_error_where_a_class_has_a_socket_of_its_own(serve: Any) -> None:
    class Page:
        @cherrypy.expose
        def index(self) -> None:
            raise cherrypy.HTTPError(500, "no page")

    class Dups(Handler):
        def __init__(self, sock: Any, *args: Any) -> None:
            super().__init__(sock.dup(), *args)

        def opened(self) -> None:
            self.send("never")

    head, body = ask(serve(Page(), handler_cls=Dups))
    assert head.startswith(b"HTTP/1.1 500 ")
    assert b"never" not in body


def test_a_page_handler_that_changes_the_status_opens_no_websocket(serve: Any) -> None:
    class Page:
        @cherrypy.expose
        def index(self) -> bytes:
            cherrypy.response.status = "503 Service Unavailable"
            return b"full"

    head, body = ask(serve(Page()))
    assert head.startswith(b"HTTP/1.1 503 ")
    assert body == b"full"
    assert made.get(timeout=TIMEOUT).sock is None


def test_a_page_handler_that_goes_on_elsewhere_opens_the_websocket_of_that_path() -> None:
    class Page:
        @cherrypy.expose
        def index(self) -> None:
            raise cherrypy.InternalRedirect("/other")

        @cherrypy.expose
        def other(self) -> None:
            pass

    with serving(application(Page(), handler_cls=Handler)) as server:
        expect_echo(connect(port_of(server)))
        first, second = made.get(timeout=TIMEOUT), made.get(timeout=TIMEOUT)
        assert (first.sock, first.events.empty()) == (None, True)
        assert second.next_event() == ("opened",)


@pytest.mark.parametrize("stream", [False, True])
def test_what_the_page_handler_returns_is_not_sent(serve: Any, stream: bool) -> None:
    class Page:
        @cherrypy.expose
        def index(self) -> Any:
            cherrypy.response.stream = stream
            return iter([b"not a frame"])

    expect_echo(connect(serve(Page())))


def test_headers_of_the_page_handler_are_sent_but_for_those_of_a_body(serve: Any) -> None:
    class Page:
        @cherrypy.expose
        def index(self) -> None:
            cherrypy.response.cookie["colour"] = "blue"
            cherrypy.response.headers.update({"X-Two": "2", "Content-Language": "en"})

    sock, head = raw_connection(serve(Page()))
    with sock:
        assert b"\r\nX-Two: 2\r\n" in head
        assert b"\r\nSet-Cookie: colour=blue\r\n" in head
        assert b"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" in head
        assert b"content-" not in head.lower()


def test_a_handler_class_that_cannot_be_made_is_a_server_error(serve: Any) -> None:
    class Failing(WebSocket):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            raise LookupError("a fault of the application")

    head, body = ask(serve(Root(), handler_cls=Failing))
    assert head.startswith(b"HTTP/1.1 500 ")
    assert body == b"Internal error\n"


def test_a_path_has_the_class_and_the_options_of_its_configuration() -> None:
    class Other(RecordingWebSocket):
        def received_message(self, message: Any) -> None:
            self.send("another one")

    class Pages(Root):
        @cherrypy.expose
        @cherrypy.tools.websocket(handler_cls=Other, protocols=["chat"], limits=Limits(max_queue=7))
        def other(self) -> None:
            made.put(cherrypy.request.ws_handler)

    app = application(Pages(), "/echo", handler_cls=EchoWebSocket)
    with serving(app) as server:
        port = port_of(server)
        expect_echo(connect(port, HANDSHAKE.replace(b"GET / ", b"GET /echo ")))
        asks = b"Sec-WebSocket-Protocol: chat\r\n\r\n"
        peer = connect(port, HANDSHAKE.replace(b"GET / ", b"GET /other ")[:-2] + asks)
        peer.send(TEXT, b"hello")
        assert peer.message() == (TEXT, b"another one")
        websocket = made.get(timeout=TIMEOUT)
        assert (websocket.protocols, websocket.limits.max_queue) == (["chat"], 7)


def test_the_heartbeat_of_the_configuration_beats(serve: Any) -> None:
    peer = connect(serve(Root(), **{"tools.websocket.heartbeat_freq": 0.02}))
    assert peer.message() == (PING, b"")


@pytest.mark.parametrize("version", [(8, 13), (8,)])
def test_version_13_is_spoken_whatever_is_configured(serve: Any, version: Any) -> None:
    port = serve(Root(), **{"tools.websocket.version": version})
    expect_echo(connect(port))
    head, _ = ask(port, HANDSHAKE.replace(b": 13", b": 8"))
    assert head.startswith(b"HTTP/1.1 426 ")
    assert b"\r\nSec-WebSocket-Version: 13\r\n" in head


@pytest.mark.parametrize(
    ("request_", "status", "why"),
    [
        (HANDSHAKE.replace(b"HTTP/1.1", b"HTTP/1.0"), b"400", b"the HTTP version"),
        (HANDSHAKE[:-2] + b"Content-Length: 5\r\n\r\nhello", b"400", b"no body"),
        (HANDSHAKE[:-2] + b"Content-Length: 5\r\n\r\n", b"400", b"no body"),
        (HANDSHAKE[:-2] + b"Transfer-Encoding: chunked\r\n\r\n", b"400", b"no body"),
        (b"POST" + HANDSHAKE[3:-2] + b"Content-Length: 5\r\n\r\nhello", b"405", b"GET"),
        (get(b"/"), b"426", b"HTTP_UPGRADE"),
    ],
    ids=["HTTP/1.0", "body", "late body", "chunks", "POST", "plain"],
)
def test_a_request_that_is_refused_is_told_why_and_the_connection_ends(
    serve: Any, request_: bytes, status: bytes, why: bytes
) -> None:
    head, body = ask(serve(Root()), request_)
    assert head.split(b" ")[1] == status
    assert b"\r\nContent-Type: text/plain; charset=utf-8\r\n" in head
    assert why in body
    assert made.empty()


def test_plain_requests_come_before_the_upgrade_on_one_connection() -> None:
    class Pages(Root):
        @cherrypy.expose
        def plain(self, n: str) -> bytes:
            return b"page " + n.encode()

    with serving(application(Pages(), "/ws", handler_cls=Handler)) as server:
        sock, head = raw_connection(port_of(server), get(b"/plain?n=1"))
        assert head.startswith(b"HTTP/1.1 200 ")
        assert read_exactly(sock, 6) == b"page 1"
        peer = Peer(sock, masks=True)
        upgrade = HANDSHAKE.replace(b"GET / ", b"GET /ws ") + peer.build(TEXT, b"early")
        sock.sendall(get(b"/plain?n=2") + get(b"/plain?n=3") + upgrade)
        for body in (b"page 2", b"page 3"):
            assert read_head(sock).startswith(b"HTTP/1.1 200 ")
            assert read_exactly(sock, 6) == body
        assert read_head(sock).startswith(b"HTTP/1.1 101 ")
        assert peer.message() == (TEXT, b"early")
        expect_echo(peer)


def test_thirty_open_websockets_leave_two_worker_threads_free() -> None:
    class Pages(Root):
        @cherrypy.expose
        def plain(self) -> bytes:
            return b"a page"

    with serving(application(Pages(), "/ws", handler_cls=Handler), threads=2) as server:
        request = HANDSHAKE.replace(b"GET / ", b"GET /ws ")
        peers = [connect(port_of(server), request) for _ in range(30)]
        sock, _ = raw_connection(port_of(server), get(b"/plain"))
        with sock:
            assert read_exactly(sock, 6) == b"a page"
        for number, peer in enumerate(peers):
            expect_echo(peer, b"%d" % number)
        eventually(lambda: server.requests.idle == 2, "a worker thread is not free")


def test_a_server_without_the_plugin_answers_with_an_error_that_names_it() -> None:
    server = cherrypy_.make_server(application(Root(), handler_cls=Handler))
    with cherrypy_.running(cherrypy_.Adapter(None, server)):
        sock, head = raw_connection(port_of(server))
        with sock:
            assert head.startswith(b"HTTP/1.1 500 ")
            body = read_exactly(sock, int(re.findall(rb"Content-Length: (\d+)", head)[0]))
            assert b"WebSocketPlugin(cherrypy.engine).subscribe()" in body
    assert made.empty()


def test_arguments_that_cannot_be_are_a_server_error(serve: Any) -> None:
    head, body = ask(serve(Root(), **{"tools.websocket.protocols": ["not one"]}))
    assert head.startswith(b"HTTP/1.1 500 ")
    assert b"cannot be the name of a subprotocol" in body


def test_the_page_handler_still_runs_when_the_client_has_gone(serve: Any) -> None:
    class Page:
        @cherrypy.expose
        def index(self) -> None:
            arrived.put(cherrypy.request.ws_handler)
            go_on.get(timeout=TIMEOUT)

    arrived: Queue[Any] = Queue()
    go_on: Queue[None] = Queue()
    port = serve(Page())
    sock = socket.create_connection(("127.0.0.1", port), TIMEOUT)
    sock.sendall(HANDSHAKE)
    websocket = arrived.get(timeout=TIMEOUT)
    reset(sock)
    go_on.put(None)
    eventually(lambda: websocket.sock is None or websocket.sock.fileno() < 0, "it stays open")
    go_on.put(None)
    expect_echo(connect(port))
