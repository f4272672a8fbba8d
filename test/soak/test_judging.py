"""The verdict on a run: figures in, complaints out."""

from __future__ import annotations

from array import array
from pathlib import Path

import pytest

from test.soak import report
from test.soak.crowd import Plan
from test.soak.judge import MIB, Sample, complaints, percentile, sum_up, thirds
from test.soak.run import Outcome

STEADY = [5.0] * 98 + [9.0, 9.0]  # milliseconds


def sample(
    at: float,
    memory: float = 100.0,
    descriptors: int = 7,
    threads: int = 1,
    latencies: list[float] = STEADY,
) -> Sample:
    seconds = array("d", [value / 1000 for value in latencies])
    late = array("d", [0.001])
    return Sample(at, int(memory * MIB), descriptors, threads, seconds, late, 0.5, 0.25)


def judged(second: dict[str, object], last: dict[str, object]) -> list[str]:
    return complaints(
        sum_up([sample(1, **second)], 1),  # type: ignore[arg-type]
        sum_up([sample(2, **last)], 1),  # type: ignore[arg-type]
    )


def test_what_stays_as_it_is_passes() -> None:
    assert judged({}, {}) == []


@pytest.mark.parametrize(
    "last",
    [
        {"memory": 101.9},
        {"memory": 50.0},
        {"latencies": [5.0] * 98 + [10.7, 10.7]},
        {"latencies": [1.0]},
    ],
)
def test_what_is_within_the_bounds_or_less_passes(last: dict[str, object]) -> None:
    assert judged({}, last) == []


@pytest.mark.parametrize(
    ("last", "complaint"),
    [
        ({"memory": 102.1}, "memory grows: 102.1 MiB in the last third, 100.0 MiB in the second"),
        ({"descriptors": 8}, "descriptors change: 8 in the last third, 7 in the second"),
        ({"descriptors": 6}, "descriptors change: 6 in the last third, 7 in the second"),
        ({"threads": 2}, "threads change: 2 in the last third, 1 in the second"),
        ({"latencies": [5.0] * 98 + [10.9] * 2}, "echoes take longer: p99 10.90 ms in the last"),
        ({"latencies": []}, "no message was echoed in the last third"),
    ],
)
def test_what_leaks_or_slows_down_is_complained_of(last: dict[str, object], complaint: str) -> None:
    (found,) = judged({}, last)
    assert found.startswith(complaint)


def test_a_third_is_of_medians_so_that_one_odd_moment_does_not_count() -> None:
    samples = [sample(1), sample(2, memory=900, descriptors=90, threads=9), sample(3)]
    third = sum_up(samples, 3)
    assert (third.memory, third.descriptors, third.threads) == (100 * MIB, 7, 1)


def test_a_run_is_divided_into_thirds_of_the_same_length() -> None:
    found = thirds([sample(at, memory=at) for at in range(1, 8)])
    assert [third.seconds for third in found] == [3, 2, 2]
    assert [third.memory / MIB for third in found] == [2, 4.5, 6.5]
    assert [third.messages for third in found] == [300, 200, 200]


def test_percentiles_are_in_milliseconds() -> None:
    values = [n / 1000 for n in range(100)]
    assert [round(percentile(values, p)) for p in (0, 50, 99, 100)] == [0, 50, 99, 99]
    assert percentile([], 99) == 0


def outcome(**leak: float) -> Outcome:
    samples = [sample(at, 100 + leak.get("memory", 0) * at) for at in range(1, 13)]
    return Outcome(Plan(seconds=12), "standalone", samples=samples)


def test_a_run_that_leaks_all_the_time_fails_and_its_report_says_why(tmp_path: Path) -> None:
    leaking = outcome(memory=1)
    assert len(leaking.complaints) == 1
    report.write(leaking, tmp_path / "soak.md")
    page = (tmp_path / "soak.md").read_text()
    assert "- memory grows: 110.5 MiB in the last third, 106.5 MiB in the second" in page
    assert "**Passed**" not in page


def test_a_run_with_a_fault_fails_whatever_its_figures() -> None:
    faulty = outcome()
    assert faulty.complaints == []
    faulty.faults.append("Idle: the server ended the connection, with the code None")
    assert faulty.complaints == faulty.faults
    assert "- Idle: the server ended" in report.summary(faulty)


def test_a_run_that_breaks_off_fails_and_writes_no_report(tmp_path: Path) -> None:
    broken = outcome()
    del broken.samples[2:]
    assert broken.complaints == ["the run has not come to its end"]
    report.write(broken, tmp_path / "soak.md")
    assert list(tmp_path.iterdir()) == []
