"""``python -m ws4py connect`` on each engine, which is imported when it is chosen."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from codecs import getincrementaldecoder
from contextlib import suppress
from threading import Event, Thread
from typing import Any, Callable

from ws4py.messaging import Message, TextMessage

__all__ = ["CLIENTS"]

#: What a client of any engine is made with, by name.
Options = dict[str, Any]


class Terminal:
    """Prints what it receives; a mixin before a client's class."""

    def received_message(self, message: Message) -> None:
        """Print a message; bytes that are not text in hexadecimal."""
        if isinstance(message, TextMessage):
            show(f"< {message}")
        else:
            show(f"< ({len(message)} bytes) {message.data.hex()}")

    def closed(self, code: int, reason: str | None = None) -> None:
        """Print how it ended."""
        show(f"Connection closed: {code} {reason or ''}".rstrip())


def show(text: str) -> None:
    """Print a line at once; nothing any more once the reader has left."""
    try:
        print(text, flush=True)
    except BrokenPipeError:  # What has been kept of it would be written at the end of the program.
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, sys.stdout.fileno())
        os.close(nothing)


def threaded(url: str, options: Options) -> None:
    """Connect, with a thread that reads."""
    from ws4py.client.threadedclient import WebSocketClient

    class Client(Terminal, WebSocketClient):
        pass

    client = Client(url, **options)
    client.connect()
    typing = Typing(client)
    try:
        typing.start()
        client.run_forever()
    except KeyboardInterrupt:
        client.close()
        client.run_forever()
    typing.join()


def gevent(url: str, options: Options) -> None:
    """Connect, with a greenlet that reads."""
    import gevent

    from ws4py.client.geventclient import WebSocketClient

    class Client(Terminal, WebSocketClient):
        pass

    client = Client(url, **options)
    client.connect()
    gevent.signal_handler(signal.SIGINT, client.close)
    typing = Typing(client)
    typing.start()
    client.run_forever()
    typing.join()


def on_loop(client_class: Any, url: str, options: Options) -> None:
    """Connect, on a loop of asyncio's."""

    async def main() -> None:
        make = type("Client", (Terminal, client_class), {})
        client = make(url, **options)
        await client.connect()
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, client.close)
        typing = Typing(client)
        typing.start()
        await client.wait_closed()
        typing.join()

    asyncio.run(main())


def on_asyncio(url: str, options: Options) -> None:
    """Connect with asyncio's client."""
    from ws4py.client.asyncioclient import WebSocketClient

    on_loop(WebSocketClient, url, options)


def tornado(url: str, options: Options) -> None:
    """Connect with Tornado's client."""
    from ws4py.client.tornadoclient import TornadoWebSocketClient

    on_loop(TornadoWebSocketClient, url, options)


CLIENTS: dict[str, Callable[[str, Options], None]] = {
    "threaded": threaded,
    "gevent": gevent,
    "tornado": tornado,
    "asyncio": on_asyncio,
}


class Typing:
    """Sends each line of the standard input, in a thread; closes at its end.

    Reads the descriptor: a thread within ``sys.stdin`` would hold its lock when the program ends.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._ended = Event()
        self._thread = Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Start to read."""
        self._thread.start()

    def join(self) -> None:
        """Wait for the end of the thread, if that of the input has come."""
        if self._ended.is_set():
            self._thread.join()

    def _run(self) -> None:
        decoder, rest = getincrementaldecoder("utf-8")("replace"), ""
        with suppress(RuntimeError, OSError):
            while sys.stdin is not None:  # else the first socket has its number
                data = os.read(0, 64 * 1024)
                *lines, rest = (rest + decoder.decode(data, not data)).split("\n")
                for line in lines:
                    self._client.send(line.rstrip("\r"))
                if not data:
                    break
            if rest:
                self._client.send(rest)
        self._ended.set()
        self._client.close()
