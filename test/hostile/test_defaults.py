"""Each limit once with its default, on a server that is started as its users start it.

Those of time are waited for all at once.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from test.deflate_blocks import deflate
from test.hostile.deflate_floods import ALLOWED, bomb
from test.hostile.deflated import compressing
from test.hostile.targets import (
    CLIENTS,
    ClientTarget,
    ServerTarget,
    answer,
    client,
    read_head,
    server,
)
from test.hostile.wire import BINARY, CLOSE, CONTINUATION, PING, TEXT
from test.stress import linux_only

pytestmark = [pytest.mark.hostile, linux_only]

#: How much later than after its limit something may happen.
LATE = 15.0


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerTarget]:
    command = "{python} -m ws4py serve --port {port}"
    with server("standalone", tmp_path_factory.mktemp("serve"), command=command) as started:
        yield started


def ends_after(sock: socket.socket, seconds: float) -> None:
    """Fail unless the connection ends ``seconds`` from now, and not much later."""
    began = time.monotonic()
    sock.settimeout(seconds + LATE)
    try:
        while sock.recv(1 << 16):
            pass
    except ConnectionResetError:
        pass
    took = time.monotonic() - began
    assert seconds - 0.5 <= took, f"it ended after {took:.1f} of {seconds} s"


def open_timeout(target: ServerTarget) -> None:
    with target.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n")
        ends_after(sock, 10)


def close_timeout(target: ServerTarget) -> None:
    with target.open() as wire:
        wire.send(wire.build(TEXT, rsv=4))
        frame = wire.frame()
        assert frame is not None
        assert frame.opcode == CLOSE
        assert wire.frame() is None  # It will send no more, and reads what we still send.
        began = time.monotonic()
        with pytest.raises(OSError):
            while time.monotonic() < began + 10 + LATE:
                wire.send(b"x" * 100)
                time.sleep(0.1)
        assert time.monotonic() - began >= 9.5


def heartbeat(target: ServerTarget) -> None:
    with target.open() as wire:
        began = time.monotonic()
        frame = wire.frame(20 + LATE)
        assert frame is not None
        assert frame.opcode == PING
        assert time.monotonic() - began >= 19.5
        ends_after(wire.sock, 20)


def write_timeout(target: ServerTarget) -> None:
    with target.open() as wire:
        wire.sock.setblocking(False)
        data = memoryview(wire.build(BINARY, b"x" * (1 << 20)) * 64)
        stuck = time.monotonic()
        while data and time.monotonic() < stuck + 1:
            try:
                data = data[wire.sock.send(data) :]
                stuck = time.monotonic()
            except BlockingIOError:
                time.sleep(0.05)
        assert data, "64 MiB were read, and nobody reads the answers"
        while time.monotonic() < stuck + 60 + LATE:
            try:
                wire.sock.send(b"")
                wire.sock.send(data[:1])
            except BlockingIOError:
                time.sleep(0.1)
            except OSError:
                break
        # The heartbeat's deadline is suspended while the peer is not read.
        assert 59 <= time.monotonic() - stuck < 60 + LATE


def test_limits_of_time(target: ServerTarget) -> None:
    attacks = [open_timeout, close_timeout, heartbeat, write_timeout]
    with ThreadPoolExecutor(len(attacks)) as pool:
        for running in [pool.submit(attack, target) for attack in attacks]:
            running.result()
    target.echo()


@pytest.mark.parametrize("more", [0, 1])
def test_the_limit_of_a_message(target: ServerTarget, more: int) -> None:
    size = 16 * 1024 * 1024
    with target.open() as wire:
        wire.send_frame(BINARY, b"x" * (size // 2), fin=0)
        if more:
            wire.send(wire.build(CONTINUATION, length=size // 2 + 1)[:14])
            assert wire.end().code == 1009
        else:
            wire.send_frame(CONTINUATION, b"x" * (size // 2))
            assert wire.message() == b"x" * size


def test_the_limit_of_a_message_that_is_inflated(tmp_path: Path) -> None:
    command = "{python} -m ws4py serve --port {port} --compression deflate"
    with server("standalone", tmp_path, command=command) as target:
        target.echo()
        before = target.memory()
        for opcode in (TEXT, BINARY):
            with compressing(target) as wire:
                wire.send(wire.frames([bomb()], opcode))
                assert wire.end().code == 1009
        grown = target.memory() - before
        assert grown < ALLOWED, f"{grown / 2**20:.1f} MiB"
        with compressing(target) as wire:
            wire.send(wire.frames([deflate(bytes(16 * 1024 * 1024))], BINARY))
            assert wire.message() == bytes(16 * 1024 * 1024)


@pytest.mark.parametrize("more", [0, 1])
def test_the_limit_of_fragments(target: ServerTarget, more: int) -> None:
    count = 131_072 + more
    with target.open() as wire:
        start = wire.build(TEXT, fin=0)
        wire.send(start + wire.build(CONTINUATION, fin=0) * (count - 2))
        wire.send_frame(CONTINUATION)
        if more:
            assert wire.end().code == 1008
        else:
            assert wire.message() == b""


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([b"X: " + b"x" * (8 * 1024 - 5)], 101),
        ([b"X: " + b"x" * (8 * 1024 - 4)], 431),
        ([b"X: " + b"x" * 8000] * 7, 101),
        ([b"X: " + b"x" * 8000] * 9, 431),
        ([b"X: x"] * (128 - 5), 101),
        ([b"X: x"] * (128 - 4), 431),
    ],
    ids=["a line", "a long line", "a head", "a long head", "headers", "more headers"],
)
def test_the_limits_of_a_head(target: ServerTarget, lines: list[bytes], status: int) -> None:
    request = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    request += b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    with target.connect() as sock:
        sock.sendall(request + b"\r\n".join([*lines, b"", b""]))
        head, _ = read_head(sock)
        assert head.startswith(b"HTTP/1.1 %d " % status), head


def never_answered(target: ClientTarget) -> None:
    began = time.monotonic()
    number, sock, _ = target.accept()
    with sock:
        assert target.event(number, 10 + LATE)[:2] == ["refused", "HandshakeTimeout"]
        assert time.monotonic() - began >= 9.5


def never_ended(target: ClientTarget) -> None:
    number, sock, head = target.accept("/close")
    with sock:
        sock.sendall(answer(head) + b"\x81\x02go")
        assert target.event(number) == ["opened"]
        assert target.event(number) == ["message", 2]
        began = time.monotonic()
        assert target.event(number, 10 + LATE)[:2] == ["closed", 1006]
        assert time.monotonic() - began >= 9.5


def test_limits_of_time_of_clients(tmp_path: Path) -> None:
    def attack(engine: str) -> None:
        with client(engine, tmp_path, limits="default") as target:
            never_answered(target)
            never_ended(target)

    with ThreadPoolExecutor(len(CLIENTS)) as pool:
        for running in [pool.submit(attack, engine) for engine in CLIENTS]:
            running.result()
