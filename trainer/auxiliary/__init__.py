"""Auxiliary procedures of the project's own: what a backbone learns before any user's procedure does.

``written`` ones are by people's hand, ``composed`` ones are generated at random. Requests to several at once are in
``trainer.paper.auxiliary_chains``. None of them is kept for a user: they teach what procedures have in common.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources

from tokmem_desk.procedures import ExamplePair, Procedure
from trainer.auxiliary.composed import composed_procedure


def written_procedures() -> list[Procedure]:
    """Those that ship as text."""
    data = json.loads(resources.files(__name__).joinpath("written.json").read_text(encoding="utf-8"))
    return [
        Procedure(
            procedure["name"],
            tuple(ExamplePair(message, answer) for message, answer in procedure["pairs"]),
            description=procedure["description"],
        )
        for procedure in data["procedures"]
    ]


def auxiliary_procedures(composed_per_written: int = 1) -> Iterator[Procedure]:
    """Written and composed procedures in turn, without end: the written ones come round again, composed ones do not."""
    written = written_procedures()
    number = 0
    while True:
        for procedure in written:
            yield procedure
            for _ in range(composed_per_written):
                yield composed_procedure(number)
                number += 1
