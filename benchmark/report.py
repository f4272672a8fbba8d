"""Tables of what was measured, as text and as Markdown, and where."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmark.kinds import Column, kind
from benchmark.measure import Sample

BUSY = 0.7  # above this share of its core, the load generator may be what limits
DISTURBED = 0.2  # share of the time that the load generator waited: CPU times are wrong too

Result = dict[str, Any]
Row = list[str]


def cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def machine() -> dict[str, str]:
    """Describe what the figures depend on, besides the servers."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cpu": f"{os.cpu_count()} x {cpu_model()}",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def spread(values: Sequence[float]) -> str:
    """Write the median and, of several values, the least and the greatest; "-" of none."""
    if not values:
        return "-"
    middle = median(values)
    digits = 1 if middle >= 20 else 2 if middle >= 1 else 3
    text = f"{middle:.{digits}f}"
    if len(values) > 1:
        text += f" ({min(values):.{digits}f}-{max(values):.{digits}f})"
    return text


def ratios(samples: Sequence[Sample], reference: Sequence[Sample], key: str) -> list[float]:
    """Divide round by round: what disturbs a round disturbs both sides of it."""
    by_round = {sample["round"]: sample[key] for sample in reference}
    return [s[key] / by_round[s["round"]] for s in samples if s["round"] in by_round]


def entry(column: Column, samples: Sequence[Sample], reference: Sequence[Sample]) -> str:
    """Write what one column shows of the rounds of one server in one cell."""
    values = [[sample[key] for sample in samples] for key in column.keys]
    if column.form == "spread":
        return spread(values[0])
    if column.form == "ratio":
        return spread(ratios(samples, reference, column.keys[0]))
    if column.form == "count":
        return f"{median(values[0]):,.0f}".replace(",", " ")
    if column.form == "digits":
        return f"{median(values[0]):.0f}"
    mark = " !" if column.keys == ("load_busy",) and median(values[0]) > BUSY else ""
    return " ".join(f"{median(each):.0%}" for each in values) + mark


def samples_of(result: Result, cell: str, name: str) -> list[Sample]:
    return [s for s in result["samples"] if s["cell"] == cell and s["server"] == name]


def good(samples: Sequence[Sample]) -> list[Sample]:
    return [sample for sample in samples if "failure" not in sample]


def table(result: Result, cell: str) -> list[Row]:
    """Return the rows of one cell, the head first; ratios are to the first program.

    A row of two says why there is nothing to show.
    """
    columns, names = kind(cell).columns, result["plan"][cell]
    rows = [["server", *(column.title for column in columns)]]
    reference = good(samples_of(result, cell, names[0]))
    for name in names:
        samples = samples_of(result, cell, name)
        if measured := good(samples):
            rows.append([name, *(entry(column, measured, reference) for column in columns)])
        if name in result["unavailable"]:
            rows.append([name, f"NOT INSTALLED: {result['unavailable'][name]}"])
        rows += [[name, f"FAILED: {s['failure']}"] for s in samples if "failure" in s]
    return rows


def as_text(rows: Sequence[Row]) -> str:
    """Lay the rows of a table out in columns."""
    width = len(rows[0])
    whole = [row for row in rows if len(row) == width]
    widths = [max(len(row[i]) for row in whole) for i in range(width)]
    lines = []
    for row in rows:
        if len(row) == width:
            rest = "  ".join(text.rjust(width) for text, width in zip(row[1:], widths[1:]))
        else:
            rest = row[1]
        lines.append(f"  {row[0].ljust(widths[0])}  {rest}")
    return "\n".join(lines)


def as_markdown(rows: Sequence[Row]) -> str:
    """Write a table in Markdown."""
    width = len(rows[0])
    rule = ["---", *["---:"] * (width - 1)]
    filled = [
        [text.replace("|", "\\|").replace("\n", " ") for text in row] + [""] * (width - len(row))
        for row in (rows[0], rule, *rows[1:])
    ]
    return "\n".join("| " + " | ".join(row) + " |" for row in filled)


def disturbance(result: Result) -> float:
    """Return the share of the time for which something else had the load generator's core."""
    waited = [sample["load_waited"] for sample in result["samples"] if "load_waited" in sample]
    return median(waited) if waited else 0.0


def describe(result: Result) -> list[str]:
    """Say where and how the figures were taken: the machine, the versions, and how long."""
    settings = result["settings"]
    took = sum(sample["took_seconds"] for sample in result["samples"]) / 60
    lines = [
        ", ".join(result["machine"].values()),
        ", ".join(f"{name} {v}" for name, v in result["versions"].items()),
        f"{settings['rounds']} rounds of {settings['seconds']:g} s, {took:.0f} minutes in all",
        f"ratio: to the first of the table; !: load generator more than {BUSY:.0%} busy",
    ]
    if (share := disturbance(result)) > DISTURBED:
        lines.append(
            f"DISTURBED: something else had the core of the load generator for {share:.0%} of the "
            "time; measure again on a machine that is free"
        )
    return lines
