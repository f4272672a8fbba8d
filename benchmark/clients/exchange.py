"""What the clients here are told, and how they are timed.

A client asks ``goes_on()`` before each window of messages, sends ``message`` ``window`` times, and
gives every reply to ``check``. CPU time is user and system, of the whole process.
"""

import argparse
import json
import time

parser = argparse.ArgumentParser()
parser.add_argument("port", type=int)
parser.add_argument("--size", type=int, required=True, help="bytes of a message")
parser.add_argument("--window", type=int, required=True, help="messages outstanding")
parser.add_argument("--warmup", type=float, required=True, help="seconds")
parser.add_argument("--seconds", type=float, required=True)
parser.add_argument("--echo", type=int, required=True, help="process id of the server")
parser.add_argument("--uvloop", action="store_true", help="instead of asyncio's own loop")
options = parser.parse_args()

port, window = options.port, options.window
url = f"ws://127.0.0.1:{port}/"
sentence = "The quick brown fox jumps over the lazy dog; "
message = (sentence * (options.size // len(sentence) + 1))[: options.size]
encoded = message.encode()
if options.uvloop:
    import uvloop

    uvloop.install()


def moment():
    """Return wall clock, own CPU time and that of the echo server, in seconds."""
    clock_of_echo = (~options.echo << 3) | 2  # as `clock_getcpuclockid` makes it, on Linux
    return time.monotonic(), time.process_time(), time.clock_gettime(clock_of_echo)


class Exchange:
    """Counts the replies between the end of the warm-up and the end of the measured phase."""

    def __init__(self):
        self.start = None
        self.until = time.monotonic() + options.warmup
        self.replies = 0

    def check(self, reply):
        if reply != message and reply != encoded:
            raise AssertionError("a reply differs from what was sent")
        self.replies += 1

    def window_is_complete(self):
        """Whether all replies have come; for clients with callbacks."""
        return self.replies % window == 0

    def goes_on(self):
        if time.monotonic() < self.until:
            return True
        if self.start is None:
            self.start, self.replies = moment(), 0
            self.until = time.monotonic() + options.seconds
            return True
        self.report()
        return False

    def report(self):
        seconds, cpu, echo = (now - then for now, then in zip(moment(), self.start))
        figures = {
            "messages": self.replies,
            "seconds": seconds,
            "messages_per_second": self.replies / seconds,
            "cpu_us": cpu / max(self.replies, 1) * 1e6,
            "load_busy": echo / seconds,
        }
        print(json.dumps(figures), flush=True)


exchange = Exchange()
