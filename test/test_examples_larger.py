"""The examples that are larger than one thing on one engine, or need more than one port."""

from __future__ import annotations

import os
import re
import signal
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from test.autobahn.processes import free_port
from test.helpers import TIMEOUT, echo_server, eventually, running, url_of
from test.test_cli import ROOT, Client, Program
from test.test_examples import ends_in_one_line, needs_openssl
from test.test_snippets_crowd import enough_descriptors  # noqa: F401 - a fixture
from ws4py.exc import HandshakeError
from ws4py.server.standalone import WebSocketServer
from ws4py.websocket import EchoWebSocket


def example(name: str, *arguments: str, **options: Any) -> Program:
    """Start an example."""
    return Program("-X", "dev", f"example/{name}.py", *arguments, **options)


def crowd(*arguments: str, limit: str = "") -> Program:
    """Start the many clients, under a limit of descriptors if there is one."""
    command = [sys.executable, "-X", "dev", "example/manager_clients.py", *arguments]
    return Program("-c", f'{limit} exec "$@"', "sh", *command, executable="/bin/sh")


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
        return response.read().decode()


def test_the_page_of_the_examples_links_to_each_of_them() -> None:
    text = (ROOT / "example/README.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"\]\(([^)]+)\)", text))
    assert {path.name for path in (ROOT / "example").glob("*.py")} <= linked
    assert [link for link in linked if not (ROOT / "example" / link).exists()] == []


class Counted(EchoWebSocket):
    """Counts how many there were at one time."""

    now = peak = 0

    def opened(self) -> None:
        Counted.now += 1
        Counted.peak = max(Counted.peak, Counted.now)

    def closed(self, code: int, reason: str | None = None) -> None:
        Counted.now -= 1


@pytest.fixture
def counted() -> Iterator[str]:
    """The URL of a server that counts."""
    Counted.now = Counted.peak = 0
    with echo_server(Counted) as server:
        yield url_of(server)
        eventually(lambda: Counted.now == 0, "a client is left")


def runs_all(program: Program, count: int) -> None:
    assert program.line() == f"{count} clients are connected, in one thread"
    assert program.line() == f"{count} messages came back"
    assert program.line() is None
    assert (program.end(), program.errors) == (0, "")
    assert Counted.peak == count


def test_as_many_clients_as_are_wanted_are_connected_at_one_time(counted: str) -> None:
    with crowd(counted, "60") as program:
        runs_all(program, 60)


@pytest.mark.stress
@pytest.mark.usefixtures("enough_descriptors")
def test_two_thousand_clients_are_connected_at_one_time(counted: str) -> None:
    with crowd(counted) as program:
        runs_all(program, 2000)


def test_a_limit_of_descriptors_that_is_too_low_is_raised(counted: str) -> None:
    with crowd(counted, "60", limit="ulimit -S -n 40;") as program:
        runs_all(program, 60)


def test_a_limit_of_descriptors_that_cannot_be_raised_is_told_in_one_line() -> None:
    with crowd("ws://localhost:1/", "60", limit="ulimit -n 40;") as program:
        ends_in_one_line(program, "160 descriptors are needed, and 40 may be open at most")


@pytest.mark.parametrize("count", ["0", "-1", "20001"])
def test_a_number_of_clients_out_of_bounds_is_told_in_one_line(count: str) -> None:
    with crowd("ws://localhost:1/", count) as program:
        ends_in_one_line(program, f"{count} is not a number of clients")


def test_many_clients_without_a_server_end_in_one_line() -> None:
    with crowd("ws://localhost:1/", "5") as program:
        ends_in_one_line(program, "no connection to ws://localhost:1/")


def test_a_websocket_without_a_socket_answers_what_it_is_given_and_what_it_fetches() -> None:
    with example("without_socket") as program:
        lines = list(iter(program.line, None))
        assert (program.end(), program.errors) == (0, "")
    assert lines == ["closed: 1000", "['PUSHED', 'IN']", "closed: 1000", "['PULLED', 'OUT']"]


@pytest.mark.parametrize(("path", "answer"), [("echo", b"hello"), ("shout", b"HELLO")])
def test_routes_on_gevent_lead_to_pages_and_websockets(path: str, answer: bytes) -> None:
    with example("gevent_routes", "0") as program:
        url = program.line().split()[-1].removesuffix("echo")
        page = url.replace("ws", "http")
        assert "/echo and /shout" in read(page)
        with pytest.raises(urllib.error.HTTPError) as missing:
            read(f"{page}nothing")
        missing.value.close()
        assert missing.value.code == 404
        with pytest.raises(HandshakeError):
            Client(f"{url}nothing").connect()
        with Client(f"{url}{path}") as client:
            client.send("hello")
            assert client.next_event() == ("text", answer)
            assert program.end(signal.SIGINT) == 0
            assert client.all_events()[-1][:2] == ("closed", 1001)
        assert "Traceback" not in program.errors


def test_rooms_on_tornado_hear_their_own_people_and_end_with_1001() -> None:
    with example("tornado_routes", str(free_port())) as program:
        page = program.line().split()[-1]
        rooms = page.replace("http", "ws") + "rooms/"
        ada, grace, eve = (Client(rooms + room) for room in ("garden", "garden", "attic"))
        with ada, grace, eve:
            eventually(lambda: read(page).startswith("attic: 1\ngarden: 2\n"))
            eve.send("nobody else is here")
            assert eve.next_event() == ("text", b"nobody else is here")
            ada.send("hello")
            for person in (ada, grace):
                assert person.next_event() == ("text", b"hello")
            assert program.end(signal.SIGINT) == 0
            for person in (ada, grace, eve):
                assert person.all_events()[-1][:2] == ("closed", 1001)
        assert program.errors == ""


def test_the_client_on_a_unix_socket_talks_to_the_server_there(tmp_path: Path) -> None:
    path = tmp_path / "here.sock"
    with example("unix_server", str(path)) as server:
        assert server.line() == f"Echo at {path}"
        with example("unix_client", str(path)) as client:
            assert list(iter(client.line, None)) == ["hello", "closed: 1000 enough"]
            assert (client.end(), client.errors) == (0, "")
        with example("unix_server", str(path)) as second:
            ends_in_one_line(second, str(path))
        assert server.end(signal.SIGINT) == 0
        assert server.errors == ""
    assert not path.exists()


def test_the_client_on_a_unix_socket_that_is_not_there_ends_in_one_line(tmp_path: Path) -> None:
    with example("unix_client", str(tmp_path / "nothing.sock")) as client:
        ends_in_one_line(client, "nothing.sock")


def test_the_client_on_a_unix_socket_that_is_refused_ends_in_one_line(tmp_path: Path) -> None:
    path = str(tmp_path / "here.sock")
    server = WebSocketServer(path, {"/elsewhere": EchoWebSocket})
    with running(server), example("unix_client", path) as client:
        ends_in_one_line(client, "404")


@needs_openssl
def test_a_certificate_that_is_made_on_the_spot_is_verified_and_gone_at_the_end() -> None:
    with example("tls_server", "0") as program:
        assert program.line().startswith("Who does not know the certificate is not connected: self")
        assert program.line() == "It says hello, over TLSv1.3"
        announced = program.line()
        url = announced.split()[2]
        certificate = announced.split('"')[3]
        with Client(url, ssl_options={"ca_certs": certificate}) as client:
            client.send("here, too")
            assert client.next_event() == ("text", b"here, too")
            with pytest.raises(ssl.SSLCertVerificationError):
                Client(url).connect()
            assert program.end(signal.SIGINT) == 0
            assert client.all_events()[-1][:2] == ("closed", 1001)
        assert program.errors == ""
        assert not Path(certificate).parent.exists()


def test_without_openssl_no_certificate_can_be_made_and_that_is_told_in_one_line() -> None:
    nowhere = {**os.environ, "PATH": str(ROOT / "test/nowhere")}
    with example("tls_server", "0", env=nowhere) as program:
        ends_in_one_line(program, "there is no program openssl")
