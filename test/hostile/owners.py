"""Whose the answer to an attack is, where it is not ours.

On the standalone server, the asyncio server and all clients every answer is ours. Elsewhere a host
may read the head, or (ASGI) the frames, or one thread takes one handshake at a time. What the host
answers there is recorded, and our process has to stay well all the same.
"""

from __future__ import annotations

_ONE_AT_A_TIME = "nothing: one thread waits for one head"
_ENDS_WORKER = "the worker ends, and another one starts"

#: What :mod:`test.hostile.floods` and :mod:`test.hostile.isolation` meet with.
CROWDED_HOSTS = {
    ("wsgiref", "a hundred connections that never send keep nobody out"): _ONE_AT_A_TIME,
    ("gunicorn-sync", "a hundred connections that never send keep nobody out"): _ONE_AT_A_TIME,
    ("cherrypy", "a hundred connections that never send keep nobody out"): (
        "nothing: ten threads wait for ten heads"
    ),
    ("gunicorn-gthread", "a server without descriptors rests and serves again"): _ENDS_WORKER,
    ("gunicorn-sync", "a server without descriptors rests and serves again"): _ENDS_WORKER,
    **dict.fromkeys(
        (
            (engine, "a server without descriptors rests and serves again")
            for engine in ("cherrypy", "tornado", "asgi")
        ),
        "tries again at once, and logs that each time",
    ),
    ("asgi", "an exception ends its own connection: ponged"): "no application hears of Pongs",
    ("asgi", "sixty four mebibytes for those who do not read cost little"): (
        "waits for ever for a peer that does not read, and keeps its descriptor"
    ),
    ("asgi", "three hundred idle connections live if they answer pings"): (
        "sends Pings if it is told to, and then drops who sends something else than a Pong"
    ),
    ("asgi", "pings of those who do not read queue no pongs"): "queues each Pong",
}

#: (engine, name of the attack, up to its case or with it) -> what the host does instead.
HOSTS: dict[tuple[str, str], str] = {**CROWDED_HOSTS}


def host_answers(engine: str, name: str) -> str | None:
    """Return what the host answers to an attack; None if the answer is ours."""
    title = name.partition(":")[0]
    return HOSTS.get((engine, name)) or HOSTS.get((engine, title))
