"""What attacks on frames share: violations, and how they are refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from test.hostile import AT_ONCE, Target
from test.hostile.wire import BINARY, CONTINUATION, PATIENCE, PING, TEXT, End, Frame, Wire, header

#: The masking key of frames that are only begun.
KEY = b"\x01\x02\x03\x04"

#: What is sent on a connection: a violation.
Build = Callable[[Wire], bytes]


@contextmanager
def named(name: str) -> Iterator[None]:
    """Have what goes wrong say in which variant of an attack it did."""
    try:
        yield
    except (AssertionError, OSError) as error:
        raise AssertionError(f"{name}: {error!r}") from error


def seen(end: End) -> list[Frame]:
    """Return what came, but for the Pings of a heartbeat."""
    return [each for each in end.frames if each.opcode != PING]


def refused(
    wire: Wire,
    *codes: int,
    after: list[tuple[int, bytes]] | None = None,
    seconds: float = AT_ONCE,
) -> None:
    """Fail unless the target closes with one of ``codes``, and ends the connection.

    Args:
        after: The frames that come before the Close: opcodes and payloads.
    """
    end = wire.end(seconds)
    assert end.code in codes, end
    assert not end.reset, end
    assert [(each.opcode, each.payload) for each in seen(end)[:-1]] == (after or []), end


def all_refused(target: Target, variants: Mapping[str, Build], *codes: int) -> None:
    """Send each variant on a connection of its own, and have it refused."""
    for name, build in variants.items():
        with named(name), target.open() as wire:
            wire.send(build(wire))
            refused(wire, *codes)


def built(opcode: int, payload: bytes = b"", **how: int) -> Build:
    """Return what builds a frame; a continuation continues a message."""

    def build(wire: Wire) -> bytes:
        start = wire.build(TEXT, b"a", fin=0) if opcode == CONTINUATION else b""
        return start + wire.build(opcode, payload, **how)  # type: ignore[arg-type]

    return build


def started(opcode: int, length: int, form: int | None = None, wrong: bool = False) -> Build:
    """Return what builds a frame of which nothing but the header comes.

    Args:
        wrong: Whether it is masked as the other role has it.
    """

    def build(wire: Wire) -> bytes:
        start = wire.build(TEXT, b"a", fin=0) if opcode == CONTINUATION else b""
        masks = wire.masks is not wrong
        return start + header(opcode, length, masks, form=form) + (KEY if masks else b"")

    return build


def send_fragments(wire: Wire, parts: list[bytes], opcode: int = BINARY) -> None:
    """Send one message."""
    last = len(parts) - 1
    wire.send(
        b"".join(
            wire.build(opcode if number == 0 else CONTINUATION, part, fin=int(number == last))
            for number, part in enumerate(parts)
        )
    )


def skip_pings(wire: Wire, seconds: float = PATIENCE) -> Frame | None:
    """Return the next frame but for the Pings of a heartbeat."""
    while (frame := wire.frame(seconds)) is not None and frame.opcode == PING:
        pass
    return frame


def send_in_two(wire: Wire, data: bytes, at: int, other: Wire) -> None:
    """Send the part before ``at``; the rest when the target has been busy with another wire."""
    wire.send(data[:at])
    other.echo(b"")
    wire.send(data[at:])
