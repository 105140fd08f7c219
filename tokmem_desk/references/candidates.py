"""Values that were said: what the networks say of tokens, put together with what messages and answers share.

A procedure's answer mostly repeats values of its message to the letter, which tells where a value begins and ends. An
answer that shares no word with its message is a value itself.

Letters: t tokens, k dimensions of the token space.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tokmem_desk.references.dossier import Dossier
from tokmem_desk.references.networks import AROUND, KINDS, MAIN

if TYPE_CHECKING:
    from torch import Tensor

_TEXT, _ITEM = KINDS.index("text"), KINDS.index("item")
_UNKNOWN = 0.5
"""What is of no kind that is known is a thing, to this share."""
_NO_VALUE = 0.5
"""A token that is more probably none is part of no value."""
_IS_TEXT = 0.5
"""Mean probability of its tokens at which an answer is taken as a text."""
_SURE_KIND = 0.6
_FEW_WORDS = 2
"""Words that a message and its answer share are one value, unless there are more of them, of several kinds."""
_SHORT = 60
"""Characters of an answer that may be a value."""
_PARTING = "|;=:→{[\t"
"""Marks that part the values of an answer."""
_LONG_WORD = 4
_SENTENCE = 6
_FRESH, _FRESH_SENTENCE = 0.5, 0.4
"""Share of the longer words of an answer that its message has not, above which the answer is a value; of words like a
sentence."""
_LEAST_SHARED = 3
"""Letters and digits that a message and its answer share at least; of digits one is enough."""
_WORD = re.compile(r"[$€£¥#+]?[^\W_]+(?:[@.:,/'’&-][^\W_]+)*[%€]?")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A value.

    Attributes:
        text: as it stands there.
        start, end: where in the text of the dossier.
        region: what it is part of, as in ``Dossier.regions``.
        kinds: how probable each of ``KINDS`` is.
        main: how probable it is that the message is about this one.
        phrase: the text with the words in front of it that go with it; empty where there are none.
        vector: its tokens' mean in the token space; empty where there are none.
        answers: whether it is all of an answer to a question.
        sure: how probable it is that it is a value at all.
    """

    text: str
    start: int
    end: int
    region: int
    kinds: tuple[float, ...]
    main: float
    phrase: str = ""
    vector: tuple[float, ...] = ()
    answers: bool = False
    sure: float = 1.0


@dataclass(frozen=True, slots=True)
class Reading:
    """What the networks say of the tokens of a dossier.

    Attributes:
        places: [start, end) of each token.
        tokens: [t x k].
        rows: [t x values] probabilities of kinds.
        parts: [t x parts] probabilities of parts.
    """

    dossier: Dossier
    places: Sequence[tuple[int, int]]
    tokens: Tensor
    rows: Tensor
    parts: Tensor

    def values(self) -> list[Candidate]:
        """The values of what was said, in their order."""
        found: list[Candidate] = []
        regions = [region for _, region in self.dossier.regions if region]
        for region in regions:
            stretch = self._stretch(region)
            other = self._stretch(region + 1 if region % 2 else region - 1)
            if region % 2 == 0 and self._is_whole(stretch, other):
                found.append(self.candidate(*stretch, whole=True))
            else:
                found += [self.candidate(*place) for place in self._places(stretch, other)]
        return found

    def candidate(self, start: int, end: int, *, whole: bool = False) -> Candidate:
        """The value that stands there.

        Args:
            whole: it is all of an answer.
        """
        answers = whole and end - start <= _SHORT
        text = self.dossier.text
        of = [i for i, (first, last) in enumerate(self.places) if first < end and last > start]
        region = next(which for after, which in self.dossier.regions if end <= after)
        if not of:
            return Candidate(text[start:end], start, end, region, (0.0,) * len(KINDS), 0.0, answers=answers)
        rows = self.rows[of]
        begin = of[0]
        while begin > 0 and int(self.parts[begin - 1].argmax()) == AROUND and self.places[begin - 1][0] < start:
            begin -= 1
        before, _ = whole_words(text, self.places[begin][0], start)
        found = (rows[:, 1::2] + rows[:, 2::2]).mean(0).tolist()
        # A part of a text is no text.
        rest = max(0.0, 1.0 - sum(found)) * _UNKNOWN
        kinds = tuple(p * (whole or kind != _TEXT) + rest * (kind == _ITEM) for kind, p in enumerate(found))
        return Candidate(
            text[start:end],
            start,
            end,
            region,
            kinds,
            1.0 if answers else float(self.parts[of, MAIN].mean()),
            text[before:end] if begin < of[0] and before < start else "",
            tuple(self.tokens[of].float().mean(0).tolist()),
            answers,
            1.0 - float(rows[:, 0].mean()),
        )

    def _stretch(self, region: int) -> tuple[int, int]:
        start, end = self.dossier.stretch(region)
        text = self.dossier.text[start:end]
        return start, start + len(text.rstrip())

    def _text(self, stretch: tuple[int, int]) -> str:
        return self.dossier.text[stretch[0] : stretch[1]]

    def _is_whole(self, answer: tuple[int, int], message: tuple[int, int]) -> bool:
        """Whether an answer is one value: a text, or a few words that its message has not."""
        of = [i for i, (first, last) in enumerate(self.places) if first < answer[1] and last > answer[0]]
        if not of:
            return False
        rows = self.rows[of]
        text = self._text(answer)
        sentence = len(_WORD.findall(text)) >= _SENTENCE
        if sentence and float((rows[:, 1 + 2 * _TEXT] + rows[:, 2 + 2 * _TEXT]).mean()) > _IS_TEXT:
            return True
        if "\n" in text or not 0 < len(text) <= _SHORT or any(mark in text for mark in _PARTING):
            return False
        asked = {word.casefold() for word in _WORD.findall(self._text(message))}
        words = [word for word in _WORD.findall(text) if len(word) >= _LONG_WORD or any(map(str.isdigit, word))]
        fresh = sum(len(word) for word in words if word.casefold() not in asked)
        return fresh > (_FRESH_SENTENCE if sentence else _FRESH) * sum(map(len, words))

    def _places(self, stretch: tuple[int, int], other: tuple[int, int]) -> list[tuple[int, int]]:
        """Where values stand in one text, by the networks and by what another text shares with it."""
        marked = self._marked(stretch)
        taken: list[tuple[int, int]] = []
        for start, end in shared(self._text(stretch), self._text(other)):
            place = (stretch[0] + start, stretch[0] + end)
            inside = [one for one in marked if one[0] < place[1] and one[1] > place[0]]
            around = [one for one in inside if one[0] <= place[0] and one[1] >= place[1]]
            sure = [max((p, kind) for kind, p in enumerate(self.candidate(*one).kinds)) for one in inside]
            kinds = {kind for p, kind in sure if p > _SURE_KIND}
            if around:
                taken.append(around[0])
            elif len(kinds) < 2 or len(self.dossier.text[place[0] : place[1]].split()) <= _FEW_WORDS:
                taken.append(place)
            else:
                continue
            marked = [one for one in marked if one not in inside]
        return sorted({*taken, *marked})

    def _marked(self, stretch: tuple[int, int]) -> list[tuple[int, int]]:
        """Runs of tokens of one kind as whole words; runs without a space between them are one."""
        of = [i for i, (first, last) in enumerate(self.places) if first < stretch[1] and last > stretch[0]]
        found: list[tuple[int, int]] = []
        for first, after in _runs(self.rows[of]):
            start, end = whole_words(self.dossier.text, self.places[of[first]][0], self.places[of[after - 1]][1])
            start, end = max(start, stretch[0]), min(end, stretch[1])
            if found and start <= found[-1][1]:
                found[-1] = (found[-1][0], max(end, found[-1][1]))
            elif any(letter.isalnum() for letter in self.dossier.text[start:end]):
                found.append((start, end))
        return found


def whole_words(text: str, start: int, end: int) -> tuple[int, int]:
    """The stretch without space at its ends, with the whole of each word that it has a part of."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    for word in _WORD.finditer(text):
        if word.start() < start < word.end():
            start = word.start()
        if word.start() < end < word.end():
            end = word.end()
    return start, end


def shared(text: str, other: str) -> list[tuple[int, int]]:
    """The longest runs of words of a text that stand in another one too, without overlap, in their order."""
    words, known = _words(text), _words(other)
    found, at = list[tuple[int, int]](), 0
    while at < len(words):
        longest = 0
        for place in range(len(known)):
            length = 0
            while (
                at + length < len(words)
                and place + length < len(known)
                and words[at + length][0] == known[place + length][0]
                and (not length or words[at + length][1] == known[place + length][1])
            ):
                length += 1
            longest = max(longest, length)
        if longest:
            start, end = words[at][2], words[at + longest - 1][3]
            run = text[start:end]
            if sum(map(str.isalnum, run)) >= _LEAST_SHARED or any(map(str.isdigit, run)):
                found.append((start, end))
        at += max(1, longest)
    return found


def _words(text: str) -> list[tuple[str, str, int, int]]:
    """Each word in small letters, what stands between it and the word before, and where it stands."""
    found, last = list[tuple[str, str, int, int]](), 0
    for word in _WORD.finditer(text):
        found.append((word.group().casefold(), text[last : word.start()], word.start(), word.end()))
        last = word.end()
    return found


def _runs(rows: Tensor) -> list[tuple[int, int]]:
    """[first, after) of the tokens of each value.

    Args:
        rows: [t x values] probabilities of kinds.
    """
    found, at = list[tuple[int, int]](), 0
    kinds = (rows[:, 1::2] + rows[:, 2::2]).argmax(dim=-1).tolist()
    inside = (rows[:, 0] <= _NO_VALUE).tolist()
    while at < len(rows):
        end = at + 1
        if inside[at]:
            further = 2 + 2 * kinds[at]
            while (
                end < len(rows)
                and inside[end]
                and kinds[end] == kinds[at]
                and float(rows[end, further]) > float(rows[end, further - 1])
            ):
                end += 1
            found.append((at, end))
        at = end
    return found
