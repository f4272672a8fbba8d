"""The documentation's snippet for asyncio, whose module was called tulipserver."""

from __future__ import annotations

from ast import literal_eval
from pathlib import Path

import pytest

from test.helpers import Recorder
from test.snippets import Edit, Program, edited
from ws4py.client.threadedclient import WebSocketClient

pytestmark = pytest.mark.usefixtures("no_thread_left")


class Client(Recorder, WebSocketClient):
    """A threaded client that records."""


@pytest.mark.parametrize("module", ["tulipserver", "asyncioserver"])
def test_the_server_of_the_documentation_echoes(module: str, tmp_path: Path) -> None:
    source = edited(
        "server_asyncio",
        Edit(
            "import EchoWebSocket\n",
            f"import EchoWebSocket\nimport asyncio\nfrom ws4py.server.{module} import "
            "WebSocketProtocol\n",
            "imports that are not printed",
        ),
        Edit("get_event_loop", "new_event_loop", "Python 3.14: no loop is made implicitly"),
        Edit("9007", "0", "a free port"),
    )
    with Program(source, tmp_path) as program:
        (line,) = program.printed_until(lambda line: line.startswith("serving on"))
        address = literal_eval(line.replace("serving on", "").strip())
        host = "127.0.0.1" if len(address) == 2 else "[::1]"
        client = Client(f"ws://{host}:{address[1]}/")
        client.connect()
        client.send("hello")
        assert [client.next_event(), client.next_event()] == [("opened",), ("text", b"hello")]
        client.close()
        client.run_forever()
        assert client.close_code == 1000
        program.interrupt()
        program.status()
        assert "KeyboardInterrupt" in program.errors()
        assert "Warning" not in program.errors().split("Traceback")[0]
