"""The ASGI application over HTTP/2 (RFC 8441), through hypercorn."""

from __future__ import annotations

import socket
import ssl
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import trustme

from test.asgi import serves
from test.conformance import CLOSE, TEXT, Echo
from test.engines.asgi_ import hypercorn_serving
from test.helpers import TIMEOUT, eventually, frame
from ws4py.server.asgi import WebSocketASGIApplication
from ws4py.websocket import WebSocket

h2_connection = pytest.importorskip("h2.connection")
h2_events = pytest.importorskip("h2.events")

HEADERS = [
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "https"),
    (":path", "/there?a=b"),
    (":authority", "localhost"),
    ("sec-websocket-version", "13"),
]


class Stream:
    """One stream of a connection of its own: a request, and what follows it."""

    def __init__(self, sock: ssl.SSLSocket, headers: list[tuple[str, str]], ends: bool) -> None:
        self._sock = sock
        self._events: deque[Any] = deque()
        self._connection = h2_connection.H2Connection()
        self._connection.initiate_connection()
        self._id = self._connection.get_next_available_stream_id()
        self._connection.send_headers(self._id, headers, end_stream=ends)
        self._flush()

    def _flush(self) -> None:
        self._sock.sendall(self._connection.data_to_send())

    def _next(self, kind: type) -> Any:
        while True:
            while self._events:
                event = self._events.popleft()
                if isinstance(event, kind):
                    return event
            data = self._sock.recv(65536)
            assert data, f"the connection ended where {kind} was expected"
            self._events += self._connection.receive_data(data)
            self._flush()

    def response(self) -> dict[str, str]:
        """Return the headers of the response."""
        headers = self._next(h2_events.ResponseReceived).headers
        return {name.decode(): value.decode() for name, value in headers}

    def data(self) -> bytes:
        """Return the data of the next frame that has any."""
        data: bytes = self._next(h2_events.DataReceived).data
        return data

    def send(self, data: bytes) -> None:
        self._connection.send_data(self._id, data)
        self._flush()


Ask = Callable[..., Stream]


@pytest.fixture
def application() -> WebSocketASGIApplication:
    handler = type("Handler", (Echo, WebSocket), {})
    origins = [None, "https://good.example"]
    return WebSocketASGIApplication(handler, protocols=["chat"], origins=origins)


@pytest.fixture
def ask(
    application: WebSocketASGIApplication, authority: trustme.CA, no_thread_left: None
) -> Iterator[Ask]:
    """Sends a request on a connection of its own, and returns its stream."""
    server_tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server_tls)
    client_tls = ssl.create_default_context()
    authority.configure_trust(client_tls)
    for context in (server_tls, client_tls):
        context.set_alpn_protocols(["h2"])
    with ExitStack() as stack:
        serve: Any = stack.enter_context(serves())
        port = serve.application(hypercorn_serving, application, tls=server_tls).port

        def ask(*headers: tuple[str, str], ends: bool = False) -> Stream:
            plain = socket.create_connection(("127.0.0.1", port), TIMEOUT)
            sock = client_tls.wrap_socket(plain, server_hostname="localhost")
            stack.enter_context(sock)
            return Stream(sock, list(headers), ends)

        yield ask


def test_a_websocket_lives_in_a_stream(ask: Ask, application: WebSocketASGIApplication) -> None:
    asked = ("sec-websocket-protocol", "other, chat")
    stream = ask(*HEADERS, ("origin", "https://good.example"), asked)
    response = stream.response()
    assert (response[":status"], response["sec-websocket-protocol"]) == ("200", "chat")
    eventually(lambda: any(application.websockets))
    websocket: Any = next(application.websockets)
    assert websocket.next_event() == ("opened",)
    environ = websocket.environ
    assert (environ["REQUEST_METHOD"], environ["SERVER_PROTOCOL"]) == ("GET", "HTTP/2")
    assert (environ["PATH_INFO"], environ["QUERY_STRING"]) == ("/there", "a=b")
    assert (environ["HTTP_HOST"], environ["wsgi.url_scheme"]) == ("localhost", "https")
    stream.send(frame(TEXT, b"over HTTP/2"))
    assert stream.data() == frame(TEXT, b"over HTTP/2", key=None)
    websocket.close(4001, "bye")
    assert stream.data() == frame(CLOSE, b"\x0f\xa1bye", key=None)
    stream.send(frame(CLOSE, b"\x0f\xa1"))
    assert [event[0] for event in websocket.all_events()] == ["text", "closed"]


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (("origin", "https://evil.example"), "403"),
        (("sec-websocket-protocol", "other"), "400"),
    ],
)
def test_a_request_that_is_refused_is_answered(
    ask: Ask, header: tuple[str, str], status: str
) -> None:
    stream = ask(*HEADERS, header)
    assert stream.response()[":status"] == status
    assert header[1].encode() in stream.data()


def test_a_plain_request_is_answered_426(ask: Ask) -> None:
    plain = [(":method", "GET"), *HEADERS[2:5]]
    response = ask(*plain, ends=True).response()
    assert response[":status"] == "426"
    assert "connection" not in response
