"""A chat: the server that its page, ``static/chat.html``, talks to.

python example/chat.py [--host HOST] [--port PORT]
"""

from __future__ import annotations

import argparse
import json
from contextlib import suppress
from urllib.parse import parse_qs

from pages import address, is_own_page, site

from ws4py.limits import Limits
from ws4py.server.standalone import WebSocketServer
from ws4py.websocket import WebSocket


class Chat(WebSocket):
    """Somebody in the chat: one tab of a browser, or ``python -m ws4py connect``."""

    limits = Limits(max_message_size=4096)
    everybody = ()  # the server's manager, which knows all connections
    name = ""

    def opened(self):
        if not is_own_page(self.environ):
            self.close(1008, "Only the page of this server may take part")
            return
        self.take_name(*parse_qs(self.environ["QUERY_STRING"]).get("name", []))
        self.announce(f"{self.name} has joined")

    def received_message(self, message):
        before, text = self.name, str(message).strip()
        command, _, rest = text.partition(" ")
        if before and command == "/name":
            self.take_name(rest)
            self.announce(f"{before} is now {self.name}")
        elif before and text:
            self.everybody.broadcast(json.dumps({"who": before, "text": text}))

    def closed(self, code, reason=None):
        name, self.name = self.name, ""
        if name:
            self.announce(f"{name} has left")

    def take_name(self, wanted=""):
        wanted = " ".join(wanted.split())[:24] or "Guest"
        taken = {person.name for person in self.everybody if person is not self}
        number = 1
        while (name := wanted if number == 1 else f"{wanted} {number}") in taken:
            number += 1
        self.name = name
        self.send(json.dumps({"you": name}))

    def announce(self, note):
        here = sorted(person.name for person in self.everybody if person.name)
        self.everybody.broadcast(json.dumps({"note": note, "here": here}))


def main():
    parser = argparse.ArgumentParser(description="A chat on ws4py")
    parser.add_argument("--host", default="localhost", help="0.0.0.0 lets other machines in")
    parser.add_argument("--port", default=9000, type=int, help="0 for any that is free")
    options = parser.parse_args()
    host, port = options.host, options.port
    try:
        server = WebSocketServer((host, port), {"/ws": Chat}, http=site("chat.html"))
    except (OSError, OverflowError) as error:
        parser.exit(2, f"chat: cannot listen on {host}:{port}: {error}\n")
    Chat.everybody = server.manager
    # At its end the server says goodbye to everybody, with the close code 1001.
    with server, suppress(KeyboardInterrupt):
        print(f"Open {address('http', host, server.server_address[1])}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
