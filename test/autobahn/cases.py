"""The cases of the Autobahn test suite, named one by one.

wstest expands patterns itself, but does not anchor them at their end (``12.*.1`` takes 12.1.10
too), and is silent about a pattern that selects nothing. So patterns are expanded here, wstest is
given whole names only, and its reports are held against them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

# Number of cases of each group, in the order in which wstest runs them.
GROUP_SIZES = {
    **{"1.1": 8, "1.2": 8, "2": 11, "3": 7, "4.1": 5, "4.2": 5, "5": 20},
    **{"6.1": 3, "6.2": 4, "6.3": 2, "6.4": 4, "6.5": 5, "6.6": 11, "6.7": 4, "6.8": 2},
    **{"6.9": 4, "6.10": 3, "6.11": 5, "6.12": 8, "6.13": 5, "6.14": 10, "6.15": 1, "6.16": 3},
    **{"6.17": 5, "6.18": 5, "6.19": 5, "6.20": 7, "6.21": 8, "6.22": 34, "6.23": 7},
    **{"7.1": 6, "7.3": 6, "7.5": 1, "7.7": 13, "7.9": 9, "7.13": 2},
    **{"9.1": 6, "9.2": 6, "9.3": 9, "9.4": 9, "9.5": 6, "9.6": 6, "9.7": 6, "9.8": 6},
    **{"10.1": 1},
    **{f"12.{n}": 18 for n in range(1, 6)},
    **{f"13.{n}": 18 for n in range(1, 8)},
}
ALL = tuple(f"{group}.{n}" for group, size in GROUP_SIZES.items() for n in range(1, size + 1))

CATEGORIES = {
    1: "framing",
    2: "Pings and Pongs",
    3: "reserved bits",
    4: "opcodes",
    5: "fragmentation",
    6: "UTF-8",
    7: "closing",
    9: "limits and performance",
    10: "miscellaneous",
    12: "compression of various data",
    13: "compression with various parameters",
}
PERFORMANCE = 9
COMPRESSION = (12, 13)
SMALL = 6  # case n of a compression group sends messages that grow with n


@dataclass(frozen=True)
class Cases:
    """The cases of one run."""

    name: str
    ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def share(self, shard: int, shards: int) -> Cases:
        """Return every ``shards``-th case, from number ``shard`` on: neighbours cost alike."""
        return Cases(self.name, self.ids[shard::shards])


def category(case: str) -> int:
    """Return the first number of a case's name."""
    return int(case.partition(".")[0])


def is_core(case: str) -> bool:
    return category(case) not in (PERFORMANCE, *COMPRESSION)


def is_uncompressed(case: str) -> bool:
    return category(case) not in COMPRESSION


def is_quick(case: str) -> bool:
    return is_uncompressed(case) or int(case.rpartition(".")[2]) <= SMALL


def _where(name: str, belongs: Callable[[str], bool]) -> Cases:
    return Cases(name, tuple(case for case in ALL if belongs(case)))


SETS = {
    "core": _where("core", is_core),
    "core+9": _where("core+9", is_uncompressed),
    "ci": _where("ci", is_quick),
    "full": Cases("full", ALL),
}


def matching(patterns: Iterable[str]) -> Cases:
    """Return the cases that match any of ``patterns``, as whole names (``9.1.6``, ``12.*.1``).

    Raises:
        ValueError: A pattern matches no case.
    """
    patterns = list(patterns)
    for pattern in patterns:
        if not any(fnmatchcase(case, pattern) for case in ALL):
            raise ValueError(f"no case of the suite matches {pattern!r}")
    return _where(
        " ".join(patterns), lambda case: any(fnmatchcase(case, pattern) for pattern in patterns)
    )
