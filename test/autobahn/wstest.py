"""wstest, the program of the Autobahn test suite: where it is, what it is told, what it tells.

It is run by counting.py, in wstest's own Python, and so counts what the endpoint under test sends.
Its exit code says nothing: it is 0 even when no case was run. What counts is ``index.json``, which
is written at the very end, and whether wstest announced the cases that it was given.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .cases import Cases
from .frames import Sent
from .processes import HOST, Process, RunError

ROOT = Path(__file__).resolve().parents[2]
DEFAULT = ROOT / ".wstest" / "bin" / "wstest"
COUNTING = Path(__file__).with_name("counting.py")


def find(given: str | None = None) -> Path:
    """Return wstest's path: ``given``, else ``$WSTEST``, else the project's ``.wstest/bin/wstest``.

    Its Python lies beside it, as in every virtual environment.

    Raises:
        RunError: There is no such program.
    """
    path = given or os.environ.get("WSTEST") or str(DEFAULT)
    found = shutil.which(path)
    if found is None:
        raise RunError(
            f"{path} is no program; test/autobahn/setup.sh .wstest makes .wstest/bin/wstest"
        )
    return Path(found).resolve()


def against_server(wstest: Path, folder: Path, agent: str, cases: Cases, port: int) -> Process:
    """Start wstest as the client of the server on ``port``; it ends by itself."""
    servers = [{"agent": agent, "url": f"ws://{HOST}:{port}/"}]
    return _start(wstest, "fuzzingclient", folder, {"cases": cases.ids, "servers": servers})


def against_client(wstest: Path, folder: Path, cases: Cases, port: int) -> Process:
    """Start wstest as a server on ``port``; it has to be stopped."""
    # -u 0: no web page on port 8080.
    return _start(
        wstest,
        "fuzzingserver",
        folder,
        {"cases": cases.ids, "url": f"ws://{HOST}:{port}"},
        "-u",
        "0",
    )


def _start(
    wstest: Path, mode: str, folder: Path, spec: Mapping[str, Any], *options: str
) -> Process:
    for path in (index_path(folder), frames_path(folder)):
        path.unlink(missing_ok=True)  # an old report must never be judged
    spec_path = folder / "spec.json"
    spec_path.write_text(json.dumps({"outdir": str(folder), **spec}, indent=1))
    python = wstest.with_name("python")
    command = [str(python), str(COUNTING), "-m", mode, "-s", str(spec_path), *options]
    return Process("wstest", command, folder, folder, _environment())


def _environment() -> dict[str, str]:
    """Return our environment without what is meant for the Python that runs this."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**kept, "PYTHONUNBUFFERED": "1"}  # its output is how we see progress


def check_announced(cases: Cases, output: str) -> None:
    """Check that wstest took on ``cases``, no fewer and no others.

    Raises:
        RunError: It did not, or said nothing.
    """
    line = re.search(r"^Cases = (\[.*\])$", output, re.MULTILINE)
    if line is None:
        raise RunError("wstest did not say which cases it runs")
    announced = ast.literal_eval(line[1])
    if set(announced) != set(cases) or len(announced) != len(cases):
        difference = sorted(set(announced) ^ set(cases))
        raise RunError(
            f"wstest runs {len(announced)} cases, not the planned {len(cases)}: {difference}"
        )


def last_case(output: str) -> str:
    """Return the name of the last case that wstest began, ``none`` before the first."""
    names = re.findall(r"^Running test case ID (\S+)", output, re.MULTILINE)
    return names[-1] if names else "none"


def index_path(folder: Path) -> Path:
    """Return the path of the report that is judged."""
    return folder / "index.json"


def frames_path(folder: Path) -> Path:
    """Return the path of what counting.py has counted."""
    return folder / "frames.json"


class Findings(NamedTuple):
    """What wstest and counting.py wrote on one agent."""

    suite: str  # its version
    results: dict[str, Any]  # by case
    sent: dict[str, Sent]  # by case


def read(folder: Path, agent: str) -> Findings:
    """Return what was found out about ``agent``.

    Raises:
        RunError: There is no whole report, or it speaks of other agents too.
    """
    results = read_results(folder, agent)
    counted = json.loads(frames_path(folder).read_text())  # was whole before there were results
    sent = {case: Sent.from_json(counts) for case, counts in counted["cases"].items()}
    return Findings(counted["suite"], results, sent)


def read_results(folder: Path, agent: str) -> dict[str, Any]:
    """Return the results of ``agent``, by case.

    Raises:
        RunError: There is no whole report, or it speaks of other agents too.
    """
    try:
        index = json.loads(index_path(folder).read_text())
    except FileNotFoundError as exc:
        raise RunError("wstest wrote no report; a client asks for it at /updateReports") from exc
    except ValueError as exc:
        raise RunError(
            "wstest's report is cut off; a client waits until /updateReports is closed"
        ) from exc
    if list(index) != [agent]:
        raise RunError(
            f"wstest reports on {', '.join(map(repr, index)) or 'nobody'}, not on {agent!r}"
        )
    results: dict[str, Any] = index[agent]
    return results
