"""Limits: the documented defaults, and that a set of limits is a value."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import pytest

from ws4py.limits import Limits, check_limits

# The design's table of limits.
DEFAULTS = {
    "open_timeout": 10,
    "max_line": 8 * 1024,
    "max_head": 64 * 1024,
    "max_headers": 128,
    "max_body": 64 * 1024,
    "max_message_size": 16 * 1024 * 1024,
    "max_fragments": 131_072,
    "close_timeout": 10,
    "heartbeat_timeout": 20,
    "write_timeout": 60,
    "high_water": 64 * 1024,
    "low_water": 16 * 1024,
    "max_queue": 1024 * 1024,
}
UNLIMITED = [
    "open_timeout",
    "max_line",
    "max_head",
    "max_headers",
    "max_message_size",
    "max_fragments",
    "close_timeout",
    "heartbeat_timeout",
    "write_timeout",
    "max_queue",
]


@pytest.mark.parametrize(("name", "value"), DEFAULTS.items())
def test_the_default_is_the_documented_one(name: str, value: float) -> None:
    assert getattr(Limits(), name) == value


def test_every_limit_has_a_documented_default() -> None:
    assert {field.name for field in fields(Limits)} == {*DEFAULTS, "when_full"}
    assert Limits().when_full == "drop_connection"


@pytest.mark.parametrize("name", DEFAULTS)
def test_a_limit_can_be_set(name: str) -> None:
    assert getattr(Limits(**{name: 7}), name) == 7


@pytest.mark.parametrize("name", DEFAULTS)
def test_a_limit_of_zero_is_one(name: str) -> None:
    assert getattr(Limits(**{name: 0}), name) == 0


@pytest.mark.parametrize("name", UNLIMITED)
def test_none_means_no_limit(name: str) -> None:
    assert getattr(Limits(**{name: None}), name) is None


@pytest.mark.parametrize("name", sorted(set(DEFAULTS) - set(UNLIMITED)))
def test_what_cannot_do_without_a_limit_refuses_none(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        Limits(**{name: None})


@pytest.mark.parametrize("name", DEFAULTS)
@pytest.mark.parametrize("value", [-1, -0.5, "1024", b"1", [1]])
def test_what_is_negative_or_no_number_is_refused_with_its_name(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=name):
        Limits(**{name: value})


@pytest.mark.parametrize("name", [name for name in DEFAULTS if name.endswith("_timeout")])
def test_a_time_that_no_platform_can_wait_for_is_refused(name: str) -> None:
    longest = 24 * 24 * 3600  # seconds, of which poll() takes the milliseconds as an int
    assert getattr(Limits(**{name: longest}), name) == longest
    for value in (25 * 24 * 3600, 1e12, float("inf")):
        with pytest.raises(ValueError, match=f"^{name} is a number of seconds, 0 to 2147483, "):
            Limits(**{name: value})


def test_the_refusal_names_the_offending_value() -> None:
    with pytest.raises(ValueError, match=r"max_message_size .* -1$"):
        Limits(max_message_size=-1)


def test_limits_cannot_be_changed() -> None:
    limits = Limits()
    with pytest.raises(FrozenInstanceError):
        limits.max_message_size = 1  # type: ignore[misc]


def test_limits_are_a_value() -> None:
    assert Limits(max_line=10) == Limits(max_line=10)
    assert Limits(max_line=10) != Limits()
    assert hash(Limits(max_line=10)) == hash(Limits(max_line=10))


def test_replace_keeps_the_others_and_checks_the_new_one() -> None:
    limits = Limits(max_message_size=1)
    assert replace(limits, max_fragments=2) == Limits(max_message_size=1, max_fragments=2)
    with pytest.raises(ValueError, match="max_fragments"):
        replace(limits, max_fragments=-2)


@pytest.mark.parametrize("policy", ["drop", "", None, True, "WAIT"])
def test_a_policy_that_there_is_not_is_named(policy: Any) -> None:
    with pytest.raises(ValueError, match="when_full is one of ") as caught:
        Limits(when_full=policy)
    assert repr(policy) in str(caught.value)


@pytest.mark.parametrize("value", [None, 5, {"max_line": 1}, Limits])
def test_limits_that_are_none_are_named(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^Mine\.limits is .*, and not a Limits$") as caught:
        check_limits(value, "Mine.limits")
    assert repr(value) in str(caught.value)
    check_limits(Limits(), "Mine.limits")
