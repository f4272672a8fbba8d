"""Threads that use a websocket of asyncio's when its loop has been closed."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from test.aio import LOOPS, switch
from test.conformance import read_head
from test.helpers import TIMEOUT, echo_server, eventually, url_of
from ws4py.client.asyncioclient import WebSocketClient
from ws4py.exc import Terminated

pytestmark = pytest.mark.usefixtures("no_thread_left", "swept")


@pytest.fixture(params=LOOPS.values(), ids=LOOPS)
def loop(request: pytest.FixtureRequest) -> Iterator[asyncio.AbstractEventLoop]:
    """A loop of each kind."""
    loop = request.param()
    yield loop
    loop.close()


class Client(WebSocketClient):
    """Knows how often it was told its end."""

    ends = 0

    def closed(self, code: int, reason: str | None = None) -> None:
        self.ends += 1


@contextmanager
def idle_server() -> Iterator[str]:
    """Accept a client, and read nothing more of it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        kept: list[Any] = []

        def accept() -> None:
            sock, _ = listener.accept()
            kept.append(sock)
            sock.sendall(switch(read_head(sock)))

        thread = threading.Thread(target=accept)
        thread.start()
        yield f"ws://127.0.0.1:{listener.getsockname()[1]}/"
        thread.join(TIMEOUT)
        kept.pop().close()


def in_a_thread(act: Any) -> BaseException | None:
    """Return what an act raises in a thread of its own."""
    raised: list[BaseException | None] = []

    def run() -> None:
        try:
            act()
        except Exception as error:  # noqa: BLE001 - whoever asks gets it
            raised.append(error)
        else:
            raised.append(None)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(TIMEOUT)
    assert raised, "it did not return"
    return raised[0]


def test_a_thread_that_waits_in_send_is_told(loop: asyncio.AbstractEventLoop) -> None:
    with idle_server() as url:
        client, raised = Client(url), []

        def send() -> None:
            for _ in range(16):
                client.send(bytes(4 << 20), binary=True)

        thread = threading.Thread(target=lambda: raised.append(in_a_thread(send)))

        async def main() -> None:
            await client.connect()
            thread.start()
            await asyncio.get_running_loop().run_in_executor(
                None, eventually, lambda: client._waiters
            )

        loop.run_until_complete(main())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
        thread.join(TIMEOUT)
    assert isinstance(raised.pop(), Terminated)
    assert (client.terminated, client.close_code, client.ends) == (True, 1006, 1)
    assert client.close_reason == "its loop has been closed"


@pytest.mark.parametrize("queued", [0, 32 << 20])
@pytest.mark.parametrize("act", ["send", "ping"])
def test_who_sends_is_told(loop: asyncio.AbstractEventLoop, act: str, queued: int) -> None:
    with idle_server() as url:
        client = Client(url)
        loop.run_until_complete(client.connect())
        client.send(bytes(queued), binary=True)
        loop.close()
        for _ in range(2):
            assert isinstance(in_a_thread(lambda: getattr(client, act)("late")), Terminated)
    assert (client.terminated, client.close_code, client.ends) == (True, 1006, 1)


@pytest.mark.parametrize("queued", [0, 32 << 20])
def test_to_close_ends_it(loop: asyncio.AbstractEventLoop, queued: int) -> None:
    with idle_server() as url:
        client = Client(url)
        loop.run_until_complete(client.connect())
        client.send(bytes(queued), binary=True)
        loop.close()
        assert in_a_thread(client.close) is None
    assert (client.terminated, client.close_code, client.ends) == (True, 1006, 1)


def test_a_thread_goes_on_when_its_loop_only_pauses(loop: asyncio.AbstractEventLoop) -> None:
    with echo_server() as server:
        client = Client(url_of(server))
        loop.run_until_complete(client.connect())
        assert in_a_thread(lambda: client.send("while the loop does not run")) is None
        message = loop.run_until_complete(client.receive())
        assert str(message) == "while the loop does not run"
        client.close()
        loop.run_until_complete(client.wait_closed())
