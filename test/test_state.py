"""State: what a connection begins with, and what it keeps when it begins anew."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from test.helpers import TIMEOUT, RecordingSocket, eventually
from ws4py.driver import ThreadDriver
from ws4py.exc import Terminated
from ws4py.sending import broadcast
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


@pytest.mark.parametrize("is_client", [False, True])
def test_what_is_sent_before_there_is_a_connection_is_told_apart_from_what_is_late(
    is_client: bool,
) -> None:
    ws = WebSocket(RecordingSocket())
    ws._is_client, ws._connected = is_client, False
    kind = "client" if is_client else "websocket"
    with pytest.raises(Terminated, match=f"^a {kind} cannot be closed before it is connected"):
        ws.close()
    with pytest.raises(Terminated, match=f"^a {kind} cannot send before it is connected"):
        ws.send("too early")
    ws._returns = True  # It has been connected before.
    with pytest.raises(Terminated, match="terminated websocket"):
        ws.send("too late")
    ws.terminate()
    with pytest.raises(Terminated, match="terminated websocket"):
        ws.send("too late")


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


def test_who_waits_for_its_turn_is_told_of_the_end_and_what_was_put_off_is_let_go_of() -> None:
    sock = RecordingSocket()
    ws = WebSocket(sock)
    refused: list[BaseException] = []

    def send() -> None:
        try:
            ws.send("waits for the end of the fragments")
        except Terminated as error:
            refused.append(error)

    waiting = threading.Thread(target=send)
    putting_off = threading.Thread(target=broadcast, args=([ws], "waits for nobody"))

    def chunks() -> Iterator[str]:
        yield "a"
        waiting.start()
        putting_off.start()
        putting_off.join(TIMEOUT)
        eventually(lambda: bool(ws._waiters), "nobody waits")
        assert ws._deferred
        ws.terminate()
        yield "b"

    with suppress(Terminated):
        ws.send(chunks())
    waiting.join(TIMEOUT)
    assert len(refused) == 1
    assert b"waits" not in sock.sent
    assert ws._deferred is None


def test_what_is_sent_after_a_close_goes_nowhere() -> None:
    sock = RecordingSocket()
    ws = WebSocket(sock)
    ws.close()
    ws.send("too late")
    assert sock.sent == b"\x88\x02\x03\xe8"
    ws.terminate()
