"""Heads of requests and responses: their bounds, what is not one, and what they mean."""

from __future__ import annotations

import time
from typing import Any, Callable

import pytest

from test.helpers import TIMEOUT, byte_by_byte, whole
from ws4py.exc import HandshakeError
from ws4py.heads import Head, HeadReader, build_head, make_environ
from ws4py.limits import Limits

Feed = Callable[[bytes], list]

REST = b"\x81\x05Hello\r\n\r\n\x00"


def with_rest(data: bytes) -> list[bytes]:
    """Feed a head and what comes after it at once."""
    return [data + REST]


@pytest.fixture(params=[whole, byte_by_byte, with_rest], ids=lambda feeding: feeding.__name__)
def feeding(request: pytest.FixtureRequest) -> Feed:
    return request.param


def read(chunks: list[bytes], is_request: bool = True, **limits: Any) -> Head | None:
    """Feed chunks until there is a head."""
    reader = HeadReader(Limits(**limits), is_request)
    head = None
    for chunk in chunks:
        assert head is None, "the head was complete too early"
        head = reader.feed(chunk)
    if head is not None:
        assert reader.rest == (REST if chunks[-1].endswith(REST) else b"")
    return head


def request(*lines: str) -> bytes:
    return "\r\n".join(["GET / HTTP/1.1", *lines, "", ""]).encode("latin-1")


def environ_of(line: str, *fields: tuple[str, str]) -> dict[str, Any]:
    return make_environ(Head(line, list(fields)))


def test_a_head_is_a_line_and_fields_in_their_order(feeding: Feed) -> None:
    head = read(feeding(request("Host: a", "X: 1", "x: 2", "Host: b")))
    assert head == Head("GET / HTTP/1.1", [("Host", "a"), ("X", "1"), ("x", "2"), ("Host", "b")])


def test_a_head_may_have_no_fields(feeding: Feed) -> None:
    assert read(feeding(request())) == Head("GET / HTTP/1.1", [])


def test_space_around_a_value_does_not_count(feeding: Feed) -> None:
    head = read(feeding(request("A:b", "C: \t d e \t ", "E:", "F:   ", "G: h\ti")))
    assert head.fields == [("A", "b"), ("C", "d e"), ("E", ""), ("F", ""), ("G", "h\ti")]


def test_a_value_may_have_any_byte_of_latin_1(feeding: Feed) -> None:
    assert read(feeding(request("A: é:\xff"))).fields == [("A", "é:\xff")]


@pytest.mark.parametrize(
    "line",
    [
        "Host : a",
        "Host\t: a",
        " folded",
        "\tfolded",
        " Host: a",
        "no colon",
        ": no name",
        "a b: c",
        "é: a",
        "A: nul\x00",
        "A: lf\nB: c",
        "A: cr\rB: c",
        "A: del\x7f",
        "A: escape\x1b",
        "A\x00: b",
        "A(): b",
    ],
    ids=repr,
)
def test_a_line_that_is_not_a_header_is_400(line: str, feeding: Feed) -> None:
    with pytest.raises(HandshakeError) as refused:
        read(feeding(request("Host: a", line)))
    assert refused.value.status == 400
    assert "is not a header" in str(refused.value)


def test_a_header_with_much_space_before_a_control_character_is_refused_in_no_time() -> None:
    start = time.process_time()
    with pytest.raises(HandshakeError, match="is not a header"):
        read([request("A:" + " " * 100_000 + "\x00")], max_line=None, max_head=None)
    assert time.process_time() - start < 5  # Shared out in every way, it takes 40 s.


def test_an_empty_first_line_is_400(feeding: Feed) -> None:
    with pytest.raises(HandshakeError, match="first line is empty") as refused:
        read(feeding(b"\r\n"))
    assert refused.value.status == 400


def test_in_a_response_what_is_wrong_has_no_status(feeding: Feed) -> None:
    for data in (b"HTTP/1.1 101 x\r\nno colon\r\n\r\n", b"\r\n", b"x" * 9000 + b"\r\n\r\n"):
        with pytest.raises(HandshakeError) as refused:
            read(feeding(data), is_request=False)
        assert refused.value.status is None


def padded(line: int | None = None, head: int | None = None, count: int = 0) -> bytes:
    """Return a request with a line, a head or a count of headers of exactly that size."""
    fields = [f"H{i}: v" for i in range(count)]
    if line is not None:
        fields.append("X: " + "y" * (line - len("X: \r\n")))
    data = request(*fields)
    if head is not None:
        data = request(*fields, "P: " + "y" * (head - len(data) - len("P: \r\n")))
        assert len(data) == head
    return data


@pytest.mark.parametrize(
    ("limit", "at", "over", "what"),
    [
        ("max_line", padded(line=100), padded(line=101), "a line"),
        ("max_head", padded(head=100), padded(head=101), "the head"),
        ("max_headers", padded(count=100), padded(count=101), "the number of headers"),
    ],
)
def test_what_is_exactly_at_a_limit_passes_and_one_more_is_431(
    limit: str, at: bytes, over: bytes, what: str, feeding: Feed
) -> None:
    assert read(feeding(at), **{limit: 100}) is not None
    with pytest.raises(HandshakeError, match=f"{what} is over the limit of 100") as refused:
        read(feeding(over), **{limit: 100})
    assert refused.value.status == 431


@pytest.mark.parametrize(
    ("at", "over"),
    [
        (padded(line=8192), padded(line=8193)),
        (padded(head=65536, line=8000), None),
        (padded(count=128), padded(count=129)),
    ],
    ids=["a line", "the head", "the number of headers"],
)
def test_the_default_limits_are_those_documented(at: bytes, over: bytes | None) -> None:
    if over is None:
        at = request(*(f"X: {'y' * 8000}" for _ in range(8)))
        missing = 65536 - len(at) - len("P: \r\n")
        at, over = (
            request(*(f"X: {'y' * 8000}" for _ in range(8)), "P: " + "y" * (missing + more))
            for more in (0, 1)
        )
        assert len(at) == 65536
    assert read([at]) is not None
    with pytest.raises(HandshakeError):
        read([over])


def test_the_first_line_is_bounded_too(feeding: Feed) -> None:
    line = b"GET /" + b"x" * 84 + b" HTTP/1.1\r\n"
    assert len(line) == 100
    assert read(feeding(line + b"\r\n"), max_line=100) is not None
    with pytest.raises(HandshakeError) as refused:
        read(feeding(b"GET /x" + line[5:] + b"\r\n"), max_line=100)
    assert refused.value.status == 414


@pytest.mark.parametrize(
    ("limits", "data", "status"),
    [
        ({"max_line": 100}, b"x" * 101, 414),
        ({"max_line": 100}, b"GET / HTTP/1.1\r\n" + b"x" * 101, 431),
        ({"max_head": 100, "max_line": None}, b"x" * 101, 431),
        ({"max_head": 100}, b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 15, 431),
        ({"max_headers": 2}, b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 3, 431),
    ],
)
def test_a_limit_is_judged_before_the_head_has_ended(
    limits: dict[str, Any], data: bytes, status: int
) -> None:
    for chunks in (whole(data), byte_by_byte(data)):
        with pytest.raises(HandshakeError) as refused:
            read(chunks, **limits)
        assert refused.value.status == status


def test_white_space_before_a_wrong_byte_takes_no_longer_than_other_text() -> None:
    """It took quadratic time: half a minute for this."""
    began = time.monotonic()
    with pytest.raises(HandshakeError, match="is not a header"):
        read(
            [b"GET / HTTP/1.1\r\nX:" + b" " * 100_000 + b"\0\r\n\r\n"], max_line=None, max_head=None
        )
    assert time.monotonic() - began < TIMEOUT / 2


def test_one_byte_less_than_a_limit_is_waited_for() -> None:
    assert read(byte_by_byte(b"x" * 100), max_line=100) is None


def test_what_comes_after_the_head_is_not_limited() -> None:
    reader = HeadReader(Limits(max_line=100, max_head=100, max_headers=2))
    rest = b"x" * 1000 + b"\r\n" * 1000
    assert reader.feed(request("Host: a") + rest) is not None
    assert reader.rest == rest


def test_none_is_no_limit(feeding: Feed) -> None:
    data = padded(line=20_000, count=200)
    assert read(feeding(data), max_line=None, max_head=None, max_headers=None) is not None


@pytest.mark.parametrize(
    "line",
    [
        "",
        "GET",
        "GET /",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "GET  / HTTP/1.1",
        "GET / HTTP/2.0",
        "GET / HTTP/11",
        "GET / HTTP/1.10",
        "GET / HTTP/0.9",
        "GET / http/1.1",
        "GET / RTSP/1.0",
        "GET /a b HTTP/1.1",
        "GET /\x00 HTTP/1.1",
        "GET /\n HTTP/1.1",
        "GET /é HTTP/1.1",
        "G(T / HTTP/1.1",
        "GET / HTTP/1.1\n",
        "GET\t/\tHTTP/1.1",
    ],
    ids=repr,
)
def test_what_is_not_an_http_1_request_is_400(line: str) -> None:
    with pytest.raises(HandshakeError, match=r"is not an HTTP/1\.1 request") as refused:
        environ_of(line)
    assert refused.value.status == 400


@pytest.mark.parametrize("target", ["http://[::1/chat", "http://[v/"])
def test_a_target_that_is_no_url_is_400(target: str) -> None:
    with pytest.raises(HandshakeError, match="not a request target") as refused:
        environ_of(f"GET {target} HTTP/1.1")
    assert refused.value.status == 400


@pytest.mark.parametrize("target", ["chat", "example.com:80", "?query", "x:/y"])
def test_a_target_that_is_neither_a_path_nor_a_url_is_400(target: str) -> None:
    with pytest.raises(HandshakeError) as refused:
        environ_of(f"GET {target} HTTP/1.1")
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/", "/", ""),
        ("/chat", "/chat", ""),
        ("/chat?a=b&c=%20", "/chat", "a=b&c=%20"),
        ("/chat?", "/chat", ""),
        ("/a?b?c", "/a", "b?c"),
        ("/a%20b%2Fc", "/a b/c", ""),
        ("/%C3%A9", "\xc3\xa9", ""),
        ("/a;b=c", "/a;b=c", ""),
        ("//evil.example/path", "//evil.example/path", ""),
        ("/http://x/", "/http://x/", ""),
        ("/a:b@c", "/a:b@c", ""),
        ("http://example.com", "/", ""),
        ("http://example.com/chat?a", "/chat", "a"),
        ("http://example.com:80?a", "/", "a"),
        ("HTTPS://example.com/x", "/x", ""),
        ("ws://[::1]:80/x", "/x", ""),
    ],
)
def test_a_target_becomes_a_path_and_a_query(target: str, path: str, query: str) -> None:
    environ = environ_of(f"GET {target} HTTP/1.1")
    expected = path if path.startswith("/") else "/" + path
    assert (environ["PATH_INFO"], environ["QUERY_STRING"]) == (expected, query)


def test_an_environ_has_the_keys_that_wsgi_wants() -> None:
    assert environ_of("POST /x HTTP/1.0") == {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/x",
        "QUERY_STRING": "",
        "SERVER_PROTOCOL": "HTTP/1.0",
        "wsgi.url_scheme": "http",
    }
    assert make_environ(Head("GET / HTTP/1.1", []), "https")["wsgi.url_scheme"] == "https"


def test_a_header_becomes_a_key_of_the_environ() -> None:
    environ = environ_of(
        "GET / HTTP/1.1",
        ("Host", "a"),
        ("sec-webSocket-KEY", "k"),
        ("Content-Type", "text/plain"),
        ("Content-Length", "0"),
        ("Empty", ""),
    )
    assert environ["HTTP_HOST"] == "a"
    assert environ["HTTP_SEC_WEBSOCKET_KEY"] == "k"
    assert (environ["CONTENT_TYPE"], environ["CONTENT_LENGTH"]) == ("text/plain", "0")
    assert environ["HTTP_EMPTY"] == ""
    assert not {"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"} & set(environ)


def test_a_header_that_comes_twice_is_joined_in_its_order() -> None:
    environ = environ_of("GET / HTTP/1.1", ("X", "1"), ("Y", "2"), ("x", "3"), ("X", ""))
    assert environ["HTTP_X"] == "1, 3, "


@pytest.mark.parametrize("name", ["Host", "HOST", "Content-Length"])
def test_two_hosts_or_two_content_lengths_are_400(name: str) -> None:
    with pytest.raises(HandshakeError, match="two") as refused:
        environ_of("GET / HTTP/1.1", (name, "5"), (name.lower(), "5"))
    assert refused.value.status == 400


def test_a_name_with_an_underscore_does_not_pass_for_one_with_a_hyphen() -> None:
    environ = environ_of("GET / HTTP/1.1", ("X_Y", "evil"), ("Sec_WebSocket_Key", "evil"))
    assert not [key for key in environ if key.startswith("HTTP_")]
    environ = environ_of("GET / HTTP/1.1", ("X-Y", "good"), ("X_Y", "evil"))
    assert environ["HTTP_X_Y"] == "good"


def test_what_cannot_begin_a_head_is_refused_at_its_first_byte() -> None:
    for first in (b"\x16", b"\x00", b"\xff", b" "):
        with pytest.raises(HandshakeError, match="does not begin a line of HTTP") as caught:
            HeadReader(Limits()).feed(first)
        assert caught.value.status == 400


@pytest.mark.parametrize("feeding", [whole, byte_by_byte])
def test_what_follows_an_interim_response_is_refused_at_its_first_byte_too(feeding: Feed) -> None:
    interim, wrong = b"HTTP/1.1 100 Continue\r\n\r\n", b"\xffHTTP/1.1 101 x\r\n\r\n"
    with pytest.raises(HandshakeError, match="does not begin a line of HTTP"):
        read(feeding(interim + wrong), is_request=False)


def test_a_head_is_built_of_a_line_and_headers_in_their_order() -> None:
    head = build_head("HTTP/1.1 200 OK", [("X", "é"), ("Y", "")])
    assert head == b"HTTP/1.1 200 OK\r\nX: \xe9\r\nY: \r\n\r\n"


@pytest.mark.parametrize("line", ["GET / HTTP/1.1\r\nX: y", "GET /\n HTTP/1.1", "\r"])
def test_what_is_more_than_a_line_does_not_begin_a_head(line: str) -> None:
    with pytest.raises(ValueError, match="is more than a line"):
        build_head(line, [])


@pytest.mark.parametrize(
    ("name", "value"), [("X", "a\r\nY: b"), ("X", "a\0"), ("X:", "a"), ("X Y", "a"), ("", "a")]
)
def test_what_cannot_be_a_header_does_not_get_into_a_head(name: str, value: str) -> None:
    with pytest.raises(ValueError, match="cannot be a header"):
        build_head("HTTP/1.1 200 OK", [("A", "b"), (name, value)])
