"""The request handler for Tornado: what is its own, beside the conformance tests."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_unix_socket
from tornado.web import Application, HTTPError

from test.conformance import BINARY, CLOSE, TEXT, Echo, Peer, read_head
from test.engines.asyncio_ import running_loop
from test.engines.tornado_ import tornado_server
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
)
from ws4py import async_websocket
from ws4py.limits import Limits
from ws4py.server.tornadoserver import WebSocketHandler
from ws4py.websocket import EchoWebSocket, WebSocket

pytestmark = pytest.mark.usefixtures("no_thread_left")

LARGE = bytes(range(256)) * 4096  # 1 MiB


class EchoHandler(Echo, WebSocket):
    """Records and echoes."""


@pytest.fixture(params=["ws", "wss"])
def contexts(
    request: pytest.FixtureRequest, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> Any:
    """The TLS contexts of both sides, or None and None."""
    return (None, None) if request.param == "ws" else (server_tls, client_tls)


def connected(port: int, tls: ssl.SSLContext | None, room: int | None = None) -> Peer:
    """Return a client after its handshake, with ``room`` bytes for what it has not read."""
    sock = socket.socket()
    sock.settimeout(TIMEOUT)
    if room is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    sock.connect(("127.0.0.1", port))
    if tls is not None:
        sock = tls.wrap_socket(sock, server_hostname="localhost")
    sock.sendall(HANDSHAKE)
    assert read_head(sock).startswith(b"HTTP/1.1 101 ")
    return Peer(sock, masks=True)


def expect_echo(peer: Peer) -> None:
    peer.send(TEXT, b"hello")
    assert peer.message() == (TEXT, b"hello")


def end(peer: Peer) -> None:
    """Do the closing handshake."""
    peer.send_close()
    assert peer.close_frame() == (1000, "")
    peer.leave()


def answer_to(port: int, request: bytes) -> bytes:
    """Return all that a server answers, up to its end."""
    sock, head = raw_connection(port, request)
    with sock:
        return head + read_to_end(sock)


def remembered(handlers: Queue[Any]) -> Any:
    """Return what makes an echo, and puts it into a queue."""

    def make(*args: Any, **kwargs: Any) -> EchoHandler:
        handlers.put(EchoHandler(*args, **kwargs))
        return handlers.queue[-1]

    return make


def test_the_environ_is_that_of_every_server() -> None:
    seen: list[dict[str, Any]] = []

    class Looks(EchoWebSocket):
        def opened(self) -> None:
            seen.append(dict(self.environ or {}))

    request = HANDSHAKE.replace(b"GET / ", b"GET /caf%C3%A9?a=%20b ").replace(
        b"Upgrade\r\n", b"Upgrade\r\nX-Two: 1\r\nX-Two: 2\r\nX_Three: 3\r\n", 1
    )
    with tornado_server(Looks) as tornado, echo_server(Looks) as standalone:
        for port in (tornado.port, standalone.server_address[1]):
            peer = Peer(raw_connection(port, request)[0], masks=True)
            expect_echo(peer)
            end(peer)
    ours, theirs = seen
    ports = {"REMOTE_PORT", "SERVER_PORT"}
    assert ours.keys() == theirs.keys()
    assert {k: v for k, v in ours.items() if k not in ports} == {
        k: v for k, v in theirs.items() if k not in ports
    }
    assert ours["PATH_INFO"].encode("latin-1").decode() == "/café"
    assert (ours["REMOTE_ADDR"], ours["HTTP_X_TWO"]) == ("127.0.0.1", "1, 2")


def test_a_proxy_that_is_trusted_tells_the_address_and_the_scheme() -> None:
    seen: Queue[Any] = Queue()

    class Looks(EchoWebSocket):
        def opened(self) -> None:
            environ = self.environ or {}
            seen.put((environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]))

    request = HANDSHAKE[:-2] + b"X-Real-Ip: 192.0.2.7\r\nX-Scheme: https\r\n\r\n"
    with tornado_server(Looks, server_options={"xheaders": True}) as server:
        peer = Peer(raw_connection(server.port, request)[0], masks=True)
        expect_echo(peer)
        end(peer)
    assert seen.get_nowait() == ("192.0.2.7", "https")


@pytest.mark.parametrize("method", [b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS"])
def test_no_other_method_than_get_is_allowed(method: bytes) -> None:
    with tornado_server(EchoWebSocket) as server:
        answer = answer_to(server.port, HANDSHAKE.replace(b"GET", method))
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert b"\r\nAllow: GET\r\n" in answer


@pytest.mark.parametrize("header", [b"Content-Length: 9", b"Transfer-Encoding: chunked"])
@pytest.mark.parametrize(("method", "status"), [(b"GET", b"400"), (b"POST", b"405")])
def test_a_body_is_refused_before_it_is_read(header: bytes, method: bytes, status: bytes) -> None:
    request = HANDSHAKE.replace(b"GET", method)[:-2] + header + b"\r\n\r\n"
    with tornado_server(EchoWebSocket) as server:
        assert answer_to(server.port, request).split(b" ")[1] == status


def test_a_body_that_was_read_is_refused_too() -> None:
    class Reads(WebSocketHandler):
        def prepare(self) -> None:
            pass

    request = HANDSHAKE[:-2] + b"Content-Length: 4\r\n\r\nbody"
    with tornado_server(EchoWebSocket, route=Reads) as server:
        assert answer_to(server.port, request).startswith(b"HTTP/1.1 400 ")


def test_version_8_is_told_which_one_is_spoken() -> None:
    with tornado_server(EchoWebSocket) as server:
        answer = answer_to(server.port, HANDSHAKE.replace(b": 13", b": 8"))
    assert answer.startswith(b"HTTP/1.1 426 Upgrade Required\r\n")
    assert b"\r\nSec-WebSocket-Version: 13\r\n" in answer
    assert answer.endswith(b"\r\n\r\nUnhandled or missing WebSocket version\n")


def test_http_1_0_is_refused() -> None:
    request = HANDSHAKE.replace(b"HTTP/1.1", b"HTTP/1.0")
    with tornado_server(EchoWebSocket) as server:
        assert answer_to(server.port, request).startswith(b"HTTP/1.1 400 ")


def test_a_class_that_cannot_be_made_is_a_500(caplog: pytest.LogCaptureFixture) -> None:
    class Fails(EchoWebSocket):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            raise LookupError("a fault of the application")

    with tornado_server(Fails) as server:
        assert answer_to(server.port, HANDSHAKE).startswith(b"HTTP/1.1 500 ")
    assert "a fault of the application" in caplog.text


def test_a_class_with_a_callback_that_nobody_awaits_is_a_500(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Waits(WebSocket):
        async def received_message(self, message: Any) -> None:
            pass

    with tornado_server(Waits) as server:
        sock, head = raw_connection(server.port)
        sock.close()
    assert head.startswith(b"HTTP/1.1 500 ")
    assert "received_message is a coroutine function" in caplog.text


def test_callbacks_may_be_coroutine_functions(contexts: Any) -> None:
    with tornado_server(async_websocket.EchoWebSocket, contexts[0]) as server:
        peer = connected(server.port, contexts[1])
        expect_echo(peer)
        end(peer)


def test_options_of_the_route_reach_the_websocket() -> None:
    handlers: Queue[Any] = Queue()
    limits = Limits(max_message_size=10)
    with tornado_server(remembered(handlers), limits=limits, heartbeat_freq=600) as server:
        peer = connected(server.port, None)
        websocket = handlers.get(timeout=TIMEOUT)
        assert (websocket.limits, websocket.heartbeat_freq) == (limits, 600)
        end(peer)


class Careful(WebSocketHandler):
    """What applications override."""

    finished: Queue[int] = Queue()

    def get_current_user(self) -> str | None:
        return self.request.headers.get("X-User")

    def set_default_headers(self) -> None:
        self.set_header("X-Default", "yes")

    async def prepare(self) -> None:
        await asyncio.sleep(0)
        if self.current_user is None:
            raise HTTPError(401)
        self.set_cookie("seen", "1")

    def on_finish(self) -> None:
        self.finished.put(self.get_status())


def test_what_a_subclass_overrides_goes_on_working(caplog: pytest.LogCaptureFixture) -> None:
    request = HANDSHAKE[:-2] + b"X-User: Ada\r\n\r\n"
    with (
        caplog.at_level("INFO", "tornado.access"),
        tornado_server(EchoWebSocket, route=Careful) as server,
    ):
        assert raw_connection(server.port)[1].startswith(b"HTTP/1.1 401 ")
        sock, head = raw_connection(server.port, request)
        assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        assert b"\r\nX-Default: yes\r\n" in head
        assert b"\r\nSet-Cookie: seen=1; Path=/\r\n" in head
        assert b"Content-" not in head
        peer = Peer(sock, masks=True)
        expect_echo(peer)
        end(peer)
    assert [Careful.finished.get(timeout=TIMEOUT) for _ in range(2)] == [401, 101]
    assert any(record.getMessage().startswith("101 GET /") for record in caplog.records)


def test_a_page_and_a_websocket_can_share_a_path() -> None:
    class Both(WebSocketHandler):
        async def get(self, *args: Any, **kwargs: Any) -> None:
            if "Upgrade" in self.request.headers:
                await super().get(*args, **kwargs)
            else:
                self.write("a page")

    with tornado_server(EchoWebSocket, route=Both) as server:
        plain = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
        # The second request comes right behind the first, and frames right behind that.
        sock, head = raw_connection(server.port, plain + HANDSHAKE + frame(TEXT, b"early"))
        assert head.startswith(b"HTTP/1.1 200 ")
        assert sock.recv(6, socket.MSG_WAITALL) == b"a page"
        assert read_head(sock).startswith(b"HTTP/1.1 101 ")
        peer = Peer(sock, masks=True)
        assert peer.message() == (TEXT, b"early")
        end(peer)


def test_a_server_that_keeps_no_connection_alive_keeps_websockets() -> None:
    with tornado_server(EchoWebSocket, server_options={"no_keep_alive": True}) as server:
        sock, head = raw_connection(server.port)
        assert b"\r\nConnection: Upgrade\r\n" in head
        peer = Peer(sock, masks=True)
        expect_echo(peer)
        end(peer)


def test_a_unix_socket_is_served(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")

    async def start() -> HTTPServer:
        route = ("/", WebSocketHandler, {"handler_cls": EchoWebSocket})
        server = HTTPServer(Application([route]))
        server.add_socket(bind_unix_socket(path))
        return server

    async def stop(server: HTTPServer) -> None:
        server.stop()

    with running_loop(asyncio.new_event_loop) as run:
        server = run(start())
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(path)
            sock.sendall(HANDSHAKE)
            assert read_head(sock).startswith(b"HTTP/1.1 101 ")
            peer = Peer(sock, masks=True)
            expect_echo(peer)
            end(peer)
        run(stop(server))


def test_a_connection_is_one_descriptor_and_no_thread(contexts: Any) -> None:
    threads: set[int] = set()

    class Notes(EchoWebSocket):
        def opened(self) -> None:
            threads.add(threading.get_ident())

        received_message = closed = lambda self, *_: threads.add(threading.get_ident())

    with tornado_server(Notes, contexts[0]) as server:
        peers = [connected(server.port, contexts[1])]
        eventually(lambda: len(server.websockets) == 1)
        before, running = descriptors(), threading.active_count()
        peers += [connected(server.port, contexts[1]) for _ in range(20)]
        eventually(lambda: len(server.websockets) == 21)
        eventually(lambda: descriptors() == before + 2 * 20, "there are more descriptors")
        assert threading.active_count() == running
        for peer in peers:
            peer.send(TEXT, b"hello")
            end(peer)
        eventually(lambda: descriptors() == before - 2, "descriptors were left open")
        assert len(threads) == 1


def test_a_refused_request_leaves_no_descriptor(contexts: Any) -> None:
    with tornado_server(EchoWebSocket, contexts[0]) as server:
        end(connected(server.port, contexts[1]))
        eventually(lambda: len(server.websockets) == 0)
        before = descriptors()
        for request in (HANDSHAKE.replace(b": 13", b": 8"), HANDSHAKE.replace(b"GET", b"PUT")):
            sock = socket.create_connection(("127.0.0.1", server.port), TIMEOUT)
            if contexts[1] is not None:
                sock = contexts[1].wrap_socket(sock, server_hostname="localhost")
            with sock:
                sock.sendall(request)
                read_to_end(sock)
        eventually(lambda: descriptors() == before, "descriptors were left open")


def test_a_client_that_leaves_before_the_answer_leaves_nothing(
    contexts: Any, caplog: pytest.LogCaptureFixture
) -> None:
    arrived, left = threading.Event(), threading.Event()

    class Slow(WebSocketHandler):
        async def prepare(self) -> None:
            arrived.set()
            await asyncio.get_running_loop().run_in_executor(None, left.wait)

    handlers: Queue[Any] = Queue()
    before = descriptors()
    with tornado_server(remembered(handlers), contexts[0], route=Slow) as server:
        sock = socket.create_connection(("127.0.0.1", server.port), TIMEOUT)
        if contexts[1] is not None:
            sock = contexts[1].wrap_socket(sock, server_hostname="localhost")
        with sock:
            sock.sendall(HANDSHAKE)
            assert arrived.wait(TIMEOUT)
        left.set()
        websocket = handlers.get(timeout=TIMEOUT)
    eventually(lambda: descriptors() == before, "descriptors were left open")
    assert websocket.all_events()[-1][1] == 1006
    errors = [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR]
    # As on any engine; whether the kernel says so depends on what was on its way.
    assert all("Connection reset by peer" in each for each in errors), errors


def test_a_group_is_told_something_and_then_closed(contexts: Any) -> None:
    with tornado_server(EchoWebSocket, contexts[0]) as server:
        peers = [connected(server.port, contexts[1]) for _ in range(3)]
        eventually(lambda: len(server.websockets) == 3)
        server.run_in_loop(lambda: server.websockets.broadcast("hear, hear"))
        server.run_in_loop(server.websockets.close_all)
        for peer in peers:
            assert peer.message() == (TEXT, b"hear, hear")
            assert peer.close_frame() == (1001, "Server is shutting down")
            peer.send_close(1001)
            peer.leave()
        eventually(lambda: list(server.websockets) == [])


def test_waiting_for_the_end_cancels_a_callback_that_is_still_at_work() -> None:
    class Stuck(async_websocket.WebSocket):
        limits = Limits(close_timeout=0.2)
        cancelled = threading.Event()

        async def received_message(self, message: Any) -> None:
            self.send("at work")
            try:
                await asyncio.Event().wait()
            finally:
                self.cancelled.set()

    with tornado_server(Stuck) as server:
        peer = connected(server.port, None)
        peer.send(TEXT, b"hello")
        assert peer.message() == (TEXT, b"at work")
    assert Stuck.cancelled.is_set()
    peer.sock.close()


def test_many_early_frames_come_after_opened(contexts: Any) -> None:
    early = b"".join(frame(TEXT, b"%05d" % i) for i in range(20000))
    handlers: Queue[Any] = Queue()
    with tornado_server(remembered(handlers), contexts[0]) as server:
        sock = socket.create_connection(("127.0.0.1", server.port), TIMEOUT)
        if contexts[1] is not None:
            sock = contexts[1].wrap_socket(sock, server_hostname="localhost")
        sender = threading.Thread(target=sock.sendall, args=(HANDSHAKE + early,))
        sender.start()
        sender.join(TIMEOUT)
        assert read_head(sock).startswith(b"HTTP/1.1 101 ")
        peer = Peer(sock, masks=True)
        for number in range(20000):
            assert peer.message() == (TEXT, b"%05d" % number)
        end(peer)
        assert handlers.get_nowait().next_event() == ("opened",)


def test_a_peer_that_does_not_read_is_not_read_either(contexts: Any) -> None:
    handlers: Queue[Any] = Queue()
    with tornado_server(remembered(handlers), contexts[0]) as server:
        peer = connected(server.port, contexts[1])
        peer.share()
        websocket = handlers.get(timeout=TIMEOUT)
        writer = threading.Thread(
            target=lambda: [peer.send(BINARY, LARGE) for _ in range(16)], name="writer"
        )
        writer.start()
        eventually(lambda: websocket._paused, "the peer is read on and on")
        assert websocket._queued <= 2 * len(LARGE)
        # While it waits, another one is served.
        other = connected(server.port, contexts[1])
        expect_echo(other)
        end(other)
        assert len(websocket.buf) <= 256 * 1024  # what was read before the loop was told
        for _ in range(16):
            assert peer.message() == (BINARY, LARGE)
        writer.join(TIMEOUT)
        end(peer)
        assert websocket.all_events()[-1] == ("closed", 1000, "")


def test_what_was_sent_before_close_arrives_though_it_is_much(contexts: Any) -> None:
    class Generous(Recorder, WebSocket):
        def received_message(self, message: Any) -> None:
            self.send(LARGE * 4, binary=True)
            self.close(4000, "that was all")

    with tornado_server(Generous, contexts[0]) as server:
        peer = connected(server.port, contexts[1])
        peer.send(TEXT, b"go")
        assert peer.message() == (BINARY, LARGE * 4)
        assert peer.message() == (CLOSE, b"\x0f\xa0that was all")
        peer.send_close(4000)
        peer.leave()


def test_what_is_on_its_way_when_the_client_closes_arrives(contexts: Any) -> None:
    class Narrow(EchoHandler):
        limits = Limits(high_water=2 * len(LARGE))  # The Close is read while there is a queue.

        def opened(self) -> None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            super().opened()

    with tornado_server(Narrow, contexts[0]) as server:
        peer = connected(server.port, contexts[1], room=4096)
        peer.send(BINARY, LARGE[:-100])  # The last of the pieces that are sent is a large one.
        peer.send_close()
        assert peer.message() == (BINARY, LARGE[:-100])
        assert peer.close_frame() == (1000, "")
        peer.leave()


def test_the_end_of_tls_is_told(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    with tornado_server(EchoWebSocket, server_tls) as server:
        plain = socket.create_connection(("127.0.0.1", server.port), TIMEOUT)
        sock = client_tls.wrap_socket(
            plain, server_hostname="localhost", suppress_ragged_eofs=False
        )
        with sock:
            sock.sendall(HANDSHAKE + frame(CLOSE))
            read_head(sock)
            assert read_to_end(sock) == frame(CLOSE, key=None)
