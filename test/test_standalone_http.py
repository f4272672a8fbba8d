"""What a server of ours gives to the WSGI application that answers plain requests beside it."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator
from http.client import HTTPSConnection
from typing import Any

import pytest

from test.helpers import TIMEOUT, echo_server, raw_connection, read_to_end
from test.test_standalone import request

pytestmark = pytest.mark.usefixtures("no_thread_left")


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Do what the path says."""
    path = environ["PATH_INFO"]
    if path == "/lost":
        raise ConnectionResetError("the database has gone")
    start_response("200 OK", [("Content-Type", "text/plain")])
    if path == "/lost-later":
        return lost()
    environ["wsgi.errors"].write("a line for whoever runs this\n")
    return [environ["wsgi.url_scheme"].encode()]


def lost() -> Iterator[bytes]:
    rows: list[bytes] = []
    if not rows:
        raise BrokenPipeError("the database has gone")
    yield from rows


@pytest.mark.parametrize("path", ["/lost", "/lost-later"])
def test_an_application_that_loses_a_connection_of_its_own_is_a_500_that_is_logged(
    caplog: pytest.LogCaptureFixture, path: str
) -> None:
    with echo_server(http=application) as server:
        response, _ = request(server, "GET", path)
    assert response.status == 500
    assert "the database has gone" in caplog.text


SPLITTING = b"GET /x%0d%0aSet-Cookie:%20session=evil HTTP/1.1\r\nHost: localhost\r\n\r\n"


def redirecting(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Redirect to a path that whoever asks has chosen."""
    start_response("302 Found", [("Location", "/app" + environ["PATH_INFO"])])
    return []


def check_not_split(answer: bytes, logged: str) -> None:
    assert answer.split(b" ")[1] == b"500"
    assert b"Location" not in answer
    assert b"evil" not in answer
    assert r"'Location: /app/x\r\nSet-Cookie: session=evil' cannot be a header" in logged


def test_a_line_break_in_a_header_of_an_application_does_not_split_its_response(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with echo_server(http=redirecting) as server:
        sock, head = raw_connection(server.server_address[1], SPLITTING)
        with sock:
            check_not_split(head + read_to_end(sock), caplog.text)
        response, _ = request(server, "GET", "/y")
        assert response.getheader("Location") == "/app/y"


def changes_later(_environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    headers = [("X", "known")]
    start_response("200 OK", headers)
    headers[0] = ("X", "a\r\nY: b")
    return [b"as it was"]


def test_an_application_cannot_change_headers_that_it_has_given() -> None:
    with echo_server(http=changes_later) as server:
        response, body = request(server, "GET", "/")
    assert (response.getheader("X"), response.getheader("Y"), body) == ("known", None, b"as it was")


@pytest.mark.parametrize(
    ("status", "header"),
    [
        ("200 OK\r\nX: y", ("X", "y")),
        ("200 OK", ("X", "a\nY: b")),
        ("200 OK", ("X", "a\rY: b")),
        ("200 OK", ("X: a\r\nY", "b")),
        ("200 OK", ("X", "\u2603")),
    ],
)
def test_what_cannot_be_sent_is_a_500_in_place_of_half_a_response(
    status: str, header: tuple[str, str]
) -> None:
    def application(_environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response(status, [header])
        return []

    with echo_server(http=application) as server:
        response, _ = request(server, "GET", "/")
    assert response.status == 500
    assert response.getheader("X") is None


def test_what_an_application_writes_to_its_errors_is_seen(capfd: Any) -> None:
    with echo_server(http=application) as server:
        assert request(server, "GET", "/")[1] == b"http"
    assert capfd.readouterr().err == "a line for whoever runs this\n"


def test_an_application_behind_tls_is_told_so(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    with echo_server(http=application, ssl_context=server_tls) as server:
        port = server.server_address[1]
        connection = HTTPSConnection("127.0.0.1", port, timeout=TIMEOUT, context=client_tls)
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"https"
        connection.close()


def test_a_request_that_offers_http2_is_answered_by_the_application() -> None:
    upgrade = {
        "Upgrade": "h2c",
        "Connection": "Upgrade, HTTP2-Settings",
        "HTTP2-Settings": "AAMAAABkAARAAAAAAAIAAAAA",
    }
    with echo_server(http=application) as server:
        assert request(server, "GET", "/", headers=upgrade)[1] == b"http"
