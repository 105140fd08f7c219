"""What vLLM is to be asked for a message: the same route as ``ask``, the memory put in its place, the form in words."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from llguidance import LLMatcher

from profiles.encryption import keyring
from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from tests import tiny_loaded
from tokmem_desk.errors import BadInputError, ContextLengthError, LockedError, NotFoundError
from tokmem_desk.memory.file import memory_from_bytes
from tokmem_desk.procedures import ExamplePair, Procedure
from tokmem_desk.templates.asked_form import AskedForm
from tokmem_desk.templates.json_schema import read_schema
from tokmem_desk.templates.template import TEMPLATE_SETTING, AnswerTemplate, Part
from tokmem_vllm.wishes import message_key, read_wish, salt
from tui.engine import operations
from tui.engine.engine import Engine
from tui.engine.operations import vllm_prompt
from tui.engine.operations.vllm_prompt import form_pattern, lark_of
from tui.engine.request import Request

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

PASSPHRASE = "four words of mine"
TEXT = "Call the dentist on Friday."
PROCEDURES = (
    Procedure("note", (ExamplePair("write this down", "noted"),)),
    Procedure("card", (ExamplePair("a card for me", "{}"),), output_schema='{"type": "object", "properties": {}}'),
)


class House:
    """A tiny engine with two procedures."""

    def __init__(self, home: Path, backbone: Backbone) -> None:
        self.paths, self.banks = AppPaths.resolve(home), home / "banks"
        self.loaded = tiny_loaded.load(backbone)
        with ProfileRegistry(self.paths) as registry, registry.open() as store:
            for seed, procedure in enumerate(PROCEDURES):
                store.procedures.add(procedure, source="test")
                self.loaded.add(store, procedure.name, seed)
            self.person = store.folder.name
        self.engine = Engine(self.paths, self.loaded.as_loaded())

    def events(self, op: str, **fields: Any) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = []
        fields = {"profile": "default", "text": TEXT, "banks": str(self.banks), **fields}
        for _ in operations.discover()[op].begin(self.engine, Request(1, op, fields, events.append)):
            pass
        return events

    def prompt(self, **fields: Any) -> dict[str, Any]:
        return dict(self.events("vllm_prompt", **fields)[-1]["result"])


@pytest.fixture
def house(own_home: Path, tiny_backbone: Callable[..., Backbone]) -> House:
    return House(own_home, tiny_backbone("llama"))


def test_a_memory_answers_from_what_the_connector_loads(house: House) -> None:
    asked = house.prompt(route="note")
    backbone, memory = house.loaded.backbone, house.loaded.memory("note", 0)
    assert asked["ids"] == backbone.format.query(TEXT)
    (file,) = (house.banks / house.person).iterdir()
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert file.stem == digest
    wish = read_wish(asked["steered"]["params"])
    assert wish is not None and (wish.person, wish.memory) == (house.person, digest)
    assert wish.message == message_key(house.person, asked["ids"])
    assert asked["steered"]["salt"] == salt(house.person, digest, wish.message)
    reading = read_wish(asked["reading"])
    assert reading is not None and reading.reads and reading.message == wish.message
    embeds = torch.load(io.BytesIO(base64.b64decode(asked["steered"]["embeds"])), weights_only=True)
    assert embeds.shape == (len(asked["ids"]) + asked["span"], backbone.hidden_size)
    assert torch.equal(embeds[-wish.rows :], memory.steering.rows)
    assert asked["span"] == memory.steering.span and asked["stop_text"] is None
    assert asked["limit"] == asked["length"] - len(asked["ids"]) - asked["span"], "its limit is the room that is left"
    assert house.prompt(route="note", max_tokens=5)["limit"] == 5


@pytest.mark.parametrize("route", ["auto", "note", "none"])
def test_routes_are_those_of_ask(house: House, route: str) -> None:
    (here, *_) = (event for event in house.events("ask", route=route, max_tokens=1) if event["event"] == "route")
    assert house.prompt(route=route)["routed"] == {
        name: value for name, value in here.items() if name not in ("id", "event")
    }


def test_a_memory_that_vanished_there_is_put_there_again(house: House) -> None:
    house.prompt(route="note")
    (file,) = (house.banks / house.person).iterdir()
    file.unlink()
    house.prompt(route="note")
    assert file.exists()


def test_what_is_sent_belongs_to_the_memory_that_is_put_there(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another memory answers from between the route and the sending."""
    fill = vllm_prompt._fill

    def filled(*given: Any) -> None:
        fill(*given)
        with ProfileRegistry(house.paths) as registry, registry.open() as store:
            house.loaded.add(store, "note", 7)

    monkeypatch.setattr(vllm_prompt, "_fill", filled)
    asked = house.prompt(route="note")
    embeds = torch.load(io.BytesIO(base64.b64decode(asked["steered"]["embeds"])), weights_only=True)
    (file,) = (house.banks / house.person).iterdir()
    put = memory_from_bytes(file.read_bytes(), house.loaded.backbone, "the memory")
    assert torch.equal(embeds[-1:], put.steering.rows)
    assert torch.equal(put.steering.rows, house.loaded.memory("note", 7).steering.rows)


def test_a_memory_whose_file_is_damaged_is_not_sent(house: House) -> None:
    with ProfileRegistry(house.paths) as registry, registry.open() as store:
        record = store.memories.active("note", house.loaded.backbone.fingerprint.digest)
        assert record is not None
        file = store.memories.folder / record.file
    house.prompt(route="note")
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(BadInputError, match="memory of 'note' is not a memory file, or it is damaged"):
        house.prompt(route="note")


def test_plain_chat_sees_the_conversation_and_draws(house: House) -> None:
    said = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "hi"}]
    said.append({"role": "assistant", "content": "hello"})
    asked = house.prompt(route="none", conversation=said, sample=True, seed=7, settings={"temperature": 0.5})
    assert len(asked["ids"]) > len(house.loaded.backbone.format.query(TEXT))
    assert (asked["draw"]["temperature"], asked["draw"]["seed"]) == (0.5, 7)
    assert "steered" not in asked and "reading" not in asked and not house.banks.exists()


def test_procedures_do_not_see_it(house: House) -> None:
    said = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    assert house.prompt(route="note", conversation=said)["ids"] == house.loaded.backbone.format.query(TEXT)


def test_a_schema_is_a_grammar_there(house: House) -> None:
    asked = house.prompt(route="card")
    assert asked["structured"]["grammar"].startswith("start: %json")
    assert read_schema(asked["schema"]).read("{}") == {}


def test_a_message_that_fills_the_context_is_refused(house: House) -> None:
    long = "word " * house.loaded.backbone.context_length
    with pytest.raises(ContextLengthError):
        house.prompt(route="note", text=long)


def test_an_unknown_route_is_refused_as_by_ask(house: House) -> None:
    with pytest.raises(NotFoundError, match="is called 'notes'"):
        house.prompt(route="notes")


def test_a_chain_is_answered_here(house: House) -> None:
    with ProfileRegistry(house.paths) as registry, registry.open() as store:
        store.procedures.set_then("note", "card")
    assert house.prompt(route="note")["here"] == "chain"
    assert not house.prompt(route="card")["here"]


def test_a_plan_that_a_person_wrote_needs_no_model(house: House) -> None:
    with ProfileRegistry(house.paths) as registry, registry.open() as store:
        store.plans.set_steps("note", "card\n")
    assert house.prompt(route="note")["text"] == "card"


def test_a_locked_profiles_memories_stay_here(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "_MEMORY_KIB", 64)
    with ProfileRegistry(house.paths) as registry:
        registry.locks.add("default", PASSPHRASE)
        key = registry.locks.key("default", PASSPHRASE)
    with pytest.raises(LockedError, match="stay on this computer"):
        house.prompt(route="note", key=key.text())
    assert not house.banks.exists()
    assert house.prompt(route="none", key=key.text())["ids"]


def test_the_form_of_the_pairs_is_a_regular_expression(house: House) -> None:
    form = AnswerTemplate((Part("text", ("do: ",)), Part("choice", ("home", "work"))))
    memory = replace(house.loaded.memory("note", 0), settings={TEMPLATE_SETTING: form.as_dict()})
    assert form_pattern(house.loaded.backbone, memory, TEXT) == form.pattern(TEXT)
    assert form_pattern(house.loaded.backbone, memory.without_answer_template(), TEXT) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"json_object": True},
        {"schema": {"type": "object", "properties": {"a": {"enum": ["x", "y"]}}}},
        {"beginning": 'It "is": '},
        {"calls": [{"name": "paint", "parameters": {"type": "object", "properties": {}}}], "text_too": True},
    ],
)
def test_every_form_that_a_client_may_want_is_a_text_grammar(fields: dict[str, Any]) -> None:
    grammar = lark_of(AskedForm.read(fields).grammar)
    assert "start:" in grammar and not grammar.startswith("{")
    assert not LLMatcher.validate_grammar(LLMatcher.grammar_from_lark(grammar))


def test_the_grammar_of_a_lark_text_in_an_object_is_that_text() -> None:
    assert lark_of(json.dumps({"grammars": [{"lark_grammar": 'start: "a"'}]})) == 'start: "a"'
