"""How many tokens a memory holds, measured on a tiny backbone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import memorize
from benchmarks.memorize import Task, _config, _ladder, _memorise
from benchmarks.models import Loaded


@pytest.fixture
def task(loaded: Loaded) -> Task:
    form = loaded.backbone.format
    text = form.encode_text("alpha beta gamma delta epsilon zeta eta theta iota kappa " * 80)
    return Task(form.query("what comes now"), text, 40, 0)


@pytest.mark.parametrize("method", memorize.METHODS)
def test_a_longer_training_holds_more(loaded: Loaded, task: Task, method: str) -> None:
    place, form = method.split("-")
    response = [*task.text[:6], loaded.backbone.format.end_id]
    config = _config(form, 4, 0)
    short, parameters = _memorise(
        loaded.backbone, Task(task.query, task.text, 1, 0), response, place == "before", config
    )
    long, _ = _memorise(loaded.backbone, task, response, place == "before", config)
    assert long > short and parameters > 0


def test_a_memory_before_the_query_reads_as_one_sequence(loaded: Loaded, task: Task) -> None:
    """The place in front, by way of an empty cache, is what a pass over rows, query and response gives."""
    from trainer.objective import TrainableMemories

    backbone = loaded.backbone
    memories = TrainableMemories(backbone, _config("rows", 3, 0), [task.text])
    labels = torch.tensor([*task.text[:5], backbone.format.end_id])
    with torch.no_grad():
        steering = memories.steering()[0]
        found = memorize._logits(backbone, memorize._nothing(backbone), steering, task.query, labels)
        told = backbone.embed_ids(torch.cat([torch.tensor(task.query), labels[:-1]]))[None]
        inputs = torch.cat([backbone.embed_rows(steering.rows)[None], told], dim=1)
        whole = backbone.run_embeddings(inputs, torch.ones(inputs.shape[:2], dtype=torch.long))[0, -len(labels) :]
        torch.testing.assert_close(found, backbone.logits(whole), atol=1e-4, rtol=1e-4)


def test_the_ladder_ends_at_the_first_stretch_not_held(
    loaded: Loaded, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def pretend(_backbone: object, _task: object, response: list[int], *_rest: object) -> tuple[float, int]:
        tried.append(len(response) - 1)
        return (1.0 if len(response) <= 17 else 0.75), 5

    monkeypatch.setattr(memorize, "_memorise", pretend)
    run = _ladder(loaded.backbone, task, False, _config("rows", 1, 0))
    assert tried == [8, 16, 32]
    assert run.metrics["held_tokens"] == 16 and run.metrics["share_of_next"] == 0.75


def test_the_program_writes_every_method(
    loaded: Loaded, data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memorize, "load", lambda _options: loaded)
    monkeypatch.setattr(memorize, "SHORTEST", 2)
    monkeypatch.setattr(memorize, "LONGEST", 4)
    out = tmp_path / "m.json"
    asked = ["--data", str(data_folder), "--out", str(out), "--rows", "1,2", "--seeds", "1", "--steps", "2"]
    assert memorize.main(asked) == 0
    document = json.loads(out.read_text())
    assert [e["setting"] for e in document["sweep"]] == [{"rows": 1}, {"rows": 2}]
    assert list(document["sweep"][0]["methods"]) == ["after-rows", "before-rows"]
    assert list(document["methods"]) == list(memorize.METHODS)


def test_too_little_text_is_an_error_that_says_so(
    loaded: Loaded,
    data_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(memorize, "load", lambda _options: loaded)
    assert memorize.main(["--data", str(data_folder), "--out", str(tmp_path / "m.json")]) != 0
    assert "tokens of responses" in capsys.readouterr().err
