"""Origins, subprotocols and extensions in opening handshakes (RFC 6455 4.2, 9.1, 10.2)."""

from __future__ import annotations

import time
from typing import Any

from test.hostile import AT_ONCE, ORIGIN, PROTOCOLS
from test.hostile.answers import Response, ask, connected, on_servers, read_response, request

ORIGIN_FIELD = "Origin"
PROTOCOL = "Sec-WebSocket-Protocol"
EXTENSIONS = "Sec-WebSocket-Extensions"


@on_servers("RFC 6455 10.2")
def an_origin_is_another(target: Any) -> None:
    for origin in (
        *("https://evil.example", "null", "NULL", "", "*", "good.example", "//good.example"),
        # Another scheme, another port, another name.
        *("http://good.example", "wss://good.example", "https://good.example:8443"),
        *("https://good.example:80", "https://www.good.example", "https://xgood.example"),
        *("https://good.examplex", "https://good.example.evil", "https://good.example."),
        *("https://good", "https://good.example@evil", "https://evil@good.example"),
        *(
            "https://evil/https://good.example",
            "https://good.example/path",
            "https://good.example?",
        ),
        *("https://good.example#", "https:/good.example", "https://evil#https://good.example"),
        *(
            "https://good.example, https://evil.example",
            "https://evil.example https://good.example",
        ),
        *(
            "https://good.example evil",
            "https://good\xb7example",
            "https://g\xd0\xbe\xd0\xbed.example",
        ),
        *("https://good.example\x00", "https://good.example\x00.evil", "data:text/html,x"),
        *("https://good.example;", "https://good.example\\.evil", "file://", "https://"),
    ):
        # A NUL is no part of a value: 400.
        ask(target, request({ORIGIN_FIELD: origin}), *((403, 400) if "\0" in origin else (403,)))


@on_servers("RFC 6454 7.3")
def there_are_two_origins(target: Any) -> None:
    for other in (ORIGIN, "https://evil.example", "null"):
        ask(target, request(None, f"Origin: {other}"), 403, 400)
        ask(target, request({ORIGIN_FIELD: other}, f"Origin: {ORIGIN}"), 403, 400)


@on_servers("RFC 6454 4")
def an_origin_is_in_another_case(target: Any) -> None:
    # "Converted to lowercase": scheme and host are without case.
    for origin in ("HTTPS://GOOD.EXAMPLE", "https://Good.Example"):
        ask(target, request({ORIGIN_FIELD: origin}), 101, 403)


@on_servers("RFC 6455 10.2")
def an_origin_is_somewhere_else(target: Any) -> None:
    for line in (f"Sec-WebSocket-Origin: {ORIGIN}", f"Referer: {ORIGIN}", f"X-Origin: {ORIGIN}"):
        ask(target, request({ORIGIN_FIELD: "https://evil.example"}, line), 403)
        ask(target, request({ORIGIN_FIELD: None}, line), 403)


# Subprotocols.


def picked(response: Response) -> list[str]:
    """Return what was picked; fail if that is more than one, or was not offered."""
    values = response.get(PROTOCOL.lower())
    assert not response.get("x-injected"), response
    assert all(value in PROTOCOLS for value in values), response
    assert len(values) < 2, response
    return values


@on_servers("RFC 6455 4.2.2")
def subprotocols_are_offered(target: Any) -> None:
    for value, right in (
        ("chat", "chat"),
        ("x, superchat, chat", "superchat"),
        ("x,chat", "chat"),
        ("chat, chat, superchat", "chat"),
    ):
        assert picked(ask(target, request({PROTOCOL: value}), 101)) in (["chat"], [right])


@on_servers("RFC 6455 11.3.4")
def subprotocols_are_in_two_fields(target: Any) -> None:
    response = ask(target, request({PROTOCOL: "x"}, f"{PROTOCOL}: superchat"), 101)
    assert picked(response) == ["superchat"]


@on_servers("RFC 6455 4.2.2")
def subprotocols_are_unknown(target: Any) -> None:
    # A server may do without one too. Their names have a case.
    for value in ("x", "CHAT", "chatx", "cha", "chat/1", "superchat2, x", "chat;q=1"):
        assert picked(ask(target, request({PROTOCOL: value}), 101, 400)) == []


@on_servers("RFC 6455 4.1")
def subprotocols_are_malformed(target: Any) -> None:
    for value in (
        *("", ",", ",,,,", "chat superchat", '"chat"', '"chat', "chat;", "ch\xe9t", "\xff", "(x)"),
        *("chat%0d%0aX-Injected: yes", "chat\tx", "x\\r\\nX-Injected: yes", "<script>", "{}%s"),
    ):
        assert picked(ask(target, request({PROTOCOL: value}), 101, 400)) == []


@on_servers("RFC 6455 4.1")
def a_subprotocol_has_a_line_of_its_own(target: Any) -> None:
    for end in ("\r", "\x00", "\x0b", "\x0c", "\x85", "\x1f"):
        value = f"chat{end}X-Injected: yes"
        picked(ask(target, request({PROTOCOL: value}), 101, 400))


def at_once(target: Any, data: bytes, *statuses: int) -> None:
    """Fail unless each of ten such requests is answered at once, and with nothing unknown."""
    for _ in range(10):
        began = time.monotonic()
        with connected(target, data) as sock:
            response = read_response(sock)
            assert response is not None
            assert response.status in statuses, response
            assert picked(response) == [], response
        assert time.monotonic() - began < AT_ONCE


@on_servers("a limit of ours")
def there_are_thousands_of_subprotocols(target: Any) -> None:
    at_once(target, request(None, *[f"{PROTOCOL}: {'a,' * 1900}"] * 14), 101, 400, 431)
    at_once(target, request({PROTOCOL: "," * 3900}), 101, 400, 431)


# Extensions.


@on_servers("RFC 6455 9.1")
def extensions_are_unknown(target: Any) -> None:
    for value in ("x", "x; a=b", 'x; a="b"', "permessage-x; a; b, y", "x-webkit-deflate-frame"):
        response = ask(target, request({EXTENSIONS: value}), 101)
        assert not response.get(EXTENSIONS.lower()), response


@on_servers("RFC 6455 9.1")
def extensions_are_malformed(target: Any) -> None:
    # An offer that is not understood may be declined, or refused with the handshake.
    for value in (
        *("", ",", ";", "=", "x;", "x; ", "x; =", "x; a=", 'x; a="', 'x; a="\\', 'x; a="b', "x x"),
        *('"x"', "x; a=b c", "x; a b", "x;; a", ",x,,", "x; a=\xff", "\xff", 'x; a="," y', "(x)"),
        *('x; a="b\\"', 'x; a=""', 'x; a="\x7f"', "permessage-deflate; a", "permessage-deflate;"),
        *("permessage-deflate; server_max_window_bits=99", 'permessage-deflate; x="', "x\x0by"),
    ):
        response = ask(target, request({EXTENSIONS: value}), 101, 400)
        assert not response.get(EXTENSIONS.lower()), response
        assert not response.get("x-injected"), response


@on_servers("a limit of ours")
def there_are_thousands_of_extensions(target: Any) -> None:
    lines = [f"{EXTENSIONS}: {'x;a=b,' * 640}"] * 14
    at_once(target, request(None, *lines), 101, 400, 431)
    for piece in ("x,", ";", 'x;a="', "\\", '"', "x;a=", " ", "permessage-deflate,"):
        at_once(target, request({EXTENSIONS: piece * (3900 // len(piece))}), 101, 400, 431)


@on_servers("RFC 7230 3.2.4")
def nothing_is_reflected(target: Any) -> None:
    marks = "<script>alert(1)</script>"
    for name in ("Host", "Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version"):
        response = ask(target, request({name: marks}), 400, 426)
        is_text = any(each.startswith("text/plain") for each in response.get("content-type"))
        assert is_text or b"<script>alert" not in response.rest, response
