"""What is attacked: an echo that each engine serves, and clients that echo.

    python -m test.hostile.apps serve ENGINE PORT
    python -m test.hostile.apps connect ENGINE

A client connects for each line of JSON on standard input, ``[URL, options]``, and writes a line of
JSON for all that happens to it: ``[number of the line, event, ...]``. What a websocket does besides
is chosen by the path of its URL; see :class:`Behaviour`.

``WS4PY_HOSTILE_LIMITS`` is ``short`` for limits of seconds, or ``default``;
``WS4PY_HOSTILE_MUTANT`` names one of :mod:`test.hostile.mutants`. Servers of ours have TLS, given
``WS4PY_HOSTILE_CERTFILE`` and ``WS4PY_HOSTILE_KEYFILE``.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import signal
import ssl
import sys
import threading
from collections.abc import Callable
from typing import Any

from test.hostile import ORIGIN, PROTOCOLS
from test.hostile.burdens import FAULT, burden
from ws4py.deflate import PerMessageDeflate
from ws4py.exc import HandshakeError
from ws4py.limits import Limits

#: Time limits of seconds, so that an attack on each takes no longer; sizes are the defaults but
#: for these.
SHORT = Limits(
    open_timeout=2.0,
    close_timeout=1.0,
    heartbeat_timeout=2.0,
    write_timeout=2.0,
    max_message_size=1024 * 1024,
)
LIMITS = {"short": SHORT, "default": Limits()}[os.environ.get("WS4PY_HOSTILE_LIMITS", "short")]
#: On in all of them: who does not negotiate it must see no difference.
COMPRESSION = "deflate"
#: Seconds between two Pings; None for the engine's default.
HEARTBEAT = 1.0 if LIMITS is SHORT else None

#: Makes a client of the number of a line, and the line.
Make = Callable[[int, str], Any]

#: The engines whose handlers may be coroutines.
ON_ASYNCIO = ("asyncio", "tornado", "asgi")


class Behaviour:
    """Echoes, and does what its path says; a mixin before a WebSocket class.

    ``/fail/CALLBACK`` raises in that callback; ``/crowd`` sends every message to all that are on
    that path, by ``broadcast``; ``/close`` begins the closing handshake at the first message,
    and still sends that and others back, in vain; ``/seed`` makes what is random in Python the
    same as it was there the last time. Other paths are those of
    :func:`test.hostile.burdens.burden`.
    """

    #: The name of the engine.
    engine = ""
    crowd: set[Any] = set()  # noqa: RUF012

    @property
    def path(self) -> str:
        """Where the websocket was opened."""
        environ = getattr(self, "environ", None)
        return (environ or {}).get("PATH_INFO") or getattr(self, "resource", "/")

    def _fail_in(self, callback: str) -> None:
        if self.path == f"/fail/{callback}":
            raise LookupError(FAULT)

    def opened(self) -> None:
        if self.path == "/crowd":
            self.crowd.add(self)
        elif self.path == "/seed":
            random.seed(0)
        self._fail_in("opened")

    def received_message(self, message: Any) -> Any:
        self._fail_in("received_message")
        carry = burden(self, self.path)
        if carry is not None:
            return carry(self, message)
        if self.path == "/crowd":
            broadcast(list(self.crowd), message.data, message.is_binary)
        elif self.path == "/close":
            self.close(4000, "as asked")  # type: ignore[attr-defined]
            self.send(message.data, message.is_binary)  # type: ignore[attr-defined]
        else:
            self.send(message.data, message.is_binary)  # type: ignore[attr-defined]
        return None

    def ponged(self, _pong: Any) -> None:
        self._fail_in("ponged")

    def closed(self, _code: int, _reason: str | None = None) -> None:
        self.crowd.discard(self)
        self._fail_in("closed")


def broadcast(websockets: list[Any], data: bytes, is_binary: bool) -> None:
    from ws4py.sending import broadcast as send_to_all

    send_to_all(websockets, data, is_binary)


def handler(engine: str) -> Any:
    """Return the class of a server's websockets; on asyncio, what chooses one by the path."""
    from ws4py import async_websocket, websocket

    options = {"limits": LIMITS, "engine": engine}
    plain = type("Handler", (Behaviour, websocket.WebSocket), options)
    if engine not in ON_ASYNCIO:
        return plain
    awaiting = type("AwaitingHandler", (Behaviour, async_websocket.WebSocket), options)

    def make(sock: Any, protocols: Any, extensions: Any, environ: dict[str, Any]) -> Any:
        kind = awaiting if environ["PATH_INFO"] == "/sleep" else plain
        return kind(sock, protocols, extensions, environ)

    return make


def certificate() -> tuple[str | None, str | None]:
    """Return the files of a server's certificate and key, if it is to have TLS."""
    return os.environ.get("WS4PY_HOSTILE_CERTFILE"), os.environ.get("WS4PY_HOSTILE_KEYFILE")


def serve(engine: str, port: str) -> None:
    """Serve until SIGTERM."""
    from ws4py._serve import SERVERS, Serving

    class Speaking(Serving):
        def options(self, *heartbeat_freq: Any) -> dict[str, Any]:
            return {**super().options(*heartbeat_freq), "protocols": PROTOCOLS}

    where = "127.0.0.1", int(port), None, *certificate()
    # Of Pings of uvicorn's, only Pongs would be a sign of life.
    heartbeat = 0 if engine == "asgi" else HEARTBEAT
    serving = Speaking(handler(engine), *where, [ORIGIN], LIMITS, heartbeat, 1.0, COMPRESSION)
    server = SERVERS[engine](serving)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: server.stop())
    server.serve()


def wsgi(engine: str = "gunicorn-gthread", manager: Any = None) -> Any:
    """Return a WSGI application, for gunicorn: ``gunicorn 'test.hostile.apps:wsgi()'``."""
    from ws4py.server.wsgiutils import WebSocketWSGIApplication

    mutate()
    return WebSocketWSGIApplication(
        PROTOCOLS,
        handler_cls=handler(engine),
        origins=[ORIGIN],
        limits=LIMITS,
        heartbeat_freq=HEARTBEAT,
        compression=COMPRESSION,
        manager=manager,
    )


def wsgi_handed_off() -> Any:
    """Return one that hands connections off."""
    from ws4py.manager import WebSocketManager

    return wsgi("gunicorn-sync", WebSocketManager)


def tell(number: int, *event: Any) -> None:
    """Write what has happened to a client."""
    sys.stdout.write(json.dumps([number, *event]) + "\n")
    sys.stdout.flush()


def client(name: str, base: type) -> Make:
    """Return what makes clients of an engine's class, that tell what happens to them.

    Their options are keyword arguments; ``trusts`` is a file of CAs, for an ``ssl_context``, and
    ``compression`` may be an object, of a PerMessageDeflate's arguments.
    """

    class Telling(Behaviour, base):  # type: ignore[misc, valid-type]
        engine = name
        limits = LIMITS
        number = 0

        def opened(self) -> None:
            try:
                super().opened()
            finally:
                tell(self.number, "opened")

        def received_message(self, message: Any) -> Any:
            if message.data:  # There are floods of empty ones.
                tell(self.number, "message", len(message.data))
            return super().received_message(message)

        def closed(self, code: int, reason: str | None = None) -> None:
            tell(self.number, "closed", code, reason)
            super().closed(code, reason)

    def make(number: int, line: str) -> Any:
        url, given = json.loads(line)
        options = {"heartbeat_freq": HEARTBEAT, "compression": COMPRESSION, **given}
        if "trusts" in options:
            options["ssl_context"] = ssl.create_default_context(cafile=options.pop("trusts"))
        if isinstance(options["compression"], dict):
            options["compression"] = PerMessageDeflate(**options["compression"])
        made = Telling(url, **options)
        made.number = number
        return made

    return make


def told(number: int, error: BaseException) -> None:
    """Tell of a handshake that failed, and of what should not happen."""
    kind = type(error).__name__
    if isinstance(error, HandshakeError):
        body = error.body.decode("latin-1")
        tell(number, "refused", kind, str(error), error.status, error.headers, body)
    else:
        tell(number, "failed", kind, str(error))


def connect_in_threads(make: Make, spawn: Callable[..., Any], lines: Any = sys.stdin) -> None:
    """Connect for each line, in a thread (or greenlet) of its own."""

    def connect(number: int, line: str) -> None:
        try:
            websocket = make(number, line)
            websocket.connect()
            websocket.run_forever()
        except (OSError, HandshakeError, ValueError) as error:
            told(number, error)

    for number, line in enumerate(lines):
        spawn(connect, number, line)


def connect_on_loop(make: Make) -> None:
    """Connect for each line, in a task of its own."""
    tasks = set()

    async def connect(number: int, line: str) -> None:
        try:
            await make(number, line).connect()
        except (OSError, HandshakeError, ValueError) as error:
            told(number, error)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=1 << 24)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        number = 0
        async for line in reader:
            tasks.add(loop.create_task(connect(number, line.decode())))
            number += 1

    asyncio.run(main())


def connect_threaded() -> None:
    from ws4py.client.threadedclient import WebSocketClient

    def spawn(*arguments: Any) -> None:
        threading.Thread(target=arguments[0], args=arguments[1:], daemon=True).start()

    connect_in_threads(client("threaded", WebSocketClient), spawn)


def connect_gevent() -> None:
    from gevent import monkey, spawn

    monkey.patch_all()
    from gevent.fileobject import FileObject

    from ws4py.client.geventclient import WebSocketClient

    lines = FileObject(0, "r", closefd=False)
    connect_in_threads(client("gevent", WebSocketClient), spawn, lines)


def connect_asyncio() -> None:
    from ws4py.client.asyncioclient import WebSocketClient

    connect_on_loop(client("asyncio", WebSocketClient))


def connect_uvloop() -> None:
    import uvloop

    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    connect_asyncio()


def connect_tornado() -> None:
    from ws4py.client.tornadoclient import TornadoWebSocketClient

    connect_on_loop(client("tornado", TornadoWebSocketClient))


CLIENTS = {
    "asyncio": connect_asyncio,
    "gevent": connect_gevent,
    "threaded": connect_threaded,
    "tornado": connect_tornado,
    "uvloop": connect_uvloop,
}


def mutate() -> None:
    """Break ws4py in this process, if that is asked for."""
    name = os.environ.get("WS4PY_HOSTILE_MUTANT")
    if name:
        from test.hostile.mutants import MUTANTS

        MUTANTS[name].apply()


def main(what: str, engine: str, *more: str) -> None:
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s %(name)s: %(message)s")
    mutate()
    if what == "serve":
        serve(engine, *more)
    else:
        CLIENTS[engine]()


if __name__ == "__main__":
    from test.hostile import apps  # what the mutants know, and not __main__

    apps.main(*sys.argv[1:])
