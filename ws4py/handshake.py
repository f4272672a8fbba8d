"""The opening handshake (:rfc:`6455#section-4`), both sides, without any I/O.

A request comes as a WSGI environ, whoever read it: our own servers make one of the head that
:class:`HeadReader` collects, a WSGI server hands over its own. So there is one place that judges
requests. What is wrong is a HandshakeError, which carries the status and the headers of the
answer; :func:`refusal` makes the answer of it.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha1
from http import HTTPStatus
from os import urandom
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes, urlsplit

from ws4py.deflate import PerMessageDeflate
from ws4py.exc import HandshakeError
from ws4py.headers import TOKEN, check_tokens, is_token, parse_extensions, split_list
from ws4py.limits import Limits

#: What is appended to a key before it is hashed (:rfc:`6455#section-1.3`).
WS_KEY = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#: Kept for programs that import it; the one version that is spoken is 13.
WS_VERSION = (8, 13)

VERSION = "13"
#: The header that names subprotocols.
PROTOCOLS = "Sec-WebSocket-Protocol"
#: The header that names extensions.
EXTENSIONS = "Sec-WebSocket-Extensions"

Fields = list[tuple[str, str]]

_is_origin = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s]+/?", re.IGNORECASE).fullmatch
# Space around the value is left to strip(): two repeats that both match it would try, before they
# refuse a line, each way to share it out.
_match_field = re.compile(rf"({TOKEN}):([^\x00-\x08\x0a-\x1f\x7f]*)").fullmatch
# RFC 3986 3.2.2, but for a comma: that is what a server makes of two of them.
is_host = re.compile(r"(\[[0-9a-z:.%~_-]+\]|[\w.~%!$&'()*+;=-]+)(:\d*)?", re.A | re.I).fullmatch
_match_request = re.compile(rf"({TOKEN}) ([\x21-\x7e]+) HTTP/(\d)\.(\d)").fullmatch
_match_status = re.compile(r"HTTP/1\.(\d) (\d{3})(?: [^\x00-\x08\x0a-\x1f\x7f]*)?").fullmatch
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
        if not self._lines and received and not _may_begin(received[0]):
            raise self._error(f"{received[:8]!r} does not begin a line of HTTP", 400)
        *lines, rest = received.split(b"\r\n")
        for position, line in enumerate(lines):
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

    def _count(self, taken: int, waiting: int = 0) -> None:
        limits = self._limits
        self._size += taken
        for size, most, what, status in (
            (taken or waiting, limits.max_line, "a line", 431 if self._lines else 414),
            (self._size + waiting, limits.max_head, "the head", 431),
            (len(self._lines) - 1, limits.max_headers, "the number of headers", 431),
        ):
            if most is not None and size > most:
                raise self._error(f"{what} is over the limit of {most}", status)

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
    try:
        target = urlsplit(match[2] if match[2][0] != "/" else "//host" + match[2])
    except ValueError as error:
        raise HandshakeError(f"{match[2]!r} is not a request target", 400) from error
    if not target.netloc:
        raise HandshakeError(f"{match[2]!r} is neither a path nor a URL", 400)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": match[1],
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(target.path or "/").decode("latin-1"),
        "QUERY_STRING": target.query,
        "SERVER_PROTOCOL": f"HTTP/{match[3]}.{match[4]}",
        "wsgi.url_scheme": scheme,
    }
    for name, value in head.fields:
        key = name.upper().replace("-", "_")
        if key not in ("CONTENT_LENGTH", "CONTENT_TYPE"):
            key = "HTTP_" + key
        if key in environ and key in ("HTTP_HOST", "CONTENT_LENGTH"):
            raise HandshakeError(f"two {name} headers", 400)
        # A name with an underscore would pass for the one with a hyphen.
        if "_" not in name:
            environ[key] = f"{environ[key]}, {value}" if key in environ else value
    return environ


class Accepted(NamedTuple):
    """What a request and a server have agreed on, and the headers that say so."""

    headers: Fields
    protocols: list[str]
    extensions: list[str]


@dataclass
class ServerHandshake:
    """What a server accepts.

    Args:
        protocols: The subprotocols it speaks. Of those that a client asks for the first one that
            is among them is picked, and a client that only asks for others is refused; with none,
            what a client asks for is ignored.
        extensions: The names of the extensions that the handler class implements.
        origins: The values of Origin that are allowed; None among them allows a request without
            one, as clients other than browsers send it. With none, all are.
        compression: How messages are compressed, if a client offers that.
    """

    protocols: Sequence[str] = ()
    extensions: Sequence[str] = ()
    origins: Sequence[str | None] = ()
    compression: PerMessageDeflate | None = None
    _origins: set[str | None] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.protocols = check_tokens(self.protocols or (), "subprotocol")
        self.extensions = check_tokens(self.extensions or (), "extension")
        self._origins = {_normal_origin(origin) for origin in _allowed(self.origins or ())}

    def accept(self, environ: Mapping[str, Any]) -> Accepted:
        """Judge a request (:rfc:`6455#section-4.2.1`) and return what was agreed on.

        Raises:
            HandshakeError: It is refused; its status is 400, 403, 405 or 426.
        """
        _require_upgrade(environ)
        key = _require_key(environ)
        agreed = self._agree(environ)
        headers = [
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", accept_token(key)),
        ]
        if agreed.protocols:
            headers.append((PROTOCOLS, agreed.protocols[0]))
        return agreed._replace(headers=headers + agreed.headers)

    def agree(self, environ: Mapping[str, Any]) -> Accepted:
        """Judge a request that a host is ready to switch, over any version of HTTP.

        Returns:
            What was agreed on; its headers tell of the extensions alone.

        Raises:
            HandshakeError: It is refused; its status is 400, 403 or 426.
        """
        if "HTTP_SEC_WEBSOCKET_KEY" in environ:  # There is none over HTTP/2 (RFC 8441).
            _require_key(environ)
        return self._agree(environ)

    def _agree(self, environ: Mapping[str, Any]) -> Accepted:
        _require_no_body(environ)
        host = environ.get("HTTP_HOST")
        if host is not None and not is_host(host):
            raise HandshakeError(f"Illegal value for header HTTP_HOST: {host}", 400)
        self._require_origin(environ)
        protocols = self._pick_protocol(environ)
        extensions = self._pick_extensions(environ)
        headers = [(EXTENSIONS, ", ".join(extensions))] if extensions else []
        return Accepted(headers, protocols, extensions)

    def _pick_extensions(self, environ: Mapping[str, Any]) -> list[str]:
        try:
            offers = parse_extensions(environ.get("HTTP_SEC_WEBSOCKET_EXTENSIONS", ""))
        except ValueError as error:
            # "The recipient … MUST immediately _Fail the WebSocket Connection_" (section 9.1).
            raise HandshakeError(str(error), 400) from error
        names = dict.fromkeys(str(offer) for offer in offers)
        picked = [name for name in names if name in self.extensions]
        answer = None if self.compression is None else self.compression.accept(offers)
        return picked if answer is None else [*picked, str(answer)]

    def _require_origin(self, environ: Mapping[str, Any]) -> None:
        origin = environ.get("HTTP_ORIGIN")
        if self._origins and _normal_origin(origin) not in self._origins:
            raise HandshakeError(f"Origin {origin!r} is not allowed", 403)

    def _pick_protocol(self, environ: Mapping[str, Any]) -> list[str]:
        asked = split_list(environ.get("HTTP_SEC_WEBSOCKET_PROTOCOL", ""))
        if not asked or not self.protocols:
            return []
        for protocol in asked:
            if protocol in self.protocols:
                return [protocol]
        raise HandshakeError(f"no subprotocol among {', '.join(asked)} is spoken here", 400)


def _require_upgrade(environ: Mapping[str, Any]) -> None:
    if environ.get("REQUEST_METHOD") != "GET":
        raise HandshakeError("HTTP method must be a GET", 405, [("Allow", "GET")])
    # "HTTP version MUST be at least 1.1"; servers that do not say which it was have seen to it.
    if environ.get("SERVER_PROTOCOL", "HTTP/1.1") in ("HTTP/1.0", "HTTP/0.9"):
        raise HandshakeError("the HTTP version must be 1.1 at least", 400)
    for name, token, status in (
        ("HTTP_UPGRADE", "websocket", 426),
        ("HTTP_CONNECTION", "upgrade", 400),
    ):
        value = environ.get(name)
        headers = [("Upgrade", "websocket"), ("Connection", "Upgrade")] if status == 426 else []
        if not value:
            raise HandshakeError(f"Header {name} is not defined", status, headers)
        if token not in split_list(value.lower()):
            raise HandshakeError(f"Illegal value for header {name}: {value}", status, headers)
    if not environ.get("HTTP_HOST"):
        raise HandshakeError("Header HTTP_HOST is not defined", 400)


def _require_no_body(environ: Mapping[str, Any]) -> None:
    # What follows the head is frames, so nothing else may.
    if environ.get("CONTENT_LENGTH") not in (None, "", "0") or "HTTP_TRANSFER_ENCODING" in environ:
        raise HandshakeError("a request to upgrade has no body", 400)


def _require_key(environ: Mapping[str, Any]) -> str:
    if environ.get("HTTP_SEC_WEBSOCKET_VERSION") != VERSION:
        raise HandshakeError(
            "Unhandled or missing WebSocket version",
            426,
            [
                ("Upgrade", "websocket"),
                ("Connection", "Upgrade"),
                ("Sec-WebSocket-Version", VERSION),
            ],
        )
    key: str = environ.get("HTTP_SEC_WEBSOCKET_KEY", "")
    try:
        decoded = b64decode(key.encode("latin-1"), validate=True)
    except (Base64Error, ValueError) as error:
        raise HandshakeError("WebSocket key is not base64", 400) from error
    if len(decoded) != 16:
        raise HandshakeError("WebSocket key's length is invalid", 400)
    return key


def refusal(error: HandshakeError) -> tuple[str, Fields, bytes]:
    """Return the status (number and phrase), the headers and the body that answer a request."""
    body = f"{error.msg}\n".encode("utf-8", "replace")
    status = HTTPStatus(error.status or 400)
    headers = [
        *error.headers,
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(body))),
    ]
    return f"{status.value} {status.phrase}", headers, body


def build_head(line: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """Return the bytes of a head.

    Raises:
        ValueError: The line, a name or a value has a character that it cannot carry.
    """
    if "\r" in line or "\n" in line:
        raise ValueError(f"{line!r} is more than a line")
    lines = [line]
    for name, value in headers:
        lines.append(f"{name}: {value}")
        if not is_token(name) or _match_field(lines[-1]) is None:
            raise ValueError(f"{lines[-1]!r} cannot be a header")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def build_switch(accepted: Accepted) -> bytes:
    """Return the answer to a request that is accepted."""
    return build_head("HTTP/1.1 101 Switching Protocols", accepted.headers)


def make_key() -> bytes:
    """Return a new random key, as a client sends it."""
    return b64encode(urandom(16))


def request_headers(
    host: str,
    secure: bool,
    key: bytes,
    protocols: Sequence[str] | None,
    extensions: Sequence[str] | None,
    compression: PerMessageDeflate | None = None,
) -> Fields:
    """Return the headers of a client's request (:rfc:`6455#section-4.1`).

    Raises:
        ValueError: A subprotocol or an extension cannot stand in a header.
    """
    offers = check_tokens(extensions or (), "extension")
    offers += [str(offer) for offer in (compression.offer() if compression else ())]
    headers = [
        ("Host", host),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Key", key.decode("ascii")),
        ("Sec-WebSocket-Version", VERSION),
        ("Origin", f"{'https' if secure else 'http'}://{host}"),
    ]
    if protocols:
        headers.append((PROTOCOLS, ", ".join(check_tokens(protocols, "subprotocol"))))
    if offers:
        headers.append((EXTENSIONS, ", ".join(offers)))
    return headers


def accept_token(key: str) -> str:
    """Return the proof that a server has read ``key`` (:rfc:`6455#section-4.2.2`)."""
    return b64encode(sha1(key.encode("latin-1") + WS_KEY).digest()).decode("ascii")


def read_status(line: str) -> int:
    """Return the status of a response, out of its first line.

    Raises:
        HandshakeError: It is not an HTTP/1 response.
    """
    match = _match_status(line)
    # "A server MUST NOT send a 1xx response to an HTTP/1.0 client" (RFC 9110 15.2).
    if match is None or (match[1] == "0" and match[2][0] == "1"):
        raise HandshakeError(f"Invalid response status line: {line!r}")
    return int(match[2])


def check_response(
    fields: Fields,
    key: str,
    protocols: Sequence[str],
    extensions: Sequence[str],
    compression: PerMessageDeflate | None = None,
) -> tuple[list[str], list[str]]:
    """Judge the headers of a 101 response (:rfc:`6455#section-4.1`).

    Returns:
        The subprotocol that the server has picked, in a list, and its extensions.

    Raises:
        HandshakeError: A header is missing or wrong, or names what ``protocols``, ``extensions``
            and ``compression``, which were offered, do not.
    """
    found: dict[str, str] = {}
    for name, value in fields:
        name = name.lower()
        found[name] = f"{found[name]}, {value}" if name in found else value
    if found.get("upgrade", "").lower() != "websocket":
        raise HandshakeError(f"Invalid Upgrade header: {found.get('upgrade')}")
    if "upgrade" not in split_list(found.get("connection", "").lower()):
        raise HandshakeError(f"Invalid Connection header: {found.get('connection')}")
    if found.get("sec-websocket-accept") != accept_token(key):
        raise HandshakeError(f"Invalid challenge response: {found.get('sec-websocket-accept')}")
    picked = found.get("sec-websocket-protocol")
    if picked is not None and picked not in protocols:
        raise HandshakeError(f"the server picked subprotocol {picked!r}, which was not offered")
    agreed = _check_extensions(found.get(EXTENSIONS.lower(), ""), extensions, compression)
    return [] if picked is None else [picked], agreed


def _check_extensions(
    value: str, extensions: Sequence[str], compression: PerMessageDeflate | None
) -> list[str]:
    """Return the extensions that the server uses, once each is known to have been offered."""
    try:
        agreed = parse_extensions(value)
        others = [each for each in agreed if each.name not in extensions]
        if compression is not None:
            others = compression.confirm(others)
    except ValueError as error:
        raise HandshakeError(f"Invalid {EXTENSIONS} header: {error}") from error
    for extension in others:
        raise HandshakeError(f"the server uses extension '{extension}', which was not offered")
    return [str(extension) for extension in agreed]


def _allowed(origins: str | Sequence[str | None]) -> Sequence[str | None]:
    """Return ``origins`` in a list, once each can be the value of a browser's Origin header."""
    allowed = [origins] if isinstance(origins, str) else origins
    for origin in allowed:
        if origin not in (None, "null") and not _is_origin(str(origin)):
            raise ValueError(f"{origin!r} is not an origin such as 'https://example.com'")
    return allowed


def _normal_origin(origin: str | None) -> str | None:
    return None if origin is None else origin.lower().rstrip("/")
