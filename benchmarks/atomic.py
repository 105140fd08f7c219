"""Many tasks learned one after the other, each measured after the last was learned.

LoRA is one adapter that takes the tasks in turn, with and without replay; ours adds a memory per task; the paper's
method trains its rows jointly, which is kinder to its router. ``--descriptions`` puts each task's instruction into
the queries of every method, in training and test: the paper's setting.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from benchmarks.learning import parse, run
from benchmarks.options import run_program


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse("atomic", __doc__, arguments)
    return run_program(lambda: run("atomic", options, sequential=True))


if __name__ == "__main__":
    sys.exit(main())
