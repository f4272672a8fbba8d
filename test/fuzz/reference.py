"""A slow, obvious parser of everything one peer sends: :rfc:`6455#section-5`, :rfc:`7692`.

It has the whole byte stream in its hands, so it needs no state between
calls, no buffer and no generator. It is written from the RFCs alone and
imports nothing of ws4py: what both of them agree on is what the RFC says.

Events, in wire order, are plain tuples::

    ("text", data)  ("binary", data)  ("ping", data)  ("pong", data)
    ("close", code, reason)  ("error", close_code)

The first ``close`` or ``error`` is the last event. Every error also has the
name of the branch that found it, so that a campaign can count what it met.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from . import inflate

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
KNOWN_OPCODES = (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG)
RSV1 = 0x40  # says that a message is compressed (:rfc:`7692#section-6`)
NAMES = {TEXT: "text", BINARY: "binary", PING: "ping", PONG: "pong"}

Event = tuple[Any, ...]

BRANCHES = (
    "rsv",
    "reserved-opcode",
    "fragmented-control",
    "rsv1-misplaced",
    "long-control",
    "non-minimal-16",
    "non-minimal-64",
    "top-bit",
    "unmasked",
    "masked",
    "orphan-continuation",
    "interrupted",
    "too-many-fragments",
    "too-big",
    "inflated-too-big",
    "utf8-overlong",
    "utf8-surrogate",
    "utf8-beyond",
    "utf8-stray-tail",
    "utf8-bad-tail",
    "utf8-bad-byte",
    "utf8-truncated",
    "close-1-byte",
    "close-bad-code",
    "close-bad-reason",
    *inflate.BRANCHES,
)


class Outcome(NamedTuple):
    """What a stream means: its events, and the branch of its error if any.

    ``unread`` counts the bytes behind the last whole frame that was read. ``early`` is the error
    that a stream which ends inside a header is bound to become, however it goes on: a receiver
    may tell it already, or wait. ``keys`` are the masking keys of the frames that were read.
    ``others`` are events that are as right as these, where it is open what is found first.
    """

    events: list[Event]
    unread: int
    branch: str | None = None
    early: Event | None = None
    keys: Sequence[bytes] = ()
    others: Sequence[list[Event]] = ()


class Deflate(NamedTuple):
    """What a peer that compresses has promised: its window's bits, and to refer to no message."""

    bits: int = 15
    anew: bool = False


class Rules(NamedTuple):
    """Whom we listen to: does it have to mask, how much may it send, and may it compress?"""

    expect_masking: bool = True
    max_message_size: int | None = None
    max_fragments: int | None = None
    deflate: Deflate | None = None


class Header(NamedTuple):
    """The header of a frame. ``length`` is the declared one, ``end`` its end."""

    fin: bool
    rsv: int
    opcode: int
    masked: bool
    length: int
    length_bytes: int
    key: bytes
    end: int


class Violation(Exception):
    """The peer broke the rule ``branch``; it is told ``code``, or perhaps ``other``."""

    def __init__(self, code: int, branch: str, other: int | None = None) -> None:
        super().__init__(code, branch)
        self.code = code
        self.branch = branch
        self.other = other


class Exhausted(Exception):
    """The stream ends inside a payload."""


class HeaderExhausted(Exhausted):
    """The stream ends inside a header."""


def parse(stream: bytes, rules: Rules, strict: bool = True) -> Outcome:
    """Tell the events of ``stream``, up to its first close, error or its end.

    A receiver may keep more than the window that was agreed on, so that it can read what is
    refused here where this is ``strict``.
    """
    reading = _Reading(stream, rules, strict)
    branch = early = None
    others: list[list[Event]] = []
    try:
        while reading.pos < len(stream) and not reading.closed:
            reading.read_frame()
    except HeaderExhausted:
        early = reading.bound_to_become()
    except Exhausted:
        pass
    except Violation as violation:
        branch = violation.branch
        if violation.other is not None:
            others.append([*reading.events, ("error", violation.other)])
        elif branch == "deflate-beyond-window":
            lenient = parse(stream, rules, strict=False)
            others += [lenient.events, *lenient.others]
            others += [[*lenient.events, lenient.early]] if lenient.early else []
        reading.events.append(("error", violation.code))
    unread = len(stream) - reading.pos
    return Outcome(reading.events, unread, branch, early, reading.keys, others)


class _Reading:
    def __init__(self, stream: bytes, rules: Rules, strict: bool) -> None:
        self.stream = stream
        self.rules = rules
        self.strict = strict
        self.pos = 0
        self.events: list[Event] = []
        self.keys: list[bytes] = []
        self.closed = False
        self.forget_message()
        self.forget_context()

    def forget_message(self) -> None:
        self.opcode: int | None = None  # of the message in progress
        self.inflates = False
        self.data = b""
        self.fragments = 0

    def forget_context(self) -> None:
        if self.rules.deflate is not None:
            self.inflater = inflate.Inflater(self.rules.deflate.bits, self.strict)

    def read_frame(self) -> None:
        header = read_header(self.stream, self.pos)
        self.check(header)
        payload = self.stream[header.end : header.end + header.length]
        if header.masked:
            self.keys.append(header.key)
            payload = unmask(payload, header.key)
        whole = len(payload) == header.length
        if header.opcode < CLOSE:
            self.take_data(header, payload, whole)
        elif whole:
            self.take_control(header, payload)
        if not whole:
            raise Exhausted
        self.pos = header.end + header.length

    def bound_to_become(self) -> Event | None:
        """Tell the error, if any, that all ways to complete the last header lead to."""
        codes = set()
        for octet in (0, 1, 125, 126, 127, 128, 129, 253, 254, 255):
            for filler in (0, 1, 255):
                tail = bytes([octet] + [filler] * 13)
                try:
                    self.check(read_header(self.stream[self.pos :] + tail, 0))
                    return None
                except Violation as violation:
                    codes.add(violation.code)
        return ("error", codes.pop()) if len(codes) == 1 else None

    def check(self, header: Header) -> None:
        """Refuse a header: the order of the checks is the order of the faults."""
        check_header(header, self.rules)
        if header.opcode < CLOSE:
            self.check_order(header)
            self.check_limits(header)

    def check_order(self, header: Header) -> None:
        """Refuse a fragment at the wrong place: :rfc:`6455#section-5.4`."""
        if header.opcode == CONTINUATION and self.opcode is None:
            raise Violation(1002, "orphan-continuation")
        if header.opcode != CONTINUATION and self.opcode is not None:
            raise Violation(1002, "interrupted")

    def check_limits(self, header: Header) -> None:
        """Refuse what is over a limit. A message of exactly the limit passes."""
        fragments = self.rules.max_fragments
        if fragments is not None and self.fragments + 1 > fragments:
            raise Violation(1008, "too-many-fragments")
        if not self.inflates and not header.rsv and self.is_over(header.length):
            raise Violation(1009, "too-big")

    def is_over(self, more: int) -> bool:
        size = self.rules.max_message_size
        return size is not None and len(self.data) + more > size

    def take_data(self, header: Header, payload: bytes, whole: bool) -> None:
        if header.opcode != CONTINUATION:
            self.opcode = header.opcode
            self.inflates = bool(header.rsv)
        self.fragments += 1
        ends = header.fin and whole
        self.data += self.inflated(payload, ends) if self.inflates else payload
        if self.opcode == TEXT:
            check_utf8(self.data, ends, 1007)
        if ends:
            assert self.opcode is not None
            self.events.append((NAMES[self.opcode], self.data))
            self.forget_message()

    def inflated(self, payload: bytes, ends: bool) -> bytes:
        """Inflate a part of a message, as :rfc:`7692#section-7.2.2` has it."""
        broken, known = None, len(self.inflater.out)
        try:
            self.inflater.feed(payload + inflate.TAIL if ends else payload)
        except inflate.Broken as error:
            broken = error.branch
        inflated = bytes(self.inflater.out[known:])
        if self.is_over(len(inflated)):
            # Where all of it is inflated at once, what else is wrong with it may be found first.
            wrong = broken or (self.opcode == TEXT and not begins_text(self.data + inflated))
            raise Violation(1009, "inflated-too-big", 1007 if wrong else None)
        if broken:
            raise Violation(1007, broken)
        assert self.rules.deflate is not None
        if ends and self.rules.deflate.anew:
            self.forget_context()
        return inflated

    def take_control(self, header: Header, payload: bytes) -> None:
        if header.opcode == CLOSE:
            self.closed = True
            self.events.append(("close",) + read_close(payload))
        else:
            self.events.append((NAMES[header.opcode], payload))


def read_header(stream: bytes, pos: int) -> Header:
    """Read the header at ``pos``, up to its masking key."""
    if len(stream) < pos + 2:
        raise HeaderExhausted
    first, second = stream[pos], stream[pos + 1]
    length, length_bytes, end = second & 0x7F, 0, pos + 2
    if length == 126:
        length_bytes = 2
    elif length == 127:
        length_bytes = 8
    if length_bytes:
        end += length_bytes
        if len(stream) < end:
            raise HeaderExhausted
        length = int.from_bytes(stream[end - length_bytes : end], "big")
    masked = bool(second & 0x80)
    key_end = end + 4 if masked else end
    if len(stream) < key_end:
        raise HeaderExhausted
    return Header(
        fin=bool(first & 0x80),
        rsv=first & 0x70,
        opcode=first & 0x0F,
        masked=masked,
        length=length,
        length_bytes=length_bytes,
        key=stream[end:key_end],
        end=key_end,
    )


def check_header(header: Header, rules: Rules) -> None:
    """Refuse what a single header can do wrong: :rfc:`6455#section-5.2`."""
    check_first_byte(header, rules)
    if header.opcode >= CLOSE and header.length_bytes:
        raise Violation(1002, "long-control")
    if header.length_bytes == 2 and header.length < 126:
        raise Violation(1002, "non-minimal-16")
    if header.length_bytes == 8 and header.length < 65536:
        raise Violation(1002, "non-minimal-64")
    if header.length_bytes == 8 and header.length >= 2**63:
        raise Violation(1002, "top-bit")
    if header.masked and not rules.expect_masking:
        raise Violation(1002, "masked")
    if not header.masked and rules.expect_masking:
        raise Violation(1002, "unmasked")


def check_first_byte(header: Header, rules: Rules) -> None:
    if header.rsv and (header.rsv != RSV1 or rules.deflate is None):
        raise Violation(1002, "rsv")
    if header.opcode not in KNOWN_OPCODES:
        raise Violation(1002, "reserved-opcode")
    if header.opcode >= CLOSE and not header.fin:
        raise Violation(1002, "fragmented-control")
    if header.rsv and header.opcode not in (TEXT, BINARY):
        raise Violation(1002, "rsv1-misplaced")


def unmask(payload: bytes, key: bytes) -> bytes:
    """Undo the masking of :rfc:`6455#section-5.3`."""
    return bytes(octet ^ key[i % 4] for i, octet in enumerate(payload))


def read_close(payload: bytes) -> tuple[int, bytes]:
    """Read the body of a Close frame: :rfc:`6455#section-5.5.1` and 7.4."""
    if not payload:
        return 1005, b""
    if len(payload) == 1:
        raise Violation(1002, "close-1-byte")
    code, reason = int.from_bytes(payload[:2], "big"), payload[2:]
    if not (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999):
        raise Violation(1002, "close-bad-code")
    try:
        check_utf8(reason, True, 1007)
    except Violation as violation:
        raise Violation(1007, "close-bad-reason") from violation
    return code, reason


# The table of RFC 3629, section 4: how many octets follow the first one, and
# between which bounds the second one lies. The others lie between 80 and BF.
def utf8_sequence(first: int) -> tuple[int, int, int] | None:
    if first <= 0x7F:
        return 0, 0, 0
    if 0xC2 <= first <= 0xDF:
        return 1, 0x80, 0xBF
    if first == 0xE0:
        return 2, 0xA0, 0xBF
    if 0xE1 <= first <= 0xEC or 0xEE <= first <= 0xEF:
        return 2, 0x80, 0xBF
    if first == 0xED:
        return 2, 0x80, 0x9F
    if first == 0xF0:
        return 3, 0x90, 0xBF
    if 0xF1 <= first <= 0xF3:
        return 3, 0x80, 0xBF
    if first == 0xF4:
        return 3, 0x80, 0x8F
    return None


def check_utf8(data: bytes, ends: bool, code: int) -> None:
    """Refuse ``data`` if it cannot be (when it ``ends``: is not) valid UTF-8."""
    i = 0
    while i < len(data):
        sequence = utf8_sequence(data[i])
        if sequence is None:
            raise Violation(code, name_bad_first(data[i]))
        tail, low, high = sequence
        for k in range(1, tail + 1):
            if i + k == len(data):
                if ends:
                    raise Violation(code, "utf8-truncated")
                return
            octet = data[i + k]
            if k > 1:
                low, high = 0x80, 0xBF
            if not low <= octet <= high:
                raise Violation(code, name_bad_tail(data[i], octet))
        i += tail + 1


def begins_text(data: bytes) -> bool:
    """Say whether ``data`` may be the beginning of valid UTF-8."""
    try:
        check_utf8(data, False, 1007)
    except Violation:
        return False
    return True


def name_bad_first(first: int) -> str:
    if first <= 0xBF:
        return "utf8-stray-tail"
    if first <= 0xC1:
        return "utf8-overlong"
    if first <= 0xF7:
        return "utf8-beyond"
    return "utf8-bad-byte"


def name_bad_tail(first: int, octet: int) -> str:
    """Name what is wrong with ``octet``, the one that broke a sequence."""
    if not 0x80 <= octet <= 0xBF:
        return "utf8-bad-tail"
    return {
        0xE0: "utf8-overlong",
        0xED: "utf8-surrogate",
        0xF0: "utf8-overlong",
        0xF4: "utf8-beyond",
    }[first]
