"""The documentation's snippets for CherryPy, as programs."""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path

import pytest

from test.helpers import TIMEOUT, Recorder, eventually
from test.snippets import Program, edited, port_edit
from ws4py.client.threadedclient import WebSocketClient

pytestmark = pytest.mark.usefixtures("no_thread_left")

SNIPPETS = ["server_cherrypy", "server_cherrypy_module"]


class Client(Recorder, WebSocketClient):
    """A client that records."""


def port_of(program: Program) -> int:
    """Return the port that CherryPy logs."""
    found: list[str] = []

    def has_started() -> bool:
        found[:] = re.findall(r"Serving on http://127\.0\.0\.1:(\d+)", program.errors())
        return bool(found)

    eventually(has_started, "the program does not serve")
    return int(found[0])


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_the_cherrypy_server_echoes_and_ends_its_websockets_when_it_is_interrupted(
    snippet: str, tmp_path: Path
) -> None:
    with Program(edited(snippet, port_edit(0)), tmp_path) as program:
        port = port_of(program)
        clients = [Client(f"ws://127.0.0.1:{port}/ws") for _ in range(12)]
        for number, client in enumerate(clients):
            client.connect()
            client.send(f"text {number}")
            client.send(b"\xff%d" % number, binary=True)
        for number, client in enumerate(clients):
            assert [client.next_event() for _ in range(3)] == [
                ("opened",),
                ("text", b"text %d" % number),
                ("binary", b"\xff%d" % number),
            ]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=TIMEOUT) as page:
            assert page.read() == b"some HTML with a websocket javascript connection"
        program.interrupt()
        for client in clients:
            assert client.all_events()[-1] == ("closed", 1001, "Server is shutting down")
        assert program.status() == 0, program.errors()
        assert "Traceback" not in program.errors()
        assert "Warning" not in program.errors()
