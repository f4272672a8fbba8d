"""Frames that are wrong (RFC 6455 5), and rare ones that are right."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

from test.hostile import ALLOWED, AT_ONCE, FRAMES, Target, attack
from test.hostile.violations import (
    Build,
    all_refused,
    built,
    named,
    refused,
    send_fragments,
    send_in_two,
    skip_pings,
    started,
)
from test.hostile.wire import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PATIENCE,
    PING,
    PONG,
    TEXT,
    Wire,
    header,
)

#: The limits that a target has: bytes and fragments of a message.
MOST, MOST_FRAGMENTS = 1 << 20, 131_072
#: Bytes in flight when a violation comes.
IN_FLIGHT = 8 << 20

DATA = {"continuation": CONTINUATION, "text": TEXT, "binary": BINARY}
CONTROL = {"Close": CLOSE, "Ping": PING, "Pong": PONG}
RESERVED = [*range(0x3, 0x8), *range(0xB, 0x10)]


@attack(FRAMES, "RFC 6455 5.1")
def a_frame_masked_as_the_other_role_has_it(target: Target) -> None:
    def wrong(opcode: int, payload: bytes, fin: int = 1) -> Build:
        def build(wire: Wire) -> bytes:
            start = wire.build(TEXT, b"a", fin=0) if opcode == CONTINUATION else b""
            return start + wire.build(opcode, payload, fin=fin, masks=not wire.masks)

        return build

    variants = {
        "text": wrong(TEXT, b"hello"),
        "an empty one": wrong(TEXT, b""),
        "binary": wrong(BINARY, b"x" * 1000),
        "a first fragment": wrong(TEXT, b"a", fin=0),
        "a continuation": wrong(CONTINUATION, b"b"),
        "a continuation, not the last": wrong(CONTINUATION, b"b", fin=0),
        "an empty continuation": wrong(CONTINUATION, b""),
        "a Ping": wrong(PING, b""),
        "a Pong": wrong(PONG, b"pong"),
        "a Close": wrong(CLOSE, b"\x03\xe8"),
        "an empty Close": wrong(CLOSE, b""),
    }
    all_refused(target, variants, 1002)


@attack(FRAMES, "RFC 6455 5.2: RSV1, RSV2, RSV3")
def a_reserved_bit(target: Target) -> None:
    variants = {
        f"{name}, RSV {rsv:03b}, FIN {fin}": built(opcode, b"\x03\xe8"[: 2 * fin], rsv=rsv, fin=fin)
        for name, opcode in {**DATA, **CONTROL}.items()
        for rsv in range(1, 8)
        for fin in ((0, 1) if opcode < CLOSE else (1,))
    }
    all_refused(target, variants, 1002)


@attack(FRAMES, "RFC 6455 5.2: Opcode")
def a_reserved_opcode(target: Target) -> None:
    variants = {
        f"{opcode:#x}, FIN {fin}, {payload!r}": built(opcode, payload, fin=fin)
        for opcode in RESERVED
        for fin in (0, 1)
        for payload in (b"", b"hello")
    }
    all_refused(target, variants, 1002)


@attack(FRAMES, "RFC 6455 5.2: Opcode")
def a_reserved_opcode_within_a_message(target: Target) -> None:
    def after_a_beginning(opcode: int) -> Build:
        return lambda wire: wire.build(TEXT, b"a", fin=0) + wire.build(opcode, b"b")

    all_refused(target, {hex(each): after_a_beginning(each) for each in (0x3, 0xB)}, 1002)


@attack(FRAMES, "RFC 6455 5.5")
def a_fragmented_control_frame(target: Target) -> None:
    variants = {
        f"{name}, {payload!r}": built(opcode, payload, fin=0)
        for name, opcode in CONTROL.items()
        for payload in (b"", b"\x03\xe8")
    }
    all_refused(target, variants, 1002)


@attack(FRAMES, "RFC 6455 5.5")
def a_control_frame_that_is_too_long(target: Target) -> None:
    variants: dict[str, Build] = {}
    for name, opcode in CONTROL.items():
        for size, form in ((126, 16), (127, 16), (65535, 16), (126, 64), (65536, 64)):
            payload = b"\x03\xe8" + b"x" * (size - 2)
            variants[f"{name} of {size}, {form} bits"] = built(opcode, payload, form=form)
    all_refused(target, variants, 1002)


@attack(FRAMES, "RFC 6455 5.2: Payload length")
def a_length_in_more_bytes_than_it_needs(target: Target) -> None:
    variants: dict[str, Build] = {}
    for name, opcode in {**DATA, **CONTROL}.items():
        for size, form in ((0, 16), (1, 16), (125, 16), (0, 64), (125, 64), (126, 64), (65535, 64)):
            if opcode < CLOSE or size < 126:
                variants[f"{name} of {size}, {form} bits"] = built(opcode, b"x" * size, form=form)
    all_refused(target, variants, 1002)


# "The most significant bit MUST be 0": that breaks the protocol, and is too big as well.
@attack(FRAMES, "RFC 6455 5.2: Payload length, 7.4.1: 1002 or 1009")
def a_length_with_its_top_bit_set(target: Target) -> None:
    variants = {
        f"{name} of {length:#x}": started(opcode, length, 64)
        for name, opcode in DATA.items()
        for length in (1 << 63, (1 << 63) + 5, (1 << 64) - 1)
    }
    all_refused(target, variants, 1002, 1009)


@attack(FRAMES, "a limit of ours")
def a_message_at_the_limit_passes_and_a_byte_more_does_not(target: Target) -> None:
    with target.open() as wire:
        for message in (b"x" * MOST, b"y" * MOST):
            wire.send_frame(BINARY, message)
            assert wire.message() == message
        wire.send(started(BINARY, MOST + 1)(wire))
        refused(wire, 1009)


@attack(FRAMES, "a limit of ours")
def fragments_at_the_limit_pass_and_a_byte_more_does_not(target: Target) -> None:
    part = b"x" * (MOST // 4)
    with target.open() as wire:
        send_fragments(wire, [part] * 4)
        assert wire.message() == part * 4
        for opcode in (BINARY, CONTINUATION, CONTINUATION, CONTINUATION):
            wire.send_frame(opcode, part, fin=0)
        wire.send_frame(PING, b"so far it is right")
        assert skip_pings(wire) == (True, PONG, b"so far it is right")
        wire.send_frame(CONTINUATION, b"x", fin=0)
        refused(wire, 1009)


@attack(FRAMES, "a limit of ours", fresh=True)
def lengths_that_are_only_declared_cost_no_memory(target: Target) -> None:
    variants = {
        f"{name} of {length}": started(opcode, length)
        for name, opcode in DATA.items()
        for length in (MOST + 1, 1 << 32, 1 << 62, (1 << 63) - 1)
    }
    before = target.memory()
    all_refused(target, variants, 1009)
    wires = [target.open() for _ in range(60)]
    for wire in wires:
        wire.send(started(BINARY, MOST)(wire) + b"x")
    target.echo()
    for wire in wires:
        wire.reset()
    grown = target.memory() - before
    assert grown < ALLOWED, f"{grown} bytes"


@attack(FRAMES, "a limit of ours", fresh=True)
def too_many_fragments_of_a_byte_or_of_none(target: Target) -> None:
    before = target.memory()
    for payload in (b"x", b""):
        with named(repr(payload)), target.open() as wire:
            frame = wire.build(CONTINUATION, payload, fin=0)
            wire.send(wire.build(BINARY, payload, fin=0) + frame * (MOST_FRAGMENTS - 1))
            wire.send_frame(PING, b"so far it is right")
            target.echo()
            assert skip_pings(wire) == (True, PONG, b"so far it is right")
            wire.send(frame * 20_000)
            refused(wire, 1008)
    grown = target.memory() - before
    assert grown < ALLOWED, f"{grown} bytes"


@attack(FRAMES, "RFC 6455 5.4")
def empty_fragments_are_fragments(target: Target) -> None:
    with target.open() as wire:
        for parts in ([b""] * 3, [b"", b"a", b""], [b"a", *[b""] * 1000, b"b"], [b""] * 1000):
            send_fragments(wire, parts)
            assert wire.message() == b"".join(parts)
        wire.leave()


@attack(FRAMES, "RFC 6455 5.4")
def a_continuation_of_nothing(target: Target) -> None:
    for fin in (0, 1):
        for payload in (b"", b"hello"):
            with named(f"FIN {fin}, {payload!r}"), target.open() as wire:
                wire.send_frame(CONTINUATION, payload, fin=fin)
                refused(wire, 1002)
    with target.open() as wire:
        send_fragments(wire, [b"a", b"b"])
        assert wire.message() == b"ab"
        wire.send_frame(CONTINUATION, b"c")
        refused(wire, 1002)


@attack(FRAMES, "RFC 6455 5.4")
def a_message_within_a_message(target: Target) -> None:
    for first in (TEXT, BINARY):
        for opcode in (TEXT, BINARY):
            for fin in (0, 1):
                with named(f"{opcode} in {first}, FIN {fin}"), target.open() as wire:
                    wire.send_frame(first, b"a", fin=0)
                    wire.send_frame(CONTINUATION, b"b", fin=0)
                    wire.send_frame(opcode, b"", fin=fin)
                    refused(wire, 1002)


@attack(FRAMES, "RFC 6455 5.4, 5.5.2, 5.5.3")
def control_frames_come_between_fragments(target: Target) -> None:
    with target.open() as wire:
        wire.send(
            wire.build(TEXT, b"a", fin=0)
            + wire.build(PING, b"1" * 125)
            + wire.build(CONTINUATION, b"b", fin=0)
            + wire.build(PONG, b"not asked for")
            + wire.build(PING)
            + wire.build(CONTINUATION, b"c")
        )
        # Frames may be answered late, and but the last of several Pings: 5.5.3.
        came = [skip_pings(wire)]
        if came[0] == (True, PONG, b"1" * 125):
            came.append(skip_pings(wire))
        assert came[-1] == (True, PONG, b""), came
        assert skip_pings(wire) == (True, TEXT, b"abc")
        wire.leave()


@attack(FRAMES, "RFC 6455 5.5.1")
def a_close_between_fragments(target: Target) -> None:
    with target.open() as wire:
        # All at once: what comes when the connection has ended is answered with a reset.
        close = wire.build(CLOSE, b"\x03\xe9")
        wire.send(wire.build(TEXT, b"a", fin=0) + close + wire.build(CONTINUATION, b"b"))
        refused(wire, 1001)


# RFC 6455 does not say whether what came before a violation is answered.
@attack(FRAMES, "a limit of ours")
def what_came_before_a_violation_is_answered_and_nothing_behind_it(target: Target) -> None:
    with target.open() as wire:
        wire.send(
            wire.build(TEXT, b"one")
            + wire.build(PING, b"two")
            + wire.build(TEXT, b"th", fin=0)
            + wire.build(CONTINUATION, b"ree")
            + wire.build(BINARY, b"four")
            + wire.build(TEXT, b"begun", fin=0)
            + wire.build(0x3, b"wrong")
            + wire.build(TEXT, b"behind")
            + wire.build(PING, b"behind")
            + wire.build(0xB)
            + wire.build(CLOSE, b"\x03\xe8")
        )
        before = [(TEXT, b"one"), (PONG, b"two"), (TEXT, b"three"), (BINARY, b"four")]
        refused(wire, 1002, after=before)


@attack(FRAMES, "a limit of ours")
def a_violation_in_the_segment_of_the_handshake(target: Target) -> None:
    with target.open() as wire:  # To know how a peer of this role builds frames.
        early = wire.build(TEXT, b"one") + wire.build(TEXT, b"two", rsv=2)
        wire.leave()
    with target.open(early) as wire:
        refused(wire, 1002, after=[(TEXT, b"one")])


@attack(
    FRAMES,
    "RFC 6455 7.1.1, 7.1.7",
    [
        ("data", lambda wire: wire.build(BINARY, b"x" * 65_536) * (IN_FLIGHT // 65_536)),
        ("one frame", lambda wire: wire.build(BINARY, b"x" * IN_FLIGHT)),
        ("noise", lambda _: b"\xff" * IN_FLIGHT),
        ("Pings", lambda wire: wire.build(PING, b"x" * 125) * (1 << 14)),
    ],
)
def the_close_arrives_although_much_is_in_flight(target: Target, build: Build) -> None:
    with target.open() as wire:
        wire.send(wire.build(0x3) + build(wire))
        refused(wire, 1002, seconds=PATIENCE)


@attack(FRAMES, "a limit of ours")
def the_close_comes_behind_what_is_still_to_be_sent(target: Target) -> None:
    message = b"x" * MOST
    with target.open() as wire, ThreadPoolExecutor(1) as pool:
        data = wire.build(BINARY, message) * (IN_FLIGHT // MOST) + wire.build(0x3)
        wire.sock.settimeout(PATIENCE)
        sent = pool.submit(wire.sock.sendall, data)
        refused(wire, 1002, after=[(BINARY, message)] * (IN_FLIGHT // MOST), seconds=PATIENCE)
        sent.result()


@attack(FRAMES, "RFC 6455 5.2")
def a_frame_cut_at_every_byte(target: Target) -> None:
    with target.open() as wire, target.open() as other:
        for size in (0, 1, 20, 126, 65_536):
            payload = b"x" * size
            frame = wire.build(TEXT, payload)
            for at in range(1, min(len(frame), 24)):
                send_in_two(wire, frame, at, other)
                with named(f"{size} bytes, cut at {at}"):
                    assert wire.message() == payload
        ping = wire.build(PING, b"cut")
        for at in range(1, len(ping)):
            send_in_two(wire, ping, at, other)
            assert skip_pings(wire) == (True, PONG, b"cut")
        other.leave()
        wire.leave()


@attack(FRAMES, "RFC 6455 5.2, 5.3")
def lengths_at_every_bound_and_a_key_of_zeros(target: Target) -> None:
    with target.open() as wire:
        for size in (0, 1, 124, 125, 126, 127, 128, 65_534, 65_535, 65_536, 65_537):
            wire.echo(b"x" * size)
            key = bytes(4) if wire.masks else b""
            wire.send(header(BINARY, size, wire.masks) + key + b"y" * size)
            with named(f"{size} bytes"):
                assert wire.message() == b"y" * size
        wire.leave()


# It is no part of the stream; whoever has it within the stream finds it in a message.
@attack(FRAMES, "RFC 9293 3.8.5")
def urgent_data(target: Target) -> None:
    with target.open() as wire:
        frame = wire.build(BINARY, b"x" * 1000)
        for at in (0, 1, 3, len(frame) - 1):
            wire.send(frame[:at])
            wire.sock.send(b"!", socket.MSG_OOB)
            wire.send(frame[at:])
            with named(f"after {at} bytes"):
                assert wire.message() == b"x" * 1000
        wire.leave()


@attack(FRAMES, "RFC 6455 5.2")
def frames_byte_by_byte(target: Target) -> None:
    with target.open() as wire:
        data = wire.build(TEXT, b"a", fin=0) + wire.build(PING, b"b")
        data += wire.build(CONTINUATION, b"c" * 126)
        for byte in data:
            wire.send(bytes([byte]))
        assert skip_pings(wire) == (True, PONG, b"b")
        assert wire.message() == b"a" + b"c" * 126
        wire.leave()


# RFC 6455 does not say when a violation is to be found.
@attack(FRAMES, "a limit of ours")
def a_violation_is_found_at_its_header(target: Target) -> None:
    variants: dict[str, Build] = {
        "a long one of the wrong role": started(BINARY, 65_536, wrong=True),
        "text of 125 bytes, 16 bits": started(TEXT, 125, 16),
        "binary of 65535 bytes, 64 bits": started(BINARY, 65_535, 64),
    }
    for name, opcode in CONTROL.items():
        for size, form in ((126, 16), (65_536, 64), (1 << 62, 64)):
            variants[f"{name} of {size}, {form} bits"] = started(opcode, size, form)
    all_refused(target, variants, 1002)


@attack(FRAMES, "a limit of ours")
def a_violation_is_found_at_its_first_byte(target: Target) -> None:
    for first in (0x83, 0x8B, 0x91, 0xC1, 0x09):
        with named(hex(first)), target.open() as wire:
            wire.send(bytes([first]))
            frame = skip_pings(wire, AT_ONCE)
            assert frame is not None
            assert frame[:2] == (True, CLOSE), frame
            assert frame.payload[:2] == b"\x03\xea", frame


# The heartbeat finds it: it closes with 1011, or ends the connection without a word.
@attack(FRAMES, "a limit of ours")
def a_header_that_never_comes_to_its_end(target: Target) -> None:
    with target.open() as wire:
        frame, ping = wire.build(BINARY, b"x" * 65_536), wire.build(PING, b"ping")
        wire.leave()
    starts = [frame[:size] for size in range(1, 15 if wire.masks else 11)]
    wires = []
    for start in (*starts, ping[:1], ping[:-1]):
        wires.append(target.open())
        wires[-1].send(start)
    target.echo()
    for wire in wires:
        with wire:
            assert wire.end().code in (1006, 1011)
