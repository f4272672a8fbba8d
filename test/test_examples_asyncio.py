"""The examples for asyncio run as they stand, but for the port."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from test.snippets import PROJECT, Program
from ws4py.server.asyncioserver import serve

EXAMPLES = PROJECT / "example"
pytestmark = pytest.mark.usefixtures("no_thread_left")


async def free_port() -> int:
    async with serve(host="127.0.0.1", port=0) as server:
        port: int = server.sockets[0].getsockname()[1]
        return port


def test_the_client_hears_from_the_server_what_it_said(tmp_path: Path) -> None:
    port = str(asyncio.run(free_port()))
    sources = [
        (EXAMPLES / f"asyncio_{which}.py").read_text().replace("9000", port)
        for which in ("server", "client")
    ]
    assert all(len(source.splitlines()) <= 25 for source in sources)
    # What the server prints once it listens, so that the client need not try again.
    ready = "async def main():\n    await server\n    print('ready', flush=True)\n"
    source = sources[0].replace(
        "if __name__", ready + "    await server.serve_forever()\n\nif __name__"
    )
    source = source.replace("asyncio.run(server.serve_forever())", "asyncio.run(main())")
    for folder in ("server", "client"):
        (tmp_path / folder).mkdir()
    with Program(source, tmp_path / "server") as server:
        server.printed_until(lambda line: line == "ready")
        with Program(sources[1], tmp_path / "client") as client:
            assert client.printed_to_end() == [
                "Welcome! What is said here is said to all.",
                "Somebody says: hello",
            ]
            assert (client.status(), client.errors()) == (0, "")
        server.interrupt()
        server.status()
