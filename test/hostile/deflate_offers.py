"""How compression is negotiated (RFC 7692 5 and 7.1, RFC 6455 9.1): offers, and answers."""

from __future__ import annotations

import random
import re
from typing import Any

from test.hostile import CLIENT, DEFLATE, SERVER, Target, attack
from test.hostile.answers import check_switch, connected, read_response, request
from test.hostile.clients import GOOD, refuses, switch
from test.hostile.deflated import Codec, Compressing, direction
from test.hostile.offers import EXTENSIONS, at_once
from test.hostile.targets import value_in
from test.hostile.violations import named
from test.hostile.wire import BINARY, Wire

PMCE = "permessage-deflate"
FLAGS = ("server_no_context_takeover", "client_no_context_takeover")
WINDOWS = ("server_max_window_bits", "client_max_window_bits")

#: "A decimal integer value without leading zeroes between 8 to 15", and what is none.
NUMBERS = (
    *("0", "1", "7", "16", "17", "08", "010", "015", "+9", "-9", "9.5", "9.0", "1e1", "0x9", "a"),
    *("9_", "1_0", "15x", "xf", "1" * 100, "9" * 4000, "true"),
)
#: What both an offer and an answer may not have.
INVALID = (
    *("x", "x=1", "server_no_context", "server_max_window_bits_=9", "max_window_bits=9"),
    *(f"{flag}={value}" for flag in FLAGS for value in ("1", "0", "true", "15", '"x"')),
    *(f"{flag}; {flag}" for flag in FLAGS),
    *(f"{window}={value}" for window in WINDOWS for value in NUMBERS),
    *(f"{window}=10; {window}={value}" for window in WINDOWS for value in ("10", "11")),
    *("server_max_window_bits", 'server_max_window_bits="16"', "SERVER_MAX_WINDOW_BITS=10"),
    *("client_max_window_bits=9; client_max_window_bits", "Server_No_Context_Takeover"),
)
#: What breaks the grammar of extensions (RFC 6455 9.1).
MALFORMED = (
    *("", " ", ";", "=", "=9", "client_max_window_bits=", "client_max_window_bits=9 9", "x y"),
    *('client_max_window_bits=""', 'client_max_window_bits="9', "client_max_window_bits='9'a b"),
    *('client_max_window_bits="9"9', 'client_max_window_bits="9 "', "client_max_window_bits==9"),
    *(
        'client_max_window_bits="\\"',
        "client_max_window_bits=9;",
        "(x)",
        "client_max_window_bits:9",
    ),
    *("client_max_window_bits=\xbc", "client_max_window_bits=9\x0b"),
)


#: Bytes that make whoever repeats them refer back as far as its window allows.
NOISE = random.Random(7692).randbytes(5000)


def talk(wire: Wire, extension: str, offers: str | None = None) -> None:
    """Have a message echoed, compressed if that was agreed on, and end the connection.

    Args:
        offers: Those of the client, if it is not us. It has announced what window it uses at most.
    """
    if extension:
        sides = ("client", "server") if offers is None else ("server", "client")
        codec = Codec(*(direction(extension, side) for side in sides))
        if codec.ours.bits == 8:  # which zlib cannot compress for
            codec.ours = codec.ours._replace(bits=9)
        announced = re.search(r"client_max_window_bits=(\d+)", offers or "")
        if announced:
            bits = min(codec.theirs.bits, int(announced[1]))
            codec.theirs = codec.theirs._replace(bits=bits)
        wire.extensions = extension
        wire = Compressing(wire, codec)
        for _ in range(2):
            wire.compressed_echo(NOISE, BINARY)
    wire.echo()
    wire.leave()


def answered(target: Any, *offers: str) -> str:
    """Return what a server answers to these fields; a message comes back, as was agreed on."""
    lines = [f"{EXTENSIONS}: {offer}" for offer in offers]
    with connected(target, request(None, *lines)) as sock:
        response = read_response(sock)
        assert response is not None, f"no answer to {offers}"
        assert response.status == 101, response
        check_switch(response)
        values = response.get(EXTENSIONS.lower())
        assert len(values) <= 1, response
        talk(Wire(sock, True, response.rest), *(values or [""]))
    return values[0] if values else ""


def on_servers(cites: str) -> Any:
    return attack(DEFLATE, cites, roles=(SERVER,))


def on_clients(cites: str) -> Any:
    return attack(DEFLATE, cites, roles=(CLIENT,))


# What servers are offered.


@on_servers("RFC 7692 7.1: a server MUST decline them")
def offers_that_are_declined(target: Target) -> None:
    for parameters in INVALID:
        with named(parameters):
            assert answered(target, f"{PMCE}; {parameters}") == ""
            assert answered(target, f"{PMCE}; {parameters}, x, y") == ""
    for name in ("permessage-deflat", "permessage-deflate2", "x-permessage-deflate", "deflate"):
        with named(name):
            assert answered(target, name) == ""


@on_servers("RFC 6455 9.1: the connection MUST be failed")
def offers_that_are_malformed(target: Target) -> None:
    for parameters in MALFORMED:
        for value in (f"{PMCE}; {parameters}", f"{PMCE}, {PMCE}; {parameters}, x"):
            with named(value), connected(target, request({EXTENSIONS: value})) as sock:
                response = read_response(sock)
                assert response is not None
                assert response.status == 400, response
                assert not response.get(EXTENSIONS.lower()), response


#: Parameters that a server with the defaults can accept.
VALID = (
    *("", "client_max_window_bits", *FLAGS, "; ".join(FLAGS), "; ".join(reversed(FLAGS))),
    *(f"{window}={bits}" for window in WINDOWS for bits in range(9, 16)),
    *("client_max_window_bits=8", "server_max_window_bits=15; client_max_window_bits"),
    *("client_max_window_bits=9; server_no_context_takeover; server_max_window_bits=9",),
    *('client_max_window_bits="10"', 'server_max_window_bits="\\1\\0"'),
)


def conforms(offer: str, answer: str) -> None:
    """Fail unless a server may answer this to an offer (RFC 7692 7.1)."""
    _, *parts = answer.split("; ")
    said = dict(part.partition("=")[::2] for part in parts)
    assert len(said) == len(parts), "a parameter is repeated"
    _, *parts = offer.replace('"', "").replace("\\", "").split("; ")
    asked = dict(part.partition("=")[::2] for part in parts)
    assert set(said) <= {*FLAGS, *WINDOWS}, "a parameter is unknown"
    assert "server_no_context_takeover" not in asked or "server_no_context_takeover" in said
    for window in WINDOWS:
        limit = int(asked.get(window) or 15)
        assert window not in said or 8 <= int(said[window]) <= limit, f"{window} is too large"
    assert "server_max_window_bits" not in asked or "server_max_window_bits" in said
    assert "client_max_window_bits" in asked or "client_max_window_bits" not in said


@on_servers("RFC 7692 7.1")
def offers_that_are_accepted(target: Target) -> None:
    for parameters in VALID:
        offer = f"{PMCE}; {parameters}" if parameters else PMCE
        with named(offer):
            answer = answered(target, offer)
            assert answer.startswith(PMCE), answer
            conforms(offer, answer)
    for value in (
        f"{PMCE} ;client_max_window_bits",
        f"x, ,{PMCE}\t,",
        f'x; y="z", {PMCE}',
    ):
        with named(value):
            assert answered(target, value).startswith(PMCE)


@on_servers("RFC 7692 7.1.2.1: who cannot compress for so small a window may decline")
def an_offer_of_the_smallest_window(target: Target) -> None:
    offer = f"{PMCE}; server_max_window_bits=8"
    answer = answered(target, offer)
    if answer:
        conforms(offer, answer)
    assert answered(target, f"{offer}, {PMCE}").startswith(PMCE)


@on_servers("RFC 7692 5.1, 7.1: the first one that can be accepted, and one alone")
def several_offers(target: Target) -> None:
    first, second = f"{PMCE}; client_max_window_bits=10", f"{PMCE}; server_max_window_bits=9"
    for offers, chosen in (
        ([f"{first}, {second}"], first),
        ([f"{PMCE}; x, {second}, {first}, {PMCE}"], second),
        ([first, second], first),
        ([f"x; {second}", f"{PMCE}; server_max_window_bits=7", second], second),
        ([f"{PMCE}, {PMCE}, {PMCE}"], PMCE),
        ([f"{PMCE}; client_max_window_bits=99, {PMCE}; {FLAGS[0]}=1", "x", PMCE], PMCE),
    ):
        with named(str(offers)):
            answer = answered(target, *offers)
            assert answer.count(PMCE) == 1, answer
            conforms(chosen, answer)


#: What a line of 8 KiB has room for.
ROOM = 8000


@on_servers("a limit of ours")
def thousands_of_offers(target: Target) -> None:
    for piece in ("x,", f"{PMCE};x,", f'{PMCE};x="\\\\\\"",', "x;y;z=1,"):
        lines = [f"{EXTENSIONS}: {piece * (ROOM // len(piece))}"] * 3
        with named(piece):
            at_once(target, request(None, *lines), 101, 400, 431)
    with named("behind them a good one"):
        assert answered(target, *["x," * (ROOM // 2)] * 3, PMCE).startswith(PMCE)


@on_servers("a limit of ours")
def parameters_that_are_long(target: Target) -> None:
    for start, piece, end in (
        *((f'{PMCE};x="', "a", '"'), (f'{PMCE};x="', "\\a", '"'), (f'{PMCE};x="', "\\", "")),
        *((f'{PMCE};x="', ",", '"'), (f'{PMCE};x="', ";", '"'), (f'{PMCE};x="', " ", "")),
        *((f"{PMCE};", "x", ""), (f"{PMCE};x=", "9", ""), (f"{PMCE};x", " ", "=1"), ("", '"', "")),
        *((f"{PMCE}", ";x", ""), (f"{PMCE};client_max_window_bits=", "0", "9"), ("", '""', "")),
        *((f"{PMCE};x=", " ", "1"), (f'{PMCE};x="', "a", ""), (PMCE, " ", ";"), ("", '"\\', "")),
    ):
        value = start + piece * ((ROOM - 100) // len(piece)) + end
        with named(f"{start}{piece}…{end}"):
            at_once(target, request({EXTENSIONS: value}), 101, 400, 431)


# What clients are answered.


def agrees(target: Any, value: str, **options: Any) -> None:
    """Fail unless a client accepts an answer, and echoes messages as it says."""
    number, sock, head = target.accept(**options)
    with Wire(sock, False) as wire:
        wire.send(switch(head, [*GOOD, f"{EXTENSIONS}: {value}".encode("latin-1")]))
        assert target.event(number) == ["opened"], value
        talk(wire, value.replace('"', ""), value_in(head, EXTENSIONS))


@on_clients("RFC 7692 7: a client MUST fail the connection")
def answers_that_are_none(target: Any) -> None:
    for parameters in (*INVALID, "client_max_window_bits"):
        with named(parameters):
            refused = refuses(target, [*GOOD, f"{EXTENSIONS}: {PMCE}; {parameters}".encode()])
            assert refused.status == 101, refused


@on_clients("RFC 6455 9.1, RFC 7692 7")
def answers_that_are_malformed_or_several(target: Any) -> None:
    values = [f"{PMCE}; {parameters}" for parameters in MALFORMED]
    values += [f"{PMCE}, {PMCE}", f"{PMCE}, x", f"x, {PMCE}", PMCE.title(), f"{PMCE}2", "deflate"]
    values += [f"{PMCE}; {FLAGS[0]}, {PMCE}", f'{PMCE}, "{PMCE}"', f'"{PMCE}"', f"{PMCE}=1"]
    for value in values:
        with named(value):
            refuses(target, [*GOOD, f"{EXTENSIONS}: {value}".encode("latin-1")])
    field = f"{EXTENSIONS}: {PMCE}".encode()
    refuses(target, [*GOOD, field, field])


@on_clients("RFC 7692 7.1.1.1: a server accepts the offer by including it")
def an_answer_that_keeps_the_context_which_was_forbidden(target: Any) -> None:
    asks = {"server_no_context_takeover": True}
    for parameters in ("", "; client_no_context_takeover", "; server_max_window_bits=9"):
        with named(parameters):
            line = f"{EXTENSIONS}: {PMCE}{parameters}".encode()
            refuses(target, [*GOOD, line], compression=asks)
    agrees(target, f"{PMCE}; server_no_context_takeover", compression=asks)


@on_clients("RFC 7692 7.1")
def answers_that_are_right(target: Any) -> None:
    """A larger window than was offered is allowed, and not made use of."""
    windows = [f"server_max_window_bits={bits}" for bits in range(8, 16)]
    windows += [f"client_max_window_bits={bits}" for bits in range(8, 16)]
    for parameters in (
        *windows,
        *FLAGS,
        "; ".join((*FLAGS, "client_max_window_bits=9", "server_max_window_bits=8")),
        'server_max_window_bits="10"',
    ):
        with named(parameters):
            agrees(target, f"{PMCE}; {parameters}")
    agrees(target, PMCE)


@on_clients("a limit of ours")
def answers_that_are_long(target: Any) -> None:
    for piece in ("x,", f"{PMCE},", f"{PMCE};x,", '"', '\\"', 'x="', ";", " ", 'x="\\a";', "=x"):
        value = f"{EXTENSIONS}: {PMCE};x;{piece * (ROOM // len(piece) - 20)}"
        with named(piece):
            refuses(target, [*GOOD, value.encode()])
