"""The tutorial works: every command of it is run, in order, in one folder; how-to pages with a console likewise."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from tests.cli.conftest import ROOT, CommandLine, scripted_at
from tests.warm import start_of

TUTORIAL = ROOT / "docs" / "tutorial.md"

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="the tutorial is written for a shell")


def console_blocks(page: Path) -> list[str]:
    """The commands of each ``console`` block, one shell text a block; a here-document belongs to its command."""
    blocks = re.findall(r"^```console\n(.*?)^```$", page.read_text("utf-8"), flags=re.S | re.M)
    return [_commands(block) for block in blocks]


def _commands(block: str) -> str:
    lines, inside = [], False
    for line in block.splitlines():
        if line.startswith("$ "):
            lines.append(line[2:])
            inside = "<<'END'" in line
        elif inside:
            lines.append(line)
            inside = line != "END"
    return "\n".join(lines)


@pytest.fixture
def scripted(own_home: Path) -> CommandLine:
    """The command line with the scripted engine."""
    return scripted_at(own_home)


@pytest.fixture
def run(scripted: CommandLine, tmp_path: Path):
    """Run a block in the tutorial's folder; every command of it must succeed."""
    folder = tmp_path / "work"
    folder.mkdir()
    program = tmp_path / "bin" / "tokmem-desk"
    program.parent.mkdir()
    start = shlex.join([*start_of("tests.cli.scripted_cli"), "--yes"])
    program.write_text(f'#!/bin/sh\nexec {start} "$@"\n')
    program.chmod(0o755)
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"

    def block(text: str) -> str:
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", text],
            cwd=folder,
            env={**scripted.environment, "PATH": path},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{text}\n\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stdout

    return block


def test_the_whole_tutorial(run, scripted):
    outputs = [run(block) for block in console_blocks(TUTORIAL)]
    assert len(outputs) >= 8
    said = "\n".join(outputs)
    assert "lending" in said
    with ProfileRegistry(AppPaths.resolve(scripted.home)) as registry, registry.open() as store:
        record = store.procedures.get("lending")
        assert record.description == "Write down what I have lent to whom"
        assert len(store.pairs.list("lending")) == 24, "26 pairs, and undo took back the two"


@pytest.mark.parametrize("page", ["import-a-spreadsheet", "bring-a-skill", "use-in-scripts"])
def test_how_to_pages(run, page):
    blocks = console_blocks(ROOT / "docs" / "howto" / f"{page}.md")
    assert blocks
    for block in blocks:
        run(block)


def test_every_page_is_on_the_list():
    index = (ROOT / "docs" / "README.md").read_text("utf-8")
    for page in (ROOT / "docs").rglob("*.md"):
        assert page.name == "README.md" or f"({page.relative_to(ROOT / 'docs')})" in index, page


def test_links_lead_somewhere():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]
    for page in pages:
        text = page.read_text("utf-8")
        targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
        for target in targets:
            if not target.startswith(("http://", "https://", "mailto:")):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("page", [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md"], ids=lambda p: p.name)
def test_commands_that_pages_name_exist(page):
    from docs.generate import build_parser, commands

    known = {command.path for command in commands(build_parser())}
    groups = {path[:1] for path in known if len(path) > 1}
    text = page.read_text("utf-8")
    code = "\n".join([*re.findall(r"^```.*?^```$", text, flags=re.S | re.M), *re.findall(r"`[^`\n]+`", text)])
    for words in re.findall(r"tokmem-desk((?: [a-z][a-z-]*)+)", code):
        parts = tuple(words.split())
        assert parts[:1] in known or parts[:1] in groups, f"{page.name}: tokmem-desk{words}"
        if parts[:1] in groups and len(parts) > 1 and parts[:1] not in known:
            assert parts[:2] in known, f"{page.name}: tokmem-desk{words}"
