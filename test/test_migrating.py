"""Every name of ws4py 0.x is there, or the page on migrating says that it is gone.

And the tunnel of the page on websocket-client leads through a proxy: no proxy is on that page.
``old_names.txt`` lists the names. Arguments count as names too, and so do attributes that only
objects have: those are looked for on one of each class.
"""

from __future__ import annotations

import asyncio
import inspect
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from queue import Queue
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import Any, Callable, NamedTuple

import cherrypy
import pytest

from test.helpers import TIMEOUT
from test.reader import blocks_of
from ws4py.client import WebSocketBaseClient
from ws4py.client.geventclient import WebSocketClient as GeventClient
from ws4py.client.threadedclient import WebSocketClient as ThreadedClient
from ws4py.client.tornadoclient import TornadoWebSocketClient
from ws4py.exc import HandshakeError
from ws4py.framing import OPCODE_TEXT, Frame
from ws4py.manager import EPollPoller, SelectPoller, WebSocketManager
from ws4py.messaging import CloseControlMessage, Message
from ws4py.server.cherrypyserver import WebSocketPlugin
from ws4py.server.geventserver import WSGIServer as GeventServer
from ws4py.server.standalone import WebSocketServer
from ws4py.server.tulipserver import WebSocketProtocol
from ws4py.server.wsgiutils import WebSocketWSGIApplication
from ws4py.streaming import Stream
from ws4py.utf8validator import Utf8Validator
from ws4py.websocket import EchoWebSocket, WebSocket

TEST = Path(__file__).resolve().parent
PAGE = TEST.parent / "docs" / "howto" / "migrating.md"
LINE = re.compile(r"(?P<module>[\w.]+)(?: (?P<path>[\w.]+)(?:\((?P<argument>[\w*]+)\))?)?")
URL = "ws://127.0.0.1/"


async def _tornado_client() -> TornadoWebSocketClient:
    return TornadoWebSocketClient(URL)


async def _protocol() -> WebSocketProtocol:
    return WebSocketProtocol(WebSocket)


#: Objects of the classes that have attributes which only objects have.
OBJECTS: dict[str, Callable[[], Any]] = {
    "ws4py.exc HandshakeError": lambda: HandshakeError("no"),
    "ws4py.framing Frame": Frame,
    "ws4py.messaging Message": lambda: Message(OPCODE_TEXT),
    "ws4py.messaging CloseControlMessage": CloseControlMessage,
    "ws4py.streaming Stream": Stream,
    "ws4py.utf8validator Utf8Validator": Utf8Validator,
    "ws4py.websocket WebSocket": lambda: WebSocket(None),
    "ws4py.client WebSocketBaseClient": lambda: WebSocketBaseClient(URL),
    "ws4py.client.threadedclient WebSocketClient": lambda: ThreadedClient(URL),
    "ws4py.client.geventclient WebSocketClient": lambda: GeventClient(URL),
    "ws4py.client.tornadoclient TornadoWebSocketClient": lambda: asyncio.run(_tornado_client()),
    "ws4py.manager SelectPoller": SelectPoller,
    "ws4py.manager EPollPoller": EPollPoller,
    "ws4py.manager WebSocketManager": lambda: WebSocketManager(SelectPoller()),
    "ws4py.server.tulipserver WebSocketProtocol": lambda: asyncio.run(_protocol()),
    "ws4py.server.wsgiutils WebSocketWSGIApplication": WebSocketWSGIApplication,
    "ws4py.server.geventserver WSGIServer": lambda: GeventServer(("127.0.0.1", 0)),
    "ws4py.server.cherrypyserver WebSocketPlugin": lambda: WebSocketPlugin(cherrypy.engine),
}


class Name(NamedTuple):
    """A line of the list."""

    module: str
    path: str | None
    argument: str | None

    @property
    def shown(self) -> tuple[str, str]:
        """The module, and the name as the page has it."""
        called = "" if self.argument is None else f"({self.argument}=)"
        name = f"python -m {self.module}" if self.path is None else self.path + called
        return self.module, name

    def __str__(self) -> str:
        return ":".join(self.shown)


def read(line: str) -> Name:
    """Take a line of the list apart."""
    match = LINE.fullmatch(line)
    assert match, f"{line!r} is no name"
    return Name(match["module"], match["path"], match["argument"])


NAMES = [
    read(line)
    for line in (TEST / "old_names.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]


def exists(name: Name) -> bool:
    """Say whether a name means something in the library as it is."""
    if find_spec(name.module) is None:
        return False
    module = import_module(name.module)
    if name.path is None:
        return "__main__" in inspect.getsource(module)
    head, *rest = name.path.split(".")
    with ExitStack() as stack:
        found: Any = getattr(module, head, stack)
        for attribute in rest:
            if not hasattr(found, attribute):  # It may be one of objects.
                found = _object(f"{name.module} {head}", stack)
            found = getattr(found, attribute, stack)
        if found is stack:
            return False
        return name.argument is None or _takes(found, name.argument)


def _object(named: str, stack: ExitStack) -> Any:
    """Return an object of the class that is so named."""
    made = OBJECTS.get(named, object)()
    for method in ("close_connection", "stop", "release"):
        if hasattr(made, method):
            stack.callback(getattr(made, method))
            break
    return made


def _takes(function: Any, argument: str) -> bool:
    parameters = inspect.signature(function).parameters
    if argument == "*":
        kinds = {each.kind for each in parameters.values()}
        return inspect.Parameter.VAR_POSITIONAL in kinds
    return argument in parameters


def gone(page: str) -> set[tuple[str, str]]:
    """Return the modules and names in backticks that the page has under "Names that are gone"."""
    _, found, section = page.partition("\n## Names that are gone\n")
    assert found, "the page has such a section"
    rows = re.findall(r"^\| `(.*?)` \| (`.*?) \|", section.partition("\n## ")[0], re.MULTILINE)
    return {(module, name) for module, names in rows for name in re.findall(r"`([^`]+)`", names)}


GONE = gone(PAGE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", NAMES, ids=str)
def test_an_old_name_is_there_or_named_as_gone(name: Name) -> None:
    assert exists(name) is not (name.shown in GONE)


def test_what_is_named_as_gone_is_an_old_name() -> None:
    assert {name.shown for name in NAMES} >= GONE


def test_no_old_name_is_listed_twice() -> None:
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize(
    "line",
    [
        "ws4py.gone x",
        "ws4py.websocket Gone",
        "ws4py.websocket WebSocket.gone",
        "ws4py.websocket WebSocket(gone)",
        "ws4py.manager",
    ],
)
def test_what_is_not_there_is_found_out(line: str) -> None:
    assert not exists(read(line))


class Proxy(BaseRequestHandler):
    """An HTTP proxy that knows CONNECT; to port 1 it refuses to."""

    def handle(self) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.request.recv(1)
        host, _, port = head.split(b" ")[1].decode().rpartition(":")
        if port == "1":
            self.request.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")
            return
        with socket.create_connection((host, int(port)), TIMEOUT) as beyond:
            self.request.sendall(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n")
            back = Thread(target=pump, args=(beyond, self.request))
            back.start()
            pump(self.request, beyond)
            back.join(TIMEOUT)


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Hand on what comes, and the end of it."""
    with suppress(OSError):
        while True:
            data = source.recv(4096)
            if not data:
                break
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def proxy() -> Iterator[tuple[str, int]]:
    with ThreadingTCPServer(("127.0.0.1", 0), Proxy) as server:
        server.daemon_threads = True
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address  # type: ignore[misc]
        server.shutdown()
        thread.join(TIMEOUT)


@pytest.fixture
def connect_through() -> Any:
    """The functions of the page, in one."""
    page = PAGE.with_name("migrating-websocket-client.md")
    tunnel = next(each for each in blocks_of(page) if each.marks.get("file") == "tunnel.py")
    names: dict[str, Any] = {}
    exec(compile(tunnel.text, "tunnel.py", "exec", dont_inherit=True), names)

    def connect(proxy: tuple[str, int], client: ThreadedClient) -> None:
        client.sock.close()
        client.sock = names["open_tunnel"](proxy, client.host, client.port)
        client.connect()

    return connect


class Hearing(ThreadedClient):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.heard: Queue[str] = Queue()

    def received_message(self, message: Any) -> None:
        self.heard.put(str(message))


def test_the_tunnel_of_the_page_leads_through_a_proxy(
    proxy: tuple[str, int], connect_through: Any
) -> None:
    with WebSocketServer(("127.0.0.1", 0), EchoWebSocket) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        client = Hearing(f"ws://127.0.0.1:{server.server_address[1]}/")
        connect_through(proxy, client)
        client.send("hello")
        assert client.heard.get(timeout=TIMEOUT) == "hello"
        client.close()
        client.run_forever()
        server.shutdown()
        thread.join(TIMEOUT)
    assert client.close_code == 1000


def test_a_proxy_that_refuses_is_an_error_of_the_tunnel(
    proxy: tuple[str, int], connect_through: Any
) -> None:
    with pytest.raises(ConnectionError, match="403"):
        connect_through(proxy, ThreadedClient("ws://127.0.0.1:1/"))
