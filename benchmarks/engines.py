"""The same memories in our own engine and in vLLM: are the answers the same, and what do they cost?

Two programs, since vLLM wants an environment of its own. ``ours`` trains a few steps on each procedure, answers
messages that it was not trained on, greedily and without a form, and leaves in a folder all that the other needs: the
model in plain weights, the memories, and what was answered. ``theirs`` runs where vLLM is; it reads that folder alone.

    python -m benchmarks.engines ours --model MODEL_FOLDER --folder FOLDER
    python -m benchmarks.engines theirs --folder FOLDER --out FILE.json

How well the memories answer does not matter here. ``theirs`` asks one by one, then all at once in one continuous
batch, each under a memory of its own, beside as many plain requests of the same lengths.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from benchmarks.options import positive, run_program, say
from tokmem_desk.memory.file import memory_to_bytes

ASKED, LOGITS, MODEL, BANKS = "asked.json", "logits.safetensors", "model", "banks"
PERSON = "benchmark"


def ours(given: argparse.Namespace) -> None:
    """Train, answer, and write the folder."""
    from benchmarks.data import load_tasks
    from benchmarks.methods.memories import run_training
    from tokmem_desk.generation.decoding import start_memory, step
    from tokmem_vllm.bank_service import put_memory
    from tokmem_vllm.plain_model import load_prepared, write_plain_model
    from trainer.config import preset
    from trainer.loop import Training

    backbone = load_prepared(given.model)
    write_plain_model(backbone, given.model, given.folder / MODEL)
    asked: list[dict[str, Any]] = []
    logits: dict[str, torch.Tensor] = {}
    seconds = 0.0
    for procedure in load_tasks(given.data).procedures[: given.procedures]:
        config = replace(preset("quick", seed=0), max_steps=given.steps, shared_form=False)
        small = replace(procedure, pairs=procedure.pairs[: given.pairs], held_out=())
        memory = run_training(Training(backbone, [small], config)).memories[0]
        digest = put_memory(str(given.folder / BANKS), PERSON, memory_to_bytes(memory, backbone.fingerprint))
        for pair in (procedure.held_out or procedure.pairs[given.pairs :])[: given.messages]:
            ids = backbone.format.query(pair.input)
            began = time.perf_counter()
            with torch.no_grad():
                batch, found = start_memory(backbone, memory, backbone.prefill([ids]))
                logits[str(len(asked))] = found.float().clone()
                answer: list[int] = []
                while len(answer) < given.tokens and (token := int(found.argmax())) not in backbone.format.stop_ids:
                    answer.append(token)
                    found = step(backbone, batch, token)
            seconds += time.perf_counter() - began
            asked.append({"memory": digest, "ids": ids, "answer": answer})
        say(f"{procedure.name}: {backbone.format.decode(answer)!r}")
    document = {
        "stop_ids": sorted(backbone.format.stop_ids),
        "tokens": given.tokens,
        "seconds": seconds,
        "model": backbone.model_id.rpartition("/")[2],
        "dtype": str(backbone.dtype).removeprefix("torch."),
        "steps": given.steps,
        "pairs": given.pairs,
        "asked": asked,
    }
    save_file(logits, given.folder / LOGITS)
    (given.folder / ASKED).write_text(json.dumps(document), encoding="utf-8")


def theirs(given: argparse.Namespace) -> None:
    """Ask vLLM the same, and compare."""
    from tokmem_vllm.offline import Vllm

    reference = json.loads((given.folder / ASKED).read_text(encoding="utf-8"))
    logits = load_file(given.folder / LOGITS)
    asked = reference["asked"][: given.limit]
    engine = Vllm(given.folder / MODEL, given.folder / BANKS, dtype=reference["dtype"])
    stop, limit = reference["stop_ids"], reference["tokens"]

    def questions(part: Sequence[dict[str, Any]]) -> list[tuple[str, str, list[int]]]:
        return [(PERSON, one["memory"], one["ids"]) for one in part]

    engine.answer(questions(asked[:2]), stop, 2)  # what is made at first use
    one_by_one: list[list[int]] = []
    began = time.perf_counter()
    for one in asked:
        one_by_one += engine.answer(questions([one]), stop, limit)
    alone = time.perf_counter() - began
    began = time.perf_counter()
    together = engine.answer(questions(asked), stop, limit)
    batched = time.perf_counter() - began
    # Plain requests of the same lengths: as many prompt tokens, as many answer tokens, nothing loaded.
    began = time.perf_counter()
    engine.plain([[*one["ids"], *range(100, 116)] for one in asked], [len(answer) + 1 for answer in together])
    plain = time.perf_counter() - began
    distances, first_alike = [], 0
    for place, one in enumerate(asked):
        found = engine.first_logprobs(*questions([one])[0])
        own = logits[str(place)].log_softmax(dim=-1)
        distances.append(max(abs(value - float(own[token])) for token, value in found.items()))
        first_alike += max(found, key=lambda token: found[token]) == int(own.argmax())
    same = [
        sum(a == one["answer"] for a, one in zip(answers, asked, strict=True)) for answers in (one_by_one, together)
    ]
    distances.sort()
    document = {
        "benchmark": "engines",
        **engine.facts,
        **{key: reference[key] for key in ("model", "dtype", "steps", "pairs", "tokens")},
        "answers": len(asked),
        "memories": len({one["memory"] for one in asked}),
        "same_one_by_one": same[0],
        "same_in_one_batch": same[1],
        "same_share": round(min(same) / len(asked), 4),
        "first_token_alike": first_alike,
        "first_logprob_distance_median": distances[len(distances) // 2],
        "first_logprob_distance_max": distances[-1],
        "seconds_one_by_one": round(alone, 2),
        "seconds_in_one_batch": round(batched, 2),
        "seconds_plain_requests": round(plain, 2),
        "throughput_of_plain": round(plain / batched, 3),
        "ours_seconds_one_by_one": round(reference["seconds"], 2),
    }
    say(json.dumps(document))
    given.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _main(arguments: Sequence[str] | None) -> Callable[[], None]:
    parser = argparse.ArgumentParser(prog="benchmarks.engines", description=__doc__.split("\n")[0])
    parser.add_argument("step", choices=("ours", "theirs"))
    parser.add_argument("--folder", type=Path, required=True, help="what one leaves to the other")
    parser.add_argument("--data", type=Path, default=Path("benchmarks/procedures"), help="procedures to learn")
    parser.add_argument(
        "--model", type=Path, metavar="MODEL_FOLDER", help="of ours: a prepared model, in the app's cache"
    )
    parser.add_argument("--procedures", type=positive, default=18, metavar="N", help="to train (default: 18)")
    parser.add_argument("--pairs", type=positive, default=12, metavar="N", help="of each (default: 12)")
    parser.add_argument("--messages", type=positive, default=8, metavar="N", help="of each (default: 8)")
    parser.add_argument("--steps", type=positive, default=60, metavar="N", help="of each training (default: 60)")
    parser.add_argument("--tokens", type=positive, default=32, metavar="N", help="of an answer (default: 32)")
    parser.add_argument("--limit", type=positive, metavar="N", help="questions to ask (default: all)")
    parser.add_argument("--out", type=Path, default=Path("engines.json"), metavar="FILE.json", help="of theirs")
    given = parser.parse_args(arguments)
    return lambda: (ours if given.step == "ours" else theirs)(given)


def main(arguments: Sequence[str] | None = None) -> int:
    return run_program(_main(arguments))


if __name__ == "__main__":
    sys.exit(main())
