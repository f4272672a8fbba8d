"""Ten thousand messages of any size through a server, and back bit for bit."""

from __future__ import annotations

import ssl
import threading
from collections import deque
from pathlib import Path
from typing import Any

import pytest
import trustme

from test.helpers import TIMEOUT
from test.stress import Payloads, Server
from ws4py.client.threadedclient import WebSocketClient

pytestmark = pytest.mark.stress

COUNT = 10_000
LARGEST = 1024 * 1024


class Comparing(WebSocketClient):
    """Compares what comes with what was sent."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.expected: deque[tuple[bytes, bool]] = deque()
        self.received = 0
        self.complete, self.ended = threading.Event(), threading.Event()
        self.wrong: str | None = None

    def received_message(self, message: Any) -> None:
        sent, was_binary = self.expected.popleft()
        if (message.data, message.is_binary) != (sent, was_binary):
            self.wrong = f"message {self.received} of {len(sent)} bytes came back as another"
            self.terminate()
        self.received += 1
        if self.received == COUNT:
            self.complete.set()

    def closed(self, code: int, reason: str | None = None) -> None:
        self.complete.set()
        self.ended.set()


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_ten_thousand_messages_of_up_to_1_mib_come_back_in_order(
    scheme: str, authority: trustme.CA, client_tls: ssl.SSLContext, tmp_path: Path
) -> None:
    options = []
    if scheme == "wss":
        path = tmp_path / "server.pem"
        issued = authority.issue_cert("localhost", "127.0.0.1")
        issued.private_key_and_cert_chain_pem.write_to_path(path)
        options = ["--certfile", str(path)]
    with Server(*options) as server:
        client = Comparing(f"{scheme}://localhost:{server.port}/", ssl_context=client_tls)
        client.connect()
        for payload, is_binary in Payloads(6455, LARGEST).messages(COUNT):
            client.expected.append((payload, is_binary))
            client.send(payload, is_binary)
        assert client.complete.wait(TIMEOUT)
        assert client.wrong is None
        assert client.received == COUNT
        client.close()
        assert client.ended.wait(TIMEOUT)
        assert client.close_code == 1000
