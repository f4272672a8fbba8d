"""Many connections, slow peers, long runs: a server in a process of its own, and what it costs."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from test.test_cli import Serving

linux_only = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="there is no /proc, which tells of a process"
)


class Server(Serving):
    """``python -m ws4py serve``, looked at from outside by what Linux tells of a process."""

    python_options = ()

    @property
    def _proc(self) -> Path:
        return Path("/proc") / str(self.process.pid)

    def memory(self, what: str = "VmRSS") -> int:
        """Return how many bytes it uses; or has used at most, with "VmHWM"."""
        return self._status(what) * 1024

    def threads(self) -> int:
        """Count its threads."""
        return self._status("Threads")

    def _status(self, what: str) -> int:
        for line in (self._proc / "status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == what:
                return int(value.split()[0])
        raise AssertionError(f"there is no {what} here")

    def descriptors(self) -> int:
        """Count its open descriptors."""
        return len(os.listdir(self._proc / "fd"))

    def cpu(self) -> float:
        """Return the seconds of CPU that it has used."""
        fields = (self._proc / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def allowing(count: int) -> Iterator[None]:
    """Allow ``count`` descriptors, here and in the servers that are started here."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= count:
        yield
        return
    if hard != resource.RLIM_INFINITY and hard < count:
        pytest.skip(f"a process may open {hard} descriptors here, and {count} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Payloads:
    """Random payloads, the same for the same seed; cheap, as slices of what was made once."""

    def __init__(self, seed: int, largest: int):
        self._random = random.Random(seed)
        self._largest = largest
        self._bytes = self._random.randbytes(2 * largest)
        # Of each length that a character has in UTF-8.
        some = self._random.choices("aZ\0\x7f\x80\u07ff\u0800\uffff\U00010000\U0010ffff", k=largest)
        self._text = "".join(some).encode()

    def binary(self, size: int) -> bytes:
        """Return ``size`` random bytes."""
        start = self._random.randrange(self._largest)
        return self._bytes[start : start + size]

    def text(self, size: int) -> bytes:
        """Return text in UTF-8 of ``size`` bytes or up to six less."""
        start = self._random.randrange(len(self._text) - size)
        return self._text[start : start + size].decode("utf-8", "ignore").encode()

    def messages(self, count: int) -> Iterator[tuple[bytes, bool]]:
        """Yield payloads and whether they are binary; small ones are far more frequent."""
        for number in range(count):
            size = int(self._largest ** self._random.random())
            if number % 1000 == 0:
                size = 0 if number % 2000 else self._largest
            is_binary = self._random.random() < 0.5
            yield (self.binary if is_binary else self.text)(size), is_binary
