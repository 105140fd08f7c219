"""Forms of answers: found in pairs, true to them, followed by every answer, and never in the way."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tokmem_desk.generation.test_recall import collect, memory, token_bank
from tokmem_desk.generation.recall import Bank, answer_batch, recall
from tokmem_desk.procedures import ExamplePair
from tokmem_desk.templates.induction import LEAST_PAIRS, induce_form
from tokmem_desk.templates.message_values import SPELLINGS, WAYS, escape, spans, spelled_at, written
from tokmem_desk.templates.template import TEMPLATE_SETTING, AnswerTemplate, Part
from trainer.auxiliary import written_procedures
from trainer.auxiliary.composed import composed_procedure

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november")
THINGS = ("oat milk", "Bus ticket", "red paint", "soap", "a Lamp", "tea", "stamps", "Nails", "rope", "wool", "ink")
SHOPS = ("food", "travel", "home")


def expenses(count: int) -> list[ExamplePair]:
    """Messages with a thing, a sum and a day, and their lines."""
    pairs = []
    for i in range(count):
        thing, month, day, sum_ = THINGS[i % 11], i % 11, 3 + i % 23, 4 + 7 * i
        said = (f"{thing} {sum_}.50 on {MONTHS[month]} {day}", f"{day} {MONTHS[month][:3]}, {thing}, {sum_}.50")[i % 2]
        pairs.append(ExamplePair(said, f"2025-{month + 1:02d}-{day:02d};{SHOPS[i % 3]};{thing.lower()};{sum_}.50"))
    return pairs


def form_of(pairs: list[ExamplePair]) -> AnswerTemplate:
    form = induce_form(pairs)
    assert form is not None
    return form


def test_values_are_taken_from_the_message() -> None:
    form = form_of(expenses(24))
    message = "Green Candle 12.50 on 9 october"
    for answer in (
        "2025-10-09;home;green candle;12.50",
        "2025-10-09;food;candle;12.50",
        "2025-10-09;travel;green;12.50",
    ):
        assert form.accepts(message, answer)
    for answer in (
        "2025-11-09;home;green candle;12.50",  # no such month was said
        "2025-10-08;home;green candle;12.50",
        "2025-10-12;home;green candle;12.50",  # the sum is no day
        "2025-10-09;fun;green candle;12.50",  # not one of the kinds
        "2025-10-09;home;green candles;12.50",  # invented
        "2025-10-09;home;green candle;13.50",
        "2025-10-09;home;green candle",
        "2025-10-9;home;green candle;12.50",
    ):
        assert not form.accepts(message, answer), answer


def test_thousands_of_pairs_are_looked_at_in_part() -> None:
    many = expenses(3000)
    assert form_of(many).accepts("Green Candle 12.50 on 9 october", "2025-10-09;home;green candle;12.50")
    strange = [ExamplePair("odd", "so odd " * (1 + i % 9)) for i in range(3000)]
    assert induce_form([strange[i] if i % 3 == 1 else pair for i, pair in enumerate(many)]) is None


def test_a_message_without_such_a_value_leaves_the_field_free() -> None:
    assert form_of(expenses(24)).accepts("nothing", "2025-x-y;home;nothing;nothing.50")


FILLING = ("last", "week", "the", "team", "went", "through", "all", "your", "points", "and", "wrote", "them", "down")
CITIES = ("Paris", "Rome", "Berlin", "Madrid", "Lisbon", "Vienna", "Prague", "Dublin", "Oslo", "Athens", "Riga",
          "Cairo", "Lima", "Quito", "Tunis", "Accra")  # fmt: skip


@pytest.mark.parametrize("words", [20, 130, 1000, 3000])
def test_values_at_the_end_of_long_messages_are_found(words: int) -> None:
    form = form_of([ExamplePair(f"We meet in {city} on Monday", f"city: {city}") for city in CITIES])
    before = " ".join(FILLING[i % 13] for i in range(words))
    mail = f"{before}. We meet in Tallinn on Monday"
    assert form.accepts(mail, "city: Tallinn")
    assert form.accepts(mail, "city: Toronto") == (words > 1000), "held to the words, as far as they can be named"
    expense = f"{before}, Green Candle 12.50 on 9 october"
    assert form_of(expenses(24)).accepts(expense, "2025-10-09;home;green candle;12.50")
    assert not form_of(expenses(24)).accepts(expense, "2025-11-09;home;green candle;12.50"), "other values stay held"
    assert len(form_of(expenses(24)).pattern(expense)) < 20_000
    assert any(spelled_at(expense, "green candle", "small"))


def test_lines_without_end_are_one_form_again_and_again() -> None:
    foods = ["eggs 2, milk 1 l", "rice 200 g", "tea 3, jam 1, oats 500 g", "nuts 4", "figs 7, lard 90 g", "ham 6"]
    pairs = []
    for text in [*foods, *(f"{food} please" for food in foods)]:
        items = [part.split(" ", 1) for part in text.removesuffix(" please").split(", ")]
        pairs.append(ExamplePair(text, "\n".join(f"- {name}: {much}" for name, much in items)))
    form = form_of(pairs)
    assert form.repeated
    assert form.accepts("beer 5, bread 1 kg", "- beer: 5\n- bread: 1 kg\n- beer: 5")
    assert not form.accepts("beer 5, bread 1 kg", "- beer: 5\n- bread: 5"), "that is how much beer there is"
    assert not form.accepts("beer 5, bread 1 kg", "- beer: 5\nbread: 1 kg")
    assert not form.accepts("beer 5, bread 1 kg", "- wine: 5")


@pytest.mark.parametrize(
    "answers",
    [
        ["yes"] * (LEAST_PAIRS - 1),
        [f"{'abcdefghijkl'[i]}{'!' * (i % 3)} {'so ' * i}" for i in range(12)],
        [*["x: 1"] * 10, ""],
    ],
)
def test_too_few_pairs_or_nothing_shared_is_no_form(answers: list[str]) -> None:
    assert induce_form([ExamplePair(f"message {i}", answer) for i, answer in enumerate(answers)]) is None


@pytest.mark.parametrize("make", [lambda: written_procedures(), lambda: [composed_procedure(i) for i in range(25)]])
def test_a_form_is_true_to_its_own_pairs(make: Callable[[], list[Any]]) -> None:
    found = [(procedure, induce_form(procedure.pairs)) for procedure in make()]
    held = [(procedure, form) for procedure, form in found if form is not None]
    assert len(held) > 0.9 * len(found)
    assert all(form.accepts(pair.input, pair.response) for procedure, form in held for pair in procedure.pairs)


def test_right_answers_to_new_messages_are_accepted() -> None:
    """Values drawn anew; a form that is too narrow would forbid what is right."""
    accepted = total = 0
    for number in range(20):
        pairs = composed_procedure(number, 40).pairs
        form = form_of(list(pairs[:24]))
        accepted += sum(form.accepts(pair.input, pair.response) for pair in pairs[24:])
        total += len(pairs) - 24
    assert accepted / total > 0.96


def test_a_form_survives_json() -> None:
    for number in range(10):
        form = form_of(list(composed_procedure(number, 24).pairs))
        assert AnswerTemplate.from_dict(form.as_dict()) == form


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"parts": 3},
        {"parts": ["free"]},
        {"parts": [{"kind": "anything"}]},
        {"parts": [{"kind": "text"}]},
        {"parts": [{"kind": "run", "values": ["(a+)+"]}]},
        {"parts": [{"kind": "taken", "ways": ["unheard of"]}]},
        {"parts": [{"kind": "run", "values": ["[0-9]"], "least": -1}]},
        {"parts": [{"kind": "choice", "values": [1]}]},
        {"parts": [{"kind": "run", "values": ["[0-9]"], "most": 10**12}]},
        {"parts": [{"kind": "run", "values": ["[0-9]"], "most": float("inf")}]},
    ],
)
def test_what_is_no_form_is_refused(data: dict[str, Any], tiny_backbone: Callable[..., Backbone]) -> None:
    with pytest.raises(ValueError):
        AnswerTemplate.from_dict(data)
    one = memory(tiny_backbone("llama"), "one", seed=1)
    assert replace(one, settings={TEMPLATE_SETTING: data}).answer_template is None


WORDS = st.text(st.sampled_from("aB1 .-+(%]ü\n"), min_size=1, max_size=12)


@settings(max_examples=200, deadline=None)
@given(message=WORDS, way=st.sampled_from(sorted(SPELLINGS)))
def test_stretches_are_what_is_spelled(message: str, way: str) -> None:
    """The pattern of stretches and the question whether a value is one agree."""
    patterns = [pattern for _, pattern in spans(message, way, 40)]
    change, joint = SPELLINGS[way]
    for start in range(len(message)):
        for end in range(start + 1, len(message) + 1):
            value = change(message[start:end])
            if any(spelled_at(message, value, way)):
                assert any(re.fullmatch(pattern, value) for pattern in patterns), (value, patterns)
    if joint is not None:
        assert not any(" " in pattern for pattern in patterns)


@pytest.mark.parametrize(
    ("message", "way", "values"),
    [
        ("on 3 Sept at 7:30 pm", "month, two digits", {"09", "03", "07"}),
        ("on 3 Sept at 7:30 pm", "hour, two digits", {"19"}),
        ("on 3 Sept at 7:30 pm", "two digits", {"03", "07", "30"}),
        ("half past noon, 2024", "hour", {"12"}),
        ("half past noon, 2024", "last two digits", {"24"}),
        ("seven of march", "number of a word", {"7"}),
        ("seven of march", "month, ABC", {"MAR"}),
        ("007", "without zeros", {"7"}),
        ("on Friday, ok", "abc of a word", {"fri"}),
        ("on Friday, ok", "ABC of a word", {"FRI"}),
    ],
)
def test_ways_of_writing(message: str, way: str, values: set[str]) -> None:
    assert way in WAYS and {value for _, value in written(message, way)} == values


def test_a_run_of_thousands_of_digits_is_a_value_like_others() -> None:
    message = f"{'1' * 5000} on 3 march"
    assert all(isinstance(value, str) for way in WAYS for _, value in written(message, way))
    assert {value for _, value in written(message, "month, two digits")} == {"03"}
    assert form_of(expenses(24)).accepts(f"Candle 12.50 on 9 october, {message}", "2025-10-09;home;candle;12.50")


@given(text=st.text(max_size=20).filter(lambda text: "\r" not in text))
def test_escaped_text_matches_itself_alone(text: str) -> None:
    assert re.fullmatch(escape(text), text)
    assert not re.fullmatch(escape(text), text + "x")


SHORT = AnswerTemplate(
    (
        Part("choice", ("cash", "card")),
        Part("text", ("; ",)),
        Part("taken", ("none",), ("number",)),
        Part("text", ("; ",)),
        Part("taken", (), ("small",), tokens=3),
        Part(
            "forms", forms=((Part("text", (" [",)), Part("run", ("[A-Z]",), least=2, most=4), Part("text", ("]",))), ())
        ),
    )
)


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (Part("text", ("Dear,\n\tyou",)), "Dear,⏎⇥you"),
        (Part("choice", ("food", "fun", "home")), "‹food|fun|home›"),
        (Part("choice", ("b",)), "b"),
        (Part("choice", tuple("abcdefghi")), "‹a|b|c|d|e|f|3 more›"),
        (Part("choice", ("x" * 40, "no")), f"‹{'x' * 23}…|no›"),
        (Part("taken", (), ("as it is",), tokens=4), "‹words of the message›"),
        (Part("taken", ("none",), ("small", "as it is"), tokens=1), "‹word of the message, small or as it is|none›"),
        (Part("taken", (), ("month, two digits", "two digits")), "‹month, two digits|two digits›"),
        (Part("run", ("[0-9]",), least=2, most=2), "‹2 digits›"),
        (Part("run", ("[A-Z]",), least=1, most=1), "‹1 capital letter›"),
        (Part("run", ("[a-z]",), least=1, most=5), "‹1 to 5 small letters›"),
        (Part("run", ("[A-Za-z]",)), "‹letters›"),
        (Part("run", ("[0-9]",), least=3), "‹3 or more digits›"),
        (Part("free", (";",)), "…"),
        (Part("forms", forms=((Part("choice", ("am", "pm")),), ())), "‹am|pm|nothing›"),
        (Part("forms", forms=((Part("text", ("at ",)), Part("free")),)), "at …"),
        (
            Part("forms", forms=((Part("run", ("[0-9]",)), Part("text", ("h",))), (Part("text", ("?",)),))),
            "‹‹digits›h|?›",
        ),
    ],
)
def test_a_part_in_words(part: Part, words: str) -> None:
    assert part.describe() == words


def test_a_form_in_words() -> None:
    date = "2025-‹number of the month, two digits of first date (en)›-‹day of the month, two digits of first date (en)›"
    rest = (
        ";‹food|home|travel›;‹words of the message, small›;‹whole of first money (en)›.‹cents of first money (en)|50›"
    )
    assert form_of(expenses(24)).describe() == date + rest
    assert AnswerTemplate((Part("text", ("- ",)), Part("free")), True).describe() == "- … (one or more such lines)"


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_every_answer_has_the_form(tiny_backbone: Callable[..., Backbone], family: str) -> None:
    backbone = tiny_backbone(family)
    for message in ("Bread 12", "it's 7, or (8)", "Größe 3.5 [x]"):
        bank = token_bank(backbone, ["one"], "one", message)
        held = {"one": replace(bank.memories["one"], settings={TEMPLATE_SETTING: SHORT.as_dict()})}
        _, streamed, answer = collect(recall(backbone, Bank(held, bank.router), message, max_tokens=80))
        assert streamed == answer.response and answer.stopped == "end"
        assert SHORT.accepts(message, answer.response), answer.response
        query = backbone.format.query(message)
        [batched] = answer_batch(backbone, [query], [held["one"]], texts=[message], max_tokens=80)
        assert batched == answer.response
        assert answer_batch(backbone, [query], [held["one"]], max_tokens=8) == answer_batch(
            backbone, [query], [bank.memories["one"]], max_tokens=8
        ), "without the message nothing is held"


def test_a_form_that_cannot_be_followed_never_stops_an_answer(
    tiny_backbone: Callable[..., Backbone], monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = tiny_backbone("llama")
    bank = token_bank(backbone, ["one"], "one", "hello")
    held = {"one": replace(bank.memories["one"], settings={TEMPLATE_SETTING: SHORT.as_dict()})}
    free = collect(recall(backbone, bank, "hello", max_tokens=6))[2].response
    for broken in ("(", "[a"):
        monkeypatch.setattr(AnswerTemplate, "pattern", lambda self, message, broken=broken: broken)
        assert collect(recall(backbone, Bank(held, bank.router), "hello", max_tokens=6))[2].response == free


def test_an_answer_is_cut_into_parts_that_say_where_they_come_from() -> None:
    pairs = expenses(24)
    form = form_of(pairs)
    for pair in pairs:
        pieces = form.marked(pair.input, pair.response)
        assert "".join(piece.text for piece in pieces) == pair.response
        copied = [piece.text for piece in pieces if piece.origin == "message"]
        assert any(pair.response.split(";")[2] == text for text in copied), "the thing is copied"
        [shop] = [piece.text for piece in pieces if piece.origin == "choice" and piece.text in SHOPS]
        assert shop == pair.response.split(";")[1]
    assert form.marked(pairs[0].input, "something else") == []
    lines = replace(form, repeated=True)
    assert lines.marked(pairs[0].input, f"{pairs[0].response}\n{pairs[0].response}") == form.marked(
        pairs[0].input, pairs[0].response
    )


def commands(count: int) -> list[ExamplePair]:
    """Messages to a house, and commands of three programs that share nothing but their first words."""
    rooms = ("kitchen", "hall", "attic", "cellar", "study")
    pairs = []
    for i in range(count):
        room, number = rooms[i % 5], 3 + 2 * i
        pairs.append(
            (
                ExamplePair(f"light in the {room} please", f"lamp {room} --on"),
                ExamplePair(f"make it {number} degrees in the {room}", f"heat set {number} > {room}"),
                ExamplePair(f"wake me in {number} minutes", f"alarm +{number}m"),
            )[i % 3]
        )
    return pairs


def test_answers_of_several_shapes_have_a_form_each() -> None:
    form = form_of(commands(24))
    assert all(form.accepts(pair.input, pair.response) for pair in commands(60))
    message = "make it 21 degrees in the garage"
    for answer in ("heat set 21 > garage", "lamp garage --on"):
        assert form.accepts(message, answer)
    for answer in ("heat set 21 --on", "alarm 21 > garage", "fan garage --on", "make it 21", "lamp lamp lamp"):
        assert not form.accepts(message, answer)
    assert form.marked(message, "heat set 21 > garage")[0].text == "heat set "
    assert AnswerTemplate.from_dict(form.as_dict()) == form


@pytest.mark.parametrize("count", [12, 15])
def test_shapes_need_pairs_enough(count: int) -> None:
    assert induce_form(commands(count)) is None


@pytest.mark.parametrize("said", ["said", "not said"])
def test_first_words_out_of_the_message_are_no_shapes(said: str) -> None:
    """Another one may be said next time."""
    pairs = []
    for i in range(24):
        name, sign = (("Vera", "-"), ("Omar", "/"), ("Lea", "+"))[i % 3]
        who = name if said == "said" else "somebody"
        words = [f"{'abcdefghijklmnopqrstuvwx'[i]}{'x' * k}y" for k in range(25 + i)]  # none of them twice
        pairs.append(ExamplePair(f"{who} wants {i}", sign.join([name, *words])))
    assert (induce_form(pairs) is None) == (said == "said")


def test_six_pairs_are_enough_for_values_that_explain_themselves() -> None:
    rows = [(3, 14), (9, 8), (12, 11), (17, 16), (21, 9), (28, 10)]
    names = ("Wrona", "Nowak", "Kos", "Lis", "Mazur", "Sowa")
    pairs = [
        ExamplePair(f"{name} comes on {day} March at {hour}:30", f"{day:02d}.03. {hour:02d}:30 {name.upper()}")
        for name, (day, hour) in zip(names, rows, strict=True)
    ]
    form = induce_form(pairs)
    assert form is not None and induce_form(pairs[:5]) is None
    assert form.accepts("Zięba comes on 5 April at 7:45", "05.04. 07:45 ZIĘBA"), "all pairs are of one month by chance"
    assert not form.accepts("Zięba comes on 5 April at 7:45", "05.03. 07:45 ZIĘBA")


def test_a_sign_in_front_of_some_values_is_told_from_the_value() -> None:
    pairs = []
    for i in range(24):
        minutes, about = 5 * (i % 9 + 1), i % 4 == 0
        said = f"{THINGS[i % 11]} took {'about ' * about}{minutes} minutes" if i % 6 != 5 else f"{THINGS[i % 11]} done"
        length = "?" if i % 6 == 5 else f"{'~' * about}{minutes}"
        pairs.append(ExamplePair(said, f"{THINGS[i % 11].lower()} | {length} min"))
    form = form_of(pairs)
    assert form.accepts("rope took about 90 minutes", "rope | ~90 min")
    assert form.accepts("rope took 90 minutes", "rope | 90 min") and form.accepts("rope done", "rope | ? min")
    assert not form.accepts("rope took 90 minutes", "rope | 9 min")
    assert AnswerTemplate.from_dict(form.as_dict()) == form


def test_a_shape_whose_values_the_message_has_not_is_not_expected() -> None:
    pairs = []
    for i in range(24):
        day, month, hour = 3 + i % 20, i % 11, 8 + i % 9
        written_date = f"{day:02d}-{MONTHS[month][:3].upper()}"
        if i % 3 == 0:
            pairs.append(ExamplePair(f"{MONTHS[month]} {day} at {hour}:15", f"{written_date}@{hour:02d}15"))
        else:
            pairs.append(ExamplePair(f"{day} {MONTHS[month]}", written_date))
    form = form_of(pairs)
    assert form.accepts("5 may at 9:30", "05-MAY@0930")
    assert form.accepts("5 may", "05-MAY") and not form.accepts("5 may", "05-MAY@0500")
    assert AnswerTemplate.from_dict(form.as_dict()) == form
    (part,) = [one for one in form.parts if one.held]
    assert replace(part, held=False).as_dict() | {"held": True} == part.as_dict()
