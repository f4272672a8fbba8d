"""A short run with few connections: the soak itself does what it says."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from test.soak import report
from test.soak.crowd import WAYS, Plan
from test.soak.run import soak
from test.stress import linux_only
from ws4py.websocket import EchoWebSocket

kept: list[Any] = []


class Leaking(EchoWebSocket):
    """Keeps of each connection a descriptor and a thread, and all its messages."""

    def opened(self) -> None:
        kept.append(os.dup(self.sock.fileno()))
        threading.Thread(target=threading.Event().wait, daemon=True).start()

    def received_message(self, message: Any) -> None:
        super().received_message(message)
        kept.append(message.data)


pytestmark = [pytest.mark.stress, linux_only]


def test_a_short_soak_finds_nothing_lost_or_wrong_and_writes_its_report(tmp_path: Path) -> None:
    plan = Plan(seconds=6, idle=100, busy=10, rate=200, changes=50, heartbeat=1)
    outcome = soak(plan)
    assert outcome.faults == []
    assert set(outcome.gone) == set(WAYS)
    assert outcome.pings > 5 * plan.idle
    assert len({sample.descriptors for sample in outcome.samples}) == 1
    assert {sample.threads for sample in outcome.samples} == {1}
    for third in outcome.thirds:
        assert third.messages > 0
    report.write(outcome, tmp_path / "soak.md")
    assert "![memory and latencies over time](soak.svg)" in (tmp_path / "soak.md").read_text()
    assert ElementTree.parse(tmp_path / "soak.svg").getroot().tag.endswith("svg")


def test_a_handler_that_leaks_is_found_out() -> None:
    plan = Plan(seconds=3, idle=20, busy=10, rate=400, patience=2)
    complaints = "; ".join(soak(plan, handler="test.soak.test_soak:Leaking").complaints)
    for what in ("memory grows", "descriptors change", "threads change", "has not got back"):
        assert what in complaints
