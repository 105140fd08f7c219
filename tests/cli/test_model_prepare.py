"""``model prepare``: learned, shown by ``model info``, stopped and gone on with."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from profiles.files.paths import AppPaths
from tests.cli.conftest import SCHEMAS, CommandLine, interrupt_when, real_at
from tests.engine.conftest import copy_model

pytestmark = pytest.mark.slow


@pytest.fixture
def with_model(own_home: Path, prepared_home: Path) -> CommandLine:
    """A home in which the tiny model is ready."""
    copy_model(prepared_home, own_home)
    return real_at(own_home)


def start(tokmem: CommandLine, model: Path) -> tuple[str, str]:
    """What ``model info`` says of where memories start, as JSON and in words."""
    text = tokmem("model", "info", str(model)).out
    return tokmem("model", "info", str(model), "--json").json("model-info")["prior"], text


def test_it_learns_and_model_info_says_so(with_model: CommandLine, tiny_model_folder: Path) -> None:
    prior, text = start(with_model, tiny_model_folder)
    assert prior == "none" and "their own pairs alone; see: tokmem-desk model prepare" in text
    ended = with_model("model", "prepare", str(tiny_model_folder), "--steps", "2", "--json")
    result = ended.json("model-prepare")
    assert result["steps"] == 2 and result["digest"] and Path(result["file"]).is_file()
    assert "prior already" not in ended.err
    prior, text = start(with_model, tiny_model_folder)
    assert prior == "learned" and "the prior learned on this computer" in text
    again = with_model("--model", str(tiny_model_folder), "model", "prepare", "--steps", "2")
    assert again.code == 0 and "prior already" in again.err
    assert "Those trained before stay as they are." in again.out
    backbone = with_model("model", "pull", str(tiny_model_folder), "--json").json("change")["backbone"]
    assert backbone["prior"] == result["digest"], "the same seed learned the same"


def test_interrupted_it_changes_nothing_and_goes_on(with_model: CommandLine, tiny_model_folder: Path) -> None:
    process = with_model.start("model", "prepare", str(tiny_model_folder), "--steps", "60", "--json")
    checkpoints = AppPaths.resolve(with_model.home).checkpoints / "prepare"
    ended = interrupt_when(process, lambda: any(checkpoints.glob("*.safetensors")))
    assert ended.code == 130 and "the same command goes on from here" in ended.err
    result = json.loads(ended.out)
    jsonschema.validate(result, json.loads((SCHEMAS / "model-prepare.schema.json").read_text("utf-8")))
    assert result["cancelled"] and result["digest"] is None and not Path(result["file"]).exists()
    assert start(with_model, tiny_model_folder)[0] == "none"
    again = with_model("model", "prepare", str(tiny_model_folder), "--steps", "60")
    assert again.code == 0 and "Going on where the interrupted run stopped." in again.err
    assert not any(checkpoints.iterdir())


def test_numbers_that_are_none(tokmem: CommandLine) -> None:
    ended = tokmem("model", "prepare", "default", "--steps", "0")
    assert ended.code == 2 and "too small" in ended.err
