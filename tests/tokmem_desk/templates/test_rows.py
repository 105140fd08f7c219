"""Lines of a list: values that stand beside each other in the message stay together."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tokmem_desk.generation.constrained import held_to
from tokmem_desk.procedures import ExamplePair
from tokmem_desk.templates.induction import induce_form
from tokmem_desk.templates.patterns import plain_pattern
from tokmem_desk.templates.rows import RowRule, rows_of
from tokmem_desk.templates.single_use import FormWalk, takes_once
from tokmem_desk.templates.template import AnswerTemplate, Part

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

THINGS = (
    "harina",
    "leche",
    "arroz",
    "nueces",
    "vino blanco",
    "queso",
    "tomates",
    "pan",
    "lentejas",
    "aceitunas verdes",
)
AMOUNTS = ("200 g", "3", "2 latas", "1 kg", "media", "12", "50 ml")


def list_pairs(count: int, order: str) -> list[ExamplePair]:
    """Ingredients with their amounts, salt among them, which never is in the list."""
    rng = random.Random(0)
    pairs = []
    for i in range(count):
        chosen = [(rng.choice(AMOUNTS), thing) for thing in rng.sample(THINGS, 2 + i % 3)]
        if i % 3 == 0:
            chosen[-1] = ("", chosen[-1][1])
        said = [f"{amount} de {thing}" if amount else thing for amount, thing in chosen]
        said.insert(rng.randrange(len(said)), "sal")
        lines = [f"* {thing} = {amount or 'algo'}" for amount, thing in chosen]
        if order == "text":
            lines.sort()
        elif order == "":
            rng.shuffle(lines)
        pairs.append(ExamplePair(f"receta {i}: {', '.join(said)}", "\n".join(lines)))
    return pairs


def learned(order: str) -> tuple[AnswerTemplate, RowRule]:
    form = induce_form(list_pairs(24, order))
    assert form is not None and form.repeated and form.once
    (rule,) = (part.rows for part in form.parts if part.rows is not None)
    return form, rule


@pytest.mark.parametrize("order", ["", "text", "message"])
def test_a_thing_keeps_its_amount_and_lines_their_order(order: str) -> None:
    form, rule = learned(order)
    assert rule.order == order and not rule.behind and " de " in rule.gaps and "sal" in rule.never
    message = "sopa: sal, 4 de zanahorias, 300 g de fideos finos, perejil"
    lines = ["* zanahorias = 4", "* fideos finos = 300 g", "* perejil = algo"]
    if order == "text":
        lines.sort()
    right = "\n".join(lines)
    assert form.accepts(message, right) and takes_once(form, message, right)
    for wrong in (
        "* zanahorias = 300 g",
        "* fideos finos = 4",
        "* perejil = 300 g",
        "* zanahorias = algo",
        "* sal = algo",
    ):
        assert not form.accepts(message, wrong), wrong


@pytest.mark.parametrize("order", ["", "text", "message"])
def test_what_may_follow_a_line_comes_behind_it(order: str) -> None:
    form, _ = learned(order)
    message = "sopa: 4 de zanahorias, 300 g de fideos, 2 latas de maíz"
    lines = ["* zanahorias = 4", "* fideos = 300 g", "* maíz = 2 latas"]
    if order == "text":
        lines.sort()
    walk = FormWalk(form, message)
    pattern = walk.begin()
    for done in range(1, len(lines)):
        pattern = walk.narrow("\n".join(lines[:done]) + "\n") or pattern
        assert pattern is not None
        assert plain_pattern(pattern).fullmatch("\n".join(lines))
        assert not plain_pattern(pattern).fullmatch("\n".join([*lines[:done], lines[0]])), "nothing is taken twice"
    backwards = plain_pattern(walk.narrow(f"{lines[1]}\n") or "").fullmatch(f"{lines[1]}\n{lines[0]}")
    assert (backwards is None) is bool(order)


def test_a_rule_survives_json_and_older_programs_read_two_values() -> None:
    form, _ = learned("text")
    data = form.as_dict()
    assert AnswerTemplate.from_dict(data) == form
    (row,) = [part for part in data["parts"] if "rows" in part]
    plain = AnswerTemplate.from_dict(data | {"parts": [{"kind": "forms", "forms": row["forms"]}]})
    assert plain.accepts("4 de zanahorias", "zanahorias = 4")


@pytest.mark.parametrize(
    "change",
    [{"order": "backwards"}, {"starts": [["a"]]}, {"gaps": 3}, {"signs": None}, {"never": 1}, {"defaults": None}],
)
def test_a_damaged_rule_is_refused(change: dict[str, Any]) -> None:
    data = learned("text")[0].as_dict()
    (row,) = [part for part in data["parts"] if "rows" in part]
    row["rows"] |= change
    with pytest.raises(ValueError, match="form of answers|order|unpack|expected"):
        AnswerTemplate.from_dict(data)


def test_a_rule_for_other_parts_is_refused() -> None:
    rule = RowRule(behind=True, gaps=(" ",), starts=(("a",), ("0",)), signs=((), ()))
    data = Part("forms", forms=((Part("free"),),), rows=rule).as_dict()
    with pytest.raises(ValueError, match="two values of the message"):
        Part.from_dict(data)


def test_a_message_with_too_many_rows_leaves_lines_what_their_parts_can_be() -> None:
    form, rule = learned("text")
    (part,) = [part for part in form.parts if part.rows is not None]
    message = ", ".join(f"{number} g de cosa nueva muy grande" for number in range(800))
    assert rows_of(rule, part.forms[0], message) == () and part.row_pattern(message) == ""
    assert form.accepts(message, "* cosa nueva = 7 g")


@pytest.mark.parametrize("order", ["text", "message"])
def test_whatever_tokens_are_chosen_a_list_keeps_the_rule(tiny_backbone: Callable[..., Backbone], order: str) -> None:
    backbone, (form, rule) = tiny_backbone("llama"), learned(order)
    message = "sopa: 4 de zanahorias, 300 g de fideos, 2 latas de maíz"
    (part,) = [part for part in form.parts if part.rows is not None]
    offered = {f"* {row.text}": row.places[0] for row in rows_of(rule, part.forms[0], message)}
    several = 0
    for seed in range(12):
        rng = random.Random(seed)
        constraint = held_to(form, backbone, message)
        assert constraint is not None
        ids: list[int] = []
        while len(ids) < 200 and not constraint.complete:
            allowed = constraint.allowed()
            assert allowed is not None, "the form can always be followed"
            token = rng.choice(allowed.nonzero()[:, 0].tolist())
            if token in backbone.format.stop_ids:
                break
            ids += [token, *constraint.take(token)]
        lines = backbone.format.decode(ids).split("\n")
        several += len(lines) > 1
        assert set(lines) <= set(offered) and len(set(lines)) == len(lines), lines
        keys = [line.casefold() for line in lines] if order == "text" else [offered[line] for line in lines]
        assert keys == sorted(keys), lines
    assert several
