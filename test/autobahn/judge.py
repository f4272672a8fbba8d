"""Judge wstest's results: every planned case has to be OK.

Strict: NON-STRICT is bad, so are UNIMPLEMENTED, a case without a result and a result nobody asked
for. Only three cases have no right answer (RFC 6455 leaves their outcome open); wstest calls these
INFORMATIONAL. And what wstest does not look at: a case of 12 or 13 with messages of 256 octets or
more, of which the endpoint has compressed none, is UNCOMPRESSED, and bad.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple

from .cases import Cases, category
from .frames import Sent, is_about_compression, lacks_compression, total

OK = "OK"
NON_STRICT = "NON-STRICT"
INFORMATIONAL = "INFORMATIONAL"
MISSING = "MISSING"
UNEXPECTED = "UNEXPECTED"
UNCOMPRESSED = "UNCOMPRESSED"

INFORMATIONAL_CASES = frozenset({"7.1.6", "7.13.1", "7.13.2"})

# From the mildest to the most severe; whatever is not listed is more severe still.
MILD = (OK, INFORMATIONAL, NON_STRICT)

# No case lasts a day: see _milliseconds().
DAY = 86_400_000

Results = Mapping[str, Mapping[str, Any]]


class Bad(NamedTuple):
    """A case that was not passed."""

    case: str
    outcome: str


@dataclass(frozen=True)
class Report:
    """What came of one run: an outcome for each case that was planned or reported."""

    agent: str
    cases: Cases
    outcomes: Mapping[str, str]
    sent: Mapping[str, Sent]  # by case
    seconds: Mapping[
        int, float
    ]  # by category, from the end of each opening handshake to the end of TCP
    wall_seconds: float = 0.0
    date: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)  # by name of the program or package
    epilogue: str = ""  # printed below the table

    @property
    def bad(self) -> list[Bad]:
        """The cases that were not passed, in the order of the plan."""
        return [
            Bad(case, outcome)
            for case, outcome in self.outcomes.items()
            if not is_good(case, outcome)
        ]

    def count(self, outcome: str) -> int:
        """Return how many cases ended in ``outcome``."""
        return list(self.outcomes.values()).count(outcome)

    def by_category(self) -> dict[int, list[str]]:
        """Return the cases of each category."""
        ordered = sorted(self.outcomes, key=category)
        return {number: list(cases) for number, cases in groupby(ordered, category)}

    def compressible(self) -> Sent:
        """Return what was sent in the cases of 12 and 13."""
        return total(self.sent, filter(is_about_compression, self.outcomes))

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain JSON data."""
        return {
            "agent": self.agent,
            "date": self.date,
            "versions": self.versions,
            "set": self.cases.name,
            "planned": len(self.cases),
            "counts": Counter(self.outcomes.values()),
            "bad": [bad._asdict() for bad in self.bad],
            "seconds": self.seconds,
            "wall_seconds": round(self.wall_seconds, 1),
            "outcomes": self.outcomes,
            "compressible": self.compressible().as_json(),
            "sent": {case: sent.as_json() for case, sent in self.sent.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Report:
        """Return the report from which as_json() made ``data``."""
        return cls(
            agent=data["agent"],
            cases=Cases(data["set"], tuple(data["outcomes"])),
            outcomes=data["outcomes"],
            sent={case: Sent.from_json(counts) for case, counts in data["sent"].items()},
            seconds={int(number): seconds for number, seconds in data["seconds"].items()},
            wall_seconds=data["wall_seconds"],
            date=data["date"],
            versions=data["versions"],
        )

    def __str__(self) -> str:
        title = f"{self.agent}: {len(self.cases)} cases ({self.cases.name}), {len(self.bad)} bad"
        lines = [f"{title}, {self.wall_seconds:.1f} s", "", *_table(self), *bad_lines(self.bad)]
        sent = self.compressible()
        lines += [f"{'compression':<18}{sent}"] if sent.inflated else []
        return "\n".join([*lines, "", self.epilogue] if self.epilogue else lines)


def judge(
    agent: str,
    cases: Cases,
    results: Results,
    sent: Mapping[str, Sent],
    wall_seconds: float = 0.0,
) -> Report:
    """Hold ``results``, an agent's part of ``index.json``, against the planned ``cases``.

    A case of whose frames ``sent`` knows nothing is missing as well.
    """
    outcomes = {
        case: _outcome(results[case], _compression(case, sent.get(case)))
        if case in results
        else MISSING
        for case in cases
    }
    unplanned = [case for case in results if case not in outcomes]
    outcomes.update(dict.fromkeys(unplanned, UNEXPECTED))
    ordered = {case: sent[case] for case in outcomes if case in sent}
    return Report(agent, cases, outcomes, ordered, _seconds(results), wall_seconds)


def is_good(case: str, outcome: str) -> bool:
    """Return whether a case may end so."""
    return outcome == OK or (outcome == INFORMATIONAL and case in INFORMATIONAL_CASES)


def _outcome(result: Mapping[str, Any], compression: str) -> str:
    """Return the most severe of a case's verdicts: wstest's two, on messages and close, and ours.

    The first counts if several are as severe.
    """
    verdicts: list[str] = [result.get("behavior", MISSING), result.get("behaviorClose", MISSING)]
    return max([*verdicts, compression], key=_severity)


def _compression(case: str, sent: Sent | None) -> str:
    if sent is None:
        return MISSING
    return UNCOMPRESSED if lacks_compression(case, sent) else OK


def _severity(verdict: str) -> int:
    return MILD.index(verdict) if verdict in MILD else len(MILD)


def _seconds(results: Results) -> dict[int, float]:
    spent: Counter[int] = Counter()
    for case, result in results.items():
        spent[category(case)] += _milliseconds(result)
    return {number: milliseconds / 1000 for number, milliseconds in sorted(spent.items())}


def _milliseconds(result: Mapping[str, Any]) -> int:
    """Return a case's duration; 0 if it never opened: wstest then counts from 1970."""
    duration = int(result.get("duration", 0))
    return duration if duration < DAY else 0


def _table(report: Report) -> Iterator[str]:
    """Yield a line per category, with a column for each outcome that occurs."""
    columns = sorted(
        set(report.outcomes.values()), key=lambda outcome: (_severity(outcome), outcome)
    )
    yield _row("category", columns, "seconds")
    for number, cases in report.by_category().items():
        counts = Counter(report.outcomes[case] for case in cases)
        yield _row(
            number, [counts[column] or "." for column in columns], report.seconds.get(number, 0.0)
        )
    yield _row("total", [report.count(column) for column in columns], sum(report.seconds.values()))


def _row(first: object, cells: Iterable[object], last: object) -> str:
    seconds = f"{last:.1f}" if isinstance(last, float) else last
    return f"{first:<10}" + "".join(f"{cell:>16}" for cell in cells) + f"{seconds:>10}"


def bad_lines(bad: Iterable[Bad]) -> Iterator[str]:
    """Yield a line per outcome that names its cases: ``FAILED  7.1.5 9.3.1-3``."""
    by_outcome: dict[str, list[str]] = {}
    for case, outcome in bad:
        by_outcome.setdefault(outcome, []).append(case)
    for outcome, cases in by_outcome.items():
        yield f"{outcome:<18}{' '.join(_runs(cases))}"


def _runs(cases: list[str]) -> Iterator[str]:
    """Yield the names with neighbours joined: 9.3.1, 9.3.2 and 9.3.3 become ``9.3.1-3``."""
    split = [case.rpartition(".") for case in cases]
    # In a run of neighbours the distance between a case's number and its place does not change.
    numbered = [
        (group, int(number) - place, number) for place, (group, _, number) in enumerate(split)
    ]
    for (group, _), run in groupby(numbered, key=lambda item: item[:2]):
        numbers = [number for _, _, number in run]
        yield f"{group}.{numbers[0]}" + (f"-{numbers[-1]}" if len(numbers) > 1 else "")
