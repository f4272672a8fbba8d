"""What comes in is handled in its order and once, however it is cut, and whoever reads it."""

from __future__ import annotations

import socket
import threading
from collections import deque
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from test.helpers import TIMEOUT, RecordingSocket, eventually, frame, read_exactly, unmasked
from ws4py.limits import Limits
from ws4py.manager import WebSocketManager
from ws4py.websocket import WebSocket


class Sent(NamedTuple):
    """What a peer sends at once, and what an application sees of it."""

    data: bytes
    seen: tuple[Any, ...] | None


def message(opcode: int, payload: bytes) -> Sent:
    return Sent(frame(opcode, payload), ("text" if opcode == 1 else "binary", payload))


def fragments(pieces: list[bytes]) -> Sent:
    last = len(pieces) - 1
    frames = (frame(0 if n else 2, piece, n == last) for n, piece in enumerate(pieces))
    return Sent(b"".join(frames), ("binary", b"".join(pieces)))


PAYLOADS = st.text(max_size=30).map(str.encode) | st.sampled_from(
    [b"", b"x" * 125, b"x" * 126, b"x" * 700]
)
TRAFFIC = st.lists(
    st.builds(message, st.sampled_from([1, 2]), PAYLOADS)
    | st.builds(fragments, st.lists(st.binary(max_size=40), min_size=2, max_size=4))
    | st.binary(max_size=125).map(lambda data: Sent(frame(9, data), None))
    | st.binary(max_size=125).map(lambda data: Sent(frame(10, data), ("pong", data))),
    max_size=12,
)
#: Where chunks end: more often than not within a frame.
CUTS = st.lists(st.integers(1, 60) | st.integers(1, 2000), min_size=1, max_size=8)


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    chunks = []
    while data:
        size = sizes[len(chunks) % len(sizes)]
        chunks.append(data[:size])
        data = data[size:]
    return chunks


class Seeing(WebSocket):
    """Keeps what it sees, answers each message, and processes what is left in ``inside`` before."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.seen: list[tuple[Any, ...]] = []
        self.inside: deque[bytes] = deque()

    def received_message(self, message: Any) -> None:
        self._see("text" if message.is_text else "binary", message.data)
        self.send(message.data, message.is_binary)

    def ponged(self, pong: Any) -> None:
        self._see("pong", pong.data)

    def _see(self, *event: Any) -> None:
        self.seen.append(event)
        if self.inside:
            assert self.process(self.inside.popleft())


def seeing() -> tuple[Seeing, RecordingSocket]:
    sock = RecordingSocket()
    return Seeing(sock), sock


@given(TRAFFIC, CUTS, st.booleans())
@settings(max_examples=200)
def test_chunks_may_be_cut_anywhere(traffic: list[Sent], cuts: list[int], gathers: bool) -> None:
    ws, sock = seeing()
    ws.gather = gathers
    for chunk in cut(b"".join(sent.data for sent in traffic), cuts):
        assert ws.process(chunk)
    assert ws.seen == [sent.seen for sent in traffic if sent.seen]
    answers = [answer_to(sent) for sent in traffic]
    assert bytes(sock.sent) == b"".join(answers)
    assert ws._chunk is None


def answer_to(sent: Sent) -> bytes:
    if sent.seen is None:  # a Ping
        payload = unmasked(sent.data[6:], sent.data[2:6])
        return b"\x8a" + bytes([len(payload)]) + payload
    kind, payload = sent.seen
    return b"" if kind == "pong" else frame(1 if kind == "text" else 2, payload, key=None)


@given(TRAFFIC, CUTS)
@settings(max_examples=200)
def test_a_callback_may_process_what_follows(traffic: list[Sent], cuts: list[int]) -> None:
    ws, _ = seeing()
    ws.inside.extend(cut(b"".join(sent.data for sent in traffic), cuts))
    while ws.inside:
        assert ws.process(ws.inside.popleft())
    assert ws.seen == [sent.seen for sent in traffic if sent.seen]
    assert ws._chunk is None


@pytest.mark.parametrize("at", range(1, 30))
def test_what_follows_a_cut_frame_is_judged(at: int) -> None:
    ws, sock = seeing()
    data = frame(1, b"good") * 3 + b"\x83" + frame(1, b"bad")[1:] + frame(1, b"late")
    assert ws.process(data[:at])
    ws.process(data[at:])
    assert ws.seen == [("text", b"good")] * 3
    assert sock.sent.startswith(b"\x81\x04good" * 3 + b"\x88")
    assert b"\x03\xea" in sock.sent
    assert b"late" not in sock.sent


@pytest.mark.parametrize("at", range(1, 30))
def test_nothing_follows_a_close(at: int) -> None:
    ws, _ = seeing()
    data = frame(1, b"first") + frame(8, b"\x03\xe8") + frame(1, b"late") * 3
    ws.process(data[:at])
    ws.process(data[at:])
    assert ws.seen == [("text", b"first")]
    assert ws.close_received


@pytest.mark.parametrize("count", [1, 2, 5])
def test_where_the_application_ends_it_what_came_is_handled_no_more(count: int) -> None:
    class Ends(Seeing):
        def received_message(self, message: Any) -> None:
            super().received_message(message)
            if len(self.seen) == count:
                self.terminate()

    ws = Ends(RecordingSocket())
    data = frame(1, b"a") * 8
    assert ws.process(data[:3])
    assert not ws.process(data[3:])
    assert len(ws.seen) == count


@pytest.mark.parametrize("pieces", [1, 2])
def test_who_waits_for_room_and_sees_the_end_hands_out_no_more(pieces: int) -> None:
    class Floods(WebSocket):
        limits = Limits(high_water=1000, low_water=100)
        got = 0
        late = False

        def received_message(self, message: Any) -> None:
            self.got += 1
            self.late = self.late or self._ending
            self.send(bytes(2_000_000), True)

        def _wait_for(self, size: int) -> None:
            waits.set()
            super()._wait_for(size)

    waits = threading.Event()
    ours, theirs = socket.socketpair()
    ws = Floods(ours)
    thread = threading.Thread(target=ws.run)
    theirs.sendall(b"".join(fragments([b"a"] * pieces).data for _ in range(3)))
    thread.start()
    assert waits.wait(TIMEOUT)
    ws.terminate()
    thread.join(TIMEOUT)
    theirs.close()
    assert (ws.got, ws.late) == (1, False)


def test_what_waits_when_a_paused_websocket_is_moved_is_handled_there() -> None:
    class Floods(Seeing):
        limits = Limits(high_water=1000, low_water=100, max_queue=None)

        def received_message(self, message: Any) -> None:
            self._see("binary", message.data)
            self.send(bytes(500_000), True)

    ours, theirs = socket.socketpair()
    ws = Floods(ours)
    managers = [WebSocketManager(), WebSocketManager()]
    for manager in managers:
        manager.start()
    managers[0].add(ws)
    theirs.sendall(frame(2, b"a") + frame(2, b"b") + frame(2, b"c"))
    eventually(lambda: ws._paused)
    managers[0].remove(ws)
    managers[1].add(ws)
    read_exactly(theirs, 3 * 500_010)
    assert [payload for _, payload in ws.seen] == [b"a", b"b", b"c"]
    for manager in managers:
        manager.stop()
        manager.join(TIMEOUT)
    theirs.close()
