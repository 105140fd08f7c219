"""What messages refer to, filled in from what was said before: "send it to Anna", "the second", "the same for Friday".

Frames of ``references.json`` with values drawn into them, in four languages; none of them is in the texts that
references are learned from. Right is a message that is filled in to the letter. Messages without a reference, which
nothing may change, are frames of that file, messages of personal procedures behind another pair of the same procedure,
and ordinary chat, each behind something that was said. Every second frame, procedure and chat message is of the half
that settings were chosen on, the others are looked at.
"""

from __future__ import annotations

import json
import random
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from benchmarks.data import load_tasks
from benchmarks.models import load
from benchmarks.options import Options, make_parser, positive, run_program, say
from benchmarks.result import Metrics, ResultFile, Run
from tokmem_desk import background
from tokmem_desk.background.referring import Said
from tokmem_desk.references.resolve import resolve

HALVES = ("chosen", "looked-at")
_VALUE = re.compile(r"\{(\w+)\}")
_PAIRS = 6
"""Messages of each procedure."""


@dataclass(frozen=True, slots=True)
class ReferenceOptions(Options):
    """What only this benchmark asks for.

    Attributes:
        draws: of values for each frame.
        only: one half alone; empty for both.
        show: tell of each message that went wrong.
    """

    draws: int = 3
    only: str = ""
    show: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """A message behind what was said.

    Attributes:
        right: what it may be read as; empty where it is to stay as it is.
        kind: of the reference; ``without``, ``procedure`` or ``chat`` where there is none.
        half: one of ``HALVES``.
    """

    said: tuple[Said, ...]
    message: str
    right: tuple[str, ...]
    kind: str
    language: str
    half: str


def make_cases(data: dict[str, Any], draws: int, seed: int) -> list[Case]:
    """Frames with values drawn into them; every second frame is of the other half."""
    rng = random.Random(seed)
    values: dict[str, list[str]] = data["values"]
    cases = []

    def drawn(texts: Sequence[str]) -> list[str]:
        names = dict.fromkeys(name for text in texts for name in _VALUE.findall(text))
        chosen = {name: rng.choice(values[name]) for name in names}
        return [
            _VALUE.sub(lambda found: chosen[found[1]], text).replace("{{", "{").replace("}}", "}") for text in texts
        ]

    for number, frame in enumerate(data["frames"]):
        flat = [text for exchange in frame["said"] for text in exchange]
        for _ in range(draws):
            texts = drawn([*flat, frame["message"], *frame["right"]])
            said = tuple(Said(*texts[i : i + 2]) for i in range(0, len(flat), 2))
            message, right = texts[len(flat)], tuple(texts[len(flat) + 1 :])
            cases.append(Case(said, message, right, frame["kind"], frame["language"], HALVES[number % 2]))
    openings = {half: [case.said for case in cases if case.half == half] for half in HALVES}
    for number, text in enumerate(data["without"]):
        half = HALVES[number % 2]
        cases += [Case(rng.choice(openings[half]), drawn([text])[0], (), "without", "", half) for _ in range(draws)]
    chat = [(HALVES[number % 2], text) for number, text in enumerate(background.chat_for_measuring())]
    cases += [Case(rng.choice(openings[half]), text, (), "chat", "", half) for half, text in chat]
    return cases


def procedure_cases(folder: Path, seed: int) -> list[Case]:
    """Messages of procedures, each behind a pair of the same procedure: the person goes on as before."""
    rng = random.Random(seed)
    cases = []
    for number, procedure in enumerate(load_tasks(folder).procedures):
        for pair in rng.sample(list(procedure.held_out), min(_PAIRS, len(procedure.held_out))):
            before = rng.choice(procedure.pairs)
            said = (Said(before.input, before.response),)
            cases.append(Case(said, pair.input, (), "procedure", "", HALVES[number % 2]))
    return cases


def main(arguments: Sequence[str] | None = None) -> int:
    parser = make_parser("references", __doc__)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with procedures, for messages that refer to nothing"
    )
    parser.add_argument("--draws", type=positive, default=3, metavar="N", help="of values for each frame (default: 3)")
    parser.add_argument("--only", choices=HALVES, default="", help="one half alone")
    parser.add_argument("--show", action="store_true", help="tell of each message that went wrong")
    options = ReferenceOptions(**vars(parser.parse_args(arguments)))
    return run_program(lambda: run(options))


def run(options: ReferenceOptions) -> None:
    """Measure and write the result.

    Raises:
        TokmemError: the data or the model cannot be used.
    """
    data = json.loads(resources.files("benchmarks").joinpath("references.json").read_text("utf-8"))
    loaded = load(options)
    backbone, finder = loaded.backbone, loaded.references
    head = {"benchmark": "references", "backbone": loaded.facts, "data": {"name": options.data.name}, "seeds": [0]}
    cases = [*make_cases(data, options.draws, 0), *procedure_cases(options.data, 0)]
    cases = [case for case in cases if options.only in ("", case.half)]
    rows = []
    for case in cases:
        read = resolve(backbone, finder, case.said, case.message)
        got = None if read is None else read.message
        rows.append((case, got))
        if options.show and not _right(case, got):
            say(f"{case.half} {case.kind}: {case.said[-1]} >> {case.message!r} -> {got!r}")
    with ResultFile(options.out, head) as result:
        halves = {half: metrics([row for row in rows if row[0].half == half]) for half in HALVES}
        halves = {half: found for half, found in halves.items() if found}
        run_of = Run(metrics(rows), per_procedure=_by_kind(rows), halves=halves)
        for half, found in halves.items():
            say(f"{half}: {found}")
        say(str(run_of.per_procedure))
        result.add({"messages": len(rows)}, {"ours": [run_of]})


def metrics(rows: Sequence[tuple[Case, str | None]]) -> Metrics:
    """Shares of messages with a reference that are filled in right, left as they are and filled in wrong, and of
    messages without one that are changed.
    """
    referring = [(case, got) for case, got in rows if case.right]
    plain = [got for case, got in rows if not case.right]
    if not referring or not plain:
        return {}
    return {
        "right": sum(_right(case, got) for case, got in referring) / len(referring),
        "left": sum(got is None for _, got in referring) / len(referring),
        "wrong": sum(got is not None and not _right(case, got) for case, got in referring) / len(referring),
        "changed": sum(got is not None for got in plain) / len(plain),
        "referring": len(referring),
        "plain": len(plain),
    }


def _right(case: Case, got: str | None) -> bool:
    if not case.right:
        return got is None
    return got is not None and " ".join(got.split()) in {" ".join(right.split()) for right in case.right}


def _by_kind(rows: Sequence[tuple[Case, str | None]]) -> dict[str, Metrics]:
    """Share that is right, by kind, by language, and by half and kind."""
    groups: dict[str, list[bool]] = {}
    for case, got in rows:
        names = [case.kind, f"{case.half} {case.kind}"] + ([case.language] if case.language else [])
        for name in names:
            groups.setdefault(name, []).append(_right(case, got))
    return {name: {"right": sum(found) / len(found), "of": len(found)} for name, found in sorted(groups.items())}


if __name__ == "__main__":
    sys.exit(main())
