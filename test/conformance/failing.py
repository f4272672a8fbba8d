"""What a fault of the application, or of the peer, leads to."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from test.conformance import BINARY, CLOSE, PING, PONG, TEXT, Echo, Faulty, Link
from test.helpers import TIMEOUT, Recorder
from ws4py.limits import Limits

LARGE = bytes(range(256)) * 4096  # 1 MiB


class Failing:
    """What a fault of the application, or of the peer, leads to."""

    @pytest.mark.parametrize("where", ["opened", "received_message", "ponged"])
    def test_an_exception_in_a_callback_closes_with_1011(self, link: Link, where: str) -> None:
        class Fails(Faulty):
            pass

        Fails.where = where
        ws, peer = link(Fails)
        peer.send(PONG, b"")
        peer.send(TEXT, b"go")
        opcode, payload = peer.message()
        if opcode != CLOSE:
            opcode, payload = peer.message()
        assert (opcode, payload[:2]) == (CLOSE, (1011).to_bytes(2, "big"))
        peer.send_close(1011)
        peer.leave()
        assert ws.all_events()[-1][0] == "closed"

    def test_an_exception_in_one_connection_is_nothing_to_others(self, link: Link) -> None:
        class Fails(Faulty):
            def received_message(self, message: Any) -> None:
                super().received_message(message)
                assert message.data != b"fail"

            where = "closed"

        _, first = link(Fails)
        _, second = link.again()
        first.send(TEXT, b"fail")
        assert first.message() == (TEXT, b"fail")
        assert (first.close_frame() or ())[0] == 1011
        first.send_close(1011)
        first.leave()
        _, third = link.again()
        for peer in (second, third):
            peer.send(TEXT, b"hello")
            assert peer.message() == (TEXT, b"hello")

    def test_messages_after_an_exception_are_not_delivered(self, link: Link) -> None:
        class Fails(Faulty):
            where = "received_message"

        ws, peer = link(Fails)
        peer.sock.sendall(peer.build(TEXT, b"one") + peer.build(TEXT, b"two"))
        assert peer.message() == (TEXT, b"one")
        assert (peer.close_frame() or ())[0] == 1011
        peer.send_close(1011)
        peer.leave()
        assert [event[0] for event in ws.all_events()] == ["opened", "text", "closed"]

    def test_a_message_that_is_too_large_is_refused_at_its_header(self, link: Link) -> None:
        class Small(Echo):
            limits = Limits(max_message_size=1000)

        ws, peer = link(Small)
        peer.send(BINARY, b"x" * 1000)
        assert peer.message() == (BINARY, b"x" * 1000)
        peer.sock.sendall(peer.build(BINARY, b"x" * 1001)[:8])
        assert (peer.close_frame() or ())[0] == 1009
        peer.sock.close()
        assert ws.all_events()[-1][:2] == ("closed", 1006)

    @pytest.mark.parametrize(
        ("opcode", "payload", "fin", "code"),
        [
            (0x3, b"", 1, 1002),
            (0xB, b"", 1, 1002),
            (0x0, b"no message to continue", 1, 1002),
            (PING, b"in fragments", 0, 1002),
            (PING, b"x" * 126, 1, 1002),
            (TEXT, b"\xff", 1, 1007),
            (CLOSE, b"\x03", 1, 1002),
            (CLOSE, b"\x03\xed", 1, 1002),
            (CLOSE, b"\x03\xe8\xff", 1, 1007),
        ],
        ids=repr,
    )
    def test_a_violation_is_told_after_what_came_before_it(
        self, link: Link, opcode: int, payload: bytes, fin: int, code: int
    ) -> None:
        ws, peer = link(Echo)
        head = bytes((fin << 7 | opcode,)) + peer.build(BINARY, payload)[1:]
        peer.sock.sendall(peer.build(TEXT, b"before") + head + peer.build(TEXT, b"after"))
        assert peer.message() == (TEXT, b"before")
        assert (peer.close_frame() or ())[0] == code
        peer.sock.close()
        events = ws.all_events()
        assert [event[0] for event in events] == ["opened", "text", "closed"]
        assert events[-1][1] == 1006
        assert events[-1][2]

    def test_a_frame_with_the_masking_of_the_other_role_is_refused(self, link: Link) -> None:
        ws, peer = link()
        peer.masks = not peer.masks
        head = peer.build(TEXT, b"hello")
        peer.masks = not peer.masks
        peer.sock.sendall(head)
        assert (peer.close_frame() or ())[0] == 1002
        peer.sock.close()
        assert ws.all_events()[-1][:2] == ("closed", 1006)

    def test_a_close_arrives_though_much_more_came_after_a_violation(self, link: Link) -> None:
        ws, peer = link()
        sent = threading.Event()

        def flood() -> None:
            peer.sock.sendall(b"\x83" + peer.build(TEXT, b"")[1:] + LARGE)
            sent.set()

        flooding = threading.Thread(target=flood)
        flooding.start()
        assert sent.wait(TIMEOUT)
        flooding.join(TIMEOUT)
        assert (peer.close_frame() or ())[0] == 1002
        peer.sock.close()
        assert ws.all_events()[-1][:2] == ("closed", 1006)

    def test_a_heartbeat_finds_a_dead_peer(self, link: Link) -> None:
        class Beats(Recorder):
            heartbeat_freq = 0.05
            limits = Limits(heartbeat_timeout=0.2)

        ws, peer = link(Beats)
        assert peer.message() == (PING, b"")
        assert ws.all_events()[-1][:2] == ("closed", 1006)
        opcode, payload = peer.message()
        while opcode == PING:
            opcode, payload = peer.message()
        assert (opcode, payload[:2]) == (CLOSE, (1011).to_bytes(2, "big"))
