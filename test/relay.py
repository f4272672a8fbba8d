"""A relay between a client and a server, that keeps what passes: what is really on the wire."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import NamedTuple

from test.helpers import TIMEOUT


class Passed(NamedTuple):
    """A frame that has passed; its length is that of the payload, as it was on the wire."""

    fin: int
    rsv1: int
    opcode: int
    length: int


class Wire:
    """A connection: the bytes of either direction."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.to_server, self.to_client = bytearray(), bytearray()
        self._ends = client, server
        self._pumps = [
            threading.Thread(target=self._pump, args=(client, server, self.to_server)),
            threading.Thread(target=self._pump, args=(server, client, self.to_client)),
        ]
        for pump in self._pumps:
            pump.start()

    def _pump(self, source: socket.socket, sink: socket.socket, kept: bytearray) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                kept += data
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def wait(self) -> None:
        """Wait until both ends have ended their direction."""
        for pump in self._pumps:
            pump.join(TIMEOUT)
            assert not pump.is_alive(), "the connection has not ended"

    def cut(self) -> None:
        """End the connection, if it has not ended."""
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self.wait()
        for end in self._ends:
            end.close()

    @property
    def answer(self) -> str:
        """The Sec-WebSocket-Extensions of the server, if there is one."""
        for line in _head(self.to_client).split("\r\n"):
            name, _, value = line.partition(":")
            if name.lower() == "sec-websocket-extensions":
                return value.strip()
        return ""

    @property
    def frames_to_server(self) -> list[Passed]:
        """The frames that the client has sent."""
        return frames(_body(self.to_server))

    @property
    def frames_to_client(self) -> list[Passed]:
        """The frames that the server has sent."""
        return frames(_body(self.to_client))


class Relay:
    """Takes connections on a port of its own, and passes them on to ``port``."""

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"ws://127.0.0.1:{self.port}/"
        #: The connections, the oldest first.
        self.wires: list[Wire] = []
        self._acceptor = threading.Thread(target=self._accept)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.wires.append(Wire(client, socket.create_connection(self._target, TIMEOUT)))

    def __enter__(self) -> Relay:
        self._acceptor.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # which wakes accept()
        self._acceptor.join(TIMEOUT)
        self._listener.close()
        for wire in self.wires:
            wire.cut()


def _head(data: bytes) -> str:
    return bytes(data).partition(b"\r\n\r\n")[0].decode("latin-1")


def _body(data: bytes) -> bytes:
    return bytes(data).partition(b"\r\n\r\n")[2]


def frames(data: bytes) -> list[Passed]:
    """Return the frames that ``data`` consists of; one that has not come whole is left out."""
    found = []
    at = 0
    while len(data) >= at + 2:
        first, length = data[at], data[at + 1] & 0x7F
        masked = data[at + 1] >> 7
        size = {126: 2, 127: 8}.get(length, 0)
        if size:
            length = int.from_bytes(data[at + 2 : at + 2 + size], "big")
        end = at + 2 + size + 4 * masked + length
        if end > len(data):
            break
        found.append(Passed(first >> 7, first >> 6 & 1, first & 0xF, length))
        at = end
    return found
