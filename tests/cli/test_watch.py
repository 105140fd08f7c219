"""``watch``: files of a folder are answered beside them, once, and again when they change."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.cli.conftest import CommandLine, interrupt_when

SAID = "You said: {} (0 messages before)\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "inbox"
    made.mkdir()
    return made


def test_what_is_there_is_answered_once(scripted: CommandLine, folder: Path, pairs_file: Path) -> None:
    (folder / "a.txt").write_text("hello", "utf-8")
    (folder / "b.md").write_text("other", "utf-8")
    (folder / "empty.txt").write_text("", "utf-8")
    (folder / "below").mkdir()
    ended = scripted("watch", str(folder), "--once", "--json")
    assert ended.code == 1 and "empty.txt" in ended.err
    [line] = [json.loads(line) for line in ended.out.splitlines()]
    assert line["file"] == str(folder / "a.txt") and line["route"] == "none"
    assert (folder / "a.txt.answer").read_text("utf-8") == SAID.format("hello")
    assert not (folder / "b.md.answer").exists()
    (folder / "empty.txt").unlink()
    assert scripted("watch", str(folder), "--once", "--json").out == "", "it has its answer"
    assert scripted("watch", str(folder), "--once", "--glob", "*.md").code == 0
    assert (folder / "b.md.answer").exists()


def test_files_that_come_and_change_are_answered(scripted: CommandLine, folder: Path) -> None:
    process = scripted.start("watch", str(folder))
    file, answer = folder / "a.txt", folder / "a.txt.answer"
    file.write_text("first", "utf-8")

    def changed() -> bool:
        if not answer.exists():
            return False
        if file.read_text("utf-8") == "first":
            file.write_text("second", "utf-8")
            later = answer.stat().st_mtime_ns + 1
            os.utime(file, ns=(later, later))
            return False
        return "second" in answer.read_text("utf-8")

    ended = interrupt_when(process, changed)
    assert ended.code == 130
    assert answer.read_text("utf-8") == SAID.format("second")


def test_a_procedure_may_be_named(scripted: CommandLine, folder: Path, pairs_file: Path) -> None:
    scripted("proc", "add", "todo", "--pairs", str(pairs_file))
    scripted("train", "todo")
    (folder / "a.txt").write_text("I need to buy milk on Monday\n", "utf-8")
    assert scripted("watch", str(folder), "--once", "--proc", "todo").code == 0
    assert (folder / "a.txt.answer").read_text("utf-8") == "( ) buy milk due:mon\n"
    assert "There is no procedure 'tod'" in scripted("watch", str(folder), "--proc", "tod").err
    assert "There is no folder" in scripted("watch", str(folder / "x")).err
