"""Compressed messages, as they come (RFC 7692 section 6)."""

from __future__ import annotations

import random
import zlib

import pytest

from test.helpers import frame
from test.test_streaming import EVERY_WAY, ROLES, Event, Role, drive, take
from ws4py.deflate import Inflater
from ws4py.framing import (
    OPCODE_BINARY,
    OPCODE_CLOSE,
    OPCODE_CONTINUATION,
    OPCODE_PING,
    OPCODE_PONG,
    OPCODE_TEXT,
    RSV1,
)
from ws4py.streaming import Stream

TEXT, BINARY, MORE = OPCODE_TEXT | RSV1, OPCODE_BINARY | RSV1, OPCODE_CONTINUATION
NOISE = random.Random(1).randbytes(100_000)


class Peer:
    """Compresses as a peer does, with what zlib offers."""

    def __init__(self) -> None:
        self._compressor = zlib.compressobj(6, zlib.DEFLATED, -15)

    def __call__(self, payload: bytes) -> bytes:
        data = self._compressor.compress(payload) + self._compressor.flush(zlib.Z_SYNC_FLUSH)
        return data[:-4]


def build(role: Role, opcode: int, payload: bytes = b"", fin: int = 1) -> bytes:
    """Return a frame of the other end; ``opcode`` may have RSV1."""
    data = bytearray(frame(opcode & 0x0F, payload, fin, role.key))
    data[0] |= opcode & RSV1
    return bytes(data)


def stream_of(role: Role, **limits: int | None) -> Stream:
    stream = role.stream(**limits)
    stream.inflater = Inflater(15, True)
    return stream


def events(role: Role, data: bytes, **limits: int | None) -> list[Event]:
    return drive(stream_of(role, **limits), role.chunks(data))


@pytest.mark.parametrize("role", EVERY_WAY, ids=repr)
def test_compressed_and_other_messages_come_in_their_order(role: Role) -> None:
    compress = Peer()
    text = "Grüße ".encode() * 20
    data = b"".join(
        [
            build(role, TEXT, compress(text)),
            build(role, OPCODE_TEXT, b"plain"),
            build(role, BINARY, compress(text)),
            build(role, BINARY, compress(b"")),
            build(role, TEXT, b"\x00"),
            build(role, OPCODE_PING, b"?"),
            build(role, TEXT, compress(text)),
        ]
    )
    assert events(role, data) == [
        ("text", text),
        ("text", b"plain"),
        ("binary", text),
        ("binary", b""),
        ("text", b""),
        ("ping", b"?"),
        ("text", text),
    ]


@pytest.mark.parametrize("role", EVERY_WAY, ids=repr)
def test_a_compressed_message_may_be_cut_anywhere_into_fragments(role: Role) -> None:
    payload = "Grüße ".encode() * 20
    data = Peer()(payload)
    pieces = [
        build(role, TEXT if not i else MORE, data[i : i + 1], fin=0) for i in range(len(data))
    ]
    pieces.insert(1, build(role, OPCODE_PONG, b"between"))
    pieces.append(build(role, MORE, b""))
    assert events(role, b"".join(pieces)) == [("pong", b"between"), ("text", payload)]


@pytest.mark.parametrize("role", ROLES, ids=repr)
@pytest.mark.parametrize("size", [1, 125, 126, 65_535, 65_536, 65_537, 1 << 20, 1 << 24])
def test_a_message_of_any_size_is_inflated(size: int, role: Role) -> None:
    payload = (NOISE * (size // len(NOISE) + 1))[:size]
    stream = stream_of(role)
    data = build(role, BINARY, Peer()(payload)) + build(role, OPCODE_TEXT, b"next")
    received: list[Event] = []
    for start in range(0, len(data), 65_536):
        wanted = stream.parser.send(data[start : start + 65_536])
        while not wanted:
            received += take(stream)
            wanted = next(stream.parser)
    assert received == [("binary", payload), ("text", b"next")]


def test_a_large_message_lets_others_have_their_turn_while_it_is_inflated() -> None:
    role = ROLES[0]
    stream = stream_of(role)
    data = build(role, TEXT, Peer()(b"a" * (4 << 20)))
    turns = 0
    wanted = stream.parser.send(data)
    while not stream.has_message:
        assert (wanted, take(stream), stream.unread > 0) == (0, [], True)
        turns += 1
        # What comes meanwhile is not lost, nor does it get ahead.
        wanted = stream.parser.send(build(role, OPCODE_PING, b"%d" % turns))
    assert turns >= 3
    assert take(stream) == [("text", b"a" * (4 << 20))]
    pings = []
    while not next(stream.parser):
        pings += take(stream)
    assert pings == [("ping", b"%d" % turn) for turn in range(1, turns + 1)]


@pytest.mark.parametrize("role", EVERY_WAY, ids=repr)
@pytest.mark.parametrize("opcode", [OPCODE_CLOSE, OPCODE_PING, OPCODE_PONG])
def test_rsv1_in_a_control_frame_is_an_error(opcode: int, role: Role) -> None:
    assert events(role, build(role, opcode | RSV1)) == [("error", 1002)]


@pytest.mark.parametrize("role", EVERY_WAY, ids=repr)
def test_rsv1_in_a_later_fragment_is_an_error(role: Role) -> None:
    data = Peer()(b"Hello")
    begun = build(role, TEXT, data[:3], fin=0)
    assert events(role, begun + build(role, MORE | RSV1, data[3:])) == [("error", 1002)]


@pytest.mark.parametrize("role", EVERY_WAY, ids=repr)
def test_rsv1_that_was_not_negotiated_is_an_error(role: Role) -> None:
    assert role.events(build(role, TEXT, Peer()(b"Hello"))) == [("error", 1002)]


@pytest.mark.parametrize("role", EVERY_WAY, ids=repr)
@pytest.mark.parametrize("bit", [0x20, 0x10])
def test_the_other_reserved_bits_stay_an_error(bit: int, role: Role) -> None:
    data = bytearray(build(role, TEXT, Peer()(b"Hello")))
    data[0] |= bit
    assert events(role, bytes(data)) == [("error", 1002)]


@pytest.mark.parametrize("role", EVERY_WAY, ids=repr)
def test_what_cannot_be_inflated_is_an_error(role: Role) -> None:
    data = build(role, OPCODE_TEXT, b"before") + build(role, BINARY, b"\xff" * 9)
    assert events(role, data) == [("text", b"before"), ("error", 1007)]


@pytest.mark.parametrize("role", EVERY_WAY, ids=repr)
@pytest.mark.parametrize("text", [b"\xff", b"ok \xc3", b"\xed\xa0\x80"])
def test_text_that_is_not_utf_8_once_inflated_is_an_error(text: bytes, role: Role) -> None:
    assert events(role, build(role, TEXT, Peer()(text))) == [("error", 1007)]


def test_text_that_cannot_become_utf_8_is_refused_before_its_end() -> None:
    role = ROLES[0]
    data = Peer()(b"a" * 1000 + b"\xff" + NOISE)
    assert events(role, build(role, TEXT, data[:1000], fin=0)) == [("error", 1007)]


@pytest.mark.parametrize("role", ROLES, ids=repr)
@pytest.mark.parametrize("fragments", [1, 3])
def test_the_limit_is_for_what_a_message_inflates_to(fragments: int, role: Role) -> None:
    for payload, expected in (
        (NOISE[:1000], [("binary", NOISE[:1000])]),
        (NOISE[:1001], [("error", 1009)]),
    ):
        data = Peer()(payload)
        parts = [data] if fragments == 1 else [data[:10], data[10:500], data[500:]]
        frames = [
            build(role, BINARY if not i else MORE, part, int(i == len(parts) - 1))
            for i, part in enumerate(parts)
        ]
        assert events(role, b"".join(frames), max_message_size=1000) == expected


def test_a_bomb_is_refused_when_it_has_reached_the_limit() -> None:
    role = ROLES[0]
    stream = stream_of(role, max_message_size=1 << 20)
    data = build(role, BINARY, Peer()(bytes(64 << 20)))
    pieces = 0
    wanted = stream.parser.send(data)
    while not (wanted or stream.errors):
        pieces += 1
        assert len(stream.message.data) <= 1 << 20  # type: ignore[union-attr]
        wanted = next(stream.parser)
    assert [error.code for error in stream.errors] == [1009]
    assert pieces <= 2
    assert stream.message is None


def test_a_stream_that_has_ended_keeps_nothing_of_zlib() -> None:
    role = ROLES[0]
    data = build(role, TEXT, Peer()(b"Hello"))
    for end in (build(role, OPCODE_CLOSE), build(role, OPCODE_PING, b"?" * 126)):
        stream = stream_of(role)
        drive(stream, [data + end])
        assert stream.inflater is None
    stream = stream_of(role)
    drive(stream, [data])
    assert stream.inflater is not None
    stream._cleanup()
    assert stream.inflater is None
