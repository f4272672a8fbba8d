"""Whose the answer to an attack is, where it is not ours.

On the standalone server, the asyncio server and all clients every answer is ours. Elsewhere a host
may read the head, or (ASGI) the frames, or one thread takes one handshake at a time. What the host
answers there is recorded, and our process has to stay well all the same.
"""

from __future__ import annotations

from test.hostile import SERVER

#: Frames under uvicorn, whose parser is that of websockets.
FRAME_HOSTS = {
    ("asgi", name): answer
    for name, answer in {
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
    }.items()
}

#: (engine, name of the attack, up to its case or with it) -> what the host does instead.
HOSTS: dict[tuple[str, str], str] = {**FRAME_HOSTS}

#: Engine -> where a traceback comes from that the host logs, of what is wrong with a peer.
HOST_TRACEBACKS = {"asgi": "uvicorn/protocols/websockets/"}


def host_answers(engine: str, name: str) -> str | None:
    """Return what the host answers to an attack; None if the answer is ours."""
    title = name.partition(":")[0]
    return HOSTS.get((engine, name)) or HOSTS.get((engine, title))


def host_logs(role: str, engine: str, traceback: str) -> bool:
    """Say whether a traceback is the host's own."""
    where = HOST_TRACEBACKS.get(engine)
    return role == SERVER and where is not None and where in traceback
