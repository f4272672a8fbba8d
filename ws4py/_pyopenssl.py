"""The transport of pyOpenSSL's connections, for servers that use its TLS. Import it to have it.

pyOpenSSL has the methods of a socket, and errors of its own: they are turned into those of the
standard library, and the rest is what any TLS needs.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from OpenSSL import SSL

from ws4py.transport import KINDS, Data, TLSTransport

__all__ = ["PyOpenSSLTransport"]

#: How the end of the TCP connection is told, if TLS has not been ended before.
_UNEXPECTED_END = -1


class PyOpenSSLTransport(TLSTransport):
    """A connection of pyOpenSSL."""

    def __init__(self, sock: Any) -> None:
        super().__init__(_Socket(sock))

    def _shut(self, how: int) -> None:
        with suppress(OSError):
            self.sock.sock_shutdown(how)

    def _receive(self, size: int) -> bytes:
        data: bytes = self.sock.recv(size)  # which has the errors that are expected
        return data

    def _read_below(self, size: int) -> bytes:
        # Not its own recv, which is that of TLS: this one is the socket's.
        data: bytes = self.sock.recvfrom(size)[0]
        return data


class _Socket:
    """A connection of pyOpenSSL, with the errors of the ssl module."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)

    def recv(self, size: int) -> bytes:
        """Read some bytes; ``b""`` is the end."""
        try:
            with _errors_of_ssl():
                data: bytes = self.connection.recv(size)
                return data
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    def send(self, data: Data) -> int:
        """Write some bytes; return how many."""
        with _errors_of_ssl():
            sent: int = self.connection.send(data)
            return sent

    def unwrap(self) -> None:
        """Say that nothing more will be written."""
        with _errors_of_ssl():
            self.connection.shutdown()


@contextmanager
def _errors_of_ssl() -> Iterator[None]:
    try:
        yield
    except SSL.WantReadError as error:
        raise ssl.SSLWantReadError(*error.args) from error
    except SSL.WantWriteError as error:
        raise ssl.SSLWantWriteError(*error.args) from error
    except SSL.ZeroReturnError as error:
        raise ssl.SSLZeroReturnError(*error.args) from error
    except SSL.SysCallError as error:
        kind = ssl.SSLEOFError if error.args[0] == _UNEXPECTED_END else OSError
        raise kind(*error.args) from error
    except SSL.Error as error:
        raise ssl.SSLError(*error.args) from error


KINDS[SSL.Connection] = PyOpenSSLTransport
