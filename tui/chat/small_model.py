"""What a person is told once about a small model: its plain chat is not what it is for."""

from __future__ import annotations

from profiles.store.store import ProfileStore
from tokmem_desk.models.catalogue import find_entry
from tokmem_desk.models.expectations import SMALL_BELOW
from tokmem_desk.procedures import NONE_ROUTE
from tui.engine_client.protocol import BackboneInfo


def small_model_words(store: ProfileStore, backbone: BackboneInfo | None, route: str | None) -> str:
    """The words to show behind the first plain answer of a small model; empty at any other time.

    Args:
        store: remembers that this profile was told of this model.
        backbone: the model that answered.
        route: of the answer.
    """
    if route != NONE_ROUTE or backbone is None or backbone["parameters"] >= SMALL_BELOW:
        return ""
    if not store.chats.is_first_time(f"small_model {backbone['id']}"):
        return ""
    entry = find_entry(backbone["id"])
    name = entry.title if entry is not None else backbone["id"]
    return (
        f"{name} is a small model. Its plain chat knows little and is often wrong; it is here for procedures that you "
        "teach it. Larger ones chat better: F8, or tokmem-desk model list."
    )
