"""The program's engine, but answers take turns: what steps that are computed together are measured beside."""

from __future__ import annotations

import sys

from tui.engine.__main__ import main


def _never(backbone: object) -> bool:
    return False


if __name__ == "__main__":
    from tokmem_desk.generation import steps_together

    setattr(steps_together, "exact_together", _never)  # noqa: B010 - its argument is of another type
    sys.exit(main())
