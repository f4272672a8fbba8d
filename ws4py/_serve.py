"""``python -m ws4py serve`` on each engine, which is imported when it is chosen."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Coroutine, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from signal import set_wakeup_fd
from socket import AF_INET, AF_INET6, create_server, socket, socketpair
from ssl import SSLContext
from threading import Thread
from typing import Any, Callable, NamedTuple

from ws4py import _tls
from ws4py.limits import Limits
from ws4py.server._accept import Acceptor
from ws4py.websocket import WebSocket

__all__ = ["SERVERS", "Server", "Serving"]


@dataclass
class Serving:
    """What is to be served, and where.

    Raises:
        FileNotFoundError: There is no such certificate or key.
        ValueError: They cannot be used.
    """

    handler: type[WebSocket]
    host: str
    port: int
    path: str | None
    certfile: str | None
    keyfile: str | None
    origins: list[str] | None
    limits: Limits
    heartbeat: float | None
    drain: float
    compression: str | None
    context: SSLContext | None = None

    def __post_init__(self) -> None:
        if self.certfile:
            self.context = _tls.server_context(self.certfile, self.keyfile)
        elif self.keyfile:
            raise ValueError("--keyfile needs --certfile")

    @property
    def routes(self) -> Any:
        """The class; or a dict of the one path that is served, and the class."""
        return {self.path: self.handler} if self.path else self.handler

    def options(self, heartbeat_freq: float | None = None) -> dict[str, Any]:
        """Return what each engine takes by these names; the heartbeat's is the engine's default."""
        return {
            "origins": self.origins,
            "limits": self.limits,
            "compression": self.compression,
            "heartbeat_freq": heartbeat_freq if self.heartbeat is None else self.heartbeat,
        }


#: Connections that the kernel keeps while they wait to be accepted.
BACKLOG = 1024


@contextmanager
def woken_by_signals(watch: Callable[..., object] | None) -> Iterator[None]:
    """Wake a loop at each signal meanwhile; Python calls the signal's handler then.

    One that comes just before the loop polls would not interrupt that, and its handler would not be
    called before something else happens.

    Args:
        watch: That of a :class:`Server`.
    """
    if watch is None:
        yield
        return
    awake, waker = socketpair()
    with awake, waker:
        for end in (awake, waker):
            end.setblocking(False)
        watch(awake.fileno(), lambda *_: awake.recv(4096))
        before = set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            set_wakeup_fd(before)


class Server(NamedTuple):
    """A server that listens on ``address``.

    ``serve`` serves until a signal's handler has called ``stop``, and until all has ended then.
    ``watch`` is called with a descriptor, and with what a loop that signals do not wake is to call
    when that is readable; None if there is no such loop.
    """

    address: Any
    serve: Callable[[], object]
    stop: Callable[[], object]
    watch: Callable[..., object] | None = None


def standalone(serving: Serving) -> Server:
    """Return ws4py's own server."""
    from ws4py.server.standalone import WebSocketServer

    address = (serving.host, serving.port)
    server = WebSocketServer(
        address, serving.routes, ssl_context=serving.context, **serving.options(20.0)
    )
    loop = server.manager.loop

    def serve() -> None:
        with server:
            server.serve_forever()

    def stop() -> None:
        loop.call_soon(partial(server.shutdown, serving.drain))
        loop.wake()

    return Server(server.server_address, serve, stop, loop.watch)


def wsgi_application(serving: Serving) -> Any:
    """Return a WSGI application that serves the one path, or every path."""
    from ws4py.server.wsgiutils import WebSocketWSGIApplication

    application = WebSocketWSGIApplication(handler_cls=serving.handler, **serving.options())

    def route(environ: dict[str, Any], start_response: Any) -> Any:
        if serving.path in (None, environ["PATH_INFO"]):
            return application(environ, start_response)
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"there is no WebSocket at this path\n"]

    return route


def wsgiref(serving: Serving) -> Server:
    """Return the standard library's WSGI server."""
    from ws4py.server.wsgirefserver import WebSocketWSGIRequestHandler, WSGIServer

    class Handler(WebSocketWSGIRequestHandler):
        timeout = serving.limits.open_timeout

    application = wsgi_application(serving)
    server = WSGIServer((serving.host, serving.port), Handler)
    server.set_app(application)
    if serving.context is not None:
        server.socket = serving.context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    server.initialize_websockets_manager()

    def serve() -> None:
        with server:
            server.serve_forever()

    def stop() -> None:
        # It waits for serve_forever, which runs in this thread.
        Thread(target=server.shutdown, args=(serving.drain,)).start()

    return Server(server.server_address, serve, stop)


def on_loop(
    start: Callable[[], Coroutine[Any, Any, Any]], stop: Callable[[], Coroutine[Any, Any, Any]]
) -> Server:
    """Return a server on a loop of its own.

    Args:
        start: Begins to listen, and returns the address.
        stop: Stops, and waits until all connections have ended.
    """
    loop = asyncio.new_event_loop()
    ended = loop.create_future()

    async def main() -> None:
        await ended
        await stop()
        # Connections that the loop has accepted, and that are no server's yet, for want of TLS.
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await asyncio.sleep(0)  # Their transports end in the loop's next turn.

    def end() -> None:
        if not ended.done():
            ended.set_result(None)

    def serve() -> None:
        with closing(loop):
            loop.run_until_complete(main())

    try:
        address = loop.run_until_complete(start())
    except BaseException:
        loop.close()
        raise
    return Server(address, serve, lambda: loop.call_soon_threadsafe(end), loop.add_reader)


def on_asyncio(serving: Serving) -> Server:
    """Return the server for asyncio's loop."""
    from ws4py.server import asyncioserver

    server = asyncioserver.serve(
        serving.routes, serving.host, serving.port, ssl=serving.context, **serving.options(20.0)
    )

    async def start() -> Any:
        await server
        return server.sockets[0].getsockname()

    async def stop() -> None:
        await server.shutdown(serving.drain)

    return on_loop(start, stop)


def on_cherrypy(serving: Serving) -> Server:
    """Return CherryPy's server."""
    import cherrypy

    from ws4py.server.cherrypyserver import WebSocketPlugin, WebSocketTool

    class Root:
        @cherrypy.expose  # type: ignore[untyped-decorator]
        def default(self, *_path: str, **_query: str) -> None:
            if serving.path not in (None, cherrypy.request.path_info):
                raise cherrypy.NotFound()  # and there is no websocket

    engine, server = cherrypy.engine, cherrypy.server
    cherrypy.config.update({"environment": "production"})
    server.socket_host, server.socket_port = serving.host, serving.port
    server.socket_timeout, server.socket_queue_size = serving.limits.open_timeout, BACKLOG
    if serving.context is not None:
        server.ssl_module, server.ssl_context = "builtin", serving.context
        server.ssl_certificate, server.ssl_private_key = serving.certfile, serving.keyfile
    WebSocketPlugin(engine, drain=serving.drain).subscribe()
    cherrypy.tools.websocket = WebSocketTool()
    options = {"on": True, "handler_cls": serving.handler, **serving.options()}
    config = {f"tools.websocket.{name}": value for name, value in options.items()}
    cherrypy.tree.mount(Root(), "", {"/": config})
    _check(serving)
    listen(serving).close()  # It would only log that it cannot.
    engine.start()
    return Server(server.bound_addr, engine.block, engine.exit)


def listen(serving: Serving) -> socket:
    """Return a socket that listens.

    Raises:
        OSError: It cannot.
    """
    family = AF_INET6 if ":" in serving.host else AF_INET
    sock = create_server((serving.host, serving.port), family=family, backlog=BACKLOG)
    sock.setblocking(False)
    return sock


def on_tornado(serving: Serving) -> Server:
    """Return Tornado's server."""
    from tornado.httpserver import HTTPServer
    from tornado.web import Application

    from ws4py.server.tornadoserver import WebSocketHandler, WebSockets

    _check(serving, is_async=True)
    websockets = WebSockets()
    options = {"handler_cls": serving.handler, "websockets": websockets, **serving.options()}
    route = re.escape(serving.path) if serving.path else ".*"
    http: list[HTTPServer] = []

    async def start() -> Any:
        application = Application([(route, WebSocketHandler, options)], log_function=lambda _: None)
        http.append(
            HTTPServer(
                application,
                ssl_options=serving.context,
                idle_connection_timeout=serving.limits.open_timeout,
            )
        )
        sock = listen(serving)
        http[0].add_socket(sock)
        return sock.getsockname()

    async def stop() -> None:
        http[0].stop()
        await http[0].close_all_connections()
        await websockets.drain(serving.drain)

    return on_loop(start, stop)


def _check(serving: Serving, is_async: bool = False) -> None:
    """Find fault with the options at once, for an engine that does so when a request comes."""
    Acceptor(serving.handler, **serving.options(), is_async=is_async)


def on_gevent(serving: Serving) -> Server:
    """Return gevent's WSGI server."""
    import gevent

    from ws4py.server.geventserver import WSGIServer

    application = wsgi_application(serving)
    tls = {} if serving.context is None else {"ssl_context": serving.context}
    server = WSGIServer(listen(serving), application, log=None, **tls)
    server.open_timeout = serving.limits.open_timeout
    ended = gevent.event.Event()

    def serve() -> None:
        server.start()
        # A signal's handler is called once the hub has something to do.
        while not ended.wait(0.2):
            pass
        server.stop(drain=serving.drain)

    return Server(server.address, serve, ended.set)


def on_asgi(serving: Serving) -> Server:
    """Return an ASGI server: uvicorn, which sends the Pings itself."""
    import uvicorn

    from ws4py.server.asgi import WebSocketASGIApplication

    options = {**serving.options(), "heartbeat_freq": None}
    compresses = bool(options.pop("compression"))
    application = WebSocketASGIApplication(serving.routes, **options)
    most, seconds = serving.limits.max_message_size, serving.heartbeat
    config = uvicorn.Config(
        application,
        log_config=None,
        ssl_certfile=serving.certfile,
        ssl_keyfile=serving.keyfile,
        ws_max_size=sys.maxsize if most is None else most,
        ws_ping_interval=20.0 if seconds is None else seconds or None,
        ws_ping_timeout=serving.limits.heartbeat_timeout,
        ws_per_message_deflate=compresses,
    )
    server = uvicorn.Server(config)
    serves: list[asyncio.Task[None]] = []

    async def start() -> Any:
        sock = listen(serving)
        serves.append(asyncio.ensure_future(server.serve(sockets=[sock])))
        return sock.getsockname()

    async def stop() -> None:
        # Before uvicorn does both, and closes all connections with another code.
        for listening in getattr(server, "servers", ()):
            listening.close()
        end = asyncio.get_running_loop().time() + serving.drain
        await application.drain(serving.drain)
        await wait_for_answers(end)
        server.should_exit = True
        await serves[0]

    async def wait_for_answers(end: float) -> None:
        """Let uvicorn wait for the clients' answers, which it tells nobody of, until ``end``."""
        loop = asyncio.get_running_loop()
        while connections() and loop.time() < end:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.05)
        for connection in connections():
            connection.transport.abort()

    def connections() -> list[Any]:
        everyone, kind = server.server_state.connections, config.ws_protocol_class
        return [each for each in everyone if isinstance(each, kind)]

    return on_loop(start, stop)


SERVERS: dict[str, Callable[[Serving], Server]] = {
    "asgi": on_asgi,
    "asyncio": on_asyncio,
    "cherrypy": on_cherrypy,
    "gevent": on_gevent,
    "standalone": standalone,
    "tornado": on_tornado,
    "wsgiref": wsgiref,
}
