"""Values of header fields: lists, and extensions with their parameters."""

from __future__ import annotations

import re
from contextlib import suppress
from time import process_time
from typing import Any

import pytest

from ws4py.headers import Extension, check_tokens, is_listed, parse_extensions, split_list


@pytest.mark.parametrize(
    ("value", "elements"),
    [
        ("", []),
        ("a", ["a"]),
        ("a,b", ["a", "b"]),
        (" a ,\tb\t, c d ", ["a", "b", "c d"]),
        (",, a,,", ["a"]),
        (" \t,", []),
        ("keep-alive, Upgrade", ["keep-alive", "Upgrade"]),
        ('a; b="c, d", e', ['a; b="c, d"', "e"]),
        ('a; b="\\", c", d', ['a; b="\\", c"', "d"]),
        ('a; b="\\\\", c', ['a; b="\\\\"', "c"]),
        ('a; b=", c', ['a; b=", c']),
        ('a; b="\\', ['a; b="\\']),
        ('"",, ""', ['""', '""']),
    ],
)
def test_a_list_is_split_at_its_commas_but_not_within_quoted_strings(
    value: str, elements: list[str]
) -> None:
    assert split_list(value) == elements


@pytest.mark.parametrize(
    ("value", "extensions"),
    [
        ("", []),
        (" , ,", []),
        ("a", [("a", [])]),
        ("a; b", [("a", [("b", None)])]),
        ("a;b=1;c", [("a", [("b", "1"), ("c", None)])]),
        ("a ; b = 1 ,\tc", [("a", [("b", "1")]), ("c", [])]),
        ('a; b="1"', [("a", [("b", "1")])]),
        (r'a; b="\1\0"', [("a", [("b", "10")])]),
        ("a, a; b, a", [("a", []), ("a", [("b", None)]), ("a", [])]),
        ("a; b; b=1", [("a", [("b", None), ("b", "1")])]),
    ],
)
def test_extensions_are_read_in_their_order(
    value: str, extensions: list[tuple[str, list[tuple[str, str]]]]
) -> None:
    assert parse_extensions(value) == extensions


@pytest.mark.parametrize(
    "value",
    ["a;", "a;;b", ";", "; a", "a b", "a; b c", "a; =1", "a; b=", "a; b==1", '"a"', 'a; "b"']
    + ['a; b="', 'a; b="1', 'a; b=""', 'a; b="1 2"', 'a; b="1, 2"', 'a; b="1";', 'a; b=1"2"']
    + ["a; b=ä", "ä", "a\x00", "a=1", "a, b;", r'a; b="1\"', r'a; b="\,"'],
)
def test_what_breaks_the_grammar_of_extensions_is_named(value: str) -> None:
    with pytest.raises(ValueError, match=r"is not (an extension|the parameter of an extension)"):
        parse_extensions(value)


def test_an_extension_is_written_as_it_is_read() -> None:
    extension = Extension("a", [("b", None), ("c", "1")])
    assert str(extension) == "a; b; c=1"
    assert parse_extensions(str(extension)) == [extension]


@pytest.mark.parametrize(
    "value",
    ['"' * 100_000, "a;" * 50_000, 'a; b="' + "\\" * 100_000, "a; b" + " " * 100_000 + "c"]
    + ["," * 100_000, 'a;b="c",' * 12_000, '"\\' * 50_000, "a" * 100_000 + " =", ' ;"",' * 25_000],
    ids=lambda value: re.escape(value[:12]),
)
def test_any_header_of_extensions_is_read_in_proportion_to_its_length(value: str) -> None:
    began = process_time()
    with suppress(ValueError):
        parse_extensions(value)
    assert process_time() - began < 5  # what grows with the square takes minutes


@pytest.mark.parametrize(
    ("value", "listed"),
    [("upgrade", True), ("keep-alive, upgrade", True), ("upgraded", False), ("", False)],
)
def test_a_token_is_listed_alone_or_among_others(value: str, listed: bool) -> None:
    assert is_listed("upgrade", value) is listed


@pytest.mark.parametrize("names", ["chat", ["chat"], ("chat",)])
def test_names_are_given_as_one_or_as_several(names: Any) -> None:
    assert check_tokens(names, "subprotocol") == ["chat"]
    assert check_tokens((), "subprotocol") == []


@pytest.mark.parametrize("name", ["", "a b", "a,b", "é", 'a"', 5, None, b"chat"])
def test_what_cannot_stand_in_a_header_is_named(name: Any) -> None:
    with pytest.raises(ValueError, match="cannot be the name of a subprotocol") as caught:
        check_tokens(["chat", name], "subprotocol")
    assert repr(name) in str(caught.value)
