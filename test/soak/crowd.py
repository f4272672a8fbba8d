"""What is asked of the server: a crowd that is idle, some that are busy, some that come and go."""

from __future__ import annotations

from array import array
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from time import perf_counter

from test.helpers import HANDSHAKE, TIMEOUT, frame
from test.soak.peers import BINARY, TEXT, Net, Peer
from test.stress import Payloads

LARGEST = 64 * 1024  # bytes of a message
MESSAGES = 1001  # that are made, and sent again and again
BURST = 8  # messages that are sent at once where they are pipelined
FILLING = 500  # idle connections that are opened in a second, so that their Pings do not coincide
HALF_OPEN = 2.0  # seconds, at most, in the middle of a handshake
RECENT = 100  # idle connections; half of those that leave are among the last ones that came

GREETING = frame(TEXT, b"hello")
#: How connections end.
WAYS = ("Close", "FIN", "RST", "mid-frame", "mid-handshake")


@dataclass(frozen=True)
class Plan:
    """How long, and how much."""

    seconds: float = 600.0
    idle: int = 10_000
    busy: int = 100
    #: Messages in a second, of all busy ones together.
    rate: float = 2000.0
    #: Connections that go in a second, and that come.
    changes: float = 20.0
    #: Seconds between two Pings of the server.
    heartbeat: float = 20.0
    #: Seconds that are waited for what has to come.
    patience: float = TIMEOUT

    @property
    def interval(self) -> float:
        """Seconds between two samples, of which there are 12 at least."""
        return min(10.0, self.seconds / 12)

    @property
    def quiet(self) -> float:
        """Seconds before each sample in which nobody comes or goes."""
        return self.interval / 5


class Crowd:
    """All connections to one server.

    ``latencies`` of the messages of the busy ones, and ``lateness``, by which the crowd itself
    sent them too late, are in seconds. ``gone`` counts how connections have ended.
    """

    def __init__(self, net: Net, plan: Plan, seed: int = 6455) -> None:
        self.net, self.plan, self.random = net, plan, Random(seed)
        some = Payloads(seed, LARGEST).messages(MESSAGES)
        self.messages = [Message(payload, is_binary) for payload, is_binary in some]
        self.idle: list[Idle] = []
        self.busy: list[Busy] = []
        self.latencies, self.lateness = array("d"), array("d")
        self.gone: Counter[str] = Counter()
        self.is_quiet = False

    def fill(self) -> None:
        """Open all that stay; then let the busy ones begin, and others come and go."""
        plan, now = self.plan, perf_counter()
        for number in range(plan.idle):
            self.net.call_at(now + number / FILLING, partial(Idle, self))
        period = plan.busy / plan.rate
        for number in range(plan.busy):
            burst = BURST if number % 2 else 1
            Busy(self, burst, burst * period)
        self._wait(lambda: len(self.idle) == plan.idle, "not all idle ones are open")
        self._wait(lambda: len(self.busy) == plan.busy, "not all busy ones are open")
        self._wait(self._is_silent, "not all idle ones have had their echo")
        for peer in self.busy:
            peer.start()
        self._change()

    def end(self) -> None:
        """Show that all are alive still, and close them."""
        self.is_quiet = True
        for idle in self.idle:
            idle.greet()
        self._wait(self._is_silent, "not all idle ones are alive at the end")
        for peer in (*self.idle, *self.busy):
            peer.close()
        self._wait(lambda: not self.net.count, "not all have ended")

    def _is_silent(self) -> bool:
        return not any(peer.waits for peer in self.idle)

    def _wait(self, done: Callable[[], bool], what: str) -> None:
        self.net.run(done, self.plan.idle / FILLING + self.plan.patience, what)

    def _change(self) -> None:
        """Let one go and another come, or one that never finishes its handshake."""
        self.net.call_at(perf_counter() + 1 / self.plan.changes, self._change)
        if self.is_quiet:
            return
        way = self.random.choice(WAYS)
        self.gone[way] += 1
        if way == "mid-handshake":
            HalfOpen(self)
            return
        is_recent = self.random.random() < 0.5
        peer = self.random.choice(self.idle[-RECENT:] if is_recent else self.idle)
        self.remove(peer)
        if way == "Close":
            peer.close()
        elif way == "FIN":
            peer.leave()
        elif way == "RST":
            peer.drop()
        else:
            peer.send(GREETING[:-1])
            self.random.choice([peer.leave, peer.drop])()
        Idle(self)

    def settle(self, peer: Idle) -> None:
        """Count ``peer`` among the idle ones."""
        peer.place = len(self.idle)
        self.idle.append(peer)

    def remove(self, peer: Idle) -> None:
        """Count it among them no more."""
        last = self.idle.pop()
        if last is not peer:
            last.place = peer.place
            self.idle[peer.place] = last


class Idle(Peer):
    """Has one echo when it comes and one at the end; answers Pings meanwhile."""

    __slots__ = ("crowd", "place", "waits")

    def __init__(self, crowd: Crowd) -> None:
        self.crowd = crowd
        super().__init__(crowd.net)

    def opened(self) -> None:
        self.crowd.settle(self)
        self.greet()

    def greet(self) -> None:
        """Say hello, which is to come back."""
        self.waits = True
        self.send(GREETING)

    def received(self, opcode: int, payload: bytes) -> None:
        if not self.waits or (opcode, payload) != (TEXT, b"hello"):
            self.fault(f"it received {payload[:20]!r}")
        self.waits = False

    def ended(self) -> None:
        if not self.leaving:
            self.crowd.remove(self)


class HalfOpen(Peer):
    """Sends a part of a request, and leaves."""

    __slots__ = ()

    def __init__(self, crowd: Crowd) -> None:
        super().__init__(crowd.net, HANDSHAKE[: crowd.random.randrange(len(HANDSHAKE))])
        leave = crowd.random.choice([self.leave, self.drop])
        crowd.net.call_at(perf_counter() + HALF_OPEN * crowd.random.random(), leave)


class Message:
    """A message, as it is sent, and as it has to come back."""

    __slots__ = ("echo", "frame")

    def __init__(self, payload: bytes, is_binary: bool) -> None:
        self.echo = (BINARY if is_binary else TEXT, payload)
        self.frame = frame(*self.echo)


class Busy(Peer):
    """Sends ``burst`` messages at once, every ``period`` seconds.

    It awaits their echoes before it sends the next ones, but the latency of these is from when it
    was their turn.
    """

    __slots__ = ("_awaited", "_burst", "_crowd", "_due", "_period", "_turns")

    def __init__(self, crowd: Crowd, burst: int, period: float) -> None:
        self._crowd, self._burst, self._period = crowd, burst, period
        self._awaited: deque[Message] = deque()
        self._turns: deque[float] = deque()
        self._due = 0.0
        super().__init__(crowd.net)

    def opened(self) -> None:
        self._crowd.busy.append(self)

    def start(self) -> None:
        """Begin, at some time in the first period."""
        self._due = perf_counter() + self._period * self._crowd.random.random()
        self.net.call_at(self._due, self._turn)

    def _turn(self) -> None:
        if self.leaving:
            return
        now = perf_counter()
        self._crowd.lateness.append(now - self._due)
        self._due += self._period
        self.net.call_at(self._due, self._turn)
        self._turns.append(now)
        if not self._awaited:
            self._send()

    def _send(self) -> None:
        messages = self._crowd.random.choices(self._crowd.messages, k=self._burst)
        self._awaited.extend(messages)
        self.send(b"".join([message.frame for message in messages]))

    def received(self, opcode: int, payload: bytes) -> None:
        if not self._awaited or self._awaited.popleft().echo != (opcode, payload):
            self.fault(f"another message came back, of {len(payload)} bytes")
            return
        self._crowd.latencies.append(perf_counter() - self._turns[0])
        if self._awaited:
            return
        self._turns.popleft()
        if self.leaving:
            super().close()
        elif self._turns:
            self._send()

    def close(self) -> None:
        """Close, once all has come back."""
        self.leaving = True
        if not self._awaited:
            super().close()

    def ended(self) -> None:
        self.leaving = True
