"""Attacks from outside: raw sockets against every engine, in both roles.

An attack is a function of a :class:`Target`, and fails with an AssertionError. It neither knows
nor imports what it attacks, so it can be turned against any implementation. :func:`attack` puts it
into ``ATTACKS``; :mod:`test.hostile.owners` says where its answer is not ours to give.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from test.hostile.wire import Wire

#: The classes of attacks.
HANDSHAKE, FRAMES, UTF8, CLOSING, FLOODS, ISOLATION, DEFLATE = KINDS = (
    "handshake",
    "frames",
    "utf8",
    "closing",
    "floods",
    "isolation",
    "deflate",
)
SERVER, CLIENT = ROLES = "server", "client"

#: Seconds in which a fresh connection has its echo, whatever else goes on. Whoever is held up is so
#: for tens of seconds; three of these tests at a time, on two slow cores, may take half of this.
AT_ONCE = 6.0
#: Bytes that an attack on memory may cost.
ALLOWED = 32 * 1024 * 1024
#: The only Origin that a server lets connect, and the subprotocols that it speaks.
ORIGIN = "https://good.example"
PROTOCOLS = ["chat", "superchat"]


class Target(Protocol):
    """A process that echoes every message, and is attacked.

    Attributes:
        engine: Its name, as :mod:`test.hostile.owners` has it.
        role: The role in which it runs: SERVER or CLIENT.
        port: Where a server listens.
        pid: The process.
    """

    engine: str
    role: str
    port: int
    pid: int

    def open(self, early: bytes = b"", path: str = "/", extensions: str = "") -> Wire:
        """Return a connection whose opening handshake is done.

        Args:
            early: What is sent in one segment with our part of the handshake.
            path: What the target is to do but echo: see :mod:`test.hostile.apps`.
            extensions: What is offered to a server, or answered to a client.
        """

    def echo(self) -> None:
        """Fail unless a fresh connection has an echo within AT_ONCE."""

    def memory(self) -> int:
        """Return the most bytes of memory that it has ever had (VmHWM)."""

    def counts(self) -> tuple[int, int]:
        """Return its open descriptors and its threads."""

    def log(self) -> str:
        """Return what it has written."""


@dataclass(frozen=True)
class Attack:
    """One attack, or one case of it.

    Attributes:
        kind: One of KINDS.
        roles: Those of the targets that it makes sense for.
        cites: The section of the RFC that asks for the right answer ("RFC 6455 5.1"), or
            "a limit of ours".
        fresh: Whether it wants a process of its own, since it measures memory.
        secure: Whether it is for servers with TLS.
    """

    name: str
    kind: str
    roles: tuple[str, ...]
    cites: str
    fresh: bool
    secure: bool
    run: Callable[[Target], None]


ATTACKS: dict[str, Attack] = {}


def attack(
    kind: str,
    cites: str,
    cases: Iterable[tuple[Any, ...]] | None = None,
    roles: tuple[str, ...] = ROLES,
    fresh: bool = False,
    secure: bool = False,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Put an attack into ATTACKS.

    Args:
        cases: The first of each is the case's name, the others are arguments behind the target.
    """

    def add(function: Callable[..., None]) -> Callable[..., None]:
        title = function.__name__.replace("_", " ")
        for name, *arguments in [("",)] if cases is None else cases:
            full = f"{title}: {name}" if name else title
            assert full not in ATTACKS, f"there are two attacks {full!r}"

            def run(target: Target, arguments: Any = tuple(arguments)) -> None:
                function(target, *arguments)

            ATTACKS[full] = Attack(full, kind, roles, cites, fresh, secure, run)
        return function

    return add
