"""The opening handshake (:rfc:`6455#section-4`), both sides, without any I/O.

A request comes as a WSGI environ, whoever read it: our own servers make one of the head that
:class:`ws4py.heads.HeadReader` collects, a WSGI server hands over its own. So there is one place
that judges requests. What is wrong is a HandshakeError, which carries the status and the headers of
the answer; :func:`refusal` makes the answer of it.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha1
from http import HTTPStatus
from os import urandom
from typing import Any, NamedTuple

from ws4py.deflate import PerMessageDeflate
from ws4py.exc import HandshakeError
from ws4py.headers import check_tokens, is_listed, parse_extensions, split_list
from ws4py.heads import Fields, build_head

#: What is appended to a key before it is hashed (:rfc:`6455#section-1.3`).
WS_KEY = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#: Kept for programs that import it; the one version that is spoken is 13.
WS_VERSION = (8, 13)

VERSION = "13"
#: The header that names subprotocols.
PROTOCOLS = "Sec-WebSocket-Protocol"
#: The header that names extensions.
EXTENSIONS = "Sec-WebSocket-Extensions"

_UPGRADE: Fields = [("Upgrade", "websocket"), ("Connection", "Upgrade")]

#: For who comes with a browser.
_UPGRADE_HINT = "Here is no page, but a WebSocket (RFC 6455): connect to it with ws:// or wss://.\n"

#: Of 16 bytes in Base64.
_is_key = re.compile(r"[A-Za-z0-9+/]{22}==").fullmatch
_is_origin = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s]+/?", re.IGNORECASE).fullmatch
# RFC 3986 3.2.2, but for a comma: that is what a server makes of two of them.
is_host = re.compile(r"(\[[0-9a-z:.%~_-]+\]|[\w.~%!$&'()*+;=-]+)(:\d*)?", re.A | re.I).fullmatch
_match_status = re.compile(r"HTTP/1\.(\d) (\d{3})(?: [^\x00-\x08\x0a-\x1f\x7f]*)?").fullmatch


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
        protocols, extensions = self._agree(environ)
        headers = [*_UPGRADE, ("Sec-WebSocket-Accept", accept_token(key))]
        if protocols:
            headers.append((PROTOCOLS, protocols[0]))
        return Accepted(headers + _extension_headers(extensions), protocols, extensions)

    def agree(self, environ: Mapping[str, Any]) -> Accepted:
        """Judge a request that a host is ready to switch, over any version of HTTP.

        Returns:
            What was agreed on; its headers tell of the extensions alone.

        Raises:
            HandshakeError: It is refused; its status is 400, 403 or 426.
        """
        if "HTTP_SEC_WEBSOCKET_KEY" in environ:  # There is none over HTTP/2 (RFC 8441).
            _require_key(environ)
        protocols, extensions = self._agree(environ)
        return Accepted(_extension_headers(extensions), protocols, extensions)

    def _agree(self, environ: Mapping[str, Any]) -> tuple[list[str], list[str]]:
        """Return the subprotocol, in a list, and the extensions."""
        _require_no_body(environ)
        host = environ.get("HTTP_HOST")
        if host is not None and not is_host(host):
            raise HandshakeError(f"Illegal value for header HTTP_HOST: {host}", 400)
        self._require_origin(environ)
        return self._pick_protocol(environ), self._pick_extensions(environ)

    def _pick_extensions(self, environ: Mapping[str, Any]) -> list[str]:
        value = environ.get("HTTP_SEC_WEBSOCKET_EXTENSIONS")
        if not value:
            return []
        try:
            offers = parse_extensions(value)
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
        value = environ.get("HTTP_SEC_WEBSOCKET_PROTOCOL")
        if not value or not self.protocols:
            return []
        asked = split_list(value)
        if not asked:
            return []
        for protocol in asked:
            if protocol in self.protocols:
                return [protocol]
        raise HandshakeError(f"no subprotocol among {', '.join(asked)} is spoken here", 400)


def _extension_headers(extensions: list[str]) -> Fields:
    return [(EXTENSIONS, ", ".join(extensions))] if extensions else []


def _require_upgrade(environ: Mapping[str, Any]) -> None:
    if environ.get("REQUEST_METHOD") != "GET":
        raise HandshakeError("HTTP method must be a GET", 405, [("Allow", "GET")])
    # "HTTP version MUST be at least 1.1"; servers that do not say which it was have seen to it.
    if environ.get("SERVER_PROTOCOL", "HTTP/1.1") in ("HTTP/1.0", "HTTP/0.9"):
        raise HandshakeError("the HTTP version must be 1.1 at least", 400)
    _require_token(environ, "HTTP_UPGRADE", "websocket", 426, _UPGRADE)
    _require_token(environ, "HTTP_CONNECTION", "upgrade", 400)
    if not environ.get("HTTP_HOST"):
        raise HandshakeError("Header HTTP_HOST is not defined", 400)


def _require_token(
    environ: Mapping[str, Any],
    name: str,
    token: str,
    status: int,
    headers: Sequence[tuple[str, str]] = (),
) -> None:
    value = environ.get(name)
    if not value:
        raise HandshakeError(f"Header {name} is not defined", status, headers)
    if not is_listed(token, value.lower()):
        raise HandshakeError(f"Illegal value for header {name}: {value}", status, headers)


def _require_no_body(environ: Mapping[str, Any]) -> None:
    # What follows the head is frames, so nothing else may.
    if environ.get("CONTENT_LENGTH") not in (None, "", "0") or "HTTP_TRANSFER_ENCODING" in environ:
        raise HandshakeError("a request to upgrade has no body", 400)


def _require_key(environ: Mapping[str, Any]) -> str:
    if environ.get("HTTP_SEC_WEBSOCKET_VERSION") != VERSION:
        raise HandshakeError(
            "Unhandled or missing WebSocket version",
            426,
            [*_UPGRADE, ("Sec-WebSocket-Version", VERSION)],
        )
    key: str = environ.get("HTTP_SEC_WEBSOCKET_KEY", "")
    if _is_key(key):
        return key
    try:
        b64decode(key.encode("latin-1"), validate=True)
    except (Base64Error, ValueError) as error:
        raise HandshakeError("WebSocket key is not base64", 400) from error
    # Sixteen bytes in base64 are always 22 characters and two "=", which is a key.
    raise HandshakeError("WebSocket key's length is invalid", 400)


def refusal(error: HandshakeError) -> tuple[str, Fields, bytes]:
    """Return the status (number and phrase), the headers and the body that answer a request."""
    status = error.status or 400
    hint = _UPGRADE_HINT if list(error.headers) == _UPGRADE else ""
    body = f"{error.msg}\n{hint}".encode("utf-8", "replace")
    headers = [
        *error.headers,
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(body))),
    ]
    return f"{status} {_phrase(status)}", headers, body


def _phrase(status: int) -> str:
    """Return what belongs to ``status``, or else to its class (:rfc:`9110#section-15`)."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        if not 300 <= status < 600:
            raise
        return HTTPStatus(status // 100 * 100).phrase


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
    if not is_listed("upgrade", found.get("connection", "").lower()):
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
    if origin is None:
        return None
    origin = origin.lower().rstrip("/")
    for scheme, port in (("http://", ":80"), ("https://", ":443")):
        if origin.startswith(scheme) and origin.endswith(port):
            return origin[: -len(port)]
    return origin
