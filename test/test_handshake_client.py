"""What a client asks for, and which responses it refuses."""

from __future__ import annotations

from base64 import b64decode

import pytest

from ws4py.deflate import PerMessageDeflate
from ws4py.exc import HandshakeError
from ws4py.handshake import check_response, make_key, request_headers

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def fields(**changes: str | None) -> list[tuple[str, str]]:
    """Return the headers of a good response with changes; None removes one."""
    good = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": ACCEPT}
    named = {name.replace("_", "-"): value for name, value in changes.items()}
    return [(name, value) for name, value in {**good, **named}.items() if value is not None]


def refused(found: list[tuple[str, str]], offered: tuple = (), extensions: tuple = ()) -> str:
    with pytest.raises(HandshakeError) as error:
        check_response(found, KEY, offered, extensions)
    assert error.value.status is None
    return str(error.value)


def test_the_key_is_sixteen_random_bytes_in_base64() -> None:
    keys = {make_key() for _ in range(20)}
    assert len(keys) == 20
    assert {type(key) for key in keys} == {bytes}
    assert {len(b64decode(key, validate=True)) for key in keys} == {16}


@pytest.mark.parametrize("offers", [(None, None), ([], []), ((), ())])
def test_a_request_has_the_headers_of_the_rfc(offers: tuple) -> None:
    assert request_headers("example.com:9000", False, KEY.encode(), *offers) == [
        ("Host", "example.com:9000"),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Key", KEY),
        ("Sec-WebSocket-Version", "13"),
        ("Origin", "http://example.com:9000"),
    ]


def test_the_origin_of_a_secure_request_is_https() -> None:
    headers = dict(request_headers("example.com", True, KEY.encode(), None, None))
    assert headers["Origin"] == "https://example.com"


def test_subprotocols_and_extensions_are_offered_in_their_order_and_case() -> None:
    headers = request_headers("h", False, KEY.encode(), ["http-only", "Chat"], ["foo", "bar"])
    assert headers[6:] == [
        ("Sec-WebSocket-Protocol", "http-only, Chat"),
        ("Sec-WebSocket-Extensions", "foo, bar"),
    ]


def test_one_name_may_be_given_as_a_str() -> None:
    headers = request_headers("h", False, KEY.encode(), "chat", "foo")
    assert headers[6:] == [("Sec-WebSocket-Protocol", "chat"), ("Sec-WebSocket-Extensions", "foo")]


@pytest.mark.parametrize("name", ["", "a b", "a,b", "é", "a\r\nX: y", "a\x00", 5, b"chat"])
def test_what_cannot_be_a_name_in_a_header_is_not_offered(name: str) -> None:
    with pytest.raises(ValueError, match="subprotocol"):
        request_headers("h", False, KEY.encode(), [name], None)
    with pytest.raises(ValueError, match="extension"):
        request_headers("h", False, KEY.encode(), None, [name])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"Upgrade": "WebSocket"},
        {"Connection": "upgrade"},
        {"Connection": "keep-alive, Upgrade"},
        {"Server": "x"},
    ],
    ids=str,
)
def test_a_good_response_is_accepted(changes: dict[str, str]) -> None:
    assert check_response(fields(**changes), KEY, ["chat"], ["foo"]) == ([], [])


def test_the_names_of_headers_have_no_case() -> None:
    found = [(name.upper(), value) for name, value in fields(Sec_WebSocket_Protocol="Chat")]
    assert check_response(found, KEY, ["Chat"], []) == (["Chat"], [])


@pytest.mark.parametrize("value", [None, "", "h2c", "websocket2", "notwebsocket!"])
def test_a_response_with_another_upgrade_or_none_is_refused(value: str | None) -> None:
    assert refused(fields(Upgrade=value)) == f"Invalid Upgrade header: {value}"


@pytest.mark.parametrize("value", [None, "", "close", "keep-alive", "upgrades"])
def test_a_response_with_another_connection_or_none_is_refused(value: str | None) -> None:
    assert refused(fields(Connection=value)) == f"Invalid Connection header: {value}"


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        ACCEPT.lower(),
        ACCEPT.upper(),
        ACCEPT.swapcase(),
        ACCEPT[:-1],
        ACCEPT + "=",
        KEY,
        "x" * 28,
    ],
)
def test_a_response_with_another_accept_or_none_is_refused(value: str | None) -> None:
    answer = refused(fields(Sec_WebSocket_Accept=value))
    assert answer == f"Invalid challenge response: {value}"


def test_a_response_with_two_accepts_is_refused() -> None:
    assert "challenge" in refused([*fields(), ("Sec-WebSocket-Accept", ACCEPT)])


def test_the_subprotocol_that_was_picked_is_returned_in_a_list() -> None:
    found = fields(Sec_WebSocket_Protocol="superchat")
    assert check_response(found, KEY, ["chat", "superchat"], []) == (["superchat"], [])


@pytest.mark.parametrize("picked", ["other", "CHAT", "", "chat, superchat", "chat;x"])
def test_a_subprotocol_that_was_not_offered_is_refused(picked: str) -> None:
    answer = refused(fields(Sec_WebSocket_Protocol=picked), ("chat", "superchat"))
    assert repr(picked) in answer
    assert "not offered" in answer


def test_two_subprotocols_in_two_headers_are_refused() -> None:
    found = [*fields(Sec_WebSocket_Protocol="chat"), ("sec-websocket-protocol", "superchat")]
    assert "not offered" in refused(found, ("chat", "superchat"))


def test_a_subprotocol_is_refused_if_none_was_offered() -> None:
    assert "'chat'" in refused(fields(Sec_WebSocket_Protocol="chat"))


def test_the_extensions_that_are_used_are_returned_with_their_parameters() -> None:
    found = [*fields(Sec_WebSocket_Extensions="foo; a=1 ,bar"), ("Sec-WebSocket-Extensions", "foo")]
    extensions = check_response(found, KEY, [], ["bar", "foo"])[1]
    assert extensions == ["foo; a=1", "bar", "foo"]


@pytest.mark.parametrize("used", ["baz", "foo, baz", "FOO", "baz; foo", "foobar"])
def test_an_extension_that_was_not_offered_is_refused(used: str) -> None:
    answer = refused(fields(Sec_WebSocket_Extensions=used), (), ("foo", "bar"))
    assert "not offered" in answer


@pytest.mark.parametrize("value", ["foo bar", "foo; =", "foo; x=é", "foo,;"])
def test_a_list_of_extensions_that_is_none_is_refused(value: str) -> None:
    found = fields(Sec_WebSocket_Extensions=value)
    assert refused(found, (), ("foo",)).startswith("Invalid Sec-WebSocket-Extensions header: ")


def test_an_answer_about_compression_is_judged_where_that_was_offered() -> None:
    value = "foo, permessage-deflate; server_max_window_bits=10"
    found, offered = fields(Sec_WebSocket_Extensions=value), PerMessageDeflate()
    agreed = ["foo", "permessage-deflate; server_max_window_bits=10"]
    assert check_response(found, KEY, (), ("foo",), offered) == ([], agreed)
    wrong = fields(Sec_WebSocket_Extensions="permessage-deflate; server_max_window_bits=99")
    with pytest.raises(HandshakeError, match="Invalid Sec-WebSocket-Extensions header: "):
        check_response(wrong, KEY, (), (), offered)


def test_a_request_offers_compression_behind_other_extensions() -> None:
    headers = request_headers("h", False, KEY.encode(), None, ["foo"], PerMessageDeflate())
    name, value = headers[-1]
    assert name == "Sec-WebSocket-Extensions"
    assert value.startswith("foo, permessage-deflate")
