"""The client on asyncio under test: ``python -m test.autobahn.client_asyncio URL AGENT [LOOP]``."""

from __future__ import annotations

import sys

from test.aio import LOOPS
from ws4py.client.asyncioclient import WebSocketClient
from ws4py.messaging import BinaryMessage, TextMessage


class EchoClient(WebSocketClient):
    """Send every message back."""

    async def received_message(self, message: TextMessage | BinaryMessage) -> None:
        await self.send(message.data, message.is_binary)


async def talk(client: WebSocketClient) -> None:
    """Connect, and stay until the connection is closed."""
    await client.connect()
    await client.wait_closed()


async def case_count(url: str) -> int:
    """Return how many cases wstest runs."""
    async with WebSocketClient(f"{url}/getCaseCount") as client:
        message = await client.receive()
        assert message is not None
        return int(message.data)


async def main(url: str, agent: str) -> None:
    """Run every case, then have the reports written."""
    for case in range(1, await case_count(url) + 1):
        await talk(EchoClient(f"{url}/runCase?case={case}&agent={agent}"))
    await talk(WebSocketClient(f"{url}/updateReports?agent={agent}"))


if __name__ == "__main__":
    loop = LOOPS[(sys.argv[3:] or ["asyncio"])[0]]()
    loop.run_until_complete(main(*sys.argv[1:3]))
