"""The gevent client: its queue, its greenlet, and how it connects.

The hub is in a thread of its own, in which the bodies of the tests run as greenlets.
"""

from __future__ import annotations

import gc
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.queue import Empty

from test.engines.gevent_ import Hub
from test.helpers import (
    TIMEOUT,
    Recorder,
    RecordingWebSocket,
    descriptors,
    echo_server,
    eventually,
    only_websocket,
    running,
    url_of,
)
from ws4py.client.geventclient import WebSocketClient
from ws4py.exc import HandshakeTimeout
from ws4py.heartbeat import Pulse
from ws4py.limits import Limits
from ws4py.server.standalone import WebSocketServer
from ws4py.websocket import EchoWebSocket, WebSocket

pytestmark = pytest.mark.usefixtures("no_thread_left")


class RecordingClient(Recorder, WebSocketClient):
    """Records its callbacks, in place of the queue."""


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        yield hub


def connected(url: str, client_class: Any = WebSocketClient, **options: Any) -> Any:
    client = client_class(url, **options)
    client.connect()
    return client


def test_messages_are_received_in_order_and_none_at_the_end(hub: Hub) -> None:
    def talk(url: str) -> list[Any]:
        client = connected(url)
        client.send("text")
        client.send(b"bytes", binary=True)
        client.send("")
        got = [client.receive() for _ in range(3)]
        client.close(reason="enough")
        client.run_forever()
        ends = [client.receive(), client.receive(False), client.receive(timeout=0)]
        return [*[(each.is_text, each.data) for each in got], *ends, client.close_code]

    with echo_server() as server:
        assert hub.call(talk, url_of(server)) == [
            (True, b"text"),
            (False, b"bytes"),
            (True, b""),
            None,
            None,
            None,
            1000,
        ]


def test_what_came_before_the_end_is_received_after_it(hub: Hub) -> None:
    class Speaks(WebSocket):
        def opened(self) -> None:
            self.send("one")
            self.send("two")
            self.close()

    def listen(url: str) -> list[str]:
        client = connected(url)
        client.run_forever()
        return [str(client.receive()) for _ in range(3)]

    with echo_server(Speaks) as server:
        assert hub.call(listen, url_of(server)) == ["one", "two", "None"]


def test_receive_raises_empty_where_it_may_not_wait_or_not_so_long(hub: Hub) -> None:
    def listen(url: str) -> None:
        client = connected(url)
        with pytest.raises(Empty):
            client.receive(block=False)
        with pytest.raises(Empty):
            client.receive(timeout=0.01)
        client.terminate()

    with echo_server() as server:
        hub.call(listen, url_of(server))


def test_all_who_wait_for_a_message_learn_of_the_end(hub: Hub) -> None:
    def listen(url: str) -> list[Any]:
        client = connected(url)
        listeners = [gevent.spawn(client.receive) for _ in range(3)]
        gevent.spawn(list, client.messages)  # iteration ends too
        gevent.sleep(0)
        client.terminate()
        gevent.joinall(listeners)
        return [each.value for each in listeners]

    with echo_server() as server:
        assert hub.call(listen, url_of(server)) == [None] * 3


def test_receive_returns_none_where_there_is_no_connection(hub: Hub) -> None:
    def fail() -> Any:
        client = WebSocketClient("ws://127.0.0.1:1/")
        with pytest.raises(OSError):
            client.connect()
        return client.receive()

    assert hub.call(fail) is None


@pytest.mark.parametrize("size", [0, 1000, 100_000])
def test_while_nobody_receives_the_peer_is_not_read_and_nothing_is_lost(
    hub: Hub, size: int
) -> None:
    count = 20_000_000 // (size + 500)

    class Small(WebSocketClient):
        limits = Limits(max_queue=100_000)

    def receive_all(client: Any) -> None:
        for _ in range(count):
            assert len(client.receive()) == size

    with echo_server(RecordingWebSocket) as server:
        client = hub.call(connected, url_of(server), Small)
        peer = only_websocket(server)
        sent = threading.Event()

        def send() -> None:
            for _ in range(count):
                peer.send(bytes(size), binary=True)
            sent.set()

        thread = threading.Thread(target=send)
        thread.start()
        eventually(lambda: bool(client.messages.size > 100_000))
        assert size == 0 or not sent.wait(0.2)
        assert client.messages.size < 100_000 + size + 500
        hub.call(receive_all, client)
        thread.join(TIMEOUT)
        client.terminate()
        hub.call(client.run_forever)


@pytest.mark.parametrize("end", ["close", "terminate"])
def test_a_client_that_nobody_receives_from_can_be_ended(hub: Hub, end: str) -> None:
    class Small(WebSocketClient):
        limits = Limits(max_queue=1000)

    class Floods(RecordingWebSocket):
        def opened(self) -> None:
            for _ in range(100):
                self.send(b"x" * 1000, binary=True)

    with echo_server(Floods) as server:
        client = hub.call(connected, url_of(server), Small)
        eventually(lambda: bool(client.messages.size > 1000))
        getattr(client, end)()
        hub.call(client.run_forever)
        assert client.close_code == (1000 if end == "close" else 1006)
        assert client.messages.size < 4000


def test_a_client_that_nobody_receives_from_does_not_take_its_peer_for_dead(hub: Hub) -> None:
    class Small(WebSocketClient):
        limits = Limits(max_queue=1000, heartbeat_timeout=0.05)

    class Counts(RecordingWebSocket):
        def opened(self) -> None:
            for _ in range(100):
                self.send(b"x" * 1000, binary=True)

    def look(client: Any) -> list[int]:
        Pulse(client, 0.02).schedule()
        gevent.sleep(0.3)  # many times heartbeat_timeout
        client._heartbeat.cancel()  # A Pong may be late from here on.
        return [len(client.receive()) for _ in range(100)]

    with echo_server(Counts) as server:
        client = hub.call(connected, url_of(server), Small)
        eventually(lambda: bool(client._waiters), "its greenlet does not wait for room")
        assert hub.call(look, client) == [1000] * 100
        client.terminate()
        hub.call(client.run_forever)


def test_a_class_with_its_own_received_message_does_not_use_the_queue(hub: Hub) -> None:
    with echo_server() as server:
        client = hub.call(connected, url_of(server), RecordingClient)
        client.send("hello")
        assert client.next_event() == ("opened",)
        assert client.next_event() == ("text", b"hello")
        assert client.messages.qsize() == 0
        client.close()
        hub.call(client.run_forever)
        assert client.all_events()[-1] == ("closed", 1000, "")


def test_callbacks_run_in_the_greenlet_of_the_client(hub: Hub) -> None:
    class Notes(WebSocketClient):
        def opened(self) -> None:
            self.seen = [gevent.getcurrent()]
            self.send("hello")

        def received_message(self, message: Any) -> None:
            self.seen.append(gevent.getcurrent())
            self.close()

        def closed(self, code: int, reason: str | None = None) -> None:
            self.seen.append(gevent.getcurrent())

    with echo_server() as server:
        client = hub.call(connected, url_of(server), Notes)
        hub.call(client._th.join)
        assert client.seen == [client._th] * 3
        assert client._th.dead
        assert hub.call(client._th.get) is None


def test_a_client_has_one_greenlet_and_one_descriptor_and_no_thread(hub: Hub) -> None:
    def greenlets() -> int:
        gc.collect()
        return sum(isinstance(each, gevent.Greenlet) and bool(each) for each in gc.get_objects())

    class Beats(WebSocketClient):
        heartbeat_freq = 30

    with echo_server(heartbeat_freq=None) as server:
        host = f"ws://127.0.0.1:{server.server_address[1]}/"  # a name is resolved in a thread
        before, threads = (greenlets(), descriptors()), {*threading.enumerate()}
        clients = [hub.call(connected, host, Beats) for _ in range(20)]
        eventually(lambda: len(server.manager) == 20)
        assert (greenlets(), descriptors()) == (before[0] + 20, before[1] + 40)
        assert {*threading.enumerate()} <= threads
        for client in clients:
            client.terminate()
            hub.call(client.run_forever)


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_connecting_keeps_no_other_greenlet_from_running(hub: Hub, scheme: str) -> None:
    def begin(url: str) -> gevent.Greenlet:
        context = ssl.create_default_context() if scheme == "wss" else None
        client = WebSocketClient(url, open_timeout=TIMEOUT / 2, ssl_context=context)
        return gevent.spawn(client.connect)

    with socket.create_server(("127.0.0.1", 0)) as silent:
        connecting = hub.call(begin, f"{scheme}://localhost:{silent.getsockname()[1]}/")
        silent.settimeout(TIMEOUT)
        sock, _ = silent.accept()
        with sock:
            sock.settimeout(TIMEOUT)
            assert sock.recv(1)  # so it waits for an answer
            hub.call(gevent.sleep, 0)
            assert not connecting.ready()
            hub.call(connecting.kill)


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_a_server_that_says_nothing_is_a_handshake_timeout(hub: Hub, scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(HandshakeTimeout):
            hub.call(lambda: connected(url, open_timeout=0.2))


def test_tls_that_comes_byte_by_byte_is_a_handshake_timeout(hub: Hub) -> None:
    def drip(silent: socket.socket) -> None:
        sock, _ = silent.accept()
        pause = threading.Event()
        with sock, suppress(OSError):
            sock.sendall(b"\x16\x03\x03\x40\x00\x02")
            for _ in range(int(TIMEOUT / 0.05)):
                pause.wait(0.05)
                sock.sendall(b"x")

    def connect(url: str) -> None:
        with pytest.raises(HandshakeTimeout):
            WebSocketClient(url, open_timeout=0.3).connect()

    with socket.create_server(("127.0.0.1", 0)) as silent:
        thread = threading.Thread(target=drip, args=(silent,))
        thread.start()
        hub.call(connect, f"wss://127.0.0.1:{silent.getsockname()[1]}/")
        thread.join()


def test_the_certificate_of_a_server_is_verified(hub: Hub, server_tls: ssl.SSLContext) -> None:
    with echo_server(ssl_context=server_tls) as server:
        url = url_of(server)
        with pytest.raises(ssl.SSLCertVerificationError):
            hub.call(connected, url)


def test_options_of_tls_are_those_of_other_clients(
    hub: Hub, server_tls: ssl.SSLContext, authority: Any, tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")

    def talk(url: str) -> str:
        client = connected(url, ssl_options={"ca_certs": str(tmp_path / "ca.pem")})
        client.send("hello")
        answer = str(client.receive())
        client.close()
        client.run_forever()
        return answer

    with echo_server(ssl_context=server_tls) as server:
        assert hub.call(talk, url_of(server)) == "hello"


def test_a_unix_socket_is_connected_to(hub: Hub, tmp_path: Path) -> None:
    address = str(tmp_path / "my.sock")

    def talk() -> str:
        client = connected(f"ws+unix://{address}")
        client.send("hello")
        answer = str(client.receive())
        client.terminate()
        client.run_forever()
        return answer

    with running(WebSocketServer(address)):
        assert hub.call(talk) == "hello"


def test_a_client_connects_again(hub: Hub) -> None:
    def talk(url: str) -> list[str]:
        client = WebSocketClient(url)
        answers = []
        for number in range(3):
            client.connect()
            client.send(f"{number}")
            answers.append(str(client.receive()))
            client.close()
            client.run_forever()
            assert client.receive() is None
        return answers

    with echo_server() as server:
        assert hub.call(talk, url_of(server)) == ["0", "1", "2"]


def test_a_client_that_connects_again_in_closed_is_waited_for(hub: Hub) -> None:
    class Returns(WebSocketClient):
        times = 0

        def opened(self) -> None:
            self.close()

        def closed(self, code: int, reason: str | None = None) -> None:
            self.times += 1
            if self.times < 3:
                self.connect()

    def talk(url: str) -> int:
        client = connected(url, Returns)
        client.run_forever()
        return int(client.times)

    with echo_server() as server:
        assert hub.call(talk, url_of(server)) == 3


def test_run_forever_of_a_client_that_is_not_connected_says_so(hub: Hub) -> None:
    with pytest.raises(RuntimeError, match="cannot run before it is connected"):
        hub.call(lambda: WebSocketClient("ws://127.0.0.1:1/").run_forever())


@pytest.mark.parametrize("name", ["opened", "received_message", "closed"])
def test_run_forever_in_a_callback_says_that_it_cannot_wait(hub: Hub, name: str) -> None:
    def wait(self: Any, *_arguments: Any) -> None:
        with pytest.raises(RuntimeError, match="a callback cannot wait for the end"):
            self.run_forever()
        said.append(name)

    def talk(url: str) -> None:
        client = connected(url, type("Waits", (WebSocketClient,), {name: wait}))
        client.send("hello")
        client.close()
        client.run_forever()

    said: list[str] = []
    with echo_server() as server:
        hub.call(talk, url_of(server))
    assert said == [name]


def test_a_client_may_be_run_by_a_greenlet_of_the_user(hub: Hub) -> None:
    class Silent(WebSocketClient):
        def handshake_ok(self) -> None:
            pass

    def talk(url: str) -> str:
        client = connected(url, Silent)
        running = gevent.spawn(client.run)
        client.send("hello")
        answer = str(client.receive())
        client.close()
        running.join()
        return answer

    with echo_server() as server:
        assert hub.call(talk, url_of(server)) == "hello"


def test_a_greenlet_that_is_killed_ends_its_connection(hub: Hub) -> None:
    with echo_server(RecordingWebSocket) as server:
        client = hub.call(connected, url_of(server), RecordingClient)
        assert client.next_event() == ("opened",)
        peer = only_websocket(server)
        hub.call(client._th.kill)
        assert client.all_events()[-1][:2] == ("closed", 1006)
        assert peer.all_events()[-1][:2] == ("closed", 1006)


Act = Callable[[Any], object]


@pytest.mark.parametrize(
    "act",
    [lambda c: c.terminate(), lambda c: c.close_connection(), lambda c: c.close()],
    ids=["terminate", "close_connection", "close"],
)
@pytest.mark.parametrize("here", [True, False])
def test_a_connection_that_nobody_reads_can_be_ended(hub: Hub, act: Act, here: bool) -> None:
    class Silent(Recorder, WebSocketClient):
        limits = Limits(close_timeout=0.05)

        def handshake_ok(self) -> None:
            pass

    with echo_server(EchoWebSocket) as server:
        before = descriptors()
        client = hub.call(connected, url_of(server), Silent)
        if here:
            hub.call(act, client)
        else:
            act(client)
        client.terminate()
        assert [event[0] for event in client.all_events()] == ["closed"]
        eventually(lambda: descriptors() <= before)
