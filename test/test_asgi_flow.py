"""The ASGI application and peers that are slow; and callbacks that are coroutine functions."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from test.asgi import HOSTS, ignores_warnings, serves
from test.conformance import BINARY, TEXT, Echo
from test.helpers import TIMEOUT, Recorder, eventually
from ws4py import async_websocket
from ws4py.limits import Limits

pytestmark = ignores_warnings


@pytest.fixture(params=HOSTS)
def host(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def serve(no_thread_left: None) -> Iterator[Any]:
    with serves() as serve:
        yield serve


def flood(websocket: Any, count: int = 1 << 20, size: int = 64 * 1024) -> None:
    """Send many messages, until the websocket has ended, from the thread that may not wait."""
    loop = websocket._driver.loop

    def send(left: int) -> None:
        with suppress(RuntimeError):
            websocket.send(b"x" * size, binary=True)
            if left:
                loop.call_soon(send, left - 1)

    loop.call_soon_threadsafe(send, count)


def test_a_peer_that_does_not_read_is_dropped_at_the_hard_limit(host: Any, serve: Any) -> None:
    websocket, _ = serve(host, Recorder).open(receive_buffer=4096)
    most = websocket.limits.max_queue
    flood(websocket)
    code, reason = websocket.all_events()[-1][1:]
    assert code == 1006
    assert "queued for a peer that does not read" in reason
    assert int(reason.split(" ")[0]) <= most + 2 * 64 * 1024


def test_a_peer_that_takes_nothing_is_dropped_after_write_timeout(host: Any, serve: Any) -> None:
    class Patient(Recorder):
        limits = Limits(write_timeout=0.2, max_queue=None)

    websocket, _ = serve(host, Patient).open(receive_buffer=4096)
    flood(websocket, 64, 1 << 20)
    code, reason = websocket.all_events()[-1][1:]
    assert code == 1006
    assert "took nothing" in reason


def test_a_peer_that_does_not_read_its_echoes_is_not_read(host: Any, serve: Any) -> None:
    class Measures(Echo):
        most = 0

        def received_message(self, message: Any) -> None:
            self.send(message.data, message.is_binary)  # type: ignore[attr-defined]
            self.most = max(self.most, self._queued)  # type: ignore[attr-defined]

    websocket, peer = serve(host, Measures).open(receive_buffer=4096)
    size, count = 32 * 1024, 512
    data = peer.build(BINARY, b"x" * size) * count
    sending = threading.Thread(target=peer.sock.sendall, args=(data,))
    sending.start()
    # Whatever the kernel holds of both directions, it is less than half of that.
    eventually(lambda: websocket._paused, "the peer was read on and on")
    for _ in range(count):
        assert peer.message() == (BINARY, b"x" * size)
    sending.join(TIMEOUT)
    assert websocket.most <= websocket.limits.high_water + 4 * size


def test_threads_that_send_wait_for_a_slow_peer(host: Any, serve: Any) -> None:
    websocket, peer = serve(host, Recorder).open(receive_buffer=4096)
    most = 0
    ready = threading.Event()

    def send() -> None:
        nonlocal most
        for _ in range(256):
            websocket.send(b"x" * 64 * 1024, binary=True)
            most = max(most, websocket._queued)
            if most > websocket.limits.high_water:
                ready.set()

    sending = threading.Thread(target=send)
    sending.start()
    assert ready.wait(TIMEOUT)
    for _ in range(256):
        assert peer.message() == (BINARY, b"x" * 64 * 1024)
    sending.join(TIMEOUT)
    assert most <= websocket.limits.high_water + 2 * 65536


class Shouts(Recorder, async_websocket.WebSocket):
    """Its callbacks are coroutine functions."""

    async def opened(self) -> None:  # type: ignore[override]
        super().opened()
        await self.send("ready")

    async def received_message(self, message: Any) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        await self.send(str(message).upper())

    async def closed(self, code: int, reason: str | None = None) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        super().closed(code, reason)


def test_callbacks_can_be_coroutine_functions(host: Any, serve: Any) -> None:
    websocket, peer = serve(host, Shouts).open()
    peer.sock.sendall(b"".join(peer.build(TEXT, b"m%d" % i) for i in range(200)))
    assert peer.message() == (TEXT, b"ready")
    assert [peer.message()[1] for _ in range(200)] == [b"M%d" % i for i in range(200)]
    peer.send_close()
    peer.close_frame()
    peer.leave()
    assert [event[0] for event in websocket.all_events()] == ["closed"]


def test_messages_can_be_received_with_async_for(host: Any, serve: Any) -> None:
    class Loops(Recorder, async_websocket.WebSocket):
        received_message = async_websocket.WebSocket.received_message

        async def opened(self) -> None:  # type: ignore[override]
            super().opened()
            async for message in self:
                await self.send(f"got {message}")
            self.events.put(("no more",))

    websocket, peer = serve(host, Loops).open()
    peer.sock.sendall(b"".join(peer.build(TEXT, b"%d" % i) for i in range(200)))
    assert [peer.message()[1] for _ in range(200)] == [b"got %d" % i for i in range(200)]
    peer.send_close()
    peer.close_frame()
    peer.leave()
    assert [event[0] for event in websocket.all_events()] == ["no more", "closed"]


def test_an_awaited_send_waits_for_room(host: Any, serve: Any) -> None:
    class Pours(Recorder, async_websocket.WebSocket):
        most = 0

        async def received_message(self, message: Any) -> None:  # type: ignore[override]
            for _ in range(200):
                await self.send(b"x" * 64 * 1024, binary=True)
                self.most = max(self.most, self._queued)

    websocket, peer = serve(host, Pours).open(receive_buffer=4096)
    peer.send(TEXT, b"go")
    for _ in range(200):
        assert peer.message() == (BINARY, b"x" * 64 * 1024)
    assert websocket.most <= websocket.limits.high_water
