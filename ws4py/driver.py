"""Drivers: who moves a connection's bytes, and which thread may wait.

A loop drives many connections from one thread; it is the driver of each of them. A connection
that no loop drives has a thread of its own, and ThreadDriver.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from functools import partial
from logging import getLogger
from operator import attrgetter
from typing import Any, Callable, Protocol

from ws4py.heartbeat import Heartbeat

__all__ = [
    "STARTED",
    "UNDECIDED",
    "Cancellable",
    "Driver",
    "Keeper",
    "ThreadDriver",
    "Threads",
    "Visitors",
    "Waiter",
    "broadcasting",
    "is_broadcasting",
]

logger = getLogger("ws4py")

# Of a thread, a task or a greenlet.
_is_broadcast: ContextVar[bool] = ContextVar("_is_broadcast", default=False)
is_broadcasting = _is_broadcast.get


@contextmanager
def broadcasting() -> Iterator[None]:
    """Let nothing here wait for a peer meanwhile, unless the policy of that one is to wait."""
    before = _is_broadcast.set(True)
    try:
        yield
    finally:
        _is_broadcast.reset(before)


#: In place of the thread that reads a connection: somebody is about to say who does, or has started
#: it. It will see to the end, should that come before.
UNDECIDED, STARTED = -1, -2

#: What wakes a thread that waits, and what it calls in order to wait.
Waiter = tuple[Callable[[], object], Callable[[], object]]


class Cancellable(Protocol):
    """What ``call_later`` returns."""

    def cancel(self) -> None:
        """See that the call is not made, if it has not been made yet."""


class Driver(Protocol):
    """What a WebSocket asks of whoever drives it.

    Attributes:
        no_pings: Why it cannot send Pings and Pongs, if that is so.
    """

    no_pings: str | None

    def get_ident(self) -> int:
        """Return the number of the current thread, or of what takes its place."""

    def may_wait(self) -> bool:
        """Say whether the current thread may wait for a peer."""

    def make_waiter(self) -> Waiter:
        """Return what wakes the current thread, from any other, and what it waits in for that."""

    def gathers(self, websocket: Any) -> None:
        """Called when a callback sends what is to gather, and nothing has gathered yet."""

    def defers(self, websocket: Any) -> bool:
        """Say whether what gathers is to be sent when others have been served, too."""

    def answered(self, websocket: Any) -> None:
        """Call ``websocket.flush``, now or soon.

        Called once messages that came together have been handled, and answers have gathered. A
        driver that defers it calls ``websocket._write_deferred`` when it lets go of it before.
        """

    def keep_time(self) -> None:
        """Called now and then while messages that came together are handled."""

    def give_way(self) -> None:
        """Let others run, in a thread that may wait: what it does may be done for ever."""

    def find_sleep(self) -> Callable[[float], object] | None:
        """Return what waits for some seconds in the current thread, and lets others run there.

        None if no others are to run there: the thread may be made to wait in any way.
        """

    def read_on(self, websocket: Any) -> None:
        """Call ``websocket._read_on`` in the next turn, where the current thread may not wait."""

    def drain(self, websocket: Any) -> None:
        """See to it that what ``websocket`` has queued is written.

        Called once when the kernel refuses bytes: ``websocket._advance``, which a loop calls by
        ``websocket._writable``, is to be called until it returns True.
        """

    def drains_on(self, websocket: Any) -> None:
        """Called when more is queued than it was asked to drain: give up what it never will."""

    def drains_here(self, websocket: Any) -> bool:
        """Say whether the current thread is the one that has to write what is queued."""

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Cancellable:
        """Call ``callback`` in ``seconds`` seconds."""

    def beating(self, websocket: Any) -> AbstractContextManager[Any]:
        """Return what keeps the heartbeat of a websocket that is read by ``run`` meanwhile."""

    def may_close(self, websocket: Any) -> bool:
        """Say whether this thread may close the descriptor: no other one reads it."""

    def finish(self, websocket: Any) -> None:
        """Call ``websocket._finish``, on the thread that reads it if there is one."""

    def release(self, websocket: Any) -> None:
        """Forget ``websocket``, whose descriptor is about to be closed."""

    def ended(self, websocket: Any) -> None:
        """Called when the ``closed`` of ``websocket`` has returned."""


class Keeper(Protocol):
    """Who else is told of a connection: what has made it, and does not drive it."""

    def _add(self, websocket: Any) -> None:
        """Called before ``opened``."""

    def _discard(self, websocket: Any) -> None:
        """Called when ``closed`` has returned, and all been let go of."""


class Threads:
    """Who waits is a thread, and the heartbeat is one.

    What threads are is looked up when it is used: gevent may replace it later.
    """

    no_pings: str | None = None

    def get_ident(self) -> int:
        """Return the number of the current thread."""
        return threading.get_ident()

    def gathers(self, websocket: Any) -> None:
        """Do nothing: who runs a callback sends what has gathered when that has returned."""

    def defers(self, websocket: Any) -> bool:
        """Say no: there are no others."""
        return False

    def answered(self, websocket: Any) -> None:
        """Do it now."""
        websocket.flush()

    def keep_time(self) -> None:
        """Do nothing: nobody waits."""

    def give_way(self) -> None:
        """Sleep for no time."""
        time.sleep(0)

    def find_sleep(self) -> Callable[[float], object] | None:
        """Return None: who waits is a thread."""
        return None

    def read_on(self, websocket: Any) -> None:
        """Do nothing: who may wait goes on by itself."""

    def drains_on(self, websocket: Any) -> None:
        """Do nothing: it will."""

    def make_waiter(self) -> Waiter:
        """Return a lock's methods: what waits is the lock's second taker."""
        lock = threading.Lock()
        lock.acquire()
        return lock.release, lock.acquire

    def beating(self, websocket: Any) -> AbstractContextManager[Any]:
        """Return a thread that beats."""
        return Heartbeat(websocket, websocket.heartbeat_freq)

    def ended(self, websocket: Any) -> None:
        """Do nothing."""


class Visitors:
    """The threads that are at work on a connection, or wait for it, without holding its lock.

    As long as there are some, the connection becomes no other one: what they do to it next would
    happen to that. ``enter`` and the like are called under the lock.
    """

    __slots__ = ("_idents", "_lock")

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        # Seldom there are any, and of an empty tuple there is only one.
        self._idents: tuple[int, ...] = ()

    @contextmanager
    def visit(self, ident: int) -> Iterator[None]:
        """Let the thread with that number be a visitor meanwhile."""
        with self._lock:
            self.enter(ident)
        try:
            yield
        finally:
            with self._lock:
                self.leave(ident)

    def enter(self, ident: int) -> None:
        """Add a visitor."""
        self._idents += (ident,)

    def leave(self, ident: int) -> None:
        """Remove a visitor that has entered, unless it has left for good since."""
        if ident in self._idents:
            at = self._idents.index(ident)
            self._idents = self._idents[:at] + self._idents[at + 1 :]

    def leave_for_good(self, ident: int) -> None:
        """Remove a visitor: it does nothing more to the connection."""
        self._idents = tuple(each for each in self._idents if each != ident)

    def wait_for_others(self, driver: Driver) -> None:
        """Give way, without the lock, until there is no visitor but the current thread."""
        while self._idents and any(each != driver.get_ident() for each in self._idents):
            self._lock.release()
            try:
                driver.give_way()
            finally:
                self._lock.acquire()


class _Timer:
    """A call at a certain time."""

    def __init__(self, timers: _Timers, seconds: float, callback: Callable[[], object]) -> None:
        self._timers = timers
        self.due = time.monotonic() + seconds
        self.callback = callback

    def cancel(self) -> None:
        """See that the call is not made."""
        self._timers.discard(self)


class _Timers:
    """The timers of all connections without a loop: one thread waits for them, while there are any.

    Each call is made in a thread of its own: an application's callback may take its time.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._timers: set[_Timer] = set()
        self._runs = False

    def add(self, seconds: float, callback: Callable[[], object]) -> _Timer:
        """Call ``callback`` in ``seconds`` seconds."""
        timer = _Timer(self, seconds, callback)
        with self._changed:
            if not self._runs:
                threading.Thread(target=self._run, name="Timers", daemon=True).start()
                self._runs = True
            self._timers.add(timer)
            self._changed.notify()
        return timer

    def discard(self, timer: _Timer) -> None:
        """Forget ``timer``."""
        with self._changed:
            self._timers.discard(timer)
            self._changed.notify()

    def _run(self) -> None:
        with self._changed:
            try:
                while self._timers:
                    self._wait_or_call()
            finally:
                self._runs = False

    def _wait_or_call(self) -> None:
        first = min(self._timers, key=attrgetter("due"))
        seconds = first.due - time.monotonic()
        if seconds > 0:
            self._changed.wait(min(seconds, threading.TIMEOUT_MAX))
        else:
            self._timers.discard(first)
            self._call(first.callback)

    def _call(self, callback: Callable[[], object]) -> None:
        try:
            threading.Thread(target=callback, daemon=True).start()
        except RuntimeError:  # There can be no more threads: the other timers have to wait.
            logger.exception("There is no thread for a timer's call")
            callback()


_timers = _Timers()
if hasattr(os, "register_at_fork"):  # A thread does not survive a fork.
    os.register_at_fork(after_in_child=partial(_Timers.__init__, _timers))


class ThreadDriver(Threads):
    """Drives a connection that a thread reads in ``WebSocket.run``, or that nobody reads.

    Who sends waits until the kernel has taken all of it; but the thread that reads goes on with
    that, and writes meanwhile: the peer may be waiting for it to read.
    """

    def may_wait(self) -> bool:
        return True

    def drain(self, websocket: Any) -> None:
        if self.drains_here(websocket):
            return
        if websocket._may_wait():
            websocket._write_out()
        else:
            threading.Thread(target=websocket._write_out, daemon=True).start()

    def drains_here(self, websocket: Any) -> bool:
        return bool(websocket._reader == self.get_ident())

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Cancellable:
        return _timers.add(seconds, callback)

    def may_close(self, websocket: Any) -> bool:
        here = (None, self.get_ident())
        return websocket._reader in here and websocket._busy in here

    def finish(self, websocket: Any) -> None:
        transport = websocket._transport  # which may become None meanwhile
        if self.may_close(websocket):
            websocket._finish()
        elif transport is not None:
            transport.shutdown()

    def release(self, websocket: Any) -> None:
        pass
