"""A client under test: ``python -m test.autobahn.client ENGINE URL AGENT``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

from ws4py.messaging import BinaryMessage, TextMessage


class Echo:
    """Send every message back."""

    def received_message(self, message: TextMessage | BinaryMessage) -> None:
        self.send(message.data, message.is_binary)  # type: ignore[attr-defined]


class Count:
    """Keep the number that the server sends."""

    count = 0

    def received_message(self, message: TextMessage | BinaryMessage) -> None:
        self.count = int(message.data)


class Silent:
    """Wait for the end."""


def clients(client_class: type, url: str, agent: str) -> Iterator[Any]:
    """Yield the clients that are to talk, one after the other: wstest is the server."""

    def make(behaviour: type, resource: str) -> Any:
        client = type("Client", (behaviour, client_class), {})
        return client(f"{url}/{resource}", compression="deflate")

    counting = make(Count, "getCaseCount")
    yield counting
    for case in range(1, counting.count + 1):
        yield make(Echo, f"runCase?case={case}&agent={agent}")
    yield make(Silent, f"updateReports?agent={agent}")


def block(client_class: type, url: str, agent: str) -> None:
    """Talk with clients that wait."""
    for client in clients(client_class, url, agent):
        client.connect()
        client.run_forever()


def on_loop(
    client_class: type,
    url: str,
    agent: str,
    new_loop: Callable[[], Any] = asyncio.new_event_loop,
) -> None:
    """Talk with clients that are awaited."""

    async def talk() -> None:
        for client in clients(client_class, url, agent):
            await client.connect()
            await client.wait_closed()

    loop = new_loop()
    loop.run_until_complete(talk())
    loop.close()


def on_uvloop(client_class: type, url: str, agent: str) -> None:
    """Talk on uvloop's loop."""
    on_loop(client_class, url, agent, import_module("uvloop").new_event_loop)


ENGINES: dict[str, tuple[Callable[[type, str, str], None], str, str]] = {
    "threaded": (block, "threadedclient", "WebSocketClient"),
    "gevent": (block, "geventclient", "WebSocketClient"),
    "asyncio": (on_loop, "asyncioclient", "WebSocketClient"),
    "uvloop": (on_uvloop, "asyncioclient", "WebSocketClient"),
    "tornado": (on_loop, "tornadoclient", "TornadoWebSocketClient"),
}


def main(engine: str, url: str, agent: str) -> None:
    """Run every case, then have the reports written."""
    talk, module, name = ENGINES[engine]
    talk(getattr(import_module(f"ws4py.client.{module}"), name), url, agent)


if __name__ == "__main__":
    main(*sys.argv[1:])
