"""Heartbeat: Pings, and the end of a peer that shows no sign of life."""

from __future__ import annotations

from contextlib import suppress
from threading import Event, Thread
from time import monotonic
from typing import Any

from ws4py.exc import Terminated
from ws4py.limits import check_seconds

__all__ = ["Heartbeat", "Pulse", "check_frequency"]


def check_frequency(seconds: Any) -> None:
    """See to it that these can be the seconds between two Pings.

    Raises:
        ValueError: They cannot.
    """
    if seconds is not None:
        check_seconds(seconds, "heartbeat_freq")


class Pulse:
    """Says when a Ping is due on a connection, and when its peer is dead.

    Any byte that is received is life, and so is any that the kernel takes of a queue: a Ping
    behind a large message comes late. While the peer is not read, because there is no room for
    answers or a callback takes its time, nothing can be said of it.
    """

    __slots__ = ("_due", "_frequency", "_pinged_at", "_websocket")

    def __init__(self, websocket: Any, frequency: float) -> None:
        self._websocket = websocket
        self._frequency = frequency
        self._due = 0.0
        self._pinged_at: float | None = None

    def schedule(self, seconds: float | None = None) -> None:
        """Beat by the timers of the websocket's driver: in ``seconds``, and so on."""
        self._websocket._heartbeat = self._websocket._driver.call_later(
            self._frequency if seconds is None else seconds, self
        )

    def __call__(self) -> None:
        """Beat, and see to it that this is called again; what the timer calls."""
        seconds = self.beat()
        if seconds is not None:
            self.schedule(seconds)

    def beat(self) -> float | None:
        """Do what is due now.

        Returns:
            The seconds until this is to be called again; None once the connection has ended.
        """
        websocket = self._websocket
        if websocket._over or websocket._lost:
            return None
        now, timeout = monotonic(), websocket.limits.heartbeat_timeout
        if websocket._alive or websocket._paused or websocket._busy is not None:
            websocket._alive, self._pinged_at = False, None
        elif self._pinged_at is not None and timeout and now >= self._pinged_at + timeout:
            websocket._give_up(f"no sign of life in {timeout} s")
            return None
        if now >= self._due:
            self._ping(now)
        end = self._due if self._pinged_at is None or not timeout else self._pinged_at + timeout
        return max(min(self._due, end) - now, 0.001)

    def _ping(self, now: float) -> None:
        self._due = now + self._frequency
        if self._pinged_at is None:
            self._pinged_at = now
        if not self._websocket._outgoing:
            with suppress(Terminated):
                self._websocket.ping("")


class Heartbeat(Thread):
    """Beats in a thread of its own.

    A context manager: it starts if ``frequency`` is neither 0 nor None, and stops at the exit.

    Args:
        websocket: The connection.
        frequency: Seconds between two Pings.
    """

    def __init__(self, websocket: Any, frequency: float | None = 2.0) -> None:
        super().__init__(name="Heartbeat", daemon=True)
        self.websocket = websocket
        self.frequency = frequency
        self._stopped = Event()

    @property
    def running(self) -> bool:
        """Whether it has been started and not yet stopped."""
        return self.is_alive() and not self._stopped.is_set()

    def __enter__(self) -> Heartbeat:
        if self.frequency:
            self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop, or never start."""
        self._stopped.set()

    def run(self) -> None:
        """Beat until the connection has ended."""
        seconds = self.frequency
        pulse = Pulse(self.websocket, seconds or 0)
        while seconds and not self._stopped.wait(seconds):
            seconds = pulse.beat()
