"""Every engine passes the Autobahn test suite: strictly, uncompressed cases."""

from __future__ import annotations

import os
import shlex
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from . import wstest
from .cases import SETS
from .judge import INFORMATIONAL, INFORMATIONAL_CASES, Report
from .run import CLIENTS, SERVERS, Limits, run_client, run_server

SETUP = Path(__file__).with_name("setup.sh")
CASES = SETS["core+9"]
LIMITS = Limits(total=500)

pytestmark = [
    pytest.mark.autobahn,
    pytest.mark.timeout(900),
]  # a fast endpoint takes 20 s, setup.sh 30 s


@pytest.fixture(scope="module")
def program() -> Path:
    """Return wstest's path; set it up first, unless $WSTEST says where it is."""
    if not os.environ.get("WSTEST"):
        _set_up()
    return wstest.find()


def _set_up() -> None:
    """Skip where there is no Python 2.7, but never on CI: nobody would notice."""
    made = subprocess.run(
        ["sh", str(SETUP), str(wstest.DEFAULT.parents[1])],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if made.returncode == 3 and os.environ.get("CI") != "true":
        pytest.skip(made.stdout.strip())
    if made.returncode:
        pytest.fail(f"setup.sh ended with {made.returncode}: {made.stdout}", pytrace=False)


def check(report: Report) -> None:
    """Check that all cases were run and passed."""
    assert not report.bad, f"\n{report}"
    assert len(report.outcomes) == 301, report
    assert report.count(INFORMATIONAL) == len(INFORMATIONAL_CASES) == 3, report


PATCHED = "{python} -m test.autobahn.patched"


@pytest.mark.parametrize(
    ("run", "command"),
    [
        pytest.param(run_server, f"{PATCHED} ws4py serve --port {{port}}", id="server"),
        pytest.param(
            run_client, f"{PATCHED} test.autobahn.client threaded {{url}} {{agent}}", id="client"
        ),
    ],
)
@pytest.mark.wsaccel
@pytest.mark.skipif(find_spec("wsaccel") is None, reason="wsaccel is not installed")
def test_the_core_passes_with_wsaccel_patched_in(
    run: Any, command: str, program: Path, tmp_path: Path
) -> None:
    report = run(shlex.split(command), "patched", SETS["core"], tmp_path, program, limits=LIMITS)
    assert not report.bad, f"\n{report}"
    assert len(report.outcomes) == 247, report


@pytest.mark.parametrize("engine", SERVERS)
def test_the_server_passes_every_case(engine: str, program: Path, tmp_path: Path) -> None:
    command = shlex.split(SERVERS[engine])
    check(run_server(command, f"ws4py-{engine}", CASES, tmp_path, program, limits=LIMITS))


@pytest.mark.parametrize("engine", CLIENTS)
def test_the_client_passes_every_case(engine: str, program: Path, tmp_path: Path) -> None:
    command = shlex.split(CLIENTS[engine])
    check(run_client(command, f"ws4py-{engine}", CASES, tmp_path, program, limits=LIMITS))
