"""What a peer must not send: the close code of each violation, and that nothing follows it."""

from __future__ import annotations

import pytest

from test.helpers import KEY, byte_by_byte, frame
from test.test_streaming import EVERY_WAY, ROLES, Event, Role, drive, hello, take
from ws4py.framing import (
    OPCODE_BINARY,
    OPCODE_CLOSE,
    OPCODE_CONTINUATION,
    OPCODE_PING,
    OPCODE_PONG,
    OPCODE_TEXT,
    encode_header,
)
from ws4py.limits import Limits
from ws4py.streaming import check_closing_code

ONLY_1002 = [("error", 1002)]


def raw(role: Role, first: int, payload: bytes = b"") -> bytes:
    """Return a frame with any first byte at all."""
    return bytes((first,)) + role.frame(OPCODE_BINARY, payload)[1:]


@pytest.mark.parametrize("role", EVERY_WAY, ids=repr)
@pytest.mark.parametrize("payload", [b"", b"payload"], ids=["empty", "not empty"])
@pytest.mark.parametrize(
    "first", [0xC1, 0xA1, 0x91, 0xF2, 0xC9, 0x83, 0x87, 0x8B, 0x8F, 0x03, 0x08, 0x09, 0x0A], ids=hex
)
def test_reserved_bits_and_opcodes_and_fragmented_controls_are_1002(
    first: int, payload: bytes, role: Role
) -> None:
    assert role.events(raw(role, first, payload)) == ONLY_1002


@pytest.mark.parametrize("role", EVERY_WAY, ids=repr)
@pytest.mark.parametrize("opcode", [OPCODE_CLOSE, OPCODE_PING, OPCODE_PONG])
@pytest.mark.parametrize("size", [126, 65536])
def test_a_control_frame_of_more_than_125_bytes_is_1002(opcode: int, size: int, role: Role) -> None:
    assert role.events(role.frame(opcode, bytes(size))) == ONLY_1002


@pytest.mark.parametrize("role", EVERY_WAY, ids=repr)
@pytest.mark.parametrize("header", ["7e007d", "7e0000", "7f000000000000ffff", "7f8000000000000000"])
def test_a_length_that_is_not_minimal_or_has_its_top_bit_set_is_1002(
    header: str, role: Role
) -> None:
    data = bytearray(b"\x82" + bytes.fromhex(header))
    if role.key:
        data[1] |= 0x80
    assert role.events(bytes(data) + (role.key or b"")) == ONLY_1002


@pytest.mark.parametrize("role", EVERY_WAY, ids=repr)
@pytest.mark.parametrize("payload", [b"", b"Hello"], ids=["empty", "not empty"])
@pytest.mark.parametrize("opcode", [OPCODE_TEXT, OPCODE_BINARY, OPCODE_PING, OPCODE_CLOSE])
def test_a_frame_that_is_masked_the_wrong_way_is_1002(
    opcode: int, payload: bytes, role: Role
) -> None:
    wrong = frame(opcode, payload, 1, None if role.key else KEY)
    assert role.events(wrong) == ONLY_1002


@pytest.mark.parametrize("role", ROLES, ids=repr)
@pytest.mark.parametrize("opcode", [OPCODE_TEXT, OPCODE_BINARY, OPCODE_PING, OPCODE_CLOSE])
def test_a_frame_that_is_masked_the_wrong_way_is_refused_at_its_header(
    opcode: int, role: Role
) -> None:
    stream = role.stream()
    *chunks, last = byte_by_byte(encode_header(1, opcode, 5, b"" if role.key else KEY))
    assert 0 not in [stream.parser.send(chunk) for chunk in chunks]
    assert stream.parser.send(last) == 0
    assert take(stream) == ONLY_1002


@pytest.mark.parametrize("role", EVERY_WAY, ids=repr)
@pytest.mark.parametrize("fin", [0, 1])
def test_a_continuation_of_nothing_is_1002(fin: int, role: Role) -> None:
    assert role.events(role.frame(OPCODE_CONTINUATION, b"x", fin)) == ONLY_1002


@pytest.mark.parametrize("role", EVERY_WAY, ids=repr)
def test_a_continuation_after_a_whole_message_is_1002(role: Role) -> None:
    data = role.frame(OPCODE_TEXT, b"a") + role.frame(OPCODE_CONTINUATION, b"b")
    assert role.events(data) == [("text", b"a"), ("error", 1002)]


@pytest.mark.parametrize("role", EVERY_WAY, ids=repr)
@pytest.mark.parametrize("opcode", [OPCODE_TEXT, OPCODE_BINARY])
@pytest.mark.parametrize("fin", [0, 1])
def test_a_message_that_begins_inside_another_is_1002(opcode: int, fin: int, role: Role) -> None:
    data = role.frame(OPCODE_TEXT, b"a", 0) + role.frame(OPCODE_PING, b"p")
    data += role.frame(opcode, b"b", fin)
    assert role.events(data) == [("ping", b"p"), ("error", 1002)]


@pytest.mark.parametrize("role", EVERY_WAY, ids=repr)
def test_a_close_of_one_byte_is_1002(role: Role) -> None:
    assert role.events(role.frame(OPCODE_CLOSE, b"\x03")) == ONLY_1002


def test_the_error_for_a_close_of_one_byte_says_so() -> None:
    stream = ROLES[0].stream()
    stream.parser.send(frame(OPCODE_CLOSE, b"\x03"))
    assert "one byte" in str(stream.errors[0])


@pytest.mark.parametrize("role", EVERY_WAY, ids=repr)
@pytest.mark.parametrize("code", [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535])
def test_a_close_with_a_code_that_must_not_be_sent_is_1002(code: int, role: Role) -> None:
    assert role.events(role.frame(OPCODE_CLOSE, code.to_bytes(2, "big"))) == ONLY_1002


@pytest.mark.parametrize("role", EVERY_WAY, ids=repr)
@pytest.mark.parametrize("reason", [b"\xff", b"a\xc3", b"\xed\xa0\x80", b"\xc3\xa9\xa9"])
def test_a_close_with_a_reason_that_is_not_utf_8_is_1007(reason: bytes, role: Role) -> None:
    data = role.frame(OPCODE_CLOSE, b"\x03\xe8" + reason)
    assert role.events(data) == [("error", 1007)]


@pytest.mark.parametrize("role", ROLES, ids=repr)
def test_the_reason_is_judged_apart_from_a_text_in_progress(role: Role) -> None:
    half = role.frame(OPCODE_TEXT, b"\xe2\x82", 0)
    good = role.frame(OPCODE_CLOSE, b"\x03\xe8" + "é".encode())
    bad = role.frame(OPCODE_CLOSE, b"\x03\xe8\xac")
    assert role.events(half + good) == [("close", 1000, "é".encode())]
    assert role.events(half + bad) == [("error", 1007)]


@pytest.mark.parametrize("role", ROLES, ids=repr)
@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("c1", "reserved bits 100"),
        ("83", "opcode 0x3"),
        ("0900", "0x9 is fragmented"),
        ("89fe", "0x9 is too long"),
    ],
)
def test_the_first_byte_that_shows_a_violation_is_enough(role: Role, data: str, text: str) -> None:
    stream = role.stream()
    assert stream.parser.send(bytes.fromhex(data)) == 0
    (error,) = stream.errors
    assert text in str(error)


@pytest.mark.parametrize("role", EVERY_WAY, ids=repr)
def test_what_came_before_a_violation_is_delivered_and_what_comes_after_is_not(role: Role) -> None:
    before = role.frame(OPCODE_TEXT, b"1") + role.frame(OPCODE_PING, b"2")
    after = role.frame(OPCODE_TEXT, b"3") + role.frame(OPCODE_PING, b"4") + b"\xff" * 9
    assert role.events(before + raw(role, 0x83) + after) == [
        ("text", b"1"),
        ("ping", b"2"),
        ("error", 1002),
    ]


def test_after_an_error_everything_is_swallowed_and_more_is_asked_for() -> None:
    stream = ROLES[0].stream()
    assert stream.parser.send(b"\xff") == 0
    assert next(stream.parser) == 1
    for chunk in (hello(), frame(OPCODE_PING), b"\xff" * 70_000, frame(OPCODE_CLOSE)):
        assert stream.parser.send(chunk) == 1
    assert (stream.message, stream.pings, stream.closing) == (None, [], None)
    assert [error.code for error in stream.errors] == [1002]


def test_an_error_is_a_close_message_that_fits_the_wire() -> None:
    stream = ROLES[0].stream()
    stream.parser.send(b"\xff")
    (error,) = stream.errors
    wire = error.single()
    assert wire[:1] == b"\x88"
    assert wire[2:4] == b"\x03\xea"
    assert 0 < len(error.reason) <= 123


def test_an_error_leaves_no_half_message() -> None:
    for data in (b"\xff", frame(OPCODE_TEXT, b"again"), frame(OPCODE_CONTINUATION, b"\xff")):
        stream = ROLES[0].stream()
        stream.parser.send(frame(OPCODE_TEXT, b"half", 0))
        assert stream.message.data == b"half"
        assert stream.parser.send(data) == 0
        assert (stream.message, stream.has_message, len(stream.errors)) == (None, False, 1)


SIZE = 1000
AT_THE_LIMIT: list[tuple[str, list[tuple[int, int]]]] = [
    ("in one frame", [(SIZE, 1)]),
    ("in two fragments", [(SIZE - 1, 0), (1, 1)]),
    ("with an empty first fragment", [(0, 0), (SIZE, 1)]),
    ("with an empty last fragment", [(SIZE, 0), (0, 1)]),
]


def message(role: Role, opcode: int, fragments: list[tuple[int, int]]) -> bytes:
    """Return a message in fragments of these sizes."""
    first, *others = fragments
    data = role.frame(opcode, b"a" * first[0], first[1])
    return data + b"".join(
        role.frame(OPCODE_CONTINUATION, b"a" * size, fin) for size, fin in others
    )


@pytest.mark.parametrize("role", EVERY_WAY, ids=repr)
@pytest.mark.parametrize(
    "fragments", [case[1] for case in AT_THE_LIMIT], ids=[case[0] for case in AT_THE_LIMIT]
)
def test_a_message_of_exactly_the_largest_size_passes(
    fragments: list[tuple[int, int]], role: Role
) -> None:
    data = message(role, OPCODE_TEXT, fragments)
    assert role.events(data, max_message_size=SIZE) == [("text", b"a" * SIZE)]
    assert role.events(data, max_message_size=SIZE - 1) == [("error", 1009)]


@pytest.mark.parametrize("role", ROLES, ids=repr)
@pytest.mark.parametrize("size", [SIZE + 1, 2**16, 2**62, 2**63 - 1])
def test_the_size_is_judged_on_the_header_before_any_payload(size: int, role: Role) -> None:
    stream = role.stream(max_message_size=SIZE)
    header = encode_header(1, OPCODE_BINARY, size, role.key or b"")
    *chunks, last = byte_by_byte(header)
    assert 0 not in [stream.parser.send(chunk) for chunk in chunks]
    assert stream.parser.send(last) == 0
    assert take(stream) == [("error", 1009)]


@pytest.mark.parametrize("role", ROLES, ids=repr)
def test_the_size_of_all_fragments_is_judged_on_the_last_header(role: Role) -> None:
    stream = role.stream(max_message_size=SIZE)
    stream.parser.send(role.frame(OPCODE_BINARY, bytes(SIZE), 0))
    assert stream.parser.send(encode_header(0, OPCODE_CONTINUATION, 1, role.key or b"")) == 0
    assert take(stream) == [("error", 1009)]
    assert stream.message is None


def test_a_message_too_large_comes_after_the_one_before_it() -> None:
    stream = ROLES[0].stream(max_message_size=5)
    data = hello() + frame(OPCODE_TEXT, b"longer")
    assert stream.parser.send(data) == 0
    assert next(stream.parser) == 0
    assert stream.errors == []
    assert take(stream) == [("text", b"Hello")]
    assert next(stream.parser) == 0
    assert take(stream) == [("error", 1009)]


def test_the_size_counts_anew_for_each_message() -> None:
    for role in ROLES:
        data = message(role, OPCODE_TEXT, [(3, 0), (2, 1)]) * 3
        assert role.events(data, max_message_size=5) == [("text", b"aaaaa")] * 3


def test_the_size_of_messages_does_not_bound_control_frames() -> None:
    for role in ROLES:
        data = role.frame(OPCODE_PING, b"longer") + role.frame(OPCODE_CLOSE, b"\x03\xe8longer")
        expected: list[Event] = [("ping", b"longer"), ("close", 1000, b"longer")]
        assert role.events(data, max_message_size=5) == expected


def test_a_limit_of_zero_lets_empty_messages_pass() -> None:
    role = ROLES[0]
    data = role.frame(OPCODE_TEXT) + role.frame(OPCODE_TEXT, b"a")
    assert role.events(data, max_message_size=0) == [("text", b""), ("error", 1009)]


def test_without_a_limit_an_enormous_frame_is_waited_for() -> None:
    stream = ROLES[1].stream(max_message_size=None)
    assert stream.parser.send(encode_header(1, OPCODE_BINARY, 2**62)) == 2**62
    assert stream.parser.send(b"a") == 2**62 - 1


def test_the_default_limit_is_16_mib_exactly() -> None:
    for size, wanted in ((16 * 2**20, 16 * 2**20), (16 * 2**20 + 1, 0)):
        stream = ROLES[1].stream()
        assert stream.parser.send(encode_header(1, OPCODE_BINARY, size)) == wanted


@pytest.mark.parametrize("role", EVERY_WAY, ids=repr)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_exactly_the_most_fragments_pass_and_one_more_is_1008(count: int, role: Role) -> None:
    fragments = [(0, 0)] * (count - 1) + [(0, 1)]
    data = message(role, OPCODE_BINARY, fragments)
    assert role.events(data, max_fragments=count) == [("binary", b"")]
    assert role.events(data, max_fragments=count - 1) == [("error", 1008)]


def test_the_fragments_are_counted_anew_for_each_message() -> None:
    role = ROLES[0]
    data = message(role, OPCODE_TEXT, [(0, 0), (1, 0), (0, 1)]) * 3
    assert role.events(data, max_fragments=3) == [("text", b"a")] * 3


def test_control_frames_are_no_fragments() -> None:
    role = ROLES[0]
    data = role.frame(OPCODE_TEXT, b"a", 0)
    data += role.frame(OPCODE_PING) * 5 + role.frame(OPCODE_CONTINUATION, b"b")
    assert role.events(data, max_fragments=2) == [("ping", b"")] * 5 + [("text", b"ab")]


def test_without_a_limit_any_number_of_fragments_passes() -> None:
    role = ROLES[1]
    data = message(role, OPCODE_TEXT, [(0, 0)] * 140_000 + [(1, 1)])
    assert role.events(data) == [("error", 1008)]
    assert role.events(data, max_fragments=None) == [("text", b"a")]


def test_a_limit_set_inside_a_message_holds_for_its_next_fragment() -> None:
    role = ROLES[0]
    stream = role.stream()
    stream.parser.send(role.frame(OPCODE_TEXT, b"1234", 0))
    stream.limits = Limits(max_message_size=5)
    assert drive(stream, [role.frame(OPCODE_CONTINUATION, b"56")]) == [("error", 1009)]


@pytest.mark.parametrize("code", [None, 1000, 1003, 1005, 1007, 1014, 3000, 4999])
def test_a_close_can_have_a_code_that_is_for_it_or_none(code: int | None) -> None:
    check_closing_code(code)


@pytest.mark.parametrize("code", [0, 999, 1004, 1006, 1015, 2999, 5000, -1])
def test_a_close_can_have_no_other_code(code: int) -> None:
    with pytest.raises(ValueError, match=f"{code} is not a code"):
        check_closing_code(code)
