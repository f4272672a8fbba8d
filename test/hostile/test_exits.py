"""A callback that raises what is no Exception: what ends, and what goes on.

It ends its own connection everywhere. ``SystemExit`` and ``KeyboardInterrupt`` end the server where
its callbacks run in the main thread, as Ctrl-C does; elsewhere they end nothing else.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from test.hostile.targets import SERVERS, server
from test.hostile.wire import CLOSE, PATIENCE, TEXT, Wire
from test.stress import linux_only

pytestmark = [pytest.mark.hostile, linux_only]

#: Their callbacks run in the main thread; gunicorn's master starts another worker then.
IN_MAIN_THREAD = {"standalone", "asyncio", "tornado", "asgi", "gevent"}
EXITS = ("SystemExit", "KeyboardInterrupt")


def ended(wire: Wire) -> bool:
    """Wait for the end of a connection; say whether there was no Close, or the right one."""
    with suppress(ConnectionResetError):
        while (frame := wire.frame()) is not None:
            if frame.opcode == CLOSE:
                assert int.from_bytes(frame.payload[:2], "big") in (1001, 1006, 1011), frame
                with suppress(OSError):
                    wire.send_close(1000)
    return True


def raises(target: Any, name: str) -> None:
    """Have a callback raise something, and see its connection end."""
    with target.open(path=f"/raise/{name}") as wire:
        wire.send_frame(TEXT, b"hello")
        assert ended(wire)


def has_ended(target: Any) -> bool:
    """Say whether the process has ended, in a while."""
    deadline = time.monotonic() + PATIENCE
    while target.is_alive and time.monotonic() < deadline:
        time.sleep(0.02)
    return not target.is_alive


@pytest.mark.parametrize("engine", SERVERS)
def test_a_server_lives_when_a_callback_raises_generator_exit(engine: str, tmp_path: Path) -> None:
    with server(engine, tmp_path) as target, target.open() as other:
        raises(target, "GeneratorExit")
        other.echo()
        target.echo()
        assert target.is_alive


@pytest.mark.parametrize("name", EXITS)
@pytest.mark.parametrize("engine", SERVERS)
def test_exits_end_a_server_only_from_its_main_thread(
    engine: str, name: str, tmp_path: Path
) -> None:
    with server(engine, tmp_path) as target, target.open() as other:
        raises(target, name)
        if engine in IN_MAIN_THREAD:
            assert has_ended(target)
            assert ended(other)
        else:
            other.echo()
            target.echo()
