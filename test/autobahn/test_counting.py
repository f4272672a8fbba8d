"""What an endpoint sends is counted right: a server that is no ws4py counts as well."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .cases import matching
from .frames import Sent
from .judge import Bad, Report
from .run import run_server

pytestmark = pytest.mark.autobahn

SERVER = ["{python}", "-m", "test.autobahn.raw_server", "{port}"]


def serve(how: str, patterns: list[str], folder: Path, program: Path) -> Report:
    return run_server([*SERVER, how], "raw", matching(patterns), folder, program)


def counted_by_server(folder: Path) -> list[Sent]:
    """Return the counts of the server, in the order of the cases."""
    lines = (folder / "server.log").read_text().splitlines()
    return [Sent.from_json(json.loads(line)) for line in lines]


def test_each_case_counts_what_the_server_has_sent(program: Path, tmp_path: Path) -> None:
    report = serve("halves", ["12.1.2", "13.2.4"], tmp_path, program)
    assert report.bad == []
    assert list(report.sent.values()) == counted_by_server(tmp_path)
    assert {sent.frames for sent in report.sent.values()} == {1500}
    assert {sent.compressed for sent in report.sent.values()} == {500}


def test_a_server_that_compresses_nothing_is_failed(program: Path, tmp_path: Path) -> None:
    report = serve("plain", ["12.1.2", "12.1.3"], tmp_path, program)
    assert list(report.sent.values()) == counted_by_server(tmp_path)
    assert report.bad == [Bad("12.1.3", "UNCOMPRESSED")]
