"""What is said of drafts: which are good, which were of no use, and that a small model writes weak ones."""

from __future__ import annotations

from collections.abc import Mapping

from tokmem_desk.models.catalogue import find_entry
from tokmem_desk.models.expectations import SMALL_BELOW
from tui.engine_client.protocol import BackboneInfo

_REASONS = {
    "double": "{} there already",
    "empty": "{} empty",
    "long": "{} too long",
    "repeats": "{} only repeating",
    "form": "{} of another form",
}


def is_good(fits: bool | None, sure: bool | None) -> bool:
    """Whether all that is known of a draft speaks for it, and something is known; see ``tui.engine.drafting.draft``."""
    known = [one for one in (fits, sure) if one is not None]
    return bool(known) and all(known)


def weak_words(backbone: BackboneInfo | None) -> str:
    """What to know before reading drafts of a small model that has a text alone to follow; empty for a larger one."""
    if backbone is None or backbone["parameters"] >= SMALL_BELOW:
        return ""
    entry = find_entry(backbone["id"])
    name = entry.title if entry is not None else backbone["id"]
    return (
        f"{name} is a small model: most of what it makes of a text is weak or wrong. Keep only what you would have "
        "written; a handful of pairs of your own teaches more. A larger chat model suggests better ones (F8, or "
        "tokmem-desk model list)."
    )


def refused_sentence(refused: Mapping[str, int]) -> str:
    """A sentence with a blank before it; empty where nothing was refused."""
    words = [_REASONS[reason].format(refused[reason]) for reason in _REASONS if refused.get(reason)]
    return f" Of no use: {', '.join(words)}." if words else ""
