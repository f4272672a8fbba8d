"""The opening handshake from outside: requests of any bytes, and answers that have to be whole."""

from __future__ import annotations

import re
import socket
import ssl
import time
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

from test.hostile import AT_ONCE, HANDSHAKE, ORIGIN, SERVER, attack
from test.hostile.targets import KEY, accept_token
from test.hostile.wire import CLOSE, PATIENCE, TEXT, Wire, header, left

#: Puts an attack on the opening handshake of a server into ATTACKS.
on_servers = partial(attack, HANDSHAKE, roles=(SERVER,))

UPGRADE, CONNECTION, KEY_FIELD, VERSION = (
    "Upgrade",
    "Connection",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Version",
)
#: The header fields of a good request.
FIELDS = {
    "Host": "localhost",
    UPGRADE: "websocket",
    CONNECTION: "Upgrade",
    KEY_FIELD: KEY,
    VERSION: "13",
    "Origin": ORIGIN,
}

#: Upgrade Required is for requests that ask for no websocket, and those that ask for another one.
NO_WEBSOCKET = (400, 426)

#: Seconds in which a target whose ``open_timeout`` is 2 has to have ended a connection.
DROPPED = 5.0

#: A message and a Close with 1000, whose masking keys are zero.
HELLO = header(TEXT, 5, True) + b"\0\0\0\0hello"
GOODBYE = HELLO + header(CLOSE, 2, True) + b"\0\0\0\0\x03\xe8"

_match_status = re.compile(rb"HTTP/1\.[01] ([1-5]\d\d) [\x20-\x7e]*").fullmatch
_match_field = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e]*)").fullmatch


class Response(NamedTuple):
    """An answer, and what came behind its head until the end."""

    status: int
    fields: list[tuple[str, str]]
    rest: bytes

    def get(self, name: str) -> list[str]:
        """Return the values of a field, whose name is in lower case."""
        return [value for each, value in self.fields if each == name]


def request(
    change: dict[str, str | None] | None = None,
    *more: str,
    line: str = "GET / HTTP/1.1",
) -> bytes:
    """Return a request.

    Args:
        change: Other values for fields; None leaves a field out.
        more: Further lines.
    """
    fields = {**FIELDS, **(change or {})}
    lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return "\r\n".join([line, *lines, *more, "", ""]).encode("latin-1")


def connected(target: Any, data: bytes = b"") -> socket.socket:
    """Return a connection on which ``data`` has been sent in one segment, or not all of it."""
    sock: socket.socket = target.connect()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.settimeout(PATIENCE)
    with suppress(OSError):
        sock.sendall(data)
    return sock


def read_until(sock: socket.socket, mark: bytes | None, data: bytes, deadline: float) -> bytes:
    """Read until ``mark`` has come, or the end; a reset is one, and an alert of TLS."""
    while mark is None or mark not in data:
        sock.settimeout(left(deadline))
        try:
            more = sock.recv(1 << 16)
        except socket.timeout:
            raise AssertionError(f"neither more nor an end came after {data[-500:]!r}") from None
        except (ConnectionError, ssl.SSLError):
            break
        if not more:
            break
        data += more
    return data


def read_response(sock: socket.socket, seconds: float = AT_ONCE) -> Response | None:
    """Read the head of an answer, which has to be right; None if the connection ends before."""
    deadline = time.monotonic() + seconds
    data = b""
    while True:
        data = read_until(sock, b"\r\n\r\n", data, deadline)
        if not data:
            return None
        head, blank, rest = data.partition(b"\r\n\r\n")
        assert blank, f"an answer is cut: {data!r}"
        first, *lines = head.split(b"\r\n")
        status = _match_status(first)
        assert status, f"no status line: {first!r}"
        if status[1] != b"100":
            break
        data = rest
    fields = []
    for line in lines:
        field = _match_field(line)
        assert field, f"no header field: {line!r}"
        fields.append((field[1].decode().lower(), field[2].decode().rstrip()))
    return Response(int(status[1]), fields, rest)


def read_rest(sock: socket.socket, response: Response, has_body: bool = True) -> Response:
    """Read until the connection ends, and fail unless the answer is whole."""
    body = read_until(sock, None, response.rest, time.monotonic() + DROPPED)
    lengths = response.get("content-length")
    assert len(lengths) <= 1, response
    if not has_body:
        assert not body, f"{body!r} came behind the head"
    elif "chunked" in response.get("transfer-encoding"):
        assert body.endswith(b"0\r\n\r\n"), body
    elif lengths:
        assert len(body) == int(lengths[0]), (response, body)
    return response._replace(rest=body)


def check_switch(response: Response, key: str = KEY) -> None:
    """Fail unless an answer accepts a websocket, and nothing else (RFC 6455 4.2.2)."""
    assert [each.lower() for each in response.get("upgrade")] == ["websocket"], response
    assert [each.lower() for each in response.get("connection")] == ["upgrade"], response
    assert response.get("sec-websocket-accept") == [accept_token(key)], response
    assert not response.get("content-length"), response
    assert not response.get("transfer-encoding"), response


def check_websocket(sock: socket.socket, response: Response) -> None:
    """Fail unless a websocket echoes, and ends."""
    wire = Wire(sock, True, response.rest)
    wire.echo(seconds=AT_ONCE)
    wire.send_close()
    assert wire.end(AT_ONCE).code == 1000


def ask(
    target: Any,
    data: bytes,
    *statuses: int,
    key: str = KEY,
    has_body: bool = True,
) -> Response:
    """Send a request, and fail unless it is answered with one of ``statuses``.

    One that is accepted has to echo; one that is refused has to be answered whole, and the
    connection to end once we have ended our direction.
    """
    with connected(target, data) as sock:
        response = read_response(sock)
        assert response is not None, f"no answer to {data[:300]!r}"
        assert response.status in statuses, f"{response} to {data[:300]!r}"
        if response.status == 101:
            check_switch(response, key)
            check_websocket(sock, response)
            return response
        if not isinstance(sock, ssl.SSLSocket):  # It would become one without TLS.
            with suppress(OSError):
                sock.shutdown(socket.SHUT_WR)
        return read_rest(sock, response, has_body)


def never_switched(target: Any, data: bytes) -> None:
    """Fail unless a request is refused, in whatever way: there may be no HTTP to answer in."""
    with connected(target, data) as sock:
        sock.shutdown(1)
        while data:
            data = sock.recv(1 << 16)
            assert b" 101 " not in data, data
