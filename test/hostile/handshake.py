"""Opening handshakes that are wrong, or look so (RFC 6455 4.2.1, RFC 7230).

Each request is the first of its connection, and the answer to it has to be whole. What is accepted
has to echo. Where the RFC leaves a choice, an attack names both answers.
"""

from __future__ import annotations

import re
from typing import Any

from test.hostile.answers import (
    CONNECTION,
    FIELDS,
    GOODBYE,
    HELLO,
    KEY_FIELD,
    NO_WEBSOCKET,
    UPGRADE,
    VERSION,
    ask,
    connected,
    never_switched,
    on_servers,
    read_response,
    request,
)
from test.hostile.targets import KEY
from test.hostile.wire import Wire

#: "501 (Not Implemented)" is for methods that a server does not know (RFC 7231 4.1).
NO_METHOD = (400, 405, 501)


# Fields.


@on_servers("RFC 6455 4.2.1", [(name, name) for name in FIELDS if name != VERSION])
def a_field_is_missing(target: Any, name: str) -> None:
    statuses = {UPGRADE: NO_WEBSOCKET, CONNECTION: NO_WEBSOCKET, "Origin": (403,)}
    ask(target, request({name: None}), *statuses.get(name, (400,)))


@on_servers("RFC 6455 4.2.1")
def a_field_is_empty(target: Any) -> None:
    for name in ("Host", UPGRADE, CONNECTION, KEY_FIELD):
        ask(target, request({name: ""}), *NO_WEBSOCKET)


@on_servers("RFC 7230 5.4", [("the same", "localhost"), ("another", "evil.example")])
def there_are_two_hosts(target: Any, other: str) -> None:
    ask(target, request(None, f"Host: {other}"), 400)


@on_servers("RFC 7230 5.4")
def a_host_is_none(target: Any) -> None:
    for host in ("a b", "a/b", "user@localhost", "localhost:port", "[::1", "localhost, b", "a\tb"):
        ask(target, request({"Host": host}), 400)


@on_servers("RFC 6455 11.3.1")
def there_are_two_keys(target: Any) -> None:
    for other in (KEY, "x3JJHMbDL1EzLkh9GBhXDw=="):
        ask(target, request(None, f"{KEY_FIELD}: {other}"), 400)


@on_servers("RFC 6455 11.3.5", [("the same", "13"), ("another", "8")])
def there_are_two_versions(target: Any, other: str) -> None:
    ask(target, request(None, f"{VERSION}: {other}"), *NO_WEBSOCKET)


@on_servers("RFC 7230 3.2.2", [("Connection", "Connection: keep-alive", (101,))])
def a_list_is_in_two_fields(target: Any, line: str, statuses: tuple[int, ...]) -> None:
    ask(target, request(None, line), *statuses)


@on_servers("RFC 6455 4.2.1")
def there_are_two_upgrades(target: Any) -> None:
    # A list for RFC 7230 6.7; "containing the value", not a list, for RFC 6455.
    for other in ("websocket", "h2c"):
        ask(target, request(None, f"Upgrade: {other}"), 101, *NO_WEBSOCKET)


@on_servers("RFC 7230 3.2 and RFC 6455 4.2.1")
def names_and_tokens_are_in_another_case(target: Any) -> None:
    head = request()
    for data in (
        re.sub(rb"(?m)^[\w-]+:", lambda match: match[0].upper(), head),
        re.sub(rb"(?m)^[\w-]+:", lambda match: match[0].lower(), head),
        request({UPGRADE: "WebSocket", CONNECTION: "upgrade"}),
        request({UPGRADE: "WEBSOCKET", CONNECTION: "UPGRADE"}),
    ):
        ask(target, data, 101)


@on_servers("RFC 7230 7")
def connection_is_a_list(target: Any) -> None:
    for value in (
        "keep-alive, Upgrade",
        "Upgrade, keep-alive",
        "keep-alive,upgrade",
        "keep-alive\t ,\t Upgrade",
        "a, b, c, d, Upgrade, e",
    ):
        ask(target, request({CONNECTION: value}), 101)


@on_servers("RFC 7230 7")
def a_list_has_empty_elements(target: Any) -> None:
    for value in (",Upgrade", "Upgrade,", ", ,,Upgrade,, ,"):
        ask(target, request({CONNECTION: value}), 101)


@on_servers("RFC 6455 4.2.1")
def a_token_is_another(target: Any) -> None:
    for value in (
        "websockets",
        "web socket",
        "h2c",
        "WebSocket2",
        '"websocket"',
        "web",
        "websocke",
    ):
        ask(target, request({UPGRADE: value}), *NO_WEBSOCKET)
    for value in ("close", "keep-alive", "Upgraded", "xUpgrade", "Up grade", '"Upgrade"', "Sec"):
        ask(target, request({CONNECTION: value}), *NO_WEBSOCKET)


@on_servers("RFC 7230 3.2.4")
def a_value_has_white_space_around_it(target: Any) -> None:
    for form in ("  {}", "{}  ", "\t{}", "{}\t", " \t {} \t "):
        ask(target, request({name: form.format(value) for name, value in FIELDS.items()}), 101)
    lines = request().replace(b": ", b":")
    ask(target, lines, 101)


@on_servers("RFC 6455 4.2.1")
def a_field_is_spelled_with_an_underscore(target: Any) -> None:
    for name, statuses in ((KEY_FIELD, (400,)), (VERSION, NO_WEBSOCKET)):
        line = f"{name.replace('-', '_')}: {FIELDS[name]}"
        ask(target, request({name: None}, line), *statuses)


# Keys.

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


@on_servers("RFC 6455 4.2.1")
def a_key_has_another_length(target: Any) -> None:
    for groups in (*range(1, 6), *range(7, 12), 1000):
        ask(target, request({KEY_FIELD: "AAAA" * (groups - 1) + "AA=="}), 400)
        ask(target, request({KEY_FIELD: "AAAA" * groups}), 400)


@on_servers("RFC 6455 4.2.1")
def a_key_is_not_base64(target: Any) -> None:
    for key in (
        "!" * 22 + "==",
        "-_" * 11 + "==",
        KEY[:-1],
        KEY[:-2],
        KEY + "=",
        KEY + "AAAA",
        "=" + KEY[:-1],
        "=" * 24,
        KEY[:10] + "=" + KEY[11:],
        KEY[:10] + " " + KEY[10:],
        KEY[:10] + "\t" + KEY[10:],
        KEY + ",",
        KEY + ", " + KEY,
        f'"{KEY}"',
        KEY[:-3] + "\xe9==",
        "\xc4\x80" * 12,
    ):
        ask(target, request({KEY_FIELD: key}), 400)


@on_servers("RFC 6455 4.2.1")
def a_key_has_bits_behind_its_last_byte(target: Any) -> None:
    # It "decodes to 16 bytes" all the same; RFC 4648 3.5 lets a decoder refuse it.
    for last in "RSZf":
        key = f"dGhlIHNhbXBsZSBub25jZ{last}=="
        ask(target, request({KEY_FIELD: key}), 101, 400, key=key)


@on_servers("RFC 6455 4.2.2")
def a_key_is_of_each_character(target: Any) -> None:
    for position in range(0, 64, 8):
        key = ALPHABET[position : position + 8] * 2 + "+/+/+A=="
        ask(target, request({KEY_FIELD: key}), 101, key=key)


# Versions.


def refuse_version(target: Any, version: str | None) -> None:
    response = ask(target, request({VERSION: version}), 426)
    assert response.get("sec-websocket-version") == ["13"], (version, response)


@on_servers("RFC 6455 4.4")
def a_version_is_another(target: Any) -> None:
    for version in [*range(13), 14, 25, 255, 256, 2**32 + 13]:
        refuse_version(target, str(version))


@on_servers("RFC 6455 4.4")
def a_version_is_no_number(target: Any) -> None:
    for version in (
        *("", "text", "13, 8", "8, 13", "13,", "013", "13.0", "+13", "-13", "0x0d", "1 3", "xiii"),
        *("13;q=1", '"13"', "\xb913", "\xd9\xa1\xd9\xa3", "13\xa0"),
    ):
        refuse_version(target, version)


@on_servers("RFC 6455 4.4")
def a_version_is_missing(target: Any) -> None:
    refuse_version(target, None)


# Request lines.


@on_servers("RFC 6455 4.2.1", [("1.0", "1.0")])
def http_is_too_old(target: Any, version: str) -> None:
    ask(target, request(line=f"GET / HTTP/{version}"), 400, 426, 505)


@on_servers("RFC 7230 2.6")
def http_is_newer(target: Any) -> None:
    # One with a higher minor version is "to be processed as if it were" one that is known.
    ask(target, request(line="GET / HTTP/1.2"), 101, 400, 505)
    ask(target, request(line="GET / HTTP/1.9"), 101, 400, 505)


@on_servers("RFC 7230 2.6")
def http_is_of_another_kind(target: Any) -> None:
    for version in (
        *("HTTP/2.0", "HTTP/3.0", "HTTP/0.0", "HTTP/9.9", "HTTP/1", "HTTP/11", "HTTP/1.1.1"),
        *("http/1.1", "HTTP/1,1", "HTTP/-1.1", "HTTP/x.y", "HTTPS/1.1", "ICY/1.1", "HTTP/"),
    ):
        ask(target, request(line=f"GET / {version}"), 400, 426, 505)


@on_servers("RFC 6455 4.2.1")
def http_is_of_the_first_version(target: Any) -> None:
    for line in (b"GET /", b"GET / "):
        head = request().partition(b"\r\n")[2]
        never_switched(target, line + b"\r\n" + head + GOODBYE)
        never_switched(target, line + b"\r\n\r\n")


@on_servers("RFC 7540 3.5")
def http_is_of_the_second_version(target: Any) -> None:
    never_switched(target, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9))


@on_servers("RFC 7230 3.1.1")
def a_request_line_is_malformed(target: Any) -> None:
    for line in (
        *("GET  / HTTP/1.1", "GET /  HTTP/1.1", "GET / HTTP/1.1 x", "GET\t/\tHTTP/1.1"),
        *("GET / a HTTP/1.1", "GET HTTP/1.1", "/ HTTP/1.1", "HTTP/1.1", "GET / HTTP/1.1\x00"),
    ):
        ask(target, request(line=line), 400, 404, 405, 426, 501, 505)


@on_servers("RFC 6455 4.2.1", [(each, each) for each in ("POST", "PUT", "DELETE", "OPTIONS")])
def a_method_is_another(target: Any, method: str) -> None:
    ask(target, request(line=f"{method} / HTTP/1.1"), *NO_METHOD)


@on_servers("RFC 7231 4.1")
def a_method_is_unknown(target: Any) -> None:
    for method in ("get", "Get", "GETS", "GE", "PATCH", "TRACE", "BREW", "M-SEARCH"):
        ask(target, request(line=f"{method} / HTTP/1.1"), *NO_METHOD)


@on_servers("RFC 7231 4.3.2")
def a_method_is_head(target: Any) -> None:
    ask(target, request(line="HEAD / HTTP/1.1"), *NO_METHOD, has_body=False)


@on_servers("RFC 7230 3.1.1")
def a_method_is_none(target: Any) -> None:
    for method in ("G@T", "G(E)T", '"GET"', "G\xc9T", "", "GET/"):
        ask(target, request(line=f"{method} / HTTP/1.1"), *NO_METHOD)


@on_servers("RFC 7230 5.3.2", [("http", "http://localhost"), ("ws", "ws://localhost:80")])
def the_target_is_absolute(target: Any, base: str) -> None:
    for path in ("/", "/a/b?c=d", "/?", "/%41"):
        ask(target, request(line=f"GET {base}{path} HTTP/1.1"), 101)


@on_servers("RFC 7230 5.3.2")
def the_path_of_an_absolute_target_is_the_one(target: Any) -> None:
    with connected(target, request(line="GET http://localhost/close HTTP/1.1")) as sock:
        response = read_response(sock)
        assert response is not None
        assert response.status == 101, response
        with Wire(sock, True, response.rest) as wire:
            wire.send(HELLO)
            frame = wire.frame()
            assert frame is not None
            assert frame.payload[:2] == b"\x0f\xa0", f"{frame} is not from /close"


@on_servers("RFC 7230 5.3")
def the_target_is_odd(target: Any) -> None:
    for path in (
        *("/%00", "/%ff", "/%", "/%zz", "/%u0041", "/..", "/../../etc/passwd", "//", "//evil/x"),
        *("/a;b=c", "/a#b", "/[", "/]", "/a|b", "/?", "/?a=%", "/?%00", "/" + "a/" * 1000),
        *("/%0d%0aX-Injected:%20yes", "/?%0d%0aX-Injected:yes", "/<script>", "/%E2%82%AC", "/\\"),
    ):
        response = ask(target, request(line=f"GET {path} HTTP/1.1"), 101, 400, 404)
        assert not response.get("x-injected"), response


@on_servers("RFC 7230 5.3")
def the_target_is_none(target: Any) -> None:
    for path in ("*", "a", "localhost:80", "?a", "http:", "http://", "http:///", "http://[::1/"):
        ask(target, request(line=f"GET {path} HTTP/1.1"), 101, 400, 404)


@on_servers("RFC 7230 3.1.1")
def the_target_is_not_ascii(target: Any) -> None:
    for path in ("/\xe9", "/\xe2\x82\xac", "/\xff\xfe", "/\x7f", "/\x01", "/\x80"):
        ask(target, request(line=f"GET {path} HTTP/1.1"), 101, 400, 404)
