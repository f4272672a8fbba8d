"""The client that a thread of its own reads."""

from __future__ import annotations

from threading import Thread
from typing import Any

from ws4py.client import WebSocketBaseClient

__all__ = ["WebSocketClient"]


class WebSocketClient(WebSocketBaseClient):
    """A client whose callbacks run in a thread that :meth:`connect` starts.

    The arguments are those of :class:`ws4py.client.WebSocketBaseClient`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._th = self._make_thread(daemon=True)

    def _make_thread(self, daemon: bool) -> Thread:
        return Thread(target=self.run, name="WebSocketClient", daemon=daemon)

    @property
    def daemon(self) -> bool:
        """Whether the program may end while the thread runs; set it before :meth:`connect`."""
        return self._th.daemon

    @daemon.setter
    def daemon(self, flag: bool) -> None:
        self._th.daemon = flag

    def handshake_ok(self) -> None:
        """Start the thread, in which ``opened`` is called."""
        if self._th.ident is not None:
            self._th = self._make_thread(self.daemon)
        self._th.start()

    def run_forever(self) -> None:
        """Wait until the connection has ended and ``closed`` has returned."""
        if self._th.ident is not None:
            self._th.join()
