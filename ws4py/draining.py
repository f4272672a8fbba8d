"""Draining: how a server that stops ends its connections, spread over a time.

Clients that are all told at once connect to the next server at once, by the thousand. So the
Close frames go out evenly over the first half of the time; the second half is there for the last
closing handshakes. What has not ended when the time is over is dropped.

There is no I/O here and no waiting: an engine takes the steps, and waits between them in its way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from logging import getLogger
from math import ceil
from time import monotonic
from typing import Any, Callable

from ws4py.driver import broadcasting
from ws4py.limits import is_amount
from ws4py.streaming import check_closing_code

__all__ = ["GRACE", "check_drain", "close_all", "draining", "go_away", "longest_close"]

logger = getLogger("ws4py")

#: Seconds that a callback has to return, once its connection has been dropped.
GRACE = 1.0

#: Seconds between two steps: thousands of timers would cost more than they spread.
_STEP = 0.02

# "1001 indicates that an endpoint is 'going away', such as a server going down"
# (RFC 6455, section 7.4.1).
_GOING_AWAY = 1001


def check_drain(seconds: Any) -> None:
    """See to it that these can be the seconds of a drain.

    Raises:
        ValueError: They are not a number, or negative, or without end.
    """
    if seconds is not None and not is_amount(seconds):
        raise ValueError(f"drain={seconds!r} is not a number of seconds, 0 or more")


def go_away(websocket: Any) -> None:
    """Begin the closing handshake, because the server goes; wait for nothing."""
    close_all((websocket,), _GOING_AWAY, "Server is shutting down")


def close_all(websockets: Iterable[Any], code: int, reason: str) -> None:
    """Begin the closing handshake of each; wait for nothing.

    What is wrong with one of them does not matter to the others.

    Raises:
        ValueError: No Close frame can have that code.
    """
    check_closing_code(code)
    with broadcasting():
        for websocket in websockets:
            try:
                websocket._ask_to_close(code, reason)
            except Exception:
                logger.exception("A websocket could not be closed")


def longest_close(websockets: Iterable[Any]) -> float | None:
    """Return the seconds in which they all end, once they are closed; None if one may never."""
    times = [websocket.limits.close_timeout for websocket in websockets]
    return None if None in times else max(times, default=0.0)


def draining(
    websockets: Callable[[], Iterable[Any]], seconds: float
) -> Generator[float, None, None]:
    """Return the steps that end connections: each yields the seconds until the next one.

    The steps end when there is no connection left, or when those that were left at the end of the
    time have been dropped. Drops need what a driver calls next: ``closed`` comes from there.

    Args:
        websockets: Returns those that have not ended.
        seconds: All the time there is; 0 to close and drop at once.

    Raises:
        ValueError: ``seconds`` cannot be a time.
    """
    check_drain(seconds)
    return _steps(websockets, seconds)


def _steps(websockets: Callable[[], Iterable[Any]], seconds: float) -> Generator[float, None, None]:
    begin = monotonic()
    waiting = deque(websockets())
    number = len(waiting)
    while any(True for _ in websockets()):
        elapsed = monotonic() - begin
        if elapsed >= seconds:
            break
        while len(waiting) >= max(1, ceil(number * (1 - 2 * elapsed / seconds))):
            go_away(waiting.popleft())
        yield min(_STEP, seconds - elapsed)
    untold = [each for each in websockets() if not each.close_sent]
    for websocket in untold:
        go_away(websocket)
    if untold:
        yield _STEP  # Some loops send in their next turn; and what is dropped sends nothing.
    for websocket in websockets():
        websocket._drop(f"it had not ended in the {seconds} s in which the server stops")
