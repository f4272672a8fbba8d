"""What becomes of Tornado's streams: in the switch, under a slow reader, in the loop's turns."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
import struct
import threading
from queue import Queue
from typing import Any

import pytest

from test.conformance import BINARY, TEXT, Peer, read_head
from test.engines.tornado_ import tornado_server
from test.helpers import (
    HANDSHAKE,
    TIMEOUT,
    Recorder,
    descriptors,
    eventually,
    frame,
    raw_connection,
    read_to_end,
)
from test.test_tornado_leaving import Gated
from test.test_tornadoserver import LARGE, connected, remembered
from ws4py.limits import Limits
from ws4py.server import _iostream
from ws4py.server.tornadoserver import WebSocketHandler
from ws4py.websocket import WebSocket

pytestmark = pytest.mark.usefixtures("no_thread_left")


def test_a_handshake_that_is_cancelled_in_the_switch_leaves_nothing() -> None:
    """All tasks are cancelled, for example, when ``asyncio.run`` ends."""

    class Cancelled(WebSocketHandler):
        async def get(self, *args: Any, **kwargs: Any) -> None:
            task = asyncio.current_task()
            assert task is not None
            asyncio.get_running_loop().call_soon(task.cancel)
            await super().get(*args, **kwargs)

    handlers: Queue[Any] = Queue()
    with tornado_server(remembered(handlers), route=Cancelled) as server:
        before = descriptors()
        sock, head = raw_connection(server.port)
        with sock:
            assert head.startswith(b"HTTP/1.1 101 ")
            assert read_to_end(sock) == b""
        events = handlers.get(timeout=TIMEOUT).all_events()
        assert [event[:2] for event in events] == [("opened",), ("closed", 1006)]
        eventually(lambda: descriptors() <= before, "a descriptor was left open")
        assert len(server.websockets) == 0


def test_an_opened_that_is_cancelled_ends_the_connection(contexts: Any) -> None:
    """It asks for the result of something that has been cancelled."""

    class Asks(Recorder, WebSocket):
        def opened(self) -> None:
            future = asyncio.get_running_loop().create_future()
            future.cancel()
            future.result()

    with tornado_server(Asks, contexts[0]) as server:
        peer = connected(server.port, contexts[1])
        with peer.sock:
            peer.expect_end()
        eventually(lambda: len(server.websockets) == 0, "the websocket was left behind")


def test_a_connection_that_is_lost_at_the_moment_of_the_switch_is_no_websocket(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Lost(WebSocketHandler):
        def detach(self) -> Any:
            stream = super().detach()  # The answer has been sent.
            # A socket that is not connected any more: to read from it fails, and is no end.
            with socket.socket() as other:
                os.dup2(other.fileno(), stream.socket.fileno())
            return stream

    handlers: Queue[Any] = Queue()
    with (
        caplog.at_level(logging.INFO, "ws4py"),
        tornado_server(remembered(handlers), route=Lost) as server,
    ):
        before = descriptors()
        sock, head = raw_connection(server.port)
        with sock:
            assert head.startswith(b"HTTP/1.1 101 ")
            assert read_to_end(sock) == b""
        eventually(lambda: descriptors() <= before, "a descriptor was left open")
        assert handlers.get(timeout=TIMEOUT).events.empty()
        assert len(server.websockets) == 0
    assert "An opening handshake broke off" in caplog.text


@pytest.mark.parametrize("who", ["client", "server"])
def test_an_end_under_a_slow_reader_is_no_failure_to_send(contexts: Any, who: str) -> None:
    class Generous(Recorder, WebSocket):
        made: Queue[Generous] = Queue()

        def received_message(self, message: Any) -> None:
            self.made.put(self)
            self.send(LARGE * 16, binary=True)

    with tornado_server(Generous, contexts[0]) as server:
        peer = connected(server.port, contexts[1], room=4096)
        peer.send(TEXT, b"go")
        websocket = Generous.made.get(timeout=TIMEOUT)
        eventually(lambda: websocket._queued > 0, "the queue never filled")
        if who == "client":
            peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.sock.close()
        else:
            websocket.terminate()
        assert websocket.all_events()[-1] == ("closed", 1006, "Going away")
        peer.sock.close()
        eventually(lambda: len(server.websockets) == 0, "the websocket was left behind")


def test_a_pause_in_the_last_read_of_a_turn_holds(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_iostream, "ROUNDS", 1)
    arrived = threading.Event()

    class Late(WebSocketHandler):
        def detach(self) -> Any:
            arrived.wait(TIMEOUT)  # What follows the handshake can be read at once.
            return super().detach()

    class Narrow(Gated):
        limits = Limits(high_water=1000, low_water=100)

    with tornado_server(Narrow, server_tls, route=Late) as server:
        plain = socket.create_connection(("127.0.0.1", server.port), TIMEOUT)
        sock = client_tls.wrap_socket(plain, server_hostname="localhost")
        sock.sendall(HANDSHAKE)
        messages = [b"%d" % number * 4000 for number in range(10)]
        sock.sendall(b"".join(frame(BINARY, message) for message in messages))
        arrived.set()
        assert read_head(sock).startswith(b"HTTP/1.1 101 ")
        websocket = Gated.made.get(timeout=TIMEOUT)
        eventually(lambda: websocket._paused, "the client is read on and on")
        for _ in range(20):
            turn = threading.Event()
            server.run_in_loop(turn.set)
            assert turn.wait(TIMEOUT)
        assert len(websocket.buf) <= _iostream.SIZE
        server.run_in_loop(websocket.gate.set)
        peer = Peer(sock, masks=True)
        peer.send_close()
        assert peer.close_frame() == (1000, "")
        peer.leave()
        assert [data for _, data in websocket.all_events()[1:-1]] == messages
