"""WebSocketManager: many connections, one thread.

The manager is the driver of its websockets: their callbacks run in its thread, which never waits
for a peer. Nothing is called back under a lock.
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections import deque
from collections.abc import Generator, Iterator
from functools import partial
from logging import getLogger
from threading import Lock, Thread
from types import MethodType
from typing import Any, Callable

from ws4py.draining import check_drain, close_all, draining, longest_close
from ws4py.driver import UNDECIDED, Cancellable, ThreadDriver, Threads
from ws4py.heartbeat import Pulse
from ws4py.loop import Loop, log_or_raise
from ws4py.outgoing import GATHER_TIME
from ws4py.pollers import EPollPoller, KQueuePoller, SelectPoller, make_poller
from ws4py.receiving import DEFAULT_READING_SIZE
from ws4py.sending import broadcast
from ws4py.streaming import Stream
from ws4py.websocket import WebSocket, check_callbacks

__all__ = ["EPollPoller", "KQueuePoller", "SelectPoller", "WebSocketManager"]

logger = getLogger("ws4py")

#: What is logged of an exception that ends a websocket.
_FAILED = "A websocket failed, and is ended"


def _is_patched() -> bool:
    """Say whether gevent is everywhere, so that what waits lets others run."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("select"))


def _is_plain(cls: type[WebSocket]) -> bool:
    """Say whether a class overrides nothing of what drives a connection."""
    return (
        cls.once is WebSocket.once
        and cls.process is WebSocket.process
        and cls.terminate is WebSocket.terminate
    )


def _best_poller() -> Any:
    """Return the best poller that there is; one that waits in the hub where gevent is everywhere.

    That is looked at each time, since gevent may have patched the process meanwhile.
    """
    if _is_patched():
        if not issubclass(WebSocketManager, threading.Thread):
            warnings.warn(
                "gevent has patched threads after ws4py.manager was imported: a manager cannot be "
                "joined; call gevent.monkey.patch_all() first",
                RuntimeWarning,
                stacklevel=3,
            )
        from ws4py import _gevent

        return _gevent.make_poller()
    return make_poller()


class _Websockets(dict[int, WebSocket]):
    """Descriptors and their websockets; iteration is over what was there at its beginning."""

    def __iter__(self) -> Iterator[int]:
        return iter(list(super().keys()))

    def keys(self) -> Any:
        return list(super().keys())

    def values(self) -> Any:
        return list(super().values())

    def items(self) -> Any:
        return list(super().items())


class WebSocketManager(Threads, Thread):
    """Drives the websockets that are added to it.

    Args:
        poller: What polls their descriptors: by default the best of SelectPoller, EPollPoller and
            KQueuePoller that the platform has, or a poller that waits in gevent's hub, if gevent
            has patched ``select``. With an object that has ``register``,
            ``unregister``, ``poll`` and ``release`` alone, writes wait for their peers, and timers
            run after each poll.

    Attributes:
        websockets: A dict of descriptors and their websockets.
        running: Whether it has been started and not been stopped.
        poller: The poller.
        room: What its websockets are read into, by its thread.
    """

    def __init__(self, poller: Any = None) -> None:
        super().__init__(name="WebSocketManager")
        self.lock = Lock()
        self.websockets = _Websockets()
        self.running = False
        self.poller = poller if poller is not None else _best_poller()
        self.loop = Loop(self.poller)
        self.room = memoryview(bytearray(DEFAULT_READING_SIZE))
        self._stopped = self._has_run = self._drained = False
        # Asked for with each message: without a call in between.
        self.get_ident = threading.get_ident  # type: ignore[method-assign]
        self._drain: float | None = None
        # The class of the last one that was added, which most others are of too.
        self._checked: type | None = None
        # Made once, for all websockets.
        self._served = self._serve
        # Whether a callback may be running in the loop's thread.
        self._serving = True
        # Those whose answers wait.
        self._answered: deque[WebSocket] = deque()
        # Where a callback may wait for long while others run, no answer waits for it.
        self._defers = self.loop.polls_writes and not _is_patched()

    def __len__(self) -> int:
        return len(self.websockets)

    def __iter__(self) -> Iterator[WebSocket]:
        return iter(self.websockets.values())

    def __contains__(self, websocket: object) -> bool:
        fd = getattr(websocket, "_fd", -1)
        return self.websockets.get(fd) is websocket and websocket is not None

    def add(self, websocket: WebSocket) -> None:
        """Drive ``websocket``, and call its ``opened`` in this thread unless that has been done.

        From any thread, and before ``start`` too. One that is there already is left alone.

        Raises:
            RuntimeError: The manager has been stopped; or the websocket has ended, is not
                connected yet, or is read by a thread of its own.
            TypeError: It is no websocket, or has a callback that is a coroutine function.
            ValueError, OSError: The poller cannot poll its descriptor.
        """
        if websocket in self:
            return
        if type(websocket) is not self._checked:
            if not isinstance(websocket, WebSocket):
                raise TypeError(f"{websocket!r} is no WebSocket")
            check_callbacks(type(websocket))
            self._checked = type(websocket)
        websocket._take_over()
        sock = websocket.sock
        fault = self._fault_of(websocket)
        if fault:
            raise RuntimeError(f"cannot add a websocket: {fault}")
        websocket._write_deferred()  # by another manager
        fd = sock.fileno()
        with self.lock:
            stale, self.websockets[fd] = self.websockets.get(fd), websocket
            websocket._fd, websocket._driver = fd, self
        if stale is not None:
            stale.terminate()
        self._begin(websocket, fd)

    def _fault_of(self, websocket: WebSocket) -> str:
        """Say why a websocket cannot be driven here; "" if it can be."""
        if self._stopped:
            return "this manager has been stopped"
        if websocket.sock is None:
            return "this websocket has ended"
        if not websocket._connected:
            return "this websocket is not connected yet"
        if websocket._reader not in (None, UNDECIDED):
            return "a thread of its own reads this websocket"
        return ""

    def _begin(self, websocket: WebSocket, fd: int) -> None:
        logger.info("Managing websocket on descriptor %d", fd)
        transport = websocket._transport
        if transport is not None:
            transport.unblock()
            transport.room = self.room
        try:
            # What a partial does, in a quarter of its size.
            self.loop.watch(fd, MethodType(self._served, websocket))
        except (OSError, ValueError):
            self.remove(websocket)
            raise
        if not self.loop.is_current:
            self.loop.want(fd, False, False)
        try:
            websocket._open()
        finally:  # Ctrl-C, too, may leave opened(), and what follows has to end the connection.
            websocket._watched = True
        if websocket._ending:
            self.finish(websocket)
            return
        try:
            self._serve_from_now(websocket)
        except Exception:  # The application may have put something else into an attribute.
            self._terminate(websocket)
            raise

    def _serve_from_now(self, websocket: WebSocket) -> None:
        """Begin with what a websocket whose ``opened`` has returned waits for."""
        websocket._move_timers()
        websocket._settle()  # What has been queued before is ours to drain.
        self._update(websocket)
        if websocket.heartbeat_freq and not websocket._over:
            Pulse(websocket, websocket.heartbeat_freq).schedule()
        if websocket._has_waiting():  # since another manager has had it
            websocket._paused = True
            self._update(websocket)
            self.read_on(websocket)
        elif websocket._pending():
            self.loop.call_soon(partial(self._serve_later, websocket, True))

    def remove(self, websocket: WebSocket) -> None:
        """Drive ``websocket`` no more. Its ``closed`` is not called: it goes on without us."""
        websocket._write_deferred()
        self.release(websocket)
        if websocket._driver is self:
            websocket._driver = ThreadDriver()
            if websocket._transport is not None:
                websocket._transport.room = None
            # What it has queued goes out with what is sent next.
            websocket._watched = websocket._draining = websocket._paused = False
            websocket._move_timers()

    def _serve_later(self, websocket: WebSocket, readable: bool) -> None:
        if self.websockets.get(websocket._fd) is websocket:  # still
            self._serve(websocket, readable, False)

    def _serve(self, websocket: WebSocket, readable: bool, writable: bool) -> None:
        """Let a websocket write and read, now that its descriptor is ready."""
        try:
            if websocket._draining or websocket._paused or not websocket._reads_only:
                goes_on = self._write_and_read(websocket, readable)
            else:
                goes_on = websocket.once()
        except BaseException as error:  # noqa: BLE001 - an application's
            goes_on = False
            log_or_raise(error, _FAILED)
        if goes_on:
            if not websocket._reads_only or websocket._draining or websocket._paused:
                self._update(websocket)
        elif not websocket._over:
            self._terminate(websocket)

    def _terminate(self, websocket: WebSocket) -> None:
        """End a websocket while no callback runs in this thread."""
        serving, self._serving = self._serving, False
        try:
            websocket.terminate()
        except Exception:
            logger.exception("A websocket's own terminate() failed")
            websocket._end()
        finally:
            self._serving = serving

    def _write_and_read(self, websocket: WebSocket, readable: bool) -> bool:
        if websocket._draining and not websocket._writable():
            return False
        if websocket._paused and not websocket._read_on():
            return False
        if websocket._paused or not websocket._watched:
            return True
        # A read of TLS may have had to wait until its socket could be written.
        return not (readable or websocket._is_secure) or websocket.once()

    def _update(self, websocket: WebSocket) -> None:
        """Poll for what a websocket waits for now."""
        with self.lock:  # What is looked at holds until it is wanted.
            transport = websocket._transport
            if transport is None or websocket not in self:
                return
            reads = websocket._watched and not websocket._paused
            wanted = transport.interest(reads, websocket._draining)
            self.loop.want(websocket._fd, *wanted)
            websocket._reads_only = wanted == (True, False) and not transport.holds_more

    # What a Driver does.

    def may_wait(self) -> bool:
        """Say whether the current thread may wait for a peer: the loop's thread may not."""
        if not self.loop.polls_writes:
            return True
        return self.loop.running and not self.loop.is_current

    def drain(self, websocket: WebSocket) -> None:
        """Write what a websocket has queued, as its peer takes it."""
        if not self.loop.polls_writes:
            ThreadDriver().drain(websocket)
            return
        self._update(websocket)
        websocket._time_drain(self)

    def defers(self, websocket: WebSocket) -> bool:
        """Say whether the loop is at ``websocket``, as others may be ready too.

        Its class may do something to the connection where ours would have written its answers.
        """
        loop = self.loop
        return (
            self._defers
            and loop.quick
            and loop.serves == websocket._fd
            and loop.is_current
            and _is_plain(type(websocket))
        )

    def answered(self, websocket: WebSocket) -> None:
        """Send what has gathered once others have been served, or a millisecond later.

        A client on this host that one write wakes, such as a proxy, is awake for all the others.
        """
        if self.defers(websocket):
            self.loop.call_afterwards(self._flush_all, GATHER_TIME)
            self._answered.append(websocket)
        else:
            websocket.flush()

    def keep_time(self) -> None:
        """Send what has waited for a millisecond."""
        if self.loop.is_current:
            self.loop.keep_time()

    def _flush_all(self) -> None:
        try:
            while self._answered:
                self._flush(self._answered.popleft())
        finally:  # Ctrl-C may have come between two of them.
            if self._answered:
                self.loop.call_afterwards(self._flush_all, 0)

    def _flush(self, websocket: WebSocket) -> None:
        try:
            if websocket._busy in (None, self.get_ident()):  # else it is served elsewhere by now
                websocket.flush()
        except BaseException as error:  # noqa: BLE001 - an application's
            log_or_raise(error, _FAILED)
            self._terminate(websocket)

    def read_on(self, websocket: WebSocket) -> None:
        """Go on with what has had to wait, in the loop's next turn."""
        self.loop.call_soon(partial(self._serve_later, websocket, False))

    def drains_here(self, websocket: WebSocket) -> bool:
        """Say whether the current thread has to write: the loop does, unless it cannot."""
        return not self.loop.polls_writes

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Cancellable:
        """Call ``callback`` in the manager's thread, in ``seconds`` seconds."""
        return self.loop.call_later(seconds, callback)

    def may_close(self, websocket: WebSocket) -> bool:
        """Say whether this thread may close a websocket's descriptor."""
        return not self.loop.running or self.loop.is_current

    def finish(self, websocket: WebSocket) -> None:
        """End a websocket, in the manager's thread if that runs; after the callback it is in."""
        if not websocket._watched and websocket in self:
            return  # It is in opened(), and add() sees to it.
        if self.loop.running and (self._serving or not self.loop.is_current):
            self.loop.call_soon(partial(self._finish, websocket, websocket.stream))
        else:
            websocket._finish()

    def _finish(self, websocket: WebSocket, stream: Stream | None) -> None:
        if websocket.stream is stream:  # else ``closed`` has been called, and has connected again
            websocket._finish()

    def release(self, websocket: WebSocket) -> None:
        """Forget a websocket, whose descriptor is about to be closed."""
        if websocket._heartbeat is not None:
            websocket._heartbeat.cancel()
        with self.lock:
            if websocket not in self:
                return
            del self.websockets[websocket._fd]
        self.loop.unwatch(websocket._fd)
        if websocket._transport is None and not websocket._over:
            websocket._end()  # close_connection() has been called, and nobody would read the end.

    def run(self) -> None:
        """Serve until :meth:`stop`; what ``start`` runs in the manager's thread."""
        self.running = not self._stopped
        self._has_run = True
        try:
            self.loop.run(lambda: not self._stopped)
        finally:
            self.running = False
            if self._stopped:
                self._shut_down()

    def _is_closing(self) -> bool:
        return any(websocket.close_sent for websocket in self)

    def stop(self, drain: float | None = None) -> None:
        """Take no more websockets, and end.

        Those that are closing have until their ``limits.close_timeout``; the others are terminated.
        ``closed`` has been called for each when ``join`` returns; if the manager does not run,
        when this does. Only the first call matters.

        Args:
            drain: Seconds in which all are ended instead: they are closed with 1001, evenly
                spread over the first half of that time, and dropped at its end. 0 does both at
                once, as a manager that does not run always does.

        Raises:
            ValueError: ``drain`` is negative, or not a number.
        """
        check_drain(drain)
        if not self._stopped:
            self._drain = drain
        self._stopped = True
        self.running = False
        if self.loop.running or self.is_alive():
            self.loop.wake()
        else:
            self._shut_down()

    def _shut_down(self) -> None:
        if self._drain is not None:
            self._take_step(draining(lambda: self, self._drain if self._has_run else 0))
            self.loop.run(lambda: not self._drained)
        elif self._has_run:
            seconds = longest_close(self)
            if seconds is not None:
                self.loop.call_later(seconds, partial(setattr, self, "_drained", True))
            self.loop.run(lambda: not self._drained and self._is_closing())
        for websocket in self:
            self._terminate(websocket)
        self.loop.close()

    def _take_step(self, steps: Generator[float, None, None]) -> None:
        seconds = next(steps, None)
        if seconds is None:
            self._drained = True
        else:
            self.loop.call_later(seconds, partial(self._take_step, steps))

    def close_all(self, code: int = 1001, message: str = "Server is shutting down") -> None:
        """Begin the closing handshake of each websocket; do not wait for any.

        What is wrong with one of them does not matter to the others.

        Raises:
            ValueError: No Close frame can have that code.
        """
        close_all(self, code, message)

    def broadcast(self, message: Any, binary: bool = False, compress: bool = True) -> None:
        """Send ``message`` to each websocket, as ``send`` takes it; wait for none.

        What is wrong with one of them does not matter to the others.
        """
        broadcast(self, message, binary, compress)
