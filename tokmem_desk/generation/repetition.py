"""Detect an answer that repeats an earlier one. Small models copy the conversation: once it has one answer of a kind,
they may give it to every later question.

Works on text alone: no model, no token. Letters and digits are compared, so marks, spaces and capitals do not hide a
repetition. Text is held back while the answer may still be a repetition, so nothing shown is ever taken back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher

SURE_LETTERS = 48
"""So many letters in common at the beginning, about ten words, are no coincidence."""
LEAST_LETTERS = 12
"""Whole answers that are shorter ("Yes.", "Oslo.") may well be right twice."""
ALIKE = 0.85
"""Share of letters in common from which two beginnings of the same length count as the same."""
LOOK_LETTERS = 8
"""Fewer letters say nothing about how alike two beginnings are."""


def letters_of(text: str) -> str:
    """The letters and digits of a text, which are compared."""
    return "".join(sign for sign in text.casefold() if sign.isalnum())


def alike(one: str, other: str) -> bool:
    """Whether two texts, as ``letters_of`` gives them, differ in a few letters at most."""
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
    """Compares one answer with earlier ones while it is generated.

    Args:
        earlier: the answers that it must not repeat.
    """

    earlier: Sequence[str]
    found: bool = False
    """True once the answer repeats an earlier one; text that is held back is then dropped."""
    _open: list[str] = field(default_factory=list)
    _text: str = ""
    _held: str = ""

    def __post_init__(self) -> None:
        self._open = [letters for letters in map(letters_of, self.earlier) if len(letters) >= LEAST_LETTERS]

    def add(self, piece: str) -> str:
        """Add text of the answer; returns the text that may be shown now."""
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
        """Note the end of the answer."""
        said = letters_of(self._text)
        if len(said) >= LEAST_LETTERS and any(alike(letters, said) for letters in self._open):
            self.found = True

    def release(self) -> str:
        """Return the text that is held back; the answer is no repetition."""
        held, self._held = self._held, ""
        return held


def _begins_like(letters: str, said: str) -> bool:
    """Whether an earlier answer may begin with the text so far."""
    if letters.startswith(said):
        return True
    if len(said) < LOOK_LETTERS:
        # Of so little a slip would be most; the first words must be the same.
        return False
    # A word more or less moves the end of the same beginning.
    reach = max(2, len(said) // 5)
    return any(alike(letters[:length], said) for length in (len(said), len(said) + reach, len(said) - reach))
