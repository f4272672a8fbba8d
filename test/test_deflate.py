"""permessage-deflate: what is negotiated, what is compressed, and what is inflated."""

from __future__ import annotations

import random
from typing import Any

import pytest

from ws4py.deflate import PIECE, Deflater, Inflater, PerMessageDeflate, read_compression
from ws4py.exc import InvalidBytesError
from ws4py.headers import parse_extensions

FULL = PerMessageDeflate(server_max_window_bits=15, client_max_window_bits=15)
TEXT = b"".join(b'{"name": "user %d", "id": %d}, ' % (i, i * i) for i in range(2000))


def answer(offers: str, config: PerMessageDeflate = FULL) -> str | None:
    """Return a server's answer to offers, as they stand in a header."""
    accepted = config.accept(parse_extensions(offers))
    return None if accepted is None else str(accepted)


def offered(config: PerMessageDeflate) -> str:
    return ", ".join(map(str, config.offer()))


# Offers and answers (RFC 7692 section 7.1).


@pytest.mark.parametrize(
    ("config", "offers"),
    [
        (FULL, "permessage-deflate; client_max_window_bits"),
        (
            PerMessageDeflate(),
            "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12, "
            "permessage-deflate; client_max_window_bits=12",
        ),
        (
            PerMessageDeflate(True, True, 15, 10),
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; "
            "client_max_window_bits=10",
        ),
    ],
)
def test_a_client_offers_what_it_is_configured_with(config: PerMessageDeflate, offers: str) -> None:
    assert offered(config) == offers
    assert answer(offers) is not None


@pytest.mark.parametrize(
    ("offers", "expected"),
    [
        ("permessage-deflate", ""),
        ("permessage-deflate; client_max_window_bits", ""),
        ("permessage-deflate; client_max_window_bits=15", ""),
        ("permessage-deflate; client_max_window_bits=10", "client_max_window_bits=10"),
        ("permessage-deflate; client_max_window_bits=8", "client_max_window_bits=8"),
        ('permessage-deflate; client_max_window_bits="10"', "client_max_window_bits=10"),
        ("permessage-deflate; server_max_window_bits=9", "server_max_window_bits=9"),
        ("permessage-deflate; server_max_window_bits=15", "server_max_window_bits=15"),
        ("permessage-deflate; server_no_context_takeover", "server_no_context_takeover"),
        ("permessage-deflate; client_no_context_takeover", "client_no_context_takeover"),
        ("foo, permessage-deflate, bar", ""),
        # The first that can be accepted, in the client's order.
        (
            "permessage-deflate; server_max_window_bits=8, permessage-deflate; x, "
            "permessage-deflate; server_max_window_bits=10, permessage-deflate",
            "server_max_window_bits=10",
        ),
    ],
)
def test_a_server_accepts_an_offer_with_what_it_asks_for(offers: str, expected: str) -> None:
    assert answer(offers) == "; ".join(filter(None, ["permessage-deflate", expected]))


@pytest.mark.parametrize(
    "offers",
    [
        *("", "foo", "permessage-deflat", "PERMESSAGE-DEFLATE", "permessage-deflate-x"),
        "permessage-deflate; x",
        "permessage-deflate; x=1",
        "permessage-deflate; Server_no_context_takeover",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover=true",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; client_max_window_bits; client_max_window_bits=10",
        "permessage-deflate; server_max_window_bits",
        # "A client offering … with 8": zlib cannot compress for that.
        "permessage-deflate; server_max_window_bits=8",
        *(
            f"permessage-deflate; {name}_max_window_bits={value}"
            for name in ("server", "client")
            for value in ("0", "7", "16", "08", "010", "1e1", "+9", "-9", "9.0", "x", "99999999999")
        ),
    ],
)
def test_a_server_declines_an_offer_that_it_cannot_accept(offers: str) -> None:
    assert answer(offers) is None


def test_a_server_limits_a_clients_window_only_where_the_client_can_be_told() -> None:
    small = PerMessageDeflate(server_max_window_bits=10, client_max_window_bits=9)
    told = "permessage-deflate; server_max_window_bits=10; client_max_window_bits=9"
    assert answer("permessage-deflate; client_max_window_bits", small) == told
    untold = "permessage-deflate; server_max_window_bits=10"
    assert answer("permessage-deflate", small) == untold
    assert answer("permessage-deflate; server_max_window_bits=11", small) == untold


def test_a_server_without_context_takeover_says_so_unasked() -> None:
    config = PerMessageDeflate(True, True, 15, 15)
    assert answer("permessage-deflate", config) == (
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
    )


@pytest.mark.parametrize(
    "answers",
    [
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; x",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate, permessage-deflate",
    ],
)
def test_a_client_refuses_an_answer_to_what_it_did_not_offer(answers: str) -> None:
    with pytest.raises(ValueError, match="permessage-deflate"):
        PerMessageDeflate().confirm(parse_extensions(answers))


def test_a_client_refuses_a_server_that_keeps_the_context_which_it_must_not() -> None:
    config = PerMessageDeflate(server_no_context_takeover=True)
    with pytest.raises(ValueError, match="keeps the context"):
        config.confirm(parse_extensions("permessage-deflate; client_no_context_takeover"))
    assert config.confirm(parse_extensions("permessage-deflate; server_no_context_takeover")) == []


@pytest.mark.parametrize(
    "answers",
    [
        "permessage-deflate",
        "permessage-deflate; server_max_window_bits=15; client_max_window_bits=8",
        # Our 12 is a hint, which "the server may [...] ignore" (RFC 7692 7.1.2.2).
        "permessage-deflate; server_max_window_bits=12; client_max_window_bits=15",
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
    ],
)
def test_a_client_accepts_what_a_server_may_answer(answers: str) -> None:
    others = PerMessageDeflate().confirm(parse_extensions(f"foo, {answers}"))
    assert others == parse_extensions("foo")


# What users pass.


def test_compression_is_off_deflate_or_an_object() -> None:
    config = PerMessageDeflate(threshold=0)
    assert read_compression(None) is None
    assert read_compression("deflate") == PerMessageDeflate()
    assert read_compression(config) is config


@pytest.mark.parametrize("value", ["gzip", "", True, 15, "Deflate", PerMessageDeflate])
def test_another_compression_is_named_in_the_error(value: Any) -> None:
    with pytest.raises(ValueError, match=r"compression=.* is neither 'deflate' nor"):
        read_compression(value)


def test_the_extension_cannot_be_among_the_names_of_others_as_well() -> None:
    with pytest.raises(ValueError, match="permessage-deflate is both"):
        read_compression("deflate", ["permessage-deflate"])
    assert read_compression(None, ["permessage-deflate"]) is None


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("server_max_window_bits", bits) for bits in (8, 16, None, True, "12", 12.0)),
        *(("client_max_window_bits", bits) for bits in (8, 16, None)),
        *(("level", level) for level in (0, 10, -1, None)),
        *(("memory_level", level) for level in (0, 10)),
        *(("threshold", size) for size in (-1, None, "256", float("inf"))),
        *(("idle_release", seconds) for seconds in (-1, "30", float("nan"), True)),
        *(("server_no_context_takeover", flag) for flag in (1, None)),
    ],
)
def test_an_option_that_cannot_be_is_named_in_the_error(option: str, value: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=option) as refused:
        PerMessageDeflate(**{option: value})
    assert repr(value) in str(refused.value)


# Codecs.


def codecs(answer: str, is_client: bool = False, config: PerMessageDeflate = FULL) -> Any:
    deflater, inflater = config.codecs([answer], is_client)
    assert inflater is not None
    return deflater, inflater


def inflate(inflater: Inflater, data: bytes, last: bool = True) -> bytes:
    return b"".join(inflater.decode(data, last))


def test_without_an_agreement_there_are_no_codecs() -> None:
    assert FULL.codecs(["foo"], True) == (None, None)


@pytest.mark.parametrize("bits", range(9, 16))
@pytest.mark.parametrize("flags", ["", "; server_no_context_takeover; client_no_context_takeover"])
def test_what_one_side_compresses_the_other_inflates(bits: int, flags: str) -> None:
    agreed = (
        f"permessage-deflate; server_max_window_bits={bits}; client_max_window_bits={bits}{flags}"
    )
    ends = codecs(agreed), codecs(agreed, True)
    messages = [TEXT, b"", b"a", TEXT[:300], random.Random(bits).randbytes(70_000), b"a" * 10**6]
    for (deflater, _), (_, inflater) in (ends, ends[::-1]):
        for message in messages * 2:
            assert inflate(inflater, deflater.encode(message)) == message


def test_the_context_makes_a_repeated_message_short_and_can_be_given_up() -> None:
    deflater, inflater = codecs("permessage-deflate")[0], codecs("permessage-deflate", True)[1]
    message = random.Random(1).randbytes(1000)
    first, second = deflater.encode(message), deflater.encode(message)
    assert len(second) < 50 < len(first)
    deflater.release()
    third = deflater.encode(message)
    assert len(third) == len(first)
    assert [inflate(inflater, data) for data in (first, second, third)] == [message] * 3


def test_without_context_takeover_each_message_stands_alone() -> None:
    agreed = "permessage-deflate; server_no_context_takeover"
    deflater, inflater = codecs(agreed)[0], codecs(agreed, True)[1]
    data = [deflater.encode(TEXT) for _ in range(2)]
    assert data[0] == data[1] == deflater.encode_alone(TEXT)
    assert inflate(codecs(agreed, True)[1], data[1]) == TEXT
    assert inflate(inflater, data[0]) == TEXT
    assert deflater.idle_release is None
    assert deflater._compressor is None
    assert inflater._decompressor is None


def test_a_client_whose_window_is_too_small_for_zlib_sends_uncompressed() -> None:
    deflater, inflater = codecs("permessage-deflate; client_max_window_bits=8", True)
    assert deflater is None
    assert inflate(inflater, codecs("permessage-deflate")[0].encode(TEXT)) == TEXT


@pytest.mark.parametrize("limit", ["", "; client_max_window_bits=15"])
def test_a_client_keeps_to_its_own_window_where_the_server_allows_a_larger_one(limit: str) -> None:
    deflater = codecs(f"permessage-deflate{limit}", True, PerMessageDeflate())[0]
    inflater = Inflater(12, True)
    message = random.Random(2).randbytes(20_000)
    assert [inflate(inflater, deflater.encode(message)) for _ in range(2)] == [message] * 2


def test_a_client_that_forgets_does_so_where_the_server_has_not_repeated_that() -> None:
    config = PerMessageDeflate(client_no_context_takeover=True)
    client = codecs("permessage-deflate", True, config)[0]
    assert client.encode(TEXT) == client.encode(TEXT)


def frames(deflater: Deflater, chunks: list[bytes]) -> list[tuple[int, bytes, bool]]:
    fragments = [(0 if i else 1, chunk, i == len(chunks) - 1) for i, chunk in enumerate(chunks)]
    return list(deflater.encode_fragments(fragments))


@pytest.mark.parametrize(
    "chunks", [[TEXT, b"", TEXT], [b"", b""], [b"a", b"b"], [TEXT], [b"", TEXT, b""]]
)
def test_fragments_are_inflated_as_they_come(chunks: list[bytes]) -> None:
    deflater, inflater = codecs("permessage-deflate")[0], codecs("permessage-deflate", True)[1]
    for _ in range(2):
        made = frames(deflater, chunks)
        assert [opcode for opcode, _, _ in made] == [0x41] + [0] * (len(chunks) - 1)
        assert [fin for _, _, fin in made] == [False] * (len(chunks) - 1) + [True]
        assert [inflate(inflater, data, fin) for _, data, fin in made] == chunks


def test_a_generator_of_one_small_chunk_is_not_compressed() -> None:
    deflater = codecs("permessage-deflate")[0]
    assert frames(deflater, [b"a" * 255]) == [(1, b"a" * 255, True)]
    assert frames(deflater, [b"a" * 256])[0][0] == 0x41


# The examples of RFC 7692 section 7.2.3.


@pytest.mark.parametrize(
    "messages",
    [
        ["f248cdc9c90700"],
        ["f248cdc9c90700", "f200110000"],
        ["000500faff48656c6c6f00"],
        ["f348cdc9c9070000"],
        ["f248050000 00ffffcac9c90700"],
        ["f348cdc9c9070000", "f248cdc9c90700"],
    ],
)
def test_the_examples_of_the_rfc_are_inflated(messages: list[str]) -> None:
    inflater = Inflater(15, True)
    assert [inflate(inflater, bytes.fromhex(each)) for each in messages] == [b"Hello"] * len(
        messages
    )


def test_the_examples_of_the_rfc_are_what_is_sent() -> None:
    deflater = codecs("permessage-deflate", False, PerMessageDeflate())[0]
    assert [deflater.encode(b"Hello").hex() for _ in range(2)] == ["f248cdc9c90700", "f200110000"]
    assert codecs("permessage-deflate")[0].encode(b"") == b"\x00"


# Bounds.


def test_what_is_inflated_comes_in_small_pieces() -> None:
    bomb = codecs("permessage-deflate")[0].encode(bytes(64 << 20))
    assert len(bomb) < 70_000
    sizes = [len(piece) for piece in Inflater(15, True).decode(bomb, True)]
    assert (sum(sizes), max(sizes)) == (64 << 20, PIECE)


def test_many_final_blocks_are_inflated_in_proportion_to_their_number() -> None:
    blocks = b"\x03\x00" * 100_000
    assert inflate(Inflater(15, True), blocks + b"\x00") == b""


@pytest.mark.parametrize(
    "data",
    [
        b"\xff" * 10,
        b"\x07",  # a block of the kind that does not exist
        b"\x00\x05\x00\x05\x00Hello",  # a length that is not what its complement says
        bytes.fromhex("f200110000"),  # refers to a message that did not come
    ],
)
def test_what_is_not_deflate_is_an_error_with_code_1007(data: bytes) -> None:
    with pytest.raises(InvalidBytesError, match="compressed message is broken") as error:
        inflate(Inflater(15, True), data)
    assert error.value.code == 1007


def test_a_distance_beyond_the_window_that_was_agreed_on_is_an_error() -> None:
    deflater = codecs("permessage-deflate")[0]
    message = random.Random(3).randbytes(2000)
    data = [deflater.encode(message) for _ in range(2)]
    inflater = Inflater(9, True)
    assert inflate(inflater, data[0]) == message
    with pytest.raises(InvalidBytesError, match="distance"):
        inflate(inflater, data[1])


def test_what_could_not_be_compressed_is_not_referred_to() -> None:
    deflater, inflater = codecs("permessage-deflate")
    with pytest.raises(TypeError):
        deflater.encode("not bytes")
    assert inflate(inflater, deflater.encode(b"after it")) == b"after it"
