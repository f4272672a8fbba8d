"""Peers of a gevent server that leave or take nothing, and what the application does meanwhile."""

from __future__ import annotations

import logging
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Queue
from typing import Any

import gevent
import pytest
from gevent import Timeout

from test.conformance import TEXT, Peer, read_head
from test.engines.gevent_ import Hub
from test.helpers import HANDSHAKE, TIMEOUT, Recorder, descriptors, eventually, read_to_end
from ws4py.limits import Limits
from ws4py.server.geventserver import (
    WebSocketWSGIApplication,
    WebSocketWSGIHandler,
    WSGIServer,
)
from ws4py.websocket import WebSocket

pytestmark = pytest.mark.usefixtures("no_thread_left")


class Kept(Recorder, WebSocket):
    """Records, and can be found in ``made``."""

    made: Queue[Kept] = Queue()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.made.put(self)


@contextmanager
def serving(
    application: Callable[..., Any], tls: ssl.SSLContext | None = None, **options: Any
) -> Iterator[Any]:
    """Serve an application in a hub of its own."""
    if tls is not None:
        options["ssl_context"] = tls

    def start() -> WSGIServer:
        server = WSGIServer(("127.0.0.1", 0), application, log=None, error_log=None, **options)
        server.start()
        return server

    with Hub() as hub:
        server = hub.call(start)
        try:
            yield server
        finally:
            hub.call(server.stop, 0.2)  # A peer that the test has left does not answer.


def asked(server: Any, tls: ssl.SSLContext | None = None) -> socket.socket:
    """Connect, and send the request of a websocket."""
    sock = socket.create_connection(("127.0.0.1", server.server_port), TIMEOUT)
    if tls is not None:
        sock = tls.wrap_socket(sock, server_hostname="localhost")
    sock.sendall(HANDSHAKE)
    return sock


def connected(server: Any, tls: ssl.SSLContext | None = None) -> Peer:
    """Return a client after its handshake."""
    sock = asked(server, tls)
    assert read_head(sock).startswith(b"HTTP/1.1 101 ")
    return Peer(sock, masks=True)


def test_a_peer_that_takes_nothing_is_dropped_after_the_write_timeout(contexts: Any) -> None:
    class Generous(Kept):
        limits = Limits(write_timeout=0.2)

        def received_message(self, message: Any) -> None:
            self.send(bytes(50_000_000), binary=True)

    with serving(WebSocketWSGIApplication(handler_cls=Generous), contexts[0]) as server:
        peer = connected(server, contexts[1])
        peer.send(TEXT, b"go")
        last = Kept.made.get(timeout=TIMEOUT).all_events()[-1]
        peer.sock.close()
    assert last == ("closed", 1006, "the peer took nothing in 0.2 s")


def test_what_another_thread_sends_after_a_close_is_dropped(contexts: Any) -> None:
    with serving(WebSocketWSGIApplication(handler_cls=Kept), contexts[0]) as server:
        peer = connected(server, contexts[1])
        websocket = Kept.made.get(timeout=TIMEOUT)
        assert websocket.next_event() == ("opened",)
        websocket.close(4000, "that was all")
        for _ in range(3):
            websocket.send("too late")
        assert peer.close_frame() == (4000, "that was all")
        peer.send_close(4000)
        peer.leave()
        assert websocket.all_events() == [("closed", 4000, "")]


def test_a_client_that_leaves_before_the_answer_leaves_nothing(contexts: Any) -> None:
    arrived, left = threading.Event(), threading.Event()
    upgrade = WebSocketWSGIApplication(handler_cls=Kept)

    def slow(environ: dict[str, Any], start_response: Any) -> Any:
        answer = upgrade(environ, start_response)
        arrived.set()
        while not left.is_set():
            gevent.sleep(0.01)
        return answer

    with serving(slow, contexts[0]) as server:
        before = descriptors()
        sock = asked(server, contexts[1])
        assert arrived.wait(TIMEOUT)
        # It is reset, so that the answer cannot be sent.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
        left.set()
        websocket = Kept.made.get(timeout=TIMEOUT)
        assert [event[:2] for event in websocket.all_events()] == [("closed", 1006)]
        eventually(lambda: descriptors() <= before, "a descriptor was left open")
        assert len(server.websockets) == 0


def test_a_timeout_that_the_application_has_left_running_is_not_taken_for_ours(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It goes off while the server waits for the next request of the connection."""
    started: Queue[Timeout] = Queue()
    raised: Queue[Timeout] = Queue()

    def forgetful(_environ: dict[str, Any], start_response: Any) -> Any:
        started.put(Timeout.start_new(0.05))
        start_response("200 OK", [("Content-Length", "4")])
        return [b"page"]

    class Handler(WebSocketWSGIHandler):
        def handle(self) -> None:
            try:
                super().handle()
            except Timeout as timeout:
                raised.put(timeout)

    with (
        caplog.at_level(logging.INFO, "ws4py"),
        serving(forgetful, handler_class=Handler) as server,
        socket.create_connection(("127.0.0.1", server.server_port), TIMEOUT) as sock,
    ):
        sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert read_to_end(sock).endswith(b"\r\n\r\npage")
        assert raised.get(timeout=TIMEOUT) is started.get(timeout=TIMEOUT)
    assert "No request came" not in caplog.text
