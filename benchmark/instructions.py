"""Count the instructions that a message takes without compression, and compare commits.

    python -m benchmark.instructions                  this tree
    python -m benchmark.instructions HEAD~1           a commit, and this tree, both in pure Python
    python -m benchmark.instructions HEAD~1 --cases echo

Needs valgrind, and git for other commits. Each case runs twice in a process of its own, the second
time with twice as many messages; the difference is what the messages took, without what starting
Python takes. Nothing is random, and the clock stands still: the same code takes the same number of
instructions, within about one in a thousand.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
KEY = b"\x37\xfa\x21\x3d"
#: Messages that come in one chunk, where that is "pipelined"; and websockets that get a broadcast.
MANY = 32

#: Handles at least so many messages, and returns how many they were.
Run = Callable[[int], int]


class Sink:
    """A socket that only counts the bytes it is to send."""

    def __init__(self) -> None:
        self.size = 0

    def sendall(self, data: bytes) -> None:
        self.size += len(data)


def masked(size: int) -> bytes:
    from ws4py.framing import Frame

    return Frame(opcode=1, body=b"x" * size, fin=1, masking_key=KEY).build()


def parse(size: int) -> Run:
    """Parse masked text messages, each in a chunk of its own."""
    from ws4py.streaming import Stream

    stream: Any = Stream()
    chunk = masked(size)
    send = stream.parser.send

    def run(messages: int) -> int:
        for _ in range(messages):
            send(chunk)
            assert stream.message.data is not None
            stream.message = None
        return messages

    return run


def echo(size: int, together: int) -> Run:
    """Handle masked text messages as a server that sends each one back."""
    from ws4py.websocket import EchoWebSocket

    sink = Sink()
    websocket, chunk = EchoWebSocket(sink), masked(size) * together
    reply = len(masked(size)) - len(KEY)

    def run(messages: int) -> int:
        rounds, before = messages // together, sink.size
        for _ in range(rounds):
            websocket.process(chunk)
        assert sink.size - before == rounds * together * reply
        return rounds * together

    return run


def client_sends(size: int) -> Run:
    """Send text messages as a client."""
    from ws4py.websocket import WebSocket

    sink = Sink()
    websocket, message = WebSocket(sink), "x" * size
    websocket.stream.always_mask = True

    def run(messages: int) -> int:
        before = sink.size
        for _ in range(messages):
            websocket.send(message)
        assert sink.size - before == messages * len(masked(size))
        return messages

    return run


def broadcasts(size: int) -> Run:
    """Send text messages to many; what one of these costs counts."""
    from ws4py.sending import broadcast
    from ws4py.websocket import WebSocket

    websockets, message = [WebSocket(Sink()) for _ in range(MANY)], "x" * size

    def run(messages: int) -> int:
        rounds = messages // MANY
        for _ in range(rounds):
            broadcast(websockets, message)
        return rounds * MANY

    return run


CASES: dict[str, Callable[[], Run]] = {
    "parse-16": lambda: parse(16),
    "parse-1k": lambda: parse(1024),
    "echo-16": lambda: echo(16, 1),
    "echo-1k": lambda: echo(1024, 1),
    "echo-16-pipelined": lambda: echo(16, MANY),
    "echo-1k-pipelined": lambda: echo(1024, MANY),
    "client-send-16": lambda: client_sends(16),
    "broadcast-16": lambda: broadcasts(16),
}


def run_here(case: str, messages: int) -> None:
    """Run one case in this process: what valgrind looks at."""
    # Under valgrind all takes longer, and what has taken too long takes another path.
    time.monotonic = itertools.repeat(1.0).__next__
    gc.disable()
    run = CASES[case]()
    run(messages)


def count(tree: Path, case: str, messages: int) -> int:
    """Return the instructions of a process that runs ``case`` with the ws4py in ``tree``."""
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    command += [sys.executable, __file__, "--run", case, "--messages", str(messages)]
    environ = {**os.environ, "PYTHONPATH": str(tree), "PYTHONHASHSEED": "0"}
    environ["PYTHONDONTWRITEBYTECODE"] = "1"
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or found is None:
        raise SystemExit(done.stderr)
    return int(found.group(1))


def per_message(tree: Path, case: str, messages: int) -> float:
    return (count(tree, case, 2 * messages) - count(tree, case, messages)) / messages


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """Give a tree that holds ``commit``."""
    git = ["git", "-C", str(ROOT), "worktree"]
    with tempfile.TemporaryDirectory() as directory:
        tree = Path(directory) / "tree"
        subprocess.run([*git, "add", "--quiet", "--detach", str(tree), commit], check=True)
        try:
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)


def compare(commit: str, cases: list[str], messages: int) -> None:
    os.environ["WS4PY_PURE"] = "1"  # a tree that is checked out has no compiled module
    with checked_out(commit) as before:
        print(f"{'instructions per message':24} {commit[:12]:>12} {'this tree':>12}")
        for case in cases:
            old, new = (per_message(tree, case, messages) for tree in (before, ROOT))
            print(f"{case:24} {old:12.0f} {new:12.0f} {new / old - 1:+8.2%}", flush=True)


def show(cases: list[str], messages: int) -> None:
    print("instructions per message")
    for case in cases:
        print(f"{case:24} {per_message(ROOT, case, messages):12.0f}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmark.instructions")
    parser.add_argument("commit", nargs="?", help="what to compare this tree with")
    parser.add_argument("--cases", default="", help="start of the names of cases")
    parser.add_argument("--messages", type=int, default=3200)
    parser.add_argument("--run", metavar="CASE", choices=CASES, help="only run it, uncounted")
    options = parser.parse_args()
    cases = [name for name in CASES if name.startswith(options.cases)]
    if options.run:
        run_here(options.run, options.messages)
    elif options.commit:
        compare(options.commit, cases, options.messages)
    else:
        show(cases, options.messages)
    return 0


if __name__ == "__main__":
    sys.exit(main())
