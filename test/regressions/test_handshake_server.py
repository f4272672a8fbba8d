"""Faults 18 and 21: what servers take for a handshake, and how long and large it may be."""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from test.helpers import (
    HANDSHAKE,
    TIMEOUT,
    descriptors,
    echo_server,
    eventually,
    frame,
    raw_connection,
    read_to_end,
    running,
)
from test.regressions import Seen, read_frame, regression, wsgiref_server
from ws4py.limits import Limits
from ws4py.server.standalone import WebSocketServer
from ws4py.server.wsgirefserver import WebSocketWSGIRequestHandler
from ws4py.websocket import EchoWebSocket

SHORT = Limits(open_timeout=0.3)
# Seconds between two bytes of a slow peer: together they take far longer than SHORT allows.
DRIP = 0.05


@contextmanager
def standalone() -> Iterator[int]:
    with echo_server() as server:
        yield server.server_address[1]


@contextmanager
def wsgiref() -> Iterator[int]:
    with wsgiref_server(handler=EchoWebSocket) as port:
        yield port


on_both_servers = pytest.mark.parametrize("serving", [standalone, wsgiref])


def with_line(old: bytes, new: bytes) -> bytes:
    """Return the handshake with one of its lines changed; without it, if ``new`` is empty."""
    assert old + b"\r\n" in HANDSHAKE
    return HANDSHAKE.replace(old + b"\r\n", new + b"\r\n" if new else b"")


GET = b"GET / HTTP/1.1"
HOST = b"Host: localhost"
UPGRADE = b"Upgrade: websocket"
CONNECTION = b"Connection: Upgrade"
KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
VERSION = b"Sec-WebSocket-Version: 13"

BAD_REQUESTS = [
    (GET, b"GET / HTTP/1.0", 400),
    (GET, b"POST / HTTP/1.1", 405),
    (HOST, b"", 400),
    (UPGRADE, b"", 426),
    (UPGRADE, b"Upgrade: notwebsocket!", 426),
    (UPGRADE, b"Upgrade: websocket2", 426),
    (CONNECTION, b"", 400),
    (CONNECTION, b"Connection: keep-alive", 400),
    (CONNECTION, b"Connection: noupgrade", 400),
    (VERSION, b"", 426),
    (VERSION, b"Sec-WebSocket-Version: 8", 426),
    (VERSION, b"Sec-WebSocket-Version: +13", 426),
    (VERSION, b"Sec-WebSocket-Version: 1_3", 426),
    (VERSION, b"Sec-WebSocket-Version: 013", 426),
    (VERSION, b"Sec-WebSocket-Version: 13, 13", 426),
    (VERSION, VERSION + b"\r\n" + VERSION, 426),
    (VERSION, b"Sec-WebSocket-Version:", 426),
    (KEY, b"", 400),
    (KEY, b"Sec-WebSocket-Key:", 400),
    (KEY, b"Sec-WebSocket-Key: not base64!", 400),
    (KEY, b"Sec-WebSocket-Key: dGhlIHNhbXBsZQ==", 400),
    (KEY, b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ", 400),
    (KEY, b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==AAAA", 400),
    (KEY, b"Sec-WebSocket-Key: \xe9\xe9", 400),
    (KEY, KEY + b"\r\n" + KEY, 400),
]


@regression(18)
@on_both_servers
@pytest.mark.parametrize(("line", "bad", "status"), BAD_REQUESTS)
def test_a_bad_request_is_refused_without_a_traceback(
    line: bytes, bad: bytes, status: int, serving: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with serving() as port:
        sock, head = raw_connection(port, with_line(line, bad))
        with sock:
            assert head.split(b" ")[1] == str(status).encode()
            read_to_end(sock)
    assert not [record for record in caplog.records if record.exc_info]
    assert "Traceback" not in caplog.text


@regression(18)
@on_both_servers
def test_a_refused_version_is_told_which_one_is_spoken(serving: Any) -> None:
    with serving() as port:
        sock, head = raw_connection(port, with_line(VERSION, b"Sec-WebSocket-Version: 8"))
        sock.close()
        assert b"\r\nSec-WebSocket-Version: 13\r\n" in head


@regression(18)
@on_both_servers
@pytest.mark.parametrize(
    ("line", "good"),
    [
        (UPGRADE, b"Upgrade: WebSocket"),
        (UPGRADE, b"upgrade: foo, websocket"),
        (CONNECTION, b"Connection: keep-alive, Upgrade"),
        (CONNECTION, b"connection: upgrade"),
        (KEY, b"sec-websocket-KEY:dGhlIHNhbXBsZSBub25jZQ=="),
    ],
)
def test_a_good_request_is_accepted_however_it_is_written(
    line: bytes, good: bytes, serving: Any
) -> None:
    with serving() as port:
        sock, head = raw_connection(port, with_line(line, good))
        with sock:
            assert head.startswith(b"HTTP/1.1 101 ")
            assert b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in head
            sock.sendall(frame(1, b"hello"))
            assert read_frame(sock) == Seen(1, 1, b"hello")


def connected_to(server: WebSocketServer) -> socket.socket:
    """Connect, and say nothing."""
    return socket.create_connection(server.server_address, timeout=TIMEOUT)


def drip(sock: socket.socket, data: bytes) -> bytes:
    """Send one byte after the other, slowly, and return what comes back until the end."""
    back = b""
    sock.settimeout(DRIP)
    try:
        for i in range(len(data)):
            sock.sendall(data[i : i + 1])
            try:
                more = sock.recv(65536)
            except (TimeoutError, socket.timeout):
                continue
            if not more:
                return back
            back += more
    except ConnectionError:
        return back
    raise AssertionError(f"all of {len(data)} bytes were taken, {DRIP} s apart")


#: A request whose head has no end.
ENDLESS = HANDSHAKE[:-2] + b"X-Slow: " + b"x" * 100


@regression(21)
def test_a_peer_that_says_nothing_is_dropped() -> None:
    with echo_server(limits=SHORT) as server, connected_to(server) as sock:
        assert read_to_end(sock) == b""


@regression(21)
def test_a_peer_that_says_nothing_is_dropped_by_a_server_with_tls(
    server_tls: ssl.SSLContext,
) -> None:
    with echo_server(limits=SHORT, ssl_context=server_tls) as server, connected_to(server) as sock:
        assert read_to_end(sock) == b""


@regression(21)
def test_a_peer_that_sends_byte_after_byte_is_dropped() -> None:
    with echo_server(limits=SHORT) as server, connected_to(server) as sock:
        assert b" 101 " not in drip(sock, ENDLESS)


@regression(21)
def test_a_peer_that_says_nothing_holds_nobody_else_back() -> None:
    with echo_server() as server:
        silent = [connected_to(server) for _ in range(20)]
        try:
            sock, head = raw_connection(server.server_address[1])
            sock.close()
            assert b" 101 " in head
        finally:
            for each in silent:
                each.close()


class Hasty(WebSocketWSGIRequestHandler):
    timeout = 0.3


@regression(21)
@pytest.mark.parametrize(
    "talk", [read_to_end, lambda sock: drip(sock, ENDLESS)], ids=["silent", "drip"]
)
def test_a_silent_or_slow_peer_does_not_hold_wsgirefs_thread(
    talk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with wsgiref_server(handler=EchoWebSocket, request_handler=Hasty) as port:
        with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as sock:
            assert b" 101 " not in talk(sock)
        monkeypatch.setattr(Hasty, "timeout", TIMEOUT)
        sock, head = raw_connection(port)
        sock.close()
        assert b" 101 " in head


HUGE = [
    ("line", b"GET /" + b"x" * 9_000 + b" HTTP/1.1\r\n\r\n", b"414"),
    ("header", HANDSHAKE[:-2] + b"X: " + b"x" * 9_000 + b"\r\n\r\n", b"431"),
    ("headers", HANDSHAKE[:-2] + b"X: x\r\n" * 129 + b"\r\n", b"431"),
    ("head", HANDSHAKE[:-2] + (b"X: " + b"x" * 8_000 + b"\r\n") * 9 + b"\r\n", b"431"),
    ("line without an end", b"GET /" + b"x" * 9_000, b"414"),
]


@regression(21)
@pytest.mark.parametrize(
    ("request_", "status"), [each[1:] for each in HUGE], ids=[each[0] for each in HUGE]
)
def test_a_head_over_a_limit_is_answered(request_: bytes, status: bytes) -> None:
    with echo_server() as server:
        sock, head = raw_connection(server.server_address[1], request_)
        with sock:
            assert head.startswith(b"HTTP/1.1 " + status)
            assert read_to_end(sock) != b""


@regression(21)
@pytest.mark.parametrize(
    "request_",
    [
        b"GET /".ljust(2 << 16, b"x"),  # as much as it reads at once, twice
        HANDSHAKE[:-2] + b"X: " + b"x" * 70_000,
        HANDSHAKE[:-2] + b"X: x\r\n" * 200 + b"\r\n",
    ],
    ids=["line", "header", "headers"],
)
def test_a_huge_head_is_refused_by_wsgirefs_server(request_: bytes) -> None:
    with wsgiref_server(handler=EchoWebSocket) as port:
        sock, head = raw_connection(port, request_)
        sock.close()
        assert head.split(b" ")[1] in (b"414", b"431")


@regression(21)
def test_what_a_server_takes_for_a_head_can_be_set() -> None:
    limits = Limits(max_line=100, max_headers=5)
    with running(WebSocketServer(("127.0.0.1", 0), limits=limits)) as server:
        for request, status in [
            (HANDSHAKE, b"101"),
            (with_line(HOST, HOST + b"\r\nX: x"), b"431"),
            (with_line(HOST, b"Host: " + b"x" * 95), b"431"),
        ]:
            sock, head = raw_connection(server.server_address[1], request)
            sock.close()
            assert head.split(b" ")[1] == status


@regression(21)
def test_a_head_that_breaks_off_leaves_no_descriptor() -> None:
    with echo_server() as server:
        before = descriptors()
        with connected_to(server) as sock:
            sock.sendall(HANDSHAKE[:50])
            sock.shutdown(socket.SHUT_WR)
            assert read_to_end(sock) == b""
        eventually(lambda: descriptors() == before, "the socket was not closed")
