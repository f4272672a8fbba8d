"""WebSocket: one connection, as an application sees it.

What comes in goes through :mod:`ws4py.receiving`, what is sent through :mod:`ws4py.sending`; how it
ends is :mod:`ws4py.closing`.

Callbacks run one at a time: ``opened`` first, ``closed`` last and exactly once, whoever ended the
connection. If a thread reads it, that thread calls ``closed``, after the callback it is in.

An exception in a callback is logged, and ends its connection. So does ``SystemExit`` (or
``KeyboardInterrupt``), but where callbacks run in the main thread it ends the program.
"""

from __future__ import annotations

from contextlib import suppress
from contextvars import ContextVar
from inspect import iscoroutinefunction
from typing import Any

from ws4py.closing import Returned
from ws4py.deflate import PerMessageDeflate
from ws4py.driver import Cancellable
from ws4py.heartbeat import Heartbeat, check_frequency
from ws4py.receiving import Receiver
from ws4py.streaming import DataMessage, Stream

__all__ = ["EchoWebSocket", "Heartbeat", "WebSocket"]

#: The socket for which a server makes a websocket, which has the connection only once the server
#: has answered on it.
lent: ContextVar[Any] = ContextVar("lent", default=None)


class WebSocket(Receiver):
    """A connection after its opening handshake. Subclass it, and override the callbacks.

    Args:
        sock: A connected socket; or anything with ``recv`` and ``sendall``.
        protocols: The subprotocol that was negotiated, in a list.
        extensions: The extensions that were negotiated, as the server's answer has them: a list
            such as ``["permessage-deflate; server_max_window_bits=12"]``.
        environ: The request, as a WSGI environ, on a server.
        heartbeat_freq: Seconds between two Pings; None or 0 for no heartbeat.

    Attributes:
        stream: The :class:`ws4py.streaming.Stream`; None once ``closed`` has returned.
        close_code: What ``closed`` was called with; None before.
        close_reason: The same; a str.
        close_sent: Whether our Close has been decided on.
        close_received: Whether the peer has sent its Close.
        limits: A :class:`ws4py.limits.Limits`; set it on the class or the object.
    """

    heartbeat_freq: float | None = None
    #: Seconds that ``run`` waits for bytes before it gives up; None for as long as it takes.
    sock_timeout: float | None = None

    __slots__ = (
        "__dict__",
        "__weakref__",
        "_fd",
        "_heartbeat",
        "_opened",
        "_reads_only",
        "_watched",
        "extensions",
        "protocols",
    )

    def __init__(
        self,
        sock: Any,
        protocols: list[str] | None = None,
        extensions: list[str] | None = None,
        environ: dict[str, Any] | None = None,
        heartbeat_freq: float | None = None,
    ) -> None:
        self._renew()
        self.protocols = protocols
        self.extensions = extensions
        self.environ = environ
        self.sock = sock
        if self._transport is not None and sock is lent.get():
            self._connected, self._transport.is_lent = False, True
        if heartbeat_freq is not None:
            check_frequency(heartbeat_freq)
            self.heartbeat_freq = heartbeat_freq

    def _renew(self) -> None:
        """Begin anew, whatever this object has been before."""
        if not self._disconnected and self._over:
            self._disconnect(self.stream)
        with self._lock:
            self._visitors.wait_for_others(self._driver)
            self._reset()

    def _reset(self) -> None:
        # By this, who has begun something on what was before knows.
        self.stream: Any = Stream(always_mask=self._is_client, expect_masking=not self._is_client)
        Receiver.__init__(self)
        self._opened = False
        # Kept here by the loop that drives the connection, if there is one.
        self._fd = -1
        self._watched = self._reads_only = False
        self._heartbeat: Cancellable | None = None

    def _take_over(self) -> None:
        """Have the connection, which a server has answered on; not if this has been ended."""
        with self._lock:
            transport = self._transport
            ends = self._over or self._ending
            if transport is not None and transport.is_lent and not ends:
                self._connected, transport.is_lent = True, False

    def _agree(self, compression: PerMessageDeflate | None, extensions: list[str]) -> None:
        """Compress messages, if that is among the ``extensions`` that were negotiated."""
        if compression is not None:
            codecs = compression.codecs(extensions, self._is_client)
            self._deflater, self.stream.inflater = codecs

    def opened(self) -> Returned:
        """Called when the opening handshake has succeeded, before any message."""

    def run(self) -> None:
        """Call ``opened``, and read until the connection has ended; then call ``closed``.

        Blocks, so it wants a thread of its own.
        """
        self._take_over()
        self._reader = self._driver.get_ident()
        stream = self.stream
        try:
            with self._driver.beating(self):
                transport = self._transport
                if transport is not None:
                    with suppress(OSError):  # Another thread may have closed it: `once` says so.
                        transport.block(self.sock_timeout)
                self._open()
                while self.stream is stream and not self._ending and self.once():
                    pass
        finally:
            if self.stream in (stream, None):  # else ``closed`` has connected again
                self.terminate()
            if self._reader == self._driver.get_ident():
                self._reader = None

    def _open(self) -> None:
        """Call ``opened``, the first time."""
        if self._opened or self._over or not self._connected:
            return
        self._opened = True
        if self._keeper is not None:
            self._keeper._add(self)
        self._note_addresses()
        self._busy = self._driver.get_ident()
        try:
            self._call(self.opened)
        finally:
            self._busy = None


#: Those of most classes, some at least; to look at a function takes longer than to know it.
_CALLBACKS = {
    name: getattr(WebSocket, name) for name in ("opened", "received_message", "ponged", "closed")
}


def check_callbacks(handler: Any, is_async: bool = False) -> None:
    """See to it that the callbacks of ``handler``, a class, are ones that an engine calls.

    Args:
        is_async: Whether that engine awaits what coroutine functions return.

    Raises:
        TypeError: A callback is a coroutine function, which nobody would await.
    """
    name = getattr(handler, "__name__", handler)
    awaits = getattr(handler, "_awaits", False)
    if awaits and not is_async:
        raise TypeError(f"{name} needs an engine on asyncio, Tornado or ASGI, which awaits it")
    for callback, ours in () if awaits else _CALLBACKS.items():
        function = getattr(handler, callback, None)
        if function is not ours and iscoroutinefunction(function):
            raise TypeError(
                f"{name}.{callback} is a coroutine function, which nothing here awaits: "
                "define it with def, or derive from ws4py.async_websocket.WebSocket"
            )


class EchoWebSocket(WebSocket):
    """Sends every message back."""

    def received_message(self, message: DataMessage) -> None:
        """Send ``message`` back, as text or binary as it came."""
        self.send(message.data, message.is_binary)
