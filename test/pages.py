"""The examples that have pages, as programs."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from test.test_cli import Client, Program


class Announced(Program):
    """An example with a page, once it accepts connections; ``url`` is where."""

    def __init__(self, script: str, *arguments: str) -> None:
        super().__init__("-X", "dev", f"example/{script}", *(arguments or ("--port", "0")))
        announced = self.line()
        if announced is None:
            errors = self.errors
            self.__exit__()
            raise AssertionError(errors)
        self.url = announced[len("Open ") :]

    @property
    def port(self) -> str:
        """The port that it has found."""
        return self.url.rpartition(":")[2].rstrip("/")


class Peer(Client):
    """A tab of a browser, without the browser: it speaks JSON with the server of a page."""

    def __init__(self, url: str, path: str, name: str | None = None, **options: Any) -> None:
        query = "" if name is None else f"?name={quote(name)}"
        super().__init__(url.replace("http", "ws") + path + query, **options)

    def tell(self, what: Any) -> None:
        """Send something as JSON."""
        self.send(json.dumps(what))

    def hear(self) -> dict[str, Any]:
        """Return the next message of the server."""
        kind, data = self.next_event()
        assert kind == "text", data
        return json.loads(data)

    def hears(self, **expected: Any) -> dict[str, Any]:
        """Read on until a message has what is expected, and return it."""
        while True:
            heard = self.hear()
            if heard.items() >= expected.items():
                return heard
