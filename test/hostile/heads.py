"""Heads whose bytes are wrong, and bodies where there may be none (RFC 7230 3)."""

from __future__ import annotations

import socket
from typing import Any

from test.hostile.answers import (
    CONNECTION,
    FIELDS,
    GOODBYE,
    KEY_FIELD,
    NO_WEBSOCKET,
    UPGRADE,
    VERSION,
    ask,
    connected,
    never_switched,
    on_servers,
    read_response,
    read_rest,
    request,
)
from test.hostile.targets import KEY

# Bodies.


def body_is_no_frame(target: Any, *lines: str, statuses: tuple[int, ...] = (400,)) -> None:
    """Fail unless a request that is followed by frames as its body is refused."""
    with connected(target, request(None, *lines) + GOODBYE) as sock:
        response = read_response(sock)
        assert response is not None, lines
        assert response.status in statuses, (lines, response)
        sock.shutdown(socket.SHUT_WR)
        read_rest(sock, response)


@on_servers("RFC 7230 3.3.3")
def a_request_has_a_length(target: Any) -> None:
    for length in (len(GOODBYE), 1, 5, 1000):
        body_is_no_frame(target, f"Content-Length: {length}", statuses=(400, 413))


@on_servers("RFC 7230 3.3.3")
def a_length_is_none(target: Any) -> None:
    for length in ("-1", "+5", "5, 6", "0x5", "abc", "1e3", "5 5", "\xb2", "9" * 30, "9" * 5000):
        body_is_no_frame(target, f"Content-Length: {length}", statuses=(400, 413))


@on_servers("RFC 7230 3.3.3")
def there_are_two_lengths(target: Any) -> None:
    for second in (0, 6):
        lines = "Content-Length: 5", f"Content-Length: {second}"
        body_is_no_frame(target, *lines)


@on_servers("RFC 7230 3.3.3")
def a_body_is_encoded(target: Any) -> None:
    for coding in ("chunked", "Chunked", "gzip, chunked"):
        body_is_no_frame(target, f"Transfer-Encoding: {coding}", statuses=(400, 411, 501))


@on_servers("RFC 7230 3.3.3")
def a_coding_is_unknown(target: Any) -> None:
    for coding in ("identity", "gzip", "x", "chunked, gzip", "\x0bchunked", "chunked, chunked"):
        body_is_no_frame(target, f"Transfer-Encoding: {coding}", statuses=(400, 411, 501))


@on_servers("RFC 7230 3.3.3")
def a_body_is_encoded_and_has_a_length(target: Any) -> None:
    for length in (0, 5):
        lines = f"Content-Length: {length}", "Transfer-Encoding: chunked"
        body_is_no_frame(target, *lines, statuses=(400, 411, 501))
        body_is_no_frame(target, *reversed(lines), statuses=(400, 411, 501))


@on_servers("RFC 7230 3.3.3")
def a_body_of_no_bytes_is_none(target: Any) -> None:
    ask(target, request(None, "Content-Length: 0"), 101)


@on_servers("RFC 7231 5.1.1")
def a_request_expects_to_be_continued(target: Any) -> None:
    ask(target, request(None, "Expect: 100-continue"), 101, 417)


# Bytes.


@on_servers("RFC 7230 3.2.4")
def there_is_space_before_a_colon(target: Any) -> None:
    for line in ("X : y", "X\t: y", "Origin : https://evil.example", "Content-Length : 5"):
        ask(target, request(None, line), 400)
    for name in FIELDS:
        ask(target, request().replace(f"{name}:".encode(), f"{name} :".encode()), 400)


@on_servers("RFC 7230 3.2.6")
def a_name_is_no_token(target: Any) -> None:
    for name in (
        "",
        "X Y",
        "X(Y)",
        "X\x00",
        "\x00",
        "X\x01",
        "X\x7f",
        "\xe9",
        "X\xe2\x82\xac",
        "@",
    ):
        ask(target, request(None, f"{name}: y"), 400)


@on_servers("RFC 7230 3.2")
def a_line_has_no_colon(target: Any) -> None:
    for line in ("X", "GET / HTTP/1.1", "\x00", "\xff\xfe"):
        ask(target, request(None, line), 400)


@on_servers("RFC 9110 5.5")
def a_value_has_a_nul(target: Any) -> None:
    # A recipient "MUST either reject the message or replace" CR, LF and NUL with a space.
    for line in ("X: \x00", "X: a\x00b", "X: a\x00"):
        ask(target, request(None, line), 400, 101)
    for name in (UPGRADE, CONNECTION, KEY_FIELD):
        value = FIELDS[name]
        ask(target, request({name: value[:3] + "\x00" + value[3:]}), *NO_WEBSOCKET)


@on_servers("RFC 9110 5.5")
def a_value_has_a_control_character(target: Any) -> None:
    # "Field values containing other CTL characters are also invalid"; they may be retained.
    for byte in [*range(1, 9), 11, 12, *range(14, 32), 127]:
        ask(target, request(None, f"X: a{chr(byte)}b"), 400, 101)
        value = f"web{chr(byte)}socket"
        ask(target, request({UPGRADE: value}), *NO_WEBSOCKET)


@on_servers("RFC 7230 3.2.6")
def a_value_is_not_ascii(target: Any) -> None:
    # Such bytes (obs-text) are "opaque data".
    for value in ("\xe9", "\xe2\x82\xac", "\x80", "\xff\xfe", "a\xa0b"):
        ask(target, request(None, f"X: {value}", f"User-Agent: {value}"), 101)


@on_servers("RFC 7230 3.2.4")
def a_line_is_folded(target: Any) -> None:
    # It is either refused or unfolded, where "obs-fold" becomes spaces.
    for fold in ("\r\n ", "\r\n\t", "\r\n  \t "):
        ask(target, request(None, f"X: a{fold}b"), 400, 101)
        ask(target, request({CONNECTION: f"keep-alive,{fold}Upgrade"}), 400, 101)
        ask(target, request({KEY_FIELD: KEY[:10] + fold + KEY[10:]}), 400)


@on_servers("RFC 7230 3")
def a_fold_hides_a_field(target: Any) -> None:
    for space in (" ", "\t"):
        line = f"X: y\r\n{space}{UPGRADE}: websocket"
        ask(target, request({UPGRADE: None}, line), *NO_WEBSOCKET)


@on_servers("RFC 7230 3")
def white_space_begins_the_first_line(target: Any) -> None:
    # "either reject the message or consume each whitespace-preceded line".
    for space in (" ", "\t"):
        data = request(line=f"GET / HTTP/1.1\r\n{space}X: y")
        ask(target, data, 400, 101)


@on_servers("RFC 9110 5.5")
def a_carriage_return_ends_no_line(target: Any) -> None:
    for end in ("\r", "\r\r", "\r \r"):
        line = f"X: y{end}{UPGRADE}: websocket"
        ask(target, request({UPGRADE: None}, line), *NO_WEBSOCKET)
        ask(target, request({UPGRADE: None, VERSION: f"13{end}Upgrade: websocket"}), *NO_WEBSOCKET)


@on_servers("RFC 7230 3.5")
def a_line_feed_ends_a_line(target: Any) -> None:
    # "A recipient MAY recognize a single LF as a line terminator."
    ask(target, request(None, "X: y\nX-Y: z"), 400, 101)
    ask(target, request({UPGRADE: None}, f"X: y\n{UPGRADE}: websocket"), 101, *NO_WEBSOCKET)


@on_servers("RFC 7230 3.5")
def an_empty_line_comes_first(target: Any) -> None:
    # A server "SHOULD ignore at least one empty line".
    ask(target, b"\r\n" + request(), 400, 101)


@on_servers("a limit of ours")
def a_first_byte_is_none_of_http(target: Any) -> None:
    for first in (0x00, 0x16, 0x80, 0xFF):
        never_switched(target, bytes([first]) * 100 + request())
