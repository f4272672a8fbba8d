"""The page says what the reports say; it needs no wstest."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from .cases import SETS
from .endpoints import ENDPOINTS, SERVERS
from .frames import Sent, is_about_compression
from .judge import INFORMATIONAL, INFORMATIONAL_CASES, OK, Report
from .page import main, page
from .run import report_path

VERSIONS = {"CPython": "3.11.7", "zlib": "1.3", "ws4py": "1.0", "AutobahnTestSuite": "25.10.1"}
CASES = SETS["full"]
PLAIN = Sent(frames=2, messages=1, payload=100, inflated=100)
DENSE = Sent(frames=10, compressed=7, messages=10, payload=250, inflated=1000)
REPORT = Report(
    agent="standalone-server",
    cases=CASES,
    outcomes={case: INFORMATIONAL if case in INFORMATIONAL_CASES else OK for case in CASES},
    sent={case: DENSE if is_about_compression(case) else PLAIN for case in CASES},
    seconds={1: 0.25, 7: 1.5, 12: 100.0, 13: 20.04},
    date="2026-01-31",
    versions=VERSIONS,
)
STANDALONE, GEVENT = SERVERS["standalone"], SERVERS["gevent"]
TWO = [
    (STANDALONE, REPORT),
    (GEVENT, replace(REPORT, versions={**VERSIONS, "gevent": "26.9"}, date="2026-02-01")),
]


def rows(text: str, first: str) -> list[list[str]]:
    """Return the cells of the rows whose first cell begins with ``first``."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in cells] for cells in lines if cells[0].startswith(first)]


def test_the_overview_has_a_row_for_each_endpoint() -> None:
    figures = ["514", "3", "0", "1512 of 2160", "0.250", "121.8"]
    assert rows(page(TWO), "[") == [
        ["[standalone server](#standalone-server)", "", *figures],
        ["[gevent server](#gevent-server)", "gevent 26.9", *figures],
    ]


def test_each_endpoint_has_a_table_with_a_row_for_each_category() -> None:
    text = page(TWO[:1])
    assert rows(text, "7 closing") == [["7 closing", "34", "3", "0", "", "", "1.5"]]
    compression = rows(text, "12 compression")
    assert [row[1:] for row in compression] == [["90", "0", "0", "630 of 900", "0.250", "100.0"]]
    assert len(rows(text, "1")) == 4
    assert rows(text, "all") == [["all", "514", "3", "0", "1512 of 2160", "0.250", "121.8"]]


def test_what_all_have_in_common_is_said_once_with_the_days() -> None:
    text = page(TWO)
    common = "CPython 3.11.7, zlib 1.3, ws4py 1.0, AutobahnTestSuite 25.10.1"
    assert f"\n2026-01-31 to 2026-02-01: {common}.\n" in text
    assert "\n2026-01-31: CPython" in page(TWO[:1])


def test_the_command_of_each_endpoint_is_shown() -> None:
    assert "`python -m ws4py serve --port PORT --compression deflate --engine gevent`" in page(TWO)


def test_bad_cases_are_counted_and_named() -> None:
    outcomes = {**REPORT.outcomes, "12.1.3": "UNCOMPRESSED", "7.1.6": "FAILED"}
    text = page([(STANDALONE, replace(REPORT, outcomes=outcomes))])
    assert rows(text, "[")[0][2:5] == ["513", "2", "2"]
    assert rows(text, "12 ")[0][1:4] == ["89", "0", "1"]
    assert "\n    UNCOMPRESSED      12.1.3\n" in text
    assert "\n    FAILED            7.1.6\n" in text


def test_a_report_on_a_part_of_the_suite_is_refused() -> None:
    part = SETS["ci"]
    report = replace(REPORT, cases=part, outcomes=dict.fromkeys(part, OK))
    with pytest.raises(ValueError, match="standalone-server was given ci, not the whole suite"):
        page([(STANDALONE, report)])


def test_reports_of_several_versions_are_refused() -> None:
    newer = replace(REPORT, versions={**VERSIONS, "ws4py": "1.1"})
    with pytest.raises(ValueError, match=r"versions of ws4py: \['1.0', '1.1'\]"):
        page([(STANDALONE, REPORT), (GEVENT, newer)])


def write_reports(folder: Path) -> None:
    for endpoint in ENDPOINTS:
        path = report_path(folder / endpoint.agent)
        path.parent.mkdir()
        path.write_text(json.dumps(replace(REPORT, agent=endpoint.agent).as_json()))


def test_the_page_is_made_of_the_reports_on_all_endpoints(tmp_path: Path) -> None:
    write_reports(tmp_path)
    main(str(tmp_path / "page.md"), str(tmp_path))
    text = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert text.count("\n## ") == len(rows(text, "[")) == len(ENDPOINTS)


def test_an_endpoint_without_a_report_is_named_on_the_page(tmp_path: Path) -> None:
    write_reports(tmp_path)
    main(str(tmp_path / "page.md"), str(tmp_path))
    assert "Not run" not in (tmp_path / "page.md").read_text()
    report_path(tmp_path / "gevent-client").unlink()
    main(str(tmp_path / "page.md"), str(tmp_path))
    text = (tmp_path / "page.md").read_text()
    assert "\nNot run this time: gevent client.\n" in text
    assert "(#gevent-client)" not in text


def test_without_any_report_the_page_stays_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("as it was")
    with pytest.raises(SystemExit, match="no page: there are no reports"):
        main(str(tmp_path / "page.md"), str(tmp_path))
    assert (tmp_path / "page.md").read_text() == "as it was"
