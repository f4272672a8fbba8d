"""WebSocket for the WSGI server of the standard library, for tests and demonstrations.

It takes one handshake at a time; after that a manager drives the connection::

    from wsgiref.simple_server import make_server
    from ws4py.websocket import EchoWebSocket
    from ws4py.server.wsgirefserver import WSGIServer, WebSocketWSGIRequestHandler
    from ws4py.server.wsgiutils import WebSocketWSGIApplication

    server = make_server('', 9000, server_class=WSGIServer,
                         handler_class=WebSocketWSGIRequestHandler,
                         app=WebSocketWSGIApplication(handler_cls=EchoWebSocket))
    server.initialize_websockets_manager()
    server.serve_forever()
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import suppress
from http.client import HTTPMessage
from logging import getLogger
from socket import AF_INET6, SHUT_RD, SHUT_RDWR, socket
from ssl import SSLSocket
from threading import TIMEOUT_MAX, Timer
from time import sleep
from typing import Any
from wsgiref import simple_server
from wsgiref.handlers import SimpleHandler

from ws4py.draining import check_drain
from ws4py.exc import HandshakeError
from ws4py.heads import build_head, make_environ
from ws4py.limits import Limits
from ws4py.loop import ends_program
from ws4py.manager import WebSocketManager
from ws4py.server._accept import EXHAUSTED, REST
from ws4py.server._opening import build_refusal, check_response, read_head
from ws4py.server._sockets import offer_socket, read_ahead, take_websocket
from ws4py.websocket import WebSocket

__all__ = ["WSGIServer", "WebSocketWSGIHandler", "WebSocketWSGIRequestHandler"]

logger = getLogger("ws4py")


class WebSocketWSGIHandler(SimpleHandler):
    """Runs an application that may answer with a websocket.

    ``request_handler`` is the :class:`WebSocketWSGIRequestHandler` that made it.
    """

    request_handler: WebSocketWSGIRequestHandler
    environ: dict[str, Any]
    result: Iterable[bytes]
    stdin: Any
    _switch: tuple[str, list[tuple[str, str]]] | None = None

    def setup_environ(self) -> None:
        """Add the key ``ws4py.socket``, the connection's socket, if the server links websockets."""
        super().setup_environ()
        if hasattr(self.request_handler.server, "link_websocket_to_server"):
            offer_socket(self.environ, self.request_handler.connection)

    def get_scheme(self) -> str:
        """Return the scheme of the URL: https over TLS."""
        return "https" if isinstance(self.request_handler.connection, SSLSocket) else "http"

    def start_response(self, status: str, headers: Any, exc_info: Any = None) -> Any:
        """Begin the response; one that is made of hop-by-hop headers is kept for later.

        Raises:
            ValueError: The status or a header has a character that it cannot carry.
        """
        fields = check_response(status, headers)
        if not status.startswith(("101 ", "426 ")):
            return super().start_response(status, fields, exc_info)
        self._switch = status, fields
        return self.write

    def finish_response(self) -> None:
        """Send the response.

        Removes the keys ``ws4py.socket`` and ``ws4py.websocket``, and hands the websocket, if there
        is one, to the server's ``link_websocket_to_server``.
        """
        websocket = take_websocket(self.environ)
        if self._switch is None:
            super().finish_response()
            return
        status, headers = self._switch
        body = b"" if websocket is not None else b"".join(self.result)
        self.stdout.write(build_head(f"HTTP/1.1 {status}", headers) + body)
        self.stdout.flush()
        if websocket is not None:
            websocket.buf = read_ahead(self.stdin, self.request_handler.connection)
            self._link(websocket)
        self.close()

    def _link(self, websocket: WebSocket) -> None:
        server: Any = self.request_handler.server
        # Another class of server has its own way.
        linked: set[Any] = getattr(server, "_linked", set())
        websocket._take_over()
        if not websocket._connected:  # It has been ended meanwhile.
            websocket.terminate()
            return
        linked.add(self.request_handler.request)
        try:
            server.link_websocket_to_server(websocket)
        except BaseException:
            linked.discard(self.request_handler.request)
            websocket.terminate()
            raise

    def handle_error(self) -> None:
        """Answer 500; but nothing to a connection that has been switched, or after Ctrl-C."""
        error = sys.exc_info()[1]
        if error is not None and ends_program(error):
            raise error
        if self._switch is None:
            super().handle_error()
        else:
            logger.error("A websocket could not be started", exc_info=True)  # noqa: LOG014
            self.close()


class WebSocketWSGIRequestHandler(simple_server.WSGIRequestHandler):
    """Handles a request with :class:`WebSocketWSGIHandler`."""

    WebSocketWSGIHandler = WebSocketWSGIHandler
    server: WSGIServer
    _environ: dict[str, Any]
    timeout = Limits.open_timeout
    disable_nagle_algorithm = True

    def handle(self) -> None:
        """Read the request, and let the server's application answer it."""
        try:
            self._read_head()
            self._timer.cancel()
            self._respond()
        except HandshakeError as error:
            logger.info("A request was refused: %s", error)
            self.wfile.write(build_refusal(error))
        except OSError as error:
            logger.info("A request from %s broke off: %s", self.client_address, error)

    def _read_head(self) -> None:
        """Read the head of the request, more strictly than the base class does."""
        head = read_head(self.rfile)
        self._environ = make_environ(head)
        self.requestline = head.line
        self.command, self.path, self.request_version = head.line.split(" ")
        self.headers = HTTPMessage()
        for name, value in head.fields:
            self.headers[name] = value

    def get_environ(self) -> dict[str, Any]:
        """Return the environ of the request."""
        return {
            **self.server.base_environ,
            "CONTENT_TYPE": self.headers.get_content_type(),
            **self._environ,
            "SERVER_SOFTWARE": self.server_version,
            "REMOTE_ADDR": self.client_address[0],
        }

    def setup(self) -> None:
        """Begin with a request; its head has ``timeout`` seconds to come, None for no limit.

        A peer that sends a byte now and then is never silent for long: the whole has a time.
        """
        super().setup()
        self._timer = Timer(self.timeout or TIMEOUT_MAX, self._give_up)
        self._timer.daemon = True
        if self.timeout is not None:
            self._timer.start()

    def finish(self) -> None:
        """End with a request."""
        self._timer.cancel()
        super().finish()

    def _give_up(self) -> None:
        with suppress(OSError):
            socket.shutdown(self.connection, SHUT_RD)

    def _respond(self) -> None:
        rfile: Any = self.rfile
        wfile: Any = self.wfile
        handler = self.WebSocketWSGIHandler(
            rfile, wfile, self.get_stderr(), self.get_environ(), multithread=False
        )
        handler.request_handler = self
        application = self.server.get_app()
        if application is not None:
            handler.run(application)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Log to the logger ``ws4py``."""
        logger.info(format, *args)


class WSGIServer(simple_server.WSGIServer):
    """A WSGI server whose websockets a manager drives: ``manager``."""

    request_queue_size = 128
    manager: WebSocketManager | None = None
    _drain: float | None = None

    def __init__(self, server_address: Any, *args: Any, **kwargs: Any) -> None:
        if ":" in server_address[0]:
            self.address_family = AF_INET6
        self._linked: set[Any] = set()
        super().__init__(server_address, *args, **kwargs)

    def get_request(self) -> Any:
        """Accept a connection; rest for a moment if that takes more than there is.

        It would be tried again at once, and for nothing.
        """
        try:
            return super().get_request()
        except OSError as error:
            if error.errno in EXHAUSTED:
                logger.error("No connection can be accepted now: %s", error)
                sleep(REST)
            raise

    def initialize_websockets_manager(self) -> None:
        """Start the manager, unless that has been done."""
        if self.manager is None:
            self.manager = WebSocketManager()
            self.manager.start()

    def link_websocket_to_server(self, ws: WebSocket) -> None:
        """Let the manager drive ``ws``.

        Override it to have something else drive it, or to call its ``terminate``.
        """
        self.initialize_websockets_manager()
        if self.manager is not None:
            self.manager.add(ws)

    def shutdown_request(self, request: Any) -> None:
        """Close the connection of a request, unless it has become a websocket."""
        if request in self._linked:
            self._linked.discard(request)
        else:
            super().shutdown_request(request)

    def shutdown(self, drain: float | None = None) -> None:
        """Let ``serve_forever`` return; call it from another thread.

        Args:
            drain: Seconds in which all websockets end as well. They are closed with 1001, evenly
                spread over the first half of that time; those that are left at its end are
                dropped. New connections are refused meanwhile. By default they are left to
                :meth:`server_close`.

        Raises:
            ValueError: ``drain`` is negative, or not a number.
        """
        check_drain(drain)
        if self._drain is None:
            self._drain = drain
        if drain is not None:
            # Not after a handshake that may be under way, and take its time.
            with suppress(OSError):
                self.socket.shutdown(SHUT_RDWR)
            if self.manager is not None:
                self.manager.stop(self._drain)
        super().shutdown()
        if drain is not None:
            self.server_close()

    def server_close(self) -> None:
        """Close all websockets with 1001 and wait for their ends; close the listening socket."""
        super().server_close()
        if self.manager is not None:
            # Two threads may be here: the one of serve_forever, and the one of shutdown(drain).
            if self._drain is None:
                self.manager.close_all()
            self.manager.stop(self._drain)
            self.manager.join()
