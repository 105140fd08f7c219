"""Steps and chains in a bank: they come back as they were, and no bank with others is opened."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.banks import PLANS, bank, bank_bytes, files_of, uuid_of, write
from tokmem_desk.bank.jsonl import BankPlan, lines, read_plans
from tokmem_desk.bank.reader import open_bank
from tokmem_desk.errors import BadInputError
from tokmem_desk.procedures import MAX_CHAIN
from tokmem_desk.system.file_limits import FREE_BYTES, Allowance

UUIDS = [uuid_of(place) for place in range(12)]
ONE, TWO, THREE = UUIDS[:3]


def read(*rows: Mapping[str, Any] | BankPlan) -> tuple[BankPlan, ...]:
    return read_plans(lines([row.as_dict() if isinstance(row, BankPlan) else row for row in rows]), UUIDS, "x.tokmem")


def test_they_come_back_as_they_were(tmp_path: Path) -> None:
    with open_bank(write(tmp_path / "a.tokmem", bank(plans=PLANS))) as opened:
        assert opened.plans == PLANS
    with open_bank(write(tmp_path / "b.tokmem", bank())) as opened:
        assert opened.plans == ()


def test_a_bank_without_any_is_what_it_was() -> None:
    plain, with_plans = files_of(bank_bytes()), files_of(bank_bytes(bank(plans=PLANS)))
    assert set(with_plans) - set(plain) == {"plans.jsonl"}
    assert {name: len(plain[name]) for name in plain if name != "manifest.json"} == {
        name: len(with_plans[name]) for name in plain if name != "manifest.json"
    }
    versions = [json.loads(files["manifest.json"])["version"] for files in (plain, with_plans)]
    assert versions[0] == versions[1], "a program that knows no plans reads on"


def test_a_plan_may_call_plans_and_a_chain_has_an_end() -> None:
    called = read(BankPlan(ONE, "two", {"two": TWO}), BankPlan(TWO, "two", {"two": THREE}), BankPlan(THREE, ""))
    assert [one.names for one in called] == [{"two": TWO}, {"two": THREE}, {}]
    chain = [BankPlan(UUIDS[at], then=UUIDS[at + 1]) for at in range(MAX_CHAIN - 1)]
    assert len(read(*chain)) == MAX_CHAIN - 1
    with pytest.raises(BadInputError, match=f"more than {MAX_CHAIN} procedures"):
        read(*chain, BankPlan(UUIDS[MAX_CHAIN - 1], then=UUIDS[MAX_CHAIN]))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"procedure": "nobody", "steps": "none"}], "procedure cannot be read"),
        ([{"procedure": ONE}], "steps cannot be read"),
        ([{"procedure": ONE, "steps": 7, "names": {}}], "steps cannot be read"),
        ([{"procedure": ONE, "steps": "none: \0", "names": {}}], "steps cannot be read"),
        ([{"procedure": ONE, "steps": "none: " + "a" * 8000, "names": {}}], "steps cannot be read"),
        ([{"procedure": ONE, "steps": "if\n", "names": {}}], "names cannot be read"),
        ([{"procedure": ONE, "steps": "else\n  none", "names": {}}], "Line 1 of the plan"),
        ([{"procedure": ONE, "steps": "none: {nothing}", "names": {}}], "no step before it"),
        ([{"procedure": ONE, "steps": "none", "names": []}], "names cannot be read"),
        ([{"procedure": ONE, "steps": "mine", "names": {}}], "names cannot be read"),
        ([{"procedure": ONE, "steps": "mine", "names": {"mine": "me"}}], "names cannot be read"),
        ([{"procedure": ONE, "steps": "mine", "names": {"mine": TWO, "yours": TWO}}], "names cannot be read"),
        ([{"procedure": ONE, "steps": "", "names": {"mine": TWO}}], "names cannot be read"),
        ([{"procedure": ONE, "then": "f" * 32}], "then cannot be read"),
        ([{"procedure": ONE, "then": TWO, "names": {}}], "steps cannot be read"),
        ([BankPlan(ONE, ""), BankPlan(ONE, "")], "line 2: procedure cannot be read"),
        ([BankPlan(ONE, "me", {"me": ONE})], "in a circle"),
        ([BankPlan(ONE, "b", {"b": TWO}), BankPlan(TWO, "a", {"a": ONE})], "in a circle"),
        ([BankPlan(ONE, then=ONE)], "comes back to its beginning"),
        ([BankPlan(ONE, then=TWO), BankPlan(TWO, then=THREE), BankPlan(THREE, then=ONE)], "comes back"),
    ],
)
def test_lines_that_cannot_be_right(rows: Sequence[Any], said: str) -> None:
    with pytest.raises(BadInputError, match=said) as caught:
        read(*rows)
    assert "x.tokmem is damaged: plans.jsonl" in caught.value.message


def test_what_they_take_of_the_memory_is_counted() -> None:
    row = lines([BankPlan(ONE, "none: " + "a" * 7000).as_dict()])
    allowance = Allowance("x.tokmem", 0)
    assert read_plans(row, UUIDS, "x.tokmem", allowance)
    allowance.take(FREE_BYTES - 20_000, "the rest")
    with pytest.raises(BadInputError, match="more memory than a file of its size"):
        read_plans(row, UUIDS, "x.tokmem", allowance)


def test_a_plan_that_is_changed_on_its_way_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "a.tokmem", bank(plans=[replace(PLANS[2], then="f" * 32)]))
    with pytest.raises(BadInputError, match="then cannot be read"), open_bank(file):
        pass
