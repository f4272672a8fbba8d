"""How the tests run a websocket on each engine."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from test.engines.skips import SKIPS


@dataclass
class Served:
    """A server that runs.

    Args:
        port: Where it listens.
        broadcast: Sends to all its websockets.
        stop: Stops it, as a program would at its end; harmless a second time.
        drain: Ends its websockets in a number of seconds, and waits for that.
    """

    port: int
    broadcast: Callable[..., object]
    stop: Callable[[], object]
    drain: Callable[[float], object]


@dataclass
class Engine:
    """A way to run a websocket.

    Args:
        start: Called with a behaviour and a TLS context or None; a context manager. A server's
            returns a :class:`Served`, a client's a function that connects to a port.
        thread: How the name begins of the thread that callbacks run in.
        threads_each: How many threads a connection has of its own.
        tls: Whether it speaks TLS.
    """

    name: str
    start: Callable[..., Any]
    is_client: bool = False
    thread: str = ""
    threads_each: int = 0
    tls: bool = True

    def reason_to_skip(self, test: Any) -> str | None:
        """Return why a test, a node of pytest's, is in other hands than the engine's."""
        for (engine, name), reason in SKIPS.items():
            function, _, parameter = name.partition(" ")
            is_meant = (engine, function) == (self.name, test.originalname)
            if is_meant and parameter in test.callspec.id:
                return f"{engine}: {reason}"
        return None


def url(port: int, tls: ssl.SSLContext | None) -> str:
    return f"{'ws' if tls is None else 'wss'}://localhost:{port}/"
