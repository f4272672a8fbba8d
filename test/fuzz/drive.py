"""Feeds a stream to ws4py and records what comes out, in the reference's form.

There are three ways: two owners of a ``Stream``, who differ in how they go on after a 0, and a
whole websocket, a server's or a client's, which is an echo in all respects, so that what it writes
says what it read.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha1
from typing import Any

from ws4py.client import WebSocketBaseClient
from ws4py.deflate import PerMessageDeflate
from ws4py.limits import Limits
from ws4py.messaging import BinaryMessage, Message, PongControlMessage
from ws4py.streaming import Stream
from ws4py.websocket import WebSocket

from .reference import Deflate, Event, Rules, parse


class Misbehaviour(AssertionError):
    """The parser broke its own contract, whatever the stream was."""


def expect(fact: Any, message: str) -> None:
    if not fact:
        raise Misbehaviour(message)


def make_limits(rules: Rules) -> Limits:
    return replace(
        Limits(),
        max_message_size=rules.max_message_size,
        max_fragments=rules.max_fragments,
        close_timeout=None,  # nothing here needs a timer
    )


def drive_stream(rules: Rules, chunks: Sequence[bytes]) -> list[Event]:
    """Feed ``chunks`` to a Stream, taking one thing at every 0."""
    stream = make_stream(rules)
    events: list[Event] = []
    for chunk in chunks:
        wanted = stream.parser.send(chunk)
        while wanted == 0:
            take(stream, events)
            wanted = next(stream.parser)
        if wanted < 0:
            raise Misbehaviour(f"the parser wants {wanted!r} bytes")
    check_nothing_is_left(stream, events)
    return events


def drive_stream_by_send(rules: Rules, chunks: Sequence[bytes]) -> list[Event]:
    """Do the same, but answer a 0 by sending the next chunk while there is one."""
    stream = make_stream(rules)
    events: list[Event] = []
    wanted = 1
    for chunk in chunks:
        wanted = stream.parser.send(chunk)
        if wanted == 0:
            take(stream, events)
    while wanted == 0:
        wanted = next(stream.parser)
        if wanted == 0:
            take(stream, events)
    check_nothing_is_left(stream, events)
    return events


def make_stream(rules: Rules) -> Stream:
    stream = Stream(always_mask=not rules.expect_masking, expect_masking=rules.expect_masking)
    stream.limits = make_limits(rules)
    _, stream.inflater = COMPRESSION.codecs(extensions(rules), is_client=not rules.expect_masking)
    return stream


#: How ws4py compresses its answers: it is quick, leaves some as they are, and has no timer.
COMPRESSION = PerMessageDeflate(
    server_max_window_bits=15,
    client_max_window_bits=15,
    threshold=3,
    level=1,
    memory_level=1,
    idle_release=None,
)


def extensions(rules: Rules) -> list[str]:
    """Return what has to have been agreed on, if messages may be compressed."""
    if rules.deflate is None:
        return []
    bits, anew = rules.deflate
    peer, own = ("client", "server") if rules.expect_masking else ("server", "client")
    parameters = [f"{peer}_max_window_bits={bits}", f"{own}_max_window_bits=10"]
    if anew:
        parameters += [f"{peer}_no_context_takeover", f"{own}_no_context_takeover"]
    return ["; ".join(["permessage-deflate", *parameters])]


def take(stream: Stream, events: list[Event]) -> None:
    """Take the one thing that is there; nothing may be while a message is inflated."""
    if events and events[-1][0] in ("close", "error"):
        raise Misbehaviour(f"the parser goes on after {events[-1]!r}")
    found = waiting(stream)
    pauses = stream.inflater is not None and stream.unread
    if len(found) != 1 and (found or not pauses):
        raise Misbehaviour(f"one thing should be there, not {found!r}")
    events += found
    stream.message = None
    stream.pings.clear()
    stream.pongs.clear()


def waiting(stream: Stream) -> list[Event]:
    events: list[Event] = []
    if stream.has_message:
        assert stream.message is not None
        events.append(("text" if stream.message.is_text else "binary", stream.message.data))
    events += [("ping", ping.data) for ping in stream.pings]
    events += [("pong", pong.data) for pong in stream.pongs]
    if stream.closing is not None:
        events.append(("close", stream.closing.code, stream.closing.reason))
    events += [("error", error.code) for error in stream.errors]
    return events


def check_nothing_is_left(stream: Stream, events: list[Event]) -> None:
    ended = [event for event in events if event[0] in ("close", "error")]
    if waiting(stream) != ended:
        raise Misbehaviour(f"never announced by a 0: {waiting(stream)!r}")


class RecordingSocket:
    """All that a WebSocket needs of a socket: ``recv``, and a ``sendall`` that records."""

    def __init__(self) -> None:
        self.sent = bytearray()

    def recv(self, size: int) -> bytes:
        return b""

    def sendall(self, data: bytes) -> None:
        self.sent += data


class AcceptingSocket(RecordingSocket):
    """The socket of a client, connected to a server that accepts.

    Args:
        extensions: Those that the server uses.
    """

    def __init__(self, extensions: list[str]) -> None:
        super().__init__()
        self.field = f"Sec-WebSocket-Extensions: {', '.join(extensions)}".encode()

    def getpeername(self) -> str:
        return ""

    def recv(self, size: int) -> bytes:
        """Answer the request, and forget it: what is sent from now on are frames."""
        key = self.sent.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0]
        self.sent.clear()
        token = b64encode(sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        return (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + token + b"\r\n" + self.field + b"\r\n\r\n"
        )


class Mirror:
    """A mixin that sends every message back, and a Ping for every Pong; records its callbacks."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.calls: list[Event] = []
        self.ends: list[tuple[int, str | None]] = []

    def received_message(self, message: Message) -> None:
        binary = isinstance(message, BinaryMessage)
        self.calls.append(("binary" if binary else "text", message.data))
        self.send(message.data, binary)

    def ponged(self, pong: PongControlMessage) -> None:
        self.calls.append(("pong", pong.data))
        self.ping(pong.data)

    def closed(self, code: int, reason: str | None = None) -> None:
        self.ends.append((code, reason))


class ServerMirror(Mirror, WebSocket):
    """Expects masked frames, and masks none."""


class ClientMirror(Mirror, WebSocketBaseClient):
    """Masks every frame, and expects none that is masked."""

    _makes_socket = False


def make_mirror(rules: Rules) -> tuple[Any, RecordingSocket]:
    """Make the websocket that listens to whom these rules are for."""
    if rules.expect_masking:
        sock = RecordingSocket()
        mirror: Any = ServerMirror(sock)
        mirror._agree(COMPRESSION, extensions(rules))
        mirror.limits = make_limits(rules)
    else:
        sock = AcceptingSocket(extensions(rules))
        mirror = ClientMirror("ws://localhost/", compression=COMPRESSION)
        mirror.limits = make_limits(rules)
        mirror.sock = sock
        mirror.connect()
    return mirror, sock


def drive_websocket(rules: Rules, chunks: Sequence[bytes]) -> list[Event]:
    """Feed ``chunks`` to a WebSocket; tell the events from what it called and wrote."""
    websocket, sock = make_mirror(rules)
    goes_on = True
    for chunk in chunks:
        goes_on = websocket.process(chunk)
        if not goes_on:
            break
    websocket.terminate()
    check_return_value(websocket, goes_on)
    answers = answers_in(bytes(sock.sent), rules)
    answered = [swap(event) for event in answers if event[0] != "close"]
    if websocket.calls != [event for event in answered if event[0] != "ping"]:
        raise Misbehaviour(f"called back {websocket.calls!r}, but answered {answered!r}")
    return answered + end_of(websocket, answers[len(answered) :])


def check_return_value(websocket: Any, goes_on: bool) -> None:
    """Check that ``process`` ends with a client's Close, but only drains after an error.

    A server that has closed ends the connection too: a client waits for that.
    """
    if goes_on != (isinstance(websocket, ClientMirror) or not websocket.close_received):
        raise Misbehaviour(f"process returned {goes_on}")


def answers_in(sent: bytes, rules: Rules) -> list[Event]:
    """Read what was sent: a legal sequence of whole frames, with nothing after a Close."""
    deflate = None if rules.deflate is None else Deflate(10, rules.deflate.anew)
    outcome = parse(sent, Rules(expect_masking=not rules.expect_masking, deflate=deflate))
    if outcome.branch is not None or outcome.unread:
        raise Misbehaviour(f"wrote {sent.hex()}: {outcome!r}")
    if len(outcome.keys) > 2 and len(set(outcome.keys)) == 1:  # by chance once in 2**64 times
        raise Misbehaviour(f"masks every frame with {outcome.keys[0]!r}")
    return outcome.events


def swap(event: Event) -> Event:
    """Tell what a Mirror has answered so."""
    return ({"ping": "pong", "pong": "ping"}.get(event[0], event[0]), *event[1:])


def end_of(websocket: Any, answers: list[Event]) -> list[Event]:
    """Tell how the peer ended it, from ``closed`` and the Close that was sent, if any."""
    if len(websocket.ends) != 1:
        raise Misbehaviour(f"closed was called with {websocket.ends!r}")
    code, reason = websocket.ends[0]
    if websocket.close_received:
        if [answer[1] for answer in answers] != [code]:
            raise Misbehaviour(f"a Close with {code} was answered by {answers!r}")
        return [("close", code, str(reason).encode())]
    if code != 1006:
        raise Misbehaviour(f"closed was called with {code} without a Close")
    return [("error", answer[1]) for answer in answers]
