"""How often the form that pairs share would forbid a right answer to a new message, and how much it leaves open.

Forms are made from some pairs of each procedure and asked about the others: of folders in the data format, and of the
auxiliary procedures that ship with the program. Every number of pairs is an entry of ``sources``. With ``--halves``
each folder counts as two: the half that chooses settings and the half that is looked at (``benchmarks.data.halves``).
Needs no model.

What is left open is counted over right answers that are accepted, the form's constant text aside: ``fixed`` is the
share of fields that can only be what is right, ``free`` the share of characters in free text, ``bits`` the mean of
log2 of what all other fields could be. ``only`` is the share of right answers that are the only one the form accepts.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.data import halves, load_tasks
from benchmarks.openness import Openness, openness
from benchmarks.options import numbers, run_program, say
from profiles.files.atomic import write_bytes
from tokmem_desk.procedures import Procedure
from tokmem_desk.templates.induction import induce_form
from tokmem_desk.templates.single_use import takes_once
from tokmem_desk.templates.template import AnswerTemplate
from trainer.auxiliary import written_procedures
from trainer.auxiliary.composed import composed_procedure

_COMPOSED = 100
_COMPOSED_TESTS = 8


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.forms", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, action="append", default=[], metavar="DIR", help="a folder; may be repeated"
    )
    parser.add_argument(
        "--pairs", type=numbers, default=(14, 24, 40), metavar="N[,N]", help="pairs a form is made from"
    )
    parser.add_argument("--halves", action="store_true", help="each folder as two halves")
    parser.add_argument("--own", action="store_true", help="only the folders, not the auxiliary procedures")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.json", help="where the result goes")
    options = parser.parse_args(arguments)
    return run_program(lambda: run(options))


def run(options: argparse.Namespace) -> None:
    """Measure and write the result.

    Raises:
        BadInputError: a folder cannot be used.
    """
    data = {folder.name: load_tasks(folder).procedures for folder in options.data}
    if options.halves:
        data = {f"{name}, {half}": part for name, found in data.items() for half, part in halves(found).items()}
    sources = []
    for count in options.pairs:
        for name, procedures in data.items():
            sources.append(_measured(name, count, (replace(p, pairs=p.pairs[:count]) for p in procedures)))
        if options.own:
            continue
        sources.append(_measured("written", count, map(_split(count), written_procedures())))
        composed = (composed_procedure(seed, count + _COMPOSED_TESTS) for seed in range(_COMPOSED))
        sources.append(_measured("composed", count, map(_split(count), composed)))
    write_bytes(options.out, (json.dumps({"benchmark": "forms", "sources": sources}, indent=2) + "\n").encode())


def _split(count: int) -> Callable[[Procedure], Procedure]:
    def split(procedure: Procedure) -> Procedure:
        """Some pairs to make a form from, drawn by the procedure's name, and the others as test pairs."""
        pairs = list(procedure.pairs)
        random.Random(procedure.name).shuffle(pairs)
        return replace(procedure, pairs=tuple(pairs[:count]), held_out=tuple(pairs[count:]))

    return split


def _allows(form: AnswerTemplate, message: str, answer: str) -> bool:
    return form.accepts(message, answer) and (not form.once or takes_once(form, message, answer))


def _opened(found: Sequence[Openness]) -> dict[str, float | None]:
    fields, characters = sum(one.fields for one in found), sum(one.characters for one in found)
    return {
        "fixed": round(sum(one.fixed for one in found) / fields, 3) if fields else None,
        "free": round(sum(one.free for one in found) / characters, 3) if characters else None,
        "bits": round(sum(one.bits for one in found) / len(found), 2) if found else None,
        "only": round(sum(one.only for one in found) / len(found), 3) if found else None,
    }


def _measured(source: str, count: int, procedures: Iterable[Procedure]) -> dict[str, Any]:
    with_form = once = asked = accepted = total = 0
    seconds = 0.0
    opened: list[Openness] = []
    each: dict[str, dict[str, Any]] = {}
    for procedure in procedures:
        if len(procedure.pairs) < count or not procedure.held_out:
            continue
        total += 1
        began = time.perf_counter()
        form = induce_form(procedure.pairs)
        seconds += time.perf_counter() - began
        if form is None:
            each[procedure.name] = {"form": None}
            continue
        with_form += 1
        asked += len(procedure.held_out)
        once += form.once
        rights = [
            (pair.input, answer)
            for pair in procedure.held_out
            if (answer := next((one for one in pair.accepted if _allows(form, pair.input, one)), None)) is not None
        ]
        accepted += len(rights)
        own = [found for message, answer in rights if (found := openness(form, message, answer)) is not None]
        opened += own
        each[procedure.name] = {
            "form": form.describe(),
            "accepted": len(rights) / len(procedure.held_out),
            **_opened(own),
        }
    share = accepted / asked if asked else None
    say(f"{source}, {count} pairs: {with_form} of {total} have a form, {accepted} of {asked} right answers accepted")
    say(f"  left open: {_opened(opened)}")
    return {
        "source": source,
        "pairs": count,
        "procedures": total,
        "with_form": with_form,
        "nothing_twice": once,
        "right_answers": asked,
        "accepted": share,
        **_opened(opened),
        "each": each,
        "seconds_each": seconds / total if total else None,
    }


if __name__ == "__main__":
    sys.exit(main())
