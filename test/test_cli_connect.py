"""``python -m ws4py connect``, in a pipe and at a terminal."""

from __future__ import annotations

import os
import select
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from test.helpers import TIMEOUT, echo_server, only_websocket, url_of
from test.test_cli import ROOT, Program
from ws4py.websocket import WebSocket

try:
    import pty
except ImportError:  # no terminal to be had on this platform
    pty = None


class Talking(WebSocket):
    """Does what it is told."""

    def received_message(self, message: Any) -> None:
        command, _, rest = str(message).partition(" ")
        if command == "bytes":
            self.send(bytes.fromhex(rest), binary=True)
        elif command == "close":
            self.close(int(rest), "enough")
        elif command == "drop":
            self.terminate()
        else:
            self.send(f"you said {message}")


#: What starts the program; each test runs with every engine.
COMMAND = ["-m", "ws4py", "connect", "--engine", "threaded"]


@pytest.fixture(params=["threaded", "gevent", "tornado", "asyncio"], autouse=True)
def engine(request: pytest.FixtureRequest) -> None:
    COMMAND[-1] = request.param


class Connected(Program):
    """``python -m ws4py connect``."""

    def __init__(self, url: str, *arguments: str, **options: Any):
        super().__init__("-X", "dev", *COMMAND, url, *arguments, **options)


@pytest.fixture
def url() -> Iterator[str]:
    with echo_server(Talking) as server:
        yield url_of(server)


def test_each_line_is_sent_and_each_message_printed_with_an_arrow(url: str) -> None:
    with Connected(url) as program:
        program.type(b"one\ntwo words\n")
        assert program.line() == "< you said one"
        assert program.line() == "< you said two words"


def test_the_end_of_the_input_closes_after_the_last_line_and_exits_with_0(url: str) -> None:
    with Connected(url) as program:
        program.type(b"one\nthe last, without a line's end")
        program.process.stdin.close()
        lines = [program.line() for _ in range(4)]
        assert lines[:2] == ["< you said one", "< you said the last, without a line's end"]
        assert lines[2:] == ["Connection closed: 1000", None]
        assert program.end() == 0
        assert program.errors == ""


def test_a_program_can_be_piped_in(url: str) -> None:
    done = subprocess.run(
        [sys.executable, *COMMAND, url],
        input="".join(f"{number}\n" for number in range(1000)),
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=TIMEOUT,
        check=True,
    )
    expected = [f"< you said {number}" for number in range(1000)]
    assert done.stdout.splitlines() == expected + ["Connection closed: 1000"]
    assert done.stderr == ""


def test_messages_are_compressed_where_that_was_asked_for() -> None:
    with (
        echo_server(Talking, compression="deflate") as server,
        Connected(url_of(server), "--compression", "deflate") as program,
    ):
        program.type(b"again and " * 100 + b"\n")
        assert program.line() == "< you said " + "again and " * 100
        extensions = only_websocket(server).extensions
    assert extensions
    assert extensions[0].startswith("permessage-deflate")


def test_an_empty_line_is_an_empty_message(url: str) -> None:
    with Connected(url) as program:
        program.type(b"\n")
        assert program.line() == "< you said "


def test_a_line_may_end_as_on_windows(url: str) -> None:
    with Connected(url) as program:
        program.type(b"one\r\n")
        assert program.line() == "< you said one"


def test_a_character_may_come_in_pieces(url: str) -> None:
    with Connected(url) as program:
        program.type("first\nh\N{LATIN SMALL LETTER E WITH ACUTE}".encode()[:-1])
        assert program.line() == "< you said first"
        program.type("\N{LATIN SMALL LETTER E WITH ACUTE}\n".encode()[1:])
        assert program.line() == "< you said h\N{LATIN SMALL LETTER E WITH ACUTE}"


def test_bytes_are_printed_in_hexadecimal_with_their_number(url: str) -> None:
    with Connected(url) as program:
        program.type(b"bytes 00ff10\n")
        assert program.line() == "< (3 bytes) 00ff10"
        program.process.stdin.close()
        assert program.line() == "Connection closed: 1000"
        assert program.end() == 0


def test_the_code_and_the_reason_of_the_server_are_printed(url: str) -> None:
    with Connected(url) as program:
        program.type(b"close 4001\n")
        assert program.line() == "Connection closed: 4001 enough"
        assert program.end() == 0
        assert program.errors == ""


def test_an_end_without_a_close_is_1006(url: str) -> None:
    with Connected(url) as program:
        program.type(b"drop\n")
        assert program.line().startswith("Connection closed: 1006")
        program.end()
        assert "Traceback" not in program.errors


def test_an_interrupt_closes_with_1000(url: str) -> None:
    with Connected(url) as program:
        program.type(b"ready\n")
        assert program.line() == "< you said ready"
        assert program.end(signal.SIGINT) == 0
        assert program.line() == "Connection closed: 1000"
        assert program.errors == ""


def test_an_interrupt_while_reading_begins_closes_with_1000(url: str) -> None:
    slow = """
import sys, threading, time
from ws4py import _connect, __main__
class Thread(threading.Thread):
    def start(self):
        super().start()
        time.sleep(0.5)
_connect.Thread = Thread
sys.exit(__main__.main(sys.argv[1:]))
"""
    with Program("-c", slow, *COMMAND[2:], url) as program:
        program.type(b"ready\n")
        assert program.line() == "< you said ready"
        assert program.end(signal.SIGINT) == 0
        assert program.line() == "Connection closed: 1000"


def test_without_an_input_it_closes_with_1000(url: str) -> None:
    closed = ["-c", 'exec "$@" <&-', "sh", sys.executable, *COMMAND, url]
    with Program(*closed, executable="sh") as program:
        assert program.line() == "Connection closed: 1000"
        assert program.end() == 0
        assert program.errors == ""


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_away_causes_no_traceback(url: str, unbuffered: str) -> None:
    with subprocess.Popen(
        [sys.executable, *COMMAND, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    ) as program:
        program.stdin.write(b"one\n")
        program.stdin.flush()
        assert program.stdout.readline() == b"< you said one\n"
        program.stdout.close()
        program.stdin.write(b"two\nthree\n")
        program.stdin.close()
        errors = program.stderr.read()
        program.wait(TIMEOUT)
    assert errors == b""


def test_a_refused_handshake_is_told_in_one_line_with_status_1() -> None:
    with echo_server({"/there": Talking}) as server, Connected(url_of(server, "/not")) as program:
        assert program.end() == 1
        assert len(program.errors.splitlines()) == 1
        assert "404" in program.errors
        assert program.line() is None


def test_what_is_asked_for_is_sent_with_the_request() -> None:
    class Asked(WebSocket):
        def opened(self) -> None:
            names = ["HTTP_X_TOKEN", "HTTP_ORIGIN"]
            self.send(" ".join([*(self.environ[name] for name in names), *self.protocols]))

    options = ["--header", "X-Token: a:b", "--origin", "http://localhost", "--subprotocol", "v1"]
    server = echo_server(Asked, origins=["http://localhost"], protocols=["v2", "v1"])
    with server as running, Connected(url_of(running), *options) as program:
        assert program.line() == "< a:b http://localhost v1"
        program.process.stdin.close()
        assert program.end() == 0


def test_the_certificates_to_trust_can_be_named(
    server_tls: ssl.SSLContext, authority: trustme.CA, tmp_path: Path
) -> None:
    trusted = tmp_path / "ca.pem"
    server = echo_server(Talking, ssl_context=server_tls)
    with server as running:
        with Connected(url_of(running), "--cafile", str(trusted)) as program:
            assert program.end() == 1
            assert f"there is no file {trusted}" in program.errors
        authority.cert_pem.write_to_path(trusted)
        with Connected(url_of(running), "--cafile", str(trusted)) as program:
            program.type(b"secret\n")
            assert program.line() == "< you said secret"
            program.process.stdin.close()
            assert program.end() == 0


def test_a_server_that_speaks_something_else_is_told_in_one_line_with_status_1() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(TIMEOUT)
        with Connected(f"ws://127.0.0.1:{listening.getsockname()[1]}/") as program:
            sock, _ = listening.accept()
            with sock:
                sock.sendall(b"220 mail.example ESMTP\r\n\r\n")
                assert program.end() == 1
            assert len(program.errors.splitlines()) == 1


def test_a_server_that_is_not_there_is_told_in_one_line_with_status_1() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{unused.getsockname()[1]}/"
        with Connected(url) as program:
            assert program.end() == 1
            assert len(program.errors.splitlines()) == 1
            assert url in program.errors


def test_a_host_that_is_unknown_is_told_in_one_line() -> None:
    with Connected("ws://no.such.host.invalid/") as program:
        assert program.end() in (1, 2)
        assert len(program.errors.splitlines()) == 1


def test_a_certificate_that_nobody_trusts_is_told_in_one_line_with_status_1(
    server_tls: ssl.SSLContext,
) -> None:
    server = echo_server(Talking, ssl_context=server_tls)
    with server as running, Connected(url_of(running)) as program:
        assert program.end() == 1
        assert len(program.errors.splitlines()) == 1
        assert "certificate verify failed" in program.errors


def test_wss_is_verified_with_what_the_system_trusts(
    server_tls: ssl.SSLContext, authority: trustme.CA, tmp_path: Path
) -> None:
    trusted = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(trusted)
    env = {**os.environ, "SSL_CERT_FILE": str(trusted)}
    server = echo_server(Talking, ssl_context=server_tls)
    with server as running, Connected(url_of(running), env=env) as program:
        program.type(b"secret\n")
        assert program.line() == "< you said secret"
        program.process.stdin.close()
        assert program.line() == "Connection closed: 1000"
        assert program.end() == 0


class Terminal:
    """A terminal, where ``connect`` runs."""

    def __init__(self, url: str):
        self._master, slave = pty.openpty()
        # The first terminal that the leader of a session opens is the one that controls it.
        script = 'exec "$@" <"$0" >"$0" 2>&1'
        program = [sys.executable, *COMMAND, url]
        self.process = subprocess.Popen(
            ["sh", "-c", script, os.ttyname(slave), *program], cwd=ROOT, start_new_session=True
        )
        self._slave = slave
        self.screen = b""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.process.kill()
        self.process.wait(TIMEOUT)
        os.close(self._slave)
        os.close(self._master)

    def type(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def wait_for(self, text: bytes) -> None:
        """Read until ``text`` is on the screen."""
        while text not in self.screen:
            ready, _, _ = select.select([self._master], [], [], TIMEOUT)
            assert ready, f"{text!r} is not in {self.screen!r}"
            self.screen += os.read(self._master, 4096)


at_a_terminal = pytest.mark.skipif(pty is None, reason="this platform has no pseudo-terminals")


@at_a_terminal
def test_lines_are_sent_as_they_are_typed_at_a_terminal(url: str) -> None:
    with Terminal(url) as terminal:
        terminal.type(b"hello\n")
        terminal.wait_for(b"< you said hello\r\n")
        terminal.type(b"again\n")
        terminal.wait_for(b"< you said again\r\n")


@at_a_terminal
@pytest.mark.parametrize("key", [b"\x04", b"\x03"], ids=["Ctrl-D", "Ctrl-C"])
def test_the_keys_that_end_a_program_close_at_a_terminal(url: str, key: bytes) -> None:
    with Terminal(url) as terminal:
        terminal.type(b"hello\n")
        terminal.wait_for(b"< you said hello\r\n")
        terminal.type(key)
        terminal.wait_for(b"Connection closed: 1000\r\n")
        assert terminal.process.wait(TIMEOUT) == 0
        assert b"Traceback" not in terminal.screen


@at_a_terminal
def test_the_end_of_the_connection_needs_no_key_at_a_terminal(url: str) -> None:
    with Terminal(url) as terminal:
        terminal.type(b"close 1000\n")
        terminal.wait_for(b"Connection closed: 1000 enough\r\n")
        assert terminal.process.wait(TIMEOUT) == 0


def test_the_program_ends_with_the_connection_while_its_input_is_open(url: str) -> None:
    before = threading.active_count()
    with Connected(url) as program:
        program.type(b"close 1000\n")
        assert program.end() == 0
        assert not program.process.stdin.closed
    assert threading.active_count() <= before
