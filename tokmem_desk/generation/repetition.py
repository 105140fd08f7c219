"""Tells when an answer is an earlier one over again. Small models go on with what stands before: once a chat has one
answer of a kind, they may give it to every later question.

Knows text alone: no model, no token. What is compared are letters and digits, so marks, spaces and capitals do not hide
a repetition. While it is open whether an answer is an earlier one, its text is held back, so that nothing that was
shown has to be taken away again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher

SURE_LETTERS = 48
"""A beginning of so many letters in common is no chance: about ten words."""
LEAST_LETTERS = 12
"""Whole answers that are shorter ("Yes.", "Oslo.") may well be right twice."""
ALIKE = 0.85
"""Share of letters in common from which two beginnings of the same length count as the same."""
LOOK_LETTERS = 8
"""Fewer letters say nothing about how alike two beginnings are."""


def letters_of(text: str) -> str:
    """What of a text is compared."""
    return "".join(sign for sign in text.casefold() if sign.isalnum())


def alike(one: str, other: str) -> bool:
    """Whether two texts are the same but for a few letters; both as ``letters_of`` gives them."""
    if not one or not other:
        return False
    if one == other:
        return True
    matcher = SequenceMatcher(None, one, other, autojunk=False)
    return matcher.quick_ratio() >= ALIKE and matcher.ratio() >= ALIKE


def answers_to_other_questions(said: Sequence[tuple[str, str]], question: str) -> list[str]:
    """The earlier answers that the question does not ask for again; ``said`` are questions and their answers."""
    asked = letters_of(question)
    return [answer for earlier, answer in said if not alike(letters_of(earlier), asked)]


@dataclass(slots=True)
class RepetitionWatch:
    """Follows one answer as it grows.

    Args:
        earlier: the answers that it must not repeat.
    """

    earlier: Sequence[str]
    found: bool = False
    """True once the answer is known to repeat an earlier one; nothing that is held is to be shown then."""
    _open: list[str] = field(default_factory=list)
    _text: str = ""
    _held: str = ""

    def __post_init__(self) -> None:
        self._open = [letters for letters in map(letters_of, self.earlier) if len(letters) >= LEAST_LETTERS]

    def add(self, piece: str) -> str:
        """More of the answer; returns what may be shown by now."""
        if self.found or not self._open:
            return piece
        self._held += piece
        self._text += piece
        said = letters_of(self._text)
        self._open = [letters for letters in self._open if _begins_like(letters, said)]
        if self._open and len(said) >= SURE_LETTERS:
            self.found = True
        return "" if self._open else self.release()

    def end(self) -> None:
        """The answer is whole."""
        said = letters_of(self._text)
        if len(said) >= LEAST_LETTERS and any(alike(letters, said) for letters in self._open):
            self.found = True

    def release(self) -> str:
        """What is held back, to be shown after all."""
        held, self._held = self._held, ""
        return held


def _begins_like(letters: str, said: str) -> bool:
    """Whether an earlier answer may begin with what has been said."""
    if letters.startswith(said):
        return True
    if len(said) < LOOK_LETTERS:
        # Of so little a slip would be most; the first words must be the same.
        return False
    # A word more or less moves the end of the same beginning.
    reach = max(2, len(said) // 5)
    return any(alike(letters[:length], said) for length in (len(said), len(said) + reach, len(said) - reach))
