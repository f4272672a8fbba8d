"""The documentation's snippets that need no program: the basics, the parsers, the constructors."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

from test.helpers import TIMEOUT, Recorder, echo_server, frame, running
from test.snippets import Edit, edited, execute, interact
from ws4py.client import WebSocketBaseClient
from ws4py.client.threadedclient import WebSocketClient
from ws4py.framing import OPCODE_TEXT, Frame
from ws4py.server.standalone import WebSocketServer
from ws4py.streaming import Stream
from ws4py.websocket import EchoWebSocket

pytestmark = pytest.mark.usefixtures("no_thread_left")

#: "hello world" in one masked frame: what the documentation shows for ``Frame.build``.
HELLO = bytes.fromhex("818bbe04e66ad6618a06d1249105cc6882")

IMPORT = Edit("from websocket.client import", "from ws4py.client import", "misprint of the package")


class RecordingClient(Recorder, WebSocketClient):
    """A client that records."""


def documented_echo_class() -> Any:
    """Return the EchoWebSocket of section 2.1."""
    return execute(edited("basics_import") + edited("basics_echo"))["EchoWebSocket"]


def test_an_edit_of_what_does_not_stand_in_a_snippet_fails() -> None:
    with pytest.raises(AssertionError, match=r"'print' .* stands 0 times in basics_echo, not 1"):
        edited("basics_echo", Edit("print", "print()", "Python 2"))


def test_an_edit_of_what_stands_there_more_often_than_listed_fails() -> None:
    with pytest.raises(AssertionError, match=r"'message' .* stands 4 times in basics_echo, not 1"):
        edited("basics_echo", Edit("message", "msg", "shorter"))


def test_a_session_that_shows_something_else_than_printed_fails() -> None:
    with pytest.raises(AssertionError, match="Got:\n    2"):
        interact(">>> 1 + 1\n3\n")


def test_the_echo_application_of_the_basics_echoes_text_and_bytes() -> None:
    with echo_server(documented_echo_class()) as server:
        client = RecordingClient(f"ws://localhost:{server.server_address[1]}/")
        client.connect()
        client.send("grüße")
        client.send(b"\x00\xff", binary=True)
        assert [client.next_event() for _ in range(3)] == [
            ("opened",),
            ("text", "grüße".encode()),
            ("binary", b"\x00\xff"),
        ]
        client.close()
        assert client.all_events()[-1] == ("closed", 1000, "")


def test_the_basics_websocket_sends_to_a_source_that_is_no_socket() -> None:
    source = edited(
        "basics_data_source",
        Edit(">>>     yield", "...     yield", "the prompt of a line that continues"),
        Edit("from mock import", "from unittest.mock import", "Python 3: in the standard library"),
    )
    names = interact(source, EchoWebSocket=documented_echo_class())
    names["source"].sendall.assert_called_once_with(frame(OPCODE_TEXT, b"hello there", key=None))


def test_the_frame_session_shows_the_documented_bytes_and_byte_counts() -> None:
    source = edited(
        "frame",
        Edit("'XXXXXX'", "bytes.fromhex('be04e66a')", "a key has four bytes: those shown below"),
        Edit("'hello world'", "b'hello world'", "a body is bytes"),
        Edit("bytes.encode('hex')", "bytes.hex()", "Python 2"),
        Edit("bytes[0]", "bytes[0:1]", "Python 3: the index of bytes gives a number"),
        Edit("bytes[1]", "bytes[1:2]", "Python 3: the index of bytes gives a number"),
    )
    names = interact(source, Frame=Frame, OPCODE_TEXT=OPCODE_TEXT)
    assert names["bytes"] == HELLO


def test_a_frame_that_is_fed_as_in_the_session_is_parsed_to_its_end() -> None:
    parsed = Frame()
    counts = [parsed.parser.send(piece) for piece in (HELLO[:1], HELLO[1:2], HELLO[2:6], HELLO[6:])]
    assert counts == [1, 4, 11, 0]
    assert (parsed.opcode, parsed.fin, bytes(parsed.unmask(parsed.body))) == (1, 1, b"hello world")


@pytest.mark.parametrize(("cut", "wanted"), [(1, 1), (2, 4), (4, 2), (6, 11), (16, 1)])
def test_the_stream_session_has_a_message_once_all_bytes_came(cut: int, wanted: int) -> None:
    source = edited(
        "stream",
        Edit("s.has_messages", "s.has_message", "misprint", times=2),
        Edit("send(BYTES)", f"send(BYTES)\n{wanted}", "the prompt shows how many bytes it wants"),
        Edit("send(MORE_BYTES)", "send(MORE_BYTES)\n0", "the prompt shows that there is a message"),
        Edit("<TextMessage ... >", "<TextMessage ...>", "nothing stands before the bracket"),
    )
    names = interact(source, Stream=Stream, BYTES=HELLO[:cut], MORE_BYTES=HELLO[cut:])
    assert str(names["s"].message) == "hello world"


@pytest.mark.parametrize(
    ("snippet", "address"),
    [
        ("client_ws", ("localhost", 80)),
        ("client_wss", ("localhost", 443)),
        ("client_unix", "/tmp/my.sock"),
    ],
)
def test_a_documented_constructor_takes_the_address_out_of_the_url(
    snippet: str, address: Any
) -> None:
    client = interact(edited(snippet, IMPORT))["ws"]
    try:
        assert client.bind_addr == address
        assert client.resource == ("/" if snippet == "client_unix" else "/ws")
    finally:
        client.close_connection()


@pytest.mark.parametrize("snippet", ["client_ws", "client_wss"])
def test_a_documented_constructor_makes_a_tcp_socket_without_delay(snippet: str) -> None:
    client = interact(edited(snippet, IMPORT))["ws"]
    try:
        assert client.sock.type == socket.SOCK_STREAM
        assert client.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    finally:
        client.close_connection()


def converse(client: WebSocketBaseClient) -> list[Any]:
    """Send over a connected client and read the echo; return that and how the connection ended."""
    seen: list[Any] = []
    client.received_message = lambda message: seen.append(str(message))  # type: ignore[method-assign]
    client.closed = lambda code, reason=None: seen.append((code, reason))  # type: ignore[method-assign]
    client.sock_timeout = TIMEOUT
    client.send("hello")
    while not seen:
        assert client.once()
    client.close(reason="bye")
    client.run()
    return seen


def test_the_tcp_client_of_the_documentation_talks_to_a_server() -> None:
    with running(WebSocketServer(("127.0.0.1", 0), {"/ws": EchoWebSocket})) as server:
        host = f"localhost:{server.server_address[1]}/"
        source = edited("client_ws", IMPORT, Edit("localhost/", host, "a free port"))
        client = interact(source)["ws"]
        client.connect()
        assert converse(client) == ["hello", (1000, "bye")]


def test_the_tls_client_of_the_documentation_talks_to_a_server(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    with echo_server(ssl_context=server_tls) as server:
        host = f"localhost:{server.server_address[1]}/"
        source = edited(
            "client_wss",
            IMPORT,
            Edit("localhost/", host, "a free port"),
            Edit("/ws')", "/ws', ssl_context=trusting)", "trust the authority of this test"),
        )
        client = interact(source, trusting=client_tls)["ws"]
        client.connect()
        assert converse(client) == ["hello", (1000, "bye")]


@pytest.mark.parametrize(
    ("snippet", "path"), [("client_unix", "/"), ("client_unix_resource", "/ws")]
)
def test_the_unix_client_of_the_documentation_asks_for_its_resource(
    snippet: str, path: str, tmp_path: Path
) -> None:
    address = str(tmp_path / "my.sock")
    with running(WebSocketServer(address, {path: EchoWebSocket})):
        source = edited(snippet, IMPORT, Edit("/tmp/my.sock", address, "a socket of this test"))
        client = interact(source)["ws"]
        if snippet == "client_unix":
            client.connect()
        assert converse(client) == ["hello", (1000, "bye")]
