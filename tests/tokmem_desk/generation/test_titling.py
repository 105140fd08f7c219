"""Titles that the backbone proposes: a line, or nothing; between any two tokens it can be stopped."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tokmem_desk.generation.decoding import Chooser
from tokmem_desk.generation.titling import SHOWN_CHARACTERS, TITLE_TOKENS, propose_title
from tui.engine import operations

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone


def say(backbone: Backbone, monkeypatch: pytest.MonkeyPatch, text: str, *, ends: bool = True) -> None:
    """Let the model say this, and no more."""
    ids = [*backbone.format.encode_text(text), *([backbone.format.end_id] if ends else [])]
    monkeypatch.setattr(Chooser, "pick", lambda self, logits, before=(): ids.pop(0))


def test_a_line_is_taken(tiny_backbone: Callable[..., Backbone], monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = tiny_backbone("llama")
    say(backbone, monkeypatch, "blue card")
    *steps, title = propose_title(backbone, "Which card?", "The blue card. " * SHOWN_CHARACTERS)
    assert title == "blue card" and set(steps) == {None}


def test_without_an_end_there_is_none(tiny_backbone: Callable[..., Backbone], monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = tiny_backbone("llama")
    say(backbone, monkeypatch, "words and " * 40, ends=False)
    *steps, title = propose_title(backbone, "Which card?", "The blue one.")
    assert title == "" and len(steps) == TITLE_TOKENS + 1


def test_it_can_be_stopped_before_every_token(tiny_backbone: Callable[..., Backbone]) -> None:
    backbone = tiny_backbone("llama")
    for after in range(3):
        asked = []

        def stopped(asked: list[int] = asked, after: int = after) -> bool:
            asked.append(1)
            return len(asked) > after

        *_, title = propose_title(backbone, "Which card?", "The blue one.", cancelled=stopped)
        assert title == "" and len(asked) == after + 1


def test_titles_wait_for_everything_else() -> None:
    assert operations.discover()["title"].waits == "patient"
