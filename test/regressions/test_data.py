"""Faults 1 to 8: bytes that came and were lost, or went out in disorder."""

from __future__ import annotations

import socket
import ssl
import threading
from typing import Any

import pytest

from test.helpers import (
    HANDSHAKE,
    TIMEOUT,
    Recorder,
    RecordingSocket,
    RecordingWebSocket,
    byte_by_byte,
    echo_server,
    frame,
    raw_connection,
    read_exactly,
    read_to_end,
    url_of,
    whole,
)
from test.regressions import (
    Seen,
    close_code,
    collecting,
    driven_by_thread,
    fake_server,
    on_both_drivers,
    read_frame,
    read_head,
    regression,
    running_manager,
    switch,
    wsgiref_server,
)
from ws4py.client import WebSocketBaseClient
from ws4py.client.threadedclient import WebSocketClient
from ws4py.limits import Limits
from ws4py.manager import WebSocketManager
from ws4py.websocket import WebSocket

FIVE = [f"message {i}" for i in range(5)]
FIVE_EVENTS = [("text", text.encode()) for text in FIVE]
END = Limits(close_timeout=0.2)


def five_frames(key: bytes | None = b"\1\2\3\4") -> bytes:
    return b"".join(frame(1, text.encode(), key=key) for text in FIVE)


class Placed(Recorder):
    """Records the thread of ``opened`` and of each message, too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.threads: list[threading.Thread] = []
        super().__init__(*args, **kwargs)

    def opened(self) -> None:
        self.threads.append(threading.current_thread())
        super().opened()

    def received_message(self, message: Any) -> None:
        self.threads.append(threading.current_thread())
        super().received_message(message)


class PlacedWebSocket(Placed, WebSocket):
    pass


class PlacedClient(Placed, WebSocketClient):
    pass


class ManagedClient(Placed, WebSocketBaseClient):
    """A client that a manager drives."""

    manager: WebSocketManager

    def handshake_ok(self) -> None:
        self.manager.add(self)


@regression(1)
@pytest.mark.parametrize("size", [1, 8, 65536])
def test_five_frames_in_one_tls_record_are_delivered_without_another_record(
    size: int, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    class Reading(RecordingWebSocket):
        reading_buffer_size = size

    make, made = collecting(Reading)
    with echo_server(make, ssl_context=server_tls) as server:
        plain = socket.create_connection(server.server_address, timeout=TIMEOUT)
        with client_tls.wrap_socket(plain, server_hostname="localhost") as sock:
            sock.sendall(HANDSHAKE)
            assert b" 101 " in read_head(sock)
            sock.sendall(five_frames())
            websocket = made.get(timeout=TIMEOUT)
            assert [websocket.next_event() for _ in range(6)] == [("opened",), *FIVE_EVENTS]


@regression(1, 2)
def test_a_managed_client_gets_five_frames_in_the_tls_record_of_the_answer(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    def conversation(plain: socket.socket) -> None:
        with server_tls.wrap_socket(plain, server_side=True) as sock:
            sock.sendall(switch(read_head(sock)) + five_frames(None))
            sock.recv(1)

    with fake_server(conversation) as port, running_manager() as manager:
        client = ManagedClient(f"wss://localhost:{port}/", ssl_context=client_tls)
        client.manager, client.reading_buffer_size = manager, 8
        client.connect()
        assert [client.next_event() for _ in range(6)] == [("opened",), *FIVE_EVENTS]
        client.terminate()


def greet(sock: socket.socket) -> None:
    """Answer a handshake and send five frames in the same packet."""
    sock.sendall(switch(read_head(sock)) + five_frames(None))
    read_to_end(sock)


@regression(2)
def test_frames_in_the_packet_of_the_answer_come_after_opened_in_the_clients_thread() -> None:
    with fake_server(greet) as port:
        client = PlacedClient(f"ws://127.0.0.1:{port}/")
        client.connect()
        assert [client.next_event() for _ in range(6)] == [("opened",), *FIVE_EVENTS]
        assert set(client.threads) == {client._th}
        client.terminate()
        client.run_forever()


@regression(2)
def test_frames_in_the_packet_of_the_answer_reach_a_managed_client_in_the_managers_thread() -> None:
    with fake_server(greet) as port, running_manager() as manager:
        client = ManagedClient(f"ws://127.0.0.1:{port}/")
        client.manager = manager
        client.connect()
        assert [client.next_event() for _ in range(6)] == [("opened",), *FIVE_EVENTS]
        assert set(client.threads[1:]) == {manager}
        client.terminate()


@regression(2)
def test_frames_in_the_packet_of_the_request_reach_the_standalone_servers_websocket() -> None:
    make, made = collecting(PlacedWebSocket)
    with echo_server(make) as server:
        sock, head = raw_connection(server.server_address[1], HANDSHAKE + five_frames())
        with sock:
            assert b" 101 " in head
            websocket = made.get(timeout=TIMEOUT)
            assert [websocket.next_event() for _ in range(6)] == [("opened",), *FIVE_EVENTS]
            assert {thread.name for thread in websocket.threads} == {"server"}


@regression(2)
def test_frames_in_the_packet_of_the_request_reach_the_wsgiref_servers_websocket() -> None:
    make, made = collecting(PlacedWebSocket)
    with wsgiref_server(handler=make) as port:
        sock, head = raw_connection(port, HANDSHAKE + five_frames())
        with sock:
            assert b" 101 " in head
            websocket = made.get(timeout=TIMEOUT)
            assert [websocket.next_event() for _ in range(6)] == [("opened",), *FIVE_EVENTS]
            assert {thread.name for thread in websocket.threads[1:]} == {"WebSocketManager"}


@regression(3)
@on_both_drivers
def test_the_second_of_two_frames_in_one_buffer_is_delivered(driven: Any) -> None:
    with driven() as (websocket, peer):
        peer.sendall(frame(1, b"first") + frame(2, b"second"))
        events = [websocket.next_event() for _ in range(3)]
        assert events == [("opened",), ("text", b"first"), ("binary", b"second")]


@regression(3)
def test_process_delivers_every_frame_of_one_call() -> None:
    websocket = RecordingWebSocket(RecordingSocket())
    assert websocket.process(five_frames())
    assert [websocket.next_event() for _ in range(5)] == FIVE_EVENTS


class Crowd:
    """Threads that send at once, and a peer that checks what it gets.

    The generator goes on until the peer has seen three Pings between its fragments.
    """

    def __init__(self, websocket: WebSocket, peer: socket.socket) -> None:
        self.websocket = websocket
        self.peer = peer
        self.pinged = threading.Event()
        self.frames: list[Seen] = []
        self.texts = [
            [f"{sender}/{i}:" + "x" * (70_000 if i % 10 == 0 else i) for i in range(30)]
            for sender in range(4)
        ]

    def send_all(self, texts: list[str]) -> None:
        for text in texts:
            self.websocket.send(text)

    def send_fragments(self) -> None:
        def chunks() -> Any:
            yield b"chunk"
            yield b"chunk"
            while not self.pinged.wait(0.001):
                yield b"chunk"

        self.websocket.send(chunks(), binary=True)

    def read(self) -> None:
        seen, begun, pings = read_frame(self.peer), False, 0
        while seen.opcode != 8:
            self.frames.append(seen)
            begun = begun or not seen.fin
            pings += begun and seen.opcode == 9
            if pings == 3:
                self.pinged.set()
            seen = read_frame(self.peer)

    def act(self) -> None:
        reader = threading.Thread(target=self.read)
        senders = [threading.Thread(target=self.send_all, args=(each,)) for each in self.texts]
        senders.append(threading.Thread(target=self.send_fragments))
        for thread in [reader, *senders]:
            thread.start()
        for thread in senders:
            thread.join(TIMEOUT)
        self.websocket.close()
        reader.join(TIMEOUT)
        assert not any(thread.is_alive() for thread in [reader, *senders])

    def check(self) -> None:
        data = [each for each in self.frames if each.opcode < 8]
        texts = [each.payload.decode() for each in data if each.opcode == 1]
        for sender, sent in enumerate(self.texts):
            assert [text for text in texts if text.startswith(f"{sender}/")] == sent
        fragments = [i for i, each in enumerate(data) if each.opcode != 1]
        assert fragments == list(range(fragments[0], fragments[-1] + 1))
        assert [data[i].fin for i in fragments] == [0] * (len(fragments) - 1) + [1]
        assert [data[i].opcode for i in fragments] == [2] + [0] * (len(fragments) - 1)
        assert {data[i].payload for i in fragments} == {b"chunk"}


@regression(4)
@on_both_drivers
def test_threads_a_heartbeat_and_a_generator_that_send_at_once_keep_frames_whole(
    driven: Any,
) -> None:
    limits = Limits(heartbeat_timeout=None)
    with driven(heartbeat_freq=0.002, limits=limits) as (websocket, peer):
        crowd = Crowd(websocket, peer)
        crowd.act()
        peer.sendall(frame(8))
        assert websocket.all_events()[-1][0] == "closed"
        crowd.check()


@regression(4)
def test_a_client_whose_threads_send_at_once_keeps_frames_whole() -> None:
    crowds = []
    ready, done = threading.Event(), threading.Event()

    def conversation(sock: socket.socket) -> None:
        sock.sendall(switch(read_head(sock)))
        crowds.append(Crowd(client, sock))
        ready.set()
        assert done.wait(TIMEOUT)

    with fake_server(conversation) as port:
        client = PlacedClient(f"ws://127.0.0.1:{port}/", heartbeat_freq=0.002)
        client.limits = Limits(heartbeat_timeout=None)
        client.connect()
        assert ready.wait(TIMEOUT)
        crowds[0].act()
        done.set()
        client.run_forever()
        crowds[0].check()


@regression(4)
def test_threads_that_send_at_once_over_tls_keep_frames_whole(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    payloads = [bytes([sender]) * 30_000 for sender in range(3)]

    with echo_server(ssl_context=server_tls) as server:
        client = PlacedClient(url_of(server), ssl_context=client_tls)
        client.connect()

        def send(payload: bytes) -> None:
            for _ in range(30):
                client.send(payload, binary=True)

        senders = [threading.Thread(target=send, args=(payload,)) for payload in payloads]
        for thread in senders:
            thread.start()
        assert client.next_event() == ("opened",)
        echoed = [client.next_event() for _ in range(90)]
        for thread in senders:
            thread.join(TIMEOUT)
        client.close()
        client.run_forever()
        assert sorted(echoed) == sorted(("binary", payload) for payload in payloads * 30)


@regression(5)
@pytest.mark.parametrize(("binary", "expected"), [(False, b"\x81\0"), (True, b"\x82\0")])
def test_an_empty_generator_sends_an_empty_message(binary: bool, expected: bytes) -> None:
    with driven_by_thread() as (websocket, peer):
        websocket.send((chunk for chunk in ()), binary=binary)
        assert read_exactly(peer, 2) == expected


@regression(6)
@on_both_drivers
def test_a_message_keeps_its_data_after_the_handler_has_returned(driven: Any) -> None:
    kept = []

    class Keeping(RecordingWebSocket):
        def received_message(self, message: Any) -> None:
            kept.append(message)
            super().received_message(message)

    with driven(Keeping) as (websocket, peer):
        peer.sendall(frame(1, b"one") + frame(2, b"two"))
        peer.sendall(frame(8, b"\x03\xe8"))
        websocket.all_events()
        assert [message.data for message in kept] == [b"one", b"two"]


@regression(7)
@on_both_drivers
@pytest.mark.parametrize("feed", [whole, byte_by_byte])
def test_a_character_cut_off_before_an_empty_last_fragment_is_refused(
    feed: Any, driven: Any
) -> None:
    with driven(limits=END) as (websocket, peer):
        for piece in feed(frame(1, b"\xe2\x82", fin=0) + frame(0, b"")):
            peer.sendall(piece)
        assert close_code(read_frame(peer)) == 1007
        peer.close()
        assert [event[0] for event in websocket.all_events()] == ["opened", "closed"]


@regression(7)
@pytest.mark.parametrize("feed", [whole, byte_by_byte])
def test_a_close_reason_is_judged_apart_from_a_text_that_is_not_complete(feed: Any) -> None:
    with driven_by_thread() as (websocket, peer):
        for piece in feed(frame(1, b"\xe2\x82", fin=0) + frame(8, b"\x03\xe8bye")):
            peer.sendall(piece)
        assert read_frame(peer) == Seen(1, 8, b"\x03\xe8bye")
        assert websocket.all_events()[-1] == ("closed", 1000, "bye")


@regression(7)
def test_a_close_reason_cannot_complete_the_character_of_a_text() -> None:
    with driven_by_thread(limits=END) as (_, peer):
        peer.sendall(frame(1, b"\xe2\x82", fin=0) + frame(8, b"\x03\xe8\xac"))
        assert close_code(read_frame(peer)) == 1007


@regression(8)
def test_a_fragmented_message_in_one_byte_segments_reaches_the_client() -> None:
    message = frame(1, b"one ", 0, None) + frame(0, b"byte ", 0, None) + frame(0, b"each", 1, None)

    def conversation(sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in byte_by_byte(switch(read_head(sock)) + message):
            sock.sendall(piece)
        read_to_end(sock)

    with fake_server(conversation) as port:
        client = PlacedClient(f"ws://127.0.0.1:{port}/")
        client.connect()
        assert client.next_event() == ("opened",)
        assert client.next_event() == ("text", b"one byte each")
        client.terminate()
        client.run_forever()
