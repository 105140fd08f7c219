"""Simulated persons for ``feedback``: each prefers one way of writing a procedure's answers and says so of each answer.

The preference is hidden: the pairs that the memory begins with are written half in that way and half as the data has
them, as where two people wrote them. It concerns the order, the style or the wording, never what is said.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tokmem_desk.procedures import AnswerVerdict, ExamplePair, Procedure

EDITED = 0.5
"""How many of the wrong answers a person corrects; the others get a thumb down alone."""


@dataclass(frozen=True, slots=True)
class Preference:
    """What one person wants of one procedure's answers.

    Attributes:
        half: 0 for those that settings are chosen on, 1 for those that are looked at.
        write: makes an answer of the data one that the person wants.
        form: an expression (dots match line breaks) that such answers fit, and those of the data do not.
    """

    procedure: str
    kind: Literal["order", "style", "wording"]
    half: int
    write: Callable[[str], str]
    form: str


def _ledger(text: str) -> str:
    day, kind, what, amount, currency, paid = text.split(";")
    return ";".join((day, amount, currency, what, kind, paid))


def _decline(text: str) -> str:
    return text.replace("Sadly I have to say no:", "I am afraid it cannot be:").replace("All the best", "Warm regards")


def _standup(text: str) -> str:
    done, today, blocked = (line[5:] for line in text.split("\n"))
    return f"yesterday: {done} / today: {today} / blocked: {blocked}"


def _commit(text: str) -> str:
    found = re.fullmatch(r"(\w+)\(([a-z-]+)\): (.+?)( \[[A-Z]+-\d+\])?", text)
    assert found is not None
    kind, place, what, ticket = found.groups()
    return f"{ticket.strip() + ' ' if ticket else ''}{place}/{kind}: {what}"


def _triage(text: str) -> str:
    found = re.fullmatch(r"(\[\w+\]) due (\S+), reply (\w+)", text)
    assert found is not None
    kind, due, reply = found.groups()
    return f"reply {reply}, due {due} {kind}"


def _status(text: str) -> str:
    for old, new in (("GREEN", "on track"), ("AMBER", "at risk"), ("RED", "stuck")):
        text = text.replace(f"Status: {old}", f"It is {new}")
    return text.replace("Next: ", "Then: ")


def _shopping(text: str) -> str:
    return "\n".join("+ {1} {0}".format(*line[2:].split(": ", 1)) for line in text.split("\n"))


def _flashcard(text: str) -> str:
    question, answer, tag = text.split("\n")
    return f"{tag} {question[3:]} = {answer[3:]}"


PREFERENCES = (
    Preference("expense_to_ledger", "order", 0, _ledger, r"\d{4}-\d\d-\d\d;\d+\.\d\d;.*"),
    Preference("polite_decline", "wording", 0, _decline, r"Hi .*\nI am afraid it cannot be: .*\nWarm regards, Robin"),
    Preference("standup_three_bullets", "style", 0, _standup, r"yesterday: .* / today: .* / blocked: .*"),
    Preference("commit_message", "order", 0, _commit, r"(\[[A-Z]+-\d+\] )?[a-z-]+/[a-z]+: .*"),
    Preference("email_triage", "order", 1, _triage, r"reply \w+, due \S+ \[\w+\]"),
    Preference("meeting_note_to_status", "wording", 1, _status, r"Project: .*\nIt is (on track|at risk|stuck)\n.*"),
    Preference("recipe_to_shopping_list", "style", 1, _shopping, r"\+ [^\n]+(\n\+ [^\n]+)*"),
    Preference("fact_to_flashcard", "style", 1, _flashcard, r"#[a-z]+ .*\? = .*"),
)


@dataclass(frozen=True, slots=True)
class Person:
    """One person with one procedure.

    Attributes:
        procedure: as the memory begins with it: pairs of both ways; what it is measured on, in the person's way.
        asks: messages that the person types, with the answers that they want.
    """

    preference: Preference
    procedure: Procedure
    asks: tuple[ExamplePair, ...]
    seed: int

    def judge(self, shown: Sequence[str]) -> tuple[list[AnswerVerdict], list[ExamplePair]]:
        """What the person says of the answers to ``asks``: verdicts, and what the app makes pairs of.

        A right answer gets a thumb up, of which the app makes a pair.
        """
        rng = random.Random(f"verdicts/{self.procedure.name}/{self.seed}")
        verdicts, pairs = [], []
        for ask, answer in zip(self.asks, shown, strict=True):
            edits = rng.random() < EDITED
            if answer.strip() == ask.response:
                pairs.append(ask)
            elif edits:
                verdicts.append(AnswerVerdict(ask.input, answer, ask.response))
                pairs.append(ask)
            else:
                verdicts.append(AnswerVerdict(ask.input, answer))
        return verdicts, pairs


def person_of(preference: Preference, data: Procedure, taught: int, asks: int, seed: int) -> Person:
    """A person, from a procedure of the data.

    Args:
        taught: pairs that the memory begins with.
        asks: messages that are typed.
    """
    pairs = random.Random(f"feedback/{data.name}/{seed}").sample(data.pairs, len(data.pairs))
    mixed = [_wanted(preference, pair) if i % 2 else _as_it_is(pair) for i, pair in enumerate(pairs[:taught])]
    wanted = tuple(_wanted(preference, pair) for pair in pairs[taught : taught + asks])
    tests = tuple(_wanted(preference, pair) for pair in data.held_out)
    procedure = replace(data, pairs=tuple(mixed), held_out=tests, pattern=None)
    return Person(preference, procedure, wanted, seed)


def _wanted(preference: Preference, pair: ExamplePair) -> ExamplePair:
    return ExamplePair(pair.input, preference.write(pair.response))


def _as_it_is(pair: ExamplePair) -> ExamplePair:
    return ExamplePair(pair.input, pair.response)
