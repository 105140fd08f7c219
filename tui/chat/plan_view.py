"""Draws what plans did: one entry, of which the steps are shown when it is opened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from textual.content import Content

from tokmem_desk.generation.answer_segment import AnswerSegment
from tui.chat.call_view import segment_content
from tui.chat.turns import Answer
from tui.shared.plan_words import heading


def plans_content(answer: Answer, *, opened: bool) -> Content:
    """An answer in which plans were done, part by part.

    Args:
        answer: with its plans.
        opened: with every step and condition; else the last answer of each plan.
    """
    parts: list[Content] = []
    for plan, segments in _parts(answer):
        if plan is None:
            parts += [segment_content(segment, named=True) for segment in segments]
        else:
            parts += _plan(plan, segments, opened=opened)
    return Content("\n").join(parts)


def _plan(plan: Mapping[str, Any], segments: list[AnswerSegment], *, opened: bool) -> list[Content]:
    key = "⏎ closes" if opened else "⏎ shows the steps"
    head = Content.assemble(Content.styled(f"▸ {heading(plan)}", "bold $primary"), Content.styled(f"  {key}", "$muted"))
    lines = [Content(str(line)) for line in plan.get("lines", ())]
    last = next((one for one in reversed(segments) if one.response or one.arguments is not None), None)
    shown = lines if opened else [] if last is None else [segment_content(last, named=last.route != plan["plan"])]
    if plan["status"] == "waiting":
        shown = [*shown, Content.styled(f"{plan['words']}  x goes on", "$text-warning")]
    elif plan["status"] in ("failed", "stopped") and not opened:
        shown = [*shown, Content.styled(str(plan["words"]), "$text-error")]
    return [head, *shown]


def _parts(answer: Answer) -> list[tuple[Mapping[str, Any] | None, list[AnswerSegment]]]:
    """The segments, those of a plan together."""
    plans = iter(answer.plans)
    parts: list[tuple[Mapping[str, Any] | None, list[AnswerSegment]]] = []
    for segment in answer.segments:
        if segment.place == "0":
            parts.append((next(plans, None), []))
        elif segment.place and parts:
            parts[-1][1].append(segment)
        else:
            parts.append((None, [segment]))
    return parts
