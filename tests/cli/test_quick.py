"""``quick`` and the clipboard, with programs in the place of the desktop's own."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.cli.conftest import CommandLine

MILK = "I need to buy milk on Monday"
LINE = "( ) buy milk due:mon"


class Desktop:
    """Programs that keep the clipboard in a file, as those of Wayland are called."""

    def __init__(self, folder: Path) -> None:
        self.file, self.programs = folder / "clipboard.txt", folder / "programs"
        self.programs.mkdir()
        for name, does in (("wl-copy", 'cat > "$CLIPBOARD"'), ("wl-paste", 'cat "$CLIPBOARD"')):
            program = self.programs / name
            program.write_text(f"#!/bin/sh\n{does}\n", "utf-8")
            program.chmod(0o755)

    @property
    def environment(self) -> dict[str, str]:
        path = f"{self.programs}{os.pathsep}{os.environ['PATH']}"
        return {"PATH": path, "WAYLAND_DISPLAY": "wayland-0", "CLIPBOARD": str(self.file), "DISPLAY": ""}


@pytest.fixture
def desktop(tmp_path: Path) -> Desktop:
    return Desktop(tmp_path)


@pytest.fixture
def taught(scripted: CommandLine, pairs_file: Path) -> CommandLine:
    assert scripted("proc", "add", "todo", "--pairs", str(pairs_file)).code == 0
    assert scripted("train").code == 0
    return scripted


@pytest.mark.parametrize("typed", [(MILK,), ()])
def test_one_line_is_answered_and_copied(taught: CommandLine, desktop: Desktop, typed: tuple[str, ...]) -> None:
    ended = taught("quick", *typed, stdin="" if typed else f"{MILK}\n", **desktop.environment)
    assert ended.code == 0 and ended.out.strip() == LINE and "(copied)" in ended.err
    assert desktop.file.read_text("utf-8") == LINE


def test_an_empty_line_ends_and_the_clipboard_may_stay(taught: CommandLine, desktop: Desktop) -> None:
    desktop.file.write_text("mine", "utf-8")
    ended = taught("quick", stdin="\n", **desktop.environment)
    assert (ended.code, ended.out) == (0, "")
    assert taught("quick", MILK, "--no-copy", **desktop.environment).out.strip() == LINE
    assert desktop.file.read_text("utf-8") == "mine"


def test_what_is_on_the_clipboard_is_the_message(taught: CommandLine, desktop: Desktop) -> None:
    desktop.file.write_text(f"{MILK}\n", "utf-8")
    assert taught("quick", "--paste", **desktop.environment).out.strip() == LINE
    assert desktop.file.read_text("utf-8") == LINE
    answer = json.loads(taught("ask", "--paste", "--copy", "--json", "--route", "none", **desktop.environment).out)
    assert answer["response"] == f"You said: {LINE} (0 messages before)"
    assert desktop.file.read_text("utf-8") == answer["response"]
    said = taught("ask", "Look:", "--paste", "--route", "none", **desktop.environment).out
    assert said.startswith(f"You said: Look:\n\nYou said: {LINE}")


def test_slips(taught: CommandLine, desktop: Desktop) -> None:
    desktop.file.write_text("\n", "utf-8")
    for words, told in (
        (("quick", "--paste"), "no text on the clipboard"),
        (("quick", MILK, "--paste"), "Give either"),
        (("quick", MILK, "--route", "tood"), "todo"),
        (("ask", "--batch", "x.jsonl", "--copy"), "takes no --attach"),
    ):
        ended = taught(*words, **desktop.environment)
        assert ended.code != 0 and told in ended.err, words


def test_without_a_clipboard_the_answer_is_there_all_the_same(taught: CommandLine, tmp_path: Path) -> None:
    nothing = {"PATH": str(tmp_path), "WAYLAND_DISPLAY": "", "DISPLAY": ""}
    ended = taught("quick", MILK, **nothing)
    assert ended.code == 1 and ended.out.strip() == LINE
    assert "no way to the clipboard" in ended.err and "wl-clipboard" in ended.err
