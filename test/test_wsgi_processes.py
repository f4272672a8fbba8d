"""What a WSGI application has in each process, and how that ends."""

from __future__ import annotations

import os
import socket
import threading
from typing import Any, Callable

import pytest

from test.conformance import TEXT, read_head
from test.helpers import TIMEOUT, read_to_end
from test.test_wsgi_takeover import EchoSocket, Request, hold, request_
from ws4py.limits import Limits
from ws4py.manager import WebSocketManager
from ws4py.server.wsgiutils import WebSocketWSGIApplication

__all__ = ["request_"]

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system forks nothing")


def in_child(check: Callable[[], Any]) -> bool:
    """Say whether what ``check`` returns in a child of this process is true."""
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if check() else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.fixture
def application(request_: Request) -> WebSocketWSGIApplication:
    """An application that holds a connection."""
    return hold(request_)


@forks
def test_a_child_leaves_the_connections_of_its_parent_alone(
    request_: Request, application: WebSocketWSGIApplication
) -> None:
    def drain() -> bool:
        application.broadcast("from the child")
        application.close_all()
        application.drain()
        return True

    assert in_child(drain)
    request_.peer.send(TEXT, b"still there")
    assert request_.peer.message() == (TEXT, b"still there")


@forks
def test_a_child_of_a_process_that_was_at_work_on_its_connections_is_not_kept(
    application: WebSocketWSGIApplication,
) -> None:
    with application._here.changed:
        assert in_child(lambda: application.drain() is None)


def test_a_drain_waits_for_no_callback_that_never_returns(
    request_: Request, caplog: pytest.LogCaptureFixture
) -> None:
    class Clings(EchoSocket):
        limits = Limits(close_timeout=0.1)

        def received_message(self, message: Any) -> None:
            super().received_message(message)
            assert let_go.wait(TIMEOUT)

    let_go = threading.Event()
    application = hold(request_, Clings)
    drained = threading.Thread(target=application.drain)
    drained.start()
    drained.join(TIMEOUT)
    let_go.set()
    assert not drained.is_alive()
    assert "Callbacks do not return: 1 websockets are left" in caplog.text


def test_what_makes_something_else_than_a_manager_is_named_each_time(
    pairs: Callable[[], tuple[socket.socket, socket.socket]],
) -> None:
    application = WebSocketWSGIApplication(manager=dict)  # type: ignore[arg-type]
    for _ in range(2):
        request = Request(*pairs())
        request.application = application
        with request.file, pytest.raises(TypeError, match=r"dict'> has made \{\}, which is no"):
            request.call()


def test_a_manager_that_cannot_be_started_is_not_kept(
    pairs: Callable[[], tuple[socket.socket, socket.socket]],
) -> None:
    def fail() -> WebSocketManager:
        made.append(WebSocketManager())
        if len(made) == 1:
            made[0].stop()
            raise OSError("no more threads")
        return made[-1]

    made: list[WebSocketManager] = []
    application = WebSocketWSGIApplication(handler_cls=EchoSocket, manager=fail)
    first, second = Request(*pairs()), Request(*pairs())
    first.application = second.application = application
    with first.file, pytest.raises(OSError, match="no more threads"):
        first.call()
    with second.file:
        second.call()
    assert len(made[1]) == 1
    application.drain(0)


def test_a_manager_that_was_not_started_is_warned_of(
    request_: Request, caplog: pytest.LogCaptureFixture
) -> None:
    manager = WebSocketManager()
    request_.send_to(WebSocketWSGIApplication(handler_cls=EchoSocket, manager=manager))
    request_.thread.join(TIMEOUT)
    assert "the manager has not been started" in caplog.text
    manager.start()
    request_.peer.send(TEXT, b"late")
    read_head(request_.peer.sock)
    assert request_.peer.message() == (TEXT, b"late")
    manager.stop(0)
    manager.join(TIMEOUT)


def test_what_fails_behind_the_answer_ends_the_connection(
    request_: Request, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        """A file that has been read ahead."""

        raw = request_.file.raw

        def peek(self, _size: int) -> bytes:
            raise ValueError("a closed file")

        read = peek

    request_.environ["wsgi.input"] = Broken()
    request_.send_to(WebSocketWSGIApplication(handler_cls=EchoSocket))
    assert read_head(request_.peer.sock).startswith(b"HTTP/1.1 101 ")
    assert read_to_end(request_.peer.sock) == b""
    assert "ValueError: a closed file" in caplog.text
