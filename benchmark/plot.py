"""The plots of a comparison, in SVG. It runs in the environment of the peers, for matplotlib.

python -m benchmark.plot RESULT.json docs/benchmarks    # writes docs/benchmarks-….svg
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl  # type: ignore[import-not-found]
from matplotlib.figure import Figure  # type: ignore[import-not-found]

from benchmark.kinds import Column, kind
from benchmark.peers import PROGRAMS
from benchmark.report import Result, good, samples_of

#: Name of a plot, and its cells: those that were measured are its panels.
PLOTS = {
    "echo": ("16x50x1", "16x50x32", "1024x50x32", "16384x50x1", "1048576x50x1"),
    "tls": ("16x50x1s", "16384x50x1s"),
    "connections": ("opening1000", "opening5000", "broadcast125x500"),
    "clients": ("client125x1", "client125x32"),
}
#: The plot for the README, 700 pixels wide: its cells, with their titles, and servers, with labels.
SUMMARY = "Echo of 16 bytes on 50 connections: CPU µs per message (less is better)"
SUMMARY_CELLS = {"16x50x1": "one message outstanding", "16x50x32": "32 messages outstanding"}
SUMMARY_SERVERS = {
    "ws4py": "ws4py",
    "ws4py-pure": "ws4py, pure Python",
    "picows-uvloop": "picows + uvloop",
    "aiohttp": "aiohttp",
    "websockets": "websockets",
    "uvicorn": "uvicorn",
    "tornado": "Tornado",
    "gevent-websocket": "gevent-websocket",
    "node-ws": "ws (Node)",
}
SUMMARY_INCHES = (700 / 96, 3)

#: A bar ends at so many times the median of all, so that one server does not hide the others. It is
#: broken then, at these parts of its length.
OUTLIER, BROKEN = 6, [(0, 0.94), (0.96, 0.04)]
COLOURS = {"ours": "#2b7fc4", "peers": "#c0c0c0", "old": "#d08b2e", "ceiling": "#6f9e6f"}
#: Of text and lines: to be read on white and on black.
GREY = "#747a82"
STYLE = {
    "axes.edgecolor": GREY,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": GREY,
    "axes.titlelocation": "left",
    "font.size": 8.5,
    "savefig.transparent": True,
    "svg.fonttype": "none",
    "svg.hashsalt": "ws4py",
    "text.color": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
}


def panels(result: Result, cells: Iterable[str]) -> list[tuple[str, Column]]:
    """Return each cell that was measured, with each figure of it that has a spread."""
    return [
        (cell, column)
        for cell in cells
        if cell in result["plan"]
        for column in kind(cell).columns
        if column.form == "spread"
    ]


def draw_bars(axes: Any, result: Result, cell: str, key: str, labels: dict[str, str]) -> None:
    """Draw one bar for each server, the best above; a line from the least to the greatest."""
    bars = []
    for name, label in labels.items():
        samples = good(samples_of(result, cell, name))
        if values := [sample[key] for sample in samples]:
            colour = COLOURS[PROGRAMS[name].group]
            bars.append((median(values), min(values), max(values), label, colour))
    bars.sort(reverse=True)
    middles = [middle for middle, *_ in bars]
    end = min(max(middles), OUTLIER * median(middles))
    for row, (middle, low, high, _, colour) in enumerate(bars):
        parts = BROKEN if middle > end else [(0, middle / end)]
        axes.broken_barh([(a * end, b * end) for a, b in parts], (row - 0.4, 0.8), color=colour)
        axes.hlines(row, min(low, end), min(high, end), color=GREY, linewidth=1)
        axes.text(end * 1.04, row, f"{float(f'{middle:.3g}'):g}", va="center", ha="left")
    axes.set_yticks(range(len(bars)), [label for *_, label, _ in bars])
    axes.set_xlim(0, end * 1.15)
    axes.set_ylim(-0.7, len(bars) - 0.3)


def draw(result: Result, cells: list[tuple[str, Column]], file: Path) -> None:
    """Draw these cells, two beside each other."""
    rows = [cells[i : i + 2] for i in range(0, len(cells), 2)]
    inches = [0.8 + 0.19 * max(len(result["plan"][cell]) for cell, _ in row) for row in rows]
    figure = Figure(figsize=(11, sum(inches)), layout="constrained")
    grid = figure.subplots(len(rows), 2, squeeze=False, height_ratios=inches)
    for axes in grid.flat[len(cells) :]:
        axes.set_axis_off()
    for axes, (cell, column) in zip(grid.flat, cells):
        names = result["plan"][cell]
        draw_bars(axes, result, cell, column.keys[0], dict(zip(names, names)))
        axes.set_title(f"{kind(cell).title}\n{column.title}")
    save(figure, file, "; ".join(dict.fromkeys(kind(cell).title for cell, _ in cells)))


def draw_summary(result: Result, file: Path) -> None:
    """Draw the plot for the README."""
    figure = Figure(figsize=SUMMARY_INCHES, layout="constrained")
    figure.suptitle(SUMMARY, x=0.01, ha="left", fontsize="large")
    for axes, (cell, title) in zip(figure.subplots(1, 2), SUMMARY_CELLS.items()):
        draw_bars(axes, result, cell, "cpu_us", SUMMARY_SERVERS)
        axes.set_title(title)
    save(figure, file, SUMMARY)


def save(figure: Figure, file: Path, title: str) -> None:
    """Write a plot, with a title for those who cannot see it."""
    figure.savefig(file, metadata={"Date": None, "Title": title})


def main() -> None:
    """Draw what can be drawn, and print the name of each file."""
    mpl.rcParams.update(STYLE)
    result, stem = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    for name, cells in PLOTS.items():
        if found := panels(result, cells):
            file = stem.with_name(f"{stem.name}-{name}.svg")
            draw(result, found, file)
            print(file.name)
    if set(SUMMARY_CELLS) <= set(result["plan"]):
        draw_summary(result, stem.with_name(f"{stem.name}-summary.svg"))


if __name__ == "__main__":
    main()
