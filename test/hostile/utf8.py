"""Text that is not UTF-8 (RFC 6455 8.1), and text that is."""

from __future__ import annotations

from test.hostile import AT_ONCE, UTF8, Target, attack
from test.hostile.violations import (
    KEY,
    all_refused,
    built,
    named,
    refused,
    send_fragments,
    send_in_two,
    skip_pings,
    started,
)
from test.hostile.wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Frame, xor

#: Bytes that are not UTF-8, whatever stands before and behind them.
INVALID = {
    "a continuation byte alone": b"\x80",
    "the last continuation byte alone": b"\xbf",
    "a continuation byte too many": b"\xc3\xa9\x80",
    "an overlong NUL": b"\xc0\x80",
    "overlong, two bytes": b"\xc1\xbf",
    "overlong, three bytes": b"\xe0\x80\x80",
    "the last overlong one of three bytes": b"\xe0\x9f\xbf",
    "overlong, four bytes": b"\xf0\x80\x80\x80",
    "the last overlong one of four bytes": b"\xf0\x8f\xbf\xbf",
    "the first surrogate": b"\xed\xa0\x80",
    "the last surrogate": b"\xed\xbf\xbf",
    "a pair of surrogates": b"\xed\xa0\x81\xed\xb0\x81",
    "U+110000": b"\xf4\x90\x80\x80",
    "a lead byte that is too large": b"\xf5\x80\x80\x80",
    "U+1FFFFF": b"\xf7\xbf\xbf\xbf",
    "five bytes": b"\xf8\x88\x80\x80\x80",
    "six bytes": b"\xfc\x84\x80\x80\x80\x80",
    "FE": b"\xfe",
    "FF": b"\xff",
    "a character of two that stops": b"\xc3(",
    "a character of three that stops": b"\xe2\x82(",
    "a character of four that stops": b"\xf0\x9f\x92(",
    "a character in a character": b"\xe2\xc3\xa9",
}
#: The beginnings of characters: valid so far.
TRUNCATED = [b"\xc3", b"\xe2", b"\xe2\x82", b"\xf0", b"\xf0\x9f", b"\xf0\x9f\x92"]

#: Characters of each length at their bounds, noncharacters too, NUL and the byte order mark.
VALID = (
    "\0\x7f\x80\u07ff\u0800\ud7ff\ue000\ufeff\ufffd\ufffe\uffff"
    "\U00010000\U0001f4a9\U0003ffff\U000fffff\U0010ffff"
).encode()

CLOSE_1007 = b"\x03\xef"


def is_1007(frame: Frame | None) -> bool:
    return frame is not None and frame.opcode == CLOSE and frame.payload[:2] == CLOSE_1007


@attack(UTF8, "RFC 6455 8.1")
def text_that_is_not_utf8(target: Target) -> None:
    variants = {name: built(TEXT, b"caf\xc3\xa9 " + data + b" x") for name, data in INVALID.items()}
    for data in TRUNCATED:
        variants[f"{data!r} at the end"] = built(TEXT, b"abc" + data)
        variants[f"{data!r} alone"] = built(TEXT, data)
    all_refused(target, variants, 1007)


@attack(UTF8, "RFC 6455 8.1")
def text_that_is_not_utf8_split_at_every_byte(target: Target) -> None:
    for name, data in INVALID.items():
        for at in range(1, len(data)):
            with named(f"{name}, split at {at}"), target.open() as wire:
                send_fragments(wire, [b"abc" + data[:at], data[at:] + b"xyz"], TEXT)
                refused(wire, 1007)


@attack(UTF8, "RFC 6455 8.1")
def text_that_is_not_utf8_in_a_frame_cut_at_every_byte(target: Target) -> None:
    with target.open() as other:
        for name in ("the last surrogate", "U+110000", "a character of three that stops"):
            data = INVALID[name]
            for at in range(1, len(data)):
                with named(f"{name}, cut at {at}"), target.open() as wire:
                    frame = wire.build(TEXT, b"a" + data)
                    send_in_two(wire, frame, len(frame) - len(data) + at, other)
                    refused(wire, 1007)
        other.leave()


@attack(UTF8, "RFC 6455 8.1")
def a_text_that_ends_within_a_character(target: Target) -> None:
    for data in TRUNCATED:
        for name, parts in {
            "in the last fragment": [b"a", data],
            "before an empty last fragment": [b"a" + data, b""],
            "with empty fragments": [b"", data, b"", b""],
        }.items():
            with named(f"{data!r} {name}"), target.open() as wire:
                send_fragments(wire, parts, TEXT)
                refused(wire, 1007)


# RFC 6455 does not say whether what came before a violation is answered.
@attack(UTF8, "a limit of ours")
def what_came_before_wrong_text_is_answered(target: Target) -> None:
    with target.open() as wire:
        data = wire.build(TEXT, b"one") + wire.build(BINARY, b"\xff")
        wire.send(data + wire.build(TEXT, b"t\xff") + wire.build(TEXT, b"behind"))
        refused(wire, 1007, after=[(TEXT, b"one"), (BINARY, b"\xff")])


# RFC 6455 leaves it open when wrong text is found.
@attack(UTF8, "a limit of ours")
def wrong_text_is_found_before_the_message_ends(target: Target) -> None:
    for name, data in INVALID.items():
        with named(name), target.open() as wire:
            wire.send_frame(TEXT, b"abc" + data, fin=0)
            assert is_1007(skip_pings(wire, AT_ONCE))
    with named("in the second fragment"), target.open() as wire:
        wire.send_frame(TEXT, b"\xf4", fin=0)
        wire.send_frame(CONTINUATION, b"\x90", fin=0)
        assert is_1007(skip_pings(wire, AT_ONCE))


@attack(UTF8, "a limit of ours")
def wrong_text_is_found_before_the_frame_ends(target: Target) -> None:
    for name, data in INVALID.items():
        with named(name), target.open() as wire:
            part = b"abc" + data
            wire.send(started(TEXT, 1000)(wire) + (xor(part, KEY) if wire.masks else part))
            assert is_1007(skip_pings(wire, AT_ONCE))


@attack(UTF8, "RFC 6455 5.6, 8.1")
def right_text_split_everywhere(target: Target) -> None:
    with target.open() as wire:
        for at in range(len(VALID) + 1):
            send_fragments(wire, [VALID[:at], b"", VALID[at:]], TEXT)
            with named(f"split at {at}"):
                assert wire.message() == VALID
        send_fragments(wire, [VALID[at : at + 1] for at in range(len(VALID))], TEXT)
        assert wire.message() == VALID
        wire.leave()


@attack(UTF8, "RFC 6455 5.6, 8.1")
def right_text_in_a_frame_cut_at_every_byte(target: Target) -> None:
    with target.open() as wire, target.open() as other:
        frame = wire.build(TEXT, VALID)
        for at in range(len(frame) - len(VALID), len(frame)):
            send_in_two(wire, frame, at, other)
            with named(f"cut at {at}"):
                assert wire.message() == VALID
        other.leave()
        wire.leave()


@attack(UTF8, "RFC 6455 5.6, 8.1")
def every_character_there_is(target: Target) -> None:
    with target.open() as wire:
        for plane in range(0x11):
            points = range(plane << 16, plane + 1 << 16)
            text = "".join(chr(each) for each in points if not 0xD800 <= each < 0xE000).encode()
            wire.send_frame(TEXT, text)
            with named(f"plane {plane}"):
                assert wire.message() == text
        wire.leave()


@attack(UTF8, "RFC 6455 8.1")
def characters_at_the_bounds_of_blocks(target: Target) -> None:
    """Text is validated in pieces, of whatever size."""
    with target.open() as wire:
        for shift in range(4):
            text = b"x" * shift + "\U0001f4a9".encode() * 200_000
            wire.send_frame(TEXT, text)
            with named(f"shifted by {shift}"):
                assert wire.message() == text
        wire.leave()
    for at in (16_383, 32_767, 65_535, 131_071, 262_143, 500_000):
        with named(f"wrong at {at}"), target.open() as wire:
            wire.send_frame(TEXT, b"x" * at + b"\xed\xa0\x80" + b"x" * 1000)
            refused(wire, 1007)


@attack(UTF8, "RFC 6455 5.4, 8.1")
def a_ping_within_a_character(target: Target) -> None:
    with target.open() as wire:
        wire.send_frame(TEXT, b"\xe2\x82", fin=0)
        wire.send_frame(PING, b"\xff\xfe")
        assert skip_pings(wire) == (True, PONG, b"\xff\xfe")
        wire.send_frame(CONTINUATION, b"\xac")
        assert wire.message() == b"\xe2\x82\xac"
        wire.leave()


@attack(UTF8, "RFC 6455 5.6")
def binary_messages_are_not_validated(target: Target) -> None:
    with target.open() as wire:
        for data in (*INVALID.values(), *TRUNCATED, bytes(range(256))):
            wire.send_frame(BINARY, data)
            assert skip_pings(wire) == (True, BINARY, data)
            send_fragments(wire, [data[:1], data[1:]])
            assert skip_pings(wire) == (True, BINARY, data)
            wire.echo(VALID)
        wire.leave()


@attack(UTF8, "RFC 6455 5.5.1, 8.1")
def a_reason_that_is_not_utf8(target: Target) -> None:
    def close(reason: bytes) -> bytes:
        return b"\x03\xe8" + reason

    variants = {name: built(CLOSE, close(b"caf\xc3\xa9 " + data)) for name, data in INVALID.items()}
    for data in TRUNCATED:
        variants[f"{data!r} at the end"] = built(CLOSE, close(b"abc" + data))
    all_refused(target, variants, 1007)


@attack(UTF8, "RFC 6455 5.5.1")
def a_reason_of_characters_of_every_length(target: Target) -> None:
    with target.open() as wire:
        wire.send_close(1000, VALID)
        refused(wire, 1000)
