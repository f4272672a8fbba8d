"""The runner notices what goes wrong; a small program stands in for wstest and its Python."""

from __future__ import annotations

import datetime
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from .cases import matching
from .frames import Sent
from .judge import Report
from .processes import RunError
from .run import Limits, main, report_path, run_client, run_server
from .wstest import find, index_path

AGENT = "some-agent"
CASES = matching(["2.*"])
LIMITS = Limits(start=20, idle=20, total=60)
PASSED = {"behavior": "OK", "behaviorClose": "OK", "duration": 1}
SENT = Sent(frames=1, messages=1, payload=5, inflated=5)

# Announces its cases and, as server, opens its port; then it goes on as `how` says: "end" writes a
# report in which all is OK, "silent" none, "hang" stays without a word, "busy" is never done.
WSTEST = """#!{python}
import json, os, socket, sys, time
spec = json.load(open(sys.argv[sys.argv.index("-s") + 1]))
if "url" in spec:
    listener = socket.create_server(("127.0.0.1", int(spec["url"].rpartition(":")[2])))
print("Cases =", spec["cases"], flush=True)
how = {how!r}
while how == "busy":
    print("Running test case ID 2.1 for agent", flush=True)
    time.sleep(0.05)
if how == "end":
    assert "PYTHONPATH" not in os.environ
    agents = [server["agent"] for server in spec.get("servers", [])]
    report = {{agent: {{case: {passed} for case in spec["cases"]}} for agent in agents}}
    frames = {{case: {sent} for case in spec["cases"]}}
    json.dump(report, open(spec["outdir"] + "/index.json", "w"))
    json.dump({{"suite": "25.10.1", "cases": frames}}, open(spec["outdir"] + "/frames.json", "w"))
if how == "hang" or "url" in spec:
    time.sleep(600)
"""

SERVER = """
import socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("ready", flush=True)
while True:
    listener.accept()
"""

# Started by a server: it holds the pipe open as long as it lives.
CHILD = """
import subprocess, sys
subprocess.Popen(["sleep", "600"], stdout=open(sys.argv[2], "w"))
"""


def python(script: str, *arguments: str) -> list[str]:
    """Return a command."""
    return ["{python}", "-c", script, *arguments]


def stand_in(folder: Path, how: str = "end") -> Path:
    """Write a program to be run in place of wstest's Python; return the path of wstest."""
    text = WSTEST.format(python=sys.executable, how=how, passed=PASSED, sent=SENT.as_json())
    program = folder / "wstest"
    for path in (program, folder / "python"):
        path.write_text(text)
        path.chmod(0o755)
    return program


def serve(
    folder: Path,
    how: str = "end",
    command: Sequence[str] = python(SERVER, "{port}"),
    limits: Limits = LIMITS,
    shards: int = 1,
) -> Report:
    """Run the cases against a server, by default one that accepts every connection."""
    program = stand_in(folder, how)
    return run_server(command, AGENT, CASES, folder, program, limits=limits, shards=shards)


# Reports


def test_a_server_that_passes_gives_a_report_without_bad_cases(tmp_path: Path) -> None:
    report = serve(tmp_path)
    assert report.bad == []
    assert list(report.outcomes) == list(CASES)


def test_shards_make_one_report(tmp_path: Path) -> None:
    report = serve(tmp_path, shards=2)
    assert report.bad == []
    assert sorted(report.outcomes) == sorted(CASES)
    assert index_path(tmp_path / "shard-2").exists()


def test_what_was_sent_and_the_version_of_the_suite_are_reported(tmp_path: Path) -> None:
    report = serve(tmp_path, shards=2)
    assert report.sent == dict.fromkeys(CASES, SENT)
    assert report.versions == {"AutobahnTestSuite": "25.10.1"}


def test_an_old_report_is_not_judged(tmp_path: Path) -> None:
    serve(tmp_path)
    assert index_path(tmp_path).exists()
    with pytest.raises(RunError, match="wrote no report"):
        serve(tmp_path, "silent")


def test_a_client_that_asks_for_no_report_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="asks for it at /updateReports"):
        run_client(python(""), AGENT, CASES, tmp_path, stand_in(tmp_path, "silent"), limits=LIMITS)


@pytest.mark.parametrize("agent", ["", "two words", "ws4py/standalone"])
def test_an_agent_that_cannot_be_a_name_is_refused(tmp_path: Path, agent: str) -> None:
    with pytest.raises(ValueError, match="letters, digits"):
        run_server([], agent, CASES, tmp_path, stand_in(tmp_path))


@pytest.mark.parametrize("shards", [0, 12])
def test_a_shard_without_a_case_is_refused(tmp_path: Path, shards: int) -> None:
    with pytest.raises(ValueError, match="11 cases cannot be split"):
        serve(tmp_path, shards=shards)


# Processes


def test_variables_for_python_are_kept_from_wstest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert serve(tmp_path).bad == []


def test_a_server_that_ends_at_its_start_shows_its_output(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"the server ended with 1 at its start\n.*\nno engine"):
        serve(tmp_path, command=python("raise SystemExit('no engine')"))


def test_a_server_that_opens_no_port_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="did not open port"):
        serve(tmp_path, command=python("import time; time.sleep(600)"), limits=Limits(start=0.3))


def test_a_server_that_ends_during_the_run_is_an_error(tmp_path: Path) -> None:
    script = SERVER.replace("while True:", "for _ in range(1):")
    with pytest.raises(RunError, match="the server ended with 0; last case: none"):
        serve(tmp_path, "hang", python(script, "{port}"))


def test_a_program_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"the server cannot be started: .*no-such-program"):
        serve(tmp_path, command=["no-such-program"])


def test_a_client_that_fails_shows_its_output(tmp_path: Path) -> None:
    command = python("import sys; sys.exit(sys.argv[1] + ' refused')", "{url}/{agent}")
    with pytest.raises(RunError, match=r"the client ended with 1(.|\n)*/some-agent refused"):
        run_client(command, AGENT, CASES, tmp_path, stand_in(tmp_path), limits=LIMITS)


def test_a_hanging_run_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no progress in 0\.5 s; last case: none"):
        serve(tmp_path, "hang", limits=Limits(idle=0.5))


def test_a_run_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no end after 1 s; last case: 2\.1"):
        serve(tmp_path, "busy", limits=Limits(total=1))


def test_nothing_that_a_server_started_is_left_over(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with open(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK), "rb") as reader:
        serve(tmp_path, command=python(CHILD + SERVER, "{port}", str(pipe)))
        os.set_blocking(reader.fileno(), True)
        assert reader.read() == b""  # returns when nobody holds the other end any more


# The command line


def test_wstest_is_looked_up_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WSTEST", str(stand_in(tmp_path)))
    assert find() == (tmp_path / "wstest").resolve()
    with pytest.raises(RunError, match=r"nothing is no program"):
        find(str(tmp_path / "nothing"))


def run_main(folder: Path, *arguments: str) -> int:
    """Run the command line against a server that accepts every connection."""
    script = folder / "server.py"
    script.write_text(SERVER)
    fixed = ["--wstest", str(folder / "wstest"), "--outdir", str(folder)]
    return main([*fixed, "--start", f"{{python}} {script} {{port}}", *arguments])


def test_the_exit_code_is_0_when_all_is_good(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in(tmp_path)
    assert run_main(tmp_path, "--case", "2.*") == 0
    assert "11 cases (2.*), 0 bad" in capsys.readouterr().out


def test_the_report_is_written_with_its_date_and_versions(tmp_path: Path) -> None:
    stand_in(tmp_path)
    run_main(tmp_path, "--case", "2.*")
    report = Report.from_json(json.loads(report_path(tmp_path / "other-server").read_text()))
    assert report.outcomes == dict.fromkeys(CASES, "OK")
    assert datetime.date.fromisoformat(report.date) <= datetime.date.today()
    assert {"zlib", "ws4py", "AutobahnTestSuite"} <= set(report.versions)


def test_no_report_is_left_of_the_run_before_one_that_does_not_end(tmp_path: Path) -> None:
    stand_in(tmp_path)
    run_main(tmp_path, "--case", "2.*")
    stand_in(tmp_path, "silent")
    assert run_main(tmp_path, "--case", "2.*") == 2
    assert not report_path(tmp_path / "other-server").exists()


def test_the_exit_code_is_1_when_a_case_is_bad(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = stand_in(tmp_path).with_name("python")
    program.write_text(program.read_text().replace("'behavior': 'OK'", "'behavior': 'NON-STRICT'"))
    assert run_main(tmp_path, "--case", "2.*") == 1
    out = capsys.readouterr().out
    assert "NON-STRICT        2.1-11" in out
    assert out.endswith("server.log\nready\n")


def test_the_exit_code_is_2_when_the_run_did_not_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in(tmp_path, "silent")
    assert run_main(tmp_path, "--case", "2.*") == 2
    assert "wrote no report" in capsys.readouterr().err


def test_the_exit_code_is_2_for_an_unknown_case(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in(tmp_path)
    assert run_main(tmp_path, "--case", "8.1") == 2
    assert "'8.1'" in capsys.readouterr().err
