"""What clients ask for: their URLs and headers, and whether their keys can be foreseen."""

from __future__ import annotations

import base64
import socket
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Any

from test.hostile import CLIENT, FRAMES, HANDSHAKE, attack
from test.hostile.clients import GOOD, accepts, switch
from test.hostile.clients_lasting import opened
from test.hostile.targets import key_of, read_head
from test.hostile.wire import PATIENCE, TEXT, Wire, xor

NO_URLS = (
    *("", "127.0.0.1:{port}", "//127.0.0.1:{port}/", "/path", "ws", "ws:", "ws://", "ws:///path"),
    *("http://127.0.0.1:{port}/", "https://127.0.0.1:{port}/", "wsx://127.0.0.1:{port}/"),
    *("file:///etc/passwd", "ws:127.0.0.1:{port}", "ws:/127.0.0.1:{port}/", " ws://127.0.0.1/"),
    *("ws://127.0.0.1:{port}/a b", "ws://127.0.0.1:{port}/\r\nX: y", "ws://127.0.0.1:{port}/\n"),
    *("ws://127.0.0.1:{port}/\t", "ws://127.0.0.1:{port}/a\x00b", "ws://127.0.0.1:{port}/\x7f"),
    *("ws://127.0.0.1\x00:{port}/", "ws://127.0.0.1\r\n:{port}/", "ws://127.0.0.1 :{port}/"),
    *("ws://127.0.0.1:{port}/?a=\r\n\r\nGET / HTTP/1.1", "w\ns://127.0.0.1:{port}/"),
    *("ws://127.0.0.1:{port}/#", "ws://127.0.0.1:{port}/#a", "ws://127.0.0.1:{port}/?q#a"),
    *("ws://127.0.0.1:{port}#a", "ws://:{port}/", "ws://:{port}", "ws://127.0.0.1:port/"),
    *("ws://127.0.0.1:0/", "ws://127.0.0.1:00/", "ws://127.0.0.1:65536/", "ws://127.0.0.1:-1/"),
    *("ws://127.0.0.1:99999999999999999999/", "ws://127.0.0.1:{port}:80/", "ws://127.0.0.1:8O/"),
    *("ws://127.0.0.1:1e3/", "ws://127.0.0.1:+{port}/", "ws://127.0.0.1:{port}.0/"),
    *("ws://127.0.0.1:8_0/", "ws://127.0.0.1:\u0668\u0660/", "ws://\u0661\u0662\u0667.0.0.1/"),
    *("ws://127.0.0.1:{port}/\xe9", "ws://127.0.0.1:{port}/?\u4e2d", "ws://b\xfccher.example/"),
    *("ws://127.0.0.1:{port}/\ud800", "ws://127.0.0.1\u2100/", "ws://127.0.0.1\uff0f/"),
    *("ws://::1:{port}/", "ws://[::1:{port}/", "ws://::1]:{port}/", "ws://[]:{port}/", "ws://[::1"),
    *("ws://[::1]x:{port}/", "ws://x[::1]:{port}/", "ws://[::1]]:{port}/", "ws://[[::1]]:{port}/"),
    *("ws://" + "a" * 64 + ".example/", "ws://a..b/"),
    *("ws+unix://", "wss+unix://", "ws+unix://tmp/some.sock", "wss+unix://localhost"),
    *("ws+unix:///tmp/a b", "ws+unix:///tmp/a\x00", "ws+unix:///tmp/a#b", "ws+http://127.0.0.1/"),
)


@attack(HANDSHAKE, "RFC 6455 3", roles=(CLIENT,))
def a_url_that_is_none(target: Any) -> None:
    for pattern in NO_URLS:
        url = pattern.replace("{port}", str(target.port))
        event = target.event(target.start(url))
        assert event[:2] == ["failed", "ValueError"], (url[:100], event)
        assert repr(url) in event[2], (url[:100], event[2][:200])
    # A password is not repeated, for texts of errors are logged.
    for pattern in (
        *("ws://me:secret@{host}/", "ws://secret@{host}/", "ws://:secret@{host}", "ws://@{host}/"),
        *("ws://me:secret@{host}0000/", "ws://me:secret@{host}/ ", "http://me:secret@{host}/"),
    ):
        url = pattern.replace("{host}", f"127.0.0.1:{target.port}")
        event = target.event(target.start(url))
        assert event[:2] == ["failed", "ValueError"], (url, event)
        assert "user name" in event[2], (url, event)
        assert "secret" not in event[2], (url, event)


@attack(HANDSHAKE, "RFC 6455 3", roles=(CLIENT,))
def a_socket_that_cannot_be(target: Any) -> None:
    for url, kinds in (
        # uvloop cuts the name.
        ("ws+unix:///no/such/" + "x" * 200, ["OSError", "FileNotFoundError"]),
        ("ws+unix:///no/such/socket", ["FileNotFoundError"]),
        ("ws+unix:///", ["ConnectionRefusedError", "FileNotFoundError"]),
    ):
        event = target.event(target.start(url))
        assert event[0] == "failed", (url, event)
        assert event[1] in kinds, (url, event)


@attack(HANDSHAKE, "RFC 9112 3.2.1", roles=(CLIENT,))
def a_url_that_is_unusual(target: Any) -> None:
    for scheme, path, asked in (
        *(("ws", "", "/"), ("ws", "?q=1", "/?q=1"), ("WS", "/", "/"), ("Ws", "//", "//")),
        *(("ws", "/%20%0d%0a%00%c3%a9", "/%20%0d%0a%00%c3%a9"), ("ws", "/a/../b/.", "/a/../b/.")),
        *(("ws", "/a;b=c:d@e,f", "/a;b=c:d@e,f"), ("ws", "/?a?b=/&http://c", "/?a?b=/&http://c")),
        *(("ws", "/" + "x" * 1_000_000, "/" + "x" * 1_000_000), ("ws", "/?%23", "/?%23")),
    ):
        number = target.start(f"{scheme}://127.0.0.1:{target.port}{path}")
        with Wire(target.take(), False) as wire:
            head, _ = read_head(wire.sock)
            assert head.startswith(f"GET {asked} HTTP/1.1\r\n".encode()), head[:100]
            wire.send(switch(head))
            assert target.event(number) == ["opened"]
            wire.leave()


def fields_of(head: bytes) -> list[tuple[str, str]]:
    """Return the headers of a request; fail unless each line is as plain as can be."""
    text = head.decode("ascii")
    lines = text.split("\r\n")
    assert lines[-2:] == ["", ""], head
    fields = []
    for line in lines[1:-2]:
        name, colon, value = line.partition(": ")
        assert colon, line
        assert name == name.strip(), line
        assert value == value.strip(), line
        assert line.isprintable(), line
        fields.append((name.lower(), value))
    return fields


def check_request(head: bytes, host: str, path: str = "/") -> dict[str, str]:
    """Fail unless a request has what RFC 6455 4.1 wants; return its headers."""
    assert head.startswith(f"GET {path} HTTP/1.1\r\n".encode()), head
    fields = fields_of(head)
    assert not [name for name, n in Counter(name for name, _ in fields).items() if n > 1], head
    found = dict(fields)
    assert found["host"] == host, head
    assert found["upgrade"] == "websocket", head
    assert found["connection"] == "Upgrade", head
    assert found["sec-websocket-version"] == "13", head
    assert "content-length" not in found, head
    assert "transfer-encoding" not in found, head
    key = base64.b64decode(found["sec-websocket-key"], validate=True)
    assert len(key) == 16, head
    assert base64.b64encode(key).decode() == found["sec-websocket-key"], head
    return found


#: Of compression, in the order of preference (RFC 7692 5.2): for a server that cannot limit its
#: window there is the second one.
OFFER = (
    "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12, "
    "permessage-deflate; client_max_window_bits=12"
)


@attack(HANDSHAKE, "RFC 6455 4.1", roles=(CLIENT,))
def a_request_is_strict(target: Any) -> None:
    for options, more in (
        ({}, {}),
        ({"protocols": ["a", "b"]}, {"sec-websocket-protocol": "a, b"}),
        ({"extensions": ["x"]}, {"sec-websocket-extensions": "x"}),
        (
            {"extensions": ["x"], "compression": "deflate"},
            {"sec-websocket-extensions": f"x, {OFFER}"},
        ),
        ({"headers": [["X-Mine", "1"]]}, {"x-mine": "1"}),
        ({"headers": {"ORIGIN": "http://other"}}, {"origin": "http://other"}),
        ({"headers": [["User-Agent", ""]]}, {"user-agent": ""}),
    ):
        number, sock, head = target.accept("/a?b=c", **{"compression": None, **options})
        sock.close()
        target.event(number)
        if more == {"user-agent": ""}:
            assert b"\r\nUser-Agent: \r\n" in head, head
            continue
        found = check_request(head, f"127.0.0.1:{target.port}", "/a?b=c")
        assert more.items() <= found.items(), head
        for name in ("sec-websocket-protocol", "sec-websocket-extensions"):
            assert name not in found or name in more, head


@attack(HANDSHAKE, "RFC 9112 3.2", roles=(CLIENT,))
def a_request_to_an_ipv6_address(target: Any) -> None:
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        return  # There is no IPv6 here.
    with listener:
        listener.settimeout(PATIENCE)
        port = listener.getsockname()[1]
        for host, named in (("[::1]", "[::1]"), ("[0:0:0:0:0:0:0:1]", "[0:0:0:0:0:0:0:1]")):
            number = target.start(f"ws://{host}:{port}")
            with listener.accept()[0] as sock:
                check_request(read_head(sock)[0], f"{named}:{port}")
            target.event(number)


@attack(HANDSHAKE, "RFC 9110 5", roles=(CLIENT,))
def a_header_that_cannot_be_one(target: Any) -> None:
    for options in (
        *({"headers": [["X", f"a{bad}Y: b"]]} for bad in ("\r\n", "\r", "\n", "\x00", "\x7f")),
        *({"headers": {name: "a"}} for name in ("", "X Y", "X:", "X\r\nY", "\xe9", "X\x00", "(")),
        *({"headers": [["Host", "a\r\n\r\nGET / HTTP/1.1"]]}, {"headers": {"X": "\u4e2d"}}),
        *({"protocols": [name]} for name in ("", "a b", "a,b", "a\r\nb", "\xe9", "a;b", '"a"')),
        *({"extensions": [name]} for name in ("", "a b", "a,b", "a\r\nX: y", "\xe9")),
    ):
        url = f"ws://127.0.0.1:{target.port}/"
        event = target.event(target.start(url, **options))
        # UnicodeEncodeError is a ValueError.
        assert event[0] == "failed", (options, event)
        assert event[1] in ("ValueError", "UnicodeEncodeError"), (options, event)
        assert event[2], (options, event)
    # None of them has connected.
    _, sock, head = target.accept("/next")
    sock.close()
    assert head.startswith(b"GET /next "), head


def looks_random(samples: Sequence[bytes]) -> None:
    """Fail if a bit of the samples is set clearly more or less often than every second time."""
    size, count = len(samples[0]), len(samples)
    total = Counter(
        bit for sample in samples for bit in range(8 * size) if sample[bit // 8] >> (bit % 8) & 1
    )
    # Seven standard deviations: that happens to one of 10^11 bits.
    most = 7 * (count / 4) ** 0.5
    for bit in range(8 * size):
        assert abs(total[bit] - count / 2) < most, f"bit {bit} is set in {total[bit]} of {count}"


@attack(HANDSHAKE, "RFC 6455 4.1: a nonce, selected randomly for each connection", roles=(CLIENT,))
def keys_of_handshakes_can_be_foreseen(target: Any) -> None:
    keys = []
    for _ in range(500):
        number, sock, head = target.accept()
        sock.close()
        target.event(number)
        keys.append(base64.b64decode(key_of(head), validate=True))
    assert {len(key) for key in keys} == {16}
    assert len(set(keys)) == len(keys), "a key has come twice"
    looks_random(keys)


def masking_keys(wire: Wire, count: int) -> list[bytes]:
    """Return the masking keys of the echoes of as many messages of a byte."""
    wire.send(wire.build(TEXT, b"x") * count)
    data = b""
    with suppress(socket.timeout):
        while len(data) < 7 * count:
            data += wire.sock.recv(1 << 16)
    frames = [data[i : i + 7] for i in range(0, len(data), 7)]
    assert len(frames) == count
    for each in frames:
        assert each[:2] == b"\x81\x81", each
        assert xor(each[6:], each[2:6]) == b"x", each
    return [each[2:6] for each in frames]


@attack(FRAMES, "RFC 6455 5.3: strong entropy, a fresh key for every frame", roles=(CLIENT,))
def masking_keys_can_be_foreseen(target: Any) -> None:
    with target.open() as wire:
        keys = masking_keys(wire, 4000)
        wire.leave()
    # Of 4000 out of 2^32, two are the same in one of 500 runs; three times that is no chance.
    assert len(set(keys)) >= len(keys) - 2, "a masking key has come again and again"
    looks_random(keys)


@attack(
    FRAMES, "RFC 6455 5.3 and 10.3: not out of a generator that can be foreseen", roles=(CLIENT,)
)
def keys_repeat_when_random_is_seeded_again(target: Any) -> None:
    seen = []
    for _ in range(2):
        with target.open(path="/seed") as wire:
            first = masking_keys(wire, 5)
            number, sock, head = target.accept()
            sock.close()
            target.event(number)
            wire.leave()
        seen.append([key_of(head), *first])
    assert not set(seen[0]) & set(seen[1]), seen


@attack(FRAMES, "RFC 6455 5.3", roles=(CLIENT,))
def a_message_for_many_has_a_masking_key_for_each(target: Any) -> None:
    with ExitStack() as stack:
        one, other = (opened(target, stack, "/crowd")[1] for _ in range(2))
        one.send_frame(TEXT, b"x" * 100)
        seen = [exactly(wire, 106) for wire in (one, other)]
        assert seen[0][2:6] != seen[1][2:6], seen
        for each, wire in zip(seen, (one, other)):
            assert xor(each[6:], each[2:6]) == b"x" * 100, each
            wire.leave()


def exactly(wire: Wire, size: int) -> bytes:
    """Return the next bytes that come."""
    wire.sock.settimeout(PATIENCE)
    data = b""
    while len(data) < size:
        more = wire.sock.recv(size - len(data))
        assert more, data
        data += more
    return data


@attack(HANDSHAKE, "RFC 6455 4.1", roles=(CLIENT,))
def a_client_that_has_been_refused_harms_not_the_next(target: Any) -> None:
    for _ in range(100):
        number, sock, _ = target.accept()
        sock.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
        assert target.event(number)[0] == "refused"
        sock.close()
    accepts(target, GOOD)
