"""Pollers: which descriptors can be read or written, by the means of the platform.

The means are looked up when a poller is made and not at import, because some libraries replace
or remove them in between.
"""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from contextlib import suppress
from time import sleep
from typing import Any

__all__ = ["EPollPoller", "KQueuePoller", "SelectPoller", "make_poller"]

#: A descriptor, and whether it can be read and written.
Ready = tuple[int, bool, bool]


class SelectPoller:
    """Polls with ``select``, which every platform has.

    Args:
        timeout: Seconds that :meth:`poll` waits.
    """

    def __init__(self, timeout: float | None = 0.1) -> None:
        self.timeout = timeout
        self._fds: dict[int, tuple[bool, bool]] = {}

    def release(self) -> None:
        """Forget all descriptors."""
        self._fds = {}

    def register(self, fd: int, read: bool = True, write: bool = False) -> None:
        """Poll ``fd`` from the next time on.

        Raises:
            ValueError: ``fd`` is above what the system's select can poll.
        """
        try:
            select.select([fd], [], [], 0)
        except ValueError as error:
            raise ValueError(
                f"descriptor {fd} is above what select can poll on this system (1023, as a rule); "
                "use EPollPoller or KQueuePoller"
            ) from error
        self._fds[fd] = (read, write)

    def modify(self, fd: int, read: bool, write: bool) -> None:
        """Change what is polled of a registered ``fd``."""
        self._fds[fd] = (read, write)

    def unregister(self, fd: int) -> None:
        """Poll ``fd`` no more."""
        self._fds.pop(fd, None)

    def poll(self) -> list[int]:
        """Poll once and return the descriptors that can be read."""
        return [fd for fd, readable, _ in self.poll_events(self.timeout) if readable]

    def poll_events(self, timeout: float | None = None) -> list[Ready]:
        """Poll once, for ``timeout`` seconds at most (None: no limit)."""
        fds = dict(self._fds)
        reads = [fd for fd, (read, _) in fds.items() if read]
        writes = [fd for fd, (_, write) in fds.items() if write]
        if not reads and not writes:
            sleep(timeout or 0)
            return []
        try:
            readable, writable, _ = select.select(reads, writes, [], timeout)
        except (OSError, ValueError):
            return [(fd, True, True) for fd in fds if not _is_open(fd)]
        both = {*readable, *writable}
        return [(fd, fd in readable, fd in writable) for fd in both]


class EPollPoller:
    """Polls with ``epoll``, which Linux has.

    Args:
        timeout: Seconds that :meth:`poll` waits.
    """

    def __init__(self, timeout: float | None = 0.1) -> None:
        self.timeout = timeout
        self.poller = select.epoll()

    def release(self) -> None:
        """Close the epoll."""
        self.poller.close()

    def register(self, fd: int, read: bool = True, write: bool = False) -> None:
        """Poll ``fd`` from now on."""
        self.poller.register(fd, _epoll_mask(read, write))

    def modify(self, fd: int, read: bool, write: bool) -> None:
        """Change what is polled of a registered ``fd``."""
        self.poller.modify(fd, _epoll_mask(read, write))

    def unregister(self, fd: int) -> None:
        """Poll ``fd`` no more; one that has been closed is gone already."""
        with suppress(OSError, ValueError):
            self.poller.unregister(fd)

    def poll(self) -> Iterator[int]:
        """Poll once and yield the descriptors that can be read."""
        for fd, readable, _ in self.poll_events(self.timeout):
            if readable:
                yield fd

    def poll_events(self, timeout: float | None = None) -> list[Ready]:
        """Poll once, for ``timeout`` seconds at most (None: no limit)."""
        try:
            events = self.poller.poll(-1 if timeout is None else timeout)  # PyPy takes no None
        except (OSError, ValueError):
            if not self.poller.closed:
                raise
            return []  # It has been closed meanwhile, by another thread.
        # Whatever else there is, such as an error, counts as both.
        read, write = select.EPOLLIN, select.EPOLLOUT
        return [(fd, event != write, event != read) for fd, event in events]


class KQueuePoller:
    """Polls with ``kqueue``, which macOS and the BSDs have.

    Args:
        timeout: Seconds that :meth:`poll` waits.
    """

    def __init__(self, timeout: float | None = 0.1) -> None:
        self.timeout = timeout
        # The names of select that only these platforms have.
        self._select: Any = select
        self.poller = self._select.kqueue()
        self._fds: dict[int, tuple[bool, bool]] = {}

    def release(self) -> None:
        """Close the kqueue."""
        self.poller.close()
        self._fds = {}

    def register(self, fd: int, read: bool = True, write: bool = False) -> None:
        """Poll ``fd`` from now on."""
        self._fds.setdefault(fd, (False, False))
        self.modify(fd, read, write)

    def modify(self, fd: int, read: bool, write: bool) -> None:
        """Change what is polled of a registered ``fd``."""
        kq = self._select
        filters = (kq.KQ_FILTER_READ, kq.KQ_FILTER_WRITE)
        changes = [
            kq.kevent(fd, which, kq.KQ_EV_ADD if wanted else kq.KQ_EV_DELETE)
            for which, wanted, was in zip(filters, (read, write), self._fds[fd])
            if wanted != was
        ]
        if changes:
            self.poller.control(changes, 0, 0)
        self._fds[fd] = (read, write)

    def unregister(self, fd: int) -> None:
        """Poll ``fd`` no more; one that has been closed is gone already."""
        if fd in self._fds:
            with suppress(OSError, ValueError):
                self.modify(fd, False, False)
            del self._fds[fd]

    def poll(self) -> Iterator[int]:
        """Poll once and yield the descriptors that can be read."""
        for fd, readable, _ in self.poll_events(self.timeout):
            if readable:
                yield fd

    def poll_events(self, timeout: float | None = None) -> list[Ready]:
        """Poll once, for ``timeout`` seconds at most (None: no limit)."""
        try:
            events = self.poller.control(None, 2 * len(self._fds) + 1, timeout)
        except (OSError, ValueError):
            if not self.poller.closed:
                raise
            return []  # It has been closed meanwhile, by another thread.
        ready: dict[int, tuple[bool, bool]] = {}
        for event in events:
            readable, writable = ready.get(event.ident, (False, False))
            is_read = event.filter == self._select.KQ_FILTER_READ
            ready[event.ident] = (readable or is_read, writable or not is_read)
        return [(fd, readable, writable) for fd, (readable, writable) in ready.items()]


def make_poller() -> Any:
    """Return the best poller that the platform has."""
    if hasattr(select, "epoll"):
        return EPollPoller()
    if hasattr(select, "kqueue"):
        return KQueuePoller()
    return SelectPoller()


def _epoll_mask(read: bool, write: bool) -> int:
    return (select.EPOLLIN if read else 0) | (select.EPOLLOUT if write else 0)


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
