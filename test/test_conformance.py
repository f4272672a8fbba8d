"""The same WebSocket class behaves the same on every engine, in both roles, over ws and wss."""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from test.conformance import ENGINES, Link
from test.conformance.closing import Closing
from test.conformance.compressing import Compressing
from test.conformance.connecting import Connecting
from test.conformance.ending import Ending
from test.conformance.engine import Row
from test.conformance.failing import Failing
from test.conformance.messages import Messages
from test.conformance.overriding import Overriding
from test.conformance.serving import Serving
from test.conformance.slow import SlowConsumers
from test.engines.skips import SKIPS

pytestmark = pytest.mark.conformance

ROLES = {"link": (False, True), "server_link": (False,), "client_link": (True,)}
#: The same over ws alone, for what TLS cannot matter to.
ROLES |= {f"plain_{name}": roles for name, roles in ROLES.items()}

#: Cases of the class for a server and for a client, over ws, and as many over wss: counted by hand
#: when a test is added, so that none gets lost unnoticed.
CASES = {False: 87, True: 78}
#: Cases over ws alone.
PLAIN_CASES = {False: 11, True: 11}

#: How many cases each engine has run, and has left out as SKIPS has it, by its name.
ran: Counter[str] = Counter()
left_out: Counter[str] = Counter()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for name in set(ROLES) & set(metafunc.fixturenames):
        engines = [engine for engine in ENGINES if engine.is_client in ROLES[name]]
        cases = [
            pytest.param((engine, scheme), id=f"{engine.name}-{scheme}")
            for engine in engines
            for scheme in (["ws", "wss"] if engine.tls and "plain" not in name else ["ws"])
        ]
        metafunc.parametrize(name, cases, indirect=True)


@pytest.fixture
def link(
    request: pytest.FixtureRequest,
    server_tls: ssl.SSLContext,
    client_tls: ssl.SSLContext,
    no_thread_left: None,
) -> Iterator[Link]:
    engine, scheme = request.param
    reason = engine.reason_to_skip(request.node)
    if reason is not None:
        left_out[engine.name] += 1
        pytest.skip(reason)
    ran[engine.name] += 1
    contexts = (server_tls, client_tls) if scheme == "wss" else (None, None)
    with ExitStack() as stack:
        yield Link(engine, *contexts, stack)


server_link = client_link = plain_link = plain_server_link = plain_client_link = link


class TestConformance(
    Messages,
    Compressing,
    Closing,
    Overriding,
    Failing,
    Ending,
    SlowConsumers,
    Serving,
    Connecting,
    Row,
):
    """What a WebSocket does, whoever moves its bytes."""


@pytest.mark.parametrize("engine", [pytest.param(each, id=each.name) for each in ENGINES])
def test_every_engine_has_run_every_case(
    engine: Any, request: pytest.FixtureRequest, record_property: Any
) -> None:
    """What an engine has not run stands in SKIPS, or is of TLS, which it has not.

    The numbers are printed at the end of all tests: see test/conftest.py.
    """
    selected = [item for item in request.session.items if item.cls is TestConformance]
    if len(selected) != sum(cases_of(each) for each in ENGINES):
        pytest.skip("not every case was selected, so they cannot be counted")
    name = engine.name
    record_property("conformance", (name, ran[name], left_out[name]))
    assert ran[name] + left_out[name] == cases_of(engine)
    assert bool(left_out[name]) is any(name == skipped for skipped, _ in SKIPS)
    tests = {item.originalname for item in selected}
    assert {test.partition(" ")[0] for _, test in SKIPS} <= tests, "SKIPS has an unknown test"


def cases_of(engine: Any) -> int:
    return CASES[engine.is_client] * (2 if engine.tls else 1) + PLAIN_CASES[engine.is_client]
