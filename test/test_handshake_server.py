"""What a server accepts and refuses: every refusal with its status, its headers and its text."""

from __future__ import annotations

from typing import Any

import pytest

from ws4py.exc import HandshakeError
from ws4py.handshake import ServerHandshake
from ws4py.heads import HeadReader, make_environ
from ws4py.limits import Limits

ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
ASK_TO_UPGRADE = [("Upgrade", "websocket"), ("Connection", "Upgrade")]
GOOD = {
    "REQUEST_METHOD": "GET",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "HTTP_HOST": "server.example.com",
    "HTTP_UPGRADE": "websocket",
    "HTTP_CONNECTION": "Upgrade",
    "HTTP_SEC_WEBSOCKET_KEY": "dGhlIHNhbXBsZSBub25jZQ==",
    "HTTP_SEC_WEBSOCKET_VERSION": "13",
}


def environ(**changes: Any) -> dict[str, Any]:
    """Return the environ of a good request with changes; None removes a key."""
    changed = {**GOOD, **changes}
    return {key: value for key, value in changed.items() if value is not None}


def refused(server: ServerHandshake, **changes: Any) -> HandshakeError:
    with pytest.raises(HandshakeError) as error:
        server.accept(environ(**changes))
    return error.value


def test_a_good_request_is_accepted_with_the_headers_of_the_rfc() -> None:
    accepted = ServerHandshake().accept(environ())
    assert accepted.headers == [*ASK_TO_UPGRADE, ("Sec-WebSocket-Accept", ACCEPT)]
    assert (accepted.protocols, accepted.extensions) == ([], [])


def test_a_request_is_judged_and_not_changed() -> None:
    given = environ(HTTP_SEC_WEBSOCKET_PROTOCOL="a, b")
    before = dict(given)
    ServerHandshake(["a"]).accept(given)
    assert given == before


@pytest.mark.parametrize(
    "changes",
    [
        {"HTTP_UPGRADE": "WebSocket"},
        {"HTTP_UPGRADE": "h2c, websocket"},
        {"HTTP_CONNECTION": "keep-alive, Upgrade"},
        {"HTTP_CONNECTION": "upgrade"},
        {"HTTP_CONNECTION": "UPGRADE,close"},
        {"CONTENT_LENGTH": ""},
        {"CONTENT_LENGTH": "0"},
        {"SERVER_PROTOCOL": None},
        {"HTTP_HOST": "[::1]:9000"},
        {"HTTP_HOST": "[fe80::1%25eth0]"},
        {"HTTP_HOST": "my_host.example:"},
        {"HTTP_HOST": "%7Euser.xn--bcher-kva.example:80"},
        {"HTTP_ORIGIN": "http://anywhere.example"},
        {"HTTP_ORIGIN": "null"},
        {"HTTP_SEC_WEBSOCKET_KEY": "AAAAAAAAAAAAAAAAAAAAAA=="},
        {"HTTP_SEC_WEBSOCKET_PROTOCOL": "anything"},
        {"HTTP_SEC_WEBSOCKET_EXTENSIONS": "permessage-deflate; client_max_window_bits"},
    ],
    ids=str,
)
def test_what_the_rfc_allows_is_accepted(changes: dict[str, Any]) -> None:
    accepted = ServerHandshake().accept(environ(**changes))
    assert (accepted.protocols, accepted.extensions) == ([], [])
    assert len(accepted.headers) == 3


@pytest.mark.parametrize("method", ["POST", "HEAD", "OPTIONS", "CONNECT", "get", "", None])
def test_another_method_is_405_and_told_what_is_allowed(method: str | None) -> None:
    error = refused(ServerHandshake(), REQUEST_METHOD=method)
    assert (error.status, error.headers) == (405, [("Allow", "GET")])
    assert str(error) == "HTTP method must be a GET"


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/0.9"])
def test_http_before_1_1_is_400(version: str) -> None:
    assert refused(ServerHandshake(), SERVER_PROTOCOL=version).status == 400


@pytest.mark.parametrize("value", [None, ""])
def test_a_request_without_upgrade_is_426_and_asked_to_upgrade(value: str | None) -> None:
    error = refused(ServerHandshake(), HTTP_UPGRADE=value)
    assert str(error) == error.msg == "Header HTTP_UPGRADE is not defined"
    assert (error.status, error.headers) == (426, ASK_TO_UPGRADE)


@pytest.mark.parametrize("value", ["notwebsocket!", "h2c", "websocket2", "web socket", "websocke"])
def test_an_upgrade_to_something_else_is_426(value: str) -> None:
    error = refused(ServerHandshake(), HTTP_UPGRADE=value)
    assert str(error) == f"Illegal value for header HTTP_UPGRADE: {value}"
    assert (error.status, error.headers) == (426, ASK_TO_UPGRADE)


@pytest.mark.parametrize("value", [None, ""])
def test_a_request_without_connection_is_400(value: str | None) -> None:
    error = refused(ServerHandshake(), HTTP_CONNECTION=value)
    assert str(error) == "Header HTTP_CONNECTION is not defined"
    assert (error.status, error.headers) == (400, [])


@pytest.mark.parametrize("value", ["close", "keep-alive", "upgrades", "no-upgrade", "up grade"])
def test_a_connection_that_does_not_upgrade_is_400(value: str) -> None:
    error = refused(ServerHandshake(), HTTP_CONNECTION=value)
    assert str(error) == f"Illegal value for header HTTP_CONNECTION: {value}"
    assert error.status == 400


@pytest.mark.parametrize("value", [None, ""])
def test_a_request_without_host_is_400(value: str | None) -> None:
    error = refused(ServerHandshake(), HTTP_HOST=value)
    assert (error.status, str(error)) == (400, "Header HTTP_HOST is not defined")


@pytest.mark.parametrize(
    "value",
    [
        "a b",
        "a, b",
        "a,a",
        "a/b",
        "user@a",
        "a:port",
        "a:1:2",
        "[::1",
        "::1",
        "b\xfccher",
        "a\x00",
        ":80",
    ],
)
def test_a_host_that_is_none_is_400(value: str) -> None:
    error = refused(ServerHandshake(), HTTP_HOST=value)
    assert (error.status, str(error)) == (400, f"Illegal value for header HTTP_HOST: {value}")


@pytest.mark.parametrize(
    "changes",
    [
        {"CONTENT_LENGTH": "1"},
        {"CONTENT_LENGTH": "00"},
        {"CONTENT_LENGTH": "-1"},
        {"CONTENT_LENGTH": "x"},
        {"HTTP_TRANSFER_ENCODING": "chunked"},
        {"HTTP_TRANSFER_ENCODING": ""},
    ],
    ids=str,
)
def test_a_request_with_a_body_is_400(changes: dict[str, str]) -> None:
    error = refused(ServerHandshake(), **changes)
    assert (error.status, "no body" in str(error)) == (400, True)


@pytest.mark.parametrize(
    "version", [None, "", "8", "7", "0", "14", "+13", "1_3", "013", "13.0", "13, 13", "8, 13", "x"]
)
def test_another_version_is_426_and_told_13(version: str | None) -> None:
    error = refused(ServerHandshake(), HTTP_SEC_WEBSOCKET_VERSION=version)
    assert str(error) == "Unhandled or missing WebSocket version"
    assert error.status == 426
    assert error.headers == [*ASK_TO_UPGRADE, ("Sec-WebSocket-Version", "13")]


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (None, "length is invalid"),
        ("", "length is invalid"),
        ("dGhlIHNhbXBsZSBub25j", "length is invalid"),
        ("dGhlIHNhbXBsZSBub25jZSE=AAAA"[:24], "length is invalid"),
        ("dGhlIHNhbXBsZSBub25jZQ", "not base64"),
        ("junk", "length is invalid"),
        ("not base64 at all!!!", "not base64"),
        ("dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ==", "not base64"),
        ("dGhlIHNhbXBsZSBub25jZQ== ", "not base64"),
        ("dGhl-HNhbXBsZSBub25jZQ==", "not base64"),
        ("dGhlIHNhbXBsZSBub25jZ€==", "not base64"),
        ("dGhlIHNhbXBsZSBub25jZé==", "not base64"),
    ],
)
def test_a_key_that_is_not_sixteen_bytes_in_base64_is_400(key: str | None, text: str) -> None:
    error = refused(ServerHandshake(), HTTP_SEC_WEBSOCKET_KEY=key)
    assert (error.status, text in str(error)) == (400, True), str(error)


@pytest.mark.parametrize(
    ("double", "status"),
    [
        ("Host: server.example.com", 400),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", 400),
        ("Sec-WebSocket-Version: 13", 426),
    ],
)
def test_a_header_that_must_come_once_and_comes_twice_is_refused(double: str, status: int) -> None:
    lines = [
        "GET / HTTP/1.1",
        "Host: server.example.com",
        *(f"{name}: {value}" for name, value in ASK_TO_UPGRADE),
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
    ]

    def accept(lines: list[str]) -> None:
        head = HeadReader(Limits()).feed("\r\n".join([*lines, "", ""]).encode())
        ServerHandshake().accept(make_environ(head))

    accept(lines)
    with pytest.raises(HandshakeError) as error:
        accept([*lines, double])
    assert error.value.status == status


@pytest.mark.parametrize(
    ("spoken", "asked", "picked"),
    [
        (["chat", "superchat"], "superchat, chat", "superchat"),
        (["superchat", "chat"], "chat, superchat", "chat"),
        (["chat"], "unknown,chat", "chat"),
        (["chat"], "chat, chat", "chat"),
        (["Chat"], "chat, Chat", "Chat"),
        ("chat", "chat", "chat"),
        (("a", "b"), "\t b ,, a", "b"),
    ],
)
def test_the_first_subprotocol_of_the_clients_that_is_known_is_picked(
    spoken: Any, asked: str, picked: str
) -> None:
    accepted = ServerHandshake(spoken).accept(environ(HTTP_SEC_WEBSOCKET_PROTOCOL=asked))
    assert accepted.protocols == [picked]
    assert accepted.headers[3:] == [("Sec-WebSocket-Protocol", picked)]


@pytest.mark.parametrize("asked", ["unknown", "CHAT", "chat2, chat3", "hat", "chat;x"])
def test_a_client_that_only_asks_for_unknown_subprotocols_is_400(asked: str) -> None:
    error = refused(ServerHandshake(["chat"]), HTTP_SEC_WEBSOCKET_PROTOCOL=asked)
    assert (error.status, asked in str(error)) == (400, True)


@pytest.mark.parametrize("asked", [None, "", " , "])
def test_a_client_that_asks_for_no_subprotocol_gets_none(asked: str | None) -> None:
    accepted = ServerHandshake(["chat"]).accept(environ(HTTP_SEC_WEBSOCKET_PROTOCOL=asked))
    assert (accepted.protocols, len(accepted.headers)) == ([], 3)


@pytest.mark.parametrize("spoken", [(), [], None])
def test_a_server_without_subprotocols_ignores_what_is_asked_for(spoken: Any) -> None:
    accepted = ServerHandshake(spoken).accept(environ(HTTP_SEC_WEBSOCKET_PROTOCOL="a, b"))
    assert (accepted.protocols, len(accepted.headers)) == ([], 3)


@pytest.mark.parametrize("offered", ["foo;", "foo; a=", 'bar; a=", foo, "', "foo bar", "; a"])
def test_extensions_that_break_the_grammar_are_refused(offered: str) -> None:
    with pytest.raises(HandshakeError, match="extension") as refused:
        ServerHandshake((), ["foo"]).accept(environ(HTTP_SEC_WEBSOCKET_EXTENSIONS=offered))
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("known", "offered", "agreed"),
    [
        (["foo"], "foo", ["foo"]),
        (["foo", "bar"], "bar, foo, baz", ["bar", "foo"]),
        (["foo"], "bar", []),
        (["foo"], "FOO", []),
        (["foo"], None, []),
        ([], "foo", []),
        ("foo", "foo", ["foo"]),
        (["foo"], "foobar, fo", []),
        (["foo"], 'bar; a="foo"', []),
    ],
)
def test_the_extensions_that_are_known_are_agreed_on_in_the_clients_order(
    known: Any, offered: str | None, agreed: list[str]
) -> None:
    accepted = ServerHandshake((), known).accept(environ(HTTP_SEC_WEBSOCKET_EXTENSIONS=offered))
    assert accepted.extensions == agreed
    expected = [("Sec-WebSocket-Extensions", ", ".join(agreed))] if agreed else []
    assert accepted.headers[3:] == expected


@pytest.mark.parametrize(
    "origin",
    [
        "https://example.com",
        "HTTPS://Example.COM",
        "https://example.com/",
        "https://example.com:443",
        "http://b:81",
        "http://c",
    ],
)
def test_an_origin_that_is_allowed_passes(origin: str) -> None:
    server = ServerHandshake(origins=["https://example.com", "http://B:81/", "http://c:80"])
    assert server.accept(environ(HTTP_ORIGIN=origin)).protocols == []


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "",
        "null",
        "https://example.com.evil",
        "http://example.com",
        "https://example.com:444",
        "https://example.com:80",
        "https://example.com, https://example.com",
    ],
)
def test_an_origin_that_is_not_allowed_is_403(origin: str | None) -> None:
    error = refused(ServerHandshake(origins=["https://example.com"]), HTTP_ORIGIN=origin)
    assert (error.status, repr(origin) in str(error)) == (403, True)


def test_none_among_the_origins_allows_a_request_without_one() -> None:
    server = ServerHandshake(origins=[None, "https://example.com"])
    assert server.accept(environ()).protocols == []
    assert server.accept(environ(HTTP_ORIGIN="https://example.com")).protocols == []
    assert refused(server, HTTP_ORIGIN="https://other.example").status == 403


def test_one_origin_may_be_given_as_a_str_and_null_is_one() -> None:
    assert ServerHandshake(origins="null").accept(environ(HTTP_ORIGIN="null")).protocols == []
    server = ServerHandshake(origins="https://example.com")
    assert server.accept(environ(HTTP_ORIGIN="https://example.com")).protocols == []
    assert refused(server, HTTP_ORIGIN="https://h").status == 403


@pytest.mark.parametrize("origin", ["example.com", "https://", "https://a/b", "", "*", 5])
def test_what_cannot_be_an_origin_is_a_value_error_at_once(origin: Any) -> None:
    with pytest.raises(ValueError, match="origin"):
        ServerHandshake(origins=[origin])


@pytest.mark.parametrize("name", ["", "a b", "a,b", "a;b", "é", "a\r\nX: y", "a\x00", 5, b"chat"])
@pytest.mark.parametrize("what", ["protocols", "extensions"])
def test_what_cannot_be_a_name_in_a_header_is_a_value_error_at_once(what: str, name: Any) -> None:
    with pytest.raises(ValueError, match="cannot be the name"):
        ServerHandshake(**{what: [name]})


def test_a_wrong_method_is_told_before_anything_else() -> None:
    assert refused(ServerHandshake(), **dict.fromkeys(GOOD)).status == 405


def test_a_bad_request_is_not_asked_for_its_origin() -> None:
    server = ServerHandshake(origins=["https://example.com"])
    assert refused(server, HTTP_SEC_WEBSOCKET_KEY="junk").status == 400


OVER_HTTP_2 = {
    "HTTP_UPGRADE": None,
    "HTTP_CONNECTION": None,
    "HTTP_SEC_WEBSOCKET_KEY": None,
    "SERVER_PROTOCOL": "HTTP/2",
}


def test_a_host_that_can_switch_is_told_what_was_agreed_on() -> None:
    server = ServerHandshake(["chat"], ["x-one"])
    agreed = server.agree(
        environ(
            **OVER_HTTP_2,
            HTTP_SEC_WEBSOCKET_PROTOCOL="other, chat",
            HTTP_SEC_WEBSOCKET_EXTENSIONS="x-two, x-one",
        )
    )
    assert agreed == ([("Sec-WebSocket-Extensions", "x-one")], ["chat"], ["x-one"])
    assert server.agree(environ(**OVER_HTTP_2)) == ([], [], [])


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"HTTP_SEC_WEBSOCKET_KEY": "c2hvcnQ="}, 400),
        ({"HTTP_SEC_WEBSOCKET_VERSION": "8"}, 426),
        ({"CONTENT_LENGTH": "1"}, 400),
        ({"HTTP_ORIGIN": "https://evil.example"}, 403),
        ({"HTTP_SEC_WEBSOCKET_PROTOCOL": "other"}, 400),
    ],
    ids=str,
)
def test_what_a_host_has_let_pass_is_judged(changes: dict[str, str], status: int) -> None:
    server = ServerHandshake(["chat"], origins=[None, "https://good.example"])
    with pytest.raises(HandshakeError) as caught:
        server.agree(environ(**changes))
    assert caught.value.status == status
