"""What a server of ours makes of the bytes of a request, without I/O of its own.

A server that reads requests itself gives what it reads to :class:`Opening`, and sends the answer.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO, StringIO
from logging import getLogger
from typing import Any, Callable, NamedTuple
from wsgiref.handlers import SimpleHandler

from ws4py.deflate import Compression
from ws4py.exc import HandshakeError
from ws4py.handshake import build_switch, refusal
from ws4py.headers import is_listed
from ws4py.heads import Fields, Head, HeadReader, build_head, make_environ
from ws4py.limits import Limits
from ws4py.server._accept import Acceptor, add_addresses
from ws4py.server._environs import Environs
from ws4py.websocket import WebSocket

__all__ = [
    "Answer",
    "Opening",
    "Site",
    "build_refusal",
    "check_port",
    "check_response",
    "read_head",
]

logger = getLogger("ws4py")

Handler = Callable[..., WebSocket]

#: For a server that serves pages too, where a cookie may be longer than websockets need.
_LIMITS_OF_PAGES = Limits(max_line=64 * 1024)


class Answer(NamedTuple):
    """The answer to a request, and the websocket that follows it, if it was accepted."""

    data: bytes
    websocket: WebSocket | None


class Site:
    """What a server serves: websockets, and plain pages beside them.

    Args:
        handler_cls: The class of the websockets; or a dict of paths and classes, where other paths
            are answered with 404.
        protocols: The subprotocols that are spoken; with none, what a client asks for is ignored.
        extensions: The extensions that ``handler_cls`` implements.
        origins: The values of Origin that are allowed; None among them allows a request without
            one. With none, all are.
        limits: The :class:`ws4py.limits.Limits` of the server and its websockets; by default those
            of ``Limits()`` for the opening handshake, and of its class for each websocket.
        heartbeat_freq: Seconds between two Pings, unless ``handler_cls`` has its own; 0 or None for
            no heartbeat.
        http: A WSGI application that answers requests which ask for no upgrade; its responses are
            held in memory.
        is_async: Whether the callbacks of an :class:`ws4py.async_websocket.WebSocket` are awaited.
        compression: ``"deflate"``, or a :class:`ws4py.deflate.PerMessageDeflate`, to compress
            messages where a client offers that; None for none.

    Raises:
        TypeError: ``handler_cls`` is not one.
        ValueError: A path, a subprotocol, an origin or ``compression`` is not one.
    """

    def __init__(
        self,
        handler_cls: Handler | Mapping[str, Handler],
        *,
        protocols: Sequence[str] | None = None,
        extensions: Sequence[str] | None = None,
        origins: Sequence[str | None] | None = None,
        limits: Limits | None = None,
        heartbeat_freq: float | None = None,
        http: Callable[..., Any] | None = None,
        is_async: bool = False,
        compression: Compression = None,
    ) -> None:
        def make(handler: Handler) -> Acceptor:
            return Acceptor(
                handler,
                protocols,
                extensions,
                origins,
                limits,
                heartbeat_freq,
                is_async,
                compression,
            )

        self.limits = limits or Limits()
        self.http = http
        self.environs = Environs()
        if isinstance(handler_cls, Mapping) and not handler_cls:
            raise ValueError("there is no path in an empty dict of handlers")
        for path in handler_cls if isinstance(handler_cls, Mapping) else ():
            if not path.startswith("/") or set("?#") & set(path):
                raise ValueError(f"{path!r} is not a path: it begins with '/', and has no query")
        self._acceptors: dict[str | None, Acceptor] = (
            # As a WSGI environ has it (PEP 3333).
            {path.encode().decode("latin-1"): make(each) for path, each in handler_cls.items()}
            if isinstance(handler_cls, Mapping)
            else {None: make(handler_cls)}
        )

    def acceptor(self, environ: dict[str, Any]) -> Acceptor:
        """Return what accepts requests for the path of ``environ``.

        Raises:
            HandshakeError: There is nothing at that path.
        """
        path = environ["PATH_INFO"]
        found = self._acceptors.get(path) or self._acceptors.get(None)
        if found is None:
            raise HandshakeError(f"there is no WebSocket at {path!r}", 404)
        return found


class Opening:
    """One request: give what is received to :meth:`feed`, until that returns the answer.

    Args:
        site: What is served.
        sock: For the websocket.
        secure: Whether it came over TLS.
        local, peer: The addresses of the socket's ends, for the environ and the websocket.

    ``rest`` is what came after the request.
    """

    def __init__(self, site: Site, sock: Any, secure: bool, local: Any, peer: Any) -> None:
        self._site = site
        self._sock = sock
        self._scheme = "https" if secure else "http"
        self._addresses = local, peer
        self._reader = HeadReader(site.limits)
        self._environ: dict[str, Any] | None = None
        self._body = bytearray()

    @property
    def rest(self) -> bytes:
        """What came after the request."""
        return self._reader.rest

    def feed(self, data: bytes) -> Answer | None:
        """Take what has been received.

        Returns:
            The answer, once the request is complete.
        """
        try:
            environ = self._environ
            if environ is None:
                head = self._reader.feed(data)
                if head is None:
                    return None
                self._environ = environ = make_environ(head, self._scheme)
                add_addresses(environ, *self._addresses)
                data = self._reader.rest
            if self._site.http is not None and not _asks_for_websocket(environ):
                return self._feed_body(self._site.http, environ, data)
            return self._accept(environ)
        except HandshakeError as error:
            logger.info("An opening handshake was refused: %s", error)
            method = self._environ["REQUEST_METHOD"] if self._environ is not None else ""
            return Answer(build_refusal(error, method), None)

    def _accept(self, environ: dict[str, Any]) -> Answer:
        acceptor = self._site.acceptor(environ)
        accepted = acceptor.accept(environ)
        environ = self._site.environs.compact(environ)
        websocket = acceptor.make(self._sock, accepted.protocols, accepted.extensions, environ)
        websocket._keep_addresses(*self._addresses)
        return Answer(build_switch(accepted), websocket)

    def _feed_body(
        self, application: Callable[..., Any], environ: dict[str, Any], data: bytes
    ) -> Answer | None:
        """Take more of the body of a plain request; run the application once it has come."""
        length = self._check_length(environ)
        self._body += data
        if len(self._body) < length:
            return None
        environ["wsgi.input"] = BytesIO(self._body[:length])
        return Answer(_run_application(application, environ), None)

    def _check_length(self, environ: dict[str, Any]) -> int:
        """Return the length of the body."""
        length, most = environ.get("CONTENT_LENGTH") or "0", self._site.limits.max_body
        if "HTTP_TRANSFER_ENCODING" in environ:
            raise HandshakeError("a body has to have a Content-Length", 411)
        if not (length.isascii() and length.isdigit()):
            raise HandshakeError(f"{length!r} is not a length", 400)
        if len(length) > 18 or int(length) > most:
            raise HandshakeError(f"a body of {length} bytes, where {most} are accepted", 413)
        return int(length)


def _asks_for_websocket(environ: Mapping[str, Any]) -> bool:
    """Say whether a request asks for an upgrade to this; what else it names may be ignored."""
    return is_listed("websocket", environ.get("HTTP_UPGRADE", "").lower())


def read_head(file: Any, begun: bytes = b"", limits: Limits = _LIMITS_OF_PAGES) -> Head:
    """Read the head of a request from a file that is buffered, and no more.

    Args:
        begun: What has been read already.

    Raises:
        HandshakeError: It is no head, or over a limit.
        ConnectionAbortedError: The client has left.
    """
    reader = HeadReader(limits)
    head = reader.feed(begun)
    while head is None:
        line = file.readline(64 * 1024)
        if not line:
            raise ConnectionAbortedError("the client has left")
        head = reader.feed(line)
    return head


def build_refusal(error: HandshakeError, method: str = "") -> bytes:
    """Return the whole answer to a request that is refused, behind which the connection ends."""
    status, headers, body = refusal(error)
    if not any(name == "Connection" for name, _ in headers):
        headers.append(("Connection", "close"))
    return build_head(f"HTTP/1.1 {status}", headers) + (b"" if method == "HEAD" else body)


def check_port(port: int) -> None:
    """See to it that a server can listen on a port; 0 is for any that is free.

    Raises:
        ValueError: It is not from 0 to 65535.
    """
    if not 0 <= port <= 65535:
        raise ValueError(f"{port} is not a port: ports are 0-65535")


def check_response(status: str, headers: Fields) -> Fields:
    """Return a copy of the headers of an application's response, once they are known to be some.

    Servers "should check for errors in the headers at the time start_response is called, so that an
    error can be raised while the application is still running" (PEP 3333).

    Raises:
        ValueError: The status or a header has a line break, which would begin another header, or
            a character beyond latin-1.
    """
    fields = list(headers)
    build_head(f"HTTP/1.1 {status}", fields)
    return fields


@contextmanager
def _failing() -> Iterator[None]:
    """Let a lost connection of an application's be an error of its own, which wsgiref passes over.

    It takes that for the client's; but here the response is kept in memory.
    """
    try:
        yield
    except ConnectionError as error:
        raise RuntimeError("a connection of the application's was lost") from error


class _PlainHandler(SimpleHandler):
    """Runs a WSGI application for one plain request."""

    os_environ: dict[str, str] = {}  # noqa: RUF012 - as in the base class
    server_software = "ws4py"

    def get_scheme(self) -> str:
        scheme: str = self.base_env["wsgi.url_scheme"]
        return scheme

    def run(self, application: Callable[..., Any]) -> None:
        def call(*arguments: Any) -> Any:
            with _failing():
                return application(*arguments)

        super().run(call)

    def start_response(self, status: str, headers: Any, exc_info: Any = None) -> Any:
        return super().start_response(status, check_response(status, headers), exc_info)

    def finish_response(self) -> None:
        with _failing():
            super().finish_response()

    def log_exception(self, exc_info: Any) -> None:
        logger.error("An exception in the application for plain requests", exc_info=exc_info)


def _run_application(application: Callable[..., Any], environ: dict[str, Any]) -> bytes:
    """Return the whole response of a WSGI application (PEP 3333)."""
    response = BytesIO()
    body = environ.pop("wsgi.input")
    errors = sys.stderr or StringIO()
    handler = _PlainHandler(body, response, errors, environ, False, False)
    handler.run(application)
    head, blank, content = response.getvalue().partition(b"\r\n\r\n")
    return head + blank + (b"" if environ["REQUEST_METHOD"] == "HEAD" else content)
