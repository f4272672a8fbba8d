"""The architecture, checked: every module has a layer, and imports only from the layers below.

Each rule is a function from a module's name and source to a list of offences, so that the last
tests of this file can feed it invented sources and show that it fails when it should. Imports
count wherever they stand: inside a function and under ``TYPE_CHECKING`` too.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Callable, NamedTuple

import pytest

PROJECT = Path(__file__).resolve().parent.parent
PACKAGE = PROJECT / "ws4py"

# A module's layer, named inside ws4py. Modules of the design stand here before they are written.
ROOT = ""
LAYERS = {
    "exc": 0,
    "limits": 0,
    "masking": 0,
    "_speedups": 0,
    "utf8validator": 1,
    "framing": 1,
    "messaging": 2,
    "headers": 1,
    "heads": 2,
    "deflate": 2,
    "streaming": 3,
    "_body": 3,
    "handshake": 3,
    ROOT: 4,  # `import ws4py` loads no socket and no engine; nothing inside imports it
    "transport": 4,
    "heartbeat": 4,
    "driver": 4.05,
    "pollers": 4,
    "loop": 4.1,
    "outgoing": 4.1,
    "state": 4.08,
    "together": 4.15,
    "sending": 4.2,
    "draining": 4.2,
    "closing": 4.25,
    "receiving": 4.28,
    "websocket": 4.3,
    "_group": 4.4,
    "_asyncio": 5,
    "_room": 5.05,
    "_gevent": 5,
    "manager": 5.1,
    "_tls": 5,
    "async_websocket": 5.1,
    "_asgi": 5.1,
    "client": 6,
    "client.threadedclient": 6,
    "client.geventclient": 6,
    "client.tornadoclient": 6,
    "client.asyncioclient": 6,
    "server": 6,
    "server._accept": 6,
    "server._environs": 5,
    "server._opening": 6,
    "server._sockets": 6,
    "server.standalone": 6,
    "server.wsgiutils": 6,
    "server.wsgirefserver": 6,
    "server.geventserver": 6,
    "server.cherrypyserver": 6,
    "server._cheroot": 6,
    "_pyopenssl": 6,
    "server._iostream": 6,
    "server.tornadoserver": 6,
    "server.asyncioserver": 6,
    "server.asgi": 6,
    "server.tulipserver": 6,
    "_connect": 7,
    "_serve": 7,
    "__main__": 7.1,
    "compat": 8,  # for old programs: nothing inside imports it
}
LAST_PURE_LAYER = 3
ADAPTER_LAYERS = (6, 7, 7.1)

# Imports inside one layer: (importer, imported). A new line here is a decision about the design.
SAME_LAYER = {
    ("masking", "_speedups"),
    ("server.cherrypyserver", "server._cheroot"),
    ("client.tornadoclient", "client.asyncioclient"),
    ("server.tornadoserver", "server._iostream"),
    ("server.tulipserver", "server.asyncioserver"),
}
# What the modules of layer 6 share: any of them may import these.
SHARED_BY_ADAPTERS = {
    "_pyopenssl",
    "client",
    "server._accept",
    "server._opening",
    "server._sockets",
    "server.wsgiutils",
}

# Layers 0 to 3 turn bytes into messages: they know no socket, no thread and no clock.
IMPURE = {"asyncio", "select", "selectors", "socket", "ssl", "threading", "time"}
# The core imports the standard library alone, and these when they happen to be installed.
OPTIONAL = {("masking", "wsaccel")}

CLOSE_CODES = range(1000, 1016)
HEADER_NAMES = ("sec-websocket", "http_sec_websocket")

SOURCE_SUFFIXES = {".c", ".h", ".py", ".pyi", ".sh"}
MAX_LINES = 500


class Import(NamedTuple):
    """One imported module, by its absolute name, and the line that imports it."""

    line: int
    name: str
    guarded: bool

    @property
    def inside(self) -> str | None:
        """The name within ws4py, or None for a module of somebody else."""
        if self.name == "ws4py":
            return ROOT
        return self.name[len("ws4py.") :] if self.name.startswith("ws4py.") else None

    @property
    def top(self) -> str:
        return self.name.partition(".")[0]


def modules() -> dict[str, str]:
    """The source of every module under ws4py/, by its name within the package."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[-1] == "__init__":
            parts = parts[:-1]
        found[".".join(parts)] = path.read_text(encoding="utf-8")
    return found


def imports(module: str, source: str) -> Iterator[Import]:
    """Every import of a module; ``from ws4py import x`` names the submodule ``x`` if it is one."""
    tree = ast.parse(source)
    guarded = {node for block in ast.walk(tree) if guards(block) for node in ast.walk(block)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = absolute(module, node)
            names = [member(base, alias.name) for alias in node.names]
        else:
            continue
        for name in dict.fromkeys(names):
            yield Import(node.lineno, name, node in guarded)


def guards(node: ast.AST) -> bool:
    """Whether this is a ``try`` that goes on without what cannot be imported."""
    if not isinstance(node, ast.Try):
        return False
    caught = {
        name.id
        for handler in node.handlers
        if handler.type is not None
        for name in ast.walk(handler.type)
        if isinstance(name, ast.Name)
    }
    return bool(caught & {"ImportError", "ModuleNotFoundError"})


def absolute(module: str, node: ast.ImportFrom) -> str:
    """The absolute name of the module that a ``from … import`` names."""
    if not node.level:
        return node.module or ""
    package = ["ws4py", *filter(None, module.split("."))]
    is_package = module in (ROOT, "client", "server")
    up = node.level - 1 if is_package else node.level
    base = package[: len(package) - up]
    return ".".join([*base, node.module] if node.module else base)


def member(base: str, name: str) -> str:
    """``base.name`` if that is a module of ours, else ``base``."""
    full = f"{base}.{name}"
    return full if full[len("ws4py.") :] in LAYERS and base.startswith("ws4py") else base


def imports_from_above(module: str, source: str) -> list[str]:
    """A module imports from strictly lower layers, with few exceptions, and never the root."""
    return [
        f"{label(module)}:{found.line} imports {found.name}: {why_not(module, found.inside)}"
        for found in imports(module, source)
        if found.inside is not None and not may_import(module, found.inside)
    ]


def may_import(module: str, inside: str) -> bool:
    if inside == ROOT or inside not in LAYERS:
        return False
    below, here = LAYERS[inside], LAYERS[module]
    shared = below == here == LAYERS["client"] and inside in SHARED_BY_ADAPTERS
    return below < here or (module, inside) in SAME_LAYER or (shared and module != inside)


def why_not(module: str, inside: str) -> str:
    if inside == ROOT:
        return "no module imports the root"
    return f"layer {LAYERS[module]} from layer {LAYERS.get(inside, 'unknown')}"


def imports_of_the_world(module: str, source: str) -> list[str]:
    """Layers 0 to 3 import nothing that knows a socket, a thread or a clock."""
    if LAYERS[module] > LAST_PURE_LAYER:
        return []
    return [
        f"{label(module)}:{found.line} imports {found.name}"
        for found in imports(module, source)
        if found.top in IMPURE
    ]


def imports_of_third_parties(module: str, source: str) -> list[str]:
    """The core imports the standard library, and what is optional only under a guard.

    A module that is named after an engine imports that engine: ``_gevent`` imports gevent.
    """
    if LAYERS[module] in ADAPTER_LAYERS:
        return []
    return [
        f"{label(module)}:{found.line} imports {found.name}"
        for found in imports(module, source)
        if found.inside is None
        and found.top not in sys.stdlib_module_names
        and not ((module, found.top) in OPTIONAL and found.guarded)
        and module != f"_{found.top}"
    ]


def protocol_constants(module: str, source: str) -> list[str]:
    """Adapters hold no close code and no header name, but for documented defaults."""
    if LAYERS[module] not in ADAPTER_LAYERS:
        return []
    tree = ast.parse(source)
    excepted = {constant for node in ast.walk(tree) for constant in defaults_and_docstrings(node)}
    return [
        f"{label(module)}:{node.lineno} holds {node.value!r}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and node not in excepted
        and (is_close_code(node.value) or is_header_name(node.value))
    ]


def defaults_and_docstrings(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.arguments):
        for default in filter(None, [*node.defaults, *node.kw_defaults]):
            yield from ast.walk(default)
    elif isinstance(node, ast.Expr):
        yield node.value


def is_close_code(value: object) -> bool:
    return type(value) is int and value in CLOSE_CODES


def is_header_name(value: object) -> bool:
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    return isinstance(value, str) and value.lower().startswith(HEADER_NAMES)


def label(module: str) -> str:
    return f"ws4py.{module}" if module else "ws4py"


def offences_everywhere(rule: Callable[[str, str], list[str]]) -> list[str]:
    found = (rule(module, source) for module, source in modules().items() if module in LAYERS)
    return [offence for offences in found for offence in offences]


def test_every_module_has_a_layer() -> None:
    assert ROOT in modules(), "ws4py/__init__.py was not found"
    unknown = [label(module) for module in modules() if module not in LAYERS]
    assert not unknown, f"give these a layer in LAYERS of {Path(__file__).name}: {unknown}"


def test_a_module_imports_only_from_lower_layers() -> None:
    assert not offences_everywhere(imports_from_above)


def test_layers_0_to_3_know_no_socket_thread_or_clock() -> None:
    assert not offences_everywhere(imports_of_the_world)


@pytest.mark.skipif(sys.version_info < (3, 10), reason="sys.stdlib_module_names is from 3.10")
def test_the_core_imports_the_standard_library_alone() -> None:
    assert not offences_everywhere(imports_of_third_parties)


def test_adapters_hold_no_close_code_and_no_header_name() -> None:
    assert not offences_everywhere(protocol_constants)


def test_no_file_is_longer_than_500_lines() -> None:
    sources = (p for top in ("ws4py", "test") for p in sorted((PROJECT / top).rglob("*")))
    lengths = {
        str(path.relative_to(PROJECT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in sources
        if path.suffix in SOURCE_SUFFIXES
    }
    assert not {name: length for name, length in lengths.items() if length > MAX_LINES}


@pytest.mark.parametrize(
    ("module", "source", "allowed"),
    [
        ("streaming", "from ws4py.framing import Frame", True),
        ("streaming", "from ws4py import framing", True),
        ("streaming", "from . import framing, messaging", True),
        ("streaming", "from .framing import Frame", True),
        ("client.threadedclient", "from . import WebSocketBaseClient", True),
        ("client.threadedclient", "from ..websocket import WebSocket", True),
        ("client", "from ..transport import Transport", True),
        ("server.asgi", "from ws4py.server import wsgiutils", True),
        ("websocket", "from ws4py.transport import Transport", True),
        ("__main__", "from ws4py.server.standalone import WebSocketServer", True),
        ("framing", "from ws4py.framing import Frame", False),
        ("framing", "from ws4py.streaming import Stream", False),
        ("framing", "from ws4py import streaming", False),
        ("framing", "def late():\n    from .streaming import Stream", False),
        ("transport", "from ws4py.websocket import WebSocket", False),
        ("_tls", "from ws4py.manager import WebSocketManager", False),
        ("server._accept", "from ws4py.server._accept import accept", False),
        ("server.standalone", "from ws4py.server.asgi import anything", False),
        ("handshake", "import ws4py", False),
        ("handshake", "from ws4py import WS_KEY", False),
        ("client.threadedclient", "from .. import WS_KEY", False),
        ("handshake", "from ws4py.unheard_of import anything", False),
        ("__main__", "from ws4py import compat", False),
    ],
)
def test_the_import_rule_tells_lower_layers_from_others(
    module: str, source: str, allowed: bool
) -> None:
    assert (not imports_from_above(module, source)) is allowed


def test_the_purity_rule_finds_a_socket_in_a_low_layer_only() -> None:
    source = "def late():\n    from socket import AF_INET"
    assert imports_of_the_world("framing", source) == ["ws4py.framing:2 imports socket"]
    assert not imports_of_the_world("transport", source)


@pytest.mark.skipif(sys.version_info < (3, 10), reason="sys.stdlib_module_names is from 3.10")
def test_the_third_party_rule_wants_a_guard_around_what_is_optional() -> None:
    guarded = "try:\n    import wsaccel.xormask\nexcept ImportError:\n    pass"
    assert not imports_of_third_parties("masking", guarded)
    assert imports_of_third_parties("masking", "import wsaccel.xormask")
    assert imports_of_third_parties("framing", guarded)
    assert not imports_of_third_parties("server.geventserver", "import gevent")


@pytest.mark.skipif(sys.version_info < (3, 10), reason="sys.stdlib_module_names is from 3.10")
def test_the_third_party_rule_lets_a_module_import_the_engine_it_is_named_after() -> None:
    assert not imports_of_third_parties("_gevent", "import gevent.socket")
    assert imports_of_third_parties("_gevent", "import tornado")
    assert imports_of_third_parties("manager", "import gevent")


def test_the_constant_rule_excepts_docstrings_and_defaults() -> None:
    source = '"""Sec-WebSocket-Key"""\ndef close_all(code=1001): ...\n'
    assert not protocol_constants("server.standalone", source)
    for held in ("1006", "'Sec-WebSocket-Key'", "b'sec-websocket-key'", "'HTTP_SEC_WEBSOCKET_KEY'"):
        assert protocol_constants("server.standalone", f"x = {held}") == [
            f"ws4py.server.standalone:1 holds {ast.literal_eval(held)!r}"
        ]
        assert not protocol_constants("handshake", f"x = {held}")
