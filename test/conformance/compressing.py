"""Compressed messages (RFC 7692), seen by a peer that compresses with zlib alone."""

from __future__ import annotations

import gc
import random
import re
import threading
import weakref
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from test.conformance import BINARY, CLOSE, PING, PONG, TEXT, Echo, Link, Peer, end
from test.conformance.serving import with_headers
from test.helpers import TIMEOUT, Recorder, echo_server, eventually
from ws4py.deflate import PerMessageDeflate
from ws4py.sending import broadcast

RSV1, TAIL = 0x40, b"\x00\x00\xff\xff"
OFFER = with_headers(b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")

#: What both sides agree on, and what the one that is tested is asked to do.
KEEPS = ("permessage-deflate", {"server_max_window_bits": 15, "client_max_window_bits": 15})
FORGETS = (
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; "
    "server_max_window_bits=9; client_max_window_bits=9",
    {
        "server_no_context_takeover": True,
        "client_no_context_takeover": True,
        "server_max_window_bits": 9,
        "client_max_window_bits": 9,
    },
)
THRESHOLD = PerMessageDeflate().threshold

Agreement = tuple[str, dict[str, Any]]


class Received(NamedTuple):
    """A message as it came.

    Attributes:
        size: How many bytes its payload took, before it was inflated.
        fragments: In how many frames it came.
        between: The control frames between those.
    """

    opcode: int
    payload: bytes
    is_compressed: bool
    size: int
    fragments: int
    between: list[tuple[int, bytes]]


class Half:
    """One direction: the window that was agreed on, and whether there is a context."""

    def __init__(self, agreed: str, sender: str) -> None:
        found = re.search(rf"{sender}_max_window_bits=(\d+)", agreed)
        self._bits = -int(found[1]) if found else -15
        self._forgets = f"{sender}_no_context_takeover" in agreed
        self._deflater: Any = None
        self._inflater: Any = None

    def deflate(self, payload: bytes, fin: int = 1) -> bytes:
        deflater = self._deflater or zlib.compressobj(6, zlib.DEFLATED, self._bits)
        self._deflater = None if fin and self._forgets else deflater
        data: bytes = deflater.compress(payload) + deflater.flush(zlib.Z_SYNC_FLUSH)
        return data[:-4] if fin else data

    def inflate(self, data: bytes, fin: int = 1) -> bytes:
        inflater = self._inflater or zlib.decompressobj(self._bits)
        self._inflater = None if fin and self._forgets else inflater
        payload: bytes = inflater.decompress(data + (TAIL if fin else b""))
        return payload


class DeflatingPeer:
    """A peer that compresses, and reads whole messages."""

    def __init__(self, peer: Peer, agreed: str) -> None:
        self.peer = peer
        halves = Half(agreed, "client"), Half(agreed, "server")
        self._sends, self._receives = halves if peer.masks else halves[::-1]

    def send(self, opcode: int, payload: bytes, fin: int = 1) -> None:
        """Send a message compressed; or a fragment of one, the later ones with opcode 0."""
        frame = bytearray(self.peer.build(opcode, self._sends.deflate(payload, fin), fin))
        frame[0] |= RSV1 if opcode else 0
        self.peer.sock.sendall(frame)

    def message(self) -> Received:
        """Read a message, or a control frame that is not within one."""
        payload, size, fragments, between = b"", 0, 0, []
        first = opcode = fin = 0
        while not fin:
            head, data = self.peer.read()
            if head & 0x8 and fragments:
                between.append((head & 0xF, data))
                continue
            first = first or head
            opcode, fin = first & 0xF, head >> 7
            assert fragments == 0 or head & 0x7F == 0, "a fragment is no continuation"
            size, fragments = size + len(data), fragments + 1
            payload += self._receives.inflate(data, fin) if first & RSV1 else data
        return Received(opcode, payload, bool(first & RSV1), size, fragments, between)

    def expect(self, opcode: int, payload: bytes, is_compressed: bool) -> Received:
        """Read the message that there should be."""
        received = self.message()
        assert (received.opcode, received.is_compressed) == (opcode, is_compressed)
        assert received.payload == payload
        return received


def compress(link: Link, behaviour: type, agreement: Agreement = KEEPS, **options: Any) -> Any:
    """Return a websocket that compresses, and its peer, which does so too."""
    agreed, parameters = agreement
    answer = f"Sec-WebSocket-Extensions: {agreed}\r\n".encode()
    compression = PerMessageDeflate(**parameters, **options)
    ws, peer = link(behaviour, request=OFFER, answer=answer, compression=compression)
    check_agreed(link, ws, agreed)
    return ws, DeflatingPeer(peer, agreed)


def check_agreed(link: Link, ws: Any, agreed: str) -> None:
    assert ws.extensions == [agreed]
    offers_or_answers = link.head.decode().lower()
    assert "\r\nsec-websocket-extensions: permessage-deflate" in offers_or_answers
    if not link.engine.is_client:
        assert f"\r\nsec-websocket-extensions: {agreed}\r\n" in offers_or_answers


def zlib_of(ws: Any) -> Callable[[], bool]:
    """Return what says whether the codecs of a connection are still there."""
    codecs = [weakref.ref(ws._deflater), weakref.ref(ws.stream.inflater)]

    def is_there() -> bool:
        gc.collect()
        return any(each() is not None for each in codecs)

    return is_there


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def prose(name: str, number: int, size: int) -> bytes:
    """Return a message that can be told from others, and be compressed."""
    chance = random.Random(f"{name} {number}")
    words = " ".join(chance.choices(["the", "quick", "brown", "fox", "jumps"], k=size // 5))
    return f"{name} {number} {words}".encode()


PAYLOADS = [
    (opcode, payload)
    for opcode in (TEXT, BINARY)
    for payload in (
        b"",
        b"a",
        b"a" * (THRESHOLD - 1),
        b"a" * THRESHOLD,
        prose("text", 1, 70_000),
        prose("text", 2, 1 << 20),
    )
] + [(BINARY, noise(1000)), (BINARY, noise(66_000))]


def exchange_all(peer: DeflatingPeer) -> None:
    """Send messages of all kinds, compressed and not, to an echo that compresses."""
    for opcode, payload in PAYLOADS:
        peer.send(opcode, payload)
        peer.expect(opcode, payload, len(payload) >= THRESHOLD)
        peer.peer.send(opcode, payload[:70_000])
        peer.expect(opcode, payload[:70_000], len(payload) >= THRESHOLD)


def send_fragments(peer: DeflatingPeer) -> None:
    """Send a compressed message in fragments, with a Ping between them."""
    peer.send(TEXT, b"one " * 100, fin=0)
    peer.peer.send(PING, b"?")
    assert peer.message()[:2] == (PONG, b"?")
    peer.send(0, b"", fin=0)
    peer.send(0, b"two " * 100)
    peer.expect(TEXT, b"one " * 100 + b"two " * 100, True)


def receive_fragments(ws: Any, peer: DeflatingPeer) -> None:
    """Receive a compressed message that a generator makes, with a Ping between its fragments."""

    def chunks() -> Iterator[Any]:
        yield "one " * 100
        yield b""  # Now the first one is sent: it is known not to be the last.
        ws.ping("between")
        yield bytearray(b"two " * 100)

    ws.send(chunks())
    received = peer.expect(TEXT, b"one " * 100 + b"two " * 100, True)
    assert (received.fragments, received.between) == (3, [(PING, b"between")])


def check_context(ws: Any, peer: DeflatingPeer, keeps: bool) -> None:
    """See whether a message refers to the one before it, and what is kept for that."""
    sizes = []
    for _ in range(2):
        peer.send(BINARY, noise(2000, 2))
        sizes.append(peer.expect(BINARY, noise(2000, 2), True).size)
    assert sizes[0] > 2000
    assert (sizes[1] < 100) is keeps
    assert (ws._deflater._compressor is not None) is keeps
    assert (ws.stream.inflater._decompressor is not None) is keeps


class Compressing:
    """What is compressed, how it is inflated, and what is kept for that."""

    @pytest.mark.parametrize("agreement", [KEEPS, FORGETS], ids=["keeps", "forgets"])
    def test_messages_of_all_kinds_are_compressed_in_both_directions(
        self, plain_link: Link, agreement: Agreement
    ) -> None:
        ws, peer = compress(plain_link, Echo, agreement)
        has_zlib = zlib_of(ws)
        exchange_all(peer)
        send_fragments(peer)
        receive_fragments(ws, peer)
        check_context(ws, peer, keeps=agreement is KEEPS)
        for payload in ("a secret " * 100, (chunk for chunk in ("a secret " * 50,) * 2)):
            ws.send(payload, compress=False)
            peer.expect(TEXT, b"a secret " * 100, False)
        end(peer.peer)
        ws.all_events()
        eventually(lambda: not has_zlib(), "zlib's state is kept")

    def test_what_many_send_at_once_is_inflated_in_the_order_of_each(self, link: Link) -> None:
        ws, peer = compress(link, Echo)
        peer.peer.share()
        count = 30

        def message(name: str, number: int) -> bytes:
            return prose(name, number, 100 + number * 700)

        def halves(name: str, number: int) -> Iterator[bytes]:
            whole = message(name, number)
            yield whole[:100]
            yield whole[100:]

        senders: dict[str, Callable[[str, int], object]] = {
            "thread": lambda name, number: ws.send(message(name, number), True),
            "another": lambda name, number: ws.send(message(name, number), True),
            "generator": lambda name, number: ws.send(halves(name, number), True),
            "broadcast": lambda name, number: broadcast([ws], message(name, number), True),
            "loop": lambda name, number: peer.send(BINARY, message(name, number)),
        }

        def run(name: str) -> None:
            for number in range(count):
                senders[name](name, number)

        threads = [threading.Thread(target=run, args=(name,)) for name in senders]
        for thread in threads:
            thread.start()
        heard: dict[str, int] = dict.fromkeys(senders, 0)
        for _ in range(count * len(senders)):
            received = peer.message()
            name = received.payload.split(b" ")[0].decode()
            assert received.payload == message(name, heard[name])
            heard[name] += 1
        for thread in threads:
            thread.join(TIMEOUT)
            assert not thread.is_alive()

    def test_a_close_in_the_middle_of_a_compressed_message_ends_it(self, plain_link: Link) -> None:
        ws, peer = compress(plain_link, Recorder)
        has_zlib = zlib_of(ws)
        peer.send(TEXT, b"this has no end " * 100, fin=0)
        end(peer.peer, 4000)
        assert ws.all_events() == [("opened",), ("closed", 4000, "")]
        eventually(lambda: not has_zlib(), "zlib's state is kept")

    def test_a_close_comes_after_the_compressed_message_that_is_being_sent(
        self, plain_link: Link
    ) -> None:
        ws, peer = compress(plain_link, Recorder)
        has_begun, may_end = threading.Event(), threading.Event()

        def chunks() -> Iterator[bytes]:
            yield b"a beginning " * 100
            has_begun.set()
            may_end.wait(TIMEOUT)
            yield b" and an end" * 100

        sending = threading.Thread(target=ws.send, args=(chunks(),))
        sending.start()
        assert has_begun.wait(TIMEOUT)
        ws.close(4000)
        may_end.set()
        peer.expect(TEXT, b"a beginning " * 100 + b" and an end" * 100, True)
        assert peer.message()[:2] == (CLOSE, b"\x0f\xa0")
        sending.join(TIMEOUT)
        peer.peer.send_close(4000)
        peer.peer.leave()
        assert ws.all_events()[-1] == ("closed", 4000, "")

    def test_after_a_while_what_is_kept_is_let_go_of_and_not_referred_to(
        self, plain_link: Link
    ) -> None:
        ws, peer = compress(plain_link, Echo, idle_release=0.2)
        for _ in range(3):
            peer.send(BINARY, noise(2000))
            assert peer.expect(BINARY, noise(2000), True).size > 2000
            eventually(lambda: ws._deflater._compressor is None, "it is kept")

    def test_what_was_not_agreed_on_is_not_compressed(self, plain_link: Link) -> None:
        ws, peer = plain_link(Echo, compression="deflate")
        assert not ws.extensions
        peer.send(TEXT, b"hello " * 100)
        assert peer.message() == (TEXT, b"hello " * 100)

    def test_a_broadcast_is_compressed_for_those_that_have_agreed_on_that(
        self, plain_server_link: Link
    ) -> None:
        ws, first = compress(plain_server_link, Recorder)
        _, second = plain_server_link.again(request=OFFER)
        _, plain = plain_server_link.again()
        ws.send(prose("this", 1, 1000))
        first.expect(TEXT, prose("this", 1, 1000), True)
        for number in range(2):
            plain_server_link.served.broadcast(prose("that", number, 1000))
        for peer in (first, DeflatingPeer(second, KEEPS[0])):
            sizes = [peer.expect(TEXT, prose("that", n, 1000), True).size for n in range(2)]
            assert sizes[1] < sizes[0]
        assert plain.message() == (TEXT, prose("that", 0, 1000))

    def test_a_client_that_connects_again_compresses_without_what_was_before(
        self, plain_client_link: Link
    ) -> None:
        class Returns(Recorder):
            has_returned = False

            def closed(self, code: int, reason: str | None = None) -> Any:
                super().closed(code, reason)
                if self.has_returned:
                    return None
                self.has_returned = True
                return self.connect()  # type: ignore[attr-defined]

        engine = plain_client_link.engine
        with echo_server(compression="deflate") as server, engine.start(Returns, None) as connect:
            ws = connect(server.server_address[1], compression="deflate")
            for _ in range(2):
                assert ws.next_event() == ("opened",)
                assert ws.extensions[0].startswith("permessage-deflate")
                for _ in range(2):
                    ws.send(noise(1000), binary=True)
                    assert ws.next_event() == ("binary", noise(1000))
                ws.close(4000)
                assert ws.next_event() == ("closed", 4000, "")
