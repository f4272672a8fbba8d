"""Every attack on every engine, in both roles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from test.hostile import ATTACKS, CLIENT, SERVER, Attack, floods, frames, isolation
from test.hostile.apps import FAULT
from test.hostile.owners import host_answers
from test.hostile.targets import CLIENTS, SERVERS, at_rest, client, server, settles
from test.stress import linux_only

pytestmark = [pytest.mark.hostile, linux_only]

#: What fills ATTACKS.
SUITES = [frames, floods, isolation]

#: asyncio and some hosts log a traceback when they cannot accept a connection.
NO_DESCRIPTORS = "Too many open files"

START = {SERVER: server, CLIENT: client}


def attacks(role: str, fresh: bool = False) -> Any:
    """Return a decorator that gives a test each attack on a role."""
    chosen = [each for each in ATTACKS.values() if role in each.roles and each.fresh is fresh]
    return pytest.mark.parametrize("attack", chosen, ids=[each.name for each in chosen])


@contextmanager
def started(role: str, engine: str, folder: Path) -> Iterator[Any]:
    """Start a target; fail if it has ended, or logged a traceback that is not the application's."""
    with START[role](engine, folder) as target:
        target.echo()
        yield target
        assert target.is_alive
        log = target.log()
    for part in log.split("Traceback (most recent call last):")[1:]:
        assert FAULT in part or NO_DESCRIPTORS in part, part


@pytest.fixture(params=SERVERS, scope="module")
def one_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    with started(SERVER, request.param, tmp_path_factory.mktemp("server")) as target:
        yield target


@pytest.fixture(params=CLIENTS, scope="module")
def one_client(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    with started(CLIENT, request.param, tmp_path_factory.mktemp("client")) as target:
        yield target


def run(target: Any, attack: Attack) -> None:
    """Run an attack, and look at how the target is afterwards."""
    target.echo()
    before = at_rest(target)
    answer = host_answers(target.engine, attack.name) if target.role == SERVER else None
    if answer is None:
        attack.run(target)
    else:
        with pytest.raises((AssertionError, OSError)):
            attack.run(target)
    target.echo()
    settles(target, before)


@attacks(SERVER)
def test_an_attack_on_a_server_is_answered_and_harms_nobody(
    one_server: Any, attack: Attack
) -> None:
    run(one_server, attack)


@attacks(CLIENT)
def test_an_attack_on_a_client_is_answered_and_harms_nobody(
    one_client: Any, attack: Attack
) -> None:
    run(one_client, attack)


@attacks(SERVER, fresh=True)
@pytest.mark.parametrize("engine", SERVERS)
def test_an_attack_on_the_memory_of_a_server_costs_little(
    engine: str, attack: Attack, tmp_path: Path
) -> None:
    with started(SERVER, engine, tmp_path) as target:
        run(target, attack)


@attacks(CLIENT, fresh=True)
@pytest.mark.parametrize("engine", CLIENTS)
def test_an_attack_on_the_memory_of_a_client_costs_little(
    engine: str, attack: Attack, tmp_path: Path
) -> None:
    with started(CLIENT, engine, tmp_path) as target:
        run(target, attack)
