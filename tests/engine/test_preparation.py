"""Where new memories start: the engine learns it, keeps it, takes it into use at once, and prefers it to what ships."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from tests.engine.conftest import activate, result_of
from tokmem_desk.errors import BadInputError
from trainer import memory_start as prior_module
from trainer.memory_start import Prior
from trainer.prior.training import PriorConfig, PriorTraining
from tui.engine.models import LoadedModel
from tui.engine_client.client import EngineClient, run_blocking


def prior_files(home: Path) -> list[Path]:
    return list(AppPaths.resolve(home).models.rglob("*prior.safetensors"))


def checkpoints(home: Path) -> list[Path]:
    return list((AppPaths.resolve(home).checkpoints / "prepare").glob("*"))


def test_what_is_learned_is_in_use_at_once_and_makes_nothing_stale(client: EngineClient, home: Path) -> None:
    assert result_of(client, "load")["prior"] is None
    activate(home, result_of(client, "train", names=["shout"], preset="quick", span=4))
    events = list(run_blocking(client.submit("prepare", profile="default", steps=2)))
    phases = [e["phase"] for e in events if e["event"] == "progress"]
    assert phases == ["open"] * 47 + ["prior"] * 2
    result = events[-1]["result"]
    assert result.keys() == {"id", "cancelled", "steps", "loss", "seconds", "digest", "file"}
    assert not result["cancelled"] and result["steps"] == 2
    assert [Path(result["file"])] == prior_files(home) and not checkpoints(home)
    assert result_of(client, "status")["backbone"]["prior"] == result["digest"]
    backbone = result_of(client, "load")
    with ProfileRegistry(AppPaths.resolve(home)) as registry, registry.open() as store:
        assert store.procedures.to_train(backbone["fingerprint"]) == ["count"], "what was trained before stays as it is"
    trained = result_of(client, "train", names=None, preset="quick", span=4)
    activate(home, trained)
    assert [one["name"] for one in trained["trained"]] == ["count"]
    with ProfileRegistry(AppPaths.resolve(home)) as registry, registry.open() as store:
        before, after = store.memories.list("shout")[0].settings, store.memories.list("count")[0].settings
    assert "prior" not in before and after["prior"] == result["digest"]
    for name in ("shout", "count"):
        assert result_of(client, "ask", text="say tea 2", route=name, max_tokens=3)["route"] == name


def test_a_stopped_run_changes_nothing_and_goes_on(client: EngineClient, home: Path) -> None:
    handle = client.submit("prepare", profile="default", steps=5)
    for event in run_blocking(handle):
        if event["event"] == "progress" and event.get("phase") == "prior" and event["step"] == 2:
            client._own_runner().run(handle.cancel())
    stopped = event["result"]
    assert stopped["cancelled"] and stopped["digest"] is None
    assert not prior_files(home) and len(checkpoints(home)) == 1
    assert result_of(client, "load")["prior"] is None
    events = list(run_blocking(client.submit("prepare", profile="default", steps=5)))
    assert "Going on" in next(e["note"] for e in events if e.get("note"))
    assert next(e["step"] for e in events if e.get("phase") == "prior" and e.get("step")) > 2
    assert not events[-1]["result"]["cancelled"] and len(prior_files(home)) == 1 and not checkpoints(home)


def test_another_length_starts_anew(client: EngineClient, home: Path) -> None:
    handle = client.submit("prepare", profile="default", steps=5)
    for event in run_blocking(handle):
        if event["event"] == "progress" and event.get("phase") == "prior":
            client._own_runner().run(handle.cancel())
    events = list(run_blocking(client.submit("prepare", profile="default", steps=2)))
    assert "Starting anew" in next(e["note"] for e in events if e.get("note"))
    assert [e["step"] for e in events if e.get("phase") == "prior" and e.get("step")] == [1, 2]


def test_chat_goes_on_while_it_learns(client: EngineClient, home: Path) -> None:
    learning = client.submit("prepare", profile="default", steps=2)
    answer = result_of(client, "ask", text="hello", max_tokens=2)
    assert answer["route"] == "none"
    assert not list(run_blocking(learning))[-1]["result"]["cancelled"]


# --- the loaded model, in this process -------------------------------------------------------------


class Loading:
    """A model that is loaded anew, with what it reported."""

    def __init__(self, home: Path, folder: Path) -> None:
        self.reports: list[str] = []
        self.model = LoadedModel(AppPaths.resolve(home), str(folder), "cpu", offline=True)
        for _ in self.model.load(lambda _phase, _done, text: self.reports.append(text), lambda: False):
            pass

    @property
    def digest(self) -> Any:
        return self.model.describe()["prior"]


def learned(model: LoadedModel, seed: int) -> bytes:
    run = PriorTraining(model.backbone, PriorConfig(steps=1, pool=2, at_once=1, seed=seed))
    list(run)
    assert run.result is not None
    return run.result


def test_a_prior_beside_the_model_comes_before_the_shipped_one(
    home: Path, tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = tmp_path / "shipped"
    monkeypatch.setattr(prior_module, "shipped_file", lambda kind, model_id: shipped)
    plain = Loading(home, tiny_model_folder)
    assert plain.model.prior is None and plain.digest is None
    own, other = learned(plain.model, seed=0), learned(plain.model, seed=1)
    shipped.write_bytes(other)
    assert Loading(home, tiny_model_folder).digest == Prior.from_bytes(other, plain.model.backbone).digest
    plain.model.keep_prior(own)
    own_digest = Prior.from_bytes(own, plain.model.backbone).digest
    assert plain.digest == own_digest and plain.model.prior_file.read_bytes() == own
    again = Loading(home, tiny_model_folder)
    assert again.digest == own_digest and not any("cannot be used" in text for text in again.reports)
    again.model.prior_file.write_bytes(own[:-10])
    damaged = Loading(home, tiny_model_folder)
    assert damaged.digest == Prior.from_bytes(other, plain.model.backbone).digest, "the shipped one instead"
    assert any("prior.safetensors cannot be used" in text for text in damaged.reports)


def test_a_prior_that_is_none_is_not_kept(home: Path, tiny_model_folder: Path) -> None:
    loaded = Loading(home, tiny_model_folder)
    data = learned(loaded.model, seed=0)
    loaded.model.keep_prior(data)
    with pytest.raises(BadInputError, match="damaged"):
        loaded.model.keep_prior(data[:-10])
    assert loaded.model.prior_file.read_bytes() == data
    assert loaded.digest == Prior.from_bytes(data, loaded.model.backbone).digest
