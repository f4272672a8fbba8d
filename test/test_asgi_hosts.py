"""What hosts do to the ASGI application: they end, fail, and mount it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from queue import Queue
from typing import Any

import pytest

from test.asgi import HOSTS, Served, ignores_warnings, on_any, serves
from test.conformance import TEXT, Echo
from test.engines.asgi_ import uvicorn_serving
from test.helpers import HANDSHAKE, TIMEOUT, eventually
from test.test_cli import ROOT, Client, Program
from ws4py.server.asgi import WebSocketASGIApplication
from ws4py.websocket import WebSocket

pytestmark = ignores_warnings


@pytest.fixture(params=HOSTS)
def host(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def serve(no_thread_left: None) -> Iterator[Any]:
    with serves() as serve:
        yield serve


def test_a_host_that_ends_tells_every_websocket(host: Any, serve: Any) -> None:
    websockets = []
    with ExitStack() as stack:
        served = Served(stack, host, WebSocketASGIApplication(type("H", (Echo, WebSocket), {})))
        for _ in range(3):
            peer = served.connect()
            peer.send(TEXT, b"hello")
            assert peer.message() == (TEXT, b"hello")
        websockets = list(served.application.websockets)
    for websocket in websockets:
        assert [event[0] for event in websocket.all_events()] == ["opened", "text", "closed"]


def test_a_client_that_leaves_within_the_handshake_is_no_websocket() -> None:
    made: list[Any] = []
    application = WebSocketASGIApplication(lambda *args: made.append(args))  # type: ignore[arg-type]

    async def receive() -> Any:
        return {"type": "websocket.disconnect", "code": 1006}

    asyncio.run(application({"type": "websocket"}, receive, None))  # type: ignore[arg-type]
    assert made == []


def test_a_host_without_websockets_is_told_so(serve: Any) -> None:
    _, head = serve(partial(uvicorn_serving, ws="none")).ask(HANDSHAKE)
    assert head.startswith(b"HTTP/1.1 501 ")


@on_any
def test_a_host_that_fails_gets_its_error_back(host: Any, serve: Any) -> None:
    class Fails(Echo):
        def received_message(self, message: Any) -> None:
            raise LookupError("a fault of the application")

    application = WebSocketASGIApplication(type("Handler", (Fails, WebSocket), {}))
    raised: Queue[BaseException] = Queue()

    async def failing(scope: Any, receive: Any, send: Any) -> None:
        async def send_or_fail(event: Any) -> None:
            if event["type"] == "websocket.close":
                raise ValueError(f"this host knows no code {event['code']}")
            await send(event)

        try:
            await application(scope, receive, send_or_fail)
        except ValueError as error:
            raised.put(error)

    peer = serve.application(host, failing).connect()
    eventually(lambda: any(application.websockets))
    websocket: Any = next(application.websockets)
    peer.send(TEXT, b"fail")
    assert "1011" in str(raised.get(timeout=TIMEOUT))
    assert websocket.all_events()[-1][:2] == ("closed", 1006)


@pytest.mark.parametrize("at", ["accept", "send"])
@on_any
def test_a_client_that_the_host_has_lost_is_no_error(host: Any, serve: Any, at: str) -> None:
    handlers: Queue[Any] = Queue()

    class Kept(Echo, WebSocket):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            handlers.put(self)

    application = WebSocketASGIApplication(Kept)
    ended: Queue[BaseException | None] = Queue()

    async def losing(scope: Any, receive: Any, send: Any) -> None:
        async def send_or_fail(event: Any) -> None:
            if event["type"] == f"websocket.{at}":
                raise ConnectionResetError("the client has left")
            await send(event)

        try:
            await application(scope, receive, send_or_fail)
        except BaseException as error:
            ended.put(error)
            raise
        ended.put(None)

    peer, _ = serve.application(host, losing).ask(HANDSHAKE)
    websocket = handlers.get(timeout=TIMEOUT)
    if at == "send":
        peer.send(TEXT, b"echo this")
    first, *_, last = websocket.all_events()
    assert (first, last[:2]) == (("opened",), ("closed", 1006))
    assert ended.get(timeout=TIMEOUT) is None


class Example(Program):
    """One of the examples, once it accepts connections."""

    def __init__(self, script: str) -> None:
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        super().__init__("-X", "dev", f"example/{script}", "0", env=env)
        try:
            eventually(lambda: "running on http://" in self.errors, "it did not start")
        except BaseException:
            self.__exit__()
            raise
        self.address = self.errors.split("running on http://")[1].split(" ")[0]


def test_the_example_on_uvicorn_echoes() -> None:
    with Example("asgi_server.py") as example:
        with Client(f"ws://{example.address}/") as client:
            client.send("hello")
            assert client.next_event() == ("text", b"hello")
        example.end(signal.SIGINT)
        assert not {"ResourceWarning", "Traceback"} & set(re.split(r"\W", example.errors))


def test_the_example_in_starlette_shouts_beside_a_page() -> None:
    with Example("asgi_starlette.py") as example:
        with Client(f"ws://{example.address}/ws/") as client:
            client.send("hello")
            assert client.next_event() == ("text", b"HELLO")
        with urllib.request.urlopen(f"http://{example.address}/", timeout=TIMEOUT) as page:
            assert page.read() == b"a WebSocket is at /ws/\n"
        example.end(signal.SIGINT)
        assert not {"ResourceWarning", "Traceback"} & set(re.split(r"\W", example.errors))
