"""Each engine is what its row in the table of engines says, and its connections are apart."""

from __future__ import annotations

import threading

from test.conformance import BINARY, TEXT, Echo, Link, end
from test.conformance.serving import Where
from test.helpers import TIMEOUT, descriptors, eventually


class Row:
    """Threads and descriptors."""

    def test_callbacks_run_in_the_thread_of_the_engine(self, link: Link) -> None:
        behaviour = type("Placed", (Where, Echo), {})
        first, first_peer = link(behaviour)
        second, second_peer = link.again()
        for peer in (first_peer, second_peer):
            peer.send(TEXT, b"hello")
            peer.message()
            end(peer)
        for ws in (first, second):
            ws.all_events()
            assert len(ws.threads) == 2
            assert len(set(ws.threads)) == 1
            assert ws.threads[0].name.startswith(link.engine.thread)
        apart = first.threads[0] is not second.threads[0]
        assert apart or not link.engine.threads_each

    def test_a_connection_costs_one_descriptor_and_no_thread_too_many(self, link: Link) -> None:
        link()
        threads, open_before = set(threading.enumerate()), descriptors()
        for _ in range(3):
            link.again()

        def count() -> int:
            # Those of asyncio's, which look names up, come and go as it likes.
            new = set(threading.enumerate()) - threads
            return sum(not thread.name.startswith("asyncio_") for thread in new)

        # A timer of the handshake that has been cancelled ends a moment later.
        eventually(lambda: count() == 3 * link.engine.threads_each, "there are too many threads")
        # Ours, and that of the peer; what a hand-off leaves behind is closed a moment later.
        eventually(lambda: descriptors() <= open_before + 3 * 2, "there are too many descriptors")

    def test_a_peer_that_does_not_read_holds_up_nobody(self, link: Link) -> None:
        _, slow = link(Echo)
        slow.share()
        _, quick = link.again()
        messages = [bytes((65 + i,)) * (1 << 20) for i in range(12)]

        def send() -> None:
            for message in messages:
                slow.send(BINARY, message)

        sending = threading.Thread(target=send)
        sending.start()
        for i in range(20):
            quick.send(TEXT, b"%d" % i)
            assert quick.message() == (TEXT, b"%d" % i)
        assert [slow.message() == (BINARY, message) for message in messages] == [True] * 12
        sending.join(TIMEOUT)
        assert not sending.is_alive()
