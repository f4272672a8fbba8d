"""Messages: their payload, their text, their length, and the frames they become."""

from __future__ import annotations

import copy
import inspect
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from test.helpers import TIMEOUT
from ws4py import messaging
from ws4py.framing import OPCODE_BINARY, OPCODE_TEXT, Frame
from ws4py.messaging import (
    BinaryMessage,
    CloseControlMessage,
    Message,
    PingControlMessage,
    PongControlMessage,
    TextMessage,
)

PROBES = [PingControlMessage, PongControlMessage]


def type_name(value: object) -> str:
    return type(value).__name__


def parsed(wire: bytes) -> Frame:
    """Parse one frame, and unmask its body."""
    frame = Frame()
    assert frame.parser.send(wire) == 0
    if frame.masking_key:
        frame.body = bytes(frame.unmask(frame.body))
    return frame


def test_the_module_exports_the_documented_names() -> None:
    assert set(messaging.__all__) == {
        "Message",
        "TextMessage",
        "BinaryMessage",
        "CloseControlMessage",
        "PingControlMessage",
        "PongControlMessage",
    }


@pytest.mark.parametrize(
    ("cls", "parameters"),
    [
        (Message, {"opcode": inspect.Parameter.empty, "data": b"", "encoding": "utf-8"}),
        (TextMessage, {"text": None}),
        (BinaryMessage, {"bytes": None}),
        (CloseControlMessage, {"code": 1000, "reason": ""}),
        (PingControlMessage, {"data": None}),
        (PongControlMessage, {"data": inspect.Parameter.empty}),
    ],
)
def test_the_arguments_are_the_documented_ones(cls: type, parameters: dict) -> None:
    found = inspect.signature(cls).parameters
    assert {name: parameter.default for name, parameter in found.items()} == parameters


@pytest.mark.parametrize("cls", [TextMessage, BinaryMessage, CloseControlMessage, *PROBES])
def test_every_kind_is_a_message(cls: type) -> None:
    assert issubclass(cls, Message)


@pytest.mark.parametrize("data", ["é€", "é€".encode(), bytearray("é€".encode())], ids=repr)
def test_data_is_bytes_whatever_it_was_made_of(data: str | bytes | bytearray) -> None:
    message = Message(OPCODE_TEXT, data)
    assert type(message.data) is bytes
    assert message.data == "é€".encode()


def test_a_subclass_of_bytes_becomes_plain_bytes() -> None:
    class Special(bytes):
        pass

    assert type(BinaryMessage(Special(b"a")).data) is bytes


def test_a_message_does_not_follow_the_bytearray_it_was_made_of() -> None:
    data = bytearray(b"abc")
    message = BinaryMessage(data)
    data[0] = 0
    assert message.data == b"abc"


def test_a_message_keeps_its_opcode_and_its_encoding() -> None:
    message = Message(OPCODE_TEXT, "é", "latin-1")
    assert (message.opcode, message.encoding, message.data) == (OPCODE_TEXT, "latin-1", b"\xe9")
    assert str(message) == "é"


def test_the_encoding_is_utf_8_by_default() -> None:
    assert Message(OPCODE_TEXT).encoding == TextMessage("").encoding == "utf-8"
    assert BinaryMessage(b"").encoding is None


def test_a_message_is_empty_by_default() -> None:
    assert Message(OPCODE_TEXT).data == b""


@pytest.mark.parametrize("data", [None, 5, 1.5, ["a"], memoryview(b"a")], ids=type_name)
def test_data_of_another_type_is_a_type_error_that_names_it(data: object) -> None:
    for make in (TextMessage, BinaryMessage, PingControlMessage, PongControlMessage):
        with pytest.raises(TypeError, match=type(data).__name__):
            make(data)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=type(data).__name__):
        Message(OPCODE_BINARY, data)  # type: ignore[arg-type]


@pytest.mark.parametrize("cls", [TextMessage, BinaryMessage, PingControlMessage])
def test_a_message_of_nothing_at_all_is_a_type_error(cls: type) -> None:
    with pytest.raises(TypeError):
        cls()


def test_text_without_an_encoding_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="encoding"):
        Message(OPCODE_BINARY, "text", None)
    with pytest.raises(TypeError, match="encoding"):
        BinaryMessage("text")


def test_text_and_binary_messages_say_what_they_are() -> None:
    assert (TextMessage("a").is_text, TextMessage("a").is_binary) == (True, False)
    assert (BinaryMessage(b"a").is_text, BinaryMessage(b"a").is_binary) == (False, True)
    assert (TextMessage("a").opcode, BinaryMessage(b"a").opcode) == (OPCODE_TEXT, OPCODE_BINARY)


def test_only_text_and_binary_messages_say_so() -> None:
    for message in (CloseControlMessage(), PingControlMessage(b""), Message(OPCODE_TEXT)):
        assert not hasattr(message, "is_text")
        assert not hasattr(message, "is_binary")


def test_the_length_of_a_text_is_counted_in_characters() -> None:
    assert len(TextMessage("é€\U0001f600")) == 3


def test_the_length_of_a_binary_message_is_counted_in_bytes() -> None:
    assert len(BinaryMessage("é€".encode())) == 5


def test_the_length_of_a_reason_and_a_ping_is_counted_in_characters() -> None:
    assert len(CloseControlMessage(1000, "Grüße")) == 5
    assert len(PingControlMessage("é€")) == 2


@pytest.mark.parametrize("cls", PROBES)
def test_a_binary_ping_has_a_length_and_a_text(cls: type) -> None:
    assert len(cls(b"\xff\xfe")) == 2
    assert str(cls(b"\xffa")) == "\ufffda"


def test_an_empty_message_is_falsy_but_not_none() -> None:
    assert not TextMessage("")
    assert not BinaryMessage(b"")
    assert TextMessage("a")


@pytest.mark.parametrize("text", ["", "abc", "é€\U0001f600\x00"])
def test_the_text_of_a_message_is_its_str(text: str) -> None:
    message = TextMessage(text)
    assert str(message) == message.__unicode__() == text
    assert str(TextMessage(text.encode())) == text


def test_the_str_of_a_binary_message_is_its_repr() -> None:
    message = BinaryMessage(b"\xff\x00")
    assert str(message) == repr(message) == message.__unicode__()
    assert "BinaryMessage" in repr(message)
    assert r"\xff\x00" in repr(message)


def test_a_repr_names_the_class_and_is_short() -> None:
    assert repr(TextMessage("hi")) == "<TextMessage b'hi'>"
    assert len(repr(TextMessage("x" * 10_000))) < 100


def test_a_message_is_not_completed_until_it_is_said_to_be() -> None:
    message = TextMessage("a")
    assert message.completed is False
    message.completed = True
    assert message.completed is True
    assert TextMessage("b").completed is False


@pytest.mark.parametrize(
    "message", [CloseControlMessage(), PingControlMessage(b""), PongControlMessage(b"")], ids=repr
)
def test_a_control_message_is_always_complete(message: Message) -> None:
    assert message.completed is True


@pytest.mark.parametrize("data", [b"\xc3\xa9", bytearray(b"\xc3\xa9"), "é"], ids=repr)
def test_extend_appends_bytes_bytearrays_and_text(data: str | bytes | bytearray) -> None:
    message = TextMessage("a")
    message.extend(data)
    message.extend(data)
    assert message.data == "aéé".encode()
    assert type(message.data) is bytes
    assert (str(message), len(message)) == ("aéé", 3)


def test_a_message_can_be_read_and_extended_again() -> None:
    message = BinaryMessage(b"a")
    for _ in range(3):
        before = message.data
        message.extend(b"b")
        assert message.data == before + b"b"
        assert len(message) == len(before) + 1


@pytest.mark.parametrize("data", [None, 5, ["a"]], ids=repr)
def test_extend_refuses_another_type_and_changes_nothing(data: object) -> None:
    message = BinaryMessage(b"a")
    with pytest.raises(TypeError):
        message.extend(data)  # type: ignore[arg-type]
    assert message.data == b"a"


def test_a_binary_message_cannot_be_extended_with_text() -> None:
    with pytest.raises(TypeError):
        BinaryMessage(b"a").extend("text")


def test_a_name_that_it_does_not_have_is_told() -> None:
    with pytest.raises(AttributeError, match="'TextMessage' object has no attribute 'text'"):
        _ = TextMessage("a").text  # type: ignore[attr-defined]


def test_short_pieces_of_a_message_are_kept_together_and_long_ones_as_they_are() -> None:
    message = BinaryMessage(b"a")
    long = bytes(64 * 1024)
    for piece in (b"b", b"c", b"d", long, b"e", b"f"):
        message.extend(piece)
    assert message._pieces == [b"a", b"bcd", long, b"ef"]
    assert message._pieces[2] is long
    assert message.data == b"abcd" + long + b"ef"


@given(st.lists(st.binary(max_size=20) | st.just(bytes(20_000)), max_size=8))
def test_a_message_that_grew_is_what_it_was_extended_with(pieces: list[bytes]) -> None:
    message = BinaryMessage(b"")
    for number, piece in enumerate(pieces):
        message.extend(piece)
        if number % 3 == 2:
            assert message.data == b"".join(pieces[: number + 1])
    assert message.data == b"".join(pieces)


def test_single_is_one_frame_with_fin() -> None:
    assert TextMessage("Hello").single() == bytes.fromhex("810548656c6c6f")
    assert BinaryMessage(b"Hello").single() == bytes.fromhex("820548656c6c6f")
    assert Message(OPCODE_TEXT, "Hello").single() == bytes.fromhex("810548656c6c6f")


def test_single_can_be_masked() -> None:
    wire = TextMessage("Hello").single(mask=True)
    assert len(wire) == 11
    assert wire[:2] == b"\x81\x85"
    assert parsed(wire).body == b"Hello"


def test_each_masked_frame_has_a_new_key_of_four_bytes() -> None:
    message = TextMessage("Hello")
    keys = {parsed(message.single(mask=True)).masking_key for _ in range(20)}
    assert len(keys) > 15
    assert {len(key) for key in keys} == {4}


@pytest.mark.parametrize(
    ("first", "last", "byte"),
    [(True, False, 0x01), (False, False, 0x00), (False, True, 0x80), (True, True, 0x81)],
)
@pytest.mark.parametrize("mask", [False, True])
def test_a_fragment_has_the_opcode_if_first_and_fin_if_last(
    first: bool, last: bool, byte: int, mask: bool
) -> None:
    wire = TextMessage("Hello").fragment(first=first, last=last, mask=mask)
    assert type(wire) is bytes
    assert wire[0] == byte
    assert bool(wire[1] & 0x80) is mask
    assert parsed(wire).body == b"Hello"


def test_a_fragment_is_by_default_one_in_the_middle_and_not_masked() -> None:
    assert BinaryMessage(b"a").fragment() == b"\x00\x01a"


def test_a_message_that_grew_can_be_built() -> None:
    message = TextMessage("Hel")
    message.extend("lo")
    assert message.single() == bytes.fromhex("810548656c6c6f")


def test_a_large_message_is_built_in_one_frame() -> None:
    data = bytes(1 << 20)
    assert parsed(BinaryMessage(data).single(mask=True)).body == data


def test_a_close_message_carries_its_code_and_its_reason() -> None:
    message = CloseControlMessage(1001, "bye")
    assert (message.code, message.reason, str(message)) == (1001, b"bye", "bye")
    assert message.data == b"\x03\xe9bye"
    assert message.single() == b"\x88\x05\x03\xe9bye"


def test_a_close_message_is_normal_by_default() -> None:
    message = CloseControlMessage()
    assert (message.code, message.reason) == (1000, b"")
    assert message.single() == b"\x88\x02\x03\xe8"


@pytest.mark.parametrize("code", [None, 0, 1005])
def test_a_close_message_without_a_code_is_empty_on_the_wire(code: int | None) -> None:
    message = CloseControlMessage(code, "why")
    assert message.single() == b"\x88\x00"
    assert message.code == code


@pytest.mark.parametrize("code", [1, 999, 65535])
def test_a_code_of_two_bytes_is_built_whether_it_is_allowed_or_not(code: int) -> None:
    assert CloseControlMessage(code).data == code.to_bytes(2, "big")


@pytest.mark.parametrize("code", [-1, 65536, 70_000])
def test_a_code_that_two_bytes_cannot_hold_is_a_value_error(code: int) -> None:
    with pytest.raises(ValueError, match=str(code)):
        CloseControlMessage(code)


def test_a_close_message_may_have_no_reason() -> None:
    message = CloseControlMessage(1000, None)
    assert (message.reason, str(message), len(message)) == (None, "", 0)
    assert message.single() == b"\x88\x02\x03\xe8"


@pytest.mark.parametrize("reason", [b"bye", bytearray(b"bye")], ids=repr)
def test_a_reason_is_bytes_whatever_it_was_made_of(reason: bytes | bytearray) -> None:
    message = CloseControlMessage(1000, reason)
    assert type(message.reason) is bytes
    assert message.reason == b"bye"


@pytest.mark.parametrize("reason", [5, ["a"], [1, 2], 1.5], ids=repr)
def test_a_reason_of_another_type_is_a_type_error(reason: object) -> None:
    with pytest.raises(TypeError):
        CloseControlMessage(1000, reason)  # type: ignore[arg-type]


@pytest.mark.parametrize("reason", ["x" * 123, "é" * 61 + "x", "€" * 41], ids=repr)
def test_a_reason_of_exactly_123_bytes_is_kept(reason: str) -> None:
    message = CloseControlMessage(1000, reason)
    assert str(message) == reason
    assert len(message.data) == 125


@pytest.mark.parametrize(
    ("reason", "kept"),
    [
        ("x" * 124, "x" * 123),
        ("é" * 62, "é" * 61),
        ("x" + "é" * 61 + "y", "x" + "é" * 61),
        ("€" * 42, "€" * 41),
        ("x" + "€" * 41, "x" + "€" * 40),
        ("xx" + "€" * 41, "xx" + "€" * 40),
        ("\U0001f600" * 31, "\U0001f600" * 30),
        ("x" * 10_000, "x" * 123),
    ],
)
def test_a_longer_reason_is_cut_to_123_bytes_at_a_character(reason: str, kept: str) -> None:
    message = CloseControlMessage(1000, reason)
    assert str(message) == kept
    assert message.data == b"\x03\xe8" + kept.encode()
    assert parsed(message.single(mask=True)).payload_length <= 125


@given(st.text(max_size=200))
def test_any_reason_fits_into_a_frame_and_loses_less_than_a_character(reason: str) -> None:
    message = CloseControlMessage(1000, reason)
    assert reason.startswith(str(message))
    assert len(message.data) <= 125
    if str(message) != reason:
        following = reason[len(str(message))]
        assert len(message.data) + len(following.encode()) > 125


@pytest.mark.parametrize("cls", PROBES)
def test_a_ping_and_a_pong_carry_125_bytes_at_most(cls: type) -> None:
    assert cls(b"x" * 125).data == b"x" * 125
    assert cls("é" * 62).data == "é".encode() * 62
    with pytest.raises(ValueError, match=r"125 bytes and not 126"):
        cls(b"x" * 126)
    with pytest.raises(ValueError, match=r"125 bytes and not 126"):
        cls("é" * 63)


def test_pings_and_pongs_have_their_opcodes_on_the_wire() -> None:
    assert PingControlMessage("Hello").single() == bytes.fromhex("890548656c6c6f")
    assert PongControlMessage(bytearray(b"Hello")).single() == bytes.fromhex("8a0548656c6c6f")
    assert PongControlMessage(b"").single() == b"\x8a\x00"


def test_several_threads_may_be_the_first_to_ask_for_what_has_grown() -> None:
    pieces = [bytes([n]) * (1 << 20) for n in range(8)]
    for _ in range(5):
        message = BinaryMessage(b"")
        for piece in pieces:
            message.extend(piece)
        start = threading.Barrier(4)
        seen: list[bytes] = []

        def read(message: BinaryMessage = message, start: Any = start, seen: Any = seen) -> None:
            start.wait(TIMEOUT)
            seen.append(message.data)

        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(TIMEOUT)
        assert seen == [b"".join(pieces)] * 4


def test_what_is_set_while_a_message_grows_replaces_what_came_before() -> None:
    message = BinaryMessage(b"a")
    message.extend(b"b")
    message.data = b"new"
    message.extend(b"X")
    assert message.data == b"newX"


def test_a_copy_grows_by_itself() -> None:
    message = BinaryMessage(b"a")
    message.extend(b"b")
    other = copy.copy(message)
    other.extend(b"c")
    assert (message.data, other.data) == (b"ab", b"abc")


def test_a_message_that_another_thread_has_just_joined_is_not_joined_again() -> None:
    message = TextMessage("a")
    message.extend("b")
    assert message.data == b"ab"
    assert message.__getattr__("data") == b"ab"
