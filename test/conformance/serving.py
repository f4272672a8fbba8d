"""What a server does with its connections, and what a websocket knows of its request."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest

from test.conformance import BINARY, TEXT, Echo, Link, end
from test.helpers import HANDSHAKE, TIMEOUT, Recorder, read_to_end
from ws4py.exc import HandshakeError
from ws4py.limits import Limits


def with_headers(*headers: bytes) -> bytes:
    return HANDSHAKE[:-2] + b"".join(header + b"\r\n" for header in headers) + b"\r\n"


def _keep_text_alone(record: logging.LogRecord) -> bool:
    """Let a record hold no traceback: its frames hold a request's file of gevent's thread."""
    if record.exc_info:
        record.exc_text = logging.Formatter().formatException(record.exc_info)
        record.exc_info = None
    return True


class Serving:
    """What a server does."""

    def test_the_environ_is_that_of_the_request(self, server_link: Link) -> None:
        request = with_headers(b"X-One: 1").replace(b"GET / ", b"GET /?a=b&c=%20 ")
        ws, peer = server_link(request=request)
        scheme = "http" if server_link.server_tls is None else "https"
        expected = {
            "REQUEST_METHOD": "GET",
            "SCRIPT_NAME": "",
            "PATH_INFO": "/",
            "QUERY_STRING": "a=b&c=%20",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "SERVER_PORT": str(peer.sock.getpeername()[1]),
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_HOST": "localhost",
            "HTTP_UPGRADE": "websocket",
            "HTTP_X_ONE": "1",
            "wsgi.url_scheme": scheme,
        }
        assert {name: ws.environ.get(name) for name in expected} == expected

    def test_a_request_without_a_subprotocol_gets_none(self, server_link: Link) -> None:
        ws, _ = server_link(protocols=["chat"])
        head = server_link.head.lower()
        assert b"\r\nsec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n" in head
        assert b"sec-websocket-protocol" not in head
        assert ws.protocols == []

    def test_a_subprotocol_that_is_spoken_is_picked(self, server_link: Link) -> None:
        request = with_headers(b"Sec-WebSocket-Protocol: other, chat")
        ws, _ = server_link(protocols=["chat"], request=request)
        assert b"\r\nsec-websocket-protocol: chat\r\n" in server_link.head.lower()
        assert ws.protocols == ["chat"]

    @pytest.mark.parametrize(
        ("request_", "status"),
        [
            (with_headers(b"Sec-WebSocket-Protocol: other, Chat"), b"400"),
            (with_headers(b"Origin: https://evil.example"), b"403"),
            (with_headers(b"Content-Length: 1"), b"400"),
            (HANDSHAKE.replace(b"GET", b"HEAD"), b"405"),
            (HANDSHAKE.replace(b": 13", b": 8"), b"426"),
            (HANDSHAKE.replace(b"Upgrade: websocket\r\n", b""), b"426"),
            (HANDSHAKE.replace(b"dGhl", b"dGhlIA"), b"400"),
        ],
        ids=lambda value: repr(value[-50:]),
    )
    def test_a_request_that_is_refused_is_answered_and_the_next_is_served(
        self, server_link: Link, request_: bytes, status: bytes
    ) -> None:
        server_link(Echo, protocols=["chat"], origins=[None, "https://example.com"])
        sock, head = server_link.ask(request_)
        assert head.split(b" ")[1] == status
        read_to_end(sock)
        _, peer = server_link.again(request=with_headers(b"Origin: https://example.com"))
        peer.send(TEXT, b"hello")
        assert peer.message() == (TEXT, b"hello")

    def test_a_class_may_refuse_a_request_with_a_status_of_its_own(self, server_link: Link) -> None:
        class Member(Echo):
            def __init__(self, sock: Any, *args: Any) -> None:
                *_, environ = args
                if environ["QUERY_STRING"] != "token=ours":
                    raise HandshakeError("log in first", 401)
                super().__init__(sock, *args)

        request = HANDSHAKE.replace(b"GET / ", b"GET /?token=ours ")
        server_link(Member, request=request)
        sock, head = server_link.ask(HANDSHAKE)
        assert head.split(b" ")[1] == b"401"
        read_to_end(sock)
        _, peer = server_link.again(request=request)
        peer.send(TEXT, b"hello")
        assert peer.message() == (TEXT, b"hello")

    @pytest.mark.parametrize("way", ["terminate", "close_connection"])
    def test_a_class_may_end_its_websocket_as_it_is_made(
        self, server_link: Link, way: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Ends(Echo):
            def __init__(self, *args: Any) -> None:
                *_, environ = args
                super().__init__(*args)
                if environ["QUERY_STRING"] == "end":
                    getattr(self, way)()

        server_link(Ends)
        for _ in range(3):
            sock, head = server_link.ask(HANDSHAKE.replace(b"GET / ", b"GET /?end "))
            assert head.split(b" ")[1] == b"403"
            sock.close()
            server_link._made.get(timeout=TIMEOUT)  # is none of those that are opened
            ws, peer = server_link.again()
            peer.send(TEXT, b"hello")
            assert peer.message() == (TEXT, b"hello")
            assert ws.next_event() == ("opened",)
        assert not [each for each in caplog.records if each.levelno >= logging.ERROR]

    def test_a_class_may_set_its_socket_again(self, server_link: Link) -> None:
        class Again(Echo):
            def __init__(self, sock: Any, *args: Any) -> None:
                super().__init__(sock, *args)
                self.sock = sock

        ws, peer = server_link(Again)
        peer.send(TEXT, b"hello")
        assert peer.message() == (TEXT, b"hello")
        assert ws.next_event() == ("opened",)

    @pytest.mark.parametrize("way", ["send", "close"])
    def test_a_class_that_sends_as_it_is_made_is_an_error_of_the_server(
        self, server_link: Link, way: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Early(Echo):
            def __init__(self, *args: Any) -> None:
                *_, environ = args
                super().__init__(*args)
                if environ["QUERY_STRING"] == "early":
                    getattr(self, way)(*(["too early"] if way == "send" else [4401, "log in"]))

        server_link(Early)
        logger = logging.getLogger("ws4py")
        logger.addFilter(_keep_text_alone)
        try:
            sock, head = server_link.ask(HANDSHAKE.replace(b"GET / ", b"GET /?early "))
        finally:
            logger.removeFilter(_keep_text_alone)
        assert head.split(b" ")[1] == b"500"
        sock.close()
        assert "before" in caplog.text
        ws, _ = server_link.again()
        assert ws.next_event() == ("opened",)

    @pytest.mark.parametrize("way", ["send", "terminate", "close_connection"])
    def test_what_another_thread_does_before_the_answer_touches_no_socket(
        self, server_link: Link, way: str
    ) -> None:
        errors: list[RuntimeError] = []

        class Early(Echo):
            @property
            def heartbeat_freq(self) -> float | None:
                return None

            @heartbeat_freq.setter  # the last thing that is done to it before the answer
            def heartbeat_freq(self, _: float | None) -> None:
                if self.environ["QUERY_STRING"] == "early":
                    thread = threading.Thread(target=self._act)
                    thread.start()
                    thread.join(TIMEOUT)

            def _act(self) -> None:
                try:
                    getattr(self, way)(*(["too early"] if way == "send" else []))
                except RuntimeError as error:
                    errors.append(error)

        server_link(Early)
        for _ in range(3):
            sock, head = server_link.ask(HANDSHAKE.replace(b"GET / ", b"GET /?early "))
            ws = server_link._made.get(timeout=TIMEOUT)
            if way == "send":
                assert head.split(b" ")[1] == b"101"
                assert ws.next_event() == ("opened",)
                assert str(errors.pop()) == "a websocket cannot send before it is connected"
            else:
                assert head.split(b" ")[1] in (b"101", b"403")
                assert b"\x81" not in read_to_end(sock)
                assert ws.events.empty() or ws.next_event()[0] == "closed"
                assert ws.close_code in (None, 1006)
            sock.close()
        _, peer = server_link.again()
        peer.send(TEXT, b"hello")
        assert peer.message() == (TEXT, b"hello")

    def test_a_broadcast_reaches_all(self, server_link: Link) -> None:
        _, first = server_link()
        _, second = server_link.again()
        server_link.served.broadcast("to all")
        server_link.served.broadcast(b"\0", binary=True)
        for peer in (first, second):
            assert [peer.message(), peer.message()] == [(TEXT, b"to all"), (BINARY, b"\0")]

    def test_a_broadcast_does_not_reach_what_has_ended(self, server_link: Link) -> None:
        ws, first = server_link()
        _, second = server_link.again()
        end(first)
        ws.all_events()
        server_link.served.broadcast("who is left")
        assert second.message() == (TEXT, b"who is left")

    def test_a_stop_closes_all_with_1001(self, server_link: Link) -> None:
        class Impatient(Recorder):
            limits = Limits(close_timeout=0.5)

        ws, peer = server_link(Impatient)
        silent, silent_peer = server_link.again()
        stopping = threading.Thread(target=server_link.served.stop)
        stopping.start()
        assert (peer.close_frame() or ())[0] == 1001
        peer.send_close(1001)
        peer.leave()
        assert (silent_peer.close_frame() or ())[0] == 1001
        for each in (ws, silent):
            assert each.all_events()[-1][0] == "closed"
        stopping.join(TIMEOUT)
        assert not stopping.is_alive()


class Where:
    """A mixin before a Recorder: notes in which threads callbacks run."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.threads: list[threading.Thread] = []
        super().__init__(*args, **kwargs)

    def received_message(self, message: Any) -> None:
        self.threads.append(threading.current_thread())
        super().received_message(message)  # type: ignore[misc]

    def closed(self, code: int, reason: str | None = None) -> None:
        self.threads.append(threading.current_thread())
        super().closed(code, reason)  # type: ignore[misc]
