"""Clients that leave Tornado's server as soon as they have sent what they had to say."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from queue import Queue
from typing import Any

import pytest

from test.conformance import CLOSE, TEXT, read_head
from test.engines.tornado_ import tornado_server
from test.helpers import HANDSHAKE, TIMEOUT, Recorder, eventually, frame
from ws4py import async_websocket
from ws4py.server.tornadoserver import WebSocketHandler
from ws4py.websocket import WebSocket

pytestmark = pytest.mark.usefixtures("no_thread_left")


class Gated(Recorder, async_websocket.WebSocket):
    """Handles no message before ``gate`` is opened."""

    made: Queue[Gated] = Queue()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.gate = asyncio.Event()
        self.made.put(self)

    async def received_message(self, message: Any) -> None:
        await self.gate.wait()
        super().received_message(message)


def connected(port: int, tls: ssl.SSLContext | None) -> socket.socket:
    """Return a client's socket, after the handshake."""
    sock = socket.create_connection(("127.0.0.1", port), TIMEOUT)
    if tls is not None:
        sock = tls.wrap_socket(sock, server_hostname="localhost")
    sock.sendall(HANDSHAKE)
    assert read_head(sock).startswith(b"HTTP/1.1 101 ")
    return sock


@pytest.mark.parametrize(("last", "code"), [(frame(CLOSE, b"\x0f\xa0"), 4000), (b"", 1006)])
def test_all_that_a_client_sent_before_it_left_is_handled(
    contexts: Any, last: bytes, code: int
) -> None:
    with tornado_server(Gated, contexts[0]) as server:
        sock = connected(server.port, contexts[1])
        sock.sendall(b"".join(frame(TEXT, b"%01000d" % n) for n in range(150)) + last)
        sock.close()
        websocket = Gated.made.get(timeout=TIMEOUT)
        eventually(lambda: websocket._paused, "the client is read on and on")
        server.run_in_loop(websocket.gate.set)
        _, *messages, closed = websocket.all_events()
    assert [int(data) for _, data in messages] == list(range(150))
    assert closed[1] == code


@pytest.mark.parametrize("last", [b"", frame(TEXT, b"bye")])
def test_a_client_that_leaves_right_after_its_handshake_has_been_connected(
    contexts: Any, last: bytes
) -> None:
    left = threading.Event()

    class Late(WebSocketHandler):
        def detach(self) -> Any:
            stream = super().detach()  # The answer has been sent.
            left.wait(TIMEOUT)
            return stream

    class Kept(Recorder, WebSocket):
        made: Queue[Kept] = Queue()

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.made.put(self)

    with tornado_server(Kept, contexts[0], route=Late) as server:
        sock = connected(server.port, contexts[1])
        sock.sendall(last)
        sock.close()
        left.set()
        opened, *messages, closed = Kept.made.get(timeout=TIMEOUT).all_events()
        eventually(lambda: len(server.websockets) == 0)
    assert (opened, closed[:2]) == (("opened",), ("closed", 1006))
    assert messages == ([("text", b"bye")] if last else [])
