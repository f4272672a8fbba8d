"""The verdict: the last third of a run against the one before."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

MEMORY = 1.02  # times the memory of the second third
P99 = 1.2  # times its p99

MIB = 1024 * 1024


class Sample(NamedTuple):
    """What was seen at a quiet moment, and of the time since the one before.

    Args:
        at: Seconds since the beginning.
        memory: Bytes of the server that are resident.
        descriptors: The server's, beyond one for each connection.
        threads: The server's.
        latencies: Seconds of each echo.
        lateness: Seconds by which messages were sent too late.
        server: Seconds of CPU that the server used.
        load: Those that the load took.
    """

    at: float
    memory: int
    descriptors: int
    threads: int
    latencies: array[float]
    lateness: array[float]
    server: float
    load: float


class Third(NamedTuple):
    """A third of a run: medians, and percentiles of all its messages in milliseconds."""

    seconds: float
    memory: float
    descriptors: float
    threads: float
    messages: int
    p50: float
    p99: float
    late: float
    server: float
    load: float


def percentile(values: Sequence[float], percent: float) -> float:
    """Return what ``percent`` of the values do not exceed, in thousandths; 0 of none."""
    if not values:
        return 0.0
    return 1000 * sorted(values)[min(int(len(values) * percent / 100), len(values) - 1)]


def sum_up(samples: Sequence[Sample], seconds: float) -> Third:
    """Sum up the samples of ``seconds`` seconds."""
    latencies, lateness = array("d"), array("d")
    for sample in samples:
        latencies += sample.latencies
        lateness += sample.lateness
    return Third(
        seconds=seconds,
        memory=median(sample.memory for sample in samples),
        descriptors=median(sample.descriptors for sample in samples),
        threads=median(sample.threads for sample in samples),
        messages=len(latencies),
        p50=percentile(latencies, 50),
        p99=percentile(latencies, 99),
        late=percentile(lateness, 99),
        server=sum(sample.server for sample in samples) / seconds,
        load=sum(sample.load for sample in samples) / seconds,
    )


def thirds(samples: Sequence[Sample]) -> tuple[Third, Third, Third]:
    """Divide a run; what is left over is added to the first third."""
    size = len(samples) // 3
    first = len(samples) - 2 * size
    bounds = [0.0, samples[first - 1].at, samples[first + size - 1].at, samples[-1].at]
    parts = samples[:first], samples[first : first + size], samples[first + size :]
    one, two, three = (
        sum_up(part, end - start) for part, start, end in zip(parts, bounds, bounds[1:])
    )
    return one, two, three


def complaints(second: Third, last: Third) -> list[str]:
    """Say in what the last third is worse than the second."""
    found = []
    if last.memory > MEMORY * second.memory:
        found.append(
            f"memory grows: {last.memory / MIB:.1f} MiB in the last third, "
            f"{second.memory / MIB:.1f} MiB in the second; {MEMORY:g} times that is allowed"
        )
    for name in ("descriptors", "threads"):
        before, after = getattr(second, name), getattr(last, name)
        if after != before:
            found.append(f"{name} change: {after:g} in the last third, {before:g} in the second")
    if last.p99 > P99 * second.p99:
        found.append(
            f"echoes take longer: p99 {last.p99:.2f} ms in the last third, "
            f"{second.p99:.2f} ms in the second; {P99:g} times that is allowed"
        )
    if last.messages == 0:
        found.append("no message was echoed in the last third")
    return found
