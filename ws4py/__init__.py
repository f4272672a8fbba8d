"""ws4py: WebSocket for Python (:rfc:`6455`)."""

from __future__ import annotations

import logging
import sys
from logging.handlers import RotatingFileHandler
from typing import Any

from ws4py.handshake import WS_KEY, WS_VERSION

__author__ = "the ws4py contributors"
__version__ = "1.0.0.dev0"
__all__ = ["WS_KEY", "WS_VERSION", "configure_logger", "format_addresses"]


def configure_logger(
    stdout: bool = True, filepath: str | None = None, level: int = logging.INFO
) -> logging.Logger:
    """Add handlers to the logger ``ws4py``, and return it.

    A second call replaces the handlers of the first one.

    Args:
        stdout: Whether it writes to the standard output.
        filepath: A file that it writes to, of 10 MiB at most, with three older ones kept.
        level: The lowest level that is logged.
    """
    logger = logging.getLogger("ws4py")
    logger.setLevel(level)
    for handler in [each for each in logger.handlers if hasattr(each, "_is_of_ws4py")]:
        logger.removeHandler(handler)
        handler.close()
    handlers: list[logging.Handler] = []
    if filepath:
        handlers.append(RotatingFileHandler(filepath, maxBytes=10485760, backupCount=3))
    if stdout:
        handlers.append(logging.StreamHandler(sys.stdout))
    for handler in handlers:
        handler.setLevel(level)
        handler.setFormatter(logging.Formatter("[%(asctime)s] %(levelname)s %(message)s"))
        handler._is_of_ws4py = True
        logger.addHandler(handler)
    return logger


def format_addresses(ws: Any) -> str:
    """Return both addresses of a connected websocket, for people to read."""
    local, peer = ws.local_address, ws.peer_address
    if isinstance(local, tuple) and isinstance(peer, tuple):
        return f"[Local => {local[0]}:{local[1]} | Remote => {peer[0]}:{peer[1]}]"
    return f"[Bound to '{local}']"
