"""The asyncio engine, for both roles, on any loop: asyncio's own, uvloop, Tornado's.

The loop's transport moves the bytes. Its buffer holds no more than what the kernel has refused of
one write: from then on it refuses too, as a socket would, and what is sent is queued where every
engine queues it. Off the loop's thread it refuses everything, so that the loop sends it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from threading import get_ident
from typing import Any, Callable

from ws4py._group import WebSockets, wait_in, wake
from ws4py.draining import go_away
from ws4py.driver import Threads, Waiter
from ws4py.heartbeat import Pulse
from ws4py.transport import Data, Transport
from ws4py.websocket import WebSocket

__all__ = [
    "Connection",
    "LoopTransport",
    "Timer",
    "WebSockets",
    "call_soon",
    "wake",
]

#: Bytes that a loop's transport is given at once: a peer that takes this many shows progress.
CHUNK = 64 * 1024
#: Seconds without a byte, after which a peer that has been told of the end is taken to be silent.
QUIET = 0.25
#: Seconds after which a thread that waits looks whether the loop has been closed: nothing tells it.
LOOK = 1.0

_CLOSED = "its loop has been closed"


def call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
    """Call ``callback`` in the loop's next turn; here and now if the loop has been closed."""
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:
        if not loop.is_closed():
            raise
        callback()


class Timer:
    """A call at a certain time, which any thread can cancel.

    Args:
        here: Whether this is the loop's thread.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        seconds: float,
        callback: Callable[[], object],
        here: bool,
    ) -> None:
        self._callback: Callable[[], object] | None = callback
        self._handle: asyncio.TimerHandle | None = None
        self._due = loop.time() + seconds
        self._loop = loop
        if here:
            self._start()
        else:
            call_soon(loop, self._start)

    def _start(self) -> None:
        if self._callback is not None and not self._loop.is_closed():
            self._thread = get_ident()
            self._handle = self._loop.call_at(self._due, self._call)

    def _call(self) -> None:
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()

    def cancel(self) -> None:
        """See that the call is not made."""
        self._callback = None
        if self._handle is not None and self._thread == get_ident():
            self._handle.cancel()


class LoopTransport(Transport):
    """A transport of asyncio, or what is like one; ``sock`` is that."""

    #: It refuses what is written, until it has sent what it has.
    full = False
    #: The connection is gone.
    lost = False
    #: Something has been received lately.
    heard = True

    def __init__(self, sock: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread = get_ident()
        self._abort: Timer | None = None
        #: Seconds that what has been written may take to leave after :meth:`close`.
        self.close_timeout: float | None = None
        super().__init__(sock)

    def _adopt(self) -> None:
        # 1 and not 0: asyncio's TLS counts a buffer as full that is just as full as allowed.
        self.sock.set_write_buffer_limits(high=1, low=0)

    def fileno(self) -> int:
        sock = self.sock.get_extra_info("socket")
        fd: int = -1 if sock is None else sock.fileno()
        return fd

    def block(self, timeout: float | None = None) -> None:
        """Do nothing: nothing that is read here could block."""

    def unblock(self) -> None:
        """Do nothing."""

    def read_now(self, size: int) -> bytes | None:
        return None

    def write(self, data: Data, payload: Data = b"") -> int:
        if self._refuses():
            return 0
        if self.is_closing:
            raise ConnectionAbortedError("the connection is closed")
        if not payload and len(data) <= CHUNK:
            self.sock.write(bytes(data))
            return len(data)
        sent = 0
        for chunk in _chunks(data, payload):
            if self._refuses() or self.is_closing:
                break
            self.sock.write(chunk)
            sent += len(chunk)
        return sent

    def _refuses(self) -> bool:
        if not self.full and self._thread == get_ident():
            return False
        if self._loop.is_closed():
            raise ConnectionAbortedError(_CLOSED)
        return True

    @property
    def is_closing(self) -> bool:
        """Whether nothing can be written any more."""
        # Until 3.11 a transport with TLS could not be asked once it was lost.
        return self.lost or self.sock.is_closing()

    def half_close(self) -> None:
        if self.is_closing:
            return
        if self.sock.can_write_eof():
            with suppress(OSError):  # It has been reset, and the loop does not know yet.
                self.sock.write_eof()
        else:
            self._linger()

    def _linger(self) -> None:
        """Close once the peer is silent.

        asyncio cannot close one direction of TLS, and to close both while the peer still sends
        would reset the connection, and lose what was written last.
        """
        if self.heard:
            self.heard = False
            Timer(self._loop, QUIET, self._linger, True)
        else:
            self.close()

    def shutdown(self) -> None:
        self._here(self.sock.abort)

    def close(self) -> None:
        self._here(self._close)

    def _close(self) -> None:
        if not self.lost:
            self.sock.close()
            if self.close_timeout is not None and self._abort is None:
                self._abort = Timer(self._loop, self.close_timeout, self.sock.abort, True)

    def _here(self, act: Callable[[], object]) -> None:
        if self._loop.is_closed():
            return  # It cannot do anything any more, and refuses to be asked.
        if self._thread == get_ident():
            act()
        else:
            call_soon(self._loop, act)

    def gone(self) -> None:
        """Note that there is no connection any more."""
        self.lost = True
        if self._abort is not None:
            self._abort.cancel()


def _chunks(data: Data, payload: Data) -> Iterator[memoryview]:
    """Cut what is to be written; loops may keep it, so nothing of it changes later."""
    for part in (bytes(data) + payload[:CHUNK], payload[CHUNK:]):
        for start in range(0, len(part), CHUNK):
            yield memoryview(part)[start : start + CHUNK]


class Connection(Threads, asyncio.Protocol):
    """Drives a websocket from a transport of a loop: the loop calls it, and it is the driver.

    Args:
        websocket: Of any class.
        transport: Of asyncio; or anything with the same methods.
        loop: The loop, whose thread this is.
        group: Has it until ``closed`` has returned and TCP has ended.
    """

    def __init__(
        self,
        websocket: WebSocket,
        transport: Any,
        loop: asyncio.AbstractEventLoop,
        group: WebSockets | None = None,
    ) -> None:
        self.loop = loop
        self._group = group
        self.websocket = websocket
        self._transport = LoopTransport(transport, loop)
        self._transport.close_timeout = websocket.limits.close_timeout
        self._reads = True
        # The peer has ended its direction: the websocket is told so once it has handled and
        # answered the rest, for which it has some time.
        self._has_end = False
        self._rest: Timer | None = None
        # ``closed`` is being called: what the loop still says does not concern the websocket,
        # which may have connected again.
        self._released = False
        self._has_ended = False
        self._ends: list[asyncio.Future[None]] = []
        self._thread = get_ident()
        websocket._take_over()
        websocket._sock = transport.get_extra_info("socket")
        websocket._transport = self._transport
        websocket._driver = self
        transport.set_protocol(self)
        if group is not None:
            group._add(self)

    def begin(self) -> None:
        """Call ``opened``, and handle what came with the handshake."""
        websocket = self.websocket
        if websocket._over or not websocket._connected:
            self._drop(websocket)
            return
        websocket._open()
        if websocket._ending:
            self.finish(websocket)
            return
        if self._group is not None and self._group.is_draining:
            go_away(websocket)
        if websocket.heartbeat_freq and self.no_pings is None:
            Pulse(websocket, websocket.heartbeat_freq).schedule()
        if websocket._pending():
            self._go_on(websocket.once())
        else:
            self._update()

    def _drop(self, websocket: WebSocket) -> None:
        """End the connection of a websocket that was ended as the server was about to answer."""
        self.release(websocket)
        self._transport.close()
        websocket._finish()
        websocket.sock = None
        self.ended(websocket)

    # What the loop calls.

    def data_received(self, data: bytes) -> None:
        self._transport.heard = True
        if self._released:
            return
        websocket = self.websocket
        if websocket._paused or not self._reads:
            websocket.buf += data  # The transport had read it before it was told to pause.
        else:
            self._go_on(websocket.process(data))

    def eof_received(self) -> bool:
        """Return whether the other direction stays open, which asyncio has no TLS for."""
        if self._released:
            return False
        stays_open: bool = self._transport.sock.can_write_eof()
        if self._has_rest():
            self._has_end = True
            return stays_open
        goes_on = stays_open and self.websocket.process(b"")
        self._go_on(goes_on)
        return goes_on

    def _has_rest(self) -> bool:
        """Say whether what came before the end is still to be handled, or to be answered."""
        websocket, transport = self.websocket, self._transport
        if transport.is_closing or not transport.sock.can_write_eof():
            return websocket._paused and not websocket._outgoing  # which nobody will take
        return websocket._paused or websocket._puts_off_end()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport.gone()
        if isinstance(exc, OSError) and not self._released:
            self._fail(exc)
        if exc is None and not self._released and self._has_rest():
            self._has_end = True
            self._time_rest(self.websocket.limits.close_timeout)
        else:
            self._go_on(False)
        self._tell_ended()

    def _fail(self, error: OSError) -> None:
        if isinstance(error, BrokenPipeError):  # No read ends with that.
            self.websocket._write_failed(error)
            self.websocket._settle()
        else:
            self.websocket._read_failed(error)

    def _time_rest(self, seconds: float | None) -> None:
        if seconds is not None:
            self._rest = self.call_later(seconds, partial(self._go_on, False))

    def pause_writing(self) -> None:
        self._transport.full = True

    def resume_writing(self) -> None:
        self._transport.full = False
        self._write()

    def _write(self) -> None:
        """Send what is queued, and go on with what had to wait for that."""
        if self._released or self._transport.full:
            return
        if self.websocket._draining:
            self._go_on(self.websocket._writable())
            self._write_on()

    def _write_on(self) -> None:
        """Give a generator, of which no more is sent in one turn, its next one."""
        full = self._released or self._transport.full
        if not full and self.websocket._draining:
            self.loop.call_soon(self._write)

    def read_on(self, websocket: WebSocket) -> None:
        """Go on with what has had to wait, in the loop's next turn."""
        call_soon(self.loop, self._read_on)

    def _read_on(self) -> None:
        if not self._released and self.websocket._paused:
            self._go_on(self.websocket._read_on())

    def _go_on(self, goes_on: bool) -> None:
        if self._released:
            return
        if goes_on and self._has_end and not self._has_rest():
            self._has_end = False
            goes_on = not self._transport.is_closing and self.websocket.process(b"")
        if goes_on:
            self._update()
        else:
            self.websocket.terminate()

    def _update(self) -> None:
        """Read the peer, or do not."""
        reads = not self.websocket._paused
        if reads is self._reads or self._transport.is_closing:
            return
        self._reads = reads
        if reads:
            self._transport.sock.resume_reading()
        else:
            self._transport.sock.pause_reading()

    # What a Driver does.

    def may_wait(self) -> bool:
        """Say whether the current thread may wait for a peer: the loop's thread may not.

        Where the loop has been closed, nobody does: to send fails.
        """
        if self.loop.is_closed():
            return True
        return self._thread != get_ident() and self.loop.is_running()

    def make_waiter(self) -> Waiter:
        """Return a lock's methods: who waits gives the websocket up if the loop is closed."""
        release, acquire = super().make_waiter()
        return release, partial(self._wait_for, acquire, self.websocket)

    def _wait_for(self, acquire: Any, websocket: WebSocket) -> None:
        while not acquire(timeout=LOOK):
            if self.loop.is_closed():
                websocket._lose(_CLOSED)

    def drain(self, websocket: WebSocket) -> None:
        """Write what a websocket has queued, as its peer takes it."""
        if not self._transport.full:
            call_soon(self.loop, self._write)
        websocket._time_drain(self)

    def drains_on(self, websocket: WebSocket) -> None:
        """Give a websocket up if the loop has been closed, and so writes nothing more."""
        if self.loop.is_closed():
            websocket._lose(_CLOSED)

    def drains_here(self, websocket: WebSocket) -> bool:
        """Say whether the current thread has to write: the loop does."""
        return False

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call ``callback`` in the loop's thread, in ``seconds`` seconds."""
        return Timer(self.loop, seconds, callback, self._thread == get_ident())

    def may_close(self, websocket: WebSocket) -> bool:
        """Say whether this thread may close the connection: the loop's, from ``closed`` on."""
        return self._released and self._thread == get_ident()

    def finish(self, websocket: WebSocket) -> None:
        """End a websocket, in the loop's thread; after the callback it is in."""
        call_soon(self.loop, self._finish)

    def _finish(self) -> None:
        if not self._released:
            self.websocket._finish()

    def release(self, websocket: WebSocket) -> None:
        """Let no heartbeat go on."""
        self._released = True
        for timer in (websocket._heartbeat, self._rest):
            if timer is not None:
                timer.cancel()

    def ended(self, websocket: WebSocket) -> None:
        """Tell of the end, unless that of TCP is still to come."""
        self._has_ended = True
        self._tell_ended()

    def _tell_ended(self) -> None:
        if not (self._has_ended and self._transport.lost):
            return
        if self._group is not None:
            self._group._discard(self)
        for future in list(self._ends):
            wake(future)
        # It has this as its driver still, and a cycle would wait for the garbage collector: with
        # many connections that comes late, and has much to do at once.
        self.websocket = None  # type: ignore[assignment]

    def abort(self) -> None:
        """Drop TCP, whatever it has still to send."""
        self._transport.shutdown()

    def give_up(self) -> None:
        """Tell of the end of a connection whose callbacks do not end."""
        self.abort()
        self.release(self.websocket)
        self._has_ended = self._transport.lost = True
        self._tell_ended()

    async def wait_ended(self) -> None:
        """Wait until ``closed`` has returned and TCP has ended."""
        if not (self._has_ended and self._transport.lost):
            await wait_in(self._ends)
