"""Loading a model draws no weights that its file replaces, and needs no symbolic mathematics."""

from __future__ import annotations

import subprocess
import sys

import torch
from torch import nn

from tests.cli.conftest import ROOT
from tokmem_desk.backbone.lean_load import without_drawing_weights

BUILD = """
import sys
from tokmem_desk.system.lean_imports import import_torch_leanly
import_torch_leanly()
import torch
from torch import nn
from tokmem_desk.backbone.lean_load import without_drawing_weights
with without_drawing_weights(), torch.device("meta"):
    nn.Embedding(5, 4), nn.Linear(4, 3)
print("sympy" in sys.modules)
with torch.device("meta"):
    nn.Embedding(5, 4)
print("sympy" in sys.modules)
"""


def test_layers_without_values_need_no_symbolic_mathematics() -> None:
    done = subprocess.run([sys.executable, "-c", BUILD], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["False", "True"], "the second shows that there is something to be saved"


def test_layers_with_values_are_drawn_as_ever() -> None:
    def made() -> tuple[nn.Linear, nn.Embedding]:
        torch.manual_seed(3)
        return nn.Linear(4, 3), nn.Embedding(5, 4)

    with without_drawing_weights():
        inside = made()
        with torch.device("meta"):
            assert nn.Linear(4, 3).weight.is_meta and nn.Embedding(5, 4).weight.is_meta
    for one, other in zip(inside, made(), strict=True):
        assert torch.equal(one.weight, other.weight)
