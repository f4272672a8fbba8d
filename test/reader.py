"""Reads a page as its readers do: saves its files, starts its programs, types its commands.

A comment of Markdown before a block says what is done with it:

| mark | the block |
|---|---|
| none, before Python | runs here, with the names that earlier ones of the page left |
| none, before console | is typed: each command (``$ …``) succeeds, and prints the lines below it |
| none, before text | is no code, but a figure or what a file looks like |
| ``file: NAME`` | is saved; of any language |
| ``file: NAME, runs`` | is saved, and runs to its end as a program |
| ``file: NAME, serves: PORT`` | is saved, and serves until the page ends |
| ``file: NAME, serves: PORT, fails: ERROR`` | the same, and logs that exception, once |
| ``serves: PORT`` | before console: its one command serves until the page ends |
| ``prints`` | is what the block before it, which ran, has printed |
| ``needs: PROGRAM`` | with another mark: where that is not installed, the page ends here |
| ``not run: REASON`` | is only read, because of that |

Of a command that ends only when told, like ``ws4py connect``, the lines below it which begin with
``<`` are what it prints, and the others what is typed into it; a line ``^C`` interrupts it. The
ports 9000 to 9099 become free ones. Any other block is an error: nothing on a page goes untried.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from test.autobahn.processes import accepts, free_port
from test.helpers import TIMEOUT, eventually
from test.test_cli import ROOT, Program

BLOCK = re.compile(
    r"^(?:<!-- (?P<marks>[^\n]*) -->\n+)?(?P<indent> *)```(?P<language>[^\n`]*)\n"
    r"(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
PORT = re.compile(r"\b90\d\d\b")
#: What no program that serves may write as it ends.
FAILURE = re.compile(r"^\w*(?:Error|Exception)\b", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A block of a page, and what its marks ask for."""

    language: str
    text: str
    marks: dict[str, str]

    @classmethod
    def read(cls, match: re.Match[str]) -> Block:
        """Make one of what ``BLOCK`` has found."""
        marks = match["marks"] or ""
        # A reason may have commas.
        parts = [marks] if marks.startswith("not run") else marks.split(", ")
        pairs = [part.partition(":")[::2] for part in parts if part]
        indent = len(match["indent"])
        text = "".join(line[indent:] for line in match["text"].splitlines(keepends=True))
        return cls(match["language"], text, {name: value.strip() for name, value in pairs})


def blocks_of(page: Path) -> Iterator[Block]:
    """Yield the blocks of a page, in order."""
    yield from map(Block.read, BLOCK.finditer(page.read_text(encoding="utf-8")))


class Reader:
    """Reads pages in a folder; what serves is ended with the ``with`` block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._names: dict[str, Any] = {"__name__": "page"}
        self._ports: dict[str, str] = {}
        self._printed = ""
        self._running = ExitStack()
        python = Path(sys.executable).parent
        self._env = {
            **os.environ,
            "PATH": os.pathsep.join([str(python), os.environ["PATH"], "/usr/sbin"]),
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
        }

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self._running.__exit__(*exc_info)
        for name, module in list(sys.modules.items()):
            if (getattr(module, "__file__", None) or "").startswith(f"{self.folder}{os.sep}"):
                del sys.modules[name]

    def port(self, named: str) -> int:
        """Return the port that is used in place of the one which the page names."""
        return int(self._ports[named])

    def read(self, block: Block) -> None:
        """Do what the block is for.

        Raises:
            AssertionError: It fails, or does something else than the page says.
        """
        marks = block.marks
        if "not run" in marks:
            assert marks["not run"], "a block that is not run gives a reason"
            return
        if "needs" in marks and not shutil.which(marks["needs"], path=self._env["PATH"]):
            pytest.skip(f"{marks['needs']} is not installed")
        text = PORT.sub(self._port, block.text)
        if "file" in marks:
            path = self.folder / marks["file"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            if "serves" in marks:
                self._serve([sys.executable, marks["file"]], marks["serves"], marks.get("fails"))
            elif "runs" in marks:
                self._run([sys.executable, marks["file"]])
        elif "prints" in marks:
            assert self._printed.strip() == text.strip()
        elif block.language == "python":
            self._execute(text)
        elif block.language == "console":
            self._type(text, marks.get("serves"))
        elif not block.language.startswith(("text", "{toctree}", "{image}", "{include}")):
            raise AssertionError(f"nothing says what becomes of {block}")

    def _port(self, match: re.Match[str]) -> str:
        if match[0] not in self._ports:
            self._ports[match[0]] = str(free_port())
        return self._ports[match[0]]

    def _serve(self, command: list[str], port: str, fails: str | None = None) -> None:
        program = _Serving(command[1:], self.folder, self._env, command[0], fails)
        self._running.enter_context(program)
        real = self.port(port)
        eventually(lambda: accepts(real) or program.process.poll() is not None)
        assert program.process.poll() is None, program.errors

    def _run(self, command: list[str] | str) -> None:
        ran = subprocess.run(
            command,
            shell=isinstance(command, str),
            cwd=self.folder,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT * 3,
            check=False,
        )
        assert ran.returncode == 0, f"{command}: {ran.stdout}"
        self._printed = ran.stdout

    def _execute(self, text: str) -> None:
        """Run Python in a thread, so that what waits for ever fails."""
        failed: list[BaseException] = []

        def run() -> None:
            try:
                exec(compile(text, "page", "exec", dont_inherit=True), self._names)
            except BaseException as error:  # noqa: BLE001 - raised again, in the test
                failed.append(error)

        output = StringIO()
        thread = threading.Thread(target=run, daemon=True)
        with redirect_stdout(output):
            thread.start()
            thread.join(TIMEOUT)
        assert not thread.is_alive(), f"does not end: {text}"
        if failed:
            raise failed[0]
        self._printed = output.getvalue()

    def _type(self, text: str, port: str | None) -> None:
        commands = re.split(r"^\$ ", text.replace("\\\n", " "), flags=re.MULTILINE)
        assert not commands[0], f"a console begins with $: {text}"
        for command, *lines in (each.splitlines() for each in commands[1:]):
            command = re.sub(r"\s+# .*", "", command)
            if port:
                self._serve(shlex.split(command), port)
            elif any(line.startswith("<") for line in lines):
                self._talk(shlex.split(command), lines)
            else:
                self._run(command)
                for line in lines:
                    assert line in self._printed.splitlines(), f"{command}: {self._printed}"

    def _talk(self, command: list[str], lines: list[str]) -> None:
        with Program(*command[1:], cwd=self.folder, env=self._env, executable=command[0]) as talk:
            for line in lines:
                if line == "^C":
                    talk.end(signal.SIGINT)
                elif line.startswith(("<", "Connection closed")):
                    assert talk.line() == line, talk.errors
                else:
                    talk.type(line.encode() + b"\n")


class _Serving(Program):
    """A program that serves until the page ends, and complains of nothing but what is meant."""

    def __init__(
        self,
        arguments: list[str],
        cwd: Path,
        env: dict[str, str],
        executable: str,
        fails: str | None,
    ):
        self._fails = fails
        found = shutil.which(executable, path=env["PATH"]) or executable
        super().__init__(*arguments, cwd=cwd, env=env, executable=found)

    def __exit__(self, *exc_info: Any) -> None:
        try:
            if self.process.poll() is None:
                self.end(signal.SIGTERM)
            errors = self.errors
        finally:
            super().__exit__(*exc_info)
        if exc_info[0] is None:
            failures = FAILURE.findall(errors)
            assert failures == ([] if self._fails is None else [self._fails]), errors
