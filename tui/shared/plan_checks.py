"""Whether a plan can be done, looked at before anything of it is: a plan that breaks in its middle is the worst one."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from profiles.store.store import ProfileStore
from tokmem_desk.errors import BadInputError
from tokmem_desk.plans.steps import procedures_of, read_steps
from tokmem_desk.procedures import NONE_ROUTE


def plan_fault(store: ProfileStore, plan: str, steps: str, plans: Mapping[str, str], fingerprint: str | None) -> str:
    """Why a plan cannot be done; empty where nothing speaks against it.

    Args:
        store: of the profile.
        plan: its name.
        steps: its own steps, as text.
        plans: the steps of all plans; empty for those whose answers are their steps.
        fingerprint: of the model; None where it is not known which procedures are trained for it.
    """
    records = {record.name: record for record in store.procedures.list()}
    trained = None if fingerprint is None else {one.procedure for one in store.memories.all_active(fingerprint)}
    if not plans.get(plan) and plan in records and (old := _old_names(store, plan, set(records))):
        return f"The pairs of {plan} name {old!r}, which was removed or renamed: change them, and train it again."
    seen: set[str] = set()
    waiting = [(plan, steps)]
    while waiting:
        name, text = waiting.pop()
        seen.add(name)
        gone = store.plans.missing(name) if name in records and plans.get(name) else []
        try:
            called = procedures_of(read_steps(text))
        except BadInputError as caught:
            return f"The answer of {name} is no plan: {caught.message}"
        for one in called:
            if one == NONE_ROUTE or one in seen:
                continue
            if one in gone or one not in records:
                return f"{name} names {one!r}, which was removed or renamed."
            if not records[one].enabled:
                return f"{name} names {one!r}, which is switched off."
            if plans.get(one):
                waiting.append((one, plans[one]))
            elif trained is not None and one not in trained:
                return f"{name} names {one!r}, which is not trained for this model."
    return ""


def _old_names(store: ProfileStore, plan: str, known: set[str]) -> str:
    """A name in the answers of a taught plan that no procedure has any more; empty where there is none.

    Held to a grammar of those that exist, the model would take another one in its place.
    """
    for pair in store.procedures.with_pairs(plan).pairs:
        with contextlib.suppress(BadInputError):
            for name in procedures_of(read_steps(pair.response)):
                if name != NONE_ROUTE and name not in known:
                    return name
    return ""
