"""How Sphinx builds the documentation: ``make docs``, or ``make html`` in this folder."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.inspect import stringify_signature

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

project = "ws4py"
author = "the ws4py contributors"
project_copyright = author
release = re.search(
    r'^__version__ = "(.+)"', (ROOT / "ws4py/__init__.py").read_text(encoding="utf-8"), re.MULTILINE
)[1]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
smartquotes = False
nitpicky = True
# Two classes have the name WebSocket; the one that is meant is linked.
suppress_warnings = ["ref.python"]

html_theme = "furo"
html_title = f"ws4py {release}"

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True}
napoleon_use_ivar = True
python_use_unqualified_type_names = True

#: Names of other projects, of the standard library, and of what is private: they have no page here.
nitpick_ignore_regex = [
    (r"py:.*", r"(?!ws4py\.).*"),
    (r"py:.*", r".*\._.*"),
    (r"py:.*", r"ws4py\.(masking\.Method|transport\.Endpoint)"),
]


def show_constructor(
    _app: Sphinx, what: str, _name: str, cls: Any, _options: Any, _signature: Any, result: Any
) -> tuple[str, Any] | None:
    """Show the arguments of ``__init__`` where a ``__new__`` takes any."""
    if what != "class" or not cls.__module__.startswith("ws4py.") or cls.__new__ is object.__new__:
        return None
    signature = inspect.signature(cls.__init__)
    _self, *parameters = signature.parameters.values()
    signature = signature.replace(parameters=parameters, return_annotation=signature.empty)
    return stringify_signature(signature, show_annotation=False), result


def setup(app: Sphinx) -> None:
    """Connect it to Sphinx."""
    app.connect("autodoc-process-signature", show_constructor)
