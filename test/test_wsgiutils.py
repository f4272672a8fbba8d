"""The WSGI application: what it answers, by PEP 3333 and by the keys of environ."""

from __future__ import annotations

import re
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest

from test.autobahn.processes import accepts, free_port
from test.helpers import (
    HANDSHAKE,
    RecordingSocket,
    eventually,
    frame,
    raw_connection,
    read_exactly,
)
from test.test_cli import Program
from ws4py.limits import Limits
from ws4py.server.wsgiutils import WebSocketWSGIApplication
from ws4py.websocket import EchoWebSocket, WebSocket


def environ_of(**changes: str | None) -> dict[str, Any]:
    """Return the environ of a good request, but for ``changes`` (None leaves out)."""
    environ: dict[str, Any] = {
        "HTTP_HOST": "localhost",
        "HTTP_UPGRADE": "websocket",
        "HTTP_CONNECTION": "keep-alive, Upgrade",
        "HTTP_SEC_WEBSOCKET_KEY": "dGhlIHNhbXBsZSBub25jZQ==",
        "HTTP_SEC_WEBSOCKET_VERSION": "13",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "ws4py.socket": RecordingSocket(),
    }
    setup_testing_defaults(environ)
    environ.update(changes)
    return {name: value for name, value in environ.items() if value is not None}


def call(
    application: WebSocketWSGIApplication, environ: dict[str, Any]
) -> tuple[str, dict[str, str], bytes]:
    answer: list[Any] = []
    body = application(environ, lambda status, headers: answer.extend((status, dict(headers))))
    return answer[0], answer[1], b"".join(body)


def test_a_good_request_leaves_a_websocket_in_environ() -> None:
    environ = environ_of()
    status, headers, body = call(WebSocketWSGIApplication(handler_cls=EchoWebSocket), environ)
    assert status == "101 Switching Protocols"
    assert headers == {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
    }
    assert body == b""
    websocket = environ["ws4py.websocket"]
    assert type(websocket) is EchoWebSocket
    assert websocket.sock is environ["ws4py.socket"]


def test_the_environ_of_the_websocket_is_a_copy() -> None:
    environ = environ_of()
    call(WebSocketWSGIApplication(), environ)
    websocket = environ.pop("ws4py.websocket")
    environ.clear()
    assert websocket.environ["HTTP_HOST"] == "localhost"
    assert "ws4py.websocket" not in websocket.environ


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"REQUEST_METHOD": "POST"}, 405),
        ({"SERVER_PROTOCOL": "HTTP/1.0"}, 400),
        ({"HTTP_HOST": None}, 400),
        ({"HTTP_UPGRADE": None}, 426),
        ({"HTTP_UPGRADE": "notwebsocket!"}, 426),
        ({"HTTP_CONNECTION": None}, 400),
        ({"HTTP_CONNECTION": "keep-alive"}, 400),
        ({"HTTP_SEC_WEBSOCKET_VERSION": None}, 426),
        ({"HTTP_SEC_WEBSOCKET_VERSION": "8"}, 426),
        ({"HTTP_SEC_WEBSOCKET_VERSION": "013"}, 426),
        ({"HTTP_SEC_WEBSOCKET_KEY": None}, 400),
        ({"HTTP_SEC_WEBSOCKET_KEY": "c2hvcnQ="}, 400),
        ({"HTTP_SEC_WEBSOCKET_KEY": "dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ=="}, 400),
        ({"CONTENT_LENGTH": "1"}, 400),
        ({"HTTP_TRANSFER_ENCODING": "chunked"}, 400),
        ({"HTTP_ORIGIN": "https://evil.example"}, 403),
        ({"HTTP_SEC_WEBSOCKET_PROTOCOL": "x, y"}, 400),
        ({"ws4py.socket": None}, 501),
    ],
    ids=str,
)
def test_a_request_that_is_none_is_answered(changes: dict[str, Any], status: int) -> None:
    application = WebSocketWSGIApplication(
        protocols=["chat"], origins=[None, "https://example.com"]
    )
    environ = environ_of(**changes)
    answer, headers, body = call(application, environ)
    assert int(answer[:3]) == status
    assert body
    assert headers["Content-Length"] == str(len(body))
    assert "ws4py.websocket" not in environ


def test_a_server_that_does_not_know_us_gets_no_hop_by_hop_headers() -> None:
    environ = environ_of(HTTP_SEC_WEBSOCKET_VERSION="8", **{"ws4py.socket": None})
    status, headers, _ = call(WebSocketWSGIApplication(), environ)
    assert status.startswith("426")
    assert not {"Upgrade", "Connection"} & set(headers)
    assert headers["Sec-WebSocket-Version"] == "13"


def test_the_first_known_subprotocol_is_picked() -> None:
    environ = environ_of(HTTP_SEC_WEBSOCKET_PROTOCOL="x, Chat, chat,superchat")
    application = WebSocketWSGIApplication(protocols=["superchat", "chat"])
    _, headers, _ = call(application, environ)
    assert headers["Sec-WebSocket-Protocol"] == "chat"
    assert environ["ws4py.websocket"].protocols == ["chat"]


def test_subprotocols_are_ignored_where_none_is_spoken() -> None:
    environ = environ_of(HTTP_SEC_WEBSOCKET_PROTOCOL="chat")
    status, headers, _ = call(WebSocketWSGIApplication(), environ)
    assert status.startswith("101")
    assert "Sec-WebSocket-Protocol" not in headers
    assert environ["ws4py.websocket"].protocols == []


def test_make_websocket_may_be_overridden_to_call_with_more() -> None:
    class Handler(WebSocket):
        def __init__(self, app: str, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.app = app

    class Application(WebSocketWSGIApplication):
        def make_websocket(self, sock: Any, protocols: Any, extensions: Any, environ: Any) -> Any:
            websocket = self.handler_cls("mine", sock, protocols, extensions, environ.copy())
            environ["ws4py.websocket"] = websocket
            return websocket

    environ = environ_of()
    call(Application(handler_cls=Handler), environ)
    assert environ["ws4py.websocket"].app == "mine"


def test_make_websocket_may_leave_none_to_the_server() -> None:
    class Application(WebSocketWSGIApplication):
        """Runs its websockets by itself."""

        def make_websocket(self, sock: Any, *_: Any) -> Any:
            ran.append(sock)

    ran: list[Any] = []
    environ = environ_of()
    status, headers, body = call(Application(), environ)
    assert status == "101 Switching Protocols"
    assert headers["Sec-WebSocket-Accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert body == b""
    assert ran == [environ["ws4py.socket"]]
    assert "ws4py.websocket" not in environ


def test_the_class_may_be_changed_later() -> None:
    application = WebSocketWSGIApplication()
    application.handler_cls = EchoWebSocket
    environ = environ_of()
    call(application, environ)
    assert type(environ["ws4py.websocket"]) is EchoWebSocket


def test_limits_and_heartbeat_are_those_of_the_application() -> None:
    class Beats(WebSocket):
        heartbeat_freq = 3.0

    limits = Limits(max_message_size=1)
    for handler, frequency in ((WebSocket, 5.0), (Beats, 3.0)):
        environ = environ_of()
        call(
            WebSocketWSGIApplication(None, None, handler, limits=limits, heartbeat_freq=5), environ
        )
        assert environ["ws4py.websocket"].limits is limits
        assert environ["ws4py.websocket"].heartbeat_freq == frequency


def test_a_handler_that_cannot_be_one_is_refused_at_once() -> None:
    class Waits(WebSocket):
        async def opened(self) -> None: ...

    for handler in (Waits, None, "EchoWebSocket"):
        with pytest.raises(TypeError):
            WebSocketWSGIApplication(handler_cls=handler)  # type: ignore[arg-type]


@pytest.mark.parametrize("handler", [EchoWebSocket, lambda *arguments: WebSocket(*arguments)])
def test_a_class_that_is_given_first_as_to_other_servers_is_told_its_place(handler: Any) -> None:
    with pytest.raises(TypeError, match=f"{re.escape(repr(handler))}.*is given as handler_cls="):
        WebSocketWSGIApplication(handler)


@pytest.mark.parametrize("name", ["a b", "", "a,b", "é"])
def test_a_subprotocol_that_cannot_be_one_is_refused_at_once(name: str) -> None:
    with pytest.raises(ValueError, match="subprotocol"):
        WebSocketWSGIApplication(protocols=[name])


COPIES = """
from ws4py.server.wsgiutils import WebSocketWSGIApplication
from ws4py.websocket import EchoWebSocket

application = WebSocketWSGIApplication(handler_cls=EchoWebSocket)

def framework(environ, start_response):
    return application(dict(environ), start_response)
"""
SERVERS = {
    "gevent": """
from ws4py.server.geventserver import WSGIServer

WSGIServer(("127.0.0.1", PORT), framework).serve_forever()
""",
    "wsgiref": """
from wsgiref.simple_server import make_server
from ws4py.server.wsgirefserver import WSGIServer, WebSocketWSGIRequestHandler

server = make_server("127.0.0.1", PORT, framework, WSGIServer, WebSocketWSGIRequestHandler)
server.initialize_websockets_manager()
server.serve_forever()
""",
}


@pytest.mark.parametrize("engine", SERVERS)
def test_what_stands_between_may_hand_on_a_copy_of_the_environ(engine: str) -> None:
    port = free_port()
    with Program("-c", COPIES + SERVERS[engine].replace("PORT", str(port))) as program:
        eventually(lambda: accepts(port) or program.process.poll() is not None)
        sock, _ = raw_connection(port, HANDSHAKE + frame(1, b"hello"))
        with sock:
            assert read_exactly(sock, 7) == b"\x81\x05hello"
