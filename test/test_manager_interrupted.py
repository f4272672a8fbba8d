"""Ctrl-C, and sys.exit(), in callbacks."""

from __future__ import annotations

import socket
import sys
from typing import Any

import pytest

from test.helpers import HANDSHAKE, TIMEOUT, RecordingWebSocket, eventually, frame
from ws4py.limits import Limits
from ws4py.server.standalone import WebSocketServer


def test_ctrl_c_in_opened_ends_that_connection_with_the_others() -> None:
    class Interrupted(RecordingWebSocket):
        limits = Limits(close_timeout=0.5)

        def opened(self) -> None:
            super().opened()
            made.append(self)
            raise KeyboardInterrupt

    made: list[Interrupted] = []
    server = WebSocketServer(("127.0.0.1", 0), Interrupted)
    with socket.create_connection(server.server_address, TIMEOUT) as peer:
        peer.sendall(HANDSHAKE)
        with pytest.raises(KeyboardInterrupt):
            server.serve_forever()
        server.server_close()
    eventually(lambda: made[0].ended.is_set(), "closed() was not called")
    assert len(server.manager) == 0


def test_sys_exit_in_a_managers_own_thread_ends_the_connection_alone(
    connect: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Exits(RecordingWebSocket):
        def received_message(self, message: Any) -> None:
            sys.exit("here")

    ws, peer = connect(Exits)
    other, _ = connect(RecordingWebSocket)
    peer.sendall(frame(1, b"x"))
    assert ws.all_events() == [("opened",), ("closed", 1006, "Going away")]
    assert "SystemExit: here" in caplog.text
    assert not other.ended.is_set()


def test_sys_exit_in_the_main_thread_ends_the_server() -> None:
    class Exits(RecordingWebSocket):
        limits = Limits(close_timeout=0.5)

        def received_message(self, message: Any) -> None:
            sys.exit("here")

    server = WebSocketServer(("127.0.0.1", 0), Exits)
    with socket.create_connection(server.server_address, TIMEOUT) as peer:
        peer.sendall(HANDSHAKE + frame(1, b"x"))
        with pytest.raises(SystemExit), server:
            server.serve_forever()
    assert len(server.manager) == 0
