"""The websockets of an application: those of servers that know it, and those under a hub."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Callable

import pytest
from gevent import pywsgi

from test.conformance import TEXT, Echo, Peer
from test.engines.gevent_ import Hub
from test.helpers import HANDSHAKE, TIMEOUT, eventually, raw_connection
from test.regressions import wsgiref_server
from test.test_wsgiutils import call, environ_of
from ws4py.server import geventserver
from ws4py.server.wsgiutils import WebSocketWSGIApplication
from ws4py.websocket import WebSocket

pytestmark = pytest.mark.usefixtures("no_thread_left")

Call = Callable[..., Any]


class EchoSocket(Echo, WebSocket):
    """An echo that records."""


@contextmanager
def under_gevent(server_class: Any, application: Any) -> Iterator[tuple[int, Call]]:
    """Serve in a hub; yields the port, and what calls a function in a greenlet of the hub."""

    def start() -> Any:
        server = server_class(("127.0.0.1", 0), application, log=None)
        server.start()
        return server

    with Hub() as hub:
        server = hub.call(start)
        try:
            yield server.server_port, hub.call
        finally:
            hub.call(server.stop, 0.2)


@contextmanager
def gevent(application: Any) -> Iterator[tuple[int, Call]]:
    with under_gevent(geventserver.WSGIServer, application) as serving:
        yield serving


@contextmanager
def pywsgi_(application: Any) -> Iterator[tuple[int, Call]]:
    with under_gevent(pywsgi.WSGIServer, application) as serving:
        yield serving


@contextmanager
def pywsgi_with_handler(application: Any) -> Iterator[tuple[int, Call]]:
    server = partial(pywsgi.WSGIServer, handler_class=geventserver.WebSocketWSGIHandler)
    with under_gevent(server, application) as serving:
        yield serving


@contextmanager
def wsgiref(application: Any) -> Iterator[tuple[int, Call]]:
    with wsgiref_server(application) as port:
        yield port, lambda function, *arguments: function(*arguments)


@pytest.fixture(
    params=[gevent, pywsgi_, pywsgi_with_handler, wsgiref],
    ids=["gevent", "gevent.pywsgi", "gevent.pywsgi-with-our-handler", "wsgiref"],
)
def served(request: pytest.FixtureRequest) -> Iterator[Any]:
    """An application, what connects a peer to it, and what calls a function where it runs."""
    application = WebSocketWSGIApplication(handler_cls=EchoSocket)
    with request.param(application) as (port, call), ExitStack() as stack:

        def connect() -> Peer:
            sock, head = raw_connection(port)
            stack.enter_context(sock)
            assert head.startswith(b"HTTP/1.1 101 "), head
            peer = Peer(sock, masks=True)
            peer.send(TEXT, b"hello")
            assert peer.message() == (TEXT, b"hello")
            return peer

        yield application, connect, call, port


def assert_told(*peers: Peer) -> None:
    """Read the Close of each, and answer it."""
    for peer in peers:
        assert peer.close_frame() == (1001, "Server is shutting down")
        peer.send_close(1001)
        peer.leave()


@contextmanager
def draining(served: Any, *seconds: float) -> Iterator[None]:
    """Drain the application meanwhile; fail if that does not end."""
    application, _, call, _ = served
    failed: list[BaseException] = []

    def drain() -> None:
        try:
            call(application.drain, *seconds)
        except BaseException as error:  # noqa: BLE001 - raised below
            failed.append(error)

    thread = threading.Thread(target=drain)
    thread.start()
    yield
    thread.join(TIMEOUT)
    assert not thread.is_alive()
    assert not failed


def test_a_broadcast_reaches_each_once(served: Any) -> None:
    application, connect, call, _ = served
    first, second = connect(), connect()
    for text in (b"one", b"two"):
        call(application.broadcast, text)
        assert first.message() == second.message() == (TEXT, text)
    first.send_close(1000)
    assert first.close_frame() == (1000, "")
    first.leave()
    call(application.broadcast, b"three")
    assert second.message() == (TEXT, b"three")


def test_all_are_closed_and_then_forgotten(served: Any) -> None:
    application, connect, call, _ = served
    peers = [connect(), connect()]
    call(application.close_all)
    assert_told(*peers)
    eventually(lambda: not application._here.websockets, "they are not forgotten")


def test_a_drain_waits_for_the_ends_and_lets_the_others_go_on(served: Any) -> None:
    peers = [served[1](), served[1]()]
    with draining(served):
        assert peers[0].close_frame() == (1001, "Server is shutting down")
        assert_told(peers[1])
        peers[0].send_close(1001)
        peers[0].leave()
    assert not served[0]._here.websockets


def test_a_drain_in_a_time_drops_who_does_not_answer(served: Any) -> None:
    peer, silent = served[1](), served[1]()
    with draining(served, 0.4):
        assert_told(peer)
    assert silent.close_frame() == (1001, "Server is shutting down")
    silent.expect_end()
    assert not served[0]._here.websockets


def test_nothing_is_accepted_once_it_was_drained(served: Any) -> None:
    application, _, call, port = served
    call(application.drain)
    sock, head = raw_connection(port, HANDSHAKE)
    with sock:
        assert b" 503 " in head


@pytest.mark.parametrize("serving", [gevent, wsgiref])
def test_one_that_was_let_in_just_before_is_closed_at_once(serving: Any) -> None:
    class Late(EchoSocket):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            application.drain()

    application = WebSocketWSGIApplication(handler_cls=Late)
    with serving(application) as (port, _):
        sock, _ = raw_connection(port)
        with sock:
            assert_told(Peer(sock, masks=True))


def test_one_that_was_never_run_is_not_waited_for() -> None:
    application = WebSocketWSGIApplication()
    environ = environ_of()
    call(application, environ)
    websocket = environ["ws4py.websocket"]
    assert application._here.websockets == []
    websocket.terminate()
    websocket.run()
    assert application._here.websockets == []
    application.drain()
