"""Read a part of a message with what its words refer to filled in, where a procedure answers it.

Plain chat sees the conversation, and so does a procedure that reads it: both are left to what the person typed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tokmem_desk.background.referring import Said
from tokmem_desk.generation.segment import Part
from tokmem_desk.generation.types import Bank
from tokmem_desk.procedures import NONE_ROUTE
from tokmem_desk.references.resolve import resolve
from tokmem_desk.routing.segments import CLEAR_BEGINNING, ProposedCuts

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.backbone.prefill import Prefilled

_LONGEST_REPEAT = 80
"""Characters of words that ask for the same again."""


def filled_in(backbone: Backbone, bank: Bank, part: Part, said: Sequence[Said]) -> Part:
    """The part as it is to be answered: with values in the place of words, and routed so; else the same.

    Args:
        said: before this part, oldest first.
    """
    finder, routed = bank.references, part.routed
    if finder is None or not bank.memories or not said:
        return part
    read = resolve(backbone, finder, said, routed.part)
    if read is None:
        return part
    prefilled = _run(backbone, bank, read.message)
    candidates = bank.router.candidates(prefilled)[0]
    best = candidates[0]
    if routed.forced or (best.route == NONE_ROUTE and not read.again):
        # Somebody chose the route, or the words that were typed did.
        known = {candidate.route: candidate.probability for candidate in candidates}
        route, probability = routed.route, known.get(routed.route, 0.0) if routed.forced else routed.probability
        candidates = candidates if routed.forced else routed.candidates
    else:
        route, probability = best.route, best.probability
    if route == NONE_ROUTE or route in bank.conversation_aware:
        return part
    filled = replace(
        routed,
        route=route,
        probability=probability,
        candidates=candidates,
        part=read.message,
        typed=routed.part,
        filled=read.filled,
    )
    return Part(filled, prefilled)


def _run(backbone: Backbone, bank: Bank, text: str) -> Prefilled:
    return backbone.prefill(
        [backbone.format.query(text)], feature_layers=bank.router.feature_layers, token_space=backbone.token_space
    )


def with_repeats(backbone: Backbone, bank: Bank, message: str, cuts: ProposedCuts) -> tuple[ProposedCuts, set[str]]:
    """Where a message may be cut, with stretches as "the same for Friday" read as the request before them.

    Such words have no route of their own, so no cut would be worth it.

    Returns:
        The cuts, and the texts that are read as something else.
    """
    finder = bank.references
    if finder is None:
        return cuts, set()
    queries, marks, read_as = list(cuts.queries), list(cuts.marks), set[str]()
    for stretch in cuts.stretches:
        if not stretch.first or stretch.text in read_as or len(stretch.text) > _LONGEST_REPEAT:
            continue
        before = [one for one in cuts.stretches if one.after == stretch.first]
        for one in sorted(before, key=lambda one: -one.first):
            read = resolve(backbone, finder, [Said(one.text, "")], stretch.text)
            if read is not None and read.again:
                queries[cuts.texts.index(stretch.text)] = backbone.format.query(read.message)
                marks[stretch.first - 1] = max(marks[stretch.first - 1], CLEAR_BEGINNING)
                read_as.add(stretch.text)
                break
    return replace(cuts, queries=queries, marks=marks), read_as
