"""Faults 19, 20, 21 and 23: what clients ask, what they take for an answer, and what they tell."""

from __future__ import annotations

import re
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable

import pytest

from test.helpers import TIMEOUT, read_to_end
from test.regressions import accept_of, fake_server, read_head, regression, switch
from ws4py.client import WebSocketBaseClient
from ws4py.exc import HandshakeError, HandshakeTimeout
from ws4py.limits import Limits

# Seconds between two bytes of a slow server.
DRIP = 0.05


def connect(port: int, **options: Any) -> WebSocketBaseClient:
    """Connect to a fake server, and end the connection."""
    client = WebSocketBaseClient(f"ws://127.0.0.1:{port}/", **options)
    client.connect()
    client.terminate()
    return client


def answering(answer: Callable[[bytes], bytes]) -> Callable[[socket.socket], None]:
    """Return the conversation of a server that sends ``answer(request)`` and ends."""

    def conversation(sock: socket.socket) -> None:
        sock.sendall(answer(read_head(sock)))
        with suppress(OSError):  # The client may have hung up.
            sock.shutdown(socket.SHUT_WR)
        read_to_end(sock)

    return conversation


def changed(old: str, new: str) -> Callable[[bytes], bytes]:
    """Return what makes a good answer with one of its lines changed, or removed."""

    def answer(request: bytes) -> bytes:
        lines = switch(request).decode().split("\r\n")
        assert any(re.fullmatch(old, line) for line in lines)
        changed_lines = [re.sub(f"^{old}$", new, line) for line in lines[:-2]]
        return "\r\n".join([line for line in changed_lines if line] + ["", ""]).encode()

    return answer


def with_another_accept(change: Callable[[str], str]) -> Callable[[bytes], bytes]:
    def answer(request: bytes) -> bytes:
        accept = accept_of(request)
        return switch(request).replace(accept.encode(), change(accept).encode())

    return answer


BAD_ANSWERS = {
    "no Upgrade": changed("Upgrade: .*", ""),
    "another Upgrade": changed("Upgrade: .*", "Upgrade: h2c"),
    "no Connection": changed("Connection: .*", ""),
    "another Connection": changed("Connection: .*", "Connection: keep-alive"),
    "no Accept": changed("Sec-WebSocket-Accept: .*", ""),
    "an Accept of other letter case": with_another_accept(str.swapcase),
    "an Accept with more behind it": with_another_accept(lambda accept: accept + "="),
    "two Accepts": with_another_accept(lambda a: f"{a}\r\nSec-WebSocket-Accept: {a}"),
    "a subprotocol": lambda request: switch(request, "Sec-WebSocket-Protocol: chat"),
    "an extension": lambda request: switch(request, "Sec-WebSocket-Extensions: x-a"),
    "another status": changed("HTTP/1.1 101 .*", "HTTP/1.1 200 OK"),
    "another protocol": changed("HTTP/1.1 101 .*", "ICY 101 OK"),
    "nothing": lambda request: b"",
    "half a head": lambda request: switch(request)[:-2],
}


@regression(19)
@pytest.mark.parametrize("answer", BAD_ANSWERS.values(), ids=BAD_ANSWERS)
def test_a_bad_answer_fails_the_handshake_and_closes_the_socket(answer: Any) -> None:
    with fake_server(answering(answer)) as port:
        client = WebSocketBaseClient(f"ws://127.0.0.1:{port}/")
        with pytest.raises(HandshakeError):
            client.connect()
        assert client.sock is None


@regression(19)
@pytest.mark.parametrize("picked", ["chat", "CHAT.V2", "Chat.V2, other", "Chat.V2, Chat.V2", ""])
def test_a_subprotocol_that_was_not_offered_fails_the_handshake(picked: str) -> None:
    def answer(request: bytes) -> bytes:
        return switch(request, f"Sec-WebSocket-Protocol: {picked}")

    with fake_server(answering(answer)) as port, pytest.raises(HandshakeError, match="subprotocol"):
        connect(port, protocols=["Chat.V2", "other"])


GOOD_ANSWERS = {
    "Connection has more elements": changed("Connection: .*", "Connection: keep-alive, Upgrade"),
    "Connection twice": changed("Connection: .*", "Connection: keep-alive\r\nConnection: Upgrade"),
    "Upgrade is capitalised": changed("Upgrade: .*", "UPGRADE: WebSocket"),
    "no reason phrase": changed("HTTP/1.1 101 .*", "HTTP/1.1 101"),
    "an empty reason phrase": changed("HTTP/1.1 101 .*", "HTTP/1.1 101 "),
    "no space before the value": changed("Upgrade: .*", "Upgrade:websocket"),
    "other headers": lambda request: switch(request, "Server: x", "Set-Cookie: a=b"),
}


@regression(19)
@pytest.mark.parametrize("answer", GOOD_ANSWERS.values(), ids=GOOD_ANSWERS)
def test_a_good_answer_is_accepted_however_it_is_written(answer: Any) -> None:
    with fake_server(answering(answer)) as port:
        assert connect(port).protocols == []


@regression(19)
def test_a_subprotocol_keeps_its_letter_case() -> None:
    def answer(request: bytes) -> bytes:
        assert b"Sec-WebSocket-Protocol: Chat.V2, other\r\n" in request
        return switch(request, "Sec-WebSocket-Protocol: Chat.V2")

    with fake_server(answering(answer)) as port:
        assert connect(port, protocols=["Chat.V2", "other"]).protocols == ["Chat.V2"]


def request_of(client: WebSocketBaseClient) -> bytes:
    """Return the request that a client would send."""
    try:
        return client.handshake_request
    finally:
        client.close_connection()


@regression(20)
@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("ws://localhost/", "localhost"),
        ("ws://localhost:80/", "localhost"),
        ("ws://localhost:443/", "localhost:443"),
        ("ws://localhost:9000/", "localhost:9000"),
        ("wss://localhost/", "localhost"),
        ("wss://localhost:443/", "localhost"),
        ("wss://localhost:80/", "localhost:80"),
        ("ws://[::1]/", "[::1]"),
        ("ws://[::1]:9000/", "[::1]:9000"),
        ("ws+unix:///tmp/socket", "localhost"),
        ("wss+unix:///tmp/socket", "localhost"),
    ],
)
def test_host_has_a_port_only_where_it_is_not_the_default_one(url: str, host: str) -> None:
    request = request_of(WebSocketBaseClient(url))
    assert re.findall(rb"\r\nHost: (.*)\r\n", request) == [host.encode()]


@regression(20)
def test_host_over_a_unix_socket_is_localhost(tmp_path: Path) -> None:
    requests = []

    def answer(request: bytes) -> bytes:
        requests.append(request)
        return switch(request)

    path = str(tmp_path / "socket")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    with fake_server(answering(answer), listener):
        client = WebSocketBaseClient(f"ws+unix://{path}")
        client.resource = "/chat?room=1"
        client.connect()
        client.terminate()
    assert requests[0].startswith(b"GET /chat?room=1 HTTP/1.1\r\n")
    assert b"\r\nHost: localhost\r\n" in requests[0]


@regression(20)
@pytest.mark.parametrize(
    "url",
    ["ws://localhost/\r\nX: y", "ws://localhost/ HTTP/1.1\r\nX: y", "ws://local\r\nhost/", "\nws:"],
)
def test_a_url_with_a_line_break_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="is not a URL"):
        WebSocketBaseClient(url)


@regression(20)
@pytest.mark.parametrize(
    "change",
    [
        {"resource": "/\r\nX: y"},
        {"extra_headers": [("X-Name", "a\r\nX: y")]},
        {"extra_headers": [("X-Name: a\r\nX", "y")]},
        {"host": "localhost\r\nX: y"},
        {"protocols": ["a\r\nX: y"]},
    ],
)
def test_a_line_break_makes_no_header_however_it_comes_into_the_client(change: Any) -> None:
    client = WebSocketBaseClient("ws://localhost:9000/")
    for name, value in change.items():
        setattr(client, name, value)
    with pytest.raises(ValueError, match="X: y"):
        request_of(client)


@regression(20)
@pytest.mark.parametrize(
    "url", ["ws://localhost/path#fragment", "ws://localhost?query#", "ws://h#"]
)
def test_a_fragment_is_not_sent(url: str) -> None:
    with pytest.raises(ValueError, match="has a fragment"):
        WebSocketBaseClient(url)


@regression(20)
def test_a_query_without_a_path_has_the_root() -> None:
    request = request_of(WebSocketBaseClient("ws://localhost?query"))
    assert request.startswith(b"GET /?query HTTP/1.1\r\n")


@regression(21)
@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_connecting_to_a_silent_server_ends_in_time(scheme: str) -> None:
    with fake_server(read_to_end) as port:
        client = WebSocketBaseClient(f"{scheme}://127.0.0.1:{port}/", open_timeout=0.2)
        with pytest.raises(HandshakeTimeout, match=r"in 0\.2 s"):
            client.connect()
        assert client.sock is None


@regression(21)
@pytest.mark.parametrize(("part", "seconds"), [("the head", 0.3), ("the body of a refusal", 2)])
def test_connecting_to_a_server_that_sends_byte_after_byte_ends_in_time(
    part: str, seconds: float
) -> None:
    ended = threading.Event()

    def conversation(sock: socket.socket) -> None:
        head = switch(read_head(sock)) if part == "the head" else b""
        if not head:
            sock.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 1000\r\n\r\n")
        for byte in head or b"x" * 1000:
            sock.sendall(bytes([byte]))
            if ended.wait(DRIP):
                return

    with fake_server(conversation) as port:
        client = WebSocketBaseClient(f"ws://127.0.0.1:{port}/")
        client.limits = Limits(open_timeout=seconds)
        with pytest.raises(HandshakeError) as caught:
            client.connect()
        ended.set()
    if part == "the head":
        assert isinstance(caught.value, HandshakeTimeout)
    else:
        assert caught.value.status == 503


HUGE_ANSWERS = {
    "line": lambda request: b"HTTP/1.1 101 " + b"x" * 9_000,
    "header": lambda request: switch(request, "X: " + "x" * 9_000),
    "headers": lambda request: switch(request, *["X: x"] * 129),
    "head": lambda request: switch(request, *["X: " + "x" * 8_000] * 9),
}


@regression(21)
@pytest.mark.parametrize("answer", HUGE_ANSWERS.values(), ids=HUGE_ANSWERS)
def test_an_answer_over_a_limit_fails_the_handshake(answer: Any) -> None:
    with fake_server(answering(answer)) as port, pytest.raises(HandshakeError, match="limit"):
        connect(port)


@regression(21)
def test_a_head_without_an_end_is_not_read_on() -> None:
    def conversation(sock: socket.socket) -> None:
        read_head(sock)
        while True:  # Ends when the client has hung up.
            sock.sendall(b"X: " + b"x" * 1000 + b"\r\n")

    with fake_server(conversation) as port, pytest.raises(HandshakeError, match="limit"):
        connect(port)


def refused(answer: bytes) -> HandshakeError:
    """Return the error of a client that gets ``answer``."""
    with fake_server(answering(lambda _: answer)) as port, pytest.raises(HandshakeError) as caught:
        connect(port)
    return caught.value


@regression(23)
def test_the_error_of_a_401_has_its_status_headers_and_body() -> None:
    error = refused(
        b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=x\r\n"
        b"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 11\r\n\r\nwho are you"
    )
    assert error.status == 401
    assert error.headers == [
        ("WWW-Authenticate", "Basic realm=x"),
        ("Set-Cookie", "a=1"),
        ("Set-Cookie", "b=2"),
        ("Content-Length", "11"),
    ]
    assert error.body == b"who are you"
    assert "401" in str(error)


@regression(23)
def test_the_error_of_a_301_tells_where_to_go() -> None:
    error = refused(
        b"HTTP/1.1 301 Moved Permanently\r\nLocation: wss://example.com/new\r\n"
        b"Content-Length: 0\r\n\r\n"
    )
    assert (error.status, error.body) == (301, b"")
    assert ("Location", "wss://example.com/new") in error.headers


@regression(23)
@pytest.mark.parametrize(
    ("head", "body", "expected"),
    [
        (b"Transfer-Encoding: chunked", b"4\r\nwho \r\n7\r\nare you\r\n0\r\n\r\n", b"who are you"),
        (b"Transfer-Encoding: chunked", b"4\r\nwho \r\n7\r\nare", b"who are"),
        (b"Content-Length: 11", b"who are you", b"who are you"),
        (b"Content-Length: 11", b"who are", b"who are"),
        (b"Content-Length: 3", b"who are you", b"who"),
        (b"Connection: close", b"who are you", b"who are you"),
    ],
)
def test_a_body_is_read_in_each_of_its_forms_as_far_as_it_comes(
    head: bytes, body: bytes, expected: bytes
) -> None:
    error = refused(b"HTTP/1.1 401 Unauthorized\r\n" + head + b"\r\n\r\n" + body)
    assert (error.status, error.body) == (401, expected)


@regression(23)
def test_a_body_in_pieces_after_the_head_is_read() -> None:
    def conversation(sock: socket.socket) -> None:
        read_head(sock)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in b"HTTP/1.1 401 \r\nTransfer-Encoding: chunked\r\n\r\n3\r\nwho\r\n0\r\n\r\n":
            sock.sendall(bytes([piece]))
        read_to_end(sock)

    with fake_server(conversation) as port, pytest.raises(HandshakeError) as caught:
        connect(port)
    assert (caught.value.status, caught.value.body) == (401, b"who")


@regression(23)
def test_a_large_body_is_kept_up_to_a_limit() -> None:
    error = refused(b"HTTP/1.1 500 Oops\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300_000)
    assert error.body == b"x" * 65536


@regression(23)
def test_the_error_of_a_bad_switch_has_its_status_and_headers() -> None:
    error = refused(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")
    assert (error.status, error.headers) == (101, [("Upgrade", "websocket")])


@regression(23)
def test_the_time_for_the_body_is_part_of_the_time_to_connect() -> None:
    def conversation(sock: socket.socket) -> None:
        read_head(sock)
        sock.sendall(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 11\r\n\r\nwho")
        sock.settimeout(TIMEOUT)
        read_to_end(sock)

    with fake_server(conversation) as port, pytest.raises(HandshakeError) as caught:
        connect(port, open_timeout=2)
    assert (caught.value.status, caught.value.body) == (401, b"who")
