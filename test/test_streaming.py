"""The stream's contract with its owner: when it suspends, what it says, what can be taken."""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Iterable
from typing import Any

import pytest

from test.helpers import KEY, byte_by_byte, frame
from ws4py import streaming
from ws4py.exc import StreamClosed
from ws4py.framing import (
    OPCODE_BINARY,
    OPCODE_CLOSE,
    OPCODE_CONTINUATION,
    OPCODE_PING,
    OPCODE_PONG,
    OPCODE_TEXT,
)
from ws4py.limits import Limits
from ws4py.messaging import (
    BinaryMessage,
    CloseControlMessage,
    PingControlMessage,
    PongControlMessage,
    TextMessage,
)
from ws4py.streaming import Stream

Event = tuple[Any, ...]


class Role:
    """One end of a connection: what it reads is masked, or is not, and chunks come in one way."""

    def __init__(self, name: str, feeding: str = "whole") -> None:
        self.name = name
        self.feeding = feeding
        self.key = KEY if name == "server" else None

    def __repr__(self) -> str:
        return f"{self.name}, {self.feeding}"

    def stream(self, **limits: Any) -> Stream:
        """Make a stream with these limits."""
        stream = Stream(self.name == "client", self.name == "server")
        stream.limits = Limits(**limits)
        return stream

    def frame(self, opcode: int, payload: bytes = b"", fin: int = 1) -> bytes:
        """Return a frame that the other end sends."""
        return frame(opcode, payload, fin, self.key)

    def chunks(self, data: bytes) -> list[bytes]:
        """Cut what the other end sends."""
        if self.feeding == "whole":
            return [data]
        if self.feeding == "byte by byte":
            return byte_by_byte(data)
        return [data + self.frame(OPCODE_BINARY, b"next")[:-1]]

    def events(self, data: bytes, **limits: Any) -> list[Event]:
        """Feed ``data`` to a new stream; return what came out."""
        return drive(self.stream(**limits), self.chunks(data))


ROLES = [Role("server"), Role("client")]
FEEDINGS = ["whole", "byte by byte", "with the beginning of the next frame"]
EVERY_WAY = [Role(name, feeding) for name in ("server", "client") for feeding in FEEDINGS]


def drive(stream: Stream, chunks: Iterable[bytes]) -> list[Event]:
    """Feed ``chunks``, taking exactly one thing at every 0."""
    events = []
    for chunk in chunks:
        wanted = stream.parser.send(chunk)
        while wanted == 0:
            found = take(stream)
            assert len(found) == 1, f"{found} were there at once"
            events += found
            wanted = next(stream.parser)
        assert wanted > 0
    assert take(stream) == []
    return events


def take(stream: Stream) -> list[Event]:
    """Take what is there."""
    found: list[Event] = []
    if stream.has_message:
        found.append(("text" if stream.message.is_text else "binary", stream.message.data))
        stream.message = None
    found += [("ping", ping.data) for ping in stream.pings]
    found += [("pong", pong.data) for pong in stream.pongs]
    found += [("error", error.code) for error in stream.errors]
    for taken in (stream.pings, stream.pongs, stream.errors):
        taken.clear()
    if stream.closing is not None:
        found.append(("close", stream.closing.code, stream.closing.reason))
        stream.closing = None
    return found


def hello(key: bytes | None = KEY) -> bytes:
    return frame(OPCODE_TEXT, b"Hello", 1, key)


def test_the_arguments_of_a_stream_are_the_documented_ones() -> None:
    assert str(inspect.signature(Stream)).partition(" ->")[0] == (
        "(always_mask: 'bool' = False, expect_masking: 'bool' = True)"
    )


def test_a_new_stream_has_nothing_for_its_owner() -> None:
    stream = Stream()
    assert (stream.message, stream.closing, stream.has_message) == (None, None, False)
    assert (stream.pings, stream.pongs, stream.errors) == ([], [], [])
    assert (stream.always_mask, stream.expect_masking, stream.unread) == (False, True, 0)
    assert stream.limits == Limits()


def test_a_stream_keeps_what_it_is_told_about_masks() -> None:
    stream = Stream(always_mask=True, expect_masking=False)
    assert (stream.always_mask, stream.expect_masking) == (True, False)


def test_two_streams_share_no_list() -> None:
    one, other = Stream(), Stream()
    one.parser.send(frame(OPCODE_PING))
    assert (len(one.pings), len(other.pings)) == (1, 0)


def test_the_parser_is_a_generator_that_is_primed_and_kept() -> None:
    stream = Stream()
    assert type(stream.parser) is types.GeneratorType
    assert inspect.getgeneratorstate(stream.parser) == inspect.GEN_SUSPENDED
    assert stream.parser is stream.parser


def test_receiver_makes_another_generator() -> None:
    stream = Stream()
    receiver = stream.receiver()
    assert type(receiver) is types.GeneratorType
    assert next(receiver) == 1
    assert receiver.send(hello()) == 0
    assert stream.message.data == b"Hello"


def test_none_and_nothing_are_tolerated_wherever_the_parser_waits() -> None:
    stream = Stream()
    data = hello() + frame(OPCODE_PING, b"p") + frame(OPCODE_TEXT, b"\xc3", 0)
    data += frame(OPCODE_CONTINUATION, b"\xa9")
    events = []
    for byte in byte_by_byte(data):
        wanted = stream.parser.send(byte)
        events += take(stream)
        for nothing in (None, b"", bytearray()):
            again = stream.parser.send(nothing)
            assert again == (wanted or 1)
    assert events == [("text", b"Hello"), ("ping", b"p"), ("text", "é".encode())]


def test_byte_by_byte_the_parser_wants_what_the_next_field_still_needs() -> None:
    parser = Stream().parser
    wanted = [parser.send(byte) for byte in byte_by_byte(hello())]
    assert wanted == [1, 4, 3, 2, 1, 5, 4, 3, 2, 1, 0]
    assert next(parser) == 1


@pytest.mark.parametrize("size", [1, 125, 126, 65535, 65536, 1 << 20])
def test_once_the_header_has_come_the_parser_wants_the_payload(size: int) -> None:
    stream = Stream()
    data = frame(OPCODE_BINARY, bytes(size))
    header = len(data) - size
    assert stream.parser.send(data[:header]) == size
    assert stream.parser.send(data[header:-1]) == (1 if size > 1 else size)
    assert stream.parser.send(data[-1:]) == 0


def test_a_chunk_may_be_a_bytearray_or_a_megabyte() -> None:
    stream = Stream()
    message = bytes(range(256)) * 4096
    data = frame(OPCODE_BINARY, message) + hello()
    chunks = [bytearray(data[:70_000]), bytearray(data[70_000:])]
    assert drive(stream, chunks) == [("binary", message), ("text", b"Hello")]


def test_the_parser_suspends_with_0_at_every_message_control_messages_included() -> None:
    stream = Stream()
    data = (
        hello()
        + frame(OPCODE_PING, b"1")
        + frame(OPCODE_PONG, b"2")
        + frame(OPCODE_BINARY, b"3")
        + frame(OPCODE_CLOSE, b"\x03\xe8")
    )
    assert stream.parser.send(data) == 0
    assert take(stream) == [("text", b"Hello")]
    assert next(stream.parser) == 0
    assert take(stream) == [("ping", b"1")]
    assert next(stream.parser) == 0
    assert take(stream) == [("pong", b"2")]
    assert next(stream.parser) == 0
    assert take(stream) == [("binary", b"3")]
    assert next(stream.parser) == 0
    assert take(stream) == [("close", 1000, b"")]
    assert next(stream.parser) == 1


def test_the_messages_are_instances_of_the_documented_classes() -> None:
    stream = Stream()
    data = hello() + frame(OPCODE_PING) + frame(OPCODE_PONG) + frame(OPCODE_CLOSE)
    stream.parser.send(data)
    assert type(stream.message) is TextMessage
    for _ in range(3):
        next(stream.parser)
    assert [type(ping) for ping in stream.pings] == [PingControlMessage]
    assert [type(pong) for pong in stream.pongs] == [PongControlMessage]
    assert type(stream.closing) is CloseControlMessage
    other = Stream()
    other.parser.send(frame(OPCODE_BINARY, b"a"))
    assert type(other.message) is BinaryMessage
    next(other.parser)
    other.message = None
    other.parser.send(b"\xff")
    assert [type(error) for error in other.errors] == [CloseControlMessage]


def test_an_untaken_message_is_never_overwritten() -> None:
    stream = Stream()
    assert stream.parser.send(hello() + frame(OPCODE_TEXT, b"second")) == 0
    for _ in range(3):
        assert next(stream.parser) == 0
        assert stream.message.data == b"Hello"
    stream.message = None
    assert next(stream.parser) == 0
    assert stream.message.data == b"second"


def test_an_untaken_message_is_not_overwritten_by_bytes_that_are_sent_either() -> None:
    stream = Stream()
    stream.parser.send(hello())
    for chunk in byte_by_byte(frame(OPCODE_TEXT, b"second") + frame(OPCODE_BINARY, b"third")):
        stream.parser.send(chunk)
        assert stream.message.data == b"Hello"
    stream.message = None
    assert drive(stream, [b""]) == [("text", b"second"), ("binary", b"third")]


def test_what_was_sent_on_top_of_an_untaken_message_comes_after_it() -> None:
    stream = Stream()
    assert stream.parser.send(hello()) == 0
    assert stream.parser.send(frame(OPCODE_TEXT, b"second") + frame(OPCODE_PING, b"3")) == 0
    assert take(stream) == [("text", b"Hello")]
    assert next(stream.parser) == 0
    assert take(stream) == [("text", b"second")]
    assert next(stream.parser) == 0
    assert take(stream) == [("ping", b"3")]


def test_more_bytes_in_place_of_next_continue_first() -> None:
    stream = Stream()
    second = frame(OPCODE_TEXT, b"second")
    assert stream.parser.send(hello() + second[:8]) == 0
    assert take(stream) == [("text", b"Hello")]
    assert stream.parser.send(second[8:] + frame(OPCODE_PONG, b"3")) == 0
    assert take(stream) == [("text", b"second")]
    assert next(stream.parser) == 0
    assert take(stream) == [("pong", b"3")]


def test_an_untaken_message_holds_back_what_follows_but_not_a_ping_before_it() -> None:
    stream = Stream()
    data = hello() + frame(OPCODE_PING, b"p") + frame(OPCODE_TEXT, b"2") + frame(OPCODE_PONG)
    assert stream.parser.send(data) == 0
    assert next(stream.parser) == 0
    assert ([ping.data for ping in stream.pings], stream.message.data) == ([b"p"], b"Hello")
    assert next(stream.parser) == 0
    assert (stream.pongs, stream.message.data) == ([], b"Hello")


def test_an_untaken_message_survives_an_error_and_a_close_behind_it() -> None:
    for end in (b"\xff", frame(OPCODE_CLOSE)):
        stream = Stream()
        stream.parser.send(hello() + end)
        assert next(stream.parser) == 0
        assert (stream.has_message, stream.message.data) == (True, b"Hello")


def test_pings_and_pongs_that_are_not_taken_stay_in_order() -> None:
    stream = Stream()
    stream.parser.send(b"".join(frame(OPCODE_PING, b"%d" % i) for i in range(4)))
    for _ in range(3):
        assert next(stream.parser) == 0
    assert [ping.data for ping in stream.pings] == [b"0", b"1", b"2", b"3"]


def test_has_message_is_false_while_a_message_is_growing() -> None:
    stream = Stream()
    stream.parser.send(frame(OPCODE_TEXT, b"Hel", 0))
    assert (stream.message.data, stream.has_message) == (b"Hel", False)
    assert stream.parser.send(frame(OPCODE_CONTINUATION, b"lo")) == 0
    assert (stream.message.data, stream.has_message) == (b"Hello", True)
    stream.message = None
    assert stream.has_message is False


def test_an_empty_message_is_a_message() -> None:
    stream = Stream()
    assert stream.parser.send(frame(OPCODE_TEXT)) == 0
    assert (stream.has_message, stream.message.data) == (True, b"")
    assert next(stream.parser) == 1
    assert stream.parser.send(frame(OPCODE_TEXT, b"2")) == 0
    assert stream.message.data == b""


def test_at_a_message_unread_counts_what_stands_behind_it() -> None:
    stream = Stream()
    ping = frame(OPCODE_PING, b"p")
    assert stream.parser.send(hello() + ping + b"\x81") == 0
    assert stream.unread == len(ping) + 1
    assert next(stream.parser) == 0
    assert stream.unread == 1
    alone = Stream()
    alone.parser.send(hello())
    assert alone.unread == 0


def test_after_a_close_nothing_is_unread() -> None:
    stream = Stream()
    stream.parser.send(hello() + frame(OPCODE_CLOSE) + hello())
    assert stream.unread > 0
    assert next(stream.parser) == 0
    assert (stream.closing.code, stream.unread) == (1005, 0)


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="counts references")
def test_at_a_message_with_nothing_behind_it_the_parser_holds_no_byte() -> None:
    stream = Stream()
    chunk = hello()
    before = sys.getrefcount(chunk)
    assert stream.parser.send(chunk) == 0
    assert sys.getrefcount(chunk) == before


def test_expect_masking_is_read_for_each_frame() -> None:
    stream = Stream()
    assert drive(stream, [hello()]) == [("text", b"Hello")]
    stream.expect_masking = False
    assert drive(stream, [hello(None)]) == [("text", b"Hello")]
    stream.expect_masking = True
    assert drive(stream, [hello(None)]) == [("error", 1002)]


def test_always_mask_is_read_for_each_frame() -> None:
    stream = Stream()
    assert stream.ping("a") == b"\x89\x01a"
    stream.always_mask = True
    assert stream.ping("a")[:2] == b"\x89\x81"
    assert stream.pong("a")[:2] == b"\x8a\x81"


def test_the_limits_are_read_for_each_frame() -> None:
    stream = Stream()
    assert drive(stream, [hello()]) == [("text", b"Hello")]
    stream.limits = Limits(max_message_size=4)
    assert drive(stream, [hello()]) == [("error", 1009)]


def test_the_limits_of_a_class_are_those_of_its_streams() -> None:
    class Small(Stream):
        limits = Limits(max_message_size=4)

    assert drive(Small(), [hello()]) == [("error", 1009)]
    assert drive(Stream(), [hello()]) == [("text", b"Hello")]


def test_text_message_and_binary_message_make_messages() -> None:
    stream = Stream()
    text, binary = stream.text_message("é"), stream.binary_message(b"\xff")
    assert (type(text), text.data) == (TextMessage, b"\xc3\xa9")
    assert (type(binary), binary.data) == (BinaryMessage, b"\xff")


def test_close_makes_a_close_message_to_be_built() -> None:
    stream = Stream()
    message = stream.close(1001, "bye")
    assert type(message) is CloseControlMessage
    assert message.single() == b"\x88\x05\x03\xe9bye"
    assert message.single(mask=True)[1] == 0x85
    assert stream.close().single() == b"\x88\x02\x03\xe8"
    assert stream.closing is None


@pytest.mark.parametrize("data", ["Hello", b"Hello", bytearray(b"Hello")], ids=repr)
def test_ping_and_pong_make_the_bytes_of_frames(data: str | bytes | bytearray) -> None:
    stream = Stream()
    assert stream.ping(data) == bytes.fromhex("890548656c6c6f")
    assert stream.pong(data) == bytes.fromhex("8a0548656c6c6f")


def test_ping_and_pong_are_empty_by_default() -> None:
    assert (Stream().ping(), Stream().pong()) == (b"\x89\x00", b"\x8a\x00")


def test_a_ping_or_pong_of_more_than_125_bytes_is_a_value_error() -> None:
    for build in (Stream().ping, Stream().pong):
        assert len(build(b"x" * 125)) == 127
        with pytest.raises(ValueError, match="125"):
            build(b"x" * 126)


def test_what_one_stream_builds_the_other_end_reads() -> None:
    client, server = ROLES[1].stream(), ROLES[0].stream()
    for sender, reader in ((client, server), (server, client)):
        mask = sender.always_mask
        wire = sender.text_message("é").single(mask) + sender.ping("1") + sender.pong("2")
        wire += sender.binary_message(b"\xff").single(mask) + sender.close(1001, "x").single(mask)
        assert drive(reader, [wire]) == [
            ("text", "é".encode()),
            ("ping", b"1"),
            ("pong", b"2"),
            ("binary", b"\xff"),
            ("close", 1001, b"x"),
        ]


def test_cleanup_drops_everything_but_the_close() -> None:
    stream = Stream()
    stream.parser.send(hello() + frame(OPCODE_PING) + frame(OPCODE_PONG) + frame(OPCODE_CLOSE))
    while next(stream.parser) == 0:
        pass
    closing = stream.closing
    stream._cleanup()
    assert (stream.message, stream.has_message, stream._parser) == (None, False, None)
    assert not stream.pings
    assert not stream.pongs
    assert not stream.errors
    assert stream.closing is closing is not None


def test_a_stream_that_was_cleaned_up_takes_no_more_bytes() -> None:
    stream = Stream()
    parser = stream.parser
    stream._cleanup()
    with pytest.raises(StreamClosed, match="cleaned up"):
        stream.parser.send(hello())
    with pytest.raises(StopIteration):
        parser.send(hello())


def test_a_stream_can_be_cleaned_up_twice_and_at_any_point() -> None:
    for data in (b"", b"\x81", hello()[:-1], hello(), b"\xff", frame(OPCODE_CLOSE)):
        stream = Stream()
        stream.parser.send(data)
        stream._cleanup()
        stream._cleanup()


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4999])
def test_a_code_that_may_be_sent_is_valid(code: int) -> None:
    assert streaming.is_valid_closing_code(code)


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2999, 5000, 65535])
def test_a_code_that_may_not_be_sent_is_not_valid(code: int) -> None:
    assert not streaming.is_valid_closing_code(code)


def test_the_valid_closing_codes_are_a_list_that_programs_can_read() -> None:
    assert isinstance(streaming.VALID_CLOSING_CODES, list)
    assert {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011} <= {
        *streaming.VALID_CLOSING_CODES
    }


def test_a_validator_that_a_program_put_into_the_module_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Suspicious:
        def validate(self, data: bytes) -> tuple[bool, bool, int, int]:
            return b"e" not in data, True, 0, 0

    monkeypatch.setattr(streaming, "Utf8Validator", Suspicious)
    assert drive(Stream(), [hello()]) == [("error", 1007)]
    assert drive(Stream(), [frame(OPCODE_TEXT, b"a")]) == [("text", b"a")]
