"""What drives a websocket on a loop: its timers, its transport, and threads that wait for it."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from test.aio import BINARY, TEXT, Peer, eventually, fake_server, on_loops, serving, url_of
from test.helpers import TIMEOUT, frame
from ws4py import _asyncio
from ws4py._asyncio import Connection, Timer
from ws4py.async_websocket import EchoWebSocket, WebSocket
from ws4py.client.asyncioclient import WebSocketClient


def in_a_thread(act: Any) -> None:
    """Do something in a thread of its own, while the loop does nothing."""
    thread = threading.Thread(target=act)
    thread.start()
    thread.join(TIMEOUT)
    assert not thread.is_alive()


@pytest.mark.parametrize("in_thread", [False, True])
@on_loops
async def test_a_timer_that_any_thread_has_cancelled_calls_nothing(in_thread: bool) -> None:
    loop, called, passed = asyncio.get_running_loop(), [], asyncio.Event()
    timer = Timer(loop, 0.0, lambda: called.append("cancelled"), True)
    in_a_thread(timer.cancel) if in_thread else timer.cancel()
    Timer(loop, 0.0, lambda: called.append("due"), True)
    Timer(loop, 0.001, passed.set, True)
    await passed.wait()
    assert called == ["due"]


class Fast(asyncio.Transport):
    """A loop's transport that has read ahead when it is told to pause; keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = True
        self.written = bytearray()
        self.ended = False

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert (high, low) == (1, 0)

    def can_write_eof(self) -> bool:
        return True

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def write(self, data: Any) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.ended

    def abort(self) -> None:
        self.close()

    def close(self) -> None:
        if not self.ended:
            self.ended = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)


@on_loops
async def test_what_a_transport_has_read_before_it_pauses_is_not_lost() -> None:
    class Gated(WebSocket):
        async def received_message(self, message: Any) -> None:
            await gate.wait()
            await self.send(message.data)

    gate, transport = asyncio.Event(), Fast()
    websocket = Gated(None)
    connection = Connection(websocket, transport, asyncio.get_running_loop())
    connection.begin()
    messages = [b"%03d" % number for number in range(300)]
    for number in range(0, 300, 100):
        data = b"".join(frame(TEXT, each) for each in messages[number : number + 100])
        transport.protocol.data_received(data)
    assert not transport.reads
    gate.set()
    answers = b"".join(frame(TEXT, each, key=None) for each in messages)
    await eventually(lambda: len(transport.written) >= len(answers))
    assert transport.written == answers
    await eventually(lambda: transport.reads)
    websocket.terminate()
    await connection.wait_ended()


@on_loops
async def test_once_reads_nothing_where_the_loop_does() -> None:
    async with serving(EchoWebSocket) as server:
        async with WebSocketClient(url_of(server)) as client:
            assert client.once()
            await client.send("hello")
            assert client.once()
            assert str(await client.receive()) == "hello"
        assert client.close_code == 1000


@on_loops
async def test_a_thread_waits_for_a_slow_peer_however_often_it_has_looked_at_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_asyncio, "LOOK", 0.01)
    loop, looks = asyncio.get_running_loop(), []
    is_closed, is_read = loop.is_closed, asyncio.Event()
    sizes: list[int] = []

    async def talk(peer: Peer) -> None:
        peer.pause()
        await is_read.wait()
        peer.resume()
        while (message := await peer.message())[0] == BINARY:
            sizes.append(len(message[1]))
        await peer.close_code()
        peer.send_close()

    def send() -> None:
        looks.append(threading.get_ident())
        for _ in range(16):
            client.send(bytes(1 << 20), binary=True)
        client.send("that was all")

    def look() -> bool:
        if looks and threading.get_ident() == looks[0] and client._waiters:
            looks.append(0)
        return is_closed()

    async with fake_server(talk) as server, WebSocketClient(url_of(server)) as client:
        monkeypatch.setattr(loop, "is_closed", look)
        sending = loop.run_in_executor(None, send)
        await eventually(lambda: len(looks) > 3)
        assert not sending.done()
        is_read.set()
        await sending
    assert sizes == [1 << 20] * 16
    assert client.close_code == 1000
