"""What forms leave open: the right token always, what must stand there alone; and a loss among just that."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from torch.nn import functional as F

from tests.tokmem_desk.templates.test_template import expenses
from tokmem_desk.procedures import ExamplePair, Procedure
from trainer import objective
from trainer.choices import MOST_PAIRS, SharedForms
from trainer.config import PAPER, preset
from trainer.loop import Training
from trainer.objective import OPEN_SHARE
from trainer.samples import Sample, encode_procedures

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

EXPENSES = Procedure("expense", tuple(expenses(24)))
FREE = Procedure(
    "free", tuple(ExamplePair(f"say {i}", "".join(random.Random(i).choices("abcdefg hij,", k=30))) for i in range(24))
)


def samples_of(backbone: Backbone, procedure: Procedure) -> list[Sample]:
    train, held_out = encode_procedures(
        backbone, [procedure], preset("quick"), lambda _, pair: backbone.format.query(pair.input)
    )
    return train + held_out


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_the_right_token_is_always_open(tiny_backbone: Callable[..., Backbone], family: str) -> None:
    backbone = tiny_backbone(family)
    shared = SharedForms(backbone, [EXPENSES], wanted=True)
    alone = total = 0
    for sample in samples_of(backbone, EXPENSES):
        choices = shared.choices(sample)
        assert choices is not None and len(choices) == len(sample.response)
        for token, ids in zip(sample.response, choices, strict=True):
            assert ids is None or token in ids.tolist()
            alone += ids is not None and len(ids) == 1
            total += 1
        assert shared.choices(sample) is choices, "looked for once"
    assert alone > total / 8, "the year and the signs between values are never a choice"


def test_answers_that_are_not_held_to_a_form_are_learned_as_they_stand(tiny_backbone: Callable[..., Backbone]) -> None:
    backbone = tiny_backbone("llama")
    [sample, *_] = samples_of(backbone, EXPENSES)
    many = tuple(expenses(MOST_PAIRS + 1))
    for procedure in (
        replace(EXPENSES, output_schema='{"type": "object"}'),
        replace(EXPENSES, reads_conversation=True),
        replace(EXPENSES, pairs=many),
        replace(EXPENSES, pairs=EXPENSES.pairs[:4]),
    ):
        assert SharedForms(backbone, [procedure], wanted=True).choices(sample) is None
    assert SharedForms(backbone, [EXPENSES], wanted=False).choices(sample) is None


def test_a_pair_that_the_form_refuses_is_learned_from_there_on_as_it_stands(
    tiny_backbone: Callable[..., Backbone],
) -> None:
    backbone = tiny_backbone("llama")
    [sample, *_] = samples_of(backbone, EXPENSES)
    odd = replace(sample, response=backbone.format.response("2025-x"), text="2025-x")
    choices = SharedForms(backbone, [EXPENSES], wanted=True).choices(odd)
    assert choices is not None and choices[0] is not None and choices[-1] is None


def test_the_loss_is_among_what_is_open(tiny_backbone: Callable[..., Backbone]) -> None:
    backbone = tiny_backbone("llama")
    torch.manual_seed(0)
    hidden, targets = torch.randn(4, backbone.hidden_size), torch.tensor([5, 6, 7, 8])
    ids = [torch.tensor([5, 9, 11]), None, torch.tensor([7]), torch.tensor([3, 8])]
    with torch.no_grad():
        logits = backbone.logits(hidden).float()
        plain = F.cross_entropy(logits, targets, reduction="none")
        found = objective._cross_entropy(backbone, hidden, targets, None, ids)
    wanted = 0.0
    for row, open_ids in enumerate(ids):
        if open_ids is None:
            wanted += float(plain[row])
            continue
        among = float(logits[row, open_ids].logsumexp(0) - logits[row, targets[row]])
        wanted += (1 - OPEN_SHARE) * float(plain[row]) + OPEN_SHARE * among
    assert float(found.total) == pytest.approx(wanted, rel=1e-5)
    assert found.correct is not None and found.correct >= 1, "with one choice it is always right"


def test_only_where_it_is_wanted(tiny_backbone: Callable[..., Backbone], monkeypatch: pytest.MonkeyPatch) -> None:
    """The paper's setting, and procedures without a form, are trained as ever."""
    backbone = tiny_backbone("llama")
    seen: list[bool] = []
    plain = objective._cross_entropy

    def watch(*args: object) -> objective.ResponseLoss:
        choices = args[4]
        assert isinstance(choices, list)
        seen.append(any(ids is not None for ids in choices))
        return plain(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(objective, "_cross_entropy", watch)
    for procedure, config, wanted in (
        (EXPENSES, preset("quick"), True),
        (FREE, preset("quick"), False),
        (EXPENSES, PAPER, False),
    ):
        seen.clear()
        for _ in Training(backbone, [procedure], replace(config, max_steps=2)):
            pass
        assert set(seen) == {wanted}, procedure.name
