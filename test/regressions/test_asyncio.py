"""Fault 34: the modules for asyncio."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from test.aio import connect, on_loops, peer_of, serving, url_of
from test.helpers import HANDSHAKE, TIMEOUT
from test.regressions import regression
from ws4py.async_websocket import EchoWebSocket, WebSocket
from ws4py.client.asyncioclient import WebSocketClient

PROJECT = Path(__file__).parents[2]

MODULES = [
    "ws4py.async_websocket",
    "ws4py.server.tulipserver",
    "ws4py.server.asyncioserver",
    "ws4py.client.asyncioclient",
]


def run_program(program: str) -> str:
    """Run a program in a process of its own; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=2 * TIMEOUT,
        cwd=PROJECT,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    return done.stdout


@regression(34)
@pytest.mark.parametrize("module", MODULES)
def test_the_modules_for_asyncio_can_be_imported(module: str) -> None:
    assert run_program(f"import {module}; print('imported')") == "imported\n"


@regression(34)
@on_loops
async def test_there_is_a_client_for_asyncio() -> None:
    async with serving(EchoWebSocket) as server, WebSocketClient(url_of(server)) as client:
        await client.send("hello")
        assert str(await client.receive()) == "hello"


@regression(34)
@on_loops
async def test_subprotocols_are_negotiated_on_asyncio() -> None:
    async with serving(EchoWebSocket, protocols=["chat", "other"]) as server:
        asked = b"Sec-WebSocket-Protocol: unknown, other, chat\r\n\r\n"
        peer, head = await connect(server, HANDSHAKE[:-2] + asked)
        assert b"\r\nSec-WebSocket-Protocol: other\r\n" in head
        assert [each.protocols for each in server.websockets] == [["other"]]
        peer.leave()
        client = WebSocketClient(url_of(server), protocols=["chat"])
        async with client:
            assert client.protocols == ["chat"]


#: Sends 16 MiB of Pings, reads none of the Pongs, and tells how many KiB the server took for that.
PINGS = """
    import asyncio, sys
    from pathlib import Path
    sys.path.insert(0, "")
    from test.aio import PING, TEXT, peer_of, run, serving
    from test.helpers import frame
    from ws4py.async_websocket import EchoWebSocket

    def memory(what):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(what):
                return int(line.split()[1])

    async def main():
        async with serving(EchoWebSocket) as server, peer_of(server) as peer:
            transport = peer.writer.transport
            transport.pause_reading()
            pings = frame({opcode}, b"x" * {size}) * max(1, 12_500 // {size})
            before, left = memory("VmRSS"), 16 * 1024 * 1024
            while left > 0:
                peer.writer.write(pings)
                left -= len(pings)
                for _ in range(1000):
                    await asyncio.sleep(0)
                    if not transport.get_write_buffer_size():
                        break
                else:
                    break
            print(memory("VmHWM") - before)

    run(asyncio.new_event_loop, main())
"""


@regression(34)
@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
@pytest.mark.parametrize(("opcode", "size"), [(0x9, 125), (0x1, 125), (0x1, 60_000)])
def test_answers_that_a_peer_does_not_read_need_no_memory(opcode: int, size: int) -> None:
    program = PINGS.replace("{opcode}", str(opcode)).replace("{size}", str(size))
    assert int(run_program(program)) < 4 * 1024


@regression(34)
@pytest.mark.parametrize("end", ["close", "violation", "vanish", "terminate"])
@on_loops
async def test_closed_is_called_once_on_asyncio(end: str) -> None:
    calls = []

    class Counts(WebSocket):
        def closed(self, code: int, reason: str | None = None) -> Any:
            calls.append(code)

    async with serving(Counts) as server, peer_of(server) as peer:
        (websocket,) = server.websockets
        if end == "close":
            await peer.end()
        elif end == "violation":
            peer.send((0x8, b"\x03"))
            assert await peer.close_code() == 1002
        elif end == "terminate":
            websocket.terminate()
            websocket.terminate()
        peer.leave()
        await websocket.wait_closed()
        websocket.terminate()
    assert calls == [1000 if end == "close" else 1006]
