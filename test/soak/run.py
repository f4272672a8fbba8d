"""A run: the crowd, the samples, and whether the server is as it was when all have gone."""

from __future__ import annotations

import time
from array import array
from collections import Counter
from dataclasses import dataclass, field
from signal import SIGTERM
from time import perf_counter

from test.soak.crowd import Crowd, Plan
from test.soak.judge import Sample, Third, complaints, thirds
from test.soak.peers import Net, Stalled
from test.stress import Server, allowing

#: Descriptors of a process besides those of the connections that stay.
SPARE = 500
ECHO = "ws4py.websocket:EchoWebSocket"
#: What ``WebSocket.unhandled_error`` logs.
TOLD = "Failed to receive data: "
MOST = 10  # faults of a kind that are told


@dataclass
class Outcome:
    """What a run has shown; ``faults`` are what the server did wrong."""

    plan: Plan
    engine: str
    started: time.struct_time = field(default_factory=time.gmtime)
    samples: list[Sample] = field(default_factory=list)
    gone: Counter[str] = field(default_factory=Counter)
    pings: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Whether all samples have been taken."""
        return len(self.samples) >= round(self.plan.seconds / self.plan.interval)

    @property
    def thirds(self) -> tuple[Third, Third, Third]:
        return thirds(self.samples)

    @property
    def complaints(self) -> list[str]:
        """What was wrong; nothing if the server stays as it is."""
        if not self.is_complete:
            return [*self.faults, "the run has not come to its end"]
        _, second, last = self.thirds
        return [*self.faults, *complaints(second, last)]


class Sampler:
    """Takes the samples of ``outcome``, at quiet moments."""

    def __init__(self, server: Server, crowd: Crowd, outcome: Outcome) -> None:
        self._server, self._crowd, self._outcome = server, crowd, outcome
        self._began = self._next = perf_counter()
        self._used = server.cpu(), time.process_time()
        self._reset()
        self._schedule()

    def _reset(self) -> None:
        self._crowd.latencies, self._crowd.lateness = array("d"), array("d")

    def _schedule(self) -> None:
        plan, net = self._crowd.plan, self._crowd.net
        self._next += plan.interval
        net.call_at(self._next - plan.quiet, self._hush)
        net.call_at(self._next, self._take)

    def _hush(self) -> None:
        self._crowd.is_quiet = True

    def _take(self) -> None:
        crowd, server = self._crowd, self._server
        before, self._used = self._used, (server.cpu(), time.process_time())
        self._outcome.samples.append(
            Sample(
                at=perf_counter() - self._began,
                memory=server.memory(),
                descriptors=server.descriptors() - crowd.net.count,
                threads=server.threads(),
                latencies=crowd.latencies,
                lateness=crowd.lateness,
                server=self._used[0] - before[0],
                load=self._used[1] - before[1],
            )
        )
        self._reset()
        if not self._outcome.is_complete:
            crowd.is_quiet = False
            self._schedule()


def soak(plan: Plan, engine: str = "standalone", handler: str = ECHO) -> Outcome:
    """Run ``plan`` against a server process of its own."""
    outcome = Outcome(plan, engine)
    options = ["--engine", engine, "--heartbeat", str(plan.heartbeat)]
    with allowing(plan.idle + plan.busy + SPARE), Server(handler, *options) as server:
        net = Net(server.port)
        try:
            run(server, net, outcome)
        except Stalled as stalled:
            outcome.faults.append(str(stalled))
        finally:
            net.close()
        outcome.faults += first(net.faults)
        outcome.pings = net.pings
        outcome.faults += ending(server)
    return outcome


def ending(server: Server) -> list[str]:
    """End the server; say what was wrong with that, and what it has complained of."""
    status = server.end(SIGTERM)
    found = [f"the server ended with {status}"] if status else []
    # Each connection that we reset is told of; that is as documented.
    lines = [line for line in server.errors.splitlines() if not line.startswith(TOLD)]
    return found + [f"the server said: {line}" for line in first(lines)]


def first(texts: list[str]) -> list[str]:
    """Return the first ones, and how many more there are."""
    more = [f"and {len(texts) - MOST} more"] if len(texts) > MOST else []
    return [*texts[:MOST], *more]


def run(server: Server, net: Net, outcome: Outcome) -> None:
    """Do all of it.

    Raises:
        Stalled: The server does not do its part.
    """
    before = server.descriptors(), server.threads()
    crowd = Crowd(net, outcome.plan)
    outcome.gone = crowd.gone
    crowd.fill()
    Sampler(server, crowd, outcome)
    seconds = outcome.plan.seconds + outcome.plan.patience
    net.run(lambda: outcome.is_complete, seconds, "the run has not ended")
    crowd.end()
    net.run(
        lambda: (server.descriptors(), server.threads()) == before,
        outcome.plan.patience,
        f"the server has not got back to its {before} descriptors and threads",
    )
