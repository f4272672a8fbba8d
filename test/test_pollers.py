"""Pollers: what is ready, on every means of the platform."""

from __future__ import annotations

import os
import platform
import resource
import select
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from test.helpers import TIMEOUT
from ws4py.pollers import EPollPoller, KQueuePoller, SelectPoller, make_poller

CLASSES = [
    SelectPoller,
    pytest.param(
        EPollPoller, marks=pytest.mark.skipif(not hasattr(select, "epoll"), reason="no epoll")
    ),
    pytest.param(
        KQueuePoller, marks=pytest.mark.skipif(not hasattr(select, "kqueue"), reason="no kqueue")
    ),
]


@pytest.fixture(params=CLASSES)
def poller(request: pytest.FixtureRequest) -> Iterator[Any]:
    poller = request.param(timeout=0)
    yield poller
    poller.release()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def test_poll_gives_what_can_be_read(poller: Any, pair: Any) -> None:
    ours, theirs = pair
    poller.register(ours.fileno())
    assert list(poller.poll()) == []
    theirs.send(b"x")
    assert list(poller.poll()) == [ours.fileno()]
    assert list(poller.poll()) == [ours.fileno()]
    ours.recv(1)
    assert list(poller.poll()) == []


def test_poll_gives_what_has_ended(poller: Any, pair: Any) -> None:
    ours, theirs = pair
    poller.register(ours.fileno())
    theirs.close()
    assert list(poller.poll()) == [ours.fileno()]


def test_poll_gives_nothing_that_can_only_be_written(poller: Any, pair: Any) -> None:
    poller.register(pair[0].fileno(), True, True)
    assert list(poller.poll()) == []
    assert list(poller.poll_events(0)) == [(pair[0].fileno(), False, True)]


def test_events_tell_reading_from_writing(poller: Any, pair: Any) -> None:
    ours, theirs = pair
    theirs.send(b"x")
    fd = ours.fileno()
    poller.register(fd, True, True)
    assert list(poller.poll_events(0)) == [(fd, True, True)]
    poller.modify(fd, True, False)
    assert list(poller.poll_events(0)) == [(fd, True, False)]
    poller.modify(fd, False, True)
    assert list(poller.poll_events(0)) == [(fd, False, True)]


def test_what_is_unregistered_is_not_polled(poller: Any, pair: Any) -> None:
    ours, theirs = pair
    poller.register(ours.fileno())
    theirs.send(b"x")
    poller.unregister(ours.fileno())
    assert list(poller.poll()) == []
    poller.unregister(ours.fileno())


def test_a_descriptor_that_was_closed_can_be_unregistered(poller: Any, pair: Any) -> None:
    fd = pair[0].fileno()
    poller.register(fd)
    pair[0].close()
    poller.unregister(fd)
    assert list(poller.poll()) == []


def test_a_descriptor_can_be_registered_again(poller: Any, pair: Any) -> None:
    ours, theirs = pair
    poller.register(ours.fileno())
    poller.unregister(ours.fileno())
    poller.register(ours.fileno())
    theirs.send(b"x")
    assert list(poller.poll()) == [ours.fileno()]


def test_a_closed_descriptor_is_not_polled_for_ever_in_silence(poller: Any, pair: Any) -> None:
    ours, theirs = pair
    poller.register(ours.fileno())
    poller.register(theirs.fileno())
    fd = ours.fileno()
    ours.close()
    assert fd in [each for each, *_ in poller.poll_events(0)] or list(poller.poll()) == [
        theirs.fileno()
    ]


def test_a_released_poller_polls_nothing(poller: Any, pair: Any) -> None:
    poller.register(pair[0].fileno())
    pair[1].send(b"x")
    poller.release()
    assert list(poller.poll()) == []
    poller.release()


def test_poll_ends_when_something_comes(poller: Any, pair: Any) -> None:
    pair[1].send(b"x")
    poller.register(pair[0].fileno())
    assert list(poller.poll_events(TIMEOUT)) == [(pair[0].fileno(), True, False)]


def test_select_names_the_descriptor_that_it_cannot_poll(pair: Any) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft <= 1100:
        if hard <= 1100:
            pytest.skip("this system gives no descriptor above 1023")
        resource.setrlimit(resource.RLIMIT_NOFILE, (1101, hard))
    os.dup2(pair[0].fileno(), 1100)
    poller = SelectPoller()
    try:
        with pytest.raises(ValueError, match="1100"):
            poller.register(1100)
        poller.register(pair[0].fileno())
        assert poller.poll_events(0) == []
    finally:
        os.close(1100)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    ("missing", "expected"), [((), "EPollPoller"), (("epoll", "kqueue"), "SelectPoller")]
)
@pytest.mark.skipif(not hasattr(select, "epoll"), reason="no epoll")
def test_the_best_poller_is_looked_up_when_it_is_made(
    monkeypatch: pytest.MonkeyPatch, missing: tuple[str, ...], expected: str
) -> None:
    for name in missing:
        monkeypatch.delattr(select, name, raising=False)
    poller = make_poller()
    assert type(poller).__name__ == expected
    poller.release()


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="no epoll")
@pytest.mark.skipif(platform.python_implementation() != "CPython", reason="PyPy takes it for 0")
def test_a_time_that_is_none_is_not_taken_for_the_end_of_the_poller() -> None:
    poller = EPollPoller(timeout=float("nan"))
    with pytest.raises(ValueError):
        list(poller.poll())
    poller.release()
    assert list(poller.poll()) == []


def test_select_without_descriptors_waits_no_longer_than_it_is_told() -> None:
    assert SelectPoller(0).poll() == []
    assert SelectPoller().poll_events(0.001) == []


def test_select_knows_what_it_was_asked_for(pair: Any) -> None:
    poller = SelectPoller(0)
    poller.register(pair[0].fileno(), False, True)
    assert poller.poll() == []
    assert poller.poll_events(0) == [(pair[0].fileno(), False, True)]
    poller.modify(pair[0].fileno(), False, False)
    assert poller.poll_events(0) == []
