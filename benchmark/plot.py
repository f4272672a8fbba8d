"""The plots of a comparison, in SVG. It runs in the environment of the peers, for matplotlib.

python -m benchmark.plot RESULT.json docs/benchmarks    # writes docs/benchmarks-….svg
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl  # type: ignore[import-not-found]
from matplotlib.figure import Figure  # type: ignore[import-not-found]

from benchmark.kinds import Column, kind
from benchmark.peers import PROGRAMS
from benchmark.report import Result, good, samples_of, shown_in

#: Name of a plot, and its cells: those that were measured are its panels.
PLOTS = {
    "echo": ("16x50x1", "16x50x32", "1024x50x32", "16384x50x1", "1048576x50x1"),
    "tls": ("16x50x1s", "16384x50x1s"),
    "connections": ("opening1000", "opening5000", "broadcast125x500"),
    "clients": ("client125x1", "client125x32"),
}
#: A bar ends at so many times the median of all, so that one server does not hide the others.
OUTLIER = 5
COLOURS = {"ours": "#0b6e99", "peers": "#b9b3a6", "old": "#d9a441", "ceiling": "#7a8b6f"}


def panels(result: Result, cells: tuple[str, ...]) -> list[tuple[str, Column]]:
    """Return each cell that was measured, with each figure of it that has a spread."""
    return [
        (cell, column)
        for cell in cells
        if cell in result["cells"]
        for column in kind(cell).columns
        if column.form == "spread"
    ]


def draw_panel(axes: Any, result: Result, cell: str, column: Column) -> None:
    """Draw one bar for each server, the best above; a line from the least to the greatest."""
    bars = []
    for name in shown_in(kind(cell), result["servers"]):
        samples = good(samples_of(result, cell, name))
        if values := [sample[column.keys[0]] for sample in samples]:
            bars.append((median(values), min(values), max(values), name))
    bars.sort(reverse=True)
    middles = [middle for middle, *_ in bars]
    end = min(max(middles), OUTLIER * median(middles))
    for row, (middle, low, high, name) in enumerate(bars):
        axes.barh(row, min(middle, end), color=COLOURS[PROGRAMS[name].group])
        axes.hlines(row, min(low, end), min(high, end), color="black", linewidth=1)
        axes.text(end * 1.04, row, f"{middle:.3g}", va="center", ha="left")
    axes.set_yticks(range(len(bars)), [name for *_, name in bars])
    axes.set_xlim(0, end * 1.15)
    axes.set_title(f"{kind(cell).title}\n{column.title}", fontsize=9, loc="left")
    axes.spines[["top", "right"]].set_visible(False)


def draw(result: Result, cells: list[tuple[str, Column]], file: Path) -> None:
    rows = (len(cells) + 1) // 2
    figure = Figure(figsize=(11, rows * (1 + 0.19 * len(result["servers"]))), layout="constrained")
    grid = list(figure.subplots(rows, 2, squeeze=False).flat)
    for axes, (cell, column) in zip(grid, cells):
        draw_panel(axes, result, cell, column)
    for axes in grid[len(cells) :]:
        axes.set_axis_off()
    figure.savefig(file, metadata={"Date": None})


def main() -> None:
    """Draw what can be drawn, and print the name of each file."""
    mpl.rcParams.update({"svg.hashsalt": "ws4py", "svg.fonttype": "none", "font.size": 8})
    result, stem = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    for name, cells in PLOTS.items():
        if found := panels(result, cells):
            file = stem.with_name(f"{stem.name}-{name}.svg")
            draw(result, found, file)
            print(file.name)


if __name__ == "__main__":
    main()
