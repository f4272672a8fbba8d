"""Loop: one thread that serves descriptors, timers and calls from elsewhere.

Everything may be called from any thread. The lock guards the poller's registrations only: it is
held neither while polling nor while anything is called back.
"""

from __future__ import annotations

import socket
import threading
from collections import deque
from contextlib import suppress
from heapq import heapify, heappop, heappush
from logging import getLogger
from time import monotonic
from typing import Any, Callable

__all__ = ["Loop", "Timer", "ends_program", "log_or_raise"]

logger = getLogger("ws4py")

#: Called with whether its descriptor can be read, and whether it can be written.
Watcher = Callable[[bool, bool], object]

#: Whether a descriptor is to be read, and to be written: the same pairs for all of them.
_PAIRS = {(r, w): (r, w) for r in (False, True) for w in (False, True)}
_NONE = _PAIRS[False, False]

#: Seconds; no platform can be asked to poll for a month.
_LONGEST_POLL = 3600.0

#: A descriptor's turn that takes longer than that is slow, and calls that could be made
#: afterwards are better made at once for a while; in seconds.
_SLOW, _A_WHILE = 0.02, 10.0


def ends_program(error: BaseException) -> bool:
    """Say whether an exception is Ctrl-C or ``sys.exit()``, in the main thread.

    In another thread it would end that thread alone, and all that it serves.
    """
    is_exit = isinstance(error, (KeyboardInterrupt, SystemExit))
    return is_exit and threading.current_thread() is threading.main_thread()


def log_or_raise(error: BaseException, what: str = "An exception in the loop") -> None:
    """Log an exception, with ``what`` before it; raise one that ends the program."""
    if ends_program(error):
        raise error
    logger.error(what, exc_info=error)


class Timer:
    """A call at a certain time."""

    __slots__ = ("_loop", "callback", "due")

    def __init__(self, loop: Loop, due: float, callback: Callable[[], object]) -> None:
        self._loop = loop
        self.due = due
        self.callback: Callable[[], object] | None = callback

    def __lt__(self, other: Timer) -> bool:
        return self.due < other.due

    def cancel(self) -> None:
        """See that the call is not made."""
        if self.callback is not None:
            self.callback = None
            self._loop._cancelled += 1


class Loop:
    """See the module.

    Args:
        poller: One of ours; or an object with ``register``, ``unregister``, ``poll`` and
            ``release`` alone, which then says how long a turn takes, and nothing of writing.
    """

    def __init__(self, poller: Any) -> None:
        self.poller = poller
        #: Whether the poller can tell when a descriptor can be written.
        self.polls_writes = hasattr(poller, "poll_events")
        self._lock = threading.Lock()
        self._watchers: dict[int, Watcher] = {}
        self._interests: dict[int, tuple[bool, bool]] = {}
        self._timers: list[Timer] = []
        self._cancelled = 0
        self._calls: deque[Callable[[], object]] = deque()
        #: The descriptor whose turn it is, of those that are ready; else None.
        self.serves: int | None = None
        # What is called after the last of them, or between two of them once that is due.
        self._afterwards: Callable[[], object] | None = None
        self._due = self._looked = 0.0
        #: Whether no turn of a descriptor has taken long lately, as far as one has waited for it.
        self.quick = True
        self._thread: int | None = None
        self._closed = False
        self._awake, self._waker = socket.socketpair()
        for end in (self._awake, self._waker):
            end.setblocking(False)
        self.watch(self._awake.fileno(), self._wakened)

    @property
    def running(self) -> bool:
        """Whether a thread is in :meth:`run`."""
        return self._thread is not None

    @property
    def is_current(self) -> bool:
        """Whether this thread is the one in :meth:`run`."""
        return self._thread == threading.get_ident()

    def watch(self, fd: int, watcher: Watcher, read: bool = True, write: bool = False) -> None:
        """Call ``watcher`` whenever ``fd`` is ready for what is wanted of it.

        One that is watched already has been closed meanwhile, and its number used again; unless it
        has been handed on.
        """
        if fd in self._watchers:
            self.unwatch(fd)
        self._watchers[fd] = watcher
        try:
            self.want(fd, read, write)
        except BaseException:
            del self._watchers[fd]
            raise

    def want(self, fd: int, read: bool, write: bool) -> None:
        """Say what is wanted of a descriptor that is watched."""
        with self._lock:
            wanted, was = _PAIRS[read, write], self._interests.get(fd, _NONE)
            if wanted == was or fd not in self._watchers:
                return
            # First, so that an exception of a signal's handler leaves no wrong note behind.
            self._interests[fd] = wanted
            try:
                self._register(fd, wanted, was)
            except Exception:
                self._interests[fd] = was
                raise
        self._wake_other()

    def _register(self, fd: int, wanted: tuple[bool, bool], was: tuple[bool, bool]) -> None:
        if not self.polls_writes:
            wanted, was = (wanted[0], False), (was[0], False)
        if not any(wanted):
            self.poller.unregister(fd)
        elif not self.polls_writes:
            self.poller.register(fd)
        elif not any(was):
            self.poller.register(fd, *wanted)
        else:
            self.poller.modify(fd, *wanted)

    def unwatch(self, fd: int) -> None:
        """Forget ``fd``, before it is closed."""
        with self._lock:
            self._watchers.pop(fd, None)
            if any(self._interests.pop(fd, ())):
                self.poller.unregister(fd)
        self._wake_other()

    def hand_on(self, fd: int, take: Callable[[], object]) -> None:
        """Call ``take``, which is to watch ``fd`` in place of whoever does now.

        It stays in the poller meanwhile. For the loop's thread, in which nothing is polled then.
        """
        self._watchers.pop(fd, None)
        try:
            take()
        finally:
            if fd not in self._watchers:
                self.unwatch(fd)

    def call_afterwards(self, callback: Callable[[], object], seconds: float) -> None:
        """Call ``callback`` once all descriptors that are ready have had their turn.

        It is called sooner if they take longer than ``seconds``. There is one at a time: what is
        to be called already stays. For the loop's thread, while it :attr:`serves`.
        """
        if self._afterwards is None:
            self._looked = monotonic()
            self._afterwards, self._due = callback, self._looked + seconds

    def keep_time(self) -> None:
        """Make a call of ``call_afterwards`` that is due; for the loop's thread."""
        if self._afterwards is None:
            return
        before, self._looked = self._looked, monotonic()
        if self._looked - before > _SLOW and self.quick:
            self.quick = False
            self.call_later(_A_WHILE, self._calm_down)
        if self._looked > self._due:
            self._call_afterwards()

    def _calm_down(self) -> None:
        self.quick = True

    def _call_afterwards(self) -> None:
        callback, self._afterwards = self._afterwards, None
        if callback is not None:
            self.call(callback)

    def call_soon(self, callback: Callable[[], object]) -> None:
        """Call ``callback`` at the end of this turn."""
        self._calls.append(callback)
        self._wake_other()

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call ``callback`` in ``seconds`` seconds, after what can be read by then."""
        timer = Timer(self, monotonic() + seconds, callback)
        with self._lock:
            if self._cancelled > 64 and self._cancelled > len(self._timers) // 2:
                timers = [each for each in self._timers if each.callback is not None]
                heapify(timers)  # before the loop's thread sees it
                self._timers, self._cancelled = timers, 0
            heappush(self._timers, timer)
            is_next = self._timers[0] is timer
        if is_next:
            self._wake_other()
        return timer

    def wake(self) -> None:
        """End the poll that is going on."""
        with suppress(OSError):
            self._waker.send(b"\0")

    def _wake_other(self) -> None:
        if not self.is_current:
            self.wake()

    def _wakened(self, _readable: bool, _writable: bool) -> None:
        with suppress(BlockingIOError):
            while self._awake.recv(4096):
                pass

    def run(self, going: Callable[[], bool]) -> None:
        """Serve, in this thread, as long as ``going()`` says so after each turn.

        Raises:
            RuntimeError: Another thread does so.
        """
        if self._thread not in (None, threading.get_ident()):
            raise RuntimeError("this loop is run by another thread")
        outermost, self._thread = self._thread is None, threading.get_ident()
        try:
            self._call_afterwards()  # which whoever runs it within a turn might wait for
            while going():
                self._turn()
        finally:
            self.serves = None
            try:
                self._call_afterwards()
            finally:
                if outermost:
                    self._thread = None

    def _turn(self) -> None:
        for fd, readable, writable in self._poll():
            self.serves = fd
            watcher = self._watchers.get(fd)
            if watcher is not None:
                try:
                    watcher(readable, writable)
                except BaseException as error:  # noqa: BLE001 - an application's
                    log_or_raise(error)
                if self._afterwards is not None:
                    self.keep_time()
        self.serves = None
        self._call_afterwards()
        self._call_timers()
        for _ in range(len(self._calls)):
            self.call(self._calls.popleft())

    def call(self, callback: Callable[[], object]) -> None:
        """Call ``callback`` now; log an exception that it raises."""
        try:
            callback()
        except BaseException as error:  # noqa: BLE001 - an application's
            log_or_raise(error)

    def _poll(self) -> Any:
        if not self.polls_writes:
            return [(fd, True, False) for fd in self.poller.poll()]
        return self.poller.poll_events(self._timeout())

    def _timeout(self) -> float | None:
        if self._calls:
            return 0
        timers = self._timers  # Only this thread takes any out.
        if not timers:
            return None
        return min(max(0, timers[0].due - monotonic()), _LONGEST_POLL)

    def _call_timers(self) -> None:
        if not self._timers:
            return
        now = monotonic()
        while True:
            with self._lock:
                if not self._timers or self._timers[0].due > now:
                    return
                timer = heappop(self._timers)
                callback, timer.callback = timer.callback, None
                self._cancelled -= callback is None
            if callback is not None:
                self.call(callback)

    def close(self) -> None:
        """Let go of the poller and of what wakes it. Nothing can be watched any more."""
        if self._closed:
            return
        self._closed = True
        for _ in range(len(self._calls)):
            self.call(self._calls.popleft())
        self.unwatch(self._awake.fileno())
        self._watchers.clear()
        self._timers.clear()
        self.poller.release()
        self._awake.close()
        self._waker.close()
