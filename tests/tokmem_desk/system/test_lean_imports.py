"""Libraries come without torch's compiler, work, and find it as soon as it is used."""

from __future__ import annotations

import subprocess
import sys

_BITSANDBYTES = """
import sys, torch
from tokmem_desk.system.lean_imports import import_bitsandbytes

compile_function = torch.compile
import_bitsandbytes()
assert torch.compile is compile_function
from bitsandbytes.functional import dequantize_4bit, quantize_4bit

weight = torch.linspace(-1, 1, 4096).view(64, 64).bfloat16()
packed, state = quantize_4bit(weight, quant_type="nf4")
assert float((dequantize_4bit(packed, state) - weight).abs().max()) < 0.2
print("torch._inductor.compile_fx" in sys.modules)
"""

_ENGINE = """
import sys
from tokmem_desk.system.lean_imports import import_bitsandbytes, import_torch_leanly

import_torch_leanly()
import torch
from transformers import LlamaConfig, LlamaForCausalLM
import tokmem_desk.backbone.backbone, tui.engine.engine

import_bitsandbytes()
sizes = dict(hidden_size=8, intermediate_size=8, num_attention_heads=2, num_hidden_layers=1, vocab_size=16)
model = LlamaForCausalLM(LlamaConfig(**sizes))
optimiser = torch.optim.AdamW(model.parameters(), lr=0.1)
tokens = torch.tensor([[1, 2, 3]])
losses = []
for _ in range(5):
    loss = model(input_ids=tokens, labels=tokens).loss
    losses.append(float(loss))
    loss.backward()
    optimiser.step()
    optimiser.zero_grad()
assert losses[-1] < losses[0]
print("torch._dynamo.convert_frame" in sys.modules, "torch.distributed.tensor" in sys.modules)
assert torch.distributed.is_available()

import torch._dynamo
assert torch.compile(lambda x: x + 1, backend="eager")(torch.ones(2)).tolist() == [2, 2]
print("torch._dynamo.convert_frame" in sys.modules, sys.modules["torch._dynamo"] is torch._dynamo)
"""


def printed(script: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_bitsandbytes_loads_no_compiler() -> None:
    assert printed(_BITSANDBYTES) == ["False"]


def test_a_model_is_loaded_and_trained_without_the_compiler_which_is_there_when_asked_for() -> None:
    assert printed(_ENGINE) == ["False", "False", "True", "True"]
