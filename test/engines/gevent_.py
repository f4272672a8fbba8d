"""The engine gevent, whose hub runs in a thread of its own."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from queue import SimpleQueue
from typing import Any

import gevent
from gevent.event import Event
from gevent.monkey import is_module_patched

from test.engines import Engine, Served, url
from test.helpers import TIMEOUT
from ws4py.client.geventclient import WebSocketClient
from ws4py.server.geventserver import WebSocketWSGIApplication, WSGIServer


class Hub:
    """A thread with a hub; in a patched process, a greenlet of the one hub."""

    def __enter__(self) -> Hub:
        ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="hub")
        self._thread.start()
        ready.result(TIMEOUT)
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self.call(self._end.set)
        self._thread.join(TIMEOUT)
        assert not self._thread.is_alive(), "the hub did not end"

    def _run(self, ready: Future[None]) -> None:
        self._hub = gevent.get_hub()
        self._end = Event()
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        # Not run_callback_threadsafe(): on PyPy a call may have been made before it is counted, and
        # a loop that counts nothing else ends.
        self._called = self._hub.loop.async_()
        self._called.start(self._spawn_calls)
        ready.set_result(None)
        self._end.wait()
        self._called.close()
        if threading.get_ident() == self._hub.thread_ident:
            self._hub.destroy()

    def _spawn_calls(self) -> None:
        while not self._calls.empty():
            gevent.spawn(self._calls.get())

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function in a greenlet of the hub; return what it returns."""
        future: Future[Any] = Future()

        def run() -> None:
            try:
                future.set_result(function(*arguments))
            except BaseException as error:  # noqa: BLE001 - raised where it is waited for
                future.set_exception(error)

        self._calls.put(run)
        self._called.send()
        return future.result(TIMEOUT)


@contextmanager
def server(handler: Any, tls: ssl.SSLContext | None, **options: Any) -> Iterator[Served]:
    application = WebSocketWSGIApplication(handler_cls=handler, **options)
    arguments = {} if tls is None else {"ssl_context": tls}

    def start() -> WSGIServer:
        started = WSGIServer(("127.0.0.1", 0), application, log=None, **arguments)
        started.start()
        return started

    with Hub() as hub:
        running = hub.call(start)

        def broadcast(message: Any, binary: bool = False) -> None:
            hub.call(running.websockets.broadcast, message, binary)

        try:
            stop = partial(hub.call, running.stop)
            yield Served(running.server_port, broadcast, stop, partial(stop, None))
        finally:
            hub.call(running.stop, 0.5)  # A peer that the test has left does not answer.


@contextmanager
def clients(behaviour: type, tls: ssl.SSLContext | None) -> Iterator[Callable[..., Any]]:
    client_class: Any = type("Client", (behaviour, WebSocketClient), {})
    made: list[Any] = []
    with Hub() as hub:

        def make(port: int, options: Any) -> Any:
            client = client_class(url(port, tls), ssl_context=tls, **options)
            made.append(client)
            client.connect()
            return client

        try:
            yield lambda port, **options: hub.call(make, port, options)
        finally:
            for client in made:
                client.terminate()
                hub.call(client.run_forever)


#: In a patched process greenlets take the place of threads, and have no such names.
_THREAD = "" if is_module_patched("threading") else "hub"

ENGINES = [
    Engine("gevent", server, thread=_THREAD),
    Engine("gevent-client", clients, is_client=True, thread=_THREAD),
]
