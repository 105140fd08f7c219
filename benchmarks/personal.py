"""Small personal procedures: a dozen or two example pairs each, plain inputs, one learner per procedure.

Every method side by side on one backbone; ordinary chat (``chat.json`` in the data folder) must go to none.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from benchmarks.learning import parse, run
from benchmarks.options import run_program


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse("personal", __doc__, arguments)
    return run_program(lambda: run("personal", options, sequential=False))


if __name__ == "__main__":
    sys.exit(main())
