"""Doubtful values as text: underlined and with a question mark behind, so that colour is not needed; and the keys that
put something else in the place of one. Draws nothing itself.
"""

from __future__ import annotations

from textual.content import Content

from tokmem_desk.generation.answer_segment import AnswerSegment, AnswerValue
from tui.chat.turns import Answer, Doubt
from tui.kit.words import percent

MARK = "?"
"""Stands behind each doubtful value."""


def marked(segment: AnswerSegment, chosen: AnswerValue | None) -> Content:
    """The response of a segment, its doubtful values marked.

    Args:
        chosen: the value that the person is looking at.
    """
    text = segment.response.rstrip("\n")
    parts, at = [], 0
    for value in segment.doubtful_values:
        if value.start < at or value.end > len(text):
            continue
        parts += [
            Content(text[at : value.start]),
            marked_value(text[value.start : value.end], is_chosen=value is chosen),
        ]
        at = value.end
    return Content.assemble(*parts, Content(text[at:]))


def marked_value(text: str, *, is_chosen: bool) -> Content:
    """One doubtful value."""
    style = "bold underline reverse" if is_chosen else "underline $text-warning"
    return Content.assemble(Content.styled(text, style), Content.styled(MARK, "bold $text-warning"))


def sure_words(answer: Answer) -> str:
    """``answer 41%, 2 to check``; empty where nothing is known."""
    if answer.sure is None or answer.original is not None:
        return ""
    words = f"answer {percent(answer.sure)}"
    return f"{words}, {count} to check" if (count := len(answer.doubts)) else words


def choices(doubt: Doubt) -> Content:
    """The value that the person is looking at, and the keys that put another one in its place."""
    value = doubt.value
    head = f"  {value.name} " if value.name else "  "
    line = [Content(head), Content.styled(value.text, "underline"), Content(f" {percent(value.probability)}")]
    for place, other in enumerate(value.others, start=1):
        line += [Content.styled(f"  {place} ", "bold $accent"), Content(other)]
    rest = "  Enter keeps it" if value.others else "  nothing else was weighed; Enter keeps it, p corrects the answer"
    return Content.assemble(*line, Content.styled(rest, "$muted"))
