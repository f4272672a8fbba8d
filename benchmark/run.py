"""Compare servers and clients: CPU time per message first, then throughput and latency.

They are interleaved: in each round every cell is measured once on every server, each time on a
fresh process, so that a disturbance of the machine does not hit one server alone.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from pathlib import Path

from benchmark import page, peers, report
from benchmark.environments import Unavailable, build_load
from benchmark.kinds import kind
from benchmark.measure import Sample, Settings
from benchmark.peers import CLIENT, GROUPS, PROGRAMS, TLS
from benchmark.processes import Failure, is_ours
from benchmark.report import Result
from benchmark.sets import SETS, Plan, Set, make_plan, minutes, programs, seconds_of


def cells(text: str) -> list[str]:
    """Parse a list of cells."""
    names = [part.strip() for part in text.split(",")]
    try:
        for name in names:
            kind(name)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc
    return names


def servers(text: str) -> list[str]:
    """Parse a list of names and groups."""
    try:
        return peers.chosen(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmark.run", description=__doc__)
    add = parser.add_argument
    add("--set", choices=SETS, default="short", help="what is measured, unless said otherwise")
    add("--rounds", type=int)
    add("--seconds", type=float, help="of each measured phase")
    add("--cells", type=cells, help="such as 16x50x1,16x50x32s,opening5000; kinds.py has all")
    add("--servers", type=servers, help=f"of {', '.join([*GROUPS, *PROGRAMS])}")
    add("--refill", type=int, default=0, help="replies awaited before sending on (the window)")
    add("--server-core", type=int, default=0)
    add("--load-core", type=int, default=1)
    add("--json", type=Path, metavar="FILE", help="written after each round")
    add("--page", type=Path, metavar="FILE.md", help="write tables, and plots beside it")
    add("--plan", action="store_true", help="only show what would be measured, and how long")
    return parser.parse_args(arguments)


def chosen(options: argparse.Namespace) -> Set:
    """Return the set that is meant, with what is said otherwise; all servers in all cells then."""
    found = SETS[options.set]
    if options.cells or options.servers:
        names = options.servers or programs(found.plan)
        found = found._replace(plan=make_plan((options.cells or found.plan, names)))
    rounds, seconds = options.rounds or found.rounds, options.seconds or found.seconds
    return found._replace(rounds=rounds, seconds=seconds)


def prepare(plan: Plan) -> dict[str, str]:
    """Build and install what is needed; return what cannot be had here, and why."""
    roles = {kind(cell).role for cell in plan}
    build_load(tls=TLS in roles)
    unavailable = peers.prepare([*programs(plan), *(["ws-c"] if CLIENT in roles else [])])
    for name, reason in unavailable.items():
        print(f"{name} is left out: {reason}", file=sys.stderr)
    return unavailable


def sample(name: str, cell: str, settings: Settings) -> Sample:
    """Measure once; a failure is a sample too."""
    start = time.monotonic()
    try:
        found = kind(cell).measure(PROGRAMS[name], settings)
    except Failure as exc:
        print(f"\n{name}, {cell}: {exc}\n{exc.output}", file=sys.stderr)
        found = {"failure": str(exc)}
    return {"cell": cell, "server": name, "took_seconds": time.monotonic() - start, **found}


def take_round(number: int, result: Result, settings: Settings) -> None:
    """Measure all once; what has failed in a cell is not tried there again."""
    samples = result["samples"]
    failed = {(s["cell"], s["server"]) for s in samples if "failure" in s}
    for cell, names in result["plan"].items():
        first = number % len(names)  # not always the same server after the same other
        for name in names[first:] + names[:first]:
            if name not in result["unavailable"] and (cell, name) not in failed:
                samples.append({"round": number, **sample(name, cell, settings)})


def measure_all(wanted: Set, settings: Settings, file: Path | None) -> Result:
    unavailable = prepare(wanted.plan)
    available = [name for name in programs(wanted.plan) if name not in unavailable]
    result: Result = {
        "machine": report.machine(),
        "versions": peers.versions(available),
        "settings": {"rounds": wanted.rounds, **settings._asdict()},
        "unavailable": unavailable,
        "plan": wanted.plan,
        "samples": [],
    }
    for number in range(1, wanted.rounds + 1):
        print(f"round {number} of {wanted.rounds}", file=sys.stderr)
        take_round(number, result, settings)
        if file:
            file.write_text(json.dumps(result, indent=1) + "\n")
    return result


def show_plan(wanted: Set, settings: Settings) -> None:
    """Print who is measured in each cell, and about how long a round of it takes, in seconds."""
    for cell, seconds in seconds_of(wanted.plan, settings).items():
        names = wanted.plan[cell]
        print(f"{cell:18} {seconds:4.0f} s  {len(names):2}  {' '.join(names)}")
    print(f"{wanted.rounds} rounds: {minutes(wanted.plan, wanted.rounds, settings):.0f} minutes")


def main(arguments: list[str] | None = None) -> int:
    """Run the comparison; the exit status is 1 when a server failed."""
    options = parse_arguments(arguments)
    wanted = chosen(options)
    settings = Settings(wanted.seconds, options.refill, options.server_core, options.load_core)
    if options.plan:
        show_plan(wanted, settings)
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended too
    if not (is_ours(settings.server_core) and is_ours(settings.load_core)):
        print("not pinned: there are not two cores for us", file=sys.stderr)
    try:
        result = measure_all(wanted, settings, options.json)
    except Unavailable as exc:
        print(exc, file=sys.stderr)
        return 2
    print(page.text(result))
    if options.page:
        page.write(result, options.page)
    return int(any("failure" in s for s in result["samples"]))


if __name__ == "__main__":
    sys.exit(main())
