"""What ws4py is to reach, and whether it does: beside peers, and in figures of its own.

A ratio is of CPU time, divided round by round; the median of the rounds counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import ClassVar, Union

from benchmark.kinds import kind
from benchmark.report import Result, Row, good, ratios, samples_of, spread

MET = "met"
COMPILED, PURE = "ws4py", "ws4py-pure"
#: Targets in CPU µs are for a machine that takes so many for this bare echo in this cell.
BARE_ECHO, BARE_CELL, BARE_US = "tcp-python", "16x50x1", 5.8
#: What every server is compared by.
FIELD = ("16x50x1", "16x50x32", "1024x50x32", "16384x50x1")
UP_TO_1_KIB = tuple(
    f"{size}x{load}" for size in (16, 125, 1024) for load in ("50x1", "1x32", "50x32", "1000x32")
)


@dataclass(frozen=True)
class Ratio:
    """In this cell ``ours`` takes at most ``most`` times the CPU time of ``peer``."""

    cell: str
    ours: str
    peer: str
    most: float

    head: ClassVar = ["cell", "ours", "CPU µs", "against", "CPU µs", "ratio", "target", ""]

    @property
    def programs(self) -> tuple[str, ...]:
        return self.ours, self.peer

    def values(self, result: Result) -> list[float]:
        ours, peer = (good(samples_of(result, self.cell, name)) for name in self.programs)
        return ratios(ours, peer, "cpu_us")

    def slowness(self, result: Result) -> float:
        return 1

    def row(self, result: Result) -> Row:
        ours, peer = (figures(result, self.cell, name, "cpu_us") for name in self.programs)
        return [kind(self.cell).title, self.ours, spread(ours), self.peer, spread(peer)]


@dataclass(frozen=True)
class Bound:
    """In this cell this figure of ``ours`` is at most ``most``."""

    cell: str
    ours: str
    key: str
    most: float

    head: ClassVar = ["cell", "ours", "figure", "measured", "target", ""]

    @property
    def programs(self) -> tuple[str, ...]:
        return (self.ours,)

    def values(self, result: Result) -> list[float]:
        return figures(result, self.cell, self.ours, self.key)

    def slowness(self, result: Result) -> float:
        """Say how many times as long as the machine that the target is for this one takes."""
        bare = figures(result, BARE_CELL, BARE_ECHO, "cpu_us") if self.key == "cpu_us" else None
        return median(bare) / BARE_US if bare else 1

    def row(self, result: Result) -> Row:
        cell = kind(self.cell)
        title = next(column.title for column in cell.columns if self.key in column.keys)
        return [cell.title, self.ours, title]


Target = Union[Ratio, Bound]


def against(peer: str, *cells: str, compiled: float, pure: float | None = None) -> Iterator[Ratio]:
    """Give the targets of the standalone server, with and without compiled code."""
    for cell in cells:
        yield Ratio(cell, COMPILED, peer, compiled)
        if pure is not None:
            yield Ratio(cell, PURE, peer, pure)


def engine(ours: str, *peers: str) -> Iterator[Ratio]:
    """Give the targets of an engine: to be no slower than what its users would use instead."""
    for peer in peers:
        for cell in FIELD:
            yield Ratio(cell, ours, peer, 1.0)


#: By the titles of their tables.
TARGETS: dict[str, list[Target]] = {
    "Targets: the standalone server and its peers": [
        *against("picows-uvloop", "16x50x1", compiled=1.0, pure=1.3),
        *against("picows-uvloop", "16x50x32", compiled=0.15, pure=0.4),
        *against("picows-uvloop", "16384x50x1", compiled=1.0),
        *against("picows-uvloop", "1048576x50x1", compiled=1.1, pure=4.5),
        *against("websockets", *UP_TO_1_KIB, compiled=0.5, pure=1.0),
        *against("websockets", "16384x50x1", compiled=0.5, pure=1.5),
        *against("tcp-python", "16x50x1", compiled=1.25),
        *against("ws4py-0.6-wsgiref-wsaccel", *FIELD, compiled=0.5, pure=0.8),
        *against("ws4py-0.6-gevent-wsaccel", *FIELD, compiled=0.5, pure=0.8),
        *against("ws4py-0.6-cherrypy-wsaccel", *FIELD, compiled=0.5, pure=0.8),
    ],
    "Targets: the other engines and their peers": [
        *engine("ws4py-gevent", "gevent-websocket", "ws4py-0.6-gevent-wsaccel"),
        *engine("ws4py-tornado", "tornado"),
        *engine("ws4py-asyncio", "websockets", "aiohttp"),
        *engine("ws4py-wsgiref", "ws4py-0.6-wsgiref-wsaccel"),
        *engine("ws4py-cherrypy", "ws4py-0.6-cherrypy-wsaccel"),
    ],
    "Targets: handshakes, idle connections, broadcasts": [
        Bound("opening5000", COMPILED, "cpu_us", 60),
        Bound("opening5000", PURE, "cpu_us", 60),
        Bound("opening5000", COMPILED, "kib", 3),
        Bound("opening5000", "ws4py-asyncio", "kib", 8),
        Bound("opening10000", COMPILED, "kib", 3),
        Bound("broadcast125x500", COMPILED, "cpu_us", 4.5),
        Bound("broadcast125x500", PURE, "cpu_us", 4.5),
        Bound("crowd10000", COMPILED, "beside", 1.2),
        Bound("crowd10000", PURE, "beside", 1.2),
    ],
}


def figures(result: Result, cell: str, name: str, key: str) -> list[float]:
    return [sample[key] for sample in good(samples_of(result, cell, name))]


def is_planned(target: Target, result: Result) -> bool:
    return set(target.programs) <= set(result["plan"].get(target.cell, ()))


def verdict(values: Sequence[float], most: float, slowness: float) -> str:
    if not values:
        return "not measured"
    times = median(values) / most
    if times <= 1:
        return MET
    missed = f"missed: {times:.2f} times it"
    return missed if slowness == 1 else f"{missed}, {times / slowness:.2f} at its machine's speed"


def table(result: Result, targets: Sequence[Target]) -> list[Row]:
    """Return the rows of those targets that the run was to measure, the head first."""
    rows = [targets[0].head]
    for target in targets:
        if is_planned(target, result):
            values = target.values(result)
            judged = verdict(values, target.most, target.slowness(result))
            rows.append([*target.row(result), spread(values), f"{target.most:g}", judged])
    return rows
