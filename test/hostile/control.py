"""The same attacks, turned against the library ``websockets``: a control of the attacks.

    python -m test.hostile.control [--write FILE]     run them all, and list what it does otherwise
    python -m test.hostile.control serve PORT         what is attacked
    python -m test.hostile.control connect

An attack that another mature implementation fails has to be one that the RFC asks for, or one on a
limit of our own: ``Attack.cites`` says which.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import ssl
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from test.hostile import (
    ATTACKS,
    CLIENT,
    ISOLATION,
    ORIGIN,
    PROTOCOLS,
    ROLES,
    SERVER,
    Attack,
    targets,
)
from test.hostile.apps import FAULT, HEARTBEAT, LIMITS, tell

COMMANDS = {
    SERVER: "{python} -m test.hostile.control serve {port}",
    CLIENT: "{python} -m test.hostile.control connect",
}
START = {SERVER: targets.server, CLIENT: targets.client}

#: Our limits, by the names that they have there.
OPTIONS: dict[str, Any] = {
    "open_timeout": LIMITS.open_timeout,
    "close_timeout": LIMITS.close_timeout,
    "ping_interval": HEARTBEAT,
    "ping_timeout": LIMITS.heartbeat_timeout,
    "max_size": LIMITS.max_message_size,
    "compression": "deflate",
}

crowd: set[Any] = set()


async def behave(websocket: Any, path: str) -> None:
    """Do what :class:`test.hostile.apps.Behaviour` does."""
    from websockets.asyncio.server import broadcast

    if path == "/fail/opened":
        raise LookupError(FAULT)
    if path == "/crowd":
        crowd.add(websocket)
    try:
        async for message in websocket:
            if path == "/fail/received_message":
                raise LookupError(FAULT)
            if path == "/crowd":
                broadcast(crowd, message)
            elif path == "/close":
                await websocket.close(4000, "as asked")
            else:
                await websocket.send(message)
    finally:
        crowd.discard(websocket)


async def serve(port: int) -> None:
    """Serve until the process is ended."""
    from websockets.asyncio.server import serve as listen

    async def handle(websocket: Any) -> None:
        await behave(websocket, websocket.request.path)

    def select(_: Any, offered: Sequence[str]) -> str | None:
        return next((each for each in offered if each in PROTOCOLS), None)

    names = {"origins": [ORIGIN], "subprotocols": PROTOCOLS, "select_subprotocol": select}
    async with listen(handle, "127.0.0.1", port, **names, **OPTIONS) as server:
        await server.serve_forever()


def translated(options: dict[str, Any]) -> dict[str, Any]:
    """Return what the options of our clients are called there."""
    found: dict[str, Any] = {}
    compression = options.get("compression", "deflate")
    if isinstance(compression, dict):
        from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

        found["extensions"] = [ClientPerMessageDeflateFactory(**compression)]
        compression = None
    found["compression"] = compression
    if "trusts" in options:
        found["ssl"] = ssl.create_default_context(cafile=options["trusts"])
    if "protocols" in options:
        found["subprotocols"] = options["protocols"]
    if "headers" in options:
        found["additional_headers"] = options["headers"]
    return found


def told(number: int, error: Exception) -> None:
    """Tell of a handshake that failed, by the names that our errors have."""
    from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI

    text = str(error)
    if isinstance(error, (InvalidURI, OSError)) and not isinstance(error, TimeoutError):
        tell(number, "failed", "ValueError" if isinstance(error, InvalidURI) else "OSError", text)
    elif isinstance(error, InvalidStatus):
        response = error.response
        headers = list(response.headers.raw_items())
        body = (response.body or b"").decode("latin-1")
        tell(number, "refused", "HandshakeError", text, response.status_code, headers, body)
    elif isinstance(error, (InvalidHandshake, TimeoutError)):
        timed_out = isinstance(error, TimeoutError)
        kind = "HandshakeTimeout" if timed_out else "HandshakeError"
        tell(number, "refused", kind, text, None, [], "")
    else:
        tell(number, "failed", type(error).__name__, text)


async def connect() -> None:
    """Connect for each line that comes on standard input."""
    from websockets.asyncio.client import connect as open_connection
    from websockets.exceptions import ConnectionClosed

    tasks = set()

    async def run(number: int, url: str, options: dict[str, Any]) -> None:
        try:
            connecting = open_connection(url, proxy=None, **{**OPTIONS, **translated(options)})
            async with connecting as websocket:
                tell(number, "opened")
                with suppress(ConnectionClosed):
                    await behave(websocket, websocket.request.path)
                tell(number, "closed", websocket.close_code, websocket.close_reason)
        except Exception as error:  # noqa: BLE001 - whatever it raises
            told(number, error)

    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    number = 0
    async for line in reader:
        url, options = json.loads(line)
        tasks.add(loop.create_task(run(number, url, options)))
        number += 1


def chosen(role: str) -> list[Attack]:
    """Return the attacks on a role, but for those on a server's TLS, and by an application."""
    return [
        each
        for each in ATTACKS.values()
        if role in each.roles and not each.secure and each.kind != ISOLATION
    ]


class Control:
    """Attacks one process after the other; a new one where the last one was harmed."""

    def __init__(self, role: str, folder: Path) -> None:
        self._role, self._folder = role, folder

    @contextmanager
    def target(self) -> Iterator[Any]:
        """Start what is attacked."""
        with START[self._role]("control", self._folder, command=COMMANDS[self._role]) as target:
            yield target

    def run(self) -> Iterator[tuple[Attack, str]]:
        """Yield the attacks that were not answered as ours are, and what happened."""
        left = chosen(self._role)
        while left:
            with self.target() as target:
                while left:
                    attack = left.pop(0)
                    failure = self._fails(target, attack)
                    if failure:
                        yield attack, failure
                    if failure or attack.fresh or (left and left[0].fresh):
                        break

    @staticmethod
    def _fails(target: Any, attack: Attack) -> str:
        began = time.monotonic()
        try:
            attack.run(target)
            target.echo()
        except Exception as error:  # noqa: BLE001 - it may answer in a way that no attack expects
            return f"{type(error).__name__}: {error}".partition("\n")[0][:200]
        finally:
            took = time.monotonic() - began
            print(f"{took:5.1f} s  {target.role} {attack.name}", file=sys.stderr, flush=True)
        return ""


def report(rows: dict[str, list[tuple[Attack, str]]]) -> str:
    """Return the table of what was answered otherwise."""
    from websockets import __version__

    text = [
        f"The attacks of `test/hostile`, turned against `websockets` {__version__} with the same",
        "limits, but for those on a server's TLS and those that an application's callbacks make.",
        "What it answers in another way than ws4py, and what asks for our answer:",
        "",
    ]
    for role, failed in rows.items():
        text += [
            f"As a {role}, {len(failed)} of {len(chosen(role))}:",
            "",
            "| attack | what asks for it |",
        ]
        text += ["|---|---|", *(f"| {each.name} | {each.cites} |" for each, _ in failed), ""]
    return "\n".join(text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("what", nargs="?", choices=["serve", "connect"])
    parser.add_argument("port", nargs="?", type=int)
    parser.add_argument("--write", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    if arguments.what:
        asyncio.run(serve(arguments.port) if arguments.what == "serve" else connect())
        return 0
    from test.hostile import suites  # noqa: F401 - fills ATTACKS

    with tempfile.TemporaryDirectory() as folder:
        rows = {role: list(Control(role, Path(folder)).run()) for role in ROLES}
    for role, failed in rows.items():
        for attack, failure in failed:
            print(f"{role}: {attack.name} [{attack.cites}]\n    {failure}")
    if arguments.write:
        arguments.write.write_text(report(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
