"""The page of a comparison: plots, how far the targets are met, and a table of every cell.

python -m benchmark.page RESULT.json docs/benchmarks.md    # of what `run --json` has kept
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmark import report, targets
from benchmark.environments import Unavailable
from benchmark.kinds import kind
from benchmark.peers import PEERS, ROOT
from benchmark.processes import environ
from benchmark.report import Result, Row

INTRODUCTION = """\
# Benchmarks

Servers and clients, each the plain echo of its own documentation, over loopback. What is under
test has one core, and the load generator, which is in C and checks every byte of every reply,
another. All take turns within every round, each time in a fresh process.

**CPU** is user and system time of all threads and processes of what is under test: the median of
the rounds and, in brackets, the least and the greatest. It is the figure to trust. Under 25 %
between two proves nothing; overlapping spreads prove nothing. Throughput and latency also depend
on the load generator and on what else ran: **both waited** is how long both were ready to run
while something else had their core. `benchmark/README.md` has more on how
to read this.

`ws4py` is the standalone server and, among clients, the threaded one; `ws4py-pure` is the same
with `WS4PY_PURE=1`, without compiled code, and `ws4py-…` are the other engines. `ws4py-0.6-…` is
the release before, with and without wsaccel; its asyncio server needs Python 3.10. `tcp-…` echo
bytes without WebSocket, which is the ceiling, in Python and in C; `ws-c` is a WebSocket echo in C
that trusts its peers.

A **target** is met when the median of the ratios of all rounds is not above it. One in CPU µs is
for a machine on which `tcp-python` takes 5.8 of them for 16 B, 50 connections, 1 outstanding: where
it is missed, the page also says how many times the target it would be at that machine's speed.

`make benchmark` measures again, in short; `make benchmark-targets`, what there is a target for;
`make benchmark-full`, everything. Each writes this page.
"""


def draw(result: Result, page: Path) -> list[str]:
    """Draw the plots beside the page, by matplotlib among the peers; return their names."""
    try:
        PEERS.install(("matplotlib",))
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(result, file)
            file.flush()
            command = [str(PEERS.python), "-m", "benchmark.plot", file.name]
            done = subprocess.run(
                [*command, str(page.resolve().with_suffix(""))],
                cwd=ROOT,
                env=environ(),
                capture_output=True,
                text=True,
                check=False,
            )
    except Unavailable as exc:
        print(f"no plots: {exc}", file=sys.stderr)
        return []
    if done.returncode:
        print(f"no plots: {done.stderr}", file=sys.stderr)
    return done.stdout.splitlines()


def tables(result: Result) -> Iterator[tuple[str, list[Row]]]:
    """Give all tables with their titles: how far the targets are met, then every cell."""
    for title, wanted in targets.TARGETS.items():
        rows = targets.table(result, wanted)
        if shown := rows[1:]:
            met = sum(row[-1] == targets.MET for row in shown)
            yield f"{title} ({met} of {len(shown)} met)", rows
    for cell in result["plan"]:
        yield f"{kind(cell).title} ({cell})", report.table(result, cell)


def text(result: Result) -> str:
    """Write all that was measured as text."""
    parts = ["\n".join(report.describe(result))]
    parts += [f"{title}\n{report.as_text(rows)}" for title, rows in tables(result)]
    return "\n\n".join(parts)


def markdown(result: Result, plots: list[str]) -> str:
    """Return the page."""
    parts = [INTRODUCTION + "\n" + "\n".join(f"- {line}" for line in report.describe(result))]
    parts += [f"![{name.partition('.')[0]}]({name})" for name in plots]
    missing = [f"- {name}: {why}" for name, why in result["unavailable"].items()]
    if missing:
        parts.append("Could not be installed:\n\n" + "\n".join(missing))
    for title, rows in tables(result):
        parts += [f"## {title}", report.as_markdown(rows)]
    return "\n\n".join(parts) + "\n"


def write(result: Result, page: Path) -> None:
    """Write the page, and its plots beside it."""
    page.write_text(markdown(result, draw(result, page)))


if __name__ == "__main__":
    write(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
