"""What valid streams mean: both roles, each stream whole, byte by byte, and with the next frame."""

from __future__ import annotations

import platform
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from test.helpers import frame
from test.test_streaming import EVERY_WAY, ROLES, Event, Role, drive, hello, take
from ws4py.framing import (
    OPCODE_BINARY,
    OPCODE_CLOSE,
    OPCODE_CONTINUATION,
    OPCODE_PING,
    OPCODE_PONG,
    OPCODE_TEXT,
)

DATA_256 = bytes(range(256))
DATA_64K = bytes(range(256)) * 256

# RFC 6455 section 5.7, each for the role that may read it.
RFC_EXAMPLES = [
    ("a single-frame unmasked text", "client", "810548656c6c6f", ("text", b"Hello")),
    ("a single-frame masked text", "server", "818537fa213d7f9f4d5158", ("text", b"Hello")),
    ("a fragmented unmasked text", "client", "010348656c80026c6f", ("text", b"Hello")),
    ("an unmasked ping", "client", "890548656c6c6f", ("ping", b"Hello")),
    ("a masked pong", "server", "8a8537fa213d7f9f4d5158", ("pong", b"Hello")),
    ("256 bytes", "client", "827e0100" + DATA_256.hex(), ("binary", DATA_256)),
    ("64 KiB", "client", "827f0000000000010000" + DATA_64K.hex(), ("binary", DATA_64K)),
]

# Payloads as (opcode, payload, fin), and what they mean.
Sent = list[tuple[int, bytes, int]]
STREAMS: list[tuple[str, Sent, list[Event]]] = [
    ("an empty text", [(OPCODE_TEXT, b"", 1)], [("text", b"")]),
    ("an empty binary", [(OPCODE_BINARY, b"", 1)], [("binary", b"")]),
    ("an empty ping", [(OPCODE_PING, b"", 1)], [("ping", b"")]),
    ("an empty pong", [(OPCODE_PONG, b"", 1)], [("pong", b"")]),
    ("an empty close", [(OPCODE_CLOSE, b"", 1)], [("close", 1005, b"")]),
    ("a close with a code", [(OPCODE_CLOSE, b"\x03\xe8", 1)], [("close", 1000, b"")]),
    (
        "a close with a reason",
        [(OPCODE_CLOSE, b"\x03\xe9" + "Grüße".encode(), 1)],
        [("close", 1001, "Grüße".encode())],
    ),
    (
        "a close with the longest reason",
        [(OPCODE_CLOSE, b"\x03\xe8" + b"x" * 123, 1)],
        [("close", 1000, b"x" * 123)],
    ),
    ("binary that is not UTF-8", [(OPCODE_BINARY, b"\xff\xfe", 1)], [("binary", b"\xff\xfe")]),
    ("a ping that is not UTF-8", [(OPCODE_PING, b"\xff" * 125, 1)], [("ping", b"\xff" * 125)]),
    (
        "two messages",
        [(OPCODE_TEXT, b"1", 1), (OPCODE_BINARY, b"2", 1)],
        [("text", b"1"), ("binary", b"2")],
    ),
    (
        "a message in two fragments",
        [(OPCODE_BINARY, b"Hel", 0), (OPCODE_CONTINUATION, b"lo", 1)],
        [("binary", b"Hello")],
    ),
    (
        "a message in fragments of which most are empty",
        [
            (OPCODE_TEXT, b"", 0),
            (OPCODE_CONTINUATION, b"", 0),
            (OPCODE_CONTINUATION, b"a", 0),
            (OPCODE_CONTINUATION, b"", 1),
        ],
        [("text", b"a")],
    ),
    (
        "a message of empty fragments",
        [(OPCODE_TEXT, b"", 0), (OPCODE_CONTINUATION, b"", 1)],
        [("text", b"")],
    ),
    (
        "control frames between fragments",
        [
            (OPCODE_TEXT, b"a", 0),
            (OPCODE_PING, b"p", 1),
            (OPCODE_CONTINUATION, b"b", 0),
            (OPCODE_PONG, b"q", 1),
            (OPCODE_PING, b"", 1),
            (OPCODE_CONTINUATION, b"c", 1),
        ],
        [("ping", b"p"), ("pong", b"q"), ("ping", b""), ("text", b"abc")],
    ),
    (
        "a character in three fragments with a ping inside",
        [
            (OPCODE_TEXT, b"\xe2", 0),
            (OPCODE_CONTINUATION, b"\x82", 0),
            (OPCODE_PING, b"\xff", 1),
            (OPCODE_CONTINUATION, b"\xac", 1),
        ],
        [("ping", b"\xff"), ("text", "€".encode())],
    ),
    (
        "a fragmented message after another",
        [
            (OPCODE_TEXT, b"1", 0),
            (OPCODE_CONTINUATION, b"2", 1),
            (OPCODE_BINARY, b"3", 0),
            (OPCODE_CONTINUATION, b"\xff", 1),
            (OPCODE_TEXT, b"5", 1),
        ],
        [("text", b"12"), ("binary", b"3\xff"), ("text", b"5")],
    ),
    (
        "a close inside a message",
        [(OPCODE_TEXT, b"half", 0), (OPCODE_CLOSE, b"\x03\xe8", 1)],
        [("close", 1000, b"")],
    ),
    (
        "a close inside a message, within a character",
        [(OPCODE_TEXT, b"\xe2\x82", 0), (OPCODE_CLOSE, b"\x03\xe8", 1)],
        [("close", 1000, b"")],
    ),
    (
        "frames after a close",
        [(OPCODE_CLOSE, b"", 1), (OPCODE_TEXT, b"late", 1), (3, b"", 1)],
        [("close", 1005, b"")],
    ),
]


def wire(role: Role, sent: Sent) -> bytes:
    frames = []
    for opcode, payload, fin in sent:
        if opcode == 3:
            frames.append(bytes((0x83, 0x80 if role.key else 0)) + (role.key or b""))
        else:
            frames.append(role.frame(opcode, payload, fin))
    return b"".join(frames)


@pytest.mark.parametrize("role", EVERY_WAY, ids=repr)
@pytest.mark.parametrize(
    ("reader", "example", "event"),
    [case[1:] for case in RFC_EXAMPLES],
    ids=[case[0] for case in RFC_EXAMPLES],
)
def test_an_example_of_the_rfc_means_what_it_says_to_who_may_read_it(
    reader: str, example: str, event: Event, role: Role
) -> None:
    expected = [event] if role.name == reader else [("error", 1002)]
    assert role.events(bytes.fromhex(example)) == expected


@pytest.mark.parametrize("role", EVERY_WAY, ids=repr)
@pytest.mark.parametrize(
    ("sent", "events"), [case[1:] for case in STREAMS], ids=[case[0] for case in STREAMS]
)
def test_a_valid_stream_gives_its_events_in_order(
    sent: Sent, events: list[Event], role: Role
) -> None:
    assert role.events(wire(role, sent)) == events


@pytest.mark.parametrize("role", EVERY_WAY, ids=repr)
@pytest.mark.parametrize("size", [0, 1, 124, 125, 126, 127, 65535, 65536, 65537])
def test_a_message_of_every_kind_of_length_is_received(size: int, role: Role) -> None:
    payload = bytes(i % 251 for i in range(size))
    data = role.frame(OPCODE_BINARY, payload) + role.frame(OPCODE_PING, b"after")
    assert role.events(data) == [("binary", payload), ("ping", b"after")]


@pytest.mark.parametrize("role", ROLES, ids=repr)
def test_a_stream_cut_at_any_place_gives_the_same_events(role: Role) -> None:
    data = wire(
        role,
        [
            (OPCODE_TEXT, "aé".encode(), 0),
            (OPCODE_PING, b"ping", 1),
            (OPCODE_CONTINUATION, "€\U0001f600".encode(), 1),
            (OPCODE_BINARY, bytes(130), 1),
            (OPCODE_CLOSE, b"\x03\xe8bye", 1),
        ],
    )
    expected = [
        ("ping", b"ping"),
        ("text", "aé€\U0001f600".encode()),
        ("binary", bytes(130)),
        ("close", 1000, b"bye"),
    ]
    for cut in range(len(data) + 1):
        assert drive(role.stream(), [data[:cut], data[cut:]]) == expected, f"cut at {cut}"


def test_the_reason_of_a_received_close_is_bytes_and_its_text_a_str() -> None:
    stream = ROLES[0].stream()
    stream.parser.send(frame(OPCODE_CLOSE, b"\x03\xe9" + "Grüße".encode()))
    assert (stream.closing.code, type(stream.closing.reason)) == (1001, bytes)
    assert str(stream.closing) == "Grüße"


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4999])
@pytest.mark.parametrize("role", ROLES, ids=repr)
def test_every_code_that_may_be_sent_is_received(code: int, role: Role) -> None:
    data = role.frame(OPCODE_CLOSE, code.to_bytes(2, "big") + b"x")
    assert role.events(data) == [("close", code, b"x")]


def test_a_close_inside_a_message_drops_what_had_come_of_it() -> None:
    stream = ROLES[0].stream()
    stream.parser.send(frame(OPCODE_TEXT, b"half", 0))
    assert stream.message.data == b"half"
    stream.parser.send(frame(OPCODE_CLOSE))
    assert (stream.message, stream.closing.code) == (None, 1005)


def test_after_a_close_everything_is_swallowed_and_more_is_asked_for() -> None:
    stream = ROLES[0].stream()
    assert stream.parser.send(frame(OPCODE_CLOSE)) == 0
    assert next(stream.parser) == 1
    for chunk in (hello(), frame(OPCODE_PING), b"\xff" * 70_000, frame(OPCODE_CLOSE, b"\x03\xe9")):
        assert stream.parser.send(chunk) == 1
    assert (stream.message, stream.pings, stream.errors) == (None, [], [])
    assert stream.closing.code == 1005


def test_each_fragment_may_have_its_own_masking_key() -> None:
    data = frame(OPCODE_TEXT, b"Hel", 0, b"\x01\x02\x03\x04")
    data += frame(OPCODE_CONTINUATION, b"lo", 1, b"\xf1\xf2\xf3\xf4")
    assert ROLES[0].events(data) == [("text", b"Hello")]


def test_a_masking_key_of_zeros_is_a_key() -> None:
    assert ROLES[0].events(frame(OPCODE_TEXT, b"Hello", 1, bytes(4))) == [("text", b"Hello")]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 64, 4097])
def test_the_key_turns_with_the_chunks_of_a_long_frame(size: int) -> None:
    payload = bytes(i % 251 for i in range(20_000))
    data = frame(OPCODE_BINARY, payload, 1, b"\x01\x20\x43\xf4")
    chunks = [data[i : i + size] for i in range(0, len(data), size)]
    assert drive(ROLES[0].stream(), chunks) == [("binary", payload)]


def test_what_has_come_of_a_long_frame_is_in_the_message_already() -> None:
    for role in ROLES:
        stream = role.stream()
        data = role.frame(OPCODE_TEXT, b"Hello, world")
        stream.parser.send(data[:-5])
        assert (stream.message.data, stream.has_message) == (b"Hello, ", False)


def test_a_message_is_one_object_from_its_first_byte_to_its_last() -> None:
    stream = ROLES[0].stream()
    stream.parser.send(frame(OPCODE_TEXT, b"Hel", 0))
    growing = stream.message
    stream.parser.send(frame(OPCODE_CONTINUATION, b"lo"))
    assert stream.message is growing


def test_a_message_that_was_taken_is_not_touched_again() -> None:
    stream = ROLES[0].stream()
    stream.parser.send(hello())
    first, stream.message = stream.message, None
    assert drive(stream, [frame(OPCODE_TEXT, b"more")]) == [("text", b"more")]
    assert first.data == b"Hello"


def test_ten_thousand_small_messages_in_one_chunk_all_come() -> None:
    stream = ROLES[0].stream()
    data = b"".join(frame(OPCODE_TEXT, b"%d" % i) for i in range(10_000))
    events = drive(stream, [data])
    assert [int(payload) for _, payload in events] == list(range(10_000))


MESSAGE = st.tuples(st.sampled_from(["text", "binary"]), st.text(max_size=20), st.integers(0, 25))
CONTROL = st.tuples(st.sampled_from(["ping", "pong"]), st.text(max_size=20), st.just(0))


WHOLE = frame(OPCODE_BINARY, DATA_256)


@pytest.mark.skipif(platform.python_implementation() != "CPython", reason="counts references")
@pytest.mark.parametrize(
    "cuts",
    [
        pytest.param((0, 0), id="whole"),
        pytest.param((3,), id="the next one is cut in its header"),
        pytest.param((20, 40), id="the next one is cut in its payload"),
    ],
)
def test_a_stream_that_waits_keeps_nothing_of_the_chunks_it_has_parsed(
    cuts: tuple[int, ...],
) -> None:
    stream, start = Role("server").stream(), 0
    for cut in cuts:
        chunk = WHOLE[start:] + WHOLE[:cut]
        start = cut
        before = sys.getrefcount(chunk)
        wanted = stream.parser.send(chunk)
        while not wanted and stream.unread:
            stream.message = None
            wanted = next(stream.parser)
        stream.message = None
        assert sys.getrefcount(chunk) == before


@given(
    role=st.sampled_from(ROLES),
    sent=st.lists(MESSAGE | CONTROL, max_size=6),
    cuts=st.lists(st.integers(0, 400), max_size=8),
)
def test_whatever_was_sent_comes_back_however_it_is_cut(
    role: Role, sent: list[tuple[str, str, int]], cuts: list[int]
) -> None:
    opcodes = {
        "text": OPCODE_TEXT,
        "binary": OPCODE_BINARY,
        "ping": OPCODE_PING,
        "pong": OPCODE_PONG,
    }
    frames, expected = [], []
    for kind, text, cut in sent:
        payload = text.encode()
        expected.append((kind, payload))
        if cut and kind in ("text", "binary"):
            frames.append(role.frame(opcodes[kind], payload[:cut], 0))
            frames.append(role.frame(OPCODE_PING, b"between"))
            frames.append(role.frame(OPCODE_CONTINUATION, payload[cut:]))
            expected.insert(-1, ("ping", b"between"))
        else:
            frames.append(role.frame(opcodes[kind], payload))
    data = b"".join(frames)
    edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    chunks = [data[start:end] for start, end in zip(edges, edges[1:])]
    assert drive(role.stream(), chunks) == expected


def test_an_owner_may_leave_a_message_for_as_long_as_it_likes() -> None:
    role = ROLES[0]
    stream = role.stream()
    data = hello() + role.frame(OPCODE_PING, b"1") + role.frame(OPCODE_BINARY, b"2")
    assert stream.parser.send(data) == 0
    while not stream.pings:
        assert next(stream.parser) == 0
    assert [next(stream.parser) for _ in range(5)] == [0] * 5
    assert take(stream) == [("text", b"Hello"), ("ping", b"1")]
    assert next(stream.parser) == 0
    assert take(stream) == [("binary", b"2")]
