"""Every block of Python in README.md runs, in the order in which they stand.

The first one is a server, and a module for the others. Those that serve are programs of their own,
on free ports in place of those that they name; the rest run here, while the first one serves.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from test.autobahn.processes import accepts, free_port
from test.helpers import TIMEOUT, Recorder, eventually
from test.test_cli import ROOT, Program
from ws4py.client.threadedclient import WebSocketClient

#: The README's ports, and free ones to use in their place.
PORTS = {str(port): str(free_port()) for port in range(9000, 9005)}
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = [
    re.sub(r"\b9\d\d\d\b", lambda port: PORTS[port.group()], block)
    for block in re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
]


def is_program(block: str) -> bool:
    return any(serves in block for serves in ("serve_forever()", "quickstart(", ".listen("))


def port_of(block: str) -> int:
    """Return the port that a program serves on."""
    (port,) = (port for port in PORTS.values() if port in block)
    return int(port)


PROGRAMS = [block for block in BLOCKS if is_program(block)]


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


class Client(Recorder, WebSocketClient):
    """Records what it receives."""


@contextmanager
def serving(block: str, folder: Path) -> Iterator[int]:
    """Run a block that serves, beside the first one as a module; yield its port."""
    (folder / "shout.py").write_text(BLOCKS[0], encoding="utf-8")
    (folder / "program.py").write_text(block, encoding="utf-8")
    port = port_of(block)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with Program(str(folder / "program.py"), cwd=folder, env=env) as program:
        eventually(lambda: accepts(port) or program.process.poll() is not None)
        assert program.process.poll() is None, program.errors
        yield port
        program.end(signal.SIGTERM)
        errors = program.errors.replace("KeyboardInterrupt", "")
        assert not re.search(r"^\w*Error\b", errors, re.MULTILINE), errors


def test_the_readme_shows_servers_and_clients() -> None:
    assert is_program(BLOCKS[0])
    assert len(PROGRAMS) >= 5
    assert any("Client" in block for block in BLOCKS)


def test_what_is_no_server_runs_while_the_first_server_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    with serving(BLOCKS[0], tmp_path):
        names: dict[str, Any] = {"__name__": "readme"}
        for block in BLOCKS:
            if not is_program(block):
                run_here(block, "README.md", names)
    sys.modules.pop("shout", None)


@pytest.mark.parametrize("block", PROGRAMS, ids=range(len(PROGRAMS)))
def test_a_server_of_the_readme_shouts(block: str, tmp_path: Path) -> None:
    with serving(block, tmp_path) as port:
        client = Client(f"ws://localhost:{port}/{'ws' if '/ws' in block else ''}")
        client.connect()
        client.send("hello")
        assert [client.next_event(), client.next_event()] == [("opened",), ("text", b"HELLO")]
        client.close()
        client.run_forever()
