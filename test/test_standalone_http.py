"""What a server of ours gives to the WSGI application that answers plain requests beside it."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator
from http.client import HTTPSConnection
from typing import Any

import pytest

from test.helpers import TIMEOUT, echo_server
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
