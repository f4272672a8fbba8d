"""The WSGI application that upgrades connections to WebSocket, on any server.

A server that supports it puts the connection's socket into ``environ['ws4py.socket']``, calls the
application, which answers the handshake through ``start_response`` and leaves a websocket in
``environ['ws4py.websocket']``; the server then sends the response's head as it is, removes both
keys, and runs the websocket or adds it to a manager. It must not close the socket.

On gunicorn, waitress, werkzeug's server, cheroot, uWSGI, gevent.pywsgi and wsgiref, which know
nothing of that, the application finds the socket, answers on it, and then either

*holds* the connection: the websocket runs in the call of the application, and keeps the thread (or
greenlet) that called until it ends; or

*hands it off*, given a ``manager``: a manager drives the websocket, and the call returns at once,
so that one worker can have thousands of them. The server still believes that it answers the
request: what it writes goes nowhere, and its access log shows a 101. This takes POSIX and a
connection without TLS; others are held, and a warning says so.

What to know of each:

- gunicorn's sync worker is killed after ``--timeout`` while it holds a connection: hand off, or
  use ``-k gthread``, where each websocket that is held takes one of ``--threads``.
- gunicorn's gevent worker holds thousands, so that nothing can be handed off there: it would be
  refused with 501. It patches the standard library when a worker starts, and so has to import
  ws4py after that: no ``preload_app``, unless the configuration file patches first.
- uWSGI needs ``--enable-threads``. What clients send before they have the answer is lost.
- A manager's thread does not survive a fork. Give ``WebSocketManager`` itself, or a function that
  returns one: it is called for the first websocket of each process, with ``preload_app`` too.
- A worker that ends takes its websockets along; see :meth:`WebSocketWSGIApplication.drain`.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterable, Sequence
from logging import getLogger
from threading import Condition
from time import monotonic
from typing import Any, Callable, Union
from wsgiref.util import is_hop_by_hop

from ws4py.deflate import Compression
from ws4py.draining import GRACE, check_drain, close_all, draining, go_away, longest_close
from ws4py.exc import HandshakeError
from ws4py.handshake import Accepted, build_switch, refusal
from ws4py.limits import Limits
from ws4py.manager import WebSocketManager
from ws4py.sending import broadcast
from ws4py.server._accept import Acceptor, check_open, require_alive
from ws4py.server._sockets import MADE, Connection, DeadEnd, find_connection, write_all
from ws4py.websocket import WebSocket

__all__ = ["WebSocketWSGIApplication"]

logger = getLogger("ws4py")

Environ = dict[str, Any]
Manager = Union[WebSocketManager, Callable[[], WebSocketManager]]
Sleep = Callable[[float], object]

#: Seconds between two looks whether greenlets have ended.
_LOOK = 0.02


class _Process:
    """What an application has in one process: none of it outlives a fork."""

    def __init__(self) -> None:
        # What is below is guarded by this; it is notified when a websocket has ended.
        self.changed = Condition()
        # Those that are held, or that a server which knows us runs.
        self.running: dict[int, WebSocket] = {}
        self.manager: WebSocketManager | None = None
        self.is_draining = False

    @property
    def websockets(self) -> list[WebSocket]:
        """All but those that have been handed off to a manager which was given ready-made."""
        with self.changed:
            return [*self.running.values(), *(self.manager or ())]

    def discard(self, websocket: WebSocket) -> None:
        """Forget a websocket that has ended."""
        with self.changed:
            self.running.pop(id(websocket), None)
            self.changed.notify_all()

    def find_sleep(self) -> Sleep | None:
        """Return what this thread is to wait in for greenlets, None if there are none of it."""
        sleeps = (websocket._driver.find_sleep() for websocket in self.websockets)
        return next(filter(None, sleeps), None)

    def pause(self, seconds: float) -> None:
        """Wait until a websocket has ended, for ``seconds`` at most."""
        with self.changed:
            self.changed.wait(seconds)

    def wait_ended(self, seconds: float | None, sleep: Sleep | None) -> None:
        """Wait until no websocket is held, for ``seconds`` at most if there is a limit."""
        if sleep is None:
            with self.changed:
                self.changed.wait_for(lambda: not self.running, seconds)
            return
        end = None if seconds is None else monotonic() + seconds
        while self.running and (end is None or monotonic() < end):
            sleep(_LOOK)


class WebSocketWSGIApplication:
    """See the module. A request that is not a good handshake is answered with a 4xx status.

    Where the server gives no access to its sockets, the status is 501.

    Args:
        protocols: The subprotocols that are spoken; with none, what a client asks for is ignored.
        extensions: The extensions that ``handler_cls`` implements.
        handler_cls: The class of the websockets.
        origins: The values of Origin that are allowed; with none, all are.
        limits: The :class:`ws4py.limits.Limits` of the websockets; None leaves their class's.
        heartbeat_freq: Seconds between two Pings, unless ``handler_cls`` has its own.
        compression: ``"deflate"``, or a :class:`ws4py.deflate.PerMessageDeflate`, to compress
            messages where a client offers that; None for none.
        manager: Connections are handed off to it. Either a WebSocketManager, which whoever made
            it starts in this process, closes and stops; or what makes one, such as the class:
            that is started when it is needed, and drained when the process ends.

    Raises:
        TypeError: ``handler_cls`` or ``manager`` is not one; or the class was given first.
        ValueError: A subprotocol, an extension, an origin or ``compression`` cannot be one.
    """

    def __init__(
        self,
        protocols: Sequence[str] | None = None,
        extensions: Sequence[str] | None = None,
        handler_cls: Callable[..., WebSocket] = WebSocket,
        *,
        origins: Sequence[str | None] | None = None,
        limits: Limits | None = None,
        heartbeat_freq: float | None = None,
        compression: Compression = None,
        manager: Manager | None = None,
    ) -> None:
        if callable(protocols):  # Other servers take the class first.
            raise TypeError(f"protocols={protocols!r}: a class is given as handler_cls=")
        self.protocols = protocols
        self.extensions = extensions
        self.handler_cls = handler_cls
        self.origins = origins
        self.limits = limits
        self.heartbeat_freq = heartbeat_freq
        self.compression = compression
        self.manager = manager
        self._make_acceptor()  # An argument that cannot be one is refused here.
        if not (manager is None or isinstance(manager, WebSocketManager) or callable(manager)):
            raise TypeError(f"{manager!r} is neither a WebSocketManager nor makes one")
        self._processes: dict[int, _Process] = {}
        self._warnings: set[str] = set()

    @property
    def _here(self) -> _Process:
        pid = os.getpid()
        return self._processes.get(pid) or self._processes.setdefault(pid, _Process())

    def _make_acceptor(self) -> Acceptor:
        """Return what judges a request by the attributes as they are now."""
        return Acceptor(
            self.handler_cls,
            self.protocols,
            self.extensions,
            self.origins,
            self.limits,
            self.heartbeat_freq,
            compression=self.compression,
        )

    def make_websocket(
        self, sock: Any, protocols: list[str], extensions: list[str], environ: Environ
    ) -> WebSocket:
        """Make the websocket, with a copy of ``environ``, and put it into ``environ``.

        It can send once the request has been answered. A program that does that by itself here
        calls its ``run``, or adds it to a manager.
        """
        copy = {name: value for name, value in environ.items() if name != MADE}
        websocket = self._make_acceptor().make(sock, protocols, extensions, copy)
        environ["ws4py.websocket"] = websocket
        return websocket

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request (PEP 3333)."""
        knows_us = "ws4py.socket" in environ
        body: Iterable[bytes]
        try:
            accepted = self._make_acceptor().accept(environ)
            if knows_us:
                self._leave(environ, accepted)
                headers, body = accepted.headers, []
            else:
                headers, body = [], self._take_over(environ, accepted)
        except HandshakeError as error:
            logger.info("An opening handshake was refused: %s", error)
            status, headers, text = refusal(error)
            if not knows_us:
                headers = [each for each in headers if not is_hop_by_hop(each[0])]
            start_response(status, headers)
            return [] if environ["REQUEST_METHOD"] == "HEAD" else [text]
        start_response("101 Switching Protocols", headers)
        return body

    def _leave(self, environ: Environ, accepted: Accepted) -> None:
        """Leave a websocket for a server that knows us, which runs it.

        Raises:
            HandshakeError: There is to be none.
        """
        check_open(self._here.is_draining)
        names = accepted.protocols, accepted.extensions
        websocket = self.make_websocket(environ["ws4py.socket"], *names, environ)
        websocket = environ.get("ws4py.websocket", websocket)
        environ.get(MADE, []).append(websocket)
        if websocket is not None:  # else a make_websocket of the program's has run it
            websocket._keeper = self

    def _take_over(self, environ: Environ, accepted: Accepted) -> DeadEnd:
        """Take the connection from the server, and see the websocket to its end or hand it off.

        Returns what the server is to answer.

        Raises:
            HandshakeError: The server still has the connection, and is to answer on it.
        """
        connection = find_connection(environ)
        try:
            manager = self._choose_manager(connection)
            if manager is not None:
                connection.duplicate()
            websocket = self.make_websocket(
                connection.sock, accepted.protocols, accepted.extensions, environ
            )
            websocket = environ.pop("ws4py.websocket", websocket)
            require_alive(websocket)
            if connection.driver is not None:
                websocket._driver = connection.driver
            if websocket._transport is not None:
                websocket._transport.closes = not connection.is_lent
        except BaseException:
            connection.drop()
            raise
        try:
            self._switch(websocket, connection, accepted)
        except Exception as error:
            if isinstance(error, OSError):
                logger.info("A connection ended before it was opened: %s", error)
            else:
                logger.exception("A websocket could not be opened")
            websocket._take_over()
            websocket.terminate()
            return connection.end()
        if manager is None:
            return self._hold(websocket, connection)
        return self._hand_off(websocket, connection, manager)

    def _switch(self, websocket: WebSocket, connection: Connection, accepted: Accepted) -> None:
        transport, seconds = websocket._transport, websocket.limits.open_timeout
        if transport is not None:
            write_all(transport, build_switch(accepted), seconds)
        websocket._take_over()
        websocket.buf = connection.ahead()

    def _hold(self, websocket: WebSocket, connection: Connection) -> DeadEnd:
        try:
            self._add(websocket)
            websocket.run()
        finally:
            self._discard(websocket)
            dead_end = connection.end()
        return dead_end

    def _add(self, websocket: WebSocket) -> None:
        """Take note that a websocket is about to be opened, unless it has ended already."""
        here = self._here
        with here.changed:
            here.running[id(websocket)] = websocket
            closes = here.is_draining
        if websocket._over:
            self._discard(websocket)
        elif closes:
            go_away(websocket)

    def _discard(self, websocket: WebSocket) -> None:
        self._here.discard(websocket)

    def _hand_off(
        self, websocket: WebSocket, connection: Connection, manager: WebSocketManager
    ) -> DeadEnd:
        try:
            dead_end = connection.replace()
        except OSError:
            logger.exception("A websocket could not be handed off")
            websocket.terminate()
            return connection.end()
        try:
            manager.add(websocket)
        except Exception as error:
            if isinstance(error, RuntimeError):
                logger.info("A connection ended before it was opened: %s", error)
            else:
                logger.exception("A websocket could not be handed off")
            websocket.terminate()
            connection.sock.close()  # in case that it was lent still
        return dead_end

    def _choose_manager(self, connection: Connection) -> WebSocketManager | None:
        """Return what the connection is to be handed off to, None if it is to be held.

        Raises:
            HandshakeError: It can be neither.
        """
        check_open(self._here.is_draining)
        if self.manager is None:
            return None
        if connection.is_gevent:
            text = "under gevent nothing is handed off: this application is to have no manager"
            self._warn_once(text)
            raise HandshakeError(text, 501)
        if not connection.is_plain or os.name != "posix":
            self._warn_once("A connection with TLS, or elsewhere than on POSIX, is held")
            return None
        manager = self.manager
        if not isinstance(manager, WebSocketManager):
            manager = self._make_manager(manager)
        if manager.ident is None:
            self._warn_once("the manager has not been started: until it is, websockets only wait")
        elif not manager.is_alive():
            text = "the manager does not run in this process: give what makes one, or start it here"
            self._warn_once(text)
            raise HandshakeError(text, 503)
        return manager

    def _warn_once(self, text: str) -> None:
        if text not in self._warnings:
            self._warnings.add(text)
            logger.warning(text)

    def _make_manager(self, make: Callable[[], WebSocketManager]) -> WebSocketManager:
        """Return the manager of this process, which runs.

        Raises:
            TypeError: What was to make it has made something else.
        """
        here = self._here
        with here.changed:
            if here.manager is None:
                manager = make()
                if not isinstance(manager, WebSocketManager):
                    raise TypeError(f"{make!r} has made {manager!r}, which is no WebSocketManager")
                # Threads are joined before what is registered below is called.
                manager.daemon = True
                manager.start()
                here.manager = manager
                atexit.register(self.drain)
            return here.manager

    def close_all(self, code: int = 1001, message: str = "Server is shutting down") -> None:
        """Begin the closing handshake of each websocket in this process; do not wait for any.

        What is wrong with one of them does not matter to the others. Those that a manager drives
        which was given ready-made are for that one to close.

        Raises:
            ValueError: No Close frame can have that code.
        """
        close_all(self._here.websockets, code, message)

    def broadcast(self, message: Any, binary: bool = False, compress: bool = True) -> None:
        """Send ``message`` to each websocket in this process, as ``send`` takes it; wait for none.

        Those that a manager drives which was given ready-made are for that one to send to.
        """
        broadcast(self._here.websockets, message, binary, compress)

    def drain(self, seconds: float | None = None) -> None:
        """Close all websockets in this process, as ``close_all()`` does, and wait for their ends.

        No more are accepted. Call it when the process is about to end; in gunicorn's configuration
        file::

            def worker_exit(server, worker):
                from mysite import application
                application.drain()

        A gunicorn worker that *holds* connections comes to that only after its
        ``graceful_timeout``: it waits for them first.

        Args:
            seconds: In which all end: the closes are evenly spread over the first half of that
                time, so that not all clients connect again at once; what is left at its end is
                dropped. By default all are closed at once, and each has its
                ``limits.close_timeout``.

        A callback that does not return after that is not waited for; the log tells of it.

        Raises:
            ValueError: ``seconds`` is negative, or not a number.
        """
        check_drain(seconds)
        here = self._here
        with here.changed:
            here.is_draining = True
        sleep = here.find_sleep()
        if seconds is None:
            longest = longest_close(here.websockets)
            patience = None if longest is None else longest + GRACE
            self.close_all()
        else:
            patience = GRACE  # What has been dropped ends, unless its callback does not return.
            pause = sleep or here.pause
            for between in draining(lambda: here.websockets, seconds):
                pause(between)
        if here.manager is not None:
            here.manager.stop(None if seconds is None else 0)
            here.manager.join(patience)
            atexit.unregister(self.drain)
        here.wait_ended(patience, sleep)
        left = len(here.websockets)
        if left:
            logger.error("Callbacks do not return: %d websockets are left", left)
