"""Choosers of lines: which of the lines that a message offers an answer has, learned from the pairs."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
import torch
from torch import Tensor

from tokmem_desk.generation.constrained import held_to
from tokmem_desk.generation.listing import choose_rows, listed
from tokmem_desk.procedures import ExamplePair
from tokmem_desk.templates.induction import induce_form
from tokmem_desk.templates.rows import Row
from tokmem_desk.templates.template import AnswerTemplate
from tokmem_desk.templates.tokens import TOKEN
from trainer.slot_rows import learn_rows

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

SIZE = 12
AMOUNTS = ("200 g", "3", "2 cans", "1 kg", "12", "50 ml", "half a")
THINGS = ("flour", "milk", "rice", "nuts", "cheese", "bread", "beans", "olives", "leeks", "lemons", "pears", "plums")


def made_pairs(count: int, order: str = "text", seed: int = 0) -> list[ExamplePair]:
    """Things with amounts, some of which are at home already and in no answer."""
    rng = random.Random(seed)
    pairs = []
    for _ in range(count):
        things = [(thing, rng.choice(AMOUNTS), rng.random() < 0.6) for thing in rng.sample(THINGS, 6)]
        things[0] = (*things[0][:2], True)
        message = ", ".join(f"{amount} {thing}" for thing, amount, _ in things)
        lines = [f"- {thing}: {amount}" for thing, amount, wanted in things if wanted]
        if order != "message":
            rng.shuffle(lines)
        pairs.append(ExamplePair(message, "\n".join(sorted(lines) if order == "text" else lines)))
    return pairs


def plain_backbone() -> Backbone:
    """Just what choosers of lines ask of one: a token for each word or sign, and a token space with a digest."""
    places = SimpleNamespace(places=lambda message: [match.span() for match in TOKEN.finditer(message)])
    return cast("Backbone", SimpleNamespace(token_space=SimpleNamespace(digest="here"), format=places))


def states(pair: ExamplePair, *, telling: bool = True) -> Tensor:
    """[t x k] random states; telling ones say whether a token is a thing, a wanted one, or where an amount begins."""
    tokens = [match[0] for match in TOKEN.finditer(pair.input)]
    found = torch.randn(len(tokens), SIZE, generator=torch.Generator().manual_seed(len(pair.input)))
    if telling:
        found *= 0.1
        found[:, 0] = torch.tensor([4.0 if f"- {token}:" in pair.response else -4.0 for token in tokens])
        found[:, 1] = torch.tensor([4.0 if token in THINGS else -4.0 for token in tokens])
        found[:, 2] = torch.tensor([4.0 if token.isdecimal() or token == "half" else -4.0 for token in tokens])
    return found


def learned(order: str = "text", *, telling: bool = True) -> AnswerTemplate:
    pairs = made_pairs(30, order)
    form = induce_form(pairs)
    assert form is not None and form.repeated and any(part.rows for part in form.parts)
    *shares, found = learn_rows(
        plain_backbone(),
        form,
        [(pair.input, pair.response) for pair in pairs],
        [states(pair, telling=telling) for pair in pairs],
    )
    assert all(isinstance(share, float) for share in shares)
    assert isinstance(found, AnswerTemplate)
    return found


def said_by_chance(backbone: Backbone, form: AnswerTemplate, message: str, seed: int) -> str:
    """An answer of tokens that are drawn among those that are allowed."""
    rng, constraint, ids = random.Random(seed), held_to(form, backbone, message), list[int]()
    assert constraint is not None
    while len(ids) < 300 and not constraint.complete:
        allowed = constraint.allowed()
        assert allowed is not None, "the form can always be followed"
        token = rng.choice(allowed.nonzero()[:, 0].tolist())
        if token in backbone.format.stop_ids:
            break
        ids += [token, *constraint.take(token)]
    return backbone.format.decode(ids)


@pytest.mark.parametrize("order", ["text", "message"])
def test_lines_that_are_certain_come_whatever_tokens_are_chosen(
    tiny_backbone: Callable[..., Backbone], order: str
) -> None:
    form, backbone = learned(order), tiny_backbone("llama")
    assert form.row_chooser is not None
    right = 0
    pairs = made_pairs(8, order, seed=1)
    for seed, pair in enumerate(pairs):
        narrow = listed(plain_backbone(), form, pair.input, states(pair))
        right += said_by_chance(backbone, narrow, pair.input, seed) == pair.response
    assert right >= len(pairs) - 1, "a left-out line may be told wrong now and then"
    wrong = [said_by_chance(backbone, form, pair.input, seed) != pair.response for seed, pair in enumerate(pairs)]
    assert sum(wrong) >= len(pairs) // 2, "without states of the message any lines may come"


def test_without_an_order_no_line_is_certain_and_unlikely_ones_cannot_come() -> None:
    form = learned("")
    assert form.row_chooser is not None
    (pair,) = made_pairs(1, "", seed=1)
    narrow = listed(plain_backbone(), form, pair.input, states(pair))
    (choice,) = [part.chosen for part in narrow.parts if part.chosen is not None]
    lines = {line.removeprefix("- ") for line in pair.response.split("\n")}
    assert choice.may == lines and not choice.must


def test_a_doubtful_line_is_left_to_the_model() -> None:
    rows = [Row("a: 1", (0, 2), (2, 2)), Row("b: 2", (4, 6), (6, 6)), Row("c: 3", (8, 10), (10, 10))]
    choice = choose_rows(rows, [0.97, 0.5, 0.02], 0.1, ordered=True)
    assert (choice.must, choice.may) == ({"a: 1"}, {"a: 1", "b: 2"})
    beside = [rows[0], Row("b a: 1", (0, 2, 4), (2, 4))]
    choice = choose_rows(beside, [0.92, 0.95], 0.1, ordered=True)
    assert choice.must == choice.may == {"b a: 1"}, "words of a line that is certain are in no other"


def test_states_that_say_nothing_choose_nothing() -> None:
    assert learned(telling=False).row_chooser is None


def test_what_is_of_another_token_space_or_size_is_left_out() -> None:
    form, (pair,) = learned(), made_pairs(1, seed=1)
    other = plain_backbone()
    cast("Any", other).token_space.digest = "elsewhere"
    assert listed(other, form, pair.input, states(pair)) is form
    assert listed(plain_backbone(), form, pair.input, states(pair)[:, :5]) is form
    assert listed(plain_backbone(), form, pair.input, states(pair)[:-1]) is form
    assert listed(plain_backbone(), form, pair.input, None) is form


def test_a_form_with_it_comes_back_from_its_file() -> None:
    form = learned()
    assert AnswerTemplate.from_dict(json.loads(json.dumps(form.as_dict()))) == form


@pytest.mark.parametrize(
    "change",
    [
        {"weights": "%"},
        {"weights": "A" * 200_000},
        {"scale": float("nan")},
        {"doubt": 0.7},
        {"place": -1},
        {"place": 90},
        {"space": None},
    ],
)
def test_a_damaged_one_is_refused_or_chooses_nothing(change: dict[str, Any]) -> None:
    data, (pair,) = learned().as_dict(), made_pairs(1, seed=1)
    data["row_chooser"] |= change
    try:
        form = AnswerTemplate.from_dict(data)
    except ValueError:
        return
    assert listed(plain_backbone(), form, pair.input, states(pair)).accepts(pair.input, pair.response)
