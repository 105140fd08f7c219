"""A tiny model with all its files in a home, and what follows when one of them is damaged (``mutations``).

Loads torch. Nothing may be answered from a damaged file: it is repaired where its source is there, else
refused by name.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from profiles.encryption.profile_files import ProfileFiles
from profiles.files.paths import AppPaths, private_folder
from profiles.store.memories import read_memory_file
from tests.chaos.mutations import Mutation, Places
from tests.conftest import load_tiny
from tests.engine.conftest import copy_model
from tests.tiny_loaded import load as with_router
from tests.tiny_models import save_tiny_model
from tokmem_desk.backbone.backbone import load_backbone
from tokmem_desk.errors import TokmemError
from tokmem_desk.memory.file import memory_from_bytes, memory_to_bytes, read_metadata
from tokmem_desk.models.record import ledger_of
from tokmem_desk.models.store import ModelStore
from tokmem_desk.references.fitting import fit_reference_finder
from tokmem_desk.routing.segment_tagger import fit_segment_tagger
from tokmem_desk.system.device import DeviceChoice
from tokmem_desk.system.file_checks import fitted_ledger, read_checked
from tui.engine.models import LoadedModel


@dataclass(frozen=True)
class Whole:
    """What the undamaged model does, and another model's files."""

    home: Path
    source: Path
    other: Path
    logits: Tensor
    router: str
    segment_tagger: Tensor


def make_whole(home: Path, source: Path, other_source: Path, others: Path) -> Whole:
    """Convert a tiny model, with a random router and a segment tagger fitted to little: real ones take a while.

    Args:
        home: an empty folder, becomes a home with the model.
        source: the model as a publisher would give it.
        other_source: another model.
        others: an empty folder for the other model's files.
    """
    paths, device = AppPaths.resolve(home), DeviceChoice("cpu", "float32", "test")
    folder = ModelStore(paths.models).ensure(str(source), device, lambda *_: None)
    backbone = load_backbone(folder, device, str(source))
    tagger = _result(fit_segment_tagger(backbone, 24))
    made = {
        "router.safetensors": with_router(backbone).basis.to_bytes(),
        "splitter.safetensors": tagger.to_bytes(),
        "references.safetensors": _result(fit_reference_finder(backbone, 24)).to_bytes(),
    }
    private_folder(paths.fitted)
    other = ModelStore(others).ensure(str(other_source), device, lambda *_: None)
    for name, data in made.items():
        (paths.fitted / f"{backbone.fingerprint.digest[:16]}-{name}").write_bytes(data)
        (folder / name).write_bytes(data)
        (other / name).write_bytes(save(load(data), read_metadata(data) | {"fingerprint": "0" * 64}))
        # As after the first load of what an earlier version wrote.
        read_checked(folder / name, ledger_of(folder), bytes)
    model, said = loaded(home, str(source))
    assert not any("cannot be used" in text for text in said)
    return Whole(home, source, other, logits_of(model), model.basis.digest, model.segment_tagger.space.projection)


def loaded(home: Path, wanted: str) -> tuple[LoadedModel, list[str]]:
    """A model that is loaded anew, and what it said meanwhile."""
    said: list[str] = []
    model = LoadedModel(AppPaths.resolve(home), wanted, "cpu", offline=True)
    for _ in model.load(lambda _phase, _done, text: said.append(text), lambda: False):
        pass
    return model, said


def logits_of(model: LoadedModel) -> Tensor:
    """What the model makes of a sentence."""
    ids = torch.tensor([model.backbone.format.query("What is the weather today?")])
    with torch.no_grad():
        return model.backbone.model(ids).logits.float()


def as_before(model: LoadedModel, whole: Whole) -> bool:
    """Whether it answers and routes as the undamaged one, to the bit."""
    return (
        torch.equal(logits_of(model), whole.logits)
        and model.basis.digest == whole.router
        and torch.equal(model.segment_tagger.space.projection, whole.segment_tagger)
    )


def places_of(whole: Whole, home: Path) -> Places:
    """A copy of the home, for one damage."""
    copy_model(whole.home, home)
    paths = AppPaths.resolve(home)
    [folder] = [one for one in paths.models.iterdir() if not one.name.startswith(".")]
    ledgers = (ledger_of(folder).file, fitted_ledger(paths.fitted).file)
    assert all(file.is_file() for file in ledgers)
    return Places(folder, paths.fitted, ledgers, other=whole.other)


class Damaging:
    """Damages copies of a whole model, one after another.

    Args:
        folder: an empty one.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        sources = [save_tiny_model(folder / f"tiny-{family}", family) for family in ("llama", "qwen3")]
        (folder / "whole").mkdir()
        self.whole = make_whole(folder / "whole", sources[0], sources[1], folder / "others")
        self._tiny = with_router(load_tiny(sources[0], "tiny-llama"))

    def faults(self, mutation: Mutation, *, source: bool) -> list[str]:
        """What does not hold after a damage; an empty list is good.

        Args:
            mutation: is done to a copy.
            source: whether what the model was converted from is still there.
        """
        home = self._folder / "damaged"
        home.mkdir()
        try:
            if mutation.group == "memory":
                return self._of_a_memory(mutation, home)
            places = places_of(self.whole, home)
            file = mutation.apply(places)
            wanted = str(self.whole.source) if source else places.model.name
            return self._of_the_model(home, wanted, file, places.model.name, source=source)
        finally:
            shutil.rmtree(home)

    def _of_the_model(self, home: Path, wanted: str, file: Path, slug: str, *, source: bool) -> list[str]:
        for time in ("first", "second"):
            try:
                model, _ = loaded(home, wanted)
            except TokmemError as caught:
                named = file.name in caught.message or (file.name == "backbone.json" and slug in str(caught))
                if source or (time == "first" and not named) or "\n" in caught.message or not caught.next_step:
                    return [f"the {time} time: {caught}"]
            except Exception as caught:  # noqa: BLE001 - which is the fault that is looked for
                return [f"the {time} time: {type(caught).__name__}: {caught}"]
            else:
                if not as_before(model, self.whole):
                    return [f"answers out of a damaged {file.name}"]
        return []

    def _of_a_memory(self, mutation: Mutation, folder: Path) -> list[str]:
        files = tuple(folder / f"{number}.safetensors" for number in range(3))
        for number, file in enumerate(files):
            file.write_bytes(memory_to_bytes(self._tiny.memory("shout", number), self._tiny.backbone.fingerprint))
        file = mutation.apply(Places(folder, folder, (), files))
        try:
            memory_from_bytes(read_memory_file(ProfileFiles(None), file), self._tiny.backbone, "The memory of 'shout'")
        except TokmemError as caught:
            named = "The memory of 'shout'" in caught.message or file.name in caught.message
            return [] if named else [str(caught)]
        except Exception as caught:  # noqa: BLE001 - as above
            return [f"{type(caught).__name__}: {caught}"]
        return ["a damaged memory is used"]


def _result(steps: Iterator[Any]) -> Any:
    return [step for step in steps if not isinstance(step, float)][-1]
