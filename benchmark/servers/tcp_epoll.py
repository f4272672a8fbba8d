"""A TCP echo on epoll: what any server in Python pays for moving bytes at all."""

import select
import socket
import sys


class Peer:
    """A connection and what the kernel has not taken yet."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.unsent = b""


def echo(peer: Peer) -> bool:
    """Move what can be moved; False when the connection is over."""
    data = peer.unsent or peer.sock.recv(65536)
    if not data:
        return False
    try:
        sent = peer.sock.send(data)
    except BlockingIOError:
        sent = 0
    peer.unsent = data[sent:]
    return True


def serve(listener: socket.socket) -> None:
    poller = select.epoll()
    poller.register(listener.fileno(), select.EPOLLIN)
    peers = {}
    while True:
        for fd, _ in poller.poll():
            if fd == listener.fileno():
                sock = listener.accept()[0]
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                peers[sock.fileno()] = Peer(sock)
                poller.register(sock.fileno(), select.EPOLLIN)
                continue
            peer = peers[fd]
            stalled = bool(peer.unsent)
            try:
                alive = echo(peer)
            except OSError:
                alive = False
            if not alive:
                del peers[fd]
                peer.sock.close()
            elif stalled != bool(peer.unsent):
                poller.modify(fd, select.EPOLLOUT if peer.unsent else select.EPOLLIN)


serve(socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=1024))
