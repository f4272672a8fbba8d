"""How Sphinx builds the documentation: ``make docs``, or ``make html`` in this folder."""

from __future__ import annotations

import re
import sys
from pathlib import Path

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
nitpicky = True

html_theme = "furo"
html_title = f"ws4py {release}"

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_use_ivar = True
python_use_unqualified_type_names = True

#: Names of other projects, of the standard library, and of what is private: they have no page here.
nitpick_ignore_regex = [
    (r"py:.*", r"(?!ws4py\.).*"),
    (r"py:.*", r".*\._.*"),
    (r"py:.*", r"ws4py\.(masking\.Method|transport\.Endpoint)"),
]
