"""Heads that a host's own parser would let pass, on servers that read them more strictly."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Iterator

import pytest

from test.engines import cherrypy_, gevent_
from test.engines.builtin import wsgiref
from test.helpers import HANDSHAKE, TIMEOUT, raw_connection, read_to_end
from ws4py.websocket import EchoWebSocket

pytestmark = pytest.mark.usefixtures("no_thread_left")

GOOD = "http://localhost"


@pytest.fixture(
    params=[wsgiref, gevent_.server, cherrypy_.builtin], ids=["wsgiref", "gevent", "cherrypy"]
)
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    with request.param(EchoWebSocket, None, origins=[GOOD]) as served:
        yield served.port


def asked(*lines: str) -> bytes:
    """Return a good request with further lines."""
    fields = "\r\n".join([f"Origin: {GOOD}", *lines, "", ""])
    return HANDSHAKE[:-2] + fields.encode("latin-1")


def status(port: int, request: bytes) -> bytes:
    sock, head = raw_connection(port, request)
    sock.close()
    return head.split(b" ")[1]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("X: y", b"101"),
        ("Host: another", b"400"),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", b"400"),
        ("Sec-WebSocket-Version: 13", b"426"),
        ("Origin: http://evil.example", b"403"),
        ("Origin : a", b"400"),
        ("no colon", b"400"),
        ("X(Y): z", b"400"),
        ("X: a\rb", b"400"),
        ("X: a\nb", b"400"),
        (" X: y", b"400"),
        ("X: \0", b"400"),
        ("Content-Length: 0\r\nContent-Length: 0", b"400"),
    ],
)
def test_a_line_too_many_is_refused(port: int, line: str, expected: bytes) -> None:
    assert status(port, asked(line)) == expected
    assert status(port, asked()) == b"101"


def test_a_name_with_an_underscore_does_not_pass_for_one_with_a_hyphen(port: int) -> None:
    request = asked("Sec_WebSocket_Version: 13").replace(b"Sec-WebSocket-Version: 13\r\n", b"")
    assert status(port, request) == b"426"


def test_a_url_is_taken_for_its_path(port: int) -> None:
    assert status(port, asked().replace(b"GET /", b"GET http://localhost/")) == b"101"


def test_a_url_that_is_none_is_refused(port: int) -> None:
    assert status(port, asked().replace(b"GET /", b"GET http://[::1/")) == b"400"


def test_a_refused_head_request_has_no_body(port: int) -> None:
    sock, head = raw_connection(port, asked().replace(b"GET", b"HEAD"))
    with sock:
        assert head.split(b" ")[1] == b"405"
        assert read_to_end(sock) == b""


def test_a_head_that_ends_too_early_opens_nothing(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as sock:
        sock.sendall(asked()[:-2])
        sock.shutdown(socket.SHUT_WR)
        assert b" 101 " not in read_to_end(sock)
    assert status(port, asked()) == b"101"


@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize("sent", [b"G", b"GET / HTTP/1.1\r\nX", b"GET / HTTP/2.0\r\n\r\n"])
def test_a_client_that_vanishes_leaves_no_traceback_of_gevent(
    capfd: pytest.CaptureFixture[str], server_tls: ssl.SSLContext, encrypted: bool, sent: bytes
) -> None:
    """With TLS, the connection is lost before it is wrapped."""
    with gevent_.server(EchoWebSocket, server_tls if encrypted else None) as served:
        for _ in range(20):
            sock = socket.create_connection(("127.0.0.1", served.port), TIMEOUT)
            sock.sendall(sent)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
    assert "Traceback" not in capfd.readouterr().err
