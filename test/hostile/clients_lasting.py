"""Servers that never come to an end, or to a bad one, while and after a client connects."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from test.hostile import ALLOWED, AT_ONCE, CLIENT, CLOSING, HANDSHAKE, attack
from test.hostile.clients import GOOD, ends, refusal, switch
from test.hostile.wire import BINARY, CLOSE, PATIENCE, PING, TEXT, Wire

#: The limits that the clients have: bytes of a body that are kept, and seconds.
MAX_BODY, OPEN_TIMEOUT, CLOSE_TIMEOUT = 64 * 1024, 2.0, 1.0

START = b"HTTP/1.1 101 Switching Protocols\r\n"
REFUSAL = b"HTTP/1.1 500 Oops\r\n"
CHUNKED = REFUSAL + b"Transfer-Encoding: chunked\r\n\r\n"


def until_end(sock: socket.socket, data: bytes, most: int = 1 << 28) -> int:
    """Send ``data`` over and over until the client ends TCP; return how many bytes that were."""
    sock.settimeout(PATIENCE)
    block, sent = data * (1 + (1 << 16) // len(data)), 0
    try:
        while sent < most:
            sent += sock.send(block)
    except (ConnectionResetError, BrokenPipeError):
        return sent
    raise AssertionError(f"a client takes {sent} bytes of {data!r}")


@attack(HANDSHAKE, "a limit of ours", roles=(CLIENT,), fresh=True)
def an_answer_without_end(target: Any) -> None:
    before = target.memory()
    for begin, data, what in (
        (b"HTTP/1.1 101 ", b"x", "a line"),
        (b"", b"x", "a line"),
        (b"", b"HTTP/1.1 100 \r\n\r\n", "the head"),
        (START, b"X", "a line"),
        (START + b"X: ", b"x", "a line"),
        (START, b"X: x\r\n", "the number of headers"),
        (START, b"X: " + b"x" * 8000 + b"\r\n", "the head"),
        (START, b"\n", "a line"),
        (START, b"\x00", "a line"),
        (b"", b"\r\n", "the first line"),
    ):
        number, sock, _ = target.accept()
        with sock:
            sock.sendall(begin)
            until_end(sock, data)
            refused = refusal(target, number)
        assert refused.kind == "HandshakeError", (begin, data, refused)
        assert what in refused.text, (begin, data, refused)
    assert target.memory() - before < ALLOWED


@attack(HANDSHAKE, "a limit of ours", roles=(CLIENT,))
def ten_thousand_headers(target: Any) -> None:
    number, sock, head = target.accept()
    with sock:
        with suppress(OSError):  # It does not wait for all of them.
            sock.sendall(switch(head, [*GOOD, *(b"X-%d: x" % i for i in range(10_000))]))
        assert "the number of headers" in refusal(target, number).text


@attack(HANDSHAKE, "a limit of ours", roles=(CLIENT,), fresh=True)
def a_body_of_a_refusal_without_end(target: Any) -> None:
    before = target.memory()
    for begin, data, size in (
        (REFUSAL + b"\r\n", b"x", MAX_BODY),
        (REFUSAL + b"Content-Length: 999999999999\r\n\r\n", b"x", MAX_BODY),
        (REFUSAL + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", b"x", MAX_BODY),
        (REFUSAL + b"Content-Length: -5\r\n\r\n", b"x", MAX_BODY),
        (REFUSAL + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n", b"x", MAX_BODY),
        (REFUSAL + b"Transfer-Encoding: gzip\r\n\r\n", b"x", MAX_BODY),
        (CHUNKED, b"1\r\nx\r\n", MAX_BODY),
        (CHUNKED, b"5;a=b\r\nxxxxx\r\n", MAX_BODY),
        (CHUNKED + b"fffffffff\r\n", b"x", MAX_BODY),
        (CHUNKED + b"1\r\nx\r\n", b"0", 1),
        (CHUNKED + b"1\r\nx\r\n1;", b"a", 1),
        (CHUNKED + b"1\r\nx\r\n0\r\n", b"X: trailer\r\n", 1),
        (CHUNKED, b"\r\n", 0),
    ):
        number, sock, _ = target.accept()
        with sock:
            sock.sendall(begin)
            until_end(sock, data)
            refused = refusal(target, number)
        assert refused.kind == "HandshakeError", (begin, data, refused)
        assert refused.status == 500, (begin, data, refused)
        assert refused.body == "x" * size, (begin, data, len(refused.body))
    assert target.memory() - before < ALLOWED


@attack(HANDSHAKE, "RFC 9112 6.3", roles=(CLIENT,))
def a_body_of_a_refusal_is_as_long_as_its_head_says(target: Any) -> None:
    for fields, sent, body in (
        (b"Content-Length: 4", b"bodymore", "body"),
        (b"Content-Length: 4, 4", b"bodymore", "body"),
        (b"Content-Length: 4\r\nContent-Length: 4", b"bodymore", "body"),
        (b"Content-Length: 0", b"more", ""),
        (b"content-length:4", b"bodymore", "body"),
        (b"Transfer-Encoding: chunked", b"4\r\nbody\r\n0\r\n\r\nmore", "body"),
        (b"Transfer-Encoding: gzip, CHUNKED", b"02\r\nbo\r\n2;x=y\r\ndy\r\n0\r\n", "body"),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 2", b"4\r\nbody\r\n0\r\n\r\n", "body"),
    ):
        for pieces in ([sent], [sent[i : i + 1] for i in range(len(sent))]):
            number, sock, _ = target.accept()
            with sock:
                sock.sendall(REFUSAL + fields + b"\r\n\r\n")
                with suppress(OSError):  # It does not wait for more than the body.
                    for piece in pieces:
                        sock.sendall(piece)
                refused = refusal(target, number)
            assert (refused.status, refused.body) == (500, body), (fields, refused)


@attack(HANDSHAKE, "a limit of ours", roles=(CLIENT,))
def a_body_in_chunks_of_one_byte_keeps_nobody_busy(target: Any) -> None:
    number, sock, _ = target.accept()
    ended = threading.Event()

    def drip() -> None:
        while not ended.wait(0.002):
            sock.sendall(b"1\r\nx\r\n")

    with sock:
        sock.sendall(CHUNKED + b"1\r\nx\r\n" * 40_000)
        dripping = threading.Thread(target=drip)
        dripping.start()
        took = []
        for _ in range(5):
            began = time.monotonic()
            target.echo()
            took.append(time.monotonic() - began)
        ended.set()
        dripping.join()
    assert len(refusal(target, number).body) >= 40_000
    assert sum(took) < AT_ONCE, took


@contextmanager
def full_backlog() -> Iterator[int]:
    """Yield a port that connections are not accepted on, nor refused."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filling = stack.enter_context(socket.socket())
            filling.setblocking(False)
            filling.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@attack(HANDSHAKE, "a limit of ours", roles=(CLIENT,))
def an_answer_that_takes_too_long(target: Any) -> None:
    begun = {
        "silence": b"",
        **{f"silence {number}": b"" for number in range(50)},
        "half a head": START + b"Upgrade: websocket\r\n",
        "a body that is short": REFUSAL + b"Content-Length: 100\r\n\r\nxx",
        "a body without end": REFUSAL + b"\r\nxx",
        "a chunk that is short": CHUNKED + b"64\r\nxx",
    }
    drips = {
        "a slow line": b"HTTP/1.1 101 ",
        "a slow header": START + b"X: ",
        "interim answers": b"HTTP/1.1 103 ",
        "a slow body": REFUSAL + b"\r\n",
        "slow chunks": CHUNKED + b"fff\r\n",
    }
    with ExitStack() as stack:
        numbers = {}
        numbers["silent TLS"] = target.start(f"wss://127.0.0.1:{target.port}/")
        stack.enter_context(target.take())
        port = stack.enter_context(full_backlog())
        numbers["a full backlog"] = target.start(f"ws://127.0.0.1:{port}/")
        dripping = []
        for name, data in {**begun, **drips}.items():
            numbers[name], sock, _ = target.accept()
            stack.enter_context(sock)
            sock.sendall(data)
            if name in drips:
                dripping.append(sock)
        target.echo()
        drip(dripping, PATIENCE)
        for name, number in numbers.items():
            refused = refusal(target, number)
            if "body" in name or "chunk" in name:
                assert (refused.kind, refused.status) == ("HandshakeError", 500), (name, refused)
                assert set(refused.body) == {"x"}, (name, refused)
            else:
                assert refused.kind == "HandshakeTimeout", (name, refused)
                assert f"{OPEN_TIMEOUT} s" in refused.text, (name, refused)
                assert "127.0.0.1" in refused.text, (name, refused)


def drip(socks: list[socket.socket], seconds: float) -> None:
    """Send a byte to each every 0.3 s, until all have been ended; fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while socks:
        assert time.monotonic() < deadline, f"{len(socks)} slow answers are waited for"
        pause.wait(0.3)
        for sock in list(socks):
            try:
                sock.sendall(b"x")
            except OSError:
                socks.remove(sock)


@attack(HANDSHAKE, "RFC 6455 4.1", roles=(CLIENT,))
def a_connection_that_ends_before_the_answer_does(target: Any) -> None:
    number, sock, head = target.accept()
    data = switch(head)
    for cut in range(len(data)):
        sock.sendall(data[:cut])
        sock.shutdown(socket.SHUT_WR)
        refused = refusal(target, number)
        ends(sock)
        sock.close()
        assert refused.kind == "HandshakeError", (cut, refused)
        assert "closed the connection" in refused.text, (cut, refused)
        number, sock, _ = target.accept()
    sock.close()


@attack(HANDSHAKE, "RFC 6455 4.1", roles=(CLIENT,))
def a_connection_that_is_reset_before_the_answer_ends(target: Any) -> None:
    number, sock, head = target.accept()
    data = switch(head)
    for cut in range(0, len(data), 7):
        sock.sendall(data[:cut])
        Wire(sock, False).reset()
        event = target.event(number)
        assert event[:2] == ["failed", "ConnectionResetError"], (cut, event)
        number, sock, _ = target.accept()
    sock.sendall(REFUSAL + b"Content-Length: 10\r\n\r\nbegun")
    Wire(sock, False).reset()
    # The reset may be faster than what was sent before it.
    event = target.event(number)
    assert event[1] in ("HandshakeError", "ConnectionResetError"), event


@attack(HANDSHAKE, "RFC 6455 4.1", roles=(CLIENT,))
def a_connection_that_ends_at_once(target: Any) -> None:
    for end in (Wire.reset, Wire.finish, lambda wire: wire.sock.close()):
        for _ in range(20):
            number = target.start(f"ws://127.0.0.1:{target.port}/")
            with Wire(target.take(), False) as wire:
                end(wire)
                event = target.event(number)
            kinds = "HandshakeError", "ConnectionResetError", "BrokenPipeError"
            assert event[1] in kinds, event
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    event = target.event(target.start(f"ws://127.0.0.1:{port}/"))
    assert event[:2] == ["failed", "ConnectionRefusedError"], event


@attack(CLOSING, "a limit of ours, after RFC 6455 7.1.1", roles=(CLIENT,))
def a_server_that_does_not_end_tcp(target: Any) -> None:
    """Closes, or is asked to, and leaves it at that; or sends on, whatever that is."""
    began = time.monotonic()
    with ExitStack() as stack:
        ends = []
        for asked in (False, True):
            for more in (b"", b"garbage\xff", b"\x89\x00", b"\x81\x02hi", b"\x00" * 1000):
                number, wire = opened(target, stack, "/close" if asked else "/")
                wire.send_frame(*((TEXT, b"close") if asked else (CLOSE, b"\x03\xe8")))
                answer = wire.frame()
                assert answer is not None
                assert answer.opcode == CLOSE, answer
                if asked:
                    wire.send_frame(CLOSE, answer.payload)
                ends.append((number, wire, (asked, more)))
        for _, wire, (_, more) in ends:
            if more:
                keep_sending(stack, wire, more)
        target.echo()
        for number, wire, what in ends:
            while (event := target.event(number))[0] == "message":
                assert what[0], "a client takes messages behind a Close"
            code, reason = (4000, "as asked") if what[0] else (1000, "")
            assert event == ["closed", code, reason], (what, event)
            assert nothing_more(wire), what
    assert time.monotonic() - began < CLOSE_TIMEOUT + PATIENCE


def opened(target: Any, stack: ExitStack, path: str) -> tuple[int, Wire]:
    """Return the number of a client, and the connection, after the opening handshake."""
    number, sock, head = target.accept(path)
    wire = stack.enter_context(Wire(sock, False))
    wire.send(switch(head))
    assert target.event(number) == ["opened"]
    return number, wire


def keep_sending(stack: ExitStack, wire: Wire, data: bytes) -> None:
    """Send ``data`` over and over, in a thread, until the client ends TCP.

    Not as fast as can be: whether a client is kept busy is for other attacks to find out.
    """
    ended = threading.Event()

    def send() -> None:
        with suppress(OSError):
            while not ended.wait(0.002):
                wire.sock.sendall(data)

    def end() -> None:
        ended.set()
        thread.join(PATIENCE)

    thread = threading.Thread(target=send)
    thread.start()
    stack.callback(end)


def nothing_more(wire: Wire) -> bool:
    """Say whether the client ends TCP without another frame."""
    try:
        return wire.frame() is None
    except ConnectionResetError:
        return True


@attack(CLOSING, "a limit of ours, after RFC 6455 7.1.1", roles=(CLIENT,))
def a_server_that_does_not_answer_a_close(target: Any) -> None:
    began = time.monotonic()
    with ExitStack() as stack:
        wires = [opened(target, stack, "/close") for _ in range(3)]
        for _, wire in wires:
            wire.send_frame(TEXT, b"close")
            answer = wire.frame()
            assert answer is not None
            assert answer.opcode == CLOSE, answer
        _, pinging, dripping = (wire for _, wire in wires)
        keep_sending(stack, pinging, pinging.build(PING))
        dripping.send(dripping.build(BINARY, length=1 << 20))
        drip([dripping.sock], PATIENCE)
        for number, wire in wires:
            assert target.event(number) == ["message", 5]
            event = target.event(number)
            assert event[:2] == ["closed", 1006], event
            assert f"{CLOSE_TIMEOUT} s" in event[2], event
            assert nothing_more(wire)
    assert time.monotonic() - began < CLOSE_TIMEOUT + PATIENCE
