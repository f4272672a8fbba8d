"""What ``send`` returns: to be awaited, or not; and what happens to peers that do not read."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import threading
import warnings
from typing import Any, Callable

import pytest

from test.aio import (
    BINARY,
    CLOSE,
    PING,
    TEXT,
    Peer,
    eventually,
    on_loops,
    peer_of,
    port_of,
    serving,
)
from test.helpers import HANDSHAKE, TIMEOUT
from ws4py.async_websocket import EchoWebSocket, WebSocket
from ws4py.limits import Limits
from ws4py.server.asyncioserver import serve
from ws4py.server.standalone import WebSocketServer
from ws4py.server.wsgiutils import WebSocketWSGIApplication
from ws4py.websocket import WebSocket as PlainWebSocket

made: list[Any] = []

CHUNK = b"x" * 60_000


class Keeping(WebSocket):
    """Handles nothing itself."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        made.append(self)


@pytest.fixture(autouse=True)
def nothing_made() -> None:
    made.clear()


def fill(websocket: Any) -> Any:
    """Send what the peer does not read, up to the high-water mark; return what send does."""
    room = websocket.send(CHUNK, binary=True)
    while websocket._queued <= websocket.limits.high_water:
        room = websocket.send(CHUNK, binary=True)
    return room


WAYS: dict[str, Callable[[Any], Any]] = {
    "await": lambda awaitable: _wait(awaitable),
    "gather": lambda awaitable: asyncio.gather(awaitable, awaitable),
    "wait_for": lambda awaitable: asyncio.wait_for(awaitable, TIMEOUT),
    "ensure_future": lambda awaitable: asyncio.ensure_future(awaitable),
    "wait": lambda awaitable: asyncio.wait([asyncio.ensure_future(awaitable)]),
    "shield": lambda awaitable: asyncio.shield(awaitable),
}


async def _wait(awaitable: Any) -> None:
    assert await awaitable is None


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@on_loops
async def test_what_send_and_the_others_return_can_be_awaited_in_every_way(way: Any) -> None:
    async with serving(Keeping) as server, peer_of(server) as peer:
        websocket = made[0]
        await way(websocket.send("hello"))
        await way(websocket.ping("here?"))
        assert [await peer.message() for _ in range(2)] == [(TEXT, b"hello"), (PING, b"here?")]
        waiting = asyncio.gather(*[way(fill(websocket)) for _ in range(2)])
        await asyncio.sleep(0)
        assert not waiting.done()
        while not waiting.done():
            assert await peer.message() == (BINARY, CHUNK)
        assert websocket._queued <= websocket.limits.low_water
        await way(websocket.close())


@on_loops
async def test_what_is_not_awaited_gives_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with serving(Keeping) as server, peer_of(server):
            made[0].send("hello")
            made[0].ping()
            fill(made[0])
            made[0].close()
            gc.collect()


@pytest.mark.parametrize("end", ["leave", "terminate", "write_timeout"])
@on_loops
async def test_the_end_of_the_connection_ends_the_wait(end: str) -> None:
    class Hasty(Keeping):
        limits = Limits(write_timeout=0.2)

    async with serving(Hasty if end == "write_timeout" else Keeping) as server:
        async with peer_of(server) as peer:
            peer.pause()
            waiting = asyncio.ensure_future(fill(made[0]))
            await asyncio.sleep(0)
            assert not waiting.done()
            if end == "leave":
                peer.leave()
            elif end == "terminate":
                made[0].terminate()
            await waiting
            await made[0].wait_closed()
        with pytest.raises(RuntimeError, match="terminated"):
            made[0].send("too late")


@on_loops
async def test_waits_that_are_given_up_leave_nothing() -> None:
    async with serving(Keeping) as server, peer_of(server) as peer:
        peer.pause()
        room = fill(made[0])
        for _ in range(10):
            waiting = asyncio.ensure_future(_wait(room))
            await eventually(lambda: made[0]._waiters)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert made[0]._waiters == ()


@on_loops
async def test_a_wait_that_is_given_up_leaves_the_connection_alone() -> None:
    async with serving(Keeping) as server, peer_of(server) as peer:
        peer.pause()
        room = fill(made[0])
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(room, 0.01)
        peer.resume()
        made[0].close(4000)
        opcode = BINARY
        while opcode == BINARY:
            opcode, payload = await peer.message()
        assert (opcode, payload) == (CLOSE, b"\x0f\xa0")
        await peer.answer()


@pytest.mark.parametrize("size", [1000, 30_000, 1_000_000])
@on_loops
async def test_a_producer_that_awaits_is_bounded_and_loses_nothing(size: int) -> None:
    count, most = 40_000_000 // size, []

    class Produces(WebSocket):
        async def opened(self) -> None:
            for number in range(count):
                await self.send(b"%08d" % number + b"x" * size, binary=True)
                most.append(self._queued)
            self.close()

    async with serving(Produces) as server, peer_of(server) as peer:
        await eventually(lambda: next(iter(server.websockets))._queued > 64 * 1024)
        for number in range(count):
            opcode, payload = await peer.message()
            assert (opcode, int(payload[:8]), len(payload)) == (BINARY, number, size + 8)
        assert await peer.close_code() == 1000
        assert max(most) <= 64 * 1024
        await peer.answer()


@on_loops
async def test_a_producer_that_does_not_await_is_dropped_at_the_hard_limit() -> None:
    async with serving(Keeping) as server, peer_of(server):
        websocket = made[0]
        sent = 0
        while not websocket._broken:
            websocket.send(CHUNK, binary=True)
            sent += 1
        assert websocket._queued <= 2 * 1024 * 1024
        await websocket.wait_closed()
        assert (websocket.close_code, "queued" in websocket.close_reason) == (1006, True)
        assert sent > 10


@on_loops
async def test_what_the_loop_keeps_is_bounded_too() -> None:
    async with serving(Keeping) as server, peer_of(server):
        fill(made[0])
        transport = made[0]._transport.sock
        assert transport.get_write_buffer_size() <= 256 * 1024


@on_loops
async def test_a_queue_that_the_kernel_takes_a_part_of_goes_on_later() -> None:
    # Loops keep what they could not write at once, so it must be nothing that changes.
    async with serving(Keeping) as server:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", port_of(server)))
        reader, writer = await asyncio.open_connection(sock=sock)
        writer.write(HANDSHAKE)
        await reader.readuntil(b"\r\n\r\n")
        peer = Peer(reader, writer)
        with socket.socket(fileno=os.dup(made[0].sock.fileno())) as ours:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        while not made[0]._transport.full:
            made[0].send(CHUNK, binary=True)
        made[0].send(b"y" * 50_000, binary=True)
        made[0].close()
        opcode, payload = await peer.message()
        while payload == CHUNK:
            opcode, payload = await peer.message()
        assert (opcode, payload) == (BINARY, b"y" * 50_000)
        assert await peer.close_code() == 1000
        peer.leave()


@on_loops
async def test_a_generator_is_awaited_to_its_end() -> None:
    async with serving(Keeping) as server, peer_of(server) as peer:
        pulled = []

        def chunks() -> Any:
            for number in range(200):
                pulled.append(number)
                yield b"%03d" % number + CHUNK

        waiting = asyncio.ensure_future(made[0].send(chunks(), binary=True))
        made[0].send("behind it")
        await asyncio.sleep(0.05)
        assert len(pulled) < 150
        assert not waiting.done()
        for number in range(200):
            fin, opcode, payload = await peer.frame()
            assert (fin, opcode, payload[:3]) == (
                number == 199,
                BINARY if number == 0 else 0,
                b"%03d" % number,
            )
        await waiting
        assert await peer.message() == (TEXT, b"behind it")


@on_loops
async def test_threads_send_in_order_and_wait_for_a_slow_peer() -> None:
    async with serving(Keeping) as server, peer_of(server) as peer:
        websocket = made[0]

        def send(name: int) -> None:
            for number in range(100):
                websocket.send(b"%d %d " % (name, number) + CHUNK, binary=True)

        threads = [threading.Thread(target=send, args=(name,)) for name in range(3)]
        for thread in threads:
            thread.start()
        await eventually(lambda: websocket._queued > websocket.limits.low_water)
        assert websocket._queued < 1024 * 1024
        heard: dict[bytes, list[int]] = {}
        for _ in range(300):
            name, number, _ = (await peer.message())[1].split(b" ")
            heard.setdefault(name, []).append(int(number))
        assert list(heard.values()) == [list(range(100))] * 3
        for thread in threads:
            thread.join(TIMEOUT)


@on_loops
async def test_a_thread_that_waits_is_woken_by_the_end() -> None:
    async with serving(Keeping) as server, peer_of(server) as peer:
        websocket = made[0]

        def send() -> None:
            with pytest.raises(RuntimeError):
                while True:
                    websocket.send(CHUNK, binary=True)

        thread = threading.Thread(target=send)
        thread.start()
        await eventually(lambda: websocket._queued > websocket.limits.low_water)
        peer.leave()
        await websocket.wait_closed()
        await eventually(lambda: not thread.is_alive())


@on_loops
async def test_another_thread_closes_and_terminates() -> None:
    async with serving(Keeping) as server:
        async with peer_of(server) as peer:
            await asyncio.get_running_loop().run_in_executor(None, made[0].close, 4000)
            assert await peer.close_code() == 4000
            await peer.answer()
        async with peer_of(server) as peer:
            await asyncio.get_running_loop().run_in_executor(None, made[1].terminate)
            await made[1].wait_closed()


@on_loops
async def test_another_thread_closes_what_nobody_receives_from() -> None:
    async with serving(Keeping) as server, peer_of(server) as peer:
        loop = asyncio.get_running_loop()
        loop.set_debug(True)  # so that it refuses what threads may not do
        peer.send(*[(TEXT, b"unread")] * 200)
        await eventually(lambda: made[0]._paused)
        await loop.run_in_executor(None, made[0].close, 4000)
        assert await peer.close_code() == 4000
        await peer.answer()


def _serve_with_a_standalone(handler: Any) -> Any:
    return WebSocketServer(("127.0.0.1", 0), handler)


def _serve_with_wsgi(handler: Any) -> Any:
    return WebSocketWSGIApplication(handler_cls=handler)


def _serve_with_paths(handler: Any) -> Any:
    return serve({"/": handler})


PLAIN_SERVERS = [_serve_with_a_standalone, _serve_with_wsgi]


@pytest.mark.parametrize("serves", PLAIN_SERVERS)
def test_a_class_for_asyncio_is_refused_by_servers_that_await_nothing(serves: Any) -> None:
    with pytest.raises(TypeError, match="EchoWebSocket needs an engine on asyncio"):
        serves(EchoWebSocket)


@pytest.mark.parametrize("callback", ["opened", "received_message", "ponged", "closed"])
@pytest.mark.parametrize("serves", [*PLAIN_SERVERS, serve, _serve_with_paths])
def test_a_plain_class_with_a_coroutine_function_is_refused_by_every_server(
    serves: Any, callback: str
) -> None:
    async def handle(self: Any, *_: Any) -> None:
        """Do nothing."""

    handler = type("Handler", (PlainWebSocket,), {callback: handle})
    with pytest.raises(TypeError, match=f"Handler.{callback} is a coroutine function"):
        serves(handler)
