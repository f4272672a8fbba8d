"""Compare servers and clients: CPU time per message first, then throughput and latency.

They are interleaved: in each round every cell is measured once on every server, each time on a
fresh process, so that a disturbance of the machine does not hit one server alone.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmark import page, peers, report
from benchmark.environments import Unavailable, build_load
from benchmark.kinds import fits, kind
from benchmark.measure import Sample, Settings
from benchmark.peers import GROUPS, PROGRAMS, TLS
from benchmark.processes import Failure, is_ours
from benchmark.sets import SETS


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
    add("--warmup", type=float, default=0.3, help="seconds before it, not counted")
    add("--cells", type=cells, help="such as 16x50x1,16x50x32s,opening5000; kinds.py has all")
    add("--servers", type=servers, help=f"of {', '.join([*GROUPS, *PROGRAMS])}")
    add("--refill", type=int, default=0, help="replies awaited before sending on (the window)")
    add("--server-core", type=int, default=0)
    add("--load-core", type=int, default=1)
    add("--json", type=Path, metavar="FILE", help="written after each round")
    add("--page", type=Path, metavar="FILE.md", help="write tables, and plots beside it")
    options = parser.parse_args(arguments)
    for name, value in SETS[options.set]._asdict().items():
        if getattr(options, name) is None:
            parse = {"cells": cells, "servers": servers}.get(name, lambda given: given)
            setattr(options, name, parse(value))
    return options


def prepare(options: argparse.Namespace) -> dict[str, str]:
    """Build and install what is needed; return what cannot be had here, and why."""
    build_load(tls=any(kind(cell).role == TLS for cell in options.cells))
    needed = {"ws-c", *options.servers} if "client" in str(options.cells) else options.servers
    unavailable = peers.prepare(needed)
    for name, reason in unavailable.items():
        print(f"{name} is left out: {reason}", file=sys.stderr)
    return unavailable


def sample(name: str, cell: str, settings: Settings, number: int) -> Sample:
    """Measure once; a failure is a sample too."""
    where = {"round": number, "cell": cell, "server": name}
    try:
        return {**where, **kind(cell).measure(PROGRAMS[name], settings)}
    except Failure as exc:
        print(f"\n{name}, {cell}: {exc}\n{exc.output}", file=sys.stderr)
        return {**where, "failure": str(exc)}


def take_round(number: int, result: dict[str, Any], settings: Settings) -> None:
    """Measure all once; what has failed in a cell is not tried there again."""
    samples = result["samples"]
    names = [name for name in result["servers"] if name not in result["unavailable"]]
    first = number % len(names)  # not always the same server after the same other
    failed = {(s["cell"], s["server"]) for s in samples if "failure" in s}
    for cell in result["cells"]:
        for name in names[first:] + names[:first]:
            if fits(kind(cell), PROGRAMS[name]) and (cell, name) not in failed:
                samples.append(sample(name, cell, settings, number))


def measure_all(options: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    unavailable = prepare(options)
    result = {
        "machine": report.machine(),
        "versions": peers.versions(n for n in options.servers if n not in unavailable),
        "settings": {"rounds": options.rounds, **settings._asdict()},
        "servers": options.servers,
        "unavailable": unavailable,
        "cells": options.cells,
        "samples": [],
    }
    for number in range(1, options.rounds + 1):
        print(f"round {number} of {options.rounds}", file=sys.stderr)
        take_round(number, result, settings)
        if options.json:
            options.json.write_text(json.dumps(result, indent=1) + "\n")
    return result


def main(arguments: list[str] | None = None) -> int:
    """Run the comparison; the exit status is 1 when a server failed."""
    options = parse_arguments(arguments)
    settings = Settings(
        options.seconds, options.warmup, options.refill, options.server_core, options.load_core
    )
    if not (is_ours(settings.server_core) and is_ours(settings.load_core)):
        print("not pinned: there are not two cores for us", file=sys.stderr)
    try:
        result = measure_all(options, settings)
    except Unavailable as exc:
        print(exc, file=sys.stderr)
        return 2
    print(report.text(result))
    if options.page:
        page.write(result, options.page)
    return int(any("failure" in s for s in result["samples"]))


if __name__ == "__main__":
    sys.exit(main())
