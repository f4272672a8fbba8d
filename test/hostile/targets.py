"""The processes that are attacked."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import select
import shlex
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from queue import Empty, Queue
from typing import Any, NamedTuple

from test.autobahn.processes import Process, free_port
from test.hostile import AT_ONCE, CLIENT, ORIGIN, SERVER
from test.hostile.wire import PATIENCE, Wire, left

ROOT = Path(__file__).resolve().parent.parent.parent

APPS = "{python} -m test.hostile.apps "
#: Each of its threads has one connection.
THREADS = 320
GUNICORN = "{python} -m gunicorn --bind 127.0.0.1:{port} --log-level error --graceful-timeout 2 "

#: The command that starts each server; ``{port}`` is where it listens.
SERVERS = {
    **{
        engine: APPS + f"serve {engine} {{port}}"
        for engine in ("standalone", "asyncio", "wsgiref", "cherrypy", "gevent", "tornado", "asgi")
    },
    "gunicorn-gthread": GUNICORN
    + "--worker-class gthread --threads {threads} 'test.hostile.apps:wsgi()'",
    "gunicorn-sync": GUNICORN + "'test.hostile.apps:wsgi_handed_off()'",
}
#: The loops that the client for asyncio is attacked on.
LOOPS = ("asyncio", "uvloop") if find_spec("uvloop") else ("asyncio",)
#: Those that have TLS of their own.
SECURE = [
    *("standalone", "asyncio", "wsgiref", "cherrypy", "gevent", "tornado"),
    "gunicorn-gthread",
]
CLIENTS = {
    engine: APPS + f"connect {engine}" for engine in ("threaded", *LOOPS, "gevent", "tornado")
}

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
REQUEST = (
    "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\nOrigin: {ORIGIN}\r\n\r\n"
)


class TLS(NamedTuple):
    """What makes a server secure, and the context of its clients."""

    certfile: Path
    keyfile: Path
    context: ssl.SSLContext


def accept_token(key: str) -> str:
    """Return what answers a key (RFC 6455 4.2.2)."""
    token = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    return base64.b64encode(token).decode()


def read_head(sock: socket.socket, seconds: float = PATIENCE) -> tuple[bytes, bytes]:
    """Read until the blank line, or the end; return that and what came behind it."""
    deadline = time.monotonic() + seconds
    data = b""
    while b"\r\n\r\n" not in data:
        sock.settimeout(left(deadline))
        try:
            more = sock.recv(1 << 16)
        except socket.timeout:
            raise AssertionError(f"no head in {seconds} s, but {data!r}") from None
        if not more:
            return data, b""
        data += more
    head, blank, rest = data.partition(b"\r\n\r\n")
    return head + blank, rest


class Attacked:
    """What can be asked of a process that is attacked, whatever its role."""

    pid: int
    open: Callable[..., Wire]

    def echo(self) -> None:
        """Fail unless a fresh connection has an echo within AT_ONCE."""
        began = time.monotonic()
        with self.open() as wire:
            wire.echo(seconds=AT_ONCE)
            assert time.monotonic() - began < AT_ONCE
            wire.leave()

    def memory(self) -> int:
        return memory(self.pid)

    def counts(self) -> tuple[int, int]:
        return counts(self.pid)


class ServerTarget(Attacked):
    """A server of ours, or whoever's."""

    role = SERVER

    def __init__(
        self, engine: str, port: int, process: Process, context: ssl.SSLContext | None = None
    ) -> None:
        self.engine, self.port, self._process = engine, port, process
        self.context = context

    def connect(self) -> socket.socket:
        """Return a connection on which nothing has been sent."""
        sock = self.connect_plainly()
        if self.context is None:
            return sock
        sock.settimeout(AT_ONCE)
        try:
            return self.context.wrap_socket(sock, server_hostname="localhost")
        except OSError:
            sock.close()
            raise

    def connect_plainly(self) -> socket.socket:
        """Return a connection without TLS."""
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE)

    def open(self, early: bytes = b"", path: str = "/", extensions: str = "") -> Wire:
        """Return a connection whose opening handshake is done."""
        sock = self.connect()
        try:
            sock.sendall(with_extensions(REQUEST.format(path=path), extensions) + early)
            head, rest = read_head(sock)
            assert head.startswith(b"HTTP/1.1 101 "), head
            assert accept_token(KEY).encode() in head, head
        except BaseException:
            sock.close()
            raise
        wire = Wire(sock, True, rest)
        wire.extensions = value_in(head, "Sec-WebSocket-Extensions")
        return wire

    @property
    def pid(self) -> int:
        """The process that has the websockets: gunicorn's worker."""
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(children[0]) if self.engine.startswith("gunicorn") and children else pid

    def log(self) -> str:
        return self._process.output()

    @property
    def is_alive(self) -> bool:
        return self._process.exit_code is None


class ClientTarget(Attacked):
    """A process of ours with many clients, that connect to a server of ours which is malicious."""

    role = CLIENT

    def __init__(self, engine: str, popen: subprocess.Popen[str], log: Path) -> None:
        self.engine, self._popen, self._log = engine, popen, log
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._listener.settimeout(PATIENCE)
        self.port: int = self._listener.getsockname()[1]
        self._number = -1
        self._events: dict[int, Queue[list[Any]]] = {}
        self._lock = threading.Lock()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            number, *event = json.loads(line)
            self._queue(number).put(event)

    def _queue(self, number: int) -> Queue[list[Any]]:
        with self._lock:
            return self._events.setdefault(number, Queue())

    def start(self, url: str, **options: Any) -> int:
        """Have a client connect to ``url``; return its number, for :meth:`event`.

        Args:
            options: See :func:`test.hostile.apps.client`.
        """
        assert self._popen.stdin is not None
        self._number += 1
        self._popen.stdin.write(json.dumps([url, options]) + "\n")
        self._popen.stdin.flush()
        return self._number

    def event(self, number: int, seconds: float = PATIENCE) -> list[Any]:
        """Return what has happened next to a client: see :mod:`test.hostile.apps`."""
        try:
            return self._queue(number).get(timeout=seconds)
        except Empty:
            raise AssertionError(f"nothing happened in {seconds} s") from None

    def accept(self, path: str = "/", **options: Any) -> tuple[int, socket.socket, bytes]:
        """Have a client connect; return its number, the connection, and its request."""
        number = self.start(f"ws://127.0.0.1:{self.port}{path}", **options)
        sock = self.take()
        head, rest = read_head(sock)
        assert not rest, f"a client sent {rest!r} before it was answered"
        return number, sock, head

    def take(self) -> socket.socket:
        """Return the next connection of a client that has been started."""
        sock, _ = self._listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def accept_waiting(self, seconds: float) -> socket.socket | None:
        """Return a connection that has come, on which nothing has been read; None if none comes."""
        if not select.select([self._listener], [], [], seconds)[0]:
            return None
        return self.take()

    def open(self, early: bytes = b"", path: str = "/", extensions: str = "") -> Wire:
        """Return a connection whose opening handshake is done."""
        _, sock, head = self.accept(path)
        sock.sendall(answer(head, extensions) + early)
        wire = Wire(sock, False)
        wire.extensions = extensions
        return wire

    @property
    def pid(self) -> int:
        """The process."""
        return self._popen.pid

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def is_alive(self) -> bool:
        return self._popen.poll() is None

    def close(self) -> None:
        """End the process."""
        self._popen.kill()
        self._popen.wait()
        self._reader.join(PATIENCE)
        for stream in (self._popen.stdin, self._popen.stdout):
            assert stream is not None
            stream.close()
        self._listener.close()


def value_in(head: bytes, name: str) -> str:
    """Return the value of a field in a head; the empty text if it has none of that name."""
    for line in head.split(b"\r\n"):
        found, _, value = line.partition(b":")
        if found.lower() == name.lower().encode():
            return value.strip().decode()
    return ""


def key_of(head: bytes) -> str:
    """Return the key in a client's request."""
    key = value_in(head, "Sec-WebSocket-Key")
    assert key, f"there is no key in {head!r}"
    return key


def with_extensions(head: str, extensions: str) -> bytes:
    """Return a head with a field that names extensions, if there are any."""
    field = f"Sec-WebSocket-Extensions: {extensions}\r\n" if extensions else ""
    return f"{head[:-2]}{field}\r\n".encode()


def answer(head: bytes, extensions: str = "") -> bytes:
    """Return the right answer to a client's request."""
    return with_extensions(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept_token(key_of(head))}\r\n\r\n",
        extensions,
    )


def memory(pid: int) -> int:
    """Return the most bytes of memory that a process has ever had."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"there is no VmHWM of {pid}")


def counts(pid: int) -> tuple[int, int]:
    """Return a process's open descriptors, and its threads."""
    return len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task"))


def at_rest(target: Any) -> tuple[int, int]:
    """Return the counts of a target that has nothing to do, once they change no more.

    A peer may know of the end of its connection a moment before the descriptor is closed.
    """
    found, same = target.counts(), 0
    while same < 4:
        time.sleep(0.005)
        before, found = found, target.counts()
        same = same + 1 if found == before else 0
    return found


def settles(target: Any, before: tuple[int, int], seconds: float = PATIENCE) -> None:
    """Fail unless descriptors and threads come back to what they were."""
    deadline = time.monotonic() + seconds
    while any(now > then for now, then in zip(target.counts(), before)):
        assert time.monotonic() < deadline, f"{before} became {target.counts()}"
        time.sleep(0.02)


def environment(limits: str, mutant: str) -> dict[str, str]:
    return {
        **os.environ,
        "WS4PY_HOSTILE_LIMITS": limits,
        "WS4PY_HOSTILE_MUTANT": mutant,
        "PYTHONUNBUFFERED": "1",
    }


@contextmanager
def server(
    engine: str,
    folder: Path,
    limits: str = "short",
    mutant: str = "",
    command: str | None = None,
    tls: TLS | None = None,
) -> Iterator[ServerTarget]:
    """Start a server, and end it.

    Args:
        limits: "short", or "default".
        mutant: The name of one of :mod:`test.hostile.mutants`.
        command: Instead of the engine's.
    """
    port = free_port()
    words = shlex.split(
        (command or SERVERS[engine]).format(python=sys.executable, port=port, threads=THREADS)
    )
    variables = environment(limits, mutant)
    if tls is not None:
        files = {"CERTFILE": str(tls.certfile), "KEYFILE": str(tls.keyfile)}
        variables.update({f"WS4PY_HOSTILE_{name}": path for name, path in files.items()})
        if engine.startswith("gunicorn"):
            words[-1:-1] = ["--certfile", files["CERTFILE"], "--keyfile", files["KEYFILE"]]
    with Process(engine, words, folder, ROOT, variables) as process:
        process.wait_for_port(port, 2 * PATIENCE)
        while engine == "cherrypy" and "Bus STARTED" not in process.output():
            process.wait(0.02)  # It looks at its own port, and ends if it cannot.
        target = ServerTarget(engine, port, process, tls.context if tls else None)
        if engine == "gunicorn-gthread":
            fill_pool(target)
        yield target


def fill_pool(target: ServerTarget) -> None:
    """Have all threads started of a pool that never ends one: they are counted."""
    with ExitStack() as stack:
        for _ in range(THREADS):
            stack.enter_context(target.open())


@contextmanager
def client(
    engine: str,
    folder: Path,
    limits: str = "short",
    mutant: str = "",
    command: str | None = None,
) -> Iterator[ClientTarget]:
    """Start a process of clients, and end it."""
    words = shlex.split((command or CLIENTS[engine]).format(python=sys.executable))
    log = folder / f"{engine}.log"
    with log.open("w") as output:
        popen = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            cwd=ROOT,
            env=environment(limits, mutant),
            text=True,
            start_new_session=True,
        )
    target = ClientTarget(engine, popen, log)
    try:
        yield target
    finally:
        target.close()
