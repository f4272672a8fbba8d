"""The documentation's snippets that are programs: clients, the wsgiref server, the manager."""

from __future__ import annotations

from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from test.helpers import TIMEOUT, Recorder, RecordingWebSocket, echo_server
from test.snippets import Edit, Program, edited, execute, in_thread, port_edit
from ws4py.client.threadedclient import WebSocketClient
from ws4py.server.wsgirefserver import WSGIServer
from ws4py.websocket import WebSocket

pytestmark = pytest.mark.usefixtures("no_thread_left")

PYTHON_2 = "Python 2: print is a statement"
INDENT = "lost indentation"

BUILTIN_EDITS = [
    Edit("print i\n", "print(i)\n", PYTHON_2),
    Edit('print "Closed down", code, reason', 'print("Closed down", code, reason)', PYTHON_2),
    Edit("print m\n", "print(m)\n", PYTHON_2),
    Edit(
        '       for i in range(0, 200, 25):\n           print(i)\n           self.send("*" * i)\n',
        "        for i in range(0, 200, 25):\n            print(i)\n"
        '            self.send("*" * i)\n',
        INDENT,
    ),
    Edit(
        "       def closed(self, code, reason=None):\n           print(",
        "    def closed(self, code, reason=None):\n        print(",
        "a method of the class, not a function in opened()",
    ),
    Edit(
        "       def received_message(self, m):\n           print(m)\n           if len(m) == 175:\n"
        "               self.close(",
        "    def received_message(self, m):\n        print(m)\n        if len(m) == 175:\n"
        "            self.close(",
        "a method of the class, not a function in opened()",
    ),
]

WSGIREF_MODULE_EDITS = [
    Edit("wsgioref", "wsgiref", "misprint", times=2),
    Edit("make_server('1',", "make_server('',", "misprint: 1 is no address"),
]


class RecordingClient(Recorder, WebSocketClient):
    """A client that records."""


class Lines:
    """What a snippet prints, line by line."""

    def __init__(self) -> None:
        self._queue: Queue[str] = Queue()

    def print(self, *values: object) -> None:
        """Take the place of ``print``."""
        self._queue.put(" ".join(map(str, values)))

    def next(self) -> str:
        """Return the next line; fails if none comes in time."""
        return self._queue.get(timeout=TIMEOUT)


def test_the_builtin_client_prints_what_the_documentation_says(tmp_path: Path) -> None:
    with echo_server() as server:
        source = edited("client_builtin", *BUILTIN_EDITS, port_edit(server.server_address[1]))
        with Program(source, tmp_path) as program:
            printed = program.printed_to_end()
            assert program.status() == 0, program.errors()
            assert program.errors() == ""
    lengths = range(0, 200, 25)
    assert printed[:8] == [str(length) for length in lengths]
    assert [len(line) for line in printed[8:-1]] == [708, *lengths]
    assert printed[8] == "#" * 708
    assert printed[9:-1] == ["*" * length for length in lengths]
    assert printed[-1] == "Closed down 1000 Bye bye"


def test_an_interrupt_closes_the_builtin_client(tmp_path: Path) -> None:
    made: Queue[RecordingWebSocket] = Queue()

    def silent(*args: Any, **kwargs: Any) -> RecordingWebSocket:
        websocket = RecordingWebSocket(*args, **kwargs)
        made.put(websocket)
        return websocket

    with echo_server(silent) as server:
        source = edited("client_builtin", *BUILTIN_EDITS, port_edit(server.server_address[1]))
        with Program(source, tmp_path) as program:
            websocket = made.get(timeout=TIMEOUT)
            while websocket.next_event() != ("text", b"*" * 175):
                pass
            program.interrupt()
            assert program.status() == 0, program.errors()
            assert program.errors() == ""
            assert websocket.all_events()[-1] == ("closed", 1000, "")


def test_the_threaded_echo_client_prints_what_comes_back() -> None:
    lines = Lines()
    with echo_server() as server:
        source = edited("client_threaded", port_edit(server.server_address[1]))
        client = execute(source, print=lines.print)["ws"]
        for length in range(0, 200, 25):
            assert lines.next() == f"=> {length} {'*' * length}"
        client.close(reason="enough")
        assert lines.next() == "('Closed down', 1000, 'enough')"


def stop_wsgiref(server: WSGIServer) -> None:
    """End the server of a snippet."""
    server.shutdown()
    server.server_close()


WSGIREF = pytest.mark.parametrize(
    ("snippet", "edits"),
    [("server_wsgiref", []), ("server_wsgiref_module", WSGIREF_MODULE_EDITS)],
)


@WSGIREF
def test_the_wsgiref_server_echoes_to_several_clients_at_once(
    snippet: str, edits: list[Edit]
) -> None:
    with in_thread(edited(snippet, *edits, port_edit(0)), "server", stop_wsgiref) as server:
        url = f"ws://127.0.0.1:{server.server_port}/"
        clients = [RecordingClient(url) for _ in range(3)]
        for client in clients:
            client.connect()
        for number, client in enumerate(clients):
            client.send(f"text {number}")
            client.send(b"\xff%d" % number, binary=True)
        for number, client in enumerate(clients):
            client.close(reason="bye")
            assert client.all_events() == [
                ("opened",),
                ("text", b"text %d" % number),
                ("binary", b"\xff%d" % number),
                ("closed", 1000, "bye"),
            ]


@WSGIREF
def test_the_wsgiref_server_closes_its_websockets_when_it_is_closed(
    snippet: str, edits: list[Edit]
) -> None:
    with in_thread(edited(snippet, *edits, port_edit(0)), "server", stop_wsgiref) as server:
        client = RecordingClient(f"ws://127.0.0.1:{server.server_port}/")
        client.connect()
        client.send("hello")
        assert client.next_event() == ("opened",)
        assert client.next_event() == ("text", b"hello")
    assert client.all_events()[-1] == ("closed", 1001, "Server is shutting down")


def test_the_wsgiref_server_leaves_none_of_many_clients_without_an_echo() -> None:
    with in_thread(edited("server_wsgiref", port_edit(0)), "server", stop_wsgiref) as server:
        for number in range(400):
            client = RecordingClient(f"ws://127.0.0.1:{server.server_port}/")
            client.connect()
            client.send(f"hello {number}")
            assert client.next_event() == ("opened",)
            assert client.next_event() == ("text", b"hello %d" % number)
            client.close()
            assert client.all_events()[-1] == ("closed", 1000, "")


class Greeter(WebSocket):
    """Speaks first."""

    def opened(self) -> None:
        self.send("welcome")


def test_the_simple_usage_of_the_manager_prints_messages_and_blocks() -> None:
    lines = Lines()
    with echo_server({"/ws": Greeter}) as server:
        source = edited(
            "manager_usage",
            Edit("print str(msg)", "print(str(msg))", PYTHON_2),
            port_edit(server.server_address[1]),
        )
        with in_thread(source, "m", lambda m: m.stop(), print=lines.print):
            assert lines.next() == "welcome"
            server.manager.broadcast("still there")
            assert lines.next() == "still there"
