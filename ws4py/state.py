"""State: what a connection keeps in order to send, and to know whose turn it is; and lets go of.

All of it stands in slots, which are quick to read, and take less room than a dict of so many names.
Subclasses outside of ws4py have a ``__dict__`` besides, so that anything can be set on an object.
"""

from __future__ import annotations

from collections import deque
from threading import Lock
from typing import Any, Callable, TypeVar

from ws4py.deflate import Deflater
from ws4py.driver import Driver, Keeper, ThreadDriver, Visitors
from ws4py.exc import Terminated
from ws4py.framing import Fragments, Sendable
from ws4py.transport import Endpoint

_THREAD_DRIVER = ThreadDriver()

Self = TypeVar("Self", bound="State")


class State(Endpoint):
    """The state of a connection, as it is when one begins."""

    __slots__ = (
        "_alive",
        "_answers",
        "_broken",
        "_busy",
        "_close_sent",
        "_connected",
        "_deferred",
        "_deferred_size",
        "_deflater",
        "_disconnected",
        "_draining",
        "_driver",
        "_dropped",
        "_ending",
        "_failure",
        "_fragmenter",
        "_gathered",
        "_gathered_size",
        "_gatherer",
        "_keeper",
        "_lock",
        "_outgoing",
        "_over",
        "_pong",
        "_progress",
        "_reader",
        "_sealed",
        "_source",
        "_visitors",
        "_waiters",
        "dropped_messages",
    )

    _lock: Lock
    _visitors: Visitors
    _driver: Driver
    _keeper: Keeper | None

    _is_client = False
    # Whether a client is one that connects again: for those that send, its connection has ended.
    _returns = False

    def __new__(cls: type[Self], *_args: Any, **_kwargs: Any) -> Self:
        """Make what stays when the object begins anew: others may hold the lock, or wait for it."""
        self = super().__new__(cls)
        self._lock = Lock()
        self._visitors = Visitors(self._lock)
        self._driver = _THREAD_DRIVER
        self._disconnected = True
        self._keeper = None
        return self

    def __init__(self) -> None:
        super().__init__()
        self._driver = _THREAD_DRIVER
        #: How many messages of ``broadcast`` were not sent for want of room; see
        #: ``limits.when_full``.
        self.dropped_messages = 0
        # Whether the opening handshake is over.
        self._connected = True
        # What compresses messages, if that was negotiated.
        self._deflater: Deflater | None = None
        self._over = self._close_sent = self._broken = False
        # Whether close_connection() has been called for this connection.
        self._disconnected = False
        # The connection is to end when the callback that runs has returned.
        self._ending = False
        # What the kernel said: the error itself would be a cycle, by its traceback.
        self._failure = ""
        # The Close frame has its place in the queue: nothing may come after it.
        self._sealed = False
        # A bytearray, or a view of the one payload in it; most connections never have any.
        self._outgoing: bytes | bytearray | memoryview = b""
        # Somebody has been asked to drain the queue, or to go on with the generator.
        self._draining = False
        # When the kernel last took something of the queue.
        self._progress = 0.0
        # Whether the peer has shown a sign of life since the heartbeat last looked.
        self._alive = False
        # The newest Pong, while the kernel refuses bytes (section 5.5.3).
        self._pong: bytes | None = None
        # The threads in ``run``, and in a callback: what the driver's ``get_ident`` says of them.
        self._reader: int | None = None
        self._busy: int | None = None
        # Bytes in the queue that were sent by callbacks.
        self._answers = 0
        # The thread whose frames gather, and these.
        self._gatherer: int | None = None
        self._gathered: list[Sendable] = []
        self._gathered_size = 0
        # The thread that may write data frames, while a fragmented message is open.
        self._fragmenter: int | None = None
        # The fragments that a loop's thread has not sent yet.
        self._source: Fragments | None = None
        # What is put off until then. None as long as it can be: an empty deque takes 760 bytes, of
        # the kind that keeps what is free around it from being used.
        self._deferred: deque[Sendable | Fragments] | None = None
        self._deferred_size = 0
        # Generators that are not to be sent on, until they can be let go of without the lock.
        self._dropped: Any = None
        # Wake those who wait until there is room, or until a fragmented message has ended.
        self._waiters: tuple[Callable[[], object], ...] = ()

    @property
    def _takes_more(self) -> bool:
        """Whether anything that is sent would still go out."""
        return not (self._sealed or self._broken or self._ending)

    def _check_connected(self, act: str) -> None:
        """See to it that there is a connection, or was one, for what takes one.

        Raises:
            Terminated: It has yet to begin.
        """
        if not self._connected and not self._over:
            kind = "client" if self._is_client else "websocket"
            raise Terminated(f"a {kind} cannot {act} before it is connected")

    def _unsendable(self) -> Terminated:
        """Return the error of what is sent without a connection."""
        if not self._returns:
            self._check_connected("send")
        return Terminated()

    # The lock is held from here on.

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, ()
        for wake in waiters:
            wake()

    def _drop_queue(self) -> None:
        """Send nothing more, and let nobody wait for it."""
        self._broken = True
        self._outgoing = b""
        self._drop_sources()
        self._wake()

    def _drop_sources(self) -> None:
        """Send nothing more of what is put off.

        The end of a generator may do anything, so whoever has released the lock lets go of it.
        """
        if self._source is not None or self._deferred is not None:
            self._dropped = self._dropped, self._source, self._deferred
        self._source = self._deferred = None
        self._deferred_size = 0
