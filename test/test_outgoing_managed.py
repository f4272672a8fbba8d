"""WebSocketManager: broadcasts, and peers that do not read."""

from __future__ import annotations

import gc
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from test.helpers import (
    TIMEOUT,
    RecordingWebSocket,
    eventually,
    frame,
    read_exactly,
    read_to_end,
)
from test.test_manager import Foreign
from ws4py.limits import Limits
from ws4py.manager import WebSocketManager
from ws4py.receiving import Receiver
from ws4py.websocket import EchoWebSocket

pytestmark = pytest.mark.usefixtures("no_thread_left")


class Small(RecordingWebSocket):
    """Has a short queue, and ends soon."""

    limits = Limits(high_water=1000, low_water=100, max_queue=10_000, close_timeout=0.1)


def test_a_broadcast_reaches_all(manager: WebSocketManager, connect: Any) -> None:
    peers = [connect()[1] for _ in range(3)]
    manager.broadcast("hé")
    manager.broadcast(b"x\xff", binary=True)
    manager.broadcast(bytearray(b"y"), True)
    for peer in peers:
        assert read_exactly(peer, 12) == b"\x81\x03h\xc3\xa9\x82\x02x\xff\x82\x01y"


def test_a_generator_is_broadcast_in_fragments(manager: WebSocketManager, connect: Any) -> None:
    peers = [connect()[1] for _ in range(3)]
    manager.broadcast(str(number) for number in range(2))
    for peer in peers:
        assert read_exactly(peer, 6) == b"\x01\x010\x80\x011"


def test_a_broadcast_calls_send_where_it_is_overridden(
    manager: WebSocketManager, connect: Any
) -> None:
    class Counts(RecordingWebSocket):
        def send(self, payload: Any, binary: bool = False) -> None:
            super().send(f"{payload}!", binary)

    plain, loud, replaced = connect()[1], connect(Counts)[1], connect()
    replaced[0].send = lambda payload, binary: None
    manager.broadcast("hey")
    manager.broadcast("you")
    assert read_exactly(plain, 10) == b"\x81\x03hey\x81\x03you"
    assert read_exactly(loud, 12) == b"\x81\x04hey!\x81\x04you!"
    replaced[0].ping("only this")
    assert read_exactly(replaced[1], 2) == b"\x89\x09"


def test_one_that_fails_does_not_keep_a_broadcast_from_others(
    manager: WebSocketManager, connect: Any
) -> None:
    class Fails(RecordingWebSocket):
        def send(self, payload: Any, binary: bool = False) -> None:
            raise LookupError("a fault of the application")

    connect(Fails)
    _, gone = connect()
    _, peer = connect()
    gone.close()
    manager.broadcast("hello")
    assert read_exactly(peer, 7) == b"\x81\x05hello"


@pytest.mark.parametrize("policy", ["drop_connection", "drop_message"])
def test_a_peer_that_does_not_read_keeps_no_broadcast_waiting(
    manager: WebSocketManager, connect: Any, policy: str
) -> None:
    class Slow(Small):
        limits = replace(Small.limits, when_full=policy)

    class Roomy(RecordingWebSocket):
        limits = Limits(max_queue=None)

    slow, silent = connect(Slow)
    _, peer = connect(Roomy)
    received = bytearray()
    reader = threading.Thread(target=lambda: received.extend(read_exactly(peer, 200 * 10_004)))
    reader.start()
    for _ in range(200):
        manager.broadcast(b"x" * 10_000, binary=True)
    reader.join(TIMEOUT)
    assert len(received) == 200 * 10_004
    if policy == "drop_connection":
        assert slow.all_events()[-1][:2] == ("closed", 1006)
        return
    assert not slow.terminated
    assert len(slow._outgoing) < 40_000
    slow.terminate()
    kept = read_to_end(silent)
    assert slow.dropped_messages > 200 - len(kept) // 10_004 - 5
    assert len(kept) < 200 * 10_004
    assert kept.startswith(b"\x82\x7e\x27\x10" + b"x" * 10_000 + b"\x82\x7e\x27\x10")


def test_messages_that_are_dropped_leave_whole_frames(
    manager: WebSocketManager, connect: Any
) -> None:
    class Slow(Small):
        limits = replace(Small.limits, when_full="drop_message", close_timeout=None)

    slow, peer = connect(Slow)
    for number in range(300):
        manager.broadcast(b"%03d" % number * 2000, binary=True)
    closing = threading.Thread(target=slow.close, args=(4000,))
    closing.start()
    data = read_exactly(peer, 4)
    numbers = []
    while data[0] == 0x82:
        payload = read_exactly(peer, int.from_bytes(data[2:], "big"))
        assert payload == payload[:3] * 2000
        numbers.append(int(payload[:3]))
        data = read_exactly(peer, 4)
    closing.join(TIMEOUT)
    assert data == b"\x88\x02\x0f\xa0"
    assert numbers == sorted(numbers)
    assert 0 < len(numbers) < 300


def test_one_message_of_any_size_goes_in_an_empty_queue(
    manager: WebSocketManager, connect: Any
) -> None:
    _, peer = connect(Small)
    manager.broadcast(b"x" * 5_000_000, binary=True)
    assert len(read_exactly(peer, 5_000_010)) == 5_000_010


def test_a_thread_waits_while_too_much_is_queued(manager: WebSocketManager, connect: Any) -> None:
    ws, peer = connect(Small)
    done = threading.Event()

    def send() -> None:
        for _ in range(100):
            ws.send(b"x" * 10_000, binary=True)
        done.set()

    sender = threading.Thread(target=send)
    sender.start()
    assert not done.wait(0.2)
    assert len(ws._outgoing) < 30_000
    assert len(read_exactly(peer, 100 * 10_004)) == 100 * 10_004
    assert done.wait(TIMEOUT)
    sender.join(TIMEOUT)


@pytest.mark.parametrize("end", ["terminate", "peer", "stop"])
def test_a_thread_that_waits_learns_of_the_end(
    manager: WebSocketManager, connect: Any, end: str
) -> None:
    ws, peer = connect(Small)
    errors: list[BaseException] = []
    begun = threading.Event()

    def send() -> None:
        try:
            while True:
                ws.send(b"x" * 10_000, binary=True)
                begun.set()
        except RuntimeError as error:
            errors.append(error)

    sender = threading.Thread(target=send)
    sender.start()
    assert begun.wait(TIMEOUT)
    eventually(lambda: len(ws._outgoing) > 1000)
    {"terminate": ws.terminate, "peer": peer.close, "stop": manager.stop}[end]()
    sender.join(TIMEOUT)
    assert not sender.is_alive()
    assert str(errors[0]) == "Cannot send on a terminated websocket"
    assert ws.all_events()[-1][:2] == ("closed", 1006)


def test_a_peer_that_takes_nothing_is_dropped_after_the_write_timeout(
    manager: WebSocketManager, connect: Any
) -> None:
    class Hasty(RecordingWebSocket):
        limits = Limits(write_timeout=0.2)

    ws, _ = connect(Hasty)
    ws.send(b"x" * 1_000_000, binary=True)
    code, reason = ws.all_events()[-1][1:]
    assert code == 1006
    assert "0.2 s" in reason


def test_a_peer_that_does_not_read_echoes_is_not_read_and_is_later(
    manager: WebSocketManager, connect: Any
) -> None:
    class Echo(EchoWebSocket):
        limits = Limits(high_water=10_000, low_water=1000)

    ws, peer = connect(Echo)
    _, other = connect(EchoWebSocket)
    sent = threading.Event()

    def flood() -> None:
        for _ in range(500):
            peer.sendall(frame(2, b"x" * 10_000))
        sent.set()

    flooding = threading.Thread(target=flood)
    flooding.start()
    eventually(lambda: ws._paused, "the peer is read for ever")
    assert not sent.wait(0.1)
    other.sendall(frame(1, b"hello"))
    assert read_exactly(other, 7) == b"\x81\x05hello"
    assert len(read_exactly(peer, 500 * 10_004)) == 500 * 10_004
    assert sent.wait(TIMEOUT)
    flooding.join(TIMEOUT)
    peer.sendall(frame(1, b"hello"))
    assert read_exactly(peer, 7) == b"\x81\x05hello"


def test_answers_that_gather_count_as_such_when_the_peer_does_not_read_them(
    manager: WebSocketManager, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Echo(EchoWebSocket):
        limits = Limits(high_water=10_000, low_water=1000)

    monkeypatch.setattr(Receiver, "_goes_on", lambda *_: True)  # however slow the machine is
    ws, peer = connect(Echo)
    count, answer = 30_000, frame(1, b"x" * 100, key=None)
    flooding = threading.Thread(target=peer.sendall, args=(frame(1, b"x" * 100) * count,))
    flooding.start()
    eventually(lambda: ws._paused, "the peer is read for ever")
    assert flooding.is_alive()
    assert read_exactly(peer, count * len(answer)) == answer * count
    flooding.join(TIMEOUT)
    assert not flooding.is_alive()


def test_many_answers_to_one_chunk_do_not_pile_up(manager: WebSocketManager, connect: Any) -> None:
    class Amplifies(RecordingWebSocket):
        limits = Limits(max_queue=None)

        def received_message(self, message: Any) -> None:
            self.send(b"x" * 65_536, binary=True)

    ws, peer = connect(Amplifies)
    peer.sendall(frame(1, b"") * 2000)
    eventually(lambda: ws._paused)
    assert len(ws._outgoing) < 1_000_000
    reading = threading.Thread(target=read_exactly, args=(peer, 2000 * (65_536 + 10)))
    reading.start()
    reading.join(TIMEOUT)
    assert not reading.is_alive()


def test_a_peer_whose_close_stands_behind_unread_answers_is_answered(
    manager: WebSocketManager, connect: Any
) -> None:
    class Echo(RecordingWebSocket):
        def received_message(self, message: Any) -> None:
            self.send(message.data, binary=True)

    ws, peer = connect(Echo)
    asked = frame(2, b"x" * 100_000) * 10 + frame(8, b"\x03\xe8")
    asking = threading.Thread(target=peer.sendall, args=(asked,))
    asking.start()
    eventually(lambda: ws._paused)
    data = read_to_end(peer)
    asking.join(TIMEOUT)
    assert data.endswith(b"\x88\x02\x03\xe8")
    assert len(data) == 10 * 100_010 + 4
    assert ws.all_events()[-1] == ("closed", 1000, "")


@pytest.mark.parametrize(
    "asked, code, close",
    [(frame(8, b"\x03\xe8"), 1000, b"\x03\xe8"), (frame(0), 1006, b"\x03\xea")],
)
def test_a_peer_that_half_closes_behind_its_close_or_a_violation_gets_what_is_queued(
    manager: WebSocketManager, connect: Any, asked: bytes, code: int, close: bytes
) -> None:
    ws, peer = connect(RecordingWebSocket)
    other, busy = connect(RecordingWebSocket)
    assert other.next_event() == ("opened",)
    ws.send(b"x" * 1_000_000, binary=True)
    peer.sendall(asked)
    peer.shutdown(socket.SHUT_WR)
    for _ in range(3):  # Meanwhile the manager reads the end.
        busy.sendall(frame(1, b"busy"))
        assert other.next_event() == ("text", b"busy")
    data = read_to_end(peer)
    assert data[1_000_010:1_000_011] == b"\x88"
    assert data[1_000_012:1_000_014] == close
    assert ws.all_events()[-1][:2] == ("closed", code)


def test_only_the_newest_pong_is_kept_while_the_kernel_refuses_bytes(
    manager: WebSocketManager, connect: Any
) -> None:
    class Roomy(RecordingWebSocket):
        limits = Limits(high_water=10_000_000, low_water=1000)

    ws, peer = connect(Roomy)
    ws.send(b"x" * 1_000_000, binary=True)
    for number in range(100):
        peer.sendall(frame(9, b"%02d" % number))
    peer.sendall(frame(1, b"seen"))
    assert [ws.next_event(), ws.next_event()] == [("opened",), ("text", b"seen")]
    read_exactly(peer, 1_000_010)
    assert read_exactly(peer, 4) == b"\x8a\x0299"
    ws.send("end")
    assert read_exactly(peer, 5) == b"\x81\x03end"


def test_pings_of_one_chunk_are_all_answered(manager: WebSocketManager, connect: Any) -> None:
    _, peer = connect()
    peer.sendall(b"".join(frame(9, b"%02d" % number) for number in range(50)))
    assert read_exactly(peer, 200) == b"".join(b"\x8a\x02%02d" % number for number in range(50))


def test_a_generator_from_the_managers_thread_is_pulled_as_the_peer_reads(
    manager: WebSocketManager, connect: Any
) -> None:
    pulled: list[int] = []

    class Streams(RecordingWebSocket):
        def received_message(self, message: Any) -> None:
            self.send(self.chunks(), binary=True)
            self.events.put(("sent",))

        def chunks(self) -> Iterator[bytes]:
            for number in range(1000):
                pulled.append(number)
                yield b"x" * 10_000

    ws, peer = connect(Streams)
    _, other = connect(EchoWebSocket)
    peer.sendall(frame(1, b"go"))
    assert [ws.next_event(), ws.next_event()] == [("opened",), ("sent",)]
    other.sendall(frame(1, b"hello"))
    assert read_exactly(other, 7) == b"\x81\x05hello"
    assert 0 < len(pulled) < 500
    received = sum(len(read_exactly(peer, 10_004)) for _ in range(1000))
    assert received == 1000 * 10_004
    assert len(pulled) == 1000


def test_what_is_sent_behind_a_generator_comes_after_it_and_pings_within(
    manager: WebSocketManager, connect: Any
) -> None:
    class Streams(RecordingWebSocket):
        def received_message(self, message: Any) -> None:
            self.send((b"x" * 100_000 for _ in range(20)), binary=True)
            self.send("after")
            self.send("a" for _ in range(2))
            self.ping("within")
            self.close(4000)
            self.events.put(("sent",))

    ws, peer = connect(Streams)
    peer.sendall(frame(1, b"go"))
    # A peer that reads meanwhile may have taken all fragments before the Ping is sent.
    assert [ws.next_event(), ws.next_event()] == [("opened",), ("sent",)]
    kinds = []
    while True:
        head = read_exactly(peer, 2)
        size = head[1] & 0x7F
        if size > 125:
            size = int.from_bytes(read_exactly(peer, 2 if size == 126 else 8), "big")
        read_exactly(peer, size)
        kinds.append(head[0])
        if head[0] == 0x88:
            break
    assert 0x89 in kinds[1:20]
    kinds.remove(0x89)
    assert kinds == [0x02] + [0x00] * 18 + [0x80, 0x81, 0x01, 0x80, 0x88]


def test_an_exception_of_a_generator_closes_with_1011(
    manager: WebSocketManager, connect: Any
) -> None:
    def fails() -> Iterator[str]:
        yield "one"
        yield "two"
        raise LookupError("a fault of the application")

    class Streams(RecordingWebSocket):
        def received_message(self, message: Any) -> None:
            self.send(fails())

    _, peer = connect(Streams)
    peer.sendall(frame(1, b"go"))
    assert read_exactly(peer, 5) == b"\x01\x03one"
    assert read_exactly(peer, 4)[2:] == (1011).to_bytes(2, "big")


def test_a_generator_is_closed_when_the_connection_ends(
    manager: WebSocketManager, connect: Any
) -> None:
    let_go = threading.Event()

    class Streams(RecordingWebSocket):
        def received_message(self, message: Any) -> None:
            self.send(self.chunks(), binary=True)
            self.events.put(("sent",))

        def chunks(self) -> Iterator[bytes]:
            try:
                while True:
                    yield b"x" * 10_000
            finally:
                let_go.set()

    ws, peer = connect(Streams)
    peer.sendall(frame(1, b"go"))
    assert [ws.next_event(), ws.next_event()] == [("opened",), ("sent",)]
    ws.terminate()
    ws.all_events()
    gc.collect()  # PyPy lets go of it then.
    assert let_go.wait(TIMEOUT)


def test_what_a_callback_sent_behind_a_threads_generator_goes_before_its_close(
    manager: WebSocketManager, connect: Any
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    class Says(RecordingWebSocket):
        def received_message(self, message: Any) -> None:
            self.send("bye")
            self.close(4000)
            go_on.set()

    def chunks() -> Iterator[str]:
        yield "a"
        yield "b"
        begun.set()
        go_on.wait(TIMEOUT)
        yield "c"

    ws, peer = connect(Says)
    sender = threading.Thread(target=ws.send, args=(chunks(),))
    sender.start()
    assert begun.wait(TIMEOUT)
    peer.sendall(frame(1, b"go"))
    data = b""
    while not data.endswith(b"\x88\x02\x0f\xa0"):
        more = peer.recv(100)
        assert more, data
        data += more
    sender.join(TIMEOUT)
    assert data == b"\x01\x01a\x00\x01b\x80\x01c\x81\x03bye\x88\x02\x0f\xa0"


def test_a_foreign_poller_may_be_used_by_slow_peers_and_threads() -> None:
    manager = WebSocketManager(Foreign())
    manager.start()
    ours, theirs = socket.socketpair()
    theirs.settimeout(TIMEOUT)
    ws = RecordingWebSocket(ours)
    manager.add(ws)
    sender = threading.Thread(target=ws.send, args=(b"x" * 2_000_000, True))
    sender.start()
    eventually(lambda: bool(ws._outgoing))
    for number in range(20):
        theirs.sendall(frame(1, b"%d" % number))
        eventually(lambda number=number: ws.events.qsize() > number)
    assert len(read_exactly(theirs, 2_000_010)) == 2_000_010
    sender.join(TIMEOUT)
    theirs.sendall(frame(1, b"end"))
    eventually(lambda: ("text", b"end") in ws.events.queue)
    assert len(manager) == 1
    manager.stop()
    manager.join(TIMEOUT)
    theirs.close()
