"""A phone that somebody walks about with, simulated, for droid_sensor_cherrypy_server.py.

python example/droid_sensor.py [--url URL] [--seconds SECONDS] [--rate RATE] [--name NAME]
"""

from __future__ import annotations

import argparse
import json
import random
import time
from math import cos, pi, radians, sin
from threading import Event
from urllib.parse import quote

from ws4py.client.threadedclient import WebSocketClient
from ws4py.exc import HandshakeError

GRAVITY = 9.81


class Phone(WebSocketClient):
    """Sends readings, until the server says goodbye."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.ended = Event()

    def closed(self, code, reason=None):
        self.ended.set()
        print(f"closed: {code} {reason}")


def reading(seconds, foot):
    """Return what the sensors of a phone in somebody's hand tell, ``seconds`` after the start.

    ``foot`` is where in their walk they were then: no two people keep step.
    """
    step = 2 * pi * 1.8 * seconds + foot  # of 1.8 steps a second
    turn = 2 * pi * seconds / 12 + foot
    alpha = (20 + 35 * sin(turn)) % 360
    beta = 35 + 6 * sin(step / 2) + random.gauss(0, 0.4)
    gamma = 12 * sin(turn * 2) + 3 * cos(step / 2) + random.gauss(0, 0.4)
    # What rests is pushed upwards, seen in the axes of a phone that is tilted by these angles.
    x = -cos(radians(beta)) * sin(radians(gamma)) * GRAVITY
    y = sin(radians(beta)) * GRAVITY
    z = cos(radians(beta)) * cos(radians(gamma)) * GRAVITY
    moved = (0.8 * sin(step / 2), 1.2 * sin(step), 2.4 * sin(step) + 0.9 * sin(2 * step))
    acceleration = [
        round(rest + own + random.gauss(0, 0.15), 2) for rest, own in zip((x, y, z), moved)
    ]
    orientation = [round(angle, 1) for angle in (alpha, beta, gamma)]
    at = round(1000 * seconds)
    return {"at": at, "acceleration": acceleration, "orientation": orientation}


def positive(text):
    number = float(text)
    if not 0 < number < 1e6:
        raise ValueError(text)
    return number


def main():
    parser = argparse.ArgumentParser(description="A phone that sends how it is moved, simulated")
    parser.add_argument("--url", default="ws://localhost:9000/send", help="%(default)s")
    parser.add_argument("--seconds", default=60, type=positive, help="%(default)s")
    parser.add_argument("--rate", default=20, type=positive, help="readings a second: %(default)s")
    parser.add_argument("--name", default="Simulated phone", help="%(default)s")
    options = parser.parse_args()
    try:
        phone = Phone(f"{options.url}?name={quote(options.name)}")
        phone.connect()
    except (OSError, ValueError, HandshakeError) as error:
        parser.exit(1, f"phone: cannot connect to {options.url}: {error}\n")
    begun, foot = time.monotonic(), random.uniform(0, 4 * pi)
    sent = 0
    try:
        while sent < options.seconds * options.rate and not phone.terminated:
            phone.send(json.dumps(reading(sent / options.rate, foot)))
            sent += 1
            phone.ended.wait(max(0, begun + sent / options.rate - time.monotonic()))
    except (KeyboardInterrupt, RuntimeError):  # the latter: it has ended since it was asked
        pass
    phone.close(reason="enough")
    phone.run_forever()
    print(f"{sent} readings were sent")


if __name__ == "__main__":
    main()
