"""An echo server with TLS, and a client that verifies it: python example/tls_server.py [PORT]

The certificate is made on the spot, by the program ``openssl``, and is gone at the end.
"""

import ssl
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread

from ws4py.client.threadedclient import WebSocketClient
from ws4py.server.standalone import WebSocketServer
from ws4py.websocket import EchoWebSocket

OPENSSL = [
    *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "7"),
    *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
]


class Client(WebSocketClient):
    def opened(self):
        self.send("hello")

    def received_message(self, message):
        print(f"It says {message}, over {self.sock.version()}")
        self.close()


def make_certificate(folder):
    """Return the paths of a new certificate, which is signed by nobody else, and of its key."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = [*OPENSSL, "-out", certificate, "-keyout", key]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        sys.exit("tls_server: there is no program openssl, which makes the certificate")
    except subprocess.CalledProcessError as error:
        sys.exit(f"tls_server: openssl has failed: {error.stderr.strip()}")
    return certificate, key


def show_verification(url, certificate):
    """Connect without and with knowing the certificate."""
    try:
        Client(url).connect()
    except ssl.SSLCertVerificationError as error:
        print(f"Who does not know the certificate is not connected: {error.verify_message}")
    client = Client(url, ssl_options={"ca_certs": str(certificate)})
    client.connect()
    client.run_forever()


def serve(port, folder):
    certificate, key = make_certificate(folder)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    try:
        server = WebSocketServer(("localhost", port), EchoWebSocket, ssl_context=context)
    except (OSError, OverflowError) as error:
        sys.exit(f"tls_server: cannot listen on port {port}: {error}")
    with server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        url = f"wss://localhost:{server.server_address[1]}/"
        show_verification(url, certificate)
        print(f'Echo at {url} for ssl_options={{"ca_certs": "{certificate}"}}', flush=True)
        thread.join()


try:
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 9000
except ValueError as error:
    sys.exit(f"tls_server: no port: {error}")
with suppress(KeyboardInterrupt), TemporaryDirectory() as folder:
    serve(port, Path(folder))
