"""What several connections do in one turn of a manager's loop, and when their answers leave."""

from __future__ import annotations

import signal
import socket
import sys
import threading
from contextlib import suppress
from typing import Any

import pytest

from test.helpers import (
    HANDSHAKE,
    KEY,
    TIMEOUT,
    RecordingWebSocket,
    echo_server,
    eventually,
    frame,
    in_one_turn,
    raw_connection,
    read_exactly,
    read_to_end,
)
from ws4py.limits import Limits
from ws4py.manager import WebSocketManager
from ws4py.websocket import EchoWebSocket, WebSocket

pytestmark = pytest.mark.usefixtures("no_thread_left")

TWO = frame(1, b"1") + frame(1, b"2")
ANSWERS = b"\x81\x011\x81\x012"
MESSAGE = frame(2, b"x" * 16)


class InOneTurn(EchoWebSocket):
    """Handles in one turn what came together, however slow the machine is."""

    def _goes_on(self, took: float) -> bool:
        return super()._goes_on(0.0)


def test_slow_callbacks_of_others_keep_no_answer_waiting(
    manager: WebSocketManager, connect: Any
) -> None:
    class Slow(WebSocket):
        def received_message(self, message: Any) -> None:
            order.append(message.data)
            if message.data == b"slow":
                threading.Event().wait(0.01)
            elif b"slow" in order:
                arrived.append(read_exactly(quick, len(ANSWERS)))

    class Quick(InOneTurn):
        def received_message(self, message: Any) -> None:
            order.append(message.data)
            super().received_message(message)

    order: list[bytes] = []
    arrived: list[bytes] = []
    _, quick = connect(Quick)
    others = [connect(Slow)[1] for _ in range(2)]
    quick.settimeout(1)
    with in_one_turn(manager):
        quick.sendall(TWO)
        others[0].sendall(frame(1, b"slow"))
        others[1].sendall(frame(1, b"after"))
    eventually(lambda: len(order) == 4)
    assert order == [b"1", b"2", b"slow", b"after"]
    eventually(lambda: arrived == [ANSWERS])


def test_what_a_slow_callback_has_delayed_once_is_answered_before_the_next(
    manager: WebSocketManager, connect: Any
) -> None:
    class Slow(WebSocket):
        def received_message(self, message: Any) -> None:
            if message.data == b"slow":
                threading.Event().wait(0.1)
            else:
                arrived.append(read_exactly(peer, len(ANSWERS)))

    arrived: list[bytes] = []
    _, peer = connect(InOneTurn)
    _, other = connect(Slow)
    with in_one_turn(manager):
        peer.sendall(TWO)
        other.sendall(frame(1, b"slow"))
    assert read_exactly(peer, len(ANSWERS)) == ANSWERS
    with in_one_turn(manager):
        peer.sendall(TWO)
        other.sendall(frame(1, b"waits for the answers"))
    eventually(lambda: arrived == [ANSWERS])


def test_answers_leave_before_a_callback_serves_its_manager(
    manager: WebSocketManager, connect: Any
) -> None:
    class Serves(WebSocket):
        def received_message(self, message: Any) -> None:
            manager.loop.run(lambda: not done)
            self.send("served")

    class Goes(InOneTurn):
        def received_message(self, message: Any) -> None:
            super().received_message(message)
            done.append(True) if message.data == b"go on" else None

    done: list[bool] = []
    _, peer = connect(Goes)
    _, other = connect(Serves)
    with in_one_turn(manager):
        peer.sendall(TWO)
        other.sendall(frame(1, b"serve"))
    assert read_exactly(peer, len(ANSWERS)) == ANSWERS
    peer.sendall(frame(1, b"go on"))
    assert read_exactly(other, 8) == b"\x81\x06served"


@pytest.mark.parametrize(
    "how", ["terminate", "close", "close_connection", "send", "remove", "stop"]
)
def test_answers_leave_before_what_another_does_to_their_connection(
    manager: WebSocketManager, connect: Any, how: str
) -> None:
    class Other(WebSocket):
        def received_message(self, message: Any) -> None:
            {
                "terminate": ws.terminate,
                "close": lambda: ws.close(4000),
                "close_connection": ws.close_connection,
                "send": lambda: ws.send("behind"),
                "remove": lambda: manager.remove(ws),
                "stop": manager.stop,
            }[how]()

    ws, peer = connect(InOneTurn)
    _, other = connect(Other)
    with in_one_turn(manager):
        peer.sendall(TWO)
        other.sendall(frame(1, b"do it"))
    assert read_exactly(peer, len(ANSWERS)) == ANSWERS
    if how == "close":
        assert read_exactly(peer, 4) == b"\x88\x02\x0f\xa0"
    elif how == "send":
        assert read_exactly(peer, 8) == b"\x81\x06behind"
    elif how in ("terminate", "close_connection"):
        assert read_to_end(peer) == b""
    elif how == "remove":
        ws.terminate()


@pytest.mark.parametrize("how", ["end", "Close", "violation", "half a frame"])
def test_answers_leave_before_what_follows_them(connect: Any, how: str) -> None:
    behind, answer = {
        "end": (b"", b""),
        "Close": (frame(8, b"\x03\xe8"), b"\x88\x02\x03\xe8"),
        "violation": (b"\x83\x80" + KEY, b"\x88"),
        "half a frame": (frame(1, b"late")[:3], b""),
    }[how]
    _, peer = connect(EchoWebSocket)
    peer.sendall(TWO + behind)
    if how == "end":
        peer.shutdown(socket.SHUT_WR)
    assert read_exactly(peer, len(ANSWERS + answer)) == ANSWERS + answer


def test_a_peer_that_does_not_take_short_answers_is_read_no_more(
    manager: WebSocketManager, connect: Any
) -> None:
    answer, count = b"\x82\x10" + b"x" * 16, 200_000

    class Echo(EchoWebSocket):
        limits = Limits(high_water=10_000, low_water=1000)
        reading_buffer_size = 90 * len(MESSAGE)  # takes less than a millisecond

    ws, peer = connect(Echo)
    sent = threading.Event()

    def flood() -> None:
        peer.sendall(MESSAGE * count)
        sent.set()

    flooding = threading.Thread(target=flood)
    flooding.start()
    eventually(lambda: ws._paused)
    assert not sent.wait(1), "the peer is read for ever"
    assert read_exactly(peer, len(answer) * count) == answer * count
    flooding.join(TIMEOUT)
    assert not flooding.is_alive()


def test_what_others_send_meanwhile_lets_no_answers_pile_up(
    manager: WebSocketManager, connect: Any
) -> None:
    class Echo(EchoWebSocket):
        limits = Limits(high_water=10_000, low_water=1000, max_queue=None)
        reading_buffer_size = 90 * len(MESSAGE)

    class Pushes(WebSocket):
        def received_message(self, message: Any) -> None:
            ws.send("news")
            self.send(message.data)

    ws, peer = connect(Echo)
    _, other = connect(Pushes)
    peer.setblocking(False)
    taken = 0
    for _ in range(3000):
        with suppress(BlockingIOError):
            taken += peer.send(MESSAGE * 90)
        other.sendall(frame(1, b"!"))
        assert read_exactly(other, 3) == b"\x81\x01!"
    assert ws._paused and len(ws._outgoing) < 100_000
    assert taken < 1_000_000


@pytest.mark.parametrize("who", ["its own", "another's"])
def test_answers_leave_before_a_callback_ends_the_program(who: str) -> None:
    class Exits(InOneTurn):
        def received_message(self, message: Any) -> None:
            if message.data == b"exit":
                sys.exit()
            super().received_message(message)

    manager = WebSocketManager()
    pairs = [socket.socketpair() for _ in range(2)]
    for ours, theirs in pairs:
        theirs.settimeout(TIMEOUT)
        manager.add(Exits(ours))
    first, second = (theirs for _, theirs in pairs)
    first.sendall(TWO + frame(1, b"exit") if who == "its own" else TWO)
    second.sendall(frame(1, b"exit"))
    with pytest.raises(SystemExit):
        manager.run()
    assert read_exactly(first, len(ANSWERS)) == ANSWERS
    manager.stop()
    for ours, theirs in pairs:
        ours.close()
        theirs.close()


def test_ctrl_c_between_two_connections_answers_leaves_none_out() -> None:
    class Interrupted(socket.socket):
        def send(self, *arguments: Any) -> int:
            if not interrupted:
                interrupted.append(True)
                signal.raise_signal(signal.SIGINT)
            return super().send(*arguments)

    interrupted: list[bool] = []
    manager = WebSocketManager()
    pairs = [socket.socketpair() for _ in range(3)]
    pairs[1] = (Interrupted(fileno=pairs[1][0].detach()), pairs[1][1])
    for ours, theirs in pairs:
        theirs.settimeout(TIMEOUT)
        manager.add(InOneTurn(ours))
        theirs.sendall(TWO)
    with pytest.raises(KeyboardInterrupt):
        manager.run()
    manager.start()
    for _, theirs in pairs[::2]:
        assert read_exactly(theirs, len(ANSWERS)) == ANSWERS
    manager.stop()
    manager.join(TIMEOUT)
    for _, theirs in pairs:
        theirs.close()


def test_much_that_another_but_the_last_has_sent_waits_in_the_queue(connect: Any) -> None:
    class Pours(RecordingWebSocket):
        limits = Limits(max_queue=1_000_000)

        def received_message(self, message: Any) -> None:
            for _ in range(3_000 if message.data == b"1" else 1):
                self.send(b"x" * 996, binary=True)
            poured.append(message.data)

    poured: list[bytes] = []
    ws, peer = connect(Pours)
    peer.sendall(TWO)
    eventually(lambda: bool(poured))
    assert len(read_exactly(peer, 3_001_000)) == 3_001_000
    assert ws.close_code is None


def test_messages_that_came_with_the_handshake_are_answered() -> None:
    with echo_server() as server:
        sock, _ = raw_connection(server.server_address[1], HANDSHAKE + TWO)
        with sock:
            assert read_exactly(sock, len(ANSWERS)) == ANSWERS


def test_a_callback_may_send_and_leave_its_manager(manager: WebSocketManager, connect: Any) -> None:
    class Leaves(WebSocket):
        def received_message(self, message: Any) -> None:
            self.send(message.data)
            if message.data == b"2":
                manager.remove(self)
                self.sock.sendall(b"raw")
                self.close_connection()

    _, peer = connect(Leaves)
    peer.sendall(TWO)
    assert read_to_end(peer) == ANSWERS + b"raw"


def test_one_that_another_manager_is_serving_sends_for_itself(
    manager: WebSocketManager, connect: Any
) -> None:
    class Pours(InOneTurn):
        def received_message(self, message: Any) -> None:
            if elsewhere.loop.is_current:
                if message.data == b"1":
                    for _ in range(60):
                        self.send(b"x" * 996, binary=True)
                else:
                    serving.set()
                    moved.wait(TIMEOUT)
            else:
                self.send(message.data)

    class Moves(WebSocket):
        def received_message(self, message: Any) -> None:
            manager.remove(ws)
            elsewhere.add(ws)
            peer.sendall(TWO)
            serving.wait(TIMEOUT)
            manager.loop.call_soon(moved.set)

    elsewhere = WebSocketManager()
    elsewhere.start()
    serving, moved = threading.Event(), threading.Event()
    ws, peer = connect(Pours)
    _, other = connect(Moves)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    ws.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    with in_one_turn(manager):
        peer.sendall(TWO)
        other.sendall(frame(1, b"move"))
    assert len(read_exactly(peer, len(ANSWERS) + 60_000)) == len(ANSWERS) + 60_000
    elsewhere.stop()
    elsewhere.join(TIMEOUT)


def test_an_exit_while_answers_are_sent_leaves_a_manager_that_stops() -> None:
    class Interrupted(socket.socket):
        def send(self, *arguments: Any) -> int:
            raise KeyboardInterrupt

    ours, theirs = socket.socketpair()
    manager = WebSocketManager()
    ws = RecordingWebSocket(Interrupted(fileno=ours.detach()))
    ws.received_message = lambda message: ws.send(message.data)  # type: ignore[method-assign]
    manager.add(ws)
    theirs.sendall(TWO)
    with pytest.raises(KeyboardInterrupt):
        manager.run()
    assert not manager.loop.running
    theirs.close()
    with suppress(KeyboardInterrupt):
        manager.stop()
    assert ws.close_code == 1006


class Looks(WebSocket):
    """Says in its callback what the peer of another one has got."""

    def received_message(self, message: Any) -> None:
        self.sees(message.data)


@pytest.mark.parametrize("name", ["once", "process", "terminate"])
def test_a_class_that_drives_its_connection_finds_its_answers_sent(
    manager: WebSocketManager, connect: Any, name: str
) -> None:
    def overriding(self: Any, *arguments: Any) -> Any:
        return getattr(EchoWebSocket, name)(self, *arguments)

    _, peer = connect(type("Drives", (InOneTurn,), {name: overriding}))
    looking, other = connect(Looks)
    got: list[bytes] = []
    looking.sees = lambda _: got.append(read_exactly(peer, len(ANSWERS)))
    with in_one_turn(manager):
        peer.sendall(TWO)
        other.sendall(frame(1, b"look"))
    eventually(lambda: got == [ANSWERS])


def test_one_that_leaves_its_manager_for_a_thread_waits_for_no_peer(
    manager: WebSocketManager, connect: Any
) -> None:
    class Leaves(WebSocket):
        # However long a turn takes, there is room for the next.
        limits = Limits(high_water=100_000, low_water=100_000)

        def received_message(self, message: Any) -> None:
            if message.data == b"1":
                for _ in range(60):
                    self.send(b"x" * 996, binary=True)
            elif message.data == b"2":
                manager.remove(self)
                threads.append(threading.Thread(target=self.run))
                threads[0].start()
            else:
                self.send("done")

    threads: list[threading.Thread] = []
    ws, peer = connect(Leaves)
    ws.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    peer.sendall(TWO)
    eventually(lambda: bool(threads))
    peer.sendall(frame(2, b"read this before you wait" * 100_000))
    answers = read_exactly(peer, 60 * 1000 + 6)
    assert answers.endswith(b"\x81\x04done")
    ws.close_connection()
    threads[0].join(TIMEOUT)


def test_what_a_callback_has_another_websocket_process_is_answered_at_once(connect: Any) -> None:
    ws, peer = connect(InOneTurn)
    looking, other = connect(Looks)
    got: list[bytes] = []

    def see(_: bytes) -> None:
        ws.process(TWO)
        got.append(read_exactly(peer, len(ANSWERS)))

    looking.sees = see
    other.sendall(frame(1, b"look"))
    eventually(lambda: got == [ANSWERS])


@pytest.mark.parametrize("ends", [False, True])
def test_a_connection_that_follows_one_whose_peer_is_gone_is_whole(
    manager: WebSocketManager, connect: Any, ends: bool
) -> None:
    class Again(InOneTurn):
        def process(self, data: bytes) -> bool:
            return super().process(data) and not ends

        def closed(self, code: int, reason: str | None = None) -> None:
            if not told:
                told.append(code)
                self.__init__(new[0])  # type: ignore[misc]
                manager.add(self)

    told: list[int] = []
    new = socket.socketpair()
    _, peer = connect(Again)
    with in_one_turn(manager):
        peer.sendall(TWO)
        peer.close()
    eventually(lambda: bool(told))
    with new[1]:
        new[1].settimeout(TIMEOUT)
        new[1].sendall(TWO)
        assert read_exactly(new[1], len(ANSWERS)) == ANSWERS
