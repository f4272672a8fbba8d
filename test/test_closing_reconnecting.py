"""A client connects again while others are at work on its connection before."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Callable

import pytest

from test.helpers import TIMEOUT, Recorder, echo_server, eventually, url_of
from test.regressions import running_manager
from test.test_client_handshake import switch
from ws4py.client import WebSocketBaseClient
from ws4py.client.threadedclient import WebSocketClient

pytestmark = pytest.mark.usefixtures("no_thread_left")

CONNECTIONS = 25
SENDERS = 6
#: More than a few of these do not fit into what the kernel keeps.
TEXTS = [os.urandom(size).hex() for size in (3_000, 60_000)]


class Resetting:
    """A server that reads nothing and resets each of its connections, but reads the last one."""

    def __init__(self, listener: socket.socket, compresses: bool) -> None:
        self._listener = listener
        self._compresses = compresses
        self.received = 0
        self.faults: list[str] = []

    def serve(self) -> None:
        for number in range(CONNECTIONS):
            sock, _ = self._listener.accept()
            with sock:
                sock.settimeout(TIMEOUT)
                self._answer(sock, self._compresses and number % 2 == 0)
                if number < CONNECTIONS - 1:
                    time.sleep(0.03)  # Meanwhile the threads send more than there is room for.
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                else:
                    self._read(sock)

    def _answer(self, sock: socket.socket, compresses: bool) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += sock.recv(4096)
        if not head.startswith(b"GET / HTTP/1.1\r\n") or not head.endswith(b"\r\n\r\n"):
            self.faults.append(f"the request is {head!r}")
        extensions = "permessage-deflate" if compresses else None
        sock.sendall(switch(head, Sec_WebSocket_Extensions=extensions))

    def _read(self, sock: socket.socket) -> None:
        with suppress(ConnectionError):
            while True:
                size = len(sock.recv(1 << 16))
                if not size:
                    return
                self.received += size


class Returning(WebSocketClient):
    """Connects again whenever its connection has ended."""

    is_to_return = True
    is_open = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.faults: list[str] = []
        self.connections = 0

    def opened(self) -> None:
        self.connections += 1
        self.is_open = True

    def unhandled_error(self, error: OSError) -> None:
        """Expect resets."""

    def closed(self, code: int, reason: str | None = None) -> None:
        if not self.is_open:
            self.faults.append("closed() was called twice, or before opened()")
        self.is_open = False
        try:
            if self.is_to_return:
                self.connect()
        except Exception as error:  # noqa: BLE001 - a fault, whichever it is
            self.faults.append(f"connect() raised {error!r}")


class Senders:
    """Threads that send all the time, and have to do with the end of a connection alone."""

    def __init__(self, client: WebSocketClient) -> None:
        self._client = client
        self._goes_on = True
        self.sent = [0] * SENDERS
        self.faults: list[str] = []
        self._threads = [
            threading.Thread(target=self._send, args=(number,)) for number in range(SENDERS)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._goes_on = False
        for thread in self._threads:
            thread.join(TIMEOUT)
            if thread.is_alive():
                self.faults.append(f"{thread} did not end")

    def _send(self, number: int) -> None:
        payloads: list[Callable[[], Any]] = [
            lambda: TEXTS[0],
            lambda: TEXTS[1],
            lambda: (TEXTS[0] for _ in range(4)),
        ]
        turn = number
        while self._goes_on:
            turn += 1
            try:
                self._client.send(payloads[turn % 3]())
                self.sent[number] += 1
            except RuntimeError as error:
                if str(error) != "Cannot send on a terminated websocket":
                    self.faults.append(f"send() raised {error!r}")
                time.sleep(0.001)
            except Exception as error:  # noqa: BLE001 - a fault, whichever it is
                self.faults.append(f"send() raised {error!r}")


@contextmanager
def resetting_server(compresses: bool) -> Iterator[tuple[Resetting, str]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(TIMEOUT)
        server = Resetting(listener, compresses)
        thread = threading.Thread(target=server.serve)
        thread.start()
        yield server, f"ws://127.0.0.1:{listener.getsockname()[1]}/"
        thread.join(TIMEOUT)


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_threads_that_send_do_not_keep_a_client_from_connecting_again(
    compression: str | None,
) -> None:
    with resetting_server(compression is not None) as (server, url):
        client = Returning(url, compression=compression)
        client.connect()
        senders = Senders(client)
        try:
            eventually(lambda: client.connections == CONNECTIONS, "it did not return each time")
            before = list(senders.sent)
            eventually(
                lambda: all(now > then for now, then in zip(senders.sent, before)),
                "a thread cannot send any more",
            )
            eventually(lambda: server.received > 0, "nothing has come")
        finally:
            client.is_to_return = False
            client.terminate()
            senders.stop()
            client.run_forever()
    assert server.faults + client.faults + senders.faults == []


def test_what_ends_a_connection_twice_does_not_end_the_next_one_of_a_manager() -> None:
    entered, leave = threading.Event(), threading.Event()

    class Managed(Recorder, WebSocketBaseClient):
        def handshake_ok(self) -> None:
            manager.add(self)

        def received_message(self, message: Any) -> None:
            super().received_message(message)
            if not entered.is_set():
                entered.set()
                assert leave.wait(TIMEOUT)

        def closed(self, code: int, reason: str | None = None) -> None:
            is_first = not self.ended.is_set()
            super().closed(code, reason)
            if is_first:
                self.connect()

    with running_manager() as manager, echo_server() as server:
        client = Managed(url_of(server))
        client.connect()
        client.send("one")
        assert entered.wait(TIMEOUT)
        client.terminate()
        client.terminate()
        leave.set()
        assert client.ended.wait(TIMEOUT)
        eventually(lambda: len(manager) == 1 and not client.terminated, "it is not connected")
        client.send("two")
        eventually(lambda: ("text", b"two") in client.events.queue, "it has ended again")
