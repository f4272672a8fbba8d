"""``python -m ws4py serve``, as a program of its own."""

from __future__ import annotations

import platform
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
import trustme

import ws4py
from test.helpers import (
    HANDSHAKE,
    TIMEOUT,
    Recorder,
    eventually,
    frame,
    raw_connection,
    read_exactly,
    read_to_end,
)
from ws4py import masking
from ws4py.__main__ import make_parser
from ws4py.client.threadedclient import WebSocketClient
from ws4py.exc import HandshakeError

ROOT = Path(__file__).parent.parent
ENGINES = ["standalone", "wsgiref", "cherrypy", "gevent", "tornado", "asyncio", "asgi"]

every_engine = pytest.mark.parametrize("engine", ENGINES)


class Program:
    """A program that runs, in Python by default; ends with the ``with`` block, if not before.

    With ``-X dev`` it complains on the standard error of whatever it leaves open.
    """

    def __init__(
        self,
        *arguments: str,
        cwd: Path = ROOT,
        env: dict[str, str] | None = None,
        executable: str = sys.executable,
    ):
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        self.process = subprocess.Popen(
            [executable, *arguments],
            cwd=cwd,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        self._lines: Queue[str | None] = Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self._lines.put(line.decode().rstrip("\r\n"))
        self._lines.put(None)

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.process.kill()
        self.process.wait(TIMEOUT)
        self._reader.join(TIMEOUT)
        self.process.stdout.close()
        self.process.stdin.close()
        self._errors.close()

    def line(self) -> str | None:
        """Return the next line of the standard output, None at its end."""
        return self._lines.get(timeout=TIMEOUT)

    def type(self, data: bytes) -> None:
        """Write to the standard input."""
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def end(self, number: int | None = None) -> int:
        """Wait for the end, after the signal ``number`` if given; return the exit status.

        Ctrl-C waits until nothing runs: a callback that it interrupts is the end of its connection.
        """
        if number == signal.SIGINT:
            eventually(self._rests, "the program is busy")
        if number is not None:
            self.process.send_signal(number)
        return self.process.wait(TIMEOUT)

    def _rests(self) -> bool:
        """Say whether the main thread waits for something; True where there is no /proc."""
        stat = Path(f"/proc/{self.process.pid}/stat")
        return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] not in "RD"

    @property
    def errors(self) -> str:
        """What has been written to the standard error.

        On a busy machine the debug mode of asyncio, too, tells of turns that took long.
        """
        self._errors.seek(0)
        lines = self._errors.read().decode().splitlines(keepends=True)
        return "".join(line for line in lines if not re.match(r"Executing <.* took ", line))


class Serving(Program):
    """``python -m ws4py serve`` on a free port; accepts connections."""

    python_options: Sequence[str] = ("-X", "dev")

    def __init__(self, *arguments: str, cwd: Path = ROOT):
        command = [*self.python_options, "-m", "ws4py", "serve", "--port", "0"]
        if "asgi" in arguments:  # uvicorn's releases for Python 3.9 use what websockets deprecates.
            command[:0] = ["-W", "ignore::DeprecationWarning"]
        super().__init__(*command, *arguments, cwd=cwd)
        try:
            self.announced = self.line()
            assert self.announced is not None, self.errors
        except BaseException:
            self.__exit__()
            raise
        self.url = self.announced.split()[-1]
        self.port = int(self.url.rpartition(":")[2].partition("/")[0])


class Client(Recorder, WebSocketClient):
    """A client that records, and that ends with the ``with`` block."""

    def __enter__(self) -> Client:
        self.connect()
        assert self.next_event() == ("opened",)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
        assert self.ended.wait(TIMEOUT)


@pytest.fixture
def certificate(authority: trustme.CA, tmp_path: Path) -> Path:
    """A file with a certificate for localhost, and one ``.key`` beside it."""
    issued = authority.issue_cert("localhost", "127.0.0.1")
    path = tmp_path / "server.pem"
    issued.cert_chain_pems[0].write_to_path(path)
    issued.private_key_pem.write_to_path(path.with_suffix(".key"))
    return path


def test_the_defaults_are_an_echo_server_on_port_9000_at_every_path() -> None:
    arguments = make_parser().parse_args(["serve"])
    assert arguments.handler == "ws4py.websocket:EchoWebSocket"
    assert (arguments.engine, arguments.host) == ("standalone", "127.0.0.1")
    assert (arguments.port, arguments.path) == (9000, None)


@every_engine
def test_one_line_with_the_address_is_printed_and_connections_are_accepted(engine: str) -> None:
    with Serving("--engine", engine) as server:
        assert server.url == f"ws://127.0.0.1:{server.port}/"
        with Client(server.url) as client:
            client.send("hello")
            assert client.next_event() == ("text", b"hello")
        assert server.end(signal.SIGTERM) == 0
        assert server.line() is None


@every_engine
@pytest.mark.parametrize("path", ["/", "/any", "/any/where?a=b"])
def test_every_path_is_served(engine: str, path: str) -> None:
    with Serving("--engine", engine) as server, Client(server.url[:-1] + path) as client:
        client.send(b"\x00\xff", binary=True)
        assert client.next_event() == ("binary", b"\x00\xff")


@every_engine
def test_only_the_path_that_was_asked_for_is_served(engine: str) -> None:
    with Serving("--engine", engine, "--path", "/echo") as server:
        assert server.url.endswith("/echo")
        with Client(server.url):
            pass
        with pytest.raises(HandshakeError) as refused:
            Client(f"ws://localhost:{server.port}/other").connect()
        assert server.end(signal.SIGTERM) == 0
    assert refused.value.status == 404


@every_engine
def test_a_class_of_the_current_folder_is_served(engine: str, tmp_path: Path) -> None:
    (tmp_path / "shouting.py").write_text(
        "from ws4py.websocket import WebSocket\n"
        "class Shout(WebSocket):\n"
        "    def received_message(self, message):\n"
        "        self.send(str(message).upper())\n"
    )
    with Serving("shouting:Shout", "--engine", engine, cwd=tmp_path) as server:
        assert "shouting:Shout" in server.announced
        with Client(server.url) as client:
            client.send("hello")
            assert client.next_event() == ("text", b"HELLO")


def test_a_class_of_the_current_folder_is_served_by_a_script_of_another_one(
    tmp_path: Path,
) -> None:
    script, here = tmp_path / "scripts" / "run.py", tmp_path / "here"
    for path, text in (
        (script, "import sys\nfrom ws4py.__main__ import main\nsys.exit(main())\n"),
        (here / "mine.py", "from ws4py.websocket import EchoWebSocket as Mine\n"),
    ):
        path.parent.mkdir()
        path.write_text(text)
    with Program(str(script), "serve", "mine:Mine", "--port", "0", cwd=here) as program:
        announced = program.line()
        assert announced is not None, program.errors
        with Client(announced.split()[-1]) as client:
            client.send("hello")
            assert client.next_event() == ("text", b"hello")
        assert program.end(signal.SIGTERM) == 0


@every_engine
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_closes_every_connection_with_1001(engine: str, number: int) -> None:
    with Serving("--engine", engine, "--drain", "1") as server:
        clients = [Client(server.url) for _ in range(3)]
        for client in clients:
            client.connect()
            client.send("ready")
            assert [client.next_event()[0] for _ in range(2)] == ["opened", "text"]
        assert server.end(number) == 0
        assert [client.next_event()[:2] for client in clients] == [("closed", 1001)] * 3
        assert server.errors == ""


@every_engine
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_server_that_nobody_is_connected_to(engine: str, number: int) -> None:
    with Serving("--engine", engine) as server:
        assert server.end(number) == 0
        assert server.errors == ""


def test_a_signal_does_not_wait_for_a_handshake_that_is_not_complete() -> None:
    with Serving() as server:
        silent = socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT)
        with silent:
            silent.sendall(HANDSHAKE[:30])
            with Client(server.url):
                assert server.end(signal.SIGTERM) == 0
            assert read_to_end(silent) == b""


@every_engine
def test_the_close_frame_of_a_signal_stands_on_the_wire_and_its_answer_ends_it(
    engine: str,
) -> None:
    with Serving("--engine", engine, "--drain", "600") as server:
        sock, _ = raw_connection(server.port)
        with sock:
            sock.sendall(frame(1, b"ready"))
            assert read_exactly(sock, 7) == b"\x81\x05ready"
            server.process.send_signal(signal.SIGTERM)
            header, size = read_exactly(sock, 2)
            assert (header, read_exactly(sock, size)[:2]) == (0x88, b"\x03\xe9")
            sock.sendall(frame(8, b"\x03\xe9"))
            assert read_to_end(sock) == b""
        assert server.end() == 0


@every_engine
def test_a_message_above_the_size_that_was_set_is_refused_with_1009(engine: str) -> None:
    with Serving("--engine", engine, "--max-message-size", "100") as server:
        with Client(server.url) as client:
            client.send("x" * 100)
            assert client.next_event() == ("text", b"x" * 100)
            client.send("x" * 101)
            assert client.next_event()[:2] == ("closed", 1009)
        assert server.end(signal.SIGTERM) == 0


@every_engine
def test_only_the_origins_that_were_named_are_allowed(engine: str) -> None:
    origins = ["--origin", "https://a.example", "--origin", "http://b.example:8080"]
    with Serving("--engine", engine, *origins) as server:
        for origin in ("https://a.example", "http://b.example:8080"):
            with Client(server.url, headers=[("Origin", origin)]):
                pass
        for headers in ([("Origin", "https://c.example")], []):
            with pytest.raises(HandshakeError) as refused:
                Client(server.url, headers=headers).connect()
            assert refused.value.status == 403


@pytest.mark.parametrize(
    ("engine", "options", "agreed"),
    [
        *[(engine, ["--compression", "deflate"], ["permessage-deflate"]) for engine in ENGINES],
        ("standalone", [], []),
        ("asgi", [], []),  # where the host would do so by itself
    ],
)
def test_messages_are_compressed_where_that_was_asked_for(
    engine: str, options: list[str], agreed: list[str]
) -> None:
    text = "again and " * 100
    with (
        Serving("--engine", engine, *options) as server,
        Client(server.url, compression="deflate") as client,
    ):
        assert [extension.partition(";")[0] for extension in client.extensions] == agreed
        client.send(text)
        assert client.next_event() == ("text", text.encode())


@every_engine
def test_a_heartbeat_sends_pings(engine: str) -> None:
    with Serving("--engine", engine, "--heartbeat", "0.05") as server:
        sock, _ = raw_connection(server.port)
        with sock:
            header, _size = read_exactly(sock, 2)
    assert header == 0x89


@every_engine
@pytest.mark.parametrize("files", ["two files", "one file"])
def test_a_certificate_makes_it_wss(
    engine: str, files: str, certificate: Path, client_tls: ssl.SSLContext
) -> None:
    key = certificate.with_suffix(".key")
    options = ["--engine", engine, "--host", "localhost", "--certfile", str(certificate)]
    if files == "two files":
        options += ["--keyfile", str(key)]
    else:
        certificate.write_bytes(certificate.read_bytes() + key.read_bytes())
    with Serving(*options) as server:
        assert server.url.startswith("wss://")
        with Client(f"wss://localhost:{server.port}/", ssl_context=client_tls) as client:
            client.send("x" * 100_000)
            assert client.next_event() == ("text", b"x" * 100_000)
            assert server.end(signal.SIGTERM) == 0
            assert client.next_event()[:2] == ("closed", 1001)
        assert server.errors == ""


@every_engine
def test_an_address_of_ipv6_is_announced_in_brackets(engine: str) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    with Serving("--engine", engine, "--host", "::1") as server:
        assert server.url == f"ws://[::1]:{server.port}/"
        with Client(server.url):
            pass


def test_a_limit_of_the_class_is_kept(tmp_path: Path) -> None:
    (tmp_path / "short.py").write_text(
        "from ws4py.limits import Limits\n"
        "from ws4py.websocket import EchoWebSocket\n"
        "class Short(EchoWebSocket):\n"
        "    limits = Limits(max_message_size=10)\n"
    )
    with Serving("short:Short", cwd=tmp_path) as server, Client(server.url) as client:
        client.send("x" * 11)
        assert client.next_event()[0] == "closed"


def run(*arguments: Any, cwd: Path = ROOT) -> tuple[int, str]:
    """Run the command line to its end; return the exit status and the standard error."""
    with Program("-X", "dev", "-m", "ws4py", *map(str, arguments), cwd=cwd) as program:
        status = program.end()
        assert program.line() is None
        return status, program.errors


def test_the_version_says_what_a_report_needs() -> None:
    command = [sys.executable, "-m", "ws4py", "--version"]
    kind = "pure Python" if masking.speedups is None else "compiled"
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert printed.startswith(f"ws4py {ws4py.__version__} ({kind}), ")
    assert printed.rstrip().endswith(platform.python_version())
