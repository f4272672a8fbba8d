"""What gevent changes: its poller, and a process that it has patched."""

from __future__ import annotations

import select
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import gevent.socket
import pytest

from test.engines.gevent_ import Hub
from test.helpers import TIMEOUT, RecordingWebSocket
from ws4py._gevent import GreenletDriver, HubPoller, make_poller
from ws4py.manager import WebSocketManager
from ws4py.server import geventserver
from ws4py.server.wsgiutils import WebSocketWSGIApplication

PROJECT = Path(__file__).resolve().parent.parent

# What has to hold in a patched process too.
SUITE = [
    "test/test_conformance.py",
    "test/test_geventclient.py",
    "test/test_geventserver.py",
    "test/test_outgoing_managed.py",
    "test/test_threadedclient.py",
]
#: What a process of its own runs of these.
CHOSEN = [
    "test_conformance and standalone",
    "test_conformance and managed",
    "test_conformance and threaded",
    "test_conformance and gevent",
    "not test_conformance",
]

RUN_PATCHED = """
from gevent import monkey; monkey.patch_all()
import sys, pytest
from ws4py.manager import WebSocketManager
assert type(WebSocketManager().poller).__name__ == "HubPoller"
sys.exit(pytest.main(sys.argv[1:]))
"""

PATCHED_LATE = """
import ws4py.manager, ws4py.client.threadedclient
from ws4py.websocket import EchoWebSocket
from gevent import monkey; monkey.patch_all()
import gevent, warnings
from ws4py.client.geventclient import WebSocketClient
from ws4py.client import threadedclient
from ws4py.server.geventserver import WSGIServer, WebSocketWSGIApplication

server = WSGIServer(("127.0.0.1", 0), WebSocketWSGIApplication(handler_cls=EchoWebSocket), log=None)
server.start()
url = f"ws://127.0.0.1:{server.server_port}/"
client = WebSocketClient(url)
client.connect()
client.send("hello")
assert str(client.receive()) == "hello"
client.close()
client.run_forever()
client = threadedclient.WebSocketClient(url)
client.connect()
client.close()
client.run_forever()
assert client.close_code == 1000
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    manager = ws4py.manager.WebSocketManager()
assert "patch_all() first" in str(caught[0].message), caught
print("fine")
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=10 * TIMEOUT,
        check=False,
    )


@pytest.mark.apart
@pytest.mark.parametrize("chosen", CHOSEN)
def test_in_a_patched_process_all_behaves_as_before(chosen: str) -> None:
    ran = run("-c", RUN_PATCHED, "-q", "-p", "no:cacheprovider", "-k", chosen, *SUITE)
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]


def test_in_a_process_that_is_patched_late_clients_work_and_a_manager_warns() -> None:
    ran = run("-c", PATCHED_LATE)
    assert (ran.stdout, ran.returncode) == ("fine\n", 0), ran.stdout + ran.stderr


def test_nothing_imports_gevent_unless_it_is_asked_for() -> None:
    modules = "ws4py.manager, ws4py.server.standalone, ws4py.client.threadedclient, ws4py.__main__"
    code = (
        f"import sys, {modules}; ws4py.manager.WebSocketManager(); print('gevent' in sys.modules)"
    )
    assert run("-c", code).stdout == "False\n"


def test_a_manager_polls_as_ever_where_gevent_is_loaded_and_nothing_is_patched() -> None:
    manager = WebSocketManager()
    assert not isinstance(manager.poller, HubPoller)
    manager.stop()


@pytest.fixture
def poller() -> Iterator[Any]:
    """A poller and a pair of sockets, of which it polls the first, in a hub; see ``call``."""
    with Hub() as hub:
        poller = hub.call(HubPoller)
        ours, theirs = socket.socketpair()
        with ours, theirs:
            poller.register(ours.fileno())
            yield hub, poller, ours, theirs
        hub.call(poller.release)


def test_the_poller_of_the_hub_tells_what_can_be_read_and_written(poller: Any) -> None:
    hub, poller, ours, theirs = poller
    fd = ours.fileno()
    assert hub.call(poller.poll_events, 0) == []
    theirs.send(b"x")
    assert hub.call(poller.poll_events, TIMEOUT) == [(fd, True, False)]
    assert hub.call(lambda: list(poller.poll())) == [fd]
    poller.modify(fd, True, True)
    assert hub.call(poller.poll_events) == [(fd, True, True)]
    poller.unregister(fd)
    assert hub.call(poller.poll_events, 0.01) == []


def test_the_poller_of_the_hub_lets_greenlets_run_while_it_waits(poller: Any) -> None:
    hub, poller, ours, theirs = poller

    def poll() -> Any:
        gevent.spawn_later(0.01, theirs.send, b"x")
        return poller.poll_events()

    assert hub.call(poll) == [(ours.fileno(), True, False)]


def test_the_poller_of_the_hub_waits_no_longer_than_it_is_told(poller: Any) -> None:
    hub, poller, _, _ = poller
    began = time.monotonic()
    assert hub.call(poller.poll_events, 0.1) == []
    assert time.monotonic() - began >= 0.09


def test_a_released_poller_of_the_hub_polls_nothing(poller: Any) -> None:
    hub, poller, _, theirs = poller
    theirs.send(b"x")
    hub.call(poller.release)
    assert hub.call(poller.poll_events, TIMEOUT) == []
    assert hub.call(poller.poll_events) == []


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="no epoll")
@pytest.mark.parametrize(
    ("missing", "expected"), [((), "HubPoller"), (("epoll", "kqueue"), "SelectPoller")]
)
def test_where_there_is_no_epoll_it_is_polled_by_what_there_is(
    monkeypatch: pytest.MonkeyPatch, missing: tuple[str, ...], expected: str
) -> None:
    for name in missing:
        monkeypatch.delattr(select, name, raising=False)
    poller = make_poller()
    assert type(poller).__name__ == expected
    poller.release()


def test_a_call_that_another_thread_cancels_at_the_moment_it_is_due_is_not_made() -> None:
    made: list[str] = []
    done = threading.Event()

    def cancel(call: Any) -> None:
        thread = threading.Thread(target=call.cancel)
        thread.start()
        thread.join(TIMEOUT)

    def schedule() -> None:
        driver, timer = GreenletDriver(), gevent.get_hub().loop.timer(0.01)
        # Both are due in the same turn of the loop, this one first.
        timer.start(lambda: cancel(call))
        call = driver.call_later(0.02, lambda: made.append("cancelled"))
        driver.call_later(0.03, lambda: (made.append("next"), timer.close(), done.set()))
        time.sleep(0.1)  # The hub, too.

    with Hub() as hub:
        hub.call(schedule)
        assert done.wait(TIMEOUT)
    assert made == ["next"]


def test_a_pool_runs_and_clears_the_websockets_it_tracks() -> None:
    def track() -> Any:
        ours, theirs = gevent.socket.socketpair()
        pool, websocket = geventserver.GEventWebSocketPool(), RecordingWebSocket(ours)
        return pool, websocket, pool.track(websocket), theirs

    with Hub() as hub:
        pool, websocket, greenlet, theirs = hub.call(track)
        assert isinstance(greenlet, gevent.Greenlet)
        assert websocket.next_event() == ("opened",)
        assert len(pool) == 1
        hub.call(pool.clear)
        assert websocket.close_sent
        hub.call(theirs.close)
        hub.call(pool.join)
        assert (greenlet.ready(), len(pool)) == (True, 0)
        assert websocket.all_events()[-1][:2] == ("closed", 1006)


def test_a_context_of_the_ssl_module_may_choose_another_by_the_name(
    authority: Any, client_tls: ssl.SSLContext
) -> None:
    """What calls it are handshakes of gevent's sockets."""
    names = []
    chosen = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(chosen)

    def choose(sock: Any, name: str, _context: Any) -> None:
        names.append(name)
        sock.context = chosen

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("other.example").configure_cert(context)
    context.sni_callback = choose  # type: ignore[assignment]

    def start() -> Any:
        application = WebSocketWSGIApplication(handler_cls=RecordingWebSocket)
        server = geventserver.WSGIServer(("127.0.0.1", 0), application, ssl_context=context)
        server.start()
        return server

    with Hub() as hub:
        server = hub.call(start)
        plain = socket.create_connection(("127.0.0.1", server.server_port), TIMEOUT)
        with client_tls.wrap_socket(plain, server_hostname="localhost"):
            assert names == ["localhost"]
        hub.call(server.stop)


def test_the_application_can_be_imported_with_the_server() -> None:
    assert geventserver.WebSocketWSGIApplication is WebSocketWSGIApplication
