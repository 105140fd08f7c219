"""The folder that vLLM serves, and what memories do to a message there: to the last bit what they do here."""

from __future__ import annotations

import json

import pytest
import torch

from tests.tokmem_vllm import small_model
from tokmem_desk.errors import BadInputError, IncompatibleError, UnsupportedModelError
from tokmem_desk.memory.input_rows import initial_rows
from tokmem_desk.memory.kv_adapter import KVAdapter, initial_kv_adapter
from tokmem_desk.memory.kv_positions import initial_keys_values
from tokmem_desk.memory.memory import Memory
from tokmem_desk.memory.steering import Steering
from tokmem_vllm.model_facts import ANGLES, FACTS, ModelFacts
from tokmem_vllm.plain_model import facts_of, write_plain_model
from tokmem_vllm.prompts import answering_prompt
from tokmem_vllm.steered import Reading, computed_tokens, steered


def _memory(backbone, *, rank: int = 4) -> Memory:
    ids = backbone.format.encode_text("one two three four five six seven " * 4)
    free = initial_keys_values(backbone, 7, ids)
    noise = torch.Generator().manual_seed(1)
    start = initial_kv_adapter(backbone.key_shapes, 4, 0).tensors()
    adapter = KVAdapter.of([tensor + 0.3 * torch.randn(tensor.shape, generator=noise) for tensor in start])
    steering = Steering.of(initial_rows(backbone, 1, seed=0), free.keys, free.values, adapter if rank else None)
    return Memory("own", steering, torch.ones(backbone.hidden_size), False)


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
def test_a_message_is_edited_and_extended_as_here(tiny_backbone, family) -> None:
    backbone = tiny_backbone(family)
    facts = ModelFacts(*facts_of(backbone), backbone.dtype)
    memory = _memory(backbone)
    state = backbone.prefill([backbone.format.query("What is on the table today?")]).states[0]
    here = backbone.layout.join(
        [memory.steering.edit_query(backbone, state)], [memory.steering.keys_values(backbone, state.length)]
    )
    there = steered(facts, Reading(state.keys, state.values), memory)
    assert there.length == state.length + 7 == computed_tokens(state.length, memory)
    for group, keys, values in zip(facts.groups, there.keys, there.values, strict=True):
        for place, layer in enumerate(group.layers):
            assert torch.equal(keys[place][None], here.cache.layers[layer].keys)
            assert torch.equal(values[place][None], here.cache.layers[layer].values)
    assert not torch.equal(there.keys[0][..., : state.length, :], state.keys[0])


def test_without_an_adapter_the_message_stays(tiny_backbone) -> None:
    backbone = tiny_backbone("llama")
    facts = ModelFacts(*facts_of(backbone), backbone.dtype)
    state = backbone.prefill([backbone.format.query("hello")]).states[0]
    there = steered(facts, Reading(state.keys, state.values), _memory(backbone, rank=0))
    assert torch.equal(there.keys[0][..., : state.length, :], state.keys[0])


def test_the_prompt_ends_in_what_the_model_reads_of_the_rows(tiny_backbone) -> None:
    backbone = tiny_backbone("llama")
    facts = ModelFacts(*facts_of(backbone), backbone.dtype)
    memory = _memory(backbone)
    prompt = answering_prompt(facts, [1, 2, 3], memory)
    assert prompt.shape == (3 + 7 + 1, backbone.hidden_size)
    assert torch.equal(prompt[-1:], backbone.embed_rows(memory.steering.rows))


@pytest.mark.parametrize("family", ["gemma3", "mamba"])
def test_models_whose_cache_is_another_are_refused(tiny_backbone, family) -> None:
    with pytest.raises(UnsupportedModelError, match="cannot act in vLLM"):
        facts_of(tiny_backbone(family))


def test_the_folder_holds_the_numbers_that_the_model_computes_with(tiny_backbone, tiny_folder, tmp_path) -> None:
    from transformers import AutoModelForCausalLM

    backbone = tiny_backbone("llama")
    write_plain_model(backbone, tiny_folder("llama"), tmp_path / "plain")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "plain").eval()
    assert "quantization_config" not in json.loads((tmp_path / "plain" / "config.json").read_text())
    ids = backbone.format.query("What is on the table?")
    with torch.no_grad():
        found = model(input_ids=torch.tensor([ids])).logits[0, -1]
        own = backbone.logits(backbone.prefill([ids]).last_hidden)[0]
    assert torch.allclose(found, own, atol=1e-4)
    facts = ModelFacts.read(tmp_path / "plain")
    assert facts.fingerprint.digest == backbone.fingerprint.digest
    assert facts.key_shapes == backbone.key_shapes


def test_a_folder_that_is_not_ours_is_refused(tmp_path) -> None:
    with pytest.raises(BadInputError, match="Nothing in .* says how memories act on this model"):
        ModelFacts.read(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f.pop("groups"),
        lambda f: f.update(groups=[]),
        lambda f: f["fingerprint"].pop("family"),
        lambda f: f["groups"][0].update(layers=[0]),
        lambda f: f["groups"][0]["rotation"].pop("part"),
    ],
)
def test_damaged_facts_are_refused(change) -> None:
    described, angles = small_model.described()
    change(described)
    with pytest.raises(BadInputError, match="is damaged"):
        ModelFacts(described, angles)


def test_facts_of_a_newer_version_are_refused(tmp_path) -> None:
    (tmp_path / FACTS).write_text(json.dumps({"version": 99}))
    from safetensors.torch import save_file

    save_file({"cos.0": torch.zeros(1, 1)}, tmp_path / ANGLES)
    with pytest.raises(IncompatibleError, match="another version of tokmem-desk"):
        ModelFacts.read(tmp_path)
