"""The report of a run, as a page of the documentation."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

from test.soak.crowd import BURST, LARGEST
from test.soak.judge import MEMORY, MIB, P99, Third
from test.soak.plot import draw
from test.soak.run import Outcome
from ws4py import __version__

ROWS: tuple[tuple[str, Callable[[Third], str]], ...] = (
    ("memory, MiB", lambda third: f"{third.memory / MIB:.1f}"),
    ("descriptors besides those of connections", lambda third: f"{third.descriptors:g}"),
    ("threads", lambda third: f"{third.threads:g}"),
    ("echoes per second", lambda third: f"{third.messages / third.seconds:.0f}"),
    ("latency of an echo, p50, ms", lambda third: f"{third.p50:.2f}"),
    ("latency of an echo, p99, ms", lambda third: f"{third.p99:.2f}"),
    ("CPU of the server, of one core", lambda third: f"{third.server:.0%}"),
    ("CPU of the load, of one core", lambda third: f"{third.load:.0%}"),
    ("sent too late by, p99, ms", lambda third: f"{third.late:.2f}"),
)


def machine() -> str:
    """Describe what the figures depend on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    return (
        f"{platform.python_implementation()} {platform.python_version()}, ws4py {__version__}, "
        f"{platform.system()} on {platform.machine()}, {os.cpu_count()} CPUs, "
        f"{memory:.0f} GiB of memory"
    )


def table(outcome: Outcome) -> str:
    """Return the figures of each third, in Markdown."""
    lines = ["| | first third | second third | last third |", "|---|---:|---:|---:|"]
    for name, cell in ROWS:
        lines.append(f"| {name} | {' | '.join(cell(third) for third in outcome.thirds)} |")
    return "\n".join(lines)


def verdict(outcome: Outcome) -> str:
    """Say whether the run has passed, and if not, why."""
    found = outcome.complaints
    if not found:
        return "**Passed**: the last third is as the second."
    return "\n".join([f"**Failed**, for {len(found)} reasons:", "", *(f"- {x}" for x in found)])


def summary(outcome: Outcome) -> str:
    """Return what a terminal shows."""
    return f"{table(outcome)}\n\n{verdict(outcome)}" if outcome.is_complete else verdict(outcome)


def page(outcome: Outcome, plot: str) -> str:
    """Return the report; ``plot`` is the name of the file with the plot."""
    plan = outcome.plan
    ways = ", ".join(f"{way} {count}" for way, count in sorted(outcome.gone.items()))
    return f"""# Soak

One server process, `python -m ws4py serve --engine {outcome.engine}`, has {plan.idle} idle connections, which
answer its Pings, and {plan.busy} busy ones, which send {plan.rate:g} messages a second together: text and
binary, of 0 to {LARGEST // 1024} KiB, half of the connections one at a time and half in bursts of {BURST}. All the
time some connections go, and others come. Every echo is compared with what was sent; its latency
counts from when the message was due, even if it had to wait for an earlier echo.

The last third of the run is compared with the second. It fails if memory is more than {MEMORY:g} times
that of the second or p99 more than {P99:g} times, or if descriptors or threads differ; and if any echo
is wrong, a connection is lost, or descriptors and threads are not back at what they were before
the first connection, once all have been closed. Memory, descriptors and threads are
read from `/proc` every {plan.interval:g} s, when nobody has come or gone for {plan.quiet:g} s; the table has their medians.

{time.strftime("%Y-%m-%d", outcome.started)}, {plan.seconds:g} s: {machine()}.

{table(outcome)}

{verdict(outcome)}

![memory and latencies over time]({plot})

The server sent {outcome.pings} Pings, which were answered. How connections ended meanwhile: {ways}.

`make soak` repeats this, and writes this page; `make soak SECONDS=3600 ENGINE=asyncio` soaks
another engine for longer.
"""  # noqa: E501 - the lines of the page


def write(outcome: Outcome, path: Path) -> None:
    """Write the report to ``path``, and its plot beside it; nothing if the run broke off."""
    if not outcome.is_complete:
        return
    plot = path.with_suffix(".svg")
    plot.write_text(draw(outcome.samples), encoding="utf-8")
    path.write_text(page(outcome, plot.name), encoding="utf-8")
