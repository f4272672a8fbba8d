"""The client: URLs, the request, where it connects to, and being used again."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from test.helpers import TIMEOUT, Recorder, RecordingWebSocket, echo_server, only_websocket, url_of
from ws4py.client import WebSocketBaseClient
from ws4py.client.threadedclient import WebSocketClient
from ws4py.driver import Cancellable, ThreadDriver
from ws4py.limits import Limits
from ws4py.manager import WebSocketManager

pytestmark = pytest.mark.usefixtures("no_thread_left")


class Client(Recorder, WebSocketClient):
    """A threaded client that records."""


def end(client: WebSocketClient) -> None:
    client.close()
    client.run_forever()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost",
        "//localhost/",
        "http://localhost/",
        "ws:localhost",
        "ws:///path",
        "ws://",
        "ws://:80/",
        "ws://localhost:port/",
        "ws://localhost:65536/",
        "ws://local host/",
        "ws://localhost/a b",
        "ws://localhost/\r\nX: y",
        "ws://[::1/",
        "ws://localhost/é",
        "ws+unix://",
        "wss+unix://localhost",
        "ws+unix://tmp/some.sock",
        "ws://localhost/#",
        "ws://localhost/?q#fragment",
        "ws://localhost:0/",
        "ws://[::1]x:80/",
        "ws://x[::1]:80/",
        b"ws://localhost/",
        None,
    ],
)
def test_what_is_no_url_is_a_value_error_that_names_it(url: Any) -> None:
    with pytest.raises(ValueError) as caught:
        WebSocketBaseClient(url)
    assert repr(url) in str(caught.value)


def test_a_host_that_cannot_be_one_is_a_value_error_that_names_the_url() -> None:
    url = f"ws://{'a' * 64}.example/"
    with pytest.raises((ValueError, OSError)) as caught:
        WebSocketBaseClient(url)
    assert url in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "ws://me:secret@localhost/",
        "ws://me:secret@localhost:port/",
        "ws://me:secret@localhost/a b",
        "http://secret@localhost/",
        "ws://@secret@localhost/",
    ],
)
def test_a_password_in_a_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="user name") as caught:
        WebSocketBaseClient(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("ws://127.0.0.1", ("ws", "127.0.0.1", 80, "/")),
        ("wss://127.0.0.1", ("wss", "127.0.0.1", 443, "/")),
        ("WS://127.0.0.1:8080/a/b?c=d&e", ("ws", "127.0.0.1", 8080, "/a/b?c=d&e")),
        ("ws://127.0.0.1?q", ("ws", "127.0.0.1", 80, "/?q")),
        ("ws://[fe80::1%251]", ("ws", "fe80::1%1", 80, "/")),
    ],
)
def test_a_url_is_taken_apart(url: str, parts: tuple[Any, ...]) -> None:
    client = WebSocketBaseClient(url)
    assert (client.scheme, client.host, client.port, client.resource) == parts
    assert client.bind_addr == parts[1:3]
    client.terminate()


def test_a_unix_url_names_a_socket() -> None:
    client = WebSocketBaseClient("ws+unix:///run/some.sock")
    assert (client.unix_socket_path, client.bind_addr) == ("/run/some.sock",) * 2
    assert (client.resource, client.port) == ("/", None)
    client.terminate()
    client = WebSocketBaseClient("wss+unix:///run/a%20b%25c?d=%20")
    assert (client.unix_socket_path, client.resource) == ("/run/a b%c", "/?d=%20")
    client.terminate()


def request_of(client: WebSocketBaseClient) -> list[str]:
    lines = client.handshake_request.decode().split("\r\n")
    client.terminate()
    return lines


def test_the_request_has_what_the_rfc_asks_for() -> None:
    client = WebSocketBaseClient("ws://127.0.0.1:9000/chat?x=1", protocols=["a", "b"])
    key = client.key.decode()
    assert request_of(client) == [
        "GET /chat?x=1 HTTP/1.1",
        "Host: 127.0.0.1:9000",
        "Connection: Upgrade",
        "Upgrade: websocket",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
        "Origin: http://127.0.0.1:9000",
        "Sec-WebSocket-Protocol: a, b",
        "",
        "",
    ]


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("ws://127.0.0.1/", "127.0.0.1"),
        ("wss://127.0.0.1:443/", "127.0.0.1"),
        ("ws://127.0.0.1:443/", "127.0.0.1:443"),
        ("ws://[::1]:9000/", "[::1]:9000"),
        ("ws://[fe80::1%251]:9000/", "[fe80::1]:9000"),
        ("ws+unix:///run/some.sock", "localhost"),
    ],
)
def test_host_has_the_port_where_it_is_not_the_default(url: str, host: str) -> None:
    assert f"Host: {host}" in request_of(WebSocketBaseClient(url))


@pytest.mark.parametrize(
    "headers", [{"X-One": "1", "Origin": "o"}, [("X-One", "1"), ("Origin", "o")]]
)
def test_headers_are_added_or_take_the_place_of_ours(headers: Any) -> None:
    lines = request_of(WebSocketBaseClient("ws://127.0.0.1/", headers=headers))
    assert "X-One: 1" in lines
    assert [line for line in lines if line.startswith("Origin")] == ["Origin: o"]


@pytest.mark.parametrize("headers", [["X-One: 1"], "X-One: 1", [("X-One", "1", "2")]])
def test_headers_that_are_no_pairs_are_a_value_error(headers: Any) -> None:
    with pytest.raises(ValueError, match="headers are a mapping, or pairs"):
        WebSocketBaseClient("ws://127.0.0.1/", headers=headers)


@pytest.mark.parametrize("value", [b"secret", None, ["secret"]])
def test_the_value_of_a_header_that_is_no_text_is_a_type_error(value: Any) -> None:
    with pytest.raises(TypeError, match="'Authorization'") as caught:
        WebSocketBaseClient("ws://127.0.0.1/", headers={"Authorization": value})
    assert "secret" not in str(caught.value)


def test_headers_are_excluded_by_name_in_any_case() -> None:
    client = WebSocketBaseClient("ws://127.0.0.1/", exclude_headers=["ORIGIN"])
    assert not any(line.startswith("Origin") for line in request_of(client))


@pytest.mark.parametrize("header", [("X", "a\r\nY: b"), ("X\n", "a"), ("X Y", "a"), ("", "a")])
def test_a_header_that_would_make_another_one_is_refused(header: tuple[str, str]) -> None:
    client = WebSocketBaseClient("ws://127.0.0.1/", headers=[header])
    with pytest.raises(ValueError, match="cannot be a header"):
        request_of(client)
    client.terminate()


def test_handshake_headers_can_be_overridden() -> None:
    class Signs(WebSocketBaseClient):
        @property
        def handshake_headers(self) -> list[tuple[str, str]]:
            return [*super().handshake_headers, ("Authorization", "Bearer 1")]

    assert "Authorization: Bearer 1" in request_of(Signs("ws://127.0.0.1/"))


def test_the_server_sees_headers_resource_and_subprotocols() -> None:
    with echo_server(protocols=["chat"]) as server:
        client = Client(
            url_of(server, "/x"), protocols=["superchat", "chat"], headers={"X-One": "1"}
        )
        client.resource = "/y?z"
        client.connect()
        websocket = only_websocket(server)
        assert websocket.environ["PATH_INFO"] == "/y"
        assert websocket.environ["QUERY_STRING"] == "z"
        assert websocket.environ["HTTP_X_ONE"] == "1"
        assert client.protocols == websocket.protocols == ["chat"]
        end(client)


@pytest.mark.parametrize("method", ["send", "ping"])
def test_what_is_sent_before_connect_is_an_error(method: str) -> None:
    client = WebSocketBaseClient("ws://127.0.0.1/")
    with pytest.raises(RuntimeError):
        getattr(client, method)("too early")
    client.terminate()


def test_close_before_connect_is_an_error() -> None:
    client = WebSocketBaseClient("ws://127.0.0.1/")
    with pytest.raises(RuntimeError, match="before it is connected"):
        client.close()
    client.terminate()


def test_connect_twice_is_an_error() -> None:
    with echo_server() as server:
        client = Client(url_of(server))
        client.connect()
        with pytest.raises(RuntimeError, match="connected already"):
            client.connect()
        client.send("still here")
        assert [client.next_event(), client.next_event()][1] == ("text", b"still here")
        end(client)


def test_a_client_connects_again_once_it_has_ended() -> None:
    with echo_server(protocols=["chat"]) as server:
        client = Client(url_of(server), protocols=["chat"])
        keys = set()
        for _ in range(3):
            client.ended.clear()
            client.connect()
            keys.add(client.key)
            assert not client.terminated
            assert client.protocols == ["chat"]
            client.send("hello")
            end(client)
            assert client.close_code == 1000
        assert len(keys) == 3
        assert [event[0] for event in client.all_events()] == ["opened", "text", "closed"] * 3


def test_a_client_connects_again_after_a_connection_that_failed() -> None:
    with echo_server() as server:
        client = Client(url_of(server))
        port, client.port = client.port, 1
        client._addresses = []
        with pytest.raises(OSError):
            client.connect()
        client.port = port
        client.connect()
        end(client)
        assert [event[0] for event in client.all_events()] == ["opened", "closed"]


def test_a_client_whose_init_is_called_again_connects_again() -> None:
    with echo_server() as server:
        client = Client(url_of(server))
        for _ in range(2):
            client.connect()
            end(client)
            assert client.ended.wait(TIMEOUT)
            client.__init__(url_of(server))  # type: ignore[misc]
        client.terminate()


class Returns(Client):
    """Connects again in its first ``closed``."""

    returned = False

    def closed(self, code: int, reason: str | None = None) -> None:
        super().closed(code, reason)
        if not self.returned:
            self.returned = True
            self.connect()


def leaves_and_returns(client_class: type[Returns]) -> None:
    with echo_server() as server:
        client = client_class(url_of(server))
        client.connect()
        assert client.next_event() == ("opened",)
        client.close(4000)
        assert client.next_event() == ("closed", 4000, "")
        assert client.next_event() == ("opened",)
        client.send("hello again")
        assert client.next_event() == ("text", b"hello again")
        end(client)


def test_a_client_may_connect_again_in_closed() -> None:
    leaves_and_returns(Returns)


class Tardy(ThreadDriver):
    """Calls the first thing that is due later once there is a second connection; at once then."""

    def __init__(self) -> None:
        self.is_second = threading.Event()
        self.has_called = False

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Cancellable:
        if not self.has_called:
            self.has_called = True
            assert self.is_second.wait(TIMEOUT)
            callback()
        return super().call_later(seconds, callback)


def test_the_time_to_close_of_a_connection_does_not_end_the_next_one() -> None:
    class ReturnsLate(Returns):
        tardy = Tardy()

        def _renew(self) -> None:
            super()._renew()
            self._driver = self.tardy

        def opened(self) -> None:
            super().opened()
            if self.returned:
                self.tardy.is_second.set()

    leaves_and_returns(ReturnsLate)


def test_a_refused_connection_is_an_os_error_and_calls_nothing() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        client = Client(f"ws://127.0.0.1:{taken.getsockname()[1]}/")
        with pytest.raises(ConnectionRefusedError):
            client.connect()
    assert client.events.empty()
    assert client.sock is None
    client.close()


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def test_the_addresses_of_a_host_are_tried_in_turn() -> None:
    with echo_server() as server:
        client = Client(url_of(server))
        deaf = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", client.port, 0, 0))
        good = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", client.port))
        client._addresses = [deaf, good]
        client.connect()
        assert client.peer_address == ("127.0.0.1", server.server_address[1])
        end(client)


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_an_ipv6_literal_is_connected_to() -> None:
    with echo_server() as unused, unused.__class__(("::1", 0), RecordingWebSocket) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        client = Client(f"ws://[::1]:{server.server_address[1]}/")
        client.connect()
        assert client.peer_address == ("::1", server.server_address[1])
        websocket = only_websocket(server)
        assert websocket.environ["HTTP_HOST"] == f"[::1]:{server.server_address[1]}"
        end(client)
        server.server_close()
        thread.join(TIMEOUT)


def test_a_socket_that_is_set_before_connect_is_used() -> None:
    with echo_server() as server:
        client = Client(url_of(server))
        client.sock.close()
        client.sock = mine = socket.create_connection(server.server_address)
        client.connect()
        assert client.connection is mine
        end(client)


def test_a_socket_that_is_set_and_not_connected_is_connected() -> None:
    with echo_server() as server:
        client = Client(url_of(server).replace("localhost", "127.0.0.1"))
        client.sock.close()
        client.sock = mine = socket.socket()
        mine.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        client.connect()
        assert client.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        end(client)


def test_options_of_the_socket_made_by_the_constructor_are_kept() -> None:
    with echo_server() as server:
        client = Client(url_of(server).replace("localhost", "127.0.0.1"))
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        client.connect()
        assert client.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        end(client)


def test_handshake_ok_may_add_the_client_to_a_manager() -> None:
    manager = WebSocketManager()

    class Managed(Recorder, WebSocketBaseClient):
        def handshake_ok(self) -> None:
            manager.add(self)

    with echo_server() as server:
        manager.start()
        clients = [Managed(url_of(server)) for _ in range(5)]
        for client in clients:
            client.connect()
        assert len(manager) == 5
        for client in clients:
            client.send("hello")
            assert [client.next_event(), client.next_event()][1] == ("text", b"hello")
        manager.close_all()
        for client in clients:
            assert client.all_events()[-1] == ("closed", 1001, "Server is shutting down")
        manager.stop()
        manager.join(TIMEOUT)


def test_handshake_ok_may_run_the_client_in_the_calling_thread() -> None:
    class Running(Recorder, WebSocketBaseClient):
        def handshake_ok(self) -> None:
            self.run()

        def received_message(self, message: Any) -> None:
            super().received_message(message)
            self.close()

        def opened(self) -> None:
            super().opened()
            self.send("hello")

    with echo_server() as server:
        client = Running(url_of(server))
        client.connect()
        assert [event[0] for event in client.all_events()] == ["opened", "text", "closed"]


@pytest.mark.parametrize("engine", ["threaded", "managed"])
def test_a_client_that_sends_much_from_another_thread_hears_all_echoes(engine: str) -> None:
    manager = WebSocketManager()
    done = threading.Event()

    class Counts(WebSocketClient):
        heard = 0
        limits = Limits(write_timeout=TIMEOUT / 2)

        def handshake_ok(self) -> None:
            if engine == "threaded":
                super().handshake_ok()
            else:
                manager.add(self)

        def received_message(self, message: Any) -> None:
            self.heard += 1
            if self.heard == 400:
                done.set()

        def closed(self, code: int, reason: str | None = None) -> None:
            done.set()

    def send() -> None:
        with suppress(RuntimeError):
            for _ in range(400):
                client.send(b"x" * 100_000, binary=True)

    with echo_server() as server:
        manager.start()
        client = Counts(url_of(server))
        client.connect()
        sender = threading.Thread(target=send)
        sender.start()
        done.wait(TIMEOUT)
        heard = client.heard
        client.terminate()
        sender.join(TIMEOUT)
        manager.stop()
        manager.join(TIMEOUT)
    assert heard == 400
