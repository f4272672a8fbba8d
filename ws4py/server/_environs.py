"""Environs that are kept as long as their connections, by the thousand."""

from __future__ import annotations

from typing import Any

__all__ = ["Environs"]

#: Sets of names that are told apart: browsers and libraries have one or two each.
_MOST = 32


class _Kind:
    """Environs with the same names: what the last one had of each, and how to make one."""

    def __init__(self) -> None:
        # The dicts of a class's objects have one table of names in common (PEP 412).
        self.shape: Any = type("Environ", (), {})
        self.last: dict[str, Any] = {}

    def make(self, environ: dict[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = vars(self.shape())
        last = self.last
        for name, value in environ.items():
            known = last.get(name)
            if known != value:
                known = last[name] = value
            made[name] = known
        return made


class Environs:
    """Makes environs smaller: what several connections have in common is kept once.

    They are dicts as before, each of them its connection's own. Only their strings are shared, and
    the table of their names until somebody adds to it.
    """

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, ...], _Kind] = {}

    def compact(self, environ: dict[str, Any]) -> dict[str, Any]:
        """Return a dict equal to ``environ``, which has strings only."""
        names = tuple(environ)
        kind = self._kinds.get(names)
        if kind is None:
            if len(self._kinds) >= _MOST:
                return environ
            kind = self._kinds[names] = _Kind()
        return kind.make(environ)
