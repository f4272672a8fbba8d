"""Ten thousand connections on one server process, as it is started without options."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from test.helpers import TIMEOUT, frame
from test.soak.peers import TEXT, Net, Peer
from test.stress import Server, allowing, linux_only

pytestmark = [pytest.mark.stress, linux_only]

COUNT = 10_000
WAVE = 500  # connections that are opened at the same time
MOST = 16 * 1024  # bytes of the server for each connection; about half of that on CPython


class One(Peer):
    """One of many: counts in ``tally`` how far it has come."""

    __slots__ = ("number", "tally")

    def __init__(self, net: Net, number: int, tally: dict[str, int]) -> None:
        self.number, self.tally = number, tally
        super().__init__(net)

    @property
    def greeting(self) -> bytes:
        return b"I am %d" % self.number

    def opened(self) -> None:
        self.tally["opened"] += 1

    def received(self, opcode: int, payload: bytes) -> None:
        if (opcode, payload) != (TEXT, self.greeting):
            self.fault(f"{payload!r} came back to number {self.number}")
        self.tally["echoed"] += 1

    def ended(self) -> None:
        self.tally["ended"] += 1


@pytest.fixture
def server() -> Iterator[Server]:
    with allowing(COUNT + 200), Server() as server:
        yield server


@pytest.fixture
def net(server: Server) -> Iterator[Net]:
    net = Net(server.port)
    yield net
    net.close()


def test_ten_thousand_connections_on_one_process_are_all_served_and_leave_nothing(
    server: Server, net: Net, capsys: pytest.CaptureFixture[str]
) -> None:
    tally = dict.fromkeys(("opened", "echoed", "ended"), 0)

    def until(what: str, count: int) -> None:
        net.run(lambda: tally[what] >= count, 2 * TIMEOUT, f"not all have {what}")

    def cost() -> tuple[int, int]:
        return server.descriptors(), server.threads()

    before, memory = cost(), server.memory()
    peers: list[One] = []
    while len(peers) < COUNT:
        peers += [One(net, number, tally) for number in range(len(peers), len(peers) + WAVE)]
        until("opened", len(peers))
    assert cost() == (before[0] + COUNT, before[1])
    for peer in peers:
        peer.send(frame(TEXT, peer.greeting))
    until("echoed", COUNT)
    per_connection = (server.memory() - memory) / COUNT
    assert per_connection < MOST
    assert net.count == COUNT
    for peer in peers:
        peer.close()
    until("ended", COUNT)
    assert net.faults == []
    assert tally == dict.fromkeys(tally, COUNT)
    assert {peer.close_code for peer in peers} == {1000}
    net.run(lambda: cost() == before, TIMEOUT, "the server keeps descriptors or threads")
    with capsys.disabled():
        print(f"\n{COUNT} connections: {per_connection / 1024:.1f} KiB of the server for each")
