"""``test/autobahn_test_servers.py`` starts the servers that ``test/fuzzingclient.json`` names."""

from __future__ import annotations

import json
import signal

import pytest

from test.autobahn.processes import accepts
from test.autobahn_test_servers import PORTS
from test.helpers import Recorder, eventually
from test.test_cli import ROOT, Program
from ws4py.client.threadedclient import WebSocketClient

SCRIPT = "test/autobahn_test_servers.py"


class Client(Recorder, WebSocketClient):
    """Records what it receives."""


def test_all_servers_run_where_the_fuzzing_client_looks_for_them() -> None:
    asked = json.loads((ROOT / "test" / "fuzzingclient.json").read_text())["servers"]
    assert {f"ws4py-{engine}" for engine in PORTS} - {"ws4py-asgi"} == {s["agent"] for s in asked}
    with Program(SCRIPT, "--run-all") as program:
        for server in asked:
            port = int(server["url"].rpartition(":")[2])
            eventually(lambda port=port: accepts(port), f"{server} does not run")
            client = Client(server["url"])
            client.connect()
            client.send("hello")
            assert [client.next_event() for _ in range(2)] == [("opened",), ("text", b"hello")]
            client.close()
            client.run_forever()
        program.end(signal.SIGTERM)
        assert not any(accepts(port) for port in PORTS.values())


def test_one_server_is_started_by_its_flag() -> None:
    with Program(SCRIPT, "--run-gevent-server") as program:
        eventually(lambda: accepts(PORTS["gevent"]), "it does not run")
        assert not accepts(PORTS["tornado"])
        program.end(signal.SIGINT)


@pytest.mark.parametrize("flags", [[], ["--run-nothing-server"]])
def test_what_is_to_be_started_has_to_be_said(flags: list[str]) -> None:
    with Program(SCRIPT, *flags) as program:
        assert program.end() == 2
