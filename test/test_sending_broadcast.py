"""Broadcasts to connections that have agreed on compression, and to others."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from test.compressing import (
    AGREED,
    FORGETFUL,
    LONG,
    TEXT,
    Reading,
    agree,
    sent,
)
from test.helpers import RecordingSocket, frame, read_exactly
from ws4py import async_websocket
from ws4py.framing import OPCODE_TEXT
from ws4py.sending import _write_each, broadcast
from ws4py.websocket import WebSocket


def group(*agreements: str | None) -> tuple[list[Any], list[RecordingSocket]]:
    socks = [RecordingSocket() for _ in agreements]
    members = [WebSocket(sock) for sock in socks]
    for member, agreed in zip(members, agreements):
        if agreed is not None:
            agree(member, agreed)
    return members, socks


def test_a_broadcast_is_compressed_once_for_those_that_keep_no_context(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    narrow = FORGETFUL + "; server_max_window_bits=9"
    members, socks = group(None, AGREED, FORGETFUL, FORGETFUL, narrow, FORGETFUL, AGREED)
    made: list[tuple[Any, ...]] = []
    compressobj = zlib.compressobj
    monkeypatch.setattr(zlib, "compressobj", lambda *args: made.append(args) or compressobj(*args))
    for message in (LONG, LONG.decode()):
        broadcast(members, message)
    # For each message: 12 bits once for all that forget, and 9; and one each that is kept.
    assert sorted(args[2] for args in made) == [-12] * 4 + [-9] * 2
    kinds = [OPCODE_TEXT, *[TEXT] * 6]
    for member, sock, kind in zip(members, socks, kinds):
        reading = Reading(member._deflater is None or member._deflater.keeps_context)
        assert sent(member, sock, reading) == [(kind, LONG)] * 2
        member.terminate()


def test_a_broadcast_that_is_not_to_be_compressed_is_not() -> None:
    members, socks = group(None, AGREED, FORGETFUL)
    broadcast(members, LONG, compress=False)
    broadcast(members, (chunk for chunk in (LONG, LONG)), compress=False)
    broadcast(members, b"small")
    for member, sock in zip(members, socks):
        expected = [(OPCODE_TEXT, LONG), (OPCODE_TEXT, LONG * 2), (OPCODE_TEXT, b"small")]
        assert sent(member, sock, Reading()) == expected
        member.terminate()


def test_a_broadcast_goes_through_a_send_that_is_overridden() -> None:
    class Shout(WebSocket):
        def send(self, payload: Any, binary: bool = False) -> None:  # type: ignore[override]
            super().send(payload.upper(), binary)

    sock = RecordingSocket()
    ws = Shout(sock)
    agree(ws, FORGETFUL)
    broadcast([ws], b"abc" * 100)
    assert sent(ws, sock, Reading(False)) == [(TEXT, b"ABC" * 100)]
    ws.terminate()


def test_a_broadcast_to_coroutine_handlers_is_compressed_once_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    members: list[Any] = [async_websocket.WebSocket(RecordingSocket()) for _ in range(3)]
    for member in members:
        agree(member, FORGETFUL)
    made: list[Any] = []
    compressobj = zlib.compressobj
    monkeypatch.setattr(zlib, "compressobj", lambda *args: made.append(args) or compressobj(*args))
    broadcast(members, LONG)
    assert len(made) == 1
    for member in members:
        assert list(Reading(False).feed(bytes(member._transport.sock.sent))) == [(TEXT, LONG)]


def test_a_broadcast_that_a_send_of_the_application_cannot_take_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Old(WebSocket):
        def send(self, payload: Any, binary: bool = False) -> None:  # type: ignore[override]
            super().send(payload, binary)

    ws = Old(RecordingSocket())
    broadcast([ws], LONG, compress=False)
    assert [(each.levelname, each.message) for each in caplog.records] == [
        ("ERROR", "A broadcast did not reach a websocket")
    ]
    assert "compress" in str(caplog.records[0].exc_info)
    ws.terminate()


def test_a_broadcast_of_a_generator_that_is_being_sent_is_refused_as_a_send_is() -> None:
    sock = RecordingSocket()
    ws = WebSocket(sock)

    def chunks() -> Iterator[bytes]:
        for _ in range(3):
            yield LONG
            broadcast([ws], b"between")

    ws.send(chunks())
    assert sent(ws, sock, Reading()) == [(OPCODE_TEXT, LONG * 3)]
    ws.terminate()


def test_those_that_are_plain_are_written_to_and_the_others_returned(pairs: Any) -> None:
    class Shout(WebSocket):
        def send(self, payload: Any, binary: bool = False) -> None:  # type: ignore[override]
            super().send(payload.upper(), binary)

    made = [pairs() for _ in range(5)]
    plain, shout, replaced, closing, queued = members = [
        cls(ours) for cls, (ours, _) in zip([WebSocket, Shout, *[WebSocket] * 3], made)
    ]
    replaced.send = plain.send
    closing.close()
    queued._outgoing = b"waits"
    begun: list[Any] = []
    others = _write_each([*members, None, made], frame(OPCODE_TEXT, b"hello", key=None), begun)
    assert begun == []
    assert len(others) == 6
    assert all(each in others for each in (shout, replaced, closing, queued, None, made))
    assert read_exactly(made[0][1], 7) == frame(OPCODE_TEXT, b"hello", key=None)
    made[0][1].close()
    assert _write_each([plain], frame(OPCODE_TEXT, b"hello", key=None), begun) == []
    assert begun == [plain]
    assert plain._broken
    large = frame(OPCODE_TEXT, bytes(100_000), key=None)
    assert _write_each([replaced], large, begun) == [replaced]
    assert begun == [plain]
    closing.terminate()
