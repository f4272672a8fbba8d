"""Whose the answer to an attack is, where it is not ours.

On the standalone server, the asyncio server and all clients every answer is ours. Elsewhere a host
may read the head, or (ASGI) the frames, or one thread takes one handshake at a time. What the host
answers there is recorded, and our process has to stay well all the same.
"""

from __future__ import annotations

ONE_AT_A_TIME = "it takes one handshake at a time"
NO_LIMIT = "it has no time limit for a head"
KEEPS = "it keeps the connection, for another request"
NO_ANSWER = "it closes without an answer"
SILENT = "it neither answers nor closes"
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
        "heads that are hard to read are answered at once": SILENT,
        "a handshake and frames are cut at every byte": TOO_LATE,
        "a thousand messages come with the handshake": TOO_LATE,
        "a message and a close come with the handshake": TOO_LATE,
        "a second request comes behind the first": TOO_LATE,
    },
}

#: (engine, name of the attack, up to its case or with it) -> what the host does instead.
HOSTS: dict[tuple[str, str], str] = {
    (engine, name): answer
    for engine, answers in HANDSHAKE_HOSTS.items()
    for name, answer in answers.items()
}


def host_answers(engine: str, name: str) -> str | None:
    """Return what the host answers to an attack; None if the answer is ours."""
    title = name.partition(":")[0]
    return HOSTS.get((engine, name)) or HOSTS.get((engine, title))


#: engine -> what its own tracebacks end in, where it takes a wrong request for its own fault.
LOGS: dict[str, tuple[str, ...]] = {
    # A client has reset a connection that Tornado is about to give TLS.
    "tornado": ("self.getpeername()\nOSError: ", "ssl.SSLError: Closed before TLS handshake"),
}


def host_logs(engine: str, traceback: str) -> bool:
    """Return whether a traceback is the host's own."""
    return any(end in traceback for end in LOGS.get(engine, ()))
