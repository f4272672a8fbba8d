"""The compiled functions and the pure ones agree, and so does the reference parser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from test.test_framing_compiled import PURE, Plain, _speedups, frame
from test.test_masking import by_the_formula
from ws4py.messaging import BinaryMessage, TextMessage

from .reference import Rules, parse

pytestmark = [
    pytest.mark.fuzz,
    pytest.mark.skipif(_speedups is None, reason="the compiled module is not built"),
]

keys = st.binary(min_size=4, max_size=4)
characters = st.text(max_size=60).map(str.encode)
broken = st.builds(bytes.join, st.binary(min_size=1, max_size=2), st.lists(characters, max_size=2))
lengths = st.sampled_from([0, 1, 124, 125, 126, 127, 128, 300, 65535, 65536])
payloads = st.one_of(characters, broken, lengths.map(bytes), st.binary(max_size=140))
# Mostly what is taken, so that what is behind it is looked at.
firsts = st.one_of(st.sampled_from([0x81, 0x82] * 4), st.integers(0, 255))
masks = st.sampled_from([True] * 8 + [False])
frames = st.builds(frame, firsts, payloads, masks)
turned = st.builds(frame, firsts, payloads, masks.map(lambda masked: not masked))


def join(pieces: list[bytes], cut: int, at: int, byte: int) -> bytes:
    """Join frames, cut off the end, and perhaps change a byte."""
    data = bytearray(b"".join(pieces))
    if at < len(data):
        data[at] = byte
    return bytes(data[: len(data) - cut])


def chunks(pieces: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    changed = st.one_of(st.just(1 << 30), st.integers(0, 300))
    cut = st.one_of(st.just(0), st.integers(0, 20))
    return st.builds(join, st.lists(pieces, max_size=8), cut, changed, st.integers(0, 255))


limits = st.one_of(
    st.just(1 << 24), st.integers(-1, 140), st.integers(), st.floats(allow_nan=False)
)
positions = st.one_of(st.just(0), st.integers(-3, 300))


def shown(taken: tuple[list[Any], int]) -> Any:
    messages, pos = taken
    return [(type(message), vars(message)) for message in messages], pos


@settings(max_examples=3000)
@given(
    chunk=st.one_of(chunks(frames), chunks(turned), st.binary(max_size=300)),
    pos=positions,
    is_masked=st.booleans(),
    most=limits,
    text=st.sampled_from([TextMessage, Plain]),
    buffer=st.sampled_from([bytes, bytearray]),
)
def test_both_take_the_same_messages(
    chunk: bytes,
    pos: int,
    is_masked: bool,
    most: float,
    text: type,
    buffer: Callable[[bytes], bytes],
) -> None:
    arguments = (buffer(chunk), pos, is_masked, most, text, BinaryMessage)
    compiled = shown(_speedups.take_messages(*arguments))
    assert compiled == shown(PURE.take_messages(*arguments))


@settings(max_examples=1500)
@given(chunk=st.one_of(chunks(frames), chunks(turned)), is_masked=st.booleans())
def test_what_is_taken_is_what_the_reference_reads(chunk: bytes, is_masked: bool) -> None:
    taken, pos = _speedups.take_messages(chunk, 0, is_masked, 1 << 24, TextMessage, BinaryMessage)
    found = [("text" if message.is_text else "binary", message.data) for message in taken]
    rules = Rules(expect_masking=is_masked)
    assert parse(chunk[:pos], rules).events == found
    assert parse(chunk, rules).events[: len(found)] == found


@settings(max_examples=1000)
@given(
    data=st.one_of(st.binary(max_size=300), st.binary(min_size=60, max_size=70)),
    start=st.integers(0, 40),
    key=keys,
)
def test_both_mask_alike_wherever_the_bytes_begin(data: bytes, start: int, key: bytes) -> None:
    view = memoryview(data)[start:]
    masked = _speedups.mask(view, key)
    assert masked == PURE.mask(view, key) == by_the_formula(bytes(view), key)


@settings(max_examples=1000)
@given(first=st.integers(0, 255), payload=payloads, key=st.one_of(keys, st.just(b"")))
def test_both_build_the_same_frames(first: int, payload: bytes, key: bytes) -> None:
    built = _speedups.encode_frame(first, payload, key)
    assert built == PURE.encode_frame(first, payload, key)
