"""Isolation: what one connection or its application does harms no other one."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack, suppress

from test.hostile import ALLOWED, AT_ONCE, ISOLATION, SERVER, Target, attack
from test.hostile.burdens import COUNT, FAULT, NAP, SIZE, VERSES, VOICES, payload, sung
from test.hostile.pushing import data_of
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
    live,
)

OURS = "a limit of ours"


def closes(wire: Wire, code: int) -> list[bytes]:
    """Fail unless the target closes with this code, and ends TCP once it has our answer.

    Returns the payloads of the data frames before that.
    """
    data = []
    while (frame := wire.frame(AT_ONCE)) is not None and frame.opcode != CLOSE:
        if frame.opcode in (CONTINUATION, TEXT, BINARY):
            data.append(frame.payload)
    assert frame is not None, "the connection ended without a Close"
    assert int.from_bytes(frame.payload[:2], "big") == code, frame
    with suppress(OSError):
        wire.send_close(code)
        if not wire.masks:
            wire.finish()
        assert wire.frame() is None
    return data


def logs_once(target: Target, before: str, count: int = 1) -> None:
    """Fail unless the application's fault is logged so many times, with a traceback each."""
    deadline = time.monotonic() + PATIENCE
    while (found := target.log()[len(before) :].count(FAULT)) < count:
        assert time.monotonic() < deadline, f"{found} of {count} faults are logged"
        time.sleep(0.01)
    target.echo()
    added = target.log()[len(before) :]
    assert added.count(FAULT) == count, added
    assert added.count("Traceback (most recent call last)") >= count, added


# The application fails.

#: What makes each callback be called.
CALLBACKS = [
    ("opened", None, 1011),
    ("received_message", TEXT, 1011),
    ("ponged", PONG, 1011),
    ("closed", CLOSE, 1000),
]


@attack(ISOLATION, "RFC 6455 7.4.1 for 1011", [(each[0], *each) for each in CALLBACKS])
def an_exception_ends_its_own_connection(
    target: Target, callback: str, opcode: int | None, code: int
) -> None:
    before = target.log()
    with target.open() as other, target.open(path=f"/fail/{callback}") as wire:
        if opcode == CLOSE:
            wire.leave()
        else:
            if opcode is not None:
                wire.send_frame(opcode, b"hello")
                wire.send_frame(opcode, b"no more after that one")
            assert closes(wire, code) == []
        logs_once(target, before)
        other.echo()
        other.leave()


@attack(ISOLATION, "RFC 6455 7.4.1 for 1011")
def fifty_exceptions_at_once_end_fifty_connections(target: Target) -> None:
    before = target.log()
    with target.open() as other, ExitStack() as stack:
        wires = [stack.enter_context(target.open(path="/fail/received_message")) for _ in range(50)]
        for wire in wires:
            wire.send_frame(TEXT, b"hello")
        for wire in wires:
            assert closes(wire, 1011) == []
        logs_once(target, before, len(wires))
        other.echo()
        other.leave()


@attack(ISOLATION, "RFC 6455 7.4.1 for 1011")
def a_generator_that_fails_half_way_ends_its_own_connection(target: Target) -> None:
    before = target.log()
    with target.open() as other, target.open(path="/generate/fail") as wire:
        wire.send_frame(TEXT, b"hello")
        # How much of the message has left by then is nowhere written; but it has no end.
        assert closes(wire, 1011) in ([], [b"1"], [b"1", b"2"])
        logs_once(target, before)
        other.echo()
        other.leave()


@attack(ISOLATION, "RFC 6455 7.4.1 for 1011")
def a_recursion_without_end_ends_its_own_connection(target: Target) -> None:
    before = target.log()
    with target.open() as other, target.open(path="/recurse") as wire:
        wire.send_frame(TEXT, b"hello")
        sent = closes(wire, 1011)
        assert sent == [b"deeper"] * len(sent)
        logs_once(target, before)
        other.echo()
        other.leave()


# The application is slow.


@attack(ISOLATION, OURS)
def a_handler_that_sleeps_stalls_nobody(target: Target) -> None:
    """As the handlers of that engine may sleep: by ``await``, or where they have a thread."""
    with ExitStack() as stack:
        wires = [stack.enter_context(target.open(path="/sleep")) for _ in range(8)]
        for number, wire in enumerate(wires):
            wire.send_frame(TEXT, b"%d" % number)
        began = time.monotonic()
        target.echo()
        for number, wire in enumerate(wires):
            assert wire.message() == b"%d" % number
        # One after the other would take eight times as long.
        assert NAP <= time.monotonic() - began + 0.1 < AT_ONCE + NAP
        for wire in wires:
            wire.leave()


# The peer is slow, or gone.


@attack(ISOLATION, OURS, roles=(SERVER,), fresh=True)
def a_slow_reader_of_broadcasts_costs_little(target: Target) -> None:
    """Twenty peers; 64 MiB go to each of a few of them, and one of these does not read."""
    before = target.memory()
    with ExitStack() as stack:
        slow = stack.enter_context(target.open(path="/crowd"))
        readers = [stack.enter_context(target.open(path="/crowd")) for _ in range(4)]
        for wire in (slow, *readers):
            wire.send_frame(PING)
            wire.frame()  # They are in the crowd now.
        for number in range(0, COUNT, WINDOW):
            broadcast(readers, number)
            if number % (COUNT // 4) == 0:
                target.echo()
        target.echo()
        grown = target.memory() - before
        assert grown < ALLOWED, f"{grown / 2**20:.1f} MiB"
        for wire in readers:
            wire.leave()
        is_beginning(slow)


#: Messages that are on their way at a time: less than may be queued for who reads.
WINDOW = 8


def broadcast(readers: list[Wire], first: int) -> None:
    """Have WINDOW messages broadcast, and see that each of these peers gets them."""
    numbers = range(first, first + WINDOW)
    readers[0].send(b"".join(readers[0].build(BINARY, payload(number)) for number in numbers))
    for wire in readers:
        for number in numbers:
            frame = data_of(wire)
            assert frame == (True, BINARY, payload(number)), f"{number} is {frame!r:.80}"


def is_beginning(wire: Wire) -> None:
    """Fail unless what has come to one that was dropped is what was sent first, up to its end."""
    received = bytearray()
    wire.sock.settimeout(PATIENCE)
    with suppress(ConnectionResetError):
        while data := wire.sock.recv(1 << 20):
            received += data
    for number in range(COUNT):
        expected = header(BINARY, SIZE, False) + payload(number)
        start = len(expected) * number
        got = bytes(received[start : start + len(expected)]).partition(b"\x89\x00")[0]
        assert expected.startswith(got), f"message {number} is {got!r:.80}"
        if len(got) < len(expected):
            break


@attack(ISOLATION, "RFC 6455 5.5.1 and 7.1.1")
def two_hundred_peers_that_close_at_once_are_answered(target: Target) -> None:
    with ExitStack() as stack:
        wires: list[Wire] = []
        for number in range(200):
            wires.append(stack.enter_context(target.open()))
            if number % 25 == 0:
                live(*wires)
        for wire in wires:
            wire.send_close(1001)
        target.echo()
        for wire in wires:
            end = wire.end()
            assert end.code == 1001, end


@attack(ISOLATION, OURS)
def two_hundred_peers_that_vanish_at_once_harm_nobody(target: Target) -> None:
    with ExitStack() as stack:
        wires = [stack.enter_context(target.open()) for _ in range(200)]
        with target.open() as other:
            for number, wire in enumerate(wires):
                if number % 25 == 0:
                    live(other)
                with suppress(ConnectionError):  # It has been idle for long, on a slow machine.
                    wire.send(wire.build(BINARY, b"x" * SIZE) * 2)
                wire.reset()
            live(other)
            target.echo()
            other.echo()
            other.leave()


@attack(ISOLATION, "RFC 6455 5.4: a frame, and a message, is not interleaved with another one")
def messages_of_several_threads_stay_whole(target: Target) -> None:
    with target.open(path="/chorus") as wire:
        # What the kernel does not take fills the queue.
        wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
        wire.send_frame(TEXT, b"go")
        verses = [0] * VOICES
        for number in range(VOICES * VERSES):
            if number % 240 == 0:
                time.sleep(0.2)
            is_next(wire.message(), verses)
        wire.leave()


def is_next(message: bytes, verses: list[int]) -> None:
    """Fail unless a message is the next one of the thread that sends it."""
    voice = message[0] if message else VOICES
    assert voice < VOICES, message[:40]
    assert message == sung(voice, verses[voice]), (message[:40], verses)
    verses[voice] += 1
