"""Every family gets the strongest form of memory that its layers allow, with the model's own numbers.

The variants are tiny, with random weights; see ``benchmarks.family_variants``. Families that differ in
nothing that matters here are left to ``python -m benchmarks.families``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import families
from benchmarks.family_variants import VARIANTS, Variant
from tokmem_desk.backbone import load_check
from tokmem_desk.backbone.backbone import Backbone, context_length
from tokmem_desk.backbone.rotation import Rotations
from tokmem_desk.backbone.traits import Traits, keep_traits, read_traits, traits_file
from tokmem_desk.errors import UnsupportedModelError
from tokmem_desk.system.device import DeviceChoice

CPU = DeviceChoice("cpu", "float32", "test")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Any:
    """Tiny matrices gain nothing from threads that wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_the_matrix_is_large_enough() -> None:
    assert len(VARIANTS) >= 40
    assert sum(variant.form == "layers" for variant in VARIANTS.values()) >= 40


@pytest.mark.parametrize("name", VARIANTS)
def test_a_family_at_its_full_strength(name: str) -> None:
    measured = families.measure(name, VARIANTS[name])
    assert not measured.error
    assert (measured.form, measured.reruns) == (VARIANTS[name].form, VARIANTS[name].reruns), measured.reason
    assert measured.whole is not None and measured.whole < families.RIGHT
    assert measured.gradient is not None and measured.gradient < families.RIGHT
    assert measured.batch is not None and measured.batch < families.RIGHT
    assert measured.text is None or measured.text < families.RIGHT
    assert measured.loss is not None and measured.loss[1] < measured.loss[0]
    assert measured.right
    if VARIANTS[name].form == "layers" and not measured.carries_state:
        assert measured.text is not None and not measured.reason


def test_layers_that_turn_otherwise_have_groups_of_their_own() -> None:
    backbone = families.load("smollm3", VARIANTS["smollm3"])
    assert [(group.layers, group.rotation is None) for group in backbone.layout.groups] == [
        ((0, 1, 2), False),
        ((3,), True),
    ]


def test_long_rope_ends_at_its_first_length() -> None:
    backbone = families.load("phi-4-mini", VARIANTS["phi-4-mini"])
    assert backbone.config.max_position_embeddings == 256
    assert backbone.context_length == context_length(backbone.config) == 128


def test_a_dropped_state_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What once was a silent error: the states of recurrent layers lost where a cache is cut."""
    monkeypatch.setattr("tokmem_desk.backbone.kv_state.write_states", lambda layers, samples: None)
    backbone = families.load("falcon-h1", VARIANTS["falcon-h1"])
    assert backbone.layout.recurrent and "away from the whole" in backbone.traits.reason


def test_a_rotation_of_no_known_kind_leaves_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers.models.llama import modeling_llama

    true_rotation = modeling_llama.apply_rotary_pos_emb

    def odd(q: torch.Tensor, k: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, **options: Any) -> Any:
        return true_rotation(q.flip(-1), k.flip(-1), cos, (2 * sin).sin(), **options)

    monkeypatch.setattr(modeling_llama, "apply_rotary_pos_emb", odd)
    backbone = families.load("llama", VARIANTS["llama"])
    assert not backbone.rotates_keys and not backbone.layout.recurrent
    assert backbone.traits.reason == "how the keys of layer 1 turn with their position is not known"
    assert backbone.traits.strength.startswith("rows alone: how the keys")


def test_a_model_that_no_way_of_running_suits_is_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: Any, **__: Any) -> Any:
        raise KeyError("an index of another library's")

    monkeypatch.setattr(Backbone, "run_ids", refuses)
    with pytest.raises(UnsupportedModelError, match=r"llama has layers \(llama\) .* a plain pass .*KeyError") as caught:
        families.load("llama", VARIANTS["llama"])
    assert "model list" in caught.value.next_step


def test_a_head_of_another_kind_is_refused() -> None:
    variant = Variant("LlamaConfig")

    class Doubled(torch.nn.Module):
        def __init__(self, head: Any) -> None:
            super().__init__()
            self.head, self.weight = head, head.weight

        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            return 2 * self.head(hidden[:, -1:].expand_as(hidden)) if hidden.dim() == 3 else self.head(hidden)

    from benchmarks.family_variants import build

    tokenizer = families.TOKENIZER.get()
    model = build(variant, len(tokenizer))
    model.lm_head = Doubled(model.lm_head)
    with pytest.raises(UnsupportedModelError, match="output head works in a way this version does not know"):
        Backbone(model, tokenizer, CPU, "odd")


def test_what_was_found_is_kept_and_holds_for_the_same_model_alone(tmp_path: Path) -> None:
    backbone = families.load("cohere2", VARIANTS["cohere2"])
    folder = tmp_path / "model"
    folder.mkdir()
    keep_traits(folder, "one", backbone.traits)
    assert not any(folder.iterdir()) and read_traits(folder) is None, "no folder of converted models"
    traits_file(folder).parent.mkdir()
    keep_traits(folder, "one", backbone.traits)
    assert read_traits(folder, "two") is None, "another model's, or another library's"
    known = read_traits(folder, "one")
    assert known is not None and known == read_traits(folder)
    again = Backbone(backbone.model, backbone.tokenizer, CPU, "again", traits=known)
    assert [(g.layers, g.window, g.rotation) for g in again.layout.groups] == [
        (g.layers, g.window, g.rotation) for g in backbone.layout.groups
    ]
    rebuilt = Rotations.from_json(again.decoder, known.rotations).to_json()
    assert json.loads(json.dumps(rebuilt)) == known.rotations
    whole = traits_file(folder).read_text()
    for damaged in ("", "[]", '{"key": "one"}', whole.replace('"neighbours"', '"halves"'), whole[:-9]):
        traits_file(folder).write_text(damaged)
        assert read_traits(folder, "one") is None


def test_what_was_found_spares_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = families.load("mamba", VARIANTS["mamba"])
    monkeypatch.setattr(load_check, "check_head", lambda *_: pytest.fail("it was checked again"))
    again = Backbone(backbone.model, backbone.tokenizer, CPU, "again", traits=backbone.traits)
    assert again.layout.recurrent and again.steps_with_cache == backbone.steps_with_cache and again.key_shapes == ()


def test_padding_that_recurrent_layers_have_read_ends_a_batch() -> None:
    backbone = families.load("lfm2", VARIANTS["lfm2"])
    states = backbone.prefill([backbone.format.query("one"), backbone.format.query("and another")]).states
    batch = backbone.layout.join(states, [None, None])
    inputs = backbone.embed_ids(torch.tensor([[5, 6], [7, 3]]))
    backbone.extend(batch, inputs, torch.tensor([[1, 1], [1, 0]]))
    with pytest.raises(ValueError, match="nothing can follow"):
        backbone.extend(batch, inputs)


@pytest.mark.parametrize(
    ("traits", "text"),
    [
        (Traits("layers"), "keys and values in every layer, and a row"),
        (Traits("layers", carries_state=True), "keys, values and a row; recurrent layers keep their state"),
        (Traits("rows", reason="why"), "rows alone: why"),
        (
            Traits("rows", reruns=True, reason="why"),
            "rows alone, each message run from its beginning at every step: why",
        ),
    ],
)
def test_the_form_is_said_in_words(traits: Traits, text: str) -> None:
    assert traits.strength == text
