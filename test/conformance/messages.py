"""How messages come and go."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from test.conformance import BINARY, PING, PONG, TEXT, Echo, Link, end
from test.helpers import TIMEOUT, Recorder


class Messages:
    """How messages come and go."""

    def test_opened_comes_first_and_closed_last_and_each_once(self, link: Link) -> None:
        ws, peer = link(Echo)
        peer.send(TEXT, b"one")
        peer.send(BINARY, b"two")
        assert [peer.message(), peer.message()] == [(TEXT, b"one"), (BINARY, b"two")]
        end(peer)
        *events, end_of_all = ws.all_events()
        assert events == [("opened",), ("text", b"one"), ("binary", b"two")]
        assert end_of_all[0] == "closed"

    @pytest.mark.parametrize("opcode", [TEXT, BINARY])
    def test_a_message_of_any_size_is_echoed(self, link: Link, opcode: int) -> None:
        _, peer = link(Echo)
        for size in (0, 1, 124, 125, 126, 127, 65534, 65535, 65536, 65537, 1 << 20):
            peer.send(opcode, b"a" * size)
            assert peer.message() == (opcode, b"a" * size)

    def test_a_message_comes_in_fragments_and_bytes(self, link: Link) -> None:
        ws, peer = link()
        frames = peer.build(TEXT, b"a", 0) + peer.build(PING, b"?") + peer.build(0, b"", 0)
        for byte in frames + peer.build(0, b"b"):
            peer.sock.sendall(bytes((byte,)))
        assert (ws.next_event(), ws.next_event()) == (("opened",), ("text", b"ab"))

    def test_bytes_that_came_with_the_handshake_are_not_lost(self, link: Link) -> None:
        early = link.build(TEXT, b"one") + link.build(BINARY, b"two") + link.build(PING, b"three")
        ws, peer = link(Echo, early)
        assert peer.message() == (TEXT, b"one")
        assert peer.message() == (BINARY, b"two")
        assert peer.message() == (PONG, b"three")
        assert [ws.next_event()[0] for _ in range(3)] == ["opened", "text", "binary"]

    def test_many_bytes_that_came_with_the_handshake_are_not_lost(self, link: Link) -> None:
        _, peer = link(Echo, b"".join(link.build(TEXT, b"%04d" % i * 4) for i in range(1000)))
        assert [peer.message()[1] for _ in range(1000)] == [b"%04d" % i * 4 for i in range(1000)]

    def test_half_a_frame_that_came_with_the_handshake_is_completed(self, link: Link) -> None:
        whole = link.build(TEXT, b"halves")
        _, peer = link(Echo, whole[:3])
        peer.sock.sendall(whole[3:])
        assert peer.message() == (TEXT, b"halves")

    def test_a_generator_is_sent_as_one_fragment_a_chunk(self, link: Link) -> None:
        ws, peer = link()
        ws.send(chunk for chunk in ("a", b"", bytearray(b"c")))
        assert [peer.frame() for _ in range(3)] == [(0, TEXT, b"a"), (0, 0, b""), (1, 0, b"c")]

    def test_a_generator_is_sent_from_a_callback(self, link: Link) -> None:
        class Chunks(Recorder):
            def received_message(self, message: Any) -> None:
                self.send((b"%d" % i for i in range(3)), binary=True)

        _, peer = link(Chunks)
        peer.send(TEXT, b"go")
        frames = [peer.frame() for _ in range(3)]
        assert frames == [(0, BINARY, b"0"), (0, 0, b"1"), (1, 0, b"2")]

    def test_a_ping_is_answered_and_a_pong_is_told(self, link: Link) -> None:
        ws, peer = link()
        peer.send(PING, b"here?")
        assert peer.message() == (PONG, b"here?")
        ws.ping("there?")
        assert peer.message() == (PING, b"there?")
        peer.send(PONG, b"there?")
        assert [ws.next_event(), ws.next_event()] == [("opened",), ("pong", b"there?")]

    def test_a_ping_that_is_too_long_is_refused(self, link: Link) -> None:
        ws, peer = link(Echo)
        with pytest.raises(ValueError, match="126"):
            ws.ping(b"x" * 126)
        peer.send(TEXT, b"still here")
        assert peer.message() == (TEXT, b"still here")

    def test_sends_of_many_threads_are_whole_and_in_order(self, link: Link) -> None:
        ws, peer = link(Echo)

        def send(name: int) -> None:
            for number in range(50):
                ws.send(b"%d %d " % (name, number) + b"x" * 3000, binary=True)

        threads = [threading.Thread(target=send, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        heard: dict[bytes, list[int]] = {}
        for _ in range(200):
            name, number, rest = peer.message()[1].split(b" ")
            assert rest == b"x" * 3000
            heard.setdefault(name, []).append(int(number))
        for thread in threads:
            thread.join(TIMEOUT)
        assert list(heard.values()) == [list(range(50))] * 4

    def test_both_addresses_are_known(self, link: Link) -> None:
        ws, peer = link()
        assert ws.local_address == peer.sock.getpeername()[:2]
        assert ws.peer_address == peer.sock.getsockname()[:2]
