"""The WSGI application on real servers, each in a process of its own."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import ssl
import sys
import sysconfig
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import trustme

from test.autobahn.processes import Process, free_port
from test.conformance import BINARY, TEXT, Peer
from test.helpers import HANDSHAKE, KEY, TIMEOUT, eventually, frame, raw_connection, read_to_end

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "test" / "apps" / "gunicorn_conf.py"
PLAIN = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

GUNICORN = "{python} -m gunicorn --config {config} --bind 127.0.0.1:{port} test.apps.wsgi:{app} "
UWSGI = (
    "{bin}/uwsgi --http-socket 127.0.0.1:{port} --home {prefix} --module test.apps.wsgi:{app}"
    " --master --enable-threads --threads 4 --die-on-term"
)
WAITRESS = "{python} -m waitress --listen 127.0.0.1:{port} --threads 4 test.apps.wsgi:{app}"
OTHERS = "{python} -m test.apps.wsgi {server} {port} {app}"

COMMANDS = {
    "gunicorn-sync": GUNICORN,
    "gunicorn-gthread": GUNICORN + "--worker-class gthread --threads 4",
    "gunicorn-gevent": GUNICORN + "--worker-class gevent",
    "gunicorn-gevent_pywsgi": GUNICORN + "--worker-class gevent_pywsgi",
    "waitress": WAITRESS,
    "uwsgi": UWSGI,
    **dict.fromkeys(("werkzeug", "cheroot", "gevent", "wsgiref"), OTHERS),
}
EXAMPLE = GUNICORN.replace("test.apps.wsgi", "wsgi_gunicorn") + "--chdir example"
SERVERS = [
    *((name, "held") for name in COMMANDS),
    *((name, "handed_off") for name in COMMANDS if "gevent" not in name),
]


class Server:
    """A server that runs."""

    def __init__(self, name: str, app: str, port: int, process: Process) -> None:
        self.name, self.app, self.port, self.process = name, app, port, process
        self._socks: list[socket.socket] = []

    def connect(self, early: bytes = b"") -> Peer:
        sock, head = raw_connection(self.port, HANDSHAKE + early)
        self._socks.append(sock)
        assert head.startswith(b"HTTP/1.1 101 "), head
        return Peer(sock, masks=True)

    def ask(self, request: bytes = PLAIN) -> tuple[bytes, bytes]:
        """Return the head and the body of a response."""
        sock, head = raw_connection(self.port, request)
        with sock:
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            body = b""
            while len(body) < length:
                body += sock.recv(length)
            return head, body

    def disconnect(self) -> None:
        while self._socks:
            self._socks.pop().close()


def environment(name: str) -> dict[str, str]:
    """Return that of a server: uWSGI's end is too sudden for what measures coverage."""
    left_out = "COVERAGE_" if name == "uwsgi" else None
    return {k: v for k, v in os.environ.items() if left_out is None or not k.startswith(left_out)}


@contextmanager
def running(
    folder: Path, name: str, app: str, *more: str, is_quiet: bool = True
) -> Iterator[Server]:
    """Start a server; fail if it has logged an exception, at the end."""
    port = free_port()
    values = {
        "python": sys.executable,
        "bin": sysconfig.get_path("scripts"),
        "prefix": sys.prefix,
        "server": name,
        "app": app,
        "config": CONFIG,
        "port": port,
    }
    command = [word.format(**values) for word in shlex.split(COMMANDS.get(name, EXAMPLE))]
    with Process(f"{name}-{app}", [*command, *more], folder, ROOT, environment(name)) as process:
        process.wait_for_port(port, TIMEOUT)
        server = Server(name, app, port, process)
        try:
            yield server
        finally:
            server.disconnect()
    assert not re.search(r'/ws4py/[\w/]+\.py", line', process.output()), process.output()
    assert not (is_quiet and "Traceback" in process.output()), process.output()


@pytest.fixture(params=SERVERS, ids="-".join, scope="module")
def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    if request.param[0] == "uwsgi" and sys.implementation.name != "cpython":
        pytest.skip("uWSGI embeds CPython")
    with running(tmp_path_factory.mktemp("server"), *request.param) as server:
        yield server


@pytest.fixture
def server(shared: Server) -> Iterator[Server]:
    yield shared
    shared.disconnect()


def echo(peer: Peer, payload: bytes = b"hello") -> None:
    peer.send(TEXT, payload)
    assert peer.message() == (TEXT, payload)


def test_messages_of_any_size_are_echoed(server: Server) -> None:
    peer = server.connect()
    for size in (0, 1, 126, 65536, 1 << 20):
        peer.send(BINARY, b"a" * size)
        assert peer.message() == (BINARY, b"a" * size)


def test_what_came_with_the_request_is_not_lost(server: Server) -> None:
    if server.name == "uwsgi":
        pytest.skip("its parser keeps what came behind the request, and gives it to nobody")
    peer = server.connect(frame(TEXT, b"early") + frame(TEXT, b"x" * 3000) + frame(TEXT, b"!")[:3])
    assert peer.message() == (TEXT, b"early")
    assert peer.message() == (TEXT, b"x" * 3000)
    peer.sock.sendall(frame(TEXT, b"!")[3:])
    assert peer.message() == (TEXT, b"!")


def test_nothing_follows_the_answer_to_a_close(server: Server) -> None:
    peer = server.connect()
    peer.send_close(4001, b"bye")
    assert peer.close_frame() == (4001, "bye")
    assert read_to_end(peer.sock) == b""


def test_nothing_follows_a_close_of_ours(server: Server) -> None:
    peer = server.connect()
    peer.send(TEXT, b"close")
    assert peer.close_frame() == (4000, "as you wish")
    peer.send_close(4000)
    assert read_to_end(peer.sock) == b""


def test_a_violation_is_told_and_nothing_follows_that(server: Server) -> None:
    peer = server.connect()
    peer.sock.sendall(b"\x83\x80" + KEY)
    assert (peer.close_frame() or ())[0] == 1002
    assert read_to_end(peer.sock) == b""


def test_a_client_that_vanishes_is_nothing_to_the_next(server: Server) -> None:
    server.connect().sock.close()
    echo(server.connect())


def test_a_request_that_is_refused_is_answered_and_the_next_is_served(server: Server) -> None:
    head, body = server.ask(HANDSHAKE.replace(b": 13", b": 8"))
    assert head.split(b" ")[1] == b"426"
    assert b"\r\nsec-websocket-version: 13\r\n" in head.lower()
    assert body == b"Unhandled or missing WebSocket version\n"
    assert server.ask(HANDSHAKE.replace(b"Upgrade\r", b"close\r"))[0].split(b" ")[1] == b"400"
    echo(server.connect())


def test_a_class_may_end_its_websocket_as_it_is_made(server: Server) -> None:
    for _ in range(3):
        head, body = server.ask(HANDSHAKE.replace(b"GET / ", b"GET /end "))
        assert head.split(b" ")[1] == b"403"
        assert body == b"the websocket was ended before the handshake was answered\n"
        echo(server.connect())
        server.disconnect()


def test_plain_requests_are_answered_beside(server: Server) -> None:
    if (server.name, server.app) == ("gunicorn-sync", "held"):
        pytest.skip("its one worker is busy with the websocket")
    peer = server.connect()
    for _ in range(2):
        assert server.ask()[0].split(b" ")[1] == b"200"
        echo(peer)


def test_no_descriptor_is_left_behind(server: Server) -> None:
    server.disconnect()
    echo(server.connect())
    server.disconnect()
    before = int(server.ask()[1])
    for _ in range(5):
        peer = server.connect()
        peer.send_close()
        peer.close_frame()
        peer.leave()
    eventually(lambda: int(server.ask()[1]) <= before, "descriptors were left behind")


def test_idle_websockets_outlive_every_time_out_of_their_servers(tmp_path: Path) -> None:
    with ExitStack() as stack:
        sync, gthread, cheroot = (
            stack.enter_context(running(tmp_path, *arguments))
            for arguments in (
                ("gunicorn-sync", "handed_off", "--workers", "1", "--timeout", "3"),
                ("gunicorn-gthread", "held", "--timeout", "2"),
                ("cheroot", "held"),  # 1 second
            )
        )
        first = sync.connect()
        first.send(TEXT, b"pid")
        worker = first.message()
        before = int(sync.ask()[1])
        peers = [sync.connect() for _ in range(300)]
        others = [gthread.connect(), gthread.connect(), cheroot.connect()]
        threading.Event().wait(5)
        for peer in [*peers, *others]:
            peer.send(TEXT, b"still here")
        assert [peer.message() for peer in [*peers, *others]] == [(TEXT, b"still here")] * 303
        first.send(TEXT, b"pid")
        assert first.message() == worker
        assert int(sync.ask()[1]) <= before + 300
        for peer in peers:
            peer.send_close(1000)
        assert [peer.close_frame() for peer in peers] == [(1000, "")] * 300
        for peer in peers:
            peer.leave()
        eventually(lambda: int(sync.ask()[1]) <= before, "descriptors were left behind")


@pytest.mark.parametrize("app", [(), ("--preload",)], ids=["loaded-by-workers", "preloaded"])
def test_a_worker_that_is_stopped_takes_leave_of_its_websockets(
    tmp_path: Path, app: tuple[str, ...]
) -> None:
    with running(tmp_path, "gunicorn-sync", "handed_off", *app) as server:
        peers = [server.connect() for _ in range(3)]
        peers[0].send(TEXT, b"pid")
        os.kill(int(peers[0].message()[1]), signal.SIGTERM)
        assert_all_told(peers)
        echo(server.connect())  # to the next worker


def test_a_hook_takes_leave_of_the_websockets_of_a_worker_that_is_recycled(tmp_path: Path) -> None:
    options = ("--config", "python:test.apps.gunicorn_drain", "--max-requests", "4")
    with running(tmp_path, "gunicorn-sync", "handed_off", *options) as server:
        peers = [server.connect() for _ in range(3)]
        for peer in peers:
            echo(peer)
        assert server.ask()[0].split(b" ")[1] == b"200"
        assert_all_told(peers)
        echo(server.connect())
        eventually(lambda: "drained" in server.process.output(), "the hook was not called")


def assert_all_told(peers: list[Peer]) -> None:
    assert [peer.close_frame() for peer in peers] == [(1001, "Server is shutting down")] * 3
    for peer in peers:
        peer.send_close(1001)
    assert [read_to_end(peer.sock) for peer in peers] == [b""] * 3


def test_the_example_serves(tmp_path: Path) -> None:
    for app in ("held", "handed_off"):
        with running(tmp_path, "example", app) as server:
            echo(server.connect())


def test_waitress_refuses_a_request_to_upgrade_that_others_follow(tmp_path: Path) -> None:
    with running(tmp_path, "waitress", "held") as server:
        sock, head = raw_connection(server.port, HANDSHAKE + PLAIN)
        with sock:
            assert head.split(b" ")[1] == b"400"
            assert b" 200 OK\r\n" in read_to_end(sock)


def test_under_gevent_nothing_is_handed_off(tmp_path: Path) -> None:
    with running(tmp_path, "gunicorn-gevent", "handed_off") as server:
        for _ in range(2):
            head, body = server.ask(HANDSHAKE)
            assert head.split(b" ")[1] == b"501"
            assert b"under gevent" in body
        assert server.process.output().count("under gevent") == 1


@pytest.mark.parametrize("worker", ["sync", "gthread", "gevent"])
def test_what_has_tls_is_held(
    tmp_path: Path, authority: trustme.CA, client_tls: ssl.SSLContext, worker: str
) -> None:
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(
        str(tmp_path / "certificate")
    )
    app = "held" if worker == "gevent" else "handed_off"
    options = ("--certfile", str(tmp_path / "certificate"))
    # gevent logs that the probe for an open port did no TLS handshake.
    quiet = worker != "gevent"
    with running(tmp_path, f"gunicorn-{worker}", app, *options, is_quiet=quiet) as server:
        for _ in range(2):
            sock = socket.create_connection(("127.0.0.1", server.port), TIMEOUT)
            with client_tls.wrap_socket(sock, server_hostname="localhost") as sock:
                peer = Peer(sock, masks=True)
                sock.sendall(HANDSHAKE + frame(TEXT, b"early"))
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    head += sock.recv(1)
                assert peer.message() == (TEXT, b"early")
                peer.send(BINARY, b"a" * (1 << 20))
                assert peer.message() == (BINARY, b"a" * (1 << 20))
                peer.send_close(4001)
                assert peer.close_frame() == (4001, "")
                assert sock.recv(1) == b""
        warnings = server.process.output().count("A connection with TLS")
        assert warnings == (app == "handed_off")
