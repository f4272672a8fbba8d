"""Writing together: the same frame to many connections, made once, one write behind the other.

Where a receiver is on the same host, it falls asleep when it has handled a frame and the next one
is not there; to wake it takes longer than the write. So what can be done before the first write,
or after the last one, is done then, and nothing in Python between two of them.
"""

from __future__ import annotations

from itertools import compress
from operator import methodcaller
from typing import Any

from ws4py.framing import RSV1, encode_header
from ws4py.outgoing import Outgoing
from ws4py.transport import is_bare, write_each


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


_try_to_lock = methodcaller("acquire", False)


def write_together(
    connections: list[Outgoing], frame: bytes, begun: list[Outgoing]
) -> list[Outgoing]:
    """Write a frame to those of ``connections`` that take it at once; return the others.

    Those that have queued a part of it, or failed, are added to ``begun``. Neither a lock nor a
    peer is waited for.
    """
    locked: list[bool] = []
    taken: list[Outgoing] = []
    others: list[Outgoing] = []
    sent: list[int] = []
    try:
        # One call, so that an interrupt leaves none locked that is not known to be.
        locked.extend(map(_try_to_lock, [each._lock for each in connections]))
        for each, is_locked in zip(connections, locked):
            (taken if is_locked and _is_free(each) else others).append(each)
        _write(taken, frame, sent, begun)
    finally:
        for each, size in zip(taken, sent):
            if size < len(frame):
                each._keep(frame, sent=size)
                begun.append(each)
        for each in compress(connections, locked):
            each._lock.release()
    return others


def _is_free(each: Outgoing) -> bool:
    """Say whether ``_write`` would do nothing but write, now; its lock is held."""
    return (
        each._connected
        and each._gatherer is None
        and each._fragmenter is None
        and each._deflater is None
        and not (each._over or each._ending or each._sealed or each._broken)
        and not (each._outgoing or each._gathered or each._deferred)
        and is_bare(each._transport)
    )


def _write(taken: list[Outgoing], frame: bytes, sent: list[int], begun: list[Outgoing]) -> None:
    """Write, and add to ``sent`` how many bytes were taken of each; all where one has failed."""
    writes = write_each([each._transport for each in taken], frame)
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
