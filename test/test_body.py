"""The body of a response, in chunks of any size."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from test.helpers import byte_by_byte, whole
from ws4py._body import BodyReader

CHUNKED = ("Transfer-Encoding", "chunked")


def read(
    chunks: list[bytes], *fields: tuple[str, str], status: int = 500, most: int = 100
) -> tuple[bytes, bool]:
    """Return the body, and whether no more is needed."""
    reader = BodyReader(status, fields, most)
    is_complete = any(reader.feed(chunk) for chunk in [b"", *chunks])
    return reader.data, is_complete


@pytest.mark.parametrize("feeding", [whole, byte_by_byte])
@pytest.mark.parametrize(
    ("fields", "sent", "body"),
    [
        ([("Content-Length", "4")], b"bodymore", b"body"),
        ([("content-length", "0")], b"more", b""),
        ([("Content-Length", "4, 4")], b"bodymore", b"body"),
        ([("Content-Length", "4"), ("Content-Length", "4")], b"bodymore", b"body"),
        ([CHUNKED], b"2\r\nbo\r\n02;a=b\r\ndy\r\n0\r\nX: trailer\r\n\r\nmore", b"body"),
        ([CHUNKED], b"A \r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
        ([("TRANSFER-ENCODING", "gzip, Chunked")], b"4\r\nbody\r\n0\r\n\r\n", b"body"),
        ([CHUNKED, ("Content-Length", "2")], b"4\r\nbody\r\n0\r\n\r\n", b"body"),
        ([], b"x" * 200, b"x" * 100),
        ([("Content-Length", "200")], b"x" * 200, b"x" * 100),
        ([CHUNKED], b"c8\r\n" + b"x" * 200, b"x" * 100),
        ([CHUNKED], b"1\r\nx\r\n" * 200, b"x" * 100),
        ([CHUNKED], b"1\r\nx\r\n" + b"0" * 5000, b"x"),
    ],
)
def test_a_body_ends_where_its_head_says_or_at_the_limit(
    fields: list[tuple[str, str]],
    sent: bytes,
    body: bytes,
    feeding: Callable[[bytes], list[bytes]],
) -> None:
    assert read(feeding(sent), *fields) == (body, True)


@pytest.mark.parametrize("feeding", [whole, byte_by_byte])
@pytest.mark.parametrize(
    ("fields", "sent", "body"),
    [
        ([], b"body", b"body"),
        ([("Content-Length", "5")], b"body", b"body"),
        ([("Content-Length", "-1")], b"body", b"body"),
        ([("Content-Length", "+1")], b"body", b"body"),
        ([("Content-Length", "1, 2")], b"body", b"body"),
        ([("Content-Length", "9" * 5000)], b"body", b"body"),
        ([("Transfer-Encoding", "gzip"), ("Content-Length", "1")], b"body", b"body"),
        ([CHUNKED], b"4\r\nbody", b"body"),
        ([CHUNKED], b"4\r\nbody\r\n", b"body"),
        ([CHUNKED], b"5\r\nbody", b"body"),
        ([CHUNKED], b"no chunk\r\n", b""),
    ],
)
def test_a_body_whose_end_is_not_known_or_has_not_come_is_kept_so_far(
    fields: list[tuple[str, str]],
    sent: bytes,
    body: bytes,
    feeding: Callable[[bytes], list[bytes]],
) -> None:
    assert read(feeding(sent), *fields) == (body, False)


@pytest.mark.parametrize("status", [204, 304])
def test_some_responses_have_no_body(status: int) -> None:
    assert read([b"more"], ("Content-Length", "4"), status=status) == (b"", True)
