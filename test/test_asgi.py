"""The ASGI application, under real hosts; test_conformance.py has what all engines do."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from test.asgi import HOSTS, ignores_warnings, on_any, on_uvicorn, request, serves
from test.conformance import BINARY, CLOSE, TEXT, Echo
from test.helpers import HANDSHAKE, TIMEOUT, Recorder, eventually, read_to_end
from ws4py.limits import Limits
from ws4py.messaging import PingControlMessage, PongControlMessage
from ws4py.server.asgi import WebSocketASGIApplication
from ws4py.websocket import EchoWebSocket, WebSocket

pytestmark = ignores_warnings


@pytest.fixture(params=HOSTS)
def host(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def serve(no_thread_left: None) -> Iterator[Any]:
    with serves() as serve:
        yield serve


def test_messages_come_and_go_and_closed_is_last(host: Any, serve: Any) -> None:
    websocket, peer = serve(host).open()
    for opcode, data in [(TEXT, "à".encode()), (BINARY, b"\xff"), (TEXT, b""), (BINARY, b"")]:
        peer.send(opcode, data)
        assert peer.message() == (opcode, data)
    peer.send_close()
    peer.close_frame()
    peer.leave()
    events = websocket.all_events()
    assert [event[0] for event in events] == ["text", "binary", "text", "binary", "closed"]
    assert (websocket.stream, websocket.environ, websocket.sock) == (None, None, None)


@on_uvicorn
def test_the_code_and_the_reason_of_the_peer_are_told(host: Any, serve: Any) -> None:
    websocket, peer = serve(host).open()
    peer.send_close(4321, "à bientôt".encode())
    assert peer.close_frame() == (4321, "à bientôt")
    peer.leave()
    assert websocket.all_events() == [("closed", 4321, "à bientôt")]


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4999])
def test_our_code_and_reason_reach_the_peer(host: Any, serve: Any, code: int) -> None:
    websocket, peer = serve(host).open()
    websocket.send("before")
    websocket.close(code, "à bientôt")
    assert peer.message() == (TEXT, b"before")
    assert peer.close_frame() == (code, "à bientôt")
    peer.send_close(code)
    peer.leave()
    assert [event[0] for event in websocket.all_events()] == ["closed"]


def test_an_empty_close_is_one_with_1000(host: Any, serve: Any) -> None:
    websocket, peer = serve(host).open()
    websocket.close(1005)
    assert peer.close_frame() == (1000, "")


def test_an_exception_closes_with_1011_and_harms_nobody_else(host: Any, serve: Any) -> None:
    class Fails(Echo):
        def received_message(self, message: Any) -> None:
            assert message.data != b"fail"
            super().received_message(message)

    served = serve(host, Fails)
    first, second = served.connect(), served.connect()
    first.send(TEXT, b"fail")
    assert first.close_frame() == (1011, "Internal error")
    second.send(TEXT, b"hello")
    assert second.message() == (TEXT, b"hello")


def test_a_message_over_the_limit_is_answered_1009(host: Any, serve: Any) -> None:
    websocket, peer = serve(host, limits=Limits(max_message_size=1000)).open()
    peer.send(BINARY, b"x" * 1000)
    assert peer.message() == (BINARY, b"x" * 1000)
    peer.send(BINARY, b"x" * 1001)
    code, reason = peer.close_frame() or (0, "")
    assert code == 1009
    peer.send_close(1009)
    peer.leave()
    assert websocket.all_events()[-1] == ("closed", 1006, reason)


def test_a_generator_is_sent_as_one_message(host: Any, serve: Any) -> None:
    class Chunks(Recorder):
        def received_message(self, message: Any) -> None:
            self.send((b"%d" % i for i in range(1000)), binary=True)  # type: ignore[attr-defined]

    websocket, peer = serve(host, Chunks).open()
    peer.send(TEXT, b"go")
    assert peer.message() == (BINARY, b"".join(b"%d" % i for i in range(1000)))
    websocket.send(chunk for chunk in (b"\xc3", bytearray(b"\xa0"), "!", b""))
    assert peer.message() == (TEXT, "à!".encode())
    websocket.send(x for x in ())
    assert peer.message() == (TEXT, b"")


def test_a_message_of_any_size_is_sent_but_not_a_generator(host: Any, serve: Any) -> None:
    websocket, peer = serve(host, Recorder, limits=Limits(max_message_size=100_000)).open()
    websocket.send(b"x" * 300_000, binary=True)
    assert peer.message() == (BINARY, b"x" * 300_000)
    with suppress(RuntimeError):
        websocket.send(b"x" * 1000 for _ in range(1000))
    code, reason = websocket.all_events()[-1][1:]
    assert code == 1006
    assert "100000" in reason


def test_text_that_is_not_utf_8_is_not_sent(host: Any, serve: Any) -> None:
    websocket, _ = serve(host, Recorder).open()
    with suppress(RuntimeError):  # The loop's thread may be faster.
        websocket.send(b"\xff")
    code, reason = websocket.all_events()[-1][1:]
    assert code == 1006
    assert "UTF-8" in reason


@on_any
def test_no_ping_or_pong_can_be_sent(host: Any, serve: Any) -> None:
    class Beats(Echo):
        heartbeat_freq = 0.001

    websocket, peer = serve(host, Beats).open()
    with pytest.raises(NotImplementedError, match="ASGI"):
        websocket.ping("there?")
    for message in (PingControlMessage("there?"), PongControlMessage("here")):
        with pytest.raises(NotImplementedError, match="ASGI"):
            websocket.send(message)
    with pytest.raises(ValueError, match="126"):
        websocket.ping(b"x" * 126)
    peer.send(TEXT, b"still here")
    assert peer.message() == (TEXT, b"still here")


def test_a_heartbeat_is_said_to_have_no_effect(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "ws4py"):
        WebSocketASGIApplication(EchoWebSocket, heartbeat_freq=2)
    assert "heartbeat_freq" in caplog.text


def test_the_environ_is_that_of_any_server(host: Any, serve: Any) -> None:
    websocket, peer = serve(host).open(
        request=request(b"/caf%C3%A9?a=b%20c", b"X-One: 1", b"X-One: 2", b"X_Two: 3")
    )
    environ = websocket.environ
    expected = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/café".encode().decode("latin-1"),
        "QUERY_STRING": "a=b%20c",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "localhost",
        "HTTP_X_ONE": "1, 2",
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": str(peer.sock.getsockname()[1]),
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": str(peer.sock.getpeername()[1]),
        "wsgi.url_scheme": "http",
    }
    assert {name: environ.get(name) for name in expected} == expected
    assert "HTTP_X_TWO" not in environ
    assert environ["asgi.scope"]["type"] == "websocket"
    assert websocket.local_address == peer.sock.getpeername()
    assert websocket.peer_address == peer.sock.getsockname()
    assert websocket.sock.fileno() == -1


@on_uvicorn
def test_the_path_of_what_is_mounted_is_what_is_left(host: Any, serve: Any) -> None:
    served = serve(partial(host, root_path="/mounted"), {"/": Echo2, "/deep": Echo2})
    for path in (b"/", b"/deep"):
        websocket, peer = served.open(request=request(path))
        assert websocket.environ["SCRIPT_NAME"] == "/mounted"
        assert websocket.environ["PATH_INFO"] == path.decode()
        websocket.terminate()
        websocket.all_events()
        peer.expect_end()


class Echo2(Echo, WebSocket):
    """An echo that is a class of its own."""


def test_other_paths_than_those_of_the_dict_are_answered_404(host: Any, serve: Any) -> None:
    served = serve(host, {"/here": Echo2})
    peer, head = served.ask(request(b"/there"))
    assert head.startswith(b"HTTP/1.1 404 ")
    assert b"there is no WebSocket at '/there'" in read_to_end(peer.sock)
    served.connect(request(b"/here"))


def test_a_url_is_taken_for_its_path(host: Any, serve: Any) -> None:
    served = serve(host, {"/here": Echo2})
    served.connect(request(b"http://localhost/here"))
    _, head = served.ask(request(b"http://localhost/there"))
    assert b" 101 " not in head


@pytest.mark.parametrize(
    ("header", "status"),
    [(b"Origin: https://evil.example", b"403"), (b"Sec-WebSocket-Protocol: other", b"400")],
)
def test_a_refusal_has_its_status_and_its_reason(
    host: Any, serve: Any, header: bytes, status: bytes
) -> None:
    served = serve(host, origins=[None, "https://example.com"], protocols=["chat"])
    peer, head = served.ask(request(b"/", header))
    assert head.split(b" ")[1] == status
    assert header.split(b" ")[1] in read_to_end(peer.sock)
    good = request(b"/", b"Origin: https://example.com", b"Sec-WebSocket-Protocol: other, chat")
    peer, head = served.ask(good)
    assert head.split(b" ")[1] == b"101"
    assert b"sec-websocket-protocol: chat\r\n" in head.lower()


def test_a_host_that_can_answer_nothing_else_answers_403(host: Any, serve: Any) -> None:
    application = WebSocketASGIApplication({"/here": EchoWebSocket})

    async def older(scope: Any, receive: Any, send: Any) -> None:
        scope.pop("extensions", None)
        await application(scope, receive, send)

    _, head = serve.application(host, older).ask(request(b"/there"))
    assert head.startswith(b"HTTP/1.1 403 ")


@on_any
def test_a_class_that_cannot_be_made_is_answered_500(host: Any, serve: Any) -> None:
    def fails(*_: Any) -> Any:
        raise LookupError("a fault of the application")

    _, head = serve(host, fails).ask(HANDSHAKE)
    assert head.startswith(b"HTTP/1.1 500 ")


@on_any
def test_a_plain_request_is_answered_426(host: Any, serve: Any) -> None:
    peer, head = serve(host).ask(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 426 ")
    assert b"upgrade: websocket\r\n" in head.lower()
    assert b"HTTP_UPGRADE" in read_to_end(peer.sock)


def test_a_plain_class_with_coroutine_functions_is_refused() -> None:
    class Wrong(WebSocket):
        async def received_message(self, message: Any) -> None:
            pass

    with pytest.raises(TypeError, match="received_message is a coroutine function"):
        WebSocketASGIApplication(Wrong)


@on_any
def test_everybody_hears_a_broadcast_and_is_closed(host: Any, serve: Any) -> None:
    served = serve(host)
    peers = [served.connect() for _ in range(3)]
    eventually(lambda: len(list(served.application.websockets)) == 3)
    served.application.broadcast("hear")
    served.application.broadcast(b"hear", binary=True)
    served.application.close_all()
    for peer in peers:
        assert peer.message() == (TEXT, b"hear")
        assert peer.message() == (BINARY, b"hear")
        assert peer.close_frame() == (1001, "Server is shutting down")
        peer.send_close(1001)
        peer.leave()
    served.run(served.application.wait_closed())
    assert list(served.application.websockets) == []


@on_any
def test_the_end_of_the_lifespan_closes_and_waits(host: Any, serve: Any) -> None:
    served = serve(host)
    websocket, peer = served.open()
    told: list[str] = []

    async def live() -> None:
        events = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

        async def receive() -> Any:
            return next(events)

        async def send(event: Any) -> None:
            told.append(event["type"])
            assert websocket.ended.is_set() is (event["type"] != "lifespan.startup.complete")

        await served.application({"type": "lifespan"}, receive, send)

    def answer() -> None:
        peer.close_frame()
        peer.send_close(1001)
        peer.leave()

    answering = threading.Thread(target=answer)
    answering.start()
    served.run(live())
    answering.join(TIMEOUT)
    assert told == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_an_unknown_protocol_is_refused() -> None:
    application = WebSocketASGIApplication(EchoWebSocket)
    with pytest.raises(ValueError, match="webtransport"):
        asyncio.run(application({"type": "webtransport"}, None, None))  # type: ignore[arg-type]


def test_a_close_frame_says_nothing_after_a_disconnect(host: Any, serve: Any) -> None:
    class Closes(Echo):
        def closed(self, code: int, reason: str | None = None) -> None:
            self.close()  # type: ignore[attr-defined]
            super().closed(code, reason)

    websocket, peer = serve(host, Closes).open()
    peer.send_close(1000)
    assert peer.message() == (CLOSE, b"\x03\xe8")
    peer.leave()
    assert len(websocket.all_events()) == 1
