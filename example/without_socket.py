"""A WebSocket without a socket: bytes come from anywhere, and go anywhere.

python example/without_socket.py
"""

import os

from ws4py.framing import OPCODE_CLOSE, OPCODE_TEXT, Frame
from ws4py.streaming import Stream
from ws4py.websocket import WebSocket


class Shout(WebSocket):
    """As it would run on any server."""

    def received_message(self, message):
        self.send(str(message).upper())

    def closed(self, code, reason=None):
        print("closed:", code)


class Bytes:
    """All that a websocket needs of what it is connected by: ``sendall``, and ``recv`` for run().

    Here it is memory. A serial line, a pipe, or a tunnel through another protocol has these two,
    or gets them in a few lines.
    """

    def __init__(self, *chunks):
        self.chunks, self.sent = iter(chunks), bytearray()

    def recv(self, size):
        return next(self.chunks, b"")  # the end, when there are no more

    def sendall(self, data):
        self.sent += data


def frames(*texts):
    """Return what a client would send: text messages, and then its Close."""
    frames = [(OPCODE_TEXT, text.encode()) for text in texts] + [(OPCODE_CLOSE, b"\x03\xe8")]
    return b"".join(Frame(code, body, os.urandom(4), fin=1).build() for code, body in frames)


def messages(data):
    """Return the text messages in what a server has sent."""
    stream, found = Stream(expect_masking=False), []
    wanted = stream.parser.send(data)
    while not wanted:  # it stops at each thing that it finds
        if stream.message is not None and stream.message.completed:
            found.append(str(stream.message))
            stream.message = None
        if stream.closing is not None:
            break
        wanted = next(stream.parser)
    return found


# You have the bytes: give them to process(), in pieces of any size, until it returns False.
line = Bytes()
websocket = Shout(line)
for byte in frames("pushed", "in"):
    if not websocket.process(bytes([byte])):
        websocket.terminate()
print(messages(bytes(line.sent)))

# The websocket fetches them itself: run() reads until there are no more.
recorded = frames("pulled", "out")
line = Bytes(recorded[:3], recorded[3:10], recorded[10:])
Shout(line).run()
print(messages(bytes(line.sent)))
