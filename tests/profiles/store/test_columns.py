"""A new column is a migration and a field of its record: nothing else knows the table's columns."""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import pytest

import profiles.store.procedures
import profiles.store.store
from profiles.database import migrations
from profiles.store.messages import MESSAGES
from profiles.store.procedures import ProcedureRecord
from profiles.store.store import ProfileStore
from profiles.store.table import JSON_LIST, Table
from tokmem_desk.procedures import Procedure


@dataclass(frozen=True, slots=True)
class ColouredProcedure(ProcedureRecord):
    """A procedure with a column that the program does not have."""

    colours: Annotated[tuple[str, ...] | None, JSON_LIST] = None


@pytest.fixture
def added_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """The made-up step and the made-up field, each at its one place; the step's number."""
    number = len(migrations.PROFILE_STEPS) + 1
    step = f"profile_{number:04d}"
    (tmp_path / f"{step}.py").write_text('STATEMENTS = ("ALTER TABLE procedures ADD COLUMN colours TEXT",)\n')
    monkeypatch.setattr(migrations, "__path__", [*migrations.__path__, str(tmp_path)])
    monkeypatch.setattr(profiles.store.store, "PROFILE_STEPS", migrations.discover("profile"))
    monkeypatch.delitem(sys.modules, f"{migrations.__name__}.{step}")
    monkeypatch.setattr(profiles.store.procedures, "PROCEDURES", Table("procedures", ColouredProcedure))
    return number


def colours(store: ProfileStore) -> tuple[str, ...] | None:
    record = store.procedures.get("ledger")
    assert isinstance(record, ColouredProcedure)
    return record.colours


def test_a_column_is_a_step_and_a_field(tmp_path: Path, request: pytest.FixtureRequest, ledger: Procedure) -> None:
    folder = tmp_path / "profile"
    with ProfileStore(folder) as before:
        before.procedures.add(ledger)
    number = request.getfixturevalue("added_column")
    with ProfileStore(folder) as store:
        assert store.rows("PRAGMA user_version")[0][0] == number
        assert colours(store) is None
        store.procedures.change("ledger", "coloured ledger", colours=("red", "blue"))
    with ProfileStore(folder) as again:
        assert colours(again) == ("red", "blue") and again.procedures.get("ledger").pair_count == 2
        assert again.rows("SELECT colours FROM procedures")[0][0] == '["red", "blue"]'
        assert again.undo.take_back() == "coloured ledger"
        assert colours(again) is None and again.damage() == []
    assert [copy.name for copy in (folder / "backups").iterdir()] == [
        f"profile-before-v{number}-was-v{number - 1}.sqlite"
    ]


def test_every_record_has_the_columns_of_its_table(store: ProfileStore) -> None:
    """What a record says to be a column is one: a misspelled field would only fail when a row is read."""
    names = (
        "procedures",
        "pairs",
        "memories",
        "conversations",
        "messages",
        "corrections",
        "jobs",
        "commands",
        "versions",
    )
    modules = ("procedures", "pairs", "memories", "chats", "messages", "corrections", "jobs", "commands", "versions")
    for name, module in zip(names, modules, strict=True):
        table: Table[object] = getattr(sys.modules[f"profiles.store.{module}"], name.upper())
        known = {row["name"] for row in store.rows(f"PRAGMA table_info({name})")}
        assert table.name == name and set(table.columns) <= known


def test_moving_a_message_keeps_every_column(store: ProfileStore) -> None:
    conversation = store.chats.create()
    moved = store.messages.add(
        conversation,
        "assistant",
        "text",
        route="ledger",
        probability=0.5,
        candidates=[{"route": "ledger"}],
        timing={"total": 1.0},
        details={"kept": True},
        status="stopped",
    )
    store.feedback.rate(moved, "good")
    store.messages.add(conversation, "user", "later")
    before = store.messages.list(conversation)[0]
    [now] = store.messages.move_to_end([moved])
    after = store.messages.list(conversation)[-1]
    assert after.id == now and MESSAGES.columns[0] == "id"
    for field in fields(after):
        assert field.name == "id" or getattr(after, field.name) == getattr(before, field.name)
