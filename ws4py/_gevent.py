"""The gevent engine, for both roles, whether or not the standard library has been patched.

A connection has one greenlet, which waits in the hub of its thread for what the peer sends. What
is queued is written by another greenlet, which ends when it has done that. A write never waits, so
no greenlet is switched while a lock is held, and any thread may write; but a thread without that
hub leaves all waiting, timers and the closing of descriptors to it.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Callable

import gevent
import gevent.socket
import gevent.ssl
from gevent import getcurrent
from gevent.event import Event
from gevent.monkey import get_original

from ws4py import pollers
from ws4py.driver import ThreadDriver, Waiter
from ws4py.heartbeat import Pulse
from ws4py.pollers import EPollPoller, Ready
from ws4py.transport import KINDS, PlainTransport, TLSTransport, Transport

__all__ = [
    "GreenletDriver",
    "HubPoller",
    "PlainHubTransport",
    "TLSHubTransport",
    "make_poller",
    "wrap_socket",
]

_thread_ident = get_original("_thread", "get_ident")
_make_lock = get_original("_thread", "allocate_lock")

_WAITS = {
    (True, False): gevent.socket.wait_read,
    (False, True): gevent.socket.wait_write,
    (True, True): gevent.socket.wait_readwrite,
}


#: On PyPy a call of another thread's may be made before gevent counts it; and a loop that counts
#: nothing else would end.
_COUNTS_LATE = sys.implementation.name == "pypy"


def let_others_run() -> None:
    """Let the hub take a turn.

    After ``sleep(0)`` it may do so fifty times before it looks at descriptors; after a time, not.
    """
    gevent.sleep(1e-9)


class HubTransport(Transport):
    """Waits in the hub: only the greenlet waits."""

    # Whether this greenlet has let others run since it last read.
    _waited = True

    def read(self, size: int) -> bytes | None:
        if self._blocks and not self._waited:
            let_others_run()  # A peer that sends without end would keep them from it.
        self._waited = False
        return super().read(size)

    def _shut(self, how: int) -> None:
        with suppress(OSError):
            gevent.socket.socket.shutdown(self.sock, how)

    def wait(self, reads: bool, writes: bool, timeout: float | None) -> tuple[bool, bool]:
        wanted = self.interest(reads, writes)
        self._waited = True
        try:
            _WAITS[wanted](self.fileno(), timeout)
        except socket.timeout:
            return False, False
        return wanted


class PlainHubTransport(HubTransport, PlainTransport):
    """A socket of gevent without TLS."""


class TLSHubTransport(HubTransport, TLSTransport):
    """A socket of gevent with TLS."""

    def _read_below(self, size: int) -> bytes:
        return bytes(gevent.socket.socket.recv(self.sock, size))


KINDS[gevent.ssl.SSLSocket] = TLSHubTransport
KINDS[gevent.socket.socket] = PlainHubTransport


def wrap_socket(context: Any, sock: Any, **options: Any) -> Any:
    """Do what ``context.wrap_socket`` does, but no handshake.

    Args:
        context: Of gevent's, or of the ssl module, even where that has not been patched.
    """
    options["do_handshake_on_connect"] = False
    wrapped = gevent.ssl.SSLSocket(sock=sock, _context=context, **options)
    if not isinstance(context, gevent.ssl.SSLContext):
        wrapped._sslobj.owner = wrapped  # what a sni_callback is called with
    return wrapped


class Call:
    """A call at a certain time, in a greenlet of its own."""

    def __init__(
        self, driver: GreenletDriver, seconds: float, callback: Callable[[], object]
    ) -> None:
        self._driver = driver
        self._seconds = seconds
        self._callback: Callable[[], object] | None = callback
        self._timer: Any = None
        driver.call_here(self._start)

    def _start(self) -> None:
        if self._callback is not None:
            self._timer = self._driver.hub.loop.timer(self._seconds)
            self._timer.start(self._call)

    def _call(self) -> None:
        callback, self._callback = self._callback, None
        self._stop()
        if callback is not None:
            gevent.spawn(callback)

    def cancel(self) -> None:
        """See that the call is not made."""
        self._callback = None
        self._driver.call_here(self._stop)

    def _stop(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.close()


class GreenletDriver(ThreadDriver):
    """Drives a connection that a greenlet of the current thread reads in ``WebSocket.run``."""

    def __init__(self) -> None:
        self.hub = gevent.get_hub()

    @property
    def _is_here(self) -> bool:
        """Whether this is the thread of the hub."""
        return bool(self.hub.thread_ident == _thread_ident())

    def call_here(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call what does not wait in the thread of the hub: now, if this is it."""
        if self._is_here:
            function(*arguments)
        elif _COUNTS_LATE:
            self.hub.loop.ref()
            self.hub.loop.run_callback_threadsafe(self._call_counted, function, *arguments)
        else:
            self.hub.loop.run_callback_threadsafe(function, *arguments)

    def _call_counted(self, function: Callable[..., object], *arguments: Any) -> None:
        self.hub.loop.unref()
        function(*arguments)

    def get_ident(self) -> int:
        """Return what tells the current greenlet from others."""
        return id(getcurrent())

    def may_wait(self) -> bool:
        """Say whether the current greenlet may wait: the hub may not."""
        return getcurrent() is not self.hub

    def make_waiter(self) -> Waiter:
        """Return what wakes a greenlet, or a thread without the hub."""
        if not self._is_here:
            lock = _make_lock()
            lock.acquire()
            return lock.release, lock.acquire
        event = Event()
        return partial(self.call_here, event.set), event.wait

    @contextmanager
    def beating(self, websocket: Any) -> Iterator[None]:
        """Beat by timers of the hub."""
        if websocket.heartbeat_freq:
            Pulse(websocket, websocket.heartbeat_freq).schedule()
        try:
            yield
        finally:
            if websocket._heartbeat is not None:
                websocket._heartbeat.cancel()

    def gathers(self, websocket: Any) -> None:
        """Send what gathers when the callback lets others run: it may do so for long."""
        self.hub.loop.run_callback(websocket.flush)

    def give_way(self) -> None:
        """Let other greenlets run, or other threads."""
        if self._is_here:
            let_others_run()
        else:
            super().give_way()

    def find_sleep(self) -> Callable[[float], object] | None:
        """Return what waits in the hub, if this is its thread."""
        return gevent.sleep if self._is_here else None

    def drain(self, websocket: Any) -> None:
        """Write what is queued, in a greenlet of its own."""
        self.call_here(gevent.spawn, websocket._write_out)

    def drains_here(self, websocket: Any) -> bool:
        """Say that the current greenlet does not have to write what is queued."""
        return False

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Call:
        """Call ``callback`` in a greenlet of the hub's thread, in ``seconds`` seconds."""
        return Call(self, seconds, callback)

    def may_close(self, websocket: Any) -> bool:
        """Say whether this greenlet may close the descriptor."""
        return self._is_here and super().may_close(websocket)

    def finish(self, websocket: Any) -> None:
        """End a websocket in the greenlet that reads it, or in one of its thread."""
        if self._is_here:
            super().finish(websocket)
        else:
            self.call_here(gevent.spawn, self._finish, websocket, websocket.stream)

    def _finish(self, websocket: Any, stream: Any) -> None:
        if websocket.stream is stream:  # else ``closed`` has been called, and has connected again
            super().finish(websocket)


class HubPoller(EPollPoller):
    """Polls with the ``epoll`` that gevent has taken out of ``select``, and waits in the hub.

    Args:
        timeout: Seconds that :meth:`poll` waits.
    """

    def __init__(self, timeout: float | None = 0.1) -> None:
        self.timeout = timeout
        self.poller = get_original("select", "epoll")()

    def poll_events(self, timeout: float | None = None) -> list[Ready]:
        """Poll once, for ``timeout`` seconds at most (None: no limit); let greenlets run."""
        ready = super().poll_events(0)
        if ready or timeout == 0:
            let_others_run()
            return ready
        try:
            gevent.socket.wait_read(self.poller.fileno(), timeout)
        except socket.timeout:
            return []
        except ValueError:
            return []  # It has been closed meanwhile.
        return super().poll_events(0)


def make_poller() -> Any:
    """Return the best poller for a process whose ``select`` is gevent's."""
    with suppress(AttributeError):
        return HubPoller()
    return pollers.make_poller()
