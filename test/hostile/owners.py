"""Whose the answer to an attack is, where it is not ours.

On the standalone server, the asyncio server and all clients every answer is ours. Elsewhere a host
may read the head, or (ASGI) the frames, or one thread takes one handshake at a time. What the host
answers there is recorded, and our process has to stay well all the same.
"""

from __future__ import annotations

#: (engine, name of the attack, up to its case or with it) -> what the host does instead.
HOSTS: dict[tuple[str, str], str] = {}


def host_answers(engine: str, name: str) -> str | None:
    """Return what the host answers to an attack; None if the answer is ours."""
    title = name.partition(":")[0]
    return HOSTS.get((engine, name)) or HOSTS.get((engine, title))
