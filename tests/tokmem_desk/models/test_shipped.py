"""Files that come with the program for one model: their names, and that each is for the default model as it runs."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest

from tokmem_desk.backbone.backbone import Backbone
from tokmem_desk.memory.file import read_metadata
from tokmem_desk.models.catalogue import ADAPTED, DEFAULT_ID
from tokmem_desk.models.shipped import Kind, shipped_file, shipped_name


def test_names() -> None:
    assert shipped_name("prior", "Some/Model 1.5B" + ADAPTED) == "prior-some-model-1.5b-adapted.safetensors"
    assert shipped_name("adapter", DEFAULT_ID) == f"adapter-{DEFAULT_ID}.safetensors"
    fitted = Path(str(resources.files("tokmem_desk"))) / "fitted"
    assert Path(str(shipped_file("adapter", "x"))) == fitted / "adapter-x.safetensors"
    assert not shipped_file("adapter", "x").is_file()


@pytest.mark.real_model
@pytest.mark.parametrize("kind", ["prior", "adapter"])
def test_the_default_model_has_one_of_each(real_backbone: Backbone, kind: Kind) -> None:
    metadata = read_metadata(shipped_file(kind, DEFAULT_ID).read_bytes())
    assert metadata["format"] == f"tokmem-{kind}"
    assert metadata["fingerprint"] == real_backbone.fingerprint.digest
