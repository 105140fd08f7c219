"""Damaged files of ours: repaired where nothing is lost, else refused by name, and never answered from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from profiles.encryption.profile_files import Vault
from profiles.files.paths import AppPaths, private_folder
from profiles.store.memories import read_memory_file
from tests.chaos.mutations import Mutation, Places, mutations
from tests.engine.conftest import copy_model
from tests.tiny_loaded import TinyModel
from tests.tiny_loaded import load as load_tiny
from tokmem_desk.backbone.backbone import load_backbone
from tokmem_desk.errors import TokmemError
from tokmem_desk.memory.file import memory_from_bytes, memory_to_bytes, read_metadata
from tokmem_desk.models.record import ledger_of
from tokmem_desk.models.store import ModelStore
from tokmem_desk.routing.segment_tagger import fit_splitter
from tokmem_desk.system.device import DeviceChoice
from tokmem_desk.system.file_checks import fitted_ledger, read_checked
from tui.engine.models import LoadedModel

COUNT = 72
OF_MODEL = ("weights", "config", "tokenizer", "record", "beside", "fitted", "ledger")
LIST = mutations(COUNT, groups=OF_MODEL)


@dataclass(frozen=True)
class Whole:
    """What the undamaged model does, and another model's files."""

    home: Path
    source: Path
    other: Path
    logits: Tensor
    router: str
    splitter: Tensor


def loaded(home: Path, wanted: str) -> tuple[LoadedModel, list[str]]:
    """A model that is loaded anew, and what it said meanwhile."""
    said: list[str] = []
    model = LoadedModel(AppPaths.resolve(home), wanted, "cpu", offline=True)
    for _ in model.load(lambda _phase, _done, text: said.append(text), lambda: False):
        pass
    return model, said


def logits_of(model: LoadedModel) -> Tensor:
    ids = torch.tensor([model.backbone.format.query("What is the weather today?")])
    with torch.no_grad():
        return model.backbone.model(ids).logits.float()


def first_result(steps: Iterator[Any]) -> Any:
    return [step for step in steps if not isinstance(step, float)][-1]


@pytest.fixture(scope="module")
def whole(tiny_model_folder: Path, tiny_folder: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """With a router drawn at random and a splitter fitted to little: those for use take half a minute."""
    home = tmp_path_factory.mktemp("whole")
    paths, device = AppPaths.resolve(home), DeviceChoice("cpu", "float32", "test")
    folder = ModelStore(paths.models).ensure(str(tiny_model_folder), device, lambda *_: None)
    backbone = load_backbone(folder, device, str(tiny_model_folder))
    made = {
        "router.safetensors": load_tiny(backbone).basis.to_bytes(),
        "splitter.safetensors": first_result(fit_splitter(backbone, 24)).to_bytes(),
    }
    private_folder(paths.fitted)
    store = ModelStore(tmp_path_factory.mktemp("other"))
    other = store.ensure(str(tiny_folder("qwen3")), device, lambda *_: None)
    for name, data in made.items():
        (paths.fitted / f"{backbone.fingerprint.digest[:16]}-{name}").write_bytes(data)
        (folder / name).write_bytes(data)
        (other / name).write_bytes(save(load(data), read_metadata(data) | {"fingerprint": "0" * 64}))
        # As after the first load of what an earlier version wrote.
        read_checked(folder / name, ledger_of(folder), bytes)
    model, said = loaded(home, str(tiny_model_folder))
    assert not any("cannot be used" in text for text in said)
    return Whole(home, tiny_model_folder, other, logits_of(model), model.basis.digest, model.splitter.space.projection)


@pytest.fixture
def places(whole: Whole, own_home: Path) -> Places:
    copy_model(whole.home, own_home)
    paths = AppPaths.resolve(own_home)
    [folder] = [one for one in paths.models.iterdir() if not one.name.startswith(".")]
    ledgers = (ledger_of(folder).file, fitted_ledger(paths.fitted).file)
    assert all(file.is_file() for file in ledgers)
    return Places(folder, paths.fitted, ledgers, other=whole.other)


def assert_answers_as_before(model: LoadedModel, whole: Whole) -> None:
    assert torch.equal(logits_of(model), whole.logits)
    assert model.basis.digest == whole.router
    assert torch.equal(model.splitter.space.projection, whole.splitter)


@pytest.mark.parametrize("mutation", LIST, ids=lambda one: one.name)
def test_damage_is_repaired_where_the_source_is_there(
    whole: Whole, places: Places, own_home: Path, mutation: Mutation
) -> None:
    """Converted again from the local folder, or taken from the other copy: nothing is lost, and it is said."""
    mutation.apply(places)
    model, said = loaded(own_home, str(whole.source))
    assert_answers_as_before(model, whole)
    if mutation.group in ("weights", "record", "fitted"):
        words = " ".join(said)
        assert (
            "cannot be used" in words
            or "converted again" in words
            or "Converting" in words
            or ("removed" in mutation.name or "link" in mutation.name)
        )
    again, _ = loaded(own_home, str(whole.source))
    assert_answers_as_before(again, whole)


@pytest.mark.parametrize(
    "mutation",
    [one for one in LIST if one.group in ("weights", "config", "tokenizer", "record")],
    ids=lambda one: one.name,
)
def test_damage_is_refused_by_name_where_the_source_is_gone(
    whole: Whole, places: Places, own_home: Path, mutation: Mutation
) -> None:
    slug = places.model.name
    file = mutation.apply(places)
    model, error = None, None
    try:
        model, _ = loaded(own_home, slug)
    except TokmemError as caught:
        error = caught
    if model is not None:  # as where the other model's tokenizer is the same
        assert_answers_as_before(model, whole)
        assert "another model" in mutation.name
        return
    assert error is not None and error.next_step and "\n" not in error.message
    # Without a readable record nothing says that there is a model.
    assert file.name in error.message or (file.name == "backbone.json" and slug in error.message)
    with pytest.raises(TokmemError):
        loaded(own_home, slug)


@pytest.mark.parametrize("mutation", mutations(24, groups=("memory",)), ids=lambda one: one.name)
def test_a_damaged_memory_is_refused_by_name(tiny: TinyModel, tmp_path: Path, mutation: Mutation) -> None:
    files = tuple(tmp_path / f"{number}.safetensors" for number in range(3))
    for number, file in enumerate(files):
        file.write_bytes(memory_to_bytes(tiny.memory("shout", number), tiny.backbone.fingerprint))
    file = mutation.apply(Places(tmp_path, tmp_path, (), files))
    with pytest.raises(TokmemError, match=rf"The memory of 'shout'|{file.name}"):
        memory_from_bytes(read_memory_file(Vault(None), file), tiny.backbone, "The memory of 'shout'")


def test_the_list_is_seeded_and_covers_every_group() -> None:
    assert [one.name for one in mutations(200)][:40] == [one.name for one in mutations(40)]
    assert len({one.name for one in mutations(200)}) == 200
    assert {one.group for one in LIST} == set(OF_MODEL)
