"""Writing together: the same frame to many connections, made once, one write behind the other.

Where a receiver is on the same host, it falls asleep when it has handled a frame and the next one
is not there; to wake it takes longer than the write. So what can be done before the first write,
or after the last one, is done then, and nothing in Python between two of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import compress, islice, repeat
from logging import getLogger
from threading import Lock
from typing import Any, Callable

from ws4py.framing import RSV1, encode_header
from ws4py.transport import is_bare, write_each

logger = getLogger("ws4py")

#: Connections that are sent a message before others have their turn.
TOGETHER = 64


class Prepared:
    """A message for many connections: what is the same for some of them is made once."""

    def __init__(self, opcode: int, data: bytes, compress: bool) -> None:
        self._opcode = opcode
        self._data = data
        self._compress = compress
        self.plain = encode_header(1, opcode, len(data)) + data
        self._compressed: dict[Any, bytes] = {}

    def frame_for(self, websocket: Any) -> bytes | None:
        """Return the frame, unmasked; None if it depends on what was sent before it."""
        deflater = websocket._deflater
        if deflater is None or not self._compress or len(self._data) < deflater.threshold:
            return self.plain
        if deflater.keeps_context:
            return None
        frame = self._compressed.get(deflater.parameters)
        if frame is None:
            data = deflater.encode_alone(self._data)
            frame = encode_header(1, self._opcode | RSV1, len(data)) + data
            self._compressed[deflater.parameters] = frame
        return frame


def groups(websockets: Iterator[Any]) -> Iterator[list[Any]]:
    """Yield some at a time, those included that come before an exception of the iterator's."""
    more = True
    while more:
        group: list[Any] = []
        try:
            group.extend(islice(websockets, TOGETHER))
        finally:
            yield group
        more = bool(group)


def reach(act: Callable[[Any], object], websockets: Iterable[Any]) -> None:
    """Do something to each of ``websockets``, whatever comes of it for others."""
    for websocket in websockets:
        try:
            act(websocket)
        except RuntimeError as error:
            logger.info("A broadcast did not reach a websocket: %s", error)
        except Exception:
            logger.exception("A broadcast did not reach a websocket")


_Lock = type(Lock())


def write_together(connections: list[Any], frame: bytes, begun: list[Any]) -> list[Any]:
    """Write an unmasked frame to those of ``connections`` that take it at once; return the others.

    Those that have queued a part of it, or failed, are added to ``begun``. Neither a lock nor a
    peer is waited for; but others wait for the lock of each until all have been written, so
    ``connections`` should be few.
    """
    bare: list[tuple[Any, Any]] = []
    others: list[Any] = []
    for each in connections:
        transport = each._transport  # None from one moment to the other, if another thread ends it
        if is_bare(transport):
            bare.append((each, transport))
        else:
            others.append(each)
    locks = [each._lock for each, _ in bare]
    locked: list[bool] = []
    try:
        # One call for all, here and below, so that no interrupt comes in between.
        locked.extend(map(_Lock.acquire, locks, repeat(False)))
        taken: list[Any] = []
        transports: list[Any] = []
        for (each, transport), is_locked in zip(bare, locked):
            if is_locked and _is_free(each) and each._transport is transport:
                taken.append(each)
                transports.append(transport)
            else:
                others.append(each)
        _write(taken, transports, frame, begun)
    finally:
        deque(map(_Lock.release, compress(locks, locked)), maxlen=0)
    return others


def _write(taken: list[Any], transports: list[Any], frame: bytes, begun: list[Any]) -> None:
    """Write to all of these, which are locked and free, and keep what is not taken."""
    sent: list[int] = []
    writes = write_each(transports, frame)
    try:
        while len(sent) < len(taken):
            try:
                sent.extend(writes)
            except BlockingIOError:
                sent.append(0)
            except OSError as error:
                failed = taken[len(sent)]
                failed._fail(error)
                begun.append(failed)
                sent.append(len(frame))
    finally:  # An interrupt that came meanwhile shows when all have been written.
        for each, size in zip(taken, sent):
            if size < len(frame):
                each._keep(frame, sent=size)
                begun.append(each)


def _is_free(each: Any) -> bool:
    """Say whether ``Outgoing._write`` would do nothing but write, now; its lock is held."""
    return (
        each._connected
        and each._gatherer is None
        and each._fragmenter is None
        and each._deflater is None
        and not (each._over or each._ending or each._close_sent or each._sealed or each._broken)
        and not (each._outgoing or each._gathered or each._deferred)
    )
