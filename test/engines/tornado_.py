"""The engines of Tornado, in a thread with a loop of its own."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from test.engines import Engine, Served
from test.engines.asyncio_ import clients, running_loop
from ws4py.client.tornadoclient import TornadoWebSocketClient
from ws4py.server.tornadoserver import WebSocketHandler, WebSockets


class TornadoServer:
    """An application with one route, on a free port of the running loop."""

    def __init__(
        self,
        handler_cls: Any,
        tls: ssl.SSLContext | None = None,
        route: type[WebSocketHandler] = WebSocketHandler,
        server_options: Any = None,
        **options: Any,
    ) -> None:
        self.websockets = WebSockets()
        self._loop = asyncio.get_running_loop()
        arguments = {"handler_cls": handler_cls, "websockets": self.websockets, **options}
        application = Application([("/.*", route, arguments)])
        self._server = HTTPServer(application, ssl_options=tls, **(server_options or {}))
        sockets = bind_sockets(0, "127.0.0.1")
        self.port: int = sockets[0].getsockname()[1]
        self._server.add_sockets(sockets)

    def run_in_loop(self, act: Callable[[], object]) -> None:
        """Have the loop call something soon."""
        self._loop.call_soon_threadsafe(act)

    async def broadcast(self, message: Any, binary: bool = False) -> None:
        self.websockets.broadcast(message, binary)

    async def drain(self, seconds: float) -> None:
        """End its websockets in a time."""
        await self.websockets.drain(seconds)

    async def stop(self) -> None:
        """End as a program would."""
        self._server.stop()
        await self._server.close_all_connections()
        self.websockets.close_all()
        await self.websockets.wait_closed()


async def _start(*args: Any, **options: Any) -> TornadoServer:
    return TornadoServer(*args, **options)


@contextmanager
def tornado_server(
    handler: Any, tls: ssl.SSLContext | None = None, **options: Any
) -> Iterator[TornadoServer]:
    with running_loop(asyncio.new_event_loop) as run:
        server = run(_start(handler, tls, **options))
        try:
            yield server
        finally:
            run(server.stop())


@contextmanager
def served(handler: Any, tls: ssl.SSLContext | None, **options: Any) -> Iterator[Served]:
    with running_loop(asyncio.new_event_loop) as run:
        server = run(_start(handler, tls, **options))

        def broadcast(message: Any, binary: bool = False) -> None:
            run(server.broadcast(message, binary))

        def stop() -> None:
            run(server.stop())

        try:
            yield Served(server.port, broadcast, stop, lambda seconds: run(server.drain(seconds)))
        finally:
            stop()


ENGINES = [
    Engine("tornado", served, thread="loop"),
    Engine(
        "tornado-client",
        partial(clients, asyncio.new_event_loop, base=TornadoWebSocketClient),
        is_client=True,
        thread="loop",
    ),
]
