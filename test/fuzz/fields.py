"""A slow, obvious reading of header fields: lists, and extensions (:rfc:`6455#section-9.1`)."""

from __future__ import annotations

from string import ascii_letters, digits
from typing import Optional

TOKEN_LETTERS = "!#$%&'*+-.^_`|~" + ascii_letters + digits

Parameters = list[tuple[str, Optional[str]]]
#: A name, and its parameters.
SlowExtension = tuple[str, Parameters]


def slow_split(value: str) -> list[str]:
    """Split a list at its commas; empty elements are left out."""
    return [element for element in slow_parts(value, ",") if element]


def slow_parts(value: str, separator: str) -> list[str]:
    """Split at each separator, those in a quoted string left out, character by character."""
    elements, start = [], 0
    quoted = escaped = False
    for position, letter in enumerate(value):
        if escaped:
            escaped = False
        elif quoted and letter == "\\":
            escaped = True
        elif letter == '"':
            quoted = not quoted
        elif letter == separator and not quoted:
            elements.append(value[start:position])
            start = position + 1
    return [element.strip(" \t") for element in [*elements, value[start:]]]


def slow_extensions(value: str) -> list[tuple[str, Parameters]] | None:
    """Read extensions and their parameters (RFC 6455 9.1); None if that is not what they are."""
    found = []
    for element in slow_split(value):
        name, *texts = slow_parts(element, ";")
        parameters = [slow_parameter(text) for text in texts]
        if not is_slow_token(name) or None in parameters:
            return None
        found.append((name, [each for each in parameters if each is not None]))
    return found


def slow_parameter(text: str) -> tuple[str, str | None] | None:
    name, equals, value = (part.strip(" \t") for part in text.partition("="))
    read: str | None = None
    if equals:
        read = slow_unquote(value) if value[:1] == '"' else value
    valid = is_slow_token(name) and (not equals or (read is not None and is_slow_token(read)))
    return (name, read) if valid else None


def slow_unquote(text: str) -> str | None:
    """Return what a quoted string stands for; None if it is none."""
    letters, position = [], 1
    while text[position : position + 1] not in ("", '"'):
        if text[position] == "\\":
            position += 1
        letters.append(text[position : position + 1])
        position += 1
    return "".join(letters) if position == len(text) - 1 else None


def is_slow_token(text: str) -> bool:
    """Say whether this is a token (RFC 9110 5.6.2)."""
    return bool(text) and all(letter in TOKEN_LETTERS for letter in text)


def shown(extension: tuple[str, Parameters]) -> str:
    """Return an extension as it is told to the application."""
    name, parameters = extension
    return "; ".join([name, *(n if v is None else f"{n}={v}" for n, v in parameters)])
