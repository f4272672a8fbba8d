"""The client for Tornado: what is its own, beside the conformance tests."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import pytest
import trustme
from tornado import gen
from tornado.ioloop import IOLoop

from test.autobahn.processes import free_port
from test.helpers import TIMEOUT, Recorder, descriptors, echo_server, eventually, url_of
from test.regressions import fake_server, read_head
from ws4py.client.tornadoclient import TornadoWebSocketClient
from ws4py.exc import HandshakeError, HandshakeTimeout
from ws4py.websocket import WebSocket

pytestmark = pytest.mark.usefixtures("no_thread_left")


class Client(Recorder, TornadoWebSocketClient):
    """Records, and stops its loop in the end."""

    def closed(self, code: int, reason: str | None = None) -> None:
        super().closed(code, reason)
        self.io_loop.stop()


@pytest.fixture
def io_loop() -> Iterator[IOLoop]:
    """A loop that has not been started, and is the current one."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield IOLoop.current()
    end(IOLoop.current())
    asyncio.set_event_loop(None)


def end(io_loop: IOLoop) -> None:
    """Close a loop, once the tasks that it had left when it was stopped have ended."""

    async def settle() -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        if tasks:
            await asyncio.wait(tasks, timeout=TIMEOUT)

    io_loop.run_sync(settle)
    io_loop.close()


def start(io_loop: IOLoop) -> None:
    """Run the loop until somebody stops it; fail if nobody does."""
    failed: list[bool] = []

    def fail() -> None:
        failed.append(True)
        io_loop.stop()

    timeout = io_loop.call_later(TIMEOUT, fail)
    io_loop.start()
    io_loop.remove_timeout(timeout)
    assert not failed, "the loop was not stopped"


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail if anything is logged as an error, when what was left is collected too."""
    yield
    gc.collect()
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]


def test_connect_is_called_before_the_loop_is_started(io_loop: IOLoop, quiet: None) -> None:
    class Talks(Client):
        def opened(self) -> None:
            super().opened()
            self.send("hello")

        def received_message(self, message: Any) -> None:
            super().received_message(message)
            self.close(reason="enough")

    with echo_server() as server:
        client = Talks(url_of(server))
        client.connect()
        start(io_loop)
    assert client.all_events() == [("opened",), ("text", b"hello"), ("closed", 1000, "enough")]


def test_the_arguments_are_those_of_the_documentation_in_its_order(io_loop: IOLoop) -> None:
    other = IOLoop(make_current=False)
    options = {"ca_certs": "/no/such/file"}
    client = TornadoWebSocketClient(
        "ws://localhost/", ["chat"], ["x"], other, options, [("X-One", "1")], ["Origin"]
    )
    assert client.io_loop is other
    assert (client.protocols, client.extensions) == (["chat"], ["x"])
    assert (client.ssl_options, client.extra_headers) == (options, [("X-One", "1")])
    assert client.exclude_headers == ["origin"]
    assert client.heartbeat_freq is None
    assert TornadoWebSocketClient("ws://localhost/").io_loop is io_loop
    end(other)


def test_a_client_runs_on_the_loop_that_it_is_given(io_loop: IOLoop) -> None:
    other = IOLoop(make_current=False)
    with echo_server() as server:
        client = Client(url_of(server), io_loop=other)
        other.run_sync(client.connect)
        assert client.next_event() == ("opened",)
        client.close()
        start(other)
    assert client.all_events()[-1] == ("closed", 1000, "")
    end(other)


def test_connect_can_be_awaited(io_loop: IOLoop) -> None:
    async def talk(url: str) -> list[str]:
        async with TornadoWebSocketClient(url) as client:
            await client.send("one")
            await client.send("two")
            return [str(await client.receive()) for _ in range(2)]

    with echo_server() as server:
        assert io_loop.run_sync(lambda: talk(url_of(server))) == ["one", "two"]


def test_connect_can_be_yielded(io_loop: IOLoop) -> None:
    @gen.coroutine
    def talk(client: Any) -> Any:
        yield client.connect()
        client.close()

    with echo_server() as server:
        client = Client(url_of(server))
        io_loop.run_sync(lambda: talk(client))
        start(io_loop)
    assert client.all_events() == [("opened",), ("closed", 1000, "")]


def test_a_refused_connection_that_nobody_waits_for_is_told_to_closed(
    io_loop: IOLoop, quiet: None
) -> None:
    before = descriptors()
    client = Client(f"ws://127.0.0.1:{free_port()}/")
    client.connect()
    start(io_loop)
    (event,) = client.all_events()
    assert event[:2] == ("closed", 1006)
    assert "Connect call failed" in event[2]
    assert (client.close_code, client.close_reason) == event[1:]
    assert client.terminated
    assert descriptors() == before


def test_a_refused_handshake_that_nobody_waits_for_is_told_to_closed(
    io_loop: IOLoop, quiet: None
) -> None:
    def refuse(sock: socket.socket) -> None:
        read_head(sock)
        sock.sendall(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")

    with fake_server(refuse) as port:
        client = Client(f"ws://127.0.0.1:{port}/")
        client.connect()
        start(io_loop)
    assert client.all_events() == [("closed", 1006, "Invalid response status: 401")]


def test_a_bad_header_that_nobody_waits_for_is_told_to_closed(io_loop: IOLoop) -> None:
    client = Client("ws://127.0.0.1:9/", headers=[("X-One", "1\r\n2")])
    client.connect()
    start(io_loop)
    assert client.all_events()[0][:2] == ("closed", 1006)


def test_a_failure_that_somebody_waits_for_is_raised_and_not_told(
    io_loop: IOLoop, quiet: None
) -> None:
    client = Client(f"ws://127.0.0.1:{free_port()}/")
    with pytest.raises(OSError, match="Connect call failed"):
        io_loop.run_sync(client.connect)

    async def wait() -> None:
        await client.connect()

    with pytest.raises(OSError, match="Connect call failed"):
        io_loop.run_sync(wait)
    assert client.events.empty()


def test_a_server_that_says_nothing_is_given_up(io_loop: IOLoop) -> None:
    with fake_server(lambda sock: sock.recv(1 << 16) and sock.recv(1)) as port:
        client = Client(f"ws://127.0.0.1:{port}/", open_timeout=0.1)
        with pytest.raises(HandshakeTimeout):
            io_loop.run_sync(client.connect)


def test_an_exception_in_closed_is_logged(
    io_loop: IOLoop, caplog: pytest.LogCaptureFixture
) -> None:
    class Fails(Client):
        def closed(self, code: int, reason: str | None = None) -> None:
            super().closed(code, reason)
            raise LookupError("a fault of the application")

    Fails(f"ws://127.0.0.1:{free_port()}/").connect()
    start(io_loop)
    assert "a fault of the application" in caplog.text


def test_closed_may_be_a_coroutine_function(io_loop: IOLoop) -> None:
    class Waits(TornadoWebSocketClient):
        async def closed(self, code: int, reason: str | None = None) -> None:
            await asyncio.sleep(0)
            self.io_loop.stop()

    client = Waits(f"ws://127.0.0.1:{free_port()}/")
    client.connect()
    start(io_loop)
    assert client.close_code == 1006


def test_closed_can_connect_again(io_loop: IOLoop, quiet: None) -> None:
    class Stubborn(Client):
        turns = 0

        def closed(self, code: int, reason: str | None = None) -> None:
            self.turns += 1
            if self.turns == 3:
                super().closed(code, reason)
            else:
                self.port = free_port() if self.turns == 1 else server.server_address[1]
                self.connect()

        def opened(self) -> None:
            super().opened()
            self.close()

    with echo_server() as server:
        client = Stubborn(url_of(server))
        client.connect()
        start(io_loop)
    assert client.all_events() == [("opened",), ("opened",), ("closed", 1000, "")]


def test_a_second_connect_does_no_harm_to_the_first(io_loop: IOLoop) -> None:
    class Connects(Client):
        def opened(self) -> None:
            super().opened()
            self.connect()
            self.send("still here")

        def received_message(self, message: Any) -> None:
            super().received_message(message)
            self.close()

    with echo_server() as server:
        client = Connects(url_of(server))
        client.connect()
        start(io_loop)
    assert client.all_events() == [("opened",), ("text", b"still here"), ("closed", 1000, "")]


def test_a_connect_that_is_cancelled_leaves_nothing(io_loop: IOLoop, quiet: None) -> None:
    async def give_up(client: Any) -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(client.connect(), 0.1)

    before = descriptors()
    with fake_server(lambda sock: sock.recv(1 << 16) and sock.recv(1)) as port:
        client = Client(f"ws://127.0.0.1:{port}/")
        io_loop.run_sync(lambda: give_up(client))
    assert client.events.empty()
    eventually(lambda: descriptors() == before, "a descriptor was left open")


def test_close_connection_ends_it_without_a_closing_handshake(io_loop: IOLoop) -> None:
    class Leaves(Client):
        def opened(self) -> None:
            super().opened()
            self.close_connection()

    with echo_server() as server:
        client = Leaves(url_of(server))
        client.connect()
        start(io_loop)
    assert client.all_events() == [("opened",), ("closed", 1006, "Going away")]


def test_a_heartbeat_is_sent(io_loop: IOLoop) -> None:
    class Beats(Client):
        def ponged(self, pong: Any) -> None:
            super().ponged(pong)
            self.close()

    with echo_server() as server:
        client = Beats(url_of(server), heartbeat_freq=0.02)
        client.connect()
        start(io_loop)
    assert client.all_events()[1] == ("pong", b"")


@pytest.mark.parametrize("trusts", [True, False])
def test_a_certificate_is_verified(
    io_loop: IOLoop,
    server_tls: ssl.SSLContext,
    authority: trustme.CA,
    trusts: bool,
) -> None:
    with echo_server(ssl_context=server_tls) as server, authority.cert_pem.tempfile() as path:
        client = Client(url_of(server), ssl_options={"ca_certs": path} if trusts else {})
        if trusts:
            io_loop.run_sync(client.connect)
            client.close()
            start(io_loop)
        else:
            with pytest.raises(ssl.SSLCertVerificationError):
                io_loop.run_sync(client.connect)


def test_the_subprotocol_is_the_one_the_server_picked(io_loop: IOLoop) -> None:
    with echo_server(WebSocket, protocols=["Chat"]) as server:
        client = Client(url_of(server), ["other", "Chat"])
        io_loop.run_sync(client.connect)
        assert client.protocols == ["Chat"]
        client.close()
        start(io_loop)
        refused = Client(url_of(server), ["other"])
        with pytest.raises(HandshakeError, match="400"):
            io_loop.run_sync(refused.connect)
