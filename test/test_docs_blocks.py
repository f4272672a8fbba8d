"""Every block of code in CONTRIBUTING.md and the documentation runs, as its page says.

``test/reader.py`` says what is done with them; ``test_readme.py`` has the README's.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from test.reader import Reader, blocks_of
from test.test_cli import ROOT

pytestmark = pytest.mark.docs

PAGES = sorted(
    page.relative_to(ROOT)
    for page in [ROOT / "CONTRIBUTING.md", ROOT / "example/README.md", *ROOT.glob("docs/**/*.md")]
    if "_build" not in page.parts
)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_block_of_a_page_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = list(blocks_of(ROOT / page))
    if not blocks:
        pytest.skip("it has none")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with Reader(tmp_path) as reader:
        for block in blocks:
            reader.read(block)
