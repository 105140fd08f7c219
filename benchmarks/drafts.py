"""What pairs are worth that a larger model drafts: a few pairs of a person's, the same with drafts, and all the pairs.

Nobody looks at the drafts: those are taken that have the form of the person's pairs and that the larger model answers
alike when asked twice. A person who drops wrong ones can only do better. What that choice is worth is seen where the
right answer is known: the larger model answers the test messages under the same pairs.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.data import draw, half_of, load_tasks
from benchmarks.measure import measure
from benchmarks.methods import METHODS, Context
from benchmarks.models import load, load_to_chat
from benchmarks.options import Options, make_parser, positive, run_program, say
from benchmarks.result import ResultFile, Run
from tokmem_desk.backbone.backbone import Backbone
from tokmem_desk.procedures import ExamplePair, Procedure
from trainer.metrics import exact_match
from tui.engine.drafting import Answers, drafts

_DRAFTED_SEED = 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = make_parser("drafts", __doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder in the data format")
    parser.add_argument("--names", required=True, metavar="A,B", help="the procedures")
    parser.add_argument("--teacher", required=True, metavar="MODEL", help="the larger model: an id, a folder or a GGUF")
    parser.add_argument("--pairs", type=positive, default=6, metavar="N", help="pairs of the person's (default: 6)")
    parser.add_argument("--drafts", type=positive, default=20, metavar="N", help="drafts of each (default: 20)")
    parser.add_argument("--limit", type=positive, metavar="N", help="test examples per procedure at most")
    given = parser.parse_args(arguments)
    return run_program(lambda: run(given))


def run(given: Any) -> None:
    """Draft with the larger model, then learn with the other one.

    Raises:
        TokmemError: the data or a model cannot be used.
    """
    names = tuple(given.names.split(","))
    shared: dict[str, Any] = {"data": given.data, "out": given.out, "device": given.device, "home": given.home}
    data = load_tasks(given.data)
    known = {procedure.name: procedure for procedure in data.procedures}
    whole = [draw(known[name], pairs=None, limit=given.limit, seed=_DRAFTED_SEED, described=False) for name in names]
    few = [
        draw(known[name], pairs=given.pairs, limit=given.limit, seed=_DRAFTED_SEED, described=False) for name in names
    ]
    teacher, facts = load_to_chat(Options(**shared, model=given.teacher))
    taught, choice = _drafted(teacher, few, given.drafts)
    del teacher  # both need not fit into memory at once
    context = Context(load(Options(**shared, model=given.model)), {})
    head = {
        "benchmark": "drafts",
        "backbone": context.loaded.facts,
        "teacher": facts,
        "data": {"folder": given.data.name, "pairs": given.pairs, "drafts": given.drafts},
        "choice": choice,
        "seeds": [_DRAFTED_SEED],
    }
    sides = {"few": few, "few_and_drafts": taught, "all": whole}
    with ResultFile(given.out, head) as result:
        runs: dict[str, list[Run]] = {}
        for side, procedures in sides.items():
            say(f"{side}: {', '.join(str(len(p.pairs)) for p in procedures)} pairs")
            measured = measure(METHODS["ours"], context, procedures, [], _DRAFTED_SEED, half_of(data.procedures))
            runs[side] = [measured.run]
            result.add({"procedures": len(names)}, runs)
            say("  " + "  ".join(f"{k} {v:.3f}" for k, v in measured.run.metrics.items() if v is not None))


def _drafted(
    backbone: Backbone, procedures: Sequence[Procedure], count: int
) -> tuple[list[Procedure], dict[str, dict[str, Any]]]:
    """The procedures with the drafts that speak for themselves; and what is known of that choice, by procedure."""
    taught, choice = [], {}
    for procedure in procedures:
        chance = random.Random(_DRAFTED_SEED)
        made: list[tuple[ExamplePair, bool | None, bool | None]] = []
        attempts = 0
        for attempt in drafts(backbone, procedure, None, count, chance):
            if attempt is not None:
                attempts = attempt.attempts
                if attempt.pair is not None:
                    made.append((attempt.pair, attempt.fits, attempt.sure))
        good = [pair for pair, fits, sure in made if fits is not False and sure]
        taught.append(replace(procedure, pairs=(*procedure.pairs, *good)))
        choice[procedure.name] = {
            "attempts": attempts,
            "drafted": len(made),
            "taken": len(good),
            "on_test_messages": _choice_on(backbone, procedure),
        }
        say(f"{procedure.name}: {choice[procedure.name]}")
    return taught, choice


def _choice_on(backbone: Backbone, procedure: Procedure) -> dict[str, int]:
    """How many test messages the model answers right, of all and of those that would be taken."""
    answers = Answers(backbone, procedure, None)
    counts = {"messages": 0, "right": 0, "taken": 0, "taken_and_right": 0}
    for pair in procedure.held_out:
        made = ExamplePair(pair.input, answers.to(pair.input))
        right = exact_match(made.response, (pair.response,)) == 1.0
        taken = answers.fit(made) is not False and bool(answers.again(made))
        counts["messages"] += 1
        counts["right"] += right
        counts["taken"] += taken
        counts["taken_and_right"] += right and taken
    return counts


if __name__ == "__main__":
    sys.exit(main())
