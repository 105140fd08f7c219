"""What a scorecard means for a person: one sentence, what is wrong, and what would help most.

The one place where figures become a judgement, for the app and the command line. A memory is called better only
where that was measured, on messages that it has not learned, where its answers are right at least now and then, and
where ordinary chat is left alone. Knows no widget, no terminal and no model.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tokmem_desk.procedures import NONE_ROUTE
from tui.kit.words import count

Case = Literal["unmeasured", "unready", "learned", "worse", "no_better", "takes_chat", "close", "few", "better"]

HOLDOUT_FROM = 8
"""Pairs from which on a sixth is held out for the scorecard, when the procedure brings no test pairs."""
FEW_PAIRS = 8
"""Fewer measured pairs than this show a direction and no more: one pair is an eighth of all."""
ALIKE = 0.6
"""Likeness (ROUGE-L) below which an answer is another answer, not a slip of this one."""
WORSE_BY = 0.05
"""Less than this in ROUGE-L on a few held-out pairs is chance."""
TAKES_CHAT = 0.05
"""More of ordinary chat than this is more than a person puts up with."""
ENOUGH_PAIRS = 24
"""So many pairs make most procedures work; with them more of the same is no longer what helps most."""
MOST_PROPOSALS = 3

FAULTS = {
    "numbers": "the numbers are wrong",
    "form": "the form is wrong",
    "wording": "the words are other ones",
    "spelling": "capitals or spaces differ",
    "nothing": "nothing is answered",
}
"""Kinds of wrong answers, in words; the first of two equally frequent ones is named."""

_MARKS = re.compile(r"[^\w\s.,!?'\"’]|\n", re.UNICODE)
"""What gives an answer its form; the stops and commas of sentences do not."""
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")


def faults_of(expected: str, got: str) -> tuple[str, ...]:
    """What is wrong with an answer, as keys of ``FAULTS``; empty where it is exact."""
    expected, got = expected.strip(), got.strip()
    if expected == got:
        return ()
    if not got:
        return ("nothing",)
    if _plain(expected) == _plain(got):
        return ("spelling",)
    found = []
    if _NUMBER.findall(expected) != _NUMBER.findall(got):
        found.append("numbers")
    if _MARKS.findall(expected) != _MARKS.findall(got):
        found.append("form")
    if _words(expected) != _words(got):
        found.append("wording")
    return tuple(found) or ("form",)


def count_faults(pairs: Sequence[tuple[str, str]]) -> dict[str, int]:
    """How many of the answers have each fault; ``pairs`` are right answers and given ones."""
    return dict(Counter(fault for expected, got in pairs for fault in faults_of(expected, got)))


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement of one scorecard."""

    case: Case
    sentence: str
    """What came of the training."""
    proposals: tuple[str, ...]
    """What would help, most first."""

    @property
    def usable(self) -> bool:
        """Whether it was measured, and activating it is a step forward. What nobody has measured is the person's own
        choice, one by one.
        """
        return self.case in ("close", "few", "better")


@dataclass(frozen=True, slots=True)
class _Figures:
    """A scorecard, counted."""

    pairs: int
    measured: int
    exact: int
    likeness: float
    base_exact: int
    base_likeness: float
    learned: bool
    """Measured on the very pairs that were learned."""
    taken: int
    chat: int
    """Of ``chat`` ordinary messages, ``taken`` went to a procedure."""
    faults: Mapping[str, int]
    previous_change: float | None
    """In likeness, against the memory that answers so far."""

    @property
    def right(self) -> str:
        """``2 of 4 answers are exact``."""
        verb = "is" if self.exact == 1 else "are"
        return f"{self.exact} of {count(self.measured, 'answer')} {verb} exact"

    @property
    def wrong(self) -> str:
        """What is wrong with most answers, in words, or nothing."""
        if not self.faults:
            return ""
        return f": {self.fault}"

    @property
    def fault(self) -> str:
        """The most frequent fault in words, with its count where that says something; empty without any."""
        if not self.faults:
            return ""
        return FAULTS[self.worst] + (f" in {self.faults[self.worst]}" if self.measured > 1 else "")

    @property
    def unusable(self) -> bool:
        """Whether too much is wrong with too many answers: fewer than half are exact, and the others are other answers,
        or of the right shape with wrong numbers in it, which likeness does not see.
        """
        wrong_numbers = self.faults.get("numbers", 0) + self.faults.get("nothing", 0)
        return self.exact * 2 < self.measured and (self.likeness < ALIKE or wrong_numbers * 2 >= self.measured)

    @property
    def worst(self) -> str:
        """The most frequent fault; empty without any."""
        return max(FAULTS, key=lambda name: self.faults.get(name, 0)) if self.faults else ""

    @property
    def takes_chat(self) -> bool:
        return self.taken > TAKES_CHAT * self.chat

    @property
    def chat_words(self) -> str:
        """``8 of 100 ordinary messages go to a procedure``."""
        return _chat_words(self.taken, self.chat)


_CASES: tuple[tuple[Case, Callable[[_Figures], bool], Callable[[_Figures], str]], ...] = (
    (
        "unready",
        lambda card: card.unusable,
        lambda card: f"Not ready: {card.right}{card.wrong}.",
    ),
    (
        "learned",
        lambda card: card.learned,
        lambda card: (
            f"Not known: it was measured on the {card.measured} pairs that it has learned, "
            f"where {card.right}. New messages may go otherwise."
        ),
    ),
    (
        "worse",
        lambda card: card.previous_change is not None and card.previous_change < -WORSE_BY,
        lambda card: f"Worse than what you have now: {card.right}{card.wrong}.",
    ),
    (
        "no_better",
        lambda card: card.likeness <= card.base_likeness,
        lambda card: f"No better than without it: {card.right}, without it {card.base_exact}.",
    ),
    (
        "takes_chat",
        lambda card: card.takes_chat,
        lambda card: f"It answers well enough ({card.right}), but {card.chat_words}.",
    ),
    (
        "close",
        lambda card: card.exact * 2 < card.measured,
        lambda card: f"Closer to the right answers than without it, but {card.right}{card.wrong}.",
    ),
    (
        "few",
        lambda card: card.measured < FEW_PAIRS,
        lambda card: f"{_better(card)}, as far as {count(card.measured, 'pair')} can tell: {card.right}{card.wrong}.",
    ),
    (
        "better",
        lambda _: True,
        lambda card: f"{_better(card)}: {card.right}, without it {card.base_exact}{_but(card)}.",
    ),
)
"""The cases of a measured memory, each with its test and its sentence; the first that fits is the verdict."""


def verdict_of(card: Mapping[str, Any]) -> Verdict:
    """Judge a scorecard."""
    if card.get("verdicts"):
        return _improved(card)
    if card.get("rouge_l") is None or card.get("exact_match") is None or not card.get("held_out"):
        return _unmeasured(card)
    figures = _figures(card)
    case, _, words_of = next(one for one in _CASES if one[1](figures))
    sentence = words_of(figures)
    if figures.takes_chat and case not in ("takes_chat", "unmeasured"):
        sentence += f" And {figures.chat_words}."
    return Verdict(case, sentence, _proposals(figures, case, card.get("advice") or ()))


def _improved(card: Mapping[str, Any]) -> Verdict:
    """The verdict on a memory that was improved from what was said of its answers: pairs and verdicts have to agree."""
    said, previous = card["verdicts"], card.get("before")
    before, now, of = said["before"], said["now"], int(said["held_out"])
    change = now["alike"] - before["alike"]
    on_pairs = 0.0 if previous is None else previous["now"]["rouge_l"] - previous["rouge_l"]
    met, met_before = round(now["right"] * of), round(before["right"] * of)
    words = f"of {count(of, 'verdict')} set aside {met} {'is' if met == 1 else 'are'} met now, before {met_before}"
    if previous is not None:
        words += f"; pairs set aside come out {on_pairs * 100:+.0f} points alike"
    advice = tuple(card.get("advice") or ())
    if change < 0 or on_pairs < -WORSE_BY:
        wrong = [] if on_pairs >= -WORSE_BY else [_PAIRS_DISAGREE]
        return Verdict("worse", f"Worse than what you have now: {words}.", (*wrong, *advice))
    if change == 0 and on_pairs <= WORSE_BY:
        return Verdict("no_better", f"No better than what you have now: {words}.", (_MORE_VERDICTS, *advice))
    return Verdict("better", f"Better than what you have now: {words}.", advice)


def _unmeasured(card: Mapping[str, Any]) -> Verdict:
    """The verdict on a memory whose answers nobody has measured, and why."""
    advice = tuple(card.get("advice") or ())
    if card.get("rouge_l") is not None:  # came with a bank, whose scorecards may be shorter
        return Verdict("unmeasured", "Not known: its scorecard does not say on how many pairs it was measured.", advice)
    if card.get("held_out_source") != "none":
        words = "Not measured: the training was stopped before. The best so far can be used."
        return Verdict("unmeasured", words, advice)
    pairs = int(card.get("pairs") or 0)
    if pairs < HOLDOUT_FROM:
        verb = "is" if pairs == 1 else "are"
        words = (
            f"Not measured: {count(pairs, 'pair')} {verb} too few to set some aside; from {HOLDOUT_FROM} pairs on a "
            "part of them measures."
        )
    else:
        words = (
            f"Not measured: none of its {pairs} pairs could be set aside. What came from the chat is always learned, "
            "and pairs of one message stay together."
        )
    proposals = [_MEASURE, *advice]
    taken, chat = chat_taken(card)
    if taken > TAKES_CHAT * chat:
        words += f" And {_chat_words(taken, chat)}."
        proposals.insert(0, _LESS_CHAT)
    return Verdict("unmeasured", words, tuple(proposals))


def _chat_words(taken: int, chat: int) -> str:
    """``8 of 100 ordinary messages go to a procedure``."""
    return f"{taken} of {count(chat, 'ordinary message')} {'goes' if taken == 1 else 'go'} to a procedure"


def _but(card: _Figures) -> str:
    """What is wrong with the other answers, behind a sentence that praises."""
    return f"; {card.fault}" if card.faults else ""


def _better(card: _Figures) -> str:
    if card.previous_change is None:
        return "Better than without it"
    return "Better than what you have now" if card.previous_change > WORSE_BY else "About as good as what you have now"


def _figures(card: Mapping[str, Any]) -> _Figures:
    measured, pairs = int(card["held_out"]), int(card.get("pairs") or 0)
    base: Mapping[str, Any] = card.get("base") or {}
    previous = card.get("before")
    taken, chat = chat_taken(card)
    samples = [(one["expected"], one["got"]) for one in card.get("samples") or ()]
    faults = card.get("faults")
    return _Figures(
        pairs=pairs,
        measured=measured,
        exact=round(card["exact_match"] * measured),
        likeness=card["rouge_l"],
        base_exact=round(float(base.get("exact_match") or 0.0) * measured),
        base_likeness=float(base.get("rouge_l") or 0.0),
        # Of a split the pairs that were set aside do not count as learned: only then are there as many of both.
        learned=card.get("held_out_source") == "split" and measured >= pairs,
        taken=taken,
        chat=chat,
        faults=count_faults(samples) if faults is None else faults,
        previous_change=None if previous is None else previous["now"]["rouge_l"] - previous["rouge_l"],
    )


def chat_taken(card: Mapping[str, Any]) -> tuple[int, int]:
    """How many ordinary messages went to a procedure, and of how many."""
    rate = float(card.get("false_trigger_rate") or 0.0)
    labels, counts = (card.get("confusion") or {}).get("labels") or [], (card.get("confusion") or {}).get("counts")
    of = sum(counts[labels.index(NONE_ROUTE)]) if counts and NONE_ROUTE in labels else 0
    of = of or 100
    return round(rate * of), of


def _proposals(card: _Figures, case: Case, advice: Sequence[str]) -> tuple[str, ...]:
    """What would help, most first: what keeps the memory from being used, then what would make it surer."""
    found = []
    if case == "takes_chat":
        found.append(_LESS_CHAT)
    if case in ("unready", "close", "no_better", "worse"):
        found += [_HELP[card.worst]] if card.worst in _HELP else []
        if card.pairs < ENOUGH_PAIRS:
            found.append(f"More pairs would help most: there are {card.pairs}, try {ENOUGH_PAIRS}.")
        else:
            found.append("Train with the preset 'thorough', or use a bigger model.")
    if card.takes_chat and case != "takes_chat":
        found.append(_LESS_CHAT)
    if case in ("few", "learned", "takes_chat") and card.measured < FEW_PAIRS:
        found.append(f"More pairs, held out ones too, would show how good it is: {card.measured} say little.")
    # The engine's own advice knows pairs and prompt; what it says of more pairs stands above already.
    found += [one for one in advice if not (one.startswith("More pairs") and any("More pairs" in own for own in found))]
    return tuple(dict.fromkeys(found))[: max(MOST_PROPOSALS, len(advice))]


_MEASURE = "Try it on new messages, or mark some pairs as held out: those are not learned, and measure it."
_PAIRS_DISAGREE = "Your pairs want other answers than your verdicts: change the pairs that are written the old way."
_MORE_VERDICTS = "More verdicts say more: correct answers in the chat (p) rather than only marking them."
_LESS_CHAT = "Raise its threshold, or correct such messages in the chat to none: then less of plain chat goes to it."
_HELP = {
    "numbers": "Add pairs that differ in their numbers alone, or let its answers follow a schema.",
    "form": "Write all responses in one form, or give it a schema: then no answer can leave it.",
    "wording": "Use the same words for the same thing in all responses.",
    "spelling": "Write capitals and spaces the same in all responses.",
}


def _plain(text: str) -> str:
    return "".join(text.casefold().split())


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", text.casefold())
