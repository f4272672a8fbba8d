"""What compression could cost (RFC 7692 8): memory, time, and the context that is kept."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack
from functools import lru_cache

from test.deflate_blocks import TAIL, Bits, deflate
from test.hostile import DEFLATE, ISOLATION, SERVER, Target, attack
from test.hostile.burdens import VERSES, VOICES
from test.hostile.deflate import MOST, OURS
from test.hostile.deflated import COMPRESSED, PLAIN, Compressing, Direction, compressing
from test.hostile.floods import costs_little
from test.hostile.frames import MOST_FRAGMENTS
from test.hostile.isolation import is_next
from test.hostile.targets import at_rest, settles
from test.hostile.violations import named, refused
from test.hostile.wire import BINARY, CONTINUATION, PING, TEXT, live

MIB = 1024 * 1024
#: Bytes of memory that a bomb may cost.
ALLOWED = 24 * MIB


@lru_cache
def bomb() -> bytes:
    """Return 64 KiB that inflate to 64 MiB."""
    data = deflate(bytes(64 * MIB), level=9)
    assert len(data) < 66_000
    return data


#: What a bomb may come as: opcode, and payloads.
def bombs() -> Iterator[tuple[str, int, list[bytes]]]:
    data = bomb()
    yield "a text", TEXT, [data]
    yield "a binary", BINARY, [data]
    yield "fragments", TEXT, [data[at : at + 1024] for at in range(0, len(data), 1024)]
    yield "fragments of a byte", BINARY, [data[at : at + 1] for at in range(4096)]
    yield "behind what is harmless", BINARY, [deflate(b"harmless") + TAIL, b"", data]


@attack(DEFLATE, "a limit of ours (RFC 7692 8)", fresh=True)
def bombs_cost_little(target: Target) -> None:
    before = target.memory()
    for name, opcode, payloads in bombs():
        with named(name), compressing(target) as wire:
            wire.send(wire.frames(payloads, opcode))
            refused(wire, 1009)
        costs_little(target, before, name, ALLOWED)
    with ExitStack() as stack:
        wires = [stack.enter_context(compressing(target)) for _ in range(12)]
        for wire in wires:
            wire.send(wire.frames([bomb()], BINARY))
        target.echo()
        for wire in wires:
            refused(wire, 1009)
        costs_little(target, before, "twelve at once", ALLOWED)
    with compressing(target) as wire:
        inner = bomb()
        wire.send(wire.frames([deflate(inner)], BINARY))
        assert wire.message() == inner, "a bomb within a bomb was touched"
        wire.leave()
    unread(target)
    costs_little(target, before, "bombs at the limit, and nobody reads the answers", ALLOWED)


def unread(target: Target) -> None:
    """Send forty messages of a kibibyte each, that are at the limit, before the first is read."""
    with compressing(target, theirs=Direction(9, anew=True)) as wire:
        wire.send(wire.frames([deflate(bytes(MOST), level=9)], BINARY) * 40)
        target.echo()
        for _ in range(40):
            assert wire.message() == bytes(MOST)
        wire.leave()


# Blocks of nothing.

#: Blocks that inflate to nothing: how many there are, and one after the other.
NOTHING = {
    "stored blocks": (100_000, Bits().stored(b"").finish()),
    "fixed blocks": (100_000, (Bits().fixed([]).fixed([]).fixed([]).fixed([])).finish()),
    "dynamic blocks": (5_000, Bits().dynamic([]).stored(b"").finish()),
}


#: Each is the end of a stream, and the beginning of another one.
LAST_BLOCKS = 20_000, Bits().fixed([], final=1).finish()


def nothing(target: Target, count: int, block: bytes) -> None:
    """Send so many blocks: in a frame without an end, and in a message of which nothing is left."""
    with compressing(target) as wire:
        wire.send(wire.build(TEXT, block * count, rsv=COMPRESSED, length=1 << 62))
        target.echo()
        wire.reset()
    with compressing(target) as wire:
        wire.send(wire.frames([block * count, b"\0"]))
        target.echo()
        assert wire.message() == b""
        wire.compressed_echo()
        wire.leave()


@attack(DEFLATE, OURS)
def blocks_of_nothing_without_end(target: Target) -> None:
    before = target.memory()
    for name, (count, block) in NOTHING.items():
        with named(name):
            nothing(target, count, block)
    costs_little(target, before, "blocks of nothing")


@attack(DEFLATE, "a limit of ours; RFC 7692 7.2.1 for blocks with BFINAL")
def last_blocks_without_end(target: Target) -> None:
    before = target.memory()
    nothing(target, *LAST_BLOCKS)
    costs_little(target, before, "last blocks")
    with compressing(target) as wire:
        half = Bits().stored(b"x" * 999, final=1).finish()
        wire.send(wire.frames([half + deflate(bytes(MOST - 999))], BINARY))
        assert wire.message() == b"x" * 999 + bytes(MOST - 999)
        wire.send(wire.frames([half + deflate(bytes(MOST - 998))], BINARY))
        refused(wire, 1009)


@attack(DEFLATE, OURS)
def too_many_compressed_fragments(target: Target) -> None:
    with compressing(target) as wire:
        frame = wire.build(CONTINUATION, b"", fin=0)
        wire.send(wire.frames([b"\0"], fin=0) + frame * (MOST_FRAGMENTS - 1))
        target.echo()
        wire.send(frame)
        refused(wire, 1008)


# Many connections.


def talk(wire: Compressing, number: int) -> None:
    """Have both sides keep a context; then stop in one of several places."""
    payload = random.Random(number).randbytes(3000) * 2
    wire.compressed_echo(payload, BINARY)
    if number % 4 == 1:
        wire.send(wire.frames([wire.codec.deflate(payload, fin=False)], BINARY, fin=0))
    elif number % 4 == 2:
        data = wire.message_of(payload[::-1], BINARY)
        wire.send(data[: len(data) // 2])


@attack(DEFLATE, "a limit of ours (RFC 7692 7.1.1)", fresh=True)
def contexts_go_with_their_connections(target: Target) -> None:
    """All connections of a round are there at the same time, and the others need no more memory."""
    counts, most = at_rest(target), []
    for _ in range(6):
        with ExitStack() as stack:
            wires: list[Compressing] = []
            for number in range(120):
                wires.append(stack.enter_context(compressing(target)))
                if number % 20 == 0:
                    live(*wires[3::4])
            for number, wire in enumerate(wires):
                talk(wire, number)
                if number % 20 == 0:
                    live(*wires[3::4])
            target.echo()
            for number, wire in enumerate(wires):
                if number % 4 == 3:
                    wire.leave()
                elif number % 3:
                    wire.reset()
        settles(target, counts)
        most.append(target.memory())
    # The contexts of both directions take some 75 KiB, so that two rounds would keep 18 MiB; half
    # of it where a garbage collector comes by. That more and more threads have had heaps of their
    # own takes memory too: up to 7 MiB from the second round to the fourth, and 5 in the next two.
    assert most[-1] - most[-3] < 7 * MIB, [f"{each / MIB:.1f} MiB" for each in most]


#: Terms of some peers: what is sent to all of them is compressed once for some.
TERMS = [
    (PLAIN, PLAIN),
    (PLAIN, Direction(9)),
    (PLAIN, Direction(anew=True)),
    (PLAIN, Direction(anew=True)),
    (Direction(10), Direction(10, anew=True)),
]


@attack(DEFLATE, "RFC 7692 7.1: what is agreed on with a peer holds for that one", roles=(SERVER,))
def a_broadcast_is_right_for_each_peer(target: Target) -> None:
    with ExitStack() as stack:
        wires = [stack.enter_context(compressing(target, *each, "/crowd")) for each in TERMS]
        plain = stack.enter_context(target.open(path="/crowd"))
        for wire in (*wires, plain):
            wire.send_frame(PING)
            wire.frame()  # They are in the crowd now.
        for number in range(30):
            noise = random.Random(number).randbytes(2000).hex().encode()
            payload = noise[:99] if number % 5 == 0 else noise * 2
            wires[number % len(wires)].send_message(payload)
            for wire in (*wires, plain):
                assert wire.message() == payload
        for wire in wires:
            assert 15 < wire.codec.count <= 30, f"{wire.codec.count} were compressed"
            wire.leave()


@attack(ISOLATION, "RFC 7692 7.2.1: they are compressed in the order in which they are sent")
def compressed_messages_of_several_threads_stay_in_order(target: Target) -> None:
    with compressing(target, path="/chorus") as wire:
        wire.send_frame(TEXT, b"go")
        verses = [0] * VOICES
        for _ in range(VOICES * VERSES):
            is_next(wire.message(), verses)
        assert wire.codec.count == VOICES * VERSES
        wire.leave()
