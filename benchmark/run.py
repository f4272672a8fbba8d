"""Compare echo servers: CPU time per message, throughput and latency.

Servers are interleaved: in each round every cell is measured once on every server, each time on a
fresh process, so that a disturbance of the machine does not hit one server alone.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from benchmark import peers, report
from benchmark.measure import Cell, Failure, Settings, measure, pin
from benchmark.peers import SERVERS

CELLS = "16x50x1,16x50x32,16384x50x1"


def cells(text: str) -> list[Cell]:
    """Parse SIZExCONNECTIONSxWINDOW, with a final b for binary messages."""
    found = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)x(\d+)x(\d+)(b?)", part.strip())
        if match is None:
            raise argparse.ArgumentTypeError(f"{part!r} is not SIZExCONNECTIONSxWINDOW")
        size, connections, window = map(int, match.groups()[:3])
        found.append(Cell(size, connections, window, match.group(4) == "b"))
    return found


def server_names(text: str) -> list[str]:
    """Parse a list of names out of SERVERS."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in SERVERS:
            raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(SERVERS)}")
    return names


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmark.run", description=__doc__)
    add = parser.add_argument
    add("--rounds", type=int, default=5)
    add("--seconds", type=float, default=2.0, help="of each measured phase")
    add("--warmup", type=float, default=0.5, help="seconds before it, not counted")
    add("--cells", type=cells, default=CELLS, help=f"SIZExCONNECTIONSxWINDOW[b],...; {CELLS}")
    add("--servers", type=server_names, default=",".join(SERVERS), help=",".join(SERVERS))
    add("--refill", type=int, default=0, help="replies awaited before sending on (the window)")
    add("--server-core", type=int, default=0)
    add("--load-core", type=int, default=1)
    add("--json", type=Path, metavar="FILE")
    add("--markdown", type=Path, metavar="FILE")
    return parser.parse_args(arguments)


def sample(name: str, cell: Cell, settings: Settings, number: int) -> dict[str, Any]:
    """Measure once; a failure is a sample too."""
    where = {"round": number, "cell": str(cell), "server": name}
    try:
        return {**where, **measure(SERVERS[name], cell, settings)}
    except Failure as exc:
        print(f"\n{name}, {cell}: {exc}", file=sys.stderr)
        return {**where, "failure": str(exc)}


def take_samples(options: argparse.Namespace, settings: Settings) -> list[dict[str, Any]]:
    samples = []
    for number in range(1, options.rounds + 1):
        print(f"round {number} of {options.rounds}", file=sys.stderr)
        first = number % len(options.servers)  # not always the same server after the same other
        for cell in options.cells:
            for name in options.servers[first:] + options.servers[:first]:
                samples.append(sample(name, cell, settings, number))
    return samples


def versions(names: list[str]) -> dict[str, str]:
    """Tell the versions of what is compared."""
    found = {"ws4py": peers.ws4py_version()} if "ws4py" in names else {}
    packages = {SERVERS[name].package for name in names} - {""}
    return {**found, **{p: peers.installed_version(p) for p in sorted(packages)}}


def show(result: dict[str, Any]) -> None:
    print(report.describe(result))
    for cell in result["cells"]:
        rows = report.table(result["samples"], cell, result["servers"])
        print(f"\n{cell}\n{report.as_text(rows)}")


def main(arguments: list[str] | None = None) -> int:
    """Run the comparison; the exit status is 1 when a server failed."""
    options = parse_arguments(arguments)
    settings = Settings(
        options.seconds, options.warmup, options.refill, options.server_core, options.load_core
    )
    if pin(settings.server_core) is None or pin(settings.load_core) is None:
        print("not pinned: there are not two cores for us", file=sys.stderr)
    peers.prepare(options.servers)
    samples = take_samples(options, settings)
    result = {
        "machine": report.machine(),
        "versions": versions(options.servers),
        "settings": {"rounds": options.rounds, **settings._asdict()},
        "servers": options.servers,
        "cells": [str(cell) for cell in options.cells],
        "samples": samples,
    }
    show(result)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    if options.markdown:
        options.markdown.write_text(report.markdown(result))
    return int(any("failure" in s for s in samples))


if __name__ == "__main__":
    sys.exit(main())
