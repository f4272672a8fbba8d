"""The client on a loop: how it connects, why it does not, and being used again."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

from test.aio import (
    CLOSE,
    TEXT,
    Peer,
    eventually,
    fake_server,
    on_loops,
    port_of,
    serving,
    switch,
    url_of,
)
from test.autobahn.processes import free_port
from test.helpers import TIMEOUT, descriptors, frame
from ws4py.async_websocket import EchoWebSocket
from ws4py.client.asyncioclient import WebSocketClient
from ws4py.exc import HandshakeError, HandshakeTimeout
from ws4py.limits import Limits


async def converse(client: WebSocketClient) -> None:
    """Have a connected client send, receive, and close."""
    await client.send("hello")
    assert str(await client.receive()) == "hello"
    await client.close(4000)
    await client.wait_closed()
    assert client.close_code == 4000


@on_loops
async def test_it_connects_receives_and_closes_as_a_context() -> None:
    async with serving(EchoWebSocket) as server:
        async with WebSocketClient(url_of(server)) as client:
            for number in range(3):
                await client.send(f"{number}")
            seen = []
            async for message in client:
                seen.append(str(message))
                if len(seen) == 3:
                    break
            assert seen == ["0", "1", "2"]
        assert (client.close_code, client.stream) == (1000, None)
        async with client:
            await client.send("again")
            assert str(await client.receive()) == "again"


@on_loops
async def test_an_exception_in_the_context_closes_with_1011() -> None:
    codes = []

    async def talk(peer: Peer) -> None:
        codes.append(await peer.close_code())
        peer.send_close(1011)

    async with fake_server(talk) as server:
        with pytest.raises(LookupError):
            async with WebSocketClient(url_of(server)):
                raise LookupError
    assert codes == [1011]


@on_loops
async def test_the_end_of_the_server_ends_the_loop_over_messages() -> None:
    async def talk(peer: Peer) -> None:
        peer.send((TEXT, b"one"), (TEXT, b"two"), (CLOSE, b"\x0f\xa0bye"))
        assert await peer.close_code() == 4000

    async with fake_server(talk) as server:
        async with WebSocketClient(url_of(server)) as client:
            assert [str(message) async for message in client] == ["one", "two"]
        assert (client.close_code, client.close_reason) == (4000, "bye")


@on_loops
async def test_callbacks_may_be_coroutines() -> None:
    class Client(WebSocketClient):
        events: list[Any]

        async def opened(self) -> None:
            self.events = ["opened"]
            await self.send("hello")

        async def received_message(self, message: Any) -> None:
            await asyncio.sleep(0)
            self.events.append(str(message))
            await self.close(4000)

        async def closed(self, code: int, reason: str | None = None) -> None:
            await asyncio.sleep(0)
            self.events.append(code)

    async with serving(EchoWebSocket) as server:
        client = Client(url_of(server))
        await client.connect()
        await client.wait_closed()
    assert client.events == ["opened", "hello", 4000]


@on_loops
async def test_a_server_that_is_not_there_is_an_os_error() -> None:
    client = WebSocketClient(f"ws://127.0.0.1:{free_port()}/")
    for _ in range(2):
        with pytest.raises(ConnectionRefusedError):
            await client.connect()
    client.terminate()
    await client.wait_closed()


@pytest.mark.parametrize("url", ["http://localhost/", "ws://", "ws://localhost:99999/"])
def test_what_is_no_url_is_a_value_error(url: str) -> None:
    with pytest.raises(ValueError):
        WebSocketClient(url)


def test_the_constructor_resolves_no_name_and_makes_no_socket(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a name was resolved, or a socket made")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "socket", refuse)
    assert WebSocketClient("ws://does-not-exist.invalid/").sock is None


@on_loops
async def test_nothing_works_before_it_is_connected() -> None:
    client = WebSocketClient("ws://127.0.0.1:9/")
    for act in (lambda: client.send("x"), client.close):
        with pytest.raises(RuntimeError):
            act()
    with pytest.raises(RuntimeError, match="before it is connected"):
        await client.receive()
    await client.wait_closed()


@on_loops
async def test_a_refusal_has_its_status_its_headers_and_its_body() -> None:
    async def talk(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        body = b"no " * 10_000
        head = f"HTTP/1.1 401 No\r\nX-Why: so\r\nContent-Length: {len(body)}\r\n\r\n"
        peer.writer.write(head.encode() + body)
        await peer.writer.drain()
        await peer.reader.read()

    async with fake_server(talk, answers=False) as server:
        client = WebSocketClient(url_of(server))
        with pytest.raises(HandshakeError) as caught:
            await client.connect()
        error = caught.value
        assert (error.status, error.body) == (401, b"no " * 10_000)
        assert ("X-Why", "so") in error.headers
        assert client.terminated


@on_loops
async def test_the_body_of_a_refusal_is_cut_when_it_takes_too_long() -> None:
    async def talk(peer: Peer) -> None:
        peer.writer.write(b"HTTP/1.1 403 No\r\nContent-Length: 100\r\n\r\nso far")
        await peer.reader.read()

    async with fake_server(talk, answers=False) as server:
        client = WebSocketClient(url_of(server), open_timeout=2)
        with pytest.raises(HandshakeError) as caught:
            await client.connect()
        assert (caught.value.status, caught.value.body) == (403, b"so far")


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 101 Swi"])
@pytest.mark.parametrize("scheme", ["ws", "wss"])
@on_loops
async def test_a_server_that_says_too_little_is_a_timeout(said: bytes, scheme: str) -> None:
    async def talk(peer: Peer) -> None:
        peer.writer.write(said if scheme == "ws" else b"")
        await peer.reader.read()

    async with fake_server(talk, answers=False) as server:
        client = WebSocketClient(url_of(server, scheme=scheme), open_timeout=0.2)
        for _ in range(2):
            with pytest.raises(HandshakeTimeout, match=r"in 0\.2 s"):
                await client.connect()


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 101 Swi", b"nonsense\r\n\r\n"])
@on_loops
async def test_a_server_that_leaves_or_talks_nonsense_is_a_handshake_error(said: bytes) -> None:
    async def talk(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        peer.writer.write(said)
        peer.writer.close()
        await asyncio.sleep(0.05)

    async with fake_server(talk, answers=False) as server:
        with pytest.raises(HandshakeError):
            await WebSocketClient(url_of(server)).connect()


@on_loops
async def test_a_server_that_leaves_before_tls_is_an_error_that_names_it() -> None:
    async def talk(peer: Peer) -> None:
        await peer.reader.readexactly(1)
        peer.writer.close()

    async with fake_server(talk, answers=False) as server:
        url = url_of(server, scheme="wss")
        with pytest.raises(ConnectionResetError, match=url):
            await WebSocketClient(url).connect()


@on_loops
async def test_tls_is_verified_unless_the_user_says_otherwise(
    server_tls: ssl.SSLContext, authority: Any, tmp_path: Path, client_tls: ssl.SSLContext
) -> None:
    authorities = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(authorities))
    async with serving(EchoWebSocket, ssl=server_tls) as server:
        url = url_of(server, scheme="wss")
        with pytest.raises(ssl.SSLCertVerificationError):
            await WebSocketClient(url).connect()
        with pytest.raises(ssl.SSLCertVerificationError):
            options: dict[str, Any] = {
                "ca_certs": str(authorities),
                "server_hostname": "example.com",
            }
            await WebSocketClient(url, ssl_options=options).connect()
        for options in (
            {"ssl_options": {"ca_certs": str(authorities)}},
            {"ssl_options": {"ca_certs": str(authorities), "server_hostname": "127.0.0.1"}},
            {"ssl_options": {"cert_reqs": ssl.CERT_NONE}},
            {"ssl_context": client_tls},
        ):
            client = WebSocketClient(url, **options)
            await client.connect()
            await converse(client)


@pytest.mark.parametrize("scheme", ["ws+unix", "wss+unix"])
@on_loops
async def test_it_connects_to_a_unix_socket(
    scheme: str, tmp_path: Path, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    path = str(tmp_path / "server")
    secure = scheme == "wss+unix"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        async with serving(
            {"/ws": EchoWebSocket},
            host=None,
            port=None,
            sock=listener,
            ssl=server_tls if secure else None,
        ):
            client = WebSocketClient(
                f"{scheme}://{path}", ssl_context=client_tls if secure else None
            )
            client.resource = "/ws"
            await client.connect()
            assert client.peer_address == path
            await converse(client)


@pytest.mark.parametrize("connected", [False, True])
@pytest.mark.parametrize("secure", [False, True])
@on_loops
async def test_a_socket_that_is_set_before_is_used(
    connected: bool, secure: bool, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    async with serving(EchoWebSocket, ssl=server_tls if secure else None) as server:
        client = WebSocketClient(
            f"{'wss' if secure else 'ws'}://localhost:{port_of(server)}/",
            ssl_context=client_tls if secure else None,
        )
        client.sock = socket.socket()
        if connected:
            client.sock.connect(("127.0.0.1", port_of(server)))
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        await client.connect()
        assert client.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        await converse(client)
        await client.connect()
        await converse(client)


@on_loops
async def test_the_request_has_what_was_asked_for_and_the_answer_is_kept() -> None:
    requests = []

    async def talk(peer: Peer) -> None:
        request = await peer.reader.readuntil(b"\r\n\r\n")
        requests.append(request)

        peer.writer.write(switch(request)[:-2] + b"Sec-WebSocket-Protocol: chat\r\n\r\n")
        await peer.close_code()
        peer.send_close(1000)

    async with fake_server(talk, answers=False) as server:
        client = WebSocketClient(
            url_of(server, "/a?b=c"),
            protocols=["other", "chat"],
            headers=[("X-One", "1")],
            exclude_headers=["Origin"],
        )
        async with client:
            assert client.protocols == ["chat"]
    (request,) = requests
    assert request.startswith(b"GET /a?b=c HTTP/1.1\r\n")
    assert b"\r\nX-One: 1\r\n" in request
    assert b"\r\nSec-WebSocket-Protocol: other, chat\r\n" in request
    assert b"Origin" not in request


@on_loops
async def test_a_header_that_cannot_be_one_is_a_value_error_and_leaves_it_usable() -> None:
    async with serving(EchoWebSocket) as server:
        client = WebSocketClient(url_of(server), headers=[("X", "a\r\nb")])
        with pytest.raises(ValueError):
            await client.connect()
        client.extra_headers = []
        await client.connect()
        await converse(client)


@on_loops
async def test_it_cannot_be_connected_twice_at_a_time() -> None:
    async with serving(EchoWebSocket) as server:
        client = WebSocketClient(url_of(server))
        first = asyncio.ensure_future(client.connect())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="already"):
            await client.connect()
        await first
        with pytest.raises(RuntimeError, match="already"):
            await client.connect()
        await converse(client)


@pytest.mark.parametrize("scheme", ["ws", "wss"])
@on_loops
async def test_a_connect_that_is_cancelled_leaves_nothing(scheme: str) -> None:
    came: list[Peer] = []

    async def talk(peer: Peer) -> None:
        came.append(peer)
        await peer.reader.read()

    async with fake_server(talk, answers=False) as server:
        before = descriptors()
        client = WebSocketClient(url_of(server, scheme=scheme))
        for number in range(10):
            connecting = asyncio.ensure_future(client.connect())
            await eventually(lambda number=number: len(came) > number)
            connecting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await connecting
        for peer in came:
            peer.leave()
        gc.collect()
        await eventually(lambda: descriptors() <= before, "descriptors were left")


@pytest.mark.parametrize("awaits", [False, True])
@pytest.mark.parametrize("ends", ["server", "client"])
@on_loops
async def test_it_connects_again_from_closed(awaits: bool, ends: str) -> None:
    class Persistent(WebSocketClient):
        codes: list[int]
        again: Any = None

        def closed(self, code: int, reason: str | None = None) -> Any:
            self.codes.append(code)
            if len(self.codes) == 3:
                return None
            if awaits:
                return self.connect()
            self.again = asyncio.ensure_future(self.connect())
            return None

        async def received_message(self, message: Any) -> None:
            if ends == "client":
                self.terminate()
            await asyncio.sleep(0)

    connections = []

    async def talk(peer: Peer) -> None:
        connections.append(peer)
        peer.send((TEXT, b"hello"))
        if ends == "server":
            peer.send_close(4000 + len(connections))
        await peer.frame()

    async with fake_server(talk) as server:
        client = Persistent(url_of(server))
        client.codes = []
        await client.connect()
        await eventually(lambda: len(client.codes) == 3)
        assert client.codes == ([4001, 4002, 4003] if ends == "server" else [1006] * 3)
        assert len(connections) == 3
        await eventually(lambda: client.stream is None)


@on_loops
async def test_each_connection_is_waited_for_and_begins_with_no_message() -> None:
    async with serving(EchoWebSocket) as server:
        client = WebSocketClient(url_of(server))
        for number in range(3):
            await client.connect()
            waiting = asyncio.ensure_future(client.wait_closed())
            client.send(f"{number}")
            assert str(await client.receive()) == f"{number}"
            client.send("not received")
            await eventually(lambda: client._inbox)
            assert not waiting.done()
            client.close()
            await waiting


@on_loops
async def test_a_drain_that_comes_late_times_nothing_of_the_next_connection() -> None:
    async with serving(EchoWebSocket) as server:
        client = WebSocketClient(url_of(server))
        await client.connect()
        before = client._driver
        client.close()
        await client.wait_closed()
        await client.connect()
        before.drain(client)  # as a thread may that is interrupted when it has sent
        assert client._drain_timer is None
        client._driver.drain(client)
        assert client._drain_timer is not None


@on_loops
async def test_what_came_with_the_answer_is_not_lost() -> None:
    async def talk(peer: Peer) -> None:

        answer = switch(await peer.reader.readuntil(b"\r\n\r\n"))
        peer.writer.write(answer + b"".join(frame(TEXT, b"%d" % n, key=None) for n in range(500)))
        await peer.frame()

    async with fake_server(talk, answers=False) as server:
        client = WebSocketClient(url_of(server))
        client.limits = Limits(close_timeout=0.2)
        async with client:
            for number in range(500):
                assert str(await client.receive()) == f"{number}"


@pytest.mark.usefixtures("swept")
def test_a_client_that_outlives_its_loop_can_be_terminated() -> None:
    events = []

    class Client(WebSocketClient):
        async def closed(self, code: int, reason: str | None = None) -> None:
            events.append("never awaited")

    async def leave() -> tuple[Any, Any]:
        listener = await asyncio.start_server(accept, "127.0.0.1", 0)
        clients = []
        for client_class in (Client, WebSocketClient):
            client = client_class(url_of(listener))
            await client.connect()
            clients.append(client)
        listener.close()
        return clients[0], clients[1]

    async def accept(reader: Any, writer: Any) -> None:

        with contextlib.suppress(Exception):
            writer.write(switch(await reader.readuntil(b"\r\n\r\n")))
            await asyncio.wait_for(reader.read(), TIMEOUT)

    loop = asyncio.new_event_loop()
    clients = loop.run_until_complete(leave())
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    clients[1].terminate()
    assert (clients[1].close_code, clients[1].stream) == (1006, None)
    with contextlib.suppress(RuntimeError):
        clients[1].send("too late")
    assert events == []
