"""Numbered steps that bring a database to the present form: one file a step, never edited once released.

``PROFILE_STEPS`` and ``REGISTRY_STEPS`` are in order; a step's number is the ``user_version`` it leaves behind.
Each is a tuple of single statements, because they all run inside one transaction.
"""

from __future__ import annotations

from profiles.database.migrations import (
    profile_0001,
    profile_0002,
    profile_0003,
    profile_0004,
    profile_0005,
    profile_0006,
    profile_0007,
    profile_0008,
    profile_0009,
    profile_0010,
    registry_0001,
    registry_0002,
    registry_0003,
    registry_0004,
)

Step = tuple[str, ...]

PROFILE_STEPS: tuple[Step, ...] = (
    profile_0001.STATEMENTS,
    profile_0002.STATEMENTS,
    profile_0003.STATEMENTS,
    profile_0004.STATEMENTS,
    profile_0005.STATEMENTS,
    profile_0006.STATEMENTS,
    profile_0007.STATEMENTS,
    profile_0008.STATEMENTS,
    profile_0009.STATEMENTS,
    profile_0010.STATEMENTS,
)
REGISTRY_STEPS: tuple[Step, ...] = (
    registry_0001.STATEMENTS,
    registry_0002.STATEMENTS,
    registry_0003.STATEMENTS,
    registry_0004.STATEMENTS,
)
