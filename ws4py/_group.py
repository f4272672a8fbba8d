"""The websockets of a server on a loop of asyncio, and how they end with it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator, Iterator
from contextlib import suppress
from logging import getLogger
from typing import Any

from ws4py.draining import GRACE, close_all, draining, longest_close
from ws4py.sending import broadcast

__all__ = ["WebSockets", "wait_in", "wake", "within"]

logger = getLogger("ws4py")


class WebSockets:
    """The websockets of a server that are connected: iterate, or take the ``len``."""

    def __init__(self) -> None:
        # Each is a ws4py._asyncio.Connection.
        self._connections: set[Any] = set()
        self._waiters: list[asyncio.Future[None]] = []
        self._drainer: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._connections)

    def __iter__(self) -> Iterator[Any]:
        return iter([each.websocket for each in list(self._connections)])

    def broadcast(self, message: Any, binary: bool = False, compress: bool = True) -> None:
        """Send ``message`` to each websocket, as ``send`` takes it; wait for none."""
        broadcast(self, message, binary, compress)

    def close_all(self, code: int = 1001, message: str = "Server is shutting down") -> None:
        """Begin the closing handshake of each websocket; do not wait for any.

        What is wrong with one of them does not matter to the others.

        Raises:
            ValueError: No Close frame can have that code.
        """
        close_all(self, code, message)

    async def drain(self, seconds: float) -> None:
        """Close each websocket with 1001, and wait until each has ended.

        The closes are evenly spread over the first half of ``seconds``, so that not all clients
        connect again at once; what is left at the end of the time is dropped. From now on new
        handshakes are refused with 503. Only the first call tells how long.

        Raises:
            ValueError: ``seconds`` is negative, or not a number.
        """
        steps = draining(lambda: self, seconds)
        if self._drainer is None:
            self._drainer = asyncio.ensure_future(self._drain(steps))
        await asyncio.shield(self._drainer)

    async def _drain(self, steps: Generator[float, None, None]) -> None:
        for seconds in steps:
            await asyncio.sleep(seconds)
        for connection in list(self._connections):
            connection.abort()  # It may have ended, but for bytes that nobody reads.
        await self._wait_ended(GRACE)

    @property
    def is_draining(self) -> bool:
        """Whether :meth:`drain` has been called."""
        return self._drainer is not None

    async def wait_closed(self) -> None:
        """Wait until each websocket has ended, after :meth:`close_all`.

        That takes the longest ``limits.close_timeout`` of them; a callback that is still at work
        then is cancelled, and so is ``closed`` after the same time again. One that goes on all the
        same is not waited for any longer.
        """
        if self._drainer is not None:
            await asyncio.shield(self._drainer)
            return
        seconds = longest_close(self)
        await self._wait_ended(None if seconds is None else seconds or GRACE)

    async def _wait_ended(self, seconds: float | None) -> None:
        """Wait for the ends, ``seconds`` for each: of callbacks, of ``closed``, and of all."""
        for _ in range(4):  # ``closed`` may begin late, and has its time too.
            with suppress(TimeoutError):
                await within(seconds, self._wait_idle())
            for websocket in self:
                if getattr(websocket, "_awaits", False):
                    websocket._cancel()
        for connection in list(self._connections):
            logger.error("A callback does not end: %r is given up", connection.websocket)
            connection.give_up()

    async def _wait_idle(self) -> None:
        while self._connections:
            await wait_in(self._waiters)

    def _add(self, connection: Any) -> None:
        self._connections.add(connection)

    def _discard(self, connection: Any) -> None:
        self._connections.discard(connection)
        if not self._connections:
            waiters, self._waiters = self._waiters, []
            for future in waiters:
                wake(future)


async def within(seconds: float | None, work: Coroutine[Any, Any, Any]) -> Any:
    """Return what ``work`` returns, if it does so in time.

    Whoever is cancelled meanwhile is told so. ``asyncio.wait_for`` forgets it before Python 3.12,
    where the work is done at that moment.

    Raises:
        TimeoutError: It did not; it has been cancelled, and has ended.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait([task], timeout=seconds)
    except asyncio.CancelledError:
        await _cancel(task)
        raise
    if not task.done():
        await _cancel(task)
    if task.cancelled():
        raise TimeoutError
    return task.result()


async def _cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def wait_in(waiters: list[asyncio.Future[None]]) -> None:
    """Wait for a future of this wait's own among ``waiters``; who gives up leaves none."""
    future = asyncio.get_running_loop().create_future()
    waiters.append(future)
    try:
        await future
    finally:
        if future in waiters:
            waiters.remove(future)


def wake(future: asyncio.Future[None]) -> None:
    """Give a future its result, unless it has one or was cancelled."""
    if not future.done():
        future.set_result(None)
