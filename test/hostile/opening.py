"""Opening handshakes that come in pieces, take too long, are too large, or are too many."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

from test.hostile import ALLOWED, AT_ONCE
from test.hostile.answers import (
    DROPPED,
    GOODBYE,
    HELLO,
    NO_WEBSOCKET,
    Response,
    ask,
    check_switch,
    check_websocket,
    connected,
    on_servers,
    read_response,
    read_rest,
    read_until,
    request,
)
from test.hostile.wire import PATIENCE, Wire, header

#: Seconds between two bytes of a peer that is slow.
SLOW = 0.3
#: Bytes that are enough to see that a head has no end.
ENDLESS = 16 * 1024 * 1024


# In pieces.


@on_servers("RFC 6455 4.2.2")
def a_handshake_and_frames_are_cut_at_every_byte(target: Any) -> None:
    data = request() + HELLO + HELLO
    for start in range(1, len(data), 8):  # CherryPy has ten threads
        with ExitStack() as stack:
            cuts = range(start, min(start + 8, len(data)))
            # All first parts have left before a second one does, so that those stay apart.
            socks = [stack.enter_context(connected(target, data[:cut])) for cut in cuts]
            for sock, cut in zip(socks, cuts):
                sock.sendall(data[cut:])
            for sock, cut in zip(socks, cuts):
                response = read_response(sock)
                assert response is not None, f"cut at {cut}"
                check_switch(response)
                wire = Wire(sock, True, response.rest)
                assert [wire.message(AT_ONCE) for _ in range(2)] == [b"hello"] * 2, cut
                wire.leave()


@on_servers("RFC 6455 4.2.2")
def a_handshake_comes_byte_by_byte(target: Any) -> None:
    with connected(target) as sock:
        for byte in request():
            sock.sendall(bytes([byte]))
        response = read_response(sock)
        assert response is not None
        check_websocket(sock, response)


@on_servers("RFC 6455 4.2.2")
def a_thousand_messages_come_with_the_handshake(target: Any) -> None:
    messages = [b"%04d" % number * 16 for number in range(1000)]
    frames = b"".join(header(2, 64, True) + bytes(4) + each for each in messages)
    with connected(target, request() + frames) as sock:
        response = read_response(sock)
        assert response is not None
        wire = Wire(sock, True, response.rest)
        assert [wire.message(AT_ONCE) for _ in messages] == messages
        wire.leave()


@on_servers("RFC 6455 5.5.1")
def a_message_and_a_close_come_with_the_handshake(target: Any) -> None:
    with connected(target, request() + GOODBYE) as sock:
        response = read_response(sock)
        assert response is not None
        end = Wire(sock, True, response.rest).end(AT_ONCE)
        assert (end.messages, end.code) == ([b"hello"], 1000), end


@on_servers("RFC 6455 5.2")
def a_second_request_comes_behind_the_first(target: Any) -> None:
    # "GET " has a reserved bit set, and an opcode that is reserved.
    with connected(target, request() + request()) as sock:
        response = read_response(sock)
        assert response is not None
        check_switch(response)
        end = Wire(sock, True, response.rest).end(AT_ONCE)
        assert (end.frames[:-1], end.code) == ([], 1002), end


@on_servers("RFC 7230 6.3.2")
def a_good_request_comes_behind_one_that_is_refused(target: Any) -> None:
    with connected(target, request({"Sec-WebSocket-Key": "x"}) + request() + GOODBYE) as sock:
        response = read_response(sock)
        assert response is not None
        assert response.status == 400, response
        # The first answer ended the connection.
        read_rest(sock, response)


# Refused.


REFUSED = [
    (request({"Sec-WebSocket-Version": "8"}), NO_WEBSOCKET),
    (request({"Origin": "https://evil.example"}), (403,)),
    (request({"Sec-WebSocket-Key": "x"}), (400,)),
    (request(line="POST / HTTP/1.1"), (405,)),
]


@on_servers("RFC 6455 4.2.2")
def who_is_refused_is_answered_and_the_connection_ends(target: Any) -> None:
    with ExitStack() as stack:
        answered(target, stack)


@on_servers("RFC 6455 4.2.2")
def who_is_refused_goes_on_sending(target: Any) -> None:
    with ExitStack() as stack:
        deadline = time.monotonic() + DROPPED
        alive = answered(target, stack, bytes(100_000))
        while alive:
            assert time.monotonic() < deadline, "a connection goes on"
            poller = select.poll()
            for sock in alive:
                poller.register(sock, 0)  # of no interest but for its end
            poller.poll(SLOW * 1000)
            alive = [sock for sock in alive if sends(sock)]


def answered(target: Any, stack: ExitStack, behind: bytes = b"") -> list[socket.socket]:
    """Return connections whose requests have been refused, and that have ended for reading."""
    socks = [stack.enter_context(connected(target, data + behind)) for data, _ in REFUSED]
    for sock, (data, statuses) in zip(socks, REFUSED):
        response = read_response(sock)
        assert response is not None, data
        assert response.status in statuses, response
        read_rest(sock, response)
    return socks


def sends(sock: socket.socket) -> bool:
    """Return whether one more byte can be sent."""
    try:
        sock.sendall(b"x")
    except ConnectionError:
        return False
    return True


def replayed(received: bytes) -> Response:
    """Return what has been received as an answer, which has to be whole."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(received)
        theirs.shutdown(socket.SHUT_WR)
        response = read_response(ours)
        assert response is not None, "there is no answer"
        return read_rest(ours, response)


@on_servers("a limit of ours")
def hundreds_are_refused(target: Any) -> None:
    for data, statuses in REFUSED * 75:
        ask(target, data, *statuses)


@on_servers("a limit of ours")
def hundreds_break_off(target: Any) -> None:
    data = request()
    for number in range(300):
        with connected(target, data[: number % len(data)]) as sock:
            if number % 3 == 0:
                Wire(sock, True).reset()
            elif number % 3 == 1:
                sock.shutdown(socket.SHUT_WR)
                assert b" 101 " not in read_until(sock, None, b"", time.monotonic() + PATIENCE)


@on_servers("a limit of ours")
def hundreds_break_off_behind_the_handshake(target: Any) -> None:
    data = request() + HELLO
    for number in range(300):
        with connected(target, data) as sock:
            if number % 3 == 0:
                Wire(sock, True).reset()
            elif number % 3 == 1:
                response = read_response(sock)
                assert response is not None
                Wire(sock, True).reset()


# Too long.


def served(target: Any) -> None:
    """Fail unless a fresh connection has an echo within AT_ONCE."""
    with connected(target, request()) as sock:
        response = read_response(sock)
        assert response is not None
        check_websocket(sock, response)


HALVES = [b"", b"GET /", request()[:-2], request(None, "Content-Length: 5")[:-2]]


@on_servers("a limit of ours")
def sixty_are_silent_and_others_are_served(target: Any) -> None:
    with ExitStack() as stack:
        socks = [stack.enter_context(connected(target, data)) for data in HALVES * 15]
        served(target)
        deadline = time.monotonic() + DROPPED
        for sock in socks:
            assert b" 101 " not in read_until(sock, None, b"", deadline)


@on_servers("a limit of ours")
def who_sends_a_byte_now_and_then_is_dropped(target: Any) -> None:
    data = request()
    deadline = time.monotonic() + DROPPED
    with connected(target) as sock:
        sock.settimeout(SLOW)
        for byte in data:
            assert time.monotonic() < deadline, "the connection goes on"
            try:
                sock.sendall(bytes([byte]))
                if sock.recv(1 << 16) == b"":
                    break
            except socket.timeout:
                continue
            except ConnectionError:
                break


# Too large.


def pieces(first: bytes, piece: bytes) -> Iterator[bytes]:
    """Yield what never ends, up to ENDLESS bytes."""
    yield first
    block = piece * (65536 // len(piece))
    for _ in range(ENDLESS // len(block)):
        yield block


def flood(target: Any, first: bytes, piece: bytes) -> bytes:
    """Send what never ends; return all that has come when the connection has ended."""
    with connected(target) as sock:
        with suppress(ConnectionError):
            for block in pieces(first, piece):
                sock.sendall(block)
        sock.setblocking(False)
        with suppress(BlockingIOError):
            return read_until(sock, None, b"", time.monotonic() + DROPPED)
    return b""


HEAD = request()[:-2]
FLOODS = {
    "a line": (b"GET /", b"x", (414, 431, 400)),
    "a header": (HEAD + b"Cookie: ", b"x", (431, 400, 413)),
    "a name": (HEAD, b"x", (431, 400, 413)),
    "headers": (HEAD, b"X: y\r\n", (431, 400, 413)),
    "headers of nothing": (HEAD, b"X:\r\n", (431, 400, 413)),
    "folds": (HEAD + b"X: y\r\n", b" \r\n", (431, 400, 413)),
    "empty lines": (b"", b"\r\n", (400, 414, 431)),
    "spaces": (HEAD + b"X:", b" ", (431, 400, 413)),
}


@on_servers("a limit of ours", [(name, *flood) for name, flood in FLOODS.items()])
def a_head_has_no_end(target: Any, first: bytes, piece: bytes, statuses: tuple[int, ...]) -> None:
    received = flood(target, first, piece)
    assert replayed(received).status in statuses, received[:200]


@on_servers("a limit of ours", fresh=True)
def heads_without_an_end_cost_no_memory(target: Any) -> None:
    before = target.memory()
    for first, piece, _ in FLOODS.values():
        flood(target, first, piece)
    with ExitStack() as stack:
        for first, piece, _ in FLOODS.values():
            for _ in range(10):
                data = first + piece * (60_000 // len(piece))
                stack.enter_context(connected(target, data))
        grown = target.memory() - before
    assert grown < ALLOWED, f"{grown / 2**20:.1f} MiB"


@on_servers("a limit of ours")
def there_are_ten_thousand_headers(target: Any) -> None:
    ask(target, request(None, *["X: y"] * 10_000), 431, 400, 413)


@on_servers("a limit of ours")
def a_cookie_is_enormous(target: Any) -> None:
    ask(target, request({"Cookie": "x" * 1_000_000}), 431, 400, 413)


@on_servers("RFC 7230 3.1.1")
def a_target_is_enormous(target: Any) -> None:
    ask(target, request(line=f"GET /{'x' * 1_000_000} HTTP/1.1"), 414, 431, 400)


@on_servers("a limit of ours")
def heads_that_are_hard_to_read_are_answered_at_once(target: Any) -> None:
    # The first one is what takes a reader long that tries all ways to divide it.
    lines = ["X:" + "\t " * 4000 + "\0"] * 3
    lines += ["X" * 8000, "X:" + "y" * 8000 + "\0", "X: " + "," * 8000]
    began = time.monotonic()
    for data in [request(None, line) for line in lines] * 20:
        with connected(target, data) as sock:
            assert read_response(sock) is not None
        assert time.monotonic() - began < AT_ONCE
