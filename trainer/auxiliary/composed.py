"""Auxiliary procedures generated at random: values of several kinds, said freely, answered in a fixed form.

Each draws two to four kinds of value (dates, sums, names, …), how messages mention them, and how its answers write
them down. The answers are right by construction, and a seed gives the same procedures everywhere. The procedures
themselves are of no use to anybody; what they share with everybody's is: find the values, copy them exactly, write
them in the form that the examples show.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tokmem_desk.procedures import ExamplePair, Procedure

Value = Mapping[str, Any]
Form = Callable[[Value], str]


def _words(text: str) -> list[str]:
    return text.split(", ")


_NAMES = _words(
    "Mira Holt, Tom Baker, Rosa Lindqvist, Jonas Weber, Priya Nair, Ben Okafor, Ines Duarte, Carl Falk, Yuki "
    "Mori, Sam Reed, Lena Brandt, Omar Haddad, Nora Quist, Pavel Novak, Grace Liu, Hugo Marchetti, Aisha Rahman, "
    "Felix Stone, Ida Berg, Marco Ruiz, Zoe Carter, Emil Jansen, Clara Voss, Dan Petrov, Fatima Said, Leo Grant, "
    "Wanda Kuhn, Ruth Meyer, Theo Lang, Julia Sand"
)
_PLACES = _words(
    "Ghent, Lake Orla, Bergen, the old mill, Porto, platform 3, room 14, Graz, the north hall, Lyon, Turin, "
    "Basel, Oslo, the harbour, Malmo, gate B7, Leeds, the library, Krakow, Utrecht, Nantes, the annex, Dublin, "
    "Riga"
)
_THINGS = _words(
    "two candles, printer paper, red paint, a bike lock, olive oil, soap, dog food, a desk lamp, garden hose, new "
    "tyres, phone case, winter gloves, coffee filters, a kettle, paint brushes, train ticket, a raincoat, hiking "
    "boots, notebook, light bulbs, sun cream, headphones, a tent, curtains, cat litter, door handle, a toaster, "
    "screws, batteries, a drill, wool socks, an umbrella"
)
_TITLES = _words(
    "Glass Harbour, The Ninth Crow, Salt and Paper, Morning Engine, A Field of Clocks, Umbra, The Long Orchard, "
    "Blue Meridian, Cold Letters, The Tin Boat, Paper Lions, North of Anything, Seven Lamps, The Quiet Wire, "
    "Harvest Moon Radio"
)
_JOBS = _words(
    "call the plumber, check the invoice, water the plants, send the draft, book a table, fix the gate, renew the "
    "passport, return the parcel, print the labels, test the alarm, sweep the yard, order ink, feed the cat, "
    "write to the landlord, clean the filter, update the list, paint the fence, pick up the keys, sort the mail, "
    "back up the laptop"
)
_SORTS = {
    "tool": ("hammer", "drill", "saw", "wrench", "pliers", "screwdriver"),
    "animal": ("cat", "dog", "rabbit", "parrot", "hamster", "horse"),
    "vehicle": ("bike", "van", "tram", "ferry", "car", "bus"),
    "garment": ("coat", "gloves", "scarf", "socks", "hat", "shirt"),
    "furniture": ("desk", "chair", "shelf", "sofa", "bed", "table"),
    "fruit": ("apple", "pear", "plum", "cherry", "mango", "fig"),
    "drink": ("tea", "coffee", "juice", "milk", "water", "cider"),
    "instrument": ("violin", "flute", "piano", "drum", "guitar", "cello"),
}
_MONTHS = _words("January, February, March, April, May, June, July, August, September, October, November, December")
_WEEKDAYS = _words("Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday")
_NUMBERS = _words("zero, one, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve")
_CURRENCIES = {"EUR": ("euro", "€"), "USD": ("dollars", "$"), "GBP": ("pounds", "£"), "CHF": ("francs", "CHF")}
_UNITS = {"kg": "kilos", "m": "metres", "l": "litres", "km": "kilometres", "g": "grams", "cm": "centimetres"}
_YES = ("paid already", "it's done", "confirmed", "all settled", "ok by me")
_NO = ("not paid yet", "still open", "unconfirmed", "nothing settled", "not ok")


@dataclass(frozen=True, slots=True)
class _Kind:
    """One kind of value.

    Attributes:
        draw: a value.
        say: how a message mentions it.
        write: a way of writing such values down, drawn once per procedure.
        labels: what an answer may call it.
    """

    draw: Callable[[random.Random], Value]
    say: Callable[[Value, random.Random], str]
    write: Callable[[random.Random], Form]
    labels: Sequence[str]


def _one_of(rng: random.Random, templates: Sequence[str], fields: Callable[[Value], Mapping[str, Any]]) -> Form:
    """One of several ways of writing down what ``fields`` makes of a value."""
    template = rng.choice(templates)
    return lambda value: template.format(**fields(value))


# --- dates and times -------------------------------------------------------------------------------


def _ordinal(day: int) -> str:
    return f"{day}{'th' if 10 <= day % 100 <= 20 else {1: 'st', 2: 'nd', 3: 'rd'}.get(day % 10, 'th')}"


def _draw_date(rng: random.Random) -> Value:
    year = rng.choice((2023, 2024, 2025, 2026)) if rng.random() < 0.4 else None
    return {"day": rng.randint(1, 28), "month": rng.randint(1, 12), "year": year}


def _say_date(value: Value, rng: random.Random) -> str:
    day, number, year = value["day"], value["month"], value["year"]
    month = _MONTHS[number - 1]
    spoken: str = rng.choice(
        (
            f"{day} {month}",
            f"{month} {day}",
            f"{_ordinal(day)} of {month}",
            f"{month} {_ordinal(day)}",
            f"{day} {month[:3]}",
            f"{month[:3]} {day}",
            f"{day:02d}.{number:02d}.",
            f"{month[:3].lower()} {day}",
            f"the {_ordinal(day)} of {month.lower()}",
        )
    )
    if year is None:
        return spoken
    if rng.random() < 0.3:
        return rng.choice(
            (f"{year}-{number:02d}-{day:02d}", f"{day:02d}.{number:02d}.{year}", f"{day}/{number}/{year}")
        )
    return f"{spoken}{year}" if spoken.endswith(".") else f"{spoken}{', ' if spoken[-1].isdigit() else ' '}{year}"


_DATES = (
    "{y}-{n:02d}-{d:02d}", "{d:02d}.{n:02d}.{y}", "{n:02d}/{d:02d}/{y}", "{d} {Mon} {y}", "{month} {d}, {y}",
    "{yy:02d}{n:02d}{d:02d}", "{d:02d}-{mon}-{yy}", "{d}/{n}", "{MON} {d:02d}", "{y}{n:02d}{d:02d}", "{th} {month}",
    "{d:02d} {Mon} '{yy}",
)  # fmt: skip


def _write_date(rng: random.Random) -> Form:
    this_year = rng.choice((2024, 2025, 2026))

    def fields(value: Value) -> Mapping[str, Any]:
        day, month, year = value["day"], _MONTHS[value["month"] - 1], value["year"] or this_year
        return {
            "d": day, "n": value["month"], "y": year, "yy": year % 100, "th": _ordinal(day),
            "month": month, "Mon": month[:3], "mon": month[:3].lower(), "MON": month[:3].upper(),
        }  # fmt: skip

    return _one_of(rng, _DATES, fields)


def _draw_time(rng: random.Random) -> Value:
    return {"hour": rng.randint(0, 23), "minute": rng.choice((0, 0, 15, 30, 45, 5, 10, 20, 40))}


def _say_time(value: Value, rng: random.Random) -> str:
    hour, minute = value["hour"], value["minute"]
    short, half = (hour - 1) % 12 + 1, "am" if hour < 12 else "pm"
    ways = [
        f"{hour}:{minute:02d}",
        f"{short}:{minute:02d} {half}",
        f"{hour:02d}:{minute:02d}",
        f"{short}:{minute:02d}{half}",
    ]
    if minute == 0:
        ways += [f"{short}{half}", f"{short} {half}", *{0: ["midnight"], 12: ["noon"]}.get(hour, [])]
    if minute == 30:
        part = "morning" if hour < 12 else "afternoon" if hour < 18 else "evening"
        ways.append(f"half past {_NUMBERS[short]} in the {part}")
    return rng.choice(ways)


_TIMES = ("{h:02d}:{m:02d}", "{h:02d}{m:02d}", "{h}h{m:02d}", "{s}:{m:02d}{AM}", "{s}.{m:02d} {a_m}", "{h}.{m:02d}")


def _write_time(rng: random.Random) -> Form:
    def fields(value: Value) -> Mapping[str, Any]:
        hour, early = value["hour"], value["hour"] < 12
        halves = {"AM": "AM" if early else "PM", "a_m": "a.m." if early else "p.m."}
        return {"h": hour, "s": (hour - 1) % 12 + 1, "m": value["minute"], **halves}

    return _one_of(rng, _TIMES, fields)


def _draw_duration(rng: random.Random) -> Value:
    hours = rng.randint(0, 4)
    return {"hours": hours, "minutes": rng.choice((0, 10, 15, 20, 30, 45) if hours else (5, 10, 15, 20, 30, 45))}


def _say_duration(value: Value, rng: random.Random) -> str:
    hours, minutes = value["hours"], value["minutes"]
    if not hours:
        return rng.choice((f"{minutes} minutes", f"{minutes} min"))
    if not minutes:
        return f"{hours} hour{'s' if hours > 1 else ''}"
    ways = [f"{hours}h{minutes:02d}", f"{hours} h {minutes} min"]
    if minutes == 30:
        ways.append(f"{hours} and a half hours")
    return rng.choice(ways)


def _write_duration(rng: random.Random) -> Form:
    def fields(value: Value) -> Mapping[str, Any]:
        hours, minutes = value["hours"], value["minutes"]
        return {"h": hours, "m": minutes, "all": 60 * hours + minutes}

    return _one_of(rng, ("{all} min", "{h}:{m:02d}", "PT{h}H{m}M", "{h}h {m:02d}m"), fields)


# --- amounts ---------------------------------------------------------------------------------------


def _draw_sum(rng: random.Random) -> Value:
    cents = rng.choice((rng.randint(1, 40) * 100, rng.randint(100, 9999), rng.randint(1, 200) * 50))
    return {"cents": cents, "currency": rng.choice(list(_CURRENCIES))}


def _say_sum(value: Value, rng: random.Random) -> str:
    cents, code = value["cents"], value["currency"]
    word, sign = _CURRENCIES[code]
    number = f"{cents // 100}" if cents % 100 == 0 and rng.random() < 0.8 else f"{cents / 100:.2f}"
    before = f"{sign}{number}" if len(sign) == 1 else f"{sign} {number}"
    return rng.choice((f"{number} {word}", before, f"{number} {code}", f"{number} {code.lower()}"))


def _write_sum(rng: random.Random) -> Form:
    def fields(value: Value) -> Mapping[str, Any]:
        number, code = f"{value['cents'] / 100:.2f}", value["currency"]
        return {
            "n": number, "comma": number.replace(".", ","), "c": code, "low": code.lower(),
            "sign": _CURRENCIES[code][1],
        }  # fmt: skip

    return _one_of(rng, ("{n} {c}", "{c} {n}", "{n}{sign}", "{sign}{n}", "{comma} {low}", "{n};{c}"), fields)


def _draw_quantity(rng: random.Random) -> Value:
    return {"number": rng.randint(1, 90), "unit": rng.choice(list(_UNITS))}


def _say_quantity(value: Value, rng: random.Random) -> str:
    number, unit = value["number"], value["unit"]
    amount = _NUMBERS[number] if number < len(_NUMBERS) and rng.random() < 0.4 else str(number)
    return rng.choice((f"{amount} {_UNITS[unit]}", f"{number}{unit}", f"{number} {unit}"))


def _write_quantity(rng: random.Random) -> Form:
    def fields(value: Value) -> Mapping[str, Any]:
        return {"n": value["number"], "u": value["unit"], "word": _UNITS[value["unit"]]}

    return _one_of(rng, ("{n} {u}", "{n}{u}", "{u}={n}", "[{n:03d} {u}]", "x{n} {word}"), fields)


def _draw_count(rng: random.Random) -> Value:
    return {"number": rng.randint(1, 12)}


def _say_count(value: Value, rng: random.Random) -> str:
    return rng.choice((str(value["number"]), _NUMBERS[value["number"]]))


def _write_count(rng: random.Random) -> Form:
    return _one_of(rng, ("{number}", "x{number}", "{number:02d}", "({number})", "{number} pcs"), dict)


def _draw_share(rng: random.Random) -> Value:
    return {"number": rng.randint(1, 100)}


def _say_share(value: Value, rng: random.Random) -> str:
    return rng.choice(("{}%", "{} percent", "{} %")).format(value["number"])


def _write_share(rng: random.Random) -> Form:
    def fields(value: Value) -> Mapping[str, Any]:
        return {"n": value["number"], "part": value["number"] / 100}

    return _one_of(rng, ("{n} %", "{part:.2f}", "{n}pct", "{n}/100"), fields)


# --- words -----------------------------------------------------------------------------------------


def _draw_from(words: Sequence[str]) -> Callable[[random.Random], Value]:
    return lambda rng: {"word": rng.choice(words)}


def _say_word(value: Value, rng: random.Random) -> str:
    word: str = value["word"]
    return word if rng.random() < 0.6 else word.lower()


def _write_name(rng: random.Random) -> Form:
    def fields(value: Value) -> Mapping[str, Any]:
        first, last = value["word"].split()
        return {
            "a": first, "b": last, "i": first[0], "j": last[0], "B": last.upper(), "low": first.lower(),
            "end": last.lower(),
        }  # fmt: skip

    return _one_of(
        rng, ("{a} {b}", "{b}, {a}", "{i}. {b}", "{B} {a}", "{i}{j}", "@{low}.{end}", "{a}", "{low}_{end}"), fields
    )


def _write_words(rng: random.Random) -> Form:
    form: Callable[[str], str] = rng.choice(
        (
            str,
            str.upper,
            str.lower,
            str.title,
            lambda w: "-".join(w.lower().split()),
            lambda w: "_".join(w.lower().split()),
            lambda w: w[0].upper() + w[1:],
            lambda w: f'"{w}"',
        )
    )
    return lambda v: form(v["word"])


def _say_weekday(value: Value, rng: random.Random) -> str:
    word: str = value["word"]
    return rng.choice((word, word.lower(), f"on {word}", word[:3].lower()))


def _write_weekday(rng: random.Random) -> Form:
    def fields(value: Value) -> Mapping[str, Any]:
        word = value["word"]
        return {"w": word, "MON": word[:3].upper(), "mo": word[:2], "low": word.lower(), "mon": word[:3]}

    return _one_of(rng, ("{w}", "{MON}", "{mo}", "<{low}>", "{mon}"), fields)


def _draw_sort(rng: random.Random) -> Value:
    sort = rng.choice(list(_SORTS))
    return {"sort": sort, "word": rng.choice(_SORTS[sort])}


def _say_sort(value: Value, rng: random.Random) -> str:
    return rng.choice(("{}", "the {}", "my {}", "a {}")).format(value["word"])


def _write_sort(rng: random.Random) -> Form:
    def fields(value: Value) -> Mapping[str, Any]:
        sort = value["sort"]
        return {"s": sort, "S": sort.upper(), "abc": sort[:3].upper(), "w": value["word"]}

    return _one_of(rng, ("{s}: {w}", "[{S}] {w}", "{w} ({s})", "#{s} {w}", "{abc}/{w}"), fields)


def _draw_list(rng: random.Random) -> Value:
    return {"words": [thing.split()[-1] for thing in rng.sample(_THINGS, rng.randint(2, 4))]}


def _say_list(value: Value, rng: random.Random) -> str:
    words: list[str] = value["words"]
    return rng.choice((", ".join(words), f"{', '.join(words[:-1])} and {words[-1]}", " and ".join(words)))


def _write_list(rng: random.Random) -> Form:
    joint = rng.choice((", ", " / ", "; ", " + ", "|"))
    in_order, counted = rng.random() < 0.5, rng.random() < 0.3

    def write(value: Value) -> str:
        words = sorted(value["words"]) if in_order else value["words"]
        return (f"{len(words)}: " if counted else "") + joint.join(words)

    return write


def _draw_yes(rng: random.Random) -> Value:
    return {"yes": rng.random() < 0.5}


def _say_yes(value: Value, rng: random.Random) -> str:
    return rng.choice(_YES if value["yes"] else _NO)


def _write_yes(rng: random.Random) -> Form:
    yes, no = rng.choice((("yes", "no"), ("Y", "N"), ("[x]", "[ ]"), ("done", "open"), ("1", "0"), ("TRUE", "FALSE")))
    return lambda v: yes if v["yes"] else no


_KINDS = {
    "date": _Kind(_draw_date, _say_date, _write_date, ("date", "when", "day", "due", "on")),
    "time": _Kind(_draw_time, _say_time, _write_time, ("time", "at", "start")),
    "duration": _Kind(_draw_duration, _say_duration, _write_duration, ("length", "took", "duration")),
    "sum": _Kind(_draw_sum, _say_sum, _write_sum, ("amount", "price", "cost", "sum")),
    "quantity": _Kind(_draw_quantity, _say_quantity, _write_quantity, ("quantity", "size", "load")),
    "count": _Kind(_draw_count, _say_count, _write_count, ("count", "n", "no")),
    "share": _Kind(_draw_share, _say_share, _write_share, ("share", "level", "rate")),
    "name": _Kind(_draw_from(_NAMES), _say_word, _write_name, ("who", "name", "person", "to", "by")),
    "place": _Kind(_draw_from(_PLACES), _say_word, _write_words, ("where", "place", "at", "site")),
    "thing": _Kind(_draw_from(_THINGS), _say_word, _write_words, ("item", "what", "thing")),
    "title": _Kind(_draw_from(_TITLES), _say_word, _write_words, ("title", "work", "book")),
    "job": _Kind(_draw_from(_JOBS), _say_word, _write_words, ("task", "action", "job")),
    "weekday": _Kind(_draw_from(_WEEKDAYS), _say_weekday, _write_weekday, ("day", "weekday")),
    "sort": _Kind(_draw_sort, _say_sort, _write_sort, ("kind", "class", "type")),
    "list": _Kind(_draw_list, _say_list, _write_list, ("items", "parts", "list")),
    "yes": _Kind(_draw_yes, _say_yes, _write_yes, ("ok", "paid", "state")),
}

# --- procedures ------------------------------------------------------------------------------------

_LINKS = ("", "", "for ", "with ", "at ", "by ", "about ", "so ", "then ", "also ", "- ", "re ", "it is ", "around ")
_OPENINGS = (
    "", "", "", "note: ", "hey, ", "please put down ", "new one: ", "just so I know, ", "ok ", "for the record ",
    "quick one, ", "log ",
)  # fmt: skip
_ENDINGS = ("", "", "", "", " please", " thanks", ".", "!", " as always", " ok?")
_SEPARATORS = (" | ", " - ", ";", ", ", " / ", " > ", " :: ", " ; ")
_HEADS = ("", "", "", "LOG ", "* ", "> ", "NB: ", "=> ")
_TAILS = ("", "", "", ".", " //", " ok", " <<", "!")
_DEFAULTS = ("none", "-", "?", "n/a")
_OPTIONAL = 0.35
"""Share of procedures in which one value may be missing."""
_MISSING = 0.3
"""Share of their messages in which it is."""

Layout = Callable[[Sequence[tuple[str, str]]], str]
"""Makes an answer of (label, written value) in the order of the form."""


def _layout(rng: random.Random) -> Layout:
    separator, head, tail = rng.choice(_SEPARATORS), rng.choice(_HEADS), rng.choice(_TAILS)
    case: Callable[[str], str] = rng.choice((str.lower, str.upper, str.title))
    link = rng.choice((": ", "=", " -> ", ": "))

    def line(fields: Sequence[tuple[str, str]]) -> str:
        return head + separator.join(text for _, text in fields) + tail

    def labels(fields: Sequence[tuple[str, str]]) -> str:
        return "\n".join(f"{case(label)}{link}{text}" for label, text in fields)

    def labelled_line(fields: Sequence[tuple[str, str]]) -> str:
        return separator.join(f"{case(label)}{link}{text}" for label, text in fields)

    def bullets(fields: Sequence[tuple[str, str]]) -> str:
        return "\n".join([*([head.strip()] if head.strip() else []), *(f"- {text}" for _, text in fields)])

    def tag(fields: Sequence[tuple[str, str]]) -> str:
        return f"[{fields[0][1]}] " + separator.join(text for _, text in fields[1:]) + tail

    def json_object(fields: Sequence[tuple[str, str]]) -> str:
        return "{" + ", ".join(f'"{label}": "{text}"' for label, text in fields) + "}"

    def sentence(fields: Sequence[tuple[str, str]]) -> str:
        text = ", ".join(f"{label} {text}" for label, text in fields)
        return f"{text[0].upper()}{text[1:]}."

    def csv(fields: Sequence[tuple[str, str]]) -> str:
        return ",".join(f'"{text}"' if "," in text else text for _, text in fields)

    def markup(fields: Sequence[tuple[str, str]]) -> str:
        return "".join(f"<{label}>{text}</{label}>" for label, text in fields)

    def two_lines(fields: Sequence[tuple[str, str]]) -> str:
        return f"{head}{fields[0][1]}\n" + separator.join(text for _, text in fields[1:]) + tail

    return rng.choice((line, line, labels, bullets, tag, labelled_line, json_object, sentence, csv, markup, two_lines))


def composed_procedure(seed: int, pairs: int = 20) -> Procedure:
    """One procedure put together by chance."""
    rng = random.Random(f"composed/{seed}")
    names = rng.sample(sorted(_KINDS), rng.choice((2, 3, 3, 3, 4, 4)))
    forms = {name: _KINDS[name].write(rng) for name in names}
    labels = {name: rng.choice(_KINDS[name].labels) for name in names}
    orders = [rng.sample(names, len(names)) for _ in range(rng.choice((1, 2, 3)))]
    optional = rng.choice(names) if rng.random() < _OPTIONAL else None
    default, separator, layout = rng.choice(_DEFAULTS), rng.choice((", ", " ")), _layout(rng)
    made: dict[str, str] = {}
    while len(made) < pairs:
        values = {name: _KINDS[name].draw(rng) for name in names}
        missing = optional if rng.random() < _MISSING else None
        said = [name for name in rng.choice(orders) if name != missing]
        parts = [(rng.choice(_LINKS) if i else "") + _KINDS[name].say(values[name], rng) for i, name in enumerate(said)]
        joint = separator if rng.random() < 0.7 else rng.choice((", ", " ", "; "))
        message = rng.choice(_OPENINGS) + joint.join(parts) + rng.choice(_ENDINGS)
        made[message] = layout(
            [(labels[name], default if name == missing else forms[name](values[name])) for name in names]
        )
    return Procedure(f"composed{seed}", tuple(ExamplePair(message, answer) for message, answer in made.items()))
