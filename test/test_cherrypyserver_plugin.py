"""CherryPy's plugin: the bus, the manager, the kinds of HTTP servers, and pyOpenSSL."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from queue import Queue
from time import monotonic
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.simple_server import make_server as make_foreign

import cherrypy
import pytest
import trustme
from cherrypy import _cpserver
from cherrypy.process.servers import ServerAdapter
from cherrypy.process.wspbus import Bus

from test.conformance import BINARY, TEXT, Echo, Link, Peer, read_head
from test.conformance.closing import Closing
from test.conformance.ending import Ending
from test.conformance.engine import Row
from test.conformance.failing import Failing
from test.conformance.messages import Messages
from test.conformance.serving import Serving
from test.engines import Engine, cherrypy_
from test.engines.cherrypy_ import (
    Adapter,
    Root,
    application,
    make_server,
    port_of,
    running,
    serving,
)
from test.helpers import HANDSHAKE, TIMEOUT, eventually, raw_connection, read_to_end
from ws4py.manager import SelectPoller, WebSocketManager
from ws4py.server import cherrypyserver
from ws4py.server.cherrypyserver import WebSocketPlugin
from ws4py.websocket import WebSocket

pytestmark = pytest.mark.usefixtures("no_thread_left")

GOING_AWAY = (1001, "Server is shutting down")


class Handler(Echo, WebSocket):
    """An echo that records."""


def connect(port: int) -> Peer:
    """Do the opening handshake; return the client."""
    sock, head = raw_connection(port)
    assert head.startswith(b"HTTP/1.1 101 "), head
    return Peer(sock, masks=True)


def converse(peer: Peer) -> None:
    """Get an echo, and do the closing handshake."""
    peer.send(TEXT, b"hello")
    assert peer.message() == (TEXT, b"hello")
    peer.send_close(1000)
    assert peer.close_frame() == (1000, "")
    peer.leave()


def answer_close(peer: Peer) -> None:
    """Read the Close of a server that ends, answer it, and see the connection end."""
    assert peer.close_frame() == GOING_AWAY
    peer.send_close(1001)
    peer.leave()


def echo_app() -> Any:
    return application(Root(), handler_cls=Handler)


def only_websocket(manager: WebSocketManager) -> Any:
    eventually(lambda: len(manager) == 1, "there is not one websocket")
    return next(iter(manager))


def test_a_broadcast_on_the_bus_reaches_every_websocket() -> None:
    plugin = WebSocketPlugin(None)
    with serving(echo_app(), plugin) as server:
        peers = [connect(port_of(server)) for _ in range(3)]
        eventually(lambda: len(plugin.manager) == 3, "there are not three websockets")
        plugin.bus.publish("websocket-broadcast", "to all")
        plugin.bus.publish("websocket-broadcast", b"\xff", binary=True)
        for peer in peers:
            assert peer.message() == (TEXT, b"to all")
            assert peer.message() == (0x2, b"\xff")


def test_the_end_of_the_engine_closes_the_websockets_and_waits_for_their_ends() -> None:
    plugin = WebSocketPlugin(None)
    with ExitStack() as stack:
        server = stack.enter_context(serving(echo_app(), plugin))
        peer = connect(port_of(server))
        websocket = only_websocket(plugin.manager)
        thread = threading.Thread(target=answer_close, args=(peer,))
        thread.start()
        begun = monotonic()
        plugin.bus.stop()
        assert monotonic() - begun < websocket.limits.close_timeout / 2
        assert websocket.all_events()[-1] == ("closed", 1001, "")
        assert not plugin.manager.is_alive()
        thread.join(TIMEOUT)


def test_a_silent_peer_holds_the_end_up_no_longer_than_the_close_timeout() -> None:
    plugin = WebSocketPlugin(None)
    with serving(echo_app(), plugin) as server:
        peer = connect(port_of(server))
        websocket = only_websocket(plugin.manager)
    peer.sock.close()
    assert websocket.all_events()[-1][:2] == ("closed", 1006)


def test_a_callback_that_does_not_return_does_not_hold_the_end_up_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Stuck(Handler):
        def received_message(self, message: Any) -> None:
            begun.set()
            assert go_on.wait(TIMEOUT)

    begun, go_on = threading.Event(), threading.Event()
    monkeypatch.setattr(cherrypyserver, "_PATIENCE", 0.05)
    plugin = WebSocketPlugin(None)
    with serving(application(Root(), handler_cls=Stuck), plugin) as server:
        peer = connect(port_of(server))
        peer.send(TEXT, b"stay")
        assert begun.wait(TIMEOUT)
        plugin.bus.stop()
        assert plugin.manager.is_alive()
        go_on.set()
        answer_close(peer)


def test_a_websocket_that_comes_after_the_end_of_the_plugin_is_dropped(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The server, as it stops, waits for the page that accepts it; the plugin does not."""

    class Slow:
        @cherrypy.expose
        def default(self) -> None:
            made.put(cherrypy.request.ws_handler)
            begun.set()
            manager = plugin.manager
            eventually(lambda: not manager.is_alive(), "the manager goes on")

    made: Queue[Any] = Queue()
    begun = threading.Event()
    monkeypatch.setattr(cherrypyserver, "_HURRY", 0.05)
    plugin = WebSocketPlugin(None)
    caplog.set_level(logging.INFO, "ws4py")
    with serving(application(Slow(), handler_cls=Handler), plugin) as server:
        with socket.create_connection(("127.0.0.1", port_of(server)), TIMEOUT) as sock:
            sock.sendall(HANDSHAKE)
            assert begun.wait(TIMEOUT)
            plugin.bus.stop()
            assert read_head(sock).startswith(b"HTTP/1.1 101 ")
            assert read_to_end(sock) == b""
        assert made.get(timeout=TIMEOUT).all_events() == [("closed", 1006, "Going away")]
    assert "It came too late" in caplog.text


def test_a_bus_that_is_started_again_serves_with_a_new_manager() -> None:
    plugin = WebSocketPlugin(None)
    with serving(echo_app(), plugin) as server:
        first = plugin.manager
        converse(connect(port_of(server)))
        plugin.bus.stop()
        assert not first.is_alive()
        plugin.bus.start()
        assert plugin.manager is not first
        converse(connect(port_of(server)))


def test_an_engine_that_never_ran_can_be_stopped_and_started() -> None:
    plugin = WebSocketPlugin(None)
    bus = Bus()
    plugin.bus = bus
    plugin.subscribe()
    bus.stop()
    plugin.unsubscribe()
    with serving(echo_app(), plugin) as server:
        converse(connect(port_of(server)))


def test_a_callback_may_stop_the_engine() -> None:
    class Stopping(Handler):
        def received_message(self, message: Any) -> None:
            plugin.bus.stop()

    plugin = WebSocketPlugin(None)
    with serving(application(Root(), handler_cls=Stopping), plugin) as server:
        peer = connect(port_of(server))
        peer.send(TEXT, b"stop")
        answer_close(peer)
        plugin.manager.join(TIMEOUT)
        assert not plugin.manager.is_alive()


def test_a_plugin_that_is_subscribed_to_a_running_bus_works_at_once() -> None:
    server, plugin = make_server(echo_app()), WebSocketPlugin(None)
    with running(Adapter(None, server)) as bus:
        plugin.bus = bus
        plugin.subscribe()
        converse(connect(port_of(server)))


def test_a_server_that_is_added_to_a_running_bus_is_prepared_by_starting_the_plugin_again() -> None:
    plugin = WebSocketPlugin(None)
    with running(plugin) as bus:
        adapter = Adapter(bus, make_server(echo_app()))
        adapter.subscribe()
        plugin.start()
        adapter.start()
        converse(connect(port_of(adapter.httpserver)))


def test_a_class_of_connections_that_the_server_has_is_kept() -> None:
    server = make_server(echo_app())
    server.ConnectionClass = base = type("Own", (server.ConnectionClass,), {"rbufsize": 100})
    with running(Adapter(None, server), WebSocketPlugin(None)) as bus:
        assert issubclass(server.ConnectionClass, base)
        kept = server.ConnectionClass
        bus.stop()
        bus.start()
        assert server.ConnectionClass is kept


@pytest.mark.parametrize("fails", [False, True])
def test_a_websocket_that_nobody_takes_is_dropped(fails: bool) -> None:
    def fail(*_arguments: Any) -> None:
        raise LookupError("a fault of a listener")

    plugin = WebSocketPlugin(None)
    with serving(echo_app(), plugin) as server:
        plugin.bus.unsubscribe("handle-websocket", plugin.handle)
        if fails:
            plugin.bus.subscribe("handle-websocket", fail)
        peer = connect(port_of(server))
        assert read_to_end(peer.sock) == b""


def test_a_listener_of_the_program_sees_each_websocket_and_where_it_comes_from() -> None:
    seen: Queue[Any] = Queue()
    plugin = WebSocketPlugin(None)
    with serving(echo_app(), plugin) as server:
        plugin.bus.subscribe("handle-websocket", lambda *arguments: seen.put(arguments))
        peer = connect(port_of(server))
        websocket, address = seen.get(timeout=TIMEOUT)
        assert (websocket, address) == (only_websocket(plugin.manager), peer.sock.getsockname())


@pytest.fixture
def mounted() -> Iterator[None]:
    """Put an echo into CherryPy's own tree."""
    cherrypy.tree.mount(Root(), "", echo_app().config)
    yield
    del cherrypy.tree.apps[""]


def test_a_second_server_of_cherrypy_serves_websockets(mounted: None) -> None:
    server = _cpserver.Server()
    server.socket_host, server.socket_port = "127.0.0.1", 0
    plugin = WebSocketPlugin(None)
    with running(server, plugin):
        converse(connect(server.bound_addr[1]))


def test_a_server_adapter_around_a_cheroot_server_serves_websockets() -> None:
    from cheroot import wsgi

    httpserver = wsgi.Server(("127.0.0.1", 0), echo_app(), numthreads=2)
    adapter = ServerAdapter(None, httpserver, ("127.0.0.1", 0))
    plugin = WebSocketPlugin(None)
    with running(adapter, plugin):
        converse(connect(adapter.bound_addr[1]))


class Foreign(WSGIServer):
    """A server that is not cheroot's, as a ServerAdapter starts and stops one."""

    ready = True

    def start(self) -> None:
        self.serve_forever(0.01)

    def stop(self) -> None:
        self.shutdown()
        self.server_close()


class Quiet(WSGIRequestHandler):
    """Logs no request."""

    def log_message(self, *_arguments: Any) -> None:
        pass


def test_a_server_that_is_not_cheroots_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    class Pages(Root):
        @cherrypy.expose
        def page(self) -> str:
            return "a page"

    foreign = make_foreign("127.0.0.1", 0, application(Pages(), "/ws"), Foreign, Quiet)
    adapter = ServerAdapter(None, foreign, foreign.server_address)
    server = make_server(echo_app())
    with running(adapter, Adapter(None, server), WebSocketPlugin(None)):
        assert not hasattr(foreign, "ConnectionClass")
        port = foreign.server_address[1]
        with socket.create_connection(("127.0.0.1", port), TIMEOUT) as sock:
            sock.sendall(b"GET /page HTTP/1.0\r\n\r\n")
            assert read_to_end(sock).endswith(b"\r\n\r\na page")
        sock, head = raw_connection(port, HANDSHAKE.replace(b"GET / ", b"GET /ws "))
        sock.close()
        assert head.split(b" ")[1] == b"500"
        assert "no websocket can take this connection over" in caplog.text
        converse(connect(port_of(server)))  # The other one of that bus serves them.


def test_a_server_on_a_unix_socket_serves_websockets(tmp_path: Path) -> None:
    server = _cpserver.Server()
    server.socket_file = str(tmp_path / "cherrypy.sock")
    httpserver, _ = server.httpserver_from_self()
    httpserver.wsgi_app = echo_app()
    with running(Adapter(None, httpserver), WebSocketPlugin(None)):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(server.socket_file)
        sock.sendall(HANDSHAKE)
        assert read_head(sock).startswith(b"HTTP/1.1 101 ")
        converse(Peer(sock, masks=True))


def test_two_servers_of_one_bus_share_the_plugin() -> None:
    servers = [make_server(echo_app()) for _ in range(2)]
    plugin = WebSocketPlugin(None)
    with running(*(Adapter(None, server) for server in servers), plugin) as bus:
        peers = [connect(port_of(server)) for server in servers]
        eventually(lambda: len(plugin.manager) == 2, "there are not two websockets")
        bus.publish("websocket-broadcast", "to all")
        assert [peer.message() for peer in peers] == [(TEXT, b"to all")] * 2


def test_a_poller_that_is_given_polls_for_the_first_manager() -> None:
    poller = SelectPoller()
    plugin = WebSocketPlugin(None, poller=poller)
    with serving(echo_app(), plugin) as server:
        assert plugin.manager.poller is poller
        converse(connect(port_of(server)))
        plugin.bus.stop()
        plugin.bus.start()
        assert plugin.manager.poller is not poller


@pytest.fixture(scope="module")
def certificate(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a certificate for localhost, and one ``.key`` beside it."""
    issued = authority.issue_cert("localhost", "127.0.0.1")
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    issued.cert_chain_pems[0].write_to_path(path)
    issued.private_key_pem.write_to_path(path.with_suffix(".key"))
    return path


@pytest.mark.filterwarnings("ignore::DeprecationWarning:cheroot")
class TestPyOpenSSL(Messages, Closing, Failing, Ending, Serving, Row):
    """What a WebSocket does under the TLS of pyOpenSSL."""

    @pytest.fixture
    def link(
        self,
        certificate: Path,
        server_tls: ssl.SSLContext,
        client_tls: ssl.SSLContext,
        no_thread_left: None,
    ) -> Iterator[Link]:
        start = partial(cherrypy_.pyopenssl, certificate)
        engine = Engine("pyopenssl", start, thread="WebSocketManager")
        with ExitStack() as stack:
            yield Link(engine, server_tls, client_tls, stack)

    server_link = link

    def test_a_connection_that_breaks_without_the_end_of_tls_has_ended(self, link: Link) -> None:
        ws, peer = link()
        assert ws._is_secure
        socket.socket.shutdown(peer.sock, socket.SHUT_RDWR)
        assert ws.all_events()[-1][:2] == ("closed", 1006)

    def test_a_peer_that_reads_late_gets_all_that_was_sent(self, link: Link) -> None:
        ws, peer = link()
        message = bytes(range(256)) * 80_000
        ws.send(message, binary=True)
        assert ws._queued > 0
        assert peer.message() == (BINARY, message)
        eventually(lambda: ws._queued == 0, "the queue was not sent")
        ws.send("and then this")
        assert peer.message() == (TEXT, b"and then this")

    def test_what_the_peer_says_of_its_end_ends_the_connection(self, link: Link) -> None:
        ws, peer = link()
        peer.sock.unwrap()
        assert ws.all_events()[-1][:2] == ("closed", 1006)
