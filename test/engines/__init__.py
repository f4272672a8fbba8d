"""How the tests run a websocket on each engine."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest


@dataclass
class Engine:
    """A way to run a websocket.

    Args:
        start: Called with a behaviour and a TLS context or None; a context manager. A server's
            returns its port, a client's a function that connects to a port.
        tls: Whether it speaks TLS.
    """

    name: str
    start: Callable[..., Any]
    is_client: bool = False
    tls: bool = True

    def skip_without_tls(self, scheme: str) -> None:
        """Skip the test if it is for TLS, which this engine has not."""
        if scheme == "wss" and not self.tls:
            pytest.skip(f"{self.name} has no TLS")


def url(port: int, tls: ssl.SSLContext | None) -> str:
    return f"{'ws' if tls is None else 'wss'}://localhost:{port}/"
