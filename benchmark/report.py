"""Tables of what was measured, as text and as Markdown, and where."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

BUSY = 0.7  # above this share of its core, the load generator may be what limits

Sample = dict[str, Any]
COLUMNS = (
    "server",
    "CPU µs/message (min-max)",
    "ratio (min-max)",
    "messages/s",
    "p50 µs",
    "p99 µs",
    "server busy",
    "both waited",
    "load busy",
)


def cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def machine() -> dict[str, str]:
    """Describe what the figures depend on, besides the servers."""
    return {
        "cpu": cpu_model(),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def spread(values: Sequence[float]) -> str:
    """Write the median and, of several values, the least and the greatest."""
    middle = median(values)
    digits = 1 if middle >= 20 else 2 if middle >= 1 else 3
    text = f"{middle:.{digits}f}"
    if len(values) > 1:
        text += f" ({min(values):.{digits}f}-{max(values):.{digits}f})"
    return text


def ratios(samples: Sequence[Sample], reference: Sequence[Sample]) -> list[float]:
    """Divide CPU times round by round: what disturbs a round disturbs both sides of it."""
    by_round = {sample["round"]: sample["cpu_us"] for sample in reference}
    return [s["cpu_us"] / by_round[s["round"]] for s in samples if s["round"] in by_round]


def row(name: str, samples: Sequence[Sample], reference: Sequence[Sample]) -> list[str]:
    """Sum up the rounds of one server in one cell."""

    def middle(key: str) -> float:
        value: float = median(sample[key] for sample in samples)
        return value

    relative = ratios(samples, reference)
    return [
        name,
        spread([sample["cpu_us"] for sample in samples]),
        spread(relative) if relative else "-",
        f"{middle('messages_per_second'):,.0f}".replace(",", " "),
        f"{middle('p50_us'):.0f}",
        f"{middle('p99_us'):.0f}",
        f"{middle('server_busy'):.0%}",
        f"{middle('server_waited'):.0%} {middle('load_waited'):.0%}",
        f"{middle('load_busy'):.0%}" + (" !" if middle("load_busy") > BUSY else ""),
    ]


def table(samples: Sequence[Sample], cell: str, servers: Sequence[str]) -> list[list[str]]:
    """Return the rows of one cell; the ratio is to the first server."""
    of = {
        name: [s for s in samples if s["cell"] == cell and s["server"] == name] for name in servers
    }
    rows = []
    for name in servers:
        good = [s for s in of[name] if "failure" not in s]
        reference = [s for s in of[servers[0]] if "failure" not in s]
        if good:
            rows.append(row(name, good, reference))
        rows += [[name, "FAILED: " + s["failure"]] for s in of[name] if "failure" in s]
    return rows


def as_text(rows: Sequence[Sequence[str]]) -> str:
    """Lay the rows of a table out in columns."""
    whole = [r for r in (COLUMNS, *rows) if len(r) == len(COLUMNS)]
    widths = [max(len(r[i]) for r in whole) for i in range(len(COLUMNS))]
    lines = []
    for r in (COLUMNS, *rows):
        if len(r) == len(COLUMNS):
            rest = "  ".join(text.rjust(width) for text, width in zip(r[1:], widths[1:]))
        else:
            rest = r[1]
        lines.append(f"  {r[0].ljust(widths[0])}  {rest}")
    return "\n".join(lines)


def as_markdown(rows: Sequence[Sequence[str]]) -> str:
    """Write a table in Markdown."""
    filled = [[*r, *[""] * (len(COLUMNS) - len(r))] for r in rows]
    rule = ["---", *["---:"] * (len(COLUMNS) - 1)]
    return "\n".join("| " + " | ".join(r) + " |" for r in (COLUMNS, rule, *filled))


def describe(result: dict[str, Any]) -> str:
    """Say in a few lines where and how the figures were taken."""
    lines = [", ".join(result["machine"].values())]
    lines.append(", ".join(f"{name} {v}" for name, v in result["versions"].items()))
    settings = result["settings"]
    lines.append(
        f"{settings['rounds']} rounds of {settings['seconds']:g} s; ratio: CPU time against "
        f"{result['servers'][0]}; !: load generator more than {BUSY:.0%} busy"
    )
    return "\n".join(line for line in lines if line)


def markdown(result: dict[str, Any]) -> str:
    """Write all that was measured as a Markdown page."""
    parts = [describe(result).replace("\n", "  \n")]
    for cell in result["cells"]:
        rows = table(result["samples"], cell, result["servers"])
        parts += [f"### {cell}", as_markdown(rows)]
    return "\n\n".join(parts) + "\n"
