"""What a broadcast does to a peer that takes less than it is sent."""

from __future__ import annotations

import threading
from typing import Any

from test.conformance import BINARY, TEXT, Link
from test.helpers import TIMEOUT, Recorder, eventually
from ws4py.limits import Limits
from ws4py.sending import broadcast

SIZE, COUNT = 64 * 1024, 200


def number(index: int) -> bytes:
    """Return a message that can be told from others."""
    return b"%06d" % index + b"x" * (SIZE - 6)


def with_policy(policy: str, **limits: Any) -> type:
    """Return a behaviour whose queue is short."""
    bounds = Limits(max_queue=256 * 1024, when_full=policy, **limits)
    return type("Slow", (Recorder,), {"limits": bounds})


class SlowConsumers:
    """Broadcasts to a peer that does not read, from a thread that may wait."""

    def test_a_slow_consumer_loses_its_connection(self, link: Link) -> None:
        ws, peer = link(with_policy("drop_connection"))
        for index in range(COUNT):
            broadcast([ws], number(index), binary=True)
        event = ws.all_events()[-1]
        assert event[:2] == ("closed", 1006)
        assert "bytes are queued for a peer that does not read" in event[2]
        assert ws.dropped_messages == 0
        peer.sock.close()

    def test_a_slow_consumer_loses_messages_where_that_is_asked_for(self, link: Link) -> None:
        ws, peer = link(with_policy("drop_message"))
        for index in range(COUNT // 2):
            broadcast([ws], number(index), binary=True)
        for index in range(COUNT // 2, COUNT):
            broadcast([ws], iter_of(number(index)), binary=True)
        assert ws.dropped_messages > 0
        kept = [read_message(peer) for _ in range(COUNT - ws.dropped_messages)]
        numbers = [int(message[:6]) for message in kept]
        assert numbers == sorted(set(numbers))
        assert kept == [number(each) for each in numbers]
        eventually(lambda: ws._queued == 0, "the queue was not sent")
        broadcast([ws], "there is room again")
        assert peer.message() == (TEXT, b"there is room again")

    def test_a_slow_consumer_is_waited_for_where_that_is_asked_for(self, link: Link) -> None:
        ws, peer = link(with_policy("wait"))
        peer.share()

        def send() -> None:
            for index in range(COUNT):
                broadcast([ws], number(index), binary=True)

        sender = threading.Thread(target=send)
        sender.start()
        eventually(lambda: ws._queued > 0, "the queue never filled")
        for index in range(COUNT):
            assert peer.message() == (BINARY, number(index))
        sender.join(TIMEOUT)
        assert not sender.is_alive()
        assert ws.dropped_messages == 0

    def test_a_long_generator_is_broadcast_to_its_end(self, link: Link) -> None:
        ws, peer = link(with_policy("drop_connection"))
        broadcast([ws], (number(index) for index in range(COUNT)), binary=True)
        broadcast([ws], "and then this")
        peer.share()
        assert read_message(peer) == b"".join(map(number, range(COUNT)))
        assert peer.message() == (TEXT, b"and then this")
        ws.send("and others")
        assert peer.message() == (TEXT, b"and others")


def iter_of(message: bytes) -> Any:
    """Return a generator of the halves of a message."""
    return (half for half in (message[:100], message[100:]))


def read_message(peer: Any) -> bytes:
    """Read a message, in however many frames."""
    message, fin = bytearray(), 0
    while not fin:
        fin, _, payload = peer.frame()
        message += payload
    return bytes(message)
