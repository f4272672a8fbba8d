"""Who sends and receives at the same time, and the end of callbacks that do not end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from test.helpers import TIMEOUT
from ws4py.async_websocket import EchoWebSocket, WebSocket
from ws4py.client.asyncioclient import WebSocketClient
from ws4py.limits import Limits
from ws4py.server.asyncioserver import serve

pytestmark = pytest.mark.usefixtures("no_thread_left")


def url_of(server: Any) -> str:
    return f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


async def send_and_receive(ws: Any, size: int, number: int) -> int:
    """Send from another task than the one that receives; return how many came back."""

    async def send() -> None:
        for _ in range(number):
            await ws.send(b"z" * size, True)

    sending, received = asyncio.ensure_future(send()), 0
    async for _ in ws:
        received += 1
        if received == number:
            break
    await sending
    return received


@pytest.mark.parametrize(("size", "number"), [(20_000, 1000), (125, 50_000)])
def test_a_client_sends_from_one_task_and_receives_in_another(size: int, number: int) -> None:
    async def main() -> None:
        async with serve(EchoWebSocket, "127.0.0.1", 0) as server:  # noqa: SIM117 - its port
            async with WebSocketClient(url_of(server)) as client:
                talk = send_and_receive(client, size, number)
                assert await asyncio.wait_for(talk, TIMEOUT) == number

    asyncio.run(main())


def test_a_server_sends_from_one_task_and_receives_in_another() -> None:
    counts: list[int] = []

    class Both(WebSocket):
        async def opened(self) -> None:
            counts.append(await send_and_receive(self, 20_000, 1000))
            self.close()

    class Client(WebSocketClient):
        async def received_message(self, message: Any) -> None:
            await self.send(message.data, True)

    async def main() -> None:
        async with serve(Both, "127.0.0.1", 0) as server:
            client = Client(url_of(server))
            await client.connect()
            await asyncio.wait_for(client.wait_closed(), TIMEOUT)

    asyncio.run(main())
    assert counts == [1000]


def test_messages_behind_a_callback_that_hangs_do_not_keep_closed_from_being_called() -> None:
    begun: list[str] = []
    ended: list[int] = []
    over: Any = None

    class Hangs(WebSocket):
        limits = Limits(close_timeout=0.2)

        async def received_message(self, message: Any) -> None:
            begun.append(str(message))
            await asyncio.Event().wait()

        def closed(self, code: int, reason: str | None = None) -> None:
            ended.append(code)
            over.set()

    async def main() -> None:
        nonlocal over
        over = asyncio.Event()
        async with serve(Hangs, "127.0.0.1", 0) as server:
            client = WebSocketClient(url_of(server))
            await client.connect()
            for text in ("one", "two", "three"):
                await client.send(text)
            client.terminate()
            await over.wait()

    asyncio.run(asyncio.wait_for(main(), TIMEOUT))
    assert (begun, ended) == (["one"], [1006])


def test_closed_has_its_time_when_a_server_stops_whose_callbacks_hang() -> None:
    finished: list[int] = []

    class Hangs(WebSocket):
        limits = Limits(close_timeout=0.2)

        async def received_message(self, message: Any) -> None:
            await asyncio.Event().wait()

        async def closed(self, code: int, reason: str | None = None) -> None:
            await asyncio.sleep(0.05)
            finished.append(code)

    async def main() -> None:
        async with serve(Hangs, "127.0.0.1", 0) as server:
            for _ in range(5):
                client = WebSocketClient(url_of(server))
                await client.connect()
                await client.send("hang")
            await asyncio.sleep(0.05)

    asyncio.run(asyncio.wait_for(main(), TIMEOUT))
    assert len(finished) == 5


def test_a_server_whose_start_failed_can_be_started_and_a_closed_one_cannot() -> None:
    async def main() -> None:
        async with serve(EchoWebSocket, "127.0.0.1", 0) as taken:
            port = taken.sockets[0].getsockname()[1]
            server = serve(EchoWebSocket, "127.0.0.1", port)
            with pytest.raises(OSError, match="address"):
                await server
        await server
        assert server.sockets
        server.close()
        await server.wait_closed()
        with pytest.raises(RuntimeError, match="closed"):
            await server

    asyncio.run(main())


async def handler(websocket: Any) -> None:
    """What another library would call."""


@pytest.mark.parametrize(
    ("arguments", "options", "error", "text"),
    [
        ([handler], {}, TypeError, "handler"),
        ([int], {}, TypeError, "int"),
        ([{}], {}, ValueError, "empty"),
        ([EchoWebSocket], {"limits": 5}, TypeError, "limits is 5"),
        ([EchoWebSocket], {"heartbeat_freq": -1}, ValueError, "not -1"),
        ([EchoWebSocket], {"heartbeat_freq": "x"}, ValueError, "not 'x'"),
    ],
)
def test_what_cannot_be_served_is_named_at_once(
    arguments: Any, options: Any, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        serve(*arguments, **options)
