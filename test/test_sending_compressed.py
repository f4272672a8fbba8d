"""Sending compressed messages: which ones, in which order, and what is kept of them."""

from __future__ import annotations

import random
import socket
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from test.compressing import (
    BINARY,
    LONG,
    NOISE,
    TEXT,
    Message,
    Reading,
    agree,
    sent,
)
from test.helpers import TIMEOUT, RecordingSocket, RecordingWebSocket, eventually, frame
from ws4py.framing import OPCODE_CONTINUATION, OPCODE_TEXT
from ws4py.limits import Limits
from ws4py.manager import WebSocketManager
from ws4py.messaging import BinaryMessage, PingControlMessage, TextMessage
from ws4py.websocket import WebSocket


@pytest.mark.parametrize(
    ("payload", "options", "message"),
    [
        (LONG, {}, (TEXT, LONG)),
        (LONG.decode(), {}, (TEXT, LONG)),
        (bytearray(LONG), {"binary": True}, (BINARY, LONG)),
        (TextMessage(LONG), {}, (TEXT, LONG)),
        (BinaryMessage(LONG), {}, (BINARY, LONG)),
        (LONG * 1000, {"binary": True}, (BINARY, LONG * 1000)),
        (LONG, {"compress": False}, (OPCODE_TEXT, LONG)),
        (LONG[:255], {}, (OPCODE_TEXT, LONG[:255])),
        (LONG[:256], {}, (TEXT, LONG[:256])),
        ("ä" * 128, {}, (TEXT, "ä".encode() * 128)),
        (b"", {}, (OPCODE_TEXT, b"")),
        (PingControlMessage("?"), {}, (9, b"?")),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_message_is_compressed_unless_it_is_small_or_is_not_to_be(
    payload: Any, options: dict[str, bool], message: Message
) -> None:
    sock = RecordingSocket()
    ws, reading = WebSocket(sock), Reading()
    agree(ws)
    for _ in range(2):
        ws.send(payload, **options)
        assert sent(ws, sock, reading) == [message]
    ws.terminate()


def test_a_threshold_of_0_compresses_all_but_control_frames() -> None:
    sock = RecordingSocket()
    ws, reading = WebSocket(sock), Reading()
    agree(ws, threshold=0)
    for payload in (b"", b"a", b""):
        ws.send(payload)
    ws.ping("?")
    ws.close()
    expected = [(TEXT, b""), (TEXT, b"a"), (TEXT, b""), (9, b"?"), (8, b"\x03\xe8")]
    assert sent(ws, sock, reading) == expected
    ws.terminate()


@pytest.mark.parametrize("compress", [True, False])
def test_a_generator_is_sent_in_as_many_frames_as_it_has_chunks(compress: bool) -> None:
    sock = RecordingSocket()
    ws, reading = WebSocket(sock), Reading()
    agree(ws)
    ws.send((chunk for chunk in ("one", "", "three", "")), compress=compress)
    kind = TEXT if compress else OPCODE_TEXT
    assert sent(ws, sock, reading) == [(kind, b"onethree")]
    assert [opcode for opcode, _ in reading.frames] == [kind] + [OPCODE_CONTINUATION] * 3
    ws.terminate()


def test_the_payload_that_a_generator_is_sent_in_can_be_read_at_once(pair: Any) -> None:
    ours, theirs = pair
    ws = WebSocket(ours)
    agree(ws)
    inflater = zlib.decompressobj(-15)

    def chunks() -> Iterator[bytes]:
        for chunk in (b"first", b"second", b"third"):
            yield chunk
            if chunk != b"first":  # The frame before has left: one chunk is looked ahead.
                data = theirs.recv(1000)
                read.append(inflater.decompress(data[2:]))

    read: list[bytes] = []
    ws.send(chunks())
    assert read == [b"first", b"second"]
    ws.terminate()


@pytest.mark.parametrize(
    "payload", [5, None, [LONG], memoryview(LONG)], ids=lambda it: type(it).__name__
)
def test_what_cannot_be_sent_is_refused_as_without_compression(payload: Any) -> None:
    ws = WebSocket(RecordingSocket())
    agree(ws)
    with pytest.raises(ValueError, match="Unsupported type"):
        ws.send(payload)
    with pytest.raises(TypeError, match="str cannot be sent as a binary message"):
        ws.send("text", binary=True)
    ws.terminate()


def test_replies_that_gather_are_compressed_in_their_order() -> None:
    class Echo(WebSocket):
        def received_message(self, message: Any) -> None:
            self.send(message.data, message.is_binary)

    sock = RecordingSocket()
    ws, reading = Echo(sock), Reading()
    agree(ws)
    messages = [b"%d " % i * (i + 1) for i in range(300)]
    ws.process(b"".join(frame(OPCODE_TEXT, message) for message in messages))
    received = sent(ws, sock, reading)
    assert [data for _, data in received] == messages
    assert {opcode for opcode, _ in received} == {OPCODE_TEXT, TEXT}
    ws.terminate()


@contextmanager
def reading_all(peer: socket.socket, reading: Reading, count: int) -> Iterator[list[Message]]:
    """Read ``count`` messages in a thread of its own, until the end of the block."""
    messages: list[Message] = []

    def read() -> None:
        while len(messages) < count:
            data = peer.recv(1 << 16)
            assert data
            messages.extend(reading.feed(data))

    thread = threading.Thread(target=read)
    thread.start()
    yield messages
    thread.join(TIMEOUT)
    assert not thread.is_alive(), f"{len(messages)} of {count} messages came"


SENDERS, EACH = 6, 120


def load(sender: int, number: int) -> bytes:
    size = random.Random(sender * 1000 + number).choice([10, 300, 3000, 40_000])
    return b"%d/%d:" % (sender, number) + b"%d," % sender * (size // 2)


def chunks_of(data: bytes) -> Iterator[bytes]:
    for at in range(0, len(data), 1000):
        yield data[at : at + 1000]


def send_all(ws: WebSocket, sender: int) -> None:
    for number in range(EACH):
        data = load(sender, number)
        if number % 10 == 7:
            ws.send(chunks_of(data))
        else:
            ws.send(data)
        if number % 25 == 3:
            ws.ping("?")


@pytest.mark.parametrize("driven", ["by a thread", "by a loop"])
def test_what_many_threads_send_is_compressed_in_the_order_of_the_wire(
    driven: str, pair: Any, manager: WebSocketManager
) -> None:
    class Answers(RecordingWebSocket):
        limits = Limits(max_queue=None)

        def opened(self) -> None:
            agree(self)
            super().opened()

        def received_message(self, message: Any) -> None:
            send_all(self, 0)

    ours, theirs = pair
    ws = Answers(ours)
    runs = threading.Thread(target=ws.run)
    runs.start() if driven == "by a thread" else manager.add(ws)
    assert ws.next_event() == ("opened",)
    pings = SENDERS * len(range(3, EACH, 25))
    with reading_all(theirs, Reading(), SENDERS * EACH + pings) as messages:
        threads = [
            threading.Thread(target=send_all, args=(ws, sender)) for sender in range(1, SENDERS)
        ]
        for thread in threads:
            thread.start()
        theirs.sendall(frame(OPCODE_TEXT, b"go"))
        for thread in threads:
            thread.join(TIMEOUT)
    data = [payload for opcode, payload in messages if opcode != 9]
    for sender in range(SENDERS):
        mine = [each for each in data if each.startswith(b"%d/" % sender)]
        assert mine == [load(sender, number) for number in range(EACH)]
    ws.terminate()
    assert ws.ended.wait(TIMEOUT)
    if runs.ident:
        runs.join(TIMEOUT)


def test_a_thread_that_reads_writes_while_it_waits_for_a_message_of_another(pair: Any) -> None:
    class Answers(RecordingWebSocket):
        def received_message(self, message: Any) -> None:
            self.send(NOISE[:20_000], binary=True)
            super().received_message(message)

    ours, theirs = pair
    for end in pair:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    ws = Answers(ours)
    agree(ws)
    runs = threading.Thread(target=ws.run)
    runs.start()
    # The first answer is queued for a peer that does not read, and its reader waits for more.
    theirs.sendall(frame(OPCODE_TEXT, b"1"))
    eventually(lambda: ws._draining, "nothing is queued")
    sends = threading.Thread(target=ws.send, args=((NOISE for _ in range(5)), True))
    sends.start()
    eventually(lambda: len(ws._outgoing) > ws.limits.high_water, "there is room still")
    assert ws._fragmenter is not None
    theirs.sendall(frame(OPCODE_TEXT, b"2"))
    with reading_all(theirs, Reading(), 3) as messages:
        pass
    assert sorted(len(data) for _, data in messages) == [20_000] * 2 + [len(NOISE) * 5]
    sends.join(TIMEOUT)
    ws.terminate()
    runs.join(TIMEOUT)
    assert not sends.is_alive()
    assert not runs.is_alive()


class Interrupted(Exception):
    """What a signal's handler, or a time-out, raises within ``send``."""


# What is small is written where it is compressed.
@pytest.mark.parametrize(
    ("where", "payload"),
    [
        pytest.param("while it is compressed", LONG, id="small"),
        pytest.param("while it is compressed", LONG * 100, id="large"),
        pytest.param("before it is written", LONG * 100, id="large, compressed"),
    ],
)
def test_a_message_that_is_interrupted_does_not_spoil_those_behind_it(
    where: str, payload: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    sock = RecordingSocket()
    ws, reading = WebSocket(sock), Reading()
    agree(ws)
    ws.send(NOISE[:1000], binary=True)
    if where == "while it is compressed":
        interrupted = zlib.compressobj(wbits=-12)

        class Compressor:
            def compress(self, data: bytes) -> bytes:
                return interrupted.compress(data)

            def flush(self, mode: int) -> bytes:
                raise Interrupted

        ws._deflater._compressor = Compressor()  # type: ignore[assignment,union-attr]
    else:
        monkeypatch.setattr(ws, "_build", interrupt)
    with pytest.raises(Interrupted):
        ws.send(payload)
    monkeypatch.undo()
    ws.send(NOISE[:1000], binary=True)
    assert sent(ws, sock, reading) == [(BINARY, NOISE[:1000])] * 2
    ws.terminate()


def interrupt(*_arguments: Any) -> Any:
    raise Interrupted


def test_what_was_compressed_for_a_connection_does_not_go_to_the_next_one() -> None:
    class Reconnecting(WebSocket):
        def reconnect(self) -> None:
            self.terminate()
            self.__init__(second)  # type: ignore[misc]
            agree(self)

    first, second = RecordingSocket(), RecordingSocket()
    ws = Reconnecting(first)
    agree(ws)

    def chunks() -> Iterator[bytes]:
        yield LONG
        yield LONG
        ws.reconnect()
        yield LONG

    with pytest.raises(RuntimeError, match="terminated websocket"):
        ws.send(chunks())
    ws.send(LONG)
    ws.send(chunk for chunk in (LONG, LONG))
    assert sent(ws, second, Reading()) == [(TEXT, LONG), (TEXT, LONG * 2)]
    ws.terminate()


# What is kept.


def test_what_is_kept_for_the_next_message_is_let_go_of_when_that_is_long_in_coming(
    pair: Any,
) -> None:
    ours, theirs = pair
    ws, reading = WebSocket(ours), Reading()
    agree(ws, idle_release=0.05)
    for _ in range(2):
        ws.send(LONG)
        eventually(lambda: ws._deflater._compressor is None, "it is still kept")  # type: ignore[union-attr]
    ws._deflater.idle_release = None  # type: ignore[union-attr]
    ws.send(LONG)
    ws.send(LONG)
    messages: list[Message] = []
    while len(messages) < 4:
        messages += reading.feed(theirs.recv(4096))
    assert messages == [(TEXT, LONG)] * 4
    sizes = [size for _, size in reading.frames]
    assert sizes[3] < sizes[0] / 2
    assert sizes[0] == sizes[1] == sizes[2]
    ws.terminate()


def test_what_is_in_use_is_not_let_go_of(pair: Any) -> None:
    ours, theirs = pair
    ws = WebSocket(ours)
    agree(ws, idle_release=0.02)
    compressors = []

    def chunks() -> Iterator[bytes]:
        for _ in range(8):
            yield LONG
            threading.Event().wait(0.02)
            compressors.append(ws._deflater._compressor)  # type: ignore[union-attr]

    ws.send(chunks())
    assert len(set(compressors[1:])) == 1
    assert list(Reading().feed(theirs.recv(1 << 16))) == [(TEXT, LONG * 8)]
    ws.terminate()


def test_without_idle_release_it_is_kept_and_nothing_is_left_at_the_end(pair: Any) -> None:
    ours, _theirs = pair
    ws = WebSocket(ours)
    agree(ws, idle_release=None)
    ws.send(LONG)
    assert ws._deflater is not None
    assert ws._deflater._compressor is not None
    assert ws._idle_timer is None
    ws.terminate()
    assert ws._deflater is None


@pytest.mark.usefixtures("no_thread_left")
def test_the_end_of_a_connection_is_the_end_of_its_timer(pair: Any) -> None:
    ours, _theirs = pair
    ws = WebSocket(ours)
    agree(ws, idle_release=3600)
    ws.send(LONG)
    assert ws._idle_timer is not None
    ws.terminate()
    assert ws._idle_timer is None
