"""Faults 31, 33 and 37 to 39: heartbeats, the logger, wsgiref and the threaded client."""

from __future__ import annotations

import logging
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ws4py
from test.helpers import (
    HANDSHAKE,
    TIMEOUT,
    Recorder,
    descriptors,
    echo_server,
    eventually,
    frame,
    raw_connection,
    read_to_end,
    url_of,
)
from test.regressions import (
    Seen,
    close_code,
    driven_by_manager,
    driven_by_thread,
    fake_server,
    on_both_drivers,
    read_frame,
    read_head,
    regression,
    switch,
    wsgiref_server,
)
from ws4py.client.threadedclient import WebSocketClient
from ws4py.exc import HandshakeError
from ws4py.limits import Limits
from ws4py.server.wsgirefserver import WebSocketWSGIRequestHandler
from ws4py.server.wsgiutils import WebSocketWSGIApplication
from ws4py.websocket import Heartbeat, WebSocket


class Client(Recorder, WebSocketClient):
    """A threaded client that records."""


def run_script(script: str) -> str:
    """Run a program, and return what it prints; fails unless it ends well and in time."""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@regression(31)
@on_both_drivers
def test_a_heartbeat_sends_pings(driven: Any) -> None:
    with driven(heartbeat_freq=0.02) as (websocket, peer):
        for _ in range(3):
            assert read_frame(peer) == Seen(1, 9, b"")
            peer.sendall(frame(10))
        assert not websocket.terminated


@regression(31)
@pytest.mark.parametrize("serving", ["standalone", "wsgiref"])
def test_a_classes_heartbeat_is_kept_by_servers(serving: str) -> None:
    class Beating(WebSocket):
        heartbeat_freq = 0.02

    if serving == "standalone":
        with echo_server(Beating) as server:
            expect_ping(server.server_address[1])
    else:
        with wsgiref_server(handler=Beating) as port:
            expect_ping(port)


def expect_ping(port: int) -> None:
    sock, _ = raw_connection(port)
    with sock:
        assert read_frame(sock).opcode == 9


@regression(31)
@on_both_drivers
def test_a_heartbeat_finds_a_dead_peer(driven: Any) -> None:
    limits = Limits(heartbeat_timeout=0.2)
    with driven(heartbeat_freq=0.05, limits=limits) as (websocket, peer):
        assert websocket.all_events()[-1][:2] == ("closed", 1006)
        seen = read_frame(peer)
        while seen.opcode == 9:
            seen = read_frame(peer)
        assert close_code(seen) == 1011


@regression(31)
def test_a_heartbeat_does_not_keep_a_program_alive() -> None:
    run_script(
        "import socket\n"
        "from ws4py.websocket import Heartbeat, WebSocket\n"
        "ours, theirs = socket.socketpair()\n"
        "Heartbeat(WebSocket(ours), 3600).start()\n"
    )


@regression(31)
def test_a_heartbeat_ends_with_its_connection_and_not_a_beat_later(no_thread_left: None) -> None:
    with driven_by_thread(heartbeat_freq=3600) as (_, peer):
        peer.sendall(frame(8))
        read_to_end(peer)


@regression(31)
def test_a_heartbeat_that_is_stopped_before_it_runs_does_not_beat() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        heartbeat = Heartbeat(WebSocket(ours), 0.001)
        heartbeat.stop()
        heartbeat.start()
        heartbeat.join(TIMEOUT)
        assert not heartbeat.is_alive()
        theirs.setblocking(False)
        with pytest.raises(BlockingIOError):
            theirs.recv(1)


@regression(31)
def test_without_a_heartbeat_there_are_no_pings() -> None:
    with driven_by_manager(heartbeat_freq=None) as (websocket, peer):
        websocket.close()
        assert close_code(read_frame(peer)) == 1000


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """The logger, as it was before."""
    logger = logging.getLogger("ws4py")
    level = logger.level
    yield logger
    ws4py.configure_logger(stdout=False)
    logger.setLevel(level)


@regression(33)
def test_a_second_configure_logger_does_not_double_what_is_printed(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        assert ws4py.configure_logger() is logger
    logger.info("once and for all")
    assert capsys.readouterr().out.count("once and for all") == 1


@regression(33)
def test_a_second_configure_logger_does_not_double_what_is_in_the_file(
    logger: logging.Logger, tmp_path: Path
) -> None:
    path = tmp_path / "log"
    before = descriptors()
    for _ in range(3):
        ws4py.configure_logger(stdout=False, filepath=str(path))
    assert descriptors() == before + 1
    logger.info("once and for all")
    assert path.read_text().count("once and for all") == 1


@regression(33)
def test_configure_logger_leaves_a_users_own_handler_alone(logger: logging.Logger) -> None:
    own = logging.NullHandler()
    logger.addHandler(own)
    try:
        ws4py.configure_logger(stdout=False)
        assert own in logger.handlers
    finally:
        logger.removeHandler(own)


def plain(environ: Any, start_response: Any) -> list[bytes]:
    """Answer as any WSGI application."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"plain"]


@regression(37)
@pytest.mark.parametrize("answer", [b" 200 ", b" 426 "])
def test_requests_that_become_no_websocket_leak_no_descriptor_of_wsgirefs_server(
    answer: bytes,
) -> None:
    kept = []

    class Keeping(WebSocketWSGIRequestHandler):
        def setup(self) -> None:
            kept.append(self.request)  # Or the garbage collector would close it.
            super().setup()

    application = plain if answer == b" 200 " else WebSocketWSGIApplication()
    request = HANDSHAKE.replace(b"Version: 13", b"Version: 8")
    with wsgiref_server(application, request_handler=Keeping) as port:
        before = descriptors()
        for _ in range(20):
            sock, head = raw_connection(port, request)
            with sock:
                assert answer in head
                assert read_to_end(sock) != b""
        eventually(lambda: descriptors() == before, "descriptors were left open")
        assert [sock.fileno() for sock in kept] == [-1] * 20


@regression(37)
def test_importing_the_wsgiref_server_changes_nothing_in_the_standard_library() -> None:
    run_script(
        "import socketserver, wsgiref.handlers, wsgiref.headers, wsgiref.simple_server\n"
        "import wsgiref.util\n"
        "modules = [socketserver, wsgiref.handlers, wsgiref.headers, wsgiref.simple_server,"
        " wsgiref.util]\n"
        "def look():\n"
        "    seen = {}\n"
        "    for module in modules:\n"
        "        for name, value in vars(module).items():\n"
        "            if name == '__warningregistry__': continue\n"
        "            inner = vars(value).items() if isinstance(value, type) else ()\n"
        "            seen[module.__name__, name] = id(value), [(k, id(v)) for k, v in inner]\n"
        "    return seen\n"
        "before = look()\n"
        "hoppish = wsgiref.util.is_hop_by_hop\n"
        "assert hoppish('Connection') and hoppish('Upgrade')\n"
        "import ws4py.server.wsgirefserver, ws4py.server.wsgiutils\n"
        "assert look() == before\n"
        "assert hoppish('Connection') and hoppish('Upgrade')\n"
    )


@regression(38)
def test_run_forever_sleeps_until_the_end() -> None:
    resource = pytest.importorskip("resource")
    if not hasattr(resource, "RUSAGE_THREAD"):
        pytest.skip("this system does not count for each thread")
    switches = []

    def count() -> int:
        switched: int = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
        return switched

    def wait() -> None:
        before = count()
        client.run_forever()
        switches.append(count() - before)

    with echo_server() as server:
        client = Client(url_of(server))
        client.connect()
        waiter = threading.Thread(target=wait)
        waiter.start()
        waiter.join(1.5)  # What it does in this time is what is measured.
        assert waiter.is_alive()
        client.close()
        waiter.join(TIMEOUT)
        assert not waiter.is_alive()
    # Ten wakes a second would be fifteen.
    assert switches[0] < 8


INTERRUPTED = """
import signal, sys
from ws4py.client.threadedclient import WebSocketClient

signal.signal(signal.SIGINT, signal.default_int_handler)
client = WebSocketClient(sys.argv[1])
client.connect()
print("connected", flush=True)
client.run_forever()
"""


@regression(38)
def test_ctrl_c_ends_run_forever_at_once() -> None:
    with echo_server() as server:
        program = subprocess.Popen(
            [sys.executable, "-c", INTERRUPTED, url_of(server)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with program:
            assert program.stdout is not None
            assert program.stdout.readline() == "connected\n"
            program.send_signal(signal.SIGINT)
            _, errors = program.communicate(timeout=TIMEOUT)
        assert "KeyboardInterrupt" in errors
        assert program.returncode in (1, -signal.SIGINT)


@regression(39)
def test_a_client_can_connect_again_once_it_has_ended() -> None:
    with echo_server() as server:
        client = Client(url_of(server))
        keys = set()
        for turn in range(3):
            client.connect()
            keys.add(client.key)
            assert (client.terminated, client.close_code) == (False, None)
            client.send(f"turn {turn}")
            assert client.next_event() == ("opened",)
            assert client.next_event() == ("text", b"turn %d" % turn)
            client.close(1000, "next")
            client.run_forever()
            assert client.next_event() == ("closed", 1000, "next")
        assert client.events.empty()
        assert len(keys) == 3


@regression(39)
def test_a_client_that_was_refused_can_connect_again() -> None:
    answers = [lambda _: b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", switch]

    def conversation(sock: socket.socket) -> None:
        sock.sendall(answers.pop(0)(read_head(sock)))
        read_to_end(sock)

    with fake_server(conversation) as port:
        client = Client(f"ws://127.0.0.1:{port}/", protocols=["chat"])
        with pytest.raises(HandshakeError, match="503"):
            client.connect()
        client.connect()
        assert client.next_event() == ("opened",)
        client.terminate()
        client.run_forever()


@regression(39)
def test_init_can_be_called_again() -> None:
    with echo_server() as server:
        client = Client(url_of(server))
        for _ in range(2):
            client.connect()
            client.send("hello")
            assert client.next_event() == ("opened",)
            assert client.next_event() == ("text", b"hello")
            client.close()
            client.run_forever()
            Client.__init__(client, url_of(server))
        client.close_connection()
