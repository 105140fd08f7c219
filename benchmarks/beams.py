"""What a beam search over answers that are held to a form brings, and what it costs.

The same memories answer with several widths, a message at a time, in turn, so that whatever else the machine does
meets all of them. Methods are widths: ``width-1`` is greedy decoding within the form.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarks import settings
from benchmarks.data import load_tasks
from benchmarks.learning import drawn
from benchmarks.methods import Context
from benchmarks.methods.memories import learn_ours
from benchmarks.models import load
from benchmarks.options import Options, run_methods, say
from benchmarks.result import Metrics, ResultFile, Run, mean_over
from tokmem_desk.generation.recall import answer_batch
from trainer.evaluate import answer_tokens
from trainer.metrics import score_answers

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.memory.memory import Memory
    from tokmem_desk.procedures import Procedure

METHODS = ("width-1", "width-2", "width-4", "width-8")


def main(arguments: Sequence[str] | None = None) -> int:
    return run_methods("beams", __doc__, METHODS, run, arguments)


def run(options: Options) -> None:
    """Learn with every seed, answer with every width, and write the result.

    Raises:
        TokmemError: the data or the model cannot be used.
    """
    data = load_tasks(options.data)
    loaded = load(options)
    context = Context(loaded, settings.chosen("personal", loaded.backbone.model_id))
    head = {
        "benchmark": "beams",
        "backbone": loaded.facts,
        "data": {"folder": options.data.name, "pairs": options.pairs, "limit": options.limit},
        "seeds": list(range(options.seeds)),
    }
    runs: dict[str, list[Run]] = {}
    with ResultFile(options.out, head) as result:
        for seed in range(options.seeds):
            count = max(options.procedures, default=None)
            procedures = [p for p in drawn(options, data, count, options.pairs, seed) if p.held_out]
            say(f"seed {seed}: learning {len(procedures)} procedures")
            memories = learn_ours(context, procedures, seed).memories
            figures: dict[str, dict[str, Metrics]] = {method: {} for method in options.methods}
            for procedure in procedures:
                measured = _measured(loaded.backbone, procedure, memories[procedure.name], options.methods)
                for method, of_method in measured.items():
                    figures[method][procedure.name] = of_method
            for method, per_procedure in figures.items():
                runs.setdefault(method, []).append(Run(mean_over([*per_procedure.values()]), per_procedure))
            result.add({"procedures": len(procedures), "pairs": options.pairs}, runs)


def _measured(backbone: Backbone, procedure: Procedure, memory: Memory, methods: Sequence[str]) -> dict[str, Metrics]:
    """Figures of each width."""
    limit = answer_tokens(backbone, procedure.held_out)
    answers: dict[str, list[str]] = {method: [] for method in methods}
    seconds = dict.fromkeys(methods, 0.0)
    for pair in procedure.held_out:
        query = backbone.format.query(pair.input)
        for method in methods:
            width = int(method.removeprefix("width-"))
            began = time.perf_counter()
            answers[method] += answer_batch(
                backbone, [query], [memory], texts=[pair.input], max_tokens=limit, width=width
            )
            seconds[method] += time.perf_counter() - began
    measured: dict[str, Metrics] = {}
    for method in methods:
        scores = score_answers(answers[method], procedure.held_out, procedure.pattern)
        each = seconds[method] / len(procedure.held_out)
        say(f"{procedure.name}, {method}: ROUGE-L {scores.rouge_l:.3f}, {each:.2f} s")
        measured[method] = {
            "rouge_l": scores.rouge_l,
            "exact_match": scores.exact_match,
            "form_valid": scores.form_valid,
            "query_seconds": each,
            "seconds_to_first": seconds[method] / seconds[methods[0]],
        }
    return measured


if __name__ == "__main__":
    sys.exit(main())
