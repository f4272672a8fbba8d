"""What ``send`` returns on the engines on asyncio: a wait for room in the queue, or none."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from functools import partial
from typing import Any, Callable

from ws4py._asyncio import call_soon, wake
from ws4py.websocket import WebSocket

__all__ = ["READY", "Ready", "Room"]


class Ready:
    """What ``send`` returns when there is room: it can be awaited, or left alone."""

    def __await__(self) -> Generator[Any, None, None]:
        yield from ()


READY = Ready()


class Room:
    """What ``send`` returns when there is none: it can be awaited, or left alone.

    Waits until no more than ``limits.low_water`` bytes are queued, or the connection has ended.
    """

    def __init__(self, websocket: WebSocket, loop: asyncio.AbstractEventLoop) -> None:
        self._websocket = websocket
        self._loop = loop

    def __await__(self) -> Generator[Any, None, None]:
        return self._wait().__await__()

    async def _wait(self) -> None:
        websocket = self._websocket
        while True:
            with websocket._lock:
                if not self._is_needed():
                    return
                future = self._loop.create_future()
                waker = partial(call_soon, self._loop, partial(wake, future))
                websocket._waiters += (waker,)
            try:
                await future
            except asyncio.CancelledError:
                self._forget(waker)
                raise

    def _forget(self, waker: Callable[[], object]) -> None:
        """Let go of what would have woken a wait that was given up."""
        websocket = self._websocket
        with websocket._lock:
            websocket._waiters = tuple(each for each in websocket._waiters if each is not waker)

    def _is_needed(self) -> bool:
        websocket = self._websocket
        if websocket._over or websocket._broken or websocket._ending:
            return False
        return websocket._queued > websocket.limits.low_water or websocket._source is not None
