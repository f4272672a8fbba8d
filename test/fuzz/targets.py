"""What the guided fuzz calls: one function for each kind of input.

A target takes any bytes, and returns if ws4py does with them as it should; else it raises
Misbehaviour, or whatever escaped. What it gives to ws4py stands in its input as it is, behind an
octet or a line that chooses how, so that a person can read the files of ``corpus`` and add some.

``python -m test.fuzz.targets TARGET...`` runs their corpus. This module needs no atheris.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import process_time
from typing import Any, Callable

from test.helpers import SCALE
from ws4py._body import BodyReader
from ws4py.client import WebSocketBaseClient
from ws4py.exc import HandshakeError
from ws4py.handshake import ServerHandshake, check_response, request_headers
from ws4py.headers import split_list
from ws4py.heads import HeadReader, make_environ
from ws4py.limits import Limits
from ws4py.server._opening import Answer, Opening, Site
from ws4py.websocket import WebSocket

from .campaign import disagreement
from .deflated import fuzz_extensions, fuzz_inflate
from .drive import (
    Misbehaviour,
    RecordingSocket,
    drive_stream,
    drive_stream_by_send,
    drive_websocket,
    expect,
    make_stream,
)
from .fields import shown, slow_extensions, slow_split
from .generate import Case
from .reference import Deflate, Rules, parse

try:
    import tracemalloc
except ImportError:  # on PyPy
    tracemalloc = None

CORPUS = Path(__file__).parent / "corpus"

#: The example of RFC 6455, section 1.3.
KEY, ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
PROTOCOLS, EXTENSIONS = ["chat", "superchat"], ["x-one", "x-two"]

UNLIMITED = Limits(max_line=None, max_head=None, max_headers=None)
#: Small, so that a small input reaches them.
SMALL = Limits(max_line=200, max_head=600, max_headers=12, max_body=50)

_ANSWER = re.compile(
    rb"HTTP/1\.[01] ([1-5]\d\d) [\x20-\x7e]+\r\n((?:[A-Za-z-]+: [\x20-\x7e]*\r\n)*)\r\n(.*)",
    re.DOTALL,
)


def chunkings(data: bytes, *sizes: int) -> Iterator[list[bytes]]:
    """Cut ``data`` in several ways: not at all, and in chunks of each size."""
    for size in (len(data) or 1, *sizes):
        yield [data[i : i + size] for i in range(0, len(data), size)]


# Streams


def fuzz_stream(data: bytes) -> None:
    """Take frames, behind an octet that chooses the rules and a size of chunks."""
    if not data:
        return
    options, stream = data[0], data[1:]
    rules = Rules(
        expect_masking=bool(options & 1),
        max_message_size=(None, 5, 125, 1000)[options >> 1 & 3],
        max_fragments=(None, 1, 3, 8)[options >> 3 & 3],
    )
    expected = parse(stream, rules)
    size = (2, 3, 4, 5, 7, 14, 50, 130)[options >> 5]
    for chunks in chunkings(stream, 1, size):
        case = Case(0, 0, rules, "guided", stream, "random", chunks)
        for driver in (drive_stream, drive_stream_by_send, drive_websocket):
            complaint = disagreement(case, expected, driver)
            expect(complaint is None, str(complaint))


# Requests


#: Of both ends of each connection.
ADDRESS = ("127.0.0.1", 4711)


class Connected(RecordingSocket):
    """A socket that has addresses; ``recv`` plays back chunks."""

    def __init__(self, chunks: Iterable[bytes] = ()) -> None:
        super().__init__()
        self.chunks = list(chunks)

    def recv(self, size: int) -> bytes:
        return self.chunks.pop(0) if self.chunks else b""

    def getpeername(self) -> tuple[str, int]:
        return ADDRESS

    getsockname = getpeername


def page(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """Answer a plain request with the length of its body."""
    body = b"%d" % len(environ["wsgi.input"].read())
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def make_site(limits: Limits) -> Site:
    return Site(
        {"/": WebSocket, "/chat": WebSocket},
        protocols=PROTOCOLS,
        extensions=EXTENSIONS,
        origins=["http://localhost", None],
        limits=limits,
        http=page,
    )


SITE = make_site(SMALL)


def fuzz_request(data: bytes) -> None:
    """Take a request, and what comes after it."""
    answers = [answer_to(chunks, SITE) for chunks in chunkings(data, 1, 7)]
    for answer, rest in answers:
        if answer is None:
            expect(len(data) <= 600 + 50, "more than the limits allow is waited for")
        else:
            check_answer(answer, data[: len(data) - len(rest)])
        expect(summary(answer, rest) == summary(*answers[0]), "the chunks make a difference")


def answer_to(chunks: list[bytes], site: Site) -> tuple[Answer | None, bytes]:
    """Return the answer, if there is one, and what is left of the chunks."""
    opening = Opening(site, RecordingSocket(), False, ADDRESS, ADDRESS)
    for position, chunk in enumerate(chunks):
        answer = opening.feed(chunk)
        if answer is not None:
            return answer, opening.rest + b"".join(chunks[position + 1 :])
    return None, b""


def summary(answer: Answer | None, rest: bytes) -> tuple[Any, ...]:
    """Tell what has to be the same, however a request is cut.

    Of two limits that it is over either may be named.
    """
    if answer is None:
        return ()
    return (answer.data, rest) if answer.websocket is not None else (answer.data[:12],)


def check_answer(answer: Answer, request: bytes) -> None:
    match = _ANSWER.fullmatch(answer.data)
    if match is None:
        raise Misbehaviour(f"{answer.data!r} is no response")
    switches = match[1] == b"101"
    expect(switches == (answer.websocket is not None), "a websocket and no 101, or the reverse")
    if not switches:
        length = re.findall(rb"Content-Length: (\d+)\r\n", match[2])
        asks_for_head = request[:5] == b"HEAD "
        # Where the head was not understood, nobody knows what it asks for.
        omitted = asks_for_head and not match[3]
        expect(
            omitted or length == [b"%d" % len(match[3])],
            f"the body of {answer.data!r} is not as long as it says",
        )
        expect(omitted or not asks_for_head or match[1] != b"200", "a HEAD is answered a body")
        return
    expect(not match[3], "a 101 has a body")
    # What nobody may be switched without, whatever else there is.
    head = request.lower()
    for needed in (
        rb"\Aget \S+ http/1\.[1-9]\r\n",
        rb"\r\nhost:[^\r]*[^\r \t]",
        rb"\r\nupgrade:[^\r]*websocket",
        rb"\r\nconnection:[^\r]*upgrade",
        rb"\r\nsec-websocket-version:[ \t]*13[ \t]*\r\n",
        rb"\r\nsec-websocket-key:[ \t]*[a-z0-9+/]{22}==[ \t]*\r\n",
    ):
        expect(re.search(needed, head), f"there is no {needed!r} in {head!r}")
    for single in (b"\r\nhost:", b"\r\nsec-websocket-version:", b"\r\nsec-websocket-key:"):
        expect(head.count(single) == 1, f"there is not one {single!r} in {head!r}")
    for unwanted in (rb"\r\ntransfer-encoding:", rb"\r\ncontent-length:[ \t]*0*[1-9]"):
        expect(not re.search(unwanted, head), f"there is {unwanted!r} in {head!r}")


# Responses


class Client(WebSocketBaseClient):
    """A client whose socket and key are given."""

    _makes_socket = False
    limits = SMALL


def fuzz_response(data: bytes) -> None:
    """Take the response to a client's handshake, and what comes after it."""
    outcomes = [outcome_of(chunks) for chunks in chunkings(data, 1, 7)]
    for outcome in outcomes:
        expect(outcome == outcomes[0], f"the chunks make a difference: {outcomes!r}")
    status, protocols, extensions, rest = outcomes[0]
    if status == "accepted":
        *interim, head = data[: len(data) - len(rest) - 4].split(b"\r\n\r\n")
        for each in interim:
            expect(re.match(rb"HTTP/1\.\d 1\d\d[ \r]", each), f"{each!r} is passed over")
        expect(re.match(rb"HTTP/1\.[1-9] 101[ \r]", head + b"\r"), f"{head!r} is accepted")
        expect(ACCEPT.encode() in head, f"{head!r} is accepted without a proof")
        expect(protocols in [[], ["chat"], ["superchat"]], f"subprotocols {protocols!r}")
        names = [extension.partition(";")[0].strip() for extension in extensions]
        expect(set(names) <= set(EXTENSIONS), f"extensions {extensions!r}")


def outcome_of(chunks: list[bytes], limits: Limits = SMALL) -> tuple[Any, ...]:
    """Tell what a client makes of a response."""
    client = Client("ws://localhost/", PROTOCOLS, EXTENSIONS)
    client.key = KEY.encode()
    client.limits = limits
    client.sock = sock = Connected(chunks)
    try:
        client.connect()
    except HandshakeError as error:
        expect(len(error.body) <= limits.max_body, "a body is over its limit")
        return "refused", error.status, error.headers, error.body
    rest = client.buf + b"".join(sock.chunks)
    return "accepted", client.protocols, client.extensions, rest


# Lists: subprotocols, extensions, Connection


def fuzz_lists(data: bytes) -> None:
    """Take three lines, the values of headers that name subprotocols, extensions and options."""
    lines = re.sub(rb"[\x00-\x08\x0b-\x1f\x7f]", b"", data).decode("latin-1").split("\n")
    protocols, extensions, connection = (line.strip(" \t") for line in [*lines, "", ""][:3])
    for value in (protocols, extensions, connection):
        expect(split_list(value) == slow_split(value), f"{value!r} is split wrong")
    check_server(protocols, extensions, connection)
    check_client(protocols, extensions, connection)
    check_names([protocols, extensions])


def check_server(protocols: str, extensions: str, connection: str) -> None:
    environ = {
        "REQUEST_METHOD": "GET",
        "HTTP_HOST": "localhost",
        "HTTP_UPGRADE": "websocket",
        "HTTP_CONNECTION": connection,
        "HTTP_SEC_WEBSOCKET_KEY": KEY,
        "HTTP_SEC_WEBSOCKET_VERSION": "13",
        "HTTP_SEC_WEBSOCKET_PROTOCOL": protocols,
        "HTTP_SEC_WEBSOCKET_EXTENSIONS": extensions,
    }
    asked = slow_split(protocols)
    spoken = [name for name in asked if name in PROTOCOLS][:1]
    upgrades = "upgrade" in [option.lower() for option in slow_split(connection)]
    offers = slow_extensions(extensions)
    wrong = not upgrades or (asked and not spoken) or offers is None
    offered = dict.fromkeys(
        name for name, options in offers or [] if name in EXTENSIONS and not options
    )
    try:
        accepted = ServerHandshake(PROTOCOLS, EXTENSIONS).accept(environ)
    except HandshakeError as error:
        expect(error.status == 400, f"refused with {error.status}")
        expect(wrong, f"refused: {error}")
    else:
        expect(not wrong, "accepted")
        expect(accepted.protocols == spoken, f"agreed on {accepted.protocols!r}")
        expect(accepted.extensions == list(offered), f"agreed on {accepted.extensions!r}")


def check_client(protocols: str, extensions: str, connection: str) -> None:
    fields = [
        ("Upgrade", "websocket"),
        ("Connection", connection),
        ("Sec-WebSocket-Accept", ACCEPT),
        ("Sec-WebSocket-Protocol", protocols),
        ("Sec-WebSocket-Extensions", extensions),
    ]
    upgrades = "upgrade" in [option.lower() for option in slow_split(connection)]
    used = slow_extensions(extensions)
    known = used is not None and all(name in EXTENSIONS for name, _ in used)
    good = upgrades and known and protocols in PROTOCOLS
    try:
        found = check_response(fields, KEY, PROTOCOLS, EXTENSIONS)
    except HandshakeError as error:
        expect(not good, f"refused: {error}")
    else:
        expect(good, "accepted")
        expect(found == ([protocols], [shown(each) for each in used or []]), f"agreed on {found!r}")


def check_names(names: list[str]) -> None:
    """Check that names of any kind are offered as they are, or refused."""
    try:
        headers = request_headers("localhost", False, KEY.encode(), names, None)
        ServerHandshake(names, names)
    except ValueError:
        return
    expect(split_list(headers[-1][1]) == names, f"{names!r} are offered as {headers[-1]!r}")


# URLs


def fuzz_url(data: bytes) -> None:
    """Take a URL, as UTF-8 in which other octets stand for themselves."""
    url = data.decode("utf-8", "surrogateescape")
    try:
        client = Client(url)
    except ValueError:
        return
    client.host.encode("idna")  # as it is when its address is asked for
    head = HeadReader(UNLIMITED).feed(client.handshake_request)
    if head is None:
        raise Misbehaviour("the request has no end")
    hosts = [value for name, value in head.fields if name == "Host"]
    expect(len(hosts) == 1 and hosts[0], f"the hosts are {hosts!r}")
    expect(head.line == f"GET {client.resource} HTTP/1.1", f"{head.line!r} is sent")
    environ = make_environ(head)
    ServerHandshake().accept(environ)
    sent = client.resource.partition("?")
    expect(environ["QUERY_STRING"] == sent[2], f"the query is {environ['QUERY_STRING']!r}")
    expect("%" in sent[0] or environ["PATH_INFO"] == sent[0], f"it is {environ['PATH_INFO']!r}")


# Everything, at length


def fuzz_length(data: bytes) -> None:
    """Take one of the inputs above in three parts, and repeat the middle one many times.

    An octet chooses what it is, and "|" stands between the parts. All is to be read in a time
    that grows with its length, and in a memory that does not grow at all.
    """
    kind, parts = data[:1].decode("latin-1"), data[1:].split(b"|", 2)
    if kind not in AT_LENGTH or len(parts) != 3 or not parts[1]:
        return
    size, read = AT_LENGTH[kind]

    def seconds(length: int) -> float:
        repeated = parts[0] + parts[1] * (length // len(parts[1])) + parts[2]
        start = process_time()
        read(repeated)
        return process_time() - start

    taken = seconds(size)
    if taken >= SECONDS:
        most = min(GROWTH * seconds(size // 4), MOST)
        expect(taken < most, f"{size} bytes take {taken:.1f} s, and may take {most:.1f}")


#: Seconds of the processor's time that are not looked into. A pattern that tries all ways to cut
#: 32 KiB in two takes four.
SECONDS = 1.5 * SCALE
#: What four times the bytes may take: linear time is four times as much, and quadratic sixteen. It
#: tells a slow machine, or one that is watched, from a slow pattern.
GROWTH = 10
#: Seconds that are too many however they grow: a limit may end the longer one where the other ends.
MOST = 8 * SECONDS
#: Bytes that a Stream may hold in its turn, behind a limit of 1000, with 1024 that just came; and
#: where it inflates them, which it does in pieces of 64 KiB, with a window of 32 KiB.
HELD, HELD_INFLATED = 16 * 1024, 256 * 1024


def read_request(data: bytes) -> None:
    answer_to([data], make_site(UNLIMITED))


def read_request_bytewise(data: bytes) -> None:
    answer_to(octets(data), make_site(Limits()))


def read_response(data: bytes) -> None:
    outcome_of([data], UNLIMITED)


def read_response_bytewise(data: bytes) -> None:
    outcome_of(octets(data), Limits())


def read_chunked(data: bytes) -> None:
    reader = BodyReader(404, [("Transfer-Encoding", "chunked")], 65536)
    for octet in octets(data):
        if reader.feed(octet):
            break


def octets(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def read_frames(data: bytes, expect_masking: bool, deflate: Deflate | None = None) -> None:
    """Take what a Stream has at each 0, so that only the Stream can hold anything."""
    stream = make_stream(Rules(expect_masking, 1000, deflate=deflate))
    with holding_at_most(HELD_INFLATED if deflate else HELD):
        for start in range(0, len(data), 1024):
            wanted = stream.parser.send(data[start : start + 1024])
            while not wanted and not stream.errors and stream.closing is None:
                stream.message = None
                stream.pings.clear()
                stream.pongs.clear()
                wanted = next(stream.parser)


@contextmanager
def holding_at_most(most: int) -> Iterator[None]:
    """Check how many bytes are had at a time, by what is had within this block."""
    if tracemalloc is None:
        yield
        return
    tracemalloc.start()
    try:
        yield
        expect(tracemalloc.get_traced_memory()[1] < most, "too much is held")
    finally:
        tracemalloc.stop()


#: How many bytes there are to be, and what reads them.
AT_LENGTH: dict[str, tuple[int, Callable[[bytes], None]]] = {
    "q": (2**15, read_request),
    "Q": (2**14, read_request_bytewise),
    "r": (2**15, read_response),
    "R": (2**14, read_response_bytewise),
    "b": (2**14, read_chunked),
    "l": (2**15, fuzz_lists),
    "u": (2**15, fuzz_url),
    "s": (2**15, lambda data: read_frames(data, expect_masking=True)),
    "c": (2**15, lambda data: read_frames(data, expect_masking=False)),
    "z": (2**15, lambda data: read_frames(data, False, Deflate())),
    "x": (2**16, fuzz_extensions),
}

TARGETS: dict[str, Callable[[bytes], None]] = {
    "extensions": fuzz_extensions,
    "inflate": fuzz_inflate,
    "stream": fuzz_stream,
    "request": fuzz_request,
    "response": fuzz_response,
    "lists": fuzz_lists,
    "url": fuzz_url,
    "length": fuzz_length,
}


def corpus() -> list[Path]:
    """List the files of the corpus."""
    return sorted(path for path in CORPUS.glob("*/*") if path.is_file())


def replay(path: Path) -> None:
    """Give a file of the corpus to its target."""
    TARGETS[path.parent.name](path.read_bytes())


if __name__ == "__main__":
    chosen = [path for path in corpus() if path.parent.name in sys.argv[1:]]
    for path in chosen:
        replay(path)
    print(f"{len(chosen)} inputs")
