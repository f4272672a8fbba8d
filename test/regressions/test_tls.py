"""Fault 22: TLS that verified nothing, or was not there."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from test.helpers import Recorder, echo_server, url_of
from test.regressions import fake_server, regression
from ws4py.client.threadedclient import WebSocketClient
from ws4py.server.standalone import WebSocketServer

NOT_VERIFIED = "certificate verify failed"


class Client(Recorder, WebSocketClient):
    """A threaded client that records."""


def talk(url: str, **options: Any) -> str:
    """Connect, have a message echoed, and return the version of TLS that was spoken."""
    client = Client(url, **options)
    client.connect()
    version: str = client.sock.version()
    client.send("secret")
    assert client.next_event() == ("opened",)
    assert client.next_event() == ("text", b"secret")
    client.close()
    client.run_forever()
    return version


@pytest.fixture
def server(server_tls: ssl.SSLContext) -> Iterator[WebSocketServer]:
    """An echo server with a certificate for localhost."""
    with echo_server(ssl_context=server_tls) as server:
        yield server


@pytest.fixture
def elsewhere(authority: trustme.CA) -> Iterator[WebSocketServer]:
    """An echo server with a certificate for another host."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("elsewhere.example").configure_cert(context)
    with echo_server(ssl_context=context) as server:
        yield server


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    """The authority's certificate in a file."""
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@regression(22)
@pytest.mark.parametrize(
    "options", [None, {}, {"cert_reqs": ssl.CERT_REQUIRED}, {"check_hostname": False}]
)
def test_a_certificate_of_an_unknown_authority_is_refused(
    options: Any, server: WebSocketServer
) -> None:
    client = WebSocketClient(url_of(server), ssl_options=options)
    with pytest.raises(ssl.SSLCertVerificationError, match=NOT_VERIFIED):
        client.connect()
    assert client.sock is None


@regression(22)
def test_a_certificate_for_another_host_is_refused(
    elsewhere: WebSocketServer, ca_file: str
) -> None:
    client = WebSocketClient(url_of(elsewhere), ssl_options={"ca_certs": ca_file})
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        client.connect()


@regression(22)
def test_cert_none_turns_verification_off(elsewhere: WebSocketServer) -> None:
    assert talk(url_of(elsewhere), ssl_options={"cert_reqs": ssl.CERT_NONE}).startswith("TLS")


@regression(22)
def test_a_file_of_authorities_is_trusted(server: WebSocketServer, ca_file: str) -> None:
    assert talk(url_of(server), ssl_options={"ca_certs": ca_file}).startswith("TLS")


@regression(22)
def test_the_authorities_of_the_system_are_trusted(
    server: WebSocketServer, ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", ca_file)
    assert talk(url_of(server)).startswith("TLS")


@regression(22)
def test_a_context_is_used_as_it_is(server: WebSocketServer, client_tls: ssl.SSLContext) -> None:
    assert talk(url_of(server), ssl_context=client_tls).startswith("TLS")


@regression(22)
def test_a_context_that_trusts_nobody_is_not_replaced(server: WebSocketServer) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client = WebSocketClient(url_of(server), ssl_context=context)
    with pytest.raises(ssl.SSLCertVerificationError, match=NOT_VERIFIED):
        client.connect()


@regression(22)
@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, "localhost"), ({"server_hostname": "elsewhere.example"}, "elsewhere.example")],
)
def test_the_client_says_which_host_it_wants(
    options: dict[str, Any], expected: str, authority: trustme.CA, ca_file: str
) -> None:
    names = []
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", "elsewhere.example").configure_cert(context)
    context.sni_callback = lambda sock, name, context: names.append(name)
    with echo_server(ssl_context=context) as server:
        talk(url_of(server), ssl_options={"ca_certs": ca_file, **options})
    assert names == [expected]


@regression(22)
def test_a_client_shows_the_certificate_it_is_given(
    authority: trustme.CA, ca_file: str, tmp_path: Path
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    mine = authority.issue_cert("client@example.com")
    pem = tmp_path / "client.pem"
    mine.private_key_and_cert_chain_pem.write_to_path(str(pem))
    with echo_server(ssl_context=context) as server:
        talk(url_of(server), ssl_options={"ca_certs": ca_file, "certfile": str(pem)})


@regression(22)
def test_wss_over_a_unix_socket_is_encrypted_and_verified(
    server_tls: ssl.SSLContext, ca_file: str, tmp_path: Path
) -> None:
    path = str(tmp_path / "socket")
    server = WebSocketServer(path, ssl_context=server_tls)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        assert talk(f"wss+unix://{path}", ssl_options={"ca_certs": ca_file}).startswith("TLS")
    finally:
        server.server_close()
        thread.join()


@regression(22)
def test_wss_over_a_unix_socket_begins_with_tls_and_not_with_a_request(tmp_path: Path) -> None:
    begun = []
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "socket"))
    listener.listen()
    with fake_server(lambda sock: begun.append(sock.recv(3)), listener):
        client = WebSocketClient(f"wss+unix://{tmp_path}/socket")
        with pytest.raises(OSError):
            client.connect()
    # A handshake record (22) of TLS, version 3.1 as its first flight has it.
    assert begun == [b"\x16\x03\x01"]
