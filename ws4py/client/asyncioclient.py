"""The client for asyncio's loop, and uvloop's::

    import asyncio
    from ws4py.client.asyncioclient import WebSocketClient

    async def main():
        async with WebSocketClient("ws://localhost:9000/") as ws:
            await ws.send("hello")
            async for message in ws:
                print(message)
                break

    asyncio.run(main())

Or override the callbacks, which may be coroutine functions.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Generator
from logging import getLogger
from typing import Any, Callable

from ws4py._asyncio import Connection
from ws4py._group import within
from ws4py.async_websocket import WebSocket
from ws4py.client import WebSocketBaseClient, _Deadline, is_connected
from ws4py.exc import HandshakeError

__all__ = ["WebSocketClient"]

logger = getLogger("ws4py")

#: Seconds that are no limit: for None loops have one of their own.
FOREVER = 365 * 24 * 3600.0


class Conversation(asyncio.Protocol):
    """Gives what is received to a generator, ``b""`` at the end.

    Args:
        steps: The generator.
        then: Called with the transport when the generator has ended, before anything else comes.
        done: Its result tells that this has been done; or it has the error of one of the two.
    """

    _transport: Any = None

    def __init__(
        self,
        steps: Generator[None, bytes, None],
        then: Callable[[Any], None],
        done: asyncio.Future[None],
    ) -> None:
        self._steps = steps
        self._then = then
        self._done = done
        next(steps)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Go on, with bytes."""
        self._resume(self._steps.send, data)

    def eof_received(self) -> None:
        """Go on: there are no more bytes."""
        self._resume(self._steps.send, b"")

    def connection_lost(self, exc: Exception | None) -> None:
        """Go on: there are no more bytes, or there was an error."""
        if exc is None:
            self.eof_received()
        else:
            self._resume(self._steps.throw, exc)

    def give_up(self) -> None:
        """Go on: it takes too long."""
        self._resume(self._steps.throw, TimeoutError())
        if self._transport is not None:
            self._transport.abort()

    def _resume(self, resume: Callable[[Any], None], value: object) -> None:
        if self._done.done():
            return
        try:
            resume(value)
            return
        except StopIteration:
            pass  # What follows would have this in its tracebacks.
        except Exception as error:  # noqa: BLE001 - whoever waits for the result gets it
            self._done.set_exception(error)
            return
        self._finish()

    def _finish(self) -> None:
        try:
            self._then(self._transport)
        except Exception as error:  # noqa: BLE001 - as above
            self._done.set_exception(error)
        else:
            self._done.set_result(None)


class WebSocketClient(WebSocket, WebSocketBaseClient):
    """A client on the running loop.

    The arguments are those of :class:`ws4py.client.WebSocketBaseClient`. Callbacks may be coroutine
    functions; or override none, and receive messages with ``async for``.

    ``async with`` connects, and closes at the end.
    """

    _makes_socket = False
    # What is connecting.
    _conversation: Conversation | None = None

    async def __aenter__(self) -> WebSocketClient:
        """Connect, unless that has been done."""
        self._check_made()
        if not self._connected or self._over:
            await self.connect()
        return self

    async def connect(self) -> None:  # type: ignore[override]
        """Connect, do the opening handshake, and call ``opened``.

        A client that has been closed can connect again, as a new connection.

        Raises:
            HandshakeError: The server did not accept; it has the status, headers and body.
            HandshakeTimeout: It took too long.
            OSError: The server cannot be reached, or its certificate not be verified.
            ValueError: A header or an option is not one.
            RuntimeError: It is connected already, or about to be; or its class does not call our
                ``__init__``.
            TypeError: Its ``limits`` are not a :class:`ws4py.limits.Limits`.
        """
        if self._conversation is not None:
            raise RuntimeError("this client is being connected already")
        self._start_over()
        request = self.handshake_request
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        conversation = Conversation(self._read_answer(), self._begin, done)
        self._conversation = conversation
        try:
            await within(self._open_timeout, self._shake_hands(conversation, request, done))
        except BaseException as error:
            conversation.give_up()
            refused = done.exception()
            if self._connected:  # and cancelled at that moment
                self.terminate()
            else:
                self._abandon()
            if isinstance(error, ConnectionResetError) and not str(error):  # while TLS begins
                raise ConnectionResetError(f"{self.url} ended the connection") from error
            if not isinstance(error, TimeoutError):
                raise
            if isinstance(refused, HandshakeError):
                raise refused from None
            raise self._timed_out() from error
        finally:
            if self._conversation is conversation:
                self._conversation = None

    def _begin(self, transport: Any) -> None:
        self._conversation = None  # It may end, and connect again, before connect() returns.
        self._connected = True
        Connection(self, transport, asyncio.get_running_loop())
        self.handshake_ok()

    async def _shake_hands(
        self, conversation: Conversation, request: bytes, done: asyncio.Future[None]
    ) -> None:
        loop = asyncio.get_running_loop()
        options: dict[str, Any] = {}
        if self._wants_tls:
            context, name = self._tls_options()
            options = {"ssl": context, "server_hostname": self.host if name is None else name}
            options["ssl_handshake_timeout"] = FOREVER  # What waits for this has a deadline.
        transport: Any
        if self.sock is not None:
            self.sock.setblocking(False)
            if not is_connected(self.sock):
                await loop.sock_connect(self.sock, self.bind_addr)
            transport, _ = await loop.create_connection(
                lambda: conversation, sock=self.sock, **options
            )
        elif self.unix_socket_path is not None:
            transport, _ = await loop.create_unix_connection(
                lambda: conversation, self.unix_socket_path, **options
            )
        else:
            transport = await self._connect_first(loop, conversation, options)
        transport.write(request)
        await asyncio.shield(done)

    async def _connect_first(
        self, loop: asyncio.AbstractEventLoop, conversation: Conversation, options: dict[str, Any]
    ) -> Any:
        """Connect to the first address of the host that answers, TLS included."""
        deadline = _Deadline(self._open_timeout)
        addresses = await _resolve(loop, self.host, self.port or 0)
        for left in range(len(addresses), 1, -1):
            try:
                seconds = deadline.left(left)
                connecting = _connect(loop, conversation, addresses[-left], options)
                return await within(seconds, connecting)
            except ssl.SSLError:
                raise
            except OSError as error:
                logger.info("An address of %s cannot be reached: %s", self.host, error)
        return await _connect(loop, conversation, addresses[-1], options)

    def handshake_ok(self) -> None:
        """Called when the handshake has succeeded: calls ``opened``, and begins to read."""
        self._driver.begin()  # type: ignore[attr-defined]


async def _resolve(loop: asyncio.AbstractEventLoop, host: str, port: int) -> list[tuple[str, int]]:
    """Return the addresses of a host; one that is an address itself takes no thread for that."""
    found: Any
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    # With the zone of an IPv6 address, which stands beside its text in what is found.
    numeric = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
    return [(socket.getnameinfo(address, numeric)[0], port) for *_, address in found]


async def _connect(
    loop: asyncio.AbstractEventLoop,
    conversation: Conversation,
    address: tuple[str, int],
    options: dict[str, Any],
) -> asyncio.BaseTransport:
    transport, _ = await loop.create_connection(lambda: conversation, *address, **options)
    return transport
