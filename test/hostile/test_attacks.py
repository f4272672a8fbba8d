"""Every attack on every engine, in both roles."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from test.hostile import ATTACKS, CLIENT, SERVER, Attack, suites
from test.hostile.apps import FAULT
from test.hostile.owners import host_answers, host_logs
from test.hostile.targets import (
    CLIENTS,
    SECURE,
    SERVERS,
    TLS,
    at_rest,
    client,
    server,
    settles,
)
from test.hostile.wire import impatient
from test.stress import linux_only

pytestmark = [pytest.mark.hostile, linux_only]

assert suites.__all__, "there is nothing to attack with"

START = {SERVER: server, CLIENT: client}
#: Seconds in which our answer would come, where a host gives another one or none.
HURRY = 0.5


def attacks(role: str, fresh: bool = False, secure: bool = False) -> Any:
    """Return a decorator that gives a test each attack on a role."""
    chosen = [
        each
        for each in ATTACKS.values()
        if role in each.roles and (each.fresh, each.secure) == (fresh, secure)
    ]
    return pytest.mark.parametrize("attack", chosen, ids=[each.name for each in chosen])


@contextmanager
def started(role: str, engine: str, folder: Path, **options: Any) -> Iterator[Any]:
    """Start a target; fail if it has ended, or logged a traceback that is not the application's."""
    with START[role](engine, folder, **options) as target:
        target.echo()
        yield target
        assert target.is_alive
        log = target.log()
    for part in log.split("Traceback (most recent call last):")[1:]:
        assert FAULT in part or host_logs(role, engine, part), log


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


@pytest.fixture(params=SECURE, scope="module")
def one_secure_server(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    server_certificate: trustme.LeafCert,
    client_tls: ssl.SSLContext,
) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("secure")
    certfile, keyfile = folder / "cert.pem", folder / "key.pem"
    certfile.write_bytes(b"".join(each.bytes() for each in server_certificate.cert_chain_pems))
    server_certificate.private_key_pem.write_to_path(keyfile)
    tls = TLS(certfile, keyfile, client_tls)
    with started(SERVER, request.param, folder, tls=tls) as target:
        yield target


def run(target: Any, attack: Attack) -> None:
    """Run an attack, and look at how the target is afterwards."""
    target.echo()
    before = at_rest(target)
    answer = host_answers(target.engine, attack.name) if target.role == SERVER else None
    if answer is None:
        attack.run(target)
    else:
        with pytest.raises((AssertionError, OSError)), impatient(HURRY):
            attack.run(target)
    target.echo()
    settles(target, before)


@attacks(SERVER)
def test_an_attack_on_a_server_is_answered_and_harms_nobody(
    one_server: Any, attack: Attack
) -> None:
    run(one_server, attack)


@attacks(SERVER, secure=True)
def test_an_attack_on_tls_is_answered_and_harms_nobody(
    one_secure_server: Any, attack: Attack
) -> None:
    run(one_secure_server, attack)


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
