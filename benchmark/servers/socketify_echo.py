"""The echo server of socketify's documentation."""

from options import port
from socketify import App


def ws_message(ws, message, opcode):
    ws.send(message, opcode)


app = App()
app.ws("/*", {"message": ws_message, "max_payload_length": 16 * 1024 * 1024})
app.listen({"host": "127.0.0.1", "port": port})
app.run()
