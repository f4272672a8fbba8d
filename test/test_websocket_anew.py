"""A websocket that begins anew, that has no socket, or whose callbacks cannot be called."""

from __future__ import annotations

from typing import Any

import pytest

from test.compressing import LONG, TEXT, Reading, sent
from test.helpers import RecordingSocket, RecordingWebSocket, frame
from ws4py import async_websocket
from ws4py.deflate import PerMessageDeflate
from ws4py.limits import Limits
from ws4py.websocket import WebSocket, check_callbacks


def test_what_was_agreed_on_is_done_and_nothing_else() -> None:
    sock = RecordingSocket()
    ws = WebSocket(sock)
    ws._agree(None, ["permessage-deflate"])
    ws.send(LONG)
    assert sock.sent.endswith(LONG)
    sock.sent.clear()
    ws._agree(PerMessageDeflate(), ["foo"])
    ws.send(LONG)
    assert sock.sent.endswith(LONG)
    sock.sent.clear()
    ws._agree(PerMessageDeflate(), ["foo", "permessage-deflate"])
    ws.send(LONG)
    assert sent(ws, sock, Reading()) == [(TEXT, LONG)]
    ws.terminate()


def test_a_websocket_without_a_socket_ends_when_it_runs() -> None:
    ws = RecordingWebSocket(None)
    ws.run()
    assert ws.all_events() == [("opened",), ("closed", 1006, "Going away")]


def test_opened_is_called_once_however_often_it_runs() -> None:
    sock = RecordingSocket(frame(1, b"x"))
    ws = RecordingWebSocket(sock)
    ws._open()
    ws.run()
    assert [event[0] for event in ws.all_events()] == ["opened", "text", "closed"]


@pytest.mark.parametrize("runs", [False, True])
def test_one_that_connects_again_in_closed_is_left_to_that(runs: bool) -> None:
    class Again(RecordingWebSocket):
        def closed(self, code: int, reason: str | None = None) -> None:
            super().closed(code, reason)
            if self.sock is first:
                self._renew()
                self.sock = second
                if runs:
                    self.run()

    first, second = RecordingSocket(frame(1, b"1")), RecordingSocket(frame(1, b"2"))
    ws = Again(first)
    ws.run()
    texts = [event[1] for event in ws.events.queue if event[0] == "text"]
    assert texts == ([b"1", b"2"] if runs else [b"1"])
    assert second.is_closed is runs
    ws.terminate()


def test_one_that_was_given_up_while_it_was_read_may_connect_again(pair: Any) -> None:
    class Again(RecordingWebSocket):
        limits = Limits(write_timeout=0.1, high_water=10_000_000)

        def received_message(self, message: Any) -> None:
            self.send(bytes(3_000_000), binary=True)

        def closed(self, code: int, reason: str | None = None) -> None:
            super().closed(code, reason)
            if self.sock is ours:
                self._renew()
                self.sock = second

    ours, theirs = pair
    second = RecordingSocket()
    ws = Again(ours)
    theirs.sendall(frame(1, b"go"))
    ws.run()
    assert ws.all_events()[-1] == ("closed", 1006, "the peer took nothing in 0.1 s")
    ws.send("anew")
    assert second.sent == b"\x81\x04anew"
    ws.terminate()


class Plain(WebSocket):
    def received_message(self, message: Any) -> None:
        pass


class Coroutines(async_websocket.WebSocket):
    async def received_message(self, message: Any) -> None:
        pass


class Mistaken(WebSocket):
    async def ponged(self, pong: Any) -> None:  # type: ignore[override]
        pass


def test_callbacks_are_called_by_engines_that_can() -> None:
    check_callbacks(Plain)
    check_callbacks(Plain, is_async=True)
    check_callbacks(Coroutines, is_async=True)


def test_callbacks_that_nobody_would_await_are_refused_by_name() -> None:
    with pytest.raises(TypeError, match="Coroutines needs an engine on asyncio"):
        check_callbacks(Coroutines)
    for is_async in (False, True):
        with pytest.raises(TypeError, match=r"Mistaken\.ponged is a coroutine function"):
            check_callbacks(Mistaken, is_async)
