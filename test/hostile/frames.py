"""Frames that are wrong (RFC 6455 5)."""

from __future__ import annotations

from test.hostile import FRAMES, Target, attack
from test.hostile.wire import BINARY, PING, TEXT, Wire


def refused(wire: Wire, code: int, *codes: int) -> None:
    """Fail unless the target closes with one of these codes, and ends the connection."""
    end = wire.end()
    assert end.code in (code, *codes), end


@attack(
    FRAMES,
    "RFC 6455 5.1",
    [
        ("text", TEXT, b"hello"),
        ("an empty one", TEXT, b""),
        ("binary", BINARY, b"x" * 1000),
        ("a Ping", PING, b""),
    ],
)
def a_frame_masked_as_the_other_role_has_it(target: Target, opcode: int, payload: bytes) -> None:
    with target.open() as wire:
        wire.send_frame(opcode, payload, masks=not wire.masks)
        refused(wire, 1002)
