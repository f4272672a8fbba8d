"""The ASGI application, for uvicorn, hypercorn and other hosts.

Callbacks may be coroutine functions::

    from ws4py.async_websocket import WebSocket
    from ws4py.server.asgi import WebSocketASGIApplication

    class Shout(WebSocket):
        async def received_message(self, message):
            await self.send(str(message).upper())

    application = WebSocketASGIApplication(Shout)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from logging import getLogger
from typing import Any
from urllib.parse import quote
from wsgiref.util import is_hop_by_hop

from ws4py._asgi import Event, Host, Receive, Send
from ws4py._asyncio import WebSockets
from ws4py.exc import HandshakeError
from ws4py.handshake import PROTOCOLS, refusal
from ws4py.heads import Fields, Head, make_environ
from ws4py.limits import Limits
from ws4py.server._accept import add_addresses, check_open
from ws4py.server._opening import Handler, Site
from ws4py.websocket import WebSocket

__all__ = ["WebSocketASGIApplication"]

logger = getLogger("ws4py")


class WebSocketASGIApplication:
    """Serves WebSocket connections, over any version of HTTP that the host speaks.

    The host parses frames, and it alone sends Pings and answers Closes, so what a connection ends
    with is what the host tells of it. Generators are sent whole.

    Plain requests are answered with 426. At the lifespan's end all websockets are closed.

    Args:
        handler_cls: The class of the websockets; or a dict of paths and classes, where other paths
            are answered with 404. Callbacks may be coroutine functions in subclasses of
            :class:`ws4py.async_websocket.WebSocket`. The scope is in ``environ["asgi.scope"]``.
        protocols: As for :class:`ws4py.server.standalone.WebSocketServer`.
        extensions: The same.
        origins: The same.
        limits: The :class:`ws4py.limits.Limits` of the websockets; None leaves their class's. The
            host has its own beside them.
        heartbeat_freq: Without effect: the host's options tell how often it sends Pings.

    Raises:
        TypeError: ``handler_cls`` is not one, or has a callback that nobody would await.
        ValueError: A path, a subprotocol or an origin is not one.
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
    ) -> None:
        self._site = Site(
            handler_cls,
            protocols=protocols,
            extensions=extensions,
            origins=origins,
            limits=limits,
            is_async=True,
        )
        self._connected = WebSockets()
        if heartbeat_freq:
            logger.warning("heartbeat_freq has no effect under ASGI: the host sends the Pings")

    @property
    def websockets(self) -> Iterator[WebSocket]:
        """The websockets that are connected now."""
        return iter(self._connected)

    def broadcast(self, message: Any, binary: bool = False, compress: bool = True) -> None:
        """Send ``message`` to each websocket, as ``send`` takes it; wait for none."""
        self._connected.broadcast(message, binary, compress)

    def close_all(self, code: int = 1001, message: str = "Server is shutting down") -> None:
        """Begin the closing handshake of each websocket; do not wait for any."""
        self._connected.close_all(code, message)

    async def wait_closed(self) -> None:
        """Wait until each websocket has ended, after :meth:`close_all`.

        That takes their ``limits.close_timeout`` at the longest; a callback that is still at work
        then is cancelled.
        """
        await self._connected.wait_closed()

    async def drain(self, seconds: float) -> None:
        """Close each websocket with 1001, and wait until each has ended.

        The closes are evenly spread over the first half of ``seconds``, so that not all clients
        connect again at once; what is left at the end of the time is dropped. From now on new
        handshakes are refused. To be called before the host stops, which closes all at once.

        Raises:
            ValueError: ``seconds`` is negative, or not a number.
        """
        await self._connected.drain(seconds)

    async def __call__(self, scope: Event, receive: Receive, send: Send) -> None:
        """Serve a connection, answer a request, or take part in the lifespan."""
        if scope["type"] == "websocket":
            await self._serve(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            raise ValueError(f"nothing is known of the ASGI protocol {scope['type']!r}")

    async def _serve(self, scope: Event, receive: Receive, send: Send) -> None:
        if (await receive())["type"] != "websocket.connect":
            return
        host = Host(scope, receive, send)
        try:
            check_open(self._connected.is_draining)
            environ = _make_environ(scope, host)
            acceptor = self._site.acceptor(environ)
            agreed = acceptor.handshake.agree(environ)
            websocket = acceptor.make(host, agreed.protocols, agreed.extensions, environ)
        except HandshakeError as error:
            if "websocket.http.response" in (scope.get("extensions") or {}):
                await _refuse(error, scope, send, "websocket.http.response")
            else:
                logger.info("An opening handshake was refused: %s", error)
                await send({"type": "websocket.close"})
            return
        await host.accept(
            {
                "type": "websocket.accept",
                "subprotocol": next(iter(agreed.protocols), None),
                "headers": _encode(agreed.headers),
            }
        )
        await host.drive(websocket, self._connected)

    async def _answer(self, scope: Event, send: Send) -> None:
        """Tell what is wrong with a request that the host does not take for a WebSocket's."""
        try:
            environ = _make_environ(scope, None)
            self._site.acceptor(environ).accept(environ)
            raise HandshakeError("this server does not speak WebSocket", 501)
        except HandshakeError as error:
            await _refuse(error, scope, send, "http.response")

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.close_all()
        await self.wait_closed()
        await send({"type": "lifespan.shutdown.complete"})


def _make_environ(scope: Event, host: Host | None) -> dict[str, Any]:
    """Return the environ of a request, as there is one on every engine.

    Raises:
        HandshakeError: The request is not one.
    """
    root, path = scope.get("root_path", "").rstrip("/"), scope["path"]
    if path == root or path.startswith(root + "/"):
        path = path[len(root) :]
    target = quote(path, safe="/:") or "/"  # It may be a URL (RFC 7230 5.3.2).
    if scope.get("query_string"):
        target += "?" + scope["query_string"].decode("latin-1")
    fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    if scope.get("subprotocols"):
        fields = [each for each in fields if each[0].lower() != PROTOCOLS.lower()]
        fields.append((PROTOCOLS, ", ".join(scope["subprotocols"])))
    environ = make_environ(
        Head(f"{scope.get('method', 'GET')} {target} HTTP/1.1", fields),
        "https" if scope.get("scheme") in ("https", "wss") else "http",
    )
    environ["SCRIPT_NAME"] = root.encode().decode("latin-1")
    environ["SERVER_PROTOCOL"] = f"HTTP/{scope.get('http_version', '1.1')}"
    environ["asgi.scope"] = scope
    if host is not None:
        add_addresses(environ, host.getsockname(), host.getpeername())
    return environ


async def _refuse(error: HandshakeError, scope: Event, send: Send, kind: str) -> None:
    logger.info("An opening handshake was refused: %s", error)
    status, headers, body = refusal(error)
    # What follows a request to upgrade may be frames, and not another request.
    headers.append(("Connection", "close"))
    if not scope.get("http_version", "1.1").startswith("1"):
        headers = [each for each in headers if not is_hop_by_hop(each[0])]
    code = int(status.partition(" ")[0])
    await send({"type": f"{kind}.start", "status": code, "headers": _encode(headers)})
    await send({"type": f"{kind}.body", "body": body})


def _encode(headers: Fields) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
