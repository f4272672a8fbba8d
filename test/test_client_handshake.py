"""The client and servers that refuse, answer badly, or do not answer."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from test.helpers import TIMEOUT, Recorder
from ws4py.client.threadedclient import WebSocketClient
from ws4py.exc import HandshakeError, HandshakeTimeout
from ws4py.handshake import accept_token
from ws4py.limits import Limits

pytestmark = pytest.mark.usefixtures("no_thread_left")

Script = Callable[[socket.socket, bytes], object]


class Client(Recorder, WebSocketClient):
    """A threaded client that records."""


@contextmanager
def scripted_server(script: Script) -> Iterator[str]:
    """Accept one connection, read its head, and call ``script`` with both; yields the URL."""

    def serve() -> None:
        sock, _ = listener.accept()
        with sock:
            sock.settimeout(TIMEOUT)
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                data = sock.recv(4096)
                if not data:
                    return
                head += data
            script(sock, head)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(TIMEOUT)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"ws://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            thread.join(TIMEOUT)


def answering(answer: bytes) -> Any:
    return scripted_server(lambda sock, _: sock.sendall(answer))


def switch(head: bytes, **changes: str | None) -> bytes:
    """Return the answer to the request ``head``, but for ``changes`` (None leaves out)."""
    key = head.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0].decode()
    fields: dict[str, str | None] = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": accept_token(key),
    }
    fields.update({name.replace("_", "-"): value for name, value in changes.items()})
    lines = [f"{name}: {value}\r\n" for name, value in fields.items() if value is not None]
    return f"HTTP/1.1 101 Switching Protocols\r\n{''.join(lines)}\r\n".encode()


def read_until_end(sock: socket.socket) -> None:
    while sock.recv(4096):
        pass


def test_a_refusal_has_status_headers_and_body() -> None:
    answer = (
        b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 5\r\nX-One: 1\r\nX-One: 2\r\n\r\nno waymore"
    )
    with answering(answer) as url, pytest.raises(HandshakeError, match="401") as caught:
        Client(url).connect()
    error = caught.value
    assert (error.status, error.body) == (401, b"no wa")
    assert error.headers == [("Content-Length", "5"), ("X-One", "1"), ("X-One", "2")]


def test_a_response_of_exactly_the_limits_is_accepted_without_space_after_its_colons() -> None:
    class Small(Client):
        limits = Limits(max_line=199, max_head=325)

    def answer(sock: socket.socket, request: bytes) -> None:
        head = switch(request, A="b" * 195).replace(b": ", b":")
        assert len(head) == 325
        sock.sendall(head)
        read_until_end(sock)

    with scripted_server(answer) as url:
        client = Small(url)
        client.connect()
        client.terminate()


def test_the_body_of_a_refusal_may_come_in_chunks() -> None:
    answer = (
        b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nlate\r\n1\r\nr\r\n0\r\n\r\n"
    )
    with answering(answer) as url, pytest.raises(HandshakeError) as caught:
        Client(url).connect()
    assert (caught.value.status, caught.value.body) == (503, b"later")


def test_the_body_of_a_refusal_is_cut_at_the_limit() -> None:
    class Small(Client):
        limits = Limits(max_body=10)

    answer = b"HTTP/1.1 500 Oops\r\n\r\n" + b"x" * 1000
    with answering(answer) as url, pytest.raises(HandshakeError) as caught:
        Small(url).connect()
    assert caught.value.body == b"x" * 10


def test_the_body_of_a_refusal_is_not_waited_for_longer_than_the_handshake() -> None:
    def begin(sock: socket.socket, _head: bytes) -> None:
        sock.sendall(b"HTTP/1.1 500 Oops\r\nContent-Length: 100\r\n\r\nbegun")
        read_until_end(sock)

    with scripted_server(begin) as url, pytest.raises(HandshakeError) as caught:
        Client(url, open_timeout=2).connect()
    assert caught.value.status == 500
    assert caught.value.body == b"begun"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 101",
        b"hello\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/2 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 1010 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nno header\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n" + b"X: " + b"x" * 9000,
        b"HTTP/1.1 101 Switching Protocols\r\n" + b"X: x\r\n" * 129 + b"\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n" + (b"X: " + b"x" * 8000 + b"\r\n") * 9,
    ],
    ids=lambda answer: repr(answer[:60]),
)
def test_an_answer_that_is_none_is_a_handshake_error(answer: bytes) -> None:
    def script(sock: socket.socket, _head: bytes) -> None:
        try:
            sock.sendall(answer)
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            return

    with scripted_server(script) as url:
        client = Client(url)
        with pytest.raises(HandshakeError):
            client.connect()
    assert client.sock is None
    assert client.events.empty()


@pytest.mark.parametrize(
    "changes",
    [
        {"Upgrade": None},
        {"Upgrade": "notwebsocket"},
        {"Connection": None},
        {"Connection": "keep-alive"},
        {"Sec_WebSocket_Accept": None},
        {"Sec_WebSocket_Accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="},
        {"Sec_WebSocket_Protocol": "c"},
        {"Sec_WebSocket_Protocol": "A"},
        {"Sec_WebSocket_Protocol": "a, b"},
        {"Sec_WebSocket_Extensions": "permessage-deflate"},
    ],
    ids=str,
)
def test_a_switch_that_is_wrong_is_refused(changes: dict[str, Any]) -> None:
    def script(sock: socket.socket, head: bytes) -> None:
        sock.sendall(switch(head, **changes))

    with scripted_server(script) as url, pytest.raises(HandshakeError) as caught:
        Client(url, protocols=["a", "b"]).connect()
    assert caught.value.status == 101
    assert caught.value.headers


@pytest.mark.parametrize("line", [b"ICY 200 OK", b"HTTP/2 200 OK", b"SSH-2.0-OpenSSH_9.2"])
def test_what_is_no_http_has_no_status(line: bytes) -> None:
    def script(sock: socket.socket, head: bytes) -> None:
        sock.sendall(line + b"\r\nServer: other\r\n\r\n")

    with scripted_server(script) as url, pytest.raises(HandshakeError) as caught:
        Client(url).connect()
    assert caught.value.status is None


def test_a_switch_in_other_letters_and_with_more_tokens_is_accepted() -> None:
    def script(sock: socket.socket, head: bytes) -> None:
        sock.sendall(switch(head, Upgrade="WebSocket", Connection="keep-alive, UPGRADE"))
        read_until_end(sock)

    with scripted_server(script) as url:
        client = Client(url)
        client.connect()
        client.terminate()
        client.run_forever()


def test_a_switch_that_comes_byte_by_byte_is_read() -> None:
    def script(sock: socket.socket, head: bytes) -> None:
        for byte in switch(head, Sec_WebSocket_Protocol="b") + b"\x81\x02hi":
            sock.sendall(bytes((byte,)))
        read_until_end(sock)

    with scripted_server(script) as url:
        client = Client(url, protocols=["a", "b"])
        client.connect()
        assert [client.next_event(), client.next_event()] == [("opened",), ("text", b"hi")]
        assert client.protocols == ["b"]
        client.terminate()
        client.run_forever()


def test_interim_responses_before_the_switch_are_passed_over() -> None:
    def script(sock: socket.socket, head: bytes) -> None:
        sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n")
        sock.sendall(switch(head))
        read_until_end(sock)

    with scripted_server(script) as url:
        client = Client(url)
        client.connect()
        client.terminate()
        client.run_forever()


def test_interim_responses_without_end_are_a_handshake_error() -> None:
    def script(sock: socket.socket, _head: bytes) -> None:
        with suppress(OSError):
            while True:
                sock.sendall(b"HTTP/1.1 100 \r\n\r\n" * 100)

    with scripted_server(script) as url, pytest.raises(HandshakeError, match="the head is over"):
        Client(url).connect()


def test_a_header_that_is_none_is_an_error_before_anything_is_connected() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        url = f"ws://127.0.0.1:{listener.getsockname()[1]}/"
        with pytest.raises(ValueError, match="cannot be a header"):
            Client(url, headers={"X": "a\r\nY: b"}).connect()
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_a_server_that_does_not_answer_is_a_handshake_timeout() -> None:
    with scripted_server(lambda sock, _: read_until_end(sock)) as url:
        client = Client(url, open_timeout=0.1)
        with pytest.raises(HandshakeTimeout) as caught:
            client.connect()
    assert isinstance(caught.value, (HandshakeError, TimeoutError))
    assert isinstance(caught.value, TimeoutError)
    assert url in str(caught.value)
    assert client.sock is None


def test_no_time_at_all_is_a_handshake_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = Client(f"ws://127.0.0.1:{listener.getsockname()[1]}/", open_timeout=0)
        with pytest.raises(HandshakeTimeout, match="in 0 s"):
            client.connect()
    assert client.sock is None
    assert client.events.empty()


def test_a_server_that_answers_drop_by_drop_is_a_handshake_timeout() -> None:
    def drip(sock: socket.socket, _head: bytes) -> None:
        pause = threading.Event()
        try:
            sock.sendall(b"HTTP/1.1 101 OK\r\nX: ")
            while not pause.wait(0.02):
                sock.sendall(b"x")
        except OSError:
            return

    with scripted_server(drip) as url, pytest.raises(HandshakeTimeout):
        Client(url, open_timeout=0.3).connect()


def test_limits_have_the_time_that_the_handshake_may_take() -> None:
    class Hasty(Client):
        limits = Limits(open_timeout=0.1)

    silent = scripted_server(lambda sock, _: read_until_end(sock))
    with silent as url, pytest.raises(HandshakeTimeout, match=r"0\.1 s"):
        Hasty(url).connect()


def test_the_time_of_the_handshake_does_not_bound_the_connection() -> None:
    go_on = threading.Event()

    def script(sock: socket.socket, head: bytes) -> None:
        sock.sendall(switch(head))
        go_on.wait(TIMEOUT)
        sock.sendall(b"\x81\x04late")
        read_until_end(sock)

    with scripted_server(script) as url:
        client = Client(url, open_timeout=2)
        client.connect()
        assert client.next_event() == ("opened",)
        assert not client.ended.wait(2.2)
        go_on.set()
        assert client.next_event() == ("text", b"late")
        client.terminate()
        client.run_forever()


def test_hooks_of_the_response_are_called_and_may_refuse() -> None:
    class Picky(Client):
        def process_response_line(self, response_line: bytes) -> None:
            self.line = response_line
            super().process_response_line(response_line)

        def process_handshake_header(self, headers: bytes) -> Any:
            self.headers = headers
            raise HandshakeError("not today")

    with scripted_server(lambda sock, head: sock.sendall(switch(head))) as url:
        client = Picky(url)
        with pytest.raises(HandshakeError, match="not today"):
            client.connect()
    assert client.line == b"HTTP/1.1 101 Switching Protocols"
    assert client.headers.startswith(b"Upgrade: websocket\r\n")
    assert client.headers.endswith(b"\r\n\r\n")


def test_headers_that_a_hook_has_cut_short_are_refused() -> None:
    class Cuts(Client):
        def process_handshake_header(self, headers: bytes) -> Any:
            return super().process_handshake_header(headers[:-2])

    with scripted_server(lambda sock, head: sock.sendall(switch(head))) as url:
        client = Cuts(url)
        with pytest.raises(HandshakeError, match="the headers have no end"):
            client.connect()
    assert client.events.empty()


def test_a_hook_that_closes_the_connection_has_closed_called() -> None:
    class Leaves(Client):
        def process_handshake_header(self, headers: bytes) -> Any:
            self.close_connection()
            return super().process_handshake_header(headers)

    def script(sock: socket.socket, head: bytes) -> None:
        sock.sendall(switch(head))
        read_until_end(sock)

    with scripted_server(script) as url:
        client = Leaves(url)
        client.connect()
        client.run_forever()
    assert client.all_events() == [("opened",), ("closed", 1006, "Going away")]


def test_what_handshake_ok_raises_leaves_connect_and_a_connection_that_can_be_closed() -> None:
    class Picky(Client):
        def handshake_ok(self) -> None:
            if not self.protocols:
                raise LookupError("no subprotocol")

    def script(sock: socket.socket, head: bytes) -> None:
        sock.sendall(switch(head))
        closes.append(sock.recv(4096)[:2])
        read_until_end(sock)

    closes: list[bytes] = []
    with scripted_server(script) as url:
        client = Picky(url, protocols=["chat"])
        with pytest.raises(LookupError, match="no subprotocol"):
            client.connect()
        client.close()
        client.terminate()
        assert client.all_events() == [("closed", 1006, "Going away")]
        assert client.sock is None
    assert closes == [b"\x88\x82"]
