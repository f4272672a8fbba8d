"""The client that a thread of its own reads."""

from __future__ import annotations

import threading
from typing import Any

from ws4py.client import WebSocketBaseClient
from ws4py.driver import STARTED

__all__ = ["WebSocketClient"]

#: Seconds between two looks: Ctrl-C that comes just before a wait begins does not interrupt it.
_LOOKS_UP = 1.0


class WebSocketClient(WebSocketBaseClient):
    """A client whose callbacks run in a thread that :meth:`connect` starts.

    The arguments are those of :class:`ws4py.client.WebSocketBaseClient`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._th = self._make_thread(daemon=True)

    def _make_thread(self, daemon: bool) -> threading.Thread:
        ended = self._ended = threading.Event()

        def run() -> None:
            try:
                self.run()
            finally:
                ended.set()

        return threading.Thread(target=run, name="WebSocketClient", daemon=daemon)

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
        self._reader = STARTED
        self._th.start()

    def run_forever(self) -> None:
        """Wait until the connection has ended and ``closed`` has returned.

        A client that connects again in ``closed`` is waited for again.

        Raises:
            RuntimeError: It has not been connected, or this is one of its callbacks.
        """
        self._check_wait(self._th is threading.current_thread())
        ended = None
        while self._th.ident is not None and ended is not self._ended:
            # A thread that is joined counts as ended once Ctrl-C has interrupted that.
            ended, thread = self._ended, self._th
            while not ended.wait(_LOOKS_UP):
                pass
            thread.join()
