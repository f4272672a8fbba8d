"""WebSocket for gevent's WSGI server: each connection is run by the greenlet that accepted it::

    from ws4py.websocket import EchoWebSocket
    from ws4py.server.geventserver import WSGIServer
    from ws4py.server.wsgiutils import WebSocketWSGIApplication

    server = WSGIServer(('localhost', 9000), WebSocketWSGIApplication(handler_cls=EchoWebSocket))
    server.serve_forever()

Nothing has to be patched, unless the application itself uses what would block.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, closing, suppress
from functools import partial
from io import BytesIO
from logging import getLogger
from typing import Any

import gevent
from gevent import Timeout, getcurrent, pywsgi
from gevent.pool import Pool

from ws4py._gevent import GreenletDriver, wrap_socket
from ws4py.draining import GRACE, check_drain, close_all, draining, go_away
from ws4py.exc import HandshakeError
from ws4py.heads import build_head, make_environ
from ws4py.limits import Limits
from ws4py.sending import broadcast
from ws4py.server._opening import build_refusal, read_head
from ws4py.server._sockets import offer_socket, take_websocket
from ws4py.server.wsgiutils import WebSocketWSGIApplication
from ws4py.transport import send_at_once
from ws4py.websocket import WebSocket

__all__ = [
    "GEventWebSocketPool",
    "WSGIServer",
    "WebSocketWSGIApplication",
    "WebSocketWSGIHandler",
]

logger = getLogger("ws4py")


class WebSocketWSGIHandler(pywsgi.WSGIHandler):
    """Handles requests; one that leaves a websocket in ``environ`` is the connection's last.

    The application finds the connection's socket under the key ``ws4py.socket``. On a server of
    gevent's own, whose ``stop`` knows no websockets, they are the application's to end.
    """

    result: Any
    rfile: Any

    def handle(self) -> None:
        """Handle the requests of a connection."""
        send_at_once(self.socket)
        try:
            super().handle()
        except OSError as error:
            logger.info("A connection with %s broke off: %s", self.client_address, error)

    def handle_one_request(self) -> Any:
        """Read a request and answer it; a head that does not come in time ends the connection."""
        self._deadline = Timeout.start_new(
            getattr(self.server, "open_timeout", Limits.open_timeout)
        )
        try:
            return super().handle_one_request()
        except Timeout as timeout:
            if timeout is not self._deadline:
                raise
            logger.info("No request came from %s in time", self.client_address)
            return None
        finally:
            self._deadline.close()
            del self._deadline  # Its traceback leads back here.

    def read_request(self, raw_requestline: str) -> Any:
        """Read the head of a request, more strictly than the base class, which has it then."""
        head = read_head(self.rfile, raw_requestline.encode("latin-1"))
        environ = make_environ(head)
        # What the server has been told of itself is its own.
        del environ["SCRIPT_NAME"], environ["wsgi.url_scheme"]
        self._environ = environ
        fields = build_head(head.line, head.fields).partition(b"\r\n")[2]
        rfile, self.rfile = self.rfile, BytesIO(fields)
        try:
            return super().read_request(head.line)
        finally:
            self.rfile = rfile

    def get_environ(self) -> Any:
        """Return the environ of the request."""
        return {**super().get_environ(), **self._environ}

    def _handle_client_error(self, ex: Exception) -> Any:
        """Return the answer to a request that is none."""
        logger.info("A request from %s was refused: %s", self.client_address, ex)
        if isinstance(ex, OSError):
            return None
        error = ex if isinstance(ex, HandshakeError) else HandshakeError(str(ex), 400)
        return str(error.status), build_refusal(error)

    def run_application(self) -> None:
        """Call the application, and run the websocket if it has made one."""
        self._deadline.cancel()
        if self._connection_upgrade_requested():
            # What follows is not a body, for which the base class would wait at the end.
            self.wsgi_input = pywsgi.Input(self.rfile, 0)
        offer_socket(self.environ, self.socket)
        super().run_application()

    def start_response(self, status: str, headers: Any, exc_info: Any = None) -> Any:
        """Begin the response.

        A connection that is to be switched, and is not, ends: what follows may not be a request.
        """
        headers = list(headers)
        if self._connection_upgrade_requested() and not status.startswith("101"):
            self.close_connection = True
            if not any(name.lower() == "connection" for name, _ in headers):
                headers.append(("Connection", "close"))
        return super().start_response(status, headers, exc_info)

    def process_result(self) -> None:
        """Send the response; after the head of one that switches, run the websocket."""
        websocket = take_websocket(self.environ)
        if websocket is None:
            super().process_result()
            return
        try:
            self._switch()
            websocket.buf = self._read_ahead()
        except BaseException:
            websocket.terminate()
            raise
        pool = getattr(self.server, "websockets", None)
        (GEventWebSocketPool() if pool is None else pool).run(websocket)

    def _switch(self) -> None:
        self.close_connection = True
        # A result with a length would get a Content-Length.
        result, self.result = self.result, iter(())
        try:
            self.write(b"")
        finally:
            self.result = result

    def _read_ahead(self) -> bytes:
        """Return what has been read from the socket behind the request's head."""
        self.socket.settimeout(0)
        ahead = b""
        # While rfile is open, the socket cannot be closed. TLS may have nothing for us yet.
        with self.rfile, suppress(OSError):
            ahead = self.rfile.read1(len(self.rfile.peek(1)))
        return ahead


class GEventWebSocketPool(Pool):
    """The greenlets that run websockets.

    Attributes:
        ending: Whether websockets that are still to come are closed at once.
    """

    ending = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._websockets: set[WebSocket] = set()
        self._drainer: Any = None

    def track(self, websocket: WebSocket) -> Any:
        """Return a new greenlet that runs ``websocket``."""
        return self.spawn(self._run, websocket)

    def run(self, websocket: WebSocket) -> None:
        """Run ``websocket`` in this greenlet, as one of the pool."""
        me = getcurrent()
        if me in self:
            self._run(websocket)
            return
        self.add(me)
        try:
            self._run(websocket)
        finally:
            self.discard(me)

    def _run(self, websocket: WebSocket) -> None:
        websocket._take_over()
        websocket._driver = GreenletDriver()
        self._websockets.add(websocket)
        if self.ending:
            go_away(websocket)
        try:
            websocket.run()
        finally:
            self._websockets.discard(websocket)

    def broadcast(self, message: Any, binary: bool = False, compress: bool = True) -> None:
        """Send ``message`` to each websocket, as ``send`` takes it; wait for none."""
        broadcast(list(self._websockets), message, binary, compress)

    def clear(self, code: int = 1001, message: str = "Server is shutting down") -> None:
        """Begin the closing handshake of each websocket; ``join`` waits for their ends.

        What is wrong with one of them does not matter to the others.

        Raises:
            ValueError: No Close frame can have that code.
        """
        close_all(list(self._websockets), code, message)

    def drain(self, seconds: float) -> None:
        """Close each websocket with 1001, and drop those that have not ended in ``seconds``.

        The closes are evenly spread over the first half of that time, so that not all clients
        connect again at once; ``join`` waits for the greenlets. A call while another one is at
        work waits for that.

        Raises:
            ValueError: ``seconds`` is negative, or not a number.
        """
        steps = draining(lambda: list(self._websockets), seconds)
        if not self.is_draining:
            self._drainer = gevent.spawn(_take_steps, steps)
        self._drainer.join()

    @property
    def is_draining(self) -> bool:
        """Whether :meth:`drain` is at work."""
        return self._drainer is not None and not self._drainer.ready()


def _take_steps(steps: Generator[float, None, None]) -> None:
    for seconds in steps:
        gevent.sleep(seconds)


class WSGIServer(pywsgi.WSGIServer):
    """A WSGI server, with the arguments of :class:`gevent.pywsgi.WSGIServer`.

    ``ssl_context`` may be one of the ssl module too.

    Attributes:
        pool: The websockets' greenlets; or the pool in which all connections are handled, if
            ``spawn`` is one or a number.
        websockets: The :class:`GEventWebSocketPool` of the websockets, which may be ``pool``.
    """

    pool: Any
    handler_class = WebSocketWSGIHandler
    #: Seconds for a TLS handshake, and for the head of a request; None for no limit.
    open_timeout = Limits.open_timeout
    #: Seconds that :meth:`stop` waits, unless it is told how many.
    stop_timeout = Limits.close_timeout

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "ssl_context" in kwargs:
            self.wrap_socket = partial(wrap_socket, kwargs["ssl_context"])

    def set_spawn(self, spawn: Any) -> None:
        """Choose what makes the greenlets of connections."""
        super().set_spawn(GEventWebSocketPool(spawn) if isinstance(spawn, int) else spawn)
        if self.pool is None:
            self.pool = GEventWebSocketPool()
        ours = isinstance(self.pool, GEventWebSocketPool)
        self.websockets = self.pool if ours else GEventWebSocketPool()

    def wrap_socket_and_handle(self, client_socket: Any, address: Any) -> None:
        """Do the TLS handshake, and handle the connection."""
        options = {**self.ssl_args, "do_handshake_on_connect": False}
        with ExitStack() as stack:
            try:
                sock = stack.enter_context(closing(self.wrap_socket(client_socket, **options)))
                with Timeout(self.open_timeout, TimeoutError("it took too long")):
                    sock.do_handshake()
            except OSError as error:
                logger.info("A TLS handshake with %s broke off: %s", address, error)
            else:
                self.handle(sock, address)

    def start(self) -> None:
        """Start accepting."""
        self.websockets.ending = False
        super().start()

    def stop(self, timeout: float | None = None, drain: float | None = None) -> None:
        """Stop accepting, and close all websockets with 1001.

        Returns once they have ended. Those that have not in ``timeout`` seconds are killed. In a
        callback of one of them it does not wait for that one, which goes on.

        Args:
            drain: Seconds in which they are to end first: they are closed evenly spread over the
                first half of that time, so that not all clients connect again at once, and
                dropped at its end. ``timeout`` begins then, and is 1 by default.

        Raises:
            ValueError: ``drain`` is negative, or not a number.
        """
        check_drain(drain)
        self.close()
        self.websockets.ending = True
        if drain is not None or self.websockets.is_draining:
            self.websockets.drain(drain or 0)
            timeout = GRACE if timeout is None else timeout
        else:
            self.websockets.clear()
        me = getcurrent()
        if me in self.pool:
            self.pool.discard(me)
        super().stop(timeout)
