"""Faults 30 and 32: descriptors that leak under CherryPy, and the manager of its plugin."""

from __future__ import annotations

import socket
import ssl
import struct
from typing import Any

import cherrypy
import pytest

from test.engines.cherrypy_ import Root, TLSAdapter, application, port_of, serving
from test.helpers import (
    HANDSHAKE,
    TIMEOUT,
    RecordingWebSocket,
    descriptors,
    eventually,
    frame,
    read_to_end,
)
from test.regressions import Seen, read_frame, read_head, regression, running_manager
from ws4py.manager import SelectPoller, WebSocketManager
from ws4py.server.cherrypyserver import WebSocketPlugin
from ws4py.websocket import WebSocket

TIMES = 25


class FailingToBeMade(WebSocket):
    """A class with a fault."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        raise LookupError("a fault of the application")


class Failing:
    """A page handler with a fault."""

    @cherrypy.expose
    def default(self, *_path: str) -> None:
        raise LookupError("a fault of the page")


def expect_refusal(sock: socket.socket, status: bytes) -> None:
    assert read_head(sock).split(b" ")[1] == status
    read_to_end(sock)


def reset(sock: socket.socket) -> None:
    """End a connection without the end of TCP."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@regression(30)
@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
def test_bad_handshakes_and_those_that_break_off_leave_no_descriptor(
    tls: bool, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, no_thread_left: None
) -> None:
    app = application(Root(), handler_cls=RecordingWebSocket)
    app.merge({"/made": {"tools.websocket.handler_cls": FailingToBeMade}})

    def connect(request: bytes) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", port_of(server)), TIMEOUT)
        if tls:
            sock = client_tls.wrap_socket(sock, server_hostname="localhost")
        sock.sendall(request)
        return sock

    with serving(app, tls=TLSAdapter(server_tls) if tls else None) as server:
        before = descriptors()
        for _ in range(TIMES):
            with connect(HANDSHAKE.replace(b": 13", b": 8")) as sock:
                expect_refusal(sock, b"426")
            with connect(HANDSHAKE.replace(b"GET / ", b"GET /made ")) as sock:
                expect_refusal(sock, b"500")
            connect(HANDSHAKE[:60]).close()
            connect(HANDSHAKE).close()
            with connect(HANDSHAKE.replace(b"GET", b"POST")) as sock:
                reset(sock)
            with connect(HANDSHAKE) as sock:
                reset(sock)
            with connect(HANDSHAKE + frame(8)) as sock:
                read_head(sock)
                read_frame(sock)
                assert sock.recv(1) == b""
        eventually(lambda: descriptors() <= before, "descriptors are left open")


@regression(30)
def test_faults_of_page_handlers_leave_no_descriptor(no_thread_left: None) -> None:
    with serving(application(Failing(), handler_cls=RecordingWebSocket)) as server:
        before = descriptors()
        for _ in range(4 * TIMES):
            with socket.create_connection(("127.0.0.1", port_of(server)), TIMEOUT) as sock:
                sock.sendall(HANDSHAKE)
                expect_refusal(sock, b"500")
        eventually(lambda: descriptors() <= before, "descriptors are left open")


@regression(32)
def test_the_plugin_takes_a_manager_and_leaves_it_alone_at_the_end(no_thread_left: None) -> None:
    with running_manager() as manager:
        plugin = WebSocketPlugin(None, manager=manager)
        app = application(Root(), handler_cls=RecordingWebSocket)
        with serving(app, plugin) as server:
            sock = socket.create_connection(("127.0.0.1", port_of(server)), TIMEOUT)
            sock.sendall(HANDSHAKE)
            read_head(sock)
            eventually(lambda: len(manager) == 1, "the manager does not have the websocket")
        with sock:
            assert plugin.manager is manager
            manager.broadcast("still there")
            assert read_frame(sock) == Seen(1, 1, b"still there")


@regression(32)
def test_the_plugin_takes_a_manager_that_its_owner_starts_later(no_thread_left: None) -> None:
    manager = WebSocketManager()
    with serving(
        application(Root(), handler_cls=RecordingWebSocket), WebSocketPlugin(None, manager)
    ):
        assert not manager.is_alive()
    manager.stop()


@regression(32)
def test_the_plugin_takes_a_poller(no_thread_left: None) -> None:
    class Counting(SelectPoller):
        polls = 0

        def poll_events(self, timeout: float | None = None) -> Any:
            self.polls += 1
            return super().poll_events(timeout)

    poller = Counting()
    plugin = WebSocketPlugin(None, poller=poller)
    with serving(application(Root(), handler_cls=RecordingWebSocket), plugin):
        eventually(lambda: poller.polls > 0, "the poller is not asked")
        assert plugin.manager.poller is poller
