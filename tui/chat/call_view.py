"""Draws the calls in an answer: the procedure's name, its arguments, and the outcome of running it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from textual.content import Content

from tokmem_desk.generation.answer_segment import AnswerSegment, AnswerValue
from tui.chat.doubt_view import marked, marked_value
from tui.chat.turns import Answer
from tui.kit.vector_lines import quoted, vector_rows
from tui.shared.command_run import run_of

OUTPUT_LINES = 20
"""Lines of a program's output that the transcript shows; the conversation keeps them all."""


def calls_content(answer: Answer, chosen: AnswerValue | None = None) -> Content:
    """An answer that has calls in it, segment by segment.

    Args:
        chosen: the doubtful value that the person is looking at.
    """
    several = len(answer.segments) > 1
    doubtful = {id(doubt.value) for doubt in answer.doubts}
    return Content("\n").join(segment_content(one, doubtful, chosen, named=several) for one in answer.segments)


def vector_content(vector: Sequence[str], width: int = 0) -> Content:
    """An argument vector, one argument a line, quoted so that each is seen from end to end.

    Args:
        vector: the program and its arguments.
        width: cells of a line; an argument that needs more goes on below itself, never below a number.
    """
    rows = vector_rows(vector, width)
    return Content("\n").join(
        [Content.assemble(Content.styled(f"{place}  ", "$muted"), Content(text)) for place, text in rows]
    )


def segment_content(
    segment: AnswerSegment, doubtful: Collection[int] = (), chosen: AnswerValue | None = None, *, named: bool
) -> Content:
    """One segment: the arguments of a call one a line, and what came of running it.

    Args:
        doubtful: ids of the values to mark.
        chosen: the one that the person is looking at.
        named: with its procedure above, also where it is a text.
    """
    marks = {value.name: value for value in segment.values if id(value) in doubtful}
    arguments = segment.arguments
    parts: list[Content] = []
    if named or arguments is not None:
        parts.append(Content.styled(f"▸ {segment.route}", "bold $primary"))
    if arguments is None:
        parts.append(marked(segment, chosen) if marks else Content(segment.response))
    else:
        width = max((len(name) for name in arguments), default=0)
        for name, value in arguments.items():
            text = _value(value)
            shown = marked_value(text, is_chosen=marks[name] is chosen) if name in marks else Content(text)
            parts.append(Content.assemble(Content.styled(f"  {name:<{width}}  ", "$muted"), shown))
        if not arguments:
            parts.append(Content.styled("  no arguments", "$muted"))
    if segment.problem:
        parts.append(Content.styled(segment.problem, "$text-error"))
    if segment.run:
        parts.append(_run(segment.run))
    return Content("\n").join(parts)


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _run(fields: Mapping[str, Any]) -> Content:
    done = run_of(fields)
    parts = [
        Content.assemble(
            Content.styled("  ran ", "$muted"),
            Content(" ".join(quoted(element) for element in done.vector)),
            Content.styled(f"  {done.words()}", "$text-success" if done.ok else "$text-error"),
        )
    ]
    lines = [*done.stdout.splitlines(), *done.stderr.splitlines()]
    parts += [Content(f"  │ {line}") for line in lines[:OUTPUT_LINES]]
    left = len(lines) - OUTPUT_LINES
    if left > 0 or done.truncated:
        more = f"{left} more lines" if left > 0 else "more than is kept"
        parts.append(Content.styled(f"  │ … {more}", "$muted"))
    return Content("\n").join(parts)
