"""The compiled module and the pure functions it stands for: the same cases on both."""

from __future__ import annotations

import inspect
import os
import platform
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from test.helpers import KEY
from test.test_masking import by_the_formula, sample
from ws4py import framing, masking
from ws4py.framing import AT_ONCE
from ws4py.messaging import BinaryMessage, TextMessage

try:
    from ws4py import _speedups
except ImportError:
    _speedups = None  # type: ignore[assignment]

FUNCTIONS = ("mask", "encode_frame", "take_messages")
PURE = SimpleNamespace(
    mask=masking._mask_pure,
    encode_frame=framing._encode_frame_pure,
    take_messages=framing._take_messages_pure,
)
BOTH = [
    pytest.param(PURE, id="pure"),
    pytest.param(
        _speedups,
        id="compiled",
        marks=pytest.mark.skipif(_speedups is None, reason="the compiled module is not built"),
    ),
]
WANTS_PURE = os.environ.get("WS4PY_PURE", "0") not in ("", "0")
IS_CPYTHON = platform.python_implementation() == "CPython"
MOST = 1 << 24

TEXT, BINARY, PING, CLOSE, CONTINUATION, FIN = 0x1, 0x2, 0x9, 0x8, 0x0, 0x80
Taken = list[tuple[type, bytes]]


@pytest.fixture(params=BOTH)
def ways(request: pytest.FixtureRequest) -> Any:
    """The three functions, in one of the two ways."""
    return request.param


def frame(first: int, payload: bytes, masked: bool = True) -> bytes:
    """Build a frame as the figure of RFC 6455 5.2 shows it, with the shortest length."""
    size, bit = len(payload), 0x80 if masked else 0
    field = 0 if size < 126 else 2 if size < 65536 else 8
    length = bytes((bit | (126 if field == 2 else 127 if field else size),))
    key = KEY if masked else b""
    body = by_the_formula(payload, KEY) if masked else payload
    return bytes((first,)) + length + (size.to_bytes(field, "big") if field else b"") + key + body


def text(payload: bytes, masked: bool = True) -> bytes:
    return frame(FIN | TEXT, payload, masked)


def binary(payload: bytes, masked: bool = True) -> bytes:
    return frame(FIN | BINARY, payload, masked)


def take(ways: Any, buf: bytes, pos: int = 0, masked: bool = True, most: float = MOST) -> Any:
    """Take messages of the ordinary classes; return their classes and payloads, and the end."""
    messages, end = ways.take_messages(buf, pos, masked, most, TextMessage, BinaryMessage)
    assert type(messages) is list
    assert all(message.completed is True for message in messages)
    return [(type(message), message.data) for message in messages], end


# Which of them is in use


@pytest.mark.skipif(WANTS_PURE or not IS_CPYTHON, reason="pure Python is what is wanted here")
def test_the_compiled_module_is_in_use() -> None:
    assert _speedups is not None, "it could not be built: is there a C compiler?"
    assert masking.speedups is _speedups
    assert masking.mask is _speedups.mask
    assert framing.encode_frame is _speedups.encode_frame
    assert framing.take_messages is _speedups.take_messages


@pytest.mark.skipif(not WANTS_PURE, reason="WS4PY_PURE is not set")
def test_nothing_compiled_of_ours_is_in_use_where_pure_python_is_wanted() -> None:
    assert masking.speedups is None
    assert framing.encode_frame is framing._encode_frame_pure
    assert framing.take_messages is framing._take_messages_pure


@pytest.mark.skipif(_speedups is None, reason="the compiled module is not built")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_both_have_the_same_parameters(name: str) -> None:
    pure, compiled = (inspect.signature(getattr(ways, name)) for ways in (PURE, _speedups))
    assert [(each.name, each.kind, each.default) for each in pure.parameters.values()] == [
        (each.name, each.kind, each.default) for each in compiled.parameters.values()
    ]


# Building frames


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 70_000])
def test_a_frame_has_the_shortest_length(ways: Any, size: int, masked: bool) -> None:
    key = KEY if masked else b""
    for first in (FIN | TEXT, FIN | BINARY | 0x40, CONTINUATION, 0xFF):
        expected = frame(first, sample(size), masked)
        assert ways.encode_frame(first, sample(size), key) == expected
        assert ways.encode_frame(first, bytearray(sample(size)), bytearray(key)) == expected


def test_a_frame_is_not_masked_unless_a_key_is_given(ways: Any) -> None:
    built = ways.encode_frame(0x81, b"Hello")
    assert type(built) is bytes
    assert built == b"\x81\x05Hello"


@pytest.mark.parametrize("size", [1, 300, 70_000])
@pytest.mark.parametrize("first", [-1, 256, 1 << 70, -(1 << 70)])
def test_the_first_byte_has_to_be_a_byte(ways: Any, first: int, size: int) -> None:
    with pytest.raises(ValueError, match=f"0 to 255 and not {first}"):
        ways.encode_frame(first, bytes(size))


@pytest.mark.parametrize("key", [b"abc", b"abcde"])
def test_a_frame_takes_four_bytes_of_key_or_none(ways: Any, key: bytes) -> None:
    with pytest.raises(ValueError, match=r"4 ?byte"):
        ways.encode_frame(0x81, b"Hello", key)


@pytest.mark.parametrize("payload", ["text", 5, None])
@pytest.mark.parametrize("key", [b"", KEY])
def test_a_frame_has_a_payload_of_bytes(ways: Any, payload: Any, key: bytes) -> None:
    with pytest.raises(TypeError):
        ways.encode_frame(0x81, payload, key)


# Taking messages


CHUNK = text(b"Hello") + binary(b"\xff\0") + text("é€😀".encode()) + text(b"") + binary(b"x" * 300)
MESSAGES: Taken = [
    (TextMessage, b"Hello"),
    (BinaryMessage, b"\xff\0"),
    (TextMessage, "é€😀".encode()),
    (TextMessage, b""),
    (BinaryMessage, b"x" * 300),
]


def test_messages_are_taken_in_order(ways: Any) -> None:
    assert take(ways, CHUNK) == (MESSAGES, len(CHUNK))


def test_messages_of_a_server_are_not_masked(ways: Any) -> None:
    chunk = text(b"Hello", masked=False) + binary(b"y" * 126, masked=False)
    expected = [(TextMessage, b"Hello"), (BinaryMessage, b"y" * 126)]
    assert take(ways, chunk, masked=False) == (expected, len(chunk))


def test_what_has_come_of_the_next_frame_is_left(ways: Any) -> None:
    ends = [0, *(take(ways, CHUNK[: i + 1])[1] for i in range(len(CHUNK)))]
    found = sorted(set(ends))
    assert found == [0, 11, 19, 34, 40, 348]
    assert [ends.index(end) for end in found] == found, "taken late"
    for i in range(len(CHUNK)):
        assert len(take(ways, CHUNK[:i])[0]) == found.index(ends[i])


def test_a_buffer_is_read_from_any_position_on(ways: Any) -> None:
    assert take(ways, b"\xff" * 7 + CHUNK + b"\x81", 7) == (MESSAGES, 7 + len(CHUNK))


def test_the_bytes_of_a_bytearray_are_copied(ways: Any) -> None:
    for masked in (True, False):
        buf = bytearray(text(b"Hello", masked))
        messages, end = ways.take_messages(buf, 0, masked, MOST, TextMessage, BinaryMessage)
        buf[:] = b"\0" * len(buf)
        assert (messages[0].data, end) == (b"Hello", len(buf))
        assert type(messages[0].data) is bytes


def is_utf8(data: bytes) -> bool:
    return data.decode(errors="ignore").encode() == data


KEYS = [KEY, bytes(4), b"\0\0\0\1", b"\1\0\0\0", b"\xff" * 4]


@pytest.mark.parametrize("key", KEYS, ids=bytes.hex)
@pytest.mark.parametrize("first", [FIN | TEXT, FIN | BINARY, FIN | PING])
def test_short_frames_of_every_length_are_built_and_taken(
    ways: Any, first: int, key: bytes
) -> None:
    cls = TextMessage if first == FIN | TEXT else BinaryMessage
    for size in range(130):
        for payload in (bytes(size), sample(size)[::-1], b"~" * size):
            built = ways.encode_frame(first, payload, key)
            assert built[-size - 4 :] == key + by_the_formula(payload, key)
            assert ways.encode_frame(first, bytearray(payload), bytearray(key)) == built
            taken = ([(cls, payload)], len(built))
            if first == FIN | PING or (first == FIN | TEXT and not is_utf8(payload)):
                taken = ([], 0)
            assert take(ways, built + b"\x81", most=125 if size < 126 else MOST) == taken


@pytest.mark.parametrize("pos", [-1, -sys.maxsize, len(CHUNK), len(CHUNK) + 1, sys.maxsize])
def test_nothing_stands_outside_of_the_buffer(ways: Any, pos: int) -> None:
    assert take(ways, CHUNK, pos) == ([], pos)


NOT_TAKEN = {
    "a Ping": frame(FIN | PING, b"abc"),
    "a Pong": frame(0x8A, b""),
    "a Close": frame(FIN | CLOSE, b"\x03\xe8"),
    "a first fragment": frame(TEXT, b"abc"),
    "a last fragment": frame(FIN | CONTINUATION, b"abc"),
    "RSV1": frame(0xC1, b"abc"),
    "RSV2": frame(0xA1, b"abc"),
    "RSV3": frame(0x92, b"abc"),
    "a reserved opcode": frame(0x83, b"abc"),
    "a reserved control opcode": frame(0x8B, b"abc"),
    "a frame that is not masked": text(b"abc", masked=False) + b"more than that",
    "a long frame that is not masked": text(b"a" * 126, masked=False) + b"more than that",
    "a length of 125 in two bytes": b"\x82\xfe\0\x7d" + KEY + bytes(125),
    "a length of 0 in two bytes": b"\x82\xfe\0\0" + KEY,
    "a short length in eight bytes": b"\x82\xff" + bytes(7) + b"\x05" + KEY + bytes(5),
    "a length of eight bytes": frame(FIN | BINARY, bytes(65536)),
    "a length with its top bit set": b"\x82\xff\x80" + bytes(7) + KEY + bytes(10),
    "an overlong character": text(b"abc\xc0\xaf"),
    "half a surrogate": text(b"\xed\xa0\x80"),
    "a character beyond Unicode": text(b"\xf4\x90\x80\x80"),
    "half a character": text("é".encode()[:1]),
    "text that ends in a character": text(b"a" * 200 + "😀".encode()[:3]),
}


@pytest.mark.parametrize("name", NOT_TAKEN)
def test_it_stops_in_front_of(ways: Any, name: str) -> None:
    chunk = text(b"first") + NOT_TAKEN[name] + text(b"behind")
    assert take(ways, chunk) == ([(TextMessage, b"first")], len(text(b"first")))


def test_it_stops_in_front_of_a_masked_frame_of_a_server(ways: Any) -> None:
    for payload in (b"abc", b"a" * 126, b"a" * 125):
        chunk = text(b"first", masked=False) + text(payload) + bytes(300)
        assert take(ways, chunk, masked=False) == ([(TextMessage, b"first")], 7)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 5000, 65535])
def test_a_message_of_the_most_bytes_is_taken_and_no_longer_one(ways: Any, size: int) -> None:
    chunk = binary(bytes(size))
    taken = ([(BinaryMessage, bytes(size))], len(chunk))
    for most in (size, size + 0.5, size + 1, 1 << 70, 1e300):
        assert take(ways, chunk, most=most) == taken
    for most in (size - 1, size - 0.5, -1, -(1 << 70), -1e300):
        assert take(ways, chunk, most=most) == ([], 0)


def test_at_most_so_many_are_taken_at_once(ways: Any) -> None:
    one = text(b"a")
    taken, end = take(ways, one * (AT_ONCE + 6))
    assert (len(taken), end) == (AT_ONCE, AT_ONCE * len(one))
    taken, end = take(ways, one * (AT_ONCE + 6), end)
    assert (len(taken), end) == (6, (AT_ONCE + 6) * len(one))


def test_a_message_is_what_calling_its_class_makes(ways: Any) -> None:
    messages, _ = ways.take_messages(CHUNK, 0, True, MOST, TextMessage, BinaryMessage)
    for message, (cls, payload) in zip(messages, MESSAGES):
        made = cls(payload)
        made.completed = True
        assert type(message) is type(made)
        assert vars(message) == vars(made)
        assert (message.opcode, message.encoding) == (made.opcode, made.encoding)
        message.note = "a user's own attribute"
        message.extend(b"!")
        assert message.data == payload + b"!"


class Plain(TextMessage):
    pass


class Loud(TextMessage):
    def __init__(self, text: Any = None) -> None:
        super().__init__(text.upper())
        self.loud = True


class Counted(BinaryMessage):
    made = 0

    def __new__(cls, *args: Any) -> Counted:
        cls.made += 1
        return super().__new__(cls)


class Reset(type):
    def __call__(cls, *args: Any) -> Any:
        message = super().__call__(*args)
        message.seen = args
        return message


class OfAnotherType(TextMessage, metaclass=Reset):
    _bare = True


class InSlots:
    __slots__ = ("completed", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data


class Built(bytes):
    _bare = True


def test_classes_with_ways_of_their_own_are_called(ways: Any) -> None:
    chunk = text(b"abc") + binary(b"d")

    def make(one: Callable[[bytes], Any], other: Callable[[bytes], Any]) -> list[Any]:
        messages, end = ways.take_messages(chunk, 0, True, MOST, one, other)
        assert end == len(chunk)
        assert all(message.completed is True for message in messages)
        return messages

    assert [type(message) for message in make(Plain, Plain)] == [Plain, Plain]
    assert [message.data for message in make(Loud, Loud)] == [b"ABC", b"D"]
    before = Counted.made
    assert make(Counted, Counted)[1].data == b"d"
    assert Counted.made == before + 2
    assert [message.seen for message in make(OfAnotherType, OfAnotherType)] == [(b"abc",), (b"d",)]
    assert [message.data for message in make(InSlots, InSlots)] == [b"abc", b"d"]
    assert make(Built, Built) == [b"abc", b"d"]
    assert make(lambda data: Loud(data), BinaryMessage)[0].loud


def test_what_a_class_raises_comes_out(ways: Any) -> None:
    def refuse(payload: bytes) -> Any:
        raise LookupError(payload)

    with pytest.raises(LookupError):
        ways.take_messages(CHUNK, 0, True, MOST, TextMessage, refuse)
    with pytest.raises(AttributeError):  # completed cannot be set
        ways.take_messages(CHUNK, 0, True, MOST, TextMessage, bytes)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        (CHUNK, 0, True, MOST, TextMessage),
        (CHUNK, 0, True, MOST, TextMessage, BinaryMessage, 1),
        (None, 0, True, MOST, TextMessage, BinaryMessage),
        (CHUNK, "0", True, MOST, TextMessage, BinaryMessage),
        (CHUNK, 0, True, None, TextMessage, BinaryMessage),
        (CHUNK, 0, True, MOST, None, BinaryMessage),
    ],
)
def test_arguments_of_another_kind_are_a_type_error(ways: Any, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError):
        ways.take_messages(*arguments)
