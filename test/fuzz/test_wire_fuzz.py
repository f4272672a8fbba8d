"""ws4py and the reference parser agree on everything a peer may send."""

from __future__ import annotations

import os
import random
import statistics
from collections import Counter
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from .campaign import COUNTED, DRIVERS, Driver, run
from .generate import RSV1, Writer, make_case
from .reference import BINARY, CONTINUATION, PING, PONG, TEXT, Deflate, Event, Rules, parse

SEED = int(os.environ.get("WS4PY_FUZZ_SEED", "6455"))
STREAMS = int(os.environ.get("WS4PY_FUZZ_STREAMS", "30000"))


@pytest.mark.fuzz
def test_every_event_of_every_stream_is_the_one_the_reference_tells() -> None:
    hits: Counter[tuple[str, str]] = Counter()
    disagreement = run(SEED, STREAMS, hits)
    assert disagreement is None, disagreement
    rare = {what: hits[what] for what in COUNTED if hits[what] < required_hits(STREAMS)}
    assert not rare, f"too rare to be called tested: {rare}"


def required_hits(streams: int) -> int:
    """Tell how often each branch has to be met in each role; fewer streams scatter more."""
    return 100 if streams >= 30000 else streams // 600


def test_a_few_streams_agree_with_the_reference() -> None:
    disagreement = run(SEED, 400, Counter())
    assert disagreement is None, disagreement


def test_a_stream_can_be_made_again_from_its_seed_and_number() -> None:
    assert make_case(7, 11) == make_case(7, 11)
    assert make_case(7, 11).data != make_case(8, 11).data


def test_chunks_are_the_whole_stream_and_every_chunking_is_used() -> None:
    cases = [make_case(SEED, index) for index in range(300)]
    assert all(b"".join(case.chunks) == case.data for case in cases)
    assert {case.chunking for case in cases} == {"whole", "bytewise", "random"}


def test_streams_are_small() -> None:
    assert statistics.median(len(make_case(SEED, i).data) for i in range(300)) < 400


class Sent(NamedTuple):
    """A message, whether it is compressed if that is possible, and where it is cut into fragments.

    Before each fragment but the first some control frames are sent.
    """

    kind: str
    payload: bytes
    cuts: list[tuple[int, list[Event]]]
    compressed: bool = False


OPCODES = {"text": TEXT, "binary": BINARY, "ping": PING, "pong": PONG}

controls = st.tuples(st.sampled_from(["ping", "pong"]), st.binary(max_size=125))
payloads = st.one_of(
    st.tuples(st.just("text"), st.text(max_size=200).map(str.encode)),
    st.tuples(st.just("binary"), st.binary(max_size=300)),
)
cut_lists = st.lists(st.tuples(st.integers(0, 300), st.lists(controls, max_size=2)), max_size=4)
messages = st.one_of(
    controls.map(lambda event: Sent(event[0], event[1], [])),
    st.builds(lambda event, *how: Sent(*event, *how), payloads, cut_lists, st.booleans()),
)
terms = st.sampled_from([None, Deflate(9), Deflate(15), Deflate(15, anew=True)])
chunk_sizes = st.lists(st.integers(1, 50), min_size=1)


def write(sent: Sent, writer: Writer) -> list[Event]:
    """Write a message and return the events that its receiver has to tell."""
    events: list[Event] = []
    data, rsv = sent.payload, 0
    if sent.compressed and writer.compressor is not None:
        data, rsv = writer.compressor.encode(data), RSV1
    start, opcode = 0, OPCODES[sent.kind]
    for end, between in sorted(sent.cuts):
        end = max(start, min(end, len(data)))
        writer.frame(opcode, data[start:end], fin=False, rsv=rsv)
        for kind, payload in between:
            writer.frame(OPCODES[kind], payload)
        events += between
        start, opcode, rsv = end, CONTINUATION, 0
    writer.frame(opcode, data[start:], rsv=rsv)
    return [*events, (sent.kind, sent.payload)]


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """Cut ``data`` into chunks of these sizes, over and over again."""
    chunks: list[bytes] = []
    start = 0
    while start < len(data):
        end = start + sizes[len(chunks) % len(sizes)]
        chunks.append(data[start:end])
        start = end
    return chunks


@pytest.mark.parametrize("driver", DRIVERS)
@given(
    sent=st.lists(messages, max_size=6),
    sizes=chunk_sizes,
    expect_masking=st.booleans(),
    deflate=terms,
)
def test_any_messages_in_any_fragments_and_chunks_arrive_in_order(
    driver: Driver,
    sent: list[Sent],
    sizes: list[int],
    expect_masking: bool,
    deflate: Deflate | None,
) -> None:
    rules = Rules(expect_masking, deflate=deflate)
    writer = Writer(random.Random(0), rules)
    events = [event for message in sent for event in write(message, writer)]
    data = bytes(writer.out)
    assert parse(data, rules).events == events
    assert driver(rules, cut(data, sizes)) == events
