"""Names that programs for older releases import."""

from __future__ import annotations

import builtins
import socket
import sys
import urllib.parse

import pytest

from ws4py import compat


def test_a_star_import_gives_the_documented_names() -> None:
    names: dict[str, object] = {}
    exec("from ws4py.compat import *", names)
    expected = {"py3k", "urlsplit", "range", "unicode", "basestring", "ord", "sys"}
    expected |= {"get_connection", "detach_connection"}
    assert expected <= set(names)


def test_the_names_are_what_they_were_on_python_3() -> None:
    assert compat.py3k is True
    assert compat.unicode is str
    assert compat.basestring == (bytes, str)
    assert compat.range is builtins.range
    assert compat.sys is sys
    assert compat.urlsplit is urllib.parse.urlsplit
    assert compat._ord is builtins.ord


def test_both_kinds_of_text_are_a_basestring() -> None:
    assert isinstance("a", compat.basestring)
    assert isinstance(b"a", compat.basestring)


@pytest.mark.parametrize(("character", "number"), [("a", 97), (b"a", 97), (97, 97), ("€", 8364)])
def test_ord_takes_characters_and_numbers(character: str | bytes | int, number: int) -> None:
    assert compat.ord(character) == number


def test_the_socket_under_a_file_can_be_had_and_the_file_be_detached() -> None:
    here, there = socket.socketpair()
    with here, there:
        fileobj = here.makefile("rb")
        assert compat.get_connection(fileobj) is here
        compat.detach_connection(fileobj)
        with pytest.raises(ValueError, match="detached"):
            fileobj.read(1)
        there.sendall(b"still open")
        assert here.recv(10) == b"still open"
