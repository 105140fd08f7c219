"""Variables of the environment that scripts may give a passphrase by. Engines and apps started anew inherit none."""

from __future__ import annotations

PASSPHRASE_VARIABLE = "TOKMEM_PASSPHRASE"  # noqa: S105 - a name, not a value
"""The passphrase of a profile, also of one that is being locked."""
NEW_PASSPHRASE_VARIABLE = "TOKMEM_NEW_PASSPHRASE"  # noqa: S105 - a name, not a value
"""The passphrase that takes the place of another."""
