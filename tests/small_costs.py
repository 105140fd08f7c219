"""What is made expensive on purpose, and is cheap where it is not what a test looks at.

A key from a passphrase takes a third of a second of a core at full strength. The cost is written into every lock and
bank, so whoever opens them pays the small one too. A commit and a whole file wait for the disk, so that they outlive a
loss of power; without that they outlive the end of any process all the same.

Tests named ``…_by_default`` see that the program itself does all this at full cost.
"""

from __future__ import annotations

import importlib


def wait_for_nothing(handle: int) -> None:
    """Instead of ``os.fsync``."""


SMALL: dict[str, object] = {
    "profiles.encryption.keyring._MEMORY_KIB": 64,
    "profiles.encryption.keyring._ITERATIONS": 1,
    "tokmem_desk.bank.encryption._COST": 2,
    "profiles.database.connection._SYNCHRONOUS": "OFF",
    "os.fsync": wait_for_nothing,
}
"""Values of the names that set the costs."""


def lower_costs() -> None:
    """In this process, for good."""
    for name, value in SMALL.items():
        module, _, attribute = name.rpartition(".")
        setattr(importlib.import_module(module), attribute, value)
