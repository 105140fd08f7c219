"""A fit that was killed goes on with what it had computed, and never with anything else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load
from torch import Tensor

from tests import quick_fits
from tokmem_desk.backbone.backbone import Backbone
from tokmem_desk.routing.features import fit_basis
from tokmem_desk.routing.fit_parts import FitParts
from tokmem_desk.routing.segment_tagger import fit_segment_tagger


def computing(seen: list[int], number: int) -> Callable[[], list[Tensor]]:
    """Two tensors of that part; notes that they were computed."""

    def compute() -> list[Tensor]:
        seen.append(number)
        return [torch.full((2, 3), float(number)), torch.arange(4).to(torch.bfloat16) + number]

    return compute


def test_a_part_is_computed_once(tmp_path: Path) -> None:
    seen: list[int] = []
    for number in (0, 1, 0, 1):
        first, second = FitParts(tmp_path / "parts", "a").of(number, computing(seen, number))
        assert torch.equal(first, torch.full((2, 3), float(number))) and second.dtype is torch.bfloat16
    assert seen == [0, 1]
    FitParts(tmp_path / "parts", "a").drop()
    assert not (tmp_path / "parts").exists()


def test_parts_of_something_else_or_damaged_are_computed_anew(tmp_path: Path) -> None:
    seen: list[int] = []
    FitParts(tmp_path, "a").of(3, computing(seen, 3))
    FitParts(tmp_path, "b").of(3, computing(seen, 3))
    assert seen == [3, 3]
    file = tmp_path / "3.safetensors"
    whole = file.read_bytes()
    turned = bytearray(whole)
    turned[-1] ^= 1
    for damaged in (b"", whole[:40], whole[:-1], bytes(turned)):
        file.write_bytes(damaged)
        seen.clear()
        [first, _] = FitParts(tmp_path, "b").of(3, computing(seen, 3))
        assert seen == [3] and torch.equal(first, torch.full((2, 3), 3.0))


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path: Path) -> None:
    (tmp_path / "parts").write_text("a file, not a folder")
    seen: list[int] = []
    for _ in range(2):
        FitParts(tmp_path / "parts", "a").of(0, computing(seen, 0))
    FitParts(None, "a").of(0, computing(seen, 0))
    assert seen == [0, 0, 0]


def taken(steps: Iterator[Any]) -> Any:
    """The result of a fit."""
    *_, made = steps
    return made


@pytest.mark.parametrize("fit", [fit_basis, fit_segment_tagger])
def test_a_killed_fit_goes_on(
    fit: Callable[..., Iterator[Any]],
    tiny_backbone: Callable[..., Backbone],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    quick_fits.fit_quickly(monkeypatch.setattr)
    backbone = tiny_backbone("llama")
    ran: list[int] = []
    prefill = backbone.prefill

    def counted(queries: list[list[int]], **options: Any) -> Any:
        ran.append(len(queries))
        assert (backbone.token_weights is None) == (fit is fit_segment_tagger)
        return prefill(queries, **options)

    monkeypatch.setattr(backbone, "prefill", counted)
    expected = taken(fit(backbone))
    whole, ran[:] = list(ran), []
    steps = fit(backbone, folder=tmp_path / "parts")
    next(steps)  # and then it is killed
    assert backbone.token_weights is None, "between two parts others run the model"
    del steps
    assert [file.name for file in (tmp_path / "parts").iterdir()] == ["0.safetensors"]
    made = taken(fit(backbone, folder=tmp_path / "parts"))
    assert ran == whole, "each part once"
    assert not (tmp_path / "parts").exists()
    mine, own = load(made.to_bytes()), load(expected.to_bytes())
    assert mine.keys() == own.keys() and all(torch.equal(mine[name], own[name]) for name in own)
