"""The list of faults and the tests belong together."""

from __future__ import annotations

import pkgutil
from importlib import import_module

import test.regressions
from test.regressions import FAULTS, tests_of


def test_every_number_has_a_test() -> None:
    for module in pkgutil.iter_modules(test.regressions.__path__, "test.regressions."):
        import_module(module.name)
    assert set(FAULTS) == set(range(1, 44))
    assert set(tests_of) == set(FAULTS)


def test_every_marked_test_is_one_that_pytest_collects() -> None:
    for module in pkgutil.iter_modules(test.regressions.__path__, "test.regressions."):
        import_module(module.name)
    names = [name.split(".") for marked in tests_of.values() for name in marked]
    assert all(path[-2].startswith("test_") and path[-1].startswith("test_") for path in names)
