"""Values read in many languages, programs that compute with them, and files that name them."""

from __future__ import annotations

import random
import subprocess
import sys
from typing import Any

import pytest

from tokmem_desk.procedures import ExamplePair
from tokmem_desk.templates.induction import induce_form
from tokmem_desk.templates.languages import likely_languages, vocabulary
from tokmem_desk.templates.programs import WRITERS, WRITTEN, Operand, Program, program_named
from tokmem_desk.templates.readings import readings
from tokmem_desk.templates.synthesis import computed
from tokmem_desk.templates.template import AnswerTemplate, Part


@pytest.mark.parametrize(
    ("language", "message"),
    [
        ("en", "on Tuesday at nine, 3 May"),
        ("de", "am Dienstag um neun, 3. Mai"),
        ("fr", "mardi à neuf heures, 3 mai"),
        ("es", "el martes a las nueve, 3 de mayo"),
        ("it", "martedì alle nove, 3 maggio"),
        ("nl", "dinsdag om negen uur, 3 mei"),
        ("pl", "we wtorek o dziewiątej, 3 maja"),
        ("pt", "terça-feira às nove, 3 de maio"),
        ("ru", "во вторник в девять, 3 мая"),
        ("ja", "5月3日午後2時にお願いします"),
    ],
)
def test_a_language_is_known_by_its_words(language: str, message: str) -> None:
    assert likely_languages((message,) * 8)[0] == language


def test_no_language_is_guessed_where_nothing_says_one() -> None:
    assert likely_languages(()) == () and likely_languages(("xyzzy 12", "qwrt")) == ()


@pytest.mark.parametrize(
    ("language", "message", "kind", "values"),
    [
        ("de", "am 3. März und 14.5.2026", "date", ["2001-03-03", "2026-05-14"]),
        ("de", "Mittwoch 4. März 14 Uhr 30", "day", ["4"]),
        ("de", "Mittwoch 4. März 14 Uhr 30", "time", ["870"]),
        ("de", "zwölf Euro fünfzig", "money", ["12.5", "50"]),
        ("de", "zweihundertfünfzig und hundert", "number", ["250", "100"]),
        ("en", "the twenty-first of May, May 22nd", "day", ["21", "22"]),
        ("en", "from 9 am to 4:15 pm", "time", ["540", "975"]),
        ("en", "at noon", "time", ["720"]),
        ("en", "ninety seconds and 2 hours", "duration", ["1.5", "120"]),
        ("en", "half past six in the evening", "time", ["1110"]),
        ("en", "quarter to nine or ten past eight", "time", ["525", "490"]),
        ("en", "from 5 to 7", "time", ["300", "420"]),
        ("de", "von zwei bis halb vier nachmittags", "time", ["840", "930"]),
        ("de", "fünf vor halb acht", "time", ["445"]),
        ("de", "um 8 Uhr 40", "time", ["520"]),
        ("fr", "neuf heures et demie", "time", ["570"]),
        ("es", "a las seis y media de la tarde", "time", ["1110"]),
        ("es", "tres y cuatro cosas", "time", ["180", "240"]),
        ("nl", "om half zeven", "time", ["390"]),
        ("pt", "às oito e meia", "time", ["510"]),
        ("de", "eine halbe Stunde, dann ne Viertelstunde", "duration", ["30", "15"]),
        ("en", "an hour and a half", "duration", ["90"]),
        ("fr", "une demi-heure ou un quart d'heure", "duration", ["30", "15"]),
        ("en", "a minute, an hour, half an hour", "duration", ["1", "60", "30"]),
        ("en", "a book", "duration", []),
        ("en", "forty-five and 1.5", "number", ["1.5", "45"]),
        ("en", "3/14/2026", "date", ["2026-03-14"]),
        ("en", "2022/10/08", "date", ["2022-10-08"]),
        ("de", "am 2022/10/8 und 7/9", "date", ["2022-10-08"]),
        ("en", "2022/10/08", "time", []),
        ("fr", "deux tartes, vingt et un choux", "number", ["2", "21"]),
        ("fr", "samedi à 8h30", "time", ["510"]),
        ("pl", "w środę i niedzielę", "weekday", ["2", "6"]),
        ("ru", "двести десять", "number", ["210"]),
        ("ru", "5 марта", "month", ["3"]),
        ("ja", "3月14日午後2時", "date", ["2001-03-14"]),
        ("ja", "3月14日午後2時", "time", ["840"]),
        ("it", "Giulia Ferrari", "name", ["Giulia Ferrari"]),
        ("en", "from 10 to 12 July", "span", ["2"]),
        ("en", "£80 or 95 pounds", "currency", ["GBP", "GBP"]),
        ("en", "on the 21st of April. Two frames", "day", ["21"]),
        ("en", "Sept. 30, 2025", "day", ["30"]),
        ("it", "sette pere alle otto", "month", []),
        ("pt", "dez caixas a 5 dez", "month", ["12"]),
        ("de", "mittags", "time", ["720"]),
        ("de", "mittags um halb zwei", "time", ["810"]),
        ("de", "um neunzehn Uhr zehn", "time", ["1150"]),
        ("de", "um acht Uhr zwanzig Minuten laufen", "time", ["480"]),
        ("nl", "om 3 uur 's middags, anderhalf uur", "time", ["900"]),
        ("nl", "om 3 uur 's middags, anderhalf uur", "duration", ["90"]),
        ("nl", "tien over half drie", "time", ["160"]),
        ("fr", "à huit heures vingt du matin", "time", ["500"]),
        ("fr", "à trois heures et demie de l'après-midi", "time", ["930"]),
        ("fr", "à midi et demi", "time", ["750"]),
        ("es", "a las nueve menos cuarto de la mañana", "time", ["525"]),
        ("es", "a la una y cuarto de la tarde", "time", ["795"]),
        ("it", "alle otto e venti di sera", "time", ["1220"]),
        ("it", "un'ora e mezza, poi mezz'ora", "duration", ["90", "30"]),
        ("pt", "quinze para as nove", "time", ["525"]),
        ("pt", "ao meio-dia", "time", ["720"]),
        ("pt", "às dez menos dez", "time", ["590"]),
        ("sv", "fem i halv sex", "time", ["325"]),
        ("da", "fem minutter over halv seks", "time", ["335"]),
        ("nb", "kvart over tre om ettermiddagen", "time", ["915"]),
        ("pl", "o wpół do czwartej po południu", "time", ["930"]),
        ("pl", "o ósmej trzydzieści", "time", ["510"]),
        ("ru", "без четверти девять", "time", ["525"]),
        ("ru", "в половине четвёртого", "time", ["210"]),
        ("cs", "ve tři čtvrtě na osm", "time", ["465"]),
        ("de", "um halb neun, nee, um viertel vor neun", "time", ["525"]),
        ("en", "20 minutes, no wait, half an hour", "duration", ["30"]),
        ("fr", "le 3 mai, pardon, le 4 mai", "day", ["4"]),
        ("es", "tres cajas, digo, cuatro cajas", "number", ["4"]),
        ("en", "no eggs, 3 apples and 4 pears", "number", ["3", "4"]),
        ("de", "ne Stunde oder zweieinhalb Stunden", "duration", ["150", "60"]),
        ("de", "eine Stunde und zwanzig Minuten", "duration", ["80"]),
        ("en", "an hour and twenty minutes", "duration", ["80"]),
        ("en", "an hour, then twenty minutes", "duration", ["20", "60"]),
        ("es", "dos horas y media", "duration", ["150"]),
        ("pl", "dwie i pół godziny", "duration", ["150"]),
        ("ru", "два с половиной часа", "duration", ["150"]),
    ],
)
def test_values_are_read_in_their_language(language: str, message: str, kind: str, values: list[str]) -> None:
    found = [one.value for one in readings(message, language).get(kind, ())]
    assert sorted(f"{one:f}" if hasattr(one, "normalize") else str(one) for one in found) == sorted(values)


@pytest.mark.parametrize(
    ("name", "message", "results"),
    [
        ("month, Abc of first date (en)", "on 3 march", ("Mar",)),
        ("month of first date (fr)", "le 3 mars", ("mars",)),
        ("weekday, short of first weekday (de)", "Montag, 3. Mai", ("Mo",)),
        ("number of number after hive (en)", "12 bees in hive seven", ("7",)),
        ("number of number before bees (en)", "12 bees in hive seven", ("12",)),
        ("number of any number (en)", "12 bees in hive seven", ("12", "7")),
        ("number of fourth number (en)", "12 bees in hive seven", ()),
        ("seconds of first duration (en)", "rest 50 seconds", ("50",)),
        ("seconds of first duration (en)", "rest a minute", ("60",)),
        ("seconds of first duration (de)", "2 Minuten Pause", ("120",)),
        ("hour, two digits of first time plus first duration (de)", "9:45 Uhr, 30 Minuten", ("10",)),
        ("minute of first time plus first duration (de)", "9:45 Uhr, 30 Minuten", ("15",)),
        ("minute of first time plus 20 (de)", "9:45 Uhr", ("05",)),
        ("hour, two digits of first time plus 60 (en)", "at 23:30", ("00",)),
        ("day of the month of first date plus first duration (en)", "7 days from 28 May", ("4",)),
        ("weekday, Abc of first date plus 0 (en, 2026)", "on 3 March", ("Tue",)),
        ("weekday, Abc of first date plus 0 (en)", "on 3 March", ()),
        ("number of first number times second number (es)", "dos horas a 40", ("80",)),
        ("hundredths of an hour of first interval (en)", "9:15 to 11:45", ("50",)),
        ("initials of first name (en)", "for Anna Becker", ("AB",)),
        ("last two digits of any currency (en)", "12 euros", ()),
        ("number of first number (tlh)", "12 bees", ()),
        ("number of first number times 999999999999999999 (en)", "12 bees", ()),
    ],
)
def test_what_programs_make_of_messages(name: str, message: str, results: tuple[str, ...]) -> None:
    program = program_named(name)
    assert program is not None and str(program) == name
    assert program.results(message) == results


@pytest.mark.parametrize(
    "name",
    [
        "",
        "number",
        "number of first nothing (en)",
        "roman of first number (en)",
        "number of first number",
        "number of first number over second number (en)",
        "number of number near hive (en)",
        "number of first number (en) (de)",
    ],
)
def test_what_is_no_name_of_a_program(name: str) -> None:
    assert program_named(name) is None


def test_every_way_to_write_a_kind_has_a_writer_and_none_fails() -> None:
    message = "Anna Becker pays 12.50 euros on Tuesday 3 May 2026 at 9:15, 30 minutes, until 11:45"
    assert {writer for writers in WRITTEN.values() for writer in writers} <= set(WRITERS)
    for kind in WRITTEN:
        for writer in WRITERS:
            assert all(isinstance(text, str) for text in Program(writer, Operand(kind), "en").results(message))


@pytest.mark.parametrize(
    "text", ["1 " * 2500, "May " * 1250, "12:30 " * 830, "one " * 1250, "1.1." * 1250, "Ann " * 1250]
)
def test_a_message_of_values_alone_has_so_many_readings_and_no_more(text: str) -> None:
    found = readings(text, "en")
    assert found and all(len(some) <= 60 for some in found.values())


def column(count: int, make: Any) -> list[tuple[str, str]]:
    return [make(i) for i in range(count)]


def test_a_field_is_computed_in_the_language_of_its_messages() -> None:
    months = ("Januar", "Februar", "März", "April", "Mai", "Juni", "Juli", "August")
    found = computed(column(16, lambda i: (f"am {3 + i}. {months[i % 8]} Brot gekauft", f"{1 + i % 8:02d}")))
    assert found is not None and found.default == ()
    [name] = found.programs
    program = program_named(name)
    assert program is not None and program.results("ein Kuchen, 9. Dezember") == ("12",)


def test_a_default_of_most_pairs_gives_way_where_chance_cannot_have_chosen_the_others() -> None:
    """Four messages of 24 name a currency; all others mean euros."""
    named = [("bus $4", "USD"), ("$12 tea", "USD"), ("£3 pie", "GBP"), ("museum £18", "GBP")]
    plain = [(f"{what} {number}", "EUR") for number in range(5) for what in ("bus", "tea", "pie", "soap")]
    found = computed(named + plain)
    assert found is not None and found.default == ("EUR",)
    part = Part("computed", found.default, found.programs)
    assert part.results("48 CHF for a train") == ("CHF",) and part.results("train 48") == ("EUR",)


def test_a_default_stands_where_nothing_is_said() -> None:
    words = ("two", "three", "four", "five", "six")
    found = computed(
        column(20, lambda i: (f"hive, fed {words[i % 5]} litres", str(2 + i % 5)) if i % 3 else ("hive", "0"))
    )
    assert found is not None and found.default == ("0",)


def test_two_values_are_computed_with() -> None:
    found = computed(column(20, lambda i: (f"{2 + i % 7} hours at {30 + i} euros", str((2 + i % 7) * (30 + i)))))
    assert found is not None and " times " in found.programs[0]


def test_a_program_that_is_wrong_once_is_not_taken() -> None:
    rows = column(20, lambda i: (f"room {10 + i}", str(10 + i)))
    assert computed(rows) is not None
    assert computed([*rows, ("room 77", "78")]) is None


def test_chance_is_no_program() -> None:
    rows = column(20, lambda i: (f"{i * 7 % 10}, {i * 3 % 10} and {i * 9 % 10}", str(i * i * 31 % 10)))
    assert computed(rows) is None


def test_months_that_no_pair_has_are_right_in_a_form() -> None:
    months = ("january", "february", "march", "april")
    pairs = [
        ExamplePair(f"tea on {m} {3 + i}", f"{3 + i:02d}.{1 + i % 4:02d}.") for i in range(24) for m in [months[i % 4]]
    ]
    form = induce_form(pairs)
    assert form is not None
    assert form.accepts("tea on november 9", "09.11.") and not form.accepts("tea on november 9", "09.10.")


COMPUTED = AnswerTemplate(
    (
        Part("text", ("no. ",)),
        Part("computed", ("0",), ("number of number after hive (en)", "number of first number (en)")),
    )
)


def test_the_first_program_that_computes_anything_decides() -> None:
    assert COMPUTED.accepts("12 bees in hive seven", "no. 7") and not COMPUTED.accepts(
        "12 bees in hive seven", "no. 12"
    )
    assert COMPUTED.accepts("12 bees", "no. 12") and COMPUTED.accepts("bees", "no. 0")
    assert not COMPUTED.accepts("bees", "no. 1")
    assert COMPUTED.accepts("bees " * 5000, "no. 33"), "nothing is computed from what is too long to be read"


def test_programs_survive_json_and_are_free_text_to_a_program_of_before() -> None:
    data = COMPUTED.as_dict()
    assert AnswerTemplate.from_dict(data) == COMPUTED
    part = data["parts"][1]
    assert part["kind"] == "free" and "values" not in part and "ways" not in part
    later = {"parts": [{"kind": "free", "programs": ["number in runes of first number (en)"], "otherwise": []}]}
    assert AnswerTemplate.from_dict(later) == AnswerTemplate((Part("free"),))
    with pytest.raises(ValueError):
        AnswerTemplate.from_dict({"parts": [{"kind": "free", "programs": [3]}]})


def test_a_form_in_words_names_its_programs() -> None:
    assert COMPUTED.describe() == "no. ‹number of number after hive (en)|number of first number (en)|0›"


def test_languages_are_loaded_when_one_is_asked_for() -> None:
    code = (
        "import sys; from tokmem_desk.templates import template, induction; "
        "print([name for name in ('babel', 'unicode_rbnf', 'anyascii') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_a_language_that_nobody_knows_has_no_words() -> None:
    assert vocabulary("tlh") is None and readings("12 bees", "tlh") == {}


def test_a_program_may_leave_open_which_value_is_meant() -> None:
    """The name that is meant stands first in some messages and last in others: no place says which."""
    names = ["Ada Lind", "Ben Holt", "Cora Mai", "Dan Rust", "Eva Tal", "Finn Oak", "Gus Peel", "Hana Kay"]
    verbs = ["sees", "meets", "writes to", "calls", "visits", "thanks", "follows", "leaves"]
    column = [
        (
            f"{name} {verb} Olga Berg" if number < 2 else f"Olga Berg {verb} {name}",
            f"{name[0]}{name.split()[1][0]}",
        )
        for number, (name, verb) in enumerate(zip(names, verbs, strict=True))
    ]
    found = computed(column)
    assert found is not None and found.programs == ("initials of any name (en)",)


def test_digits_of_a_telephone_number_behind_a_countrys() -> None:
    names = ("Ada Lind", "Ben Holt", "Cora Mai", "Dan Rust", "Eva Tal", "Finn Oak")
    ways = ("0{} {} {}", "0{}-{}{}", "(0{}) {} {}", "0{}/{}{}")
    rng = random.Random(0)
    pairs = []
    for row in range(24):
        parts = [str(rng.choice((151, 172, 160, 176))), str(rng.randint(200, 999)), str(rng.randint(1000, 9999))]
        hour = rng.randint(7, 19)
        message = f"{names[row % 6]}, {ways[row % 4].format(*parts)}, rings at {hour}"
        pairs.append(ExamplePair(message, f"+49{''.join(parts)} {hour}h"))
    form = induce_form(pairs)
    assert form is not None
    assert form.accepts("call 0151 999 88 77 for Olga at 9", "+491519998877 9h")
    assert not form.accepts("call 0151 999 88 77 for Olga at 9", "+491519998870 9h")
    assert "digits" not in readings("at 14:30 for 3,50", "en", None)
