"""The documentation's snippets for Tornado, which are programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from test.helpers import echo_server, only_websocket
from test.snippets import Edit, Program, edited, port_edit
from ws4py.websocket import EchoWebSocket

pytestmark = pytest.mark.usefixtures("no_thread_left")

TORNADO_EDITS = [
    Edit("print m\n", "print(m)\n", "Python 2: print is a statement"),
    Edit('\n        self.send("*" * i)', '            self.send("*" * i)', "lost indentation"),
]

TORNADO_MODULE_EDITS = [
    Edit(
        "from tornado import ioloop\n",
        "from tornado import ioloop\n"
        "from ws4py.client.tornadoclient import TornadoWebSocketClient\n",
        "the module that the snippet documents is not imported",
    ),
]

LENGTHS = range(0, 200, 25)


def complaints(program: Program) -> list[str]:
    """Return the lines of the standard error, but for what Tornado says of its own ways.

    It makes a loop where none runs yet, which asyncio deprecates from Python 3.12 on.
    """
    lines = program.errors().splitlines()
    about = [n for n, line in enumerate(lines) if "There is no current event loop" in line]
    return [line for n, line in enumerate(lines) if n not in about and n - 1 not in about]


def test_the_tornado_client_prints_what_comes_back_and_ends(tmp_path: Path) -> None:
    with echo_server(protocols=["chat"]) as server:
        source = edited("client_tornado", *TORNADO_EDITS, port_edit(server.server_address[1]))
        with Program(source, tmp_path) as program:
            assert program.printed_to_end() == ["*" * length for length in LENGTHS]
            assert program.status() == 0, program.errors()
            assert complaints(program) == []


def test_the_tornado_client_of_the_reference_runs_until_the_server_closes(tmp_path: Path) -> None:
    with echo_server() as server:
        source = edited(
            "client_tornado_module", *TORNADO_MODULE_EDITS, port_edit(server.server_address[1])
        )
        with Program(source, tmp_path) as program:
            printed = program.printed_until(lambda line: line.endswith(", 175)"))
            assert [line.rpartition(", ")[2] for line in printed] == [f"{n})" for n in LENGTHS]
            only_websocket(server).close()
            assert program.printed_to_end() == []
            assert program.status() == 0, program.errors()
            assert complaints(program) == []


@pytest.mark.parametrize(
    ("snippet", "edits"),
    [("client_tornado", TORNADO_EDITS), ("client_tornado_module", TORNADO_MODULE_EDITS)],
)
def test_a_tornado_client_that_finds_no_server_ends(
    snippet: str, edits: Any, tmp_path: Path
) -> None:
    with echo_server(EchoWebSocket) as server:
        source = edited(snippet, *edits, port_edit(server.server_address[1]))
    with Program(source, tmp_path) as program:
        assert program.printed_to_end() == []
        assert program.status() == 0, program.errors()
        (complaint,) = complaints(program)
        assert complaint.startswith("No connection to ws://localhost:")
