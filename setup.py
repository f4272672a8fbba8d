"""What pyproject.toml cannot declare: the compiled module, and what knows where the source is."""

import os
import platform
import re
import sys
from pathlib import Path

import setuptools

# An older one does not understand pyproject.toml.
if int(setuptools.__version__.partition(".")[0]) < 77:
    sys.exit("ws4py needs setuptools 77 or newer: python -m pip install --upgrade setuptools")

# What PyPy compiles is faster than a call into C.
COMPILES = platform.python_implementation() == "CPython" and os.environ.get("WS4PY_PURE", "0") in (
    "",
    "0",
)
SPEEDUPS = setuptools.Extension(
    "ws4py._speedups",
    [f"speedups/{name}.c" for name in ("module", "hasten", "reads", "sends", "turns")],
    depends=["speedups/frames.h", "speedups/turns.h"],
    optional=True,
)

# Where the files of the source can be read, which a release knows.
SOURCE = os.environ.get("WS4PY_SOURCE_URL", "").rstrip("/")

# A link or an image of the README that leads to another file of the source.
LINK = re.compile(r"(!?)\[([^][]*)\]\((?![a-z]+:|#)([^)\s]+)\)")


def readme() -> str:
    """Return the README for where the files beside it are not.

    Where WS4PY_SOURCE_URL is set, links lead to the files under that address; else their text is
    left, and no image.
    """

    def lead(link: "re.Match[str]") -> str:
        is_image, text, path = link.groups()
        if not SOURCE:
            return "" if is_image else text
        return f"{is_image}[{text}]({SOURCE}/{path}{'?raw=true' if is_image else ''})"

    return LINK.sub(lead, Path(__file__).with_name("README.md").read_text(encoding="utf-8"))


def project_urls() -> "dict[str, str]":
    """Return the links that a package index shows beside the README, if they are known."""
    if not SOURCE:
        return {}
    return {"Source": SOURCE.partition("/blob/")[0], "Changelog": f"{SOURCE}/CHANGELOG.md"}


setuptools.setup(
    ext_modules=[SPEEDUPS] if COMPILES else [],
    long_description=readme(),
    long_description_content_type="text/markdown",
    project_urls=project_urls(),
)
