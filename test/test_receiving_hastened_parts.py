"""Messages that come in pieces, where reading them is compiled."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from test.helpers import KEY, frame
from ws4py.limits import Limits
from ws4py.masking import speedups
from ws4py.websocket import WebSocket

TEXT, BINARY = 1, 2
LONG = bytes(range(32, 127)) * 4000  # 380 000 bytes


class Keeps(WebSocket):
    """Keeps what it receives."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.got: list[tuple[bytes, bool]] = []

    def received_message(self, message: Any) -> None:
        assert message.completed
        self.got.append((message.data, message.is_text))


class KeepsAsClient(Keeps):
    _is_client = True


class Fed:
    """A websocket that nobody reads but the test."""

    def __init__(self, ws: Keeps, peer: Any) -> None:
        self.ws = ws
        self.peer = peer

    def frame(self, opcode: int, payload: bytes) -> bytes:
        return frame(opcode, payload, key=None if self.ws._is_client else KEY)

    def feed(self, data: bytes, size: int = 50_000) -> bool:
        """Send ``size`` bytes at a time, and read them; return what ``once`` says last."""
        going = True
        for start in range(0, len(data), size):
            self.peer.sendall(data[start : start + size])
            while going and self.ws._transport.wait(True, False, 0)[0]:  # type: ignore[union-attr]
                going = self.ws.once()
        return going


@pytest.fixture(params=[Keeps, KeepsAsClient])
def fed(pair: Any, request: Any) -> Iterator[Fed]:
    """One that has read a message already, so that all that is looked up has been."""
    ours, theirs = pair
    ours.setblocking(False)
    fed = Fed(request.param(ours), theirs)
    fed.feed(fed.frame(TEXT, b"first"))
    assert fed.ws.got.pop() == (b"first", True)
    yield fed
    fed.ws.terminate()


@pytest.mark.parametrize("size", [1_999, 65_535, 65_536, 65_537, 100_000])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_pieces_of_any_size_become_the_message(fed: Fed, opcode: int, size: int) -> None:
    payloads = [LONG, b"short", b"\x7f" * 65_536, LONG[1:], b"", LONG[2:300_001]]
    assert fed.feed(b"".join(fed.frame(opcode, each) for each in payloads), size)
    assert fed.ws.got == [(each, opcode == TEXT) for each in payloads]
    assert not fed.ws._wanted


@pytest.mark.parametrize("cut", [1, 2, 9, 10, 11, 13, 14, 15, 65_536])
def test_a_header_that_is_cut_anywhere(fed: Fed, cut: int) -> None:
    whole = fed.frame(BINARY, LONG)
    assert fed.feed(whole[:cut])
    assert fed.feed(whole[cut:])
    assert fed.ws.got == [(LONG, False)]


@pytest.mark.parametrize("at", [0, 1, 49_985, 49_989, 200_001, 379_998])
def test_text_beyond_ascii(fed: Fed, at: int) -> None:
    text = LONG[:at] + "ä".encode() + LONG[at + 2 :]
    assert fed.feed(fed.frame(TEXT, text) + fed.frame(TEXT, b"next"))
    assert fed.ws.got == [(text, True), (b"next", True)]


@pytest.mark.parametrize("at", [0, 100_000])
def test_what_is_no_text_is_refused_before_all_of_it_has_come(fed: Fed, at: int) -> None:
    whole = fed.frame(TEXT, LONG[:at] + b"\xff" + LONG)
    assert fed.feed(whole[: at + 1000])
    assert fed.ws.close_sent
    assert fed.ws.got == []


def test_who_is_given_the_rest_by_others_takes_it(fed: Fed) -> None:
    whole = fed.frame(TEXT, LONG) + fed.frame(TEXT, b"next")
    assert fed.feed(whole[:200_000])
    assert fed.ws.process(whole[200_000:])
    assert fed.ws.got == [(LONG, True), (b"next", True)]


def test_a_piece_that_somebody_has_does_not_change(fed: Fed) -> None:
    whole = fed.frame(BINARY, LONG)
    assert fed.feed(whole[:100_000])
    held = fed.ws._chunk
    assert held in (None, whole[:100_000])
    assert fed.feed(whole[100_000:])
    assert held in (None, whole[:100_000])
    assert fed.ws.got == [(LONG, False)]


def test_limits_count_when_the_header_comes(fed: Fed) -> None:
    whole = fed.frame(BINARY, LONG)
    assert fed.feed(whole[:100_000])
    fed.ws.limits = Limits(max_message_size=1000)
    assert fed.feed(whole[100_000:])
    assert fed.ws.got == [(LONG, False)]
    assert fed.feed(whole[:100])
    assert fed.ws.close_sent


def test_no_limit_of_size_at_all(fed: Fed) -> None:
    fed.ws.limits = Limits(max_message_size=None)
    assert fed.feed(fed.frame(TEXT, LONG))
    assert fed.ws.got == [(LONG, True)]


def test_a_small_reading_size_is_kept(fed: Fed) -> None:
    fed.ws.reading_buffer_size = 1000
    assert fed.feed(fed.frame(TEXT, LONG))
    assert fed.ws.got == [(LONG, True)]


def test_the_end_in_the_middle_leaves_nothing(fed: Fed) -> None:
    assert fed.feed(fed.frame(BINARY, LONG)[:200_000])
    fed.peer.close()
    assert not fed.ws.once()
    fed.ws.terminate()
    assert fed.ws._chunk is None
    assert fed.ws.got == []


#: Sizes of messages that come together, so that a read ends within one of them.
STREAMS = {
    "16 B": [16] * 12_000,
    "125 B": [125] * 1500,
    "1 KiB": [1024] * 200,
    "16 KiB": [16_384] * 13,
    "various": [16_384, 3, 126, 0, 65_535, 70_000, 125, 30_001] * 3,
}


@pytest.mark.parametrize("size", [4_099, 65_536, 100_000])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("sizes", STREAMS.values(), ids=list(STREAMS))
def test_reads_that_end_within_a_message(
    fed: Fed, sizes: list[int], opcode: int, size: int
) -> None:
    payloads = [LONG[at : at + length] for at, length in enumerate(sizes)]
    assert fed.feed(b"".join(fed.frame(opcode, each) for each in payloads), size)
    assert fed.ws.got == [(each, opcode == TEXT) for each in payloads]
    assert fed.ws._chunk is None


@pytest.mark.parametrize("behind", [2, 5, 6, 7, 8, 1000])
def test_what_comes_behind_messages_is_kept_at_any_length(fed: Fed, behind: int) -> None:
    last = fed.frame(TEXT, LONG[:2000])
    assert fed.feed(2 * fed.frame(TEXT, b"before") + last[:behind])
    assert fed.ws.got == 2 * [(b"before", True)]
    assert fed.feed(last[behind:] + fed.frame(TEXT, b"next"))
    assert fed.ws.got[2:] == [(LONG[:2000], True), (b"next", True)]


def test_compiled_what_has_come_of_a_message_is_kept_past_the_parser(fed: Fed) -> None:
    for _ in range(2):
        last = fed.frame(TEXT, LONG[:2000])
        assert fed.feed(fed.frame(TEXT, b"before") + last[:1500])
        assert fed.ws._chunk == (None if speedups is None else last[:1500])
        assert fed.feed(last[1500:])
        assert fed.ws.got.pop() == (LONG[:2000], True)


WRONG = {
    "unmasked": lambda fed: frame(BINARY, LONG[:2000], key=KEY if fed.ws._is_client else None),
    "16 bits for a short length": lambda fed: _lengthened(fed, 100, b"\x7e\0\x64"),
    "64 bits for a short length": lambda fed: _lengthened(fed, 2000, b"\x7f\0\0\0\0\0\0\x07\xd0"),
    "a reserved bit": lambda fed: b"\xc2" + fed.frame(BINARY, LONG[:2000])[1:],
    "an unknown opcode": lambda fed: b"\x83" + fed.frame(BINARY, LONG[:2000])[1:],
}


def _lengthened(fed: Fed, length: int, field: bytes) -> bytes:
    whole = fed.frame(BINARY, LONG[:length])
    mask_bit = whole[1] & 0x80
    rest = whole[2 if length < 126 else 4 :]
    return bytes([whole[0], field[0] | mask_bit]) + field[1:] + rest


@pytest.mark.parametrize("wrong", WRONG.values(), ids=list(WRONG))
def test_what_breaks_the_protocol_behind_messages(fed: Fed, wrong: Callable[[Fed], bytes]) -> None:
    assert fed.feed(fed.frame(TEXT, b"before") + wrong(fed)[:80])
    assert fed.ws.got == [(b"before", True)]
    assert fed.ws.close_sent


@pytest.mark.parametrize("size", [0, 100, 101, 2000, 2001, 70_000])
@pytest.mark.parametrize("beyond", ["ä" * 6, "a" * 12])
def test_a_key_that_makes_bytes_look_like_others(fed: Fed, beyond: str, size: int) -> None:
    """Every bit that tells ASCII from other bytes is another one with the key's other half."""
    key = None if fed.ws._is_client else b"\x80\xff\0\x7f"
    last = beyond.encode()
    for payload in (LONG[:size] + last, LONG[:size] + b"\xff" * len(last)):
        whole = frame(TEXT, payload, key=key)
        assert fed.feed(fed.frame(TEXT, b"before") + whole[: -len(last)])
        assert fed.feed(whole[-len(last) :])
    assert fed.ws.got == [(b"before", True), (LONG[:size] + last, True), (b"before", True)]
    assert fed.ws.close_sent


@pytest.mark.parametrize("at", [0, 1000, 1999])
def test_a_byte_that_is_no_text_behind_messages(fed: Fed, at: int) -> None:
    last = fed.frame(TEXT, LONG[:at] + b"\xff" + LONG[: 2000 - at])
    assert fed.feed(fed.frame(TEXT, b"before") + last[:1500])
    assert fed.feed(last[1500:])
    assert fed.ws.got == [(b"before", True)]
    assert fed.ws.close_sent


def test_answers_do_not_wait_for_a_message_that_has_begun(fed: Fed) -> None:
    fed.ws.received_message = lambda message: fed.ws.send(message.data)  # type: ignore[method-assign]
    assert fed.feed(3 * fed.frame(TEXT, b"ask") + fed.frame(TEXT, LONG[:2000])[:1000])
    masked = fed.ws._is_client
    fed.peer.settimeout(5)
    assert len(fed.peer.recv(4096)) == 3 * (len(b"ask") + (6 if masked else 2))


class Acts(Keeps):
    """Does something with the first message."""

    def received_message(self, message: Any) -> None:
        super().received_message(message)
        if message.data == b"act":
            self.act()

    def act(self) -> None: ...


@pytest.fixture
def acting(pair: Any) -> Iterator[Fed]:
    ours, theirs = pair
    ours.setblocking(False)
    fed = Fed(Acts(ours), theirs)
    yield fed
    fed.ws.terminate()


def test_limits_that_a_callback_sets_count_for_what_is_behind(acting: Fed) -> None:
    ws: Any = acting.ws
    ws.act = lambda: setattr(ws, "limits", Limits(max_message_size=1000))
    assert acting.feed(acting.frame(TEXT, b"act") + acting.frame(TEXT, LONG[:2000])[:1500])
    assert ws.close_sent
    assert ws.got == [(b"act", True)]


def test_a_callback_that_closes_does_not_lose_what_is_behind(acting: Fed) -> None:
    ws: Any = acting.ws
    ws.act = ws.close
    last = acting.frame(TEXT, LONG[:2000])
    assert acting.feed(acting.frame(TEXT, b"act") + last[:1500])
    assert acting.feed(last[1500:])
    assert ws.got == [(b"act", True), (LONG[:2000], True)]


def test_a_callback_that_ends_the_connection_leaves_nothing(acting: Fed) -> None:
    ws: Any = acting.ws
    ws.act = ws.close_connection
    acting.peer.sendall(acting.frame(TEXT, b"act") + acting.frame(TEXT, LONG[:2000])[:1500])
    ws.once()
    assert ws._chunk is None
    assert ws.got == [(b"act", True)]


def test_a_callback_that_fails_is_the_last_one(acting: Fed) -> None:
    ws: Any = acting.ws
    ws.act = lambda: 1 / 0
    last = acting.frame(TEXT, LONG[:2000])
    acting.feed(acting.frame(TEXT, b"act") + last[:1500])
    acting.feed(last[1500:])
    assert ws.got == [(b"act", True)]
    assert ws.close_sent


def test_a_callback_that_reads_finds_what_is_behind(acting: Fed) -> None:
    ws: Any = acting.ws
    last = acting.frame(TEXT, LONG[:2000])

    def act() -> None:
        acting.peer.sendall(last[1500:])
        assert ws._transport.wait(True, False, 5)[0]
        assert ws.once()

    ws.act = act
    assert acting.feed(acting.frame(TEXT, b"act") + last[:1500])
    assert ws.got == [(b"act", True), (LONG[:2000], True)]


def _memory_of(act: Callable[[], object]) -> tuple[int, int]:
    """Return how many bytes are held afterwards, and how many were meanwhile, at most."""
    tracemalloc.start()
    try:
        act()
        return tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()


def test_what_is_only_announced_is_not_allocated(fed: Fed) -> None:
    whole = fed.frame(BINARY, bytes(15_000_000))
    held, peak = _memory_of(lambda: fed.feed(whole[:100]))
    assert held < 10_000
    assert peak < 300_000
    assert _memory_of(lambda: fed.feed(whole[100:70_000]))[1] < 1_000_000
    assert fed.ws.got == []


def test_messages_that_are_taken_leave_nothing_behind(fed: Fed) -> None:
    def take() -> None:
        for opcode in (TEXT, BINARY) * 5:
            assert fed.feed(fed.frame(opcode, LONG))
            fed.ws.got.clear()

    take()
    tracemalloc.start()
    try:
        take()
        assert tracemalloc.get_traced_memory()[0] < len(LONG)
    finally:
        tracemalloc.stop()
