"""Every block of Python in README.md runs, in the order in which they stand.

A block with ``serve_forever()`` is a program of its own: it runs in another process, on the port
that it names, while the blocks after it run here, until the next such block.
"""

from __future__ import annotations

import re
import signal
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from test.helpers import TIMEOUT, eventually
from test.test_cli import ROOT, Program

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def is_program(block: str) -> bool:
    return "serve_forever()" in block


def port_of(block: str) -> int:
    """Return the port that a program serves on."""
    found = re.search(r"\b(9\d\d\d)\b", block)
    assert found, "a program has to name a port from 9000 on"
    return int(found.group(1))


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT).close()
    except ConnectionRefusedError:
        return False
    return True


def run_here(block: str, name: str, names: dict[str, Any]) -> None:
    """Run a block in a thread, so that one which waits for ever fails."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            exec(compile(block, name, "exec"), names)
        except BaseException as error:  # noqa: BLE001 - raised again, in the test
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(TIMEOUT)
    assert not thread.is_alive(), f"{name} does not end"
    if failed:
        raise failed[0]


def parts() -> list[list[str]]:
    """Return the blocks in groups: a program, if there is one, and those that talk to it."""
    groups: list[list[str]] = []
    for block in BLOCKS:
        if is_program(block) or not groups:
            groups.append([])
        groups[-1].append(block)
    return groups


def test_the_readme_shows_python() -> None:
    assert BLOCKS


@pytest.mark.parametrize("blocks", parts(), ids=lambda blocks: blocks[0].strip().split("\n")[0])
def test_what_the_readme_shows_runs(blocks: list[str], tmp_path: Path) -> None:
    names: dict[str, Any] = {"__name__": "readme"}
    if not is_program(blocks[0]):
        for block in blocks:
            run_here(block, "README.md", names)
        return
    path = tmp_path / "program.py"
    path.write_text(blocks[0], encoding="utf-8")
    port = port_of(blocks[0])
    assert not accepts(port), f"port {port} is taken by another program"
    with Program(str(path), cwd=tmp_path) as program:
        eventually(lambda: accepts(port) or program.process.poll() is not None)
        assert program.process.poll() is None, program.errors
        for block in blocks[1:]:
            run_here(block, "README.md", names)
        program.end(signal.SIGINT)
        assert not re.search(r"^\w*Error\b", program.errors, re.MULTILINE), program.errors
