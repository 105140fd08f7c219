"""Choosers: which value of a closed set a message means, learned from the pairs and weighed beside the model."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
import torch
from torch import Tensor

from tokmem_desk.generation.choosing import chances, leaning_of, message_features
from tokmem_desk.generation.constrained import FormConstraint, vocabulary_of
from tokmem_desk.templates.slot_chooser import POWER, SlotChooser
from tokmem_desk.templates.template import AnswerTemplate, Part
from trainer.slot_choosers import closed_sets, learn_choosers

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokmem_desk.backbone.backbone import Backbone

SIZE = 10
KINDS = ("fun", "fuel", "food")
FORM = AnswerTemplate(
    (
        Part("free"),
        Part("text", (";",)),
        Part("choice", KINDS),
        Part("text", (" ",)),
        Part("choice", ("card", "cash")),
    )
)


def plain_backbone() -> Backbone:
    return cast("Backbone", SimpleNamespace(token_space=SimpleNamespace(digest="here")))


def states(kind: str, seed: int, *, telling: bool = True) -> Tensor:
    """[t x k] random states; telling ones say in one direction each which kind is meant."""
    found = torch.randn(6, SIZE, generator=torch.Generator().manual_seed(seed))
    if telling:
        found[:, KINDS.index(kind)] += 2.0
    return found


def learned(count: int = 24, *, telling: bool = True, form: AnswerTemplate = FORM) -> AnswerTemplate:
    rng = random.Random(0)
    kinds = [KINDS[number % 3] for number in range(count)]
    pairs = [(f"message {n}", f"thing {n};{kind} {rng.choice(('card', 'cash'))}") for n, kind in enumerate(kinds)]
    tokens = [states(kind, n, telling=telling) for n, kind in enumerate(kinds)]
    *shares, found = learn_choosers(plain_backbone(), form, pairs, tokens)
    assert all(isinstance(share, float) for share in shares) and isinstance(found, AnswerTemplate)
    return found


def test_what_states_say_is_learned_and_what_they_do_not_is_left_out() -> None:
    form = learned()
    [chooser] = form.choosers  # nothing says how it was paid
    assert chooser.place == 2 and chooser.values == tuple(sorted(KINDS))
    right = 0
    for number in range(100, 130):
        kind = KINDS[number % 3]
        found = chances(chooser, message_features(states(kind, number)))
        assert found is not None and sum(found) == pytest.approx(1)
        right += chooser.values[found.index(max(found))] == kind
    assert right >= 27
    assert learned(telling=False).choosers == () and learned(6).choosers == ()


def test_only_closed_sets_outside_of_lists_are_chosen() -> None:
    assert closed_sets(FORM) == [2, 4]
    assert closed_sets(AnswerTemplate(FORM.parts, repeated=True)) == []
    cued = Part("computed", KINDS, ('by cue {"fun": ["concert"]}',))
    assert closed_sets(AnswerTemplate((cued, Part("computed", (), ("month of first date",)), Part("free")))) == [0]


def test_a_form_with_choosers_comes_back_from_its_file() -> None:
    form = learned()
    assert AnswerTemplate.from_dict(json.loads(json.dumps(form.as_dict()))) == form
    assert "choosers" not in FORM.as_dict()


@pytest.mark.parametrize(
    "change",
    [
        {"weights": "%"},
        {"scale": float("inf")},
        {"values": ["fun"]},
        {"values": ["fun", "fun", "food"]},
        {"values": ["fun", 3, "food"]},
        {"priors": [0.0, 0.5, 0.5]},
        {"place": -1},
        {"place": "x"},
    ],
)
def test_a_damaged_chooser_is_refused(change: dict[str, Any]) -> None:
    data = learned().as_dict()
    data["choosers"][0] |= change
    with pytest.raises(ValueError):
        AnswerTemplate.from_dict(data)


def test_a_chooser_of_another_space_size_or_form_says_nothing() -> None:
    form, seen = learned(), states("fun", 1)
    assert leaning_of(plain_backbone(), form, "m", seen) is not None
    assert leaning_of(plain_backbone(), form, "m", None) is None
    assert leaning_of(plain_backbone(), form, "m", seen[:, :5]) is None
    assert leaning_of(plain_backbone(), AnswerTemplate(form.parts[:1], choosers=form.choosers), "m", seen) is None
    other = plain_backbone()
    cast("Any", other).token_space.digest = "elsewhere"
    assert leaning_of(other, form, "m", seen) is None


def test_the_odds_of_a_value_are_multiplied_however_it_is_written_in_tokens(
    tiny_backbone: Callable[..., Backbone],
) -> None:
    """The log probabilities of whole values move by what the chooser says over what is usual, and by nothing else."""
    backbone = tiny_backbone()
    certain = {"fun": 0.1, "fuel": 0.7, "food": 0.2}
    usual = {"fun": 0.5, "fuel": 0.25, "food": 0.25}
    leaning = leaning_of(
        cast("Backbone", SimpleNamespace(token_space=SimpleNamespace(digest="here"))),
        AnswerTemplate(FORM.parts, choosers=(told(certain, usual),)),
        "m",
        torch.zeros(1, 1),
    )
    assert leaning is not None
    vocabulary = vocabulary_of(backbone)

    def moved(text: str) -> float:
        held = FormConstraint(vocabulary, FORM, "m", leaning)
        total = 0.0
        for token in backbone.format.encode_text(text):
            total += float(held.mask(torch.zeros(backbone.vocabulary_size))[token])
            held.take(token, ahead=False)
        return total

    for kind, chance in certain.items():
        assert moved(f"a b;{kind} cash") == pytest.approx(POWER * math.log(chance / usual[kind]), abs=1e-4)


def told(certain: dict[str, float], usual: dict[str, float]) -> SlotChooser:
    """A chooser that says the same of every message: constants alone, as near as a byte comes."""
    values = tuple(certain)
    logs = torch.tensor([certain[value] for value in values]).log()
    scale = float(logs.abs().max()) / 127
    numbers = torch.zeros(len(values), 4, dtype=torch.int8)
    numbers[:, -1] = (logs / scale).round().to(torch.int8)
    chooser = SlotChooser(2, values, tuple(usual.values()), numbers.numpy().tobytes(), scale, "here")
    found = chances(chooser, message_features(torch.zeros(1, 1)))
    assert found is not None
    certain |= dict(zip(values, found, strict=True))
    return chooser


def test_a_token_that_holds_the_text_in_front_of_a_value_counts() -> None:
    """Many vocabularies have the blank in front of a word in the word's own token."""
    form = AnswerTemplate((Part("run", ("[0-9]",)), Part("text", (" | ",)), Part("choice", ("red", "run"))))
    certain, usual = {"red": 0.8, "run": 0.2}, {"red": 0.5, "run": 0.5}
    chooser = replace(told(certain, usual), place=2)
    leaning = leaning_of(plain_backbone(), replace(form, choosers=(chooser,)), "m", torch.zeros(1, 1))
    assert leaning is not None
    pieces = ["7", " |", " r", " re", " ru", "n", "d", "x"]

    def moves(text: str) -> dict[str, float]:
        found = leaning.applied(torch.zeros(len(pieces)), text, lambda ids: "".join(pieces[i] for i in ids))
        return {piece: float(one) for piece, one in zip(pieces, found, strict=True) if abs(one) > 1e-4}

    red, run = (POWER * math.log(certain[value] / usual[value]) for value in ("red", "run"))
    assert moves("") == moves("7x") == {}
    assert moves("7 |") == pytest.approx({" re": red, " ru": run}, abs=1e-4)
    assert moves("7 | run") == {}


def test_how_much_a_chooser_counts_stands_in_its_file_where_it_is_not_what_is_usual() -> None:
    chooser = told({"red": 0.8, "run": 0.2}, {"red": 0.5, "run": 0.5})
    assert "power" not in chooser.as_dict()
    other = replace(chooser, power=1.0)
    assert SlotChooser.from_dict(other.as_dict()) == other and SlotChooser.from_dict(chooser.as_dict()) == chooser
    form = AnswerTemplate((Part("text", ("7 | ",)), Part("choice", ("red", "run"))))
    moved = []
    for one in (other, chooser):
        placed = replace(one, place=1)
        leaning = leaning_of(plain_backbone(), replace(form, choosers=(placed,)), "m", torch.zeros(1, 1))
        assert leaning is not None
        moved.append(leaning.applied(torch.zeros(2), "7 | ", lambda ids: "".join(["red", "run"][i] for i in ids)))
    torch.testing.assert_close(2 * moved[0], moved[1])
    with pytest.raises(ValueError, match="power"):
        SlotChooser.from_dict(chooser.as_dict() | {"power": -1})
