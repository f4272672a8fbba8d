"""How a loop's client reaches its server: the addresses of a host, and the time it may take."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from test.aio import CLOSE, on_loops, port_of, serving, switch
from test.conformance import read_head
from test.helpers import TIMEOUT, frame, read_exactly
from ws4py.async_websocket import EchoWebSocket
from ws4py.client import _Deadline
from ws4py.client.asyncioclient import WebSocketClient
from ws4py.client.tornadoclient import TornadoWebSocketClient
from ws4py.exc import HandshakeTimeout
from ws4py.limits import Limits


@contextmanager
def deaf(port: int) -> Iterator[str]:
    """Have an address at which no connection comes about: its queue is full."""
    with socket.socket() as listener, socket.socket() as one, socket.socket() as two:
        listener.bind(("127.0.0.2", port))
        listener.listen(0)
        for sock in (one, two):
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.2", port))
        yield "127.0.0.2"


def resolve(loop: Any, *hosts: str) -> None:
    """Give the name two.test some addresses on a loop."""
    real = loop.getaddrinfo

    async def find(host: Any, port: Any, **options: Any) -> Any:
        names = hosts if host == "two.test" else [host]
        return [each for name in names for each in await real(name, port, **options)]

    loop.getaddrinfo = find


def shorten(monkeypatch: pytest.MonkeyPatch, short: int) -> list[int]:
    """Make the share of one address short, while others have time; return the shares asked for."""
    asked, real = [], _Deadline.left

    def left(deadline: Any, shares: int = 1) -> float:
        asked.append(shares)
        seconds = real(deadline, shares)
        assert seconds is not None
        assert seconds <= TIMEOUT / shares
        return 0.2 if shares == short else seconds

    monkeypatch.setattr(_Deadline, "left", left)
    return asked


@pytest.mark.parametrize("client_class", [WebSocketClient, TornadoWebSocketClient])
@on_loops
async def test_the_addresses_of_a_host_are_tried_in_turn(
    client_class: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = shorten(monkeypatch, 3)
    async with serving(EchoWebSocket) as server:
        port = port_of(server)
        with deaf(port) as silent:
            resolve(asyncio.get_running_loop(), "127.0.0.3", silent, "127.0.0.1", silent)
            client = client_class(f"ws://two.test:{port}/", open_timeout=TIMEOUT)
            await client.connect()
            assert shares == [4, 3, 2]
            assert client.peer_address == ("127.0.0.1", port)
            await client.close()
            await client.wait_closed()


@on_loops
async def test_the_last_address_tells_why_none_could_be_reached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shares = shorten(monkeypatch, 2)
    async with serving(EchoWebSocket) as server:
        port = port_of(server)
        with deaf(port) as silent:
            resolve(asyncio.get_running_loop(), silent, "127.0.0.3")
            client = WebSocketClient(f"ws://two.test:{port}/", open_timeout=TIMEOUT)
            with pytest.raises(ConnectionRefusedError):
                await client.connect()
            assert shares == [2]


@on_loops
async def test_addresses_that_do_not_answer_are_a_timeout() -> None:
    async with serving(EchoWebSocket) as server:
        port = port_of(server)
        with deaf(port) as silent:
            resolve(asyncio.get_running_loop(), silent, silent)
            client = WebSocketClient(f"ws://two.test:{port}/", open_timeout=0.2)
            with pytest.raises(HandshakeTimeout, match=r"in 0\.2 s"):
                await client.connect()


@on_loops
async def test_the_addresses_of_a_host_are_tried_in_turn_without_a_time_limit_too() -> None:
    class Patient(WebSocketClient):
        limits = Limits(open_timeout=None)

    async with serving(EchoWebSocket) as server:
        port = port_of(server)
        resolve(asyncio.get_running_loop(), "127.0.0.3", "127.0.0.1", "127.0.0.2")
        async with Patient(f"ws://two.test:{port}/") as client:
            assert client.peer_address == ("127.0.0.1", port)
            await client.send("hello")
            assert str(await client.receive()) == "hello"


@on_loops
async def test_a_certificate_that_cannot_be_verified_is_an_error_at_the_first_address(
    server_tls: ssl.SSLContext,
) -> None:
    async with serving(EchoWebSocket, ssl=server_tls) as server:
        port = port_of(server)
        resolve(asyncio.get_running_loop(), "127.0.0.1", "127.0.0.3")
        client = WebSocketClient(f"wss://two.test:{port}/", open_timeout=TIMEOUT)
        with pytest.raises(ssl.SSLCertVerificationError):
            await client.connect()


@pytest.mark.parametrize("seconds", [None, TIMEOUT])
def test_tls_may_take_as_long_as_the_client_allows(
    seconds: float | None,
    server_tls: ssl.SSLContext,
    client_tls: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limit = 0.05
    monkeypatch.setattr("asyncio.constants.SSL_HANDSHAKE_TIMEOUT", limit)

    class Patient(WebSocketClient):
        limits = Limits(open_timeout=None)

    def serve_late() -> None:
        sock, _ = listener.accept()
        with sock:
            sock.recv(1, socket.MSG_PEEK)  # TLS has begun
            late.wait(TIMEOUT)
            with server_tls.wrap_socket(sock, server_side=True) as secure:
                secure.sendall(switch(read_head(secure)))
                secure.sendall(frame(CLOSE, key=None))
                read_exactly(secure, len(frame(CLOSE)))

    async def main() -> None:
        asyncio.get_running_loop().call_later(10 * limit, late.set)
        async with Patient(url, ssl_context=client_tls, open_timeout=seconds) as client:
            assert await client.receive() is None
        assert client.close_code == 1005

    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"wss://localhost:{listener.getsockname()[1]}/"
        late, thread = threading.Event(), threading.Thread(target=serve_late)
        thread.start()
        try:
            asyncio.run(main())
        finally:
            late.set()
            thread.join(TIMEOUT)


@pytest.mark.parametrize("client_class", [WebSocketClient, TornadoWebSocketClient])
def test_the_zone_of_an_address_is_not_lost(client_class: Any) -> None:
    async def main() -> None:
        await client_class("ws://[fe80::1%25lo]:9/", open_timeout=TIMEOUT).connect()

    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
        expected = sock.connect_ex(socket.getaddrinfo("fe80::1%lo", 9)[0][4])
    with pytest.raises(OSError) as raised:
        asyncio.run(main())
    assert raised.value.errno == expected
