"""WebSocket for CherryPy: a tool that upgrades connections, and a plugin that drives them::

    import cherrypy
    from ws4py.server.cherrypyserver import WebSocketPlugin, WebSocketTool
    from ws4py.websocket import EchoWebSocket

    cherrypy.config.update({'server.socket_port': 9000})
    WebSocketPlugin(cherrypy.engine).subscribe()
    cherrypy.tools.websocket = WebSocketTool()

    class Root:
        @cherrypy.expose
        def ws(self):
            # The websocket is there already; its opened() is called once this has returned.
            handler = cherrypy.request.ws_handler

    cherrypy.quickstart(Root(), '/', config={'/ws': {'tools.websocket.on': True,
                                                     'tools.websocket.handler_cls': EchoWebSocket}})

CherryPy's HTTP server, cheroot, takes a connection back after each response, or closes it. So the
plugin gives its servers a class of connections that lets go of the socket once the handshake has
been answered; the thread that answered it is free then.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from logging import getLogger
from threading import Timer, current_thread
from typing import Any, Callable

import cherrypy
from cherrypy._cpserver import Server
from cherrypy.process.plugins import SimplePlugin
from cherrypy.process.servers import ServerAdapter

from ws4py.deflate import Compression
from ws4py.draining import check_drain
from ws4py.exc import HandshakeError
from ws4py.handshake import refusal
from ws4py.limits import Limits
from ws4py.manager import WebSocketManager
from ws4py.server._accept import Acceptor, require_alive
from ws4py.server._cheroot import Connection, use_for
from ws4py.websocket import WebSocket

__all__ = ["WebSocketPlugin", "WebSocketTool"]

logger = getLogger("ws4py")

_SWITCHING = "101 Switching Protocols"
#: The priority of our ``start``: a daemon has been forked (65), and no server accepts yet (75).
_BEFORE_SERVERS = 70
#: Those of our ``_hurry`` and ``stop``, around the end of the servers (25).
_BEFORE_THEIR_END, _AFTER_SERVERS = 20, 60
#: Seconds that the websockets wait for a server to stop, which waits for slow requests.
_HURRY = 1.0
#: Seconds that the end of the engine waits for websockets that do not end, such as one whose
#: callback does not return. Longer than the ``close_timeout`` of ``Limits()``.
_PATIENCE = 20.0


class _Refusal(cherrypy.HTTPError):
    """The answer to a request that is refused."""

    def __init__(self, error: HandshakeError) -> None:
        status, self.headers, self._body = refusal(error)
        super().__init__(status, error.msg)

    def set_response(self) -> None:
        """Put it into CherryPy's response, but for the headers."""
        response = cherrypy.serving.response
        response.status, response.body = self.status, self._body


def _refuse(error: HandshakeError) -> _Refusal:
    logger.info("An opening handshake was refused: %s", error)
    answer, request = _Refusal(error), cherrypy.serving.request
    request.ws_answer = answer.status, answer.headers
    # Before it answers, cheroot would wait for the body of a request that has one.
    request.wsgi_environ["wsgi.input"].remaining = 0
    return answer


def _current_connection() -> Connection:
    conn = getattr(current_thread(), "conn", None)
    if not isinstance(conn, Connection):
        raise RuntimeError(
            "no websocket can take this connection over: call "
            "WebSocketPlugin(cherrypy.engine).subscribe() before the engine starts, "
            "and serve with CherryPy's own HTTP server, cheroot"
        )
    return conn


def _is_switching() -> bool:
    """Say whether the response is the one that accepts a websocket."""
    return bool(cherrypy.serving.response.status == _SWITCHING)


class WebSocketTool(cherrypy.Tool):
    """Upgrades the connections of the paths where it is on.

    The arguments of :meth:`upgrade` are its configuration: ``tools.websocket.on``,
    ``tools.websocket.handler_cls`` and so on. ``cherrypy.request.ws_handler`` is the websocket in
    the page handler; if that fails, or gives the response another status, no websocket is opened.
    """

    def __init__(self) -> None:
        super().__init__("before_request_body", self.upgrade)

    def _setup(self) -> None:
        super()._setup()
        hooks = cherrypy.serving.request.hooks
        hooks.attach("before_finalize", self.complete)
        hooks.attach("on_end_resource", self.cleanup_headers, priority=70)
        hooks.attach("on_end_request", self.start_handler, failsafe=True, priority=70)

    def upgrade(
        self,
        protocols: Sequence[str] | None = None,
        extensions: Sequence[str] | None = None,
        version: tuple[int, ...] = (8, 13),
        handler_cls: Callable[..., WebSocket] = WebSocket,
        heartbeat_freq: float | None = None,
        *,
        origins: Sequence[str | None] | None = None,
        limits: Limits | None = None,
        compression: Compression = None,
    ) -> None:
        """Judge the request, and make the websocket of one that is accepted.

        Runs before the body of the request is read. A request that is refused is answered with
        400, 403, 405 or 426, and the connection ends.

        Args:
            protocols: The subprotocols that are spoken; with none, what a client asks for is
                ignored.
            extensions: The extensions that ``handler_cls`` implements.
            version: Of no effect: version 13 is spoken.
            handler_cls: The class of the websocket.
            heartbeat_freq: Seconds between two Pings, unless ``handler_cls`` has its own.
            origins: The values of Origin that are allowed; None among them allows a request
                without one. With none, all are.
            limits: The :class:`ws4py.limits.Limits` of the websocket; None leaves its class's.
            compression: ``"deflate"``, or a :class:`ws4py.deflate.PerMessageDeflate`, to compress
                messages where a client offers that; None for none.

        Raises:
            cherrypy.HTTPError: The request is refused, or the websocket could not be made.
            RuntimeError: There is no plugin, or the server is none that it knows.
        """
        conn, request = _current_connection(), cherrypy.serving.request
        conn.end_http()
        # What answers instead of the handshake, now or later, says that the connection ends.
        cherrypy.serving.response.headers["Connection"] = "close"
        environ = request.wsgi_environ
        acceptor = Acceptor(
            handler_cls,
            protocols,
            extensions,
            origins,
            limits,
            heartbeat_freq,
            compression=compression,
        )
        try:
            accepted = acceptor.accept(environ)
            request.ws_handler = conn.make_websocket(acceptor, accepted, environ)
        except HandshakeError as error:
            raise _refuse(error) from error
        request.ws_answer = _SWITCHING, accepted.headers
        cherrypy.serving.response.status = _SWITCHING

    def complete(self) -> None:
        """Let CherryPy drop what the page handler has returned: it would pass for frames.

        Runs before the response is finalized.

        Raises:
            cherrypy.HTTPError: The page handler has ended the websocket; the status is 403.
        """
        if not _is_switching():
            return
        cherrypy.serving.response.stream = False
        try:
            require_alive(cherrypy.serving.request.ws_handler)
        except HandshakeError as error:
            raise _refuse(error) from error

    def cleanup_headers(self) -> None:
        """Put the handshake's headers into the response, and take out those of a body.

        Runs at the end of the resource. Some clients do not look headers up without regard to case,
        and CherryPy changes the case of those that are given to it.
        """
        response = cherrypy.serving.response
        status, fields = getattr(cherrypy.serving.request, "ws_answer", ("", []))
        if response.status != status or not response.header_list:
            return
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]
        ours = {name.lower() for name, _ in headers}
        response.header_list = headers + [
            (name, value)
            for name, value in response.header_list
            if name.lower() not in ours and not name.lower().startswith(b"content-")
        ]

    def start_handler(self) -> None:
        """Hand the websocket over to the plugin, which calls its ``opened``.

        Runs at the end of the request, when the handshake has been answered.
        """
        request = cherrypy.serving.request
        websocket = getattr(request, "ws_handler", None)
        if websocket is None:
            return
        conn = _current_connection()
        answered = _is_switching() and conn.has_answered
        if answered:
            conn.detach(websocket)
        if not (answered and websocket._connected):
            websocket.sock = None
            return
        taken: list[Any] = []
        try:
            peer = (request.remote.ip, request.remote.port)
            taken = conn.bus.publish("handle-websocket", websocket, peer)
        finally:
            if not taken:
                websocket.terminate()


class WebSocketPlugin(SimplePlugin):
    """Drives the websockets that the tool has made; subscribe one to the engine.

    On the bus it listens to ``handle-websocket``, with the arguments of :meth:`handle`, and to
    ``websocket-broadcast``, with those of :meth:`broadcast`.

    Args:
        bus: Where the HTTP servers are subscribed too: ``cherrypy.engine``.
        manager: Drives the websockets. One that is given is left alone, with its websockets, when
            the engine stops; it has to be started, and stopped, by whoever made it.
        poller: What the plugin's own manager polls with. It ends with that manager: once the engine
            has been stopped and is started again, there is one of the default kind.
        drain: Seconds in which the end of the engine ends all websockets: they are closed with
            1001, evenly spread over the first half of that time, and dropped at its end. By
            default all are closed at once, and each has its ``limits.close_timeout``.

    Attributes:
        manager: The :class:`ws4py.manager.WebSocketManager`; another one after a restart.

    Raises:
        ValueError: ``drain`` is negative, or not a number.
    """

    def __init__(
        self,
        bus: Any,
        manager: WebSocketManager | None = None,
        poller: Any = None,
        drain: float | None = None,
    ) -> None:
        check_drain(drain)
        super().__init__(bus)
        self.drain = drain
        self._owns_manager = manager is None
        self.manager = WebSocketManager(poller) if manager is None else manager
        self._has_stopped = False
        self._timer: Timer | None = None

    def subscribe(self) -> None:
        """Listen to the bus; start at once if it runs already."""
        super().subscribe()
        self.bus.subscribe("start", self.start, priority=_BEFORE_SERVERS)
        self.bus.subscribe("stop", self._hurry, priority=_BEFORE_THEIR_END)
        self.bus.subscribe("stop", self.stop, priority=_AFTER_SERVERS)
        self.bus.subscribe("handle-websocket", self.handle)
        self.bus.subscribe("websocket-broadcast", self.broadcast)
        if self.bus.state == self.bus.states.STARTED:
            self.start()

    def unsubscribe(self) -> None:
        """Listen to the bus no more."""
        super().unsubscribe()
        self.bus.unsubscribe("stop", self._hurry)
        self.bus.unsubscribe("handle-websocket", self.handle)
        self.bus.unsubscribe("websocket-broadcast", self.broadcast)

    def start(self) -> None:
        """Prepare the HTTP servers of the bus, and start the manager.

        Call it again when a server has been added to a bus that runs, before that is started.
        """
        for listener in self.bus.listeners["start"]:
            adapter = getattr(listener, "__self__", None)
            if isinstance(adapter, ServerAdapter):
                self._prepare(adapter)
        if "OpenSSL" in sys.modules:
            from ws4py import _pyopenssl  # noqa: F401 - knows the sockets of that TLS
        if not self._owns_manager:
            return
        if self._has_stopped:
            self.manager, self._has_stopped = WebSocketManager(), False
        if not self.manager.is_alive():
            self.manager.start()

    def _prepare(self, adapter: ServerAdapter) -> None:
        """Let websockets take over the connections of a server."""
        if adapter.httpserver is None and isinstance(adapter, Server):
            # What it would do when it is started.
            adapter.httpserver, adapter.bind_addr = adapter.httpserver_from_self()
        use_for(adapter.httpserver, self.bus)

    def _hurry(self) -> None:
        """See that the websockets are closed even if a server takes its time to stop."""
        self._timer = Timer(_HURRY, self._close)
        self._timer.daemon = True
        self._timer.start()

    def stop(self) -> None:
        """End all websockets: :meth:`cleanup`."""
        if self._timer is not None:
            self._timer.cancel()
        self.cleanup()

    def _close(self) -> None:
        """Begin to end all websockets, and take no more of them."""
        if not self._owns_manager:
            return
        self._has_stopped = True
        if self.drain is None:
            self.manager.close_all()
        self.manager.stop(self.drain)

    def handle(self, ws_handler: WebSocket, peer_addr: Any) -> None:
        """Let the manager drive a websocket.

        Args:
            ws_handler: The websocket.
            peer_addr: For the log: the host and the port of its peer.

        Raises:
            RuntimeError: The manager has been stopped, or the websocket has ended.
        """
        logger.info("A websocket from %s is managed", peer_addr)
        if self._has_stopped:
            logger.info("It came too late")
            ws_handler.terminate()
        else:
            self.manager.add(ws_handler)

    def broadcast(self, message: Any, binary: bool = False, compress: bool = True) -> None:
        """Send ``message`` to each websocket, as its ``send`` takes it; wait for none."""
        self.manager.broadcast(message, binary, compress)

    def cleanup(self) -> None:
        """Close all websockets with 1001, and wait for their ends; stop the plugin's own manager.

        A peer that does not answer is dropped after its ``limits.close_timeout``, or when the
        ``drain`` is over.
        """
        self._close()
        if not self._owns_manager:
            return
        if self.manager.is_alive() and self.manager is not current_thread():
            self.manager.join(_PATIENCE + (self.drain or 0))
