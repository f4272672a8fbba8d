"""Processes in groups of their own, with their output in files."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

HOST = "127.0.0.1"
GRACE = 5.0  # seconds between SIGTERM and SIGKILL
POLL = 0.1  # seconds
TAIL, WIDTH = 30, 200  # lines, characters


class RunError(Exception):
    """The run did not come to its end; the text says why."""


class Process:
    """A command in a process group of its own; its output goes to ``<folder>/<name>.log``.

    Raises:
        RunError: It cannot be started.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        folder: Path,
        cwd: Path,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        try:
            with self.log.open("wb") as output:
                self._popen = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=cwd,
                    env=env,
                    start_new_session=True,
                )
        except OSError as exc:
            raise RunError(f"the {name} cannot be started: {exc}") from exc

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The number of the process, and of its group."""
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """Its exit code; None as long as it runs."""
        return self._popen.poll()

    def wait(self, seconds: float) -> None:
        """Wait for its end, but no longer than ``seconds``."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(seconds)

    def stop(self) -> None:
        """End the process and all that it started."""
        self._signal_group(signal.SIGTERM)
        self.wait(GRACE)
        self._signal_group(signal.SIGKILL)
        self._popen.wait()

    def _signal_group(self, number: signal.Signals) -> None:
        # PermissionError: macOS, where all that is left of the group has ended already.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, number)

    def output(self) -> str:
        """Return what it has written so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def tail(self) -> str:
        """Return the last lines of its output, under a headline; nothing if it was silent."""
        lines = [line[:WIDTH] for line in self.output().splitlines()[-TAIL:]]
        return "\n".join([f"--- end of {self.log}", *lines]) if lines else ""

    def wait_for_port(self, port: int, seconds: float) -> None:
        """Wait until it accepts connections on ``port``.

        Raises:
            RunError: It ended before, or took longer than ``seconds``.
        """
        deadline = time.monotonic() + seconds
        while not accepts(port):
            if self.exit_code is not None:
                raise RunError(
                    f"the {self.name} ended with {self.exit_code} at its start\n{self.tail()}"
                )
            if time.monotonic() > deadline:
                raise RunError(
                    f"the {self.name} did not open port {port} in {seconds:g} s\n{self.tail()}"
                )
            self.wait(POLL)


def accepts(port: int) -> bool:
    """Return whether somebody accepts connections on ``port``."""
    with socket.socket() as sock:
        sock.settimeout(1)
        return sock.connect_ex((HOST, port)) == 0


def free_port() -> int:
    """Return the number of a port that nobody listens on.

    It is none of those that the kernel gives to others meanwhile, who ask for any.
    """
    while True:
        port = random.SystemRandom().randrange(10_000, 30_000)
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind((HOST, port))
            return port
