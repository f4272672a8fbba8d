"""A plot of a run, in SVG: memory above, latencies below, over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from test.soak.judge import MIB, Sample, percentile

WIDTH, HEIGHT = 760, 200  # of a panel
LEFT, RIGHT, TOP, BOTTOM = 60, 20, 34, 30
TICKS = 5  # at most


class Line(NamedTuple):
    """A line of a panel."""

    name: str
    colour: str
    values: Sequence[float]


def draw(samples: Sequence[Sample]) -> str:
    """Return the plot."""
    minutes = [sample.at / 60 for sample in samples]
    memory = Line("memory, MiB", "#0b6e99", [sample.memory / MIB for sample in samples])
    p99, p50 = (
        Line(name, colour, [percentile(sample.latencies, percent) for sample in samples])
        for name, colour, percent in (("p99, ms", "#b3432b", 99), ("p50, ms", "#d9a441", 50))
    )
    parts = [*_panel(0, minutes, [memory]), *_panel(HEIGHT, minutes, [p99, p50])]
    return "\n".join([_HEAD, *parts, "</svg>", ""])


_HEAD = (
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {2 * HEIGHT}" '
    f'width="{WIDTH}" height="{2 * HEIGHT}" font-family="sans-serif" font-size="12">\n'
    f'<rect width="{WIDTH}" height="{2 * HEIGHT}" fill="white"/>'
)


def _panel(top: int, minutes: Sequence[float], lines: Sequence[Line]) -> list[str]:
    """Draw lines over the same time and to the same scale, which begins at 0."""
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    highest = max(max(line.values) for line in lines)
    step = _round(highest / TICKS)
    ticks = math.ceil(highest / step) or 1
    most = ticks * step

    def x(minute: float) -> float:
        return LEFT + wide * minute / minutes[-1]

    def y(value: float) -> float:
        return top + TOP + high * (1 - value / most)

    parts = []
    for number in range(ticks + 1):
        value = number * step
        parts.append(_rule(LEFT, y(value), WIDTH - RIGHT, y(value), "#dddddd"))
        parts.append(_text(LEFT - 8, y(value) + 4, f"{value:g}", "end"))
    for third in (minutes[-1] / 3, 2 * minutes[-1] / 3):
        parts.append(_rule(x(third), y(most), x(third), y(0), "#999999"))
    step = _round(minutes[-1] / 8)
    for number in range(int(minutes[-1] / step) + 1):
        parts.append(_text(x(number * step), y(0) + 18, f"{number * step:g}", "middle"))
    parts.append(_text(WIDTH - RIGHT, y(0) + 29, "minutes", "end"))
    for number, line in enumerate(lines):
        points = " ".join(f"{x(m):.1f},{y(v):.1f}" for m, v in zip(minutes, line.values))
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{line.colour}" stroke-width="1.5"/>'
        )
        parts.append(_text(LEFT + 100 * number, top + TOP - 12, line.name, "start", line.colour))
    return parts


def _round(step: float) -> float:
    """Return the next 1, 2 or 5 times a power of ten."""
    power = 10 ** math.floor(math.log10(step or 1))
    return next(n * power for n in (1.0, 2.0, 5.0, 10.0) if n * power >= step)


def _rule(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="{colour}"/>'


def _text(x: float, y: float, text: str, anchor: str, colour: str = "#444444") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{text}</text>'
