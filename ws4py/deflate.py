"""permessage-deflate (:rfc:`7692`): messages that are compressed.

:class:`PerMessageDeflate` is what a client offers, or what a server accepts. What both have agreed
on stands in one element of the response's Sec-WebSocket-Extensions. Of that each side makes a
:class:`Deflater` for what it sends, and an :class:`Inflater` for what it receives.

What is compressed can refer back to earlier messages ("context takeover"), so a deflater's messages
have to reach the peer in the order in which they were compressed. But nothing has to refer back:
a deflater may forget at any time what it has compressed. An inflater may not, unless the peer has
promised to begin anew with each message.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Optional, Union

from ws4py.exc import InvalidBytesError
from ws4py.framing import RSV1, Fragments
from ws4py.headers import Extension, parse_extensions
from ws4py.limits import is_amount

__all__ = ["Compression", "Deflater", "Inflater", "PerMessageDeflate", "read_compression"]

NAME = "permessage-deflate"

#: The parameters without a value.
_FLAGS = ("server_no_context_takeover", "client_no_context_takeover")

#: What every compressed message ends with, and leaves out (:rfc:`7692#section-7.2.1`).
_TAIL = b"\x00\x00\xff\xff"
#: Bytes that are inflated at once, and bytes of which that is done.
PIECE, _INPUT = 64 * 1024, 8 * 1024
#: The base-2 logarithms of LZ77 windows; zlib cannot compress with the smallest that there is.
_SMALLEST, _LEAST, _LARGEST = 8, 9, 15


class Agreed(NamedTuple):
    """The parameters that a client and a server have agreed on (:rfc:`7692#section-7.1`)."""

    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False
    server_max_window_bits: int = _LARGEST
    client_max_window_bits: int = _LARGEST


@dataclass(frozen=True)
class PerMessageDeflate:
    """How messages are compressed, where the peer agrees; ``"deflate"`` stands for the defaults.

    Raises:
        TypeError: A flag is not a bool.
        ValueError: Another value is not one of those that are named below.
    """

    #: Whether the server forgets each message: the context costs memory, and saves bytes.
    server_no_context_takeover: bool = False
    #: Whether the client does so.
    client_no_context_takeover: bool = False
    #: The base-2 logarithm of how far back, in bytes, what the server sends may refer: 9 to 15.
    server_max_window_bits: int = 12
    #: The same for what the client sends. A client that cannot be told so may go as far as it can.
    client_max_window_bits: int = 12
    #: Bytes; smaller messages go uncompressed.
    threshold: int = 256
    #: How much effort is made for few bytes: 1 (least) to 9, as zlib has it.
    level: int = 6
    #: How much memory is used for that: 1 (least) to 9, as zlib has it.
    memory_level: int = 5
    #: Seconds after the last compressed message until what is kept for the next one is let go of;
    #: None to keep it. This affects what is sent, and needs nothing of the peer.
    idle_release: float | None = 30.0

    def __post_init__(self) -> None:
        for field in fields(self):
            _check(field.name, getattr(self, field.name))

    def offer(self) -> list[Extension]:
        """Return what a client offers, the preferred one first.

        A server that cannot limit its window may take the second one.
        """
        flags: list[tuple[str, str | None]] = [
            (name, None) for name in _FLAGS if getattr(self, name)
        ]
        server, client = self.server_max_window_bits, self.client_max_window_bits
        ours = ("client_max_window_bits", None if client == _LARGEST else str(client))
        offers = [Extension(NAME, [*flags, ours])]
        if server != _LARGEST:
            limit = ("server_max_window_bits", str(server))
            offers.insert(0, Extension(NAME, [*flags, limit, ours]))
        return offers

    def accept(self, offers: Iterable[Extension]) -> Extension | None:
        """Return a server's answer to the first of ``offers`` that it can accept, if there is one.

        "A server MUST decline an extension negotiation offer for this extension" with a parameter
        that is unknown, repeated or has a value it cannot have (:rfc:`7692#section-7`).
        """
        for offer in offers:
            asked = _read(offer)
            if asked is not None and asked.get("server_max_window_bits") != _SMALLEST:
                return self._answer(asked)
        return None

    def _answer(self, asked: dict[str, int | None]) -> Extension:
        parameters: list[tuple[str, str | None]] = [
            (name, None) for name in _FLAGS if name in asked or getattr(self, name)
        ]
        server = min(self.server_max_window_bits, asked.get("server_max_window_bits") or _LARGEST)
        if server != _LARGEST or "server_max_window_bits" in asked:
            parameters.append(("server_max_window_bits", str(server)))
        # A client that does not offer this one cannot be told.
        client = min(self.client_max_window_bits, asked.get("client_max_window_bits") or _LARGEST)
        if client != _LARGEST and "client_max_window_bits" in asked:
            parameters.append(("client_max_window_bits", str(client)))
        return Extension(NAME, parameters)

    def confirm(self, answers: Sequence[Extension]) -> list[Extension]:
        """Judge what a server's answer says of this extension; return what it says of others.

        Raises:
            ValueError: It is no answer to what :meth:`offer` returns, or there are two.
        """
        ours = [answer for answer in answers if answer.name == NAME]
        for answer in ours:
            agreed = _read(answer)
            if agreed is None or None in (agreed.get(name, 0) for name in _WINDOWS):
                raise ValueError(f"'{answer}' is no answer that a server can give")
            # "A server accepts an … offer that includes the 'server_no_context_takeover' … by
            # including" it (section 7.1.1.1).
            if self.server_no_context_takeover and "server_no_context_takeover" not in agreed:
                raise ValueError(f"'{answer}' keeps the context, which was not offered")
        if len(ours) > 1:
            raise ValueError(f"{NAME} is used twice")
        return [answer for answer in answers if answer.name != NAME]

    def codecs(self, extensions: Iterable[str], is_client: bool) -> Codecs:
        """Return what compresses what one side sends, and what inflates what it receives.

        Args:
            extensions: The elements of the server's answer. Without this one there are no codecs.
        """
        agreed = _agreed(extensions)
        if agreed is None:
            return None, None
        # A server need not repeat what a client has said of itself (section 7.1.1.2).
        (bits, keeps), (own_bits, own_keeps) = (
            _sent_by(each, is_client) for each in (agreed, self)
        )
        bits = min(bits, own_bits)
        # What zlib has no window for is sent uncompressed, which is always allowed.
        deflater = None if bits < _LEAST else Deflater(self, bits, keeps and own_keeps)
        return deflater, Inflater(*_sent_by(agreed, not is_client))


#: What ``compression=`` takes, everywhere.
Compression = Optional[Union[str, PerMessageDeflate]]


def read_compression(
    value: Compression, extensions: Sequence[str] = ()
) -> PerMessageDeflate | None:
    """Return what ``value`` stands for.

    Args:
        extensions: The names of others.

    Raises:
        ValueError: It is neither None, ``"deflate"`` nor a PerMessageDeflate; or the others name
            this extension too.
    """
    if value is not None and NAME in extensions:
        raise ValueError(f"{NAME} is both among the extensions and what compression= is for")
    if value == "deflate":
        return PerMessageDeflate()
    if value is None or isinstance(value, PerMessageDeflate):
        return value
    raise ValueError(f"compression={value!r} is neither 'deflate' nor a PerMessageDeflate")


_WINDOWS = {
    "server_max_window_bits": range(_LEAST, _LARGEST + 1),
    "client_max_window_bits": range(_LEAST, _LARGEST + 1),
}
_RANGES = {**_WINDOWS, "level": range(1, 10), "memory_level": range(1, 10)}


def _check(name: str, value: object) -> None:
    if name in _FLAGS:
        if not isinstance(value, bool):
            raise TypeError(f"{name} is True or False and not {value!r}")
    elif name in _RANGES:
        if type(value) is not int or value not in _RANGES[name]:
            raise ValueError(f"{name} is {_RANGES[name][0]} to {_RANGES[name][-1]}, not {value!r}")
    elif not (is_amount(value) or (name == "idle_release" and value is None)):
        raise ValueError(f"{name} is a number, 0 or more, and not {value!r}")


def _read(extension: Extension) -> dict[str, int | None] | None:
    """Return the parameters of an offer or an answer; None if it is not one that is valid.

    Only in an offer, client_max_window_bits may have no value.
    """
    read: dict[str, int | None] = {}
    for name, value in extension.parameters:
        bits = None if value is None else _BITS.get(value)
        is_flag = name in _FLAGS
        if name in read or not (is_flag or name in _WINDOWS):
            return None
        if value is None:
            valid = name != "server_max_window_bits"
        else:
            valid = bits is not None and not is_flag
        if not valid:
            return None
        read[name] = bits
    return read if extension.name == NAME else None


def _sent_by(parameters: Agreed | PerMessageDeflate, is_client: bool) -> tuple[int, bool]:
    """Return the window's bits of what one side sends, and whether it keeps its context."""
    if is_client:
        return parameters.client_max_window_bits, not parameters.client_no_context_takeover
    return parameters.server_max_window_bits, not parameters.server_no_context_takeover


def _agreed(extensions: Iterable[str]) -> Agreed | None:
    for extension in parse_extensions(", ".join(extensions)):
        parameters = _read(extension)
        if parameters is not None:
            values: dict[str, Any] = {
                name: True if bits is None else bits for name, bits in parameters.items()
            }
            return Agreed(**values)
    return None


#: "A decimal integer value without leading zeroes between 8 to 15" (:rfc:`7692#section-7.1.2.1`).
_BITS = {str(bits): bits for bits in range(_SMALLEST, _LARGEST + 1)}


class Deflater:
    """Compresses messages, each of which is sent before the next one is compressed.

    Args:
        bits: The base-2 logarithm of the window.
        keeps_context: Whether a message may refer back to those before it.
    """

    def __init__(self, config: PerMessageDeflate, bits: int, keeps_context: bool) -> None:
        self.threshold = config.threshold
        #: Seconds until :meth:`release` is due; None if there is nothing to let go of.
        self.idle_release = config.idle_release if keeps_context else None
        self.keeps_context = keeps_context
        #: Those with the same ones compress a message to the same bytes, if no context is kept.
        self.parameters = config.level, bits, config.memory_level
        self._compressor: zlib._Compress | None = None

    def encode(self, payload: bytes, fin: bool = True) -> bytes:
        """Compress a message; or a fragment of one, the last one with ``fin``."""
        compressor = self._compressor
        if compressor is None:
            compressor = self._compressor = self._make()
        try:
            # A fragment is flushed, so that the peer can read it when it comes.
            data = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
        except BaseException:
            self.release()  # It may refer to what will not be sent.
            raise
        if not fin:
            return data
        if not self.keeps_context:
            self._compressor = None
        # There is nothing to flush after a flush: then an empty block is made by hand.
        return data[: -len(_TAIL)] if data else b"\x00"

    def encode_fragments(self, fragments: Iterable[tuple[int, bytes, bool]]) -> Fragments:
        """Compress the frames of a message as they are pulled, unless it is a small one."""
        rsv1 = RSV1
        for opcode, payload, fin in fragments:
            if rsv1 and fin and len(payload) < self.threshold:
                yield opcode, payload, fin
                return
            yield opcode | rsv1, self.encode(payload, fin), fin
            rsv1 = 0

    def encode_alone(self, payload: bytes) -> bytes:
        """Compress a message that refers to no other one, whatever else is being compressed."""
        compressor = self._make()
        return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH))[: -len(_TAIL)]

    def release(self) -> None:
        """Let go of what is kept between messages, which the next one will not refer to."""
        self._compressor = None

    def _make(self) -> zlib._Compress:
        level, bits, memory_level = self.parameters
        return zlib.compressobj(level, zlib.DEFLATED, -bits, memory_level)


class Inflater:
    """Inflates the messages of a peer, in their order.

    Args:
        bits: The base-2 logarithm of the peer's window.
        keeps_context: Whether a message may refer back to those before it.
    """

    def __init__(self, bits: int, keeps_context: bool) -> None:
        # Old releases of zlib take 9 for 8, and tell nobody.
        self._bits = max(bits, _LEAST)
        self._keeps_context = keeps_context
        self._decompressor: zlib._Decompress | None = None

    def decode(self, payload: bytes, last: bool) -> Iterator[bytes]:
        """Inflate a part of a message, piece by piece, each of at most ``PIECE`` bytes.

        Args:
            last: Whether the message ends with it.

        Raises:
            InvalidBytesError: It is not what DEFLATE makes (:rfc:`1951`).
        """
        if last:
            payload += _TAIL
        # What is left over is copied for each piece, so there is never much of it.
        for start in range(0, len(payload), _INPUT):
            yield from self._decode(payload[start : start + _INPUT])
        if last and not self._keeps_context:
            self._decompressor = None

    def _decode(self, data: bytes) -> Iterator[bytes]:
        while True:
            decompressor = self._decompressor
            if decompressor is None:
                decompressor = self._decompressor = zlib.decompressobj(-self._bits)
            try:
                piece = decompressor.decompress(data, PIECE)
            except zlib.error as error:
                raise InvalidBytesError(f"a compressed message is broken: {error}") from error
            if decompressor.eof:
                # A block with the BFINAL bit; "the next DEFLATE block follows" (RFC 7692 7.2.1).
                self._decompressor, data = None, decompressor.unused_data
            else:
                data = decompressor.unconsumed_tail
            yield piece
            if not data and len(piece) < PIECE:
                return


Codecs = tuple[Optional[Deflater], Optional[Inflater]]
