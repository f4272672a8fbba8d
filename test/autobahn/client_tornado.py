"""The client for Tornado under test: ``python -m test.autobahn.client_tornado URL AGENT``."""

from __future__ import annotations

import asyncio
import sys

from ws4py.client.tornadoclient import TornadoWebSocketClient
from ws4py.messaging import BinaryMessage, TextMessage


class EchoClient(TornadoWebSocketClient):
    """Send every message back."""

    def received_message(self, message: TextMessage | BinaryMessage) -> None:
        self.send(message.data, message.is_binary)


async def talk(client: TornadoWebSocketClient) -> None:
    """Connect, and stay until the connection is closed."""
    await client.connect()
    await client.wait_closed()


async def case_count(url: str) -> int:
    """Return how many cases wstest runs."""
    async with TornadoWebSocketClient(f"{url}/getCaseCount") as client:
        return int(str(await client.receive()))


async def main(url: str, agent: str) -> None:
    """Run every case, then have the reports written."""
    for case in range(1, await case_count(url) + 1):
        await talk(EchoClient(f"{url}/runCase?case={case}&agent={agent}"))
    await talk(TornadoWebSocketClient(f"{url}/updateReports?agent={agent}"))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
