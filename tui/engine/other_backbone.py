"""What a procedure's memory on another backbone reached, beside one that is trained for this backbone.

A person who changes the model wants to know whether the new one is worth it. Both memories are measured on the same
held-out pairs where the pairs are still the same, because the holdout follows from the name and the pairs alone; only
then are the figures set beside each other. The other memory stays: going back to its model brings it back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from profiles.store.store import ProfileStore
from tokmem_desk.procedures import pairs_digest
from tui.engine.held_out import Holdout
from tui.kit.words import part_of


def scores_elsewhere(store: ProfileStore, name: str, fingerprint: str, holdout: Holdout) -> dict[str, Any] | None:
    """The scorecard's ``elsewhere``: the newest active memory of another backbone.

    Args:
        fingerprint: digest of the backbone that the new memory is for.
        holdout: of the new training.

    Returns:
        ``backbone`` (its id), ``version``, ``held_out``, ``exact_match``, ``rouge_l``; None where there is no such
        memory, or it was measured on other pairs.

    Raises:
        NotFoundError: no procedure of that name.
    """
    digest = pairs_digest(holdout.whole)
    for record in store.memories.list(name):  # the newest first
        if record.status != "active" or record.backbone_fingerprint == fingerprint:
            continue
        card = record.scorecard
        same = (record.pairs_digest, card.get("held_out"), card.get("held_out_source")) == (
            digest, len(holdout.held_out), holdout.source,
        )  # fmt: skip
        if not same or card.get("exact_match") is None or card.get("rouge_l") is None:
            return None
        return {
            "backbone": str(record.settings.get("backbone") or "another model"),
            "version": record.version,
            "held_out": card["held_out"],
            "exact_match": card["exact_match"],
            "rouge_l": card["rouge_l"],
        }
    return None


def advice_on(elsewhere: Mapping[str, Any], exact_match: float) -> str:
    """What the scorecard says of the two models."""
    here, there = (part_of(exact, int(elsewhere["held_out"])) for exact in (exact_match, elsewhere["exact_match"]))
    told = f"{here} right with this model, {there} with {elsewhere['backbone']}"
    if exact_match < elsewhere["exact_match"]:
        return f"The other model did better: {told}. Its memory is kept and answers when you choose that model again."
    return f"On the same messages: {told}, whose memory is kept."
