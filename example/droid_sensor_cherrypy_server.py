"""Phones send how they move, and a page plots it live, under CherryPy.

python example/droid_sensor_cherrypy_server.py [--host HOST] [--port PORT] [--ssl CERTIFICATE KEY]

Browsers tell a page how its phone moves over https alone, but for localhost.
"""

from __future__ import annotations

import json
from itertools import count
from threading import RLock
from urllib.parse import parse_qs

import cherrypy
from cherrypy_pages import options_of, page, require_own_page, serve
from pages import decode

from ws4py.limits import Limits
from ws4py.sending import broadcast
from ws4py.websocket import WebSocket

MOST_PHONES = 12

numbers = count(1)
phones, viewers = {}, set()
# Who begins to watch is told of each phone once. opened runs in a thread of CherryPy.
lock = RLock()


class Phone(WebSocket):
    """A phone, which sends readings: ``static/phone.js``, or ``droid_sensor.py``."""

    limits = Limits(max_message_size=512)

    def opened(self):
        name, *_ = parse_qs(self.environ["QUERY_STRING"]).get("name", ["Phone"])
        with lock:
            if len(phones) >= MOST_PHONES:
                self.close(1013, f"There are {MOST_PHONES} phones already")
                return
            self.number = next(numbers)
            phones[self] = {"phone": self.number, "name": name[:24]}
            tell(phones[self])

    def received_message(self, message):
        reading = decode(message)
        if self not in phones:
            return
        if is_reading(reading):
            tell({**reading, "phone": self.number})
        else:
            self.close(1008, "This is no reading")

    def closed(self, code, reason=None):
        with lock:
            if phones.pop(self, None):
                tell({"left": self.number})


class Viewer(WebSocket):
    """A page that plots: ``static/sensors.js``."""

    # Whose connection is slow misses some readings, and gets the next ones in time.
    limits = Limits(max_message_size=0, max_queue=32 * 1024, when_full="drop_message")

    def opened(self):
        with lock:
            viewers.add(self)
            for phone in phones.values():
                broadcast([self], json.dumps(phone))  # unlike send, this waits for nobody

    def closed(self, code, reason=None):
        with lock:
            viewers.discard(self)


def tell(what):
    with lock:
        watching = list(viewers)
    broadcast(watching, json.dumps(what))


def is_reading(reading):
    """Say whether this can be plotted: whatever is infinite, or no number, could not."""

    def is_number(value, most):
        return type(value) in (int, float) and -most <= value <= most

    vectors = [reading.get("acceleration"), reading.get("orientation")]
    return (
        set(reading) == {"at", "acceleration", "orientation"}
        and is_number(reading["at"], 1e13)  # milliseconds of the phone's clock
        and all(isinstance(vector, list) and len(vector) == 3 for vector in vectors)
        and all(is_number(value, 1000) for vector in vectors for value in vector)
    )


class Root:
    @cherrypy.expose
    def index(self):
        return page("sensors.html")

    @cherrypy.expose
    def phone(self):
        return page("phone.html")

    @cherrypy.expose
    def send(self, name=""):
        require_own_page()

    @cherrypy.expose
    def watch(self):
        require_own_page()


if __name__ == "__main__":
    options = options_of("Phones that send how they move, on ws4py under CherryPy")
    serve(Root(), {"/send": Phone, "/watch": Viewer}, options)
