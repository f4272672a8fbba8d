"""Values of header fields: tokens, lists, and the extensions of :rfc:`6455#section-9.1`.

Whatever the text is, each function takes time in proportion to its length.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

__all__ = [
    "TOKEN",
    "Extension",
    "check_tokens",
    "is_listed",
    "is_token",
    "parse_extensions",
    "split_list",
]

#: A pattern of a token (:rfc:`7230#section-3.2.6`).
TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
is_token = re.compile(TOKEN).fullmatch
_match_parameter = re.compile(rf'({TOKEN})(?:[ \t]*=[ \t]*({TOKEN}|"(?:[^"\\]|\\.)*"))?').fullmatch

# A separator within a quoted string (:rfc:`9110#section-5.6.4`) separates nothing. Whatever the
# text is, a match ends at a separator or at its end, so that there is nothing to try twice.
_iterate_parts = {
    separator: re.compile(rf'((?:[^{separator}"]|"(?:[^"\\]|\\.?)*"?)*)({separator}|$)').finditer
    for separator in ",;"
}


class Extension(NamedTuple):
    """An extension that is offered or agreed on; a parameter without a value has None."""

    name: str
    parameters: list[tuple[str, str | None]]

    def __str__(self) -> str:
        return "; ".join([self.name, *(n if v is None else f"{n}={v}" for n, v in self.parameters)])


def parse_extensions(value: str) -> list[Extension]:
    """Return the extensions that a Sec-WebSocket-Extensions field names, in their order.

    Raises:
        ValueError: It does not conform to the grammar (:rfc:`6455#section-9.1`).
    """
    return [_parse_extension(element) for element in split_list(value)]


def _parse_extension(element: str) -> Extension:
    name, *parameters = _split(element, ";")
    extension = Extension(name, [_parse_parameter(each) for each in parameters])
    if not is_token(name):
        raise ValueError(f"{element!r} is not an extension")
    return extension


def _parse_parameter(text: str) -> tuple[str, str | None]:
    match = _match_parameter(text)
    value = match and match[2]
    if value and value[0] == '"':
        # "The value after quoted-string unescaping MUST conform to the 'token' ABNF."
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    if match is None or (value is not None and not is_token(value)):
        raise ValueError(f"{text!r} is not the parameter of an extension")
    return match[1], value


def split_list(value: str) -> list[str]:
    """Return the elements of a comma-separated list; empty ones are left out."""
    return [element for element in _split(value, ",") if element]


def is_listed(element: str, value: str) -> bool:
    """Say whether ``element``, a token, is in a comma-separated list; most have one element."""
    return value == element or element in split_list(value)


def _split(value: str, separator: str) -> list[str]:
    parts = _split_quoted(value, separator) if '"' in value else value.split(separator)
    return [part.strip(" \t") for part in parts]


def _split_quoted(value: str, separator: str) -> list[str]:
    following = _iterate_parts[separator](value)
    part = next(following)
    parts = [part[1]]
    while part[2]:
        part = next(following)
        parts.append(part[1])
    return parts


def check_tokens(values: Iterable[Any], what: str) -> list[str]:
    """Return ``values`` in a list, once each is known to fit into a header.

    Raises:
        ValueError: One cannot be the name of a ``what``.
    """
    tokens = [values] if isinstance(values, str) else list(values)
    for token in tokens:
        if not isinstance(token, str) or not is_token(token):
            raise ValueError(f"{token!r} cannot be the name of a {what}")
    return tokens
