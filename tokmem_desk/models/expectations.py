"""What a model of a size is like, in words for people: its plain chat, and the procedures that are taught to it.

A rule of thumb by the number of parameters, for choosing a model before it is fetched. Measured are the sizes below a
billion (docs/results.md); what is said of larger ones is common experience. Knows no file and loads nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

SMALL_BELOW = 1_000_000_000
"""Models with fewer parameters copy the form of whatever answer stands before: after a contact card, the capital of
Norway became a contact card. Their plain chat is shown plain chat alone."""

_MIDDLE_BELOW = 4_000_000_000


@dataclass(frozen=True, slots=True)
class Expectation:
    """What to expect of a model; each a few words."""

    chat: str
    procedures: str


def expectation(parameters: int, *, made_for_chat: bool = True) -> Expectation:
    """What a model of this size is good for.

    Args:
        parameters: how many it has.
        made_for_chat: False for a base model, which only continues texts.
    """
    small = parameters < SMALL_BELOW
    if small:
        found = Expectation(
            "a toy: it knows little and is often wrong",
            "short answers of one form, with words of your message",
        )
    elif parameters < _MIDDLE_BELOW:
        found = Expectation(
            "simple questions; check what it says",
            "forms and short texts in words of its own",
        )
    else:
        found = Expectation(
            "everyday questions; check what it says",
            "forms, longer texts, and answers that need knowledge",
        )
    if made_for_chat:
        return found
    return Expectation("hardly any: it was made to continue texts", found.procedures)
