"""What connections that come and go leave behind: nothing."""

from __future__ import annotations

import gc
import socket
import ssl
import struct
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from test.helpers import HANDSHAKE, TIMEOUT, descriptors, eventually, raw_connection
from test.stress import Server, linux_only
from test.test_cli import Client
from ws4py.client.threadedclient import WebSocketClient
from ws4py.exc import HandshakeError

pytestmark = [pytest.mark.stress, linux_only]


@pytest.fixture
def certificate(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "server.pem"
    issued = authority.issue_cert("localhost", "127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(path)
    return str(path)


@pytest.fixture
def keeps_no_descriptor() -> Iterator[None]:
    """Fail if this process has more descriptors or threads than before."""
    before = descriptors(), threading.active_count()
    yield
    gc.collect()
    eventually(
        lambda: descriptors() <= before[0] and threading.active_count() <= before[1],
        f"(descriptors, threads) were {before}",
    )


def reset(sock: socket.socket) -> None:
    """Break a connection off: the other end gets a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@pytest.mark.usefixtures("keeps_no_descriptor")
def test_300_refused_handshakes_leave_no_descriptor() -> None:
    bad = HANDSHAKE.replace(b"Version: 13", b"Version: 12")
    with Server("--path", "/there") as server:
        before = server.descriptors()
        for number in range(150):
            with pytest.raises(HandshakeError):
                WebSocketClient(f"ws://localhost:{server.port}/not").connect()
            sock, head = raw_connection(server.port, bad.replace(b" / ", b" /there "))
            assert head.startswith(b"HTTP/1.1 426 ")
            if number % 2:
                sock.close()
            else:
                reset(sock)
        eventually(lambda: server.descriptors() == before, "the server keeps descriptors")


@pytest.mark.usefixtures("keeps_no_descriptor")
def test_300_aborted_handshakes_leave_no_descriptor() -> None:
    with Server() as server:
        before = server.descriptors()
        for number in range(300):
            sock = socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT)
            sock.sendall(HANDSHAKE[: number % (len(HANDSHAKE) + 1)])
            if number % 2:
                sock.close()
            else:
                reset(sock)
        eventually(lambda: server.descriptors() == before, "the server keeps descriptors")


@pytest.mark.usefixtures("keeps_no_descriptor")
def test_300_aborted_tls_handshakes_leave_no_descriptor(
    certificate: str, client_tls: ssl.SSLContext
) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client_tls.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    hello = outgoing.read()
    with Server("--certfile", certificate) as server:
        before = server.descriptors()
        for number in range(300):
            sock = socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT)
            # A part of what opens TLS, or all of it, or what does not belong there.
            sock.sendall(hello[: number * 3] if number % 3 else HANDSHAKE)
            if number % 2:
                sock.close()
            else:
                reset(sock)
        eventually(lambda: server.descriptors() == before, "the server keeps descriptors")


@pytest.mark.usefixtures("keeps_no_descriptor")
def test_300_handshakes_that_a_server_aborts_leave_no_descriptor_with_the_client() -> None:
    answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listening:
        listening.settimeout(TIMEOUT)
        url = f"ws://127.0.0.1:{listening.getsockname()[1]}/"

        def abort() -> None:
            for number in range(300):
                sock, _ = listening.accept()
                sock.settimeout(TIMEOUT)
                sock.recv(4096)
                sock.sendall(answer[: number % len(answer)])
                if number % 2:
                    sock.close()
                else:
                    reset(sock)

        aborting = threading.Thread(target=abort)
        aborting.start()
        for _ in range(300):
            client = WebSocketClient(url)
            with pytest.raises((HandshakeError, OSError)):
                client.connect()
            assert client.sock is None
        aborting.join(TIMEOUT)
        assert not aborting.is_alive()


def living(clients: weakref.WeakSet[Any]) -> int:
    """Count those that something still refers to."""
    gc.collect()
    return len(clients)


def open_and_close(server: Server, count: int, clients: weakref.WeakSet[Any], context: Any) -> None:
    """Connect ``count`` times, for one message each; both sides close, and some just go."""
    for number in range(count):
        with Client(server.url, ssl_context=context) as client:
            clients.add(client)
            client.send("x" * 1000)
            assert client.next_event() == ("text", b"x" * 1000)
            if number % 10 == 0:
                client.terminate()
            client.close()


@pytest.mark.usefixtures("keeps_no_descriptor")
@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_2000_connections_that_come_and_go_leave_memory_and_descriptors_flat(
    scheme: str, certificate: str, client_tls: ssl.SSLContext
) -> None:
    options = ["--host", "localhost"] + (["--certfile", certificate] if scheme == "wss" else [])
    clients: weakref.WeakSet[Any] = weakref.WeakSet()
    with Server(*options) as server:
        before = server.descriptors()
        open_and_close(server, 300, clients, client_tls)
        memory = server.memory()
        open_and_close(server, 2000, clients, client_tls)
        eventually(lambda: server.descriptors() == before, "the server keeps descriptors")
        # Half a KiB for each would be twice as much.
        assert server.memory() - memory < 512 * 1024
        eventually(lambda: living(clients) == 0, "clients are still there")
