"""Compare ws4py with the reference parser on many streams.

``python -m test.fuzz.campaign SEED COUNT [ROLE]`` prints the first disagreement and exits with 1
if there is one. With a role it leaves out the streams that are for the other one.
"""

from __future__ import annotations

import sys
import traceback
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Callable

from .drive import drive_stream, drive_stream_by_send, drive_websocket
from .generate import Case, make_case
from .reference import BRANCHES, Event, Outcome, Rules, parse

Driver = Callable[[Rules, Sequence[bytes]], list[Event]]
DRIVERS: tuple[Driver, ...] = (drive_stream, drive_stream_by_send, drive_websocket)

#: Who reads a stream, by whether it expects masked frames.
ROLES = {True: "server", False: "client"}

#: What a campaign has to meet in each role, in the words of ``names``.
_NAMES = (
    *BRANCHES,
    *(f"close {code}" for code in (1000, 1001, 1002, 1003, 1005, *range(1007, 1015))),
    "close 3000-4999",
    *(f"error {code}" for code in (1002, 1007, 1008, 1009)),
    *("text", "binary", "ping", "pong", "no end"),
)
#: A server has nothing against masked frames, and a client nothing against others.
COUNTED = tuple(
    (role, name)
    for role in ROLES.values()
    for name in _NAMES
    if (role, name) not in {("server", "masked"), ("client", "unmasked")}
)


def run(
    seed: int, count: int, hits: Counter[tuple[str, str]], roles: Collection[str] = ROLES.values()
) -> str | None:
    """Run ``count`` streams; return a description of the first disagreement.

    ``hits`` counts what the streams are about, by the reference's account, and in which role.
    """
    for number in range(count):
        case = make_case(seed, number)
        role = ROLES[case.rules.expect_masking]
        if role not in roles:
            continue
        expected = parse(case.data, case.rules)
        hits.update((role, name) for name in names(expected))
        for driver in DRIVERS:
            complaint = disagreement(case, expected, driver)
            if complaint is not None:
                return complaint
    return None


def names(outcome: Outcome) -> list[str]:
    """Name what a stream is about: its events, and how it ends."""
    found = [event[0] for event in outcome.events if event[0] not in ("close", "error")]
    end = outcome.events[-1] if outcome.events else ("",)
    if end[0] == "error":
        return [*found, f"error {end[1]}", str(outcome.branch)]
    if end[0] == "close":
        return [*found, "close 3000-4999" if end[1] >= 3000 else f"close {end[1]}"]
    return [*found, "no end"]


def disagreement(case: Case, expected: Outcome, driver: Driver) -> str | None:
    """Describe how what ``driver`` got out of ws4py is not what was expected."""
    try:
        events = driver(case.rules, case.chunks)
    except Exception:  # noqa: BLE001 - a fault in a parser may raise anything
        return describe(case, driver, expected, traceback.format_exc())
    if events == expected.events or events in expected.others:
        return None
    if expected.early is not None and events == expected.events + [expected.early]:
        return None
    return describe(case, driver, expected, show(events))


def describe(case: Case, driver: Driver, expected: Outcome, got: str) -> str:
    lines = [
        f"seed {case.seed}, number {case.number}, {driver.__name__}",
        f"{case.rules!r}",
        f"intention {case.intention!r}, branch {expected.branch!r}",
        f"stream    {case.data.hex()}",
        f"chunks    {show_chunks(case)}",
        f"expected  {show(expected.events)}",
        f"got       {got}",
    ]
    if expected.early is not None:
        lines.insert(-1, f"or also   {expected.early!r}")
    for events in expected.others:
        lines.insert(-1, f"or        {show(events)}")
    return "\n".join(lines)


def show_chunks(case: Case) -> str:
    if case.chunking != "random":
        return case.chunking
    return f"of {[len(chunk) for chunk in case.chunks]} bytes"


def show(events: Sequence[Event]) -> str:
    return f"[{', '.join(show_event(event) for event in events)}]"


def show_event(event: Event) -> str:
    text = f"{event!r}"
    if len(text) <= 400:
        return text
    return f"{text[:200]} ... {text[-100:]} ({len(event[-1])} bytes)"


if __name__ == "__main__":
    import ws4py

    print("ws4py from", ws4py.__path__[0])
    found = run(int(sys.argv[1]), int(sys.argv[2]), Counter(), sys.argv[3:] or list(ROLES.values()))
    print(found or "no disagreement")
    sys.exit(1 if found else 0)
