"""Environs of one server, in which what several have in common is kept once."""

from __future__ import annotations

import sys

import pytest

from ws4py.server import _environs
from ws4py.server._environs import Environs


def environ(**more: str) -> dict[str, str]:
    """Return an environ whose strings are its own."""
    values = {"REQUEST_METHOD": "GET", "HTTP_HOST": "example.com", **more}
    return {"".join(list(name)): "".join(list(value)) for name, value in values.items()}


def test_an_environ_is_an_equal_dict_of_its_connection_alone() -> None:
    environs = Environs()
    first = environs.compact(environ(REMOTE_PORT="1"))
    second = environs.compact(environ(REMOTE_PORT="2"))
    assert type(first) is dict
    assert first == environ(REMOTE_PORT="1")
    assert list(first) == list(environ(REMOTE_PORT="1"))
    assert second == environ(REMOTE_PORT="2")

    first["mine"] = object()
    del first["HTTP_HOST"]
    third = environs.compact(environ(REMOTE_PORT="3"))
    assert second == environ(REMOTE_PORT="2")
    assert third == environ(REMOTE_PORT="3")


def test_equal_strings_are_kept_once() -> None:
    environs = Environs()
    first, second = (environs.compact(environ()) for _ in range(2))
    assert first["HTTP_HOST"] is second["HTTP_HOST"]


@pytest.mark.skipif(
    sys.version_info < (3, 11) or sys.implementation.name != "cpython",
    reason="before CPython 3.11 dicts share their names only in the order of their first one",
)
def test_the_table_of_names_is_shared_by_environs_with_the_same_names() -> None:
    environs = Environs()
    more = {f"HTTP_X_{number}": str(number) for number in range(16)}
    for request in (environ(), environ(**more)) * 8:  # of two kinds of clients, in turn
        made = environs.compact(request)
    assert sys.getsizeof(made) < sys.getsizeof(dict(list(made.items()))) / 1.5
    assert all(one is other for one, other in zip(made, environs.compact(environ(**more))))


def test_names_that_never_come_again_cost_no_more_than_a_bounded_number_of_tables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_environs, "_MOST", 3)
    environs = Environs()
    for number in range(10):
        request = environ(**{f"HTTP_X_{number}": "x"})
        assert environs.compact(request) == request
    assert len(environs._kinds) == 3
