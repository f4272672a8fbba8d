"""Every block of README.md runs, in their order, and each of its servers shouts."""

from __future__ import annotations

from pathlib import Path

import pytest

from test.helpers import Recorder
from test.reader import Reader, blocks_of
from test.test_cli import ROOT
from ws4py.client.threadedclient import WebSocketClient

BLOCKS = list(blocks_of(ROOT / "README.md"))


class Client(Recorder, WebSocketClient):
    """Records what it receives."""


def shouts(port: int, path: str) -> None:
    client = Client(f"ws://localhost:{port}{path}")
    client.connect()
    client.send("hello")
    assert [client.next_event(), client.next_event()] == [("opened",), ("text", b"HELLO")]
    client.close()
    client.run_forever()


def test_the_readme_shows_servers_and_clients() -> None:
    assert sum("serves" in block.marks for block in BLOCKS) >= 5
    assert any("Client" in block.text for block in BLOCKS)


def test_what_the_readme_shows_runs_and_its_servers_shout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    with Reader(tmp_path) as reader:
        for block in BLOCKS:
            reader.read(block)
            if "serves" in block.marks:
                shouts(reader.port(block.marks["serves"]), "/ws" if "/ws" in block.text else "/")
