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
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from . import wstest
from .cases import SETS, Cases, matching
from .judge import Report, judge
from .processes import HOST, POLL, Process, RunError, free_port

GUNICORN = "{python} -m gunicorn --config python:test.apps.gunicorn_conf --bind 127.0.0.1:{port}"
SERVE = "{python} -m ws4py serve --port {port}"
ENGINES = ["standalone", "wsgiref", "cherrypy", "gevent", "tornado", "asyncio"]
SERVERS = {
    **{name: f"{SERVE} --engine {name}" for name in ENGINES},
    "asyncio-coroutines": f"{SERVE} --engine asyncio ws4py.async_websocket:EchoWebSocket",
    "uvloop": "{python} -m test.autobahn.server_uvloop {port}",
    "gunicorn-gthread": f"{GUNICORN} --worker-class gthread --threads 4 test.apps.wsgi:held",
    "gunicorn-handoff": f"{GUNICORN} --worker-class sync test.apps.wsgi:handed_off",
}
CLIENTS = {
    name: f"{{python}} -m test.autobahn.client {name} {{url}} {{agent}}"
    for name in ("threaded", "gevent", "tornado", "asyncio", "uvloop")
}
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

    def results(self) -> dict[str, Any]:
        """Return the results by case.

        Raises:
            RunError: wstest ran other cases, or there is no usable report.
        """
        try:
            wstest.check_announced(self.job.cases, self.wstest.output())
            return wstest.read_results(self.job.folder, self.job.agent)
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


def _run(start: Callable[[Job, ExitStack], Shard], job: Job, shards: int) -> Report:
    if not re.fullmatch("[A-Za-z0-9-]+", job.agent):
        raise ValueError(f"agent {job.agent!r} has more than letters, digits and '-'")
    began = time.monotonic()
    with ExitStack() as processes:
        running = [start(part, processes) for part in job.split(shards)]
        _watch(running, began + job.limits.total)
        results = {case: result for shard in running for case, result in shard.results().items()}
    report = judge(job.agent, job.cases, results, time.monotonic() - began)
    return replace(report, epilogue=_epilogue(job, running, bool(report.bad)))


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
        "--outdir", type=Path, help="reports and logs; default: .wstest/reports/AGENT"
    )
    parser.add_argument(
        "--wstest", metavar="PATH", help="default: $WSTEST, else .wstest/bin/wstest"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report there as well")
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


def _run_from(options: argparse.Namespace) -> Report:
    """Run what the command line asks for."""
    name = options.server or (options.client and f"{options.client}-client")
    agent = f"ws4py-{name}" if name else "other"
    run, command = _endpoint(options)
    return run(
        shlex.split(command),
        agent,
        matching(options.case) if options.case else SETS[options.set],
        options.outdir or REPORTS / agent,
        wstest.find(options.wstest),
        shards=options.shards,
        limits=Limits(idle=options.idle, total=options.timeout),
    )


def _endpoint(options: argparse.Namespace) -> tuple[Callable[..., Report], str]:
    """Return the function that runs the endpoint, and the endpoint's command."""
    if options.server or options.start:
        return run_server, options.start or SERVERS[options.server]
    return run_client, options.client_command or CLIENTS[options.client]


def _run_all(options: argparse.Namespace) -> int:
    """Run every endpoint; return the worst exit code."""
    endpoints = [("server", name) for name in SERVERS] + [("client", name) for name in CLIENTS]
    return max(
        _run_one(argparse.Namespace(**{**vars(options), role: name})) for role, name in endpoints
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = _parser().parse_args(arguments)
    return _run_all(options) if options.all else _run_one(options)


def _run_one(options: argparse.Namespace) -> int:
    try:
        report = _run_from(options)
    except (RunError, ValueError) as exc:
        print(f"not run to its end: {exc}", file=sys.stderr)
        return 2
    print(report)
    if options.json:
        options.json.write_text(json.dumps(report.as_json(), indent=1))
    return 1 if report.bad else 0


if __name__ == "__main__":
    # As an exception, so that our processes are stopped on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))
    sys.exit(main())
