"""The networks that find references: fitted to a tiny model, written and read back, and what ships."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

import pytest
import torch
from safetensors.torch import load, save

from tests.quick_fits import fit_quickly
from tokmem_desk.backbone.backbone import Backbone
from tokmem_desk.background.referring import Mark, Said, _Language, material, referring_messages
from tokmem_desk.errors import BadInputError
from tokmem_desk.memory.file import read_metadata
from tokmem_desk.references.dossier import Dossier
from tokmem_desk.references.finder import ReferenceFinder, shipped_reference_finder
from tokmem_desk.references.fitting import fit_reference_finder
from tokmem_desk.references.networks import KINDS
from tokmem_desk.references.resolve import resolve


@pytest.fixture
def finder(tiny_backbone: Callable[..., Backbone], monkeypatch: pytest.MonkeyPatch) -> ReferenceFinder:
    fit_quickly(monkeypatch.setattr)
    *shares, made = list(fit_reference_finder(tiny_backbone("llama"), count=30))
    assert shares == sorted(shares) and isinstance(made, ReferenceFinder)
    return made


def test_examples_are_the_same_each_time_and_say_where_their_meaning_stands() -> None:
    examples = referring_messages(400, seed=3)
    assert examples == referring_messages(400, seed=3) != referring_messages(400, seed=4)
    kinds = {mark.kind for example in examples for mark in example.marks}
    assert kinds == {"value", "same", "new", "counted", "last"}
    assert sum(not example.marks for example in examples) > 20
    for example in examples:
        assert len(example.marks) == len(example.meant) and len(example.values) == len(example.said)
        told = "\n".join(f"{said.message}\n{said.answer}" for said in example.said)
        for mark, meant in zip(example.marks, example.meant, strict=True):
            assert example.message[mark.start : mark.end].strip()
            assert all(text in told for text in meant)
            assert (mark.of in KINDS) == (mark.kind in ("value", "new"))


def test_values_are_put_together_in_many_ways() -> None:
    for name, data in material().items():
        language = _Language(data, random.Random(1))
        for rule in data["grammar"]:
            assert all(re.fullmatch(r"[^{}]+", language.made(rule)) for _ in range(30)), (name, rule)
        assert set(data["grammar"]) >= set(data["values"]), "each kind has rules"
    values = {value.text for one in referring_messages(600) for values in one.values for value in values}
    assert len(values) > 700


def test_a_file_gives_the_same_networks(tiny_backbone: Callable[..., Backbone], finder: ReferenceFinder) -> None:
    backbone = tiny_backbone("llama")
    again = ReferenceFinder.from_bytes(finder.to_bytes(), backbone)
    said, message = [Said("pack the red vase", "ok")], "send it to Anna"
    assert again.marks(backbone, message) == finder.marks(backbone, message)
    dossier, mark = Dossier.of(said, message), Mark(5, 7, "new")
    assert again.candidates(backbone, dossier, [mark]) == finder.candidates(backbone, dossier, [mark])
    assert resolve(backbone, finder, [], message) is None


def test_files_that_do_not_fit_are_refused(tiny_backbone: Callable[..., Backbone], finder: ReferenceFinder) -> None:
    backbone, data = tiny_backbone("llama"), finder.to_bytes()
    metadata = read_metadata(data)
    for changed in ({"fingerprint": "0" * 64}, {"recipe": "another"}):
        with pytest.raises(BadInputError, match="another model or version"):
            ReferenceFinder.from_bytes(save(load(data), metadata | changed), backbone)
    spoiled = {name: torch.full_like(tensor, float("nan")) for name, tensor in load(data).items()}
    with pytest.raises(BadInputError, match="not finite"):
        ReferenceFinder.from_bytes(save(spoiled, metadata), backbone)
    with pytest.raises(BadInputError, match="damaged"):
        ReferenceFinder.from_bytes(data[: len(data) // 2], backbone)


def test_what_ships_is_for_the_default_model_alone(tiny_backbone: Callable[..., Backbone]) -> None:
    assert shipped_reference_finder(tiny_backbone("llama")) is None


@pytest.mark.real_model
def test_what_ships_resolves_references(real_backbone: Backbone) -> None:
    """Texts of no other test, and of none that it was fitted to."""
    finder = shipped_reference_finder(real_backbone)
    assert finder is not None
    table = Said("Book a table for three at Chez Nous on Tuesday", "Chez Nous | Tue | 3")
    read = resolve(real_backbone, finder, [table], "the same for Sunday")
    assert read is not None and read.message == "Book a table for three at Chez Nous on Sunday"
    listed = Said("what is on my list?", "- candles\n- a new mop\n- honey")
    read = resolve(real_backbone, finder, [table, listed], "order the second one")
    assert read is not None and read.message == "order a new mop"
    assert resolve(real_backbone, finder, [table], "how do magnets work") is None
