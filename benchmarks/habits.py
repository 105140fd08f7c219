"""Ten hidden habits in a thousand turns: which are proposed after at most five repeats, and what else is.

A person's turns, made by program from the project's own material: a habit is a procedure of a folder, of which five to
twelve pairs come up; further procedures of the project come up at most three times, which makes no habit; the rest is
ordinary chat, answered with sentences, lists and code out of the project's own documents. No model answers. The two
halves of the folder are two such persons: settings are chosen on one and looked at on the other.
"""

from __future__ import annotations

import random
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.data import halves, load_tasks
from benchmarks.models import Loaded, load
from benchmarks.options import Options, add_method_options, make_parser, run_program, say
from benchmarks.result import Metrics, ResultFile, Run
from tokmem_desk import background
from tokmem_desk.errors import BadInputError
from tokmem_desk.procedures import Procedure
from tokmem_desk.routing.habits import HabitFinder
from trainer.auxiliary import written_procedures

TURNS, HABITS = 1000, 10
REPEATS = (5, 12)
OF_OTHERS = (1, 3)
AT_MOST = 5
"""A habit counts as found where it is proposed by then."""

PURE = 0.8
"""A proposal is right where so many of its turns are of one habit."""

_BATCH = 32
_DOCUMENTS = Path(__file__).parents[1] / "docs"
_SENTENCE = re.compile(r"[A-Z][^.!?|`#*\[\]]{20,160}[.!?](?=\s)")


@dataclass(frozen=True, slots=True)
class SaidTurn:
    """A message, its answer, and the habit that it belongs to; empty where to none."""

    message: str
    answer: str
    habit: str


def main(arguments: Sequence[str] | None = None) -> int:
    parser = make_parser("habits", __doc__)
    add_method_options(parser, ["ours"])
    options = Options(**vars(parser.parse_args(arguments)))
    return run_program(lambda: run(options))


def run(options: Options) -> None:
    """Play both persons with every seed and write the result.

    Raises:
        TokmemError: the data or the model cannot be used.
    """
    parts = halves(load_tasks(options.data).procedures)
    persons = {
        half: [person(found[:HABITS], seed, options.limit or TURNS) for seed in range(options.seeds)]
        for half, found in parts.items()
    }
    loaded = load(options)
    texts = list(dict.fromkeys(turn.message for of in persons.values() for turns in of for turn in turns))
    vectors = dict(zip(texts, embedded(loaded, texts), strict=True))
    head = {
        "benchmark": "habits",
        "backbone": loaded.facts,
        "data": {"name": options.data.name, "turns": options.limit or TURNS, "habits": HABITS},
        "seeds": list(range(options.seeds)),
    }
    with ResultFile(options.out, head) as result:
        for half, of in persons.items():
            runs = [Run(measured(turns, [vectors[turn.message] for turn in turns])) for turns in of]
            result.add({"half": half}, {"ours": runs})
            say(f"{half}: {[one.metrics for one in runs]}")


def person(procedures: Sequence[Procedure], seed: int, count: int) -> list[SaidTurn]:
    """The turns of one person, in their order.

    Raises:
        BadInputError: there is too little material for so many turns.
    """
    chance = random.Random(seed)
    turns = [
        SaidTurn(pair.input, pair.response, procedure.name)
        for procedure in procedures
        for pair in chance.sample(procedure.pairs, min(len(procedure.pairs), chance.randint(*REPEATS)))
    ]
    turns += [
        SaidTurn(pair.input, pair.response, "")
        for other in written_procedures()
        for pair in chance.sample(other.pairs, chance.randint(*OF_OTHERS))
    ]
    chat = [*background.chat_for_fitting(), *background.chat_for_measuring()]
    # Where more turns are wanted than there are messages, some are said twice, as people do; the answer is another one.
    missing = count - len(turns)
    if missing < 0 or missing > 2 * len(chat):
        raise BadInputError(f"The material is not made for {count} turns.", next_step="Ask for more with --limit.")
    said = [*chance.sample(chat, min(missing, len(chat))), *chance.sample(chat, max(0, missing - len(chat)))]
    sentences = _sentences()
    turns += [SaidTurn(message, _chat_answer(sentences, chance), "") for message in said]
    chance.shuffle(turns)
    return turns


def _sentences() -> list[str]:
    texts = [path.read_text("utf-8") for path in sorted(_DOCUMENTS.rglob("*.md"))]
    return [" ".join(one.split()) for text in texts for one in _SENTENCE.findall(text)]


def _chat_answer(sentences: Sequence[str], chance: random.Random) -> str:
    """Prose, now and then a list, code or a word."""
    drawn = chance.sample(sentences, chance.randint(1, 5))
    kind = chance.random()
    if kind < 0.1:
        return "\n".join(f"- {one}" for one in drawn)
    if kind < 0.15:
        return "\n".join(f"{place}. **{one.split()[0]}**: {one}" for place, one in enumerate(drawn, start=1))
    if kind < 0.2:
        return f"{drawn[0]}\n\n```python\nfor one in {chance.randint(1, 99)}:\n    print(one)\n```"
    return drawn[0].split(",")[0].split()[0] if kind < 0.25 else " ".join(drawn)


def embedded(loaded: Loaded, texts: Sequence[str]) -> NDArray[np.float32]:
    """[n x k] unit vectors in the router's space, as the engine's ``embed`` gives them."""
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    parts = []
    for start in range(0, len(order), _BATCH):
        queries = [loaded.backbone.format.query(texts[place]) for place in order[start : start + _BATCH]]
        done = loaded.backbone.prefill(queries, keep_states=False, feature_layers=loaded.basis.layers.pooled)
        assert done.pooled is not None
        parts.append(loaded.basis.project(done.pooled, loaded.backbone.hidden_size).float().cpu().numpy())
        if start // _BATCH % 10 == 0:
            say(f"Reading texts: {start} of {len(order)}")
    vectors: NDArray[np.float32] = np.empty((len(texts), parts[0].shape[1]), np.float32)
    vectors[order] = np.concatenate(parts)
    return vectors


def measured(
    turns: Sequence[SaidTurn], vectors: Sequence[NDArray[np.float32]], finder: HabitFinder | None = None
) -> Metrics:
    """Precision of the proposals as they are made, and recall of the habits by their fifth repeat."""
    finder = finder or HabitFinder()
    seen: dict[str, int] = {}
    in_time: set[str] = set()
    right = proposals = 0
    began = time.perf_counter()
    for turn, vector in zip(turns, vectors, strict=True):
        before = len(finder.habits)
        seen[turn.habit] = seen.get(turn.habit, 0) + 1
        found = finder.add(vector, turn.answer)
        if found is None or len(finder.habits) == before:
            continue
        proposals += 1
        names = [turns[place].habit for place in found.turns]
        habit = max(set(names), key=names.count)
        if habit and names.count(habit) >= PURE * len(names):
            right += 1
            if seen[habit] <= AT_MOST:
                in_time.add(habit)
    seconds = time.perf_counter() - began
    hidden = {turn.habit for turn in turns if turn.habit}
    pure = [
        max(names.count(name) for name in set(names)) / len(names)
        for habit in finder.habits
        if (names := [turns[place].habit for place in habit.turns])
    ]
    return {
        "precision": right / proposals if proposals else None,
        "recall": len(in_time) / len(hidden),
        "proposals": proposals,
        "purity_at_end": sum(pure) / len(pure) if pure else None,
        "seconds_per_turn": seconds / len(turns),
    }


if __name__ == "__main__":
    sys.exit(main())
