"""Schemas, what a procedure reads, commands and consents in the store."""

from __future__ import annotations

from dataclasses import replace

import pytest

from profiles.pair_files.lint import lint_pairs
from profiles.store.store import ProfileStore
from tokmem_desk.errors import BadInputError, NotFoundError
from tokmem_desk.procedures import ExamplePair, Procedure

SCHEMA = '{"type": "object", "properties": {"what": {"type": "string"}, "cost": {"type": "number"}}}'


@pytest.fixture
def tool(store: ProfileStore, ledger: Procedure) -> ProfileStore:
    store.procedures.add(replace(ledger, output_schema=SCHEMA))
    return store


def test_a_schema_is_kept_changed_and_undone(store: ProfileStore, ledger: Procedure) -> None:
    assert store.procedures.add(ledger).output_schema is None
    before = store.revision
    record = store.procedures.set_schema("ledger", SCHEMA.replace(" ", "  "))
    assert record.output_schema == SCHEMA and record.version == 2 and store.revision > before
    assert store.procedures.with_pairs("ledger").output_schema == SCHEMA
    assert store.undo.take_back() == "changed the schema of ledger"
    assert store.procedures.get("ledger").output_schema is None
    with pytest.raises(BadInputError, match="at type"):
        store.procedures.set_schema("ledger", '{"type": "objekt"}')
    with pytest.raises(BadInputError, match="at type"):
        store.procedures.add(replace(ledger, name="other", output_schema='{"type": "objekt"}'))


def test_reading_the_conversation_is_kept_and_undone(store: ProfileStore, ledger: Procedure) -> None:
    store.procedures.add(ledger)
    assert store.procedures.set_reads_conversation("ledger", True).reads_conversation
    assert store.procedures.with_pairs("ledger").reads_conversation
    store.undo.take_back()
    assert not store.procedures.get("ledger").reads_conversation


def test_the_life_of_a_command(tool: ProfileStore) -> None:
    assert tool.commands.get("ledger") is None and tool.commands.by_name() == {}
    made = tool.commands.set("ledger", ["note", "--", "{what}"])
    assert (made.template, made.allowed) == (("note", "--", "{what}"), None)
    assert tool.commands.allow("ledger", "digest").allowed == "digest"
    assert tool.commands.allow("ledger", None).allowed is None
    tool.commands.allow("ledger", "digest")
    assert tool.commands.set("ledger", ["note", "{cost}"]).allowed is None, "another command asks again"
    tool.procedures.rename("ledger", "book")
    assert list(tool.commands.by_name()) == ["book"]
    assert tool.commands.remove("book") and not tool.commands.remove("book")
    with pytest.raises(NotFoundError, match="has no command"):
        tool.commands.allow("book", "digest")
    with pytest.raises(NotFoundError, match="no procedure 'bok'"):
        tool.commands.get("bok")


def test_slots_are_properties_of_the_schema_or_the_whole_answer(tool: ProfileStore) -> None:
    with pytest.raises(BadInputError, match="no property of the schema"):
        tool.commands.set("ledger", ["note", "{whatever}"])
    with pytest.raises(BadInputError, match="no property of the schema"):
        tool.commands.set("ledger", ["note", "{answer}"])
    tool.procedures.set_schema("ledger", None)
    with pytest.raises(BadInputError, match="there is no schema"):
        tool.commands.set("ledger", ["note", "{what}"])
    assert tool.commands.set("ledger", ["note", "--", "{answer}"]).template == ("note", "--", "{answer}")


def test_no_undo_brings_a_command_or_a_consent_back(tool: ProfileStore) -> None:
    tool.commands.set("ledger", ["note", "{what}"])
    tool.commands.allow("ledger", "digest")
    tool.procedures.set_description("ledger", "another")
    tool.commands.allow("ledger", None)
    tool.undo.take_back()
    command = tool.commands.get("ledger")
    assert command is not None and command.allowed is None
    tool.commands.allow("ledger", "digest")
    tool.procedures.remove("ledger")
    tool.undo.take_back()
    assert tool.procedures.get("ledger").output_schema == SCHEMA
    assert tool.commands.get("ledger") is None


def test_pairs_that_do_not_fit_the_schema_are_findings() -> None:
    answers = ['{"what": "tea", "cost": 2}', '{"what": "tea", "cost": "2"}', "tea 2", '{"cost": 2, "what": "tea"}']
    pairs = [ExamplePair(f"bought number {place}", answer) for place, answer in enumerate(answers)]
    found = [one for one in lint_pairs(pairs, output_schema=SCHEMA) if one.kind == "schema"]
    assert [one.pairs for one in found] == [(1,), (2,), (3,)]
    assert "cost: '2' is not of type 'number'" in found[0].text
    assert "not JSON" in found[1].text and "another order" in found[2].text
    assert not [one for one in lint_pairs(pairs) if one.kind == "schema"]
