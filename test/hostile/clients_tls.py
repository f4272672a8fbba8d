"""Servers whose TLS is wrong (RFC 6455 4.1, step 5; RFC 9325)."""

from __future__ import annotations

import datetime
import socket
import ssl
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import trustme

from test.hostile import AT_ONCE, CLIENT, CLOSING, HANDSHAKE, attack
from test.hostile.clients import GOOD, ends, switch
from test.hostile.clients_lasting import drip
from test.hostile.targets import read_head
from test.hostile.wire import CLOSE, PATIENCE, TEXT, Wire

HOST = "127.0.0.1"
AUTHORITY = trustme.CA()
DAY = datetime.timedelta(days=1)
NOW = datetime.datetime.now(datetime.timezone.utc)


def context_of(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


GENUINE = context_of(AUTHORITY.issue_cert(HOST))
OTHER = context_of(AUTHORITY.issue_cert("example.org"))


def self_signed() -> ssl.SSLContext:
    """Return a context with a certificate that has signed itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "both.pem"
        authority = trustme.CA()
        path.write_bytes(authority.private_key_pem.bytes() + authority.cert_pem.bytes())
        context.load_cert_chain(path)
    return context


@contextmanager
def authorities() -> Iterator[str]:
    """Yield a file with the CA that clients are to trust."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ca.pem"
        AUTHORITY.cert_pem.write_to_path(str(path))
        yield str(path)


def start(target: Any, **options: Any) -> tuple[int, socket.socket]:
    """Return the number of a client that is to speak TLS, and its connection."""
    number = target.start(f"wss://{HOST}:{target.port}/", **options)
    sock = target.take()
    sock.settimeout(PATIENCE)
    return number, sock


def secured(target: Any, context: ssl.SSLContext, **options: Any) -> tuple[int, Any]:
    """Return the number of a client, and its connection once TLS is on it."""
    number, sock = start(target, **options)
    return number, context.wrap_socket(sock, server_side=True)


def opened(target: Any, context: ssl.SSLContext, **options: Any) -> tuple[int, Wire]:
    """Return the number of a client, and its connection after the opening handshake."""
    number, sock = secured(target, context, **options)
    sock.sendall(switch(read_head(sock)[0]))
    assert target.event(number) == ["opened"]
    return number, Wire(sock, False)


def fails(target: Any, context: ssl.SSLContext, reason: str, **options: Any) -> None:
    """Fail unless a client does not go on with TLS, sends nothing, and says why."""
    number, sock = start(target, **options)
    received = b""
    with sock, suppress(OSError), context.wrap_socket(sock, server_side=True) as tls:
        received = tls.recv(1)
    event = target.event(number)
    assert event[0] == "failed", event
    assert reason in event[2], (reason, event)
    assert not received, "a client sends its request to whom it does not trust"


@attack(HANDSHAKE, "RFC 6455 10.6 and RFC 9325", roles=(CLIENT,))
def a_certificate_that_proves_nothing(target: Any) -> None:
    past = AUTHORITY.issue_cert(HOST, not_before=NOW - 2 * DAY, not_after=NOW - DAY)
    future = AUTHORITY.issue_cert(HOST, not_before=NOW + DAY, not_after=NOW + 2 * DAY)
    with authorities() as path:
        trusts: list[dict[str, Any]] = [{"trusts": path}, {"ssl_options": {"ca_certs": path}}]
        for options in ({}, *trusts, {"ssl_options": {"check_hostname": False}}):
            fails(target, self_signed(), "CERTIFICATE_VERIFY_FAILED", **options)
            stranger = context_of(trustme.CA().issue_cert(HOST))
            fails(target, stranger, "CERTIFICATE_VERIFY_FAILED", **options)
        fails(target, GENUINE, "CERTIFICATE_VERIFY_FAILED")
        for options in trusts:
            fails(target, OTHER, f"certificate is not valid for '{HOST}'", **options)
            fails(target, context_of(past), "certificate has expired", **options)
            fails(target, context_of(future), "certificate is not yet valid", **options)
            localhost = {"server_hostname": "localhost", **options.get("ssl_options", {})}
            fails(target, GENUINE, "localhost", **{**options, "ssl_options": localhost})


@attack(HANDSHAKE, "RFC 6455 10.6", roles=(CLIENT,))
def a_certificate_that_is_good_is_accepted_and_others_only_by_name(target: Any) -> None:
    with authorities() as path:
        trusting = {"ca_certs": path}
        for context, options in (
            (GENUINE, {"trusts": path}),
            (GENUINE, {"ssl_options": trusting}),
            (OTHER, {"ssl_options": {**trusting, "server_hostname": "example.org"}}),
            (OTHER, {"trusts": path, "ssl_options": {"server_hostname": "example.org"}}),
            (OTHER, {"ssl_options": {**trusting, "check_hostname": False}}),
            (self_signed(), {"ssl_options": {"cert_reqs": ssl.CERT_NONE}}),
        ):
            number, wire = opened(target, context, **options)
            with wire:
                wire.echo()
                assert target.event(number) == ["message", 5]
                wire.send_close()
                answer = wire.frame()
                assert answer is not None
                assert answer.opcode == CLOSE, answer
            assert target.event(number) == ["closed", 1000, ""], options


@attack(HANDSHAKE, "RFC 9325 3.1.1", roles=(CLIENT,))
def a_version_of_tls_that_is_too_old(target: Any) -> None:
    context = context_of(AUTHORITY.issue_cert(HOST))
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with authorities() as path:
        fails(target, context, "", ssl_options={"ca_certs": path})


@attack(HANDSHAKE, "RFC 6455 4.1", roles=(CLIENT,))
def a_server_that_speaks_no_tls_where_it_should(target: Any) -> None:
    with authorities() as path:
        for answer in (
            *(b"HTTP/1.1 400 Bad Request\r\n\r\n", b"HTTP/1.1 101 OK\r\n\r\n", b"garbage"),
            *(b"\x15\x03\x01\x00\x02\x02\x28", b"\x16\x03\x01\xff\xff" + b"x" * 70_000, b""),
            *(b"\x00" * 99, b"\x80" * 9, b"\x16", b"\x16\x03\x03\x00\x10\x02"),
        ):
            for end in (Wire.finish, Wire.reset):
                number, sock = start(target, trusts=path)
                with Wire(sock, False) as wire:
                    with suppress(OSError):  # It may have seen enough.
                        wire.send(answer)
                        end(wire)
                    event = target.event(number)
                assert event[0] == "failed", (answer[:40], event)
                kinds = ("SSL", "Connection", "BrokenPipe")
                assert event[1].startswith(kinds), (answer[:40], event)
                assert event[2], (answer[:40], event)


@attack(HANDSHAKE, "RFC 6455 4.1", roles=(CLIENT,))
def a_server_that_speaks_tls_where_it_should_not(target: Any) -> None:
    number = target.start(f"ws://{HOST}:{target.port}/")
    with target.take() as sock:
        sock.settimeout(PATIENCE)
        with suppress(OSError):
            GENUINE.wrap_socket(sock, server_side=True)
    event = target.event(number)
    assert event[1] in ("HandshakeError", "ConnectionResetError", "BrokenPipeError"), event


@attack(HANDSHAKE, "a limit of ours", roles=(CLIENT,))
def tls_that_takes_too_long(target: Any) -> None:
    with ExitStack() as stack:
        path = stack.enter_context(authorities())
        number, sock = start(target, trusts=path)
        numbers, socks = [number], [stack.enter_context(sock)]
        sock.sendall(b"\x16\x03\x03\x40\x00\x02")  # the beginning of a ServerHello
        for begun in (b"", b"HTTP/1.1 101 Switching Protocols\r\n"):
            number, tls = secured(target, GENUINE, trusts=path)
            read_head(tls)
            tls.sendall(begun)
            sock = stack.enter_context(socket.socket(fileno=tls.detach()))
            sock.sendall(b"\x17\x03\x03\x40\x00")  # that of a record
            numbers.append(number)
            socks.append(sock)
        drip(socks, PATIENCE)
        for number in numbers:
            event = target.event(number)
            assert event[:2] == ["refused", "HandshakeTimeout"], event


def cut_off(wire: Wire) -> None:
    """End TCP below TLS, without a word."""
    socket.socket.shutdown(wire.sock, socket.SHUT_RDWR)


@attack(CLOSING, "RFC 8446 6.1 and RFC 6455 7.1.5", roles=(CLIENT,))
def tls_that_is_cut_off(target: Any) -> None:
    with authorities() as path:
        options = {"trusts": path}
        for begun in (b"", b"\x81", b"\x81\x05hel", b"\x01\x05hello"):
            for polite in (False, True):
                number, wire = opened(target, GENUINE, **options)
                with wire:
                    wire.send(begun)
                    if polite:
                        with suppress(OSError):  # It sends its close_notify, and then ends TCP.
                            wire.sock.settimeout(AT_ONCE)
                            wire.sock.unwrap()  # type: ignore[attr-defined]
                    else:
                        cut_off(wire)
                    event = target.event(number)
                assert event[:2] == ["closed", 1006], (begun, polite, event)
        number, wire = opened(target, GENUINE, **options)
        with wire:
            wire.send_close()
            assert wire.frame() is not None
            cut_off(wire)
            assert target.event(number) == ["closed", 1000, ""]


@attack(HANDSHAKE, "RFC 8446 6.1", roles=(CLIENT,))
def tls_that_is_cut_off_before_the_answer_ends(target: Any) -> None:
    with authorities() as path:
        for cut in (0, 1, 20, 100):
            number, sock = secured(target, GENUINE, trusts=path)
            with Wire(sock, False) as wire:
                wire.send(switch(read_head(sock)[0])[:cut])
                cut_off(wire)
                event = target.event(number)
            assert event[0] in ("refused", "failed"), event
            assert event[1] in ("HandshakeError", "SSLEOFError", "ConnectionResetError"), event
        number, sock = secured(target, GENUINE, trusts=path)
        with Wire(sock, False) as wire:
            read_head(sock)
            wire.send(b"HTTP/1.1 403 No\r\n\r\nbegun")
            cut_off(wire)
            event = target.event(number)
        assert event[:2] == ["refused", "HandshakeError"], event
        assert event[3] == 403, event
        assert event[5] == "begun", event


@attack(HANDSHAKE, "RFC 6455 5", roles=(CLIENT,))
def frames_in_the_record_of_the_switch(target: Any) -> None:
    with authorities() as path:
        for size in (1, 7, 1000):
            number, sock = secured(target, GENUINE, trusts=path)
            with Wire(sock, False) as wire:
                data = switch(read_head(sock)[0]) + wire.build(TEXT, b"hello") * 3
                for begin in range(0, len(data), size):
                    wire.send(data[begin : begin + size])
                assert [wire.message() for _ in range(3)] == [b"hello"] * 3
                wire.send_close()
                assert wire.frame() is not None
            events = [target.event(number)[0] for _ in range(5)]
            assert events == ["opened", *["message"] * 3, "closed"]


@attack(CLOSING, "a limit of ours, after RFC 6455 7.1.1", roles=(CLIENT,))
def a_server_that_does_not_end_tls(target: Any) -> None:
    with authorities() as path:
        number, wire = opened(target, GENUINE, trusts=path)
        with wire:
            wire.send_close()
            assert wire.frame() is not None
            assert target.event(number) == ["closed", 1000, ""]
            raw = socket.socket(fileno=wire.sock.detach())
        with raw:
            tls_ends(raw)


def tls_ends(raw: socket.socket) -> None:
    """Fail unless the client ends TCP, behind no more than a close_notify."""
    raw.settimeout(PATIENCE)
    with suppress(ConnectionResetError):
        while raw.recv(100):
            pass


@attack(HANDSHAKE, "RFC 6455 4.1", roles=(CLIENT,))
def a_refusal_over_tls(target: Any) -> None:
    with authorities() as path:
        number, sock = secured(target, GENUINE, trusts=path)
        with sock:
            head, _ = read_head(sock)
            assert b"\r\nHost: 127.0.0.1:%d\r\n" % target.port in head, head
            sock.sendall(b"HTTP/1.1 403 No\r\nContent-Length: 4\r\n\r\nbodymore")
            event = target.event(number)
            assert event[:2] == ["refused", "HandshakeError"], event
            assert event[3:] == [403, [["Content-Length", "4"]], "body"], event
            with suppress(ssl.SSLError):
                ends(sock)
        number, sock = secured(target, GENUINE, trusts=path)
        with sock:
            sock.sendall(switch(read_head(sock)[0], GOOD[:2]))
            assert target.event(number)[3] == 101
