"""TLS that does not begin, or is none."""

from __future__ import annotations

import os
import socket
import ssl
import time
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any
from warnings import catch_warnings, simplefilter

from test.hostile import HANDSHAKE, SERVER, attack
from test.hostile.answers import DROPPED, ask, read_until, request

on_servers = partial(attack, HANDSHAKE, roles=(SERVER,), secure=True)


def plainly(target: Any, data: bytes) -> socket.socket:
    """Return a connection without TLS on which ``data`` has been sent."""
    sock: socket.socket = target.connect_plainly()
    with suppress(ConnectionError):
        sock.sendall(data)
    return sock


def hello(**versions: ssl.TLSVersion) -> bytes:
    """Return what a client says first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    # OpenSSL offers old versions on its lowest level alone.
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with catch_warnings():
        simplefilter("ignore", DeprecationWarning)
        for name, version in versions.items():
            setattr(context, name, version)
    outgoing = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def ends(sock: socket.socket, deadline: float) -> bytes:
    """Return what came until the end; fail if a websocket was opened."""
    received = read_until(sock, None, b"", deadline)
    assert b" 101 " not in received, received
    return received


@on_servers("a limit of ours")
def a_websocket_is_opened(target: Any) -> None:
    ask(target, request(), 101)
    ask(target, request({"Origin": None}), 403)


@on_servers("a limit of ours")
def plain_http_comes(target: Any) -> None:
    for data in (request(), b"GET /", b"\r\n" * 10, os.urandom(1000), bytes(1000)):
        with plainly(target, data) as sock:
            ends(sock, time.monotonic() + DROPPED)


@on_servers("RFC 8446 4.1.2")
def a_client_hello_is_malformed(target: Any) -> None:
    right = hello()
    for position in (0, 1, 3, 5, 9, 11, 43, 76, len(right) // 2):
        data = bytearray(right)
        data[position] ^= 0xFF
        with plainly(target, bytes(data)) as sock:
            with suppress(OSError):  # It has ended.
                sock.shutdown(socket.SHUT_WR)
            ends(sock, time.monotonic() + DROPPED)


@on_servers("RFC 8996")
def tls_is_too_old(target: Any) -> None:
    old = ssl.TLSVersion.TLSv1_1
    with plainly(target, hello(minimum_version=ssl.TLSVersion.TLSv1, maximum_version=old)) as sock:
        received = ends(sock, time.monotonic() + DROPPED)
        # An alert is the most that may come (RFC 5246 7.2), and no ServerHello.
        assert received[:1] in (b"", b"\x15"), received


@on_servers("a limit of ours")
def hundreds_break_off_in_tls(target: Any) -> None:
    data = hello()
    for number in range(200):
        with plainly(target, data[: number * 3 % (len(data) + 1)]) as sock:
            if number % 2:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


@on_servers("a limit of ours")
def twenty_are_silent_and_others_are_served(target: Any) -> None:
    begun = [b"", hello()[:100], hello(), hello()[:5]]
    with ExitStack() as stack:
        socks = [stack.enter_context(plainly(target, data)) for data in begun * 5]
        ask(target, request(), 101)
        deadline = time.monotonic() + DROPPED
        for sock in socks:
            ends(sock, deadline)


@on_servers("a limit of ours")
def who_has_tls_and_says_nothing_is_dropped(target: Any) -> None:
    with target.connect() as sock:
        ends(sock, time.monotonic() + DROPPED)
