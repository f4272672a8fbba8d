"""The server on a loop: opening handshakes without a limit, and those whose client is gone."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from typing import Any

import pytest

from test.aio import TEXT, eventually, on_loops, peer_of, port_of, serving
from test.helpers import HANDSHAKE, TIMEOUT
from test.test_standalone_http import SPLITTING, check_not_split, redirecting
from ws4py.limits import Limits
from ws4py.websocket import EchoWebSocket


@pytest.mark.parametrize("secure", [False, True])
@on_loops
async def test_opening_handshakes_without_a_time_limit_are_served(
    secure: bool, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    context, trusts = (server_tls, client_tls) if secure else (None, None)
    async with serving(EchoWebSocket, ssl=context, limits=Limits(open_timeout=None)) as server:
        slow, writer = await asyncio.open_connection(
            "127.0.0.1",
            port_of(server),
            ssl=trusts,
            server_hostname="localhost" if secure else None,
        )
        writer.write(HANDSHAKE[:40])
        async with peer_of(server, tls=trusts) as peer:
            peer.send((TEXT, b"hello"))
            assert await peer.message() == (TEXT, b"hello")
            await peer.end()
        writer.write(HANDSHAKE[40:])
        assert (await slow.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        writer.transport.abort()


@on_loops
async def test_one_without_a_socket_that_is_ended_before_the_answer_keeps_no_connection() -> None:
    class Ends(EchoWebSocket):
        def __init__(self, _sock: object, *args: Any) -> None:
            super().__init__(None, *args)

        @property
        def heartbeat_freq(self) -> float | None:
            return None

        @heartbeat_freq.setter  # the last thing that is done to it before the answer
        def heartbeat_freq(self, _: float | None) -> None:
            self.terminate()

        def opened(self) -> None:
            raise AssertionError("it has ended")

    async with serving(lambda *args: Ends(*args)) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
        writer.write(HANDSHAKE)
        assert (await reader.read()).startswith(b"HTTP/1.1 ")
        writer.close()
        await eventually(lambda: not list(server.websockets), "it is there still")


@on_loops
async def test_a_client_that_resets_the_connection_before_it_is_refused_does_no_harm(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving(EchoWebSocket) as server:
        # While this thread is at it, the loop sees nothing of it.
        with socket.create_connection(("127.0.0.1", port_of(server)), TIMEOUT) as sock:
            sock.sendall(HANDSHAKE.replace(b": 13", b": 12"))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        async with peer_of(server) as peer:
            peer.send((TEXT, b"hello"))
            assert await peer.message() == (TEXT, b"hello")
            await eventually(lambda: not server._openings)
            await peer.end()
    assert not caplog.records


@on_loops
async def test_a_line_break_in_a_header_of_an_application_does_not_split_its_response(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving(EchoWebSocket, http=redirecting) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
        writer.write(SPLITTING)
        check_not_split(await reader.read(), caplog.text)
        writer.transport.abort()
