"""What the guided fuzz calls for permessage-deflate: how it is negotiated, and what it inflates."""

from __future__ import annotations

from ws4py.deflate import PIECE, Inflater, PerMessageDeflate
from ws4py.exc import InvalidBytesError
from ws4py.headers import parse_extensions

from . import inflate
from .drive import Misbehaviour, expect
from .fields import Parameters, SlowExtension, slow_extensions

NAME = "permessage-deflate"
FLAGS = ("server_no_context_takeover", "client_no_context_takeover")
WINDOWS = ("server_max_window_bits", "client_max_window_bits")
BITS = ("8", "9", "10", "11", "12", "13", "14", "15")


# Extensions


def fuzz_extensions(data: bytes) -> None:
    """Take the value of Sec-WebSocket-Extensions, behind an octet that chooses what is wanted."""
    if not data:
        return
    options, value = data[0], data[1:].decode("latin-1")
    config = PerMessageDeflate(
        server_no_context_takeover=bool(options & 1),
        client_no_context_takeover=bool(options & 2),
        server_max_window_bits=(9, 12, 14, 15)[options >> 2 & 3],
        client_max_window_bits=(9, 12, 14, 15)[options >> 4 & 3],
    )
    expected = slow_extensions(value)
    try:
        found = parse_extensions(value)
    except ValueError:
        expect(expected is None, f"{value!r} is malformed")
        return
    if expected is None:
        raise Misbehaviour(f"{value!r} is read as {found!r}")
    expect([tuple(each) for each in found] == expected, f"{value!r} is read as {found!r}")
    check_accept(config, expected, value)
    check_confirm(config, expected, value)


def is_valid(parameters: Parameters, is_offer: bool) -> bool:
    """Say whether an offer, or an answer, may have these parameters (RFC 7692 7.1)."""
    names = [name for name, _ in parameters]
    for name, value in parameters:
        alone = name in FLAGS or (name == "client_max_window_bits" and is_offer)
        if value is None and not alone:
            return False
        if value is not None and (name not in WINDOWS or value not in BITS):
            return False
    return len(set(names)) == len(names)


def check_accept(config: PerMessageDeflate, offers: list[SlowExtension], value: str) -> None:
    """Check what a server answers, and that both sides understand it alike."""
    good = [
        dict(parameters)
        for name, parameters in offers
        if name == NAME
        and is_valid(parameters, is_offer=True)
        # zlib cannot compress for that one.
        and ("server_max_window_bits", "8") not in parameters
    ]
    answer = config.accept(parse_extensions(value))
    if answer is None or not good:
        expect(answer is None and not good, f"{value!r} is answered with '{answer}'")
        return
    offer, said = good[0], dict(answer.parameters)
    expect(is_valid(answer.parameters, is_offer=False), f"'{answer}' is none")
    for flag in FLAGS:
        expect((flag in said) == (flag in offer or getattr(config, flag)), f"'{answer}'")
    for window in WINDOWS:
        most = min(getattr(config, window), int(offer.get(window) or 15))
        may_be_told = window in offer or window == "server_max_window_bits"
        expect(int(said.get(window) or 15) == (most if may_be_told else 15), f"'{answer}'")
    check_codecs(config, str(answer))


def check_codecs(config: PerMessageDeflate, answer: str) -> None:
    """Have both sides send some messages."""
    server, client = (config.codecs([answer], is_client) for is_client in (False, True))
    for (deflater, _), (_, inflater) in ((server, client), (client, server)):
        assert inflater is not None
        for size in (1, 600, 5000) if deflater is not None else ():
            message = bytes(range(256)) * size
            data = deflater.encode(message[: size * 7])
            expect(b"".join(inflater.decode(data, True)) == message[: size * 7], f"'{answer}'")


def check_confirm(config: PerMessageDeflate, answers: list[SlowExtension], value: str) -> None:
    """Check what a client makes of an answer."""
    ours = [parameters for name, parameters in answers if name == NAME]
    good = len(ours) < 2 and all(is_valid(parameters, is_offer=False) for parameters in ours)
    if config.server_no_context_takeover:
        good = good and all((FLAGS[0], None) in parameters for parameters in ours)
    try:
        others = config.confirm(parse_extensions(value))
    except ValueError:
        expect(not good, f"{value!r} is refused")
    else:
        expect(good, f"{value!r} is taken for an answer")
        names = [name for name, _ in answers if name != NAME]
        expect([each.name for each in others] == names, f"{others!r} are left")


# Messages


def fuzz_inflate(data: bytes) -> None:
    """Take compressed messages, an octet with its length before each.

    The first octet of all chooses the window, and whether it goes on from message to message.
    """
    if not data:
        return
    bits, keeps_context = (8, 9, 12, 15)[data[0] & 3], bool(data[0] & 4)
    messages, at = [], 1
    while at < len(data):
        messages.append(data[at + 1 : at + 1 + data[at]])
        at += 1 + data[at]
    for size in (1, 7, 256):
        compare(messages, bits, keeps_context, size)


def compare(messages: list[bytes], bits: int, keeps_context: bool, size: int) -> None:
    """Compare what ws4py reads, where it is given ``size`` octets at a time, with what is right."""
    inflater = Inflater(bits, keeps_context)
    # A window of 256 octets is one of 512 to zlib.
    slow = make_slow(bits)
    for number, message in enumerate(messages):
        found = read(inflater, message, size)
        known, broken = len(slow.out), None
        try:
            slow.feed(message + inflate.TAIL)
        except inflate.Broken as error:
            broken = error.branch
        if broken == "deflate-beyond-window":
            return  # It may be read or not, by how much zlib happens to have.
        where = f"message {number}, {size} octets at a time: {broken}"
        expect((found is None) == (broken is not None), where)
        if found is None:
            return
        expect(found == bytes(slow.out[known:]), where)
        if not keeps_context:
            slow = make_slow(bits)


def make_slow(bits: int) -> inflate.Inflater:
    return inflate.Inflater(max(bits, 9))


def read(inflater: Inflater, message: bytes, size: int) -> bytes | None:
    """Inflate a message; return None if it is broken."""
    starts = range(0, max(len(message), 1), size)
    pieces: list[bytes] = []
    try:
        for start in starts:
            pieces += inflater.decode(message[start : start + size], start == starts[-1])
    except InvalidBytesError as error:
        expect(error.code == 1007, f"the code is {error.code}")
        return None
    expect(all(len(piece) <= PIECE for piece in pieces), "a piece is too large")
    return b"".join(pieces)
