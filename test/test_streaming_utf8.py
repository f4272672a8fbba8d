"""Text is validated as it comes: what cannot become UTF-8 is refused before its frame ends."""

from __future__ import annotations

import pytest

from test.helpers import frame
from test.test_streaming import EVERY_WAY, ROLES, Role, drive, take
from ws4py.framing import (
    OPCODE_BINARY,
    OPCODE_CONTINUATION,
    OPCODE_PING,
    OPCODE_TEXT,
    encode_header,
)

TEXT = "κόσμε-é€\U0001f600"
DATA = TEXT.encode()
BAD_1007 = [("error", 1007)]

# Each with the number of its bytes that are needed to see that it cannot be UTF-8.
INVALID = [
    ("a stray tail", b"\x80", 1),
    ("an overlong slash", b"\xc0\xaf", 1),
    ("an overlong in three bytes", b"\xe0\x80\xaf", 2),
    ("an overlong in four bytes", b"\xf0\x8f\xbf\xbf", 2),
    ("a surrogate", b"\xed\xa0\x80", 2),
    ("beyond U+10FFFF", b"\xf4\x90\x80\x80", 2),
    ("F5", b"\xf5\x80\x80\x80", 1),
    ("FF", b"\xff", 1),
    ("a letter for a tail", b"\xc3(", 2),
    ("a letter for the third tail", b"\xf0\x9f\x98a", 4),
]
INVALID_CASES = [pytest.param(*case[1:], id=case[0]) for case in INVALID]


@pytest.mark.parametrize("role", ROLES, ids=repr)
@pytest.mark.parametrize("cut", range(len(DATA) + 1))
def test_a_text_may_be_cut_into_fragments_anywhere(cut: int, role: Role) -> None:
    data = role.frame(OPCODE_TEXT, DATA[:cut], 0) + role.frame(OPCODE_CONTINUATION, DATA[cut:])
    assert role.events(data) == [("text", DATA)]


@pytest.mark.parametrize("role", EVERY_WAY, ids=repr)
def test_a_text_may_come_in_fragments_of_one_byte(role: Role) -> None:
    data = role.frame(OPCODE_TEXT, b"", 0)
    for index in range(len(DATA)):
        data += role.frame(OPCODE_CONTINUATION, DATA[index : index + 1], index == len(DATA) - 1)
        data += role.frame(OPCODE_PING, b"\x80") if index < len(DATA) - 1 else b""
    assert role.events(data) == [("ping", b"\x80")] * (len(DATA) - 1) + [("text", DATA)]


@pytest.mark.parametrize("role", ROLES, ids=repr)
@pytest.mark.parametrize("cut", range(len(DATA) + 1))
def test_what_has_come_of_a_frame_is_validated_and_readable(cut: int, role: Role) -> None:
    stream = role.stream()
    data = role.frame(OPCODE_TEXT, DATA + b"end")
    start = len(data) - len(DATA) - 3
    assert stream.parser.send(data[: start + cut]) == len(DATA) + 3 - cut
    assert stream.message.data == DATA[:cut]
    assert drive(stream, [data[start + cut :]]) == [("text", DATA + b"end")]


@pytest.mark.parametrize("role", EVERY_WAY, ids=repr)
@pytest.mark.parametrize(("bad", "_seen"), INVALID_CASES)
@pytest.mark.parametrize("before", [b"", b"abc", DATA], ids=["alone", "late", "after tails"])
def test_a_text_that_is_not_utf_8_is_1007(
    before: bytes, bad: bytes, _seen: int, role: Role
) -> None:
    assert role.events(role.frame(OPCODE_TEXT, before + bad)) == BAD_1007
    assert role.events(role.frame(OPCODE_TEXT, before + bad, 0)) == BAD_1007


@pytest.mark.parametrize("role", ROLES, ids=repr)
@pytest.mark.parametrize(("bad", "seen"), INVALID_CASES)
@pytest.mark.parametrize("shift", range(5))
def test_an_incomplete_frame_is_refused_at_the_byte_that_shows_it(
    shift: int, bad: bytes, seen: int, role: Role
) -> None:
    stream = role.stream()
    payload = DATA[:2] * shift + bad + b"much more that never comes"
    data = role.frame(OPCODE_TEXT, payload)
    shows = len(data) - len(payload) + 2 * shift + seen
    assert drive(stream, [data[i : i + 1] for i in range(shows - 1)]) == []
    assert stream.parser.send(data[shows - 1 : shows]) == 0
    assert take(stream) == BAD_1007
    assert stream.message is None


@pytest.mark.parametrize("role", ROLES, ids=repr)
@pytest.mark.parametrize(("bad", "seen"), INVALID_CASES)
@pytest.mark.parametrize("cut", range(7))
def test_an_incomplete_frame_in_two_chunks_is_refused_as_soon_as_that_shows_it(
    cut: int, bad: bytes, seen: int, role: Role
) -> None:
    stream = role.stream()
    payload = b"abc" + bad + b"more"
    data = role.frame(OPCODE_TEXT, payload)
    start = len(data) - len(payload)
    events = drive(stream, [data[: start + cut]])
    assert events == (BAD_1007 if cut >= 3 + seen else [])
    assert events + drive(stream, [data[start + cut :]]) == BAD_1007


@pytest.mark.parametrize("role", ROLES, ids=repr)
def test_an_incomplete_continuation_is_refused_too(role: Role) -> None:
    stream = role.stream()
    assert drive(stream, [role.frame(OPCODE_TEXT, b"\xe2\x82", 0)]) == []
    data = role.frame(OPCODE_CONTINUATION, b"(never mind the rest")
    assert drive(stream, [data[:-19]]) == BAD_1007


@pytest.mark.parametrize("role", EVERY_WAY, ids=repr)
@pytest.mark.parametrize("half", [b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98"])
def test_a_text_that_ends_within_a_character_is_1007(half: bytes, role: Role) -> None:
    assert role.events(role.frame(OPCODE_TEXT, b"a" + half)) == BAD_1007


@pytest.mark.parametrize("role", EVERY_WAY, ids=repr)
@pytest.mark.parametrize("half", [b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98"])
def test_a_text_whose_last_fragment_is_empty_may_not_end_within_a_character(
    half: bytes, role: Role
) -> None:
    data = role.frame(OPCODE_TEXT, half, 0) + role.frame(OPCODE_CONTINUATION, b"")
    assert role.events(data) == BAD_1007


@pytest.mark.parametrize("role", ROLES, ids=repr)
def test_the_next_text_begins_afresh(role: Role) -> None:
    data = role.frame(OPCODE_TEXT, b"\xc3", 0) + role.frame(OPCODE_CONTINUATION, b"\xa9")
    assert role.events(data + role.frame(OPCODE_TEXT, b"\xa9")) == [
        ("text", "é".encode()),
        ("error", 1007),
    ]


@pytest.mark.parametrize("role", EVERY_WAY, ids=repr)
def test_binary_fragments_are_not_validated(role: Role) -> None:
    data = role.frame(OPCODE_BINARY, b"\xff", 0) + role.frame(OPCODE_CONTINUATION, b"\xc3")
    assert role.events(data + role.frame(OPCODE_TEXT, b"a")) == [
        ("binary", b"\xff\xc3"),
        ("text", b"a"),
    ]


@pytest.mark.parametrize("key", [b"\x01\x20\x43\xf4", b"\0\0\0\0", b"\xff\x00\x80\x7f"])
@pytest.mark.parametrize("step", [1, 2, 3, 5, 7])
def test_the_key_is_rotated_to_where_a_chunk_begins(key: bytes, step: int) -> None:
    stream = ROLES[0].stream()
    data = frame(OPCODE_TEXT, DATA * 3, 1, key)
    chunks = [data[i : i + step] for i in range(0, len(data), step)]
    assert drive(stream, chunks) == [("text", DATA * 3)]


def test_a_large_text_is_refused_long_before_its_end() -> None:
    stream = ROLES[1].stream()
    header = encode_header(1, OPCODE_TEXT, 2**20)
    assert drive(stream, [header + "é".encode() * 50_000]) == []
    assert drive(stream, [b"\xc3\xc3"]) == BAD_1007
