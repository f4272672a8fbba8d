"""The server on a loop: its options, its end, and what connections that open may not do."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from test.aio import CLOSE, TEXT, Peer, connect, eventually, on_loops, peer_of, port_of, serving
from test.helpers import HANDSHAKE, TIMEOUT, descriptors, frame
from ws4py.async_websocket import EchoWebSocket as CoroutineEcho
from ws4py.async_websocket import WebSocket
from ws4py.limits import Limits
from ws4py.server import tulipserver
from ws4py.server.asyncioserver import WebSocketProtocol, serve
from ws4py.websocket import EchoWebSocket
from ws4py.websocket import WebSocket as PlainWebSocket


def with_headers(*headers: bytes) -> bytes:
    return HANDSHAKE[:-2] + b"".join(header + b"\r\n" for header in headers) + b"\r\n"


def only(server: Any) -> Any:
    (websocket,) = server.websockets
    return websocket


async def status(server: Any, request: bytes, tls: ssl.SSLContext | None = None) -> int:
    """Return the status of the answer to a request, once the server has ended the connection."""
    peer, head = await connect(server, request, tls)
    if not head.startswith(b"HTTP/1.1 101"):
        await asyncio.wait_for(peer.reader.read(), TIMEOUT)
    peer.leave()
    return int(head.split()[1])


async def is_served(server: Any, tls: ssl.SSLContext | None = None) -> bool:
    """Say whether a new connection is served."""
    async with peer_of(server, tls=tls) as peer:
        peer.send((TEXT, b"hello"))
        return await peer.message() == (TEXT, b"hello")


@on_loops
async def test_paths_have_classes_and_other_paths_are_404() -> None:
    async with serving({"/echo": EchoWebSocket, "/too": CoroutineEcho}) as server:
        for path, code in ((b"/echo", 101), (b"/too", 101), (b"/", 404), (b"/echo/", 404)):
            assert await status(server, HANDSHAKE.replace(b" / ", b" " + path + b" ")) == code


@on_loops
async def test_the_options_reach_the_websocket() -> None:
    limits = Limits(max_message_size=10)
    async with serving(
        EchoWebSocket, protocols=["chat"], limits=limits, heartbeat_freq=5, backlog=5
    ) as server:
        peer, head = await connect(server, with_headers(b"Sec-WebSocket-Protocol: x, chat"))
        assert b"\r\nSec-WebSocket-Protocol: chat\r\n" in head
        websocket = only(server)
        assert (websocket.protocols, websocket.limits) == (["chat"], limits)
        assert websocket.heartbeat_freq == 5
        assert websocket.environ["REMOTE_ADDR"] == "127.0.0.1"
        assert websocket.environ["SERVER_PORT"] == str(port_of(server))
        peer.send((TEXT, b"x" * 11))
        assert await peer.close_code() == 1009
        peer.leave()


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (b"GET / HTTP/1.1\r\nbad\r\n\r\n", 400),
        (b"GET / HTTP/0.9\r\n\r\n", 400),
        (with_headers(b"Origin: https://evil.example"), 403),
        (HANDSHAKE.replace(b" / ", b" /other "), 404),
        (HANDSHAKE.replace(b"GET", b"POST"), 405),
        (HANDSHAKE.replace(b"Upgrade: websocket\r\n", b""), 426),
        (HANDSHAKE.replace(b": 13", b": 8"), 426),
        (with_headers(b"X: " + b"x" * 9000), 431),
        (with_headers(*[b"X: x"] * 200), 431),
    ],
    ids=lambda value: repr(value)[:40],
)
@on_loops
async def test_bad_requests_are_refused_and_others_served(request_: bytes, code: int) -> None:
    async with serving({"/": EchoWebSocket}, origins=[None, "https://example.com"]) as server:
        assert await status(server, request_) == code
        assert await is_served(server)


@on_loops
async def test_an_answer_that_refuses_arrives_though_the_client_still_sends(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    for context, trusts in ((None, None), (server_tls, client_tls)):
        async with serving(EchoWebSocket, ssl=context) as server:
            request = HANDSHAKE.replace(b": 13", b": 8") + b"x" * 500_000
            assert await status(server, request, trusts) == 426


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    if environ["PATH_INFO"] == "/fail":
        raise LookupError("a fault of the application")
    start_response("200 OK", [("Content-Type", "text/plain")])
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    return [b"body:" + body, b"x" * (8 << 20 if environ["PATH_INFO"] == "/large" else 0)]


@on_loops
async def test_an_application_answers_plain_requests(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    for context, trusts in ((None, None), (server_tls, client_tls)):
        async with serving(EchoWebSocket, http=application, ssl=context) as server:
            request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
            peer, head = await connect(server, request, trusts)
            assert head.startswith(b"HTTP/1.1 200 OK\r\n") or head.startswith(b"HTTP/1.0 200 OK")
            assert await peer.reader.read() == b"body:hello"
            peer.leave()
            peer, head = await connect(server, b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n", trusts)
            assert len(await peer.reader.read()) == (8 << 20) + 5
            peer.leave()
            assert await status(server, b"GET /fail HTTP/1.1\r\nHost: x\r\n\r\n", trusts) == 500
            assert await is_served(server, trusts)


@on_loops
async def test_it_is_started_by_await_or_a_context_and_only_once() -> None:
    server = await serve(EchoWebSocket, "127.0.0.1", 0)
    port = port_of(server)
    async with server:
        assert await server is server
        assert (len(server.sockets), port_of(server)) == (1, port)
        assert await is_served(server)
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", port)
    server.close()
    await server.wait_closed()


@on_loops
async def test_a_server_that_was_never_started_can_be_closed() -> None:
    server = serve(EchoWebSocket, "127.0.0.1", 0)
    server.close()
    await server.wait_closed()
    assert list(server.sockets) == []


@on_loops
async def test_an_address_that_is_in_use_is_an_os_error() -> None:
    async with serving(EchoWebSocket) as server:
        with pytest.raises(OSError):
            await serve(EchoWebSocket, "127.0.0.1", port_of(server))


@on_loops
async def test_serve_forever_that_is_cancelled_closes_all_with_1001() -> None:
    server = serve(CoroutineEcho, "127.0.0.1", 0)
    serving_ = asyncio.ensure_future(server.serve_forever())
    await eventually(lambda: server.sockets)
    async with peer_of(server) as peer:
        serving_.cancel()
        assert await peer.close_code() == 1001
        assert not serving_.done()
        await peer.answer(1001)
        with pytest.raises(asyncio.CancelledError):
            await serving_


@on_loops
async def test_serve_forever_returns_when_the_server_is_closed() -> None:
    async with serving(CoroutineEcho) as server:
        serving_ = asyncio.ensure_future(server.serve_forever())
        assert await is_served(server)
        server.close()
        await serving_


@on_loops
async def test_the_wait_for_silent_peers_is_bounded() -> None:
    class Mixed(WebSocket):
        async def received_message(self, message: Any) -> None:
            await asyncio.Event().wait()

    limits = Limits(close_timeout=0.2)
    async with serving({"/": EchoWebSocket, "/mixed": Mixed}, limits=limits) as server:
        peers = [await connect(server) for _ in range(3)]
        request = HANDSHAKE.replace(b" / ", b" /mixed ")
        peers += [await connect(server, request) for _ in range(3)]
        for peer, _ in peers:
            peer.send((TEXT, b"hello"))
        server.close()
        await server.wait_closed()
        assert not list(server.websockets)
        for peer, _ in peers:
            peer.leave()


@on_loops
async def test_nothing_is_accepted_while_it_closes() -> None:
    async with serving(EchoWebSocket, limits=Limits(close_timeout=0.3)) as server:
        port = port_of(server)
        async with peer_of(server) as peer:
            server.close()
            assert await peer.close_code() == 1001
            with pytest.raises(OSError):
                await asyncio.open_connection("127.0.0.1", port)


@on_loops
async def test_60_open_handshakes_are_aborted_at_close() -> None:
    async with serving(EchoWebSocket) as server:
        peers = [await asyncio.open_connection("127.0.0.1", port_of(server)) for _ in range(60)]
        for number, (_, writer) in enumerate(peers):
            writer.write(HANDSHAKE[:number])
        await eventually(lambda: len(server._openings) == 60)
        server.close()
        for reader, writer in peers:
            with contextlib.suppress(ConnectionError):
                assert await asyncio.wait_for(reader.read(), TIMEOUT) == b""
            writer.transport.abort()
        await server.wait_closed()
        assert not server._openings


@on_loops
async def test_a_tls_handshake_that_ends_after_close_is_not_served(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    async with serving(EchoWebSocket, ssl=server_tls) as server:
        sock = socket.create_connection(("127.0.0.1", port_of(server)))
        await is_served(server, client_tls)  # so the one before has been accepted
        server.close()
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection(
                sock=sock, ssl=client_tls, server_hostname="localhost"
            )
            writer.write(HANDSHAKE)
            assert await reader.read() == b""
        sock.close()


@pytest.mark.parametrize("secure", [False, True])
@on_loops
async def test_a_handshake_that_takes_too_long_is_dropped_and_hinders_nobody(
    secure: bool, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    context, trusts = (server_tls, client_tls) if secure else (None, None)
    begun = [b""] * 5 + [HANDSHAKE[:40]] * 5
    async with serving(EchoWebSocket, ssl=context, limits=Limits(open_timeout=2)) as server:
        slow = [
            await asyncio.open_connection(
                "127.0.0.1",
                port_of(server),
                ssl=trusts if sent else None,
                server_hostname="localhost" if trusts and sent else None,
            )
            for sent in begun
        ]
        for (_, writer), sent in zip(slow, begun):
            writer.write(sent)
        assert await is_served(server, trusts)
        for reader, writer in slow:
            with contextlib.suppress(ConnectionError):
                assert await asyncio.wait_for(reader.read(), TIMEOUT) == b""
            writer.transport.abort()


@on_loops
async def test_connections_and_refusals_leave_no_descriptor() -> None:
    async with serving(CoroutineEcho) as server:
        assert await is_served(server)
        before = descriptors()
        for number in range(100):
            peer, _ = await connect(server, HANDSHAKE.replace(b": 13", b": 1%d" % (number % 4)))
            if number % 8 == 3:
                await peer.end()
            peer.leave()
        for number in range(100):
            _, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
            writer.write(HANDSHAKE[:number])
            writer.transport.abort()
        await eventually(lambda: descriptors() <= before, "descriptors were left")
        await eventually(lambda: not server._openings and not list(server.websockets))


@on_loops
async def test_a_broadcast_reaches_all_but_those_that_are_closing() -> None:
    async with serving({"/": EchoWebSocket, "/too": CoroutineEcho}) as server:
        request = HANDSHAKE.replace(b" / ", b" /too ")
        peers = [(await connect(server))[0], (await connect(server, request))[0]]
        async with peer_of(server) as closing:
            list(server.websockets)
            closing.send_close()
            assert await closing.close_code() == 1000
            server.broadcast("to all")
            server.broadcast(b"\x00", binary=True)
            for peer in peers:
                assert await peer.message() == (TEXT, b"to all")
                assert await peer.message() == (2, b"\x00")
        server.close_all(4000, "enough")
        for peer in peers:
            assert await peer.message() == (CLOSE, b"\x0f\xa0enough")
            await peer.answer()


@on_loops
async def test_a_peer_that_half_closes_behind_its_close_gets_what_is_queued() -> None:
    async with serving(EchoWebSocket) as server:
        peer, _ = await connect(server)
        only(server).send(b"x" * (8 << 20), binary=True)
        peer.send((CLOSE, b"\x03\xe8"))
        peer.writer.write_eof()
        assert await is_served(server)  # Meanwhile the loop reads the end.
        _, data = await peer.message()
        assert len(data) == 8 << 20
        assert await peer.message() == (CLOSE, b"\x03\xe8")
        peer.leave()


@on_loops
async def test_the_old_protocol_works_with_the_loops_own_server() -> None:
    loop = asyncio.get_running_loop()
    for handler in (EchoWebSocket, CoroutineEcho, {"/": EchoWebSocket}):
        made = []

        def factory(handler: Any = handler, made: list[Any] = made) -> Any:
            made.append(tulipserver.WebSocketProtocol(handler))
            return made[-1]

        server = await loop.create_server(factory, "127.0.0.1", 0)
        assert made == []
        async with peer_of(server) as peer:
            peer.send((TEXT, b"hello"))
            assert await peer.message() == (TEXT, b"hello")
            assert isinstance(made[0].ws, PlainWebSocket)
            await peer.end()
        server.close()


@on_loops
async def test_it_listens_on_a_socket_that_is_given() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    async with serving(EchoWebSocket, host=None, port=None, sock=listener) as server:
        assert port_of(server) == listener.getsockname()[1]
        assert await is_served(server)


@on_loops
async def test_it_listens_on_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "server")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        async with serving(EchoWebSocket, host=None, port=None, sock=listener) as server:
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(HANDSHAKE)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            peer = Peer(reader, writer)
            peer.send((TEXT, b"hello"))
            assert await peer.message() == (TEXT, b"hello")
            assert only(server).local_address == path
            await peer.end()


@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="there is no SO_REUSEPORT")
@on_loops
async def test_two_servers_can_share_a_port() -> None:
    async with serving(EchoWebSocket, reuse_port=True) as one:
        two = await serve(EchoWebSocket, "127.0.0.1", port_of(one), reuse_port=True)
        assert port_of(two) == port_of(one)
        assert await is_served(two)
        two.close()
        await two.wait_closed()


@on_loops
async def test_a_class_that_cannot_be_made_is_a_500(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(EchoWebSocket):
        def __init__(self, *args: Any) -> None:
            raise LookupError("a fault of the application")

    async with serving(Broken) as server:
        assert await status(server, HANDSHAKE) == 500
    assert any(each.levelno == logging.ERROR for each in caplog.records)


def test_what_is_no_handler_path_or_port_is_refused_at_once() -> None:
    with pytest.raises(TypeError):
        serve(42)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="path"):
        serve({"echo": EchoWebSocket})
    with pytest.raises(ValueError, match="65537 is not a port"):
        serve(EchoWebSocket, "127.0.0.1", 65537)
    assert WebSocketProtocol is tulipserver.WebSocketProtocol


@pytest.mark.parametrize("limits", [Limits(), Limits(close_timeout=None)])
@on_loops
async def test_messages_that_wait_for_their_turn_come_before_the_end_of_tls(
    limits: Limits, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    received: list[Any] = []
    ended = asyncio.Event()

    class Slow(PlainWebSocket):
        def received_message(self, message: Any) -> None:
            time.sleep(0.004)  # Others have their turn after 0.01 s.
            received.append(message.data)

        def closed(self, code: int, reason: str | None = None) -> None:
            received.append(code)
            ended.set()

    messages = [b"%d" % number for number in range(40)]

    def talk(port: int) -> None:
        received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = client_tls.wrap_bio(received, sent, server_hostname="localhost")
        with socket.create_connection(("127.0.0.1", port), TIMEOUT) as sock:
            exchange(sock, tls.do_handshake, received, sent)
            tls.write(HANDSHAKE)
            exchange(sock, lambda: tls.read(4096), received, sent)
            tls.write(
                b"".join([*(frame(TEXT, each) for each in messages), frame(CLOSE, b"\x03\xe8")])
            )
            # And the end of TLS in the same segment.
            with contextlib.suppress(OSError):
                exchange(sock, tls.unwrap, received, sent)

    async with serving(Slow, ssl=server_tls, limits=limits) as server:
        await asyncio.get_running_loop().run_in_executor(None, talk, port_of(server))
        await asyncio.wait_for(ended.wait(), TIMEOUT)
    assert received == [*messages, 1000]


def exchange(
    sock: socket.socket, act: Callable[[], object], received: ssl.MemoryBIO, sent: ssl.MemoryBIO
) -> None:
    """Do what TLS does in ``act``, over a socket."""
    while True:
        try:
            act()
        except ssl.SSLWantReadError:
            sock.sendall(sent.read())
            data = sock.recv(1 << 16)
            if data:
                received.write(data)
            else:  # The end of TCP, before that of TLS.
                received.write_eof()
        else:
            sock.sendall(sent.read())
            return
