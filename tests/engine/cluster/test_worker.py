"""A worker by itself, without Ray: what it refuses, and that nothing it is given holds a key."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path

import pytest

from profiles.files.paths import AppPaths
from tests.quick_fits import fit_quickly
from tokmem_desk.procedures import ExamplePair, Procedure
from trainer.config import preset
from tui.engine.cluster.fits import fits_of, take_fits
from tui.engine.cluster.task import Neighbours, TrainingTask, WorkerSetup, versions
from tui.engine.cluster.worker import Worker
from tui.engine.models import LoadedModel
from tui.engine.procedure_training import TrainingWork


@pytest.fixture(scope="module")
def setup(prepared_home: Path, tiny_model_folder: Path) -> WorkerSetup:
    with pytest.MonkeyPatch.context() as patch:
        fit_quickly(patch.setattr)
        paths = AppPaths.resolve(prepared_home)
        model = LoadedModel(paths, str(tiny_model_folder), "cpu", offline=True)
        for _ in model.load(lambda _phase, _share, _text: None, lambda: False):
            pass
        return WorkerSetup(
            str(tiny_model_folder),
            model.backbone.fingerprint.digest,
            "cpu",
            str(paths.cache),
            fits_of(model),
            versions(),
        )


@pytest.fixture(autouse=True)
def quick_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    fit_quickly(monkeypatch.setattr)


def worker(setup: WorkerSetup) -> Worker:
    return Worker(setup, Neighbours({}, [], {}))


def test_a_worker_that_fits_says_what_it_computes_on(setup: WorkerSetup) -> None:
    about = worker(setup).introduce()
    assert "error" not in about
    assert about["device"] == "cpu" and about["dtype"] in ("bfloat16", "float32")


def test_a_worker_reads_messages_as_the_computer_that_asks(setup: WorkerSetup, prepared_home: Path) -> None:
    """What a token counts is part of the space: without it, what memories know of their messages would be another."""
    model = LoadedModel(AppPaths.resolve(prepared_home), setup.model, "cpu", offline=True)
    for _ in model.load_to_chat(lambda _phase, _share, _text: None, lambda: False):
        pass
    assert model.backbone.token_weights is None
    take_fits(model, setup.fits)
    assert model.basis.token_weights is not None
    assert model.backbone.token_weights is model.basis.token_weights


def test_another_version_is_refused_by_name(setup: WorkerSetup) -> None:
    other = dataclasses.replace(setup, versions={**setup.versions, "torch": "1.0"})
    error = worker(other).introduce()["error"]
    assert error["kind"] == "IncompatibleError"
    assert f"It has torch {versions()['torch']}, and the computer that asks has 1.0" in error["message"]
    assert "Install torch 1.0" in error["next_step"]


def test_another_model_is_refused(setup: WorkerSetup) -> None:
    error = worker(dataclasses.replace(setup, fingerprint="0" * 64)).introduce()["error"]
    assert error["kind"] == "IncompatibleError"
    assert "has other weights" in error["message"] and "000000000000" in error["message"]


def test_a_model_that_is_not_there_is_named_and_not_fetched(setup: WorkerSetup, tmp_path: Path) -> None:
    other = dataclasses.replace(setup, model="smollm2-360m", cache=str(tmp_path / "none"))
    error = worker(other).introduce()["error"]
    assert error["kind"] in ("OfflineError", "NotFoundError")
    assert "smollm2-360m" in error["message"].lower()


def test_a_training_can_be_driven_as_ray_drives_it(setup: WorkerSetup) -> None:
    pairs = tuple(ExamplePair(f"say {i}", f"<{i}>") for i in range(10))
    work = TrainingWork(
        "u", Procedure("say", pairs), frozenset(), frozenset(), preset("quick", span=4), "discriminant",
        samples=False, keeps_form=True, budget_mb=100,
    )  # fmt: skip
    one = worker(setup)
    one.introduce()
    sending = one.train(TrainingTask(work, None, None))
    kinds = []
    with pytest.raises(StopIteration):
        while True:
            kinds.append(sending.send(None)[0])  # type: ignore[attr-defined]
    assert set(kinds) == {"progress", "learned"} and kinds[-1] == "learned"


def test_what_travels_is_plain_data(setup: WorkerSetup) -> None:
    again = pickle.loads(pickle.dumps(setup))
    assert again == setup
    assert not any("key" in field.name for field in dataclasses.fields(WorkerSetup))
