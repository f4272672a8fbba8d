"""The echo server of Flask-Sock's documentation: simple-websocket, for a WSGI server's threads."""

from flask import Flask
from flask_sock import Sock

app = Flask(__name__)
sock = Sock(app)


@sock.route("/")
def echo(ws):
    while True:
        ws.send(ws.receive())
