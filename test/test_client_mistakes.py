"""Clients that are made or used wrongly: each mistake is named, on every engine."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from inspect import isawaitable
from typing import Any

import gevent.ssl
import pytest
from OpenSSL import SSL

from test import aio
from test.engines.gevent_ import Hub
from test.helpers import TIMEOUT, echo_server, url_of
from ws4py.async_websocket import EchoWebSocket
from ws4py.client import WebSocketBaseClient, asyncioclient, geventclient, threadedclient
from ws4py.client.tornadoclient import TornadoWebSocketClient
from ws4py.limits import Limits

pytestmark = pytest.mark.usefixtures("no_thread_left")

NOWHERE = "ws://127.0.0.1:9/"
CLIENTS = [
    threadedclient.WebSocketClient,
    geventclient.WebSocketClient,
    asyncioclient.WebSocketClient,
    TornadoWebSocketClient,
]
ON_LOOPS = [asyncioclient.WebSocketClient, TornadoWebSocketClient]
EARLY = "^a client cannot send before it is connected$"
OVER = "^Cannot send on a terminated websocket$"
FORGETS = r"^NoSuper\.__init__ does not call super\(\)\.__init__\(\)$"
SENDS = [("send", "too early"), ("ping", "")]


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        yield hub


@pytest.fixture(params=CLIENTS, ids=lambda client_class: client_class.__module__)
def client_class(request: pytest.FixtureRequest) -> Any:
    return request.param


def on_engine(client_class: Any, act: Any, hub: Hub) -> None:
    """Call a function where clients of this class live; await what it returns."""

    async def act_on_loop() -> None:
        result = act()
        if isawaitable(result):
            await result

    if client_class in ON_LOOPS:
        aio.run(asyncio.new_event_loop, act_on_loop())
    elif client_class is geventclient.WebSocketClient:
        hub.call(act)
    else:
        act()


def connect_and_close(client: Any) -> Any:
    """Connect, and close; return what is to be awaited on a loop."""

    async def converse() -> None:
        await client.connect()
        client.close()
        await client.wait_closed()

    if isinstance(client, asyncioclient.WebSocketClient):
        return converse()
    client.connect()
    client.close()
    return client.run_forever()


def refused(client: Any, text: str) -> None:
    """See to it that what is sent is refused with ``text``."""
    for method, argument in SENDS:
        with pytest.raises(RuntimeError, match=text):
            getattr(client, method)(argument)


@pytest.mark.parametrize("client_class", [WebSocketBaseClient, threadedclient.WebSocketClient])
def test_what_is_sent_before_connect_says_so_and_after_the_end_that(client_class: Any) -> None:
    with echo_server() as server:
        client = client_class(url_of(server))
        refused(client, EARLY)
        client.connect()
        client.send("in time")
        client.terminate()
        if client_class is not WebSocketBaseClient:
            client.run_forever()
        refused(client, OVER)


def test_what_is_sent_by_a_client_that_could_not_connect_says_that_it_has_ended() -> None:
    client = threadedclient.WebSocketClient("ws://127.0.0.1:1/")
    with pytest.raises(OSError):
        client.connect()
    refused(client, OVER)


def test_a_client_that_connects_again_cannot_send_meanwhile_as_its_connection_has_ended() -> None:
    class Client(threadedclient.WebSocketClient):
        @property
        def handshake_headers(self) -> list[tuple[str, str]]:
            refused(self, texts.pop(0))
            return super().handshake_headers

    texts = [EARLY, OVER, OVER]
    with echo_server() as server:
        client = Client(url_of(server))
        while texts:
            client.connect()
            client.close()
            client.run_forever()


def test_what_a_client_of_gevent_sends_before_connect_says_so(hub: Hub) -> None:
    hub.call(lambda: refused(geventclient.WebSocketClient(NOWHERE), EARLY))


def test_a_client_of_gevent_does_not_wait_for_messages_before_connect(hub: Hub) -> None:
    def talk(url: str) -> Any:
        client = geventclient.WebSocketClient(url)
        with pytest.raises(RuntimeError, match="a client cannot receive before it is connected"):
            client.receive(timeout=TIMEOUT)
        client.connect()
        client.send("in time")
        message = client.receive(timeout=TIMEOUT)
        client.terminate()
        return str(message), client.receive(timeout=TIMEOUT)

    with echo_server() as server:
        assert hub.call(talk, url_of(server)) == ("in time", None)


@pytest.mark.parametrize("client_class", ON_LOOPS)
@aio.on_loops
async def test_what_a_client_on_a_loop_sends_before_it_is_connected_says_so(
    client_class: Any,
) -> None:
    async with aio.serving(EchoWebSocket) as server:
        client = client_class(aio.url_of(server))
        refused(client, EARLY)
        connecting = asyncio.ensure_future(client.connect())
        await asyncio.sleep(0)
        refused(client, EARLY)
        await connecting
        await client.send("in time")
        client.close()
        await client.wait_closed()
        refused(client, OVER)


@pytest.mark.parametrize("seconds", ["5", b"5", -1, True, float("inf"), float("nan"), 1e12, 2**32])
def test_an_open_timeout_that_is_no_time_to_wait_is_refused(
    client_class: Any, seconds: Any, hub: Hub
) -> None:
    def make() -> None:
        with pytest.raises(ValueError, match="open_timeout is a number of seconds, ") as caught:
            client_class(NOWHERE, open_timeout=seconds)
        assert str(caught.value).endswith(f", and not {seconds!r}")

    on_engine(client_class, make, hub)


def test_the_longest_open_timeout_is_one_that_can_be_waited_for(
    client_class: Any, contexts: Any, hub: Hub
) -> None:
    theirs, ours = contexts
    options = {"open_timeout": 2_147_483, "ssl_context": ours}
    with echo_server(ssl_context=theirs) as server:
        on_engine(
            client_class,
            lambda: connect_and_close(client_class(url_of(server), **options)),
            hub,
        )


@pytest.mark.parametrize("url", [NOWHERE, "wss://127.0.0.1:9/"])
@pytest.mark.parametrize("context", [True, "cert.pem", {}, SSL.Context(SSL.TLS_METHOD)])
def test_a_tls_context_that_is_none_is_refused(
    client_class: Any, url: str, context: Any, hub: Hub
) -> None:
    def make() -> None:
        with pytest.raises(TypeError, match=r"is not an ssl\.SSLContext") as caught:
            client_class(url, ssl_context=context)
        assert repr(context) in str(caught.value)

    on_engine(client_class, make, hub)


def test_a_tls_context_may_be_of_any_class_that_is_one(client_class: Any, hub: Hub) -> None:
    class Context(ssl.SSLContext):
        pass

    def make() -> None:
        for kind in (ssl.SSLContext, Context, gevent.ssl.SSLContext):
            context = kind(ssl.PROTOCOL_TLS_CLIENT)
            client = client_class(NOWHERE, ssl_context=context)
            assert client.ssl_context is context
            client.terminate()

    on_engine(client_class, make, hub)


@pytest.mark.parametrize("limits", [None, {"max_message_size": 10}, Limits])
def test_limits_that_are_none_are_refused_by_connect(
    client_class: Any, limits: Any, hub: Hub
) -> None:
    mistaken = type("Mistaken", (client_class,), {"limits": limits})

    def connect() -> Any:
        return mistaken(NOWHERE).connect()

    with pytest.raises(TypeError) as caught:
        on_engine(client_class, connect, hub)
    assert str(caught.value) == f"Mistaken.limits is {limits!r}, and not a Limits"


def test_a_class_that_forgets_to_call_our_init_is_named_by_connect(
    client_class: Any, hub: Hub
) -> None:
    class NoSuper(client_class):  # type: ignore[misc]
        def __init__(self, url: str) -> None:
            self.address = url

    def connect() -> Any:
        return NoSuper(NOWHERE).connect()

    with pytest.raises(RuntimeError, match=FORGETS):
        on_engine(client_class, connect, hub)


@pytest.mark.parametrize("client_class", ON_LOOPS)
@aio.on_loops
async def test_a_class_that_forgets_to_call_our_init_is_named_by_async_with(
    client_class: Any,
) -> None:
    class NoSuper(client_class):  # type: ignore[misc]
        def __init__(self) -> None:
            pass

    with pytest.raises(RuntimeError, match=FORGETS):
        async with NoSuper():
            pass
