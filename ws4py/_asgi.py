"""An ASGI host, as a transport of asyncio's.

The host parses frames itself: what comes and goes are events, with whole messages. Here frames are
made of these, and these of frames, so that a websocket is driven as on any loop: with the same
queue and limits, the same closing handshake, and sends from any thread.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, MutableMapping
from itertools import count
from logging import getLogger
from typing import Any, Callable

from ws4py._asyncio import Connection, WebSockets
from ws4py.limits import Limits
from ws4py.messaging import NO_STATUS, BinaryMessage, CloseControlMessage, TextMessage
from ws4py.streaming import Stream, is_valid_closing_code
from ws4py.websocket import WebSocket

__all__ = ["Event", "Host", "Receive", "Send"]

logger = getLogger("ws4py")

Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]

#: Events that are taken before others have their turn: a host that has more does not wait.
_TURN = 64
_NO_LIMITS = Limits(max_message_size=None, max_fragments=None)


class _Connection(Connection):
    no_pings = "under ASGI the host alone sends Pings and Pongs"


class Host:
    """One connection of a host: drives a websocket, whose transport and socket it is.

    Args:
        scope, receive, send: What an ASGI application is called with.
    """

    def __init__(self, scope: Event, receive: Receive, send: Send) -> None:
        self._client = scope.get("client")
        self._server = scope.get("server")
        self._receive = receive
        self._send = send
        self._stream = Stream(expect_masking=False)
        self._events: deque[Event] = deque()
        self._has_events = asyncio.Event()
        self._reads = asyncio.Event()
        self._reads.set()
        self._is_gone = asyncio.Event()
        self._disconnected = self._closing = False

    async def accept(self, event: Event) -> None:
        """Have the host accept the connection; if the client has left, that is over soon."""
        try:
            await self._send(event)
        except OSError as error:
            _tell_lost(error)
            self.abort()

    async def drive(self, websocket: WebSocket, group: WebSockets) -> None:
        """Call ``opened``, and go on until ``closed`` has returned.

        ``websocket`` is in ``group`` meanwhile. What the host raises, it gets back in the end; but
        not an OSError, which tells that the client has left.
        """
        loop = asyncio.get_running_loop()
        if websocket.stream is not None:  # else it has been ended meanwhile
            websocket.stream.expect_masking = False
        connection = _Connection(websocket, self, loop, group)
        tasks = [loop.create_task(self._run(work)) for work in (self._read, self._write)]
        try:
            connection.begin()
            await connection.wait_ended()
        finally:
            self._end()
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            del self._connection  # whose transport this is: no cycle is left
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do one half of the work, whose end is that of the connection."""
        try:
            await work()
        except OSError as error:
            _tell_lost(error)
        finally:
            self._end()

    async def _read(self) -> None:
        for number in count(1):
            if number % _TURN == 0:
                await asyncio.sleep(0)
            await self._reads.wait()
            event = await self._receive()
            if event["type"] == "websocket.disconnect":
                self._receive_close(event.get("code") or NO_STATUS, event.get("reason") or "")
                return
            text = event.get("text")
            message = BinaryMessage(bytes(event["bytes"])) if text is None else TextMessage(text)
            self._connection.data_received(message.single())

    def _receive_close(self, code: int, reason: str) -> None:
        self._disconnected = True  # The host has answered.
        if code == NO_STATUS or is_valid_closing_code(code):
            self._connection.data_received(CloseControlMessage(code, reason).single())

    async def _write(self) -> None:
        while True:
            await self._has_events.wait()
            while self._events:
                await self._send(self._events.popleft())
            self._has_events.clear()
            if self._closing:
                return
            self._connection.resume_writing()

    def _end(self) -> None:
        """Tell the websocket that there is no connection any more, once."""
        if not self._is_gone.is_set():
            self._closing = True
            self._is_gone.set()
            self._connection.connection_lost(None)

    # What a transport has.

    def set_protocol(self, protocol: Connection) -> None:
        """Take what is told of events."""
        self._connection = protocol

    def set_write_buffer_limits(self, high: int, low: int) -> None:
        """Do nothing: what has been written is full at the first event."""

    def get_extra_info(self, name: str) -> Any:
        """Return this, as the socket."""
        return self if name == "socket" else None

    def is_closing(self) -> bool:
        """Say whether nothing can be written any more."""
        return self._closing

    def pause_reading(self) -> None:
        """Ask the host for no more."""
        self._reads.clear()

    def resume_reading(self) -> None:
        """Ask the host for more."""
        self._reads.set()

    def write(self, data: bytes | memoryview) -> None:
        """Send what ``data`` completes: the fragments of a message are joined.

        Raises:
            OSError: It is not UTF-8, or more fragments than a message may have.
        """
        if self._disconnected:
            return
        stream = self._stream
        # What an application sends whole may have any size.
        stream.limits = _NO_LIMITS if stream.message is None else self._connection.websocket.limits
        wanted = stream.parser.send(bytes(data))
        while not wanted:
            self._events.append(_take_event(stream))
            wanted = next(stream.parser)
        if self._events:
            self._connection.pause_writing()
            self._has_events.set()

    def can_write_eof(self) -> bool:
        """Say yes."""
        return True

    def write_eof(self) -> None:
        """Do nothing: the host knows from the Close."""

    def close(self) -> None:
        """End the connection, once all has been sent."""
        self._closing = True
        self._has_events.set()

    def abort(self) -> None:
        """End the connection now."""
        self._closing = True
        asyncio.get_running_loop().call_soon(self._end)

    # What a socket has.

    def fileno(self) -> int:
        """Return -1: the descriptor is the host's."""
        return -1

    def getpeername(self) -> Any:
        """Return the client's address, as the host has it."""
        return _address(self._client)

    def getsockname(self) -> Any:
        """Return the server's address, as the host has it."""
        return _address(self._server)


def _tell_lost(error: OSError) -> None:
    logger.info("The host has lost a client: %s", error)


def _take_event(stream: Stream) -> Event:
    message = stream.message
    if message is not None:
        stream.message = None
        data = {"text": str(message)} if message.is_text else {"bytes": message.data}
        return {"type": "websocket.send", **data}
    closing = stream.closing
    if closing is None:
        raise ConnectionAbortedError(str(stream.errors[0]))
    event: Event = {"type": "websocket.close"}
    if closing.data:  # An empty one cannot be told.
        event.update(code=closing.code, reason=str(closing))
    return event


def _address(address: Any) -> Any:
    """Return an address of a scope as a socket has it."""
    host, port = address or ("", None)
    return host if port is None else (host, int(port))
