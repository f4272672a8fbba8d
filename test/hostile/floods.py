"""Floods: much of what is allowed, or from many, or for those who do not read it."""

from __future__ import annotations

import os
import resource
import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Callable

from test.hostile import ALLOWED, AT_ONCE, CLIENT, FLOODS, SERVER, Target, attack
from test.hostile.burdens import COUNT, payload
from test.hostile.pushing import QUIET, Answering, Churn, Push, data_of, grouped, sending
from test.hostile.targets import REQUEST, answer, at_rest, read_head, settles
from test.hostile.wire import BINARY, CONTINUATION, PING, PONG, TEXT, CutOff, Wire, live

MANY = 100_000
#: Frames that are read between two signs of life.
OFTEN = 1000
#: Seconds in which limits of three seconds in all have been kept.
LATE = 8.0
OURS = "a limit of ours"


def costs_little(target: Target, before: int, what: str, allowed: int = ALLOWED) -> None:
    """Fail if the memory of a target has grown by more than is allowed since it was ``before``."""
    grown = target.memory() - before
    assert grown < allowed, f"{what}: {grown / 2**20:.1f} MiB"


# Small frames.


def numbered_pings(wire: Wire, size: int, count: int) -> Iterator[bytes]:
    """Return Pings, the number of each in its payload."""
    return grouped(wire.build(PING, i.to_bytes(4, "big") * (size // 4)) for i in range(count))


def last_pong(wire: Wire, count: int) -> None:
    """Read the Pongs for so many numbered Pings, the last of which may not be missing.

    "If an endpoint receives a Ping frame and has not yet sent Pong frame(s) in response to previous
    Ping frame(s), the endpoint MAY elect to send a Pong frame for only the most recently processed
    Ping frame."
    """
    number, read = -1, 0
    while number < count - 1:
        if read % OFTEN == 0:
            live(wire)
        frame = wire.frame()
        read += 1
        if frame is None:
            raise CutOff(f"the connection ended after the Pong {number}")
        if frame.opcode == PING:
            wire.answer(frame)
            continue
        assert frame.opcode == PONG, frame
        found = int.from_bytes(frame.payload[:4], "big")
        assert found > number, f"the Pong {found} came behind that of {number}"
        number = found


def pings(target: Target, wire: Wire) -> None:
    with sending(wire, numbered_pings(wire, 4, MANY)):
        target.echo()
        last_pong(wire, MANY)


def pongs(target: Target, wire: Wire) -> None:
    with sending(wire, parts(wire.build(PONG, b"unasked"))):
        target.echo()


def empty_messages(target: Target, wire: Wire) -> None:
    with sending(wire, parts(wire.build(TEXT))):
        target.echo()
        for number in range(MANY):
            if number % OFTEN == 0:
                live(wire)
            frame = data_of(wire)
            assert frame == (True, TEXT, b""), f"{frame} came for the empty message {number}"


def empty_fragments(target: Target, wire: Wire) -> None:
    wire.send_frame(TEXT, b"a", fin=0)
    with sending(wire, parts(wire.build(CONTINUATION, fin=0))):
        target.echo()
    wire.send_frame(CONTINUATION, b"b")
    assert wire.message() == b"ab"


def parts(frame: bytes) -> Iterator[bytes]:
    """Return a frame MANY times."""
    return iter([frame * (MANY // 20)] * 20)


SMALL: dict[str, Callable[[Target, Wire], None]] = {
    "Pings": pings,
    "Pongs": pongs,
    "empty messages": empty_messages,
    "empty fragments": empty_fragments,
}


@attack(FLOODS, "RFC 6455 5.4, 5.5.2 and 5.5.3; for the memory a limit of ours", fresh=True)
def a_hundred_thousand_small_frames_of_a_kind_are_all_handled(target: Target) -> None:
    before = target.memory()
    for name, flood in SMALL.items():
        with target.open() as wire:
            flood(target, wire)
            wire.echo()
            wire.leave()
        costs_little(target, before, name)


#: Of Pongs that are queued and not replaced there would be more than twice that.
PONGS_ALLOWED = 8 * 1024 * 1024


@attack(FLOODS, "RFC 6455 5.5.3; for the memory a limit of ours", fresh=True)
def pings_of_those_who_do_not_read_queue_no_pongs(target: Target) -> None:
    before, began = target.memory(), time.monotonic()
    with target.open() as wire:
        push = Push(wire, numbered_pings(wire, 124, 2 * MANY))
        try:
            push.until_refused(quiet=1)  # Whom we take for quiet too soon is read, and queues less.
            target.echo()
            with sending(wire, push.rest()):
                last_pong(wire, 2 * MANY)
            wire.echo()
            wire.leave()
        except (ConnectionError, CutOff):
            # That took too long: the limit for those who do not read is two seconds.
            assert time.monotonic() - began > 2
    costs_little(target, before, "Pings", PONGS_ALLOWED)


# Many bytes.


def messages(wire: Wire) -> Iterator[bytes]:
    """Return frames of 64 MiB in all."""
    return (wire.build(BINARY, payload(number)) for number in range(COUNT))


def begin(target: Target, path: str) -> tuple[Wire, Push]:
    """Return a connection on which 64 MiB come back, as far as that goes if nobody reads them."""
    wire = target.open(path=path)
    push = Push(wire, messages(wire) if path == "/" else [wire.build(TEXT, b"go")])
    if push.until_refused() is (path != "/"):
        raise AssertionError("all was taken, and nobody reads the answers")
    return wire, push


def come_in_order(wire: Wire, path: str) -> None:
    """Read 64 MiB, of which nothing is missing: messages, or the fragments of one."""
    for number in range(COUNT):
        fin, opcode = True, BINARY
        if path == "/generate":
            fin, opcode = number == COUNT - 1, CONTINUATION if number else BINARY
        frame = data_of(wire)
        assert frame == (fin, opcode, payload(number)), f"frame {number} is {frame!r:.80}"


@attack(FLOODS, OURS, fresh=True)
def sixty_four_mebibytes_for_those_who_do_not_read_cost_little(target: Target) -> None:
    """They are echoed; or sent from another thread; or by a generator."""
    before, counts = target.memory(), at_rest(target)
    with ExitStack() as stack:
        for path in ("/", "/pour", "/generate"):
            stack.enter_context(begin(target, path)[0])  # It is silent, and dropped.
            begin(target, path)[0].reset()
            late, push = begin(target, path)
            target.echo()
            costs_little(target, before, f"unread at {path}")
            with sending(late, push.rest()):
                come_in_order(late, path)
            late.leave()
            costs_little(target, before, f"read late at {path}")
        settles(target, counts, LATE)
    target.echo()


@attack(FLOODS, OURS)
def those_who_send_a_byte_now_and_then_hold_nothing(target: Target) -> None:
    """Forty messages of 1 MiB are announced, and come slowly."""
    before, large = target.memory(), b"x" * 1024 * 1024
    with ExitStack() as stack:
        wires = [stack.enter_context(target.open()) for _ in range(40)]
        frame = wires[0].build(BINARY, large)
        for wire in wires:
            wire.send(frame[:14])
        for at in range(14, 14 + 12):
            for wire in wires:
                wire.send(frame[at : at + 1])
            target.echo()
            time.sleep(0.2)
        costs_little(target, before, "announced")
        wires[0].send(frame[26:])
        assert wires[0].message() == large
        for wire in wires:
            wire.reset()


@attack(FLOODS, OURS)
def floods_on_several_connections_keep_nobody_waiting(target: Target) -> None:
    with ExitStack() as stack:
        wires = [stack.enter_context(target.open()) for _ in range(4)]
        with Churn(wires, wires[0].build(TEXT, b"hello") * 500) as churn:
            for _ in range(5):
                target.echo()
        assert churn.received, "nothing came back"


# Many connections.


def end(number: int, wire: Wire) -> None:
    """End a connection: with a FIN, a reset or a Close in turn."""
    if number % 3 == 0:
        wire.sock.close()
    elif number % 3 == 1:
        wire.reset()
    else:
        wire.leave()


@attack(FLOODS, OURS, roles=(SERVER,))
def connections_that_come_and_go_leave_nothing(target: Target) -> None:
    """Two thousand on the servers of ours, which need nobody else; fewer elsewhere."""
    before, counts = target.memory(), at_rest(target)
    for number in range(2000 if target.engine in ("standalone", "asyncio") else 500):
        end(number, target.open())
        if number % 250 == 0:
            target.echo()
    settles(target, counts)
    costs_little(target, before, "come and gone")


@attack(FLOODS, OURS)
def three_hundred_idle_connections_live_if_they_answer_pings(target: Target) -> None:
    descriptors, threads = at_rest(target)
    with ExitStack() as stack:
        wires = [stack.enter_context(target.open()) for _ in range(300)]
        living, silent = wires[::2], wires[1::2]
        with Answering(living):
            settles(target, (descriptors + len(living), threads + 2 * len(wires)), LATE)
            target.echo()
        for wire in living:
            wire.echo()
        for wire in silent:
            assert wire.end().code == 1011
        for number, wire in enumerate(living):
            end(number, wire)


@attack(FLOODS, OURS, roles=(SERVER,))
def a_hundred_connections_that_never_send_keep_nobody_out(target: Any) -> None:
    with ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(target.connect())
        sock = stack.enter_context(target.connect())
        sock.sendall(REQUEST.format(path="/").encode())
        head, rest = read_head(sock, AT_ONCE)
        assert head.startswith(b"HTTP/1.1 101 "), head
        Wire(sock, True, rest).echo()


# No descriptors.


@contextmanager
def descriptors(target: Target, more: int) -> Iterator[None]:
    """Let a target have only so many descriptors more meanwhile."""
    _, hard = was = resource.prlimit(target.pid, resource.RLIMIT_NOFILE)
    most = max(map(int, os.listdir(f"/proc/{target.pid}/fd"))) + 1 + more
    resource.prlimit(target.pid, resource.RLIMIT_NOFILE, (most, hard))
    try:
        yield
    finally:
        resource.prlimit(target.pid, resource.RLIMIT_NOFILE, was)


def rests(target: Target) -> None:
    """Fail if a target is busy for more than a quarter of a second, or logs without end."""
    began, before = busy(target), len(target.log())
    time.sleep(1)
    spent, logged = busy(target) - began, len(target.log()) - before
    # Who rests needs no more on a busy machine, where who does not may get less than the second.
    assert spent < 0.25, f"{spent} s of the processor in one, for nothing"
    assert logged < 100_000, f"{logged} bytes on the log in a second"


def busy(target: Target) -> float:
    """Return the seconds of processor time that a target has had."""
    stat = Path(f"/proc/{target.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


def answered(socks: list[socket.socket]) -> list[Wire]:
    """Take those from ``socks`` that are answered, until no more are."""
    wires: list[Wire] = []
    while ready := select.select(socks, [], [], QUIET if wires else AT_ONCE)[0]:
        for sock in ready:
            socks.remove(sock)
            head, rest = read_head(sock)
            assert head.startswith(b"HTTP/1.1 101 "), head
            wires.append(Wire(sock, True, rest))
    return wires


@attack(FLOODS, OURS, roles=(SERVER,), fresh=True)
def a_server_without_descriptors_rests_and_serves_again(target: Any) -> None:
    with ExitStack() as stack:
        with descriptors(target, 20):
            socks = [stack.enter_context(target.connect()) for _ in range(60)]
            for sock in socks:
                sock.sendall(REQUEST.format(path="/").encode())
            served = answered(socks)
            assert served, "nobody is served"
            assert socks, "there is no lack of descriptors"
            with Answering(served):
                rests(target)
            for wire in served:
                wire.echo()
            for number, wire in enumerate(served[::2]):
                end(number, wire)
            with Answering(served[1::2]):
                later = answered(socks)
            assert later, "nobody is served after some have ended"
            for wire in (*served[1::2], *later):
                wire.echo()
        target.echo()


@attack(FLOODS, OURS, roles=(CLIENT,), fresh=True)
def clients_without_descriptors_fail_and_others_live(target: Any) -> None:
    with target.open() as other, ExitStack() as stack:
        with descriptors(target, 10):
            numbers = [target.start(f"ws://127.0.0.1:{target.port}/") for _ in range(30)]
            while (sock := target.accept_waiting(0.5)) is not None:
                stack.enter_context(sock)
                sock.sendall(answer(read_head(sock)[0]))
            events = [target.event(number) for number in numbers]
            failed = [each for each in events if each[0] != "opened"]
            assert failed, "there is no lack of descriptors"
            assert len(failed) < len(events), failed
            for kind, name, text in failed:
                assert (kind, name) == ("failed", "OSError"), (kind, name, text)
                assert "Too many open files" in text, text
            other.echo()
        target.echo()
