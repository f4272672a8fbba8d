"""What an attacked websocket does besides its echo, on paths of their own: it is a burden."""

from __future__ import annotations

import asyncio
import builtins
import random
import threading
import time
from collections.abc import Iterator
from typing import Any, Callable

#: What the application raises: a traceback that ends in it is its own.
FAULT = "a fault of the application's own"
#: Bytes of a message, and how many are poured.
SIZE, COUNT = 64 * 1024, 1024
#: Threads that send at once, and how many messages each.
VOICES, VERSES = 6, 120
#: Seconds that a handler sleeps.
NAP = 1.0


def payload(number: int) -> bytes:
    """Return the message of this number, of those that are poured."""
    return number.to_bytes(4, "big") * (SIZE // 4)


async def awaits(websocket: Any, message: Any) -> None:
    """Echo after a while, as a coroutine."""
    await asyncio.sleep(NAP)
    websocket.send(message.data, message.is_binary)


def sleeps(websocket: Any, message: Any) -> None:
    """Echo after a while, where a handler has its thread for itself."""
    time.sleep(NAP)
    websocket.send(message.data, message.is_binary)


def sleeps_in_greenlet(websocket: Any, message: Any) -> None:
    """Echo after a while, where a handler has a greenlet for itself."""
    import gevent

    gevent.sleep(NAP)
    websocket.send(message.data, message.is_binary)


def hands_off(websocket: Any, message: Any) -> None:
    """Echo after a while, where the handlers of all connections share a thread."""
    threading.Thread(target=sleeps, args=(websocket, message), daemon=True).start()


#: How the handlers of an engine take their time; :func:`hands_off` elsewhere.
NAPS: dict[str, Callable[[Any, Any], Any]] = {
    **dict.fromkeys(("asyncio", "tornado", "asgi"), awaits),
    **dict.fromkeys(("gunicorn-gthread", "threaded"), sleeps),
    "gevent": sleeps_in_greenlet,
}


def pour(websocket: Any, _message: Any) -> None:
    """Send COUNT messages from another thread."""

    def run() -> None:
        try:
            for number in range(COUNT):
                websocket.send(payload(number), True)
        except RuntimeError:
            pass  # The connection has ended.

    threading.Thread(target=run, daemon=True).start()


def sing(websocket: Any, _message: Any) -> None:
    """Send VERSES messages from each of VOICES threads at once."""

    def run(voice: int) -> None:
        try:
            for verse in range(VERSES):
                websocket.send(sung(voice, verse), True)
        except RuntimeError:
            pass  # The connection has ended.

    for voice in range(VOICES):
        threading.Thread(target=run, args=(voice,), daemon=True).start()


#: What all of these messages have in common, at different distances from the one before.
REFRAIN = random.Random(7692).randbytes(200)


def sung(voice: int, verse: int) -> bytes:
    """Return a message of one of the threads; some go out in two parts."""
    size = (60_000 if verse % 2 else 1000) + 7 * verse + voice
    part = bytes((voice, verse)) + REFRAIN
    return (part * (size // len(part) + 1))[:size]


def generate(websocket: Any, _message: Any) -> None:
    """Send as much as one message of fragments."""
    websocket.send((payload(number) for number in range(COUNT)), True)


def fail_half_way(websocket: Any, _message: Any) -> None:
    """Send a generator that raises after three fragments."""

    def fragments() -> Iterator[bytes]:
        yield from (b"1", b"2", b"3")
        raise LookupError(FAULT)

    websocket.send(fragments())


def recurse(websocket: Any, _message: Any) -> None:
    """Send deeper and deeper, until the stack is full somewhere."""

    def deeper() -> None:
        websocket.send(b"deeper")
        deeper()

    try:
        deeper()
    except RecursionError:
        raise LookupError(FAULT) from None


#: What is done with a message, by path.
BURDENS: dict[str, Callable[[Any, Any], Any]] = {
    "/pour": pour,
    "/chorus": sing,
    "/generate": generate,
    "/generate/fail": fail_half_way,
    "/recurse": recurse,
}


def burden(websocket: Any, path: str) -> Callable[[Any, Any], Any] | None:
    """Return what is done with a message at this path; None for what has no burden.

    ``/sleep`` echoes after NAP seconds, as the engine's handlers may; ``/raise/NAME`` raises that.
    """
    if path == "/sleep":
        return NAPS.get(websocket.engine, hands_off)
    if path.startswith("/raise/"):
        raise getattr(builtins, path.rpartition("/")[2])(FAULT)
    return BURDENS.get(path)
