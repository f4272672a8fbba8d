"""Make a page of the reports on all endpoints.

    python -m test.autobahn.page docs/conformance.md

It refuses reports of a part of the suite, and reports that belong to different versions; it names
the endpoints that have none.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from pathlib import Path

from .cases import ALL, CATEGORIES
from .endpoints import ENDPOINTS, Endpoint
from .frames import THRESHOLD, is_about_compression, total
from .judge import INFORMATIONAL, OK, Report, bad_lines
from .run import REPORTS, report_path

HEADINGS = ("OK", "INFORMATIONAL", "bad", "frames with RSV1", "ratio", "seconds")

INTRODUCTION = f"""# Conformance

The [Autobahn test suite](https://github.com/crossbario/autobahn-testsuite) tries an endpoint's framing,
fragmentation, UTF-8, closing, limits, and compression ([RFC 7692](https://www.rfc-editor.org/rfc/rfc7692)) in
{len(ALL)} cases. Each server and client of ws4py below was given all of them, strictly: what the suite calls
NON-STRICT or UNIMPLEMENTED is bad here, and so is a case without a result. Three cases have no right
answer, 7.1.6, 7.13.1 and 7.13.2: these are INFORMATIONAL.

The suite does not look at whether an endpoint compresses what it sends. So the frames that came from it
with RSV1, the bit of a compressed message, were counted on the way, and a case of 12 or 13 with messages of
{THRESHOLD} octets or more is bad if not one was compressed. Smaller messages ws4py sends as they are, by default;
two cases of every eighteen have these. The ratio is that of the octets sent, in all data frames of 12 and 13,
to the octets of the messages in them; `report.json` of an endpoint has it for each case. Seconds are the sum of
the cases', of which two run at the same time; most of it is the suite's own, which runs on CPython 2.7.
"""  # noqa: E501 - the lines of the page

CLOSING = "`make autobahn` repeats this, and writes this page.\n"


def page(reports: Sequence[tuple[Endpoint, Report]]) -> str:
    """Return the page, in Markdown.

    Raises:
        ValueError: A report is not on the whole suite, or the reports are of different versions,
            or there are none.
    """
    if not reports:
        raise ValueError("there are no reports")
    for _, report in reports:
        _check_complete(report)
    common = _common_versions([report.versions for _, report in reports])
    dates = sorted({report.date for _, report in reports})
    parts = [
        INTRODUCTION,
        f"{' to '.join(dict.fromkeys([dates[0], dates[-1]]))}: {_listed(common)}.\n",
        _overview(reports, common),
        *_left_out([endpoint for endpoint, _ in reports]),
        *(_section(endpoint, report) for endpoint, report in reports),
        CLOSING,
    ]
    return "\n".join(parts)


def _check_complete(report: Report) -> None:
    missing = set(ALL) - set(report.outcomes)
    if missing:
        raise ValueError(f"{report.agent} was given {report.cases.name}, not the whole suite")


def _common_versions(all_versions: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return the versions that all reports name."""
    names = reduce(lambda some, more: [name for name in some if name in more], all_versions)
    for name in names:
        different = {versions[name] for versions in all_versions}
        if len(different) > 1:
            raise ValueError(f"reports of several versions of {name}: {sorted(different)}")
    return {name: all_versions[0][name] for name in names}


def _listed(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _overview(reports: Iterable[tuple[Endpoint, Report]], common: Mapping[str, str]) -> str:
    """Return the table that has a row for each endpoint."""
    rows = [
        [
            f"[{endpoint.title}](#{endpoint.agent})",
            _listed({name: v for name, v in report.versions.items() if name not in common}),
            *_figures(report, report.by_category()),
        ]
        for endpoint, report in reports
    ]
    return _table(["endpoint", "engine", *HEADINGS], rows, texts=2)


def _left_out(endpoints: Sequence[Endpoint]) -> list[str]:
    """Return what there is to say on endpoints without a report."""
    missing = [endpoint.title for endpoint in ENDPOINTS if endpoint not in endpoints]
    return [f"Not run this time: {', '.join(missing)}.\n"] if missing else []


def _section(endpoint: Endpoint, report: Report) -> str:
    """Return what there is to say on one endpoint."""
    command = endpoint.command.format(python="python", port="PORT", url="URL", agent="AGENT")
    rows = [
        [f"{number} {CATEGORIES[number]}", *_figures(report, {number: cases})]
        for number, cases in report.by_category().items()
    ]
    rows.append(["all", *_figures(report, report.by_category())])
    table = _table(["category", *HEADINGS], rows, texts=1)
    bad = "".join(f"\n    {line}\n" for line in bad_lines(report.bad))
    return f"## {endpoint.title}\n\n`{command}`\n\n{table}{bad}"


def _figures(report: Report, categories: Mapping[int, Sequence[str]]) -> Iterator[str]:
    """Yield the cells of a row on ``categories``, each with its cases."""
    cases = [case for cases in categories.values() for case in cases]
    bad = {bad.case for bad in report.bad}
    good = [report.outcomes[case] for case in cases if case not in bad]
    yield from (str(count) for count in (good.count(OK), good.count(INFORMATIONAL)))
    yield str(len(cases) - len(good))
    sent = total(report.sent, filter(is_about_compression, cases))
    yield f"{sent.compressed} of {sent.frames}" if sent.frames else ""
    yield "" if sent.ratio is None else f"{sent.ratio:.3f}"
    yield f"{sum(report.seconds.get(number, 0.0) for number in categories):.1f}"


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]], texts: int) -> str:
    """Return a table, of which the first ``texts`` columns are no figures."""
    rule = ["---"] * texts + ["---:"] * (len(headings) - texts)
    lines = [f"| {' | '.join(cells)} |" for cells in [headings, *rows]]
    return "\n".join([lines[0], f"|{'|'.join(rule)}|", *lines[1:], ""])


def read_reports(folder: Path) -> list[tuple[Endpoint, Report]]:
    """Return the report on every endpoint that has one: whose last run came to its end."""
    paths = [(endpoint, report_path(folder / endpoint.agent)) for endpoint in ENDPOINTS]
    return [
        (endpoint, Report.from_json(json.loads(path.read_text())))
        for endpoint, path in paths
        if path.exists()
    ]


def main(path: str, folder: str = str(REPORTS)) -> None:
    """Write the page to ``path``, from the reports in ``folder``."""
    try:
        text = page(read_reports(Path(folder)))
    except ValueError as exc:
        sys.exit(f"no page: {exc}")
    Path(path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
