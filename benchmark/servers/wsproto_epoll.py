"""An echo on wsproto, which leaves the sockets to its user: on epoll, in one thread."""

import select
import socket

from options import port
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    Request,
    TextMessage,
)
from wsproto.utilities import RemoteProtocolError


class Connection:
    """A connection, the message that is coming, and what the kernel has not taken yet."""

    def __init__(self, sock):
        self.sock = sock
        self.ws = WSConnection(ConnectionType.SERVER)
        self.parts = []
        self.unsent = b""

    def received(self, data):
        self.ws.receive_data(data)
        for event in self.ws.events():
            self.unsent += self.answer(event)

    def answer(self, event):
        if isinstance(event, Request):
            return self.ws.send(AcceptConnection())
        if isinstance(event, (CloseConnection, Ping)):
            return self.ws.send(event.response())
        if not isinstance(event, (TextMessage, BytesMessage)):
            return b""
        self.parts.append(event.data)
        if not event.message_finished:
            return b""
        message = self.parts[0][:0].join(self.parts)
        self.parts.clear()
        return self.ws.send(type(event)(data=message))

    def flush(self):
        """Send what the kernel takes; return what is to be waited for."""
        try:
            sent = self.sock.send(self.unsent)
        except BlockingIOError:
            sent = 0
        self.unsent = self.unsent[sent:]
        return select.EPOLLOUT if self.unsent else select.EPOLLIN


def serve(listener):
    poller = select.epoll()
    poller.register(listener.fileno(), select.EPOLLIN)
    connections = {}
    while True:
        for fd, events in poller.poll():
            if fd == listener.fileno():
                sock, _ = listener.accept()
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connections[sock.fileno()] = Connection(sock)
                poller.register(sock.fileno(), select.EPOLLIN)
                continue
            connection = connections[fd]
            try:
                if events & ~select.EPOLLOUT:
                    connection.received(connection.sock.recv(65536) or None)
                poller.modify(fd, connection.flush())
                over = connection.ws.state.name == "CLOSED" and not connection.unsent
            except (OSError, RemoteProtocolError):
                over = True
            if over:
                del connections[fd]
                connection.sock.close()


serve(socket.create_server(("127.0.0.1", port), backlog=1024))
