"""Every method learns and answers on a tiny backbone, and leaves it as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.data import load_tasks
from benchmarks.kept import KeptMemories
from benchmarks.measure import ROUTING_KEYS, measure
from benchmarks.methods import METHODS, Context
from benchmarks.methods import memories as memory_methods
from benchmarks.methods.prompts import prompt
from benchmarks.tuning import held_out_of_training, search
from tokmem_desk.backbone.fingerprint import identify_weights
from trainer.config import TrainConfig

ROUTED = {"rag", "tokmem", "tokmem-tuned", "ours"}


@pytest.fixture(autouse=True)
def short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def short(*_: object, **__: object) -> TrainConfig:
        return TrainConfig(span=3, epochs=1, batch_size=2)

    monkeypatch.setattr(memory_methods, "preset", short)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("sequential", [False, True])
def test_a_method_is_measured_and_the_backbone_stays(
    method: str, sequential: bool, context: Context, data_folder: Path
) -> None:
    if method == "rag":
        pytest.importorskip("sklearn")
    context.sequential = sequential
    data = load_tasks(data_folder)
    model = context.backbone.model
    query = context.backbone.format.query("apple number 9")
    before, weights = context.backbone.prefill([query]).last_hidden, identify_weights(model)
    parts = [type(module) for module in model.modules()]
    measured = measure(METHODS[method], context, data.procedures, data.none_messages, seed=0)
    assert identify_weights(model) == weights
    assert [type(module) for module in model.modules()] == parts
    torch.testing.assert_close(context.backbone.prefill([query]).last_hidden, before)
    assert not any(parameter.requires_grad for parameter in model.parameters())
    metrics = measured.run.metrics
    assert metrics["rouge_l"] is not None and metrics["form_valid"] is not None
    for key in (*ROUTING_KEYS, "e2e_rouge_l", "e2e_exact_match"):
        assert (metrics[key] is not None) == (method in ROUTED), key
    assert set(measured.run.per_procedure) == {"apples", "pears", "plums"}
    assert len(measured.predictions) == 6 + (2 if method in ROUTED else 0)


def test_parameters_and_prompts_are_counted(context: Context, data_folder: Path) -> None:
    procedures = load_tasks(data_folder).procedures
    found = {
        method: measure(METHODS[method], context, procedures, [], 0).run.metrics
        for method in ("base", "icl", "tokmem", "ours", "lora")
    }
    size = context.backbone.hidden_size
    assert [found[m]["trained_parameters"] for m in ("base", "icl", "tokmem")] == [0, 0, 3 * size]
    assert (found["base"]["prompt_tokens"], found["tokmem"]["prompt_tokens"]) == (0, 1)
    assert found["ours"]["prompt_tokens"] == 3
    assert (found["icl"]["prompt_tokens"] or 0) > 20
    assert (found["lora"]["train_seconds"] or 0) > 0


def test_one_adapter_takes_all_procedures_in_turn(context: Context, data_folder: Path) -> None:
    procedures = load_tasks(data_folder).procedures
    alone = measure(METHODS["lora"], context, procedures, [], 0).run
    context.sequential = True
    shared = measure(METHODS["lora"], context, procedures, [], 0).run
    replayed = measure(METHODS["lora-replay"], context, procedures, [], 0).run
    assert (alone.settings["adapters"], shared.settings["adapters"]) == (3, 1)
    assert alone.metrics["trained_parameters"] == 3 * (shared.metrics["trained_parameters"] or 0)
    # Three procedures of 4 pairs: 2 steps each; with as many earlier pairs again, 2 + 4 + 4.
    assert (shared.settings["steps"], replayed.settings["steps"]) == (6, 10)


def test_a_prompt_holds_what_fits_half_the_context_and_at_least_twelve(context: Context, data_folder: Path) -> None:
    backbone = context.backbone
    pairs = load_tasks(data_folder).procedures[0].pairs

    def shown(count: int, message: str = "apple number 9") -> tuple[int, int]:
        ids = prompt(backbone, (pairs * count)[:count], message, limit=8)
        return backbone.tokenizer.decode(ids).count("number") - 1, len(ids)

    half = backbone.context_length // 2
    assert shown(len(pairs)) == (len(pairs), shown(len(pairs))[1])
    # Twelve take more than half of this small context, and stand there all the same; more do not.
    assert shown(400)[0] == 12 and half < shown(400)[1] < backbone.context_length
    # Where not even twelve fit beside the message, half the context is the bound.
    count, length = shown(400, f"apple number {'very ' * 60}")
    assert 0 < count < 12 and length <= half


def test_tuning_looks_at_training_pairs_only(context: Context, data_folder: Path) -> None:
    procedures = load_tasks(data_folder).procedures
    for split in held_out_of_training(procedures):
        whole = next(p for p in procedures if p.name == split.name)
        assert {*split.pairs, *split.held_out} == set(whole.pairs)
        assert not set(split.pairs) & set(split.held_out)
    best = search("lora", [{"epochs": 1}, {"epochs": 2}], context, procedures)
    assert best["rank"] == 2 and best["epochs"] in (1, 2)


def test_a_run_goes_on_with_the_memories_that_an_earlier_one_has_kept(
    context: Context, data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    procedures = load_tasks(data_folder).procedures
    context.kept = KeptMemories(tmp_path / "kept", context.backbone)
    first = measure(METHODS["ours"], context, procedures[:2], [], 0)
    whole = measure(METHODS["ours"], context, procedures, [], 0)
    trained: list[object] = []
    monkeypatch.setattr(memory_methods, "run_training", trained.append)
    again = measure(METHODS["ours"], context, procedures, [], 0)
    assert not trained and again.predictions == whole.predictions
    assert again.run.metrics["train_seconds"] == whole.run.metrics["train_seconds"]
    assert again.run.per_procedure["pears"]["rouge_l"] == first.run.per_procedure["pears"]["rouge_l"]
    monkeypatch.undo()
    monkeypatch.setattr(memory_methods, "preset", lambda *_, **__: TrainConfig(span=4, epochs=1, batch_size=2))
    other = measure(METHODS["ours"], context, procedures[:1], [], 0)
    assert other.run.metrics["prompt_tokens"] == 4, "another setting is trained anew"
