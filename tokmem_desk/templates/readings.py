"""Values that a message holds, read in one language: numbers, dates, times of day, durations, sums of money, names.

A value may be read in several ways, as "9.30" may be a time or a number: what was meant is found in pairs.
"""

from __future__ import annotations

import datetime
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from itertools import pairwise

from tokmem_desk.templates.clock_phrases import Phrase
from tokmem_desk.templates.languages import Vocabulary, plain, vocabulary
from tokmem_desk.templates.tokens import TOKEN

Value = Decimal | int | str | datetime.date
"""Of a number, a sum of money, a span (days), a duration or interval (minutes): a number. Of a time: minutes after
midnight."""

KINDS = ("number", "day", "month", "year", "weekday", "date", "time", "duration", "money", "currency", "name", "word",
         "start", "span", "interval", "sum", "count", "digits")  # fmt: skip

LONGEST_READ = 20_000
"""Characters of a message that is read; in longer ones nothing is computed."""
_MOST = 60
"""Readings of a kind."""
_MOST_WORDS = 6
"""Words of a number."""
_MOST_DIGITS = 15
_LONGEST_CORRECTION = 6
"""Words and signs between a value that is taken back and the one that counts."""
_BESIDE = 2
"""Tokens that may stand between a month and its day, such as "th of"."""
_GROUPS_OF_DIGITS = re.compile(r"(?<![\d.,])\(?\d[\d ()/.\u00a0\u202f-]*\d(?![\d.,]*\d)")
_FEWEST_DIGITS, _MOST_GROUPED = 6, 24
_YEARS = range(1900, 2100)
_NO_YEAR = 2001
"""The year of dates without one. It is no leap year, and its weekdays are never told."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One value of a message.

    Attributes:
        start, end: its characters in the message; 0 and 0 where several values make it.
        before, after: the words beside it, in small letters.
    """

    kind: str
    value: Value
    start: int
    end: int
    before: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    start: int
    end: int

    @property
    def blank(self) -> bool:
        return self.text.isspace()


@lru_cache(maxsize=1024)
def readings(message: str, language: str, year: int | None = None) -> dict[str, tuple[Reading, ...]]:
    """The values of a message by kind, in their order.

    Args:
        language: code of a language; an unknown one has digits only.
        year: of dates that name none; without it their weekdays are unknown.
    """
    if len(message) > LONGEST_READ:
        return {}
    words = vocabulary(language)
    if words is None:
        return {}
    tokens = [_Token(found[0], found.start(), found.end()) for found in TOKEN.finditer(message)]
    reader = _Reader(message, tokens, words, year)
    found: dict[str, list[Reading]] = {}
    beside = [one for one in tokens if one.text[0].isalpha()]
    starts, ends = [one.start for one in beside], [one.end for one in beside]
    for kind, value, start, end in reader.read():
        before, after = "", ""
        if end:
            place = bisect_right(ends, start)
            before = plain(beside[place - 1].text) if place else ""
            # In scripts without blanks a value may end within a word.
            place = bisect_right(ends, end)
            after = plain(beside[place].text[max(0, end - starts[place]) :]) if place < len(beside) else ""
        found.setdefault(kind, []).append(Reading(kind, value, start, end, before, after))
    return {kind: tuple(sorted(some, key=lambda one: (one.start, one.end))[:_MOST]) for kind, some in found.items()}


_Found = tuple[str, Value, int, int]


class _Reader:
    def __init__(self, message: str, tokens: list[_Token], words: Vocabulary, year: int | None) -> None:
        self._message, self._tokens, self._words, self._year = message, tokens, words, year
        self._solid = [one for one in tokens if not one.blank]
        self._starts_of, self._ends_of = [one.start for one in self._solid], [one.end for one in self._solid]
        self._taken: list[tuple[int, int]] = []
        self._begun: list[datetime.date] = []
        self._hours_said: list[tuple[int, int]] = []
        self._whole_months = {plain(name) for name in words.month_names[0]}

    def read(self) -> Iterator[_Found]:
        dates = self._corrected(list(self._dates()))
        yield from dates
        yield from self._corrected(list(self._weekdays()))
        times = list(self._times())
        numbers = self._corrected(list(self._numbers()))
        spoken = list(self._spoken(numbers))
        if not times and not spoken:
            times = list(self._noons()) or list(self._hours(numbers))
        elif not times:
            times = list(self._hours(numbers))
        # What stands in a phrase is no time of its own: "half past six" has no "six".
        times = [one for one in times if not any(one[2] < end and start < one[3] for _, _, start, end in spoken)]
        times = self._corrected(sorted([*times, *spoken], key=lambda one: one[2]))
        yield from times
        yield from numbers
        # "om acht uur" is no length of time.
        amounts = [
            one
            for one in self._amounts(numbers)
            if one[0] != "duration" or not any(one[2] < end and start < one[3] for start, end in self._hours_said)
        ]
        amounts = self._corrected(amounts)
        yield from amounts
        yield from self._names()
        yield from self._digits()
        days = [value for kind, value, _, _ in dates if kind == "date" and isinstance(value, datetime.date)]
        starts = self._begun or days
        if starts:
            yield "start", starts[0], 0, 0
            if (length := (days[-1] - starts[0]).days) > 0:
                yield "span", length, 0, 0
        minutes = [value for _, value, _, _ in times if isinstance(value, int)]
        if len(minutes) > 1:
            yield "interval", (minutes[1] - minutes[0]) % 1440, 0, 0
        measured = {start for kind, _, start, _ in amounts if kind in ("duration", "money")}
        plain_numbers = [
            value for _, value, start, _ in numbers if isinstance(value, Decimal) and start not in measured
        ]
        if len(plain_numbers) > 1:
            yield "sum", sum(plain_numbers, Decimal()), 0, 0
        if plain_numbers:
            yield "count", len(plain_numbers), 0, 0

    def _corrected(self, found: list[_Found]) -> list[_Found]:
        """Values without those that are taken back: of "at nine, no, at ten" the second one."""
        kept = []
        for one in found:
            later = [other for other in found if other[0] == one[0] and other[2] >= one[3]]
            after = min(later, key=lambda other: other[2], default=None)
            if after is None or not self._takes_back(one[3], after[2]):
                kept.append(one)
        return kept

    def _takes_back(self, start: int, end: int) -> bool:
        """Whether a value in front of these characters is taken back by the one behind them."""
        between = self._solid[bisect_left(self._starts_of, start) : bisect_left(self._starts_of, end)]
        words = [plain(one.text) for one in between]
        return len(words) <= _LONGEST_CORRECTION and not self._words.corrections.isdisjoint(words)

    def _behind(self, end: int, count: int) -> list[_Token]:
        """The next tokens, blanks aside."""
        place = bisect_left(self._starts_of, end)
        return self._solid[place : place + count]

    def _before(self, start: int, count: int) -> list[_Token]:
        """The tokens in front, blanks aside."""
        place = bisect_right(self._ends_of, start)
        return self._solid[max(0, place - count) : place]

    def _is_free(self, start: int, end: int) -> bool:
        return all(end <= first or start >= after for first, after in self._taken)

    def _dates(self) -> Iterator[_Found]:
        for pattern in self._words.dates:
            for found in pattern.finditer(self._message):
                day, month = int(found["d"]), int(found["m"])
                named = found.groupdict().get("y")
                year = None if named is None else int(named) + 2000 * (len(named) == 2)
                if self._is_free(found.start(), found.end()) and _date(year or _NO_YEAR, month, day):
                    # "9.30" may be a time as well as a day.
                    if year is not None or not found[0].isascii():
                        self._taken.append(found.span())
                    elif self._has_month():
                        continue
                    yield from self._date(found.start(), found.end(), day, month, year)
        for place, token in enumerate(self._solid):
            named_month = self._month(place) if token.text[0].isalpha() else None
            if named_month is None or not self._is_free(token.start, token.end):
                continue
            its_day, start, end = self._day_beside(place)
            year, end = self._year_behind(max(end, token.end))
            self._taken.append((min(start, token.start), end))
            if its_day is None:
                yield "month", named_month, token.start, token.end
                if year is not None:
                    yield "year", year, token.start, end
            elif _date(year or _NO_YEAR, named_month, its_day):
                self._begun += self._starts(min(start, token.start), its_day, named_month, year)
                yield from self._date(min(start, token.start), end, its_day, named_month, year)
        for token in self._solid:
            if _is_year(token) and self._is_free(token.start, token.end):
                yield "year", int(token.text), token.start, token.end

    def _month(self, place: int) -> int | None:
        """The month that a word names; a number such as "sette" or "dez" is one only behind a day in digits."""
        found = self._words.month(self._solid[place].text)
        if found is not None and plain(self._solid[place].text) in self._words.numbers:
            before = [one.text for one in self._solid[max(0, place - 2) : place] if one.text not in ("de", ".")]
            return found if before and before[-1].isdecimal() else None
        return found

    def _has_month(self) -> bool:
        return any(one.text[0].isalpha() and self._month(place) for place, one in enumerate(self._solid))

    def _date(self, start: int, end: int, day: int, month: int, year: int | None) -> Iterator[_Found]:
        yield "day", day, start, end
        yield "month", month, start, end
        if year is not None:
            yield "year", year, start, end
        if found := _date(year or self._year or _NO_YEAR, month, day):
            yield "date", found, start, end

    def _starts(self, start: int, day: int, month: int, year: int | None) -> Iterator[datetime.date]:
        """The first day of "10 to 12 July" or "3.–5. Mai"."""
        before = [one for one in self._before(start, 4) if one.text != "."][-2:]
        if len(before) < 2:
            return
        number, link = before
        # Any short word: languages have many, and whether a span was meant is found in pairs.
        if not (link.text in "-–" or (link.text.isalpha() and len(link.text) <= 4)):
            return
        first = int(number.text) if number.text.isdecimal() and len(number.text) <= 2 else 0
        if 1 <= first < day and (found := _date(year or self._year or _NO_YEAR, month, first)):
            yield found

    def _day_beside(self, place: int) -> tuple[int | None, int, int]:
        """The day that stands nearest to a month, in front of it or behind, and its characters."""
        options = []
        for step in (-1, 1):
            for distance in range(1, _BESIDE + 2 if step < 0 else 3):
                at = place + step * distance
                if not 0 <= at < len(self._solid):
                    break
                token = self._solid[at]
                number = self._small(token)
                if number is not None:
                    if 1 <= number <= 31 and self._is_free(token.start, token.end):
                        options.append((distance, step, number, token.start, token.end))
                    break
                # A whole name of a month has no full stop: what stands behind that is another sentence.
                stops = token.text == "." and step > 0 and plain(self._solid[place].text) in self._whole_months
                if stops or token.text in ",;:" or (step > 0 and token.text[0].isalpha() and len(token.text) > 3):
                    break
        if not options:
            return None, self._solid[place].start, self._solid[place].end
        # Where days stand first, what follows the month is something else as long as there is a day in front.
        _, step, number, start, end = min(options, key=lambda one: (self._words.day_first and one[1] > 0, *one))
        # "twenty first of May": the day has two words.
        if step < 0:
            two = self._number_ending(end)
            if two is not None and 1 <= two[0] <= 31:
                number, start = two[0], two[1]
        return number, start, end

    def _small(self, token: _Token) -> int | None:
        if token.text.isdecimal():
            return int(token.text) if len(token.text) <= 2 else -1
        return self._words.numbers.get(plain(token.text))

    def _number_ending(self, end: int) -> tuple[int, int] | None:
        words = [one for one in self._before(end, 3) if one.text[0].isalpha() or one.text == "-"]
        for count in (3, 2):
            some = words[-count:]
            if len(some) == count and some[-1].end == end:
                number = self._words.numbers.get(" ".join(plain(one.text) for one in some if one.text != "-"))
                if number is not None and some[-1].end - some[0].start < 40:
                    return number, some[0].start
        return None

    def _year_behind(self, end: int) -> tuple[int | None, int]:
        for token in self._behind(end, _BESIDE):
            if _is_year(token):
                return int(token.text), token.end
        for token in self._before(end, 3):
            if _is_year(token):
                return int(token.text), end
        return None, end

    def _weekdays(self) -> Iterator[_Found]:
        for token in self._solid:
            if token.text[0].isalpha() and (day := self._words.weekday(token.text)) is not None:
                yield "weekday", day, token.start, token.end

    def _times(self) -> Iterator[_Found]:
        marks = {word for word, seconds in self._words.units.items() if seconds == 3600 and len(word) <= 2}
        hour = "|".join(map(re.escape, sorted({*self._words.hour_words, *marks}, key=len, reverse=True)))
        periods = [one for one in self._words.periods if len(one) <= 4]
        half = "|".join(re.escape(one) for one in sorted(periods, key=len, reverse=True))
        digits = r"(?<![\d.,:])(?P<h>\d{1,2})"
        forms = [rf"{digits}\s?[:.]\s?(?P<m>[0-5]\d)(?![\d.])"]
        if hour:
            forms.append(rf"{digits}\s?(?:{hour})\s?(?P<m>[0-5]\d)(?!\d)")
            forms.append(rf"{digits}\s?(?:{hour})(?![^\W\d_]|\s?\d)" if hour.isascii() else rf"{digits}(?:{hour})")
        if half:
            forms.append(rf"{digits}\s?(?:{half})(?![^\W\d_])")
        seen: list[tuple[int, int]] = []
        for form in forms:
            for found in re.finditer(form, self._message, re.IGNORECASE):
                hours, minutes = int(found["h"]), int(found.groupdict().get("m") or 0)
                if hours > 24 or any(first < found.end() and found.start() < after for first, after in seen):
                    continue
                if not self._is_free(*found.span()):
                    continue
                seen.append(found.span())
                # "9.30" may also be a number, and "3 h" a duration.
                if ":" in found[0] or form is not forms[0]:
                    self._taken.append(found.span())
                yield "time", self._clock(60 * hours + minutes, *found.span()), *found.span()
        for place, token in enumerate(self._solid):
            joint = place and self._solid[place - 1].text == "-" and self._solid[place - 1].end == token.start
            if not joint and (point := self._words.points.get(plain(token.text))) is not None:
                yield "time", point, token.start, token.end

    def _clock(self, minutes: int, start: int, end: int) -> int:
        """A time, after noon where words beside it say so."""
        minutes %= 1440
        behind = re.split(r"\d", self._message[end : end + 28])[0]
        inside = re.sub(r"[\d:.]", " ", self._message[start:end])
        before = re.split(r"\d", self._message[max(0, start - 12) : start])[-1]
        periods = sorted(self._words.periods.items(), key=lambda one: -len(one[0]))
        for text in (f"{inside} {behind}".casefold(), before.casefold()):
            for word, afternoon in periods:
                form = rf"(?<![^\W\d_]){re.escape(word)}(?![^\W\d_])" if word.isascii() else re.escape(word)
                if re.search(form, text):
                    if afternoon:
                        return minutes + 720 if minutes < 720 else minutes
                    return minutes - 720 if minutes >= 720 and len(word) <= 4 else minutes
        return minutes

    def _spoken(self, numbers: Sequence[_Found]) -> Iterator[_Found]:
        """Times of day in phrases, such as "halb sieben"."""
        whole = _whole(numbers)
        found: list[tuple[int, int, int]] = []
        for place, token in enumerate(self._solid):
            for phrase in self._words.clock:
                if (one := self._phrase(phrase, place, whole)) is None:
                    continue
                minutes, end = one
                behind = self._behind(end, 1)
                # "um acht Uhr zwanzig Minuten" is an hour and a length of time.
                if phrase.words[-1] == "M" and behind and plain(behind[0].text) in self._words.units:
                    continue
                found.append((token.start, end, minutes))
                if phrase.is_sure:
                    self._hours_said.append((token.start, end))
                break
        # Of two that overlap the one with minutes, then the longer one: "las cuatro" is part of "cuatro y media".
        longest = sorted(found, key=lambda one: (one[2] % 60 == 0, one[0] - one[1]))
        kept: list[tuple[int, int, int]] = []
        for start, end, minutes in longest:
            if not any(first < end and start < last for first, last, _ in kept):
                kept.append((start, end, minutes))
        for start, end, minutes in sorted(kept):
            yield "time", self._clock(minutes, start, end), start, end

    def _noons(self) -> Iterator[_Found]:
        """Noon and midnight in words that also say which half of the day is meant."""
        for place, token in enumerate(self._solid):
            for phrase in self._words.noons:
                if (found := self._phrase(phrase, place, {})) is not None:
                    yield "time", found[0], token.start, found[1]
                    break

    def _phrase(self, phrase: Phrase, place: int, whole: Mapping[int, tuple[int, int]]) -> tuple[int, int] | None:
        """The minutes after midnight of a phrase at the token of that place, and its end; None where it is not there.

        Args:
            whole: whole numbers of the message with their ends, by their starts.
        """
        minutes, end = phrase.minutes, -1
        for word in phrase.words:
            if place >= len(self._solid):
                return None
            token = self._solid[place]
            if word == "H" and (hour := self._words.hours.get(plain(token.text))) is not None:
                minutes, end = minutes + 60 * hour, token.end
            elif word == "N":
                number, end = whole.get(token.start, (-1, -1))
                if not 0 < number <= 24:
                    return None
                minutes += 60 * number
            elif word not in ("H", "M"):
                if plain(token.text) != word:
                    return None
                end = token.end
            else:
                number, end = whole.get(token.start, (-1, -1))
                # Minutes are said in fives; "from 5 to 7" and "3 and 4" are no times.
                if not (0 <= number <= 24 if word == "H" else 0 < number < 60 and number % 5 == 0):
                    return None
                minutes += 60 * number if word == "H" else phrase.sign * number
            place = bisect_left(self._starts_of, end)
        return minutes, end

    def _hours(self, numbers: Sequence[_Found]) -> Iterator[_Found]:
        """Numbers that may be hours, where no time is written as one."""
        units = {one[2] for one in self._amounts(numbers) if one[0] != "number"}
        for _, value, start, end in numbers:
            if isinstance(value, Decimal) and value == int(value) and 0 <= value <= 24 and start not in units:
                yield "time", self._clock(60 * int(value), start, end), start, end

    def _numbers(self) -> Iterator[_Found]:
        digits = r"(?<![\d.,])\d{1,3}(?:[.'\u00a0\u202f]\d{3})+(?![\d.,]*\d)|\d+[.,]\d{1,2}(?!\d)|\d+"
        for found in re.finditer(digits, self._message):
            text = found[0]
            if len(text) > _MOST_DIGITS or not self._is_free(*found.span()):
                continue
            if re.fullmatch(r"\d+[.,]\d{1,2}", text):
                yield "number", Decimal(text.replace(",", ".")), *found.span()
            else:
                yield "number", Decimal(re.sub(r"\D", "", text)), *found.span()
        place = 0
        words = self._solid
        while place < len(words):
            best = 0
            for count in range(1, _MOST_WORDS + 1):
                some = words[place : place + count]
                if len(some) < count or not (some[-1].text[0].isalpha() or some[-1].text == "-"):
                    break
                text = " ".join(plain(one.text) for one in some if one.text != "-")
                if some[-1].text != "-" and text in self._words.numbers:
                    best = count
            if best and self._is_free(words[place].start, words[place + best - 1].end):
                some = words[place : place + best]
                value = self._words.numbers[" ".join(plain(one.text) for one in some if one.text != "-")]
                yield "number", Decimal(value), some[0].start, some[-1].end
            place += best or 1

    def _lengths(self, numbers: Sequence[_Found]) -> Iterator[_Found]:
        """Lengths of time in phrases, such as "hora y media", with an article or a number one in front of them."""
        whole, after = _whole(numbers), -1
        for place, token in enumerate(self._solid):
            for phrase in self._words.lengths if token.start >= after else ():
                if (found := self._phrase(phrase, place, whole)) is not None:
                    minutes, after = found
                    ones = {*self._words.articles, *(w for w, number in self._words.numbers.items() if number == 1)}
                    start = next(
                        (one.start for one in self._before(token.start, 1) if plain(one.text) in ones), token.start
                    )
                    yield "duration", Decimal(minutes), start, after
                    break

    def _amounts(self, numbers: Sequence[_Found]) -> Iterator[_Found]:
        """Durations and sums of money: numbers with units beside them."""
        lengths: list[_Found] = []
        for found in self._measured(numbers):
            if found[0] == "duration":
                lengths.append(found)
            else:
                yield found
        whole: _Found | None = None
        for found in sorted(lengths, key=lambda one: one[2]):
            if whole is not None and self._goes_on(whole, found):
                whole = ("duration", Decimal(whole[1]) + Decimal(found[1]), whole[2], found[3])  # type: ignore[arg-type]
                continue
            if whole is not None:
                yield whole
            whole = found
        if whole is not None:
            yield whole

    def _goes_on(self, hours: _Found, minutes: _Found) -> bool:
        """Whether two lengths of time are one, such as "an hour and twenty minutes"."""
        behind = [one for one in self._solid if hours[3] <= one.start < minutes[2]]
        # The unit stands behind the number that the first one is found by.
        if behind and plain(behind[0].text) in self._words.units:
            behind = behind[1:]
        joint = not behind or (len(behind) == 1 and plain(behind[0].text) == self._words.link)
        first, second = hours[1], minutes[1]
        return (
            joint
            and isinstance(first, Decimal)
            and isinstance(second, Decimal)
            and first % 60 == 0
            and 0 < second < 60 <= first
        )

    def _measured(self, numbers: Sequence[_Found]) -> Iterator[_Found]:
        by_start = {start: (value, end) for _, value, start, end in numbers if isinstance(value, Decimal)}
        said = list(self._lengths(numbers))
        yield from said
        for article, word in pairwise(self._solid):
            unit = self._words.units.get(plain(word.text)) if plain(article.text) in self._words.articles else None
            if unit is not None and not any(start <= article.start < end for _, _, start, end in said):
                yield "duration", Decimal(unit) / 60, article.start, article.end
        for start, (value, end) in sorted(by_start.items()):
            behind, before = self._behind(end, 2), self._before(start, 1)
            unit = self._words.units.get(plain(behind[0].text)) if behind else None
            if unit is not None and not any(first <= start < last for _, _, first, last in said):
                yield "duration", value * unit / 60, start, end
            code = next(
                (
                    self._words.currencies[plain(one.text)]
                    for one in (*behind[:1], *before)
                    if plain(one.text) in self._words.currencies
                ),
                None,
            )
            if code is None:
                if value != int(value):
                    yield "money", value, start, end
                continue
            yield "currency", code, start, end
            # "twelve euros fifty"
            cents = by_start.get(behind[1].start) if len(behind) > 1 else None
            if cents is not None and value == int(value) and 0 < cents[0] < 100 and cents[0] == int(cents[0]):
                yield "money", value + cents[0] / 100, start, cents[1]
            else:
                yield "money", value, start, end

    def _digits(self) -> Iterator[_Found]:
        """Long numbers that are written in groups, as of telephones, accounts and parts: their digits."""
        for found in _GROUPS_OF_DIGITS.finditer(self._message):
            digits = re.sub(r"\D", "", found[0])
            if _FEWEST_DIGITS <= len(digits) <= _MOST_GROUPED:
                yield "digits", digits, *found.span()

    def _names(self) -> Iterator[_Found]:
        words = [one for one in self._solid if one.text[0].isalpha()]
        for token in words:
            if token.text[0].isupper():
                yield "word", token.text, token.start, token.end
        for first, second in pairwise(self._tokens_of_names(words)):
            if self._message[first.end : second.start] == " " and first.text[0].isupper() and second.text[0].isupper():
                yield "name", f"{first.text} {second.text}", first.start, second.end

    def _tokens_of_names(self, words: Sequence[_Token]) -> list[_Token]:
        return [
            one
            for one in words
            if len(one.text) > 1 and not (self._words.month(one.text) and self._words.weekday(one.text) is not None)
        ]


def _whole(numbers: Sequence[_Found]) -> dict[int, tuple[int, int]]:
    """Whole numbers of a message with their ends, by their starts."""
    return {
        start: (int(value), end)
        for _, value, start, end in numbers
        if isinstance(value, Decimal) and value == int(value)
    }


def _is_year(token: _Token) -> bool:
    return token.text.isdecimal() and len(token.text) == 4 and int(token.text) in _YEARS


def _date(year: int, month: int, day: int) -> datetime.date | None:
    try:
        return datetime.date(year, month, day)
    except ValueError:
        return None


def knows_weekday(date: datetime.date) -> bool:
    """Whether the year of a date was named."""
    return date.year != _NO_YEAR
