"""``draft_from_text``: suggest pairs for a text that says what to do; see ``tui.engine.text_drafting``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypedDict

from tui.engine import text_drafting
from tui.engine.engine import Engine
from tui.engine.operation import ProfileFields, operation
from tui.engine.request import Request


class TextFields(ProfileFields):
    """``text``: the instructions. ``known`` (texts: inputs that are there) and ``schema`` may be given."""

    text: str


class TextDraftResult(TypedDict):
    """``drafted`` pairs came of so many ``attempts``; ``refused`` counts the others by reason."""

    drafted: int
    attempts: int
    refused: dict[str, int]
    cancelled: bool


@operation("draft_from_text", fields=TextFields, result=TextDraftResult, waits="aside")
def draft_from_text(engine: Engine, request: Request) -> Iterator[None]:
    """Draft pairs; ``count`` (whole number) and ``seed`` may be given."""
    yield from engine.ready_to_chat(request)
    with engine.profile(request):
        pass  # a locked profile answers nothing, although nothing of it is needed
    yield from text_drafting.draft_from_text(request, engine.model.backbone)
