"""A WebSocket whose callbacks may be coroutine functions, for the engines on asyncio.

Callbacks run in order and one at a time for each connection, in a task that is made when one of
them has to be awaited. While that task is at work the parser looks ahead: Pings are answered, and a
few messages wait. Then the peer is not read until there is room, and its Close waits its turn.
"""

from __future__ import annotations

import asyncio
from collections import deque
from inspect import isawaitable
from logging import getLogger
from typing import Any, Callable

from ws4py import websocket
from ws4py._asyncio import READY, Ready, Room
from ws4py.messaging import ABNORMAL, Message, Payload
from ws4py.streaming import DataMessage, Stream

__all__ = ["EchoWebSocket", "WebSocket"]

logger = getLogger("ws4py")

#: Messages that wait for a callback, or to be received, before the peer is not read any more.
AHEAD = 64


class WebSocket(websocket.WebSocket):
    """A connection whose callbacks may be coroutine functions.

    Where ``received_message`` is not overridden, messages are received with :meth:`receive`, or
    with ``async for message in websocket``; in ``opened``, for instance. As long as nobody has done
    so only the first ones are kept.

    ``send``, ``ping`` and ``close`` act at once, as they do on every engine. What they return can
    be awaited: until no more than ``limits.low_water`` bytes are queued.
    """

    _awaits = True
    # The task that awaits callbacks; and that of an ``opened`` which receives messages itself.
    _task: asyncio.Task[None] | None = None
    _main: asyncio.Task[None] | None = None
    # Bytes of the messages among the callbacks that are still to be made.
    _backlog_size = 0
    # Whether somebody has asked for messages, and is waiting for one.
    _receives = False
    _receiver: asyncio.Future[None] | None = None
    _ended: asyncio.Future[None] | None = None
    # The connection has ended, and ``closed`` waits for a callback.
    _finishing = False

    def _renew(self) -> None:
        super()._renew()
        self._backlog: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._inbox: deque[DataMessage] = deque()

    @property
    def _loop(self) -> asyncio.AbstractEventLoop:
        loop: asyncio.AbstractEventLoop = self._driver.loop  # type: ignore[attr-defined]
        return loop

    # Sending.

    def _room(self) -> Ready | Room:
        if self._queued <= self.limits.high_water and self._source is None:
            return READY
        return Room(self, self._loop)

    def send(self, payload: Any, binary: bool = False) -> Ready | Room:  # type: ignore[override]
        """Send a message, as :meth:`ws4py.websocket.WebSocket.send` does.

        Returns:
            What can be awaited, until no more than ``limits.low_water`` bytes are queued; or not.
        """
        super().send(payload, binary)
        return self._room()

    def ping(self, message: Payload = "") -> Ready | Room:  # type: ignore[override]
        """Send a Ping; returns what :meth:`send` does."""
        super().ping(message)
        return self._room()

    def close(self, code: int = 1000, reason: Payload = "") -> Ready | Room:  # type: ignore[override]
        """Begin the closing handshake; returns what :meth:`send` does.

        :meth:`wait_closed` waits for the end of the connection.
        """
        super().close(code, reason)
        return self._room()

    # Receiving.

    def received_message(self, message: DataMessage) -> Any:
        """Keep a message for :meth:`receive`. Override it to handle messages as they come."""
        if len(self._inbox) < AHEAD or (self._receives and not self._close_sent):
            self._inbox.append(message)
        else:
            logger.debug("A message is thrown away: nobody receives it")
        self._wake_receiver()

    def _wake_receiver(self) -> None:
        if self._receiver is not None and not self._receiver.done():
            self._receiver.set_result(None)

    @property
    def _keeps_messages(self) -> bool:
        return getattr(self.received_message, "__func__", None) is WebSocket.received_message

    async def receive(self) -> DataMessage | None:
        """Return the next message; None once there are no more, because the connection is ending.

        Raises:
            RuntimeError: ``received_message`` is overridden; or another task is receiving.
        """
        if not self._keeps_messages:
            raise RuntimeError("messages go to received_message, which is overridden")
        if self._receiver is not None:
            raise RuntimeError("another task is receiving on this websocket")
        self._receives = True
        while not self._inbox:
            if self.close_received or self._over or self._ending:
                return None
            self._receiver = self._loop.create_future()
            try:
                await self._receiver
            finally:
                self._receiver = None
        message = self._inbox.popleft()
        self._resume()
        return message

    def __aiter__(self) -> WebSocket:
        return self

    async def __anext__(self) -> DataMessage:
        message = await self.receive()
        if message is None:
            raise StopAsyncIteration
        return message

    async def __aenter__(self) -> WebSocket:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *exc_info: object) -> None:
        """Close the connection, with 1011 after an exception, and wait for its end."""
        if kind is None or not issubclass(kind, Exception):
            self.close()
        else:
            self._close_failed()
        self._resume()
        await self.wait_closed()

    async def wait_closed(self) -> None:
        """Wait until ``closed`` has returned; do not wait if there is no connection."""
        if self.stream is None or not self._connected:
            return
        if self._ended is None:
            self._ended = self._loop.create_future()
        await asyncio.shield(self._ended)

    # Callbacks.

    def _call(self, callback: Callable[..., Any], *arguments: Any) -> None:
        keeps = self._keeps_messages
        if self._task is not None and not (keeps and callback == self.received_message):
            self._backlog.append((callback, arguments))
            self._backlog_size += _size(arguments)
            return
        awaitable = self._start(callback, arguments)
        if awaitable is None:
            return
        if keeps and callback == self.opened:
            self._main = self._loop.create_task(self._work(awaitable))
        else:
            self._task = self._loop.create_task(self._work(awaitable))

    def _start(self, callback: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """Make a callback; return what has to be awaited, if anything."""
        try:
            result = callback(*arguments)
        except Exception as error:  # noqa: BLE001 - the application's
            self._crashed(error)
            return None
        return None if result is None or result is READY or not isawaitable(result) else result

    async def _work(self, awaitable: Any) -> None:
        task = asyncio.current_task()
        try:
            while awaitable is not None:
                await self._await(awaitable)
                awaitable = None if task is self._main else self._next()
        finally:
            if task is self._main:
                self._main = None
            else:
                self._task = None
                self._backlog.clear()
                self._backlog_size = 0
            self._resume()
            if self._finishing:
                self._finish()

    async def _await(self, awaitable: Any) -> None:
        try:
            await awaitable
        except Exception as error:  # noqa: BLE001 - the application's
            self._crashed(error)

    def _next(self) -> Any:
        """Make the callbacks that have waited; return the first result that is to be awaited."""
        awaitable = None
        while self._backlog and awaitable is None:
            callback, arguments = self._backlog.popleft()
            self._backlog_size -= _size(arguments)
            if self._backlog and self.gather and self._gatherer is None:
                self._gatherer = self._driver.get_ident()
                self._loop.call_soon(self._stop_gathering)
            if not self._failed:
                awaitable = self._start(callback, arguments)
        self._resume()
        return awaitable

    def _stop_gathering(self) -> None:
        self._gatherer = None
        self.flush()

    def _resume(self) -> None:
        """Have the peer read again, if it was not for the application's sake."""
        if self._paused:
            self._drained()

    def _occupied(self, stream: Stream) -> bool:
        if stream.has_message and self._keeps_messages:
            return self._receives and not self._close_sent and len(self._inbox) >= AHEAD
        if stream.has_message or stream.pongs:
            return len(self._backlog) >= AHEAD or self._backlog_size > self.limits.high_water
        if stream.pings or not (stream.closing or stream.errors):
            return False
        return self._task is not None or bool(
            self._receives and self._inbox and not self._close_sent
        )

    def _handle(self, stream: Stream) -> None:
        super()._handle(stream)
        if self.close_received:
            self._wake_receiver()

    def _finish(self) -> None:
        self._wake_receiver()
        self._finishing = self._task is not None or self._main is not None
        if not self._finishing:
            super()._finish()
        elif self._transport is not None:
            self._transport.close()

    def _tell_closed(self, let_go: Callable[[], None]) -> None:
        awaitable = self._start_closed()
        if awaitable is None:
            let_go()
        else:
            self._task = self._loop.create_task(self._await_closed(awaitable, let_go))

    def _start_closed(self) -> Any:
        code = self.close_code or ABNORMAL
        try:
            result = self.closed(code, self.close_reason)
        except Exception:
            logger.exception("An exception in closed()")
            return None
        return result if isawaitable(result) else None

    async def _await_closed(self, awaitable: Any, let_go: Callable[[], None]) -> None:
        try:
            await awaitable
        except Exception:
            logger.exception("An exception in closed()")
        finally:
            self._task = None
            let_go()

    def _let_go(self, *kept: Any) -> None:
        super()._let_go(*kept)
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    def _cancel(self) -> None:
        """Cancel the callback that is being awaited."""
        for task in (self._task, self._main):
            if task is not None:
                task.cancel()


def _size(arguments: tuple[Any, ...]) -> int:
    return sum(len(each.data) for each in arguments if isinstance(each, Message))


class EchoWebSocket(WebSocket):
    """Sends every message back."""

    async def received_message(self, message: DataMessage) -> None:
        """Send ``message`` back, as text or binary as it came."""
        await self.send(message.data, message.is_binary)
