"""Ctrl-C in a callback that runs in the main thread."""

from __future__ import annotations

import socket

import pytest

from test.helpers import HANDSHAKE, TIMEOUT, RecordingWebSocket, eventually
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
