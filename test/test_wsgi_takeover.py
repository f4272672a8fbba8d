"""How the WSGI application takes a connection from a server that does not know it."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest

from test.conformance import TEXT, Echo, Peer, read_head
from test.helpers import TIMEOUT, descriptors, eventually, frame, read_to_end
from ws4py.limits import Limits
from ws4py.manager import WebSocketManager
from ws4py.server.wsgiutils import WebSocketWSGIApplication
from ws4py.websocket import WebSocket

#: What has the methods of a socket that are looked for, and is of no kind that is known.
FOREIGN = SimpleNamespace(fileno=lambda: 0, setsockopt=lambda *_: None)


class EchoSocket(Echo, WebSocket):
    """An echo that records."""


class Request:
    """A request on a connection of which a server has a file, as wsgiref has."""

    def __init__(self, theirs: socket.socket, client: socket.socket) -> None:
        self.theirs = theirs
        self.peer = Peer(client, masks=True)
        self.file = theirs.makefile("rb")
        self.answer: list[Any] = []
        self.body = b""
        self.environ: dict[str, Any] = {
            "HTTP_HOST": "localhost",
            "HTTP_UPGRADE": "websocket",
            "HTTP_CONNECTION": "Upgrade",
            "HTTP_SEC_WEBSOCKET_KEY": "dGhlIHNhbXBsZSBub25jZQ==",
            "HTTP_SEC_WEBSOCKET_VERSION": "13",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.input": self.file,
        }
        setup_testing_defaults(self.environ)
        self.thread = threading.Thread(target=self.call)

    def call(self) -> None:
        def start_response(status: str, headers: Any) -> None:
            self.answer += [status, dict(headers)]

        body = self.application(self.environ, start_response)
        self.body = b"".join(body)
        if hasattr(body, "close"):
            self.theirs.send(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
            body.close()

    def send_to(self, application: WebSocketWSGIApplication) -> None:
        """Let ``application`` answer, in a thread."""
        self.application = application
        self.thread.start()

    def refused_by(self, application: WebSocketWSGIApplication) -> tuple[int, str]:
        """Return the status and the text of a refusal."""
        self.send_to(application)
        self.thread.join(TIMEOUT)
        assert not {"Connection", "Upgrade"} & set(self.answer[1])
        return int(self.answer[0][:3]), self.body.decode()


def hold(request: Request, handler_cls: Any = EchoSocket) -> WebSocketWSGIApplication:
    """Return an application that holds the connection, and has answered a message."""
    application = WebSocketWSGIApplication(handler_cls=handler_cls)
    request.send_to(application)
    assert read_head(request.peer.sock).startswith(b"HTTP/1.1 101 ")
    request.peer.send(TEXT, b"hello")
    assert request.peer.message() == (TEXT, b"hello")
    return application


@pytest.fixture
def request_(pair: tuple[socket.socket, socket.socket], no_thread_left: None) -> Iterator[Request]:
    request = Request(*pair)
    with request.file:
        yield request
        request.peer.sock.close()
        if request.thread.ident is not None:
            request.thread.join(TIMEOUT)


def test_a_websocket_is_held_in_the_call_and_ends_with_it(request_: Request) -> None:
    made = []

    class Application(WebSocketWSGIApplication):
        """Makes websockets as programs do that were written for another server."""

        def make_websocket(self, sock: Any, *rest: Any) -> Any:
            made.append(super().make_websocket(sock, *rest))
            made[0].app = "mine"

    request_.send_to(Application(handler_cls=EchoSocket))
    assert read_head(request_.peer.sock).startswith(b"HTTP/1.1 101 ")
    request_.peer.send(TEXT, b"hello")
    assert request_.peer.message() == (TEXT, b"hello")
    assert request_.thread.is_alive()
    assert made[0].app == "mine"
    assert made[0].environ["HTTP_HOST"] == "localhost"
    request_.peer.send_close(4001)
    assert request_.peer.close_frame() == (4001, "")
    assert read_to_end(request_.peer.sock) == b""
    request_.thread.join(TIMEOUT)
    assert request_.answer[0].startswith("101 ")
    assert request_.body == b""
    assert "ws4py.websocket" not in request_.environ
    with pytest.raises(BrokenPipeError):
        request_.theirs.send(b"HTTP/1.1 200 OK")
    assert request_.theirs.fileno() >= 0


def test_a_websocket_is_handed_off_and_the_server_left_with_a_dead_end(
    request_: Request, manager: WebSocketManager
) -> None:
    application = WebSocketWSGIApplication(handler_cls=EchoSocket, manager=manager)
    request_.peer.sock.sendall(frame(TEXT, b"early"))
    assert request_.file.peek(1)
    request_.send_to(application)
    request_.thread.join(TIMEOUT)
    assert len(manager) == 1
    assert request_.theirs.recv(1) == b""
    request_.theirs.shutdown(socket.SHUT_RDWR)
    assert read_head(request_.peer.sock).startswith(b"HTTP/1.1 101 ")
    assert request_.peer.message() == (TEXT, b"early")
    application.close_all()  # It is for whoever gave the manager to close these.
    application.drain()
    request_.peer.send(TEXT, b"hello")
    assert request_.peer.message() == (TEXT, b"hello")
    manager.close_all()
    assert request_.peer.close_frame() == (1001, "Server is shutting down")
    request_.peer.send_close(1001)
    request_.peer.leave()


def test_a_manager_is_made_when_it_is_needed_and_ends_with_the_application(
    request_: Request,
) -> None:
    made = []

    def make() -> WebSocketManager:
        made.append(WebSocketManager())
        return made[-1]

    application = WebSocketWSGIApplication(handler_cls=EchoSocket, manager=make)
    assert not made
    request_.send_to(application)
    eventually(lambda: len(made) == 1 and len(made[0]) == 1, "it was not added to a manager")
    drained = threading.Thread(target=application.drain)
    drained.start()
    read_head(request_.peer.sock)
    assert request_.peer.close_frame() == (1001, "Server is shutting down")
    request_.peer.send_close(1001)
    request_.peer.leave()
    drained.join(TIMEOUT)
    assert not made[0].is_alive()


def test_drain_closes_what_is_held_and_waits_for_it(request_: Request) -> None:
    application = hold(request_)
    drained = threading.Thread(target=application.drain)
    drained.start()
    assert request_.peer.close_frame() == (1001, "Server is shutting down")
    assert drained.is_alive()
    request_.peer.send_close(1001)
    request_.peer.leave()
    drained.join(TIMEOUT)
    assert not drained.is_alive()


def test_nothing_is_accepted_once_it_was_drained(request_: Request) -> None:
    application = WebSocketWSGIApplication()
    application.drain()
    assert request_.refused_by(application) == (503, "this server is about to stop\n")


def test_one_that_was_let_in_just_before_is_closed_at_once(request_: Request) -> None:
    class Late(EchoSocket):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            application.drain()

    application = WebSocketWSGIApplication(handler_cls=Late)
    request_.send_to(application)
    read_head(request_.peer.sock)
    assert request_.peer.close_frame() == (1001, "Server is shutting down")
    request_.peer.send_close(1001)
    request_.peer.leave()


def test_a_manager_that_does_not_run_here_is_a_503(
    request_: Request, caplog: pytest.LogCaptureFixture
) -> None:
    manager = WebSocketManager()
    manager.start()
    manager.stop()
    manager.join(TIMEOUT)
    status, text = request_.refused_by(WebSocketWSGIApplication(manager=manager))
    assert status == 503
    assert "does not run in this process" in text
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_handler_that_cannot_be_made_is_a_500_on_the_servers_connection(
    request_: Request,
) -> None:
    class Fails(WebSocket):
        def __init__(self, *_: Any) -> None:
            raise LookupError

    assert request_.refused_by(WebSocketWSGIApplication(handler_cls=Fails))[0] == 500
    request_.theirs.sendall(b"HTTP/1.1 500 \r\n\r\n")
    assert read_head(request_.peer.sock) == b"HTTP/1.1 500 \r\n\r\n"


@pytest.mark.parametrize(
    "changes",
    [
        {"wsgi.input": None},
        {"wsgi.input": SimpleNamespace(raw=SimpleNamespace(_sock=object()))},
        {"wsgi.input": SimpleNamespace(raw=SimpleNamespace(_sock=FOREIGN))},
        {"SERVER_PROTOCOL": "HTTP/2.0"},
        {
            "wsgi.input": None,
            "waitress.client_disconnected": SimpleNamespace(
                __self__=SimpleNamespace(adj=SimpleNamespace(channel_request_lookahead=1))
            ),
        },
    ],
    ids=["unknown", "no-socket", "a-socket-of-its-own", "HTTP/2", "waitress-that-looks-ahead"],
)
def test_a_server_whose_socket_cannot_be_taken_gets_a_501_that_says_why(
    request_: Request, changes: dict[str, Any]
) -> None:
    request_.environ.update(changes)
    status, text = request_.refused_by(WebSocketWSGIApplication())
    assert status == 501
    assert text.startswith("this server gives no access to its sockets; supported: gunicorn, ")


@pytest.mark.parametrize("manager", ["WebSocketManager", 5])
def test_what_is_no_manager_is_refused_at_once(manager: Any) -> None:
    with pytest.raises(TypeError, match="neither a WebSocketManager nor makes one"):
        WebSocketWSGIApplication(manager=manager)


def test_a_client_that_has_left_before_it_is_answered_is_logged(
    request_: Request, caplog: pytest.LogCaptureFixture
) -> None:
    request_.peer.sock.close()
    with caplog.at_level(logging.INFO, "ws4py"):
        request_.send_to(WebSocketWSGIApplication(handler_cls=EchoSocket))
        request_.thread.join(TIMEOUT)
    assert not request_.thread.is_alive()
    assert "A connection ended before it was opened: " in caplog.text
    assert request_.theirs.recv(1) == b""


def test_a_client_that_does_not_take_its_answer_is_dropped_in_time_and_logged(
    request_: Request, caplog: pytest.LogCaptureFixture
) -> None:
    request_.theirs.setblocking(False)
    for size in (65536, 1):  # answers to earlier requests, which the client has not read
        with pytest.raises(BlockingIOError):
            while True:
                request_.theirs.send(b"x" * size)
    request_.theirs.settimeout(None)
    application = WebSocketWSGIApplication(handler_cls=EchoSocket, limits=Limits(open_timeout=0.1))
    with caplog.at_level(logging.INFO, "ws4py"):
        request_.send_to(application)
        request_.thread.join(TIMEOUT)
    assert set(read_to_end(request_.peer.sock)) == set(b"x")
    assert "A connection ended before it was opened: the peer took nothing in 0.1 s" in caplog.text


def test_a_manager_that_is_stopped_as_a_connection_comes_drops_it(
    request_: Request, manager: WebSocketManager, caplog: pytest.LogCaptureFixture
) -> None:
    class Stops(EchoSocket):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            manager.stop()

    with caplog.at_level(logging.INFO, "ws4py"):
        request_.send_to(WebSocketWSGIApplication(handler_cls=Stops, manager=manager))
        assert read_head(request_.peer.sock).startswith(b"HTTP/1.1 101 ")
        assert read_to_end(request_.peer.sock) == b""
    assert "ended before it was opened: cannot add a websocket: this manager has been stopped" in (
        caplog.text
    )


def test_a_websocket_that_a_manager_cannot_drive_is_dropped_and_logged(
    request_: Request, manager: WebSocketManager, caplog: pytest.LogCaptureFixture
) -> None:
    class Waits(WebSocket):
        async def received_message(self, message: Any) -> None: ...

    class Application(WebSocketWSGIApplication):
        """Makes websockets of a class that it was not given, and that is not looked at."""

        def make_websocket(self, sock: Any, *_: Any) -> WebSocket:
            return Waits(sock)

    request_.send_to(Application(manager=manager))
    assert read_head(request_.peer.sock).startswith(b"HTTP/1.1 101 ")
    assert read_to_end(request_.peer.sock) == b""
    request_.thread.join(TIMEOUT)
    assert [record.getMessage() for record in caplog.records] == [
        "A websocket could not be handed off"
    ]
    assert "Waits.received_message" in caplog.text
    assert len(manager) == 0


def test_a_websocket_that_is_ended_as_it_is_made_is_refused(
    request_: Request, caplog: pytest.LogCaptureFixture
) -> None:
    class Ends(EchoSocket):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.terminate()

    application = WebSocketWSGIApplication(handler_cls=Ends)
    assert request_.refused_by(application) == (
        403,
        "the websocket was ended before the handshake was answered\n",
    )
    assert request_.theirs.fileno() >= 0
    assert not caplog.records


def test_the_descriptor_that_uwsgi_tells_of_is_answered_on_and_left_with_a_dead_end(
    request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = SimpleNamespace(connection_fd=request_.theirs.fileno)
    monkeypatch.setitem(sys.modules, "uwsgi", server)
    request_.environ.update({"uwsgi.version": b"2.0.30", "wsgi.input": None})
    before = descriptors()
    hold(request_)
    request_.peer.send_close(1000)
    assert request_.peer.close_frame() == (1000, "")
    assert read_to_end(request_.peer.sock) == b""
    request_.thread.join(TIMEOUT)
    assert request_.theirs.recv(1) == b""
    assert descriptors() <= before


def test_what_cannot_be_handed_off_for_want_of_descriptors_is_dropped_and_logged() -> None:
    program = textwrap.dedent(
        """
        import logging, os, resource, sys
        from test.helpers import *
        from test.test_wsgi_takeover import EchoSocket, Request
        from ws4py.manager import WebSocketManager
        from ws4py.server.wsgiutils import WebSocketWSGIApplication

        logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(message)s")
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        manager = WebSocketManager()
        manager.start()
        ours, theirs = socket.socketpair()
        request = Request(ours, theirs)
        taken = use_up_descriptors()
        os.close(taken.pop())  # for the websocket; the server's dead end takes two
        request.application = WebSocketWSGIApplication(handler_cls=EchoSocket, manager=manager)
        try:
            request.call()
        except BrokenPipeError:
            pass  # The server's own answer goes nowhere.
        assert read_to_end(theirs).startswith(b"HTTP/1.1 101 ")
        assert len(manager) == 0
        os.close(taken.pop())
        manager.stop()
        manager.join()
        """
    )
    command, here = [sys.executable, "-c", program], Path(__file__).parent.parent
    done = subprocess.run(command, capture_output=True, text=True, timeout=3 * TIMEOUT, cwd=here)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("ERROR A websocket could not be handed off\nTraceback ")
    assert "Too many open files" in done.stdout
