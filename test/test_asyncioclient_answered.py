"""The client on a loop when its server has answered, or has torn the connection down instead."""

from __future__ import annotations

import socket
import struct
from typing import Any

import pytest

from test.aio import Peer, eventually, fake_server, on_loops, serving, url_of
from ws4py.async_websocket import EchoWebSocket
from ws4py.client.asyncioclient import WebSocketClient
from ws4py.exc import HandshakeError


def reset(peer: Peer) -> None:
    """Leave, so that the other end is told of a reset."""
    sock = peer.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.leave()


@on_loops
async def test_a_server_that_resets_the_connection_is_an_os_error() -> None:
    async def talk(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        reset(peer)

    async with fake_server(talk, answers=False) as server:
        client = WebSocketClient(url_of(server))
        with pytest.raises(ConnectionResetError):
            await client.connect()
        assert client.terminated


@on_loops
async def test_a_reset_within_the_body_of_a_refusal_cuts_it_short() -> None:
    async def talk(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        peer.writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 20\r\n\r\nnot ")
        await eventually(lambda: begun)
        reset(peer)

    class Looks(WebSocketClient):
        def process_response_line(self, response_line: bytes) -> None:
            begun.append(response_line)
            super().process_response_line(response_line)

    begun: list[bytes] = []
    async with fake_server(talk, answers=False) as server:
        with pytest.raises(HandshakeError) as caught:
            await Looks(url_of(server)).connect()
    assert (caught.value.status, caught.value.body) == (403, b"not ")


@on_loops
async def test_a_client_that_is_connected_already_may_be_used_as_a_context() -> None:
    async with serving(EchoWebSocket) as server:
        client = WebSocketClient(url_of(server))
        await client.connect()
        address = client.local_address
        async with client as same:
            assert same is client
            assert client.local_address == address
            await client.send("hello")
            assert str(await client.receive()) == "hello"
        assert (client.close_code, client.stream) == (1000, None)


@pytest.mark.parametrize("begins", [False, True])
@on_loops
async def test_what_handshake_ok_raises_ends_the_connection_and_leaves_connect(
    begins: bool,
) -> None:
    class Picky(WebSocketClient):
        def handshake_ok(self) -> None:
            if begins:
                super().handshake_ok()
            if not self.protocols:
                raise LookupError("no subprotocol")

        def opened(self) -> None:
            told.append("opened")

        def closed(self, code: int, reason: str | None = None) -> None:
            told.append(code)

    async def talk(peer: Peer) -> None:
        received.append(await peer.reader.read())

    told: list[Any] = []
    received: list[bytes] = []
    async with fake_server(talk) as server:
        client = Picky(url_of(server), protocols=["chat"])
        with pytest.raises(LookupError, match="no subprotocol"):
            await client.connect()
        await client.wait_closed()
        await eventually(lambda: received)
    assert told == [*["opened"] * begins, 1006]
    assert received == [b""]
