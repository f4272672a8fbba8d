"""The client for Tornado's loop, which is asyncio's."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Mapping, Sequence
from logging import getLogger
from typing import Any

from tornado.ioloop import IOLoop

from ws4py.client import Headers
from ws4py.client.asyncioclient import WebSocketClient
from ws4py.deflate import Compression
from ws4py.messaging import ABNORMAL

__all__ = ["TornadoWebSocketClient"]

logger = getLogger("ws4py")


class TornadoWebSocketClient(WebSocketClient):
    """A client on a loop of Tornado.

    Callbacks may be coroutine functions; or override none, and receive messages with ``async for``.

    Args:
        io_loop: The loop; by default the current one.

    The other arguments are those of :class:`ws4py.client.WebSocketBaseClient`.
    """

    def __init__(
        self,
        url: str,
        protocols: str | Sequence[str] | None = None,
        extensions: str | Sequence[str] | None = None,
        io_loop: IOLoop | None = None,
        ssl_options: Mapping[str, Any] | None = None,
        headers: Headers | None = None,
        exclude_headers: Iterable[str] | None = None,
        *,
        heartbeat_freq: float | None = None,
        ssl_context: ssl.SSLContext | None = None,
        open_timeout: float | None = None,
        compression: Compression = None,
    ) -> None:
        self.io_loop = io_loop or IOLoop.current()
        super().__init__(
            url,
            protocols,
            extensions,
            heartbeat_freq,
            ssl_options,
            headers,
            exclude_headers,
            ssl_context=ssl_context,
            open_timeout=open_timeout,
            compression=compression,
        )

    def connect(self) -> asyncio.Future[None]:  # type: ignore[override]
        """Connect, do the opening handshake, and call ``opened``.

        Called in the loop's thread, or before the loop is started.

        Returns:
            A future with the errors of :meth:`ws4py.client.asyncioclient.WebSocketClient.connect`.
            If nobody waits for it, ``closed`` is called with what failed, and 1006.

        Raises:
            RuntimeError: The client's class does not call our ``__init__``.
        """
        self._check_made()
        loop = self.io_loop.asyncio_loop
        outcome = Outcome(loop=loop)
        outcome.task = loop.create_task(self._connect_for(outcome))
        outcome.task.add_done_callback(outcome.give_up)
        return outcome

    async def _connect_for(self, outcome: Outcome) -> None:
        try:
            await super().connect()
        except Exception as error:  # noqa: BLE001 - whoever waits for the outcome gets it
            alive = self._connected and not self._over  # It was connected already.
            outcome.fail(error)
            if not alive and not outcome.is_awaited:
                logger.warning("No connection to %s: %r", self.url, error)
                await self._tell_failed(str(error))
        else:
            outcome.set_result(None)

    async def _tell_failed(self, reason: str) -> None:
        self.close_code, self.close_reason = ABNORMAL, reason
        self._tell_closed(lambda: None)
        if self._last is not None:
            await self._last

    @property
    def _loop(self) -> asyncio.AbstractEventLoop:
        loop: asyncio.AbstractEventLoop = self.io_loop.asyncio_loop
        return loop


class Outcome(asyncio.Future):  # type: ignore[type-arg]
    """The future of ``connect``: knows whether anybody waits for it, and can be left alone."""

    is_awaited = False
    task: asyncio.Task[None]

    def add_done_callback(self, *args: Any, **kwargs: Any) -> None:
        """Note that somebody waits."""
        self.is_awaited = True
        super().add_done_callback(*args, **kwargs)

    def cancel(self, *args: Any, **kwargs: Any) -> bool:
        """Do not connect; be cancelled when that has been seen to."""
        return self.task.cancel()

    def give_up(self, _: object) -> None:
        """Be cancelled, unless there is a result or an error."""
        super().cancel()

    def fail(self, error: Exception) -> None:
        """Have ``error``, and make no noise if nobody looks at it."""
        self.set_exception(error)
        self.exception()
