"""Clients: the URL, the connection and the opening handshake. Engines add how bytes are read."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, NamedTuple, Union
from urllib.parse import SplitResult, unquote, urlsplit

from ws4py import _tls, handshake, heads
from ws4py._body import BodyReader
from ws4py.deflate import Compression, read_compression
from ws4py.driver import STARTED, UNDECIDED
from ws4py.exc import HandshakeError, HandshakeTimeout
from ws4py.heartbeat import check_frequency
from ws4py.limits import Limits, check_limits, check_seconds
from ws4py.transport import send_at_once
from ws4py.websocket import WebSocket, check_callbacks

__all__ = ["WebSocketBaseClient"]

Headers = Union[Mapping[str, str], Iterable[tuple[str, str]]]

_PORTS = {"ws": 80, "wss": 443, "ws+unix": None, "wss+unix": None}
_has_user = re.compile(r"[^/?#]*//[^/?#]*@").match
# Limits for headers that have come to be known within those of the client.
_READ_ALREADY = Limits(max_line=None, max_head=None, max_headers=None)
_has_forbidden = re.compile(r"[\x00-\x20\x7f]").search


class Url(NamedTuple):
    """The parts of a WebSocket URL (:rfc:`6455#section-3`)."""

    scheme: str
    host: str
    port: int | None
    unix_socket_path: str | None
    resource: str


def parse_url(url: Any) -> Url:
    """Take a URL apart.

    Raises:
        ValueError: It is not the URL of a WebSocket.
    """
    if isinstance(url, str) and _has_user(url):  # A text may be logged: no password in it.
        raise ValueError("a URL with a user name cannot be used: send a header for authentication")
    if not isinstance(url, str):
        raise ValueError(f"{url!r} is not a URL: that is a str")
    if _has_forbidden(url):
        raise ValueError(f"{url!r} is not a URL: it has a space or a control character")
    try:
        parts = urlsplit(url)
        port = parts.port
        (parts.hostname or "").encode("idna")
    except ValueError as error:
        raise ValueError(f"{url!r} is not a URL: {error}") from error
    _require_supported(url, parts)
    query = f"?{parts.query}" if parts.query else ""
    if parts.scheme.endswith("+unix"):
        if parts.netloc or not parts.path:
            raise ValueError(f"{url!r} names no socket: it is {parts.scheme}:///path/to/socket")
        return Url(parts.scheme, "localhost", None, unquote(parts.path), "/" + query)
    if not parts.hostname:
        raise ValueError(f"{url!r} names no host")
    # urlsplit does not see to all that is around brackets and colons.
    if port == 0 or not handshake.is_host(parts.netloc):
        raise ValueError(f"{url!r} names no host and port: {parts.netloc!r}")
    port = _PORTS[parts.scheme] if port is None else port
    host = parts.hostname.replace("%25", "%")  # before the zone of an IPv6 address (RFC 6874)
    return Url(parts.scheme, host, port, None, (parts.path or "/") + query)


def _require_supported(url: str, parts: SplitResult) -> None:
    if parts.scheme not in _PORTS:
        raise ValueError(f"the scheme of {url!r} is not one of {', '.join(_PORTS)}")
    if "#" in url:  # "MUST NOT be used on these URIs" (RFC 6455 3)
        raise ValueError(f"{url!r} has a fragment")
    if not url.isascii():
        raise ValueError(f"{url!r} has characters that are to be percent-encoded")


class WebSocketBaseClient(WebSocket):
    """A client that reads in no thread of its own: run it, or add it to a manager.

    The socket is made here, and may be replaced before :meth:`connect`.

    Args:
        url: ``ws://``, ``wss://``, ``ws+unix://`` or ``wss+unix://``; the latter two are followed
            by the path of a socket, percent-encoded; ``resource`` can be set before
            :meth:`connect`.
        protocols: The subprotocols that are offered, the preferred one first. After
            :meth:`connect` the one that the server picked, in a list, or none.
        extensions: The names of the extensions that are offered.
        heartbeat_freq: Seconds between two Pings; None or 0 for no heartbeat.
        ssl_options: ``certfile``, ``keyfile``, ``password``, ``ca_certs``, ``cert_reqs``,
            ``check_hostname``, ``ciphers`` and ``server_hostname``.
        headers: More headers for the request, as pairs or as a mapping.
        exclude_headers: The names of headers that are not to be sent.
        ssl_context: A context to use as it is, in place of ``ssl_options``.
        open_timeout: Seconds that :meth:`connect` takes at most; by default those of ``limits``.
        compression: ``"deflate"``, or a :class:`ws4py.deflate.PerMessageDeflate`, to offer to
            compress messages; None for none.

    Raises:
        ValueError: The URL, a header, an option, ``heartbeat_freq``, ``open_timeout`` or
            ``compression`` is not one.
        TypeError: The value of a header is not text, or ``ssl_context`` no context.
        OSError: The name of the host cannot be resolved.
    """

    _is_client = True
    # Whether the socket is there before it is connected.
    _makes_socket = True
    _own_sock: Any = None
    #: What makes sockets and resolves names: the module socket, or one that takes its place.
    _sockets: Any = socket

    def __init__(
        self,
        url: str,
        protocols: Sequence[str] | None = None,
        extensions: Sequence[str] | None = None,
        heartbeat_freq: float | None = None,
        ssl_options: Mapping[str, Any] | None = None,
        headers: Headers | None = None,
        exclude_headers: Iterable[str] | None = None,
        *,
        ssl_context: ssl.SSLContext | None = None,
        open_timeout: float | None = None,
        compression: Compression = None,
    ) -> None:
        self.url = url
        self.compression = read_compression(compression, extensions or ())
        self.scheme, self.host, self.port, self.unix_socket_path, self.resource = parse_url(url)
        self.ssl_options = dict(ssl_options or {})
        _tls.check_options(self.ssl_options)
        _tls.check_context(ssl_context)
        self.ssl_context = ssl_context
        self.extra_headers = _pairs(headers or ())
        self.exclude_headers = [name.lower() for name in exclude_headers or ()]
        if open_timeout is not None:
            check_seconds(open_timeout, "open_timeout")
        self.open_timeout = open_timeout
        self._offers = _listed(protocols), _listed(extensions)
        super().__init__(None, *self._offers, None, heartbeat_freq)
        check_frequency(self.heartbeat_freq)
        self._prepare()

    def _prepare(self) -> None:
        """Make what one connection needs: a socket, not connected yet, and a key."""
        self._connected = False
        self.key = handshake.make_key()
        if self._makes_socket:
            self._make_socket()

    def _make_socket(self) -> None:
        self._addresses: list[Any] = []
        if self.unix_socket_path is None:
            self._addresses = self._sockets.getaddrinfo(self.host, self.port, 0, socket.SOCK_STREAM)
            self.sock = self._sockets.socket(self._addresses[0][0], socket.SOCK_STREAM)
            send_at_once(self.sock)
        else:
            self.sock = self._sockets.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._own_sock = self.sock

    @property
    def bind_addr(self) -> Any:
        """Where to connect to: the path of a Unix-domain socket, or (host, port)."""
        return self.unix_socket_path or (self.host, self.port)

    @property
    def handshake_headers(self) -> list[tuple[str, str]]:
        """The headers of the request, as pairs. Override it to change them."""
        headers = handshake.request_headers(
            self._host_header,
            self._wants_tls,
            self.key,
            self.protocols,
            self.extensions,
            self.compression,
        )
        given = {name.lower() for name, _ in self.extra_headers} | set(self.exclude_headers)
        headers = [pair for pair in headers if pair[0].lower() not in given]
        return headers + [p for p in self.extra_headers if p[0].lower() not in self.exclude_headers]

    @property
    def _wants_tls(self) -> bool:
        return self.scheme.startswith("wss")

    @property
    def _host_header(self) -> str:
        host = self.host
        if ":" in host:  # The zone of an address means nothing to others (RFC 6874).
            host = f"[{host.partition('%')[0]}]"
        default = _PORTS[self.scheme]
        return host if self.port in (default, None) else f"{host}:{self.port}"

    @property
    def handshake_request(self) -> bytes:
        """The request that asks for the upgrade.

        Raises:
            ValueError: A header has a character that it cannot have.
        """
        if _has_forbidden(self.resource) or not self.resource.startswith("/"):
            raise ValueError(f"{self.resource!r} is not a path")
        return heads.build_head(f"GET {self.resource} HTTP/1.1", self.handshake_headers)

    def connect(self) -> None:
        """Connect, do the opening handshake, and call :meth:`handshake_ok`.

        A client that has been closed can connect again, as a new connection.

        Raises:
            HandshakeError: The server did not accept; it has the status, headers and body.
            HandshakeTimeout: It took too long.
            OSError: The server cannot be reached, or its certificate not be verified.
            ValueError: A header or an option is not one.
            FileNotFoundError: A file that ``ssl_options`` names does not exist.
            RuntimeError: It is connected already; or its class does not call our ``__init__``.
            TypeError: It has a callback that is a coroutine function, or its ``limits`` are not a
                :class:`ws4py.limits.Limits`.
        """
        check_callbacks(type(self))
        self._start_over()
        deadline = _Deadline(self._open_timeout)
        try:
            self._connect(deadline)
        except (TimeoutError, socket.timeout) as error:
            self._abandon()
            raise self._timed_out() from error
        except BaseException:
            self._abandon()
            raise
        self._reader = UNDECIDED
        self._connected = True
        if self._transport is not None:
            self._transport.block(self.sock_timeout)
        try:
            self.handshake_ok()
        except Exception:
            if self._reader == STARTED and not self._opened:
                self._reader = None  # There is no thread to read it.
                self._abandon()
            raise
        finally:
            if self._reader == UNDECIDED:
                self._reader = None

    def _start_over(self) -> None:
        """Become a new connection, unless this is one that has not been used."""
        self._check_made()
        check_limits(self.limits, f"{type(self).__name__}.limits")
        if self._connected and not self._over:
            raise RuntimeError("this client is connected already")
        if self._over or (self._makes_socket and self.sock is None):
            self._returns = self._returns or self._over
            self._renew()
            self.protocols, self.extensions = self._offers
            self._prepare()

    def _check_made(self) -> None:
        """See to it that a class with an ``__init__`` of its own calls this one.

        Raises:
            RuntimeError: It does not.
        """
        if not hasattr(self, "_connected"):
            raise RuntimeError(f"{type(self).__name__}.__init__ does not call super().__init__()")

    def _check_wait(self, reads_here: bool) -> None:
        """See to it that there is an end to wait for, and that it can come meanwhile."""
        self._check_connected("run")
        if reads_here:
            raise RuntimeError("a callback cannot wait for the end, which comes after it")

    @property
    def _open_timeout(self) -> float | None:
        return self.limits.open_timeout if self.open_timeout is None else self.open_timeout

    def _abandon(self) -> None:
        """Let go of everything: there is no connection."""
        self._over = True
        self._disconnect(self.stream)
        self._our_close_connection()

    def _timed_out(self) -> HandshakeTimeout:
        return HandshakeTimeout(f"no connection to {self.url} in {self._open_timeout} s")

    def _connect(self, deadline: _Deadline) -> None:
        request = self.handshake_request
        if self.sock is self._own_sock:
            self._connect_own(deadline)
        elif not is_connected(self.sock):
            deadline.apply(self.sock)
            self.sock.connect(self.bind_addr)
        if self._wants_tls and not self._is_secure:
            self._wrap(deadline)
        deadline.apply(self.sock)
        self.sock.sendall(request)
        answer = self._read_answer()
        next(answer)
        with suppress(StopIteration):
            while True:
                try:
                    data = self._receive(deadline)
                except OSError as error:
                    answer.throw(error)
                else:
                    answer.send(data)

    def _connect_own(self, deadline: _Deadline) -> None:
        """Connect to the first address of the host that answers."""
        if not self._addresses:
            deadline.apply(self.sock)
            self.sock.connect(self.bind_addr)
        for left, (family, *_, address) in zip(range(len(self._addresses), 0, -1), self._addresses):
            try:
                if self.sock.family != family or left < len(self._addresses):
                    self.sock.close()
                    self.sock = self._sockets.socket(family, socket.SOCK_STREAM)
                    send_at_once(self.sock)
                deadline.apply(self.sock, left)
                self.sock.connect(address)
                return
            except OSError:
                if left == 1:
                    raise

    def _wrap(self, deadline: _Deadline) -> None:
        context, name = self._tls_options()
        deadline.apply(self.sock)
        self.sock = self._wrap_socket(
            context, self.sock, server_hostname=name, do_handshake_on_connect=False
        )
        deadline.apply(self.sock)
        self.sock.do_handshake()

    def _wrap_socket(self, context: ssl.SSLContext, sock: Any, **options: Any) -> Any:
        return context.wrap_socket(sock, **options)

    def _tls_options(self) -> tuple[ssl.SSLContext, str | None]:
        """Return the context, and the name that the server has to prove."""
        if self.ssl_context is None:
            self.ssl_context = _tls.client_context(self.ssl_options)
        return self.ssl_context, self.ssl_options.get("server_hostname", self.host)

    def _receive(self, deadline: _Deadline) -> bytes:
        deadline.apply(self.sock)
        data: bytes = self.sock.recv(4096)
        return data

    def _read_answer(self) -> Generator[None, bytes, None]:
        """Judge what the server answers; is sent what is received, ``b""`` at the end.

        An OSError that is thrown in while the body of a refusal is read only cuts that short.
        """
        reader = heads.HeadReader(self.limits, is_request=False)
        head = None
        while head is None:
            data = yield
            if not data:
                raise HandshakeError("Invalid response: the server closed the connection")
            head = reader.feed(data)
        status = None
        try:
            self.process_response_line(head.line.encode("latin-1"))
            status = 101
            fields = heads.build_head("", head.fields)[2:]
            self.protocols, self.extensions = self.process_handshake_header(fields)
            self._agree(self.compression, self.extensions)
        except HandshakeError as error:
            error.headers = head.fields
            if error.status is None:
                error.status = status
            else:
                body = BodyReader(error.status, head.fields, self.limits.max_body)
                with suppress(OSError):
                    data = reader.rest
                    while not body.feed(data):
                        data = yield
                        if not data:
                            break
                error.body = body.data
            raise
        self.buf = reader.rest

    def process_response_line(self, response_line: bytes) -> None:
        """Judge the first line of the response.

        Raises:
            HandshakeError: It is not that of a response with status 101.
        """
        status = handshake.read_status(response_line.decode("latin-1"))
        if status != 101:
            raise HandshakeError(f"Invalid response status: {status}", status)

    def process_handshake_header(self, headers: bytes) -> tuple[list[str], list[str]]:
        """Judge the headers of the response (:rfc:`6455#section-4.1`).

        Returns:
            The subprotocol that the server picked, in a list, and the extensions it uses.

        Raises:
            HandshakeError: A header is missing or wrong, or names what was not offered.
        """
        reader = heads.HeadReader(_READ_ALREADY, is_request=False)
        head = reader.feed(b"headers\r\n" + headers)
        if head is None:
            raise HandshakeError("Invalid response: the headers have no end")
        offers = self.protocols or (), self.extensions or ()
        return handshake.check_response(
            head.fields, self.key.decode("ascii"), *offers, self.compression
        )

    def handshake_ok(self) -> None:
        """Called when the handshake has succeeded: calls ``opened``.

        Override it to add the client to a manager, or to run it.
        """
        self._open()


class _Deadline:
    """The end of a number of seconds, as the time-out of each step on the way."""

    def __init__(self, seconds: float | None) -> None:
        self._end = None if seconds is None else monotonic() + seconds

    def apply(self, sock: Any, shares: int = 1) -> None:
        """Let the next call on ``sock`` take what is left, or a share of that."""
        if self._end is not None and hasattr(sock, "settimeout"):
            sock.settimeout(self.left(shares))

    def left(self, shares: int = 1) -> float | None:
        """Return how many seconds are left, or a share of them; None without an end.

        Raises:
            TimeoutError: There are none.
        """
        if self._end is None:
            return None
        left = self._end - monotonic()
        if left <= 0:
            raise TimeoutError
        return left / shares


def _listed(names: str | Sequence[str] | None) -> list[str]:
    return [names] if isinstance(names, str) else list(names or ())


def _pairs(headers: Any) -> list[tuple[str, str]]:
    """Return headers as pairs; what they hold may be secret, and is not named."""
    pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
    for pair in pairs:
        if isinstance(pair, (str, bytes)) or len(pair) != 2:
            raise ValueError("headers are a mapping, or pairs of a name and a value")
        name, value = pair
        if not isinstance(name, str) or not isinstance(value, (str, int)):
            kind = type(value).__name__
            raise TypeError(f"the header {name!r} has a value of the type {kind}: it is a str")
    return pairs


def is_connected(sock: Any) -> bool:
    """Say whether a socket is connected."""
    try:
        sock.getpeername()
    except (OSError, AttributeError):
        return False
    return True
