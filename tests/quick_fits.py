"""Router and segment tagger of a tiny model fitted to a few of the shipped texts: seconds instead of minutes.

What is fitted to a random model is of no use anyway. The code is the same, and so are files and their checks; all
processes that share a home must fit alike, or each would find that the stored ones were fitted with other numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

GROUPS, CHAT, EPISODES = 40, 150, 24
MESSAGES, EPOCHS = 60, 2
EXAMPLES = 60


def fit_quickly(change: Callable[[object, str, Any], None] = setattr) -> None:
    """Make the fits of this process quick.

    Args:
        change: sets an attribute, as ``monkeypatch.setattr`` does.
    """
    from tokmem_desk import background
    from tokmem_desk.references import fitting, recipe
    from tokmem_desk.routing import none_calibration, segment_tagger

    groups = dict(list(background.groups().items())[:GROUPS])
    chat = background.chat_for_fitting()[:CHAT]
    change(background, "groups", lambda: {name: list(texts) for name, texts in groups.items()})
    change(background, "chat_for_fitting", lambda: list(chat))
    change(none_calibration, "_EPISODES", EPISODES)
    change(segment_tagger, "_MESSAGES", MESSAGES)
    change(segment_tagger, "_EPOCHS", EPOCHS)
    change(recipe, "EXAMPLES", EXAMPLES)
    change(recipe, "MESSAGES", EXAMPLES)
    change(recipe, "EPOCHS", EPOCHS)
    change(fitting.fit_reference_finder, "__defaults__", (EXAMPLES,))
    change(segment_tagger.fit_segment_tagger, "__defaults__", (MESSAGES,))
