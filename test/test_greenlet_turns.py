"""Greenlets that take turns within callbacks.

What greenlets do with the stack is a fault to gcc's sanitizers, under which this cannot run.
"""

from __future__ import annotations

import socket
from typing import Any

import pytest

from test.helpers import frame
from ws4py.websocket import WebSocket

greenlet = pytest.importorskip("greenlet").greenlet


def test_greenlets_that_take_turns_within_callbacks_lose_nothing() -> None:
    pairs = [socket.socketpair() for _ in range(5)]
    running: list[Any] = []
    late = frame(1, b"late")

    class Switches(WebSocket):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self.got: list[bytes] = []

        def received_message(self, message: Any) -> None:
            self.got.append(message.data)
            running.append(running.pop(0))
            running[0].switch()
            if message.data == b"half":
                assert self.process(late[3:])

    def read(ws: Any) -> None:
        assert ws.process(chunk) and (not ws._pending() or ws.once())
        running.remove(greenlet.getcurrent())

    payloads = [*(b"%d" % number for number in range(40)), b"half", b"last"]
    chunk = b"".join(frame(1, each) for each in payloads) + late[:3]
    websockets = [Switches(ours) for ours, _ in pairs]
    running += [greenlet(lambda ws=ws: read(ws)) for ws in websockets]
    while running:
        running[0].switch()
    for ws, ends in zip(websockets, pairs):
        assert ws.got == [*payloads, b"late"]
        for end in ends:
            end.close()
