"""Fixtures that more than one test file uses."""

from __future__ import annotations

import gc
import signal
import socket
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trustme
from hypothesis import HealthCheck, settings

from test.alone import Alone, process_alone
from test.helpers import TIMEOUT, RecordingWebSocket
from ws4py.manager import WebSocketManager
from ws4py.websocket import WebSocket

# A shell that starts the tests in the background has them ignore SIGINT, and so would the programs
# that they start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


# How long it takes to make examples says what else runs on the machine.
settings.register_profile("ws4py", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ws4py")


@pytest.hookimpl(tryfirst=True)  # before that of xdist, which looks for the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tell what one worker is to run, where tests run in several; what takes long comes first.

    That is a file, an engine of the conformance class, or a test that is marked ``apart``.
    """
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))
    items.sort(key=lambda item: (not item.get_closest_marker("apart"), "link" not in _params(item)))


def _params(item: pytest.Item) -> dict[str, Any]:
    return item.callspec.params if hasattr(item, "callspec") else {}


def _group(item: pytest.Item) -> str:
    if item.get_closest_marker("apart"):
        return item.nodeid
    if item.get_closest_marker("conformance"):
        for value in _params(item).values():
            engine = value[0] if isinstance(value, tuple) else value
            if hasattr(engine, "is_client"):
                return str(engine.name)
    return item.path.name


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print how many cases of the conformance class each engine has run."""
    properties = [dict(each.user_properties) for each in terminalreporter.stats.get("passed", [])]
    engines = [each["conformance"] for each in properties if "conformance" in each]
    if engines:
        terminalreporter.section("conformance: engine, cases run, cases left out")
    for engine, ran, left_out in sorted(engines):
        terminalreporter.line(f"{engine:16} {ran:4} {left_out:4}")


@pytest.fixture(scope="module")
def alone() -> Iterator[Alone]:
    """Calls functions where no thread of another test disturbs what is measured."""
    with process_alone() as call:
        yield call


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


@pytest.fixture(params=["ws", "wss"])
def contexts(
    request: pytest.FixtureRequest, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> Any:
    """The TLS contexts of both sides, or None and None."""
    return (None, None) if request.param == "ws" else (server_tls, client_tls)


@pytest.fixture
def no_thread_left() -> Iterator[None]:
    """Fail if a thread that the test started still runs at its end."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        if thread.ident is None:
            continue  # Ctrl-C has interrupted its start.
        thread.join(TIMEOUT)
        assert not thread.is_alive(), f"{thread} was left behind"


@pytest.fixture
def swept() -> Iterator[None]:
    """Let go at the end of what a loop that was closed has left open: asyncio warns of it."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


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
def pairs() -> Iterator[Any]:
    """Makes connected sockets; ours first."""
    made: list[socket.socket] = []

    def make() -> tuple[socket.socket, socket.socket]:
        pair = socket.socketpair()
        for sock in pair:
            sock.settimeout(TIMEOUT)
        made.extend(pair)
        return pair

    yield make
    for sock in made:
        sock.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(TIMEOUT)
        yield ours, theirs


@pytest.fixture
def run(pair: Any) -> Iterator[Callable[..., tuple[Any, socket.socket]]]:
    """Runs a websocket of a class in a thread; returns it and the socket of its peer."""
    ours, theirs = pair
    ran: list[tuple[WebSocket, threading.Thread]] = []

    def start(websocket_class: Any, **options: Any) -> tuple[Any, socket.socket]:
        ws = websocket_class(ours, **options)
        thread = threading.Thread(target=ws.run)
        thread.start()
        ran.append((ws, thread))
        return ws, theirs

    yield start
    for ws, thread in ran:
        ws.terminate()
        thread.join(TIMEOUT)
        assert not thread.is_alive()
