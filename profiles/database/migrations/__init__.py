"""Numbered steps that bring a database to the present form: one file a step, never edited once released.

A step is a module ``profile_NNNN`` or ``registry_NNNN`` in this folder with ``STATEMENTS``, a tuple of single SQL
statements; all steps run inside one transaction. Its number is the ``user_version`` that it leaves behind. Steps are
found by their names: a new file needs no entry anywhere. The first file may stand for several early steps at once.

A whole step that adds a column, ``profile_0099.py``::

    # Profile, step 99: what a person notes about a procedure.
    STATEMENTS = ("ALTER TABLE procedures ADD COLUMN note TEXT NOT NULL DEFAULT ''",)
"""

from __future__ import annotations

import importlib
import pkgutil
import re

from tokmem_desk.errors import StorageError

Step = tuple[str, ...]


def discover(kind: str) -> tuple[Step, ...]:
    """The steps of one kind of database, in order.

    Args:
        kind: ``profile`` or ``registry``.

    Returns:
        One step for each version from 1 on. Steps that the first file stands for are empty.

    Raises:
        StorageError: there is no step at all, or one is missing between two others.
    """
    found = (re.fullmatch(rf"{kind}_(\d{{4}})", module.name) for module in pkgutil.iter_modules(__path__))
    numbers = sorted(int(match[1]) for match in found if match is not None)
    expected = range(numbers[0], numbers[0] + len(numbers)) if numbers else range(1, 2)
    for number in expected:
        if number not in numbers:
            raise StorageError(
                f"The database step {kind}_{number:04d} is missing from this installation of tokmem-desk.",
                next_step="Install tokmem-desk again. No file was touched.",
            )
    modules = (importlib.import_module(f"{__name__}.{kind}_{number:04d}") for number in numbers)
    return ((),) * (numbers[0] - 1) + tuple(module.STATEMENTS for module in modules)


PROFILE_STEPS = discover("profile")
REGISTRY_STEPS = discover("registry")
