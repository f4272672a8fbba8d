"""A real browser that compresses, as what passes between it and our server shows."""

from __future__ import annotations

from typing import Any

import pytest

from test import test_browser
from test.relay import Relay, Wire
from test.test_cli import Serving

pytestmark = pytest.mark.browser

browser = test_browser.browser
context = test_browser.context
page = test_browser.page
chat = test_browser.chat

KIB = 1024
SIZE = KIB * KIB

#: Echo one text of SIZE characters, of which only the unit is given.
SCRIPT = """
async ([url, unit, size]) => {
  const {socket, next} = connect(url), sent = unit.repeat(size / unit.length + 1).slice(0, size);
  const opened = await next();
  socket.send(sent);
  const [kind, received] = await next();
  socket.close(1000);
  const end = await next();
  return [opened, socket.extensions, kind, received.length, received === sent, end];
}
"""


@pytest.mark.parametrize("engine", ["standalone", "asyncio", "tornado"])
def test_a_repetitive_text_of_1_mib_travels_in_less_than_20_kib(page: Any, engine: str) -> None:
    arguments = ("--engine", engine, "--compression", "deflate")
    with Serving(*arguments) as server, Relay(server.port) as relay:
        unit = "All work and no play makes Jack a dull boy. "
        opened, extensions, *received, end = page.evaluate(SCRIPT, [relay.url, unit, SIZE])
        (wire,) = relay.wires
        wire.wait()
    assert opened == ["open"]
    assert extensions == wire.answer
    assert wire.answer.startswith("permessage-deflate")
    assert received == ["message", SIZE, True]
    assert end == ["close", 1000, "", True]
    check_sizes(wire)


def check_sizes(wire: Wire) -> None:
    """See that each way took less than 20 KiB, handshakes included, and was compressed."""
    for data, frames in (
        (wire.to_server, wire.frames_to_server),
        (wire.to_client, wire.frames_to_client),
    ):
        assert len(data) < 20 * KIB
        begun = [frame.rsv1 for frame in frames if frame.opcode == 1]
        assert begun == [1]
