"""The snippets of the documentation of ws4py 0.3.5, one a file, and what runs them.

The files hold what is printed there, without the line numbers. It was printed for Python 2, and
with misprints: each test lists what it changes, as :class:`Edit`, and nothing else is changed.
"""

from __future__ import annotations

import doctest
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import Any, Callable, NamedTuple

from test.helpers import TIMEOUT, eventually

FOLDER = Path(__file__).parent
PROJECT = FOLDER.parent.parent

# SIGINT interrupts the program even where whoever runs the tests ignores it.
_RUN = """
import runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_path(sys.argv[1], run_name="__main__")
"""


class Edit(NamedTuple):
    """A change to a snippet: ``old``, which stands there ``times`` times, becomes ``new``."""

    old: str
    new: str
    why: str
    times: int = 1


def edited(name: str, *edits: Edit) -> str:
    """Return the snippet ``name`` after ``edits``, one after the other."""
    source = (FOLDER / f"{name}.txt").read_text(encoding="utf-8")
    for old, new, why, times in edits:
        found = source.count(old)
        assert found == times, f"{old!r} ({why}) stands {found} times in {name}, not {times}"
        source = source.replace(old, new)
    return source


def port_edit(port: int, old: str = "9000") -> Edit:
    """Return the edit that every snippet with a port needs."""
    return Edit(old, str(port), "a free port")


def execute(source: str, **names: Any) -> dict[str, Any]:
    """Run a snippet, with ``names`` defined; return all the names that it leaves."""
    namespace = {"__name__": "__main__", **names}
    exec(compile(source, "snippet", "exec"), namespace)
    return namespace


def interact(source: str, **names: Any) -> dict[str, Any]:
    """Run a snippet with prompts, and compare what each line shows; return all the names."""
    session = doctest.DocTestParser().get_doctest(source, names, "snippet", None, 0)
    assert session.examples, "the snippet has no prompts"
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    result = runner.run(session, out=report.append, clear_globs=False)
    assert not result.failed, "".join(report)
    return session.globs


@contextmanager
def in_thread(source: str, name: str, stop: Callable[[Any], object], **names: Any) -> Iterator[Any]:
    """Run a snippet that blocks; yield its object ``name``, with which ``stop`` ends it."""
    namespace = {"__name__": "__main__", **names}
    code = compile(source, "snippet", "exec")
    thread = threading.Thread(target=exec, args=(code, namespace), name="snippet")
    thread.start()
    eventually(lambda: name in namespace, f"the snippet has made no {name}")
    try:
        yield namespace[name]
        assert thread.is_alive(), "the snippet does not block"
    finally:
        stop(namespace[name])
        thread.join(TIMEOUT)
        assert not thread.is_alive(), "the snippet did not end"


class Program:
    """A snippet that runs as a program of its own."""

    def __init__(self, source: str, folder: Path) -> None:
        path = folder / "snippet.py"
        path.write_text(source, encoding="utf-8")
        self._errors = folder / "stderr"
        self._lines: Queue[str | None] = Queue()
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-u", "-W", "always", "-c", _RUN, str(path)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                encoding="utf-8",
                env={**os.environ, "PYTHONPATH": str(PROJECT)},
            )
        self._thread = threading.Thread(target=self._read, name="stdout")
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self._process.kill()
        self._process.wait(TIMEOUT)
        self._thread.join(TIMEOUT)

    def printed_until(self, is_last: Callable[[str], bool]) -> list[str]:
        """Return the lines printed since the last call, up to one that ``is_last``."""
        lines: list[str] = []
        while not lines or not is_last(lines[-1]):
            line = self._lines.get(timeout=TIMEOUT)
            assert line is not None, f"it ended after {lines[-3:]}: {self.errors()}"
            lines.append(line)
        return lines

    def printed_to_end(self) -> list[str]:
        """Return the lines printed since the last call, once the program has ended."""
        lines = []
        while (line := self._lines.get(timeout=TIMEOUT)) is not None:
            lines.append(line)
        return lines

    def interrupt(self) -> None:
        """Do what Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)

    def status(self) -> int:
        """Wait for the end of the program; return its exit status."""
        return self._process.wait(TIMEOUT)

    def errors(self) -> str:
        """Return what the program has written to its standard error, warnings included."""
        return self._errors.read_text(encoding="utf-8")
