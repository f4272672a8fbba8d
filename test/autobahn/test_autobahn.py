"""Every engine passes the Autobahn test suite, strictly: `make autobahn` gives it all the cases."""

from __future__ import annotations

import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from .cases import SETS
from .endpoints import ENDPOINTS, Endpoint
from .judge import INFORMATIONAL, INFORMATIONAL_CASES
from .run import Limits, run_client, run_endpoint, run_server

# Compressed cases keep two cores busy for ten seconds: so one server has them, and one client. The
# other endpoints accept and offer compression, and their own tests see to it that they compress.
COMPRESSED = ("standalone-server", "threaded-client")
NUMBERS = {"core+9": 301, "ci": 373}
LIMITS = Limits(total=500)
SHARDS = 2  # most of the time wstest waits, on purpose

pytestmark = [pytest.mark.autobahn, pytest.mark.timeout(900)]


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


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=[endpoint.agent for endpoint in ENDPOINTS])
def test_the_endpoint_passes_every_case(endpoint: Endpoint, program: Path, tmp_path: Path) -> None:
    cases = SETS["ci" if endpoint.agent in COMPRESSED else "core+9"]
    report = run_endpoint(endpoint, cases, tmp_path, program, shards=SHARDS, limits=LIMITS)
    assert not report.bad, f"\n{report}"
    assert len(report.outcomes) == NUMBERS[cases.name], report
    assert report.count(INFORMATIONAL) == len(INFORMATIONAL_CASES) == 3, report
