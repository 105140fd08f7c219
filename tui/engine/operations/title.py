"""``title``: a title for a chat. Never loads a model: titles are made in idle time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypedDict

from tokmem_desk.generation.titling import propose_title
from tui.engine.engine import Engine
from tui.engine.operation import operation
from tui.engine.request import Request


class TitleFields(TypedDict):
    """The chat's first question and its answer."""

    question: str
    answer: str


class TitleResult(TypedDict):
    """``title`` is empty where the model has none to give."""

    title: str


@operation("title", fields=TitleFields, result=TitleResult, waits="patient")
def title(engine: Engine, request: Request) -> Iterator[None]:
    """Propose a title."""
    question, answer = request.text("question"), request.text("answer")
    proposed: str | None = ""
    if engine.model.loaded:
        for step in propose_title(engine.model.backbone, question, answer, cancelled=request.cancelled.is_set):
            proposed = step
            yield
    request.emit("done", result={"title": proposed or ""})
    yield
