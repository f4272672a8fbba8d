"""A peer that sends and does not read."""

from __future__ import annotations

import selectors

import pytest

from test.helpers import TIMEOUT, eventually, frame, raw_connection
from test.stress import Payloads, Server, linux_only
from test.test_cli import Client

pytestmark = [pytest.mark.stress, linux_only]

SIZE, COUNT = 64 * 1024, 1024
#: Bytes that a server may need for it.
ALLOWED = 4 * 1024 * 1024
#: Seconds in which somebody else has an echo, who would not have one if that peer were waited for.
AT_ONCE = TIMEOUT / 4


class Pushing:
    """Sends all that the server takes of ``frames``, and reads nothing before ``finish``."""

    def __init__(self, port: int, payloads: list[bytes]):
        self._sock, _ = raw_connection(port)
        self._sock.setblocking(False)
        self._unsent = memoryview(b"".join(frame(2, payload) for payload in payloads))

    def __enter__(self) -> Pushing:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._unsent.release()
        self._sock.close()

    @property
    def unsent(self) -> int:
        return len(self._unsent)

    def push(self) -> bool:
        """Send what the server takes now; return whether that was anything."""
        before = self.unsent
        try:
            while self._unsent:
                sent = self._sock.send(self._unsent[: 1024 * 1024])
                self._unsent = self._unsent[sent:]
        except BlockingIOError:
            pass
        return self.unsent < before

    def finish(self, size: int) -> bytes:
        """Send the rest, and meanwhile read ``size`` bytes."""
        received = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(self._sock, selectors.EVENT_READ | selectors.EVENT_WRITE)
            while len(received) < size:
                ready = selector.select(TIMEOUT)
                assert ready, f"nothing more came after {len(received)} of {size} bytes"
                if ready[0][1] & selectors.EVENT_READ:
                    data = self._sock.recv(1024 * 1024)
                    assert data, f"the connection ended after {len(received)} of {size} bytes"
                    received += data
                if not self.push() and not self._unsent:
                    selector.modify(self._sock, selectors.EVENT_READ)
        return bytes(received)


def test_a_peer_that_does_not_read_64_mib_costs_little_and_delays_nobody() -> None:
    source = Payloads(7692, SIZE)
    payloads = [source.binary(SIZE) for _ in range(COUNT)]
    with Server("--heartbeat", "0") as server, Client(server.url) as other:

        def echo() -> None:
            other.send(payloads[0], binary=True)
            assert other.events.get(timeout=AT_ONCE) == ("binary", payloads[0])

        for _ in range(50):
            echo()
        before = server.memory("VmHWM")
        with Pushing(server.port, payloads) as slow:
            # As often as the other has been served since the server last took something.
            patience = 100
            while patience and slow.unsent:
                echo()
                patience = 100 if slow.push() else patience - 1
            assert slow.unsent > 0, "the server has read all, and nobody reads its answers"
            assert server.memory("VmHWM") - before < ALLOWED
            header = b"\x82\x7f" + SIZE.to_bytes(8, "big")
            received = slow.finish(COUNT * (len(header) + SIZE))
            assert received == b"".join(header + payload for payload in payloads)
            echo()
        assert server.memory("VmHWM") - before < ALLOWED


def test_a_peer_that_goes_away_without_having_read_disturbs_nobody() -> None:
    payloads = [b"x" * SIZE] * COUNT
    with Server() as server, Client(server.url) as other:
        before = server.descriptors()
        with Pushing(server.port, payloads) as slow:
            assert slow.push()
            other.send("hello")
            assert other.events.get(timeout=AT_ONCE) == ("text", b"hello")
        other.send("still here")
        assert other.events.get(timeout=AT_ONCE) == ("text", b"still here")
        eventually(lambda: server.descriptors() == before, "the server keeps the descriptor")
