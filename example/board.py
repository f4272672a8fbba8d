"""A drawing board for several people: the server of ``static/board.html``.

python example/board.py [--host HOST] [--port PORT]
"""

from __future__ import annotations

import argparse
import json
from collections import deque
from contextlib import suppress
from threading import RLock

from pages import address, decode, is_own_page, site

from ws4py.limits import Limits
from ws4py.sending import broadcast
from ws4py.server.standalone import WebSocketServer
from ws4py.websocket import WebSocket

COLOURS = 8  # the page knows which; the last one is its rubber
SIZE = 2000  # of the board's sides, whatever the size of the screen that it is shown on
KEPT = 256 * 1024  # bytes of what was drawn, for those who come later


class Drawing:
    """What was drawn, as JSON, and who draws. Where there is more than KEPT, the oldest goes."""

    def __init__(self):
        self.lines, self.size, self.people = deque(), 0, set()
        # Who comes is to miss nothing, and get nothing twice, on an engine with many threads too.
        self.lock = RLock()

    def add(self, line):
        self.lines.append(line)
        self.size += len(line)
        while self.size > KEPT:
            self.size -= len(self.lines.popleft())

    def clear(self):
        self.lines.clear()
        self.size = 0


class Board(WebSocket):
    """Somebody at the board."""

    limits = Limits(max_message_size=2048)
    drawing = Drawing()

    def opened(self):
        if not is_own_page(self.environ):
            self.close(1008, "Only the page of this server may take part")
            return
        with self.drawing.lock:
            # Where a thread reads each connection, send would wait for a slow reader, and so have
            # all others wait for the lock: this waits for nobody.
            broadcast([self], f'{{"drawn": [{", ".join(self.drawing.lines)}]}}')
            self.drawing.people.add(self)
            self.tell_who_is_here()

    def received_message(self, message):
        with self.drawing.lock:
            if self not in self.drawing.people:
                return
            wanted = decode(message)
            if wanted == {"clear": True}:
                self.drawing.clear()
                self.tell(wanted)
            elif is_line(wanted):
                self.drawing.add(json.dumps(wanted))
                self.tell({"drawn": [wanted], "more": True})
            else:
                self.close(1008, "This is neither a line nor a wish to clear the board")

    def closed(self, code, reason=None):
        with self.drawing.lock:
            if self in self.drawing.people:
                self.drawing.people.remove(self)
                self.tell_who_is_here()

    def tell_who_is_here(self):
        self.tell({"here": len(self.drawing.people)})

    def tell(self, what):
        broadcast(list(self.drawing.people), json.dumps(what))


def is_line(wanted):
    """Say whether somebody has sent a line, which all can draw: else their pages would fail."""

    def is_number(value, least, most):
        return type(value) is int and least <= value <= most

    points = wanted.get("points")
    return (
        set(wanted) == {"colour", "width", "points"}
        and is_number(wanted["colour"], 0, COLOURS - 1)
        and is_number(wanted["width"], 1, 200)
        and isinstance(points, list)
        and 4 <= len(points) <= 256
        and len(points) % 2 == 0
        and all(is_number(each, -SIZE, 2 * SIZE) for each in points)
    )


def main():
    parser = argparse.ArgumentParser(description="A drawing board on ws4py")
    parser.add_argument("--host", default="localhost", help="0.0.0.0 lets other machines in")
    parser.add_argument("--port", default=9000, type=int, help="0 for any that is free")
    options = parser.parse_args()
    host, port = options.host, options.port
    try:
        # What was drawn is text that repeats itself: compressed, it is a fifth.
        server = WebSocketServer(
            (host, port), {"/ws": Board}, http=site("board.html"), compression="deflate"
        )
    except (OSError, OverflowError) as error:
        parser.exit(2, f"board: cannot listen on {host}:{port}: {error}\n")
    # At its end the server says goodbye to everybody, with the close code 1001.
    with server, suppress(KeyboardInterrupt):
        print(f"Open {address('http', host, server.server_address[1])}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
