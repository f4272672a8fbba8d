"""Fixtures that more than one test file uses."""

from __future__ import annotations

import signal
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import trustme

from test.helpers import TIMEOUT, RecordingWebSocket
from ws4py.manager import WebSocketManager

# A shell that starts the tests in the background has them ignore SIGINT, and so would the programs
# that they start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print how many cases of the conformance class each engine has run."""
    for report in terminalreporter.stats.get("passed", []):
        engines = dict(report.user_properties).get("conformance")
        if engines is not None:
            terminalreporter.section("conformance: engine, cases run, cases left out")
            for engine, ran, left_out in engines:
                terminalreporter.line(f"{engine:16} {ran:4} {left_out:4}")


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """A certificate authority of our own."""
    return trustme.CA()


@pytest.fixture(scope="session")
def server_certificate(authority: trustme.CA) -> trustme.LeafCert:
    """A certificate for localhost, 127.0.0.1 and ::1."""
    return authority.issue_cert("localhost", "127.0.0.1", "::1")


@pytest.fixture
def server_tls(server_certificate: trustme.LeafCert) -> ssl.SSLContext:
    """A server's context, of the test's own: cheroot adds a callback to it."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_certificate.configure_cert(context)
    return context


@pytest.fixture(scope="session")
def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    """A client's context that trusts the authority."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def no_thread_left() -> Iterator[None]:
    """Fail if a thread that the test started still runs at its end."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(TIMEOUT)
        assert not thread.is_alive(), f"{thread} was left behind"


@pytest.fixture
def manager() -> Iterator[WebSocketManager]:
    manager = WebSocketManager()
    manager.start()
    yield manager
    manager.stop()
    manager.join(TIMEOUT)


@pytest.fixture
def connect(manager: WebSocketManager) -> Iterator[Any]:
    """Adds a websocket of a class, and returns it and the socket of its peer."""
    ends: list[socket.socket] = []

    def make(websocket_class: Any = RecordingWebSocket) -> Any:
        ours, theirs = socket.socketpair()
        theirs.settimeout(TIMEOUT)
        ends.extend((ours, theirs))
        ws = websocket_class(ours)
        manager.add(ws)
        return ws, theirs

    yield make
    for sock in ends[1::2]:  # A peer that is gone is not waited for.
        sock.close()
    manager.stop()
    manager.join(TIMEOUT)
    for sock in ends:
        sock.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(TIMEOUT)
        yield ours, theirs
