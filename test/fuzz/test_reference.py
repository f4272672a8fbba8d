"""The reference parser, on streams whose meaning the RFCs themselves tell."""

from __future__ import annotations

import itertools

import pytest

from test.deflate_blocks import DYNAMIC, FIXED, STORED, Bits, even

from .reference import BRANCHES, Deflate, Event, Rules, Violation, check_utf8, parse

CLIENT = Rules(expect_masking=False)
SERVER = Rules(expect_masking=True)
SMALL = Rules(expect_masking=False, max_message_size=4, max_fragments=3)

COMPRESSED = Rules(expect_masking=False, deflate=Deflate())
ANEW = Rules(expect_masking=False, deflate=Deflate(anew=True))
NARROW = Rules(expect_masking=False, deflate=Deflate(9))
SMALL_COMPRESSED = SMALL._replace(deflate=Deflate())

ZERO_KEY = "00000000"

# RFC 6455 section 5.7.
RFC_EXAMPLES = [
    ("a single-frame unmasked text", CLIENT, "810548656c6c6f", [("text", b"Hello")]),
    ("a single-frame masked text", SERVER, "818537fa213d7f9f4d5158", [("text", b"Hello")]),
    ("a fragmented unmasked text", CLIENT, "010348656c80026c6f", [("text", b"Hello")]),
    ("an unmasked ping", CLIENT, "890548656c6c6f", [("ping", b"Hello")]),
    ("a masked pong", SERVER, "8a8537fa213d7f9f4d5158", [("pong", b"Hello")]),
    ("256 bytes", CLIENT, "827e0100" + "ab" * 256, [("binary", b"\xab" * 256)]),
    ("64 KiB", CLIENT, "827f0000000000010000" + "cd" * 65536, [("binary", b"\xcd" * 65536)]),
]

STREAMS = [
    ("an empty stream", CLIENT, "", []),
    ("an empty text", CLIENT, "8100", [("text", b"")]),
    ("an empty masked binary", SERVER, "8280" + ZERO_KEY, [("binary", b"")]),
    ("empty fragments", CLIENT, "010000008000", [("text", b"")]),
    ("a ping between fragments", CLIENT, "010161890170800162", [("ping", b"p"), ("text", b"ab")]),
    ("a character over three fragments", CLIENT, "0101e20001828001ac", [("text", b"\xe2\x82\xac")]),
    ("a close without a body", CLIENT, "8800", [("close", 1005, b"")]),
    ("a close with a code", CLIENT, "880203e8", [("close", 1000, b"")]),
    ("a close with a reason", CLIENT, "880503e9627965", [("close", 1001, b"bye")]),
    ("a close inside a message", CLIENT, "010161880203e8", [("close", 1000, b"")]),
    ("what follows a close", CLIENT, "8800810161", [("close", 1005, b"")]),
    ("what follows an error", CLIENT, "8301618a00", [("error", 1002)]),
    ("a message before an error", CLIENT, "8101618300", [("text", b"a"), ("error", 1002)]),
    ("exactly the largest size", SMALL, "820461626364", [("binary", b"abcd")]),
    (
        "exactly the largest size in fragments",
        SMALL,
        "020261628002" + "6364",
        [("binary", b"abcd")],
    ),
    ("exactly the most fragments", SMALL, "020000008000", [("binary", b"")]),
    ("a ping larger than a message may be", SMALL, "8905" + "61" * 5, [("ping", b"aaaaa")]),
    ("limits that count anew for each message", SMALL, "8203616263" * 2, [("binary", b"abc")] * 2),
    ("fragments counted anew for each message", SMALL, "020000008000" * 2, [("binary", b"")] * 2),
    ("half a text", CLIENT, "810548656c", []),
    ("half a text that is bad already", CLIENT, "810548ff", [("error", 1007)]),
    ("half a character at the end of what came", CLIENT, "8105e282", []),
    ("a bad character over two fragments", CLIENT, "0101ed8005a0", [("error", 1007)]),
    ("half a character and an empty last fragment", CLIENT, "0101c38000", [("error", 1007)]),
    ("a binary message that is not UTF-8", CLIENT, "8201ff", [("binary", b"\xff")]),
    ("a size judged by the header", SMALL, "8205", [("error", 1009)]),
    ("an enormous size without a limit", CLIENT, "827f7fffffffffffffff00", []),
    ("an unmasked empty frame", SERVER, "8100", [("error", 1002)]),
    ("a masked empty frame", CLIENT, "8180" + ZERO_KEY, [("error", 1002)]),
]


def compressed(blocks: Bits | bytes, first: int = 0xC2) -> str:
    """Return a frame of a compressed message, or of another one that begins so."""
    data = blocks if isinstance(blocks, bytes) else blocks.finish()
    head = (
        bytes([first, len(data)])
        if len(data) < 126
        else bytes([first, 126, *divmod(len(data), 256)])
    )
    return (head + data).hex()


def repeats_nothing() -> Bits:
    blocks = Bits()
    codes = blocks.begin_codes(257, 1, {0, 16})
    return blocks.code(codes[16]).number(0, 2)


# RFC 7692 section 7.2.3.
HELLO = [("text", b"Hello")]
COMPRESSED_STREAMS = [
    ("one block", COMPRESSED, "c107f248cdc9c90700", HELLO),
    ("two fragments", COMPRESSED, "4103f248cd8004c9c90700", HELLO),
    ("the same again", COMPRESSED, "c107f248cdc9c90700c105f200110000", HELLO * 2),
    ("no compression", COMPRESSED, "c10b000500faff48656c6c6f00", HELLO),
    ("a last block", COMPRESSED, "c108f348cdc9c9070000", HELLO),
    ("two blocks", COMPRESSED, "c10df248050000" + "00ffffcac9c90700", HELLO),
    ("an empty message", COMPRESSED, "c10100", [("text", b"")]),
    ("not compressed", COMPRESSED, "810548656c6c6f", HELLO),
    (
        "not compressed, between",
        COMPRESSED,
        "c107f248cdc9c90700810161c105f200110000",
        [
            *HELLO,
            ("text", b"a"),
            *HELLO,
        ],
    ),
    ("a ping between fragments", COMPRESSED, "4103f248cd89008004c9c90700", [("ping", b""), *HELLO]),
    ("a message that is cut", COMPRESSED, "c104f248cdc9", [("text", b"Helh")]),
    ("half a frame", COMPRESSED, "c107f248cdc9", []),
    (
        "exactly the largest size",
        SMALL_COMPRESSED,
        compressed(Bits().fixed(b"abab").header(STORED)),
        [("binary", b"abab")],
    ),
]

# Several faults in one header: the first in this order has to be told.
CONTESTED = [
    ("rsv", Rules(True), "b105"),
    ("masked", SMALL, "8085" + ZERO_KEY),
    ("orphan-continuation", SMALL, "8005"),
    ("interrupted", SMALL, "0200000000000205"),
    ("too-many-fragments", SMALL, "02000000000000058205"),
    ("close-bad-code", CLIENT, "880303edff"),
]

BRANCH_EXAMPLES = {
    "rsv": (CLIENT, "c100", 1002),
    "reserved-opcode": (CLIENT, "8b00", 1002),
    "fragmented-control": (CLIENT, "0900", 1002),
    "long-control": (CLIENT, "897e007e", 1002),
    "non-minimal-16": (CLIENT, "827e007d", 1002),
    "non-minimal-64": (CLIENT, "827f000000000000ffff", 1002),
    "top-bit": (CLIENT, "827f8000000000000000", 1002),
    "unmasked": (SERVER, "810161", 1002),
    "masked": (CLIENT, "818100000000" + "61", 1002),
    "orphan-continuation": (CLIENT, "800161", 1002),
    "interrupted": (CLIENT, "010161810162", 1002),
    "too-many-fragments": (SMALL, "0200000000008000", 1008),
    "too-big": (SMALL, "02026162800363", 1009),
    "utf8-overlong": (CLIENT, "8102c080", 1007),
    "utf8-surrogate": (CLIENT, "8103eda080", 1007),
    "utf8-beyond": (CLIENT, "8104f4908080", 1007),
    "utf8-stray-tail": (CLIENT, "810180", 1007),
    "utf8-bad-tail": (CLIENT, "8103e28241", 1007),
    "utf8-bad-byte": (CLIENT, "8101ff", 1007),
    "utf8-truncated": (CLIENT, "8102e282", 1007),
    "close-1-byte": (CLIENT, "880103", 1002),
    "close-bad-code": (CLIENT, "880203ed", 1002),
    "close-bad-reason": (CLIENT, "880303e8ff", 1007),
    "rsv1-misplaced": (COMPRESSED, "0200c000", 1002),
    "inflated-too-big": (SMALL_COMPRESSED, compressed(Bits().fixed(b"abcde")), 1009),
    "deflate-type": (COMPRESSED, "c20106", 1007),
    "deflate-stored": (COMPRESSED, "c2050001000000", 1007),
    "deflate-counts": (COMPRESSED, "c203fcff00", 1007),
    "deflate-code-lengths": (
        COMPRESSED,
        compressed(Bits().header(DYNAMIC).number(0, 10).code("1" * 61)),
        1007,
    ),
    "deflate-repeat": (COMPRESSED, compressed(repeats_nothing()), 1007),
    "deflate-no-end": (COMPRESSED, compressed(Bits().codes([1, 1] + [0] * 255, [0])), 1007),
    "deflate-literals": (COMPRESSED, compressed(Bits().codes([2] + [0] * 255 + [2], [0])), 1007),
    "deflate-distances": (COMPRESSED, compressed(Bits().codes(even({0, 256}, 257), [2])), 1007),
    "deflate-bad-length": (COMPRESSED, compressed(Bits().header(FIXED).code("11000110")), 1007),
    "deflate-bad-distance": (
        COMPRESSED,
        compressed(Bits().header(FIXED).code("000000111110")),
        1007,
    ),
    "deflate-too-far": (
        ANEW,
        compressed(Bits().fixed([97]).header(STORED)) + compressed(Bits().fixed([(3, 1)])),
        1007,
    ),
    "deflate-beyond-window": (
        NARROW,
        compressed(bytes([0, 1, 2, 254, 253]) + bytes(513) + b"\0")
        + compressed(Bits().fixed([(3, 513)])),
        1007,
    ),
}


@pytest.mark.parametrize(
    "rules, stream, events",
    [pytest.param(*row[1:], id=row[0]) for row in RFC_EXAMPLES + STREAMS + COMPRESSED_STREAMS],
)
def test_reference_understands(rules: Rules, stream: str, events: list[Event]) -> None:
    assert parse(bytes.fromhex(stream), rules).events == events


@pytest.mark.parametrize("branch", BRANCHES)
def test_reference_refuses(branch: str) -> None:
    rules, stream, code = BRANCH_EXAMPLES[branch]
    outcome = parse(bytes.fromhex(stream), rules)
    assert outcome.branch == branch
    assert outcome.events[-1] == ("error", code)


@pytest.mark.parametrize("branch, rules, stream", CONTESTED)
def test_reference_tells_the_first_of_several_faults(
    branch: str, rules: Rules, stream: str
) -> None:
    assert parse(bytes.fromhex(stream), rules).branch == branch


@pytest.mark.parametrize("code", [*range(1000, 1004), *range(1007, 1015), 3000, 4000, 4999])
def test_reference_accepts_the_close_code(code: int) -> None:
    assert parse(b"\x88\x02" + code.to_bytes(2, "big"), CLIENT).events == [("close", code, b"")]


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535])
def test_reference_refuses_the_close_code(code: int) -> None:
    outcome = parse(b"\x88\x02" + code.to_bytes(2, "big"), CLIENT)
    assert outcome.events == [("error", 1002)]


@pytest.mark.parametrize(
    "rules, stream, early",
    [
        (CLIENT, "f1", ("error", 1002)),
        (CLIENT, "80", ("error", 1002)),
        (CLIENT, "81fe", ("error", 1002)),
        (CLIENT, "897e", ("error", 1002)),
        (CLIENT, "81", None),
        (SMALL, "827e", None),
        (SERVER, "81fe00", None),
        (SMALL, "02000000000080", None),
    ],
)
def test_reference_leaves_a_fault_in_half_a_header_to_the_receiver(
    rules: Rules, stream: str, early: Event | None
) -> None:
    outcome = parse(bytes.fromhex(stream), rules)
    assert outcome.events == []
    assert outcome.early == early


# How many octets may come before what has come can no more become UTF-8.
BAD_UTF8 = [
    ("80", 1),
    ("bf", 1),
    ("c0", 1),
    ("c1", 1),
    ("c27f", 2),
    ("c2c0", 2),
    ("e09f", 2),
    ("e1c0", 2),
    ("e18041", 3),
    ("eda0", 2),
    ("edbf", 2),
    ("efbf00", 3),
    ("f08f", 2),
    ("f0908041", 4),
    ("f490", 2),
    ("f5", 1),
    ("f8", 1),
    ("fe", 1),
    ("ff", 1),
    ("cebae1bdb9cf83cebcceb5eda080", 13),
]


def is_bad(data: bytes, ends: bool) -> bool:
    try:
        check_utf8(data, ends, 1007)
    except Violation:
        return True
    return False


@pytest.mark.parametrize("text, octets", BAD_UTF8)
def test_reference_refuses_bad_utf8_at_the_octet_that_breaks_it(text: str, octets: int) -> None:
    data = bytes.fromhex(text)
    assert not is_bad(data[: octets - 1], ends=False)
    assert is_bad(data[:octets], ends=False)


def test_reference_agrees_with_the_decoder_of_the_standard_library() -> None:
    octets = bytes.fromhex("00417f808f909fa0bfc0c1c2dfe0e1ecedeeeff0f1f3f4f5f8ff")
    for length in (1, 2, 3):
        for data in itertools.product(octets, repeat=length):
            assert is_bad(bytes(data), ends=True) == (not decodes(bytes(data)))


def test_reference_accepts_the_start_of_every_character() -> None:
    edges = {0, 0x7F, 0x80, 0x7FF, 0x800, 0xFFF, 0xD7FF, 0xE000, 0xFFFF, 0x10000, 0x10FFFF}
    for codepoint in edges | set(range(0, 0x110000, 61)):
        if 0xD800 <= codepoint <= 0xDFFF:
            continue
        data = chr(codepoint).encode()
        assert not is_bad(data, ends=True)
        for length in range(1, len(data)):
            assert not is_bad(data[:length], ends=False)
            assert is_bad(data[:length], ends=True)


def decodes(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
