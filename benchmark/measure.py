"""One measurement: start a server on its core, put load on it from another, stop it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from benchmark.environments import LOAD, LOAD_TLS
from benchmark.peers import TLS, Program
from benchmark.processes import Failure, placed_on, process_tree, running

WARMUP_SECONDS = 0.3  # under load, on connections that are closed again
RAMP_SECONDS = 0.2  # between opening the connections and the measured phase

Sample = dict[str, Any]


class Settings(NamedTuple):
    """How everything is measured; ``refill`` 0 means the whole window."""

    seconds: float
    refill: int = 0
    server_core: int = 0
    load_core: int = 1


class Load(NamedTuple):
    """What the load generator is to do; load.c tells what each of these is."""

    connections: int
    size: int = 16
    window: int = 1
    binary: bool = False
    broadcast: bool = False
    idle: int = 0
    together: int = 1
    settle: float = 0

    def options(self) -> list[str]:
        options = []
        for name, value in self._asdict().items():
            if isinstance(value, bool):
                options += [f"--{name}"] if value else []
            else:
                options += [f"--{name}", str(value)]
        return options


class Target:
    """A server that runs, and how load is put on it."""

    def __init__(self, program: Program, role: str, settings: Settings, pid: int, port: int):
        self.settings = settings
        self.tree = process_tree(pid)
        self.pid = pid
        self.command = [str(LOAD_TLS if role == TLS else LOAD), "--port", str(port)]
        self.command += ["--tls"] if role == TLS else []
        self.raw = program.raw

    def warm_up(self, load: Load) -> None:
        """Put the load on it that will be measured, on connections that are closed again.

        They have to be: asyncio reads into a new buffer of 256 KiB each time, and until the first
        end of a stream glibc's malloc maps and unmaps each of these, which costs more than the
        echo. Servers in real use have seen a connection end.
        """
        self._run(load, 0, WARMUP_SECONDS)

    def put(self, load: Load, seconds: float | None = None) -> Sample:
        """Return what the load generator reports; ``cpu_us`` is added, per message.

        That is user and system time of all threads and processes of the server.

        Raises:
            Failure: The server broke off, a reply was wrong, or the CPU time is unknown.
        """
        members = [option for pid in self.tree for option in ("--pid", str(pid))]
        result = self._run(load, RAMP_SECONDS, seconds or self.settings.seconds, *members)
        if process_tree(self.pid) != self.tree:
            raise Failure("the server started or lost processes under load: CPU time unknown")
        if result["messages"]:
            result["cpu_us"] = result["server_cpu_seconds"] / result["messages"] * 1e6
        return result

    def _run(self, load: Load, warmup: float, seconds: float, *options: str) -> Sample:
        refill = self.settings.refill or load.window
        command = [*self.command, *load.options(), "--refill", str(refill), *options]
        if self.raw:
            command = [option for option in command if option != "--binary"] + ["--raw"]
        return put_load(command, self.settings.load_core, warmup, seconds)


@contextmanager
def started(program: Program, role: str, settings: Settings) -> Iterator[Target]:
    """Start the server of ``program`` for ``role``, as a target."""
    with running(program, role, settings.server_core) as (pid, port):
        yield Target(program, role, settings, pid, port)


def put_load(command: list[str], core: int, warmup: float, seconds: float) -> Sample:
    limit = warmup + seconds + 60
    command = [*command, "--warmup", str(warmup), "--seconds", str(seconds)]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
            preexec_fn=placed_on(core),
        )
    except subprocess.TimeoutExpired as exc:
        raise Failure(f"load generator did not end within {limit} s") from exc
    if not done.stdout:
        raise Failure(done.stderr.strip() or f"load generator ended with {done.returncode}")
    result: Sample = json.loads(done.stdout)
    if result["errors"]:
        raise Failure(f"{result['errors']} errors, the first: {result['first_error']}")
    return result
