"""The body of a response that refuses a handshake."""

from __future__ import annotations

import time
from typing import Callable

import pytest

from test.helpers import byte_by_byte, whole
from ws4py.body import BodyReader
from ws4py.handshake import Head

Feed = Callable[[bytes], list]

CHUNKED = ("Transfer-Encoding", "chunked")


def with_rest(data: bytes) -> list[bytes]:
    """Feed a body and what comes after it at once."""
    return [data + b"\r\n5\r\nafter\r\n"]


@pytest.fixture(params=[whole, byte_by_byte, with_rest], ids=lambda feeding: feeding.__name__)
def feeding(request: pytest.FixtureRequest) -> Feed:
    return request.param


def read(
    chunks: list[bytes], *fields: tuple[str, str], most: int = 100, status: str = "404 no"
) -> tuple[bytes, bool]:
    """Return the body, and whether it is complete; nothing is fed to one that is."""
    reader = BodyReader(Head(f"HTTP/1.1 {status}", list(fields)), most)
    complete = False
    for chunk in chunks:
        assert not complete, "the body was complete too early"
        complete = reader.feed(chunk)
    return bytes(reader.data), complete


def test_a_body_ends_at_its_length(feeding: Feed) -> None:
    assert read(feeding(b"Hello"), ("Content-Length", "5")) == (b"Hello", True)


def test_a_body_of_chunks_ends_at_an_empty_one(feeding: Feed) -> None:
    body = b"4\r\nHell\r\n001; a=b\r\no\r\n0\r\n"
    assert read(feeding(body), CHUNKED) == (b"Hello", True)


@pytest.mark.parametrize("field", [("X", "y"), ("Content-Length", "x"), ("Content-Length", "-1")])
def test_a_body_without_a_length_ends_with_the_connection(field: tuple[str, str]) -> None:
    for feeding in (whole, byte_by_byte):
        assert read(feeding(b"Hello"), field) == (b"Hello", False)


@pytest.mark.parametrize("fields", [[], [("Content-Length", "9")], [CHUNKED]])
def test_a_body_is_cut_at_the_limit(fields: list[tuple[str, str]], feeding: Feed) -> None:
    body = b"9\r\nHello" if CHUNKED in fields else b"Hello"
    assert read(feeding(body), *fields, most=5) == (b"Hello", True)


@pytest.mark.parametrize("status", ["103 soon", "204 none", "304 as before"])
def test_some_responses_have_no_body(status: str) -> None:
    assert read([b"Hello"], status=status) == (b"", True)


@pytest.mark.parametrize("size", [b"", b"x", b"-5", b"+5", b"5_0", b"0x5", b"5 5", b"f" * 16])
def test_a_body_ends_where_the_size_of_a_chunk_is_not_one(size: bytes, feeding: Feed) -> None:
    body = b"2\r\nab\r\n" + size + b"\r\n"
    assert read(feeding(body), CHUNKED) == (b"ab", True)


def test_the_line_before_a_chunk_is_not_waited_for_forever() -> None:
    assert read([b"1;" + b"x" * 1022], CHUNKED) == (b"", True)


def test_what_frames_the_chunks_of_a_body_is_limited_too() -> None:
    body = (b"1;" + b"x" * 1000 + b"\r\na\r\n") * 1000
    reader = BodyReader(Head("HTTP/1.1 404 no", [CHUNKED]), 4096)
    fed = next(n for n, byte in enumerate(body) if reader.feed(bytes([byte])))
    assert fed == 4 * (4096 + 4096)


def test_a_body_in_many_chunks_that_come_byte_by_byte_takes_no_longer_than_its_bytes() -> None:
    body = b"1\r\na\r\n" * 20000
    start = time.process_time()
    assert read(byte_by_byte(body), CHUNKED, most=65536) == (b"a" * 20000, False)
    assert time.process_time() - start < 20  # Read anew for each byte, it takes half an hour.
