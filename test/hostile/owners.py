"""Whose the answer to an attack is, where it is not ours.

On the standalone server, the asyncio server and all clients every answer is ours. Elsewhere a host
may read the head, or (ASGI) the frames, or one thread takes one handshake at a time. What the host
answers there is recorded, and our process has to stay well all the same.
"""

from __future__ import annotations

from test.hostile import SERVER

ONE_AT_A_TIME = "it takes one handshake at a time"
NO_LIMIT = "it has no time limit for a head"
KEEPS = "it keeps the connection, for another request"
NO_ANSWER = "it closes without an answer"
SILENT = "it neither answers nor closes"
QUADRATIC = "the time it takes grows with the square of a line"
TOO_LATE = "it loses what comes with the handshake"
NO_UPGRADE = "501: it takes that for no upgrade"
NO_VERSION = "400, without Sec-WebSocket-Version"
IN_ITS_LOOP = "one TLS handshake at a time, in the thread that accepts"
POOL = "it has ten threads, and each is held by a head"

SLOW = {
    "who sends a byte now and then is dropped": NO_LIMIT,
    "sixty are silent and others are served": NO_LIMIT,
}
SLOW_TLS = {
    "twenty are silent and others are served": NO_LIMIT,
    "who has tls and says nothing is dropped": NO_LIMIT,
}
#: What reads heads in their place: Tornado's HTTPServer, cheroot, gunicorn, uvicorn.
HANDSHAKE_HOSTS: dict[str, dict[str, str]] = {
    "wsgiref": {
        "sixty are silent and others are served": ONE_AT_A_TIME,
        "twenty are silent and others are served": ONE_AT_A_TIME,
    },
    "tornado": {
        **{
            f"a head has no end: {what}": NO_ANSWER
            for what in (
                *("a line", "a header", "a name", "headers", "headers of nothing", "folds"),
                "spaces",
            )
        },
        "a cookie is enormous": NO_ANSWER,
        "a target is enormous": NO_ANSWER,
        "there are ten thousand headers": "101: it counts bytes, and no headers",
    },
    "cherrypy": {
        "sixty are silent and others are served": POOL,
        "who sends a byte now and then is dropped": "its time limit is for each read",
        "twenty are silent and others are served": IN_ITS_LOOP,
    },
    "gunicorn-sync": SLOW,
    "gunicorn-gthread": {
        **SLOW,
        **SLOW_TLS,
        "a good request comes behind one that is refused": KEEPS,
        "who is refused goes on sending": KEEPS,
    },
    "asgi": {
        **SLOW,
        "a list is in two fields": NO_UPGRADE,
        "there are two upgrades": NO_UPGRADE,
        "a version is another": NO_VERSION,
        "a version is no number": NO_VERSION,
        "a version is missing": NO_VERSION,
        "http is too old": "101",
        "http is of another kind": "101 to HTTP/2.0 and more",
        "a method is head": "a body behind the head",
        "a request has a length": SILENT,
        "a body is encoded": SILENT,
        "a body is encoded and has a length": SILENT,
        "a value has a control character": SILENT,
        "a subprotocol has a line of its own": SILENT,
        "extensions are malformed": SILENT,
        "there are ten thousand headers": SILENT,
        "heads that are hard to read are answered at once": QUADRATIC,
        "a handshake and frames are cut at every byte": TOO_LATE,
        "a thousand messages come with the handshake": TOO_LATE,
        "a message and a close come with the handshake": TOO_LATE,
        "a second request comes behind the first": TOO_LATE,
    },
}


#: Frames under uvicorn, whose parser is that of websockets.
FRAME_HOSTS = {
    "asgi": {
        "a length in more bytes than it needs": "takes it",
        "a close between fragments": "1002",
        "what came before a violation is answered and nothing behind it": "1002, and no answers",
        "what came before wrong text is answered": "1007, and no answers",
        "what came before a close is answered": "1001, and no answers",
        "fragments at the limit pass and a byte more does not": "1009 for the Ping",
        "too many fragments of a byte or of none": "takes them",
        "a violation in the segment of the handshake": "looks at it when more comes",
        "an end in the segment of the handshake: FIN": "looks at no frame",
        "the close arrives although much is in flight": "a reset",
        "the close comes behind what is still to be sent": "1002, and no answers",
        "a peer that half closes gets what it has asked for": "closes without",
        "the end of tcp at every byte": "Pongs before what came before the Pings",
        "a violation is found at its header": "waits for the payload",
        "a violation is found at its first byte": "waits for the payload",
        "wrong text is found before the message ends": "waits for all of it",
        "wrong text is found before the frame ends": "waits for all of it",
        "a peer that does not end the connection": "10 s",
        "a header that never comes to its end": "waits for it, where it sends no Pings",
    }
}

#: Compression under uvicorn is that of websockets.
DEFLATE_HOSTS = {
    "asgi": {
        "broken data is found before the frame ends": "waits for all of it",
        "wrong compressed text is found before it ends": "waits for all of it",
        "what came before broken data is answered": "1002, and no answers",
        "blocks that say they are the last": "reads nothing behind the first of them",
        "last blocks without end": "reads nothing behind the first of them",
        "too many compressed fragments": "takes them",
        "bombs cost little": "a reset behind the Close",
        "contexts go with their connections": "leaves them to the garbage collector",
    }
}

_ENDS_WORKER = "the worker ends, and another one starts"
_TRIES_ON = "tries again at once, and logs that each time"
_NEVER_SEND = "a hundred connections that never send keep nobody out"
_NO_DESCRIPTORS = "a server without descriptors rests and serves again"

#: What :mod:`test.hostile.floods` and :mod:`test.hostile.isolation` meet with.
CROWDED_HOSTS = {
    "wsgiref": {_NEVER_SEND: ONE_AT_A_TIME},
    "gunicorn-sync": {_NEVER_SEND: ONE_AT_A_TIME, _NO_DESCRIPTORS: _ENDS_WORKER},
    "gunicorn-gthread": {_NO_DESCRIPTORS: _ENDS_WORKER},
    "cherrypy": {_NEVER_SEND: POOL, _NO_DESCRIPTORS: _TRIES_ON},
    "tornado": {_NO_DESCRIPTORS: _TRIES_ON},
    "asgi": {
        _NO_DESCRIPTORS: _TRIES_ON,
        "an exception ends its own connection: ponged": "no application hears of Pongs",
        "sixty four mebibytes for those who do not read cost little": (
            "waits for ever for a peer that does not read, and keeps its descriptor"
        ),
        "three hundred idle connections live if they answer pings": (
            "sends Pings if it is told to, and then drops who sends something else than a Pong"
        ),
        "pings of those who do not read queue no pongs": "queues each Pong",
    },
}

#: (engine, name of the attack, up to its case or with it) -> what the host does instead.
HOSTS: dict[tuple[str, str], str] = {
    (engine, name): answer
    for hosts in (HANDSHAKE_HOSTS, FRAME_HOSTS, DEFLATE_HOSTS, CROWDED_HOSTS)
    for engine, answers in hosts.items()
    for name, answer in answers.items()
}

#: asyncio and some hosts log a traceback when they cannot accept a connection.
NO_DESCRIPTORS = "Too many open files"

#: Engine -> what is in its own tracebacks, where it takes what is wrong with a peer for its fault.
TRACEBACKS: dict[str, tuple[str, ...]] = {
    "asgi": ("uvicorn/protocols/websockets/",),
    # A client has reset a connection of which asyncio ends our direction, once all is written.
    "asyncio": ("self._sock.shutdown(socket.SHUT_WR)\nOSError: ",),
    # A client has reset a connection that Tornado is about to give TLS.
    "tornado": ("self.getpeername()\nOSError: ", "ssl.SSLError: Closed before TLS handshake"),
}


def host_answers(engine: str, name: str) -> str | None:
    """Return what the host answers to an attack; None if the answer is ours."""
    title = name.partition(":")[0]
    return HOSTS.get((engine, name)) or HOSTS.get((engine, title))


def host_logs(role: str, engine: str, traceback: str) -> bool:
    """Say whether a traceback is the host's own."""
    parts = TRACEBACKS.get(engine, ()) if role == SERVER else ()
    return any(part in traceback for part in (NO_DESCRIPTORS, *parts))
