"""State: what a connection begins with, and what it keeps when it begins anew."""

from __future__ import annotations

import pytest

from test.helpers import RecordingSocket
from ws4py.driver import ThreadDriver
from ws4py.state import State
from ws4py.websocket import WebSocket


def test_a_connection_begins_with_nothing_sent_and_nothing_lost() -> None:
    ws = WebSocket(RecordingSocket())
    assert ws.dropped_messages == 0
    assert (ws.close_sent, ws.terminated, ws.sock.sent) == (False, False, b"")
    ws.terminate()


def test_the_lock_outlives_the_state_that_it_guards() -> None:
    state = State()
    lock, visitors = state._lock, state._visitors
    state._outgoing, state._over = b"left", True
    state.__init__()  # type: ignore[misc]
    assert (state._lock, state._visitors) == (lock, visitors)
    assert (state._outgoing, state._over) == (b"", False)


def test_nobody_but_threads_drives_a_connection_at_first() -> None:
    assert isinstance(State()._driver, ThreadDriver)


def test_anything_can_be_set_on_a_subclass_and_what_is_kept_stands_in_slots() -> None:
    class Own(WebSocket):
        pass

    ws = Own(RecordingSocket())
    ws.user = "somebody"
    assert ws.user == "somebody"
    assert "_outgoing" not in vars(ws)
    with pytest.raises(AttributeError):
        State().user = "somebody"
    ws.terminate()
