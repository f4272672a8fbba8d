"""What is received while there is no room for answers, and in moments that come seldom."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any

import pytest

from test.aio import TEXT, on_loops, peer_of, serving
from test.aio import eventually as eventually_here
from test.compressing import agree
from test.helpers import (
    TIMEOUT,
    RecordingSocket,
    RecordingWebSocket,
    eventually,
    frame,
    in_one_turn,
    read_exactly,
    read_to_end,
)
from ws4py import async_websocket
from ws4py.limits import Limits
from ws4py.manager import WebSocketManager
from ws4py.sending import broadcast
from ws4py.websocket import EchoWebSocket, WebSocket

MUCH = bytes(3_000_000)
ON_THE_WIRE = len(MUCH) + 10
TWO = frame(1, b"1") + frame(1, b"2")

Run = Callable[..., tuple[Any, socket.socket]]


class Echo(EchoWebSocket):
    """Has little room."""

    limits = Limits(high_water=1000, low_water=100)


class Pours(RecordingWebSocket):
    """Answers with much, for which there is room."""

    limits = Limits(high_water=10_000_000)

    def received_message(self, message: Any) -> None:
        super().received_message(message)
        self.send(MUCH, binary=True)


def messages(count: int, size: int = 1000) -> bytes:
    return b"".join(frame(2, number.to_bytes(2, "big") * (size // 2)) for number in range(count))


def answers(count: int, size: int = 1000) -> bytes:
    return b"".join(
        frame(2, number.to_bytes(2, "big") * (size // 2), key=None) for number in range(count)
    )


@pytest.mark.parametrize("driven", ["by a manager", "by a thread"])
@pytest.mark.parametrize("fragments", [False, True])
def test_a_peer_that_reads_late_gets_each_answer_in_its_order(
    connect: Any, run: Run, driven: str, fragments: bool
) -> None:
    _, peer = connect(Echo) if driven == "by a manager" else run(Echo)
    asked, expected = messages(1500), answers(1500)
    if fragments:
        asked = asked.replace(b"\x82\xfe", b"\x02\xfe")
        cut = len(asked) // 1500
        end = frame(0, b"")
        asked = b"".join(asked[i : i + cut] + end for i in range(0, len(asked), cut))
    sending = threading.Thread(target=peer.sendall, args=(asked,))
    sending.start()
    threading.Event().wait(0.1)
    assert read_exactly(peer, len(expected)) == expected
    sending.join(TIMEOUT)
    assert not sending.is_alive()


def test_a_peer_is_read_again_when_the_fragments_are_sent_that_answers_waited_for(
    connect: Any,
) -> None:
    def chunks() -> Any:
        yield from (b"1", b"2")
        assert go.wait(TIMEOUT)

    go = threading.Event()
    ws, peer = connect(Echo)
    sending = threading.Thread(target=ws.send, args=(chunks(), True))
    sending.start()
    assert read_exactly(peer, 3) == b"\x02\x011"
    peer.sendall(messages(3))
    eventually(lambda: ws._paused)
    go.set()
    assert read_exactly(peer, 3) == b"\x80\x012"
    assert read_exactly(peer, len(answers(3))) == answers(3)
    peer.sendall(frame(2, b"more"))
    assert read_exactly(peer, 6) == b"\x82\x04more"
    sending.join(TIMEOUT)


@pytest.mark.parametrize("driven", ["by a manager", "by a thread"])
def test_a_peer_that_ends_its_direction_behind_its_close_gets_what_is_queued(
    connect: Any, run: Run, driven: str
) -> None:
    ws, peer = connect(Pours) if driven == "by a manager" else run(Pours)
    peer.sendall(frame(1, b"go") + frame(8, b"\x03\xe8"))
    peer.shutdown(socket.SHUT_WR)
    assert ws.next_event() == ("opened",)
    assert read_to_end(peer)[ON_THE_WIRE:] == b"\x88\x02\x03\xe8"
    assert ws.all_events()[-1] == ("closed", 1000, "")


@pytest.mark.parametrize("driven", ["by a manager", "by a thread"])
def test_a_peer_that_breaks_the_protocol_while_much_is_queued_is_told(
    connect: Any, run: Run, driven: str
) -> None:
    ws, peer = connect(Pours) if driven == "by a manager" else run(Pours)
    peer.sendall(frame(1, b"go") + b"\x83\x80")
    data = read_to_end(peer)[ON_THE_WIRE:]
    assert data[:1] + data[2:4] == b"\x88\x03\xea"
    peer.close()
    assert ws.all_events()[-1][:2] == ("closed", 1006)


def test_who_waits_for_the_queue_when_the_peer_has_ended_sees_the_end_of_all(run: Run) -> None:
    class Again(Pours):
        def closed(self, code: int, reason: str | None = None) -> None:
            super().closed(code, reason)
            self._renew()
            self.sock = second

    second = RecordingSocket()
    ws, peer = run(Again)
    peer.sendall(frame(1, b"go") + frame(8, b"\x03\xe8"))
    peer.shutdown(socket.SHUT_WR)
    eventually(lambda: ws.close_sent and bool(ws._outgoing), "nothing is queued")
    peer.close()
    eventually(lambda: ws.sock is second, "it did not begin anew")
    ws.send("anew")
    assert second.sent == b"\x81\x04anew"


def test_what_waits_for_room_is_not_handled_as_long_as_there_is_little(connect: Any) -> None:
    ws, peer = connect(Echo)
    peer.sendall(messages(300))
    eventually(lambda: ws._paused, "it is read on")
    assert ws._read_on()
    assert ws._paused
    assert read_exactly(peer, len(answers(300))) == answers(300)


def test_who_waits_for_room_reads_no_more_once_the_connection_is_over() -> None:
    ws = Echo(RecordingSocket())
    ws._paused = True
    assert ws._read_on()
    ws._paused = True
    ws.terminate()
    assert not ws._read_on()


@on_loops
async def test_the_end_of_what_a_peer_sends_comes_behind_the_answers_on_a_loop() -> None:
    async with serving(EchoWebSocket) as server, peer_of(server) as peer:
        texts = [(TEXT, b"%d" % number) for number in range(200)]
        peer.send(*texts)
        peer.writer.write_eof()
        assert [await peer.message() for _ in range(200)] == texts
        await peer.expect_end()


def test_two_that_are_ready_together_answer_all_that_came_together(
    manager: WebSocketManager, connect: Any
) -> None:
    peers = [connect(EchoWebSocket)[1] for _ in range(3)]
    with in_one_turn(manager):
        for peer in peers:
            peer.sendall(TWO)
    for peer in peers:
        assert read_exactly(peer, 6) == b"\x81\x011\x81\x012"


def test_slow_fragments_leave_others_their_turns(connect: Any) -> None:
    class Slow(RecordingWebSocket):
        def received_message(self, message: Any) -> None:
            super().received_message(message)
            threading.Event().wait(0.02)

    ws, peer = connect(Slow)
    pieces = [frame(1, b"a", 0) + frame(0, b"%d" % number) for number in range(4)]
    peer.sendall(b"".join(pieces))
    texts = [("text", b"a%d" % number) for number in range(4)]
    assert [ws.next_event() for _ in range(5)] == [("opened",), *texts]


def test_who_is_to_go_on_in_the_next_turn_does_though_something_is_sent_before(
    manager: WebSocketManager, connect: Any
) -> None:
    class Slow(RecordingWebSocket):
        def received_message(self, message: Any) -> None:
            super().received_message(message)
            if message.data == b"0":
                manager.loop.call_soon(lambda: self.send(chunk for chunk in "ab"))
            threading.Event().wait(0.02)

    ws, peer = connect(Slow)
    peer.sendall(b"".join(frame(1, b"%d" % number) for number in range(4)))
    assert read_exactly(peer, 6) == b"\x01\x01a\x80\x01b"
    texts = [("text", b"%d" % number) for number in range(4)]
    assert [ws.next_event() for _ in range(5)] == [("opened",), *texts]


def test_what_gathered_in_a_turn_leaves_before_its_rest_if_that_has_taken_long() -> None:
    """What is compiled hands the rest of a turn on, and says how long that has taken."""

    class Looks(WebSocket):
        def received_message(self, message: Any) -> None:
            sent.append(bytes(sock.sent))

    sock, sent = RecordingSocket(), []
    ws = Looks(sock)
    ws._gather(b"\x81\x011")
    assert ws._parse(frame(1, b"2"), 1.0)
    assert sent == [b"\x81\x011"]
    ws.terminate()


def test_a_message_of_fragments_behind_a_fault_of_the_application_is_not_handed_to_it() -> None:
    class Fails(RecordingWebSocket):
        def received_message(self, message: Any) -> None:
            super().received_message(message)
            raise LookupError("a fault of the application")

    sock = RecordingSocket()
    ws = Fails(sock)
    ws.process(frame(1, b"1") + frame(1, b"2", 0) + frame(0, b"2") + frame(2, b"3"))
    assert list(ws.events.queue) == [("text", b"1")]
    ws.terminate()


@on_loops
async def test_what_comes_while_a_coroutine_waits_is_handled_in_its_order() -> None:
    goes_on = asyncio.Event()
    seen: list[str] = []

    class Handler(async_websocket.WebSocket):
        async def received_message(self, message: Any) -> None:
            await goes_on.wait()
            seen.append(str(message))

    async with serving(Handler) as server, peer_of(server) as peer:
        peer.send(*[(TEXT, b"%d" % number) for number in range(200)])
        await peer.writer.drain()
        [websocket] = server.websockets
        await eventually_here(lambda: websocket._unhandled)
        websocket.process(frame(1, b"200"))
        websocket.send(chunk for chunk in "ab")
        assert [(await peer.frame())[2] for _ in range(2)] == [b"a", b"b"]
        goes_on.set()
        await eventually_here(lambda: len(seen) == 201)
    assert seen == [str(number) for number in range(201)]


def test_a_message_that_inflates_to_many_pieces_is_handed_out_once_and_whole() -> None:
    class Sends(RecordingWebSocket):
        _is_client = True

    client_sock = RecordingSocket()
    client, ws = Sends(client_sock), RecordingWebSocket(RecordingSocket())
    for each in (client, ws):
        agree(each)
    client.send(MUCH, binary=True)
    for start in range(0, len(client_sock.sent), 1000):
        assert ws.process(bytes(client_sock.sent[start : start + 1000]))
    assert list(ws.events.queue) == [("binary", MUCH)]
    for each in (client, ws):
        each.terminate()


# Reading.


def test_what_came_with_the_handshake_is_read_first() -> None:
    ws = RecordingWebSocket(RecordingSocket(frame(1, b"then")))
    ws.buf = frame(1, b"first")
    ws.run()
    assert ws.all_events()[1:3] == [("text", b"first"), ("text", b"then")]


def test_a_connection_without_a_socket_reads_its_end() -> None:
    ws = RecordingWebSocket(RecordingSocket())
    ws.close_connection()
    assert not ws.once()
    ws.terminate()
    assert ws.all_events() == [("closed", 1006, "Going away")]


def test_an_error_while_the_connection_ends_is_no_news() -> None:
    class Breaks(RecordingSocket):
        def recv(self, _size: int) -> bytes:
            raise ConnectionResetError("reset by the peer")

    class Tells(RecordingWebSocket):
        def unhandled_error(self, error: OSError) -> None:
            self.events.put(("error", str(error)))

    ws = Tells(Breaks())
    assert not ws.once()
    assert ws.next_event() == ("error", "reset by the peer")
    ws.close()
    assert not ws.once()
    ws.terminate()
    assert ws.next_event()[0] == "closed"


def test_nobody_but_the_thread_that_reads_writes_while_it_reads(pair: Any) -> None:
    ours, theirs = pair
    ws = RecordingWebSocket(ours)
    broadcast([ws], MUCH, binary=True)
    eventually(lambda: ws._draining, "nothing is queued")
    theirs.sendall(frame(1, b"hello"))
    assert ws.once()
    assert ws.next_event() == ("text", b"hello")
    assert len(read_exactly(theirs, ON_THE_WIRE)) == ON_THE_WIRE
    ws.terminate()


def test_all_that_tls_holds_is_read_at_once(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    ours, theirs = socket.socketpair()
    wrapped: list[Any] = []
    thread = threading.Thread(
        target=lambda: wrapped.append(server_tls.wrap_socket(ours, server_side=True))
    )
    thread.start()
    with client_tls.wrap_socket(theirs, server_hostname="localhost") as peer:
        thread.join(TIMEOUT)
        wrapped[0].setblocking(False)
        ws = RecordingWebSocket(wrapped[0])
        ws.reading_buffer_size = 10
        peer.sendall(b"".join(frame(1, b"%d" % number) for number in range(9)))
        assert any(ws._transport.wait(True, False, TIMEOUT))
        while ws.events.empty():
            assert ws.once()
        assert [ws.next_event()[1] for _ in range(9)] == [b"%d" % number for number in range(9)]
        ws.process = lambda data: False
        peer.sendall(frame(1, b"x"))
        assert any(ws._transport.wait(True, False, TIMEOUT))
        while ws.once():
            pass
        ws.terminate()


def test_what_the_kernel_refuses_of_one_that_leaves_its_manager_is_sent(
    manager: WebSocketManager, connect: Any
) -> None:
    class Leaves(WebSocket):
        def received_message(self, message: Any) -> None:
            if message.data == b"2":
                manager.remove(self)
            else:
                for _ in range(30):
                    self.send(b"x" * 996, binary=True)

        def _goes_on(self, took: float) -> bool:
            return True  # However slow the machine is, it is all one turn.

    ws, peer = connect(Leaves)
    ws.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    peer.sendall(TWO)
    assert len(read_exactly(peer, 30_000)) == 30_000
    ws.terminate()
