"""Fault 35: the client for Tornado."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tornado
import trustme
from tornado.ioloop import IOLoop

from test.helpers import TIMEOUT, echo_server, url_of
from test.regressions import regression
from ws4py.client.tornadoclient import TornadoWebSocketClient

PROJECT = Path(__file__).parent.parent.parent

PROGRAM = """
import sys
from tornado import ioloop
from ws4py.client.tornadoclient import TornadoWebSocketClient

class Client(TornadoWebSocketClient):
    def opened(self):
        self.send("hello")

    def received_message(self, message):
        print(message, flush=True)
        self.close(reason="enough")

    def closed(self, code, reason=None):
        print(code, reason, flush=True)
        self.io_loop.stop()

options = {"ca_certs": sys.argv[2]} if len(sys.argv) > 2 else None
client = Client(sys.argv[1], None, None, ioloop.IOLoop.current(), options)
client.connect()
ioloop.IOLoop.current().start()
"""


def run_program(*arguments: str) -> list[str]:
    """Run the program; return what it prints, unless it complains of anything."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=True,
        cwd=PROJECT,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


@regression(35)
def test_the_tornado_client_talks_on_the_loop_of_this_tornado() -> None:
    assert tornado.version_info >= (6, 5)
    with echo_server() as server:
        assert run_program(url_of(server)) == ["hello", "1000 enough"]


@regression(35)
def test_the_tornado_client_talks_over_tls(
    server_tls: ssl.SSLContext, authority: trustme.CA
) -> None:
    with echo_server(ssl_context=server_tls) as server, authority.cert_pem.tempfile() as path:
        assert run_program(url_of(server), path) == ["hello", "1000 enough"]


@regression(35)
@pytest.mark.parametrize("waits", [True, False])
def test_the_tornado_client_tells_that_it_cannot_connect(waits: bool) -> None:
    class Client(TornadoWebSocketClient):
        told: tuple[int, Any] | None = None

        def closed(self, code: int, reason: str | None = None) -> None:
            self.told = code, reason
            self.io_loop.stop()

    loop = IOLoop(make_current=False)
    client = Client("ws://127.0.0.1:1/", io_loop=loop)
    if waits:
        with pytest.raises(OSError, match="Connect call failed"):
            loop.run_sync(client.connect)
        assert client.told is None
    else:
        client.connect()
        loop.start()
        assert client.told is not None
        assert client.told[0] == 1006
    asyncio.set_event_loop(None)
    loop.close()
