"""The kinds of cells: what is done to a server or a client, and what of that is shown.

A cell is written as in ``--cells``: ``16x50x1`` (an echo), ``16x50x1s`` (over TLS),
``opening5000``, ``broadcast125x500``, ``crowd10000``, ``client125x32``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

from benchmark.measure import (
    RAMP_SECONDS,
    WARMUP_SECONDS,
    Load,
    Sample,
    Settings,
    measure_client,
    started,
)
from benchmark.peers import BROADCAST, CLIENT, ECHO, TLS, Program
from benchmark.processes import Failure


class Column(NamedTuple):
    """A column of a table: its head, which figures of a sample it shows, and how.

    ``form`` is "spread" (of the rounds), "ratio" (to the first of the cell, round by round),
    "count", "digits" or "percent".
    """

    title: str
    keys: tuple[str, ...]
    form: str


class Kind(Protocol):
    """What can be measured in a cell. The less of its first column, the better."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """Return what is shown."""

    @property
    def title(self) -> str:
        """Return the cell in words."""

    @property
    def role(self) -> str:
        """Return what a program has to have a command for."""

    def seconds(self, settings: Settings) -> float:
        """Return about how long it takes to measure one program once."""

    def measure(self, program: Program, settings: Settings) -> Sample:
        """Measure once; raises Failure."""


def fits(kind: Kind, program: Program) -> bool:
    """Whether ``program`` can be measured in this cell: bare TCP is a ceiling for echoes only."""
    return kind.role in program.commands and (isinstance(kind, Echo) or not program.raw)


#: Seconds that it takes to start a program and to end it, and to open and close a connection.
PROGRAM, CONNECTION = 0.4, 0.0005
#: Handshakes at a time where there are many, and seconds until what they leave behind is looked at.
TOGETHER, SETTLE = 50, 1.0


def expected(settings: Settings, phases: int = 1) -> float:
    """Return about how many seconds it takes to start, warm up, measure and end a program."""
    return PROGRAM + WARMUP_SECONDS + phases * (RAMP_SECONDS + settings.seconds)


PER_MESSAGE = Column("CPU µs/message", ("cpu_us",), "spread")
RATIO = Column("ratio", ("cpu_us",), "ratio")
MESSAGES = (
    Column("messages/s", ("messages_per_second",), "count"),
    Column("p50 µs", ("p50_us",), "digits"),
    Column("p99 µs", ("p99_us",), "digits"),
)
BUSY = (
    Column("server busy", ("server_busy",), "percent"),
    Column("both waited", ("server_waited", "load_waited"), "percent"),
    Column("load busy", ("load_busy",), "percent"),
)


def in_units(size: int) -> str:
    for unit in ("B", "KiB"):
        if size % 1024:
            return f"{size} {unit}"
        size //= 1024
    return f"{size} MiB"


@dataclass(frozen=True)
class Echo:
    """``connections`` with ``window`` messages of ``size`` bytes outstanding on each."""

    size: int
    connections: int
    window: int
    binary: bool = False
    tls: bool = False

    columns: ClassVar = (PER_MESSAGE, RATIO, *MESSAGES, *BUSY)

    @property
    def title(self) -> str:
        kind = "binary" if self.binary else "text"
        connections = f"{self.connections} connection{'s' * (self.connections > 1)}"
        how = f"{connections}, {self.window} outstanding{', TLS' * self.tls}"
        return f"{in_units(self.size)} {kind}, {how}"

    @property
    def role(self) -> str:
        return TLS if self.tls else ECHO

    def seconds(self, settings: Settings) -> float:
        return expected(settings) + 2 * self.connections * CONNECTION

    def measure(self, program: Program, settings: Settings) -> Sample:
        load = Load(self.connections, self.size, self.window, self.binary)
        if self.tls:  # where a server leaves out TCP_NODELAY, each handshake waits for 40 ms
            load = load._replace(together=TOGETHER)
        with started(program, self.role, settings) as server:
            server.warm_up(load)
            return answered(server.put(load))


def answered(result: Sample) -> Sample:
    if not result["messages"]:
        raise Failure("no message in the measured phase")
    return result


@dataclass(frozen=True)
class Opening:
    """``connections`` are opened, 50 at a time, and then left idle."""

    connections: int

    role: ClassVar = ECHO
    columns: ClassVar = (
        Column("CPU µs/handshake", ("cpu_us",), "spread"),
        RATIO,
        Column("KiB/connection", ("kib",), "spread"),
        Column("handshakes/s", ("handshakes_per_second",), "count"),
        Column("load busy", ("load_busy",), "percent"),
    )

    @property
    def title(self) -> str:
        return f"{self.connections} connections are opened, and idle"

    def seconds(self, settings: Settings) -> float:
        return expected(settings, phases=0) + SETTLE + self.connections * CONNECTION

    def measure(self, program: Program, settings: Settings) -> Sample:
        load = Load(0, idle=self.connections, together=TOGETHER, settle=SETTLE)
        with started(program, self.role, settings) as server:
            server.warm_up(Load(50))
            found = server.put(load, seconds=0.01)
        return {
            "cpu_us": found["opening_cpu_seconds"] / found["handshakes"] * 1e6,
            "kib": found["rss_grown_kib"] / found["handshakes"],
            "handshakes_per_second": found["handshakes"] / found["opening_seconds"],
            "load_busy": found["opening_load_busy"],
        }


@dataclass(frozen=True)
class Broadcast:
    """Of ``connections``, one sends ``size`` bytes, and all receive them, itself too."""

    size: int
    connections: int

    role: ClassVar = BROADCAST
    settle: ClassVar = 0.3  # seconds: until all have been told of each other
    columns: ClassVar = (
        Column("CPU µs/delivery", ("cpu_us",), "spread"),
        RATIO,
        *MESSAGES,
        *BUSY,
    )

    @property
    def title(self) -> str:
        return f"{in_units(self.size)} text to {self.connections} connections"

    def seconds(self, settings: Settings) -> float:
        return expected(settings) + 2 * (self.connections * CONNECTION + self.settle)

    def measure(self, program: Program, settings: Settings) -> Sample:
        load = Load(self.connections, self.size, broadcast=True, settle=self.settle)
        with started(program, self.role, settings) as server:
            server.warm_up(load)
            return answered(server.put(load))


@dataclass(frozen=True)
class Crowd:
    """One connection with a message outstanding: alone, and beside ``idle`` ones."""

    idle: int

    role: ClassVar = ECHO
    columns: ClassVar = (
        Column("beside / alone", ("beside",), "spread"),
        Column("CPU µs/message alone", ("alone_us",), "spread"),
        Column("CPU µs/message beside", ("cpu_us",), "spread"),
        *MESSAGES,
        *BUSY,
    )

    @property
    def title(self) -> str:
        return f"16 B text, 1 connection, 1 outstanding, beside {self.idle} idle connections"

    def seconds(self, settings: Settings) -> float:
        return expected(settings, phases=2) + SETTLE + self.idle * CONNECTION

    def measure(self, program: Program, settings: Settings) -> Sample:
        load = Load(1)
        beside = load._replace(idle=self.idle, together=TOGETHER, settle=SETTLE)
        with started(program, self.role, settings) as server:
            server.warm_up(load)
            alone = answered(server.put(load))["cpu_us"]
            found = answered(server.put(beside))
        return {**found, "alone_us": alone, "beside": found["cpu_us"] / alone}


@dataclass(frozen=True)
class Client:
    """A client has ``window`` messages of ``size`` bytes outstanding, at an echo in C."""

    size: int
    window: int

    role: ClassVar = CLIENT
    columns: ClassVar = (
        PER_MESSAGE,
        RATIO,
        Column("messages/s", ("messages_per_second",), "count"),
        Column("echo busy", ("load_busy",), "percent"),
    )

    @property
    def title(self) -> str:
        return f"clients: {in_units(self.size)} text, {self.window} outstanding"

    def seconds(self, settings: Settings) -> float:
        return expected(settings)

    def measure(self, program: Program, settings: Settings) -> Sample:
        return measure_client(program, self.size, self.window, settings)


PATTERNS: dict[str, type[Any]] = {
    r"opening(\d+)": Opening,
    r"broadcast(\d+)x(\d+)": Broadcast,
    r"crowd(\d+)": Crowd,
    r"client(\d+)x(\d+)": Client,
}


def kind(text: str) -> Kind:
    """Return the cell that is written so."""
    if found := re.fullmatch(r"(\d+)x(\d+)x(\d+)(b?)(s?)", text):
        size, connections, window = map(int, found.groups()[:3])
        return Echo(size, connections, window, bool(found[4]), bool(found[5]))
    for pattern, cls in PATTERNS.items():
        if found := re.fullmatch(pattern, text):
            cell: Kind = cls(*map(int, found.groups()))
            return cell
    raise ValueError(f"{text!r} is not a cell")
