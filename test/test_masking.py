"""Masking: pure Python, and what is compiled, do what the RFC's formula says, at every size."""

from __future__ import annotations

from typing import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ws4py import masking

KEY = b"\x37\xfa\x21\x3d"
AROUND_THE_STRIDES = range(1018, 1031)
ODD_SIZES = [2039, 4999, 8191, 8193, 65535, 65537, 100_003]
SIZES = [*range(301), *AROUND_THE_STRIDES, *ODD_SIZES]

Mask = Callable[[bytes, bytes], bytes]


def by_the_formula(data: bytes, key: bytes) -> bytes:
    """``transformed-octet-i = original-octet-i XOR masking-key-octet-j``, with j = i MOD 4."""
    return bytes(octet ^ key[i % 4] for i, octet in enumerate(data))


def sample(size: int) -> bytes:
    """Return bytes whose pattern does not repeat with the key."""
    return bytes(i * 7 + i // 251 & 0xFF for i in range(size))


@pytest.fixture(params=["pure Python", "as found"])
def mask(request: pytest.FixtureRequest) -> Mask:
    """Both doors; where nothing is compiled they are one."""
    return masking._mask_pure if request.param == "pure Python" else masking.mask


def test_the_example_of_the_rfc_is_masked_as_printed(mask: Mask) -> None:
    assert mask(b"Hello", KEY) == bytes.fromhex("7f9f4d5158")


@pytest.mark.parametrize("size", [0, 1, 5, 1024])
def test_the_result_is_bytes_for_bytes_and_bytearrays(mask: Mask, size: int) -> None:
    data = sample(size)
    for given_data in (data, bytearray(data)):
        masked = mask(given_data, KEY)
        assert type(masked) is bytes
        assert masked == by_the_formula(data, KEY)


def test_every_size_is_masked_by_the_formula(mask: Mask) -> None:
    wrong = [size for size in SIZES if mask(sample(size), KEY) != by_the_formula(sample(size), KEY)]
    assert not wrong


def test_masking_twice_gives_the_data_back(mask: Mask) -> None:
    wrong = [size for size in SIZES if mask(mask(sample(size), KEY), KEY) != sample(size)]
    assert not wrong


@pytest.mark.parametrize("size", [9, 5001])
@pytest.mark.parametrize("key", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\x01", b"\x80\0\0\0"])
def test_every_byte_of_the_key_counts(mask: Mask, key: bytes, size: int) -> None:
    assert mask(sample(size), key) == by_the_formula(sample(size), key)


def test_zeros_at_either_end_of_the_data_are_kept(mask: Mask) -> None:
    for data in (b"\0" * 7, b"\0\0\0a", b"a\0\0\0\0"):
        assert mask(data, b"\0\0\0\0") == data


def test_the_data_itself_is_left_alone(mask: Mask) -> None:
    data = bytearray(sample(4097))
    mask(data, KEY)
    assert data == sample(4097)


@given(data=st.binary(max_size=200), key=st.binary(min_size=4, max_size=4))
def test_any_data_and_any_key_agree_with_the_formula(data: bytes, key: bytes) -> None:
    assert masking.mask(data, key) == masking._mask_pure(data, key) == by_the_formula(data, key)


@given(
    data=st.binary(max_size=99),
    cut=st.integers(0, 99),
    key=st.binary(min_size=4, max_size=4),
)
def test_a_payload_masked_in_two_pieces_needs_the_key_rotated(
    data: bytes, cut: int, key: bytes
) -> None:
    turn = len(data[:cut]) % 4
    rotated = key[turn:] + key[:turn]
    pieces = masking.mask(data[:cut], key) + masking.mask(data[cut:], rotated)
    assert pieces == masking.mask(data, key)
