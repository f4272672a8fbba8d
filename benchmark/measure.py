"""One measurement: start a server or client on its core, and its counterpart on another."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from benchmark.environments import LOAD, LOAD_TLS
from benchmark.peers import CLIENT, ECHO, PROGRAMS, TLS, Program
from benchmark.processes import Failure, output_of, process_tree, running

WARMUP_SECONDS = 0.3  # under load, on connections that are closed again
PATIENCE_SECONDS = 60  # beyond what a measurement takes
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


class Server:
    """A server that runs, and how load is put on it."""

    def __init__(self, program: Program, role: str, settings: Settings, pid: int, port: int):
        self.settings = settings
        self.tree = process_tree(pid)
        self.pid, self.port = pid, port
        self.command = [str(LOAD_TLS if role == TLS else LOAD), "--port", str(port)]
        self.command += ["--tls"] if role == TLS else []
        self.command += ["--raw"] if program.raw else []

    def warm_up(self, load: Load) -> None:
        """Put the load on it that will be measured, on connections that are closed; lose another.

        Servers in real use have seen both. asyncio reads into a new buffer of 256 KiB each time,
        and until it has read the end of a stream glibc's malloc gives each of these back to the
        kernel, which costs more than the echo. After a closing handshake not every server reads
        that end.
        """
        self._run(load, 0, WARMUP_SECONDS)
        socket.create_connection(("127.0.0.1", self.port)).close()

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
        found = figures(command, self.settings.load_core, warmup, seconds)
        if found["errors"]:
            raise Failure(f"{found['errors']} errors, the first: {found['first_error']}")
        return found


@contextmanager
def started(program: Program, role: str, settings: Settings) -> Iterator[Server]:
    """Start the server of ``program`` for ``role``."""
    with running(program, role, settings.server_core) as (pid, port):
        yield Server(program, role, settings, pid, port)


def measure_client(program: Program, size: int, window: int, settings: Settings) -> Sample:
    """Measure a client once, against the echo in C on the other core.

    Returns:
        ``cpu_us``, the client's CPU µs per message that was sent and came back: user and system.

    Raises:
        Failure: The client or the echo broke off, or a reply was wrong.
    """
    with running(PROGRAMS["ws-c"], ECHO, settings.load_core) as (pid, port):
        command = [part.format(port=port) for part in program.commands[CLIENT]]
        command += ["--size", str(size), "--window", str(window), "--echo", str(pid)]
        return figures(command, settings.server_core, WARMUP_SECONDS, settings.seconds)


def figures(command: list[str], core: int, warmup: float, seconds: float) -> Sample:
    """Return what a load generator or a client prints."""
    command = [*command, "--warmup", str(warmup), "--seconds", str(seconds)]
    found: Sample = json.loads(output_of(command, core, warmup + seconds + PATIENCE_SECONDS))
    return found
