"""Thousands of clients on one manager."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from test.helpers import TIMEOUT, descriptors, eventually
from test.stress import Server, allowing, linux_only
from ws4py.client import WebSocketBaseClient
from ws4py.manager import WebSocketManager

pytestmark = [pytest.mark.stress, linux_only]

COUNT = 2000


class Tally:
    """Counts, in one thread, and says when all have been counted."""

    def __init__(self, total: int):
        self._left = total
        self._done = threading.Event()

    def count(self) -> None:
        self._left -= 1
        if not self._left:
            self._done.set()

    def wait(self, what: str) -> None:
        assert self._done.wait(2 * TIMEOUT), f"{self._left} clients {what}"


class One(WebSocketBaseClient):
    """One of many, driven by a manager."""

    def __init__(self, url: str, number: int, manager: WebSocketManager, *tallies: Tally):
        super().__init__(url)
        self.number, self.manager = number, manager
        self.echoed, self.ended = tallies

    def handshake_ok(self) -> None:
        self.manager.add(self)

    def received_message(self, message: Any) -> None:
        if str(message) == f"I am {self.number}":
            self.echoed.count()

    def closed(self, code: int, reason: str | None = None) -> None:
        self.ended.count()


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Allow a descriptor for each client, here and in the server that is started here."""
    with allowing(COUNT + 200):
        yield


@pytest.mark.usefixtures("many_descriptors")
def test_two_thousand_clients_on_one_manager_all_get_their_echo_and_leave_nothing() -> None:
    threads, ours = threading.active_count(), descriptors()
    with Server() as server:
        theirs, ours_with_server = server.descriptors(), descriptors()
        manager = WebSocketManager()
        manager.start()
        echoed, ended = Tally(COUNT), Tally(COUNT)
        clients = [One(server.url, number, manager, echoed, ended) for number in range(COUNT)]
        for client in clients:
            client.connect()
        assert len(manager) == COUNT
        for client in clients:
            client.send(f"I am {client.number}")
        echoed.wait("had no echo")
        manager.close_all(1000, "thank you")
        ended.wait("did not end")
        assert {client.close_code for client in clients} == {1000}
        manager.stop()
        manager.join(TIMEOUT)
        assert not manager.is_alive()
        assert descriptors() == ours_with_server
        eventually(lambda: server.descriptors() == theirs, "the server keeps descriptors")
    assert (threading.active_count(), descriptors()) == (threads, ours)
