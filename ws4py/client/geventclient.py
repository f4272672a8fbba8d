"""The client that a greenlet of its own reads."""

from __future__ import annotations

from typing import Any, Callable

import gevent.socket
from gevent import Greenlet, Timeout, getcurrent
from gevent.queue import Queue

from ws4py._gevent import GreenletDriver, wrap_socket
from ws4py.client import WebSocketBaseClient
from ws4py.driver import STARTED
from ws4py.messaging import Message

__all__ = ["WebSocketClient"]

#: What a message in the queue counts for, besides its bytes.
_OVERHEAD = 256


class Messages(Queue):
    """Messages, and StopIteration as the last item.

    Args:
        taken: Called when an item has been taken.
    """

    def __init__(self, taken: Callable[[], object]) -> None:
        super().__init__()
        self._taken = taken
        #: Bytes that the items count for.
        self.size = 0

    def _put(self, item: Any) -> None:
        super()._put(item)
        self.size += _count(item)

    def _get(self) -> Any:
        item = super()._get()
        self.size -= _count(item)
        self._taken()
        return item


def _count(item: Any) -> int:
    return len(item.data) + _OVERHEAD if isinstance(item, Message) else 0


class WebSocketClient(WebSocketBaseClient):
    """A client whose callbacks run in a greenlet that :meth:`connect` starts.

    The arguments are those of :class:`ws4py.client.WebSocketBaseClient`. It belongs to the thread
    that makes it; other threads may send, close and terminate.

    Attributes:
        messages: The queue of what :meth:`receive` returns. While it holds more than
            ``limits.max_queue`` bytes, the peer is not read. A subclass with its own
            ``received_message`` does not use it.
    """

    _sockets = gevent.socket

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._th = Greenlet(self.run)

    def _prepare(self) -> None:
        self._driver = GreenletDriver()
        self.messages = Messages(self._make_progress)
        super()._prepare()

    def _wrap_socket(self, context: Any, sock: Any, **options: Any) -> Any:
        return wrap_socket(context, sock, **options)

    def _connect(self, deadline: Any) -> None:
        # TLS of gevent has the time-out of a socket begin anew with each byte that comes.
        with Timeout(self._open_timeout, TimeoutError):
            super()._connect(deadline)

    def handshake_ok(self) -> None:
        """Start the greenlet, in which ``opened`` is called."""
        if self._th.ready() or self._th is getcurrent():
            self._th = Greenlet(self.run)
        self._reader = STARTED
        self._th.start()

    def received_message(self, message: Any) -> None:
        """Put ``message`` into the queue; after :meth:`close`, only if there is room."""
        most = self.limits.max_queue
        with self._lock:
            while self._is_full(most) and not self._close_sent and not self._ending:
                self._wait()
        if not self._is_full(most):
            self.messages.put(message)

    def _is_full(self, most: int | None) -> bool:
        return most is not None and self.messages.size > most

    def _make_progress(self) -> None:
        with self._lock:
            self._wake()

    def _finish(self) -> None:
        messages = self.messages  # closed() may connect again
        super()._finish()
        messages.put(StopIteration)

    def receive(self, block: bool = True, timeout: float | None = None) -> Any:
        """Return the next message; None once the connection has ended and none is left.

        Args:
            block: Whether to wait for one.
            timeout: Seconds to wait at most; None for as long as it takes.

        Raises:
            gevent.queue.Empty: None has come.
            RuntimeError: It is not connected yet.
        """
        if not (self._connected or self._returns):
            self._check_connected("receive")
        messages = self.messages
        if self._over and not messages.qsize():
            return None
        message = messages.get(block, timeout)
        if message is StopIteration:
            messages.put(message)  # for whoever asks next
            return None
        return message

    def run_forever(self) -> None:
        """Wait until the connection has ended and ``closed`` has returned.

        A client that connects again in ``closed`` is waited for again.

        Raises:
            RuntimeError: It has not been connected, or this is one of its callbacks.
        """
        self._check_wait(self._th is getcurrent())
        joined = None
        while joined is not self._th and (self._th.started or self._th.ready()):
            joined = self._th
            joined.join()
