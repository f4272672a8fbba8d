"""Transports in unlucky moments, on other systems, and of objects that are no sockets."""

from __future__ import annotations

import select
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from test.helpers import TIMEOUT, RecordingSocket, read_exactly, read_to_end
from ws4py import transport as transports
from ws4py.transport import (
    KINDS,
    Endpoint,
    PlainTransport,
    SocketLikeTransport,
    TLSTransport,
    is_bare,
    make_transport,
    send_at_once,
    wait_for,
    write_each,
)


def fill(sock: socket.socket) -> int:
    """Send below TLS until the kernel refuses more; return how many bytes that were."""
    sock.setblocking(False)
    sent = 0
    with suppress(BlockingIOError):
        while True:
            sent += socket.socket.send(sock, bytes(65536))
    return sent


# Where there is no poll.


@pytest.mark.parametrize("has_poll", [True, False])
def test_a_descriptor_is_waited_for_with_poll_or_without(
    pair: Any, monkeypatch: pytest.MonkeyPatch, has_poll: bool
) -> None:
    if not has_poll:
        monkeypatch.delattr(select, "poll", raising=False)
    ours, theirs = pair
    fd = ours.fileno()
    assert wait_for(fd, True, True, TIMEOUT) == (False, True)
    assert wait_for(fd, True, False, 0.01) == (False, False)
    theirs.sendall(b"x")
    assert wait_for(fd, True, True, None) == (True, True)
    assert wait_for(fd, True, False, None) == (True, False)
    fill(ours)
    assert wait_for(fd, False, True, 0) == (False, False)


def test_without_sendmsg_a_header_and_its_payload_are_joined(
    pair: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transports, "_HAS_SENDMSG", False)
    ours, theirs = pair
    assert make_transport(ours).write(bytearray(b"head"), b"payload") == 11
    assert read_exactly(theirs, 11) == b"headpayload"


# Plain sockets.


def test_a_plain_read_into_a_room_that_finds_nothing_is_none(pair: Any) -> None:
    transport = make_transport(pair[0])
    transport.unblock()
    transport.room = memoryview(bytearray(10))
    assert transport.read(10) is None


def test_a_read_that_waits_as_long_as_it_takes_can_be_turned_back(pair: Any) -> None:
    ours, theirs = pair
    transport = make_transport(ours)
    transport.block()
    theirs.sendall(b"x")
    assert transport.read(1) == b"x"
    transport.unblock()
    assert transport.read(1) is None
    transport.unblock()
    assert ours.gettimeout() == 0


# A TLS handshake is under way, and needs what the other direction has.


@pytest.fixture
def fresh(client_tls: ssl.SSLContext) -> Iterator[tuple[TLSTransport, socket.socket]]:
    """A client's transport before its handshake, and the socket of its peer, without TLS."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(TIMEOUT)
    ours = client_tls.wrap_socket(ours, server_hostname="localhost", do_handshake_on_connect=False)
    ours.setblocking(False)
    transport = make_transport(ours)
    assert isinstance(transport, TLSTransport)
    with ours, theirs:
        yield transport, theirs


def serve_tls(theirs: socket.socket, context: ssl.SSLContext) -> tuple[threading.Thread, list[Any]]:
    """Do the server's half of a handshake in a thread; the socket is in the list."""
    wrapped: list[Any] = []

    def wrap() -> None:
        wrapped.append(context.wrap_socket(theirs, server_side=True))

    thread = threading.Thread(target=wrap)
    thread.start()
    return thread, wrapped


def test_a_handshake_says_what_it_waits_for(fresh: Any, server_tls: ssl.SSLContext) -> None:
    transport, theirs = fresh
    filled = fill(transport.sock)
    assert not transport.handshake()
    assert transport.interest(True, False) == (False, True)
    assert len(read_exactly(theirs, filled)) == filled
    assert not transport.handshake()
    assert transport.interest(True, False) == (True, False)
    thread, wrapped = serve_tls(theirs, server_tls)
    while not transport.handshake():
        assert any(transport.wait(True, False, TIMEOUT))
    thread.join(TIMEOUT)
    with wrapped[0] as peer:
        assert transport.write(b"hello") == 5
        assert read_exactly(peer, 5) == b"hello"


def test_a_handshake_with_what_is_no_tls_is_an_os_error(fresh: Any) -> None:
    transport, theirs = fresh
    theirs.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(OSError):
        while not transport.handshake():
            transport.wait(True, False, TIMEOUT)


def test_a_read_that_has_to_write_waits_for_that(fresh: Any) -> None:
    transport, theirs = fresh
    filled = fill(transport.sock)
    assert transport.read(100) is None
    assert transport.interest(True, False) == (False, True)
    assert transport.interest(False, False) == (False, False)
    assert transport.wait(True, False, 0.01) == (False, False)
    read_exactly(theirs, filled)
    assert transport.wait(True, False, TIMEOUT)[1]
    assert transport.read(100) is None
    assert transport.interest(True, False) == (True, False)


def test_a_write_that_has_to_read_waits_for_that(fresh: Any, server_tls: ssl.SSLContext) -> None:
    transport, theirs = fresh
    assert transport.write(b"hello") == 0
    assert transport.interest(False, True) == (True, False)
    thread, wrapped = serve_tls(theirs, server_tls)
    while not transport.write(b"hello"):
        assert any(transport.wait(False, True, TIMEOUT))
    assert transport.interest(False, True) == (False, True)
    thread.join(TIMEOUT)
    with wrapped[0] as peer:
        assert read_exactly(peer, 5) == b"hello"


def test_a_transport_that_waits_for_something_blocks_until_it_is_there(
    fresh: Any, server_tls: ssl.SSLContext
) -> None:
    transport, theirs = fresh
    transport.block(TIMEOUT)
    thread, wrapped = serve_tls(theirs, server_tls)
    received: list[bytes | None] = []
    reader = threading.Thread(target=lambda: received.append(transport.read(100)))
    reader.start()
    thread.join(TIMEOUT)
    with wrapped[0] as peer:
        peer.sendall(b"hello")
        reader.join(TIMEOUT)
        assert received == [b"hello"]


def test_what_is_read_below_tls_may_be_nothing_yet(fresh: Any) -> None:
    transport, theirs = fresh
    transport.half_close()
    assert transport.read(100) is None
    theirs.sendall(b"whatever")
    assert any(transport.wait(True, False, TIMEOUT))
    assert transport.read(100)
    assert not transport.pending()
    transport.close()
    assert transport.fileno() == -1


# Objects that are no sockets.


class Like:
    """Has a socket's methods, and hands them on."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sock, name)


def test_what_is_like_a_socket_is_used_as_one(pair: Any) -> None:
    ours, theirs = pair
    transport = make_transport(Like(ours))
    assert type(transport) is SocketLikeTransport
    assert transport.fileno() == ours.fileno()
    transport.block(5.0)
    assert ours.gettimeout() == 5.0
    transport.unblock()
    assert ours.gettimeout() == 0
    assert transport.read(10) is None
    assert transport.wait(True, False, 0.01) == (True, False)
    transport.write(b"last words")
    transport.half_close()
    assert read_to_end(theirs) == b"last words"
    transport.close()
    assert ours.fileno() == -1


def test_a_number_alone_is_a_descriptor(pair: Any) -> None:
    class Odd(RecordingSocket):
        def fileno(self) -> Any:
            return "none"

    assert make_transport(Odd()).fileno() == -1


@pytest.mark.parametrize("closes", [True, False])
def test_a_like_that_is_somebody_elses_is_left_open(closes: bool) -> None:
    sock = RecordingSocket()
    transport = make_transport(sock)
    transport.closes = closes
    transport.close()
    assert (sock.is_shut, sock.is_closed) == (True, closes)


def test_whoever_knows_a_kind_of_socket_may_add_its_transport(
    pair: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Own(PlainTransport):
        pass

    monkeypatch.setitem(KINDS, Like, lambda like: Own(like.sock))
    transport = make_transport(Like(pair[0]))
    assert type(transport) is Own
    assert transport.write(b"x") == 1
    assert type(make_transport(pair[1])) is PlainTransport


# Endpoints.


def test_tcp_that_sends_at_once_does_and_what_is_not_tcp_is_left_alone(pair: Any) -> None:
    send_at_once(pair[0])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert not listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        send_at_once(listener)
        assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_an_endpoint_has_its_socket_and_whether_it_is_secure(fresh: Any, pair: Any) -> None:
    endpoint = Endpoint()
    assert endpoint.connection is endpoint.sock is None
    assert not endpoint._is_secure
    endpoint.sock = pair[0]
    assert endpoint.connection is endpoint.sock is pair[0]
    assert not endpoint._is_secure
    endpoint.sock = fresh[0].sock
    assert endpoint._is_secure


def test_addresses_that_are_known_are_not_asked_for_again() -> None:
    endpoint = Endpoint()
    endpoint._keep_addresses(("::1", 80, 0, 0), ("::1", 9, 0, 0))
    endpoint._note_addresses()
    assert endpoint.local_address == ("::1", 80)
    assert endpoint.peer_address == ("::1", 9)


def test_connections_to_one_address_share_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        addresses = []
        for _ in range(2):
            theirs = socket.create_connection(listener.getsockname())
            endpoint = Endpoint()
            endpoint.sock, _ = listener.accept()
            addresses.append(endpoint.local_address)
            theirs.close()
            endpoint.sock.close()
        assert addresses[0] is addresses[1]


def test_where_there_are_no_addresses_there_are_none() -> None:
    endpoint = Endpoint()
    endpoint.sock = RecordingSocket()
    endpoint._note_addresses()
    with pytest.raises(AttributeError):
        _ = endpoint.peer_address


# The same to several.


def test_a_write_to_each_goes_on_behind_what_it_raises(pairs: Any) -> None:
    made = [pairs() for _ in range(5)]
    socks = [ours for ours, _ in made]
    writers = [PlainTransport(sock) for sock in socks]
    writers[0].block()
    fill(socks[1])
    writers[1].block()
    made[2][1].close()
    socks[3].close()
    writes = write_each(writers, b"hello")
    assert next(writes) == 5
    for error in (BlockingIOError, BrokenPipeError, OSError):
        with pytest.raises(error):
            next(writes)
    assert list(writes) == [5]
    for _, theirs in (made[0], made[4]):
        assert read_exactly(theirs, 5) == b"hello"


def test_a_bare_transport_has_a_socket_of_the_standard_library(pair: Any) -> None:
    class Socket(socket.socket):
        """One that may have its own way to send."""

    with Socket() as unknown:
        assert not is_bare(PlainTransport(unknown))
    transport = PlainTransport(pair[0])
    assert is_bare(transport)
    transport.block()
    assert is_bare(transport)
    pair[0].settimeout(TIMEOUT)  # Its ``send`` would wait, whatever the flags say.
    assert not is_bare(transport)
    assert not any(map(is_bare, (None, SocketLikeTransport(RecordingSocket()))))
