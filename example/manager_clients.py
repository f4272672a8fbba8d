"""Two thousand clients in one thread: python example/manager_clients.py [URL [COUNT]]

Start an echo server first, which needs as many descriptors: ulimit -n 2200
"""

import sys
from threading import Semaphore

from ws4py.client import WebSocketBaseClient
from ws4py.exc import HandshakeError
from ws4py.manager import WebSocketManager

MOST = 20_000  # a machine has some 28 000 ports for connections to one address
PATIENCE = 30  # seconds without an answer
SPARE = 100  # descriptors besides those of the clients


class Client(WebSocketBaseClient):
    def handshake_ok(self):
        manager.add(self)

    def received_message(self, message):
        answers.release()


def allow(descriptors):
    """Raise the limit of open descriptors, if it is too low: often it is 1024."""
    try:
        import resource
    except ImportError:  # Windows has no such limit.
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < descriptors:
        if hard != resource.RLIM_INFINITY and hard < descriptors:
            sys.exit(f"{descriptors} descriptors are needed, and {hard} may be open at most")
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, hard))


def talk(url, count):
    clients = []
    while len(clients) < count:
        clients.append(Client(url))
        clients[-1].connect()
    print(f"{len(manager)} clients are connected, in one thread", flush=True)
    for number, client in enumerate(clients):
        client.send(f"hello from {number}")
    for number in range(count):
        if not answers.acquire(timeout=PATIENCE):
            sys.exit(f"only {number} messages came back")
    print(f"{count} messages came back")


url = sys.argv[1] if len(sys.argv) > 1 else "ws://localhost:9000/"
count = int(sys.argv[2]) if len(sys.argv) > 2 else 2000
if not 0 < count <= MOST:
    sys.exit(f"{count} is not a number of clients from 1 to {MOST}")
allow(count + SPARE)
answers = Semaphore(0)
manager = WebSocketManager()
manager.start()
try:
    talk(url, count)
except (OSError, ValueError, HandshakeError) as error:
    sys.exit(f"no connection to {url}: {error}")
finally:
    manager.close_all()  # Each goes on until its server has answered.
    manager.stop()
    manager.join()
