"""Frames: built and parsed, as the RFC prints them, at every length, in every feeding."""

from __future__ import annotations

import inspect
import types
from typing import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from test.helpers import KEY, byte_by_byte, whole
from ws4py import framing
from ws4py.exc import FrameTooLargeException, ProtocolException
from ws4py.framing import (
    OPCODE_BINARY,
    OPCODE_CLOSE,
    OPCODE_CONTINUATION,
    OPCODE_PING,
    OPCODE_PONG,
    OPCODE_TEXT,
    Frame,
    Uncompressed,
    is_control,
)

Feed = Callable[[bytes], list]

RFC_KEY = bytes.fromhex("37fa213d")
DATA_256 = bytes(range(256))
DATA_64K = bytes(range(256)) * 256

# RFC 6455 section 5.7: the name, the wire, FIN, opcode, key, and the payload unmasked.
RFC_EXAMPLES = [
    ("a single-frame unmasked text", "810548656c6c6f", 1, OPCODE_TEXT, None, b"Hello"),
    ("a single-frame masked text", "818537fa213d7f9f4d5158", 1, OPCODE_TEXT, RFC_KEY, b"Hello"),
    ("the first unmasked fragment", "010348656c", 0, OPCODE_TEXT, None, b"Hel"),
    ("the last unmasked fragment", "80026c6f", 1, OPCODE_CONTINUATION, None, b"lo"),
    ("an unmasked ping", "890548656c6c6f", 1, OPCODE_PING, None, b"Hello"),
    ("a masked pong", "8a8537fa213d7f9f4d5158", 1, OPCODE_PONG, RFC_KEY, b"Hello"),
    ("256 bytes", "827e0100" + DATA_256.hex(), 1, OPCODE_BINARY, None, DATA_256),
    ("64 KiB", "827f0000000000010000" + DATA_64K.hex(), 1, OPCODE_BINARY, None, DATA_64K),
]
EXAMPLES = [pytest.param(*case[1:], id=case[0]) for case in RFC_EXAMPLES]

# Lengths on both sides of where the encoding changes, and the header's size for each.
BORDERS = [(0, 2), (1, 2), (124, 2), (125, 2), (126, 4), (127, 4), (255, 4), (256, 4)]
BORDERS += [(65534, 4), (65535, 4), (65536, 10), (65537, 10)]


def type_name(value: object) -> str:
    return type(value).__name__


def feed(frame: Frame, chunks: list) -> list[int]:
    """Send all chunks; return what was wanted after each."""
    return [frame.parser.send(chunk) for chunk in chunks]


def left_over(frame: Frame) -> bytes:
    """End a complete frame's parser and return what it had too much."""
    with pytest.raises(StopIteration) as ended:
        next(frame.parser)
    return ended.value.value


@pytest.fixture(params=[whole, byte_by_byte], ids=lambda feeding: feeding.__name__)
def feeding(request: pytest.FixtureRequest) -> Feed:
    return request.param


def test_the_opcodes_are_those_of_the_rfc() -> None:
    assert (OPCODE_CONTINUATION, OPCODE_TEXT, OPCODE_BINARY) == (0, 1, 2)
    assert (OPCODE_CLOSE, OPCODE_PING, OPCODE_PONG) == (8, 9, 10)
    assert framing.__all__ == ["Frame"]


def test_the_arguments_of_a_frame_are_the_documented_ones() -> None:
    assert str(inspect.signature(Frame)).partition(" ->")[0] == (
        "(opcode: 'int | None' = None, body: 'bytes' = b'', masking_key: 'bytes | None' = None, "
        "fin: 'int' = 0, rsv1: 'int' = 0, rsv2: 'int' = 0, rsv3: 'int' = 0)"
    )


def test_a_frame_keeps_what_it_is_made_of() -> None:
    frame = Frame(OPCODE_TEXT, b"abc", KEY, 1, 1, 0, 1)
    assert (frame.opcode, frame.body, frame.masking_key, frame.fin) == (1, b"abc", KEY, 1)
    assert (frame.rsv1, frame.rsv2, frame.rsv3, frame.payload_length) == (1, 0, 1, 3)


def test_an_empty_frame_has_the_documented_defaults() -> None:
    frame = Frame()
    assert (frame.opcode, frame.body, frame.masking_key, frame.fin) == (None, b"", None, 0)
    assert (frame.rsv1, frame.rsv2, frame.rsv3, frame.payload_length) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    "body", ["text", bytearray(b"a"), None, 5, memoryview(b"a")], ids=type_name
)
def test_a_body_that_is_not_bytes_is_a_type_error(body: object) -> None:
    with pytest.raises(TypeError, match=type(body).__name__):
        Frame(OPCODE_TEXT, body)  # type: ignore[arg-type]


@pytest.mark.parametrize(("wire", "fin", "opcode", "key", "payload"), EXAMPLES)
def test_an_example_of_the_rfc_is_built_as_printed(
    wire: str, fin: int, opcode: int, key: bytes | None, payload: bytes
) -> None:
    assert Frame(opcode, payload, key, fin).build() == bytes.fromhex(wire)


@pytest.mark.parametrize("late", [b"", b"\x81", b"\x81\x00next"], ids=["alone", "late 1", "late 6"])
@pytest.mark.parametrize(("wire", "fin", "opcode", "key", "payload"), EXAMPLES)
def test_an_example_of_the_rfc_is_parsed(
    feeding: Feed,
    wire: str,
    fin: int,
    opcode: int,
    key: bytes | None,
    payload: bytes,
    late: bytes,
) -> None:
    frame = Frame()
    *chunks, last = feeding(bytes.fromhex(wire))
    assert 0 not in feed(frame, chunks)
    assert frame.parser.send(last + late) == 0
    assert (frame.fin, frame.opcode, frame.masking_key) == (fin, opcode, key)
    assert (frame.rsv1, frame.rsv2, frame.rsv3) == (0, 0, 0)
    assert frame.payload_length == len(payload)
    assert (frame.unmask(frame.body) if key else frame.body) == payload
    assert left_over(frame) == late


def test_a_bytearray_can_be_fed(feeding: Feed) -> None:
    frame = Frame()
    feed(frame, [bytearray(chunk) for chunk in feeding(bytes.fromhex("818537fa213d7f9f4d5158"))])
    assert (frame.body, frame.masking_key) == (bytes.fromhex("7f9f4d5158"), RFC_KEY)
    assert type(frame.body) is type(frame.masking_key) is bytes
    assert left_over(frame) == b""


def test_the_parser_is_a_generator_that_is_primed_and_kept() -> None:
    frame = Frame()
    assert type(frame.parser) is types.GeneratorType
    assert inspect.getgeneratorstate(frame.parser) == inspect.GEN_SUSPENDED
    assert frame.parser is frame.parser


def test_the_documented_walk_through_a_masked_frame_wants_what_comes_next() -> None:
    wire = Frame(OPCODE_TEXT, b"hello world", KEY, 1).build()
    frame = Frame()
    assert frame.parser.send(wire[:1]) == 1
    assert frame.parser.send(wire[1:2]) == 4
    assert frame.parser.send(wire[2:6]) == 11
    assert frame.parser.send(wire[6:]) == 0


@pytest.mark.parametrize(
    ("size", "key", "wanted"),
    [
        (5, None, [1, 5, 4, 3, 2, 1, 0]),
        (0, None, [1, 0]),
        (0, KEY, [1, 4, 3, 2, 1, 0]),
        (126, None, [1, 2, 1, *range(126, -1, -1)]),
        (130, KEY, [1, 2, 1, 4, 3, 2, 1, *range(130, -1, -1)]),
        (65536, KEY, [1, 8, 7, 6, 5, 4, 3, 2, 1, 4, 3, 2, 1, *range(65536, -1, -1)]),
    ],
)
def test_byte_by_byte_the_parser_wants_what_the_next_field_still_needs(
    size: int, key: bytes | None, wanted: list[int]
) -> None:
    wire = Frame(OPCODE_BINARY, bytes(size), key, 1).build()
    assert feed(Frame(), byte_by_byte(wire)) == wanted


def test_the_first_byte_sets_fin_and_opcode() -> None:
    frame = Frame()
    frame.parser.send(b"\x82")
    assert (frame.fin, frame.opcode) == (1, OPCODE_BINARY)


def test_the_second_byte_sets_a_short_length() -> None:
    frame = Frame()
    feed(frame, [b"\x82", b"\x7d"])
    assert frame.payload_length == 125


@pytest.mark.parametrize(("size", "raw", "extension"), [(300, 126, 2), (70_000, 127, 8)])
def test_a_longer_length_shows_its_announcement_until_it_has_come(
    size: int, raw: int, extension: int
) -> None:
    frame = Frame()
    header = Frame(OPCODE_BINARY, bytes(size), None, 1).build()[: 2 + extension]
    for byte in byte_by_byte(header[:-1]):
        frame.parser.send(byte)
    assert frame.payload_length == raw
    frame.parser.send(header[-1:])
    assert frame.payload_length == size


def test_none_and_nothing_are_tolerated_while_the_parser_waits() -> None:
    frame = Frame()
    wanted = []
    for byte in byte_by_byte(bytes.fromhex("818537fa213d7f9f4d5158")):
        before = next(frame.parser)
        assert frame.parser.send(None) == frame.parser.send(b"") == before
        wanted.append(frame.parser.send(byte))
    assert wanted == [1, 4, 3, 2, 1, 5, 4, 3, 2, 1, 0]
    assert left_over(frame) == b""


def test_bytes_sent_to_a_complete_frame_are_left_over_too() -> None:
    frame = Frame()
    assert frame.parser.send(b"\x81\x01a12") == 0
    with pytest.raises(StopIteration) as ended:
        frame.parser.send(b"34")
    assert ended.value.value == b"1234"


def test_two_frames_in_one_buffer_are_parsed_one_from_the_other() -> None:
    first, second = Frame(), Frame()
    assert first.parser.send(b"\x81\x01a\x82\x01b") == 0
    assert second.parser.send(left_over(first)) == 0
    assert (first.body, second.body, second.opcode) == (b"a", b"b", OPCODE_BINARY)


def test_a_parser_that_has_ended_stays_ended() -> None:
    frame = Frame()
    frame.parser.send(b"\x81\x00")
    left_over(frame)
    with pytest.raises(StopIteration):
        frame.parser.send(b"\x81\x00")


def test_cleanup_lets_a_frame_be_parsed_anew() -> None:
    frame = Frame()
    frame.parser.send(b"\x82\x05half")
    frame._cleanup()
    assert frame.parser.send(b"\x81\x01a") == 0
    assert (frame.opcode, frame.body) == (OPCODE_TEXT, b"a")


def test_cleanup_of_an_unused_frame_does_nothing() -> None:
    frame = Frame(OPCODE_TEXT, b"a", None, 1)
    frame._cleanup()
    assert frame.build() == b"\x81\x01a"


def test_a_parsed_frame_builds_the_same_bytes() -> None:
    wire = bytes.fromhex("818537fa213d7f9f4d5158")
    frame = Frame()
    frame.parser.send(wire)
    frame.body = bytes(frame.unmask(frame.body))
    assert frame.build() == wire


VIOLATIONS = [
    ("RSV1", "c100", 1, ProtocolException, "reserved bits 100"),
    ("RSV2", "a100", 1, ProtocolException, "reserved bits 010"),
    ("RSV3", "9100", 1, ProtocolException, "reserved bits 001"),
    ("all of RSV", "f100", 1, ProtocolException, "reserved bits 111"),
    ("RSV1 of a ping", "c900", 1, ProtocolException, "reserved bits"),
    *[
        (f"opcode {opcode:#x}", f"8{opcode:x}00", 1, ProtocolException, f"opcode {opcode:#x} is")
        for opcode in (3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF)
    ],
    ("a fragmented close", "0800", 1, ProtocolException, "fragmented"),
    ("a fragmented ping", "0900", 1, ProtocolException, "fragmented"),
    ("a fragmented pong", "0a00", 1, ProtocolException, "fragmented"),
    ("a close of 126 bytes", "887e007e", 2, FrameTooLargeException, "0x8 is too long"),
    ("a ping of 126 bytes", "897e007e", 2, FrameTooLargeException, "0x9 is too long"),
    ("a pong of 64 KiB", "8a7f0000000000010000", 2, FrameTooLargeException, "0xa is too long"),
    ("a masked ping of 126 bytes", "89fe007e", 2, FrameTooLargeException, "0x9 is too long"),
    ("125 in 16 bits", "827e007d", 4, ProtocolException, "length 125 is encoded in 2 bytes"),
    ("0 in 16 bits", "82fe0000", 4, ProtocolException, "length 0 is encoded in 2 bytes"),
    ("0 in 64 bits", "827f" + "00" * 8, 10, ProtocolException, "length 0 is encoded in 8"),
    ("65535 in 64 bits", "827f000000000000ffff", 10, ProtocolException, "65535 is encoded in 8"),
    ("the top bit", "827f8000000000000000", 10, FrameTooLargeException, "top bit"),
    ("all bits", "82ff" + "ff" * 8, 10, FrameTooLargeException, "top bit"),
]


@pytest.mark.parametrize(
    ("wire", "at", "error", "text"),
    [case[1:] for case in VIOLATIONS],
    ids=[case[0] for case in VIOLATIONS],
)
def test_a_bad_header_is_refused_at_the_byte_that_shows_it(
    wire: str, at: int, error: type[Exception], text: str
) -> None:
    frame = Frame()
    data = bytes.fromhex(wire)
    feed(frame, byte_by_byte(data[: at - 1]))
    with pytest.raises(error, match=text) as refused:
        frame.parser.send(data[at - 1 : at])
    assert refused.value.code == 1002


@pytest.mark.parametrize(
    ("wire", "error"),
    [(case[1], case[3]) for case in VIOLATIONS],
    ids=[case[0] for case in VIOLATIONS],
)
def test_a_bad_header_is_refused_when_it_comes_whole_with_more(
    wire: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        Frame().parser.send(bytes.fromhex(wire) + b"more")


@pytest.mark.parametrize(
    ("wire", "length"),
    [("827e007e", 126), ("827effff", 65535), ("827f0000000000010000", 65536)],
)
def test_the_shortest_encoding_of_a_length_is_accepted(wire: str, length: int) -> None:
    frame = Frame()
    assert frame.parser.send(bytes.fromhex(wire)) == length
    assert frame.payload_length == length


def test_the_largest_length_is_no_error_for_a_frame_alone() -> None:
    frame = Frame()
    assert frame.parser.send(bytes.fromhex("827f7fffffffffffffff")) == 2**63 - 1


@pytest.mark.parametrize("opcode", [OPCODE_CLOSE, OPCODE_PING, OPCODE_PONG])
def test_a_control_frame_of_125_bytes_is_parsed(feeding: Feed, opcode: int) -> None:
    frame = Frame()
    assert feed(frame, feeding(Frame(opcode, bytes(125), KEY, 1).build()))[-1] == 0
    assert (frame.opcode, frame.payload_length) == (opcode, 125)


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "masked"])
@pytest.mark.parametrize(("size", "header"), BORDERS)
def test_decoding_what_was_encoded_gives_it_back_at_every_border(
    size: int, header: int, key: bytes | None
) -> None:
    payload = bytes(i % 251 for i in range(size))
    wire = Frame(OPCODE_BINARY, payload, key, 1).build()
    assert len(wire) == header + (4 if key else 0) + size
    frame = Frame()
    assert frame.parser.send(wire + b"late") == 0
    assert (frame.unmask(frame.body) if key else frame.body) == payload
    assert left_over(frame) == b"late"


@given(
    opcode=st.sampled_from([OPCODE_CONTINUATION, OPCODE_TEXT, OPCODE_BINARY]),
    fin=st.integers(0, 1),
    key=st.none() | st.binary(min_size=4, max_size=4),
    size=st.sampled_from([size for size, _ in BORDERS]) | st.integers(0, 400),
    cuts=st.lists(st.integers(0, 500), max_size=5),
    late=st.binary(max_size=5),
)
def test_any_frame_in_any_chunks_comes_back(
    opcode: int, fin: int, key: bytes | None, size: int, cuts: list[int], late: bytes
) -> None:
    payload = bytes(i % 251 for i in range(size))
    wire = Frame(opcode, payload, key, fin).build()
    edges = [0, *sorted(cut for cut in cuts if cut < len(wire)), len(wire)]
    chunks = [wire[start:end] for start, end in zip(edges, edges[1:])]
    chunks[-1] += late
    frame = Frame()
    wanted = feed(frame, chunks)
    assert wanted[-1] == 0
    assert (frame.opcode, frame.fin, frame.masking_key) == (opcode, fin, key)
    assert (frame.unmask(frame.body) if key else frame.body) == payload
    assert left_over(frame) == late


@given(st.integers(0, 2**63 - 1) | st.sampled_from([125, 126, 65535, 65536, 2**63 - 1]))
def test_the_header_of_any_length_is_decoded_as_it_was_encoded(length: int) -> None:
    header = framing.encode_header(1, OPCODE_BINARY, length, KEY)
    assert framing.decode_header(header, 0) == (0, 1, OPCODE_BINARY, length, KEY, len(header))
    assert framing.decode_header(b"before" + header, 6)[1:5] == (1, OPCODE_BINARY, length, KEY)


def test_of_a_header_what_has_not_come_is_zero() -> None:
    assert framing.decode_header(b"", 0) == framing.decode_header(b"x", 1) == (1, 0, 0, 0, b"", 0)
    assert framing.decode_header(b"\x82", 0) == (1, 1, OPCODE_BINARY, 0, b"", 0)


@pytest.mark.parametrize("length", [5, 126, 65536])
@pytest.mark.parametrize("key", [b"", KEY], ids=["plain", "masked"])
def test_a_header_is_never_read_further_than_it_has_come(length: int, key: bytes) -> None:
    header = framing.encode_header(1, OPCODE_BINARY, length, key)
    for size in range(len(header)):
        missing = framing.decode_header(header[:size], 0)[0]
        assert 0 < missing <= len(header) - size
        assert framing.decode_header(b"before" + header[:size], 6)[0] == missing
    assert framing.decode_header(header, 0)[0] == 0


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15, 16, -1, None])
def test_a_frame_with_a_reserved_opcode_is_not_built(opcode: int | None) -> None:
    with pytest.raises(ValueError, match="opcode"):
        Frame(opcode, b"", None, 1).build()


@pytest.mark.parametrize("name", ["fin", "rsv1", "rsv2", "rsv3"])
@pytest.mark.parametrize("value", [2, -1, 255])
def test_a_flag_that_is_neither_0_nor_1_is_not_built(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=name):
        Frame(OPCODE_TEXT, b"", **{name: value}).build()


@pytest.mark.parametrize(("name", "first"), [("rsv1", 0xC1), ("rsv2", 0xA1), ("rsv3", 0x91)])
def test_a_reserved_bit_stands_in_its_place(name: str, first: int) -> None:
    assert Frame(OPCODE_TEXT, b"", fin=1, **{name: 1}).build() == bytes((first, 0))


@pytest.mark.parametrize("key", [b"abc", b"XXXXXX", b"a"])
def test_a_key_that_is_not_four_bytes_is_not_built(key: bytes) -> None:
    with pytest.raises(ValueError, match="4 bytes"):
        Frame(OPCODE_TEXT, b"hello world", key, 1).build()


@pytest.mark.parametrize("key", [None, b""])
def test_without_a_key_a_frame_is_not_masked(key: bytes | None) -> None:
    assert Frame(OPCODE_TEXT, b"Hello", key, 1).build() == bytes.fromhex("810548656c6c6f")


def test_a_length_of_more_than_63_bits_is_not_built() -> None:
    frame = Frame(OPCODE_BINARY, b"", None, 1)
    frame.payload_length = 1 << 63
    with pytest.raises(FrameTooLargeException):
        frame.build()


def test_build_returns_bytes() -> None:
    assert type(Frame(OPCODE_TEXT, b"a", KEY, 1).build()) is bytes


@pytest.mark.parametrize(("opcode", "size"), [(OPCODE_PING, 126), (OPCODE_CLOSE, 70_000)])
def test_build_leaves_the_rules_of_control_frames_to_messages(opcode: int, size: int) -> None:
    assert Frame(opcode, bytes(size), None, 0).build()[0] == opcode


@pytest.mark.parametrize("data", [b"Hello", bytearray(b"Hello")])
def test_mask_returns_a_bytearray_and_unmask_undoes_it(data: bytes | bytearray) -> None:
    frame = Frame(OPCODE_TEXT, b"", RFC_KEY, 1)
    masked = frame.mask(data)
    assert type(masked) is bytearray
    assert masked == bytes.fromhex("7f9f4d5158")
    assert frame.unmask(masked) == b"Hello"


def test_a_frame_without_a_key_cannot_mask() -> None:
    with pytest.raises(ValueError, match="masking key"):
        Frame(OPCODE_TEXT, b"", None, 1).mask(b"Hello")


def test_a_mask_method_that_a_program_put_onto_the_class_is_honoured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Frame, "mask", lambda _frame, data: data[::-1])
    assert Frame(OPCODE_TEXT, b"Hello", KEY, 1).build() == b"\x81\x85" + KEY + b"olleH"


@pytest.mark.parametrize(
    ("opcode", "is_control"),
    [(0, False), (1, False), (2, False), (8, True), (9, True), (10, True)],
)
def test_control_frames_are_told_from_data_frames(opcode: int, is_control: bool) -> None:
    assert framing.is_control(Frame(opcode, b"", None, 1).build()) is is_control


def test_what_is_to_be_compressed_counts_as_long_as_it_is_and_is_no_control_frame() -> None:
    message = Uncompressed(OPCODE_TEXT, b"Hello")
    assert len(message) == 5
    assert not is_control(message)


@pytest.mark.parametrize(
    ("opcode", "is_one"), [(1, False), (2, False), (8, True), (9, True), (10, True)]
)
def test_control_frames_are_known_by_their_first_byte(opcode: int, is_one: bool) -> None:
    assert is_control(Frame(opcode, b"", fin=1).build()) is is_one
