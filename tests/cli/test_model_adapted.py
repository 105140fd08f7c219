"""The adapted form of a model on the command line: listed, described, chosen and removed where it can be used."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from profiles.files.paths import AppPaths
from tests.cli.conftest import CommandLine
from tests.tui.scripted_engine import make_model
from tokmem_desk.models.catalogue import ADAPTED, ADAPTER_FILE, DEFAULT_ID
from tokmem_desk.models.store import ModelStore

ADAPTED_ID = DEFAULT_ID + ADAPTED
QWEN = "Qwen/Qwen2.5-0.5B-Instruct"


def listed(tokmem: CommandLine) -> list[str]:
    """The ids of ``model list``."""
    return [one["id"] for one in tokmem("model", "list", "--json").json("model-list")["models"]]


@pytest.fixture
def store(own_home: Path) -> ModelStore:
    return ModelStore(AppPaths.resolve(own_home).models)


def test_the_shipped_adapter_counts_once_the_model_is_here(tokmem: CommandLine, store: ModelStore) -> None:
    assert ADAPTED_ID not in listed(tokmem)
    for action in ("use", "info", "remove"):
        ended = tokmem("model", action, ADAPTED_ID)
        assert ended.code == 1 and f"tokmem-desk model pull {DEFAULT_ID}" in ended.err, action
    make_model(store, "default")
    make_model(store, QWEN)
    ids = listed(tokmem)
    assert ids[:2] == [DEFAULT_ID, ADAPTED_ID] and QWEN + ADAPTED not in ids
    plain = tokmem("model", "info", "default", "--json").json("model-info")
    found = tokmem("model", "info", "default" + ADAPTED, "--json").json("model-info")
    assert (plain["adapter"], found["adapter"]) == ("shipped", "shipped")
    assert (plain["prior"], found["prior"]) == ("shipped", "none"), "memories start elsewhere on the adapted model"
    assert found["id"] == ADAPTED_ID and found["ready"] and not found["in_use"]
    assert "Plain chat is worse" in found["note"] and "Plain chat" not in plain["note"]
    assert "the adapter that comes with the program" in tokmem("model", "info", ADAPTED_ID).out
    assert f"model use default{ADAPTED}" in tokmem("model", "info", "default").out
    used = tokmem("model", "use", ADAPTED_ID, "--json").json("change")
    assert used["names"] == [ADAPTED_ID]
    models = tokmem("model", "list", "--json").json("model-list")["models"]
    assert [one["id"] for one in models if one["in_use"]] == [ADAPTED_ID]
    assert tokmem("model", "info", ADAPTED_ID, "--json").json("model-info")["in_use"]


def test_a_model_without_an_adapter_has_no_adapted_form(tokmem: CommandLine, store: ModelStore) -> None:
    make_model(store, QWEN)
    assert tokmem("model", "info", QWEN, "--json").json("model-info")["adapter"] == "none"
    for action in ("use", "info", "remove"):
        ended = tokmem("model", action, QWEN + ADAPTED)
        assert ended.code == 1 and f"tokmem-desk adapt --model {QWEN}" in ended.err, action


def test_removing_the_adapted_form_leaves_the_model(tokmem: CommandLine, store: ModelStore) -> None:
    make_model(store, "default")
    refused = tokmem("model", "remove", ADAPTED_ID)
    assert refused.code == 1 and "comes with the program and cannot be removed" in refused.err
    own = store.folder / DEFAULT_ID / ADAPTER_FILE
    own.write_bytes(bytes(2048))
    assert tokmem("model", "info", ADAPTED_ID, "--json").json("model-info")["adapter"] == "made"
    assert "the adapter made on this computer" in tokmem("model", "info", ADAPTED_ID).out
    removed = tokmem("model", "remove", ADAPTED_ID, "--json").json("change")
    assert removed["freed_bytes"] == 2048 and not own.exists() and store.is_ready("default")
    own.write_bytes(bytes(2048))
    assert "comes with the program is used" in tokmem("model", "remove", ADAPTED_ID).err
    assert ADAPTED_ID in listed(tokmem)


def test_adapt_says_that_the_shipped_one_gives_way(scripted: CommandLine, store: ModelStore) -> None:
    make_model(store, "default")
    said = scripted("adapt").err  # that engine then refuses the work itself
    assert "the adapter that comes with the program already; the new one takes its place" in said
    assert "have to be trained anew" in said


@pytest.mark.slow
def test_adapt_makes_one_and_says_so_next_time(real: CommandLine, tiny_model_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model_folder, tmp_path / "tiny")
    plain = ("--model", str(folder))
    first = real(*plain, "adapt", "--examples", "2", "--json")
    assert Path(first.json("adapt")["file"]).name == ADAPTER_FILE and "takes its place" not in first.err
    found = real("model", "info", f"{folder}{ADAPTED}", "--json").json("model-info")
    assert found["adapter"] == "made" and found["id"] == first.json("adapt")["id"]
    again = real(*plain, "adapt", "--examples", "2")
    assert again.code == 0 and "the adapter made on this computer already; the new one takes its place" in again.err
    refused = real("--model", f"{folder}{ADAPTED}", "adapt", "--examples", "2")
    assert refused.code == 4 and "adapted already" in refused.err and "takes its place" not in refused.err
