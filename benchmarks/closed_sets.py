"""How many values of closed sets are right with what the message's states say of them, and without.

Each procedure with such sets is learned once, as the app does, and its test messages are answered twice: with the
choosers of its form (``trainer.slot_choosers``) and without. Procedures whose choosers were not kept are named only.
With ``--left-out`` no test message is looked at: a third of the pairs is left out, and those are answered. With
``--powers`` the choosers count with each of those powers.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from benchmarks.data import choose_procedures, half_of, load_tasks
from benchmarks.methods import Context
from benchmarks.methods.memories import our_config, run_training
from benchmarks.models import load
from benchmarks.options import Options, add_method_options, make_parser, numbers, run_program, say
from profiles.files.atomic import write_text
from tokmem_desk.generation.batch import answer_batch
from tokmem_desk.templates.induction import induce_form
from tokmem_desk.templates.slot_places import slot_places
from tokmem_desk.templates.template import TEMPLATE_SETTING
from trainer.evaluate import ROWS_AT_ONCE, answer_tokens
from trainer.loop import Training
from trainer.metrics import score_answers
from trainer.slot_choosers import closed_sets

if TYPE_CHECKING:
    from tokmem_desk.memory.memory import Memory
    from tokmem_desk.procedures import Procedure
    from tokmem_desk.templates.slot_chooser import SlotChooser
    from tokmem_desk.templates.template import AnswerTemplate


def main(arguments: Sequence[str] | None = None) -> int:
    parser = make_parser("closed_sets", __doc__)
    add_method_options(parser, ["ours"])
    parser.add_argument("--left-out", action="store_true", help="answer a third of the pairs, learned from the others")
    parser.add_argument("--powers", type=numbers, default=(), metavar="N[,N]", help="of the choosers (default: theirs)")
    given = parser.parse_args(arguments)
    return run_program(lambda: run(given))


def run(given: argparse.Namespace) -> None:
    """Learn, answer and count; the result is written after each procedure.

    Raises:
        TokmemError: the data or the model cannot be used.
    """
    asked = vars(given)
    powers, left_out = asked.pop("powers"), asked.pop("left_out")
    options = Options(**asked)
    data = load_tasks(options.data)
    halves = half_of(data.procedures)
    loaded = load(options)
    context = Context(loaded, {}, sequential=False)
    found: dict[str, dict[str, Any]] = {}
    for procedure in choose_procedures(data.procedures, options, None):
        if left_out:
            procedure = _with_pairs_left_out(procedure)
        form = induce_form(procedure.pairs)
        if form is None or not closed_sets(form):
            continue
        training = Training(loaded.backbone, [procedure], our_config(context, 0), prior=loaded.prior)
        memory = run_training(training).memories[0]
        learned = memory.answer_template
        row: dict[str, Any] = {"half": halves[procedure.name], "choosers": 0}
        if learned is not None and learned.choosers:
            row |= {"choosers": len(learned.choosers), "of": _counted(learned, procedure, None)}
            ways = {"without": ()} | {f"power {power}": _of_power(learned, power) for power in powers}
            if not powers:
                ways = {"with": learned.choosers, "without": ()}
            row |= {
                name: _answered(context, _with_choosers(memory, learned, some), learned, procedure)
                for name, some in ways.items()
            }
        found[procedure.name] = row
        say(f"{procedure.name}: {row}")
        document = {
            "benchmark": "closed_sets",
            "backbone": loaded.facts,
            "left_out": left_out,
            "halves": {half: _sums([row for row in found.values() if row["half"] == half]) for half in _in(found)},
            "procedures": found,
        }
        write_text(options.out, json.dumps(document, indent=1) + "\n")


def _in(found: dict[str, dict[str, Any]]) -> list[str]:
    return sorted({row["half"] for row in found.values()})


def _with_pairs_left_out(procedure: Procedure) -> Procedure:
    """A third of the pairs, drawn once, in the place of the test pairs."""
    pairs = list(procedure.pairs)
    random.Random(procedure.name).shuffle(pairs)
    count = len(pairs) // 3
    return replace(procedure, pairs=tuple(pairs[count:]), held_out=tuple(pairs[:count]))


def _of_power(form: AnswerTemplate, power: float) -> tuple[SlotChooser, ...]:
    return tuple(replace(chooser, power=float(power)) for chooser in form.choosers)


def _with_choosers(memory: Memory, form: AnswerTemplate, choosers: tuple[SlotChooser, ...]) -> Memory:
    settings = {**memory.settings, TEMPLATE_SETTING: replace(form, choosers=choosers).as_dict()}
    return replace(memory, settings=settings)


def _answered(context: Context, memory: Memory, form: AnswerTemplate, procedure: Procedure) -> dict[str, Any]:
    backbone, pairs = context.backbone, procedure.held_out
    messages = [pair.input for pair in pairs]
    answers = answer_batch(
        backbone,
        [backbone.format.query(message) for message in messages],
        [memory] * len(messages),
        texts=messages,
        max_tokens=answer_tokens(backbone, pairs),
        rows_at_once=ROWS_AT_ONCE,
    )
    scores = score_answers(answers, pairs, procedure.pattern)
    return {
        "right": _counted(form, procedure, answers),
        "exact_match": round(scores.exact_match, 4),
        "rouge_l": round(scores.rouge_l, 4),
    }


def _counted(form: AnswerTemplate, procedure: Procedure, answers: Sequence[str] | None) -> int:
    """Values of closed sets with a chooser that are right; without answers, how many there are."""
    places = {(chooser.place,) for chooser in form.choosers}
    count = 0
    for number, pair in enumerate(procedure.held_out):
        wanted = {one.path: one.text for one in slot_places(form, pair.input, pair.response) if one.path in places}
        if answers is None:
            count += len(wanted)
            continue
        said = {one.path: one.text for one in slot_places(form, pair.input, answers[number])}
        count += sum(said.get(path) == text for path, text in wanted.items())
    return count


def _sums(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of the procedures of one half: values and answers."""
    kept = [row for row in rows if row["choosers"]]
    found: dict[str, Any] = {"procedures": len(kept), "of": sum(row["of"] for row in kept)}
    for way in [way for way, one in kept[0].items() if isinstance(one, dict)] if kept else ():
        found[way] = {
            "right": sum(row[way]["right"] for row in kept),
            "exact_match": round(sum(row[way]["exact_match"] for row in kept) / len(kept), 4),
            "rouge_l": round(sum(row[way]["rouge_l"] for row in kept) / len(kept), 4),
        }
    return found


if __name__ == "__main__":
    sys.exit(main())
