"""Forms whose values are taken once: found only where pairs keep to it, and kept to while an answer grows."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tokmem_desk.generation.test_recall import token_bank
from tests.tokmem_desk.templates.test_template import THINGS, form_of
from tokmem_desk.generation.recall import answer_batch
from tokmem_desk.procedures import ExamplePair
from tokmem_desk.templates.induction import induce_form
from tokmem_desk.templates.single_use import FormWalk, sequences, takes_once
from tokmem_desk.templates.template import TEMPLATE_SETTING, AnswerTemplate, Part
from trainer.auxiliary.composed import composed_procedure

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

COLOURS = ("red", "blue", "green", "grey", "brown", "white", "black")
NUMBER = Part("taken", (), ("number",))
WORDS = Part("taken", ("none",), ("small",), tokens=5)
DASH = Part("text", ("-",))
SUM = AnswerTemplate((NUMBER, DASH, NUMBER), once=True)
LIST = AnswerTemplate((Part("text", ("* ",)), Part("taken", (), ("small",), tokens=3)), repeated=True, once=True)
LAYOUTS = AnswerTemplate(
    (Part("forms", forms=((NUMBER, DASH, NUMBER, DASH, NUMBER), (NUMBER, Part("text", ("!",))))),), once=True
)


def two_words() -> list[ExamplePair]:
    said = [(THINGS[i % 11], COLOURS[i % 7]) for i in range(24)]
    return [ExamplePair(f"{thing} or {colour}", f"{thing}/{colour}") for thing, colour in said]


def test_nothing_is_taken_twice_where_no_pair_does() -> None:
    words = [(pair.input, pair.response) for pair in two_words()]
    assert form_of(two_words()).once
    doubled = [(message, f"{answer.split('/')[1]}/{answer.split('/')[1]}") for message, answer in words]
    assert not form_of([ExamplePair(message, answer) for message, answer in doubled]).once


def test_a_value_that_is_there_twice_may_be_taken_twice() -> None:
    assert takes_once(SUM, "4 eggs, 4 pears", "4-4") and not takes_once(SUM, "4 eggs", "4-4")
    assert takes_once(LIST, "red tea, tea", "* tea\n* red") and takes_once(LIST, "red tea, tea", "* red tea\n* tea")
    assert not takes_once(LIST, "red tea", "* red tea\n* tea")


def test_values_find_words_of_their_own() -> None:
    """The first value could be either number; only one of them leaves the second value its own."""
    form = AnswerTemplate((NUMBER, DASH, WORDS), once=True)
    assert takes_once(form, "1 kg flour, 1 egg", "1-1 kg flour") and takes_once(form, "1 kg flour, 1 egg", "1-1 egg")
    assert takes_once(form, "1 egg", "1-none") and not takes_once(form, "1 egg", "1-1 egg")


def allowed(walk: FormWalk, *texts: str) -> str:
    """The newest expression after an answer has grown through these texts."""
    pattern = walk.begin()
    for text in texts:
        pattern = walk.narrow(text) or pattern
    assert pattern is not None
    return pattern


def test_what_is_said_is_left_out_of_the_rest() -> None:
    pattern = allowed(FormWalk(SUM, "7 and 12"), "12-")
    assert re.fullmatch(pattern, "12-7") and not re.fullmatch(pattern, "12-12")
    pattern = allowed(FormWalk(SUM, "7 and 12 and 12"), "12-")
    assert re.fullmatch(pattern, "12-7") and re.fullmatch(pattern, "12-12")


def test_lines_take_nothing_of_earlier_lines() -> None:
    walk = FormWalk(LIST, "Tea and red Wine")
    pattern = allowed(walk, "* tea", "* tea\n")
    assert re.fullmatch(pattern, "* tea\n* red") and not re.fullmatch(pattern, "* tea\n* tea")
    pattern = allowed(walk, "* tea\n* and\n", "* tea\n* and\n* red", "* tea\n* and\n* red wine")
    assert re.fullmatch(pattern, "* tea\n* and\n* red wine")
    assert not re.match(pattern + "$", "* tea\n* and\n* red wine\n* wine"), "nothing is left for another line"


def test_a_message_with_too_many_words_to_name_leaves_them_free() -> None:
    mail = f"{'we talked for long ' * 500}about Tea and red Wine, some 7"
    answer = "* tea\n* red wine"
    walk = FormWalk(LIST, mail)
    patterns = [walk.begin(), *(walk.narrow(answer[:end]) for end in range(1, len(answer) + 1))]
    assert all(pattern is None or re.fullmatch(pattern, answer) for pattern in patterns)
    assert takes_once(LIST, mail, answer) and not takes_once(LIST, mail, "* tea\n* red wine\n* tea")
    pattern = allowed(FormWalk(AnswerTemplate((WORDS, DASH, NUMBER), once=True), mail), "red wine-")
    assert re.fullmatch(pattern, "red wine-7") and not re.fullmatch(pattern, "red wine-8")


def test_a_sequence_that_needs_more_than_there_is_cannot_be_entered() -> None:
    one = FormWalk(LAYOUTS, "only 5").begin()
    three = FormWalk(LAYOUTS, "5, 6 and 7").begin()
    assert one is not None and re.fullmatch(one, "5!") and not re.fullmatch(one, "5-5-5")
    assert three is not None and re.fullmatch(three, "5-7-6")
    assert FormWalk(SUM, "only 5").begin() is None
    # Where a message has no value of the kind at all, anything may stand there, as without the rule.
    nothing = FormWalk(SUM, "no numbers").begin()
    assert nothing is not None and re.fullmatch(nothing, "x-y")


def test_alternatives_are_put_together() -> None:
    both = Part("forms", forms=((NUMBER,), (WORDS, DASH)))
    assert len(sequences(AnswerTemplate((both, DASH, both)))) == 4
    assert sequences(AnswerTemplate((both,) * 7)) == [], "too many to look at"
    assert sequences(AnswerTemplate((Part("forms", forms=((both,),)),))) == []


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_right_answer_is_never_cut_off(seed: int) -> None:
    """Whatever has been said of an answer that takes nothing twice, its rest stays allowed."""
    procedure = composed_procedure(seed, 28)
    form = induce_form(procedure.pairs[:24])
    assert form is not None
    for pair in procedure.pairs[24:]:
        if not (form.accepts(pair.input, pair.response) and takes_once(form, pair.input, pair.response)):
            continue
        walk = FormWalk(form, pair.input)
        patterns = [walk.begin(), *(walk.narrow(pair.response[:end]) for end in range(1, len(pair.response) + 1))]
        for pattern in patterns:
            assert pattern is None or re.fullmatch(pattern, pair.response), (pair, pattern)


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_answers_take_nothing_twice(tiny_backbone: Callable[..., Backbone], family: str) -> None:
    backbone = tiny_backbone(family)
    taken = []
    for message in ("3 and 44 or 5", "12 apples, 12 pears", "Tea 1 and red wine 2"):
        for form in (SUM, LIST, LAYOUTS):
            bank = token_bank(backbone, ["one"], "one", message)
            held = replace(bank.memories["one"], settings={TEMPLATE_SETTING: form.as_dict()})
            query = backbone.format.query(message)
            [answer] = answer_batch(backbone, [query], [held], texts=[message], max_tokens=60)
            if FormWalk(form, message).begin() is not None and form.accepts(message, answer):
                taken.append(takes_once(form, message, answer))
                assert taken[-1], (message, answer)
    assert len(taken) >= 5


def test_it_is_kept_with_the_form() -> None:
    form = form_of(two_words())
    assert form.once
    assert AnswerTemplate.from_dict(form.as_dict()) == form
    old = {key: value for key, value in form.as_dict().items() if key != "once"}
    assert AnswerTemplate.from_dict(old) == replace(form, once=False), "forms of earlier memories stay what they are"


def test_any_capitals() -> None:
    units = [
        (one, other) for one in ("cel", "kel", "new", "ran") for other in ("vin", "ton", "kine", "sius", "ro", "t")
    ]
    said = [
        (f"{one.title()} {other}", f"{one} {other.title()}") if i % 3 else (one, one)
        for i, (one, other) in enumerate(units)
    ]
    pairs = [ExamplePair(f"say {message} {i}", f"{answer}: {i}") for i, (message, answer) in enumerate(said)]
    form = form_of(pairs)
    assert "any capitals" in form.describe()
    assert form.accepts("say delisle 9", "Delisle: 9") and form.accepts("say Big Delisle 9", "big Delisle: 9")
    assert not form.accepts("say delisle 9", "Kilo: 9")
