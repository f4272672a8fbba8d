"""The documentation builds, its links lead somewhere, and the reference has every public name."""

from __future__ import annotations

import pkgutil
import posixpath
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import ws4py
from test.reader import Block, Reader
from test.test_cli import ROOT

sphinx = pytest.importorskip("sphinx", reason="Sphinx is not installed")
inventory = pytest.importorskip("sphinx.util.inventory")

pytestmark = pytest.mark.docs


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the pages; a warning of Sphinx fails."""
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "docs", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return folder


class Page(HTMLParser):
    """Where a page leads, and what can be led to on it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id":
                self.anchors.add(value or "")
            elif name == "src" or (name == "href" and tag != "link"):
                self.links.append(value or "")


def dead_links(pages: dict[str, Page], site: Path) -> Iterator[tuple[str, str]]:
    for name, page in pages.items():
        for link in page.links:
            url = urlsplit(link)
            path = posixpath.join(posixpath.dirname(name), unquote(url.path)) if url.path else name
            target = posixpath.normpath(path)
            anchors = pages[target].anchors if target in pages else {unquote(url.fragment)}
            is_there = (site / target).is_file() and {unquote(url.fragment)} - {""} <= anchors
            if not (url.scheme or url.netloc or is_there):
                yield name, link


def test_every_link_inside_the_documentation_leads_somewhere(site: Path) -> None:
    pages = {
        path.relative_to(site).as_posix(): Page(path.read_text(encoding="utf-8"))
        for path in site.rglob("*.html")
    }
    assert len(pages) > 40
    assert list(dead_links(pages, site)) == []


def prose_of(page: Path) -> str:
    """Return a page without its blocks of code."""
    text = page.read_text(encoding="utf-8")
    return re.sub(r"^( *(?:> )?)(`{3,}).*?^\1\2$", "", text, flags=re.MULTILINE | re.DOTALL)


def slugs_of(page: Path) -> Iterator[str]:
    """Yield the anchors that GitHub gives to the headings of a page."""
    seen: Counter[str] = Counter()
    for heading in re.findall(r"^#+ (.*)$", prose_of(page), re.MULTILINE):
        text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        yield f"{slug}-{seen[slug]}" if seen[slug] else slug
        seen[slug] += 1


def lost_on_github(page: Path) -> Iterator[str]:
    for link, path, anchor in re.findall(r"\]\((([\w./-]*)#([^)\s]+))\)", prose_of(page)):
        target = page.parent / path if path else page
        if anchor not in slugs_of(target):
            yield link


GITHUB_PAGES = [*ROOT.glob("*.md"), *ROOT.glob("*/README.md"), *ROOT.glob("docs/**/*.md")]


@pytest.mark.parametrize("page", GITHUB_PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_anchors_lead_to_a_heading_on_github_too(page: Path) -> None:
    """Sphinx finds headings by more names than GitHub gives them."""
    assert list(lost_on_github(page)) == []


def test_an_anchor_that_github_does_not_have_is_found_out(tmp_path: Path) -> None:
    page, other = tmp_path / "page.md", tmp_path / "other.md"
    other.write_text("# `a.b`, and _c\n## Twice\n## Twice\n```sh\n# no heading\n```\n")
    links = ["other.md#ab-and-_c", "other.md#twice-1", "#here"]
    lost = ["other.md#a-b-and-_c", "other.md#twice-2", "other.md#no-heading", "#there"]
    page.write_text("# Here\n" + "".join(f"[to]({link})\n" for link in links + lost))
    assert list(lost_on_github(page)) == lost


def test_the_pages_name_the_version_of_the_package(site: Path) -> None:
    assert f"ws4py {ws4py.__version__}" in (site / "index.html").read_text(encoding="utf-8")


def public_names() -> Iterator[str]:
    """Yield the full name of everything that a public module exports."""
    modules = pkgutil.walk_packages(ws4py.__path__, "ws4py.")
    for name in ["ws4py", *(module.name for module in modules)]:
        if "._" not in name:
            yield from (f"{name}.{each}" for each in getattr(import_module(name), "__all__", ()))


def test_the_reference_has_every_public_name(site: Path) -> None:
    with (site / "objects.inv").open("rb") as file:
        found = inventory.InventoryFile.load(file, "", posixpath.join)
    documented = {name for kind, names in found.items() if kind.startswith("py:") for name in names}
    assert {*public_names()} - documented == set()


#: Modules whose docstring has a program.
SERVES = [
    "ws4py.server.asyncioserver",
    "ws4py.server.cherrypyserver",
    "ws4py.server.geventserver",
    "ws4py.server.tornadoserver",
    "ws4py.server.wsgirefserver",
]
#: What is typed to an echo, or to what shouts, and comes back from either.
TALK = "$ python -m ws4py connect ws://localhost:9000/{path}\nHELLO\n< HELLO\n"


def program_of(module: str) -> str:
    found = re.search(r"::\n\n((?: {4}.*\n|\n)+)", import_module(module).__doc__ or "")
    assert found, f"{module} shows no program"
    return re.sub(r"^ {4}", "", found[1], flags=re.MULTILINE)


@pytest.mark.parametrize("module", SERVES)
def test_the_server_in_a_docstring_serves(module: str, tmp_path: Path) -> None:
    text = program_of(module).replace("make_server('',", "make_server('localhost',")
    path = "ws" if "/ws" in text else ""
    with Reader(tmp_path) as reader:
        reader.read(Block("python", text, {"file": "program.py", "serves": "9000"}))
        reader.read(Block("console", TALK.format(path=path), {}))


def test_the_application_in_a_docstring_serves_on_uvicorn(tmp_path: Path) -> None:
    server = "$ uvicorn --host localhost --port 9000 program:application\n"
    with Reader(tmp_path) as reader:
        reader.read(Block("python", program_of("ws4py.server.asgi"), {"file": "program.py"}))
        reader.read(Block("console", server, {"serves": "9000"}))
        reader.read(Block("console", TALK.format(path=""), {}))


def test_the_client_in_a_docstring_receives_its_echo(tmp_path: Path) -> None:
    text = program_of("ws4py.client.asyncioclient")
    server = "$ python -m ws4py serve --port 9000\n"
    with Reader(tmp_path) as reader:
        reader.read(Block("console", server, {"serves": "9000"}))
        reader.read(Block("python", text, {"file": "program.py", "runs": ""}))
        reader.read(Block("text", "hello\n", {"prints": ""}))
