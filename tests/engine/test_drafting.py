"""Drafted responses have the form that the procedure's answers have: its schema, or what is read off the message."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import tui.engine.drafting
from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from profiles.store.store import ProfileStore
from tokmem_desk.procedures import ExamplePair, Procedure
from tokmem_desk.routing.segment_tagger import SegmentTagger, fit_segment_tagger
from tokmem_desk.templates.json_schema import read_schema
from trainer.extractor import train_extractor, with_extractor
from tui.engine.drafting import Answers, draft
from tui.engine.request import Request

if TYPE_CHECKING:
    from tests.tiny_loaded import TinyModel
    from tokmem_desk.memory.memory import Memory

SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"item": {"enum": ["milk", "bread", "tea", "soap"]}, "who": {"enum": ["Ada", "Ben", "Carl"]}},
        "required": ["item", "who"],
        "additionalProperties": False,
    }
)
BUYS = tuple(
    ExamplePair(f"buy {item} for {name}", json.dumps({"item": item, "who": name}))
    for item in ("milk", "bread", "tea", "soap")
    for name in ("Ada", "Ben", "Carl")
)


@pytest.fixture
def store(own_home: Path) -> Iterator[ProfileStore]:
    with ProfileRegistry(AppPaths.resolve(own_home)) as registry, registry.open() as opened:
        yield opened


def drafted(
    store: ProfileStore, tiny: TinyModel, memory: Memory | None, monkeypatch: pytest.MonkeyPatch, text: str
) -> dict[str, Any]:
    """One draft for an input that the model is made to write."""
    monkeypatch.setattr(tui.engine.drafting, "next_line", lambda *_, **__: iter([text]))
    events: list[dict[str, Any]] = []
    request = Request(1, "draft", {"name": "buy", "count": 1}, events.append)
    list(draft(request, store, tiny.backbone, memory))
    [one] = [event for event in events if event["event"] == "draft"]
    assert one["input"] == text
    return one


def test_a_draft_is_held_to_the_schema(store: ProfileStore, tiny: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    store.procedures.add(Procedure("buy", BUYS, output_schema=SCHEMA))
    one = drafted(store, tiny, tiny.memory("buy", 1), monkeypatch, "buy salt for Dora")
    assert read_schema(SCHEMA).fault(one["response"]) is None and one["fits"] is True


def test_a_draft_without_a_memory_is_held_to_the_schema_too(tiny: TinyModel) -> None:
    free, held = (
        Answers(tiny.backbone, Procedure("buy", BUYS, output_schema=schema), None).to("buy salt for Dora")
        for schema in (None, SCHEMA)
    )
    # Of a random model's blanks there may be so many that it comes to no end.
    assert "".join(held.split()).startswith('{"item"') and "item" not in free


def test_a_draft_is_read_off_the_message(store: ProfileStore, tiny: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    store.procedures.add(Procedure("buy", BUYS))
    segment_tagger = next(
        done for done in fit_segment_tagger(tiny.backbone, count=40) if isinstance(done, SegmentTagger)
    )
    monkeypatch.setattr(tiny.backbone, "token_space", segment_tagger.space)
    *_, extractor = train_extractor(tiny.backbone, segment_tagger.space, BUYS)
    memory = with_extractor(tiny.memory("buy", 1), extractor)  # type: ignore[arg-type]
    known = replace(BUYS[4], input=f" {BUYS[4].input}  ")
    monkeypatch.setattr(tui.engine.drafting, "_plain", lambda text: text)  # else the message is known already
    one = drafted(store, tiny, memory, monkeypatch, known.input)
    assert json.loads(one["response"]) == json.loads(known.response) and one["fits"] is True, (
        "it has the form that the pairs share"
    )
    assert one["sure"] is None, "a memory is not asked twice"


NO_FORM = (ExamplePair("one", "blue sky"), ExamplePair("two", "[7]"), ExamplePair("three", "done: 4 of 5"))
"""Answers with nothing in common."""


@pytest.mark.parametrize(
    ("pattern", "schema", "pairs", "response", "fits"),
    [
        (None, None, NO_FORM, "x", None),
        (None, None, BUYS, '{"item": "tea", "who": "Ada"}', True),
        (None, None, BUYS, "tea for Ada", False),
        ("[a-z]+", None, BUYS, "abc", True),
        ("[a-z]+", None, BUYS, "ABC", False),
        (None, SCHEMA, BUYS, '{"item": "milk", "who": "Ada"}', True),
        (None, SCHEMA, BUYS, '{"item": "milk"}', False),
        (None, SCHEMA, BUYS, "milk", False),
        ("[a-z]+", SCHEMA, BUYS, '{"item": "milk", "who": "Ada"}', False),
    ],
)
def test_whether_a_draft_fits(
    tiny: TinyModel,
    pattern: str | None,
    schema: str | None,
    pairs: tuple[ExamplePair, ...],
    response: str,
    fits: bool | None,
) -> None:
    answers = Answers(tiny.backbone, Procedure("buy", pairs, pattern=pattern, output_schema=schema), None)
    assert answers.fit(ExamplePair("buy tea for Ada", response)) is fits


def test_an_answer_is_sure_where_the_order_of_the_pairs_does_not_change_it(
    tiny: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[int]] = []

    def answered(_: object, queries: list[list[int]], *__: object, **___: object) -> list[str]:
        asked.extend(queries)
        return ["tea" if len(asked) < 3 else "milk"]

    monkeypatch.setattr(tui.engine.drafting, "answer_batch", answered)
    answers = Answers(tiny.backbone, Procedure("buy", BUYS), None)
    pair = ExamplePair("buy tea for Ada", answers.to("buy tea for Ada"))
    assert [answers.again(pair), answers.again(pair)] == [True, False]
    assert asked[0] != asked[1] == asked[2], "the pairs stood in another order"
