"""What the benchmark compares, how its cells are written, and what its tables show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmark import page, peers, report, run, targets
from benchmark.kinds import Crowd, Echo, fits, kind
from benchmark.measure import Settings
from benchmark.peers import PROGRAMS
from benchmark.sets import SETS, make_plan, minutes, programs
from benchmark.targets import Bound, Ratio


def result(samples: list[dict[str, Any]], **unavailable: str) -> dict[str, Any]:
    return {
        "plan": {"crowd10": ["ws4py", "websockets"]},
        "unavailable": unavailable,
        "samples": [{"cell": "crowd10", **each} for each in samples],
    }


def sample(number: int, server: str, **figures: Any) -> dict[str, Any]:
    keys = {key for column in Crowd.columns for key in column.keys}
    figures = {"took_seconds": 1.0, **dict.fromkeys(keys, 1.0), **figures}
    return {"round": number, "server": server, **figures}


def test_a_cell_of_an_echo_says_size_connections_window_and_how():
    assert kind("16x50x32") == Echo(16, 50, 32)
    assert kind("1024x1x1bs") == Echo(1024, 1, 1, binary=True, tls=True)
    assert kind("1024x1x1bs").title == "1 KiB binary, 1 connection, 1 outstanding, TLS"


def test_other_kinds_of_cells_have_names():
    assert kind("crowd10000") == Crowd(10000)
    assert kind("client125x32").role == "client"


def test_what_is_no_cell_is_refused():
    with pytest.raises(ValueError, match="'16x50' is not a cell"):
        kind("16x50")


def test_groups_and_names_choose_servers_in_their_order_and_once():
    assert peers.chosen("tcp-c,old,tcp-c")[:2] == ["tcp-c", "ws4py-0.6-wsgiref"]
    assert len(peers.chosen("ceiling,tcp-c")) == 3


def test_an_unknown_server_is_refused():
    with pytest.raises(ValueError, match="'nobody' is not one of"):
        peers.chosen("nobody")


def test_a_plan_has_the_programs_that_fit_in_the_order_in_which_they_are_shown():
    parts = (
        (["16x1x1", "crowd10"], ["tcp-c", "ws4py"]),
        (["16x1x1"], ["picows", "websocket-client"]),
    )
    assert make_plan(*parts) == {"16x1x1": ["ws4py", "picows", "tcp-c"], "crowd10": ["ws4py"]}


@pytest.mark.parametrize(("name", "most"), [("short", 9), ("targets", 29), ("full", 74)])
def test_a_set_takes_no_longer_than_it_may(name, most):
    chosen = SETS[name]
    assert minutes(chosen.plan, chosen.rounds, Settings(chosen.seconds)) <= most


def test_every_set_has_at_least_five_rounds_of_it_all():
    assert all(chosen.rounds >= 5 for chosen in SETS.values())


def test_the_full_set_measures_all_programs_and_all_targets():
    full = SETS["full"].plan
    assert set(programs(full)) == set(PROGRAMS)
    assert all(set(names) <= set(full[cell]) for cell, names in SETS["targets"].plan.items())


def test_cells_and_servers_of_the_command_line_replace_those_of_the_set():
    options = run.parse_arguments(["--cells", "16x1x1", "--servers", "websockets,ws4py"])
    assert run.chosen(options) == SETS["short"]._replace(plan={"16x1x1": ["ws4py", "websockets"]})


def test_a_plan_is_shown_and_nothing_is_measured(capsys):
    assert run.main(["--plan", "--cells", "16x1x1", "--servers", "ws4py", "--rounds", "40"]) == 0
    assert capsys.readouterr().out == "16x1x1                2 s   1  ws4py\n40 rounds: 1 minutes\n"


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_programs_that_are_started_from_here_exist(name):
    here = str(peers.HERE)
    for command in PROGRAMS[name].commands.values():
        files = [part for part in command if part.startswith(here) and Path(part).suffix]
        built = [part for part in files if part.startswith((str(peers.BUILD), f"{here}/.venv"))]
        assert all(Path(part).exists() for part in files if part not in built)


def test_a_table_has_the_median_and_the_spread_of_the_rounds():
    rounds = [sample(number, "ws4py", beside=beside) for number, beside in enumerate((3, 1, 2))]
    assert report.table(result(rounds), "crowd10")[1][:2] == ["ws4py", "2.00 (1.00-3.00)"]


def test_a_table_says_what_failed_and_what_could_not_be_installed():
    failed = {"round": 1, "server": "ws4py", "failure": "no reply for 5 s"}
    rows = report.table(result([failed], websockets="no network"), "crowd10")
    assert rows[1:] == [
        ["ws4py", "FAILED: no reply for 5 s"],
        ["websockets", "NOT INSTALLED: no network"],
    ]


def echoes(**cpu_us: list[float]) -> dict[str, Any]:
    """Return a result of the cell 16x1x1."""
    samples = [
        {"round": number, "cell": "16x1x1", "server": name.replace("_", "-"), "cpu_us": figure}
        for name, figures in cpu_us.items()
        for number, figure in enumerate(figures)
    ]
    return {"plan": {"16x1x1": ["ws4py", "ws4py-pure", "tornado"]}, "samples": samples}


def test_a_ratio_is_of_the_figures_of_the_same_round_and_is_met_up_to_the_target():
    measured = echoes(ws4py=[1, 2, 3], tornado=[1, 4, 6])
    target = Ratio("16x1x1", "ws4py", "tornado", 0.5)
    assert targets.table(measured, [target])[1][1:] == [
        *("ws4py", "2.00 (1.00-3.00)", "tornado", "4.00 (1.00-6.00)"),
        *("0.500 (0.500-1.000)", "0.5", "met"),
    ]


def test_a_target_tells_by_how_much_it_is_missed():
    measured = echoes(ws4py=[3], tornado=[2])
    rows = targets.table(measured, [Ratio("16x1x1", "ws4py", "tornado", 1.0)])
    assert rows[1][-3:] == ["1.50", "1", "missed: 1.50 times it"]


def test_a_target_of_which_a_side_failed_is_not_met():
    rows = targets.table(echoes(ws4py=[3]), [Ratio("16x1x1", "ws4py", "tornado", 1.0)])
    assert rows[1][-4:] == ["-", "-", "1", "not measured"]


def test_a_target_that_the_run_is_not_about_is_not_shown():
    elsewhere = [Ratio("16x1x1", "ws4py", "aiohttp", 1.0), Bound("crowd10", "ws4py", "beside", 1)]
    assert targets.table(echoes(ws4py=[3]), elsewhere) == [Ratio.head]


def test_a_bound_names_its_figure():
    target = Bound("crowd10", "ws4py", "beside", 1.2)
    assert targets.table(result([sample(1, "ws4py", beside=1.1)]), [target]) == [
        Bound.head,
        [kind("crowd10").title, "ws4py", "beside / alone", "1.10", "1.2", "met"],
    ]


def test_a_figure_that_is_missed_is_told_at_the_speed_of_the_machine_it_is_for_too():
    handshakes = [sample(1, "ws4py", cpu_us=120.0)]
    target = Bound("crowd10", "ws4py", "cpu_us", 60)
    assert targets.table(result(handshakes), [target])[1][-1] == "missed: 2.00 times it"
    bare = {"round": 1, "cell": "16x50x1", "server": "tcp-python", "cpu_us": 5.8 * 2.5}
    measured = targets.table(result([*handshakes, bare]), [target])
    assert measured[1][-1] == "missed: 2.00 times it, 0.80 at its machine's speed"


def test_the_page_begins_with_the_targets_and_how_many_of_them_are_met():
    measured = result([{**sample(1, "ws4py", beside=2.0), "cell": "crowd10000"}])
    measured["plan"] = {"crowd10000": ["ws4py", "ws4py-pure"]}
    assert [title for title, _ in page.tables(measured)] == [
        "Targets: handshakes, idle connections, broadcasts (0 of 2 met)",
        f"{kind('crowd10000').title} (crowd10000)",
    ]


def test_a_bare_echo_of_tcp_is_shown_beside_echoes_only():
    assert fits(kind("16x1x1"), PROGRAMS["tcp-c"])
    assert not fits(kind("crowd10"), PROGRAMS["tcp-c"])


@pytest.mark.parametrize(("waited", "is_told"), [(0.05, False), (0.4, True)])
def test_a_report_tells_that_something_else_had_the_cores(waited, is_told):
    measured = {
        **result([sample(1, "ws4py", load_waited=waited)]),
        "machine": {},
        "versions": {},
        "settings": {"rounds": 1, "seconds": 1.0},
    }
    assert any(line.startswith("DISTURBED") for line in report.describe(measured)) is is_told
