"""The documentation's snippet that starts 2000 clients from one program."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from test.helpers import TIMEOUT, echo_server, eventually
from test.snippets import Edit, Program, edited, port_edit
from ws4py.websocket import WebSocket

resource = pytest.importorskip("resource", reason="no limit of descriptors on this platform")

pytestmark = [
    pytest.mark.stress,
    pytest.mark.usefixtures("no_thread_left", "enough_descriptors"),
]

CLIENTS = 2000
#: Descriptors that each side needs: one a client, and some to spare.
DESCRIPTORS = CLIENTS + 200

ITERVALUES = Edit("itervalues()", "values()", "Python 2")


@pytest.fixture
def enough_descriptors() -> Iterator[None]:
    """Raise the limit of descriptors, which the program inherits, if need be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < DESCRIPTORS:
        if hard != resource.RLIM_INFINITY and hard < DESCRIPTORS:
            pytest.skip(f"{DESCRIPTORS} descriptors are needed, and {hard} may be open at most")
        resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Crowd:
    """The server's side of the clients."""

    def __init__(self) -> None:
        self._opened: Queue[Any] = Queue()
        self._closed: Queue[Any] = Queue()

    def make(self, *args: Any, **kwargs: Any) -> WebSocket:
        """Make a websocket."""
        websocket = WebSocket(*args, **kwargs)
        websocket.opened = lambda: self._opened.put(websocket.peer_address)  # type: ignore[method-assign]
        websocket.closed = lambda *how: self._closed.put(how)  # type: ignore[method-assign]
        return websocket

    def addresses(self) -> set[Any]:
        """Wait until all have opened; return where from."""
        return {self._opened.get(timeout=TIMEOUT) for _ in range(CLIENTS)}

    def ends(self) -> set[Any]:
        """Wait until all have closed; return with which codes and reasons."""
        return {self._closed.get(timeout=TIMEOUT) for _ in range(CLIENTS)}


def count(lines: list[str], text: str) -> int:
    """Return how many lines have ``text``."""
    return sum(text in line for line in lines)


def test_two_thousand_clients_connect_and_an_interrupt_closes_them_all(tmp_path: Path) -> None:
    crowd = Crowd()
    with echo_server({"/ws": crowd.make}) as server:
        source = edited("manager_2000_clients", ITERVALUES, port_edit(server.server_address[1]))
        with Program(source, tmp_path) as program:
            printed = program.printed_until(lambda line: "clients are connected" in line)
            assert printed[-1].endswith("1999 clients are connected")
            assert count(printed, "Opening [Local => ") == CLIENTS
            assert len(crowd.addresses()) == len(server.manager) == CLIENTS

            program.interrupt()
            assert program.status() == 0, program.errors()
            assert program.errors() == ""
            assert count(program.printed_to_end(), "Traceback") == 0
            assert crowd.ends() == {(1001, "Server is shutting down")}
            eventually(lambda: len(server.manager) == 0, "the server keeps websockets")


def test_a_message_that_the_server_broadcasts_reaches_two_thousand_clients(tmp_path: Path) -> None:
    crowd = Crowd()
    with echo_server({"/ws": crowd.make}) as server:
        source = edited(
            "manager_2000_clients",
            ITERVALUES,
            port_edit(server.server_address[1]),
            Edit("except KeyboardInterrupt:", "finally:", "else nothing stops the manager"),
        )
        with Program(source, tmp_path) as program:
            program.printed_until(lambda line: "clients are connected" in line)
            assert len(crowd.addresses()) == CLIENTS
            server.manager.broadcast("hello, all of you")
            for _ in range(CLIENTS):
                program.printed_until(lambda line: line.endswith("hello, all of you"))

            server.manager.close_all(1000, "good night")
            assert crowd.ends() == {(1000, "good night")}
            printed = program.printed_to_end()
            assert program.status() == 0, program.errors()
            assert program.errors() == ""
            assert count(printed, "hello, all of you") == 0
            assert count(printed, "Traceback") == 0
