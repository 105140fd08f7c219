"""The adapted form of a model: the adapter made here, else the one that ships, and never another one in silence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from profiles.files.paths import AppPaths
from tests.engine.conftest import result_of, run_engine
from tests.tiny_models import save_tiny_model
from tokmem_desk.backbone.backbone import Backbone, load_backbone
from tokmem_desk.errors import BadInputError, IncompatibleError, NotFoundError, StorageError, TokmemError
from tokmem_desk.models.catalogue import ADAPTED, ADAPTER_FILE
from tokmem_desk.models.store import ModelStore, fitted_to_adapter
from tokmem_desk.system.device import choose_device
from trainer.paper.adaptation import Adaptation, AdaptationConfig
from tui.engine import models as models_module
from tui.engine.models import LoadedModel


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the adapter that comes with the program would lie."""
    file = tmp_path / "shipped"
    monkeypatch.setattr(models_module, "shipped_file", lambda kind, model_id: file)
    return file


@pytest.fixture
def load(home: Path, tiny_model_folder: Path) -> Callable[[], LoadedModel]:
    """Loads the adapted form of the tiny model anew, in this process."""

    def loading() -> LoadedModel:
        model = LoadedModel(AppPaths.resolve(home), f"{tiny_model_folder}{ADAPTED}", "cpu", offline=True)
        for _ in model.load(lambda phase, done, text: None, lambda: False):
            pass
        return model

    return loading


def made(backbone: Backbone, seed: int) -> bytes:
    """An adapter for it."""
    run = Adaptation(backbone, AdaptationConfig(examples=2, epochs=1, batch_size=2, seed=seed))
    try:
        list(run)
        assert run.result is not None
        return run.result
    finally:
        run.close()


@pytest.fixture
def model_folder(home: Path, tiny_model_folder: Path) -> Path:
    """The converted tiny model."""
    folder = ModelStore(AppPaths.resolve(home).models).info(str(tiny_model_folder)).folder
    assert folder is not None
    return folder


def test_the_own_adapter_comes_before_the_shipped_one(
    load: Callable[[], LoadedModel], shipped: Path, model_folder: Path, tiny_model_folder: Path
) -> None:
    with pytest.raises(NotFoundError, match="has not been adapted yet.*adapt --model"):
        load()
    plain = load_backbone(model_folder, choose_device("cpu"), str(tiny_model_folder))
    shipped.write_bytes(made(plain, seed=0))
    first = load().backbone
    assert first.model_id == f"{tiny_model_folder}{ADAPTED}" and first.fingerprint.digest != plain.fingerprint.digest
    own = model_folder / ADAPTER_FILE
    own.write_bytes(made(plain, seed=1))
    second = load().backbone.fingerprint.digest
    assert second not in (first.fingerprint.digest, plain.fingerprint.digest)
    own.unlink()
    assert load().backbone.fingerprint.digest == first.fingerprint.digest


def test_another_adapter_takes_nothing_over(
    load: Callable[[], LoadedModel], shipped: Path, model_folder: Path, tiny_model_folder: Path, home: Path
) -> None:
    """What was fitted to one adapter, its prior among it, is of no use with the next."""
    plain = load_backbone(model_folder, choose_device("cpu"), str(tiny_model_folder))
    shipped.write_bytes(made(plain, seed=0))
    model = load()
    model.prior_file.write_bytes(b"of the shipped one")
    assert {file.name for file in fitted_to_adapter(model_folder)} >= {"adapted.prior.safetensors"}
    model.keep_adapter(made(plain, seed=1))
    assert fitted_to_adapter(model_folder) == []
    load()
    assert ModelStore(AppPaths.resolve(home).models).remove_adapter(f"{tiny_model_folder}{ADAPTED}") > 0
    assert fitted_to_adapter(model_folder) == [] and not (model_folder / ADAPTER_FILE).exists()


def test_an_own_adapter_that_cannot_be_used_is_an_error(
    load: Callable[[], LoadedModel], shipped: Path, model_folder: Path, tiny_model_folder: Path, tmp_path: Path
) -> None:
    plain = load_backbone(model_folder, choose_device("cpu"), str(tiny_model_folder))
    data = made(plain, seed=0)
    shipped.write_bytes(data)
    own = model_folder / ADAPTER_FILE
    other = load_backbone(save_tiny_model(tmp_path / "other", "qwen3"), choose_device("cpu"), "other")
    for content, kind, words in (
        (data[:-40], BadInputError, "damaged"),
        (b"", BadInputError, "damaged"),
        (made(other, seed=0), IncompatibleError, "another model"),
    ):
        own.write_bytes(content)
        with pytest.raises(kind, match=words) as caught:
            load()
        assert f"adapt --model {tiny_model_folder}." in caught.value.next_step
        assert f"model remove {tiny_model_folder}{ADAPTED}" in caught.value.next_step
    own.unlink()
    own.mkdir()
    with pytest.raises(StorageError, match="cannot be read"):
        load()


def test_a_shipped_adapter_of_another_backbone_says_what_to_do(
    load: Callable[[], LoadedModel], shipped: Path, tmp_path: Path, tiny_model_folder: Path
) -> None:
    other = load_backbone(save_tiny_model(tmp_path / "other", "qwen3"), choose_device("cpu"), "other")
    shipped.write_bytes(made(other, seed=0))
    with pytest.raises(IncompatibleError, match="comes with the program is not for") as caught:
        load()
    assert caught.value.next_step == f"Make one here: tokmem-desk adapt --model {tiny_model_folder}"


def test_after_a_failure_the_plain_model_does_not_answer_instead(
    home: Path, model_folder: Path, tiny_model_folder: Path
) -> None:
    (model_folder / ADAPTER_FILE).write_bytes(b"no adapter")

    def ask_twice(client: object) -> list[str]:
        told = []
        for _ in range(2):
            with pytest.raises(TokmemError) as caught:
                result_of(client, "ask", text="hello", max_tokens=2)
            told.append(caught.value.message)
        return told

    first, second = run_engine(home, Path(f"{tiny_model_folder}{ADAPTED}"), ask_twice)
    assert "damaged" in first and second == first
