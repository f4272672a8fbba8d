"""The UTF-8 validator: against Python's own decoder, in every way of cutting a text."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ws4py.utf8validator import Utf8Validator

TEXT = "aé€\U0001f600\x7f\x80\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff\x00"

# Each with the index of the byte that cannot be.
INVALID = [
    ("a stray tail", b"\x80", 0),
    ("a stray tail after a character", b"\xc3\xa9\xa9", 2),
    ("an overlong slash in two bytes", b"\xc0\xaf", 0),
    ("an overlong of C1", b"\xc1\xbf", 0),
    ("an overlong in three bytes", b"\xe0\x80\xaf", 1),
    ("the last overlong in three bytes", b"\xe0\x9f\xbf", 1),
    ("an overlong in four bytes", b"\xf0\x8f\xbf\xbf", 1),
    ("the first surrogate", b"\xed\xa0\x80", 1),
    ("the last surrogate", b"\xed\xbf\xbf", 1),
    ("beyond U+10FFFF", b"\xf4\x90\x80\x80", 1),
    ("F5", b"\xf5\x80\x80\x80", 0),
    ("FE", b"\xfe", 0),
    ("FF", b"\xff", 0),
    ("a lead byte of five", b"\xf8\x88\x80\x80\x80", 0),
    ("a letter for a tail", b"\xc3(", 1),
    ("a letter for the second tail", b"\xe2\x82(", 2),
    ("a letter for the third tail", b"\xf0\x9f\x98a", 3),
    ("a lead byte for a tail", b"\xf0\x9f\xc3\xa9", 2),
]

CASES = [case[1:] for case in INVALID]
IDS = [case[0] for case in INVALID]


def is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def decode_all(data: bytes) -> tuple[bool, bool, int]:
    """What ``validate`` should say of ``data``, told byte by byte: valid, whole, index."""
    validator = Utf8Validator()
    for index, byte in enumerate(data):
        if validator.decode(byte) == Utf8Validator.UTF8_REJECT:
            return False, False, index
    return True, validator.state == Utf8Validator.UTF8_ACCEPT, len(data)


def test_the_documented_constants_are_there() -> None:
    assert Utf8Validator.UTF8_ACCEPT == 0
    assert Utf8Validator.UTF8_REJECT == 1
    assert isinstance(Utf8Validator.UTF8VALIDATOR_DFA, list)
    assert all(isinstance(state, int) for state in Utf8Validator.UTF8VALIDATOR_DFA)


def test_a_new_validator_is_between_two_characters() -> None:
    validator = Utf8Validator()
    assert (validator.state, validator.codepoint, validator.i) == (0, 0, 0)


def test_a_valid_text_is_valid_whole_and_counted() -> None:
    data = TEXT.encode()
    assert Utf8Validator().validate(data) == (True, True, len(data), len(data))


def test_a_bytearray_is_as_good_as_bytes() -> None:
    assert Utf8Validator().validate(bytearray("é€".encode())) == (True, True, 5, 5)
    validator = Utf8Validator()
    assert validator.validate(bytearray(b"\xe2")) == (True, False, 1, 1)
    assert validator.validate(bytearray(b"\x82\xac")) == (True, True, 2, 3)


def test_nothing_is_valid() -> None:
    assert Utf8Validator().validate(b"") == (True, True, 0, 0)


def test_an_empty_chunk_within_a_character_does_not_end_it() -> None:
    validator = Utf8Validator()
    validator.validate(b"\xc3")
    assert validator.validate(b"") == (True, False, 0, 1)
    assert validator.validate(b"\xa9") == (True, True, 1, 2)


def test_a_chunk_may_end_within_a_character() -> None:
    validator = Utf8Validator()
    assert validator.validate("a€".encode()[:3]) == (True, False, 3, 3)
    assert validator.state not in (Utf8Validator.UTF8_ACCEPT, Utf8Validator.UTF8_REJECT)
    assert validator.validate(b"\xac") == (True, True, 1, 4)
    assert validator.state == Utf8Validator.UTF8_ACCEPT


@pytest.mark.parametrize("cut", range(len(TEXT.encode()) + 1))
def test_a_text_may_be_cut_anywhere(cut: int) -> None:
    data = TEXT.encode()
    validator = Utf8Validator()
    assert validator.validate(data[:cut]) == (True, is_utf8(data[:cut]), cut, cut)
    assert validator.validate(data[cut:]) == (True, True, len(data) - cut, len(data))


def test_a_text_may_come_byte_by_byte() -> None:
    validator = Utf8Validator()
    data = TEXT.encode()
    for index in range(len(data)):
        whole = is_utf8(data[: index + 1])
        assert validator.validate(data[index : index + 1]) == (True, whole, 1, index + 1)


@pytest.mark.parametrize(("data", "index"), CASES, ids=IDS)
@pytest.mark.parametrize("before", [b"", b"abc", "€".encode()])
def test_the_index_is_that_of_the_byte_that_cannot_be(
    data: bytes, index: int, before: bytes
) -> None:
    at = len(before) + index
    assert Utf8Validator().validate(before + data) == (False, False, at, at)


@pytest.mark.parametrize(("data", "index"), CASES, ids=IDS)
def test_what_is_invalid_is_found_at_the_first_byte_that_shows_it(data: bytes, index: int) -> None:
    validator = Utf8Validator()
    for position in range(index):
        assert validator.validate(data[position : position + 1])[0]
    assert validator.validate(data[index : index + 1]) == (False, False, 0, index)


def test_the_index_counts_in_the_chunk_and_in_the_text() -> None:
    validator = Utf8Validator()
    validator.validate(b"12345\xe2\x82")
    assert validator.validate(b"\xac67\xff8") == (False, False, 3, 10)
    assert validator.i == 10


def test_after_something_invalid_nothing_is_valid() -> None:
    validator = Utf8Validator()
    validator.validate(b"ab\xff")
    assert validator.state == Utf8Validator.UTF8_REJECT
    assert validator.validate(b"abc") == (False, False, 0, 2)


def test_reset_begins_a_new_text() -> None:
    validator = Utf8Validator()
    validator.validate(b"ab\xff")
    validator.reset()
    assert (validator.state, validator.codepoint, validator.i) == (0, 0, 0)
    assert validator.validate(b"abc") == (True, True, 3, 3)


def test_reset_forgets_half_a_character() -> None:
    validator = Utf8Validator()
    validator.validate(b"\xe2\x82")
    validator.reset()
    assert validator.validate(b"\xac") == (False, False, 0, 0)


def test_a_large_text_of_long_characters_is_valid_in_one_chunk() -> None:
    data = ("x" + "€" * 200_000 + "é" * 5).encode()
    assert Utf8Validator().validate(data) == (True, True, len(data), len(data))


def test_the_index_is_right_far_into_a_large_text() -> None:
    data = "€".encode() * 50_000
    broken = data + b"\xe2(" + data
    assert Utf8Validator().validate(broken) == (False, False, 150_001, 150_001)


@pytest.mark.parametrize("character", TEXT)
def test_decode_puts_the_code_point_together(character: str) -> None:
    validator = Utf8Validator()
    *first, last = character.encode()
    for byte in first:
        assert validator.decode(byte) not in (Utf8Validator.UTF8_ACCEPT, Utf8Validator.UTF8_REJECT)
    assert validator.decode(last) == validator.state == Utf8Validator.UTF8_ACCEPT
    assert validator.codepoint == ord(character)


def test_decode_goes_on_with_the_next_character() -> None:
    validator = Utf8Validator()
    found = []
    for byte in TEXT.encode():
        if validator.decode(byte) == Utf8Validator.UTF8_ACCEPT:
            found.append(chr(validator.codepoint))
    assert "".join(found) == TEXT


def test_decode_stays_rejected() -> None:
    validator = Utf8Validator()
    assert validator.decode(0xFF) == Utf8Validator.UTF8_REJECT
    assert validator.decode(0x61) == Utf8Validator.UTF8_REJECT


def test_decode_and_validate_share_one_state() -> None:
    validator = Utf8Validator()
    validator.decode(0xE2)
    assert validator.validate(b"\x82") == (True, False, 1, 1)
    assert validator.decode(0xAC) == Utf8Validator.UTF8_ACCEPT
    assert validator.validate(b"\xac")[0] is False


@pytest.mark.parametrize(("data", "index"), CASES, ids=IDS)
def test_decode_rejects_the_byte_that_cannot_be(data: bytes, index: int) -> None:
    assert decode_all(data) == (False, False, index)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_decode_agrees_with_python_on_every_lead_byte_with_every_kind_of_tail(size: int) -> None:
    interesting = (0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0)
    leads = range(256) if size < 4 else range(0xE0, 0x100)
    wrong = [
        data
        for lead in leads
        for tails in itertools.product(interesting, repeat=size - 1)
        if is_utf8(data := bytes((lead, *tails))) is not (decode_all(data)[:2] == (True, True))
    ]
    assert not wrong


def test_every_code_point_is_valid_and_no_surrogate_is() -> None:
    every = "".join(chr(c) for c in itertools.chain(range(0xD800), range(0xE000, 0x110000)))
    data = every.encode()
    assert Utf8Validator().validate(data) == (True, True, len(data), len(data))
    for surrogate in range(0xD800, 0xE000):
        assert not Utf8Validator().validate(chr(surrogate).encode("utf-8", "surrogatepass"))[0]


@given(st.lists(st.binary(max_size=6), max_size=6))
@example([b"\xed", b"\xa0"])
@example([b"\xe0", b"\x80"])
@example([b"\xf0\x9f", b"", b"\x98\x80"])
def test_any_bytes_in_any_chunks_are_judged_as_byte_by_byte(chunks: list[bytes]) -> None:
    validator = Utf8Validator()
    seen = b""
    for chunk in chunks:
        seen += chunk
        valid, whole, at, total = validator.validate(chunk)
        assert (valid, whole, total) == decode_all(seen)
        if not valid:
            assert at == total - (len(seen) - len(chunk))
            return
        assert at == len(chunk)


@given(st.text(), st.integers(0, 200))
def test_any_text_cut_anywhere_is_valid(text: str, cut: int) -> None:
    validator = Utf8Validator()
    data = text.encode()
    assert validator.validate(data[:cut])[0]
    assert validator.validate(data[cut:])[:2] == (True, True)
