"""How the tests run a websocket on each engine."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from test.engines.skips import SKIPS


@dataclass
class Engine:
    """A way to run a websocket.

    Args:
        start: Called with a behaviour and a TLS context or None; a context manager. A server's
            returns its port, a client's a function that connects to a port.
    """

    name: str
    start: Callable[..., Any]
    is_client: bool = False

    def skip(self, test: Any) -> None:
        """Skip a test, a node of pytest's, whose outcome is in other hands than the engine's."""
        for (engine, name), reason in SKIPS.items():
            function, _, parameter = name.partition(" ")
            is_meant = (engine, function) == (self.name, test.originalname)
            if is_meant and parameter in test.callspec.id:
                pytest.skip(f"{engine}: {reason}")


def url(port: int, tls: ssl.SSLContext | None) -> str:
    return f"{'ws' if tls is None else 'wss'}://localhost:{port}/"
