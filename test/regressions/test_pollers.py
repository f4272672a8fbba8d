"""Faults 25 and 26: pollers that were not what they are called, or died above a number.

Most systems that run these tests have no kqueue, so a stand-in takes its place: what the manual
page says of it, on top of ``select.poll``.
"""

from __future__ import annotations

import errno
import fcntl
import resource
import select
import socket
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from test.helpers import TIMEOUT, echo_server, frame, raw_connection
from test.regressions import Seen, read_frame, regression, running_manager, socket_pair
from ws4py.manager import KQueuePoller, SelectPoller
from ws4py.websocket import EchoWebSocket

READ, WRITE = -1, -2
ADD, DELETE, EOF = 0x0001, 0x0002, 0x8000


class Kevent(NamedTuple):
    """What ``select.kevent`` makes, with the fields that are used here."""

    ident: int
    filter: int = READ
    flags: int = ADD


class Kqueue:
    """What ``select.kqueue`` makes."""

    def __init__(self) -> None:
        self.closed = False
        self._filters: set[tuple[int, int]] = set()

    def close(self) -> None:
        self.closed = True
        self._filters.clear()

    def control(
        self, changes: list[Kevent] | None, max_events: int, timeout: float | None = None
    ) -> list[Kevent]:
        if self.closed:
            raise ValueError("I/O operation on closed kqueue object")
        for change in changes or ():
            self._change(change)
        return self._wait(timeout)[:max_events] if max_events else []

    def _change(self, change: Kevent) -> None:
        which = change.ident, change.filter
        if change.flags & ADD:
            fcntl.fcntl(change.ident, fcntl.F_GETFD)  # EBADF, if it is closed.
            self._filters.add(which)
        elif which in self._filters:
            self._filters.remove(which)
        else:
            raise OSError(errno.ENOENT, "no such filter")

    def _wait(self, timeout: float | None) -> list[Kevent]:
        poll = select.poll()
        for fd in {fd for fd, _ in self._filters}:
            reads, writes = (fd, READ) in self._filters, (fd, WRITE) in self._filters
            poll.register(fd, (select.POLLIN * reads) | (select.POLLOUT * writes))
        events = []
        for fd, ready in poll.poll(None if timeout is None else timeout * 1000):
            ended = EOF if ready & (select.POLLHUP | select.POLLERR) else 0
            for which, bit in ((READ, select.POLLIN), (WRITE, select.POLLOUT)):
                if ready & select.POLLNVAL:
                    self._filters.discard((fd, which))
                elif (fd, which) in self._filters and (ready & bit or ended):
                    events.append(Kevent(fd, which, ADD | ended))
        return events


def no_epoll(*arguments: Any) -> None:
    raise AssertionError("an epoll was opened")


@pytest.fixture
def kqueue(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the platform have a kqueue, and an epoll that must not be opened."""
    if not hasattr(select, "kqueue"):
        for name, value in [
            ("kqueue", Kqueue),
            ("kevent", Kevent),
            ("KQ_FILTER_READ", READ),
            ("KQ_FILTER_WRITE", WRITE),
            ("KQ_EV_ADD", ADD),
            ("KQ_EV_DELETE", DELETE),
            ("KQ_EV_EOF", EOF),
        ]:
            monkeypatch.setattr(select, name, value, raising=False)
    monkeypatch.setattr(select, "epoll", no_epoll, raising=False)
    yield


@regression(25)
def test_the_kqueue_poller_polls_a_kqueue(kqueue: None) -> None:
    poller = KQueuePoller(timeout=0)
    assert isinstance(poller.poller, select.kqueue)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        poller.register(ours.fileno())
        assert list(poller.poll()) == []
        theirs.send(b"x")
        assert list(poller.poll()) == [ours.fileno()]
        poller.unregister(ours.fileno())
        assert list(poller.poll()) == []
    poller.release()
    assert poller.poller.closed
    assert list(poller.poll()) == []


@regression(25)
def test_the_kqueue_poller_tells_reading_from_writing(kqueue: None) -> None:
    poller = KQueuePoller()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        fd = ours.fileno()
        poller.register(fd, True, True)
        assert poller.poll_events(0) == [(fd, False, True)]
        theirs.send(b"x")
        assert poller.poll_events(0) == [(fd, True, True)]
        poller.modify(fd, True, False)
        assert poller.poll_events(0) == [(fd, True, False)]
        poller.modify(fd, False, True)
        assert poller.poll_events(0) == [(fd, False, True)]
    poller.release()


@regression(25, 27)
def test_the_kqueue_poller_forgets_a_closed_descriptor(kqueue: None) -> None:
    poller = KQueuePoller(timeout=0)
    with socket.socket() as sock:
        fd = sock.fileno()
        poller.register(fd)
    poller.unregister(fd)
    poller.unregister(fd)
    assert list(poller.poll()) == []
    poller.release()


@regression(25)
def test_a_manager_with_a_kqueue_poller_serves_slow_and_quick_peers(kqueue: None) -> None:
    large = b"x" * 1_000_000
    with running_manager(KQueuePoller()) as manager, socket_pair() as one, socket_pair() as two:
        manager.add(EchoWebSocket(one[0]))
        manager.add(EchoWebSocket(two[0]))
        one[1].sendall(frame(2, large))
        two[1].sendall(frame(1, b"hello"))
        assert read_frame(two[1]) == Seen(1, 1, b"hello")
        assert read_frame(one[1]) == Seen(1, 2, large)


@regression(25)
def test_a_platform_without_epoll_gets_a_kqueue(
    kqueue: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(select, "epoll")
    with echo_server() as server:
        assert isinstance(server.manager.poller, KQueuePoller)
        sock, head = raw_connection(server.server_address[1])
        with sock:
            assert b" 101 " in head
            sock.sendall(frame(1, b"hello"))
            assert read_frame(sock) == Seen(1, 1, b"hello")


@pytest.fixture
def high_socket() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A socket whose descriptor is above 1023, and its peer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 2048:
        if hard != resource.RLIM_INFINITY and hard < 2048:
            pytest.skip("this system has no descriptors above 1023 for us")
        resource.setrlimit(resource.RLIMIT_NOFILE, (2048, hard))
    low, peer = socket.socketpair()
    with low, peer, socket.socket(fileno=fcntl.fcntl(low, fcntl.F_DUPFD, 1500)) as high:
        peer.settimeout(TIMEOUT)
        yield high, peer
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@regression(26)
def test_a_descriptor_above_1023_is_refused_by_select_with_the_way_out(
    high_socket: tuple[socket.socket, socket.socket],
) -> None:
    poller = SelectPoller(timeout=0)
    with pytest.raises(ValueError, match=r"above what select can poll.*use EPollPoller"):
        poller.register(high_socket[0].fileno())
    assert poller.poll() == []


@regression(26)
def test_a_manager_with_select_refuses_a_high_descriptor_and_serves_the_others(
    high_socket: tuple[socket.socket, socket.socket],
) -> None:
    with running_manager(SelectPoller()) as manager, socket_pair() as (ours, theirs):
        manager.add(EchoWebSocket(ours))
        refused = EchoWebSocket(high_socket[0])
        with pytest.raises(ValueError, match="1023"):
            manager.add(refused)
        assert refused not in manager
        theirs.sendall(frame(1, b"hello"))
        assert read_frame(theirs) == Seen(1, 1, b"hello")


@regression(26)
def test_the_best_poller_of_the_platform_serves_a_high_descriptor(
    high_socket: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = high_socket
    with running_manager() as manager:
        if isinstance(manager.poller, SelectPoller):
            pytest.skip("this system has nothing but select")
        manager.add(EchoWebSocket(ours))
        theirs.sendall(frame(1, b"hello"))
        assert read_frame(theirs) == Seen(1, 1, b"hello")
