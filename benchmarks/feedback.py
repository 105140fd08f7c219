"""What a person's verdicts on answers are worth: quality before them, after them, and after as many new pairs.

The folder is one of ``personal``. A memory is taught a few pairs, written in two ways. A person who prefers one way,
and never says so, types further messages: a right answer gets a thumb up, of the others half are corrected and half get
a thumb down alone (``feedback_people``). ``verdicts`` goes on from the memory with what was said, ``accepted`` without
what was rejected; ``edits`` trains anew with the corrected and confirmed answers as pairs, as ``train`` does;
``new_pairs`` trains anew with as many new pairs in the preferred way. All are measured on the test pairs, written in
that way. ``gained`` is the share of what the new pairs bring. ``half`` 0 are the persons that settings may be chosen
on, 1 those that are looked at. Persons that the result file has already stay in it, so that a run may be done in parts.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.data import load_tasks
from benchmarks.feedback_people import PREFERENCES, Person, person_of
from benchmarks.methods import Context
from benchmarks.methods.memories import our_config, run_training
from benchmarks.models import load
from benchmarks.options import Options, add_method_options, make_parser, positive, run_program, say
from benchmarks.result import predictions_path
from profiles.files.atomic import write_text
from tokmem_desk.errors import BadInputError
from tokmem_desk.generation.single import answer_single
from tokmem_desk.memory.memory import Memory
from tokmem_desk.procedures import ExamplePair, Procedure
from trainer.config import TrainConfig
from trainer.evaluate import answer_tokens
from trainer.loop import Training
from trainer.metrics import score_answers
from trainer.verdicts import Refinement, refinement_config

METHODS = ("verdicts", "accepted", "edits", "new_pairs")
FIGURES = ("exact_match", "rouge_l", "preferred")


@dataclass(frozen=True, slots=True)
class FeedbackOptions(Options):
    """What only this benchmark asks for.

    Attributes:
        taught: pairs that a memory begins with.
        asks: answers that each person judges.
    """

    taught: int = 9
    asks: int = 15


def main(arguments: Sequence[str] | None = None) -> int:
    parser = make_parser("feedback", __doc__)
    add_method_options(parser, list(METHODS))
    parser.add_argument("--taught", type=positive, default=9, metavar="N", help="pairs to begin with (default: 9)")
    parser.add_argument("--asks", type=positive, default=15, metavar="N", help="answers each judges (default: 15)")
    options = FeedbackOptions(**vars(parser.parse_args(arguments)))
    return run_program(lambda: run(options))


def run(options: FeedbackOptions) -> None:
    """Measure every person and write the result after each.

    Raises:
        BadInputError: the folder has none of the procedures.
    """
    data = {procedure.name: procedure for procedure in load_tasks(options.data).procedures}
    chosen = [one for one in PREFERENCES if one.procedure in data and one.procedure in (options.names or data)]
    if not chosen:
        raise BadInputError(f"{options.data} has none of the procedures that a preference is known for.")
    loaded = load(options)
    context = Context(loaded, {})
    head = {
        "benchmark": "feedback",
        "backbone": loaded.facts,
        "data": {"name": options.data.name, "taught": options.taught, "asks": options.asks},
        "seeds": list(range(options.seeds)),
    }
    people = _measured(options, head)
    done = {(one["procedure"], one["seed"]) for one in people}
    with predictions_path(options.out).open("a" if people else "w", encoding="utf-8") as predictions:
        for seed in range(options.seeds):
            for preference in chosen:
                if (preference.procedure, seed) in done:
                    continue
                person = person_of(preference, data[preference.procedure], options.taught, options.asks, seed)
                found, rows = _measure(context, person, options)
                people.append(found)
                for row in rows:
                    predictions.write(json.dumps({"procedure": preference.procedure, "seed": seed, **row}) + "\n")
                predictions.flush()
                write_text(options.out, json.dumps({**head, **summary(people)}, indent=1) + "\n")


def _measured(options: FeedbackOptions, head: dict[str, Any]) -> list[dict[str, Any]]:
    """The persons of an earlier part of this run: same model, data and settings."""
    try:
        before = json.loads(options.out.read_text("utf-8"))
        same = (before["backbone"]["fingerprint"], before["data"]) == (head["backbone"]["fingerprint"], head["data"])
        people: list[dict[str, Any]] = before["people"]
    except (OSError, ValueError, KeyError):
        return []
    wanted = {"before", *options.methods}
    return [one for one in people if same and set(one["figures"]) == wanted]


def summary(people: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over persons, for all and for each half, and the persons themselves."""
    halves = {str(half): _means([one for one in people if one["half"] == half]) for half in (0, 1)}
    return {"all": _means(people), "halves": {half: one for half, one in halves.items() if one}, "people": list(people)}


def _means(people: Sequence[dict[str, Any]]) -> dict[str, Any]:
    if not people:
        return {}
    methods = people[0]["figures"]
    figures: dict[str, dict[str, float]] = {
        method: {key: statistics.fmean(one["figures"][method][key] for one in people) for key in FIGURES}
        for method in methods
    }
    said = {key: sum(one["said"][key] for one in people) for key in people[0]["said"]}
    gained = {
        method: {key: _share(figures["before"][key], figures[method][key], figures["new_pairs"][key])
                 for key in FIGURES}
        for method in figures if method not in ("before", "new_pairs") and "new_pairs" in figures
    }  # fmt: skip
    return {"persons": len(people), "said": said, "figures": figures, "gained": gained}


def _share(before: float, after: float, most: float) -> float | None:
    """The share of a gain; None where there was nothing to gain."""
    return (after - before) / (most - before) if most > before else None


def _measure(context: Context, person: Person, options: FeedbackOptions) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    procedure, name = person.procedure, person.procedure.name
    config = our_config(context, person.seed)
    began = time.perf_counter()
    memory = _trained(context, procedure, config)
    seconds = {"before": time.perf_counter() - began}
    verdicts, pairs = person.judge(_answers(context, memory, person.asks))
    said = {
        "good": len(person.asks) - len(verdicts),
        "corrected": sum(one.accepted is not None for one in verdicts),
        "bad": sum(one.accepted is None for one in verdicts),
    }
    figures = {"before": _quality(context, memory, person)}
    rows = [{"method": "before", **row} for row in figures["before"].pop("rows")]
    for method in options.methods:
        began = time.perf_counter()
        more = person.asks if method == "new_pairs" else tuple(pairs)
        taught = replace(procedure, pairs=(*procedure.pairs, *more))
        if method in ("verdicts", "accepted"):
            refined = refinement_config(memory, seed=person.seed)
            rejected = tuple(verdicts) if method == "verdicts" else ()
            made = _trained(context, taught, refined, Refinement(memory, rejected))
        else:
            made = _trained(context, taught, config)
        seconds[method] = time.perf_counter() - began
        figures[method] = _quality(context, made, person)
        rows += [{"method": method, **row} for row in figures[method].pop("rows")]
        say(f"{name}, seed {person.seed}, {method}: " + ", ".join(f"{k} {figures[method][k]:.3f}" for k in FIGURES))
    kind, half = person.preference.kind, person.preference.half
    facts = {"procedure": name, "preference": kind, "half": half, "seed": person.seed, "said": said}
    return {**facts, "figures": figures, "train_seconds": seconds}, rows


def _trained(
    context: Context, procedure: Procedure, config: TrainConfig, refinement: Refinement | None = None
) -> Memory:
    training = Training(context.backbone, [procedure], config, prior=context.loaded.prior, refinement=refinement)
    return run_training(training).memories[0]


def _answers(context: Context, memory: Memory, pairs: Sequence[ExamplePair]) -> list[str]:
    limit = answer_tokens(context.backbone, pairs)
    return [answer_single(context.backbone, memory, pair.input, max_tokens=limit)[0] for pair in pairs]


def _quality(context: Context, memory: Memory, person: Person) -> dict[str, Any]:
    tests = person.procedure.held_out
    answers = _answers(context, memory, tests)
    scores = score_answers(answers, tests)
    form = person.preference.form
    return {
        "exact_match": scores.exact_match,
        "rouge_l": scores.rouge_l,
        "preferred": statistics.fmean(bool(re.fullmatch(form, one.strip(), re.DOTALL)) for one in answers),
        "rows": [
            {"input": pair.input, "wanted": pair.response, "answer": answer}
            for pair, answer in zip(tests, answers, strict=True)
        ],
    }


if __name__ == "__main__":
    sys.exit(main())
