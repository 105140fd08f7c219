"""How fast things are, as ratios taken in one run.

training  plain full-sequence training against training on cached queries (the paper's setting)
answers   time to the first token of a routed answer against plain chat and one pass over the span
conversation  time to the first token over 20 turns of chat, with and without what was read before
device    memory, tokens a second, seconds a training step
llama_cpp  tokens a second beside llama.cpp, with the same model and threads (needs --gguf and the extra llama)
start     --help, the first frame of the app, and a first answer: a command that loads the model and answers
first_use  what one waits for who takes a model for the first time, and the peak memory of each step; in a new home
fits      what is learned about a model once: seconds of the processor for each part

All but llama_cpp, first_use and fits are measured unless some are named. Without --data the sample procedures that ship
with the program serve.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.data import choose_procedures, draw, load_tasks
from benchmarks.options import Options, make_parser, positive, run_program, say
from benchmarks.result import Run, summarise
from profiles.files.atomic import write_text
from tokmem_desk import samples
from tokmem_desk.procedures import Procedure

USUAL = ("training", "answers", "conversation", "device", "start")
SECTIONS = (*USUAL, "llama_cpp", "first_use", "fits")
_OF_COMMANDS = {"start", "first_use"}
"""Sections that run the program itself; the others load the model here."""

TRAINING_PROCEDURES = (
    "sst2_polarity_classification",
    "sentiment140_classification",
    "commonsenseqa_answer_generation",
    "evalution_relation_extraction",
    "outcome_extraction",
    "antonyms",
    "singular_to_plural",
    "active_to_passive",
    "larger_animal",
    "num_to_verbal",
)
"""What training is timed on where the data has all of them; else the first ten procedures there are."""

_PAIRS = 40
_BANK_PROCEDURES = 3


def main(arguments: Sequence[str] | None = None) -> int:
    parser = make_parser("speed", __doc__)
    parser.add_argument("--data", type=Path, help="folder of procedures (default: the shipped samples)")
    parser.add_argument("--sections", type=_sections, default=USUAL, metavar="A,B", help=", ".join(SECTIONS))
    parser.add_argument("--procedures", type=positive, default=10, metavar="N", help="in training (default: 10)")
    parser.add_argument("--pairs", type=positive, default=_PAIRS, metavar="N", help="per procedure (default: 40)")
    parser.add_argument("--steps", type=positive, metavar="N", help="training steps of each kind (default: one epoch)")
    parser.add_argument("--gguf", type=Path, metavar="FILE", help="the model for llama.cpp, in 4 bit")
    given = parser.parse_args(arguments)
    return run_program(lambda: run(given))


def _sections(text: str) -> tuple[str, ...]:
    found = tuple(part.strip() for part in text.split(","))
    unknown = [name for name in found if name not in SECTIONS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)} is none of {', '.join(SECTIONS)}")
    return found


def run(given: argparse.Namespace) -> None:
    """Measure the asked sections and write the result.

    Raises:
        TokmemError: the data or the model cannot be used.
    """
    document: dict[str, Any] = {"benchmark": "speed", "seeds": [0], "methods": {}}
    if "first_use" in given.sections:
        from benchmarks.speed_first_use import measure_first_use

        document["first_use"] = measure_first_use(given.model)
        _write(given.out, document)
    if not _OF_COMMANDS.issuperset(given.sections):
        _measure_model(given, document)
    if "start" in given.sections:
        from benchmarks.speed_start import measure_start

        say("Starting the program")
        document["start"] = measure_start(given.home, given.model)
    _write(given.out, document)


def _measure_model(given: argparse.Namespace, document: dict[str, Any]) -> None:
    from benchmarks.methods import Context
    from benchmarks.models import load
    from benchmarks.speed_answers import measure_device, measure_first_token
    from benchmarks.speed_training import measure_training

    procedures = _procedures(given)
    loaded = load(Options(given.data or Path(), given.out, given.model, given.device, given.home))
    context = Context(loaded, {})
    document["backbone"] = loaded.facts
    document["data"] = {"name": given.data.name if given.data else "samples", "pairs": given.pairs}
    # The short sections come first: a long run that is cut off has them.
    plain = [draw(p, pairs=given.pairs, limit=None, seed=0, described=False) for p in procedures]
    if "answers" in given.sections:
        say("Timing the first token")
        document["first_token"] = measure_first_token(context, plain[:_BANK_PROCEDURES])
        _write(given.out, document)
    if "conversation" in given.sections:
        from benchmarks.speed_conversation import measure_conversation

        say("Timing the turns of a conversation")
        document["conversation"] = measure_conversation(context)
        _write(given.out, document)
    if "device" in given.sections:
        say("Timing tokens and steps")
        document["device"] = measure_device(context, plain[0])
        _write(given.out, document)
    if "fits" in given.sections:
        from benchmarks.speed_fits import measure_fits

        document["fits"] = measure_fits(loaded.backbone)
        _write(given.out, document)
    if "llama_cpp" in given.sections:
        from benchmarks.speed_llama import measure_llama

        say("Timing tokens beside llama.cpp")
        document["llama_cpp"] = measure_llama(context, given.gguf)
        _write(given.out, document)
    if "training" in given.sections:
        described = [_first_pairs(p, given.pairs) for p in procedures]
        document["training"] = training = measure_training(loaded.backbone, described, given.steps)
        document["methods"] = summarise(
            {
                side: [Run({"train_seconds": training["epochs"]["1"][f"{side}_seconds"]}, {}, {"epochs": 1})]
                for side in ("plain", "cached")
            }
        )


def _procedures(given: argparse.Namespace) -> list[Procedure]:
    if given.data is None:
        return samples.sample_procedures()[: given.procedures]
    known = load_tasks(given.data).procedures
    named = TRAINING_PROCEDURES[: given.procedures]
    if {p.name for p in known} >= set(named):
        return choose_procedures(known, Options(given.data, given.out, names=named), None)
    say("The data lacks some of the usual procedures: the first ones there are serve.")
    return sorted(known, key=lambda p: p.name)[: given.procedures]


def _first_pairs(procedure: Procedure, count: int) -> Procedure:
    """The first pairs, with the description in front of each input."""
    first = replace(procedure, pairs=procedure.pairs[:count])
    return draw(first, pairs=None, limit=0, seed=0, described=True)


def _write(out: Path, document: dict[str, Any]) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
