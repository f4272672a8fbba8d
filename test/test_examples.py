"""Each row of the table of engines has an example, which is short, and runs as it stands."""

from __future__ import annotations

import ast
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from test.autobahn.processes import accepts, free_port
from test.helpers import Recorder, echo_server, eventually, read_to_end, url_of
from test.test_cli import ROOT, Program
from ws4py.client.threadedclient import WebSocketClient
from ws4py.websocket import EchoWebSocket

EXAMPLES = ROOT / "example"

#: The examples of servers, how each is started, and where it serves WebSockets; and what each
#: imports besides ws4py and the standard library.
PYTHON = "{python} example/{name}.py {port}"
GUNICORN = "{python} -m gunicorn --config python:test.apps.gunicorn_conf --pythonpath example"
SERVERS = [
    ("standalone_server", PYTHON, "/", set()),
    ("wsgiref_server", PYTHON, "/", set()),
    ("cherrypy_server", PYTHON, "/ws", {"cherrypy"}),
    ("gevent_server", PYTHON, "/", {"gevent"}),
    ("tornado_server", PYTHON, "/", {"tornado"}),
    ("asyncio_server", PYTHON, "/", set()),
    ("asgi_server", PYTHON, "/", {"uvicorn"}),
    ("wsgi_gunicorn", f"{GUNICORN} --bind localhost:{{port}} wsgi_gunicorn:handed_off", "/", set()),
    (
        "wsgi_gunicorn",
        f"{GUNICORN} --bind localhost:{{port}} --worker-class gthread wsgi_gunicorn:held",
        "/",
        set(),
    ),
]
#: What a server writes that accepts connections before Ctrl-C ends it in good order.
READY = {"cherrypy_server": "Bus STARTED"}
CLIENTS = [
    ("threaded_client", set()),
    ("gevent_client", {"gevent"}),
    ("tornado_client", {"tornado"}),
    ("asyncio_client", set()),
]


class Client(Recorder, WebSocketClient):
    """Records what it receives."""


def imports(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]


@pytest.mark.skipif(sys.version_info < (3, 10), reason="sys.stdlib_module_names is from 3.10")
@pytest.mark.parametrize(
    ("name", "others"),
    [(name, others) for name, _, _, others in SERVERS] + CLIENTS,
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_example_is_short_and_imports_ws4py_and_its_engine_alone(
    name: str, others: set[str]
) -> None:
    source = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 32
    assert set(imports(source)) - set(sys.stdlib_module_names) - others == {"ws4py"}


@pytest.mark.parametrize(
    ("name", "command", "path"),
    [each[:3] for each in SERVERS],
    ids=[each[0] + ("-held" if "held" in each[1] else "") for each in SERVERS],
)
def test_the_example_of_a_server_answers_and_ends_by_ctrl_c(
    name: str, command: str, path: str
) -> None:
    port = free_port()
    _, *arguments = command.format(python="", name=name, port=port).split(" ")
    with Program(*arguments) as program:
        ready = READY.get(name, "")
        eventually(
            lambda: (
                (accepts(port) and ready in program.errors) or program.process.poll() is not None
            )
        )
        assert program.process.poll() is None, program.errors
        client = Client(f"ws://localhost:{port}{path}")
        client.connect()
        client.send("hello")
        messages = [client.next_event()]
        while "hello" not in str(messages[-1]):
            messages.append(client.next_event())
        if "held" in command:
            client.close()  # gunicorn waits for what holds its worker.
        if "handed_off" in command:  # Until the next request ends, it may be at work on the first.
            with socket.create_connection(("localhost", port)) as plain:
                plain.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert read_to_end(plain).startswith(b"HTTP/1.1 426")
        program.end(signal.SIGINT)
        # uvicorn says 1012 before it tells the application.
        assert client.all_events()[-1][1] in (1000, 1001, 1012), client.all_events()
        client.run_forever()
        assert "Traceback" not in program.errors, program.errors


def ends_in_one_line(program: Program, text: str) -> None:
    """See that a program gives up, and says why."""
    assert program.end() == 1
    assert program.errors.count("\n") == 1, program.errors
    assert text in program.errors


def started(name: str, argument: str) -> Program:
    return Program(f"example/{name}.py", argument)


LISTEN = [name for name, command, *_ in SERVERS if command is PYTHON]
LISTEN += ["gevent_routes", "tornado_routes", "asgi_starlette"]
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here")


@pytest.mark.parametrize("name", [*LISTEN, pytest.param("tls_server", marks=needs_openssl)])
def test_a_port_that_is_taken_is_told_in_one_line(name: str) -> None:
    taken = socket.create_server(("127.0.0.1", 0))
    with taken, started(name, str(taken.getsockname()[1])) as program:
        if name.startswith("asgi"):  # uvicorn logs it, among other lines.
            assert program.end() != 0
            assert "address already in use" in program.errors
            assert "Traceback" not in program.errors
        else:
            ends_in_one_line(program, "cannot listen")


@pytest.mark.parametrize("name", [*LISTEN, "tls_server"])
def test_a_port_that_is_no_number_is_told_in_one_line(name: str) -> None:
    with started(name, "high") as program:
        ends_in_one_line(program, "'high'")


#: asyncio, and what stands on it, takes a larger number for one that there is.
@pytest.mark.parametrize(
    "name",
    ["standalone_server", "wsgiref_server", "cherrypy_server", "gevent_server", "gevent_routes"],
)
def test_a_port_that_is_too_large_is_told_in_one_line(name: str) -> None:
    with started(name, "70000") as program:
        ends_in_one_line(program, "0-65535")


@pytest.mark.parametrize("name", [name for name, _ in CLIENTS])
def test_a_client_without_a_server_ends_in_one_line(name: str) -> None:
    with started(name, "ws://localhost:1/") as program:
        ends_in_one_line(program, "ws://localhost:1/")


@pytest.mark.parametrize("name", [name for name, _ in CLIENTS])
def test_a_client_that_is_refused_ends_in_one_line(name: str) -> None:
    server = echo_server({"/elsewhere": EchoWebSocket})
    with server as running, started(name, url_of(running)) as program:
        ends_in_one_line(program, "404")


@pytest.mark.parametrize("name", [name for name, _ in CLIENTS])
def test_a_client_with_a_url_that_is_none_ends_in_one_line(name: str) -> None:
    with started(name, "http://localhost:1/") as program:
        ends_in_one_line(program, "'http://localhost:1/'")


@pytest.mark.parametrize("name", [name for name, _ in CLIENTS])
def test_the_example_of_a_client_talks_to_a_server_and_ends(name: str) -> None:
    with (
        echo_server() as server,
        Program(str(Path("example") / f"{name}.py"), url_of(server)) as program,
    ):
        lines = list(iter(program.line, None))
        assert program.end() == 0, program.errors
        assert any("ello" in line or "message" in line for line in lines), lines
        assert program.errors == ""
