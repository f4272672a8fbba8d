"""Time parsing, building and masking in process, without sockets; CPU time, best of several.

python -m benchmark.inprocess                 all cases
python -m benchmark.inprocess parse-16        the cases whose name starts so
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from time import process_time

from ws4py.framing import Frame
from ws4py.masking import mask
from ws4py.streaming import Stream

KEY = b"\x37\xfa\x21\x3d"
TEXT = 0x1
KIB = 1024

#: Runs at least so many operations and returns how many it ran.
Run = Callable[[int], int]


def text(size: int) -> str:
    return ("The quick brown fox jumps over the lazy dog; " * (size // 45 + 1))[:size]


def parse(size: int, frames: int) -> Run:
    """Parse ``frames`` masked text frames that come in one chunk."""
    payload = text(size).encode()
    chunk = Frame(opcode=TEXT, body=payload, fin=1, masking_key=KEY).build() * frames
    stream = Stream()
    check_parsing(stream, chunk, payload, frames)

    def run(operations: int) -> int:
        rounds = -(-operations // frames)
        parser = stream.parser
        send = parser.send
        for _ in range(rounds):
            missing = send(chunk)
            while not missing:
                stream.message = None
                missing = next(parser)
        return rounds * frames

    return run


def check_parsing(stream: Stream, chunk: bytes, payload: bytes, frames: int) -> None:
    """See that every message comes out, so that no fault passes for speed."""
    found = []
    missing = stream.parser.send(chunk)
    while not missing:
        assert stream.message is not None
        found.append(bytes(stream.message.data))
        stream.message = None
        missing = next(stream.parser)
    assert found == [payload] * frames


def build(size: int, masked: bool) -> Run:
    """Build the frame of a text message, as a server does or, masked, as a client does."""
    payload = text(size)
    stream = Stream(always_mask=masked)

    def run(operations: int) -> int:
        for _ in range(operations):
            stream.text_message(payload).single(mask=masked)
        return operations

    return run


def masking(size: int) -> Run:
    """Mask ``size`` bytes."""
    data = text(size).encode()
    assert bytes(mask(mask(data, KEY), KEY)) == data

    def run(operations: int) -> int:
        for _ in range(operations):
            mask(data, KEY)
        return operations

    return run


#: Name, bytes of payload in an operation, and what makes the loop to be timed.
CASES: list[tuple[str, int, Callable[[], Run]]] = [
    ("parse-16", 16, lambda: parse(16, 1)),
    ("parse-16-pipelined", 16, lambda: parse(16, 32)),
    ("parse-1k", KIB, lambda: parse(KIB, 1)),
    ("parse-16k", 16 * KIB, lambda: parse(16 * KIB, 1)),
    ("build-16", 16, lambda: build(16, masked=False)),
    ("build-16-masked", 16, lambda: build(16, masked=True)),
    ("build-16k", 16 * KIB, lambda: build(16 * KIB, masked=False)),
    ("build-16k-masked", 16 * KIB, lambda: build(16 * KIB, masked=True)),
    ("mask-16", 16, lambda: masking(16)),
    ("mask-1k", KIB, lambda: masking(KIB)),
    ("mask-16k", 16 * KIB, lambda: masking(16 * KIB)),
    ("mask-1m", KIB * KIB, lambda: masking(KIB * KIB)),
]


def seconds_each(run: Run, operations: int) -> float:
    start = process_time()
    done = run(operations)
    return (process_time() - start) / done


def best(run: Run, repeats: int, seconds: float) -> float:
    """Return the least of several timings, each of about ``seconds``, of one operation."""
    operations = 1
    while seconds_each(run, operations) * operations < seconds / 10:
        operations *= 2
    operations *= 10
    return min(seconds_each(run, operations) for _ in range(repeats))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmark.inprocess")
    parser.add_argument("case", nargs="?", default="", help="start of the names of cases")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.05, help="of one timing, roughly")
    options = parser.parse_args()
    for name, size, make in CASES:
        if not name.startswith(options.case):
            continue
        each = best(make(), options.repeats, options.seconds)
        print(f"{name:20} {each * 1e9:12.0f} ns {size / each / 1e9:8.3f} GB/s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
