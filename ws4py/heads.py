"""Heads of HTTP requests and responses: how they are read, made and turned into a WSGI environ.

Nearly every head comes in one piece, and is no longer than a line may be: that one is looked at as
a whole. Any other is taken line by line, as it comes, which also tells what is wrong with it first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes, urlsplit

from ws4py.exc import HandshakeError
from ws4py.headers import TOKEN
from ws4py.limits import Limits

__all__ = ["Fields", "Head", "HeadReader", "build_head", "make_environ"]

#: Names and values of header fields, in their order.
Fields = list[tuple[str, str]]

# Space around the value is left to strip(): two repeats that both match it would try, before they
# refuse a line, each way to share it out.
_FIELD = rf"({TOKEN}):([^\x00-\x08\x0a-\x1f\x7f]*)"
_match_field = re.compile(_FIELD).fullmatch
_find_fields = re.compile(rf"(?<=\r\n){_FIELD}\r\n").findall
_match_request = re.compile(rf"({TOKEN}) ([\x21-\x7e]+) HTTP/(\d)\.(\d)").fullmatch
_is_interim = re.compile(r"HTTP/1\.\d 1(?!01)\d\d(?: .*)?").fullmatch


class Head(NamedTuple):
    """The head of a request or response: its first line and its header fields."""

    line: str
    fields: Fields


class HeadReader:
    """Collects the head of a request or response out of chunks of any size.

    Interim responses (:rfc:`9110#section-15.2`) before the response are read, and left out.

    Args:
        limits: ``max_line``, ``max_head`` and ``max_headers`` bound it.
        is_request: Whether an error is to be answered, so that it needs a status.

    ``rest`` is what came after the head.
    """

    def __init__(self, limits: Limits, is_request: bool = True) -> None:
        self._limits = limits
        self._is_request = is_request
        self._lines: list[str] = []
        self._size = 0
        self.rest = b""

    def feed(self, data: bytes) -> Head | None:
        """Take more bytes; return the head once it is complete.

        Raises:
            HandshakeError: It is longer than the limits allow, or not a head at all.
        """
        received = self.rest + data
        if self._is_request and not self._lines:
            head = self._take_whole(received)
            if head is not None:
                return head
        self._check_beginning(received)
        *lines, rest = received.split(b"\r\n")
        for position, line in enumerate(lines):
            self._check_beginning(line)  # What follows an interim response begins a head as well.
            self._count(len(line) + 2)
            if line:
                self._lines.append(line.decode("latin-1"))
                continue
            head = self._complete()
            if self._is_request or not _is_interim(head.line):
                self.rest = b"\r\n".join([*lines[position + 1 :], rest])
                return head
            self._lines = []
        self.rest = rest
        self._count(0, len(rest))
        return None

    def _check_beginning(self, data: bytes) -> None:
        if data and not self._lines and not _may_begin(data[0]):
            raise self._error(f"{data[:8]!r} does not begin a line of HTTP", 400)

    def _take_whole(self, received: bytes) -> Head | None:
        """Return the head if all of it has come, as it does nearly always, and nothing is wrong.

        Otherwise to go line by line tells what is, and which is the first limit to be exceeded. So
        it does for what may be fine, but has more bytes than a line may have.
        """
        end = received.find(b"\r\n\r\n")
        size = end + 4
        if end <= 0 or self._excess(size, size, 0) is not None:
            return None
        text = received[: end + 2].decode("latin-1")
        first = text.find("\r\n")
        fields = _find_fields(text, first)
        is_head = first > 0 and len(fields) == text.count("\r\n", first) - 1
        if not is_head or self._excess(0, 0, len(fields)) is not None:
            return None
        self.rest = received[size:]
        return Head(text[:first], [(name, value.strip(" \t")) for name, value in fields])

    def _count(self, taken: int, waiting: int = 0) -> None:
        self._size += taken
        excess = self._excess(taken or waiting, self._size + waiting, len(self._lines) - 1)
        if excess is not None:
            raise self._error(*excess)

    def _excess(self, line: int, head: int, headers: int) -> tuple[str, int] | None:
        """Return what is over its limit and the status that says so, if anything is."""
        limits = self._limits
        if limits.max_line is not None and line > limits.max_line:
            return f"a line is over the limit of {limits.max_line}", 431 if self._lines else 414
        if limits.max_head is not None and head > limits.max_head:
            return f"the head is over the limit of {limits.max_head}", 431
        if limits.max_headers is not None and headers > limits.max_headers:
            return f"the number of headers is over the limit of {limits.max_headers}", 431
        return None

    def _complete(self) -> Head:
        if not self._lines:
            raise self._error("the first line is empty", 400)
        fields = []
        for line in self._lines[1:]:
            match = _match_field(line)
            if match is None:
                raise self._error(f"{line!r} is not a header", 400)
            fields.append((match[1], match[2].strip(" \t")))
        return Head(self._lines[0], fields)

    def _error(self, message: str, status: int) -> HandshakeError:
        return HandshakeError(message, status if self._is_request else None)


def _may_begin(byte: int) -> bool:
    """Say whether a head may begin so; TLS, for one, does not, and would be waited for in vain."""
    return 0x20 < byte < 0x7F or byte == 0x0D


def make_environ(head: Head, scheme: str = "http") -> dict[str, Any]:
    """Turn the head of a request into a WSGI environ (PEP 3333), without its ``wsgi.`` streams.

    Raises:
        HandshakeError: It is not an HTTP/1 request.
    """
    match = _match_request(head.line)
    if match is None or match[3] != "1":
        raise HandshakeError(f"{head.line!r} is not an HTTP/1.1 request", 400)
    path, query = _split_target(match[2])
    environ: dict[str, Any] = {
        "REQUEST_METHOD": match[1],
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1") if "%" in path else path,
        "QUERY_STRING": query,
        "SERVER_PROTOCOL": f"HTTP/{match[3]}.{match[4]}",
        "wsgi.url_scheme": scheme,
    }
    for name, value in head.fields:
        key = _key(name)
        if key in environ and key in ("HTTP_HOST", "CONTENT_LENGTH"):
            raise HandshakeError(f"two {name} headers", 400)
        # A name with an underscore would pass for the one with a hyphen.
        if "_" not in name:
            environ[key] = f"{environ[key]}, {value}" if key in environ else value
    return environ


def _split_target(target: str) -> tuple[str, str]:
    """Return the path and the query of a request target, a path or a URL.

    Raises:
        HandshakeError: It is neither.
    """
    if target[0] == "/":
        path, _, query = target.partition("#")[0].partition("?")
        return path, query
    try:
        url = urlsplit(target)
    except ValueError as error:
        raise HandshakeError(f"{target!r} is not a request target", 400) from error
    if not url.netloc:
        raise HandshakeError(f"{target!r} is neither a path nor a URL", 400)
    return url.path or "/", url.query


@lru_cache(maxsize=64)  # Clients send the same ones, so that all environs share their keys.
def _key(name: str) -> str:
    """Return the key that a header has in an environ."""
    key = name.upper().replace("-", "_")
    return key if key in ("CONTENT_LENGTH", "CONTENT_TYPE") else "HTTP_" + key


def build_head(line: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """Return the bytes of a head.

    Raises:
        ValueError: The line, a name or a value has a character that it cannot carry.
    """
    if "\r" in line or "\n" in line:
        raise ValueError(f"{line!r} is more than a line")
    lines = [line]
    for name, value in headers:
        line = f"{name}: {value}"
        match = _match_field(line)
        if match is None or match[1] != name:
            raise ValueError(f"{line!r} cannot be a header")
        lines.append(line)
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
