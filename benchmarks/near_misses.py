"""Near-misses of ``correction``: messages with the words of a procedure and another intent, which belong to none.

A user meets the first few that go wrong, says each time that it belongs to plain chat, and then types the others. What
is measured are those others, none of which was corrected, and the held-out messages of the procedure and of all others.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.correction_user import METHODS, Replay, Said
from benchmarks.result import Metrics, Run, mean_over
from benchmarks.routing_features import Features
from tokmem_desk.errors import BadInputError, first_line
from tokmem_desk.procedures import NONE_ROUTE
from tokmem_desk.routing.features import RouterBasis

BANKS = ("all", "alone")
"""Whether the procedure stands among all of the data, or alone."""


@dataclass(frozen=True, slots=True)
class Material:
    """What one user has and meets.

    Attributes:
        known: the texts that each procedure is made from.
        held_out: messages that are right for each procedure; ordinary chat under ``none``.
        near_misses: of some of the procedures, by half.
    """

    known: Mapping[str, Sequence[str]]
    held_out: Mapping[str, Sequence[str]]
    near_misses: Mapping[str, Mapping[str, Sequence[str]]]


def read_near_misses(path: Path) -> dict[str, dict[str, list[str]]]:
    """A file of ``{HALF: {PROCEDURE: [MESSAGE, …]}}``: the half that chose settings, and the one looked at once.

    Raises:
        BadInputError: it cannot be read, or is of another form.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise BadInputError(f"{path} cannot be read ({first_line(error)}).") from error
    halves = found.values() if isinstance(found, dict) else [None]
    if not all(isinstance(half, dict) and all(isinstance(one, list) for one in half.values()) for half in halves):
        raise BadInputError(f"{path} has no messages by procedure.")
    return {half: {name: [str(text) for text in texts] for name, texts in one.items()} for half, one in found.items()}


def measure(
    method: str,
    material: Material,
    bank: str,
    corrections: int,
    seed: int,
    features: Features,
    basis: RouterBasis,
    hidden_size: int,
    sent_wrong: dict[tuple[str, int, str], list[str]],
) -> Run:
    """One user with each procedure that has near-misses, one after the other.

    Args:
        sent_wrong: which near-misses go wrong without corrections, by bank, seed and procedure; filled here.
        bank: of ``BANKS``.
        corrections: how many near-misses are corrected, at most.
    """
    per_procedure: dict[str, Metrics] = {}
    for name, misses in sorted((name, texts) for half in material.near_misses.values() for name, texts in half.items()):
        names = [name] if bank == "alone" else list(material.known)
        known = {one: material.known[one] for one in names}

        def user(verdicts: str, folder: str, known: Mapping[str, Sequence[str]] = known) -> Replay:
            return Replay(METHODS[verdicts], Path(folder), features, basis, hidden_size, known)

        order = random.Random(f"{seed}/{name}").sample(misses, len(misses))
        key = (bank, seed, name)
        if key not in sent_wrong:
            with tempfile.TemporaryDirectory() as folder, user("uncorrected", folder) as before:
                routes = [ranking[0][0] for ranking in before.rank(order)]
            sent_wrong[key] = [text for text, route in zip(order, routes, strict=True) if route != NONE_ROUTE]
        corrected = sent_wrong[key][:corrections]
        with tempfile.TemporaryDirectory() as folder, user(method, folder) as replay:
            for text in corrected:
                replay.say(Said(text, NONE_ROUTE))

            def share(texts: Sequence[str], right: Callable[[str], bool], replay: Replay = replay) -> float | None:
                routes = [ranking[0][0] for ranking in replay.rank(texts)] if texts else []
                return sum(right(route) for route in routes) / len(routes) if routes else None

            others = [text for text in misses if text not in corrected]
            recalls = {one: share(material.held_out[one], one.__eq__) for one in names}
            chat = share(material.held_out.get(NONE_ROUTE, ()), lambda route: route != NONE_ROUTE)
            per_procedure[name] = {
                "false_trigger_rate": share(others, lambda route: route != NONE_ROUTE),
                "known_recall": recalls.pop(name),
                "others_recall": mean_over([{"recall": one} for one in recalls.values()]).get("recall"),
                "chat_false_trigger_rate": chat,
                "corrections": float(len(corrected)),
                "near_misses": float(len(others)),
            }
    halves = {
        half: mean_over([per_procedure[name] for name in names])
        for half, names in material.near_misses.items()
        if names
    }
    return Run(mean_over(list(per_procedure.values())), per_procedure, halves=halves)
