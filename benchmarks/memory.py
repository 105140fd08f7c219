"""How much memory the conversion of a model takes, beside what it makes of it.

Each source is converted in a process of its own, whose resident peak the kernel keeps: libraries and all. What the
libraries take before any weight is read is told beside it. Allowed are the converted weights, the largest tensor in
16 bit and one GiB.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.options import run_program, say
from benchmarks.peaks import peak_memory, resident_mb
from profiles.files.atomic import write_text
from tokmem_desk.errors import BadInputError

MIB = 2**20
_VOCABULARY = 32_000
_SHARD = 2**28
_WIDTH = 2048


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.memory", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the result file")
    parser.add_argument("--layers", type=int, default=16, help="of the made-up model; 16 make 0.9 billion parameters")
    parser.add_argument("--source", type=Path, action="append", default=[], help="convert this folder or GGUF too")
    parser.add_argument("--child", nargs=2, metavar=("SOURCE", "STORE"), help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.child:
        sys.stdout.write(json.dumps(_convert(Path(given.child[0]), Path(given.child[1]))) + "\n")
        return 0
    return run_program(lambda: run(given.out, given.layers, given.source))


def run(out: Path, layers: int, sources: Sequence[Path]) -> None:
    """Convert all sources and write the result.

    Raises:
        BadInputError: a source cannot be converted.
    """
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        made = Path(temporary) / "made-up"
        say(f"Writing a made-up Llama of {layers} layers, shard by shard")
        write_checkpoint(made, layers)
        for source in (made, *sources):
            say(f"Converting {source.name}")
            found[source.name] = _measured(source, Path(temporary) / "store" / source.name)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, json.dumps({"benchmark": "memory", "conversions": found}, indent=1) + "\n")


def _measured(source: Path, store: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.memory", "--out", "-", "--child", str(source), str(store)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise BadInputError(f"{source} could not be converted: {last}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def _convert(source: Path, store: Path) -> dict[str, Any]:
    """Convert in this process and tell its peak, in MiB."""
    import bitsandbytes
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from tokmem_desk.models.record import read_record
    from tokmem_desk.models.safetensors_file import read_entries
    from tokmem_desk.models.store import ModelStore
    from tokmem_desk.system.device import choose_device

    assert AutoModelForCausalLM and AutoTokenizer and bitsandbytes
    device = choose_device("cpu")
    torch.zeros(1024, 1024) @ torch.zeros(1024, 1024)

    before, began = resident_mb(), time.perf_counter()
    with peak_memory("cpu") as peak:
        folder = ModelStore(store).ensure(str(source), device, lambda *_: None)
    seconds, record = time.perf_counter() - began, read_record(folder)
    entries = [entry for file in folder.glob("model*.safetensors") for entry in read_entries(file)]
    weights = sum(entry.end - entry.begin for entry in entries) / MIB
    # Packed tensors have half a byte for each weight.
    largest = max((e.end - e.begin) * (4 if e.dtype == "U8" else 1) for e in entries) / MIB
    return {
        "seconds": seconds,
        "libraries_mb": before,
        "peak_mb": peak.mb,
        "weights_mb": weights,
        "largest_tensor_mb": largest,
        "allowed_mb": weights + largest + 1024,
        "quantised_share": record.quantised_share if record else None,
    }


def write_checkpoint(folder: Path, layers: int) -> None:
    """A random Llama in bfloat16 with a tokenizer, never whole in memory."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, LlamaConfig

    tokenizer = _tokenizer()
    config = LlamaConfig(
        vocab_size=_VOCABULARY,
        hidden_size=_WIDTH,
        intermediate_size=3 * _WIDTH,
        num_hidden_layers=layers,
        num_attention_heads=16,
        num_key_value_heads=8,
        tie_word_embeddings=True,
        architectures=["LlamaForCausalLM"],
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    with torch.device("meta"):
        shapes = {n: t.shape for n, t in AutoModelForCausalLM.from_config(config).state_dict().items()}
    shapes.pop("lm_head.weight")
    shard: dict[str, Any] = {}
    names: dict[str, str] = {}
    number = 1
    for name, shape in shapes.items():
        shard[name] = torch.randn(shape).mul_(0.02).to(torch.bfloat16)
        names[name] = f"model-{number:05}.safetensors"
        if sum(tensor.nbytes for tensor in shard.values()) > _SHARD or name == list(shapes)[-1]:
            save_file(shard, folder / names[name], {"format": "pt"})
            shard, number = {}, number + 1
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {f"w{number}": number for number in range(_VOCABULARY)}
    first, second = "w0", "w1"
    tokenizer = Tokenizer(models.WordLevel(words, unk_token=first))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=first, eos_token=second, pad_token=second)


if __name__ == "__main__":
    sys.exit(main())
