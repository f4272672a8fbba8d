"""The queue of what goes out: order, waiting and backpressure.

Every frame goes through ``_write``, or that of ``together`` for a broadcast, under one lock that is
never held while anybody waits.

- What the kernel refuses is queued. Whoever sees the first refusal asks the driver to drain the
  queue; others only append. Above the high-water mark, threads that may wait do so; a loop's
  thread never waits, and what happens once the queue passes its hard limit is
  ``limits.when_full``.
- While the thread that reads handles a message and more bytes stand in the same chunk, what it
  sends gathers in a list that only this thread appends to, without the lock, and that whoever
  writes next sends first. A manager defers that until it has served all that were ready.
- While a fragmented message is open, control frames go between its frames. The data frames of
  other threads wait for its end, or are put off (``_deferred``) if their thread may not wait.
- What is compressed may refer to what was compressed before it, and so has to be in that order on
  the wire. A message becomes a frame when it is its turn: under the lock, while no fragmented
  message is open; or in the thread that has one open.
"""

from __future__ import annotations

from collections import deque
from time import monotonic
from typing import TYPE_CHECKING

from ws4py.driver import is_broadcasting
from ws4py.exc import QueueFull, Terminated
from ws4py.framing import Fragments, Sendable, Uncompressed, is_control
from ws4py.limits import DROP_CONNECTION, WAIT, Limits
from ws4py.masking import hasten
from ws4py.state import State
from ws4py.transport import OFFER, Transport

#: What gathers is written once it has this many bytes, and at least as often, in seconds.
_GATHER_SIZE, GATHER_TIME = 64 * 1024, 0.001

#: Nobody's thread: the fragmented message that is open is continued when there is room.
PAUSED = -1

#: Bytes that a generator counts as, while it is put off.
_GENERATOR_SIZE = 16 * 1024


def _size(item: Sendable | Fragments) -> int:
    return len(item) if isinstance(item, (bytes, Uncompressed)) else _GENERATOR_SIZE


class Outgoing(State):
    """The queue of a connection, and who may write to it when."""

    #: The bounds of this connection.
    limits = Limits()
    #: Whether replies to messages that came together are sent together.
    gather = True

    __slots__ = ()

    def flush(self) -> None:
        """Send now what gathers until the messages that came together have been handled."""
        if self._gathered:
            with self._lock:
                self._push_gathered()
            self._settle()

    def _write_deferred(self) -> None:
        """Write what has gathered, before something is done to the connection.

        Of callbacks that run in another thread, it stays. What the kernel refuses is seen to by
        whoever is to drive the connection then.
        """
        if self._busy not in (None, self._driver.get_ident()):
            return
        self._gatherer = None
        if self._gathered:
            with self._lock:
                self._push_gathered()

    @hasten  # so that what sends knows whether a class overrides it
    def _write(self, data: Sendable, payload: bytes = b"") -> None:
        """Write a frame, whole or in two parts, or what is to become one, when it is its turn.

        Raises:
            RuntimeError: The connection has ended.
        """
        if (
            self._gatherer is not None
            and not payload
            and self._fragmenter is None
            and self._gatherer == self._driver.get_ident()
        ):
            self._gather(data)
            return
        behind = self._outgoing or (self._deferred and not is_control(data))
        if behind and not self._make_room():
            return
        with self._lock:
            if (
                self._fragmenter is None
                and self._connected
                and self._transport is not None
                and not (self._gathered or self._sealed or self._broken or self._ending)
                and not self._over
                and type(data) is bytes
            ):
                self._push(data, payload)
            else:
                while not self._push_in_turn(data, payload):
                    self._wait_turn()
            dropped = self._sealed or self._ending
        if dropped and self._may_wait():
            self._driver.give_way()
        if self._outgoing or self._broken or self._source:
            self._settle_refused()

    def _settle_refused(self) -> None:
        self._settle()
        if self._broken and self._may_wait():
            raise Terminated

    def _write_failed(self, error: OSError) -> None:
        """Take notice of what the kernel said of a write."""
        with self._lock:
            self._fail(error)

    def _write_close(self, frame: bytes, at_once: bool) -> bool:
        """Write the Close frame ``frame``, behind a generator unless ``at_once``.

        Returns:
            False if one has been written before, or the connection has ended.
        """
        with self._lock:
            if self._sealed or self._over:
                return False
            # One that is put off behind a generator gives way to one that is not to wait for it.
            if self._close_sent and (self._fragmenter is None or not at_once):
                return False
            self._close_sent = True
            self._push_gathered()
            if self._fragmenter is not None and not at_once:
                self._put_off(frame)
            else:
                self._seal(frame)
            self._wake()
        self._dropped = None
        return True

    def _gather(self, frame: Sendable) -> None:
        if self._gathered:
            self._gathered.append(frame)
            self._gathered_size += len(frame)
        else:
            self._gathered_size = len(frame)
            self._gathered.append(frame)
            self._driver.gathers(self)
        if self._gathered_size >= _GATHER_SIZE:
            self.flush()
            if self._outgoing and not self._has_waiting():
                self._gatherer = None  # As for a message that came alone: is there room for more?

    @property
    def _queued(self) -> int:
        """Bytes that stand before a new message."""
        return len(self._outgoing) + self._deferred_size

    @property
    def _ahead(self) -> int:
        """Bytes that stand before what this thread sends; what is put off comes after fragments."""
        return len(self._outgoing) if self._fragmenter == self._driver.get_ident() else self._queued

    def _may_wait(self) -> bool:
        """Say whether this thread may wait for the peer."""
        hurries = is_broadcasting() and self.limits.when_full != WAIT
        return not hurries and self._driver.may_wait()

    def _make_room(self) -> bool:
        """Wait while too much is queued, where that is allowed; False: drop the message.

        Raises:
            QueueFull: It is not, and the policy is to wait.
        """
        queued, limits = self._ahead, self.limits
        if queued <= limits.high_water:
            return True
        if self._busy == self._driver.get_ident() and self._answers <= limits.high_water:
            return True  # What others have sent is no reason to stop reading.
        if self._may_wait():
            self._wait_for(limits.low_water)
            return True
        if limits.max_queue is None or queued <= limits.max_queue:
            return True
        why = f"{queued} bytes are queued for a peer that does not read them"
        drops = is_broadcasting() and limits.when_full != DROP_CONNECTION
        if drops:
            with self._lock:
                self.dropped_messages += 1
        if limits.when_full == WAIT:
            raise QueueFull(f"{why}, and this thread cannot wait")
        if not drops:
            self._lose(why)
        return False

    def _wait_for(self, size: int) -> None:
        """Wait until no more than ``size`` bytes are queued."""
        if self._driver.drains_here(self):
            while self._ahead > size and not self._advance():
                self._wait_to_write()
            return
        self._settle()
        with self._lock:
            while self._ahead > size and not self._broken and not self._ending:
                self._wait()

    def _wait_to_write(self) -> None:
        """Wait until the peer takes bytes; give it up if it does not."""
        transport, seconds = self._transport, self.limits.write_timeout
        try:
            ready = transport is not None and any(transport.wait(False, True, seconds))
        except (OSError, ValueError):
            ready = False
        if not ready:
            self._lose(f"the peer took nothing in {seconds} s")

    def _write_meanwhile(self, transport: Transport) -> bool:
        """Wait until the peer takes bytes or sends some; say whether there is something to read."""
        seconds = self.limits.write_timeout
        readable, writable = transport.wait(True, True, seconds)
        if writable:
            self._advance()
        elif seconds is not None and monotonic() - self._progress >= seconds:
            self._lose(f"the peer took nothing in {seconds} s")
        return readable

    # From here to _settle: the lock is held.

    def _wait(self) -> None:
        wake, wait = self._driver.make_waiter()
        me = self._driver.get_ident()
        self._waiters += (wake,)
        self._visitors.enter(me)
        self._lock.release()
        try:
            wait()
        finally:
            self._lock.acquire()
            self._visitors.leave(me)

    def _wait_turn(self) -> None:
        """Wait until a fragmented message may have ended.

        Who has to write what is queued does so meanwhile: its sender may be waiting for that.
        """
        if not self._outgoing or not self._driver.drains_here(self):
            self._wait()
            return
        self._lock.release()
        try:
            if not self._advance():
                self._wait_to_write()
        finally:
            self._lock.acquire()

    def _push_in_turn(self, data: Sendable, payload: bytes) -> bool:
        """Send a frame, or put it off; False if its turn is to be waited for."""
        if self._over or self._transport is None or not self._connected:
            raise self._unsendable()
        if isinstance(data, Uncompressed) and self._deflater is None:
            raise Terminated  # It was for a connection before this one.
        if not self._takes_more:
            self._gathered.clear()
            return True
        answers = 0
        if self._fragmenter is None:
            if self._gathered or not isinstance(data, bytes):
                gathered = self._join(self._take_gathered())
                answers = len(gathered)
                data = gathered + self._join([data])
        else:
            self._push_gathered()
            if self._fragmenter != self._driver.get_ident() and not is_control(data):
                return self._defer(data + payload if isinstance(data, bytes) else data)
        self._push(data, payload, answers)  # type: ignore[arg-type]
        return True

    def _defer(self, item: Sendable | Fragments) -> bool:
        """Put an item off until the fragmented message has ended, unless this thread may wait."""
        if self._may_wait():
            return False
        self._put_off(item)
        return True

    def _put_off(self, item: Sendable | Fragments, is_answer: bool = False) -> None:
        size = _size(item)
        if self._deferred is None:
            self._deferred = deque()
        self._deferred.append(item)
        self._deferred_size += size
        if is_answer or self._busy == self._driver.get_ident():
            self._answers += size

    def _take_gathered(self) -> list[Sendable]:
        frames = self._gathered[:]
        del self._gathered[: len(frames)]  # More may have been appended meanwhile.
        return [] if self._over else frames

    def _join(self, items: list[Sendable]) -> bytes:
        if self._deflater is not None:
            items = [each if isinstance(each, bytes) else self._compress(each) for each in items]
        return b"".join(items)  # type: ignore[arg-type]

    def _push_gathered(self) -> None:
        items = self._take_gathered()
        if self._fragmenter is None:
            data = self._join(items)
            self._push(data, answers=len(data))
            return
        for item in items:
            if is_control(item):
                self._push(item, answers=len(item))  # type: ignore[arg-type]
            else:
                self._put_off(item, is_answer=True)

    def _push(self, data: bytes, payload: bytes = b"", answers: int = 0) -> None:
        """Write what the kernel takes, and queue the rest.

        ``answers`` bytes at the beginning have gathered, so that they are of callbacks.
        """
        if self._sealed or self._broken or not data or self._transport is None:
            return
        sent = 0
        if not self._outgoing:
            try:
                sent = self._transport.write(data, payload)
            except OSError as error:
                self._fail(error)
                return
        if sent < len(data) + len(payload):
            self._keep(data, payload, sent, answers)

    def _keep(self, data: bytes, payload: bytes = b"", sent: int = 0, answers: int = 0) -> None:
        """Queue what the kernel has not taken."""
        self._queue(data, payload, sent)
        if self._busy == self._driver.get_ident():
            self._answers += len(data) + len(payload) - sent
        elif answers > sent:
            self._answers += answers - sent

    def _queue(self, data: bytes, payload: bytes, sent: int) -> None:
        """Queue all but the first ``sent`` bytes; of a large payload alone no copy is made."""
        rest = memoryview(payload)[max(0, sent - len(data)) :]
        if sent >= len(data) and not self._outgoing:
            self._outgoing = rest
            return
        if not isinstance(self._outgoing, bytearray):
            self._outgoing = bytearray(self._outgoing)
        self._outgoing += memoryview(data)[sent:]
        self._outgoing += rest

    def _seal(self, frame: bytes) -> None:
        """Write the Close frame, behind which nothing may come."""
        self._push(frame)
        self._sealed = True
        self._progress = monotonic()
        self._drop_sources()

    def _fail(self, error: OSError) -> None:
        """Keep what the kernel said, and send nothing more."""
        self._failure = str(error)
        self._drop_queue()

    def _start_draining(self) -> bool:
        """Say whether the driver is to be asked to drain what is left; once for all of it."""
        if self._draining or not (self._outgoing or self._source):
            return False
        self._draining = True
        self._progress = monotonic()
        return True

    def _settle(self) -> None:
        """Once the lock has been released: see to what the kernel has refused."""
        if not (self._broken or self._outgoing or self._source):
            return
        with self._visitors.visit(self._driver.get_ident()):
            if self._broken:
                self._lose(f"sending failed: {self._failure}")
                return
            with self._lock:
                starts = self._start_draining()
            if starts:
                self._drain()
            elif self._draining:
                self._driver.drains_on(self)

    def _drain(self) -> None:
        """Have the driver drain the queue; if it does not come to that, others may ask again."""
        try:
            self._driver.drain(self)
        except BaseException:
            self._draining = False
            raise

    def _advance(self) -> bool:
        """Write what the kernel takes of the queue, and go on with a generator that is put off.

        Returns:
            Whether that was all.
        """
        with self._lock:
            while self._outgoing and self._offer():
                self._alive = True
                self._progress = monotonic()
            if self._pong is not None and not self._outgoing:
                pong, self._pong = self._pong, None
                self._push(*self._make_pong(pong))
            if len(self._outgoing) <= self.limits.low_water:
                self._wake()
            if self._queued <= self.limits.low_water:
                self._answers = 0
            self._draining = self._has_more()
            pulls = self._draining and len(self._outgoing) <= self.limits.low_water
        if pulls and self._source is not None:
            self._progress = monotonic()
            self._pull()
            with self._lock:
                self._draining = self._has_more()
        if self._broken:
            self._lose(f"sending failed: {self._failure}")
        elif not self._draining:
            self._drained()
        return not self._draining

    def _has_more(self) -> bool:
        """Say whether there is something to write, or a generator that nobody pulls just now."""
        return bool(self._outgoing) or (self._source is not None and self._fragmenter == PAUSED)

    def _write_out(self) -> None:
        """Write all that is queued, and wait for the peer where it does not take it."""
        with self._visitors.visit(self._driver.get_ident()):
            while not self._advance():
                self._wait_to_write()

    def _offer(self) -> int:
        """Offer the beginning of the queue to the kernel; return how many bytes it took."""
        transport, outgoing = self._transport, self._outgoing
        if transport is None:
            return 0
        try:
            with memoryview(outgoing) as queue, queue[:OFFER] as offer:
                sent = transport.write(offer)
        except OSError as error:
            self._fail(error)
            return 0
        if sent == len(outgoing):
            self._outgoing = b""
        elif isinstance(outgoing, bytearray):
            del outgoing[:sent]
        else:
            self._outgoing = outgoing[sent:]
        return sent

    def _next_turn(self) -> None:
        """End a fragmented message: send what has been put off until now."""
        with self._lock:
            if self._fragmenter != self._driver.get_ident():
                return  # That of a connection which has ended, and another has followed.
            self._fragmenter, self._source = None, None
            while self._deferred and self._fragmenter is None:
                item = self._deferred.popleft()
                self._deferred_size -= _size(item)
                if not isinstance(item, (bytes, Uncompressed)):
                    self._source, self._fragmenter = item, PAUSED
                    break
                if is_control(item):
                    self._seal(item)  # type: ignore[arg-type]
                else:
                    self._push(self._join([item]))
            self._wake()
        self._dropped = None
        self._settle()
        if not self._draining and not self._broken:
            self._drained()

    if TYPE_CHECKING:  # what the classes below this one have

        def _pull(self) -> None:
            """Send what there is room for of the generators that are put off."""

        def _has_waiting(self) -> bool:
            """Say whether something has come that has not been handled yet."""

        def _drained(self) -> None:
            """Called when all that was queued has been written."""

        def _lose(self, why: str) -> None:
            """Give the connection up: nothing more can be sent on it."""

        def _compress(self, message: Uncompressed) -> bytes:
            """Compress a message whose turn it is, and return its frame."""

        def _make_pong(self, payload: bytes) -> tuple[bytes, bytes]:
            """Return the Pong that answers a Ping."""
