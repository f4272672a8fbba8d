"""Compressed messages to and from other implementations, in both roles, as they are on the wire."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from queue import Queue
from typing import Any, Callable

import pytest

from test.helpers import TIMEOUT, Recorder, RecordingWebSocket, echo_server
from test.relay import Passed, Relay, Wire
from test.test_cli import Program
from ws4py.client.threadedclient import WebSocketClient
from ws4py.deflate import PerMessageDeflate

pytestmark = pytest.mark.interop

HERE = Path(__file__).parent
COUNT = 1000
WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog,", "naïvely", "😀\n"]

CONFIGURATIONS = [
    pytest.param(PerMessageDeflate(), id="defaults"),
    pytest.param(
        PerMessageDeflate(
            server_no_context_takeover=True,
            client_no_context_takeover=True,
            server_max_window_bits=9,
            client_max_window_bits=15,
        ),
        id="no context",
    ),
]

#: What a message is made of: (size, random) to the text, or the bytes, that are sent.
Kind = Callable[[random.Random, int], Any]
KINDS: list[Kind] = [
    lambda chance, size: " ".join(chance.choices(WORDS, k=size // 5)),
    lambda chance, size: "".join(map(chr, chance.choices(range(0x20, 0xD800), k=size // 3))),
    lambda chance, size: chance.randbytes(size),
    lambda chance, size: chance.randbytes(7) * (size // 7),
]


def messages(chance: random.Random) -> Iterator[Any]:
    """Yield messages of all kinds, most of them small, some of hundreds of KiB."""
    for number in range(COUNT):
        yield chance.choice(KINDS)(chance, int(2 ** chance.uniform(0, 14 if number % 8 else 18)))


class Client(Recorder, WebSocketClient):
    """Records what comes."""


class Announced(RecordingWebSocket):
    """Records what comes, and puts itself into a queue once it is open."""

    all: Queue[Announced]

    def opened(self) -> None:
        super().opened()
        self.all.put(self)


def lacks(name: str) -> str | None:
    """Say why the peer cannot run here, if that is so."""
    if name != "ws":
        return None if find_spec(name) else f"{name} is not installed"
    if not shutil.which("node"):
        return "there is no Node on the PATH"
    if not (HERE / "node_modules" / "ws").exists():
        return "Node's ws is not installed: `make peers` does that"
    return None


@contextmanager
def peer(name: str, *arguments: str) -> Iterator[Program]:
    """Run another implementation's echo."""
    why = lacks(name)
    if why:
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    if name == "ws":
        program = Program(str(HERE / "peer_ws.js"), *arguments, executable="node")
    else:
        program = Program("-m", f"test.interop.peer_{name}", *arguments)
    with program:
        yield program


def exchange(websocket: Any, seed: str) -> list[bytes]:
    """Send random messages, and see that each comes back; return their payloads."""
    payloads = []
    for message in messages(random.Random(seed)):
        binary = isinstance(message, bytes)
        websocket.send(message, binary)
        payload = message if binary else message.encode()
        payloads.append(payload)
        if len(payloads) % 50 == 0:
            check_echoes(websocket, payloads[-50:])
    return payloads


def check_echoes(websocket: Any, payloads: list[bytes]) -> None:
    for payload in payloads:
        kind, data = websocket.next_event()
        assert data == payload, f"{kind} of {len(payload)} bytes"


def data_frames(passed: list[Passed]) -> list[Passed]:
    return [frame for frame in passed if not frame.opcode & 0x8]


def check_wire(sent: list[Passed], answered: list[Passed], payloads: list[bytes]) -> None:
    """See that both sides have compressed, and what we leave uncompressed."""
    ours, theirs = data_frames(sent), data_frames(answered)
    least = PerMessageDeflate().threshold
    assert [frame.rsv1 for frame in ours] == [len(payload) >= least for payload in payloads]
    assert len(theirs) >= len(payloads)
    begun = [frame for frame in theirs if frame.opcode]
    compressed = [len(p) for p, frame in zip(payloads, begun) if frame.rsv1]
    assert sum(compressed) > 0.9 * sum(map(len, payloads))
    for direction in (ours, theirs):
        assert sum(frame.length for frame in direction) < 0.75 * sum(map(len, payloads))


def the_wire(relay: Relay) -> Wire:
    (wire,) = relay.wires
    wire.wait()
    return wire


@pytest.mark.parametrize("compression", CONFIGURATIONS)
@pytest.mark.parametrize("name", ["websockets", "aiohttp", "ws"])
def test_their_client_and_our_server_compress(name: str, compression: PerMessageDeflate) -> None:
    handler = type("Handler", (Announced,), {"all": Queue()})
    with echo_server(handler, compression=compression) as server, ExitStack() as stack:
        relay = stack.enter_context(Relay(server.server_address[1]))
        client = stack.enter_context(peer(name, "connect", relay.url))
        websocket = handler.all.get(timeout=TIMEOUT)
        assert websocket.next_event() == ("opened",)
        payloads = exchange(websocket, f"{name} as the client")
        websocket.close(1000)
        assert client.line() == "1000", client.errors
        assert websocket.all_events()[-1] == ("closed", 1000, "")
        wire = the_wire(relay)
    assert wire.answer.startswith("permessage-deflate")
    check_wire(wire.frames_to_client, wire.frames_to_server, payloads)


@pytest.mark.parametrize("compression", CONFIGURATIONS)
@pytest.mark.parametrize("name", ["websockets", "aiohttp", "ws"])
def test_our_client_and_their_server_compress(name: str, compression: PerMessageDeflate) -> None:
    with peer(name, "serve") as server, Relay(int(server.line() or 0)) as relay:
        websocket = Client(relay.url, compression=compression)
        websocket.connect()
        assert websocket.next_event() == ("opened",)
        assert websocket.extensions == [relay.wires[0].answer]
        payloads = exchange(websocket, f"{name} as the server")
        websocket.close(1000)
        assert websocket.all_events()[-1] == ("closed", 1000, "")
        wire = the_wire(relay)
    check_wire(wire.frames_to_server, wire.frames_to_client, payloads)
