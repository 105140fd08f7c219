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
from tokmem_desk.generation.recall import Bank
from tokmem_desk.procedures import ExamplePair, Procedure
from tokmem_desk.routing.routers import TokenRouter
from tokmem_desk.routing.segment_tagger import SegmentTagger, fit_segment_tagger
from tokmem_desk.templates.json_schema import read_schema
from trainer.extractor import train_extractor, with_extractor
from tui.engine.drafting import _fits, _response, draft
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
    store: ProfileStore, tiny: TinyModel, memories: dict[str, Memory], monkeypatch: pytest.MonkeyPatch, text: str
) -> dict[str, Any]:
    """One draft for an input that the model is made to write."""
    monkeypatch.setattr(tui.engine.drafting, "next_line", lambda *_, **__: iter([text]))
    schemas = {p.name: read_schema(p.output_schema) for p in store.procedures.list() if p.output_schema is not None}
    bank = Bank(memories, TokenRouter(tiny.backbone, list(memories.values())), schemas=schemas)
    events: list[dict[str, Any]] = []
    request = Request(1, "draft", {"name": "buy", "count": 1}, events.append)
    list(draft(request, store, tiny.backbone, bank))
    [one] = [event for event in events if event["event"] == "draft"]
    assert one["input"] == text
    return one


def test_a_draft_is_held_to_the_schema(store: ProfileStore, tiny: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    store.procedures.add(Procedure("buy", BUYS, output_schema=SCHEMA))
    one = drafted(store, tiny, {"buy": tiny.memory("buy", 1)}, monkeypatch, "buy salt for Dora")
    assert read_schema(SCHEMA).fault(one["response"]) is None and one["fits"] is True


def test_a_draft_without_a_memory_is_held_to_the_schema_too(tiny: TinyModel) -> None:
    bank, text = Bank({}, TokenRouter(tiny.backbone, [])), "buy salt for Dora"
    free, held = (
        _response(tiny.backbone, bank, Procedure("buy", BUYS, output_schema=schema), text) for schema in (None, SCHEMA)
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
    one = drafted(store, tiny, {"buy": memory}, monkeypatch, known.input)
    assert json.loads(one["response"]) == json.loads(known.response) and one["fits"] is None


@pytest.mark.parametrize(
    ("pattern", "schema", "response", "fits"),
    [
        (None, None, "x", None),
        ("[a-z]+", None, "abc", True),
        ("[a-z]+", None, "ABC", False),
        (None, SCHEMA, '{"item": "milk", "who": "Ada"}', True),
        (None, SCHEMA, '{"item": "milk"}', False),
        (None, SCHEMA, "milk", False),
        ("[a-z]+", SCHEMA, '{"item": "milk", "who": "Ada"}', False),
    ],
)
def test_whether_a_draft_fits(pattern: str | None, schema: str | None, response: str, fits: bool | None) -> None:
    assert _fits(Procedure("buy", BUYS, pattern=pattern, output_schema=schema), response) is fits
