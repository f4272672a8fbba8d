"""What has ended is freed at once: with many connections, the garbage collector comes late."""

from __future__ import annotations

import asyncio
import gc
import platform
import sys
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from test.aio import connect, on_loops, serving
from test.aio import eventually as eventually_here
from test.asgi import ignores_warnings
from test.conformance import ENGINES, PING, TEXT, Peer, end
from test.engines import Engine
from test.helpers import (
    Recorder,
    RecordingSocket,
    echo_server,
    eventually,
    frame,
    raw_connection,
    url_of,
)
from ws4py import async_websocket
from ws4py.client import asyncioclient, threadedclient
from ws4py.websocket import EchoWebSocket

pytestmark = [
    *ignores_warnings,
    pytest.mark.usefixtures("no_collector"),
    pytest.mark.skipif(
        platform.python_implementation() != "CPython", reason="the collector frees everything here"
    ),
]

SERVERS = [pytest.param(engine, id=engine.name) for engine in ENGINES if not engine.is_client]


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("closes", [True, False])
@pytest.mark.parametrize("engine", SERVERS)
def test_a_websocket_that_has_ended_is_freed_without_the_garbage_collector(
    engine: Engine, closes: bool
) -> None:
    living: weakref.WeakSet[Any] = weakref.WeakSet()

    class Watched(EchoWebSocket):
        def opened(self) -> None:
            living.add(self)

    with engine.start(Watched, None) as served:
        sock, _ = raw_connection(served.port)
        with sock:
            peer = Peer(sock, masks=True)
            peer.send(TEXT, b"hello")
            assert peer.message() == (TEXT, b"hello")
            assert len(living) == 1
            if closes:
                end(peer)
        eventually(lambda: not living, "it is still there")


@pytest.mark.parametrize("engine", SERVERS)
def test_a_websocket_that_ends_with_much_left_to_send_is_freed_too(engine: Engine) -> None:
    living: weakref.WeakSet[Any] = weakref.WeakSet()

    class Watched(EchoWebSocket):
        def opened(self) -> None:
            living.add(self)

        def received_message(self, message: Any) -> None:
            self.send(bytes(15_000_000), binary=True)

        def unhandled_error(self, error: OSError) -> None:
            """Do not log it: pytest keeps what is logged, and so the frames of its traceback."""

    with engine.start(Watched, None) as served:
        sock, _ = raw_connection(served.port)
        with sock:
            sock.sendall(frame(TEXT, b"go"))
            assert sock.recv(1)
            assert len(living) == 1
        eventually(lambda: not living, "it is still there")


@on_loops
async def test_a_websocket_with_coroutines_that_has_ended_is_freed_too() -> None:
    living: weakref.WeakSet[Any] = weakref.WeakSet()

    class Watched(async_websocket.EchoWebSocket):
        async def opened(self) -> None:
            living.add(self)

    async with serving(Watched) as server:
        for closes in (True, False):
            peer, _ = await connect(server)
            peer.send((TEXT, b"hello"))
            assert await peer.message() == (TEXT, b"hello")
            assert len(living) == 1
            if closes:
                await peer.end()
            peer.leave()
            await eventually_here(lambda: not living, "it is still there")


def test_a_client_in_a_thread_that_has_ended_is_freed_too() -> None:
    class Client(Recorder, threadedclient.WebSocketClient):
        pass

    with echo_server() as server:
        client: Any = Client(url_of(server))
        living = weakref.ref(client)
        client.connect()
        client.close()
        client.all_events()
        client.run_forever()
        del client
        eventually(lambda: living() is None, "it is still there")


def test_a_client_on_a_loop_that_has_ended_is_freed_too() -> None:
    async def use(url: str) -> weakref.ref[Any]:
        async with asyncioclient.WebSocketClient(url) as client:
            client.send("hello")
            assert str(await client.receive()) == "hello"
        return weakref.ref(client)

    with echo_server() as server:
        living = asyncio.run(use(url_of(server)))
        eventually(lambda: living() is None, "it is still there")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="each object has a dict of its own there")
def test_a_websocket_that_has_worked_shares_the_names_of_its_attributes_with_others() -> None:
    class Crowd(EchoWebSocket):
        """A class of which no object has worked yet."""

    websockets = []
    for _ in range(100):
        websockets.append(Crowd(RecordingSocket()))
        websockets[-1]._open()
    before = sys.getsizeof(vars(websockets[-1]))
    for websocket in websockets:
        assert websocket.process(frame(TEXT, b"one") + frame(PING) + frame(TEXT, b"two"))
    assert sys.getsizeof(vars(websockets[-1])) == before
