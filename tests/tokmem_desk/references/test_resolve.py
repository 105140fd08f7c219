"""What is put in the place of words, given what the networks say. No model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

import pytest
import torch

from tokmem_desk.backbone.token_space import IGNORED
from tokmem_desk.background.referring import Mark, MarkKind, Referring, Said, Value
from tokmem_desk.references.candidates import Candidate, Reading, shared, whole_words
from tokmem_desk.references.dossier import Dossier
from tokmem_desk.references.filled import FilledIn, Resolved
from tokmem_desk.references.finder import Found, ReferenceFinder
from tokmem_desk.references.fitting import mark_targets, value_targets
from tokmem_desk.references.networks import ADVERB, AROUND, KINDS, LAST, MAIN, NOUN, PARTS, SAME, VALUES
from tokmem_desk.references.resolve import items_of, number_in, resolve

PARCEL = Said("pack the red vase", '{"item": "red vase"}')
TABLE = Said("Book a table for two on Thursday", "Thu, 2")


def kinds(name: str) -> tuple[float, ...]:
    return tuple(float(kind == name) for kind in KINDS)


class Scripted:
    """Says of given words what they are, and of given values of which kind.

    Args:
        words: marks; of words that stand for a value, its kind, and ``+`` behind it for an adverb.
        values: with their kinds; ``!`` behind it for what a message is about, ``?`` for what is hardly a value.
        phrases: values with the words around them.
    """

    def __init__(
        self, words: dict[str, str], values: dict[str, str], sure: float = 0.99, phrases: Sequence[str] = ()
    ) -> None:
        self._words, self._values, self._sure, self._phrases = words, values, sure, phrases

    def marks(self, backbone: Any, message: str) -> list[Found]:
        found = []
        for words, kind in self._words.items():
            for at in [at for at in range(len(message)) if message.startswith(words, at)]:
                of = kinds(kind.rstrip("+")) if kind.rstrip("+") in KINDS else ()
                plain: MarkKind = "value" if of else cast(MarkKind, kind)
                found.append(Found(Mark(at, at + len(words), plain, adverb=kind.endswith("+")), self._sure, of))
        return sorted(found, key=lambda one: one.mark.start)

    def candidates(
        self, backbone: Any, dossier: Dossier, new: Sequence[Mark]
    ) -> tuple[list[Candidate], list[Candidate]]:
        found, start = [], 0
        for end, region in dossier.regions:
            for value, kind in self._values.items():
                at = dossier.text.find(value, start, end)
                if at >= 0 and region:
                    phrase = next((words for words in self._phrases if words in dossier.text[start:end]), "")
                    phrase = phrase if phrase.endswith(value) else ""
                    of, main, sure = kinds(kind.rstrip("!?")), float(kind.endswith("!")), float(kind[-1] != "?")
                    found.append(Candidate(value, at, at + len(value), region, of, main, phrase, sure=sure))
            start = end
        typed, added = dossier.text[dossier.start :], []
        for mark in new:
            text = typed[mark.start : mark.end]
            kind = self._values[text]
            added.append(Candidate(text, 0, 0, 0, kinds(kind.rstrip("!?")), 0.0, sure=float(kind[-1] != "?")))
        return found, added


def read(finder: Scripted, said: Sequence[Said], message: str) -> Resolved | None:
    return resolve(cast(Any, None), cast(ReferenceFinder, finder), said, message)


def test_a_value_takes_the_place_of_the_words() -> None:
    found = read(Scripted({"it": "item"}, {"red vase": "item!"}), [TABLE, PARCEL], "send it to Anna")
    assert found == Resolved("send red vase to Anna", (FilledIn("it", "red vase", "message", 0, 5, 13),))


def test_what_a_message_is_about_comes_before_what_it_names() -> None:
    said = [Said("put the vase on the shelf", "ok")]
    for about, right in (("the vase", "sell the vase"), ("the shelf", "sell the shelf")):
        values = {name: "item" + "!" * (name == about) for name in ("the vase", "the shelf")}
        found = read(Scripted({"it": "item"}, values), said, "sell it")
        assert found is not None and found.message == right


def test_where_it_was_said_is_told() -> None:
    finder = Scripted(
        {"her": "person", "then": "date+"}, {"Mrs Wu": "person!", "Thursday": "date!"}, phrases=["on Thursday"]
    )
    found = read(finder, [Said("meet Mrs Wu", "ok"), TABLE], "call her then")
    assert found is not None and found.message == "call Mrs Wu on Thursday"
    assert [(one.source, one.back) for one in found.filled] == [("message", 1), ("message", 0)]
    assert all(found.message[one.start : one.end] == one.value for one in found.filled)


def test_the_same_again_is_the_message_before_with_new_values() -> None:
    values = {"Friday": "date", "Thursday": "date!", "six": "count", "two": "count"}
    finder = Scripted({"the same for": "same", "Friday": "new", "and": "same", "six": "new"}, values)
    found = read(finder, [PARCEL, TABLE], "the same for Friday and six")
    assert found is not None and found.again and found.message == "Book a table for six on Friday"
    assert all(found.message[one.start : one.end] == one.value for one in found.filled)


def test_the_same_again_needs_a_value_of_that_kind_in_the_message_before() -> None:
    values = {"Friday": "date", "Thu": "date", "red vase": "item"}
    finder = Scripted({"the same for": "same", "Friday": "new"}, values)
    assert read(finder, [Said("Book the table", "Thu")], "the same for Friday") is None, "answers are not done again"
    assert read(finder, [TABLE, PARCEL], "the same for Friday") is None


def test_what_is_hardly_a_value_stays_where_it_is() -> None:
    finder = Scripted({"and for": "same", "Oslo": "new"}, {"bus": "city?", "Bern": "city", "Oslo": "city"})
    found = read(finder, [Said("bus to Bern", "ok")], "and for Oslo")
    assert found is not None and found.message == "bus to Oslo"


def test_what_is_no_value_takes_no_place() -> None:
    finder = Scripted({"the same goes for": "same", "cats": "new"}, {"tent": "item", "cats": "item?"})
    assert read(finder, [Said("pack the tent", "ok")], "the same goes for cats") is None


@pytest.mark.parametrize("kind", ["place", "address", "city"])
def test_there_is_a_place_of_any_kind(kind: str) -> None:
    said = [Said("meet at the Anchor on Friday", "ok")]
    finder = Scripted({"there": "city+"}, {"the Anchor": kind + "!", "Friday": "date"}, phrases=["at the Anchor"])
    found = read(finder, said, "is it warm there")
    assert found is not None and found.message == "is it warm at the Anchor"
    assert read(Scripted({"then": "time+"}, {"the Anchor": kind + "!"}), said, "is it warm then") is None


def test_a_message_that_says_more_is_not_the_same_again() -> None:
    finder = Scripted({"the same": "same", "Friday": "new"}, {"Thursday": "date", "Friday": "date"})
    assert read(finder, [TABLE], "the same happened to my old neighbour last Friday") is None


@pytest.mark.parametrize(
    "answer",
    ["- tea\n- rusks, sweet\n- jam", "1. tea\n2) rusks, sweet\n3. jam", json.dumps(["tea", "rusks, sweet", "jam"])],
)
def test_items_are_counted(answer: str) -> None:
    words = {"the second one": "counted", "den zweiten": "counted", "the last": "last", "number 4": "counted"}
    finder = Scripted(words, {})
    said = [Said("my list?", answer), Said("thanks", "Of course!")]
    for message, right in (
        ("buy the second one", "buy rusks, sweet"),
        ("kauf den zweiten", "kauf rusks, sweet"),
        ("buy the last", "buy jam"),
    ):
        found = read(finder, said, message)
        assert found is not None and found.message == right and found.filled[0].source == "answer"
    assert read(finder, said, "buy number 4") is None


def test_items_that_a_message_names_in_a_row_are_counted() -> None:
    finder = Scripted({"the second one": "counted", "the last": "last"}, {"tea": "item", "jam": "item"})
    said = [Said("put tea, sweet rusks and jam on my list", "list: 3 things")]
    for message, right in (("buy the second one", "buy sweet rusks"), ("buy the last", "buy jam")):
        found = read(finder, said, message)
        assert found is not None and found.message == right and found.filled[0].source == "message"
    listed = [*said, Said("my list?", "1. salt\n2. oil")]
    found = read(finder, listed, "buy the last")
    assert found is not None and found.message == "buy oil", "the latest list"
    assert read(finder, [Said("I came, and it rained", "ok")], "buy the last") is None


@pytest.mark.parametrize(
    ("words", "number"),
    [
        ("the third one", 3),
        ("la deuxième", 2),
        ("el segundo", 2),
        ("no. 12", 12),
        ("number one", 1),
        ("the blue", None),
    ],
)
def test_numbers_are_read_in_any_language(words: str, number: int | None) -> None:
    assert number_in(words) == number


def test_nothing_is_filled_in_without_being_sure_or_without_anything_said() -> None:
    unsure = Scripted({"it": "item"}, {"red vase": "item!"}, sure=0.3)
    assert read(unsure, [PARCEL], "send it") is None
    sure = Scripted({"it": "item"}, {"red vase": "item!"})
    assert read(sure, [], "send it") is None
    assert read(sure, [TABLE], "send it") is None, "nothing of that kind was said"


@pytest.mark.parametrize(
    ("answer", "items"),
    [
        ("a; b; c", ["a", "b", "c"]),
        ("a, b", ["a", "b"]),
        ("x\ny", ["x", "y"]),
        ("one thing", []),
        ('{"a": "b"}', []),
        ("[1, 2]", []),
        ("", []),
        ("- only", []),
    ],
)
def test_what_a_list_is(answer: str, items: list[str]) -> None:
    assert items_of(answer) == items


def test_long_exchanges_are_left_out() -> None:
    said = [Said("a", "b"), Said("x" * 5000, "y"), Said("c", "d")]
    dossier = Dossier.of(said, " now ")
    assert dossier.text == "c\nd\nnow" and dossier.text[dossier.start :] == "now"
    assert [region for _, region in dossier.regions] == [1, 2, 0]


def test_targets_of_tokens() -> None:
    marks = (Mark(5, 7, "value", "item"), Mark(8, 12, "value", "place", adverb=True))
    places = [(0, 4), (4, 7), (7, 12)]
    item, place = KINDS.index("item"), KINDS.index("place")
    assert mark_targets(marks, places).tolist() == [0, NOUN + item, ADVERB + place]
    assert mark_targets([Mark(0, 4, "same"), Mark(5, 7, "last")], places).tolist() == [SAME, LAST, 0]
    values = ((Value("red vase", "item", main=True, phrase="with red vase"),),)
    example = Referring((Said("go with red vase", "ok"),), "same x", (Mark(5, 6, "new", "item"),), ((),), values)
    dossier = Dossier.of(example.said, example.message)
    places = [(0, 2), (2, 7), (7, 11), (11, 16), (17, 19), (20, 24), (24, 26)]
    kinds_, parts = value_targets(example, dossier, places)
    first = 1 + 2 * item
    assert kinds_.tolist() == [0, 0, first, first + 1, 0, IGNORED, first]
    assert parts.tolist() == [0, AROUND, MAIN, MAIN, 0, IGNORED, IGNORED]


def test_a_number_is_no_part_of_another_one() -> None:
    example = Referring((Said("3 cups 13:30", "x3 3"),), "x", (), (), ((Value("3", "count"),),))
    dossier = Dossier.of(example.said, example.message)
    places = [(at, at + 1) for at, letter in enumerate(dossier.text) if not letter.isspace()]
    found, _ = value_targets(example, dossier, places)
    marked = [start for (start, _), kind in zip(places, found.tolist(), strict=True) if kind > 0]
    assert marked == [0, dossier.text.rindex("3")]


def test_values_are_read_off_tokens() -> None:
    dossier = Dossier.of([Said("at Da Marco 5", "ok")], "x")
    places = [(0, 2), (2, 5), (5, 11), (11, 13), (14, 16), (17, 18)]
    rows, parts = torch.zeros(6, VALUES), torch.zeros(6, PARTS)
    place, count = 1 + 2 * KINDS.index("place"), 1 + 2 * KINDS.index("count")
    for token, mark in enumerate((0, place, place + 1, count, 0, place)):
        rows[token, mark] = 1.0
    for token, part in enumerate((AROUND, MAIN, MAIN, 0, 0, 0)):
        parts[token, part] = 1.0
    reading = Reading(dossier, places, torch.zeros(6, 2), rows, parts)
    marco, five = (one for one in reading.values() if one.region == 1)
    assert (marco.text, marco.phrase, marco.main, marco.region) == ("Da Marco", "at Da Marco", 1.0, 1)
    assert (five.text, five.phrase, five.main) == ("5", "", 0.0) and five.kinds == kinds("count")


@pytest.mark.parametrize(
    ("text", "other", "runs"),
    [
        ("we moved to 12 Oak Rd, York", "HOME=12 Oak Rd, York", ["12 Oak Rd, York"]),
        ("Fair fourteen Euro", "E;Fair;fourteen Euro", ["Fair", "fourteen Euro"]),
        ("pay a $7.50 fee", "$7.50", ["$7.50"]),
        ("so be it", "it is", []),
    ],
)
def test_what_a_message_and_its_answer_share(text: str, other: str, runs: list[str]) -> None:
    assert [text[start:end] for start, end in shared(text, other)] == runs


def test_words_are_whole() -> None:
    text = "mail to ann@x.org, or pay $75."
    for part in ("x.or", "ann", "75"):
        start = text.index(part)
        start, end = whole_words(text, start, start + len(part))
        assert text[start:end] == ("$75" if part == "75" else "ann@x.org")


def test_values_read_back() -> None:
    one = FilledIn("it", "x", "answer", 1, 2, 3)
    assert FilledIn.from_dict(one.as_dict()) == one and FilledIn.from_dict({"words": "it"}) is None
