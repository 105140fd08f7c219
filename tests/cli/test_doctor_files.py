"""What ``doctor`` says of the files that conversion and fitting wrote."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tokmem_desk.models.record import ledger_of, write_record
from tokmem_desk.models.store import ModelStore
from tokmem_desk.system.file_checks import fitted_ledger, hash_file, read_checked
from tui.cli import doctor
from tui.cli.context import Context
from tui.cli.doctor import Finding

FACTS = ("id", "source", "revision", "weights_sha256", "licence", "quantisation", "reason")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """As conversion leaves it, of files that only look like a model."""
    folder = tmp_path / "models" / "some--model"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    (folder / "model.safetensors").write_bytes(bytes(1000))
    write_record(folder, lambda: False, **dict.fromkeys(FACTS, "some/model"))
    ledger_of(folder).settle(folder / "backbone.json", hash_file(folder / "backbone.json"))
    return folder


def findings(tmp_path: Path) -> list[Finding]:
    context: Any = SimpleNamespace(
        models=ModelStore(tmp_path / "models"),
        model="some/model",
        paths=SimpleNamespace(fitted=tmp_path / "fitted"),
        console=SimpleNamespace(progress=lambda text: None),
    )
    (tmp_path / "fitted").mkdir(exist_ok=True)
    return [*doctor._files(cast(Context, context)), *doctor._model(cast(Context, context))]


def test_a_whole_model_is_called_whole(tmp_path: Path, model: Path) -> None:
    files, about = findings(tmp_path)
    assert (files.state, files.text) == ("ok", "some/model: whole, 3 files")
    assert about.state == "ok"


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "backbone.json"])
def test_a_damaged_file_is_named_and_what_to_do(tmp_path: Path, model: Path, name: str) -> None:
    data = (model / name).read_bytes()
    text = data.replace(b"llama", b"lamal").replace(bytes(100), b"1" * 100).replace(b"some/model", b"some/modeL", 2)
    (model / name).write_bytes(text)
    files, about = findings(tmp_path)
    assert files.state == "bad" and f"{name} has changed" in files.text
    assert files.next_step.startswith("Fetch or convert it again: tokmem-desk model pull some/mod")
    assert about.state == "bad" and name in about.text
    assert not ModelStore(tmp_path / "models").is_ready("some/model"), "found once, it is not loaded"


def test_fitted_files_are_new_then_whole_then_damaged(tmp_path: Path, model: Path) -> None:
    fitted = tmp_path / "fitted" / "0123-router.safetensors"
    fitted.parent.mkdir()
    fitted.write_bytes(b"numbers")
    (model / "prior.safetensors").write_bytes(b"numbers")
    unknown = [one for one in findings(tmp_path) if one.state == "note"]
    assert [one.text for one in unknown] == [
        "of some/model: not yet checked: prior.safetensors",
        "fitted here: not yet checked: 0123-router.safetensors",
    ]
    read_checked(fitted, fitted_ledger(fitted.parent), bytes)
    read_checked(model / "prior.safetensors", ledger_of(model), bytes)
    assert [one.text for one in findings(tmp_path) if "fitted file" in one.text] == [
        "of some/model: whole, 1 fitted file",
        "fitted here: whole, 1 fitted file",
    ]
    fitted.write_bytes(b"nvmbers")
    [bad] = [one for one in findings(tmp_path) if one.state == "bad"]
    assert str(fitted) in bad.text and "fitted again" in bad.next_step
    fitted.unlink()
    fitted.mkdir()
    [bad] = [one for one in findings(tmp_path) if one.state == "bad"]
    assert bad.text == f"{fitted} cannot be read: It is not a file"
