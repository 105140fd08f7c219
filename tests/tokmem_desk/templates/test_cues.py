"""Cues: words of a message that decide a value out of a closed set."""

from __future__ import annotations

import itertools
import random

import pytest

from tokmem_desk.procedures import ExamplePair
from tokmem_desk.templates.cues import Cues, cues_in, cues_named, find_cues
from tokmem_desk.templates.induction import induce_form
from tokmem_desk.templates.template import AnswerTemplate

DAYS = {"poniedziałek": "pn", "wtorek": "wt", "środę": "śr", "czwartek": "cz"}
NAMES = ("Wrona", "Żak", "Łukasik", "Błaszczyk", "Nowak", "Stępień")


def column(count: int = 24, seed: int = 0) -> list[tuple[str, str]]:
    rng = random.Random(seed)
    days = itertools.islice(itertools.cycle(DAYS.items()), count)
    return [(f"{rng.choice(NAMES)} {day} od {rng.randint(6, 14)}", short) for day, short in days]


def test_a_word_decides_a_value_and_so_do_its_other_endings() -> None:
    cues = find_cues(column())
    assert cues is not None
    assert cues.results("we wtorek 3 maja Zięba") == ("wt",)
    assert cues.results("od wtorku, Zięba") == ("wt",)
    assert cues.results("Zięba, CZWARTEK") == ("cz",)


def test_cues_of_two_values_leave_both_possible_and_no_cue_leaves_all() -> None:
    cues = find_cues(column())
    assert cues is not None
    assert set(cues.results("wtorek albo czwartek")) == {"wt", "cz"}
    assert cues.results("Zięba jutro") == ()


def test_words_that_stand_beside_values_by_chance_decide_nothing() -> None:
    rng = random.Random(3)
    words = [f"word{number}" for number in range(12)]
    by_chance = [(" ".join(rng.sample(words, 4)), rng.choice(("yes", "no", "later"))) for _ in range(24)]
    assert find_cues(by_chance) is None


def test_a_value_that_is_always_the_same_needs_no_cue() -> None:
    assert find_cues([(message, "same") for message, _ in column()]) is None


def test_signs_and_scripts_without_blanks_have_cues() -> None:
    money = [(f"{what} {sign}{n}", code) for n in range(8) for what in ("bus", "tea") for sign, code in
             (("€", "EUR"), ("£", "GBP"))]  # fmt: skip
    cues = find_cues(money)
    assert cues is not None and cues.results("new shoes £3") == ("GBP",)
    hours = [
        (f"{hour}時半に予約" if half else f"{hour}時に予約", "30" if half else "00")
        for hour in range(12)
        for half in (0, 1)
    ]
    cues = find_cues(hours)
    assert cues is not None and cues.results("明日5時半") == ("30",)


def test_the_name_of_cues_gives_them_back() -> None:
    cues = Cues({"wt": ("wtor*", 'a"b'), "śr": ("środ*",)})
    assert cues_named(str(cues)) == cues


@pytest.mark.parametrize("name", ["by cue ", "by cue []", "by cue 3", 'by cue {"a": 3}', "number of first number (en)",
                                  'by cue {"a": [' + ",".join(f'"{n}"' for n in range(300)) + "]}"])  # fmt: skip
def test_what_is_no_name_of_cues(name: str) -> None:
    assert cues_named(name) is None


def test_beginnings_of_short_words_are_no_cues() -> None:
    assert {cue for cue in cues_in("od nowak") if cue.endswith("*")} == {"nowa*", "nowak*"}


def test_a_form_holds_its_value_to_the_cue_and_comes_back_from_its_file() -> None:
    pairs = [ExamplePair(message, f"{short} / dyżur") for message, short in column()]
    form = induce_form(pairs)
    assert form is not None
    assert form.accepts("Zięba, wtorek", "wt / dyżur") and not form.accepts("Zięba, wtorek", "śr / dyżur")
    assert form.accepts("Zięba, jutro", "śr / dyżur"), "without a cue every value is possible"
    assert "wt for wtor…" in form.describe()
    assert AnswerTemplate.from_dict(form.as_dict()) == form
    assert [piece.origin for piece in form.marked("Zięba, wtorek", "wt / dyżur")] == ["choice", "fixed"]
