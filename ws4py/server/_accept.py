"""What all servers do with a request that asks for a WebSocket."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from inspect import iscoroutinefunction
from logging import getLogger
from typing import Any, Callable

from ws4py.deflate import Compression, read_compression
from ws4py.exc import HandshakeError
from ws4py.handshake import Accepted, ServerHandshake
from ws4py.heartbeat import check_frequency
from ws4py.limits import Limits, check_limits
from ws4py.websocket import WebSocket, check_callbacks, lent

__all__ = ["EXHAUSTED", "REST", "Acceptor", "add_addresses", "check_open", "require_alive"]

logger = getLogger("ws4py")

#: The errors of a lack of descriptors or memory, and seconds without accepting after one.
EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
REST = 0.2


class Acceptor:
    """Judges requests, and makes the websockets of those that are accepted.

    Args:
        handler_cls: A subclass of WebSocket; or what makes one, with the same arguments.
        protocols, extensions, origins: See :class:`ws4py.handshake.ServerHandshake`.
        limits: A :class:`ws4py.limits.Limits` for each websocket; None leaves its class's.
        heartbeat_freq: Seconds between two Pings, unless ``handler_cls`` has its own.
        is_async: Whether the callbacks of an :class:`ws4py.async_websocket.WebSocket` are awaited.
        compression: ``"deflate"`` or a :class:`ws4py.deflate.PerMessageDeflate`; None for none.

    Raises:
        TypeError: ``handler_cls`` cannot be called, or has a callback that nobody would await;
            or the limits, or those of its class, are none.
        ValueError: A subprotocol, an extension, an origin or ``compression`` cannot be one.
    """

    def __init__(
        self,
        handler_cls: Callable[..., WebSocket],
        protocols: Sequence[str] | None = None,
        extensions: Sequence[str] | None = None,
        origins: Sequence[str | None] | None = None,
        limits: Limits | None = None,
        heartbeat_freq: float | None = None,
        is_async: bool = False,
        compression: Compression = None,
    ) -> None:
        handler: Any = handler_cls
        is_other = isinstance(handler, type) and not issubclass(handler, WebSocket)
        if not callable(handler) or is_other or iscoroutinefunction(handler):
            raise TypeError(f"{handler!r} is not a subclass of WebSocket")
        if limits is not None:
            check_limits(limits, "limits")
        if origins is not None and not origins:
            raise ValueError(f"origins={origins!r} allows nobody; None allows all")
        check_frequency(heartbeat_freq)
        check_frequency(getattr(handler_cls, "heartbeat_freq", None))
        self._is_async = is_async
        self._check_class(handler_cls)
        # What has been seen to be a class that can be served; a factory may make others.
        self._checked: Any = handler_cls
        self.handler_cls = handler_cls
        self.handshake = ServerHandshake(
            protocols or (),
            extensions or (),
            origins or (),
            read_compression(compression, extensions or ()),
        )
        self.limits = limits
        self.heartbeat_freq = heartbeat_freq

    def accept(self, environ: dict[str, Any]) -> Accepted:
        """Judge a request.

        Raises:
            HandshakeError: It is refused.
        """
        return self.handshake.accept(environ)

    def make(
        self, sock: Any, protocols: list[str], extensions: list[str], environ: dict[str, Any]
    ) -> WebSocket:
        """Make the websocket.

        Raises:
            HandshakeError: Its class refuses the request, with a status of its own; or has ended
                the websocket, and the status is 403; or could not be made, and it is 500.
        """
        lending = lent.set(sock)
        try:
            websocket = self.handler_cls(sock, protocols, extensions, environ)
            if type(websocket) is not self._checked:
                self._check(websocket)
            if not hasattr(websocket, "stream"):
                raise TypeError(f"{type(websocket)!r} does not call super().__init__()")
            require_alive(websocket)
            if self.limits is not None:
                websocket.limits = self.limits
            check_limits(websocket.limits, f"{type(websocket).__name__}.limits")
        except HandshakeError:
            raise
        except Exception as error:
            logger.exception("A websocket could not be made")
            raise HandshakeError("Internal error", 500) from error
        finally:
            lent.reset(lending)
        websocket._agree(self.handshake.compression, extensions)
        if websocket.heartbeat_freq is None:
            websocket.heartbeat_freq = self.heartbeat_freq
        return websocket

    def _check(self, websocket: Any) -> None:
        """See to it that what a factory has made can be served.

        Raises:
            TypeError: It is no websocket, or one of a class that cannot be served.
        """
        if not isinstance(websocket, WebSocket):
            raise TypeError(f"{self.handler_cls!r} made {websocket!r}, which is no WebSocket")
        self._check_class(type(websocket))
        self._checked = type(websocket)

    def _check_class(self, handler: Any) -> None:
        check_callbacks(handler, self._is_async)
        limits = getattr(handler, "limits", None) if isinstance(handler, type) else None
        if limits is not None and not hasattr(limits, "__get__"):  # a property, for instance
            check_limits(limits, f"{handler.__name__}.limits")


def require_alive(websocket: WebSocket) -> None:
    """See to it that a websocket has not been ended before its request is answered.

    Raises:
        HandshakeError: It has; the status is 403.
    """
    if websocket._over or websocket._disconnected:
        raise HandshakeError("the websocket was ended before the handshake was answered", 403)


def check_open(is_stopping: bool) -> None:
    """See to it that no websocket is opened by a server that is about to stop.

    Raises:
        HandshakeError: It is; the status is 503.
    """
    if is_stopping:
        raise HandshakeError("this server is about to stop", 503)


def add_addresses(environ: dict[str, Any], local: Any, peer: Any) -> None:
    """Put the addresses of both ends of a socket, as it names them, into ``environ``."""
    if isinstance(peer, tuple):
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = peer[0], str(peer[1])
    host, port = local[:2] if isinstance(local, tuple) else ("localhost", 0)
    environ["SERVER_NAME"], environ["SERVER_PORT"] = host, str(port)
