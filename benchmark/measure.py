"""One measurement: start a server on its core, put load on it from another, stop it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from benchmark.peers import LOAD, ROOT, Server

START_SECONDS = 15
STOP_SECONDS = 10
RAMP_SECONDS = 0.2  # between opening the connections and the measured phase
TCP_LISTEN = "0A"


class Failure(Exception):
    """A server or the load generator did not do its part."""


class Cell(NamedTuple):
    """A kind of load: ``connections`` with ``window`` messages of ``size`` bytes outstanding."""

    size: int
    connections: int
    window: int
    binary: bool = False

    def __str__(self) -> str:
        size, unit = self.size, "B"
        for larger in ("KiB", "MiB"):
            if size % 1024 == 0:
                size, unit = size // 1024, larger
        kind = "binary" if self.binary else "text"
        return f"{size} {unit} {kind}, c{self.connections} w{self.window}"


class Settings(NamedTuple):
    """How every cell is measured; times in seconds, ``refill`` 0 means the whole window."""

    seconds: float
    warmup: float
    refill: int
    server_core: int
    load_core: int


def pin(core: int) -> Callable[[], None] | None:
    """Return what a child has to call to stay on ``core``; None where that core is not ours."""
    if core not in os.sched_getaffinity(0):
        return None
    return lambda: os.sched_setaffinity(0, {core})


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def is_listening(port: int) -> bool:
    """Look the port up in the kernel's tables: a trial connection would disturb the server."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(FileNotFoundError):
            for line in Path(table).read_text().splitlines()[1:]:
                _, local, _, state = line.split()[:4]
                if state == TCP_LISTEN and int(local.rpartition(":")[2], 16) == port:
                    return True
    return False


def children_of() -> dict[int, list[int]]:
    """Map every process to its children."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    return children


def process_tree(pid: int) -> list[int]:
    children = children_of()
    tree = [pid]
    for member in tree:
        tree += children.get(member, [])
    return sorted(tree)


def wait_until_listening(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not is_listening(port):
        if process.poll() is not None:
            raise Failure(f"server exited with status {process.returncode}")
        if time.monotonic() > deadline:
            raise Failure(f"server does not listen after {START_SECONDS} s")
        time.sleep(0.02)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the server and its children, which are a process group of their own."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
            return


@contextmanager
def running(server: Server, core: int) -> Iterator[tuple[int, int]]:
    """Start ``server`` and give its process id and port."""
    port = free_port()
    command = [part.format(port=port) for part in server.command]
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=pin(core),
        )
        try:
            wait_until_listening(process, port)
            yield process.pid, port
        except Failure as exc:
            output.seek(0)
            tail = output.read()[-500:].decode(errors="replace").strip()
            raise Failure(f"{exc}; its output ends: {tail}" if tail else str(exc)) from exc
        finally:
            stop(process)


def load_command(server: Server, cell: Cell, settings: Settings, port: int) -> list[str]:
    """Return the command for the load generator, without its times."""
    options = {
        "port": port,
        "size": cell.size,
        "connections": cell.connections,
        "window": cell.window,
        "refill": settings.refill or cell.window,
    }
    command = [str(LOAD)]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    if server.raw:
        command.append("--raw")
    elif cell.binary:
        command.append("--binary")
    return command


def put_load(command: list[str], core: int, warmup: float, seconds: float) -> dict[str, Any]:
    limit = warmup + seconds + 30
    command = [*command, "--warmup", str(warmup), "--seconds", str(seconds)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=limit, preexec_fn=pin(core)
        )
    except subprocess.TimeoutExpired as exc:
        raise Failure(f"load generator did not end within {limit} s") from exc
    if not done.stdout:
        raise Failure(done.stderr.strip() or f"load generator ended with {done.returncode}")
    result: dict[str, Any] = json.loads(done.stdout)
    if result["errors"]:
        raise Failure(f"{result['errors']} errors, the first: {result['first_error']}")
    if not result["messages"]:
        raise Failure("no message in the measured phase")
    return result


def measure(server: Server, cell: Cell, settings: Settings) -> dict[str, Any]:
    """Measure ``server`` in ``cell`` once, after a warm-up on connections of its own.

    The warm-up has to close them: asyncio reads into a new buffer of 256 KiB each time, and until
    the first end of a stream glibc's malloc maps and unmaps each of these, which costs more than
    the echo. Servers in real use have seen a connection end.

    Returns:
        What the load generator reports, and ``cpu_us``: server CPU µs per message, user and
        system, of all threads and processes of the server.

    Raises:
        Failure: The server did not start or break off, or a reply was wrong.
    """
    with running(server, settings.server_core) as (pid, port):
        tree = process_tree(pid)
        command = load_command(server, cell, settings, port)
        put_load(command, settings.load_core, 0, settings.warmup)
        for member in tree:
            command += ["--pid", str(member)]
        result = put_load(command, settings.load_core, RAMP_SECONDS, settings.seconds)
        if process_tree(pid) != tree:
            raise Failure("the server started or lost processes under load: CPU time unknown")
    result["cpu_us"] = result["server_cpu_seconds"] / result["messages"] * 1e6
    return result
