"""The first line of a response."""

from __future__ import annotations

import pytest

from ws4py.exc import HandshakeError
from ws4py.handshake import read_status


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("HTTP/1.1 101 Switching Protocols", 101),
        ("HTTP/1.1 101", 101),
        ("HTTP/1.1 101 ", 101),
        ("HTTP/1.0 200 OK", 200),
        ("HTTP/1.1 404 Pas trouvé", 404),
    ],
)
def test_the_status_of_a_response_is_read_with_or_without_a_phrase(line: str, status: int) -> None:
    assert read_status(line) == status


@pytest.mark.parametrize(
    "line",
    ["", "101", "HTTP/1.1", "HTTP/1.1 1", "HTTP/1.1 1011 x", "HTTP/2 101 x", "HTTP/2.0 101 x"]
    + ["HTTP/1.1  101 x", "http/1.1 101 x", "HTTP/1.1 abc x", "HTTP/1.1 101\nx", "ICY 200 OK"]
    + ["HTTP/1.1 101x", " HTTP/1.1 101 x", "HTTP/1.1 101 \x00", "HTTP/1.0 101 x"],
    ids=repr,
)
def test_what_is_not_an_http_1_response_is_an_invalid_status_line(line: str) -> None:
    with pytest.raises(HandshakeError, match="Invalid response status line") as refused:
        read_status(line)
    assert refused.value.status is None
