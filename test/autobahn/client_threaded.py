"""The threaded client under test: ``python -m test.autobahn.client_threaded URL AGENT``."""

from __future__ import annotations

import sys

from ws4py.client.threadedclient import WebSocketClient
from ws4py.messaging import BinaryMessage, TextMessage


class EchoClient(WebSocketClient):
    """Send every message back."""

    def received_message(self, message: TextMessage | BinaryMessage) -> None:
        self.send(message.data, message.is_binary)


class CaseCountClient(WebSocketClient):
    """Keep the number that the server sends."""

    count = 0

    def received_message(self, message: TextMessage | BinaryMessage) -> None:
        self.count = int(message.data)


def talk(client: WebSocketClient) -> None:
    """Connect, and stay until the connection is closed."""
    client.connect()
    client.run_forever()


def case_count(url: str) -> int:
    """Return how many cases wstest runs."""
    client = CaseCountClient(f"{url}/getCaseCount")
    talk(client)
    return client.count


def main(url: str, agent: str) -> None:
    """Run every case, then have the reports written."""
    for case in range(1, case_count(url) + 1):
        talk(EchoClient(f"{url}/runCase?case={case}&agent={agent}"))
    talk(WebSocketClient(f"{url}/updateReports?agent={agent}"))


if __name__ == "__main__":
    main(*sys.argv[1:])
