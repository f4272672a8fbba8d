"""Faults 40 to 43: what size costs."""

from __future__ import annotations

import socket
import threading
from time import process_time
from typing import Any, Callable

import pytest

from test.helpers import (
    KEY,
    TIMEOUT,
    Recorder,
    RecordingSocket,
    RecordingWebSocket,
    frame,
    read_exactly,
    read_to_end,
)
from test.regressions import (
    Seen,
    close_code,
    fake_server,
    on_both_drivers,
    read_frame,
    read_head,
    regression,
    running_manager,
    switch,
)
from ws4py import masking
from ws4py.client.threadedclient import WebSocketClient
from ws4py.framing import Frame
from ws4py.limits import Limits
from ws4py.streaming import Stream
from ws4py.websocket import EchoWebSocket

HUGE = (1 << 62).to_bytes(8, "big")
SMALL = Limits(max_message_size=1000, close_timeout=1)


class Client(Recorder, WebSocketClient):
    """A threaded client that records."""


class CountingSocket(socket.socket):
    """A socket that keeps the sizes of its reads, and how much came of each."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock.family, sock.type, sock.proto, sock.detach())
        self.sizes: list[int] = []
        self.came: list[int] = []

    def recv(self, size: int, flags: int = 0) -> bytes:
        self.sizes.append(size)
        data = super().recv(size, flags)
        self.came.append(len(data))
        return data

    def recv_into(self, buffer: Any, size: int = 0, flags: int = 0) -> int:
        self.sizes.append(size or len(buffer))
        self.came.append(super().recv_into(buffer, size, flags))
        return self.came[-1]


def counting_pair() -> tuple[CountingSocket, socket.socket]:
    """Return a socket that counts, and its peer."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(TIMEOUT)
    return CountingSocket(ours), theirs


@regression(40)
@on_both_drivers
@pytest.mark.parametrize("opcode", [1, 2])
def test_a_frame_that_declares_2_to_the_62_bytes_is_1009_at_its_header(
    opcode: int, driven: Any
) -> None:
    with driven() as (websocket, peer):
        peer.sendall(bytes([0x80 | opcode, 0xFF]) + HUGE + KEY)
        assert close_code(read_frame(peer)) == 1009
        peer.sendall(frame(8, b"\x03\xf1"))
        peer.close()
        assert [event[0] for event in websocket.all_events()] == ["opened", "closed"]


@regression(40)
def test_a_server_that_declares_2_to_the_62_bytes_gets_1009_from_the_client() -> None:
    seen = []

    def conversation(sock: socket.socket) -> None:
        sock.sendall(switch(read_head(sock)) + b"\x82\x7f" + HUGE)
        seen.append(read_frame(sock))

    with fake_server(conversation) as port:
        client = Client(f"ws://127.0.0.1:{port}/")
        client.connect()
        client.run_forever()
    assert [close_code(each) for each in seen] == [1009]


@regression(40)
def test_a_declared_length_is_never_the_size_of_a_read() -> None:
    ours, theirs = counting_pair()
    websocket = RecordingWebSocket(ours)
    websocket.limits = Limits(max_message_size=None, close_timeout=1)
    reader = threading.Thread(target=websocket.run)
    with theirs:
        reader.start()
        theirs.sendall(b"\x82\xff" + HUGE + KEY + b"x" * 100_000)
        theirs.shutdown(socket.SHUT_WR)
        assert read_to_end(theirs) == b""
    reader.join(TIMEOUT)
    assert not reader.is_alive()
    limits = [64 * 1024, *(max(64 * 1024, 4 * came) for came in ours.came)]
    assert all(size <= limit for size, limit in zip(ours.sizes, limits))


@regression(40)
@on_both_drivers
@pytest.mark.parametrize("size", [999, 1000])
def test_fragments_that_are_together_over_the_limit_are_1009(size: int, driven: Any) -> None:
    with driven(EchoWebSocket, limits=SMALL) as (_, peer):
        peer.sendall(frame(2, b"x" * size, 0) + frame(0, b"y"))
        seen = read_frame(peer)
        if size == 999:
            assert seen == Seen(1, 2, b"x" * 999 + b"y")
        else:
            assert close_code(seen) == 1009


def by_byte(data: bytes, key: bytes) -> bytes:
    masked = bytearray(data)
    for i in range(len(masked)):
        masked[i] ^= key[i & 3]
    return bytes(masked)


def by_frame(data: bytes, key: bytes) -> bytes:
    return bytes(Frame(2, b"", key, 1).mask(data))


def by_stream(data: bytes, key: bytes) -> bytes:
    stream = Stream()
    stream.parser.send(b"\x82\xff" + len(data).to_bytes(8, "big") + key + data)
    assert stream.message is not None
    return bytes(stream.message.data)


MEGABYTE = bytes(range(256)) * 4096


def cost(action: Callable[..., Any], *arguments: Any) -> float:
    """Return the CPU seconds of the quickest of three calls."""
    costs = []
    for _ in range(3):
        begun = process_time()
        action(*arguments)
        costs.append(process_time() - begun)
    return min(costs)


@regression(41)
@pytest.mark.parametrize("mask", [masking.mask, by_frame, by_stream])
def test_masking_is_ten_times_quicker_than_byte_by_byte(mask: Any) -> None:
    assert mask(MEGABYTE, KEY) == by_byte(MEGABYTE, KEY)
    assert cost(mask, MEGABYTE, KEY) * 10 < cost(by_byte, MEGABYTE, KEY)


def process_in_pieces(opcode: int, size: int) -> None:
    data = frame(opcode, b"x" * size)
    websocket = RecordingWebSocket(RecordingSocket())
    websocket.limits = Limits(max_message_size=None)
    for i in range(0, len(data), 1024):
        assert websocket.process(data[i : i + 1024])
    assert len(websocket.next_event()[1]) == size


def process_in_fragments(opcode: int, size: int) -> None:
    websocket = RecordingWebSocket(RecordingSocket())
    websocket.limits = Limits(max_message_size=None)
    websocket.process(frame(opcode, b"", 0))
    for _ in range(size // 1024):
        websocket.process(frame(0, b"x" * 1024, 0))
    websocket.process(frame(0))
    assert len(websocket.next_event()[1]) == size


@regression(42)
@pytest.mark.parametrize("opcode", [1, 2])
@pytest.mark.parametrize("process", [process_in_pieces, process_in_fragments])
def test_four_times_the_bytes_in_small_chunks_cost_about_four_times_as_much(
    process: Any, opcode: int
) -> None:
    process(opcode, 1 << 20)
    # Quadratic buffering would make it sixteen.
    assert cost(process, opcode, 4 << 20) < 10 * cost(process, opcode, 1 << 20)


@regression(42)
def test_many_frames_in_one_chunk_cost_as_much_as_each_of_them() -> None:
    def process(count: int) -> None:
        websocket = RecordingWebSocket(RecordingSocket())
        assert websocket.process(frame(2, b"x" * 10) * count)
        assert websocket.events.qsize() == count

    process(1)
    assert cost(process, 20_000) < 10 * cost(process, 5_000)


@regression(43)
@pytest.mark.parametrize("size", [10, 200, 3000])
def test_a_message_takes_about_one_recv(size: int) -> None:
    ours, theirs = counting_pair()
    message = frame(2, b"x" * size)
    reader = threading.Thread(target=EchoWebSocket(ours).run)
    with theirs:
        reader.start()
        for _ in range(100):
            theirs.sendall(message)
            assert read_frame(theirs).opcode == 2
    reader.join(TIMEOUT)
    assert not reader.is_alive()
    assert len(ours.sizes) <= 110


@regression(43)
def test_a_message_takes_about_one_recv_under_a_manager() -> None:
    ours, theirs = counting_pair()
    with running_manager() as manager, theirs:
        manager.add(EchoWebSocket(ours))
        for _ in range(100):
            theirs.sendall(frame(2, b"x" * 10))
            assert read_frame(theirs).opcode == 2
        assert len(ours.sizes) <= 110


@regression(43)
def test_messages_that_come_together_take_far_fewer_recvs_than_they_are() -> None:
    ours, theirs = counting_pair()
    reader = threading.Thread(target=EchoWebSocket(ours).run)
    with theirs:
        theirs.sendall(frame(2, b"x" * 10) * 1000)
        reader.start()
        assert read_exactly(theirs, 12_000) == frame(2, b"x" * 10, key=None) * 1000
    reader.join(TIMEOUT)
    assert not reader.is_alive()
    assert len(ours.sizes) <= 10


@regression(43)
def test_a_large_message_is_asked_for_in_large_pieces() -> None:
    ours, theirs = counting_pair()
    reader = threading.Thread(target=EchoWebSocket(ours).run)
    with theirs:
        reader.start()
        theirs.sendall(frame(2, b"x" * 100_000))
        assert len(read_frame(theirs).payload) == 100_000
    reader.join(TIMEOUT)
    assert not reader.is_alive()
    assert min(ours.sizes) >= 64 * 1024
