"""Simulated persons with a preference: what they want, what they say, and what of it a memory is worth."""

from __future__ import annotations

import re

import pytest

from benchmarks.feedback import summary
from benchmarks.feedback_people import PREFERENCES, Preference, person_of
from tokmem_desk.procedures import AnswerVerdict, ExamplePair, Procedure

LEDGER = next(one for one in PREFERENCES if one.procedure == "expense_to_ledger")
PAIRS = tuple(ExamplePair(f"tea {day}", f"2025-10-{day};food;tea;{day}.00;EUR;card") for day in range(10, 30))
DATA = Procedure("expense_to_ledger", PAIRS[:16], PAIRS[16:])

ANSWERS = {
    "expense_to_ledger": ("2025-10-02;office;webcam;59.99;USD;card", "2025-10-02;59.99;USD;webcam;office;card"),
    "polite_decline": (
        "Hi Ana,\nThank you for asking me about the panel.\nSadly I have to say no: I am away.\nAll the best, Robin",
        "Hi Ana,\nThank you for asking me about the panel.\nI am afraid it cannot be: I am away.\nWarm regards, Robin",
    ),
    "standup_three_bullets": (
        "- Y: off sick\n- T: mails\n- B: none",
        "yesterday: off sick / today: mails / blocked: none",
    ),
    "commit_message": ("feat(chat): add emoji [CHAT-150]", "[CHAT-150] chat/feat: add emoji"),
    "email_triage": ("[WORK] due 2025-06-11, reply no", "reply no, due 2025-06-11 [WORK]"),
    "meeting_note_to_status": (
        "Project: Vans\nStatus: RED\nDone: a\nNext: b (Tom, 3 Jun)",
        "Project: Vans\nIt is stuck\nDone: a\nThen: b (Tom, 3 Jun)",
    ),
    "recipe_to_shopping_list": ("- butter: 30 g\n- limes: 1", "+ 30 g butter\n+ 1 limes"),
    "fact_to_flashcard": ("Q: What is it?\nA: carbon\n#chemistry", "#chemistry What is it? = carbon"),
}


@pytest.mark.parametrize("preference", PREFERENCES, ids=lambda one: one.procedure)
def test_each_preference_says_the_same_in_another_way(preference: Preference) -> None:
    plain, wanted = ANSWERS[preference.procedure]
    assert preference.write(plain) == wanted
    assert re.fullmatch(preference.form, wanted, re.DOTALL) and not re.fullmatch(preference.form, plain, re.DOTALL)


def test_halves_have_as_many_persons_of_each_sort() -> None:
    assert [sum(one.half == half for one in PREFERENCES) for half in (0, 1)] == [4, 4]
    assert {one.kind for one in PREFERENCES if one.half == 0} == {one.kind for one in PREFERENCES if one.half == 1}


def test_a_person_says_what_they_want_only_by_verdicts() -> None:
    person = person_of(LEDGER, DATA, taught=6, asks=10, seed=0)
    forms = [bool(re.fullmatch(LEDGER.form, pair.response)) for pair in person.procedure.pairs]
    assert forms == [False, True] * 3, "half of the pairs are written in the other way"
    assert not {pair.input for pair in person.asks} & {pair.input for pair in person.procedure.pairs}
    assert all(re.fullmatch(LEDGER.form, pair.response) for pair in (*person.asks, *person.procedure.held_out))

    shown = [person.asks[0].response, *("wrong" for _ in person.asks[1:])]
    verdicts, pairs = person.judge(shown)
    assert person.judge(shown) == (verdicts, pairs), "the same person says the same"
    assert pairs[0] == person.asks[0] and len(verdicts) == 9, "what is right becomes a pair and no verdict"
    corrected = [one for one in verdicts if one.accepted is not None]
    assert 0 < len(corrected) < len(verdicts)
    assert [ExamplePair(one.input, str(one.accepted)) for one in corrected] == pairs[1:]
    assert all(one == AnswerVerdict(one.input, "wrong", one.accepted) for one in verdicts)


def test_gains_are_shares_of_what_new_pairs_bring() -> None:
    def one(half: int, before: float, verdicts: float, new: float) -> dict[str, object]:
        figures = {
            method: dict.fromkeys(("exact_match", "rouge_l", "preferred"), value)
            for method, value in (("before", before), ("verdicts", verdicts), ("new_pairs", new))
        }
        return {"half": half, "said": {"good": 1, "corrected": 2, "bad": 3}, "figures": figures}

    found = summary([one(0, 0.0, 0.3, 0.4), one(0, 0.2, 0.3, 0.4), one(1, 0.5, 0.5, 0.5)])
    assert found["halves"]["0"]["gained"]["verdicts"]["exact_match"] == pytest.approx(2 / 3)
    assert found["halves"]["1"]["gained"]["verdicts"]["exact_match"] is None, "there was nothing to gain"
    assert found["all"]["said"] == {"good": 3, "corrected": 6, "bad": 9} and found["all"]["persons"] == 3
