"""Auxiliary procedures: the written ones are whole, the composed ones right by construction and the same everywhere."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from datetime import datetime
from itertools import islice

import pytest

from tokmem_desk.procedures import check_name
from trainer.auxiliary import auxiliary_procedures, composed, written_procedures
from trainer.auxiliary.composed import composed_procedure

DATE_FORMS = {
    "{y}-{n:02d}-{d:02d}": "%Y-%m-%d",
    "{d:02d}.{n:02d}.{y}": "%d.%m.%Y",
    "{n:02d}/{d:02d}/{y}": "%m/%d/%Y",
    "{d} {Mon} {y}": "%d %b %Y",
    "{month} {d}, {y}": "%B %d, %Y",
    "{yy:02d}{n:02d}{d:02d}": "%y%m%d",
    "{d:02d}-{mon}-{yy}": "%d-%b-%y",
    "{d}/{n}": "%d/%m",
    "{MON} {d:02d}": "%b %d",
    "{y}{n:02d}{d:02d}": "%Y%m%d",
    "{th} {month}": "%d %B",
    "{d:02d} {Mon} '{yy}": "%d %b '%y",
}


def drawn(seed: str, count: int = 200) -> Iterator[random.Random]:
    return (random.Random(f"{seed}/{i}") for i in range(count))


def parts(pattern: str, text: str) -> tuple[str, ...]:
    found = re.fullmatch(pattern, text)
    assert found is not None, text
    return found.groups()


def test_the_written_ones_are_eighty_with_twenty_pairs_each() -> None:
    procedures = written_procedures()
    assert len({p.name for p in procedures}) == len(procedures) == 80
    for procedure in procedures:
        assert check_name(procedure.name) == procedure.name and procedure.description
        assert len({pair.input for pair in procedure.pairs}) == len(procedure.pairs) == 20
        assert all(pair.input.strip() and pair.response.strip() for pair in procedure.pairs)
    messages = [pair.input for procedure in procedures for pair in procedure.pairs]
    assert len(set(messages)) == len(messages), "no message stands under two procedures"


def test_composed_ones_depend_on_their_seed_alone() -> None:
    many = [composed_procedure(seed) for seed in range(60)]
    assert many == [composed_procedure(seed) for seed in range(60)]
    for procedure in many:
        assert check_name(procedure.name) == procedure.name
        assert len({pair.input for pair in procedure.pairs}) == len(procedure.pairs) == 20
        assert all(pair.input.strip() and pair.response.strip() for pair in procedure.pairs)
    first = many[1].pairs[0]
    assert (first.input, first.response) == ("hey, nora quist, six.", '{"person": "Nora Quist", "no": "(6)"}')


def test_answers_say_what_messages_say() -> None:
    """Of three seeds every value of the answers is found in the message by other means than those that wrote it."""
    for pair in composed_procedure(0).pairs:
        items, minutes, share = parts(r"Parts -> \d: (.+) / Took -> (\d+) min / Rate -> (\d+)/100", pair.response)
        assert all(item in pair.input for item in items.split("|"))
        assert re.search(rf"\b{share} ?(%|percent)", pair.input)
        found = re.search(r"(\d+) hours?|(\d+) ?h ?(\d+)|(\d+) min|(\d+) and a half", pair.input)
        assert found is not None
        hours, h, m, alone, and_half = (int(group or 0) for group in found.groups())
        assert int(minutes) == 60 * (hours + h + and_half) + m + alone + 30 * bool(and_half)
    for pair in composed_procedure(1).pairs:
        person, number = parts(r'\{"person": "(.+)", "no": "\((\d+)\)"\}', pair.response)
        assert person.lower() in pair.input.lower()
        assert re.search(rf"\b({number}|{composed._NUMBERS[int(number)]})\b", pair.input)
    for pair in composed_procedure(7).pairs:
        share, job, day = parts(r"rate: (\d+)/100\njob: (.+)\nweekday: ([A-Z]{3})", pair.response)
        assert re.search(rf"\b{share} ?(%|percent)", pair.input)
        assert job.replace("-", " ") in pair.input.lower()
        assert re.search(rf"\b{day}", pair.input, re.IGNORECASE)


def test_all_date_forms_are_tried() -> None:
    assert tuple(DATE_FORMS) == composed._DATES


@pytest.mark.parametrize("form", DATE_FORMS)
def test_written_dates_read_back(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    monkeypatch.setattr(composed, "_DATES", (form,))
    for rng in drawn(form, 60):
        value, write = composed._draw_date(rng), composed._write_date(rng)
        text = re.sub(r"(\d)(st|nd|rd|th)\b", r"\1", write(value))
        # With a year of its own: a day without one cannot be told for every calendar.
        with_year = "y" in form.replace("day", "")
        read = datetime.strptime(text if with_year else f"{text} 2024", DATE_FORMS[form] + ("" if with_year else " %Y"))  # noqa: DTZ007
        assert (read.day, read.month) == (value["day"], value["month"])
        if value["year"] and with_year:
            assert read.year == value["year"]


def test_said_dates_read_back() -> None:
    months = [name[:3].lower() for name in composed._MONTHS]
    for rng in drawn("said"):
        value = composed._draw_date(rng)
        said = composed._say_date(value, rng).lower()
        year = value["year"]
        assert year is None or str(year) in said
        rest = said.replace(str(year), "")
        numbers = [int(number) for number in re.findall(r"\d+", rest)]
        named = [place for place, name in enumerate(months, 1) if re.search(rf"\b{name}", rest)]
        if named:
            assert (numbers, named) == ([value["day"]], [value["month"]])
        else:
            in_order = numbers[::-1] if said.startswith(str(year)) else numbers
            assert in_order == [value["day"], value["month"]]


def test_times_read_back() -> None:
    for rng in drawn("time"):
        value = composed._draw_time(rng)
        text = composed._write_time(rng)(value)
        early = re.search("AM|a", text) is not None
        late = re.search("PM|p", text) is not None
        hour, minute = (int(part) for part in parts(r"(\d\d?)[:h.]?(\d\d).*", text))
        if early or late:
            hour = hour % 12 + 12 * late
        assert (hour, minute) == (value["hour"], value["minute"]), text


def test_amounts_read_back_as_said_and_as_written() -> None:
    for rng in drawn("sum"):
        value = composed._draw_sum(rng)
        names = {value["currency"].lower(), *composed._CURRENCIES[value["currency"]]}
        for text in (composed._say_sum(value, rng), composed._write_sum(rng)(value)):
            [number] = re.findall(r"\d+(?:[.,]\d\d)?", text)
            assert round(100 * float(number.replace(",", "."))) == value["cents"]
            rest = text.replace(number, "").strip(" ;")
            assert rest in names or rest.lower() in names, text


def test_durations_read_back() -> None:
    for rng in drawn("duration"):
        value = composed._draw_duration(rng)
        text = composed._write_duration(rng)(value)
        numbers = [int(number) for number in re.findall(r"\d+", text)]
        whole = numbers[0] if text.endswith(" min") else 60 * numbers[0] + numbers[1]
        assert whole == 60 * value["hours"] + value["minutes"], text


def test_written_and_composed_ones_alternate_and_composed_ones_never_repeat() -> None:
    written = [p.name for p in written_procedures()]
    names = [p.name for p in islice(auxiliary_procedures(), 4 * len(written))]
    assert names[0::2] == written * 2, "the written ones come round again"
    assert names[1::2] == [f"composed{number}" for number in range(2 * len(written))]
    three = [p.name for p in islice(auxiliary_procedures(2), 6)]
    assert three == [written[0], "composed0", "composed1", written[1], "composed2", "composed3"]
