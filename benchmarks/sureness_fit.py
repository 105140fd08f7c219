"""Fit what turns the likelihood of answers into probabilities (``tokmem_desk.generation.confidence.SureMap``).

Memories are trained on auxiliary procedures of the project's own, each on a part of its pairs, and answer the others.
None of them is like the procedures that are tested on. ``NAME.json`` holds the fitted numbers, and ``NAME.rows.jsonl``
what was known of every answer and whether it was right; a run that is cut short goes on from there.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.methods.memories import run_training
from benchmarks.models import load
from benchmarks.options import Options, make_parser, positive, run_program, say
from benchmarks.sureness import Sureness, answer_calibration_error
from profiles.files.atomic import write_text
from tokmem_desk.generation.batch import answer_batch_traced, batch_signals
from tokmem_desk.generation.confidence import Signals, SureMap, copied_signals, logistic, sureness
from tokmem_desk.generation.extraction import extract
from tokmem_desk.procedures import ExamplePair, Procedure
from tokmem_desk.templates.answer_values import value_places
from trainer.auxiliary import written_procedures
from trainer.auxiliary.composed import composed_procedure
from trainer.config import preset
from trainer.evaluate import ROWS_AT_ONCE, answer_tokens
from trainer.extractor import extractable, train_extractor, with_extractor
from trainer.loop import Training
from trainer.metrics import exact_match
from trainer.paper.auxiliary_chains import NAMES, auxiliary_examples

if TYPE_CHECKING:
    from benchmarks.models import Loaded
    from tokmem_desk.memory.memory import Memory
    from tokmem_desk.templates.template import AnswerTemplate

_COMPOSED_FROM = 3_000_000
"""Numbers of composed procedures from here on are used nowhere else."""
_LEARNED, _COPIED_LEARNED, _TESTS = 14, 8, 24
_RIDGE = 0.1
"""Weight of the squared numbers of a map: they stay small where few answers were seen, or all can be told apart."""
_SPREADS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0)


@dataclass(frozen=True, slots=True)
class Row:
    """One answer.

    Attributes:
        values: log probability of each value, and whether it is right; None where that cannot be told.
    """

    procedure: str
    whole: float
    right: bool
    copied: bool
    values: tuple[tuple[float, bool | None], ...]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = make_parser("sureness_fit", __doc__)
    parser.add_argument("--procedures", type=positive, default=40, metavar="N", help="of each kind (default: 40)")
    parser.add_argument("--seconds", type=positive, metavar="N", help="begin no further procedure after so long")
    parser.add_argument("--fit-only", action="store_true", help="fit to the rows that are there")
    given = parser.parse_args(arguments)
    return run_program(lambda: run(given))


def run(given: argparse.Namespace) -> None:
    """Collect, fit and write."""
    file = given.out.with_name(f"{given.out.stem}.rows.jsonl")
    file.parent.mkdir(parents=True, exist_ok=True)
    if not given.fit_only:
        options = Options(
            data=Path(), out=given.out, model=given.model, device=given.device, home=given.home, methods=()
        )
        _collect(load(options), given.procedures, given.seconds, file)
    rows = read_rows(file)
    found = {"generated": [row for row in rows if not row.copied], "copied": [row for row in rows if row.copied]}
    document = {
        "benchmark": "sureness_fit",
        **{kind: _fitted(of_kind) for kind, of_kind in found.items() if of_kind},
    }
    say(json.dumps(document, indent=1))
    write_text(given.out, json.dumps(document, indent=1) + "\n")


def read_rows(file: Path) -> list[Row]:
    """What was collected so far."""
    rows = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
        fields = json.loads(line)
        values = tuple((float(log), right) for log, right in fields["values"])
        rows.append(Row(fields["procedure"], fields["whole"], fields["right"], fields["copied"], values))
    return rows


# --- collecting ------------------------------------------------------------------------------------


def procedures(count: int) -> Iterator[Procedure]:
    """Auxiliary procedures in turn: written, composed, and such as an extractor can answer."""
    written = written_procedures()
    random.Random(1).shuffle(written)
    for place in range(count):
        if place < len(written):
            yield _split(written[place], _LEARNED)
        yield _split(composed_procedure(_COMPOSED_FROM + place, _LEARNED + _TESTS), _LEARNED)
        if place < len(NAMES):
            yield _split(_copied(place), _COPIED_LEARNED)


def _split(procedure: Procedure, learned: int) -> Procedure:
    pairs = list(procedure.pairs)
    random.Random(procedure.name).shuffle(pairs)
    return replace(procedure, pairs=tuple(pairs[:learned]), held_out=tuple(pairs[learned : learned + _TESTS]))


def _copied(owner: int) -> Procedure:
    """A procedure whose answers are JSON objects of words of the message."""
    pairs: dict[str, ExamplePair] = {}
    for example in auxiliary_examples(4000, seed=1):
        if [one for one, _ in example.segments] == [owner]:
            answer = dict(part.split(": ", 1) for part in example.segments[0][1].split("; "))
            pairs.setdefault(example.query, ExamplePair(example.query, json.dumps(answer)))
    return Procedure(f"copied {NAMES[owner]}", tuple(pairs.values()))


def _collect(loaded: Loaded, count: int, seconds: int | None, file: Path) -> None:
    began, known = time.monotonic(), {row.procedure for row in read_rows(file)}
    for procedure in procedures(count):
        if procedure.name in known or not procedure.held_out:
            continue
        if seconds is not None and time.monotonic() - began > seconds:
            say("The time is up; the next run goes on from here.")
            return
        rows = [*(_copied_rows if extractable(procedure.pairs) else _generated_rows)(loaded, procedure)]
        with file.open("a", encoding="utf-8") as lines:
            for row in rows:
                values = [[round(log, 4), known] for log, known in row.values]
                fields = {"procedure": row.procedure, "whole": round(row.whole, 4), "right": row.right}
                lines.write(json.dumps({**fields, "copied": row.copied, "values": values}) + "\n")
        say(f"{procedure.name}: {sum(row.right for row in rows)} of {len(rows)} right")


def _generated_rows(loaded: Loaded, procedure: Procedure) -> Iterator[Row]:
    backbone = loaded.backbone
    config = preset("normal", form="layers" if backbone.rotates_keys else "rows", seed=0)
    memory = run_training(Training(backbone, [procedure], config, prior=loaded.prior)).memories[0]
    messages = [pair.input for pair in procedure.held_out]
    traces = answer_batch_traced(
        backbone,
        [backbone.format.query(message) for message in messages],
        [memory] * len(messages),
        texts=messages,
        max_tokens=answer_tokens(backbone, procedure.held_out),
        rows_at_once=ROWS_AT_ONCE,
    )
    for pair, trace in zip(procedure.held_out, traces, strict=True):
        signals = batch_signals(backbone, memory, pair.input, trace)
        yield row_of(procedure.name, pair, trace.text, signals, memory.answer_template)


def _copied_rows(loaded: Loaded, procedure: Procedure) -> Iterator[Row]:
    backbone, space = loaded.backbone, loaded.segment_tagger.space
    config = replace(preset("quick", form="layers" if backbone.rotates_keys else "rows"), epochs=1, max_steps=1)
    memory: Memory = run_training(Training(backbone, [procedure], config)).memories[0]
    for done in train_extractor(backbone, space, procedure.pairs):
        if not isinstance(done, float):
            memory = with_extractor(memory, done)
    for pair in procedure.held_out:
        read = backbone.prefill([backbone.format.query(pair.input)], keep_states=False, token_space=space)
        copied = extract(backbone, memory, pair.input, read, limit=256)
        if copied is not None:
            places = value_places(None, pair.input, copied.text)
            yield row_of(procedure.name, pair, copied.text, copied_signals(copied.logs, copied.others, places), None)


def row_of(name: str, pair: ExamplePair, answer: str, signals: Signals, form: AnswerTemplate | None) -> Row:
    """One answer, and whether it and each of its values is right."""
    said, wanted = value_places(form, pair.input, answer), value_places(form, pair.input, pair.response)
    alike = [place.name for place in said] == [place.name for place in wanted]
    rights: list[bool | None] = [None] * len(said)
    if alike:
        rights = [
            answer[one.start : one.end] == pair.response[other.start : other.end]
            for one, other in zip(said, wanted, strict=True)
        ]
    right = exact_match(answer, pair.accepted) == 1
    values = tuple((log, True if right else known) for log, known in zip(signals.values, rights, strict=True))
    return Row(name, signals.whole, right, signals.copied, values)


# --- fitting ---------------------------------------------------------------------------------------


def fit(rows: Sequence[Row]) -> SureMap:
    """The map under which the rows are likeliest, procedures weighing alike; no weight is below 0."""
    shares = _shares([row.procedure for row in rows])
    wholes = [
        (1.0, sureness(row.whole), sureness(min((log for log, _ in row.values), default=row.whole))) for row in rows
    ]
    rights = [row.right for row in rows]
    whole = _logistic_fit(wholes, rights, shares)
    known = [(row.procedure, log, right) for row in rows for log, right in row.values if right is not None]
    value = _logistic_fit(
        [(1.0, sureness(log)) for _, log, _ in known],
        [right for _, _, right in known],
        _shares([name for name, _, _ in known]),
    )
    odds = np.array(wholes) @ whole
    by_name: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        by_name.setdefault(row.procedure, []).append(place)
    spread = max(_SPREADS, key=lambda one: _evidence(odds, np.array(rights), by_name.values(), one))
    return SureMap(tuple(whole.round(2).tolist()), tuple(value.round(2).tolist()), spread)


def _shares(names: Sequence[str]) -> Any:
    """[n] weights under which every procedure counts alike, of mean 1."""
    counts = {name: names.count(name) for name in set(names)}
    shares = np.array([1 / counts[name] for name in names])
    return shares / shares.mean()


def _logistic_fit(features: Sequence[Sequence[float]], right: Sequence[bool], shares: Any) -> Any:
    """Logistic regression whose weights (all but the first number) are not negative; projected Newton steps."""
    x, y = np.array(features), np.array(right, dtype=float)
    found = np.zeros(x.shape[1])
    free = np.ones(x.shape[1], dtype=bool)
    for _ in range(200):
        chance = 1 / (1 + np.exp(-x @ found))
        slope = x.T @ (shares * (y - chance)) - _RIDGE * found
        curve = (x * (shares * chance * (1 - chance))[:, None]).T @ x + _RIDGE * np.eye(len(found))
        step = np.zeros_like(found)
        step[free] = np.linalg.solve(curve[np.ix_(free, free)], slope[free])
        found = found + np.clip(step, -1, 1)
        below = (found < 0) & (np.arange(len(found)) > 0)
        found[below], free[below] = 0.0, False
        if np.abs(step).max() < 1e-6:
            break
    return found


def _evidence(odds: Any, right: Any, groups: Iterable[Sequence[int]], spread: float) -> float:
    """Log likelihood of the answers where each procedure has a shift of its own, normal with that deviation."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(41)
    total = 0.0
    for group in groups:
        moved = odds[list(group)][:, None] + spread * nodes[None]
        signs = np.where(right[list(group)], 1.0, -1.0)[:, None]
        logs = -np.logaddexp(0, -signs * moved).sum(axis=0)
        total += float(np.log((weights / weights.sum() * np.exp(logs)).sum() + 1e-300))
    return total


def _fitted(rows: Sequence[Row]) -> dict[str, Any]:
    found = fit(rows)
    names = sorted({row.procedure for row in rows})
    answers = [Sureness(_chance(found, row), row.right) for row in rows]
    return {
        "whole": found.whole,
        "value": found.value,
        "spread": found.spread,
        "procedures": len(names),
        "answers": len(rows),
        "right": sum(row.right for row in rows) / len(rows),
        "answer_calibration_error": answer_calibration_error(answers),
        "left_out_calibration_error": answer_calibration_error(_left_out(rows, names)),
    }


def _left_out(rows: Sequence[Row], names: Sequence[str]) -> list[Sureness]:
    """Each answer by a map that was fitted to other procedures, in five parts."""
    found = []
    for part in range(5):
        outside = {name for place, name in enumerate(names) if place % 5 == part}
        others = [row for row in rows if row.procedure not in outside]
        if others and outside:
            fitted = fit(others)
            found += [Sureness(_chance(fitted, row), row.right) for row in rows if row.procedure in outside]
    return found


def _chance(found: SureMap, row: Row) -> float:
    signals = Signals(row.whole, tuple(log for log, _ in row.values), row.copied)
    return logistic(found.whole_odds(signals))


if __name__ == "__main__":
    sys.exit(main())
