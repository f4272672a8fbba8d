"""Closing: what the log says of it."""

from __future__ import annotations

import logging
import socket
from typing import Any

import pytest

from test.helpers import TIMEOUT, echo_server, frame, read_to_end, url_of
from test.regressions import close_code, on_both_drivers, read_frame
from ws4py.client.threadedclient import WebSocketClient

pytestmark = pytest.mark.usefixtures("no_thread_left")

AGAIN = "A websocket that is closing or has ended was closed again"


@pytest.fixture
def closed_again(caplog: pytest.LogCaptureFixture) -> Any:
    """Return how often the log says that something was closed again."""
    caplog.set_level(logging.DEBUG, "ws4py")
    return lambda: caplog.messages.count(AGAIN)


@on_both_drivers
def test_a_handshake_that_we_begin_is_no_second_close(driven: Any, closed_again: Any) -> None:
    with driven() as (websocket, peer):
        websocket.close(1001)
        assert close_code(read_frame(peer)) == 1001
        peer.sendall(frame(8, b"\x03\xe9"))
        assert websocket.all_events()[-1] == ("closed", 1001, "")
        assert closed_again() == 0
        websocket.close()
        assert closed_again() == 1


@on_both_drivers
def test_a_handshake_that_the_peer_begins_is_no_second_close(
    driven: Any, closed_again: Any
) -> None:
    with driven() as (websocket, peer):
        peer.sendall(frame(8, b"\x03\xe9"))
        assert read_to_end(peer) == b"\x88\x02\x03\xe9"
        assert websocket.all_events()[-1] == ("closed", 1001, "")
        assert closed_again() == 0


def test_neither_end_of_a_handshake_logs_a_second_close(closed_again: Any) -> None:
    with echo_server() as server:
        client = WebSocketClient(url_of(server))
        client.connect()
        client.close()
        client.run_forever()
        assert closed_again() == 0


@on_both_drivers
def test_a_violation_after_our_close_is_no_second_close(driven: Any, closed_again: Any) -> None:
    with driven() as (websocket, peer):
        websocket.close(1001)
        assert close_code(read_frame(peer)) == 1001
        peer.sendall(frame(0, b"of no message"))
        peer.shutdown(socket.SHUT_WR)
        assert websocket.all_events()[-1][:2] == ("closed", 1006)
        assert closed_again() == 0


@on_both_drivers
def test_a_second_close_is_logged(driven: Any, closed_again: Any) -> None:
    with driven() as (websocket, peer):
        websocket.close()
        websocket.close()
        assert closed_again() == 1
        peer.sendall(frame(8))
        assert websocket.ended.wait(TIMEOUT)
        assert closed_again() == 1
