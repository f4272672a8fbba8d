"""What ``make benchmark`` and ``make benchmark-full`` measure."""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

#: Bytes of all messages that are outstanding, at most.
OUTSTANDING_MAX = 256 * 1024 * 1024


class Set(NamedTuple):
    """Cells and servers, as on the command line, and how long."""

    cells: str
    servers: str
    rounds: int
    seconds: float


def echoes() -> list[str]:
    """Return all sizes, connections and windows that go together."""
    return [
        f"{size}x{connections}x{window}"
        for size, connections, window in product(
            (16, 125, 1024, 16 * 1024, 1024 * 1024), (1, 50, 1000), (1, 32)
        )
        if size * connections * window <= OUTSTANDING_MAX
    ]


OVER_TLS = ["16x50x1s", "16x50x32s", "1024x50x1s", "16384x50x1s", "1048576x50x1s"]
BESIDES = ["opening5000", "opening10000", "broadcast125x500", "crowd10000"]
CLIENTS = ["client125x1", "client125x32", "client16384x1"]

SETS = {
    "short": Set(
        cells="16x50x1,16x50x32,16384x50x1,opening1000,broadcast125x500,client125x1,client125x32",
        servers="ws4py,ws4py-asyncio,picows-uvloop,websockets,aiohttp,tornado,websocket-client,"
        "tcp-python,tcp-c",
        rounds=5,
        seconds=0.6,
    ),
    "full": Set(
        cells=",".join([*echoes(), *OVER_TLS, *BESIDES, *CLIENTS]),
        servers="ours,peers,old,ceiling",
        rounds=5,
        seconds=1.0,
    ),
}
