"""Run the Autobahn test suite against a server or a client.

    python -m test.autobahn.run --server standalone --set core+9
    python -m test.autobahn.run --client threaded --case 9.1.6 --case '7.*'
    python -m test.autobahn.run --start '{python} my_server.py {port}' --set full --shards 2

Commands run in the project's root folder; {python}, {port}, {url} and {agent} are replaced in
them. A server serves an echo handler on 127.0.0.1; a client works as client.py does.

Exit code: 0 when every case was passed, 1 when one was not, 2 when the run did not come to its end.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import signal
import sys
import time
from collections import ChainMap
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from . import wstest
from .cases import SETS, Cases, matching
from .endpoints import (
    CLIENT,
    CLIENTS,
    ENDPOINTS,
    SERVER,
    SERVERS,
    Endpoint,
    common_versions,
    installed,
)
from .judge import Report, judge
from .processes import HOST, POLL, Process, RunError, free_port

REPORTS = wstest.ROOT / ".wstest" / "reports"


@dataclass(frozen=True)
class Limits:
    """Seconds after which a run is given up."""

    start: float = 20  # until a port is open
    idle: float = 150  # without a new case: the longest case has 100 s
    total: float = 1800


@dataclass(frozen=True)
class Job:
    """One wstest against one endpoint: the server or client that ``command`` starts."""

    command: Sequence[str]
    agent: str
    cases: Cases
    folder: Path
    wstest: Path
    limits: Limits

    def split(self, shards: int) -> list[Job]:
        """Return ``shards`` jobs that have the same cases together, none of them idle."""
        if not 1 <= shards <= len(self.cases):
            raise ValueError(f"{len(self.cases)} cases cannot be split into {shards} shards")
        if shards == 1:
            return [self]
        return [
            replace(self, cases=self.cases.share(n, shards), folder=self.folder / f"shard-{n + 1}")
            for n in range(shards)
        ]

    def start_endpoint(self, name: str, **values: object) -> Process:
        """Start the command, with ``values`` filled in."""
        command = [_fill(word, {"python": sys.executable, **values}) for word in self.command]
        return Process(name, command, self.folder, wstest.ROOT)


@dataclass
class Shard:
    """A job under way: over when its driver, the one of the two that is the client, has ended."""

    job: Job
    wstest: Process
    endpoint: Process
    driver: Process
    _seen: int = 0  # bytes of wstest's output
    _seen_at: float = field(default_factory=time.monotonic)

    def is_over(self) -> bool:
        """Return whether the driver has come to its end.

        Raises:
            RunError: One of the two failed, or both hang.
        """
        code = self.driver.exit_code
        listener = self.endpoint if self.driver is self.wstest else self.wstest
        if listener.exit_code is not None:
            raise self.failure(f"the {listener.name} ended with {listener.exit_code}")
        if code is None:
            self._check_progress()
        elif code != 0:
            raise self.failure(f"the {self.driver.name} ended with {code}")
        return code is not None

    def _check_progress(self) -> None:
        now, size = time.monotonic(), self.wstest.log.stat().st_size
        if size != self._seen:
            self._seen, self._seen_at = size, now
        elif now - self._seen_at > self.job.limits.idle:
            raise self.failure(f"no progress in {self.job.limits.idle:g} s")

    def failure(self, reason: str) -> RunError:
        """Return an error that says where the run stands."""
        last = wstest.last_case(self.wstest.output())
        return RunError(
            "\n".join([f"{reason}; last case: {last}", self.endpoint.tail(), self.wstest.tail()])
        )

    def findings(self) -> wstest.Findings:
        """Return what was found out.

        Raises:
            RunError: wstest ran other cases, or there is no usable report.
        """
        try:
            wstest.check_announced(self.job.cases, self.wstest.output())
            return wstest.read(self.job.folder, self.job.agent)
        except RunError as exc:
            raise self.failure(str(exc)) from exc


def run_server(
    command: Sequence[str],
    agent: str,
    cases: Cases,
    outdir: Path,
    program: Path,
    *,
    shards: int = 1,
    limits: Limits = Limits(),
) -> Report:
    """Start a server and run ``cases`` against it.

    Arguments:
        command: Its words; ``{port}`` is replaced by the port to listen on, ``{python}`` by the
            interpreter that runs this.
        agent: A name for the server, of letters, digits and ``-``.
        outdir: Where wstest's reports and the output of all processes go.
        program: wstest.
        shards: How many servers are tested at the same time, each with its part of the cases.

    Raises:
        RunError: The run did not come to its end.
    """
    return _run(
        _start_server, Job(command, agent, cases, outdir.resolve(), program, limits), shards
    )


def run_client(
    command: Sequence[str],
    agent: str,
    cases: Cases,
    outdir: Path,
    program: Path,
    *,
    shards: int = 1,
    limits: Limits = Limits(),
) -> Report:
    """Start a client and run ``cases`` against it.

    The arguments are those of :func:`run_server`, but in ``command`` it is ``{url}``, where the
    client finds ``/getCaseCount`` and its siblings, and ``{agent}`` that are replaced.
    """
    return _run(
        _start_client, Job(command, agent, cases, outdir.resolve(), program, limits), shards
    )


def run_endpoint(
    endpoint: Endpoint,
    cases: Cases,
    outdir: Path,
    program: Path,
    *,
    shards: int = 1,
    limits: Limits = Limits(),
) -> Report:
    """Start a server or a client and run ``cases`` against it."""
    run = run_server if endpoint.role == SERVER else run_client
    command = shlex.split(endpoint.command)
    return run(command, endpoint.agent, cases, outdir, program, shards=shards, limits=limits)


def _run(start: Callable[[Job, ExitStack], Shard], job: Job, shards: int) -> Report:
    if not re.fullmatch("[A-Za-z0-9-]+", job.agent):
        raise ValueError(f"agent {job.agent!r} has more than letters, digits and '-'")
    began = time.monotonic()
    with ExitStack() as processes:
        running = [start(part, processes) for part in job.split(shards)]
        _watch(running, began + job.limits.total)
        found = [shard.findings() for shard in running]
    results = ChainMap(*(part.results for part in found))
    sent = ChainMap(*(part.sent for part in found))
    report = judge(job.agent, job.cases, results, sent, time.monotonic() - began)
    return replace(
        report,
        versions={"AutobahnTestSuite": found[0].suite},
        epilogue=_epilogue(job, running, bool(report.bad)),
    )


def _start_server(job: Job, processes: ExitStack) -> Shard:
    job.folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    server = processes.enter_context(job.start_endpoint("server", port=port))
    server.wait_for_port(port, job.limits.start)
    fuzzer = wstest.against_server(job.wstest, job.folder, job.agent, job.cases, port)
    return Shard(job, processes.enter_context(fuzzer), server, driver=fuzzer)


def _start_client(job: Job, processes: ExitStack) -> Shard:
    job.folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    fuzzer = processes.enter_context(wstest.against_client(job.wstest, job.folder, job.cases, port))
    fuzzer.wait_for_port(port, job.limits.start)
    client = job.start_endpoint("client", url=f"ws://{HOST}:{port}", agent=job.agent)
    return Shard(job, fuzzer, processes.enter_context(client), driver=client)


def _watch(shards: list[Shard], deadline: float) -> None:
    """Wait until all are over."""
    while running := [shard for shard in shards if not shard.is_over()]:
        if time.monotonic() > deadline:
            raise running[0].failure(f"no end after {running[0].job.limits.total:g} s")
        running[0].driver.wait(POLL)


def _fill(word: str, values: dict[str, object]) -> str:
    """Replace ``{name}`` by each value; other braces stay, unlike with str.format()."""
    for name, value in values.items():
        word = word.replace(f"{{{name}}}", str(value))
    return word


def _epilogue(job: Job, shards: list[Shard], bad: bool) -> str:
    tails = [shard.endpoint.tail() for shard in shards] if bad else []
    return "\n".join([f"reports and logs: {job.folder}", *filter(None, tails)])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m test.autobahn.run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_endpoints(parser)
    parser.add_argument("--set", choices=SETS, default="core+9", help="default: core+9")
    parser.add_argument(
        "--case", action="append", metavar="PATTERN", help="these cases instead of a set"
    )
    parser.add_argument(
        "--shards", type=int, default=1, metavar="N", help="run N parts at the same time"
    )
    parser.add_argument(
        "--outdir",
        type=Path,
        default=REPORTS,
        metavar="DIR",
        help="reports and logs, in a folder for each endpoint; default: .wstest/reports",
    )
    parser.add_argument(
        "--wstest", metavar="PATH", help="default: $WSTEST, else .wstest/bin/wstest"
    )
    parser.add_argument(
        "--idle", type=float, default=Limits.idle, help="seconds a case may take (%(default)g)"
    )
    parser.add_argument(
        "--timeout", type=float, default=Limits.total, help="seconds in all (%(default)g)"
    )
    return parser


def _add_endpoints(parser: argparse.ArgumentParser) -> None:
    endpoint = parser.add_mutually_exclusive_group(required=True)
    endpoint.add_argument("--all", action="store_true", help="every server and client, in turn")
    endpoint.add_argument("--server", choices=SERVERS)
    endpoint.add_argument("--client", choices=CLIENTS)
    endpoint.add_argument("--start", metavar="CMD", help="start any other server, with {port}")
    endpoint.add_argument(
        "--client-command", metavar="CMD", help="run any other client, with {url} and {agent}"
    )


def _endpoints(options: argparse.Namespace) -> Sequence[Endpoint]:
    """Return the endpoints that the command line names."""
    if options.all:
        return ENDPOINTS
    if options.server or options.client:
        return [SERVERS[options.server] if options.server else CLIENTS[options.client]]
    role = SERVER if options.start else CLIENT
    return [Endpoint(role, "other", options.start or options.client_command)]


def _write_report(endpoint: Endpoint, options: argparse.Namespace) -> Report:
    """Run what the command line asks for, and write the report."""
    folder = options.outdir / endpoint.agent
    report_path(folder).unlink(missing_ok=True)  # of a run that does not end there is none
    date = time.strftime("%Y-%m-%d")
    report = run_endpoint(
        endpoint,
        matching(options.case) if options.case else SETS[options.set],
        folder,
        wstest.find(options.wstest),
        shards=options.shards,
        limits=Limits(idle=options.idle, total=options.timeout),
    )
    versions = {**common_versions(), **report.versions, **installed(endpoint.packages)}
    report = replace(report, date=date, versions=versions)
    report_path(folder).write_text(json.dumps(report.as_json(), indent=1))
    return report


def report_path(folder: Path) -> Path:
    """Return the path of our report, which page.py makes a page of."""
    return folder / "report.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the worst exit code of the endpoints."""
    options = _parser().parse_args(arguments)
    return max(_exit_code(endpoint, options) for endpoint in _endpoints(options))


def _exit_code(endpoint: Endpoint, options: argparse.Namespace) -> int:
    try:
        report = _write_report(endpoint, options)
    except (RunError, ValueError) as exc:
        print(f"{endpoint.agent}: not run to its end: {exc}", file=sys.stderr)
        return 2
    print(report, flush=True)
    return 1 if report.bad else 0


if __name__ == "__main__":
    # As an exception, so that our processes are stopped on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))
    sys.exit(main())
