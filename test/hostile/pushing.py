"""Ways to send much: to a target that may stop reading, or while its answers are read."""

from __future__ import annotations

import select
import selectors
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from test.hostile.wire import PATIENCE, PING, PONG, Frame, Wire

#: Seconds in which nothing is taken of what is sent, after which the target is said to refuse it.
QUIET = 0.25


class Push:
    """Sends, and reads nothing before :meth:`finishing`.

    Args:
        parts: What is sent, in parts that are made one after the other.
    """

    def __init__(self, wire: Wire, parts: Iterable[bytes]) -> None:
        self._wire = wire
        self._parts = iter(parts)
        self._part = memoryview(b"")
        #: Bytes that were taken.
        self.taken = 0

    def until_refused(self, quiet: float = QUIET) -> bool:
        """Send until nothing is taken for ``quiet`` seconds; say whether something is left."""
        sock = self._wire.sock
        sock.settimeout(0)
        poll = select.poll()
        poll.register(sock, select.POLLOUT)
        while self._has_more():
            try:
                sent = sock.send(self._part)
            except BlockingIOError:
                if not poll.poll(1000 * quiet):
                    return True
            else:
                self.taken += sent
                self._part = self._part[sent:]
        return False

    def _has_more(self) -> bool:
        if not self._part:
            self._part = memoryview(next(self._parts, b""))
        return bool(self._part)

    def rest(self) -> Iterator[bytes]:
        """Yield what has not been taken."""
        while self._has_more():
            part, self._part = self._part, memoryview(b"")
            yield bytes(part)


@contextmanager
def sending(wire: Wire, parts: Iterable[bytes]) -> Iterator[None]:
    """Send all ``parts`` from another thread meanwhile; in the end all has been taken.

    No Pings are answered before that: bytes are as good a sign of life.
    """
    errors: list[BaseException] = []

    def run() -> None:
        try:
            for part in parts:
                wire.send(part)
        except (OSError, AssertionError) as error:
            errors.append(error)
        finally:
            wire.answers = True

    wire.answers = False
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield
    thread.join(PATIENCE)
    assert not thread.is_alive(), f"what is sent is not taken in {PATIENCE} s"
    assert not errors, f"what is sent is not taken: {errors}"


def grouped(frames: Iterable[bytes], size: int = 1 << 18) -> Iterator[bytes]:
    """Join frames to parts of some size."""
    part = bytearray()
    for frame in frames:
        part += frame
        if len(part) >= size:
            yield bytes(part)
            part.clear()
    yield bytes(part)


class Churn:
    """Sends messages without end on several connections, and takes what comes back.

    A context manager: it does so in a thread of its own meanwhile, and resets them in the end. What
    comes is thrown away: to look at it would take more time than to send it.
    """

    def __init__(self, wires: Iterable[Wire], part: bytes) -> None:
        self._wires = list(wires)
        self._part = part
        self._pushes = {wire.sock: memoryview(part) for wire in self._wires}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        #: Bytes that have come back.
        self.received = 0

    def __enter__(self) -> Churn:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stopped.set()
        self._thread.join(PATIENCE)
        for wire in self._wires:
            wire.reset()

    def _run(self) -> None:
        with selectors.PollSelector() as selector:
            for sock in self._pushes:
                sock.settimeout(0)
                selector.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE)
            while not self._stopped.is_set():
                for key, events in selector.select(QUIET):
                    if events & selectors.EVENT_READ:
                        self.received += len(key.fileobj.recv(1 << 20))  # type: ignore[union-attr]
                    if events & selectors.EVENT_WRITE:
                        self._push(key.fileobj)

    def _push(self, sock: Any) -> None:
        part = self._pushes[sock]
        self._pushes[sock] = part[sock.send(part) :] or memoryview(self._part)


class Answering:
    """Answers the Pings that come on connections which are otherwise idle.

    A context manager: it does so in a thread of its own meanwhile.
    """

    def __init__(self, wires: Iterable[Wire]) -> None:
        self._wires = {wire.sock.fileno(): wire for wire in wires}
        for wire in self._wires.values():
            if wire.has_more:
                self._answer(wire)
        self._poll = select.poll()
        for fd in self._wires:
            self._poll.register(fd, select.POLLIN)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Answering:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stopped.set()
        self._thread.join(PATIENCE)

    def _run(self) -> None:
        while not self._stopped.is_set():
            for fd, _ in self._poll.poll(50):
                if not self._answer(self._wires[fd]):
                    self._poll.unregister(fd)

    def _answer(self, wire: Wire) -> bool:
        try:
            while (frame := wire.frame()) is not None:
                if frame.opcode == PING:
                    wire.answer(frame)
                if not wire.has_more:
                    return True
        except OSError:
            pass
        return False


def data_of(wire: Wire, seconds: float = PATIENCE) -> Frame:
    """Return the next frame of data; Pings are answered."""
    deadline = time.monotonic() + seconds
    while True:
        frame = wire.frame(max(deadline - time.monotonic(), 0.001))
        assert frame is not None, "the connection ended where data was expected"
        if frame.opcode == PING:
            wire.answer(frame)
        elif frame.opcode <= 2:
            return frame
        else:
            assert frame.opcode == PONG, f"{frame} where data was expected"
