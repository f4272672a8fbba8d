"""The closing handshake (RFC 6455 5.5.1, 7), and connections that end without one."""

from __future__ import annotations

import select
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from threading import Event
from typing import Any, Optional

from test.hostile import AT_ONCE, CLIENT, CLOSING, SERVER, Target, attack
from test.hostile.targets import REQUEST, answer, at_rest, read_head, settles
from test.hostile.violations import Build, built, named, refused, seen, skip_pings, started
from test.hostile.wire import (
    BINARY,
    CLOSE,
    CODES,
    CONTINUATION,
    PATIENCE,
    PING,
    PONG,
    TEXT,
    Frame,
    Wire,
)

#: Seconds that a target gives its peer to end the connection, once it has sent its Close.
CLOSE_TIMEOUT = 1.0

#: Those around every bound, and some of the others.
TRIED = sorted(
    {
        *range(3),
        *range(998, 1018),
        *(near + more for near in (1100, 2000, 3000, 4000, 5000) for more in (-1, 0, 1)),
        *(3500, 4321, 4500, 10_000, 32_767, 32_768, 50_000, 65_534, 65_535),
        *range(1, 65_536, 4999),
    }
)


@attack(CLOSING, "RFC 6455 5.5.1, 7.4")
def a_code_that_may_be_sent_is_sent_back(target: Target) -> None:
    for code in TRIED:
        if code in CODES:
            with named(str(code)), target.open() as wire:
                wire.send_close(code)
                refused(wire, code)


# RFC 6455 gives 1016 to 2999 to later versions of the protocol, and none has them.
@attack(CLOSING, "RFC 6455 7.4")
def a_code_that_may_not_be_sent(target: Target) -> None:
    for code in TRIED:
        if code not in CODES:
            for reason in (b"", b"why") if code in (0, 1005, 5000) else (b"",):
                with named(f"{code} {reason!r}"), target.open() as wire:
                    wire.send_close(code, reason)
                    refused(wire, 1002)


@attack(CLOSING, "RFC 6455 5.5.1")
def an_empty_close(target: Target) -> None:
    with target.open() as wire:
        wire.send_close(None)
        refused(wire, 1005)


@attack(CLOSING, "RFC 6455 5.5.1")
def a_close_of_one_byte(target: Target) -> None:
    for byte in (b"\0", b"\x03", b"\xff"):
        with named(repr(byte)), target.open() as wire:
            wire.send_frame(CLOSE, byte)
            refused(wire, 1002)


@attack(CLOSING, "RFC 6455 5.5, 5.5.1")
def a_reason_of_the_greatest_length(target: Target) -> None:
    for reason in (b"x" * 123, "\U0001f4a9".encode() * 30 + b"xyz"):
        with target.open() as wire:
            wire.send_close(4000, reason)
            refused(wire, 4000)


# RFC 6455 does not say whether what came before a Close is answered.
@attack(CLOSING, "a limit of ours")
def what_came_before_a_close_is_answered(target: Target) -> None:
    with target.open() as wire:
        data = wire.build(TEXT, b"one") + wire.build(PING, b"two") + wire.build(BINARY, b"three")
        wire.send(data + wire.build(CLOSE, b"\x03\xe9"))
        refused(wire, 1001, after=[(TEXT, b"one"), (PONG, b"two"), (BINARY, b"three")])


@attack(CLOSING, "RFC 6455 5.5.1, 1.4: what comes behind a Close is thrown away")
def what_comes_behind_a_close(target: Target) -> None:
    close = built(CLOSE, b"\x03\xe9")
    behind: dict[str, Build] = {
        "a message": built(TEXT, b"behind"),
        "a Ping": built(PING, b"behind"),
        "a Close": built(CLOSE, b"\x03\xe8"),
        "a violation": built(0x3),
        "wrong text": built(TEXT, b"\xff"),
        "noise": lambda _: b"\xff" * 1000,
        "the rest of a message": built(CONTINUATION, b"behind"),
    }
    for name, build in behind.items():
        with named(name), target.open() as wire:
            wire.send(close(wire) + build(wire))
            refused(wire, 1001)
        with named(f"{name}, in two segments"), target.open() as wire:
            wire.send(close(wire))
            frame = skip_pings(wire)
            assert frame == (True, CLOSE, b"\x03\xe9"), frame
            try:
                wire.send(build(wire))
            except ConnectionError:
                continue  # The target has gone.
            assert ends_after_close(wire) is None


def ends_after_close(wire: Wire) -> Frame | None:
    """Return what comes behind a Close; a client is waiting for us to end TCP."""
    with suppress(OSError):
        if not wire.masks:
            wire.finish()
        return wire.frame(AT_ONCE)
    return None


# Nothing may be sent behind a Close, so a target need not wait for it: TCP may end with a reset.
@attack(CLOSING, "RFC 6455 5.5.1")
def the_close_arrives_although_much_comes_behind_one(target: Target) -> None:
    with target.open() as wire:
        with suppress(ConnectionError):
            wire.send(built(CLOSE, b"\x03\xe9")(wire) + wire.build(BINARY, b"x" * (8 << 20)))
        end = wire.end()
        assert end.code == 1001, end


@attack(CLOSING, "a limit of ours")
def a_peer_that_half_closes_gets_what_it_has_asked_for(target: Target) -> None:
    message = b"x" * (1 << 20)
    with target.open() as wire, ThreadPoolExecutor(1) as pool:

        def send() -> None:
            wire.send(wire.build(BINARY, message) * 8 + built(CLOSE, b"\x03\xe9")(wire))
            wire.finish()

        sent = pool.submit(send)
        refused(wire, 1001, after=[(BINARY, message)] * 8, seconds=PATIENCE)
        sent.result()


# Which of the two is looked at first is for the target to say; it sends one.
@attack(CLOSING, "RFC 6455 7.1.2, 7.1.3: the target's code or the one it was sent")
def both_sides_close_at_once(target: Target) -> None:
    with target.open(path="/close") as wire:
        wire.send(wire.build(TEXT, b"close") + wire.build(CLOSE, b"\x03\xe9"))
        refused(wire, 4000, 1001)
    with target.open(path="/close") as wire:
        wire.send(wire.build(TEXT, b"close"))
        wire.send(wire.build(TEXT, b"again") + wire.build(CLOSE, b"\x03\xe9"))
        refused(wire, 4000, 1001)


# "Upon receipt of a Ping frame, an endpoint MUST send a Pong frame in response, unless it already
# received a Close frame"; but many send nothing once they have sent a Close themselves.
@attack(CLOSING, "RFC 6455 5.5.1, 5.5.2: with a Pong or without")
def the_target_closes_and_its_peer_goes_on_for_a_while(target: Target) -> None:
    with target.open(path="/close") as wire:
        wire.send_frame(TEXT, b"close")
        assert skip_pings(wire) == (True, CLOSE, b"\x0f\xa0as asked")
        wire.send(wire.build(BINARY, b"x" * 65_536) * 16 + wire.build(PING, b"late"))
        wire.send_close(4000)
        frame = ends_after_close(wire)
        assert frame in (None, (True, PONG, b"late")), frame
        assert frame is None or ends_after_close(wire) is None


def script(wire: Wire) -> bytes:
    """Return a whole conversation, for a connection that is cut somewhere in it."""
    return (
        wire.build(TEXT, b"one")
        + wire.build(TEXT, b"t", fin=0)
        + wire.build(PING, b"x")
        + wire.build(CONTINUATION, b"wo")
        + wire.build(BINARY, b"x" * 126)
        + wire.build(CLOSE, b"\x03\xe8")
    )


@attack(CLOSING, "a limit of ours")
def the_end_of_tcp_at_every_byte(target: Target) -> None:
    with target.open() as wire:
        data, due = script(wire), answers(wire)
        wire.leave()
    for size in range(len(data) + 1):
        if len(data) - 130 < size < len(data) - 20:
            continue  # In the long payload.
        with named(f"after {size} bytes"), target.open() as wire:
            wire.send(data[:size])
            wire.finish()
            answered(wire, due, size)


def answered(wire: Wire, due: list[tuple[int, int, bytes]], size: int) -> None:
    """Fail unless the target ends the connection, after its answers to so many bytes."""
    end = wire.end()
    assert not end.reset, end
    came = [(each.opcode, each.payload) for each in seen(end)]
    assert came == [(opcode, payload) for at, opcode, payload in due if at <= size], end


def answers(wire: Wire) -> list[tuple[int, int, bytes]]:
    """Return the answers to `script`: after how many bytes they are due, opcode and payload."""
    due, key = [], 4 if wire.masks else 0
    at = 0
    for size, opcode, payload in (
        (5, TEXT, b"one"),
        (3, 0, b""),
        (3, PONG, b"x"),
        (4, TEXT, b"two"),
        (130, BINARY, b"x" * 126),
        (4, CLOSE, b"\x03\xe8"),
    ):
        at += size + key
        if opcode:
            due.append((at, opcode, payload))
    return due


@attack(CLOSING, "RFC 6455 7.1.4")
def a_reset_at_every_byte(target: Target) -> None:
    with target.open() as wire:
        data = script(wire)
        wire.leave()
    for size in (*range(len(data) - 129), *range(len(data) - 12, len(data) + 1)):
        with named(f"after {size} bytes"):
            wire = target.open()
            wire.send(data[:size])
            wire.reset()


@attack(CLOSING, "RFC 6455 7.1.4", [("FIN", False), ("RST", True)])
def an_end_around_the_close_of_the_target(target: Target, resets: bool) -> None:
    for first in (b"", b"close", b"closeclose"):
        with target.open(path="/close") as wire:
            if first:
                wire.send_frame(TEXT, first)
                frame = skip_pings(wire)
                assert frame is not None
                assert frame.opcode == CLOSE
            if first == b"closeclose":
                wire.send_close(4000)
            if resets:
                wire.reset()
                continue
            wire.finish()
            with suppress(ConnectionError):
                assert skip_pings(wire) is None


@attack(CLOSING, "a limit of ours", [("FIN", False), ("RST", True)])
def an_end_in_the_segment_of_the_handshake(target: Target, resets: bool) -> None:
    with target.open() as wire:
        data, due = script(wire), answers(wire)
        wire.leave()
    for size in (0, 1, 3, 12, 30, len(data) - 1, len(data)):
        with named(f"{size} bytes"), begun(target, data[:size], resets) as wire:
            if not resets:
                answered(wire, due, size)


def begun(target: Target, early: bytes, resets: bool) -> Wire:
    """Send our part of an opening handshake, and ``early``, and then nothing more."""
    if target.role == SERVER:
        sock, ahead = target.connect(), b""  # type: ignore[attr-defined]
        sock.sendall(REQUEST.format(path="/").encode() + early)
    else:
        _, sock, head = target.accept()  # type: ignore[attr-defined]
        sock.sendall(answer(head) + early)
    wire = Wire(sock, target.role == SERVER)
    if resets:
        wire.reset()
        return wire
    wire.finish()
    if target.role == SERVER:
        head, ahead = read_head(sock)
        # Who reads an end right behind the request may see nobody to answer to any more; Tornado
        # does, if both have come when it reads.
        assert head.startswith(b"HTTP/1.1 101 ") or not (head or early), head
        wire = Wire(sock, True, ahead)
    return wire


#: What a peer does that does not end a connection: the path, what it sends, what it sends again
#: and again, and with how many seconds between.
Stubborn = tuple[str, Build, Optional[Build], float]

CLOSE_IT, CLOSED, WRONG = built(TEXT, b"close"), built(CLOSE, b"\x03\xe8"), built(0x3)
LONG = built(BINARY, b"x" * 65_536)

STUBBORN: dict[str, Stubborn] = {
    "silent after the target's Close": ("/close", CLOSE_IT, None, 0),
    "sends messages after the target's Close": ("/close", CLOSE_IT, LONG, 0),
    "sends Pings after the target's Close": ("/close", CLOSE_IT, built(PING, b"ping"), 0.1),
    "sends a frame for ever after the target's Close": (
        "/close",
        lambda wire: CLOSE_IT(wire) + started(BINARY, 1 << 20)(wire),
        lambda _: b"x",
        0.1,
    ),
    "silent after a violation": ("/", WRONG, None, 0),
    "goes on after a violation": ("/", WRONG, LONG, 0),
    "goes on slowly after a violation": ("/", WRONG, lambda _: b"x", 0.1),
    "silent after its own Close": ("/", CLOSED, None, 0),
    "goes on after its own Close": ("/", CLOSED, LONG, 0),
}


# How long is for everybody to say: "a reasonable time period", 7.1.1.
@attack(CLOSING, "a limit of ours")
def a_peer_that_does_not_end_the_connection(target: Target) -> None:
    before = at_rest(target)
    with ExitStack() as wires, ThreadPoolExecutor(len(STUBBORN)) as pool:
        for path, *how in STUBBORN.values():
            pool.submit(talk, wires.enter_context(target.open(path=path)), *how)
        target.echo()
        settles(target, before, CLOSE_TIMEOUT + AT_ONCE)


def talk(wire: Wire, first: Build, again: Build | None, pause: float) -> None:
    """Send until the target has ended the connection, and never read."""
    end = time.monotonic() + CLOSE_TIMEOUT + AT_ONCE
    wire.sock.settimeout(CLOSE_TIMEOUT + AT_ONCE)
    with suppress(OSError):
        wire.sock.sendall(first(wire))
        more = again(wire) if again else b""
        while more and time.monotonic() < end:
            wire.sock.sendall(more)
            Event().wait(pause)


@attack(CLOSING, "RFC 6455 7.1.1: the server closes TCP first", roles=(CLIENT,))
def a_server_that_takes_its_time_to_end_tcp(target: Target) -> None:
    for path in ("/", "/close"):
        with named(path), target.open(path=path) as wire:
            if path == "/close":
                wire.send_frame(TEXT, b"close")
            else:
                wire.send_close()
            frame = skip_pings(wire)
            assert frame is not None
            assert frame.opcode == CLOSE
            if path == "/close":
                wire.send_close(4000)
            assert not select.select([wire.sock], [], [], CLOSE_TIMEOUT / 2)[0], "it ends TCP first"
            wire.finish()
            assert wire.frame() is None


@attack(
    CLOSING,
    "RFC 6455 7.1.5, 7.1.6",
    [
        ("a Close", built(CLOSE, b"\x0f\xa0why"), [4000, "why"]),
        ("an empty Close", built(CLOSE), [1005, ""]),
        ("a wrong code", built(CLOSE, b"\x03\xed"), [1006]),
        ("a violation", WRONG, [1006]),
        ("no Close", built(TEXT, b"hello", fin=0), [1006]),
    ],
    roles=(CLIENT,),
)
def what_a_client_is_told(target: Target, build: Build, told: list[Any]) -> None:
    number, sock, head = target.accept()  # type: ignore[attr-defined]
    with Wire(sock, False) as wire:
        sock.sendall(answer(head) + build(wire))
        wire.finish()
        wire.end(AT_ONCE)
        assert target.event(number) == ["opened"]  # type: ignore[attr-defined]
        kind, *how = target.event(number)  # type: ignore[attr-defined]
        assert (kind, how[: len(told)]) == ("closed", told), how
