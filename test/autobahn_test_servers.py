"""Start echo servers for the Autobahn test suite, each on a port of its own, until Ctrl-C.

python test/autobahn_test_servers.py --run-all
wstest -m fuzzingclient -s test/fuzzingclient.json
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

SERVE = "ws4py serve --compression deflate"
#: The ports that fuzzingclient.json names, by engine; those of the examples may be in use.
PORTS = {
    "standalone": 9100,
    "wsgiref": 9101,
    "cherrypy": 9102,
    "gevent": 9103,
    "tornado": 9104,
    "asyncio": 9105,
    "asgi": 9106,
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run-all", action="store_true", help="start all of them")
    for engine, port in PORTS.items():
        parser.add_argument(f"--run-{engine}-server", action="store_true", help=f"on port {port}")
    options = vars(parser.parse_args(argv))
    engines = [e for e in PORTS if options["run_all"] or options[f"run_{e}_server"]]
    if not engines:
        parser.error("name a server to start, or --run-all")
    run(engines)


def run(engines: Sequence[str]) -> None:
    """Run servers until they have ended, which Ctrl-C and SIGTERM make them do."""
    servers = [
        subprocess.Popen(
            [sys.executable, "-m", *f"{SERVE} --engine {engine} --port {port}".split()],
            cwd=ROOT,
        )
        for engine, port in PORTS.items()
        if engine in engines
    ]
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: [server.terminate() for server in servers])
    for server in servers:
        server.wait()


if __name__ == "__main__":
    main()
