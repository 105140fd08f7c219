"""The engine's operations: one module for each, or for two that belong together.

A module declares an operation by the decorator ``tui.engine.operation.operation``. ``discover`` finds it; no list
names it. Work that is longer than a page stands in a module of ``tui.engine``.
"""

from __future__ import annotations

import importlib
import pkgutil

from tui.engine.operation import Operation


def discover() -> dict[str, Operation]:
    """All operations that modules of this package declare, by name. Imports these modules, and with them torch.

    Raises:
        ValueError: two operations have one name.
    """
    found: dict[str, Operation] = {}
    for entry in pkgutil.iter_modules(__path__, f"{__name__}."):
        module = importlib.import_module(entry.name)
        for value in vars(module).values():
            if isinstance(value, Operation):
                if found.get(value.name, value) is not value:
                    raise ValueError(f"two operations are called {value.name!r}, one of them in {entry.name}")
                found[value.name] = value
    return found
