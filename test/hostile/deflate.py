"""Compressed messages (RFC 7692): such as are wrong, and rare ones that are right."""

from __future__ import annotations

import gzip
import random
import zlib
from collections.abc import Mapping
from typing import Callable

from test.deflate_blocks import (
    DYNAMIC,
    FIXED,
    RESERVED,
    STORED,
    TAIL,
    Bits,
    Symbol,
    deflate,
    even,
)
from test.hostile import AT_ONCE, DEFLATE, Target, attack
from test.hostile.deflated import COMPRESSED, PLAIN, Compressing, Direction, compressing
from test.hostile.frames import MOST
from test.hostile.utf8 import INVALID, TRUNCATED, VALID
from test.hostile.violations import named, refused, send_in_two, skip_pings
from test.hostile.wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Wire

OURS = "a limit of ours"
#: The codes for what is no DEFLATE: it breaks a protocol, and is not what it says it is.
NOT_DEFLATE = (1002, 1007)

#: What is sent on a connection: a violation.
Build = Callable[[Compressing], bytes]

#: Lengths of codes, with one for the end of a block.
ENOUGH = even({0, 256}, 257)

#: Bytes that no compressed message begins with, whatever follows.
BROKEN = {
    "a block of the reserved type": Bits().header(RESERVED).finish(),
    "a last block of the reserved type": Bits().header(RESERVED, final=1).finish(),
    "a stored block and not the complement of its length": Bits()
    .stored(b"hello", complement=0xFFFE)
    .finish(),
    "what is not compressed": b"hello world",
    "what zlib puts a header before": zlib.compress(b"hello" * 20),
    "what gzip puts a header before": gzip.compress(b"hello" * 20),
    "too many codes for literals": Bits().header(DYNAMIC).number(30, 5).number(0, 9).finish(),
    "too many codes for distances": Bits()
    .header(DYNAMIC)
    .number(0, 5)
    .number(30, 5)
    .number(0, 4)
    .finish(),
    "codes for lengths that are no code": Bits()
    .header(DYNAMIC)
    .number(0, 10)
    .number(15, 4)
    .number(0o1111111111111111111, 57)
    .finish(),
    "codes for literals that are no code": Bits().codes([1, 1, 1] + [0] * 253 + [1], [0]).finish(),
    "codes for literals that are not all": Bits().codes([3, 3] + [0] * 254 + [3], [0]).finish(),
    "codes for distances that are no code": Bits().codes(ENOUGH, [1, 1, 1]).finish(),
    "codes for distances that are not all": Bits().codes(ENOUGH, [2, 2]).finish(),
    "no end of the block": Bits().codes([1, 1] + [0] * 255, [0]).finish(),
    "a length that there is none of": Bits().header(FIXED).code("11000110").finish(),
    "a distance that there is none of": Bits().header(FIXED).code("0000001 11110").finish(),
    "a distance where there are none": Bits()
    .codes(even({97, 256, 257}, 258), [0])
    .code("0 11 0")
    .finish(),
    "a match before there is anything": Bits().fixed([(3, 1)]).finish(),
    "a match that begins before the message": Bits().fixed([97, (3, 2)]).finish(),
    "noise": b"\xff" * 50,
}


def all_refused(target: Target, variants: Mapping[str, Build], *codes: int) -> None:
    """Send each variant on a connection of its own, and have it refused."""
    for name, build in variants.items():
        with named(name), compressing(target) as wire:
            wire.send(build(wire))
            refused(wire, *codes)


def closes(wire: Wire, *codes: int) -> None:
    """Fail unless the target closes with one of ``codes``, at once."""
    frame = skip_pings(wire, AT_ONCE)
    assert frame is not None, "it ended without a Close"
    assert frame.opcode == CLOSE, frame
    assert int.from_bytes(frame.payload[:2], "big") in codes, frame


def compressed(data: bytes, opcode: int = BINARY, fin: int = 1) -> Build:
    """Return what builds a message of a frame, or its beginning, of bytes that are compressed."""
    return lambda wire: wire.frames([data], opcode, fin)


@attack(DEFLATE, "RFC 7692 7.2.2 and RFC 1951")
def broken_data(target: Target) -> None:
    variants = {name: compressed(data) for name, data in BROKEN.items()}
    all_refused(target, variants, *NOT_DEFLATE)


# RFC 7692 does not say when it is to be found.
@attack(DEFLATE, OURS)
def broken_data_is_found_before_the_message_ends(target: Target) -> None:
    for name, data in BROKEN.items():
        with named(name), compressing(target) as wire:
            wire.send(wire.frames([data], fin=0))
            closes(wire, *NOT_DEFLATE)
    with compressing(target) as wire:
        wire.send(wire.frames([deflate(b"right so far"), BROKEN["noise"]], fin=0))
        closes(wire, *NOT_DEFLATE)


@attack(DEFLATE, OURS)
def broken_data_is_found_before_the_frame_ends(target: Target) -> None:
    for length in (1000, 1 << 62):
        with named(f"{length} bytes"), compressing(target) as wire:
            wire.send(wire.build(BINARY, BROKEN["noise"], rsv=COMPRESSED, length=length))
            closes(wire, *NOT_DEFLATE)


@attack(DEFLATE, OURS)
def what_came_before_broken_data_is_answered(target: Target) -> None:
    with compressing(target) as wire:
        data = wire.message_of(b"one" * 100) + wire.message_of(b"two" * 100, BINARY, 3)
        data += wire.frames([BROKEN["noise"]]) + wire.build(TEXT, b"behind")
        wire.send(data)
        before = [(TEXT, b"one" * 100), (BINARY, b"two" * 100)]
        refused(wire, *NOT_DEFLATE, after=before)


@attack(DEFLATE, "RFC 7692 7.2.2 leaves open whether a message without its end is one")
def data_that_is_cut(target: Target) -> None:
    """It may be refused, or be a shorter message; what follows is no worse than broken."""
    noise = random.Random(7692).randbytes(40)
    data = Bits().stored(noise).dynamic([*b"banana", (3, 2)]).fixed([(4, 40)]).finish()
    for size in range(len(data)):
        with named(f"{size} bytes"), compressing(target) as wire:
            wire.send(wire.frames([data[:size]], BINARY) + wire.frames([deflate(b"next")], BINARY))
            wire.send_close()
            end = wire.end()
            assert end.code in (1000, *NOT_DEFLATE), end
            assert all(len(message) < 1000 for message in end.messages), end


def rsv(first: int, opcode: int, bits: int, fin: int = 1) -> Build:
    """Return what builds a frame with reserved bits; a continuation continues a message.

    Args:
        first: The reserved bits of the frame that begins the message.
    """

    def build(wire: Compressing) -> bytes:
        start = b""
        if opcode == CONTINUATION:
            start = wire.build(TEXT, b"\0" * (first > 0), rsv=first, fin=0)
        payload = b"\x03\xe8" if opcode == CLOSE else b"\0"
        return start + wire.build(opcode, payload, fin=fin, rsv=bits)

    return build


@attack(DEFLATE, "RFC 7692 6: RSV1 of the first frame of data alone; RFC 6455 5.2")
def a_reserved_bit_where_it_may_not_be_set(target: Target) -> None:
    variants = {
        f"RSV {bits:03b} of a frame {opcode:#x}, FIN {fin}": rsv(0, opcode, bits, fin)
        for opcode in (TEXT, BINARY, CLOSE, PING, PONG)
        for bits in range(1, 8)
        for fin in ((0, 1) if opcode < CLOSE else (1,))
        if (opcode >= CLOSE or bits != COMPRESSED) and (fin or bits in (1, 6))
    }
    for first in (0, COMPRESSED):
        for bits in (1, 2, 4, 6):
            for fin in (0, 1):
                name = f"RSV {bits:03b} of a continuation behind {first:03b}, FIN {fin}"
                variants[name] = rsv(first, CONTINUATION, bits, fin)
    all_refused(target, variants, 1002)


# Text.


@attack(DEFLATE, "RFC 6455 8.1; RFC 7692 7.2.2")
def compressed_text_that_is_not_utf8(target: Target) -> None:
    wrong = {name: b"caf\xc3\xa9 " + data + b" x" for name, data in INVALID.items()}
    wrong.update({f"{data!r} at the end": b"abc" + data for data in TRUNCATED})
    variants = {name: compressed(deflate(text), TEXT) for name, text in wrong.items()}
    for name in ("the last surrogate", "a character of three that stops"):
        for at in range(5, len(wrong[name])):
            first, last = wrong[name][:at], wrong[name][at:]
            variants[f"{name}, in two blocks, from {at}"] = compressed(
                Bits().stored(first).stored(last).header(STORED).finish(), TEXT
            )
            variants[f"{name}, in fragments, from {at}"] = in_fragments(first, last)
    all_refused(target, variants, 1007)


def in_fragments(*parts: bytes) -> Build:
    """Return what builds a compressed text, in these fragments."""
    return lambda wire: wire.frames(
        [wire.codec.deflate(part, number == len(parts)) for number, part in enumerate(parts, 1)]
    )


@attack(DEFLATE, OURS)
def wrong_compressed_text_is_found_before_it_ends(target: Target) -> None:
    for name, data in INVALID.items():
        flushed = deflate(b"abc" + data) + TAIL
        with named(f"{name}, a fragment"), compressing(target) as wire:
            wire.send(wire.frames([flushed], fin=0))
            closes(wire, 1007)
        with named(f"{name}, a part of a frame"), compressing(target) as wire:
            wire.send(wire.build(TEXT, flushed, rsv=COMPRESSED, length=1000))
            closes(wire, 1007)


@attack(DEFLATE, "RFC 7692 7.2.1: blocks of any type, and any number of them")
def right_text_split_over_blocks_and_fragments(target: Target) -> None:
    with compressing(target) as wire:
        for at in range(len(VALID) + 1):
            first, last = VALID[:at], VALID[at:]
            data = Bits().stored(first).fixed(last).stored(b"").header(STORED).finish()
            wire.send(wire.frames([data]) + in_fragments(first, b"", last)(wire))
            with named(f"split at {at}"):
                assert wire.message() == VALID
                assert wire.message() == VALID
        data = deflate(VALID)
        wire.send(wire.frames([data[at : at + 1] for at in range(len(data))]))
        assert wire.message() == VALID
        wire.leave()


# What is right.


#: The examples of RFC 7692, section 7.2.3: of each "Hello" is to be read.
HELLO = {
    "7.2.3.1": "f248cdc9c90700",
    "7.2.3.2, the same again": "f200110000",
    "7.2.3.3": "000500faff48656c6c6f00",
    "7.2.3.5": "f248050000" + "00ffff" + "cac9c90700",
}
#: 7.2.3.4, where a block says that it is the last one.
HELLO_AND_NO_MORE = bytes.fromhex("f348cdc9c9070000")


@attack(DEFLATE, "RFC 7692 7.2.3")
def the_examples_of_the_rfc(target: Target) -> None:
    with compressing(target) as wire:
        for name, data in HELLO.items():
            with named(name):
                wire.send(wire.frames([bytes.fromhex(data)]))
                assert wire.message() == b"Hello"
        wire.send(wire.frames([bytes.fromhex("f248cd"), bytes.fromhex("c9c90700")]))
        assert wire.message() == b"Hello"
        wire.send(wire.frames([b"\0"]))  # 7.2.3.6
        assert wire.message() == b""
        wire.leave()


#: Symbols, what they stand for behind "banana", and that.
ANANAS: tuple[list[Symbol], bytes] = ([(5, 5), *b"s", (3, 1)], b"ananassss")


@attack(DEFLATE, "RFC 7692 7.2.1; RFC 1951 3.2")
def blocks_of_every_type_one_behind_the_other(target: Target) -> None:
    symbols, text = ANANAS
    blocks = Bits().stored(b"banana").fixed(symbols)
    expected = b"banana" + text
    for _ in range(50):
        blocks.stored(b"").stored(b"banana").dynamic(symbols).fixed([]).dynamic([])
        blocks.stored(b"banana").fixed(symbols)
        expected += 2 * (b"banana" + text)
    with compressing(target) as wire:
        data = blocks.header(STORED).finish()
        for parts in ([data], [data[:100], b"", data[100:]], [data[i : i + 1] for i in range(99)]):
            wire.send(wire.frames([*parts, data[99:]] if len(parts) == 99 else parts))
            assert wire.message() == expected
        wire.leave()


@attack(DEFLATE, "RFC 7692 7.2.1: blocks with BFINAL are allowed; 7.2.3.4")
def blocks_that_say_they_are_the_last(target: Target) -> None:
    """What follows begins with the next octet; no context is shared over such an end."""
    symbols, text = ANANAS
    with compressing(target) as wire:
        for _ in range(2):
            wire.send(wire.frames([HELLO_AND_NO_MORE]))
            assert wire.message() == b"Hello"
        for count in (1, 2, 40):
            blocks = Bits()
            for number in range(count):
                blocks.stored(b"banana", number % 2).fixed([], 1).align()
                blocks.stored(b"banana").dynamic(symbols, 1).align()
            wire.send(wire.frames([blocks.header(STORED).finish()], BINARY))
            assert wire.message() == (2 * b"banana" + text) * count
            wire.send_frame(PING, b"and goes on")
            assert skip_pings(wire) == (True, PONG, b"and goes on")
        wire.leave()


@attack(DEFLATE, "RFC 7692 7.2.1 and 7.2.2: the window goes from one message to the next")
def messages_that_refer_to_each_other(target: Target) -> None:
    """Others that are not compressed, or are of fragments, come between."""
    rng = random.Random(7692)
    base = rng.randbytes(3000)
    for terms in ((PLAIN, PLAIN), (Direction(10), Direction(9)), (PLAIN, Direction(15, True))):
        with named(str(terms)), compressing(target, *terms) as wire:
            for number in range(12):
                payload = base[number * 100 :] + b"%d" % number
                wire.send_message(payload, BINARY, rng.choice((1, 1, 2, 7)))
                assert wire.message() == payload
                if number % 3 == 0:
                    wire.echo(b"not compressed")
                    wire.send(wire.frames([b"\0"]))
                    assert wire.message() == b""
            assert wire.codec.count, "nothing is compressed"
            wire.leave()


@attack(DEFLATE, "RFC 7692 7.1.2: up to that many bytes; RFC 1951 2 for 32768")
def references_as_far_back_as_was_agreed(target: Target) -> None:
    noise = random.Random(1951).randbytes(1 << 15)
    for bits in (9, 12, 15):
        size = 1 << bits
        with named(f"{bits} bits"), compressing(target, Direction(bits)) as wire:
            size = 1 << wire.codec.ours.bits
            for _ in range(2):
                far = Bits().fixed([(3, size), *b"abc", (258, size)]).header(STORED)
                wire.send(wire.frames([deflate(noise[:size], wire.codec.ours.bits)], BINARY))
                assert wire.message() == noise[:size]
                wire.send(wire.frames([far.finish()], BINARY))
                assert wire.message() == noise[:3] + b"abc" + noise[6 : 6 + 258]
            wire.leave()


@attack(DEFLATE, "RFC 7692 7.1.1, 7.1.2: who was promised less need not keep more")
def references_to_what_need_not_be_kept(target: Target) -> None:
    noise = random.Random(1951).randbytes(5000)
    for terms, distance in (
        (Direction(9), 513),
        (Direction(9), 1000),
        (Direction(9), 4999),
        (Direction(12), 4097),
        (Direction(15, anew=True), 1),
        (Direction(9, anew=True), 500),
    ):
        with named(f"{terms}, {distance}"), compressing(target, terms) as wire:
            wire.send(wire.frames([deflate(noise, wire.codec.ours.bits)], BINARY))
            assert wire.message() == noise
            wire.send(wire.frames([Bits().fixed([(3, distance)]).finish()], BINARY))
            refused(wire, *NOT_DEFLATE)


@attack(DEFLATE, "RFC 7692 7.1.1: each message begins with an empty window")
def messages_that_refer_to_none(target: Target) -> None:
    for theirs in (PLAIN, Direction(9), Direction(9, True)):
        for ours in (Direction(15, True), Direction(9, True)):
            with named(f"{ours}, {theirs}"), compressing(target, ours, theirs) as wire:
                for parts in (1, 1, 3, 1):
                    wire.send_message(b"hello" * 200, TEXT, parts)
                    assert wire.message() == b"hello" * 200
                assert wire.codec.count == 4, wire.codec.count
                wire.leave()


@attack(DEFLATE, "RFC 7692 6.1, RFC 6455 5.4")
def control_frames_come_between_compressed_fragments(target: Target) -> None:
    payload = b"hello" * 100
    with compressing(target) as wire:
        parts = [wire.codec.deflate(payload[at : at + 100], at == 400) for at in range(0, 500, 100)]
        for number, part in enumerate([*parts[:-1], b"", parts[-1]]):
            opcode, bits = (CONTINUATION, 0) if number else (TEXT, COMPRESSED)
            wire.send_frame(opcode, part, rsv=bits, fin=int(number == 5))
            wire.send_frame(PING, b"%d" % number)
            if number < 5:
                assert skip_pings(wire) == (True, PONG, b"%d" % number)
        assert wire.message() == payload
        wire.send_message(payload)
        assert wire.message() == payload
        wire.leave()


@attack(DEFLATE, "RFC 7692 6.1, 7.2.1")
def a_compressed_message_cut_at_every_byte(target: Target) -> None:
    with compressing(target) as wire, target.open() as other:
        payload = b"banana bandana"
        frame = wire.frames([deflate(payload)])
        for at in range(1, len(frame)):
            send_in_two(wire, frame, at, other)
            with named(f"cut at {at}"):
                assert wire.message() == payload
        data = wire.message_of(b"byte by byte" * 20, TEXT, 4)
        for byte in data:
            wire.send(bytes([byte]))
        assert wire.message() == b"byte by byte" * 20
        other.leave()
        wire.leave()


# Limits.


@attack(DEFLATE, OURS)
def an_inflated_message_at_the_limit_passes_and_a_byte_more_does_not(target: Target) -> None:
    most, more = deflate(bytes(MOST)), deflate(bytes(MOST + 1))
    parts = [most[:1], b"", most[1:500], most[500:]]
    with compressing(target) as wire:
        for data, opcode in (([most], TEXT), (parts, BINARY), ([most], BINARY)):
            wire.send(wire.frames(data, opcode))
            assert wire.message() == bytes(MOST)
        wire.send(wire.frames([more], BINARY))
        refused(wire, 1009)
    variants = {
        "text": compressed(more, TEXT),
        "fragments": lambda wire: wire.frames([more[:1], b"", more[1:]]),
        "in a fragment before the last": compressed(more + TAIL, fin=0),
        "a byte in the last fragment": lambda wire: wire.frames(
            [most + TAIL, Bits().fixed(b"x").header(STORED).finish()], BINARY
        ),
    }
    all_refused(target, variants, 1009)
