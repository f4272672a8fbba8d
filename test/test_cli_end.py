"""How ``python -m ws4py serve`` ends: SIGTERM and SIGINT close its connections in a time."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from test.helpers import TIMEOUT, eventually, frame, raw_connection, read_exactly, read_to_end
from test.test_cli import Program, Serving, every_engine, run
from ws4py import _serve
from ws4py.__main__ import make_parser
from ws4py.limits import Limits
from ws4py.websocket import EchoWebSocket

CLOSE = frame(8, b"\x03\xe9Server is shutting down", key=None)
ANSWER = frame(8, b"\x03\xe9")

BUSY = """
import time
from ws4py.websocket import WebSocket

class Busy(WebSocket):
    def received_message(self, message):
        print("busy", flush=True)
        if str(message) == "sleep":
            time.sleep(1000)
        while True:
            pass
"""


#: Sends the signal to a thread that waits for nothing: no poll of another one is interrupted.
ELSEWHERE = """
import signal
import threading
from ws4py.websocket import WebSocket

class Elsewhere(WebSocket):
    def received_message(self, message):
        threading.Timer(0.3, self.interrupt).start()

    def interrupt(self):
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
"""


@contextmanager
def connections(port: int, number: int) -> Iterator[list[socket.socket]]:
    """Connect, and see to it that each is served."""
    with ExitStack() as stack:
        socks = []
        for _ in range(number):
            sock, _ = raw_connection(port)
            socks.append(stack.enter_context(sock))
            sock.sendall(frame(1, b"ready"))
        for sock in socks:
            assert read_exactly(sock, 7) == b"\x81\x05ready"
        yield socks


def closing(sock: socket.socket, answers: bool) -> tuple[bytes, float]:
    """Return the Close that comes, and when; answer it or not, and wait for the end."""
    data, when = read_exactly(sock, len(CLOSE)), time.monotonic()
    if answers:
        sock.sendall(ANSWER)
    assert read_to_end(sock) == b""
    return data, when


def catches(pid: int, number: int) -> bool:
    """Say whether a process has a handler for a signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


def test_the_default_time_is_five_seconds() -> None:
    assert make_parser().parse_args(["serve"]).drain == 5


@pytest.mark.parametrize("seconds", ["-1", "nan", "inf", "soon"])
def test_what_is_no_time_is_refused(seconds: str) -> None:
    status, errors = run("serve", "--drain", seconds)
    assert status == 2
    assert f"argument --drain: '{seconds}' is not a number of seconds" in errors


@every_engine
def test_connections_are_closed_one_after_another_and_dropped_at_the_end(engine: str) -> None:
    with Serving("--engine", engine, "--drain", "2") as server:
        with connections(server.port, 30) as socks, ThreadPoolExecutor(30) as pool:
            begin = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            ends = [pool.submit(closing, sock, i % 2 == 0) for i, sock in enumerate(socks)]
            wait(ends, TIMEOUT, FIRST_COMPLETED)
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", server.port), TIMEOUT)
            closes = [end.result(TIMEOUT) for end in ends]
            took = time.monotonic() - begin
        assert server.end() == 0
        assert server.errors == ""
    assert [data for data, _ in closes] == [CLOSE] * 30
    times = [when for _, when in closes]
    assert max(times) - min(times) > 0.25
    assert 1.5 < took < 9  # and not the limit for closing, which is 10 s


@every_engine
@pytest.mark.parametrize("what", ["spin", "sleep"])
def test_a_second_signal_ends_it_while_a_callback_does_not_return(
    engine: str, what: str, tmp_path: Path
) -> None:
    (tmp_path / "busy.py").write_text(BUSY)
    with Serving("busy:Busy", "--engine", engine, cwd=tmp_path) as server:
        sock, _ = raw_connection(server.port)
        with sock:
            sock.sendall(frame(1, what.encode()))
            assert server.line() == "busy"
            server.process.send_signal(signal.SIGTERM)
            pid = server.process.pid
            eventually(lambda: not catches(pid, signal.SIGTERM), "the first one has no effect")
            assert server.process.poll() is None
            server.process.send_signal(signal.SIGINT)
            assert server.end() == -signal.SIGINT


@every_engine
def test_a_signal_ends_a_server_that_it_does_not_interrupt(engine: str, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.py").write_text(ELSEWHERE)
    options = ("--heartbeat", "0", "--engine", engine)
    with Serving("elsewhere:Elsewhere", *options, cwd=tmp_path) as server:
        sock, _ = raw_connection(server.port)
        with sock:
            sock.sendall(frame(1, b"go"))
            assert closing(sock, answers=True)[0] == CLOSE
        server.process.wait(TIMEOUT)
        assert server.end() == 0
        assert server.errors == ""


@every_engine
def test_a_second_signal_cuts_the_time_short(engine: str) -> None:
    with Serving("--engine", engine, "--drain", "600") as server, connections(server.port, 2):
        server.process.send_signal(signal.SIGTERM)
        pid = server.process.pid
        eventually(lambda: not catches(pid, signal.SIGTERM), "the first one has no effect")
        assert server.end(signal.SIGTERM) == -signal.SIGTERM


@pytest.mark.parametrize("engine", ["asyncio", "tornado"])
def test_two_signals_at_once_end_a_server_as_one_does(
    engine: str, caplog: pytest.LogCaptureFixture
) -> None:
    nothing = dict.fromkeys(
        ("path", "certfile", "keyfile", "origins", "heartbeat", "compression"), None
    )
    serving = _serve.Serving(EchoWebSocket, "127.0.0.1", 0, limits=Limits(), drain=0.0, **nothing)
    server = _serve.SERVERS[engine](serving)
    for _ in range(2):  # A handler is interrupted by another one before it can forbid that.
        server.stop()
    server.serve()
    assert not caplog.records
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(server.address, TIMEOUT)


def test_an_interrupt_while_connecting_is_told_by_the_status() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(TIMEOUT)
        url = f"ws://127.0.0.1:{listening.getsockname()[1]}/"
        with Program("-X", "dev", "-m", "ws4py", "connect", url) as program:
            sock, _ = listening.accept()
            with sock:
                assert sock.recv(1) == b"G"  # and has no answer
                assert program.end(signal.SIGINT) == 128 + signal.SIGINT
            assert program.errors == ""
