"""TLS: certificates are verified, unless the user says otherwise by name."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from test.conformance import TEXT, Peer
from test.helpers import (
    HANDSHAKE,
    TIMEOUT,
    Recorder,
    echo_server,
    frame,
    only_websocket,
    read_exactly,
    url_of,
)
from ws4py._tls import client_context, server_context
from ws4py.client.threadedclient import WebSocketClient
from ws4py.exc import HandshakeError
from ws4py.server.asyncioserver import serve
from ws4py.server.standalone import WebSocketServer
from ws4py.websocket import EchoWebSocket

pytestmark = pytest.mark.usefixtures("no_thread_left")


class Client(Recorder, WebSocketClient):
    """A threaded client that records."""


@pytest.fixture
def server(server_tls: ssl.SSLContext) -> Iterator[WebSocketServer]:
    with echo_server(ssl_context=server_tls) as server:
        yield server


@pytest.fixture
def ca_certs(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def echoes(client: Client) -> bool:
    client.connect()
    client.send("hello")
    heard = [client.next_event(), client.next_event()]
    client.close()
    client.run_forever()
    return heard == [("opened",), ("text", b"hello")]


def test_a_certificate_that_nobody_signed_is_refused(server: WebSocketServer) -> None:
    client = Client(url_of(server))
    with pytest.raises(ssl.SSLCertVerificationError):
        client.connect()
    assert client.sock is None


def test_a_certificate_of_ca_certs_is_accepted(server: WebSocketServer, ca_certs: str) -> None:
    assert echoes(Client(url_of(server), ssl_options={"ca_certs": ca_certs}))


def test_a_certificate_for_another_name_is_refused(server: WebSocketServer, ca_certs: str) -> None:
    options = {"ca_certs": ca_certs, "server_hostname": "example.com"}
    with pytest.raises(ssl.SSLCertVerificationError):
        Client(url_of(server), ssl_options=options).connect()


def test_the_name_alone_may_go_unchecked(server: WebSocketServer, ca_certs: str) -> None:
    options = {"ca_certs": ca_certs, "server_hostname": "example.com", "check_hostname": False}
    assert echoes(Client(url_of(server), ssl_options=options))
    with pytest.raises(ssl.SSLCertVerificationError):
        Client(url_of(server), ssl_options={"check_hostname": False}).connect()


def test_cert_none_turns_verification_off(server: WebSocketServer) -> None:
    assert echoes(Client(url_of(server), ssl_options={"cert_reqs": ssl.CERT_NONE}))


def test_an_ssl_version_is_ignored_and_the_best_one_used(
    server: WebSocketServer, ca_certs: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Notes(Client):
        version: str | None = None

        def opened(self) -> None:
            self.version = self.sock.version()
            super().opened()

    options = {"ca_certs": ca_certs, "ssl_version": ssl.PROTOCOL_TLSv1_2}
    client = Notes(url_of(server), ssl_options=options)
    assert echoes(client)
    assert "ssl_version is ignored" in caplog.text
    assert client.version == "TLSv1.3"


def test_a_context_is_used_as_it_is(server: WebSocketServer, client_tls: ssl.SSLContext) -> None:
    assert echoes(Client(url_of(server), ssl_context=client_tls))


def test_the_name_of_the_host_is_sent(
    server_tls: ssl.SSLContext, authority: trustme.CA, ca_certs: str
) -> None:
    names: list[str | None] = []
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    context.sni_callback = lambda _sock, name, _context: names.append(name)
    with echo_server(ssl_context=context) as server:
        assert echoes(Client(url_of(server), ssl_options={"ca_certs": ca_certs}))
    assert names == ["localhost"]


def test_a_certificate_of_the_client_is_sent(
    authority: trustme.CA, ca_certs: str, tmp_path: Path
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    mine = authority.issue_cert("client@example.com")
    certfile, keyfile = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    mine.cert_chain_pems[0].write_to_path(certfile)
    mine.private_key_pem.write_to_path(keyfile)
    options = {"ca_certs": ca_certs, "certfile": certfile, "keyfile": keyfile}
    with echo_server(ssl_context=context) as server:
        assert echoes(Client(url_of(server), ssl_options=options))
        with pytest.raises((OSError, HandshakeError)):
            Client(url_of(server), ssl_options={"ca_certs": ca_certs}).connect()


@pytest.mark.parametrize("name", ["certfile", "keyfile", "ca_certs"])
def test_a_file_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(FileNotFoundError, match="/no/such/file"):
        client_context({name: "/no/such/file"})
    with pytest.raises(FileNotFoundError, match="/no/such/file"):
        server_context("/no/such/file")


def test_a_file_that_is_no_certificate_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cert.pem"
    path.write_text("nonsense")
    with pytest.raises(ValueError, match=r"cert\.pem"):
        server_context(str(path))


def test_an_option_with_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="cert_req'"):
        client_context({"cert_req": ssl.CERT_NONE})


def test_the_defaults_verify_everything() -> None:
    context = client_context({})
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_a_client_that_speaks_no_tls_does_not_stop_the_server(
    server: WebSocketServer, client_tls: ssl.SSLContext
) -> None:
    with socket.create_connection(("127.0.0.1", server.server_address[1]), TIMEOUT) as sock:
        sock.sendall(HANDSHAKE)
        try:
            while sock.recv(4096):
                pass
        except ConnectionError:
            pass
    assert echoes(Client(url_of(server), ssl_context=client_tls))


def tls_peer(server: WebSocketServer, context: ssl.SSLContext, request: bytes) -> ssl.SSLSocket:
    sock = socket.create_connection(("127.0.0.1", server.server_address[1]), TIMEOUT)
    peer = context.wrap_socket(sock, server_hostname="localhost")
    peer.sendall(request)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += peer.recv(1)
    assert head.startswith(b"HTTP/1.1 101 ")
    return peer


def test_five_frames_in_one_record_are_all_answered(
    server: WebSocketServer, client_tls: ssl.SSLContext
) -> None:
    frames = b"".join(frame(1, b"%d" % number) for number in range(5))
    with tls_peer(server, client_tls, HANDSHAKE) as sock:
        sock.sendall(frames)
        assert read_exactly(sock, 15) == b"".join(b"\x81\x01%d" % number for number in range(5))


def test_frames_in_the_record_of_the_request_are_all_answered(
    server: WebSocketServer, client_tls: ssl.SSLContext
) -> None:
    frames = b"".join(frame(1, b"%d" % number) for number in range(5))
    with tls_peer(server, client_tls, HANDSHAKE + frames) as sock:
        assert read_exactly(sock, 15) == b"".join(b"\x81\x01%d" % number for number in range(5))


def test_a_record_larger_than_a_small_read_is_read_to_its_end(
    client_tls: ssl.SSLContext, server_tls: ssl.SSLContext
) -> None:
    handler: Any = type("Handler", (EchoWebSocket,), {"reading_buffer_size": 7})
    serving = echo_server(handler, ssl_context=server_tls)
    with serving as server, tls_peer(server, client_tls, HANDSHAKE) as sock:
        sock.sendall(frame(2, b"x" * 10_000))
        assert read_exactly(sock, 10_004)[4:] == b"x" * 10_000


def test_both_directions_at_full_load_stay_whole(
    server: WebSocketServer, client_tls: ssl.SSLContext
) -> None:
    class Counts(WebSocketClient):
        heard = 0
        bad = 0

        def received_message(self, message: Any) -> None:
            self.heard += 1
            self.bad += message.data[:1] * len(message.data) != message.data
            if self.heard == 600:
                self.close()

    client = Counts(url_of(server), ssl_context=client_tls)
    client.connect()

    def send(letter: bytes) -> None:
        for size in range(200):
            client.send(letter * (size * 100 + 1), binary=True)

    senders = [threading.Thread(target=send, args=(letter,)) for letter in (b"a", b"b", b"c")]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join(TIMEOUT)
    client._th.join(TIMEOUT)
    assert (client.heard, client.bad, client.close_code) == (600, 0, 1000)


def test_a_large_message_to_a_slow_peer_arrives_whole(
    server: WebSocketServer, client_tls: ssl.SSLContext
) -> None:
    with tls_peer(server, client_tls, HANDSHAKE) as sock:
        peer = Peer(sock, masks=True)
        payload = bytes(range(256)) * 20_000
        peer.send(TEXT, b"first")
        assert peer.message() == (TEXT, b"first")
        sending = threading.Thread(target=peer.send, args=(2, payload))
        sending.start()
        sending.join(TIMEOUT)
        assert peer.message() == (2, payload)


def test_an_end_without_close_notify_is_noticed(
    server: WebSocketServer, client_tls: ssl.SSLContext
) -> None:
    sock = tls_peer(server, client_tls, HANDSHAKE)
    websocket = only_websocket(server)
    raw = socket.socket(fileno=sock.detach())
    raw.close()
    pause = threading.Event()
    while not websocket.terminated:
        assert not pause.wait(0.01)
    assert websocket.close_code in (None, 1006)


def test_an_option_that_is_unknown_is_a_value_error_before_anything_is_done() -> None:
    with pytest.raises(ValueError, match="'ca_cert' is not an ssl option; these are: certfile"):
        WebSocketClient("wss://127.0.0.1:1/", ssl_options={"ca_cert": "ca.pem"})


def make_standalone(context: Any) -> Any:
    return WebSocketServer(("127.0.0.1", 0), ssl_context=context)


@pytest.mark.parametrize("make", [make_standalone, lambda context: serve(ssl=context)])
def test_what_is_no_context_of_a_server_is_an_error_where_it_is_made(make: Any) -> None:
    with pytest.raises(TypeError, match="is not an ssl"):
        make("cert.pem")
    with pytest.raises(ValueError, match=r"Purpose\.CLIENT_AUTH"):
        make(ssl.create_default_context())


@pytest.mark.parametrize(
    ("options", "what"),
    [({"keyfile": __file__}, "without the certificate"), ({"ciphers": "NONE-SUCH"}, "NONE-SUCH")],
)
def test_an_option_that_cannot_be_used_is_a_value_error(options: Any, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        client_context(options)
