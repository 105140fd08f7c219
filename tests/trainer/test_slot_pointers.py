"""Pointers: which words of a message a value of the form is, learned from the pairs."""

from __future__ import annotations

import json
import random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
import torch
from torch import Tensor

from tokmem_desk.generation.constrained import constraint_of
from tokmem_desk.generation.pointing import pointed
from tokmem_desk.memory.memory import Memory
from tokmem_desk.memory.steering import Steering
from tokmem_desk.procedures import ExamplePair
from tokmem_desk.routing.segment_tagger import shipped_segment_tagger
from tokmem_desk.templates.induction import induce_form
from tokmem_desk.templates.template import TEMPLATE_SETTING, AnswerTemplate
from tokmem_desk.templates.tokens import TOKEN
from trainer.slot_pointers import learn_pointers

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

SIZE = 12
NAMES = ("Wrona", "Żak", "Łukasik", "Nowak", "Stępień", "Zięba", "Kos", "Lis", "Bąk", "Sowa", "Mazur", "Kruk")
ROOMS = ("blue", "green", "north", "south", "attic", "cellar", "small", "large", "inner", "outer", "old", "new")


def made_pairs(count: int, seed: int = 0) -> list[ExamplePair]:
    rng = random.Random(seed)
    found = []
    for _ in range(count):
        name, room = rng.choice(NAMES), rng.choice(ROOMS)
        message = rng.choice((f"{name} takes the {room} room", f"the {room} room for {name} please"))
        found.append(ExamplePair(message, f"{name.upper()} in {room}"))
    return found


def plain_backbone() -> Backbone:
    """Just what pointers ask of one: a token for each word or sign, and a token space with a digest."""
    places = SimpleNamespace(places=lambda message: [match.span() for match in TOKEN.finditer(message)])
    return cast("Backbone", SimpleNamespace(token_space=SimpleNamespace(digest="here"), format=places))


def states(message: str, *, telling: bool = True) -> Tensor:
    """[t x k] random states; telling ones say in one place whether a token is a name, in another whether a room."""
    tokens = [match[0] for match in TOKEN.finditer(message)]
    found = torch.randn(len(tokens), SIZE, generator=torch.Generator().manual_seed(len(message)))
    if telling:
        found[:, 0] = torch.tensor([3.0 * (token in NAMES) for token in tokens])
        found[:, 1] = torch.tensor([3.0 * (token in ROOMS) for token in tokens])
    return found


def learned(pairs: list[ExamplePair], *, telling: bool = True) -> AnswerTemplate:
    form = induce_form(pairs)
    assert form is not None
    steps = list(
        learn_pointers(
            plain_backbone(),
            form,
            [(pair.input, pair.response) for pair in pairs],
            [states(pair.input, telling=telling) for pair in pairs],
        )
    )
    shares = [step for step in steps[:-1] if isinstance(step, float)]
    assert shares == sorted(shares) and len(shares) == len(steps) - 1
    assert isinstance(steps[-1], AnswerTemplate)
    return steps[-1]


def test_values_of_new_messages_are_pointed_at() -> None:
    form = learned(made_pairs(24))
    assert len(form.pointers) == 2
    for pair in made_pairs(20, seed=1):
        narrow = pointed(plain_backbone(), form, pair.input, states(pair.input))
        assert narrow.accepts(pair.input, pair.response)
        assert not narrow.accepts(pair.input, "THE in room")
        assert form.accepts(pair.input, "THE in room"), "without states of the message nothing is pointed at"


def test_states_that_say_nothing_point_at_nothing() -> None:
    assert learned(made_pairs(24), telling=False).pointers == ()


def test_pointers_of_another_token_space_or_size_are_left_out() -> None:
    form = learned(made_pairs(24))
    message = "Kos takes the old room"
    other = plain_backbone()
    cast("Any", other).token_space.digest = "elsewhere"
    assert pointed(other, form, message, states(message)).parts == form.parts
    assert pointed(plain_backbone(), form, message, states(message)[:, :5]).parts == form.parts
    assert pointed(plain_backbone(), form, message, states(message)[:-1]).parts == form.parts
    assert pointed(plain_backbone(), form, message, None) is form


def test_a_form_with_pointers_comes_back_from_its_file() -> None:
    form = learned(made_pairs(24))
    assert AnswerTemplate.from_dict(json.loads(json.dumps(form.as_dict()))) == form


@pytest.mark.parametrize(
    "change",
    [
        {"weights": "%"},
        {"weights": "A" * 200_000},
        {"scale": float("nan")},
        {"paths": [["a"]]},
        {"paths": 3},
        {"space": None},
    ],
)
def test_a_damaged_pointer_is_refused_or_points_at_nothing(change: dict[str, Any]) -> None:
    data = learned(made_pairs(24)).as_dict()
    data["pointers"][0] |= change
    message = "Kos takes the old room"
    try:
        form = AnswerTemplate.from_dict(data)
    except ValueError:
        return
    assert pointed(plain_backbone(), form, message, states(message)).accepts(message, "KOS in old")


@pytest.mark.real_model
def test_the_default_model_points_at_values_it_was_not_taught(real_backbone: Backbone) -> None:
    tagger = shipped_segment_tagger(real_backbone)
    assert tagger is not None
    before, real_backbone.token_space = real_backbone.token_space, tagger.space
    try:
        pairs = made_pairs(24)
        form = induce_form(pairs)
        assert form is not None
        tokens = real_backbone.prefill(
            [real_backbone.format.query(pair.input) for pair in pairs], keep_states=False, token_space=tagger.space
        ).tokens
        *_, found = learn_pointers(real_backbone, form, [(pair.input, pair.response) for pair in pairs], tokens)
        assert isinstance(found, AnswerTemplate) and len(found.pointers) == 2
        message = "Iwona takes the yellow room"
        seen = real_backbone.prefill([real_backbone.format.query(message)], token_space=tagger.space).tokens[0]
        memory = Memory(
            "m", Steering.of(torch.zeros(1, 4)), torch.zeros(4), False, settings={TEMPLATE_SETTING: found.as_dict()}
        )
        assert pointed(real_backbone, found, message, seen).accepts(message, "IWONA in yellow")
        held = constraint_of(real_backbone, memory, None, message, tokens=seen)
        assert held is not None
        right, wrong = (real_backbone.format.encode_text(text) for text in ("IWONA", "TAKES"))
        allowed = held.allowed()
        assert allowed is not None and bool(allowed[right[0]]) and not bool(allowed[wrong[0]])
    finally:
        real_backbone.token_space = before
