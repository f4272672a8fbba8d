"""ws4py, broken on purpose: what shows that the attacks would notice.

Each mutant lacks one defence, in the process that is attacked; its class of attacks has to fail.
"""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

from test.hostile import (
    CLIENT,
    CLOSING,
    DEFLATE,
    FLOODS,
    FRAMES,
    HANDSHAKE,
    ISOLATION,
    SERVER,
    UTF8,
    apps,
)
from ws4py import _tls, deflate, framing, handshake, sending, state, streaming
from ws4py.closing import Closing
from ws4py.deflate import Deflater, Inflater, PerMessageDeflate
from ws4py.framing import OPCODE_PONG, RSV1
from ws4py.handshake import ServerHandshake
from ws4py.heads import HeadReader
from ws4py.loop import Loop
from ws4py.manager import WebSocketManager
from ws4py.messaging import ABNORMAL
from ws4py.outgoing import Outgoing
from ws4py.server import standalone
from ws4py.streaming import Stream
from ws4py.transport import PlainTransport, Transport
from ws4py.websocket import WebSocket


@dataclass(frozen=True)
class Mutant:
    """One defence less.

    Attributes:
        kind: The class of attacks that has to notice.
        title: Those of that class that are tried: what their names begin with.
        apply: Breaks ws4py in this process.
    """

    kind: str
    title: str
    apply: Callable[[], None]
    role: str = SERVER
    engine: str = "standalone"


MUTANTS: dict[str, Mutant] = {}


def mutant(
    kind: str, title: str, role: str = SERVER, engine: str = ""
) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Put a mutant into MUTANTS."""

    def add(apply: Callable[[], None]) -> Callable[[], None]:
        where = engine or ("standalone" if role == SERVER else "threaded")
        MUTANTS[apply.__name__] = Mutant(kind, title, apply, role, where)
        return apply

    return add


def without(**limits: Any) -> None:
    apps.LIMITS = replace(apps.LIMITS, **dict.fromkeys(limits))


def nothing(*_args: Any, **_kwargs: Any) -> None:
    """Do nothing."""


# Limits.


@mutant(FRAMES, "a message at the limit passes")
def no_max_message_size() -> None:
    without(max_message_size=None)


@mutant(FRAMES, "too many fragments")
def no_max_fragments() -> None:
    without(max_fragments=None)


@mutant(HANDSHAKE, "who sends a byte now and then is dropped")
def no_open_timeout() -> None:
    without(open_timeout=None)


@mutant(CLOSING, "a peer that does not end the connection")
def no_close_timeout() -> None:
    without(close_timeout=None)


@mutant(FLOODS, "sixty four mebibytes")
def no_write_timeout() -> None:
    without(write_timeout=None)


@mutant(FLOODS, "three hundred idle connections")
def no_heartbeat() -> None:
    apps.HEARTBEAT = 0


@mutant(HANDSHAKE, "a head has no end")
def endless_heads() -> None:
    HeadReader._count = nothing  # type: ignore[method-assign]


# Frames.


@mutant(FRAMES, "a frame masked as the other role")
def masks_unchecked() -> None:
    def decode(buf: bytes, pos: int, complaints: Any) -> Any:
        missing, fin, opcode, length, key, start = framing.decode_header(buf, pos, complaints)
        return missing, fin, opcode, length, key or bytes(4), start

    streaming.decode_header = decode  # type: ignore[assignment]


def accept_first_bytes(accepted: Callable[[int], bool]) -> None:
    streaming.PLAIN = tuple(
        None if accepted(first) else complaint for first, complaint in enumerate(framing.PLAIN)
    )


@mutant(FRAMES, "a reserved bit")
def reserved_bits_accepted() -> None:
    accept_first_bytes(lambda first: first & 0xF in framing.OPCODES)


@mutant(FRAMES, "a reserved opcode")
def reserved_opcodes_accepted() -> None:
    accept_first_bytes(lambda first: not first & 0x70 and first >> 7 == 1)


@mutant(FRAMES, "a fragmented control frame")
def fragmented_control_frames_accepted() -> None:
    accept_first_bytes(lambda first: not first & 0x70 and first & 0xF in framing.OPCODES)


@mutant(FRAMES, "a length in more bytes")
def long_lengths_accepted() -> None:
    framing._decode_length = lambda field: int.from_bytes(field, "big") & ((1 << 63) - 1)


@mutant(FRAMES, "a continuation of nothing")
def fragments_in_any_order() -> None:
    Stream._admit = nothing  # type: ignore[method-assign]


@mutant(FRAMES, "the close arrives although much is in flight")
def close_without_draining() -> None:
    refuse = WebSocket._refuse

    def refuse_and_end(self: WebSocket, error: Any) -> None:
        refuse(self, error)
        self._end()

    WebSocket._refuse = refuse_and_end  # type: ignore[method-assign]


# Text.


@mutant(UTF8, "text that is not utf8")
def text_unchecked() -> None:
    Stream._validate = nothing  # type: ignore[method-assign]


@mutant(UTF8, "right text split everywhere")
def text_checked_in_pieces() -> None:
    def validate(_self: Stream, payload: bytes, _last: int) -> None:
        try:
            payload.decode()
        except UnicodeDecodeError as error:
            raise streaming.TextFrameEncodingException("not UTF-8") from error

    Stream._validate = validate  # type: ignore[method-assign]


# Closing.


@mutant(CLOSING, "a code that may not be sent")
def close_codes_unchecked() -> None:
    streaming.is_valid_closing_code = lambda _code: True


@mutant(UTF8, "a reason that is not utf8")
def reasons_unchecked() -> None:
    class Anything(bytes):
        def __getitem__(self, key: Any) -> Any:
            return Anything(super().__getitem__(key)) if isinstance(key, slice) else self[key]

        def decode(self, *_: Any) -> str:  # type: ignore[override]
            return ""

    parse_close = streaming._parse_close
    streaming._parse_close = lambda payload: parse_close(Anything(payload))


@mutant(CLOSING, "an empty close")
def a_close_unanswered() -> None:
    def close(self: Closing, *_args: Any, **_kwargs: Any) -> None:
        self._close_sent = True

    Closing._close = close  # type: ignore[method-assign]


# Floods.


@mutant(FLOODS, "pings of those who do not read")
def pongs_queued() -> None:
    def send_pong(self: Any, payload: bytes) -> None:
        if not isinstance(self._outgoing, bytearray):
            self._outgoing = bytearray(self._outgoing)
        self._outgoing += b"".join(self._build(OPCODE_PONG, payload))
        self._settle()

    sending.Sender._send_pong = send_pong  # type: ignore[method-assign]
    # On a slow machine it would be the time that bounds how many there are.
    without(write_timeout=None, heartbeat_timeout=None)


@mutant(FLOODS, "sixty four mebibytes")
def peers_read_without_end() -> None:
    WebSocket._has_room = lambda _self: True  # type: ignore[method-assign]
    Outgoing._make_room = lambda _self: True  # type: ignore[method-assign]


@mutant(FLOODS, "a server without descriptors")
def no_rest_when_descriptors_have_run_out() -> None:
    standalone.EXHAUSTED = frozenset()


@mutant(FLOODS, "connections that come and go")
def descriptors_kept() -> None:
    kept = []

    def close(self: Transport) -> None:
        kept.append(self.sock)
        self.shutdown()

    for kind in (Transport, *Transport.__subclasses__()):
        kind.close = close  # type: ignore[method-assign]


# Isolation.


@mutant(ISOLATION, "an exception ends its own connection")
def closed_raises_through() -> None:
    def tell_closed(self: Closing, let_go: Callable[[], None]) -> None:
        self.closed(self.close_code or ABNORMAL, self.close_reason)
        let_go()

    Closing._tell_closed = tell_closed  # type: ignore[method-assign]
    Loop.call = lambda _, callback, *rest: callback(*rest)  # type: ignore[method-assign]
    WebSocketManager._terminate = (  # type: ignore[method-assign]
        lambda _, websocket: websocket.terminate()
    )


@mutant(ISOLATION, "an exception ends its own connection")
def callbacks_raise_through() -> None:
    def call(_self: WebSocket, callback: Callable[..., Any], *arguments: Any) -> None:
        callback(*arguments)

    WebSocket._call = call  # type: ignore[method-assign]


class NoLock:
    """Locks nothing."""

    acquire = release = __exit__ = nothing

    def __enter__(self) -> None:
        """Do nothing."""


@mutant(ISOLATION, "messages of several threads")
def lock_removed() -> None:
    write = PlainTransport.write

    def write_and_give_way(self: PlainTransport, *parts: Any) -> int:
        sent = write(self, *parts)
        # Others have their turn here anyhow, now and then; before a rest is queued, it shows.
        time.sleep(0.05 if 0 < sent < sum(map(len, parts)) else random.random() / 500)
        return sent

    PlainTransport.write = write_and_give_way  # type: ignore[method-assign]
    state.Lock = NoLock  # type: ignore[misc, assignment]


@mutant(ISOLATION, "a slow reader of broadcasts", engine="gunicorn-gthread")
def broadcasts_wait() -> None:
    without(write_timeout=None, heartbeat_timeout=None)  # It waits for as long as it takes.
    sending.broadcasting = nullcontext  # type: ignore[assignment]


# Compression.


@mutant(DEFLATE, "an inflated message at the limit")
def no_limit_of_what_is_inflated() -> None:
    without(max_message_size=None)


def accept_rsv1_of(accepted: Callable[[int], bool]) -> None:
    streaming.COMPRESSED = tuple(
        framing.PLAIN[first & ~RSV1] if accepted(first & 0xF) else complaint
        for first, complaint in enumerate(framing.COMPRESSED)
    )

    def decode(buf: bytes, pos: int, complaints: Any) -> Any:
        missing, fin, opcode, *rest = framing.decode_header(buf, pos, complaints)
        return (missing, fin, opcode & ~RSV1 if accepted(opcode & 0xF) else opcode, *rest)

    streaming.decode_header = decode  # type: ignore[assignment]


@mutant(DEFLATE, "a reserved bit where")
def rsv1_accepted_of_continuations() -> None:
    accept_rsv1_of(lambda opcode: opcode == 0)


@mutant(DEFLATE, "a reserved bit where")
def rsv1_accepted_of_control_frames() -> None:
    accept_rsv1_of(lambda opcode: opcode >= 8)


def make_inflaters(change: Callable[[int, bool], tuple[int, bool]]) -> None:
    make = Inflater.__init__

    def init(self: Inflater, bits: int, keeps_context: bool) -> None:
        make(self, *change(bits, keeps_context))

    Inflater.__init__ = init  # type: ignore[method-assign]


@mutant(DEFLATE, "references to what need not")
def context_kept_where_none_is() -> None:
    make_inflaters(lambda bits, _: (bits, True))


@mutant(DEFLATE, "messages that refer to each other")
def context_forgotten() -> None:
    make_inflaters(lambda bits, _: (bits, False))


@mutant(DEFLATE, "references to what need not")
def windows_larger_than_agreed() -> None:
    make_inflaters(lambda _, keeps_context: (15, keeps_context))


@mutant(DEFLATE, "messages that refer to each other", role=CLIENT)
def tail_forgotten() -> None:
    deflate._TAIL = b""


@mutant(DEFLATE, "blocks that say they are the last")
def nothing_read_behind_a_last_block() -> None:
    decode = Inflater._decode

    def decode_one(self: Inflater, data: bytes) -> Any:
        for piece in decode(self, data):
            yield piece
            if self._decompressor is None:
                return

    Inflater._decode = decode_one  # type: ignore[method-assign]


@mutant(DEFLATE, "contexts go with their connections")
def contexts_kept() -> None:
    kept = []
    codecs = PerMessageDeflate.codecs

    def keep(self: PerMessageDeflate, *args: Any) -> Any:
        kept.append(codecs(self, *args))
        return kept[-1]

    PerMessageDeflate.codecs = keep  # type: ignore[method-assign]


@mutant(ISOLATION, "compressed messages of several threads")
def compressed_before_their_turn() -> None:
    def send(self: Any, deflater: Deflater, payload: bytes, binary: bool) -> None:
        data = deflater.encode(payload)
        time.sleep(random.random() / 500)
        self._send_frame((2 if binary else 1) | RSV1, data)

    sending.Sender._send_compressed = send  # type: ignore[method-assign]


@mutant(DEFLATE, "a broadcast is right")
def broadcasts_compressed_for_anybody() -> None:
    Deflater.encode_alone = (  # type: ignore[method-assign]
        lambda self, payload: Deflater(PerMessageDeflate(), 15, False).encode(payload)
    )


def read_all(extension: Any) -> Any:
    """Take each parameter that there is as it is, and no other one."""
    found = {name: deflate._BITS.get(value or "") for name, value in extension.parameters}
    known = {name: found[name] for name in deflate.Agreed._fields if name in found}
    return known if extension.name == deflate.NAME else None


@mutant(DEFLATE, "offers that are declined")
def offers_unchecked() -> None:
    deflate._read = read_all


@mutant(DEFLATE, "answers that are none", role=CLIENT)
def answers_of_compression_unchecked() -> None:
    deflate._read = read_all


@mutant(DEFLATE, "offers that are malformed")
def extensions_malformed() -> None:
    parse = handshake.parse_extensions

    def lenient(value: str) -> Any:
        try:
            return parse(value)
        except ValueError:
            return []

    handshake.parse_extensions = lenient


# Opening handshakes.


@mutant(HANDSHAKE, "a version is another")
def keys_and_versions_unchecked() -> None:
    handshake._require_key = lambda environ: environ.get("HTTP_SEC_WEBSOCKET_KEY", "")


@mutant(HANDSHAKE, "a request has a length")
def bodies_accepted() -> None:
    handshake._require_no_body = nothing


@mutant(HANDSHAKE, "an origin is another")
def origins_unchecked() -> None:
    ServerHandshake._require_origin = nothing  # type: ignore[method-assign]


@mutant(HANDSHAKE, "an accept that proves nothing", role=CLIENT)
def answers_unchecked() -> None:
    handshake.check_response = lambda *_: ([], [])


@mutant(FRAMES, "masking keys can be foreseen", role=CLIENT)
def masking_keys_known() -> None:
    sending.urandom = lambda size: b"\x01\x02\x03\x04"[:size]


@mutant(HANDSHAKE, "keys of handshakes can be foreseen", role=CLIENT)
def handshake_keys_known() -> None:
    handshake.urandom = bytes


@mutant(HANDSHAKE, "a certificate that proves nothing", role=CLIENT)
def certificates_unchecked() -> None:
    def context(*_args: Any) -> ssl.SSLContext:
        return ssl._create_unverified_context()

    _tls.client_context = context


@mutant(FRAMES, "a frame masked as the other role", role=CLIENT)
def masks_of_a_server_unchecked() -> None:
    def decode(buf: bytes, pos: int, complaints: Any) -> Any:
        missing, fin, opcode, length, _, start = framing.decode_header(buf, pos, complaints)
        return missing, fin, opcode, length, b"", start

    streaming.decode_header = decode  # type: ignore[assignment]
