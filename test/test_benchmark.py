"""What the benchmark compares, how its cells are written, and what its tables show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmark import peers, report
from benchmark.kinds import Crowd, Echo, fits, kind
from benchmark.peers import PROGRAMS
from benchmark.sets import SETS


def result(samples: list[dict[str, Any]], **unavailable: str) -> dict[str, Any]:
    return {
        "servers": ["ws4py", "websockets", "tcp-c"],
        "unavailable": unavailable,
        "samples": [{"cell": "crowd10", **sample} for sample in samples],
    }


def sample(number: int, server: str, **figures: Any) -> dict[str, Any]:
    keys = {key for column in Crowd.columns for key in column.keys}
    return {"round": number, "server": server, **dict.fromkeys(keys, 1.0), **figures}


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


@pytest.mark.parametrize("name", SETS)
def test_the_sets_are_of_cells_and_servers_that_there_are(name):
    cells = [kind(cell) for cell in SETS[name].cells.split(",")]
    programs = [PROGRAMS[server] for server in peers.chosen(SETS[name].servers)]
    assert all(any(fits(cell, program) for program in programs) for cell in cells)


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
