"""The opening handshake in whole: the RFC's example, and both sides against each other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ws4py
from test.helpers import byte_by_byte, whole
from ws4py import handshake
from ws4py.exc import HandshakeError
from ws4py.handshake import (
    Accepted,
    ServerHandshake,
    accept_token,
    build_switch,
    check_response,
    make_key,
    read_status,
    refusal,
    request_headers,
)
from ws4py.heads import Head, HeadReader, build_head, make_environ
from ws4py.limits import Limits

# RFC 6455 section 1.2 and 1.3.
SAMPLE_KEY = "dGhlIHNhbXBsZSBub25jZQ=="
SAMPLE_ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
SAMPLE_REQUEST = (
    b"GET /chat HTTP/1.1\r\n"
    b"Host: server.example.com\r\n"
    b"Upgrade: websocket\r\n"
    b"Connection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Origin: http://example.com\r\n"
    b"Sec-WebSocket-Protocol: chat, superchat\r\n"
    b"Sec-WebSocket-Version: 13\r\n\r\n"
)
SAMPLE_RESPONSE = (
    b"HTTP/1.1 101 Switching Protocols\r\n"
    b"Upgrade: websocket\r\n"
    b"Connection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
    b"Sec-WebSocket-Protocol: chat\r\n\r\n"
)


def read_head(data: bytes, is_request: bool = True) -> Head:
    head = HeadReader(Limits(), is_request).feed(data)
    assert head is not None
    return head


def with_next_frame(data: bytes) -> list[bytes]:
    """Feed a head together with the first frame behind it."""
    return [data + b"\x81\x01a"]


def test_the_key_is_that_of_the_rfc() -> None:
    assert handshake.WS_KEY == b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    assert ws4py.WS_KEY is handshake.WS_KEY


def test_the_versions_are_the_documented_tuple() -> None:
    assert handshake.WS_VERSION == ws4py.WS_VERSION == (8, 13)


def test_the_sample_key_is_accepted_with_the_sample_value() -> None:
    assert accept_token(SAMPLE_KEY) == SAMPLE_ACCEPT


@pytest.mark.parametrize("feeding", [whole, byte_by_byte, with_next_frame])
def test_the_request_of_the_rfc_gets_the_response_of_the_rfc(feeding) -> None:
    reader = HeadReader(Limits())
    *chunks, last = feeding(SAMPLE_REQUEST)
    assert [reader.feed(chunk) for chunk in chunks] == [None] * len(chunks)
    head = reader.feed(last)
    environ = make_environ(head)
    assert environ["PATH_INFO"] == "/chat"
    accepted = ServerHandshake(["superchat", "chat"]).accept(environ)
    assert (accepted.protocols, accepted.extensions) == (["chat"], [])
    assert build_switch(accepted) == SAMPLE_RESPONSE
    assert reader.rest == (b"\x81\x01a" if feeding is with_next_frame else b"")


@pytest.mark.parametrize("feeding", [whole, byte_by_byte, with_next_frame])
def test_the_response_of_the_rfc_is_accepted(feeding) -> None:
    reader = HeadReader(Limits(), is_request=False)
    *chunks, last = feeding(SAMPLE_RESPONSE)
    assert [reader.feed(chunk) for chunk in chunks] == [None] * len(chunks)
    head = reader.feed(last)
    assert read_status(head.line) == 101
    assert check_response(head.fields, SAMPLE_KEY, ["chat"], []) == (["chat"], [])
    assert reader.rest == (b"\x81\x01a" if feeding is with_next_frame else b"")


NAMES = st.lists(st.from_regex(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,8}", fullmatch=True), max_size=4)


@given(offered=NAMES, spoken=NAMES, offered_extensions=NAMES, known_extensions=NAMES)
def test_what_our_server_answers_our_client_accepts(
    offered: list[str],
    spoken: list[str],
    offered_extensions: list[str],
    known_extensions: list[str],
) -> None:
    key = make_key()
    headers = request_headers("example.com", False, key, offered, offered_extensions)
    request = read_head(build_head("GET / HTTP/1.1", headers))
    server = ServerHandshake(spoken, known_extensions)
    common = [name for name in offered if name in spoken]
    if offered and spoken and not common:
        with pytest.raises(HandshakeError):
            server.accept(make_environ(request))
        return
    accepted = server.accept(make_environ(request))
    response = read_head(build_switch(accepted), is_request=False)
    found = check_response(response.fields, key.decode(), offered, offered_extensions)
    assert found == (accepted.protocols, accepted.extensions)
    assert found[0] == common[:1]
    assert set(found[1]) == set(offered_extensions) & set(known_extensions)


def test_the_answer_to_an_accepted_request_is_switching_protocols() -> None:
    assert build_switch(Accepted([("Upgrade", "websocket")], [], [])) == (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
    )


def test_a_refusal_becomes_a_status_line_headers_and_a_body_that_says_why() -> None:
    error = HandshakeError("HTTP method must be a GET", 405, [("Allow", "GET")])
    status, headers, body = refusal(error)
    assert status == "405 Method Not Allowed"
    assert body == b"HTTP method must be a GET\n"
    assert headers == [
        ("Allow", "GET"),
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(body))),
    ]


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (None, "400 Bad Request"),
        (400, "400 Bad Request"),
        (403, "403 Forbidden"),
        (404, "404 Not Found"),
        (426, "426 Upgrade Required"),
        (431, "431 Request Header Fields Too Large"),
        (499, "499 Bad Request"),
        (501, "501 Not Implemented"),
        (503, "503 Service Unavailable"),
        (520, "520 Internal Server Error"),
    ],
)
def test_the_status_of_a_refusal_has_its_phrase(status: int | None, line: str) -> None:
    assert refusal(HandshakeError("no", status))[0] == line


def test_a_status_that_answers_nothing_is_named() -> None:
    with pytest.raises(ValueError, match="42"):
        refusal(HandshakeError("no", 42))


def test_a_refusal_can_say_anything_and_counts_its_bytes() -> None:
    _, headers, body = refusal(HandshakeError("é€\udcff", 400))
    assert body == "é€?\n".encode()
    assert dict(headers)["Content-Length"] == str(len(body))


def test_a_refusal_tells_who_comes_with_a_browser_what_is_there() -> None:
    with pytest.raises(HandshakeError) as caught:
        ServerHandshake().accept({"REQUEST_METHOD": "GET", "HTTP_HOST": "localhost"})
    headers, body = refusal(caught.value)[1:]
    assert body.startswith(b"Header HTTP_UPGRADE is not defined\nHere is no page, but a WebSocket")
    assert dict(headers)["Content-Length"] == str(len(body))


def test_a_refusal_leaves_the_headers_of_its_error_alone() -> None:
    error = HandshakeError("no", 405, [("Allow", "GET")])
    refusal(error)
    assert error.headers == [("Allow", "GET")]


def test_a_head_is_built_with_its_lines_ended_and_a_blank_one() -> None:
    assert build_head("GET / HTTP/1.1", []) == b"GET / HTTP/1.1\r\n\r\n"
    assert build_head("HTTP/1.1 200 OK", [("A", "b"), ("C", "é")]) == (
        b"HTTP/1.1 200 OK\r\nA: b\r\nC: \xe9\r\n\r\n"
    )


@pytest.mark.parametrize(
    "value",
    ["a\r\nX-Evil: 1", "a\nb", "a\rb", "a\r\n\r\n", "a\x00b", "a\x7f", "\r\n folded", "€"],
    ids=repr,
)
def test_a_value_that_no_header_can_carry_is_a_value_error(value: str) -> None:
    with pytest.raises(ValueError):
        build_head("GET / HTTP/1.1", [("X", value)])


@pytest.mark.parametrize(
    "name", ["", "a b", "X:", "X: a", "X\r\nY", "X\n", "X\x00", " X", "X ", "é", "(X)"], ids=repr
)
def test_a_name_that_no_header_can_have_is_a_value_error(name: str) -> None:
    with pytest.raises(ValueError, match="header"):
        build_head("GET / HTTP/1.1", [(name, "value")])


@pytest.mark.parametrize(
    "line", ["GET / HTTP/1.1\r\nX-Evil: 1", "GET /\n HTTP/1.1", "GET /\r HTTP/1.1"], ids=repr
)
def test_a_first_line_with_a_line_break_is_a_value_error(line: str) -> None:
    with pytest.raises(ValueError):
        build_head(line, [])


@given(
    st.lists(
        st.tuples(
            st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,10}", fullmatch=True),
            st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=20),
        ),
        max_size=8,
    )
)
def test_a_head_that_was_built_is_read_as_it_was(fields: list[tuple[str, str]]) -> None:
    fields = [(name, value.strip(" \t").replace("\x7f", "")) for name, value in fields]
    data = build_head("GET / HTTP/1.1", fields)
    expected = [(name, value.strip(" \t")) for name, value in fields]
    assert read_head(data) == ("GET / HTTP/1.1", expected)
