"""A WebSocket whose callbacks may be coroutine functions, for the engines on asyncio.

Callbacks run in order and one at a time for each connection, in a task that is made when one of
them has to be awaited. While that task is at work the parser looks ahead: Pings are answered, and a
few messages wait. Then the peer is not read until there is room, and its Close waits its turn, for
``limits.close_timeout`` seconds.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from concurrent.futures import Future
from functools import partial
from inspect import isawaitable, iscoroutine
from logging import getLogger
from typing import Any, Callable, Generic, TypeVar

from ws4py import websocket
from ws4py._asyncio import Connection, wake
from ws4py._room import READY, Ready, Room
from ws4py.driver import Cancellable
from ws4py.messaging import ABNORMAL, Message, Payload
from ws4py.sending import PLAIN_SENDS
from ws4py.streaming import DataMessage, Stream

__all__ = ["EchoWebSocket", "WebSocket"]

logger = getLogger("ws4py")

#: What waits for the application at most, in number; in bytes it is ``limits.high_water``.
AHEAD = 64

Item = TypeVar("Item")


class _Ahead(Generic[Item]):
    """What has come before the application is ready for it."""

    def __init__(self) -> None:
        self._items: deque[tuple[Item, int]] = deque()
        self._size = 0

    def __len__(self) -> int:
        return len(self._items)

    def push(self, item: Item, size: int) -> None:
        """Append something that holds ``size`` bytes."""
        self._items.append((item, size))
        self._size += size

    def pop(self) -> Item:
        """Take the first one away."""
        item, size = self._items.popleft()
        self._size -= size
        return item

    def clear(self) -> None:
        """Throw all away."""
        self._items.clear()
        self._size = 0

    def is_full(self, most: int) -> bool:
        """Say whether there are more than ``most`` bytes, or too many items."""
        return self._size > most or len(self._items) >= AHEAD


class WebSocket(websocket.WebSocket):
    """A connection whose callbacks may be coroutine functions.

    Where ``received_message`` is not overridden, messages are received with :meth:`receive`, or
    with ``async for message in websocket``; in ``opened``, for instance.

    Messages that nobody is ready for wait, and when they are too many the peer is not read until
    somebody is. Its Close waits as well, and without TLS the end of its direction of TCP, but no
    longer than ``limits.close_timeout`` seconds. A callback that still waits for something as long
    after the end of its connection, or after our Close, is cancelled; ``closed`` is called then.

    ``send``, ``ping`` and ``close`` act at once, as they do on every engine. What they return can
    be awaited: until no more than ``limits.low_water`` bytes are queued.
    """

    _awaits = True
    # The task of ``closed``, and whether it has had its time.
    _last: asyncio.Task[None] | None = None
    _last_is_late = False
    # What awaits a ``close`` of the program's that a server has called.
    _closer: Future[None] | None = None

    def _renew(self) -> None:
        super()._renew()
        self._backlog: _Ahead[tuple[Callable[..., Any], tuple[Any, ...]]] = _Ahead()
        self._inbox: _Ahead[DataMessage] = _Ahead()
        # The task that awaits callbacks; and that of an ``opened`` which receives messages itself.
        self._task: asyncio.Task[None] | None = None
        self._main: asyncio.Task[None] | None = None
        # Whether somebody has asked for messages, and is waiting for one.
        self._receives = False
        self._receiver: asyncio.Future[None] | None = None
        # Whether ``closed`` waits for a callback.
        self._finishing = False
        # What looks how long the peer's Close, or its end of TCP, has waited for the application,
        # and what it found.
        self._hurry: Cancellable | None = None
        self._hurries = False

    @property
    def _loop(self) -> asyncio.AbstractEventLoop:
        loop: asyncio.AbstractEventLoop = self._driver.loop  # type: ignore[attr-defined]
        return loop

    # Sending.

    def _room(self) -> Ready | Room:
        if self._queued <= self.limits.high_water and self._source is None:
            return READY
        return Room(self, self._loop)

    def send(  # type: ignore[override]
        self, payload: Any, binary: bool = False, compress: bool = True
    ) -> Ready | Room:
        """Send a message, as :meth:`ws4py.websocket.WebSocket.send` does.

        Returns:
            What can be awaited, until no more than ``limits.low_water`` bytes are queued; or not.
        """
        super().send(payload, binary, compress)
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

    _our_close = close

    def _ask_to_close(self, code: int, reason: str) -> None:
        result: Any = self.close(code=code, reason=reason)
        if iscoroutine(result):
            self._closer = asyncio.run_coroutine_threadsafe(self._await(result), self._loop)

    def _close(self, code: int | None, reason: Payload | None, at_once: bool = False) -> bool:
        begins = super()._close(code, reason, at_once)
        self._resume()  # Messages that nobody receives do not keep the peer's Close any more.
        return begins

    # Receiving.

    def received_message(self, message: DataMessage) -> Any:
        """Keep a message for :meth:`receive`. Override it to handle messages as they come."""
        most = self.limits.high_water
        if not (self._close_sent and self._inbox.is_full(most)):
            self._inbox.push(message, len(message.data))
            if not self._receives and self._inbox.is_full(most):
                logger.info("A peer is not read until somebody receives its messages")
        self._wake_receiver()

    def _wake_receiver(self) -> None:
        if self._receiver is not None:
            wake(self._receiver)

    @property
    def _keeps_messages(self) -> bool:
        return getattr(self.received_message, "__func__", None) is WebSocket.received_message

    async def receive(self) -> DataMessage | None:
        """Return the next message; None once there are no more, because the connection is ending.

        Raises:
            RuntimeError: ``received_message`` is overridden; or another task is receiving; or a
                client is not connected yet.
        """
        if not self._keeps_messages:
            raise RuntimeError("messages go to received_message, which is overridden")
        if self._receiver is not None:
            raise RuntimeError("another task is receiving on this websocket")
        if not self._connected:
            self._check_connected("receive")
        self._receives = True
        while not self._inbox:
            if self.close_received or self._over or self._ending:
                return None
            self._receiver = self._loop.create_future()
            try:
                await self._receiver
            finally:
                self._receiver = None
        message = self._inbox.pop()
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
        await self.wait_closed()

    async def wait_closed(self) -> None:
        """Wait until ``closed`` has returned and TCP has ended; not at all without a connection.

        Raises:
            RuntimeError: This is called by a callback of this connection: ``closed`` comes after.
        """
        if self.stream is None or not self._connected:
            return
        if asyncio.current_task() in (self._task, self._main, self._last):
            raise RuntimeError("a callback cannot wait for the end of its own connection")
        connection: Connection = self._driver  # type: ignore[assignment]
        await connection.wait_ended()

    # Callbacks.

    def _call(self, callback: Callable[..., Any], *arguments: Any) -> None:
        keeps = self._keeps_messages
        if self._task is not None and not (keeps and callback == self.received_message):
            self._backlog.push((callback, arguments), _size(arguments))
            return
        awaitable = self._start(callback, arguments)
        if awaitable is None:
            return
        if keeps and callback == self.opened:
            self._main = self._spawn(self._await(awaitable))
        else:
            self._task = self._spawn(self._work(awaitable))

    def _start(self, callback: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """Make a callback; return what has to be awaited, if anything."""
        try:
            result = callback(*arguments)
        except Exception as error:  # noqa: BLE001 - the application's
            self._crashed(error)
            return None
        return result if result is not READY and isawaitable(result) else None

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        # And not at the end of the coroutine, which may be cancelled before it has begun.
        task.add_done_callback(self._worked)
        return task

    async def _work(self, awaitable: Any) -> None:
        while awaitable is not None:
            await self._await(awaitable)
            awaitable = self._next()

    async def _await(self, awaitable: Any) -> None:
        try:
            await awaitable
        except Exception as error:  # noqa: BLE001 - the application's
            self._crashed(error)

    def _next(self) -> Any:
        """Make the callbacks that have waited; return the first result that is to be awaited."""
        awaitable = None
        while self._backlog and awaitable is None:
            callback, arguments = self._backlog.pop()
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

    def _worked(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() and not self._ending:
            logger.info("A callback was cancelled, which closes its websocket")
            self._close_failed()
        error = None if task.cancelled() else task.exception()
        # Those have ended the loop already, and need no word of asyncio's about the task.
        if error is not None and not isinstance(error, (KeyboardInterrupt, SystemExit)):
            self._crashed(error)
        if task is self._main:
            self._main = None
        else:
            awaitable = self._next()
            self._task = None if awaitable is None else self._spawn(self._work(awaitable))
        self._resume()
        if self._finishing:
            self._finish()

    def _resume(self) -> None:
        """Have the peer read again, if it was not for the application's sake."""
        if self._paused and not self._over:
            self._driver.read_on(self)

    def _occupied(self, stream: Stream) -> bool:
        most = self.limits.high_water
        if stream.has_message and self._keeps_messages:
            return not self._close_sent and self._inbox.is_full(most)
        if stream.has_message or stream.pongs:
            return self._backlog.is_full(most)
        if stream.pings or (stream.closing is None and not stream.errors):
            return False
        return self._is_behind() and self._has_time()

    def _is_behind(self) -> bool:
        """Say whether the application has yet to handle something that was parsed."""
        unread = self._receives and bool(self._inbox) and not self._close_sent
        return self._task is not None or unread

    def _puts_off_end(self) -> bool:
        unsent = bool(self._outgoing) or self._source is not None
        self._paused = (unsent or self._is_behind()) and self._has_time()
        return self._paused

    def _has_time(self) -> bool:
        """Say whether the peer's Close or end of TCP may wait, from now on for a certain time."""
        seconds = self.limits.close_timeout
        if self._hurry is None and seconds is not None:
            self._start_timer("_hurry", seconds, self.stream, self._handle_now)
        return not self._hurries

    def _handle_now(self) -> None:
        self._hurries = True
        self._resume()

    def _cancel_timers(self) -> None:
        super()._cancel_timers()
        timer, self._hurry = self._hurry, None
        if timer is not None:
            timer.cancel()

    def _is_answering(self) -> bool:
        if self._task is None or not self._has_time():
            return False
        self._unhandled = self._paused = True  # The Close is handled again when that has ended.
        return True

    def _handle(self, stream: Stream) -> None:
        super()._handle(stream)
        if self.close_received:
            self._wake_receiver()

    # The end.

    def _finish(self) -> None:
        self._wake_receiver()
        self._finishing = self._task is not None or self._main is not None
        if not self._finishing:
            super()._finish()
            return
        if self._transport is not None:
            self._transport.close()
        seconds = self.limits.close_timeout
        if self._deadline is None and seconds is not None:
            late = partial(self._drop, f"a callback did not return in {seconds} s")
            self._start_timer("_deadline", seconds, self.stream, late)

    def _drop(self, why: str) -> None:
        if self._finishing:
            logger.info("A callback is cancelled: %s", why)
        else:
            super()._drop(why)
        self._backlog.clear()  # Its callbacks would come after the end, and might wait as well.
        _cancel(self._task, self._main)

    def _cancel(self) -> None:
        """Cancel the callback that is being awaited; ``closed`` at the second call for it."""
        _cancel(self._task, self._main, self._last if self._last_is_late else None)
        self._last_is_late = self._last is not None

    def _tell_closed(self, let_go: Callable[[], None]) -> None:
        try:
            result = self.closed(self.close_code or ABNORMAL, self.close_reason)
            if isawaitable(result):
                self._last = self._loop.create_task(_await_closed(result))
                self._last.add_done_callback(lambda _: let_go())
                return
        except Exception:
            logger.exception("An exception in closed()")
        let_go()


PLAIN_SENDS.add(WebSocket.send)


def _cancel(*tasks: asyncio.Task[None] | None) -> None:
    for task in tasks:
        if task is not None:
            task.cancel()


async def _await_closed(awaitable: Any) -> None:
    try:
        await awaitable
    except Exception:
        logger.exception("An exception in closed()")


def _size(arguments: tuple[Any, ...]) -> int:
    return sum(len(each.data) for each in arguments if isinstance(each, Message))


class EchoWebSocket(WebSocket):
    """Sends every message back."""

    async def received_message(self, message: DataMessage) -> None:
        """Send ``message`` back, as text or binary as it came."""
        await self.send(message.data, message.is_binary)
