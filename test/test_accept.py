"""What a server says of handlers that it cannot serve, when it is made or when they are."""

from __future__ import annotations

from typing import Any

import pytest

from test.helpers import echo_server, raw_connection
from ws4py.client import WebSocketBaseClient
from ws4py.limits import Limits
from ws4py.manager import WebSocketManager
from ws4py.server._accept import Acceptor
from ws4py.server.standalone import WebSocketServer
from ws4py.websocket import WebSocket

pytestmark = pytest.mark.usefixtures("no_thread_left")


class Waiting(WebSocket):
    async def received_message(self, message: Any) -> None:
        """Nobody awaits this."""


class Frantic(WebSocket):
    heartbeat_freq = -1


@pytest.mark.parametrize(
    ("made", "what"),
    [(lambda *_: None, "None, which is no WebSocket"), (Waiting, "Waiting.received_message")],
)
def test_what_a_factory_makes_that_cannot_be_served_is_a_500_that_is_logged(
    caplog: pytest.LogCaptureFixture, made: Any, what: str
) -> None:
    def factory(*arguments: Any) -> Any:
        return made(*arguments)

    with echo_server(factory) as server:
        for _ in range(2):
            sock, head = raw_connection(server.server_address[1])
            sock.close()
            assert head.startswith(b"HTTP/1.1 500 ")
    assert caplog.text.count(what) == 2


def test_a_class_that_does_not_call_its_base_is_a_500_that_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Forgetful(WebSocket):
        def __init__(self, *args: Any) -> None:
            self.arguments = args

    with echo_server(Forgetful) as server:
        sock, head = raw_connection(server.server_address[1])
        sock.close()
    assert head.startswith(b"HTTP/1.1 500 ")
    assert "Forgetful'> does not call super().__init__()" in caplog.text


def test_a_factory_may_make_any_class_of_websocket() -> None:
    made = iter([WebSocket, WebSocketBaseClient.__mro__[1], WebSocket])
    with echo_server(lambda *arguments: next(made)(*arguments)) as server:
        for _ in range(3):
            sock, head = raw_connection(server.server_address[1])
            sock.close()
            assert head.startswith(b"HTTP/1.1 101 ")


def test_a_class_whose_heartbeat_is_no_time_is_not_served() -> None:
    with pytest.raises(ValueError, match=r"heartbeat_freq is a number .* not -1"):
        Acceptor(Frantic)


@pytest.mark.parametrize("value", [None, {"max_message_size": 10}])
def test_a_class_whose_limits_are_none_is_not_served(
    value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Lax(WebSocket):
        limits: Any = value

    if value is not None:  # else the constructor may give each its own
        with pytest.raises(TypeError, match=r"Lax\.limits is .*, and not a Limits"):
            Acceptor(Lax)
    with pytest.raises(TypeError, match="limits is 5, and not a Limits"):
        Acceptor(WebSocket, limits=5)  # type: ignore[arg-type]
    with echo_server(lambda *arguments: Lax(*arguments)) as server:
        sock, head = raw_connection(server.server_address[1])
        sock.close()
    assert head.startswith(b"HTTP/1.1 500 ")
    assert "Lax.limits is" in caplog.text


def test_limits_may_be_a_property_or_the_constructors_and_a_factory_have_some_of_its_own() -> None:
    class Own(WebSocket):
        limits: Any = None

        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self.limits = Limits()

    class Computed(WebSocket):
        @property
        def limits(self) -> Limits:  # type: ignore[override]
            return Limits(close_timeout=0.5)

        @limits.setter
        def limits(self, _: Limits) -> None:
            """Leave them as they are."""

    class Factory:
        limits = 5

        def __call__(self, *args: Any) -> WebSocket:
            return WebSocket(*args)

    for handler in Own, Computed, Factory():
        with echo_server(handler) as server:
            sock, head = raw_connection(server.server_address[1])
            sock.close()
            assert head.startswith(b"HTTP/1.1 101 ")


def test_a_manager_that_has_been_stopped_is_no_use_to_a_server() -> None:
    manager = WebSocketManager()
    manager.stop()
    with pytest.raises(RuntimeError, match="has been stopped"):
        WebSocketServer(("127.0.0.1", 0), manager=manager)


def test_a_server_ends_although_its_manager_has_just_ended() -> None:
    manager = WebSocketManager()
    server = WebSocketServer(("127.0.0.1", 0), manager=manager)
    manager.start()
    call_soon = manager.loop.call_soon

    def too_late(callback: Any) -> None:
        manager.stop()
        manager.join()

    manager.loop.call_soon = too_late  # type: ignore[method-assign]
    try:
        server.shutdown()
    finally:
        manager.loop.call_soon = call_soon  # type: ignore[method-assign]
    server.server_close()
    assert server.socket.fileno() == -1
