"""The form of a procedure's answers as an example: one of its own answers with its parts marked."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from textual.content import Content

from tokmem_desk.procedures import ExamplePair
from tokmem_desk.templates.template import AnswerTemplate
from tui.kit.visible_text import visible_line

LOOKED_AT = 50
"""Pairs that are tried; a form accepts nearly all of those that it was found in."""

LONGEST_EXAMPLE = 160
"""Characters of an answer that is shown."""


def form_example(form: AnswerTemplate, pairs: Iterable[ExamplePair]) -> Content | None:
    """An answer of the form with marks for where its parts come from; None where no pair has the form.

    Marks are signs, not colours alone: ‹…› stands in the message, ‹…|…› is one of a few, the rest is in every answer
    or, where it is followed by …, is written anew.
    """
    for pair in itertools.islice(pairs, LOOKED_AT):
        pieces = form.marked(pair.input, pair.response) if len(pair.response) <= LONGEST_EXAMPLE else []
        if not pieces:
            continue
        signs = {"fixed": "{}", "message": "‹{}›", "choice": "‹{}|…›", "new": "{}…"}
        shown = [
            Content.styled(
                visible_line(signs[piece.origin].format(piece.text)), "bold" if piece.origin == "message" else "$muted"
            )
            for piece in pieces
        ]
        used = dict.fromkeys(piece.origin for piece in pieces)
        words = {"message": "‹…› from your message", "choice": "‹…|…› one of a few", "new": "… written anew"}
        legend = ", ".join(words[origin] for origin in words if origin in used)
        several = " (one or more such lines)" if form.repeated else ""
        return Content.assemble(
            Content.styled("Answers look like  ", "$muted"),
            *shown,
            Content.styled(f"{several}   {legend}" if legend else several, "$muted"),
        )
    return None
