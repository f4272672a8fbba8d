"""One measurement of a client, against an echo server in C on the other core."""

from __future__ import annotations

import json
import subprocess

from benchmark.measure import WARMUP_SECONDS, Sample, Settings
from benchmark.peers import CLIENT, ECHO, PROGRAMS, ROOT, Program
from benchmark.processes import Failure, environ, placed_on, running


def measure_client(program: Program, size: int, window: int, settings: Settings) -> Sample:
    """Measure a client once.

    Returns:
        ``cpu_us``, the client's CPU µs per message that was sent and came back: user and system.

    Raises:
        Failure: The client or the echo broke off, or a reply was wrong.
    """
    with running(PROGRAMS["ws-c"], ECHO, settings.load_core) as (pid, port):
        command = [part.format(port=port) for part in program.commands[CLIENT]]
        options: dict[str, float] = {"size": size, "window": window, "echo": pid}
        options |= {"warmup": WARMUP_SECONDS, "seconds": settings.seconds}
        for name, value in options.items():
            command += [f"--{name}", str(value)]
        return run_client(command, settings)


def run_client(command: list[str], settings: Settings) -> Sample:
    limit = WARMUP_SECONDS + settings.seconds + 20
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environ(),
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
            preexec_fn=placed_on(settings.server_core),
        )
    except subprocess.TimeoutExpired as exc:
        raise Failure(f"client did not end within {limit:g} s") from exc
    if done.returncode or not done.stdout:
        failure = Failure(f"client ended with {done.returncode}")
        failure.output = done.stderr[-500:]
        raise failure
    result: Sample = json.loads(done.stdout)
    return result
