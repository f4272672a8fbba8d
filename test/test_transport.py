"""Transports: reading and writing some, on each kind of socket."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from test.helpers import TIMEOUT, RecordingSocket, read_exactly, read_to_end
from ws4py.transport import (
    Endpoint,
    PlainTransport,
    SocketLikeTransport,
    TLSTransport,
    Transport,
    make_transport,
)
from ws4py.websocket import WebSocket


@pytest.fixture(params=["plain", "tls"])
def ends(
    request: pytest.FixtureRequest, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> Iterator[tuple[Transport, socket.socket]]:
    """A transport, not blocking, and the blocking socket of its peer."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(TIMEOUT)
    if request.param == "tls":
        wrapped: list[socket.socket] = []
        thread = threading.Thread(
            target=lambda: wrapped.append(server_tls.wrap_socket(ours, server_side=True))
        )
        thread.start()
        theirs = client_tls.wrap_socket(theirs, server_hostname="localhost")
        thread.join(TIMEOUT)
        ours = wrapped[0]
    transport = make_transport(ours)
    transport.unblock()
    with ours, theirs:
        yield transport, theirs


def read_something(transport: Transport) -> bytes:
    transport.block(TIMEOUT)
    data = transport.read(65536)
    assert data is not None
    return data


def test_each_kind_of_socket_has_its_transport(ends: Any) -> None:
    transport, theirs = ends
    assert type(make_transport(theirs)) is type(transport)
    assert type(make_transport(RecordingSocket())) is SocketLikeTransport


def test_a_read_into_a_room_returns_a_copy_of_what_came(ends: Any) -> None:
    transport, theirs = ends
    transport.room = memoryview(bytearray(10))
    received = []
    for message in (b"first", b"another"):
        theirs.sendall(message)
        assert any(transport.wait(True, False, TIMEOUT))
        received.append(transport.read(10))
    assert received == [b"first", b"another"]
    theirs.sendall(b"more than there is room for")
    assert any(transport.wait(True, False, TIMEOUT))
    assert transport.read(100) == b"more than there is room for"
    transport.block(TIMEOUT)
    assert transport.room is None


def test_a_read_that_finds_nothing_is_none(ends: Any) -> None:
    assert ends[0].read(100) is None


def test_a_read_takes_what_is_there_and_no_more_than_asked(ends: Any) -> None:
    transport, theirs = ends
    theirs.sendall(b"hello")
    transport.block(TIMEOUT)
    assert transport.read(2) == b"he"
    assert transport.read(100) == b"llo"


def test_a_read_at_the_end_is_empty(ends: Any) -> None:
    transport, theirs = ends
    # To close with TLS's session tickets unread would reset the connection.
    socket.socket.shutdown(theirs, socket.SHUT_WR)
    assert read_something(transport) == b""


def test_a_blocking_read_waits(ends: Any) -> None:
    transport, theirs = ends
    transport.block()
    got: list[bytes | None] = []
    reader = threading.Thread(target=lambda: got.append(transport.read(100)))
    reader.start()
    theirs.sendall(b"hello")
    reader.join(TIMEOUT)
    assert got == [b"hello"]


def test_a_blocking_read_raises_after_its_time(ends: Any) -> None:
    transport, _ = ends
    transport.block(0.01)
    with pytest.raises(TimeoutError, match=r"0\.01 s"):
        transport.read(100)


def test_shutdown_ends_a_blocking_read(ends: Any) -> None:
    transport, _ = ends
    transport.block()
    got: list[Any] = []

    def read() -> None:
        try:
            got.append(transport.read(100))
        except OSError as error:
            got.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    transport.shutdown()
    reader.join(TIMEOUT)
    assert not reader.is_alive()
    assert got


def test_a_write_never_blocks_and_says_how_much_went(ends: Any) -> None:
    transport, theirs = ends
    transport.block()
    data = bytes(range(256)) * 40_000
    sent = transport.write(b"head", data)
    assert 4 < sent < len(data)
    left = memoryview(b"head" + data)[sent:]
    while sent := transport.write(left):
        left = left[sent:]
    assert transport.wait(False, True, 0.01) == (False, False)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(read_exactly(theirs, len(data) + 4)))
    reader.start()
    while left:
        assert transport.wait(False, True, TIMEOUT)[1]
        left = left[transport.write(left) :]
    reader.join(TIMEOUT)
    assert got == [b"head" + data]


@pytest.mark.parametrize("size", [0, 1, 16 * 1024, 16 * 1024 + 1, 100_000])
def test_a_header_and_its_payload_leave_in_order(ends: Any, size: int) -> None:
    transport, theirs = ends
    payload = bytes(range(256)) * (size // 256 + 1)
    assert transport.write(b"header", payload[:size]) == 6 + size
    assert read_exactly(theirs, 6 + size) == b"header" + payload[:size]


def test_half_close_lets_the_peer_see_the_end_and_what_it_sends_is_read_away(ends: Any) -> None:
    transport, theirs = ends
    transport.write(b"last words")
    transport.half_close()
    assert read_to_end(theirs) == b"last words"
    theirs.sendall(b"more")
    assert read_something(transport)


def test_close_may_be_called_twice(ends: Any) -> None:
    transport, theirs = ends
    transport.close()
    transport.close()
    transport.shutdown()
    transport.half_close()
    assert transport.fileno() == -1
    assert read_to_end(theirs) == b""


def test_a_socket_that_is_lent_is_closed_by_who_lends_it(ends: Any) -> None:
    transport, theirs = ends
    transport.is_lent = True
    transport.close()
    transport.is_lent = False
    transport.write(b"still there")
    assert read_exactly(theirs, 11) == b"still there"
    transport.close()
    assert transport.fileno() == -1
    assert read_to_end(theirs) == b""


def test_a_write_on_what_the_peer_has_closed_is_an_os_error(ends: Any) -> None:
    transport, theirs = ends
    theirs.close()
    with pytest.raises(OSError):
        for _ in range(10):
            transport.write(b"x" * 100)


def test_pending_says_what_the_descriptor_does_not(ends: Any) -> None:
    transport, theirs = ends
    theirs.sendall(b"hello")
    transport.block(TIMEOUT)
    assert transport.read(1) == b"h"
    assert transport.pending() is isinstance(transport, TLSTransport)
    assert transport.read(100) == b"ello"
    assert not transport.pending()


def test_many_threads_read_and_write_at_full_load(ends: Any) -> None:
    transport, theirs = ends
    transport.block(TIMEOUT)
    lock = threading.Lock()
    block = bytes(range(256)) * 40
    received = bytearray()

    def write() -> None:
        for _ in range(100):
            with lock:
                left = memoryview(block)
                while left:
                    left = left[transport.write(left) :]
                    assert not left or transport.wait(False, True, TIMEOUT)[1]

    def read() -> None:
        while len(received) < 200 * len(block):
            received.extend(transport.read(5000) or b"")

    def echo() -> None:
        for _ in range(200):
            theirs.sendall(read_exactly(theirs, len(block)))

    threads = [threading.Thread(target=each) for each in (write, write, read, echo)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
        assert not thread.is_alive()
    assert received == block * 200


def test_a_socket_keeps_the_way_it_was_set() -> None:
    for timeout, blocks in ((None, True), (5.0, True), (0.0, False)):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.settimeout(timeout)
            transport = make_transport(ours)
            assert isinstance(transport, PlainTransport)
            assert transport._blocks is blocks


def test_what_an_object_does_not_have_is_done_without() -> None:
    class Bare:
        def recv(self, size: int) -> bytes:
            return b"x" * size

        def sendall(self, data: bytes) -> None:
            self.sent = data

    bare = Bare()
    transport = make_transport(bare)
    assert transport.read(3) == b"xxx"
    assert transport.write(b"ab", b"cd") == 4
    assert bare.sent == b"abcd"
    assert transport.fileno() == -1
    for act in (transport.block, transport.unblock, transport.half_close, transport.close):
        act()


def test_a_descriptor_that_is_somebody_elses_is_shut_down_and_stays_open(ends: Any) -> None:
    transport, theirs = ends
    transport.closes = False
    transport.close()
    assert read_to_end(theirs) == b""
    assert transport.fileno() >= 0


def test_addresses_are_pairs_or_paths_and_kept() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = Endpoint()
        endpoint.sock = socket.create_connection(listener.getsockname())
        peer, _ = listener.accept()
        with peer:
            assert endpoint.peer_address == listener.getsockname()
            assert endpoint.local_address == peer.getpeername()
            address = endpoint.peer_address
        endpoint.sock.close()
        assert endpoint.peer_address == address
    endpoint = Endpoint()
    endpoint.sock, theirs = socket.socketpair()
    with theirs:
        assert endpoint.local_address == ""
        endpoint.sock.close()


def test_both_addresses_are_known_in_closed_though_one_was_asked_for_before() -> None:
    class Leaves(WebSocket):
        def opened(self) -> None:
            self.close_connection()

        def closed(self, code: int, reason: str | None = None) -> None:
            told.append((self.local_address, self.peer_address))

    told: list[Any] = []
    listener = socket.create_server(("127.0.0.1", 0))
    with listener, socket.create_connection(listener.getsockname()) as theirs:
        ws = Leaves(listener.accept()[0])
        assert ws.peer_address == theirs.getsockname()
        ws.run()
        assert told == [(listener.getsockname(), theirs.getsockname())]
