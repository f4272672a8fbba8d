"""What careless settings, and unlucky moments, do not do."""

from __future__ import annotations

import signal
import socket
import threading
from typing import Any

import pytest

from test.helpers import (
    HANDSHAKE,
    TIMEOUT,
    RecordingWebSocket,
    echo_server,
    eventually,
    raw_connection,
    read_exactly,
)
from test.test_cli import Serving, run
from ws4py.limits import Limits
from ws4py.loop import Loop
from ws4py.pollers import make_poller
from ws4py.sending import broadcast
from ws4py.server.standalone import WebSocketServer
from ws4py.websocket import EchoWebSocket, WebSocket


@pytest.mark.parametrize("name", ["open_timeout", "close_timeout", "max_queue", "high_water"])
@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_no_limit_is_none_and_not_infinite(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} is a number"):
        Limits(**{name: value})


def test_an_endless_heartbeat_is_refused() -> None:
    with pytest.raises(ValueError, match=r"heartbeat_freq is .* not inf"):
        WebSocketServer(("127.0.0.1", 0), heartbeat_freq=float("inf"))


def test_a_timer_of_a_year_can_be_waited_for() -> None:
    loop = Loop(make_poller())
    loop.call_later(365 * 24 * 3600.0, lambda: None)
    called = threading.Event()
    thread = threading.Thread(target=loop.run, args=(lambda: not called.is_set(),))
    thread.start()
    loop.call_soon(called.set)
    thread.join(TIMEOUT)
    assert not thread.is_alive()
    loop.close()


def test_an_empty_list_of_origins_is_no_list() -> None:
    with pytest.raises(ValueError, match=r"origins=\[\] allows nobody"):
        WebSocketServer(("127.0.0.1", 0), origins=[])


@pytest.mark.parametrize("path", ["/a?b", "/a#b"])
def test_a_path_with_a_query_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="has no query"):
        WebSocketServer(("127.0.0.1", 0), {path: EchoWebSocket})
    status, errors = run("serve", "--path", path)
    assert status == 2
    assert repr(path) in errors


def test_a_path_may_have_any_characters() -> None:
    with echo_server({"/ü": EchoWebSocket}) as server:
        request = HANDSHAKE.replace(b"GET / ", b"GET /%C3%BC ")
        sock, head = raw_connection(server.server_address[1], request)
        with sock:
            assert head.startswith(b"HTTP/1.1 101 ")


def test_a_refused_client_that_goes_on_sending_leaves_others_their_turn() -> None:
    with echo_server() as server:
        port = server.server_address[1]
        flooder, head = raw_connection(port, b"POST / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 405 ")
        ended = threading.Event()

        def flood() -> None:
            try:
                while not ended.is_set():
                    flooder.sendall(bytes(1 << 22))
            except OSError:
                pass

        thread = threading.Thread(target=flood)
        thread.start()
        sock, head = raw_connection(port)
        with sock:
            assert head.startswith(b"HTTP/1.1 101 ")
        ended.set()
        flooder.shutdown(socket.SHUT_RDWR)
        thread.join(TIMEOUT)
        flooder.close()


def test_a_broadcast_within_a_broadcast_does_not_let_the_outer_one_wait(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    class Tells(RecordingWebSocket):
        def send(self, payload: Any, binary: bool = False) -> None:
            broadcast([], "nobody")
            super().send(payload, binary)

    ours, _ = pair
    slow = WebSocket(ours)
    slow.limits = Limits(high_water=1000, max_queue=1_000_000, when_full="drop_message")
    tells = Tells(socket.socketpair()[0])
    done = threading.Event()

    def send() -> None:
        for _ in range(100):
            broadcast([tells, slow], bytes(60_000), binary=True)
        done.set()

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    assert done.wait(TIMEOUT), "it waits for who does not read"
    thread.join(TIMEOUT)
    assert slow.dropped_messages > 0
    tells.terminate()
    slow.terminate()


def test_a_websocket_that_nobody_reads_sends_a_long_generator_to_its_end(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    websocket = WebSocket(ours)
    broadcast([websocket], (bytes(50_000) for _ in range(100)), binary=True)
    for _ in range(100):
        assert len(read_exactly(theirs, 4 + 50_000)) == 50_004
    eventually(lambda: not websocket._draining, "it goes on writing")
    websocket.terminate()


class Quiet(Serving):
    """Without the debug mode of asyncio, which tells of each TLS handshake that is broken off."""

    python_options = ()


@pytest.mark.parametrize("engine", ["asyncio", "standalone", "tornado"])
def test_a_silent_connection_to_tls_does_not_outlive_the_server(
    engine: str, server_files: list[str]
) -> None:
    with Quiet("--engine", engine, *server_files) as server:
        with socket.create_connection(("127.0.0.1", server.port), TIMEOUT) as sock:
            sock.sendall(b"\x16")
            assert server.end(signal.SIGTERM) == 0
        # Python 3.13 has a word of its own to say when asyncio's transport is collected.
        assert "Task was destroyed" not in server.errors
        assert "/ws4py/" not in server.errors


@pytest.fixture
def server_files(server_certificate: Any, tmp_path: Any) -> list[str]:
    """The options of a server with TLS."""
    certfile, keyfile = tmp_path / "cert.pem", tmp_path / "key.pem"
    certfile.write_bytes(server_certificate.cert_chain_pems[0].bytes())
    keyfile.write_bytes(server_certificate.private_key_pem.bytes())
    return ["--certfile", str(certfile), "--keyfile", str(keyfile)]


def test_a_path_with_a_line_break_makes_no_line_of_its_own_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level("INFO", "ws4py"), echo_server({"/": EchoWebSocket}) as server:
        request = HANDSHAKE.replace(b"GET / ", b"GET /%0AERROR%20forged%1b ")
        sock, head = raw_connection(server.server_address[1], request)
        sock.close()
    assert head.startswith(b"HTTP/1.1 404 ")
    assert r"no WebSocket at '/\nERROR forged\x1b'" in caplog.text
