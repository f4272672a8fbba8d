"""Each server ends its websockets in a time that it is told, spread over the half of it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from select import select
from typing import Any

import gevent
import pytest

from test.asgi import ignores_warnings
from test.conformance import ENGINES, TEXT, Echo, Link, Peer, end
from test.engines import Engine
from test.engines.wsgi import THREADS
from test.helpers import HANDSHAKE, TIMEOUT, Recorder
from ws4py.manager import WebSocketManager
from ws4py.server.cherrypyserver import WebSocketPlugin
from ws4py.server.standalone import WebSocketServer

pytestmark = ignores_warnings

#: ASGI hosts tell an application the codes of their own.
HOSTS = ("uvicorn", "hypercorn")
SERVERS = [engine for engine in ENGINES if not engine.is_client]
#: What their loop does at its end, or the exit of a ``with``, is to stop.
STOP_WAITS = [
    engine
    for engine in SERVERS
    if engine.name in ("standalone", "wsgiref", "asyncio", "uvloop", "gevent")
]

GREENLETS = [engine for engine in SERVERS if engine.name == "gevent"]


def _name(engine: Engine) -> str:
    return engine.name


@pytest.fixture(params=SERVERS, ids=_name)
def link(request: pytest.FixtureRequest, no_thread_left: None) -> Iterator[Link]:
    with ExitStack() as stack:
        yield Link(request.param, None, None, stack)


@contextmanager
def draining(link: Link, seconds: float) -> Iterator[None]:
    """Begin with it, and wait for its end."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(link.served.drain, seconds)
        yield
        future.result(TIMEOUT)


def end_of(peer: Peer) -> Any:
    """Return the Close that comes, and answer it."""
    closing = peer.close_frame()
    peer.send_close(1001)
    peer.leave()
    return closing


def first_of(peers: list[Peer]) -> Peer:
    """Return the one that is the first to get something, and take it away."""
    ready, _, _ = select([peer.sock for peer in peers], [], [], TIMEOUT)
    (first,) = [peer for peer in peers if peer.sock in ready]
    peers.remove(first)
    return first


def test_one_is_closed_after_another_and_those_that_wait_are_served(link: Link) -> None:
    peers = [link(Echo)[1], link.again()[1], link.again()[1]]
    with draining(link, 600):
        assert end_of(first_of(peers)) == (1001, "Server is shutting down")
        for peer in peers:
            peer.send(TEXT, b"still here")
            assert peer.message() == (TEXT, b"still here")
            end(peer)


def test_all_are_closed_by_half_the_time(link: Link) -> None:
    peers = [link()[1], *(link.again()[1] for _ in range(THREADS - 1))]
    with ThreadPoolExecutor(len(peers)) as pool, draining(link, 2):
        ends = list(pool.map(end_of, peers))
    assert ends == [(1001, "Server is shutting down")] * THREADS


def test_the_time_is_not_waited_for_when_all_have_answered(link: Link) -> None:
    _, peer = link()
    with draining(link, 600):
        assert end_of(peer) == (1001, "Server is shutting down")


@pytest.mark.parametrize("seconds", [0.2, 0])
def test_a_peer_that_does_not_answer_is_dropped_when_the_time_is_over(
    link: Link, seconds: float
) -> None:
    ws, peer = link()
    with draining(link, seconds):
        assert peer.close_frame() == (1001, "Server is shutting down")
    assert ws.all_events()[-1][:2] == ("closed", ws.close_code)
    if link.engine.name in HOSTS:
        peer.sock.close()  # The host has a time of its own.
        return
    assert ws.close_code == 1006
    peer.leave()


@pytest.mark.parametrize(
    "link", [e for e in SERVERS if e.name == "gevent"], ids=_name, indirect=True
)
def test_a_greenlet_whose_callback_waits_is_killed_when_the_time_is_over(link: Link) -> None:
    class Waits(Recorder):
        def received_message(self, message: Any) -> None:
            super().received_message(message)
            gevent.sleep(1000)

    ws, peer = link(Waits)
    peer.send(TEXT, b"hello")
    assert [ws.next_event() for _ in range(2)] == [("opened",), ("text", b"hello")]
    with draining(link, 0.1):
        assert peer.close_frame() == (1001, "Server is shutting down")
    assert ws.all_events()[-1][:2] == ("closed", 1006)
    peer.leave()


def test_nobody_gets_in_meanwhile(link: Link) -> None:
    _, peer = link()
    with draining(link, 5):
        peer.close_frame()
        with suppress(ConnectionRefusedError):
            assert b" 503 " in link.ask(HANDSHAKE)[1].partition(b"\r\n")[0]
        peer.send_close(1001)
        peer.leave()


@pytest.mark.parametrize("seconds", [-1, "5"])
def test_what_is_no_time_is_refused_and_the_server_goes_on(link: Link, seconds: Any) -> None:
    _, peer = link(Echo)
    refuse = link.served.drain
    if link.engine.name == "cherrypy":
        refuse = partial(WebSocketPlugin, None, None, None)
    with pytest.raises(ValueError, match=f"drain={seconds!r}"):
        refuse(seconds)
    peer.send(TEXT, b"hello")
    assert peer.message() == (TEXT, b"hello")
    end(peer)


def test_a_manager_that_was_given_is_drained_by_whoever_gave_it(manager: WebSocketManager) -> None:
    server = WebSocketServer(("127.0.0.1", 0), manager=manager)
    with server, pytest.raises(ValueError, match=r"drain=5 is for stop\(\) of the manager"):
        server.shutdown(drain=5)


@pytest.mark.parametrize("link", STOP_WAITS, ids=_name, indirect=True)
def test_another_stop_meanwhile_does_not_cut_the_time_short(link: Link) -> None:
    peers = [link(Echo)[1], link.again()[1]]
    with ThreadPoolExecutor(1) as pool, draining(link, 20):
        assert end_of(first_of(peers)) == (1001, "Server is shutting down")
        stopping = pool.submit(link.served.stop)
        (last,) = peers
        assert select([last.sock], [], [], 0.3)[0] == []
        last.send(TEXT, b"still here")
        assert last.message() == (TEXT, b"still here")
        end(last)
    stopping.result(TIMEOUT)
