"""The gevent server: one greenlet a connection, requests before the upgrade, and its end.

The hub is in a thread of its own, and the peers are in the thread of the test.
"""

from __future__ import annotations

import gc
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from queue import Queue
from typing import Any

import gevent
import pytest
from gevent import getcurrent
from gevent.pool import Pool

from test.conformance import BINARY, CLOSE, PING, TEXT, Echo, Peer, read_head
from test.engines.gevent_ import Hub
from test.helpers import HANDSHAKE, TIMEOUT, Recorder, descriptors, eventually, read_to_end
from ws4py.limits import Limits
from ws4py.server.geventserver import (
    GEventWebSocketPool,
    WebSocketWSGIApplication,
    WSGIServer,
)
from ws4py.websocket import WebSocket

pytestmark = pytest.mark.usefixtures("no_thread_left")

REQUEST = b"GET /plain HTTP/1.1\r\nHost: localhost\r\n\r\n"


class EchoHandler(Echo, WebSocket):
    """Records and echoes."""


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        yield hub


@pytest.fixture
def made() -> Queue[Any]:
    """The websockets that the server has made."""
    return Queue()


Serve = Callable[..., Any]


@pytest.fixture
def serve(hub: Hub, made: Queue[Any]) -> Iterator[Serve]:
    """Starts a server for a class of websockets; plain requests are answered with their path."""
    servers = []

    def serve(handler: Any = EchoHandler, open_timeout: Any = 10.0, **options: Any) -> Any:
        def make(*args: Any, **kwargs: Any) -> Any:
            websocket = handler(*args, **kwargs)
            made.put(websocket)
            return websocket

        upgrade = WebSocketWSGIApplication(handler_cls=make)

        def application(environ: dict[str, Any], start_response: Any) -> Any:
            if "HTTP_UPGRADE" in environ:
                return upgrade(environ, start_response)
            start_response("200 OK", [])
            return [environ["PATH_INFO"].encode()]

        def start() -> Any:
            server = WSGIServer(("127.0.0.1", 0), application, log=None, **options)
            server.open_timeout = open_timeout
            server.start()
            return server

        servers.append(hub.call(start))
        return servers[-1]

    yield serve
    for server in servers:
        hub.call(server.stop, 0.2)


@contextmanager
def peer_of(server: Any, request: bytes = HANDSHAKE) -> Iterator[Peer]:
    """Connect and do the opening handshake."""
    with socket.create_connection(("127.0.0.1", server.server_port), TIMEOUT) as sock:
        sock.sendall(request)
        assert read_head(sock).startswith(b"HTTP/1.1 101 ")
        yield Peer(sock, masks=True)


def greenlets() -> int:
    """Count those of gevent that have not ended, in all threads."""
    gc.collect()
    return sum(not each.ready() for each in gc.get_objects() if isinstance(each, gevent.Greenlet))


def test_a_connection_has_one_greenlet_and_one_descriptor_and_no_thread(
    serve: Serve, made: Queue[Any]
) -> None:
    class Beats(EchoHandler):
        heartbeat_freq = 30

    server = serve(Beats)
    before = greenlets(), descriptors(), threading.active_count()
    peers = []
    for _ in range(20):
        context = peer_of(server)
        peers.append((context, context.__enter__()))
    websockets = [made.get(timeout=TIMEOUT) for _ in peers]
    for websocket in websockets:
        assert websocket.next_event() == ("opened",)
    assert len(server.pool) == 20
    # The peer's descriptor is of this process too.
    assert (greenlets(), descriptors(), threading.active_count()) == (
        before[0] + 20,
        before[1] + 40,
        before[2],  # Timers are the hub's.
    )
    websockets[0].close()  # The deadline of a close needs no thread either.
    assert threading.active_count() == before[2]
    for context, _ in peers:
        context.__exit__(None, None, None)
    for websocket in websockets:
        websocket.all_events()
    eventually(lambda: (greenlets(), descriptors()) == before[:2], "something was left behind")
    assert len(server.pool) == 0


def test_callbacks_run_in_the_greenlet_of_the_connection(serve: Serve, made: Queue[Any]) -> None:
    class Notes(Recorder, WebSocket):
        def opened(self) -> None:
            self.events.put(getcurrent())

        def received_message(self, message: Any) -> None:
            self.events.put(getcurrent())

        def ponged(self, pong: Any) -> None:
            self.events.put(getcurrent())

        def closed(self, code: int, reason: str | None = None) -> None:
            self.events.put(getcurrent())
            self.ended.set()

    server = serve(Notes)
    with peer_of(server) as first, peer_of(server):
        one, other = made.get(timeout=TIMEOUT), made.get(timeout=TIMEOUT)
        first.send(TEXT, b"hello")
        first.send(0xA, b"pong")
        first.send_close()
    ones, others = one.all_events(), other.all_events()
    assert (len(ones), len(set(ones))) == (4, 1)
    assert (len(others), len(set(others))) == (2, 1)
    assert ones[0] is not others[0]


def test_a_handler_that_sleeps_delays_no_other_connection(serve: Serve) -> None:
    go_on = threading.Event()

    class Sleeps(EchoHandler):
        def received_message(self, message: Any) -> None:
            while message.data == b"sleep" and not go_on.is_set():
                gevent.sleep(0.01)
            super().received_message(message)

    server = serve(Sleeps)
    with peer_of(server) as sleeper, peer_of(server) as other:
        sleeper.send(TEXT, b"sleep")
        for _ in range(10):
            other.send(TEXT, b"hello")
            assert other.message() == (TEXT, b"hello")
        go_on.set()
        assert sleeper.message() == (TEXT, b"sleep")


def test_what_a_handler_sends_before_it_sleeps_leaves_though_more_messages_came(
    serve: Serve,
) -> None:
    go_on = threading.Event()

    class Sleeps(EchoHandler):
        def received_message(self, message: Any) -> None:
            super().received_message(message)
            while not go_on.is_set():
                gevent.sleep(0.01)

    with peer_of(serve(Sleeps)) as peer:
        peer.sock.sendall(peer.build(TEXT, b"one") + peer.build(TEXT, b"two"))
        assert peer.message() == (TEXT, b"one")
        go_on.set()
        assert peer.message() == (TEXT, b"two")


def test_what_a_handler_sends_before_it_sleeps_leaves_though_it_is_large(serve: Serve) -> None:
    go_on = threading.Event()

    class Sleeps(EchoHandler):
        def received_message(self, message: Any) -> None:
            self.send(bytes(10_000_000), binary=True)
            while not go_on.is_set():
                gevent.sleep(0.01)

    with peer_of(serve(Sleeps)) as peer:
        peer.send(TEXT, b"go")
        assert peer.message() == (BINARY, bytes(10_000_000))
        go_on.set()


def test_a_peer_that_does_not_read_is_not_read_and_stalls_nobody(
    serve: Serve, made: Queue[Any]
) -> None:
    server = serve()
    with peer_of(server) as silent:
        websocket = made.get(timeout=TIMEOUT)
        silent.sock.settimeout(0.5)
        with pytest.raises(socket.timeout):
            while True:
                silent.send(BINARY, b"x" * 65536)
        limits = websocket.limits
        assert websocket._queued <= limits.high_water + 2 * 65600
        with peer_of(server) as other:
            other.send(TEXT, b"hello")
            assert other.message() == (TEXT, b"hello")


def test_a_peer_that_sends_without_end_keeps_no_greenlet_from_running(serve: Serve) -> None:
    class Counts(EchoHandler):
        def received_message(self, message: Any) -> None:
            if message.is_text:
                super().received_message(message)

    server = serve(Counts)
    ends = threading.Event()
    with peer_of(server) as flooding, peer_of(server) as other:
        frames = flooding.build(BINARY, b"") * 10_000

        def flood() -> None:
            while not ends.is_set():
                flooding.sock.sendall(frames)

        thread = threading.Thread(target=flood)
        thread.start()
        try:
            for _ in range(10):
                other.send(TEXT, b"hello")
                assert other.message() == (TEXT, b"hello")
        finally:
            ends.set()
            thread.join(TIMEOUT)


def test_two_ends_that_flood_each_other_get_everything(serve: Serve, made: Queue[Any]) -> None:
    count, size = 200, 100_000

    class Floods(Recorder, WebSocket):
        def opened(self) -> None:
            gevent.spawn(self.flood)

        def flood(self) -> None:
            for _ in range(count):
                self.send(bytes(size), binary=True)

    with peer_of(serve(Floods)) as peer:
        websocket = made.get(timeout=TIMEOUT)

        def flood() -> None:
            for _ in range(count):
                peer.send(BINARY, bytes(size))

        thread = threading.Thread(target=flood)
        thread.start()
        for _ in range(count):
            assert peer.message() == (BINARY, bytes(size))
        thread.join(TIMEOUT)
        for _ in range(count):
            assert websocket.next_event() == ("binary", bytes(size))


def test_a_greenlet_that_only_sends_learns_of_the_end(
    hub: Hub, serve: Serve, made: Queue[Any]
) -> None:
    with peer_of(serve()) as peer:
        websocket = made.get(timeout=TIMEOUT)

        def send_for_ever() -> None:
            websocket.terminate()
            while True:
                websocket.send("again")

        with pytest.raises(RuntimeError, match="terminated"):
            hub.call(send_for_ever)
        peer.expect_end()


def test_a_send_from_the_hub_itself_does_not_wait(serve: Serve, made: Queue[Any]) -> None:
    done = threading.Event()

    def send(websocket: Any) -> None:
        for number in range(20):
            websocket.send(b"%d" % number + bytes(30_000), binary=True)
        websocket.send(chunk for chunk in ("a", "b"))
        done.set()

    with peer_of(serve()) as peer:
        websocket = made.get(timeout=TIMEOUT)
        websocket.limits = Limits(high_water=1000, low_water=100)
        loop = websocket.sock.hub.loop
        loop.run_callback_threadsafe(send, websocket)
        assert done.wait(TIMEOUT)
        for number in range(20):
            assert peer.message() == (BINARY, b"%d" % number + bytes(30_000))
        assert [peer.frame(), peer.frame()] == [(0, TEXT, b"a"), (1, 0, b"b")]


def test_requests_before_the_upgrade_are_answered(serve: Serve) -> None:
    with socket.create_connection(("127.0.0.1", serve().server_port), TIMEOUT) as sock:
        for _ in range(2):
            sock.sendall(REQUEST)
            assert read_head(sock).startswith(b"HTTP/1.1 200 ")
            assert sock.recv(6) == b"/plain"
        sock.sendall(HANDSHAKE)
        assert read_head(sock).startswith(b"HTTP/1.1 101 ")
        peer = Peer(sock, masks=True)
        peer.send(TEXT, b"hello")
        assert peer.message() == (TEXT, b"hello")


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_request_and_an_upgrade_and_frames_may_come_in_one_packet(
    serve: Serve, encrypted: bool, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    server = serve(**({"ssl_context": server_tls} if encrypted else {}))
    with socket.create_connection(("127.0.0.1", server.server_port), TIMEOUT) as plain:
        sock: socket.socket = plain
        if encrypted:
            sock = client_tls.wrap_socket(plain, server_hostname="localhost")
        peer = Peer(sock, masks=True)
        frames = b"".join(peer.build(TEXT, b"%d" % number * 100) for number in range(200))
        sock.sendall(REQUEST + HANDSHAKE + frames)
        assert read_head(sock).startswith(b"HTTP/1.1 200 ")
        assert sock.recv(6) == b"/plain"
        head = read_head(sock)
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"content-length" not in head.lower()
        for number in range(200):
            assert peer.message() == (TEXT, b"%d" % number * 100)
        sock.close()


def test_a_context_of_gevents_own_serves_too(serve: Serve, authority: Any, client_tls: Any) -> None:
    import gevent.ssl

    context = gevent.ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    server = serve(ssl_context=context)
    plain = socket.create_connection(("127.0.0.1", server.server_port), TIMEOUT)
    with client_tls.wrap_socket(plain, server_hostname="localhost") as sock:
        sock.sendall(HANDSHAKE)
        assert read_head(sock).startswith(b"HTTP/1.1 101 ")


def test_a_refused_upgrade_ends_the_connection_and_leaves_nothing(serve: Serve) -> None:
    server = serve()
    before = greenlets(), descriptors()
    for _ in range(10):
        with socket.create_connection(("127.0.0.1", server.server_port), TIMEOUT) as sock:
            sock.sendall(HANDSHAKE.replace(b": 13", b": 8") + b"more")
            head, _, body = read_to_end(sock).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 426 ")
            assert body
    eventually(lambda: (greenlets(), descriptors()) == before, "something was left behind")


@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost:"])
def test_a_peer_that_does_not_finish_its_request_is_dropped(
    serve: Serve, server_tls: ssl.SSLContext, encrypted: bool, sent: bytes
) -> None:
    server = serve(open_timeout=0.1, **({"ssl_context": server_tls} if encrypted else {}))
    with socket.create_connection(("127.0.0.1", server.server_port), TIMEOUT) as sock:
        sock.sendall(sent)
        with suppress(ConnectionError):
            assert read_to_end(sock) == b"" or encrypted  # else an alert


def test_the_deadline_of_a_request_does_not_end_a_websocket(
    serve: Serve, made: Queue[Any], hub: Hub
) -> None:
    with peer_of(serve(open_timeout=2)) as peer:
        hub.call(gevent.sleep, 2.2)
        peer.send(TEXT, b"hello")
        assert peer.message() == (TEXT, b"hello")


def test_stop_lets_peers_answer_the_close_and_returns_then(
    hub: Hub, serve: Serve, made: Queue[Any]
) -> None:
    server = serve()
    with peer_of(server) as peer:
        websocket = made.get(timeout=TIMEOUT)
        stopped = threading.Event()
        threading.Thread(target=lambda: (hub.call(server.stop), stopped.set())).start()
        assert peer.close_frame() == (1001, "Server is shutting down")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.server_port))
        assert not stopped.is_set()
        peer.send_close(1001)
        assert stopped.wait(TIMEOUT)
        assert websocket.all_events()[-1] == ("closed", 1001, "")


def test_stop_does_not_wait_for_a_silent_peer_longer_than_it_is_told(
    hub: Hub, serve: Serve, made: Queue[Any]
) -> None:
    server = serve()
    with peer_of(server) as peer:
        websocket = made.get(timeout=TIMEOUT)
        hub.call(server.stop, 0.05)
        assert websocket.all_events()[-1][:2] == ("closed", 1006)
        assert peer.close_frame() == (1001, "Server is shutting down")
        peer.expect_end()


def test_a_connection_that_is_kept_alive_does_not_hold_stop_up(hub: Hub, serve: Serve) -> None:
    server = serve()
    with socket.create_connection(("127.0.0.1", server.server_port), TIMEOUT) as sock:
        sock.sendall(REQUEST)
        assert read_head(sock).startswith(b"HTTP/1.1 200 ")
        assert sock.recv(6) == b"/plain"
        hub.call(server.stop)
        sock.sendall(HANDSHAKE)  # One that comes after the end is closed at once.
        assert read_head(sock).startswith(b"HTTP/1.1 101 ")
        peer = Peer(sock, masks=True)
        assert peer.close_frame() == (1001, "Server is shutting down")
        peer.send_close(1001)
        peer.leave()


@pytest.mark.parametrize("kind", [int, Pool, GEventWebSocketPool])
def test_a_pool_bounds_the_connections(serve: Serve, hub: Hub, kind: Any) -> None:
    server = serve(spawn=kind(1))
    with peer_of(server) as first:
        second = socket.create_connection(("127.0.0.1", server.server_port), TIMEOUT)
        second.sendall(HANDSHAKE)
        first.send(TEXT, b"hello")
        assert first.message() == (TEXT, b"hello")
        assert len(server.pool) == len(server.websockets) == 1
        first.send_close()
        assert first.close_frame() == (1000, "")
        first.leave()
    with second:
        assert read_head(second).startswith(b"HTTP/1.1 101 ")
        hub.call(server.stop, 0.05)
        assert Peer(second, masks=True).close_frame() == (1001, "Server is shutting down")


def test_a_pool_that_is_killed_ends_its_websockets(
    hub: Hub, serve: Serve, made: Queue[Any]
) -> None:
    server = serve()
    with peer_of(server) as peer:
        websocket = made.get(timeout=TIMEOUT)
        assert websocket.next_event() == ("opened",)
        hub.call(server.pool.kill)
        assert websocket.all_events()[-1][:2] == ("closed", 1006)
        peer.expect_end()


def test_a_dead_peer_in_the_middle_of_a_handler_is_found_after_it(serve: Serve, made: Any) -> None:
    go_on = threading.Event()

    class Occupied(EchoHandler):
        heartbeat_freq = 0.02
        limits = replace(Limits(), heartbeat_timeout=0.05)

        def received_message(self, message: Any) -> None:
            while not go_on.is_set():
                gevent.sleep(0.01)
            super().received_message(message)

    with peer_of(serve(Occupied)) as peer:
        peer.send(TEXT, b"busy")
        for _ in range(10):  # for longer than heartbeat_timeout, and none is answered
            assert peer.message() == (PING, b"")
        go_on.set()
        frames = [peer.message()]
        while frames[-1][0] == PING:
            frames.append(peer.message())
        assert frames[-1] == (TEXT, b"busy")
        while frames[-1][0] != CLOSE:
            frames.append(peer.message())
        assert frames[-1][1][:2] == (1011).to_bytes(2, "big")
