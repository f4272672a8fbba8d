"""Names that programs for older releases import. Nothing in ws4py does."""

from __future__ import annotations

import sys
from builtins import range  # noqa: A004, UP029
from typing import Any
from urllib.parse import urlsplit

py3k = True
unicode = str
basestring = (bytes, str)

__all__ = [
    "basestring",
    "detach_connection",
    "get_connection",
    "ord",
    "py3k",
    "range",
    "sys",
    "unicode",
    "urlsplit",
]

_ord = ord


def ord(c: int | str | bytes) -> int:  # noqa: A001
    """Return the number of a character, or of a byte that is one already."""
    return c if isinstance(c, int) else _ord(c)


def get_connection(fileobj: Any) -> Any:
    """Return the socket under a file object that ``socket.makefile`` made."""
    return fileobj.raw._sock


def detach_connection(fileobj: Any) -> None:
    """Separate the buffer of a file object from its socket."""
    fileobj.detach()
