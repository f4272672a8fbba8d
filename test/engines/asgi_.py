"""The ASGI application under uvicorn and hypercorn, in a thread with a loop of its own."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import hypercorn.asyncio
import hypercorn.config
import uvicorn

from test.engines import Engine, Served
from test.engines.asyncio_ import call, running_loop
from ws4py.server.asgi import WebSocketASGIApplication

# What a host logs of connections that a test breaks is nothing to look at.
logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)


@asynccontextmanager
async def uvicorn_serving(
    application: Any, sock: socket.socket, tls: ssl.SSLContext | None, **options: Any
) -> Any:
    """Serve on a socket that listens."""
    config = uvicorn.Config(application, log_config=None, ws_ping_interval=None, **options)
    config.load()
    config.ssl = tls
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup([sock])
    try:
        yield
    finally:
        await server.shutdown([sock])


class HypercornConfig(hypercorn.config.Config):
    """A configuration with a context for TLS."""

    tls: ssl.SSLContext | None = None
    graceful_timeout = 0.5

    @property
    def ssl_enabled(self) -> bool:
        return self.tls is not None

    def create_ssl_context(self) -> ssl.SSLContext | None:
        return self.tls


@asynccontextmanager
async def hypercorn_serving(
    application: Any, sock: socket.socket, tls: ssl.SSLContext | None, **options: Any
) -> Any:
    """Serve on a socket that listens."""
    config = HypercornConfig()
    config.tls, config.errorlog = tls, None
    config.bind = [f"fd://{sock.detach()}"]
    for name, value in options.items():
        setattr(config, name, value)
    stopping = asyncio.Event()
    serving = asyncio.ensure_future(
        hypercorn.asyncio.serve(application, config, shutdown_trigger=stopping.wait)
    )
    try:
        yield
    finally:
        stopping.set()
        await serving


Serving = Callable[..., Any]


@contextmanager
def serving(
    host: Serving, application: Any, tls: ssl.SSLContext | None = None, **options: Any
) -> Iterator[tuple[int, Callable[[Any], Any]]]:
    """Serve an application; yield the port, and what runs a coroutine in the server's loop."""
    sock = socket.create_server(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    with running_loop(asyncio.new_event_loop) as run:
        served = host(application, sock, tls, **options)
        run(served.__aenter__())
        try:
            yield port, run
        finally:
            run(served.__aexit__(None, None, None))


async def stopped(application: WebSocketASGIApplication) -> None:
    """Do what the application does at the end of the lifespan."""
    application.close_all()
    await application.wait_closed()


async def end(application: WebSocketASGIApplication) -> None:
    """End what a test has left, so that the host need not wait for it."""
    for websocket in application.websockets:
        websocket.terminate()
    await application.wait_closed()


@contextmanager
def served(
    host: Serving, handler: Any, tls: ssl.SSLContext | None, **options: Any
) -> Iterator[Served]:
    application = WebSocketASGIApplication(handler, **options)
    with serving(host, application, tls) as (port, run):

        def broadcast(message: Any, binary: bool = False) -> None:
            run(call(application.broadcast, message, binary))

        def stop() -> None:
            run(stopped(application))

        try:
            yield Served(port, broadcast, stop, lambda seconds: run(application.drain(seconds)))
        finally:
            run(end(application))


def _engine(name: str, host: Serving) -> Engine:
    return Engine(name, partial(served, host), thread="loop")


ENGINES = [_engine("uvicorn", uvicorn_serving), _engine("hypercorn", hypercorn_serving)]
