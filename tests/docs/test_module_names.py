"""Modules and files of the project that the documents name are there."""

from __future__ import annotations

import re

import pytest

from tests.cli.conftest import ROOT

PAGES = [ROOT / "CONTRIBUTING.md", ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PACKAGES = "benchmarks|profiles|tests|tokmem_desk|trainer|tui"
NAME = re.compile(rf"(?<![\w/.])(?:(?:\.\./)+)?((?:{PACKAGES})(?:[./][A-Za-z0-9_-]+)+)")
ENDINGS = {"json", "jsonl", "md", "png", "safetensors", "sqlite", "tcss", "toml"}
MADE_UP = re.compile(r"/[A-Z]+|NNNN")
"""Capitals stand for a name of the reader's own: ``tui/cli/NAME.py``."""


def missing(text: str) -> list[str]:
    """Names in ``text`` that lead to no file and to no module, nor to something in a module."""
    return [name for name in NAME.findall(text) if not MADE_UP.search(name) and not _exists(name)]


def _exists(name: str) -> bool:
    parts = re.split(r"[./]", name)
    if "/" in name:
        path = ROOT / name
        return path.exists() or path.with_name(f"{path.name}.py").exists()
    if len(parts) == 2 and parts[1] in ENDINGS:
        return True  # a file somewhere else, such as profiles.json
    modules = ["/".join(parts), "/".join(parts[:-1]), "/".join(parts[:-2])]
    if any((ROOT / f"{module}.py").exists() for module in modules if module.count("/")):
        return True
    return (ROOT / modules[0] / "__init__.py").exists() or (ROOT / f"{modules[0]}.py").exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_modules_that_a_page_names_exist(page):
    assert missing(page.read_text("utf-8")) == []


def test_a_name_that_leads_nowhere_is_found():
    text = "`tokmem_desk/beam.py`, `tui.screens`, `trainer.loop.Training`, `tui/cli/NAME.py`, profiles.json"
    assert missing(text) == ["tokmem_desk/beam.py", "tui.screens"]


def test_every_decision_is_in_the_index():
    text = (ROOT / "docs" / "decisions.md").read_text("utf-8")
    entries = re.findall(r"^## (\d+)\. (.+)$", text, flags=re.M)
    lines = re.findall(
        r"^\| (\d+) \| \d{4}-\d{2}(?:-\d{2})? \| \[(.+)\]\(#.+\) \| (holds|replaced|open)", text, flags=re.M
    )
    assert (
        [line[:2] for line in lines]
        == entries
        == [(str(number), title) for number, (_, title) in enumerate(entries, 1)]
    )
    assert len(re.findall(r"^## ", text, flags=re.M)) == len(entries)
