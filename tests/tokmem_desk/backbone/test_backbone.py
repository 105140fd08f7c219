"""The backbone's pieces give the model's own numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import load_tiny
from tests.tiny_models import FAMILIES, WINDOW, tiny_tokenizer
from tests.tokmem_desk.reference import TOLERANCE, full_hidden, full_logits, random_ids
from tokmem_desk.backbone import prefill as prefill_module
from tokmem_desk.backbone.backbone import Backbone, load_backbone
from tokmem_desk.errors import IncompatibleError
from tokmem_desk.system.device import DeviceChoice

Load = Callable[..., Backbone]


@pytest.mark.parametrize("template", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_head_equals_the_models_own(tiny_backbone: Load, family: str, template: bool) -> None:
    backbone = tiny_backbone(family, template)
    ids = backbone.format.query("Hello there")
    torch.testing.assert_close(backbone.logits(full_hidden(backbone, ids)), full_logits(backbone, ids))
    assert backbone.tied == (family != "qwen2")


def test_head_with_a_soft_cap(tiny_folder: Callable[..., Path]) -> None:
    backbone = load_tiny(tiny_folder("gemma3", final_logit_softcapping=5.0), "capped")
    ids = random_ids(backbone, 12, seed=1)
    logits = backbone.logits(full_hidden(backbone, ids))
    torch.testing.assert_close(logits, full_logits(backbone, ids))
    assert 1.0 < float(logits.abs().max()) <= 5.0


@pytest.mark.parametrize("family", FAMILIES)
def test_appended_rows_are_read_as_rows_of_the_matrix_are(tiny_backbone: Load, family: str) -> None:
    backbone = tiny_backbone(family)
    ids = torch.tensor([5, 77, 200])
    torch.testing.assert_close(backbone.embed_rows(backbone.input_rows[ids]), backbone.embed_ids(ids))
    assert backbone.embedding_scale == pytest.approx(8.0 if family == "gemma3" else 1.0, rel=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_rotation_moves_keys_to_where_the_model_would_put_them(tiny_backbone: Load, family: str) -> None:
    backbone = tiny_backbone(family)
    assert backbone.rotates_keys
    ids = random_ids(backbone, 6, seed=4)
    free = backbone.free_keys_of(ids)
    cache = backbone.layout.new_cache()
    with torch.no_grad():
        backbone.model.get_decoder()(
            input_ids=torch.tensor([ids]),
            position_ids=torch.arange(31, 37)[None],
            cache=cache,
            use_cache=True,
        )
    there = backbone.layout.cut(cache, [6])[0]
    for group, (keys, expected) in enumerate(zip(free.keys, there.keys, strict=True)):
        torch.testing.assert_close(backbone.rotate(keys, torch.arange(31, 37), group), expected, **TOLERANCE)
        back = backbone.rotate(expected, torch.arange(31, 37), group, back=True)
        torch.testing.assert_close(back, keys, **TOLERANCE)
    for values, expected in zip(free.values, there.values, strict=True):
        torch.testing.assert_close(values, expected, **TOLERANCE)


def test_scaled_rotation_is_undone_exactly(tiny_folder: Callable[..., Path]) -> None:
    """YaRN multiplies the rotation by a factor; moving keys must divide it out again."""
    rope = {"rope_type": "yarn", "rope_theta": 10_000.0, "factor": 4.0, "original_max_position_embeddings": 128}
    backbone = load_tiny(tiny_folder("llama", rope_parameters=rope), "yarn")
    assert backbone.rotates_keys
    keys = torch.randn(2, 2, 4, 16)
    places = torch.arange(9, 13)
    turned = backbone.rotate(keys, places, 0)
    assert float(turned.norm()) > 1.01 * float(keys.norm())
    torch.testing.assert_close(backbone.rotate(turned, places, 0, back=True), keys, **TOLERANCE)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("template", [True, False])
def test_prefill_equals_plain_passes_in_the_order_asked(
    tiny_backbone: Load, family: str, template: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mixed lengths, below and above the window, with and without a shared prefix, split over several passes."""
    monkeypatch.setattr(prefill_module, "_PREFILL_TOKENS", 150)
    backbone = tiny_backbone(family, template)
    messages = ["word " * n for n in (9, 1, 4, 10, 2)] + ["x" * 40, "y" * 40, "short"]
    queries = [backbone.format.query(message) for message in messages] + [random_ids(backbone, 2, seed=1)]
    assert any(len(query) > 2 * WINDOW for query in queries)

    done = backbone.prefill(queries, feature_layers=(1, 2))
    bare = backbone.prefill(queries, keep_states=False)

    assert bare.states == []
    assert bare.pooled is None
    assert done.pooled is not None
    assert done.pooled.shape == (len(queries), 7 * backbone.hidden_size)
    for i, query in enumerate(queries):
        expected = full_hidden(backbone, query)
        torch.testing.assert_close(done.last_hidden[i], expected[-1], **TOLERANCE)
        torch.testing.assert_close(bare.last_hidden[i], expected[-1], **TOLERANCE)
        assert done.states[i].length == len(query)


@pytest.mark.parametrize("family", FAMILIES)
def test_features_are_means_over_the_message_and_last_states(tiny_backbone: Load, family: str) -> None:
    backbone = tiny_backbone(family)
    messages = ["Paid 12.50 for lunch", "Thanks", "Turn the note into a table row, please, and then another"]
    queries = [backbone.format.query(message) for message in messages]
    pooled = backbone.prefill(queries, keep_states=False, feature_layers=(1,)).pooled
    assert pooled is not None
    head, tail = len(backbone.format.head_ids), len(backbone.format.tail_ids)
    for query, features in zip(queries, pooled, strict=True):
        with torch.no_grad():
            output = backbone.model.get_decoder()(
                input_ids=torch.tensor([query]), use_cache=False, output_hidden_states=True
            )
        layer = output.hidden_states[1][0]
        mean = layer[head:-tail].mean(dim=0)
        expected = torch.cat([output.last_hidden_state[0, -1], mean, layer[-1], mean])
        torch.testing.assert_close(features, expected, **TOLERANCE)


def test_features_count_rare_tokens_for_more_where_the_space_wants_it(
    tiny_backbone: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = tiny_backbone("llama")
    queries = [backbone.format.query(message) for message in ("Paid 12.50 for lunch", "a sentence of several words")]
    head, tail = len(backbone.format.head_ids), len(backbone.format.tail_ids)
    plain = backbone.prefill(queries, keep_states=False, feature_layers=(1,), token_layers=(1,))
    all_weights = torch.rand(backbone.vocabulary_size, generator=torch.Generator().manual_seed(0)) + 0.01
    monkeypatch.setattr(backbone, "token_weights", all_weights)
    pooled = backbone.prefill(queries, keep_states=False, feature_layers=(1,)).pooled
    assert pooled is not None and plain.pooled is not None
    d = backbone.hidden_size
    for query, states, before, features in zip(queries, plain.tokens, plain.pooled, pooled, strict=True):
        weights = all_weights[torch.tensor(query[head : len(query) - tail])]
        torch.testing.assert_close(features[d : 2 * d], weights @ states.float() / weights.sum(), **TOLERANCE)
        torch.testing.assert_close(features[2 * d :], before[2 * d :], **TOLERANCE)


@pytest.mark.parametrize("family", ["llama", "gemma3", "qwen3"])
def test_features_of_lower_layers_need_no_layer_above_them(
    tiny_backbone: Load, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = tiny_backbone(family)
    queries = [backbone.format.query("word " * n) for n in (1, 3, 12)]
    whole = backbone.prefill(queries, keep_states=False, feature_layers=(0,), token_layers=(0,))
    depths: list[int | None] = []
    assert backbone.least_depth((0,)) == 1 < backbone.layer_count
    run_ids = backbone.run_ids

    def watched(*arguments: Any, **options: Any) -> Any:
        depths.append(options["depth"])
        return run_ids(*arguments, **options)

    monkeypatch.setattr(backbone, "run_ids", watched)
    some = backbone.prefill(queries, keep_states=False, feature_layers=(0,), token_layers=(0,), lower_layers=True)
    assert set(depths) == {1}
    assert some.pooled is not None and whole.pooled is not None
    d = backbone.hidden_size
    torch.testing.assert_close(some.pooled[:, d:], whole.pooled[:, d:], **TOLERANCE)
    for mine, own in zip(some.tokens, whole.tokens, strict=True):
        torch.testing.assert_close(mine, own, **TOLERANCE)
    with pytest.raises(ValueError, match="cannot be had from some layers"):
        backbone.prefill(queries, feature_layers=(1,), lower_layers=True)


def test_prefill_alone_equals_prefill_in_a_batch(tiny_backbone: Load) -> None:
    backbone = tiny_backbone("gemma3")
    queries = [backbone.format.query("word " * n) for n in (1, 3, 12, 12, 30)]
    together = backbone.prefill(queries, feature_layers=(2,))
    assert together.pooled is not None
    for i, query in enumerate(queries):
        alone = backbone.prefill([query], feature_layers=(2,))
        assert alone.pooled is not None
        torch.testing.assert_close(alone.pooled[0], together.pooled[i], **TOLERANCE)
        for ours, theirs in zip(alone.states[0].keys, together.states[i].keys, strict=True):
            torch.testing.assert_close(ours, theirs, **TOLERANCE)


def test_a_text_beyond_the_context_is_refused(tiny_backbone: Load) -> None:
    backbone = tiny_backbone()
    with pytest.raises(IncompatibleError, match="has 513 tokens; this model's context holds 512"):
        backbone.prefill([random_ids(backbone, 513, seed=1)])
    backbone.check_length(500)
    with pytest.raises(IncompatibleError):
        backbone.check_length(500, room=13)


def test_facts(tiny_backbone: Load) -> None:
    backbone = tiny_backbone("qwen2")
    assert backbone.parameter_count() == sum(p.numel() for p in backbone.model.parameters())
    assert backbone.key_shapes == ((2, 2, 16, 16),)
    assert tiny_backbone("gemma3").key_shapes == ((3, 2, 16, 16), (1, 2, 16, 16))


def test_training_uses_the_plain_attention_and_leaves_no_trace(tiny_backbone: Load) -> None:
    backbone = tiny_backbone()
    before = backbone.model.config._attn_implementation
    with pytest.raises(RuntimeError), backbone.training():
        assert backbone.model.config._attn_implementation == "eager"
        raise RuntimeError
    assert backbone.model.config._attn_implementation == before


def test_loading_a_damaged_folder_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(IncompatibleError, match=r"files of broken cannot be loaded.*model remove broken"):
        load_backbone(tmp_path, DeviceChoice("cpu", "float32", "test"), "broken")


@pytest.mark.parametrize("family", FAMILIES)
def test_going_on_from_a_state_equals_a_fresh_pass(
    tiny_backbone: Load, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before, at and behind the window, in one part and in several; the state itself stays as it was."""
    backbone = tiny_backbone(family)
    for first, more in ((5, 4), (WINDOW - 1, 1), (WINDOW, 3), (3 * WINDOW, 2 * WINDOW), (4, 3 * WINDOW)):
        ids = random_ids(backbone, first + more, seed=first)
        fresh = backbone.prefill([ids])
        state = backbone.prefill([ids[:first]]).states[0]
        before = [keys.clone() for keys in state.keys]
        for size in (4096, 7):
            monkeypatch.setattr(prefill_module, "_PART_TOKENS", size)
            longer = backbone.extend_state(state, ids[first:])
            torch.testing.assert_close(longer.last_hidden, fresh.last_hidden, **TOLERANCE)
            torch.testing.assert_close(
                backbone.logits(longer.last_hidden), backbone.logits(fresh.last_hidden), **TOLERANCE
            )
            assert longer.states[0].length == len(ids)
            for ours, theirs in zip(longer.states[0].keys, fresh.states[0].keys, strict=True):
                torch.testing.assert_close(ours, theirs, **TOLERANCE)
        assert all(torch.equal(a, b) for a, b in zip(before, state.keys, strict=True))


def test_a_model_with_state_of_its_own_is_never_stepped_through_a_cache() -> None:
    """RecurrentGemma keeps its running state in its layers, where two answers would meet."""
    import transformers
    from transformers import AutoModelForCausalLM

    tokenizer = tiny_tokenizer()
    config = transformers.RecurrentGemmaConfig(
        vocab_size=len(tokenizer), hidden_size=64, eos_token_id=2, pad_token_id=3, num_hidden_layers=3, lru_width=64,
        num_attention_heads=4, intermediate_size=128,
    )  # fmt: skip
    torch.manual_seed(0)  # with some weights the state that others leave behind makes no difference to speak of
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    backbone = Backbone(model, tokenizer, DeviceChoice("cpu", "float32", "test"), "tiny")
    assert backbone.layout.recurrent and not backbone.steps_with_cache
    query = backbone.format.query("What is the weather today?")
    own = model(input_ids=torch.tensor([query]), use_cache=False).logits[0, -1]
    torch.testing.assert_close(backbone.logits(backbone.prefill([query]).last_hidden)[0], own, **TOLERANCE)


def test_a_recurrent_model_that_runs_otherwise_beside_others_is_refused(
    tiny_backbone: Callable[..., Backbone], monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = tiny_backbone("lfm2")
    decoder = type(ready.model.get_decoder())
    true_forward = decoder.forward

    def forward(self: object, inputs_embeds: object = None, **options: object) -> object:
        if isinstance(inputs_embeds, torch.Tensor) and len(inputs_embeds) > 1:
            inputs_embeds = inputs_embeds + inputs_embeds.flip(0)
        return true_forward(self, inputs_embeds=inputs_embeds, **options)

    monkeypatch.setattr(decoder, "forward", forward)
    with pytest.raises(IncompatibleError, match=r"work in a way .*Choose a model with attention in every layer"):
        Backbone(ready.model, ready.tokenizer, DeviceChoice("cpu", "float32", "test"), "tiny")
