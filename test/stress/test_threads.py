"""Many threads that send on one connection."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from test.helpers import TIMEOUT
from test.stress import Server
from ws4py.client.threadedclient import WebSocketClient

pytestmark = pytest.mark.stress

THREADS, EACH = 8, 10_000

#: Both ends: message ``number`` of ``thread`` is known, and so is which one has to come next.
CHECKING = """
from ws4py.websocket import WebSocket


def make(thread, number):
    size = 70_000 if number % 1000 == thread else (thread * 31 + number * 17) % 300
    return f"{thread} {number} " + chr(97 + (thread + number) % 26) * size


class Checker:
    def __init__(self):
        self.next_numbers, self.wrong = {}, None

    def check(self, text):
        thread = int(text.partition(" ")[0])
        number = self.next_numbers.get(thread, 0)
        if text != make(thread, number) and self.wrong is None:
            self.wrong = f"{text[:20]!r} came where number {number} of thread {thread} was due"
        self.next_numbers[thread] = number + 1


class Checking(WebSocket):
    def opened(self):
        self.checker = Checker()

    def received_message(self, message):
        if message.is_binary:
            counts = sorted(self.checker.next_numbers.items())
            self.send(self.checker.wrong or str(counts), False)
        else:
            self.checker.check(str(message))
            self.send(message)
"""


class Client(WebSocketClient):
    """Checks what comes back."""

    def __init__(self, url: str, checker: Any):
        super().__init__(url)
        self.checker = checker
        self.report = ""
        self.pongs: list[bytes] = []
        self.ponged_last, self.reported, self.ended = (threading.Event() for _ in range(3))

    def received_message(self, message: Any) -> None:
        if str(message).partition(" ")[0].isdigit():
            self.checker.check(str(message))
        else:
            self.report = str(message)
            self.reported.set()

    def ponged(self, pong: Any) -> None:
        self.pongs.append(pong.data)
        if pong.data == b"last":
            self.ponged_last.set()

    def closed(self, code: int, reason: str | None = None) -> None:
        self.ended.set()


def test_eight_threads_send_ten_thousand_messages_each_whole_and_in_order(tmp_path: Path) -> None:
    (tmp_path / "checking.py").write_text(CHECKING)
    ours: dict[str, Any] = {}
    exec(CHECKING, ours)
    with Server("checking:Checking", "--heartbeat", "0.05", cwd=tmp_path) as server:
        client = Client(server.url, ours["Checker"]())
        client.connect()
        all_sent = threading.Event()

        def send(thread: int) -> None:
            for number in range(EACH):
                client.send(ours["make"](thread, number))

        def ping() -> None:
            number = 0
            while not all_sent.is_set():
                client.ping(str(number))
                number += 1
                all_sent.wait(0.001)
            client.ping("last")

        pinging = threading.Thread(target=ping)
        pinging.start()
        sending = [threading.Thread(target=send, args=(thread,)) for thread in range(THREADS)]
        for thread in sending:
            thread.start()
        for thread in sending:
            thread.join(10 * TIMEOUT)
            assert not thread.is_alive()
        all_sent.set()
        pinging.join(TIMEOUT)
        assert client.ponged_last.wait(TIMEOUT)
        client.send(b"what have you seen?", binary=True)
        assert client.reported.wait(TIMEOUT)
        every_one = dict.fromkeys(range(THREADS), EACH)
        assert client.report == str(sorted(every_one.items()))
        assert client.checker.wrong is None
        assert client.checker.next_numbers == every_one
        numbers = [int(pong) for pong in client.pongs if pong != b"last"]
        assert numbers == sorted(numbers)
        client.close()
        assert client.ended.wait(TIMEOUT)
        assert client.close_code == 1000
