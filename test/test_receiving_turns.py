"""Who sends much at once leaves others their turns."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from test.aio import TEXT, on_loops, peer_of, serving
from test.aio import eventually as eventually_here
from test.helpers import (
    RecordingSocket,
    RecordingWebSocket,
    eventually,
    frame,
    in_one_turn,
    read_exactly,
)
from ws4py._asgi import Host
from ws4py._asyncio import WebSockets
from ws4py.heartbeat import Pulse
from ws4py.limits import Limits
from ws4py.websocket import WebSocket


class Laborious(WebSocket):
    """Takes its time for each message, on the thread of all."""

    handled: list[str]

    def received_message(self, message: Any) -> None:
        self.handled.append(str(message))
        time.sleep(0.02)


MESSAGES = [f"a{number}" for number in range(5)]


def check(handled: list[str]) -> None:
    """Fail unless "b" was handled between the others, and all are complete and in order."""
    assert handled.index("b") < 3, handled
    handled.remove("b")
    assert handled == MESSAGES


def test_messages_that_came_together_do_not_keep_a_managers_others_waiting(
    manager: Any, connect: Any
) -> None:
    class Handler(Laborious):
        handled: list[str] = []  # noqa: RUF012

    _, first = connect(Handler)
    _, second = connect(Handler)
    with in_one_turn(manager):
        first.sendall(b"".join(frame(1, text.encode()) for text in MESSAGES))
        second.sendall(frame(1, b"b"))
    eventually(lambda: len(Handler.handled) == 6)
    check(Handler.handled)


@on_loops
async def test_messages_that_came_together_do_not_keep_a_loops_others_waiting() -> None:
    class Handler(Laborious):
        handled: list[str] = []  # noqa: RUF012

    async with serving(Handler) as server, peer_of(server) as first, peer_of(server) as second:
        first.send(*[(TEXT, text.encode()) for text in MESSAGES])
        second.send((TEXT, b"b"))
        await eventually_here(lambda: len(Handler.handled) == 6)
    check(Handler.handled)


def test_what_follows_a_turn_is_answered_though_the_peer_is_silent(connect: Any) -> None:
    class Handler(RecordingWebSocket):
        def received_message(self, message: Any) -> None:
            super().received_message(message)
            time.sleep(0.02)

    ws, peer = connect(Handler)
    texts = [f"{number}".encode() for number in range(4)]
    peer.sendall(b"".join(frame(1, text) for text in texts) + frame(8, b"\x03\xe8"))
    events = [("text", text) for text in texts]
    assert ws.all_events() == [("opened",), *events, ("closed", 1000, "")]


def test_fragments_that_are_sent_between_two_turns_keep_nothing_waiting(
    manager: Any, connect: Any
) -> None:
    class First(Laborious):
        handled: list[str] = []  # noqa: RUF012

    class Second(WebSocket):
        def received_message(self, message: Any) -> None:
            waited.append(first._paused)
            first.send(text for text in ("to ", "first"))

    waited: list[bool] = []
    first, peer = connect(First)
    _, other = connect(Second)
    with in_one_turn(manager):
        peer.sendall(b"".join(frame(1, text.encode()) for text in MESSAGES))
        other.sendall(frame(1, b"now"))
    assert read_exactly(peer, 12) == b"\x01\x03to \x80\x05first"
    eventually(lambda: First.handled == MESSAGES)
    assert waited == [True]


def test_a_peer_is_not_silent_that_was_not_read_until_now() -> None:
    class Silent(WebSocket):
        heartbeat_freq = 1.0
        limits = Limits(heartbeat_timeout=0.001)

    ws = Silent(RecordingSocket())
    pulse = Pulse(ws, 0.001)
    pulse.beat()
    ws._paused = True
    time.sleep(0.01)
    ws._read_on()
    pulse.beat()
    assert not ws.terminated


@on_loops
async def test_a_host_that_always_has_a_message_leaves_others_their_turns() -> None:
    begun, count = asyncio.Event(), 0

    class Handler(WebSocket):
        def received_message(self, message: Any) -> None:
            nonlocal count
            count += 1
            begun.set()

    async def receive() -> Any:
        if count == 1000:
            return {"type": "websocket.disconnect", "code": 1000}
        return {"type": "websocket.receive", "text": ""}

    async def send(event: Any) -> None:
        pass

    host = Host({"type": "websocket"}, receive, send)
    driven = asyncio.ensure_future(host.drive(Handler(host), WebSockets()))
    await begun.wait()
    assert count < 1000
    await driven
    assert count == 1000
