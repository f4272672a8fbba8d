"""The attacks have teeth: each defence that is taken away is missed."""

from __future__ import annotations

from pathlib import Path

import pytest

from test.hostile import ATTACKS, KINDS, suites
from test.hostile.mutants import MUTANTS
from test.hostile.test_attacks import run, started
from test.stress import linux_only

pytestmark = [pytest.mark.hostile, linux_only]

assert suites.__all__, "there is nothing to attack with"


@pytest.mark.parametrize("name", MUTANTS)
def test_an_attack_fails_where_a_defence_is_missing(name: str, tmp_path: Path) -> None:
    mutant = MUTANTS[name]
    tried = [
        attack
        for attack in ATTACKS.values()
        if attack.kind == mutant.kind
        and mutant.role in attack.roles
        and attack.name.startswith(mutant.title)
    ]
    assert tried, f"no attack begins with {mutant.title!r}"
    for attack in tried:
        try:
            with started(mutant.role, mutant.engine, tmp_path, mutant=name) as target:
                run(target, attack)
        except (AssertionError, OSError):
            return
    pytest.fail(f"no attack has noticed {name}")


def test_each_class_of_attacks_has_a_mutant() -> None:
    assert {mutant.kind for mutant in MUTANTS.values()} == set(KINDS)
