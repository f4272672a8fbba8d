"""Servers that answer a client's opening handshake wrongly (RFC 6455 4.1)."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any, NamedTuple

from test.hostile import CLIENT, HANDSHAKE, attack
from test.hostile.targets import accept_token, key_of
from test.hostile.wire import CLOSE, PATIENCE, PING, PONG, TEXT, Wire

LINE = b"HTTP/1.1 101 Switching Protocols"
UPGRADE, CONNECTION, ACCEPT = GOOD = (
    b"Upgrade: websocket",
    b"Connection: Upgrade",
    b"Sec-WebSocket-Accept: {accept}",
)


class Refused(NamedTuple):
    """A client that has not connected: the class of the error, its text, and what it carries."""

    kind: str
    text: str
    status: int | None
    headers: list[list[str]]
    body: str


def switch(head: bytes, lines: Iterable[bytes] = GOOD, line: bytes = LINE) -> bytes:
    """Return an answer to a request; ``{accept}`` stands for the right token."""
    accept = accept_token(key_of(head)).encode()
    return b"\r\n".join([line, *lines, b"", b""]).replace(b"{accept}", accept)


def ends(sock: socket.socket) -> None:
    """Fail unless the client ends TCP, without another byte."""
    sock.settimeout(PATIENCE)
    try:
        assert sock.recv(100) == b"", "a client sends on after it has refused"
    except ConnectionResetError:
        pass
    except socket.timeout:
        raise AssertionError("a client that has refused holds the connection") from None


def refusal(target: Any, number: int) -> Refused:
    """Return how a client refuses what it was answered."""
    event = target.event(number)
    assert event[0] == "refused", event
    return Refused(*event[1:])


def refuses(target: Any, lines: Iterable[bytes], line: bytes = LINE, **options: Any) -> Refused:
    """Return how a client refuses an answer; fail if it does not."""
    number, sock, head = target.accept(**options)
    with sock:
        sock.sendall(switch(head, lines, line))
        refused = refusal(target, number)
        ends(sock)
    assert refused.kind == "HandshakeError", refused
    assert refused.text, refused
    return refused


def accepts(target: Any, lines: Iterable[bytes], line: bytes = LINE, **options: Any) -> None:
    """Fail unless a client accepts an answer, and echoes then."""
    number, sock, head = target.accept(**options)
    with Wire(sock, False) as wire:
        wire.send(switch(head, lines, line))
        assert target.event(number) == ["opened"], (line, lines)
        wire.echo()
        wire.leave()


STATUSES = (
    *(b"200 OK", b"204 No Content", b"300 Choose", b"304 Not Modified", b"400 Bad Request"),
    *(b"401 Unauthorized", b"403 Forbidden", b"404 Not Found", b"407 No", b"426 Upgrade Required"),
    *(b"429 Slow Down", b"500 Internal Server Error", b"503 Busy", b"599 \xe9t\xe9", b"999 "),
)


@attack(HANDSHAKE, "RFC 6455 4.1", roles=(CLIENT,))
def a_status_that_is_not_101(target: Any) -> None:
    for status in STATUSES:
        lines = [*GOOD, b"X-Two: a", b"X-Two: b\t", b"Content-Length: 4"]
        number, sock, head = target.accept()
        with sock:
            sock.sendall(switch(head, lines, b"HTTP/1.1 " + status) + b"bodymore")
            refused = refusal(target, number)
            ends(sock)
        assert refused.kind == "HandshakeError", refused
        assert refused.status == int(status[:3]), refused
        assert status[:3].decode() in refused.text, refused
        assert refused.headers[3:] == [["X-Two", "a"], ["X-Two", "b"], ["Content-Length", "4"]]
        # RFC 9110 15: these have no body, whatever their head says.
        assert refused.body == ("" if status[:3] in (b"204", b"304") else "body"), refused


@attack(HANDSHAKE, "RFC 6455 4.1: following a redirect is optional", roles=(CLIENT,))
def a_redirect(target: Any) -> None:
    for status in (b"301 Moved", b"302 Found", b"303 Other", b"307 There", b"308 There"):
        where = f"http://127.0.0.1:{target.port}/elsewhere"
        lines = [b"Location: " + where.encode(), b"Content-Length: 0"]
        refused = refuses(target, lines, b"HTTP/1.1 " + status)
        assert refused.status == int(status[:3]), refused
        assert ["Location", where] in refused.headers, refused
    _, sock, head = target.accept("/next")
    sock.close()
    assert head.startswith(b"GET /next "), "a client has followed a redirect"


@attack(
    HANDSHAKE, "RFC 9110 15.2: a client has to read 1xx before the final answer", roles=(CLIENT,)
)
def an_interim_answer_before_the_switch(target: Any) -> None:
    for interim in (b"100 Continue", b"102 Processing", b"103 Early Hints"):
        line = b"HTTP/1.1 " + interim + b"\r\nLink: </style.css>\r\n\r\n"
        accepts(target, GOOD, line + LINE)
        accepts(target, GOOD, line + line + line + LINE)
        refused = refuses(target, [b"Content-Length: 0"], line + b"HTTP/1.1 403 No")
        assert refused.status == 403, refused


NO_HTTP = (
    *(b"garbage", b"{}", b"<html>", b"SSH-2.0-OpenSSH_9", b"ICY 200 OK", b"* OK IMAP4"),
    *(b"HTTP/2 101 Switching Protocols", b"HTTP/2.0 200", b"PRI * HTTP/2.0", b"HTTP/3 101 OK"),
    *(b"http/1.1 101 Switching Protocols", b"Http/1.1 101 OK", b"HTTP/1.1", b"HTTP/1.1 "),
    *(b"HTTP/1.1 1010 OK", b"HTTP/1.1 10 OK", b"HTTP/1.1 +101 OK", b"HTTP/1.1 -101 OK"),
    *(b"HTTP/1.1 101OK", b"HTTP/1.1  101 OK", b"HTTP/1.1\t101 OK", b"HTTP/1.1 1_1 OK"),
    *(b"HTTP/1.1 101\tOK", b"HTTP/1.1 101 O\x00K", b"HTTP/1.1 101 O\x7fK", b"HTTP/1.1 101 O\rK"),
    *(b"HTTP/11 101 OK", b"HTTP/1. 101 OK", b"HTTP/1.10 101 OK", b"XHTTP/1.1 101 OK"),
    *(b" HTTP/1.1 101 OK", b"\x00", b"\xff\xfe", b"HTTP/1.1 \xb2\xb2\xb2 OK"),
    *(b"HTTP/1.0 101 OK", b"HTTP/1.1 one OK", b"GET / HTTP/1.1", b"HTTP/0.9 101 OK"),
)


@attack(HANDSHAKE, "RFC 9112 4", roles=(CLIENT,))
def a_first_line_that_is_not_that_of_a_switch(target: Any) -> None:
    for line in NO_HTTP:
        refused = refuses(target, GOOD, line)
        # Named as a line, or by its first bytes if these are enough.
        named = repr(line.decode("latin-1")), repr(line[:8])[:-1]
        assert any(name in refused.text for name in named), (line, refused)


@attack(HANDSHAKE, "RFC 9112 4", roles=(CLIENT,))
def a_first_line_that_is_unusual(target: Any) -> None:
    for line in (b"HTTP/1.1 101 ", b"HTTP/1.1 101", b"HTTP/1.1 101 \xe9", b"HTTP/1.1 101 a\tb 200"):
        accepts(target, GOOD, line)


@attack(HANDSHAKE, "RFC 9113 3.4", roles=(CLIENT,))
def a_server_that_speaks_http2(target: Any) -> None:
    number, sock, _ = target.accept()
    with sock:
        sock.sendall(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x80")
        assert "\\x00" in refusal(target, number).text
        ends(sock)


@attack(HANDSHAKE, "RFC 6455 4.1", roles=(CLIENT,))
def a_header_of_the_switch_that_is_missing_or_wrong(target: Any) -> None:
    variants = [
        (b"None", [CONNECTION, ACCEPT]),
        (b"None", [UPGRADE, ACCEPT]),
        (b"None", [UPGRADE, CONNECTION]),
        (b"None", []),
    ]
    for value in (b"", b"h2c", b"websockets", b"web socket", b"websocket/13", b"websocket, h2c"):
        variants.append((value, [b"Upgrade: " + value, CONNECTION, ACCEPT]))
    variants.append((b"websocket, websocket", [UPGRADE, UPGRADE, CONNECTION, ACCEPT]))
    for value in (
        b"",
        b"close",
        b"upgraded",
        b"Up grade",
        b"Upgrade; q=1",
        b"keep-alive,x-upgrade",
    ):
        variants.append((value, [UPGRADE, b"Connection: " + value, ACCEPT]))
    for value, lines in variants:
        refused = refuses(target, lines)
        assert value.decode() in refused.text, (lines, refused)
        assert refused.status == 101, refused
        assert len(refused.headers) == len(lines), refused


@attack(HANDSHAKE, "RFC 6455 4.1", roles=(CLIENT,))
def a_switch_that_is_right_in_unusual_letters(target: Any) -> None:
    for lines in (
        [b"UPGRADE: WebSocket", b"CONNECTION: UPGRADE", b"SEC-WEBSOCKET-ACCEPT: {accept}"],
        [b"upgrade:websocket", b"connection:upgrade", b"sec-websocket-accept:{accept}"],
        [ACCEPT, CONNECTION, UPGRADE],
        [b"Upgrade: \t websocket \t ", b"Connection:\tUpgrade\t", ACCEPT + b" \t"],
        [UPGRADE, b"Connection: keep-alive, ,Upgrade,", ACCEPT],
        [UPGRADE, b"Connection: keep-alive", b"connection: UPGRADE", ACCEPT],
        [*GOOD, b"Server: \xe9", b"Empty:", b"Date: Thu, 01 Jan 1970 00:00:00 GMT"],
        [*GOOD, b"Content-Length: 5", b"Transfer-Encoding: chunked"],  # RFC 9110 8.6: of no 1xx
        [*GOOD, b"Sec-WebSocket-Extensions:", b"Sec-WebSocket-Version: 13"],
    ):
        accepts(target, lines)


@attack(HANDSHAKE, "RFC 6455 4.1", roles=(CLIENT,))
def an_accept_that_proves_nothing(target: Any) -> None:
    other = accept_token("AAAAAAAAAAAAAAAAAAAAAA==").encode()
    for value in (
        *(other, b"", b"{accept}=", b"x{accept}", b"{accept} {accept}", b"{accept}, {accept}"),
        *(
            b"{accept};q=1",
            b'"{accept}"',
            b"\xa0{accept}",
            b"{ACCEPT}",
            b"dGhlIHNhbXBsZSBub25jZQ==",
        ),
    ):
        refused = refuses(target, [UPGRADE, CONNECTION, b"Sec-WebSocket-Accept: " + value])
        assert refused.status == 101, refused
    for change in (bytes.lower, bytes.swapcase, lambda token: token[:-1], lambda token: token[1:]):
        number, sock, head = target.accept()
        token = accept_token(key_of(head)).encode()
        with sock:
            sock.sendall(
                switch(head, [UPGRADE, CONNECTION, ACCEPT.replace(b"{accept}", change(token))])
            )
            refused = refusal(target, number)
            ends(sock)
        assert change(token).decode() in refused.text, refused
    assert "None" in refuses(target, [UPGRADE, CONNECTION]).text
    assert refuses(target, [*GOOD, ACCEPT]).status == 101
    assert refuses(target, [*GOOD, b"Sec-WebSocket-Accept: " + other]).status == 101


@attack(HANDSHAKE, "RFC 6455 4.1", roles=(CLIENT,))
def a_key_that_is_sent_back(target: Any) -> None:
    number, sock, head = target.accept()
    with sock:
        lines = [UPGRADE, CONNECTION, b"Sec-WebSocket-Accept: " + key_of(head).encode()]
        sock.sendall(switch(head, lines))
        assert key_of(head) in refusal(target, number).text
        ends(sock)


@attack(HANDSHAKE, "RFC 6455 4.1", roles=(CLIENT,))
def a_subprotocol_that_was_not_offered(target: Any) -> None:
    name = b"Sec-WebSocket-Protocol: "
    for offered, value in (
        *((None, b"chat"), (None, b""), (["chat"], b""), (["chat"], b"Chat"), (["chat"], b"chat2")),
        *((["a", "b"], b"a, b"), (["a", "b"], b"b,"), (["a"], b"a;q=1"), (["a"], b'"a"')),
    ):
        refused = refuses(target, [*GOOD, name + value], protocols=offered)
        assert repr(value.decode()) in refused.text, refused
        assert refused.status == 101, refused
    refuses(target, [*GOOD, name + b"a", name + b"a"], protocols=["a"])
    refuses(target, [*GOOD, name + b"a", name + b"b"], protocols=["a", "b"])
    accepts(target, [*GOOD, name + b"b \t"], protocols=["a", "b"])
    accepts(target, GOOD, protocols=["a", "b"])


@attack(HANDSHAKE, "RFC 6455 4.1", roles=(CLIENT,))
def an_extension_that_was_not_offered(target: Any) -> None:
    name = b"Sec-WebSocket-Extensions: "
    for offered, value in (
        *((None, b"permessage-deflate"), (None, b"permessage-deflate; client_max_window_bits=15")),
        *((None, b"x-webkit-deflate-frame"), (["foo"], b"permessage-deflate"), (["foo"], b"Foo")),
        *((["foo"], b"foo, bar"), (["foo"], b"foo2; a=1"), (["foo"], b"foo, permessage-deflate")),
    ):
        refused = refuses(target, [*GOOD, name + value], extensions=offered, compression=None)
        wrong = value.decode().split(", ")[-1]
        assert repr(wrong) in refused.text, refused
        assert refused.status == 101, refused
    refuses(target, [*GOOD, name + b"foo", name + b"bar"], extensions=["foo"])
    accepts(target, [*GOOD, name + b"foo; a=1"], extensions=["foo", "bar"])


@attack(HANDSHAKE, "RFC 9112 5", roles=(CLIENT,))
def a_header_line_that_is_none(target: Any) -> None:
    for line in (
        *(b"no colon", b": no name", b"X : a", b"X\t: a", b" X: a", b"X: a\r\n folded"),
        *(b"X: a\r\n\tfolded", b"X: a\x00b", b"X\x00: a", b"X: a\rb", b"X: a\nb", b"X: a\nY: b"),
        *(b"X: a\rY: b", b"X\xe9: a", b"X(: a", b"X@: a", b"X: \x01", b"X: \x7f", b"X: \x1b[31m"),
        *(b"HTTP/1.1 200 OK", b"\x0b: a", b"X: a\x0b", b"X Y: a", b"\n", b"\r"),
    ):
        for lines in ([line, *GOOD], [*GOOD, line]):
            refused = refuses(target, lines)
            culprit = line.rpartition(b"\r\n")[2].decode("latin-1")
            assert repr(culprit)[1:-1] in refused.text, (line, refused)


@attack(HANDSHAKE, "RFC 9112 2.2: a bare LF may end a line, or not", roles=(CLIENT,))
def a_head_with_bare_line_feeds(target: Any) -> None:
    number, sock, head = target.accept()
    with sock:
        sock.sendall(switch(head).replace(b"\r\n", b"\n"))
        sock.shutdown(socket.SHUT_WR)
        event = target.event(number)
        assert event[:2] == ["refused", "HandshakeError"] or event == ["opened"], event
        ends(sock)


@attack(HANDSHAKE, "RFC 6455 4.1", roles=(CLIENT,))
def frames_behind_a_switch_that_is_wrong(target: Any) -> None:
    for lines in ([UPGRADE, CONNECTION], [*GOOD, b"Sec-WebSocket-Protocol: x"]):
        number, sock, head = target.accept()
        with Wire(sock, False) as wire:
            wire.send(switch(head, lines) + wire.build(TEXT, b"hello") + wire.build(CLOSE))
            assert refusal(target, number).status == 101
            ends(sock)


@attack(HANDSHAKE, "RFC 6455 5", roles=(CLIENT,))
def frames_in_the_segment_of_the_switch(target: Any) -> None:
    size = len(switch(target_head(target)))
    for cut in range(size + 20):
        number, sock, head = target.accept()
        with Wire(sock, False) as wire:
            frames = wire.build(TEXT, b"hello") + wire.build(PING, b"p")
            data = switch(head) + frames + wire.build(CLOSE, b"\x03\xe8")
            wire.send(data[:cut])
            wire.send(data[cut:])
            end = wire.end()
        events = [target.event(number) for _ in range(3)]
        assert events == [["opened"], ["message", 5], ["closed", 1000, ""]], (cut, events)
        # The Pong may be left out behind a Close (RFC 6455 5.5.2).
        assert end.messages == [b"hello"], (cut, end)
        assert end.code == 1000, (cut, end)
        assert {each.opcode for each in end.frames} <= {TEXT, PONG, CLOSE}, (cut, end)


def target_head(target: Any) -> bytes:
    """Return what a client asks; it gets no answer."""
    number, sock, head = target.accept()
    sock.close()
    target.event(number)
    return bytes(head)
