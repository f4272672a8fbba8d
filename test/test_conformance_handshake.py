"""The opening handshake is the same on every server engine, over ws and wss."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from queue import Queue
from typing import Any

import pytest

from test.conformance import ENGINES, TEXT, Echo, Engine, Peer, read_head
from test.helpers import HANDSHAKE, TIMEOUT, read_to_end
from ws4py.websocket import WebSocket

made: Queue[Any] = Queue()


class Handler(Echo, WebSocket):
    """An echo that can be asked what it was made with."""

    def opened(self) -> None:
        super().opened()
        made.put(self)


Ask = Callable[[bytes], "tuple[Peer, bytes]"]


@pytest.fixture(params=[each for each in ENGINES if not each.is_client], ids=lambda e: e.name)
def engine(request: pytest.FixtureRequest) -> Engine:
    return request.param


@pytest.fixture(params=["ws", "wss"])
def ask(
    request: pytest.FixtureRequest,
    engine: Engine,
    server_tls: ssl.SSLContext,
    client_tls: ssl.SSLContext,
    no_thread_left: None,
) -> Iterator[Ask]:
    """Sends a request to a server that speaks chat and knows one origin; returns its answer."""
    engine.skip(request.node)
    made.queue.clear()
    with ExitStack() as stack:
        context = server_tls if request.param == "wss" else None
        options = {"protocols": ["chat"], "origins": [None, "https://example.com"]}
        port = stack.enter_context(engine.start(Handler, context, **options))

        def ask(head: bytes) -> tuple[Peer, bytes]:
            sock = socket.create_connection(("127.0.0.1", port), TIMEOUT)
            if context is not None:
                sock = client_tls.wrap_socket(sock, server_hostname="localhost")
            stack.enter_context(sock)
            sock.sendall(head)
            return Peer(sock, masks=True), read_head(sock)

        yield ask


def with_headers(*headers: bytes) -> bytes:
    return HANDSHAKE[:-2] + b"".join(header + b"\r\n" for header in headers) + b"\r\n"


def test_a_good_request_is_accepted(ask: Ask) -> None:
    peer, head = ask(HANDSHAKE)
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in head
    assert b"Sec-WebSocket-Protocol" not in head
    peer.send(TEXT, b"hello")
    assert peer.message() == (TEXT, b"hello")


def test_a_subprotocol_that_is_spoken_is_picked(ask: Ask) -> None:
    _, head = ask(with_headers(b"Sec-WebSocket-Protocol: other, chat", b"X-One: 1"))
    assert b"\r\nSec-WebSocket-Protocol: chat\r\n" in head
    websocket = made.get(timeout=TIMEOUT)
    assert websocket.protocols == ["chat"]
    assert websocket.environ["HTTP_X_ONE"] == "1"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (with_headers(b"Sec-WebSocket-Protocol: other, Chat"), b"400"),
        (with_headers(b"Origin: https://evil.example"), b"403"),
        (with_headers(b"Content-Length: 1"), b"400"),
        (HANDSHAKE.replace(b"GET", b"HEAD"), b"405"),
        (HANDSHAKE.replace(b": 13", b": 8"), b"426"),
        (HANDSHAKE.replace(b"Upgrade: websocket\r\n", b""), b"426"),
        (HANDSHAKE.replace(b"dGhl", b"dGhlIA"), b"400"),
    ],
    ids=lambda value: repr(value[-50:]),
)
def test_a_request_that_is_refused_is_answered_and_the_next_is_served(
    ask: Ask, request_: bytes, status: bytes
) -> None:
    peer, head = ask(request_)
    assert head.split(b" ")[1] == status
    read_to_end(peer.sock)
    peer, head = ask(with_headers(b"Origin: https://example.com"))
    assert head.split(b" ")[1] == b"101"
    peer.send(TEXT, b"hello")
    assert peer.message() == (TEXT, b"hello")
