"""Broadcasts to many connections, on real sockets: what each peer receives, and in which order."""

from __future__ import annotations

import socket
import threading
from contextlib import nullcontext, suppress
from typing import Any

import pytest

from test.compressing import AGREED, FORGETFUL, LONG, TEXT, Reading, agree, sent
from test.helpers import (
    TIMEOUT,
    RecordingSocket,
    RecordingWebSocket,
    frame,
    read_exactly,
    read_to_end,
    unmasked,
)
from ws4py.client import WebSocketBaseClient
from ws4py.framing import OPCODE_TEXT
from ws4py.manager import WebSocketManager
from ws4py.sending import broadcast
from ws4py.together import Prepared, write_together
from ws4py.websocket import WebSocket

pytestmark = pytest.mark.usefixtures("no_thread_left")

#: More than are sent a message before others have their turn, twice.
MANY = 150


def text(message: bytes) -> bytes:
    return frame(0x1, message, key=None)


def test_many_receive_each_message_once_and_in_order(pairs: Any) -> None:
    made = [pairs() for _ in range(MANY)]
    members = [WebSocket(ours) for ours, _ in made]
    for number in range(5):
        broadcast(iter(members), f"to all {number}")
        members[number].send(f"to one {number}")
    for position, (_, theirs) in enumerate(made):
        expected = b""
        for number in range(5):
            expected += text(b"to all %d" % number)
            if position == number:
                expected += text(b"to one %d" % number)
        assert read_exactly(theirs, len(expected)) == expected
    broadcast(members, b"\x00", binary=True)
    assert all(read_exactly(theirs, 3) == b"\x82\x01\x00" for _, theirs in made)


def test_what_a_slow_peer_does_not_take_at_once_reaches_it_whole(pairs: Any) -> None:
    (ours, theirs), (other, quick) = pairs(), pairs()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 20_000)
    members = [WebSocket(ours), WebSocket(other)]
    messages = [b"%d" % number * 9_000 for number in range(8)]
    expected = b"".join(text(message) for message in messages)
    received = bytearray()
    reader = threading.Thread(target=lambda: received.extend(read_exactly(quick, len(expected))))
    reader.start()
    for message in messages:
        broadcast(members, message)
    reader.join(TIMEOUT)
    assert bytes(received) == expected
    assert read_exactly(theirs, len(expected)) == expected


@pytest.mark.parametrize("error", [None, LookupError, KeyboardInterrupt])
def test_what_the_kernel_has_begun_to_take_is_written_before_a_program_is_called(
    manager: WebSocketManager, connect: Any, error: type[BaseException] | None
) -> None:
    class Reads(WebSocket):
        def send(self, payload: Any, binary: bool = False) -> None:  # type: ignore[override]
            assert read_exactly(slow, len(message) + 4) == text(message)
            received.set()
            if error is not None:
                raise error

    received, message = threading.Event(), bytes(16_000)
    ws, slow = connect(WebSocket)
    ws.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    reads, _ = connect(Reads)
    with pytest.raises(KeyboardInterrupt) if error is KeyboardInterrupt else nullcontext():
        broadcast([ws, reads], message)
    assert received.is_set()


def test_those_before_an_error_of_the_iterable_receive_the_message(pairs: Any) -> None:
    def members() -> Any:
        yield from (WebSocket(ours) for ours, _ in made)
        raise LookupError("no more are known")

    made = [pairs() for _ in range(70)]
    with pytest.raises(LookupError, match="no more"):
        broadcast(members(), "hello")
    assert all(read_exactly(theirs, 7) == text(b"hello") for _, theirs in made)


def test_a_peer_that_has_left_is_given_up_and_the_others_receive_all(pairs: Any) -> None:
    made = [pairs() for _ in range(3)]
    members = [WebSocket(ours) for ours, _ in made]
    made[1][1].close()
    broadcast(members, "hello")
    broadcast(members, "again")
    assert [member.terminated for member in members] == [False, True, False]
    for _, theirs in (made[0], made[2]):
        assert read_exactly(theirs, 14) == text(b"hello") + text(b"again")


def test_a_callback_that_broadcasts_is_sent_its_own_messages_in_order(
    manager: WebSocketManager, connect: Any
) -> None:
    class Speaker(RecordingWebSocket):
        def received_message(self, message: Any) -> None:
            self.send(b"before")
            manager.broadcast(message.data)
            self.send(b"after")

    _, speaker = connect(Speaker)
    _, listener = connect(RecordingWebSocket)
    speaker.sendall(frame(0x1, b"one") + frame(0x1, b"two") + frame(0x1, b"three"))
    words = [b"one", b"two", b"three"]
    expected = b"".join(text(b"before") + text(word) + text(b"after") for word in words)
    assert read_exactly(speaker, len(expected)) == expected
    heard = b"".join(map(text, words))
    assert read_exactly(listener, len(heard)) == heard


def test_a_broadcast_comes_behind_what_another_thread_is_about_to_write(pairs: Any) -> None:
    made = [pairs() for _ in range(2)]
    members = [WebSocket(ours) for ours, _ in made]
    thread = threading.Thread(target=broadcast, args=(members, "second"))
    with members[0]._lock:
        thread.start()
        thread.join(0.05)
        members[0]._push(text(b"first"))
    thread.join(TIMEOUT)
    assert read_exactly(made[0][1], 15) == text(b"first") + text(b"second")
    assert read_exactly(made[1][1], 8) == text(b"second")


def test_what_is_closed_or_begun_receives_nothing_out_of_place(pairs: Any) -> None:
    (ours, theirs), (begun, reading), (plain, listening) = pairs(), pairs(), pairs()
    closed, fragmenting, member = WebSocket(ours), WebSocket(begun), WebSocket(plain)
    closed.close()

    def chunks() -> Any:
        yield b"a"
        broadcast([closed, fragmenting, member], b"within")
        yield b"b"

    fragmenting.send(chunks())
    assert read_exactly(listening, 8) == text(b"within")
    fragments = frame(0x1, b"a", 0, None) + frame(0x0, b"b", 1, None)
    assert read_exactly(reading, 6) == fragments
    closed.terminate()
    assert read_to_end(theirs) == b"\x88\x02\x03\xe8"


def test_a_broadcast_of_clients_is_masked(pairs: Any) -> None:
    ours, theirs = pairs()
    client = WebSocketBaseClient("ws://localhost/")
    client.sock, client._connected = ours, True
    broadcast([client], "hello")
    data = read_exactly(theirs, 11)
    assert data[:2] == b"\x81\x85"
    assert unmasked(data[6:], data[2:6]) == b"hello"
    client.terminate()


def test_what_is_no_websocket_at_all_is_sent_to_as_well(caplog: Any) -> None:
    class Other:
        terminated = False
        sent: tuple[Any, ...] = ()

        def send(self, *message: Any) -> None:
            self.sent = message

    class Broken(Other):
        def send(self, *_message: Any) -> None:
            raise LookupError("a fault of the application")

    other = Other()
    broadcast([Broken(), other], "hello")
    assert other.sent == ("hello", False)
    assert "a fault of the application" in caplog.text


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("_connected", False),
        ("_gatherer", 1),
        ("_fragmenter", 1),
        ("_over", True),
        ("_ending", True),
        ("_close_sent", True),
        ("_sealed", True),
        ("_broken", True),
        ("_outgoing", b"waits"),
        ("_gathered", [text(b"before")]),
        ("_deferred", [text(b"before")]),
        ("_transport", None),
    ],
)
def test_one_that_does_not_take_a_frame_at_once_is_returned(
    pairs: Any, attribute: str, value: Any
) -> None:
    (ours, theirs), (other, plain) = pairs(), pairs()
    ws, member = WebSocket(ours), WebSocket(other)
    setattr(ws, attribute, value)
    begun: list[Any] = []
    assert write_together([ws, member], text(b"hello"), begun) == [ws]
    assert begun == []
    assert read_exactly(plain, 7) == text(b"hello")
    ours.shutdown(socket.SHUT_WR)
    assert read_to_end(theirs) == b""


def test_what_another_has_locked_or_is_not_to_be_written_as_it_is_is_returned(pairs: Any) -> None:
    locked, compressing, plain = members = [WebSocket(pairs()[0]) for _ in range(3)]
    agree(compressing, FORGETFUL)
    other = WebSocket(RecordingSocket())
    begun: list[Any] = []
    with locked._lock:
        others = write_together([*members, other, plain], text(b"hello"), begun)
    assert begun == []
    assert len(others) == 4  # To the plain one it has been written once, of twice.
    assert all(each in others for each in (locked, compressing, other, plain))
    assert not any(each._lock.locked() for each in members)


def test_one_that_another_thread_ends_meanwhile_keeps_it_from_nobody(pairs: Any) -> None:
    class Ending(WebSocket):
        def __getattribute__(self, name: str) -> Any:
            if name == "_broken":  # when it has been looked at, nearly
                self._transport = None
            return super().__getattribute__(name)

    made = [pairs() for _ in range(3)]
    members = [cls(ours) for cls, (ours, _) in zip((WebSocket, Ending, WebSocket), made)]
    begun: list[Any] = []
    write_together(members, text(b"hello"), begun)
    for _, theirs in (made[0], made[2]):
        assert read_exactly(theirs, 7) == text(b"hello")


@pytest.mark.parametrize("interrupt", [False, True])
def test_what_the_kernel_refuses_is_kept_with_its_rest(pairs: Any, interrupt: bool) -> None:
    class Interrupted(WebSocket):
        def _keep(self, *args: Any, **options: Any) -> None:
            super()._keep(*args, **options)
            if interrupt:
                raise KeyboardInterrupt

    made = [pairs() for _ in range(5)]
    _, partial, lost, full, _ = members = [
        cls(ours)
        for cls, (ours, _) in zip((WebSocket, WebSocket, WebSocket, Interrupted, WebSocket), made)
    ]
    message = text(bytes(16_000))
    partial.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    made[2][1].close()
    full.sock.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            full.sock.send(bytes(65536))
    begun: list[Any] = []
    with pytest.raises(KeyboardInterrupt) if interrupt else nullcontext():
        assert write_together(members, message, begun) == []
    assert lost._broken
    assert 0 < len(partial._outgoing) < len(message)
    assert bytes(partial._outgoing) == message[-len(partial._outgoing) :]
    assert bytes(full._outgoing) == message
    assert begun == ([lost, partial] if interrupt else [lost, partial, full])
    for position in (0, 4):
        assert read_exactly(made[position][1], len(message)) == message
    assert not any(each._lock.locked() for each in members)


def test_a_prepared_message_is_compressed_once_for_all_that_may_share_it() -> None:
    socks = [RecordingSocket() for _ in range(4)]
    plain, keeping, *forgetting = members = [WebSocket(sock) for sock in socks]
    agree(keeping, AGREED)
    for each in forgetting:
        agree(each, FORGETFUL)
    prepared = Prepared(OPCODE_TEXT, LONG, True)
    assert prepared.frame_for(plain) == prepared.plain == text(LONG)
    assert prepared.frame_for(keeping) is None
    one, other = map(prepared.frame_for, forgetting)
    assert one is other
    forgetting[0]._write(one)  # type: ignore[arg-type]
    assert sent(forgetting[0], socks[2], Reading(False)) == [(TEXT, LONG)]
    assert Prepared(OPCODE_TEXT, LONG, False).frame_for(keeping) == text(LONG)
    assert Prepared(OPCODE_TEXT, b"small", True).frame_for(keeping) == text(b"small")
    for each in members:
        each.terminate()
