"""The engines of asyncio, on its own loop and on uvloop's, in a thread with a loop of its own."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from test.engines import Engine, Served, url
from test.helpers import TIMEOUT
from ws4py.client.asyncioclient import WebSocketClient
from ws4py.server.asyncioserver import serve

try:
    import uvloop
except ImportError:  # PyPy
    uvloop = None


@contextmanager
def running_loop(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> Iterator[Any]:
    """Run a loop in a thread; yield what runs a coroutine in it and returns its result."""
    loop = new_loop()
    thread = threading.Thread(target=loop.run_forever, name="loop")
    thread.start()

    def run(coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(TIMEOUT)

    try:
        yield run
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(TIMEOUT)
        loop.close()


async def _started(handler: Any, tls: ssl.SSLContext | None, options: Any) -> Any:
    return await serve(handler, "127.0.0.1", 0, ssl=tls, heartbeat_freq=None, **options)


async def call(function: Callable[..., object], *arguments: Any) -> None:
    function(*arguments)


async def _stopped(server: Any) -> None:
    server.close()
    await server.wait_closed()


@contextmanager
def served(
    new_loop: Any, handler: Any, tls: ssl.SSLContext | None, **options: Any
) -> Iterator[Served]:
    with running_loop(new_loop) as run:
        server = run(_started(handler, tls, options))

        def stop() -> None:
            run(_stopped(server))

        def broadcast(message: Any, binary: bool = False) -> None:
            run(call(server.broadcast, message, binary))

        try:
            port = server.sockets[0].getsockname()[1]
            yield Served(port, broadcast, stop, lambda seconds: run(server.shutdown(seconds)))
        finally:
            stop()


@contextmanager
def clients(
    new_loop: Any, behaviour: type, tls: ssl.SSLContext | None, base: type = WebSocketClient
) -> Iterator[Any]:
    client_class: Any = type("Client", (behaviour, base), {})
    made: list[Any] = []

    async def start(port: int, options: Any) -> Any:
        client = client_class(url(port, tls), ssl_context=tls, **options)
        made.append(client)
        await client.connect()
        return client

    async def stop() -> None:
        for client in made:
            client.terminate()
            await client.wait_closed()

    with running_loop(new_loop) as run:

        def connect(port: int, **options: Any) -> Any:
            return run(start(port, options))

        try:
            yield connect
        finally:
            run(stop())


def _engines(name: str, new_loop: Any) -> list[Engine]:
    return [
        Engine(name, partial(served, new_loop), thread="loop"),
        Engine(f"{name}-client", partial(clients, new_loop), is_client=True, thread="loop"),
    ]


ENGINES = _engines("asyncio", asyncio.new_event_loop)
if uvloop is not None:
    ENGINES += _engines("uvloop", uvloop.new_event_loop)
