"""Damaged files of ours: repaired where nothing is lost, else refused by name, and never answered from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from profiles.encryption.profile_files import ProfileFiles
from profiles.store.memories import read_memory_file
from tests.chaos.damage import Whole, as_before, loaded, make_whole, places_of
from tests.chaos.mutations import Mutation, Places, mutations
from tests.tiny_loaded import TinyModel
from tokmem_desk.errors import TokmemError
from tokmem_desk.memory.file import memory_from_bytes, memory_to_bytes
from tui.engine.models import LoadedModel

COUNT = 72
OF_MODEL = ("weights", "config", "tokenizer", "record", "beside", "fitted", "ledger")
LIST = mutations(COUNT, groups=OF_MODEL)


@pytest.fixture(scope="module")
def whole(tiny_model_folder: Path, tiny_folder: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Whole:
    home, others = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("other")
    return make_whole(home, tiny_model_folder, tiny_folder("qwen3"), others)


@pytest.fixture
def places(whole: Whole, own_home: Path) -> Places:
    return places_of(whole, own_home)


def assert_answers_as_before(model: LoadedModel, whole: Whole) -> None:
    assert as_before(model, whole)


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
        memory_from_bytes(read_memory_file(ProfileFiles(None), file), tiny.backbone, "The memory of 'shout'")


def test_the_list_is_seeded_and_covers_every_group() -> None:
    assert [one.name for one in mutations(200)][:40] == [one.name for one in mutations(40)]
    assert len({one.name for one in mutations(200)}) == 200
    assert {one.group for one in LIST} == set(OF_MODEL)
