"""Programs under test: started on a core of theirs, found listening, and ended."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmark.environments import CERTIFICATE
from benchmark.peers import ROOT, Program

START_SECONDS = 15
STOP_SECONDS = 10
TCP_LISTEN = "0A"
SHOWN = 500  # characters of the output of a program that fails


class Failure(Exception):
    """A program or the load generator did not do its part; ``output`` is the end of its output."""

    def __init__(self, text: str, output: str = "") -> None:
        super().__init__(text)
        self.output = output


def is_ours(core: int) -> bool:
    """Whether processes may be put on that core."""
    return core in os.sched_getaffinity(0)


def placed_on(core: int) -> Callable[[], None]:
    """Return what a child has to call: to stay on ``core``, and to have many connections."""

    def place() -> None:
        if is_ours(core):
            os.sched_setaffinity(0, {core})
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    return place


def environ() -> dict[str, str]:
    """Return the environment without a path of ours: ws4py 0.6 would find this tree on it."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


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


def output_of(command: Sequence[str], core: int, limit: float) -> str:
    """Run a command on ``core`` and return what it prints.

    Raises:
        Failure: It printed nothing, or did not end within ``limit`` seconds.
    """
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environ(),
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
            preexec_fn=placed_on(core),
        )
    except subprocess.TimeoutExpired as exc:
        raise Failure(f"no end within {limit:g} s") from exc
    if not done.stdout:
        said = done.stderr.strip().splitlines() or [f"ended with status {done.returncode}"]
        raise Failure(said[-1], done.stderr[-SHOWN:])
    return done.stdout


@contextmanager
def running(program: Program, role: str, core: int) -> Iterator[tuple[int, int]]:
    """Start the server of ``program`` for ``role`` and give its process id and port."""
    port = free_port()
    command = [part.format(port=port, certificate=CERTIFICATE) for part in program.commands[role]]
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environ(),
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=placed_on(core),
        )
        try:
            wait_until_listening(process, port)
            yield process.pid, port
        except Failure as exc:
            output.seek(0)
            exc.output = output.read()[-SHOWN:].decode(errors="replace")
            raise
        finally:
            stop(process)
