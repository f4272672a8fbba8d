"""The same WebSocket class behaves the same on every engine, over ws and wss."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from test.conformance import BINARY, CLOSE, ENGINES, PING, PONG, TEXT, Echo, Engine, Link, Peer
from test.helpers import TIMEOUT, Recorder
from ws4py.limits import Limits

LARGE = bytes(range(256)) * 4096  # 1 MiB


@pytest.fixture(params=ENGINES, ids=lambda engine: engine.name)
def engine(request: pytest.FixtureRequest) -> Engine:
    return request.param


@pytest.fixture(params=["ws", "wss"])
def link(
    request: pytest.FixtureRequest,
    engine: Engine,
    server_tls: ssl.SSLContext,
    client_tls: ssl.SSLContext,
    no_thread_left: None,
) -> Iterator[Link]:
    engine.skip(request.node)
    contexts = (server_tls, client_tls) if request.param == "wss" else (None, None)
    with ExitStack() as stack:
        yield Link(engine, *contexts, stack)


class Failing(Echo):
    """Fails in the callback ``where``."""

    where = ""

    def fail_in(self, callback: str) -> None:
        if callback == self.where:
            raise LookupError("a fault of the application")

    def opened(self) -> None:
        super().opened()
        self.fail_in("opened")

    def received_message(self, message: Any) -> None:
        super().received_message(message)
        self.fail_in("received_message")

    def ponged(self, pong: Any) -> None:
        super().ponged(pong)
        self.fail_in("ponged")

    def closed(self, code: int, reason: str | None = None) -> None:
        super().closed(code, reason)
        self.fail_in("closed")


class Acting(Failing):
    """Calls ``act`` in the callback ``where``."""

    act: Any = None

    def fail_in(self, callback: str) -> None:
        if callback == self.where:
            type(self).act(self)


def end(peer: Peer, code: int = 1000) -> None:
    """Do the closing handshake as the peer."""
    peer.send_close(code)
    peer.close_frame()
    peer.leave()


class TestConformance:
    """What a WebSocket does, whoever moves its bytes."""

    def test_opened_comes_first_and_closed_last_and_each_once(self, link: Link) -> None:
        ws, peer = link(Echo)
        peer.send(TEXT, b"one")
        peer.send(BINARY, b"two")
        assert [peer.message(), peer.message()] == [(TEXT, b"one"), (BINARY, b"two")]
        end(peer)
        assert ws.all_events() == [
            ("opened",),
            ("text", b"one"),
            ("binary", b"two"),
            ("closed", 1000, ""),
        ]

    @pytest.mark.parametrize("opcode", [TEXT, BINARY])
    def test_a_message_of_any_size_is_echoed(self, link: Link, opcode: int) -> None:
        _, peer = link(Echo)
        for size in (0, 1, 125, 126, 65535, 65536, 1 << 20):
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

    def test_we_close_and_the_peer_answers(self, link: Link) -> None:
        ws, peer = link()
        ws.close(4001, "bye")
        assert peer.close_frame() == (4001, "bye")
        peer.send_close(4002, b"you too")
        peer.leave()
        assert ws.all_events() == [("opened",), ("closed", 4002, "you too")]
        assert (ws.close_code, ws.close_reason) == (4002, "you too")

    def test_the_peer_closes_and_is_answered(self, link: Link) -> None:
        ws, peer = link()
        peer.send_close(1001, "à bientôt".encode())
        assert peer.close_frame() == (1001, "à bientôt")
        peer.leave()
        assert ws.all_events()[-1] == ("closed", 1001, "à bientôt")

    def test_an_empty_close_is_answered_empty(self, link: Link) -> None:
        ws, peer = link()
        peer.send_close(None)
        assert peer.close_frame() is None
        peer.leave()
        assert ws.all_events()[-1] == ("closed", 1005, "")

    def test_both_sides_close_at_once(self, link: Link) -> None:
        ws, peer = link()
        peer.send_close(4001)
        ws.close(4002)
        assert peer.close_frame() in [(4001, ""), (4002, "")]
        peer.leave()
        assert ws.all_events()[-1] == ("closed", 4001, "")

    def test_a_second_close_says_nothing(self, link: Link) -> None:
        ws, peer = link()
        ws.close(4001)
        ws.close(4002)
        assert peer.close_frame() == (4001, "")
        peer.send_close(4001)
        peer.leave()
        ws.all_events()
        ws.close()

    @pytest.mark.parametrize("code", [0xFFFF + 1, 999, 1004, 1006, 1015, 1016, 2999, 5000])
    def test_a_code_that_is_none_is_not_sent(self, link: Link, code: int) -> None:
        ws, _ = link()
        with pytest.raises(ValueError, match=str(code)):
            ws.close(code)
        assert not ws.close_sent

    @pytest.mark.parametrize("where", ["opened", "received_message", "ponged"])
    def test_an_exception_in_a_callback_closes_with_1011(self, link: Link, where: str) -> None:
        class Fails(Failing):
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
        assert ws.all_events()[-1] == ("closed", 1011, "")

    def test_an_exception_in_one_connection_is_nothing_to_others(self, link: Link) -> None:
        class Fails(Failing):
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
        class Fails(Failing):
            where = "received_message"

        ws, peer = link(Fails)
        peer.sock.sendall(peer.build(TEXT, b"one") + peer.build(TEXT, b"two"))
        assert peer.message() == (TEXT, b"one")
        assert (peer.close_frame() or ())[0] == 1011
        peer.send_close(1011)
        peer.leave()
        assert [event[0] for event in ws.all_events()] == ["opened", "text", "closed"]

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

    def test_a_peer_that_does_not_answer_a_close_is_dropped(self, link: Link) -> None:
        class Impatient(Recorder):
            limits = Limits(close_timeout=0.1)

        ws, peer = link(Impatient)
        ws.close(1001)
        assert peer.close_frame() == (1001, "")
        assert ws.all_events()[-1][:2] == ("closed", 1006)
        peer.expect_end()

    def test_a_peer_that_goes_on_sending_after_a_close_is_dropped(self, link: Link) -> None:
        class Impatient(Recorder):
            limits = Limits(close_timeout=0.3)

        ws, peer = link(Impatient)
        ws.close()
        try:
            while not ws.ended.wait(0.01):
                peer.send(TEXT, b"and another thing")
        except (ConnectionError, ssl.SSLError):
            pass
        assert ws.all_events()[-1][:2] == ("closed", 1006)

    def test_a_peer_that_vanishes_is_closed_with_1006(self, link: Link) -> None:
        ws, peer = link()
        peer.sock.close()
        assert ws.all_events()[-1][:2] == ("closed", 1006)

    def test_terminate_ends_without_a_handshake(self, link: Link) -> None:
        ws, peer = link()
        ws.terminate()
        assert ws.all_events() == [("opened",), ("closed", 1006, "Going away")]
        peer.expect_end()

    @pytest.mark.parametrize("where", ["opened", "received_message", "ponged", "closed"])
    def test_terminate_in_a_callback_ends_after_it(self, link: Link, where: str) -> None:
        class Ends(Acting):
            pass

        Ends.where, Ends.act = where, lambda self: self.terminate()
        ws, peer = link(Ends)
        if where in ("received_message", "ponged"):
            peer.send(PONG)
            peer.send(TEXT, b"go")
        elif where == "closed":
            peer.sock.close()
        events = ws.all_events()
        assert events[0] == ("opened",)
        assert events[-1][:2] == ("closed", 1006)
        assert [event[0] for event in events].count("closed") == 1

    @pytest.mark.parametrize("where", ["opened", "received_message", "ponged"])
    def test_close_in_a_callback_begins_the_handshake(self, link: Link, where: str) -> None:
        class Closes(Acting):
            pass

        Closes.where, Closes.act = where, lambda self: self.close(4000, "enough")
        ws, peer = link(Closes)
        peer.send(PONG)
        peer.send(TEXT, b"go")
        opcode, payload = peer.message()
        if where != "opened" and opcode == TEXT:
            opcode, payload = peer.message()
        assert (opcode, payload) == (CLOSE, b"\x0f\xa0enough")
        peer.send_close(4000)
        peer.leave()
        assert ws.all_events()[-1] == ("closed", 4000, "")

    @pytest.mark.parametrize("method", ["send", "ping"])
    def test_what_is_sent_after_the_end_is_an_error(self, link: Link, method: str) -> None:
        ws, peer = link()
        end(peer)
        ws.all_events()
        with pytest.raises(RuntimeError, match=r"^Cannot send on a terminated websocket$"):
            getattr(ws, method)("too late")

    def test_nothing_can_be_sent_or_closed_within_closed(self, link: Link) -> None:
        class Late(Recorder):
            def closed(self, code: int, reason: str | None = None) -> None:
                self.close()
                with pytest.raises(RuntimeError) as caught:
                    self.send("too late")
                self.error = str(caught.value)
                super().closed(code, reason)

        ws, peer = link(Late)
        end(peer)
        ws.all_events()
        assert ws.error == "Cannot send on a terminated websocket"

    def test_stream_and_environ_are_there_within_closed_and_not_after(self, link: Link) -> None:
        class Looks(Recorder):
            def closed(self, code: int, reason: str | None = None) -> None:
                self.seen = self.stream.closing.code, type(self.environ)
                super().closed(code, reason)

        ws, peer = link(Looks)
        end(peer, 4321)
        ws.all_events()
        assert ws.seen == (4321, type(None) if link.engine.is_client else dict)

    def test_everything_is_let_go_at_the_end(self, link: Link) -> None:
        ws, peer = link()
        threads = set(threading.enumerate())
        end(peer)
        ws.all_events()
        for thread in threads:
            if thread.name in ("WebSocketClient", "Thread"):
                thread.join(TIMEOUT)
        pause = threading.Event()
        while ws.sock is not None or ws.stream is not None:
            assert not pause.wait(0.001)
        assert (ws.environ, ws.terminated) == (None, True)
        assert (ws.client_terminated, ws.server_terminated) == (True, True)

    def test_both_addresses_are_known(self, link: Link) -> None:
        ws, peer = link()
        assert ws.local_address == peer.sock.getpeername()[:2]
        assert ws.peer_address == peer.sock.getsockname()[:2]

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

    def test_many_threads_that_close_and_terminate_end_it_once(self, link: Link) -> None:
        ws, _ = link()
        together = threading.Barrier(6)

        def finish(act: Any) -> None:
            together.wait(TIMEOUT)
            act()

        acts = [ws.close, ws.terminate, ws.close_connection] * 2
        threads = [threading.Thread(target=finish, args=(act,)) for act in acts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(TIMEOUT)
        events = ws.all_events()
        assert [event[0] for event in events] == ["opened", "closed"]

    def test_close_connection_leads_to_closed(self, link: Link) -> None:
        ws, peer = link()
        ws.close_connection()
        assert ws.sock is None
        peer.expect_end()
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
