"""Drafts of pairs from a text: what the model writes is made a message, and what is of no use is counted, not sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

import tui.engine.text_drafting
from tokmem_desk.errors import ContextLengthError, UsageError
from tui.engine.request import Request
from tui.engine.text_drafting import alike, draft_from_text, goes_in_circles, plain_line

if TYPE_CHECKING:
    from tests.tiny_loaded import TinyModel

TEXT = "Name the trade that a note of a repair asks for."


def drafted(
    tiny: TinyModel, monkeypatch: pytest.MonkeyPatch, lines: list[str], answers: dict[str, str], **fields: Any
) -> tuple[list[tuple[str, str]], dict[str, Any]]:
    """Drafts where the model writes these lines, and answers so."""
    written = iter(lines)
    monkeypatch.setattr(tui.engine.text_drafting, "next_line", lambda *_, **__: iter([None, next(written, "")]))

    def to(self: Any, message: str, request: Request) -> Iterator[None]:
        yield
        response = answers[message]
        return ("long", "") if response == "…" else (self._fault(message, response), response)  # type: ignore[return-value]

    monkeypatch.setattr(tui.engine.text_drafting._Answers, "to", to)
    events: list[dict[str, Any]] = []
    request = Request(1, "draft_from_text", {"text": TEXT, "count": 3, **fields}, events.append)
    list(draft_from_text(request, tiny.backbone))
    *drafts, done = events
    return [(one["input"], one["response"]) for one in drafts], done["result"]


def test_what_is_of_no_use_is_counted(tiny: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {
        "the tap in the hall drips": "plumber",
        "the lamp above the stairs flickers": "The lamp above the stairs flickers!",
        "paint the door": "  ",
        "a wall is damp": TEXT,
        "a long story": "…",
        "the roof leaks": "roofer",
    }
    lines = [
        "1. the tap in the hall drips",
        '- "The tap in the hall drips."',
        "",
        "Messages:",
        TEXT,
        *list(answers)[1:],
    ]
    found, result = drafted(tiny, monkeypatch, lines, answers)
    assert found == [("the tap in the hall drips", "plumber"), ("the roof leaks", "roofer")]
    assert result["refused"] == {"double": 1, "empty": 5, "repeats": 3, "long": 1}
    assert result["drafted"] == 2 and result["attempts"] == 12 and not result["cancelled"]


def test_known_inputs_and_a_schema_are_held_to(tiny: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"a": '{"n": 1}', "b": "1", "known": '{"n": 2}'}
    schema = '{"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}'
    found, result = drafted(tiny, monkeypatch, ["known", "b", "a"], answers, schema=schema, known=["Known"], count=1)
    assert found == [("a", '{"n": 1}')] and result["refused"] == {"double": 1, "form": 1}


def test_the_model_writes_messages_and_answers(tiny: TinyModel) -> None:
    """A random model writes what it likes: whatever it sends is a pair, and it comes to an end."""
    events: list[dict[str, Any]] = []
    request = Request(1, "draft_from_text", {"text": TEXT, "count": 1, "seed": 3}, events.append)
    steps = sum(1 for _ in draft_from_text(request, tiny.backbone))
    assert steps > 1 and events[-1]["event"] == "done"
    result = events[-1]["result"]
    assert result["drafted"] + sum(result["refused"].values()) == result["attempts"] <= 4
    assert all(one["input"].strip() and one["response"].strip() for one in events[:-1])


def test_a_cancelled_request_ends(tiny: TinyModel) -> None:
    events: list[dict[str, Any]] = []
    request = Request(1, "draft_from_text", {"text": TEXT, "count": 5}, events.append)
    steps = draft_from_text(request, tiny.backbone)
    next(steps)
    request.cancelled.set()
    list(steps)
    assert events[-1]["result"]["cancelled"] and events[-1]["result"]["drafted"] == 0


def test_instructions_longer_than_the_context_are_refused(tiny: TinyModel) -> None:
    request = Request(1, "draft_from_text", {"text": "word " * 20_000}, lambda _: None)
    with pytest.raises(ContextLengthError):
        list(draft_from_text(request, tiny.backbone))
    with pytest.raises(UsageError, match="1 to 50"):
        list(draft_from_text(Request(1, "draft_from_text", {"text": TEXT, "count": 0}, lambda _: None), tiny.backbone))


@pytest.mark.parametrize(
    ("line", "plain"),
    [("12) 'a b'", "a b"), ("* Message 2: c", "Message 2: c"), ("“x”", "x"), ('say "a" or "b"', 'say "a" or "b"')],
)
def test_marks_of_lists_are_no_text(line: str, plain: str) -> None:
    assert plain_line(line) == plain


@pytest.mark.parametrize(
    ("text", "circles"),
    [
        ("I am words. I am words. I am words.", True),
        ("I can think of words. I can think of words. I can think of words.", True),
        ("a b c", False),
        ("", False),
        ("buy milk and buy bread and buy eggs", False),
        ('[{"task": "a", "done": false}, {"task": "b", "done": false}, {"task": "c", "done": false}]', False),
    ],
)
def test_texts_that_go_in_circles(text: str, circles: bool) -> None:
    assert goes_in_circles(text) == circles


def test_the_instructions_reach_the_model(tiny: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    query = tiny.backbone.format.query
    monkeypatch.setattr(type(tiny.backbone.format), "query", lambda self, text: asked.append(text) or query(text))
    request = Request(1, "draft_from_text", {"text": TEXT, "count": 1, "seed": 3}, lambda _: None)
    list(draft_from_text(request, tiny.backbone))
    assert len(asked) > 1 and all(TEXT in one for one in asked)


def test_short_texts_are_alike_only_when_they_are_the_same() -> None:
    assert (
        alike("Yes.", "yes")
        and not alike("two", "too")
        and alike("a rather long text here", "A rather long text here!")
    )
