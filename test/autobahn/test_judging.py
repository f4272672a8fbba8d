"""The judge is strict; it needs no wstest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from . import judge as judging
from . import wstest
from .cases import ALL, SETS, Cases, category, matching
from .frames import Sent
from .judge import INFORMATIONAL_CASES, Bad, Report, Results
from .processes import RunError

AGENT = "some-server"
CASES = matching(["7.*"])
UNCOMPRESSED = dict.fromkeys(ALL, Sent(frames=1, messages=1, payload=5, inflated=5))


def passed(cases: Cases = CASES) -> dict[str, dict[str, Any]]:
    """Return results without a fault."""
    verdicts = {case: "INFORMATIONAL" if case in INFORMATIONAL_CASES else "OK" for case in cases}
    return {
        case: {"behavior": v, "behaviorClose": v, "duration": 500} for case, v in verdicts.items()
    }


def judge(cases: Cases, results: Results, sent: Mapping[str, Sent] = UNCOMPRESSED) -> Report:
    return judging.judge(AGENT, cases, results, sent, wall_seconds=7.25)


def judged(**changed: str) -> Report:
    """Judge a passed run in which the result of 7.1.1 is ``changed``."""
    results = passed()
    results["7.1.1"].update(changed)
    return judge(CASES, results)


def announcement(ids: object) -> str:
    return f"Ok, will run some test cases\nCases = {ids}\nServers = []\n"


# The plan


@pytest.mark.parametrize(
    "name, count", [("core", 247), ("core+9", 301), ("ci", 373), ("full", 517)]
)
def test_a_set_has_as_many_cases_as_the_suite(name: str, count: int) -> None:
    assert len(SETS[name]) == count == len(set(SETS[name]))


def test_the_core_is_categories_1_to_7_and_10() -> None:
    assert {category(case) for case in SETS["core"]} == {1, 2, 3, 4, 5, 6, 7, 10}


def test_a_pattern_is_anchored_at_both_ends() -> None:
    assert matching(["12.*.1"]).ids == ("12.1.1", "12.2.1", "12.3.1", "12.4.1", "12.5.1")


def test_several_patterns_select_in_the_order_of_the_suite() -> None:
    assert matching(["9.1.6", "2.1", "2.*1"]).ids == ("2.1", "2.11", "9.1.6")


def test_a_pattern_without_a_case_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"'8\.\*'"):
        matching(["1.*", "8.*"])


def test_shards_have_all_cases_together_and_none_twice() -> None:
    shares = [SETS["full"].share(shard, 3).ids for shard in range(3)]
    assert sorted(sum(shares, ())) == sorted(ALL)


# The outcome of a case


def test_a_run_in_which_all_is_ok_has_nothing_bad() -> None:
    report = judge(CASES, passed())
    assert report.bad == []
    assert report.count("OK") == len(CASES) - 3
    assert report.count("INFORMATIONAL") == 3


@pytest.mark.parametrize(
    "verdict", ["NON-STRICT", "FAILED", "UNIMPLEMENTED", "INFORMATIONAL", "OKAY", ""]
)
def test_any_other_behavior_is_bad(verdict: str) -> None:
    assert judged(behavior=verdict).bad == [Bad("7.1.1", verdict)]


@pytest.mark.parametrize(
    "verdict", ["FAILED", "UNCLEAN", "WRONG CODE", "FAILED BY CLIENT", "INFORMATIONAL"]
)
def test_any_other_closing_handshake_is_bad(verdict: str) -> None:
    assert judged(behaviorClose=verdict).bad == [Bad("7.1.1", verdict)]


def test_the_more_severe_verdict_counts() -> None:
    assert judged(behavior="NON-STRICT", behaviorClose="UNCLEAN").bad == [Bad("7.1.1", "UNCLEAN")]
    assert judged(behavior="FAILED", behaviorClose="INFORMATIONAL").bad == [Bad("7.1.1", "FAILED")]


def test_an_informational_case_may_still_fail() -> None:
    results = {**passed(), "7.1.6": {"behavior": "INFORMATIONAL", "behaviorClose": "FAILED"}}
    assert judge(CASES, results).bad == [Bad("7.1.6", "FAILED")]


def test_a_result_without_verdicts_is_missing() -> None:
    results = {**passed(), "7.1.1": {}}
    assert judge(CASES, results).bad == [Bad("7.1.1", "MISSING")]


def test_a_planned_case_without_a_result_is_missing() -> None:
    results = passed()
    del results["7.13.2"]
    assert judge(CASES, results).bad == [Bad("7.13.2", "MISSING")]


def test_no_results_at_all_is_all_missing() -> None:
    report = judge(CASES, {})
    assert len(report.bad) == report.count("MISSING") == len(CASES)


def test_a_result_that_was_not_planned_is_bad() -> None:
    results = passed(matching(["7.*", "1.1.1"]))
    assert judge(CASES, results).bad == [Bad("1.1.1", "UNEXPECTED")]


# Compression


def compressing(case: str, **counts: int) -> Report:
    """Judge a passed ``case`` in which the endpoint sent what ``counts`` say."""
    cases = matching([case])
    return judge(cases, passed(cases), {case: Sent(**counts)})


@pytest.mark.parametrize("case", ["12.1.3", "13.7.18"])
def test_large_messages_of_which_none_is_compressed_are_bad(case: str) -> None:
    report = compressing(case, frames=10, messages=10, payload=2560, inflated=2560)
    assert report.bad == [Bad(case, "UNCOMPRESSED")]


def test_one_compressed_frame_is_enough() -> None:
    report = compressing(
        "12.1.3", frames=10, compressed=1, messages=10, payload=2500, inflated=2560
    )
    assert report.bad == []


def test_small_messages_may_go_as_they_are() -> None:
    assert compressing("12.1.3", frames=10, messages=10, payload=2559, inflated=2559).bad == []


@pytest.mark.parametrize("case", ["1.1.8", "9.1.6", "10.1.1"])
def test_other_cases_are_not_about_compression(case: str) -> None:
    assert compressing(case, frames=1, messages=1, payload=65536, inflated=65536).bad == []


def test_a_case_that_was_failed_is_not_called_uncompressed() -> None:
    results = {"12.1.3": {"behavior": "FAILED", "behaviorClose": "OK"}}
    sent = {"12.1.3": Sent(frames=1, messages=1, payload=256, inflated=256)}
    assert judge(matching(["12.1.3"]), results, sent).bad == [Bad("12.1.3", "FAILED")]


def test_a_case_of_which_nothing_was_counted_is_missing() -> None:
    assert judge(matching(["2.1"]), passed(matching(["2.1"])), {}).bad == [Bad("2.1", "MISSING")]


def test_the_ratio_is_that_of_the_cases_of_12_and_13_together() -> None:
    cases = matching(["1.1.1", "12.1.1", "13.1.1"])
    one = Sent(frames=2, compressed=1, messages=2, payload=30, inflated=100)
    sent = dict.fromkeys(cases, one)
    report = judge(cases, passed(cases), sent)
    assert report.compressible() == Sent(
        frames=4, compressed=2, messages=4, payload=60, inflated=200
    )
    assert str(report).splitlines()[-1] == (
        "compression       2 of 4 frames with RSV1, 60 octets for 200: ratio 0.300"
    )
    assert report.as_json()["sent"]["12.1.1"]["ratio"] == 0.3


def test_without_messages_there_is_no_ratio() -> None:
    assert Sent().ratio is None
    assert Sent().as_json()["ratio"] is None


# The text


def test_the_text_has_a_line_per_category() -> None:
    cases = matching(["2.*", "10.*"])
    text = str(judge(cases, passed(cases)))
    assert text.splitlines() == [
        "some-server: 12 cases (2.* 10.*), 0 bad, 7.2 s",
        "",
        "category                OK   seconds",
        "2                       11       5.5",
        "10                       1       0.5",
        "total                   12       6.0",
    ]


def test_the_text_names_the_bad_cases_with_neighbours_joined() -> None:
    results = passed()
    for case in ("7.1.1", "7.1.2", "7.1.4", "7.3.5"):
        results[case]["behavior"] = "FAILED"
    assert str(judge(CASES, results)).splitlines()[-1] == "FAILED            7.1.1-2 7.1.4 7.3.5"


def test_a_connection_that_never_opened_has_no_duration() -> None:
    results = {
        "2.1": {"behavior": "FAILED", "behaviorClose": "FAILED", "duration": 1_700_000_000_000}
    }
    assert judge(matching(["2.1"]), results).seconds == {2: 0.0}


def test_the_json_form_can_be_written() -> None:
    data = json.loads(json.dumps(judged(behavior="FAILED").as_json()))
    assert data["bad"] == [{"case": "7.1.1", "outcome": "FAILED"}]
    assert data["planned"] == len(data["outcomes"]) == len(CASES)


def test_the_json_form_is_read_again() -> None:
    data = json.loads(json.dumps(judged(behavior="FAILED").as_json()))
    report = Report.from_json(data)
    assert report.bad == [Bad("7.1.1", "FAILED")]
    assert report.as_json() == {**data, "set": "7.*", "seconds": {7: 18.5}}


# What wstest says


def test_the_announced_cases_are_read_as_python_2_writes_them() -> None:
    wstest.check_announced(matching(["2.1", "2.2"]), announcement("[u'2.1', '2.2']"))


@pytest.mark.parametrize(
    "ids", [["2.1"], ["2.1", "2.2", "2.3"], ["2.1", "2.3"], ["2.1", "2.1", "2.2"]]
)
def test_a_plan_that_is_not_ours_is_refused(ids: list[str]) -> None:
    with pytest.raises(RunError, match="not the planned 2"):
        wstest.check_announced(matching(["2.1", "2.2"]), announcement(ids))


def test_a_silent_wstest_is_refused() -> None:
    with pytest.raises(RunError, match="did not say"):
        wstest.check_announced(CASES, "KeyError: u'99.1'")


def test_the_last_case_is_the_one_that_began_last() -> None:
    line = "Running test case ID {} for agent a from peer p\n"
    assert wstest.last_case(line.format("1.1.1") + line.format("9.1.6")) == "9.1.6"
    assert wstest.last_case("") == "none"


# The report file


def test_the_results_of_the_agent_are_read(tmp_path: Path) -> None:
    wstest.index_path(tmp_path).write_text(json.dumps({AGENT: passed()}))
    assert wstest.read_results(tmp_path, AGENT) == passed()


@pytest.mark.parametrize("agents", [[], ["other"], [AGENT, "other"]])
def test_results_of_other_agents_are_refused(tmp_path: Path, agents: list[str]) -> None:
    wstest.index_path(tmp_path).write_text(json.dumps(dict.fromkeys(agents, passed())))
    with pytest.raises(RunError, match="not on 'some-server'"):
        wstest.read_results(tmp_path, AGENT)


def test_no_report_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no report"):
        wstest.read_results(tmp_path, AGENT)


def test_a_report_that_is_cut_off_is_an_error(tmp_path: Path) -> None:
    wstest.index_path(tmp_path).write_text('{"some-server": {"1.1.1"')
    with pytest.raises(RunError, match="cut off"):
        wstest.read_results(tmp_path, AGENT)
