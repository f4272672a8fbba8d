"""Sending: messages of each kind, generators in fragments, and what cannot be sent."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from test.helpers import (
    TIMEOUT,
    RecordingSocket,
    read_exactly,
    read_to_end,
)
from ws4py.messaging import (
    BinaryMessage,
    CloseControlMessage,
    PingControlMessage,
    TextMessage,
)
from ws4py.websocket import WebSocket

pytestmark = pytest.mark.usefixtures("no_thread_left")


@pytest.mark.parametrize(
    ("payload", "binary", "sent"),
    [
        ("hé", False, b"\x81\x03h\xc3\xa9"),
        (b"hi", False, b"\x81\x02hi"),
        (b"\xff", True, b"\x82\x01\xff"),
        (bytearray(b"\xff"), True, b"\x82\x01\xff"),
        ("", False, b"\x81\x00"),
        (b"", True, b"\x82\x00"),
        (TextMessage("hi"), True, b"\x81\x02hi"),
        (BinaryMessage(b"\xff"), False, b"\x82\x01\xff"),
        (PingControlMessage("?"), False, b"\x89\x01?"),
        (CloseControlMessage(1001, "x"), False, b"\x88\x03\x03\xe9x"),
        (b"x" * 126, True, b"\x82\x7e\x00\x7e" + b"x" * 126),
        (b"x" * 65536, True, b"\x82\x7f" + b"\0\0\0\0\0\1\0\0" + b"x" * 65536),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_message_of_each_kind_is_sent(payload: Any, binary: bool, sent: bytes) -> None:
    sock = RecordingSocket()
    ws = WebSocket(sock)
    ws.send(payload, binary)
    assert sock.sent == sent
    ws.terminate()


@pytest.mark.parametrize(
    ("payload", "binary", "error", "text"),
    [
        (5, False, ValueError, "Unsupported type '<class 'int'>' passed to send()"),
        (None, False, ValueError, "Unsupported type"),
        ([b"x"], True, ValueError, "Unsupported type"),
        (memoryview(b"x"), True, ValueError, "Unsupported type"),
        (iter([b"x"]), True, ValueError, "Unsupported type"),
        ("x", True, TypeError, "binary"),
    ],
)
def test_what_cannot_be_sent_is_an_error(
    payload: Any, binary: bool, error: type[Exception], text: str
) -> None:
    sock = RecordingSocket()
    with pytest.raises(error) as caught:
        WebSocket(sock).send(payload, binary)
    assert text in str(caught.value)
    assert sock.sent == b""


def test_an_empty_generator_is_an_empty_message() -> None:
    sock = RecordingSocket()
    WebSocket(sock).send(chunk for chunk in ())
    assert sock.sent == b"\x81\x00"


def test_a_generator_of_one_chunk_is_one_frame() -> None:
    sock = RecordingSocket()
    WebSocket(sock).send((chunk for chunk in (b"x",)), binary=True)
    assert sock.sent == b"\x82\x01x"


def test_a_generator_that_fails_before_its_first_fragment_sends_nothing() -> None:
    def fails() -> Iterator[str]:
        raise LookupError("a fault of the application")
        yield "never"

    sock = RecordingSocket()
    ws = WebSocket(sock)
    with pytest.raises(LookupError):
        ws.send(fails())
    ws.send("still here")
    assert sock.sent == b"\x81\x0astill here"


def test_a_generator_that_fails_later_closes_with_1011_and_raises() -> None:
    def fails() -> Iterator[str]:
        yield "one"
        yield "two"
        raise LookupError("a fault of the application")

    sock = RecordingSocket()
    ws = WebSocket(sock)
    with pytest.raises(LookupError):
        ws.send(fails())
    assert sock.sent[:5] == b"\x01\x03one"
    assert sock.sent[5:9:2] + sock.sent[8:9] == b"\x88\x03\xf3"
    ws.terminate()


@pytest.mark.parametrize("chunk", [5, None, memoryview(b"x")])
def test_a_chunk_that_cannot_be_sent_closes_with_1011_once_the_message_has_begun(
    chunk: Any,
) -> None:
    sock = RecordingSocket()
    ws = WebSocket(sock)
    with pytest.raises(ValueError, match="Unsupported type"):
        ws.send(each for each in ("one", "two", chunk))
    assert sock.sent.startswith(b"\x01\x03one\x00\x03two\x88")
    ws.terminate()


def test_a_generator_cannot_send_on_its_own_websocket() -> None:
    sock = RecordingSocket()
    ws = WebSocket(sock)
    errors: list[str] = []

    def sends() -> Iterator[str]:
        yield "one"
        yield "two"
        try:
            ws.send("three")
        except RuntimeError as error:
            errors.append(str(error))
        ws.ping("four")
        yield "five"

    ws.send(sends())
    assert "cannot send on the same websocket" in errors[0]
    assert sock.sent == b"\x01\x03one\x89\x04four\x00\x03two\x80\x04five"


def test_control_frames_of_others_go_between_fragments_and_data_frames_after() -> None:
    sock = RecordingSocket()
    ws = WebSocket(sock)
    other = threading.Thread(target=ws.send, args=("other",))

    def chunks() -> Iterator[str]:
        yield "a"
        yield "b"
        other.start()
        ping = threading.Thread(target=ws.ping, args=("!",))
        ping.start()
        ping.join(TIMEOUT)
        assert not ping.is_alive()
        yield "c"

    ws.send(chunks())
    other.join(TIMEOUT)
    assert sock.sent == b"\x01\x01a\x89\x01!\x00\x01b\x80\x01c\x81\x05other"


def test_generators_of_many_threads_are_sent_one_after_the_other(pair: Any) -> None:
    ours, theirs = pair
    ws = WebSocket(ours)
    threads = [
        threading.Thread(target=ws.send, args=((str(name) for _ in range(50)),))
        for name in range(4)
    ]
    for thread in threads:
        thread.start()
    data = read_exactly(theirs, 4 * 50 * 3)
    for thread in threads:
        thread.join(TIMEOUT)
    for begin in range(0, 600, 150):
        message = data[begin : begin + 150]
        name = message[2:3]
        assert message == b"\x01\x01" + name + (b"\x00\x01" + name) * 48 + b"\x80\x01" + name
    ws.terminate()


def test_close_in_a_generator_ends_the_message(pair: Any) -> None:
    ours, theirs = pair
    ws = WebSocket(ours)

    def closes() -> Iterator[str]:
        yield "a"
        yield "b"
        ws.close(4000)
        yield "c"
        yield "d"

    ws.send(closes())
    ws.terminate()
    data = read_to_end(theirs)
    assert data.startswith(b"\x01\x01a")
    assert data.count(b"\x88\x02\x0f\xa0") == 1


def test_a_client_masks_each_frame_with_another_key() -> None:
    sock = RecordingSocket()
    ws = WebSocket(sock)
    ws.stream.always_mask = True
    for _ in range(20):
        ws.send("hi")
    frames = [bytes(sock.sent[i : i + 8]) for i in range(0, 160, 8)]
    assert all(each[:2] == b"\x81\x82" for each in frames)
    assert len({each[2:6] for each in frames}) == 20
    for each in frames:
        assert bytes(a ^ b for a, b in zip(each[6:], each[2:4])) == b"hi"
