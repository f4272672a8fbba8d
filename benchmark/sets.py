"""What the ``make`` targets measure: which servers and clients in which cells, and for how long."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import NamedTuple

from benchmark.kinds import fits, kind
from benchmark.measure import Settings
from benchmark.peers import PROGRAMS, chosen
from benchmark.targets import FIELD, TARGETS

#: The names of what is measured in each cell, in the order of PROGRAMS.
Plan = dict[str, list[str]]


def make_plan(*parts: tuple[Iterable[str], Iterable[str]]) -> Plan:
    """Put together parts of a plan: cells, and names of which those that fit are measured there."""
    wanted: dict[str, set[str]] = {}
    for cells, names in parts:
        for cell in cells:
            wanted.setdefault(cell, set()).update(names)
    return {
        cell: fitting
        for cell, names in wanted.items()
        if (fitting := [n for n, p in PROGRAMS.items() if n in names and fits(kind(cell), p)])
    }


class Set(NamedTuple):
    """A plan, in how many rounds, and for how long each cell of a program is measured."""

    plan: Plan
    rounds: int
    seconds: float


def programs(plan: Plan) -> list[str]:
    """Return the names of all that is in a plan."""
    return list(dict.fromkeys(chain.from_iterable(plan.values())))


def seconds_of(plan: Plan, settings: Settings) -> dict[str, float]:
    """Return about how long a round takes in each cell."""
    return {cell: len(names) * kind(cell).seconds(settings) for cell, names in plan.items()}


def minutes(plan: Plan, rounds: int, settings: Settings) -> float:
    """Return about how long it takes to measure all of a plan."""
    return rounds * sum(seconds_of(plan, settings).values()) / 60


EVERYBODY = chosen("ours,peers,old,ceiling")
#: The standalone server, and the peers that are known best.
KNOWN = chosen("ws4py,ws4py-pure,ws4py-asyncio,picows-uvloop,websockets,aiohttp,tornado")
#: Those that show what the number of connections does, and the window.
FEW = chosen("ws4py,ws4py-pure,ws4py-asyncio,picows-uvloop,websockets,tcp-python")
#: All engines, and the peers of each.
ENGINES = chosen("ours,picows-uvloop,websockets,aiohttp,tornado,gevent-websocket,uvicorn,node-ws")
#: Fifty messages of 1 MiB take each of these several seconds.
SLOW = set(chosen("gevent-websocket,ws4py-0.6-wsgiref,ws4py-0.6-gevent,ws4py-0.6-cherrypy"))

MIB = "1048576"
SIZES = ("16", "125", "1024", "16384", MIB)
CLIENTS = ("client125x1", "client125x32", "client16384x1")

SHORT = make_plan(
    (("16x50x1", "16x50x32", "16384x50x1"), [*KNOWN, "tcp-python", "tcp-c"]),
    (("opening1000", "broadcast125x500"), KNOWN),
    (("client125x1", "client125x32"), [*KNOWN, "websocket-client"]),
)
OF_TARGETS = [((t.cell,), t.programs) for targets in TARGETS.values() for t in targets]
FULL = make_plan(
    (FIELD, EVERYBODY),
    ((f"{MIB}x50x1",), set(EVERYBODY) - SLOW),
    (("125x50x1", "125x50x32", "1024x50x1", "16384x50x32"), [*KNOWN, "tcp-python"]),
    ((f"{size}x1x{window}" for size in SIZES for window in (1, 32)), FEW),
    # What is outstanding has to fit into memory: more than 16 KiB each does not.
    (("16x1000x1", "16x1000x32", "125x1000x1", "125x1000x32"), FEW),
    (("1024x1000x1", "1024x1000x32", "16384x1000x1"), FEW),
    (("16x50x1s", "16x50x32s", "16384x50x1s"), ENGINES),
    ((f"{MIB}x50x1s",), set(ENGINES) - SLOW),
    (("opening5000",), ENGINES),
    (("opening10000", "crowd10000"), FEW),
    (("broadcast125x500", *CLIENTS), EVERYBODY),
    *OF_TARGETS,
)

SETS = {
    "short": Set(SHORT, rounds=5, seconds=0.7),
    "targets": Set(make_plan(*OF_TARGETS), rounds=7, seconds=1.0),
    "full": Set(FULL, rounds=5, seconds=0.6),
}
