"""Tell from a message which of the lines that it offers an answer has, before a word of it is generated.

Where the lines of a list are values that stand beside each other in the message (``templates.rows``), a message names
some dozen lines, and a small model skips the first of them or takes the dish for an ingredient. Whether the answer has
a line is a linear score over the frozen states of its two values, learned from a procedure's own pairs and calibrated
on pairs that were left out (``trainer.slot_rows``). Lines that are certain have to come, unlikely ones cannot, and the
model chooses among the others.

Letters: w words and signs of a message, k token space, r lines that a message offers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tokmem_desk.generation.pointing import stretch_features, word_states
from tokmem_desk.templates.rows import Row, RowChoice, rows_of

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.templates.template import AnswerTemplate, Part


def offered(part: Part, message: str) -> tuple[Row, ...]:
    """The lines that a message offers; none where there is no rule or they are too many to name."""
    return () if part.rows is None else rows_of(part.rows, part.forms[0], message)


def row_features(words: Tensor, rows: Sequence[Row]) -> Tensor:
    """[r x 2(5k + 8)] float32, see ``stretch_features``: of the first and of the last value of each line.

    Args:
        words: [w x k] float32, see ``word_states``.
    """
    first = stretch_features(words, [row.first for row in rows])
    last = stretch_features(words, [row.last or row.first for row in rows])
    has_last = torch.tensor([[float(row.last is not None)] for row in rows])
    return torch.cat([first, last * has_last], dim=1)


def choose_rows(rows: Sequence[Row], chances: Sequence[float], doubt: float, *, ordered: bool) -> RowChoice:
    """The lines that are certain and those that are possible.

    Args:
        chances: of each line, that the answer has it.
        doubt: see ``RowChooser``.
        ordered: lines follow each other by a rule. Without one nothing says when a line was left out, so that none is
            certain.
    """
    must: list[Row] = []
    for chance, row in sorted(zip(chances, rows, strict=True), key=lambda one: -one[0]):
        # Of lines that take the same words the likeliest is meant.
        if chance >= 1 - doubt and all(set(row.places).isdisjoint(other.places) for other in must):
            must.append(row)
    used = {place for row in must for place in row.places}
    certain = {row.text for row in must}
    possible = {
        row.text
        for chance, row in zip(chances, rows, strict=True)
        if chance >= doubt and (not ordered or used.isdisjoint(row.places))
    }
    return RowChoice(frozenset(certain | possible), frozenset(certain) if ordered else frozenset())


def listed(backbone: Backbone, form: AnswerTemplate, message: str, tokens: Tensor | None) -> AnswerTemplate:
    """The form for one message: the lines of its answer, as far as the message says them.

    Args:
        tokens: [t x k] float32 tokens of the message in the backbone's token space; None where they were not read.
    """
    space, chooser = backbone.token_space, form.row_chooser
    if chooser is None or tokens is None or space is None or chooser.space != space.digest:
        return form
    places = backbone.format.places(message)
    rows = offered(form.parts[chooser.place], message) if chooser.place < len(form.parts) else ()
    if len(places) != tokens.shape[0] or not rows:
        return form
    features = row_features(word_states(message, places, tokens), rows)
    if features.shape[1] != len(chooser.weights):
        return form
    weights = torch.frombuffer(bytearray(chooser.weights), dtype=torch.int8).float() * chooser.scale
    part = form.parts[chooser.place]
    ordered = part.rows is not None and bool(part.rows.order)
    choice = choose_rows(rows, (features @ weights).sigmoid().tolist(), chooser.doubt, ordered=ordered)
    if not choice.may:  # an answer has at least one line
        return form
    chosen = replace(part, chosen=choice)
    return replace(form, parts=(*form.parts[: chooser.place], chosen, *form.parts[chooser.place + 1 :]))
