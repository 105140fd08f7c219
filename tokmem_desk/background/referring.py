"""Messages that refer to what was said before them, composed of shipped texts: what references are learned from.

As with ``joined``, the words are material to learn from, not a list to match against. Each example has what was said
before, a message, the words of it that refer to something, and where that stands. Others refer to nothing.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from typing import Any, Literal

from tokmem_desk import background

MarkKind = Literal["value", "same", "new", "counted", "last"]
"""``value``: stands for a value. ``same``: the message before it shall be done again, with the values that are ``new``.
``counted`` and ``last``: an item of a list."""

_LANGUAGES = {"en": 0.5, "de": 0.2, "fr": 0.15, "es": 0.15}
_KINDS = {"value": 0.36, "asked": 0.14, "text": 0.07, "counted": 0.12, "same": 0.17, "nothing": 0.14}
_SMALL_TALK = ("Yes.", "I am not sure.", "That depends.", "Gern.", "Oui.", "Of course!", "I would think so, mostly.")
_PIECE = re.compile(r"\{(\*?)(\w+)\}|([\[\]])")
_MARKED = re.compile(r"<([naNo])>")
_RULE = re.compile(r"\{(?:(\w+)|(\d+)-(\d+))\}")
_LISTED = 0.3
"""Share of values that are drawn from lists; the others are put together."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Words of a message that refer to something: [start, end) in its characters."""

    start: int
    end: int
    kind: MarkKind
    of: str = ""
    """The kind of value that it stands for, or that a new value is of."""
    adverb: bool = False
    """Whether it stands for a value with the words around it, as "there" for "at Da Marco"."""


@dataclass(frozen=True, slots=True)
class Value:
    """A value that was said.

    Attributes:
        kind: as in ``references.json``; ``text`` is an answer as a whole.
        main: whether "it" would mean this one.
        phrase: the value with the words around it that go with it; else empty.
    """

    text: str
    kind: str
    main: bool = False
    phrase: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """A message, or a part of one, and its answer."""

    message: str
    answer: str


@dataclass(frozen=True, slots=True)
class Referring:
    """An example.

    Attributes:
        said: before the message, oldest first.
        message: as it was typed.
        marks: in the order of the message.
        meant: for each mark, the texts in ``said`` that it stands for or, of a ``new`` value, that it replaces; any of
            them is right. Empty: nothing there.
        values: of each exchange, those that are known.
    """

    said: tuple[Said, ...]
    message: str
    marks: tuple[Mark, ...] = ()
    meant: tuple[tuple[str, ...], ...] = ()
    values: tuple[tuple[Value, ...], ...] = ()


@dataclass(slots=True)
class _Slot:
    kind: str
    text: str
    main: bool
    phrase: str = ""
    """The value with the words around it that go with it, as "at Da Marco"."""

    @property
    def whole(self) -> str:
        return self.phrase or self.text

    @property
    def value(self) -> Value:
        return Value(self.text, self.kind, self.main, self.phrase)


@dataclass(slots=True)
class _Filled:
    text: str
    slots: list[_Slot] = field(default_factory=list)


class _Language:
    """The material of one language."""

    def __init__(self, data: Mapping[str, Any], rng: random.Random) -> None:
        self._data, self._rng = data, rng

    def one(self, name: str) -> Any:
        return self._rng.choice(self._data[name])

    def value(self, kind: str, without: Sequence[str]) -> str:
        """A value of a kind that is none of others, from a list or put together."""
        while True:
            listed = kind not in self._data["grammar"] or self._rng.random() < _LISTED
            value: str = self._rng.choice(self._data["values"][kind]) if listed else self.made(kind)
            if value not in without:
                return value

    def made(self, name: str) -> str:
        """Words of the grammar: a rule, with what it names put in; ``{1-31}`` is a number."""

        def piece(found: re.Match[str]) -> str:
            rule, low, high = found.groups()
            return self.made(rule) if low is None else str(self._rng.randint(int(low), int(high))).zfill(len(low))

        rule: str = self._rng.choice(self._data["grammar"][name])
        return _RULE.sub(piece, rule)

    def filled(self, template: str, *, without: Sequence[str] = (), optional: float = 0.6) -> _Filled:
        """A template with values; what stands in brackets may be left out."""
        filled, at = _Filled(""), 0
        kept, opened, inside = True, -1, list[_Slot]()
        for found in _PIECE.finditer(template):
            if kept:
                filled.text += template[at : found.start()]
            at = found.end()
            main, kind, bracket = found.groups()
            if bracket == "[":
                kept, opened, inside = self._rng.random() < optional or "{*" in template[at:].split("]")[0], 0, []
                opened = len(filled.text)
            elif bracket == "]":
                if kept:
                    for slot in inside:
                        slot.phrase = filled.text[opened:]
                else:
                    filled.text = filled.text.rstrip()
                kept, opened, inside = True, -1, []
            elif kept and kind not in self._data["values"]:
                filled.text += self.made(kind)
            elif kept:
                taken = [*(slot.text for slot in filled.slots), *without]
                slot = _Slot(kind, self.value(kind, taken), bool(main))
                filled.slots.append(slot)
                inside.append(slot)
                filled.text += slot.text
        filled.text += template[at:]
        return filled

    def opening(self) -> _Filled:
        return self._cased(self.filled(self.one("openings")))

    def exchange(self, opening: _Filled) -> Said:
        return Said(opening.text, self.answer(opening))

    def _cased(self, filled: _Filled) -> _Filled:
        if self._rng.random() < 0.4 and not any(filled.text.startswith(slot.text) for slot in filled.slots):
            filled.text = filled.text[:1].lower() + filled.text[1:]
        if self._rng.random() < 0.25 and filled.text[-1:] not in ".?!":
            filled.text += self._rng.choice(".!")
        return filled

    def answer(self, opening: _Filled) -> str:
        """What a procedure might answer: the values in some form, or no more than that it was done."""
        rng, slots = self._rng, opening.slots
        values = [slot.text for slot in slots if slot.main or rng.random() < 0.8]
        if not values or rng.random() < 0.12:
            return rng.choice(["Done.", "OK", "Erledigt.", "C'est fait.", "Hecho.", "saved", "✓"])
        if rng.random() < 0.3:
            rng.shuffle(values)
        between = rng.choice([" | ", ";", " · ", ", ", " / ", "\t", " @ ", " ", " - ", "|", " -> ", " x "])
        # Many procedures call a message by a word of its own.
        word = rng.choice(re.findall(r"[^\W\d_]+", opening.text) or ["x"])
        if any(word in value for value in values):
            word = rng.choice(["note", "log", "item", "entry"])
        match rng.randrange(11):
            case 0:
                return json.dumps({slot.kind: slot.text for slot in slots}, ensure_ascii=False)
            case 1:
                return between.join(values)
            case 2:
                return rng.choice(["OK: ", "Saved: ", "+ ", "TODO ", "* ", "LOG "]) + ", ".join(values)
            case 3:
                return "\n".join(f"{slot.kind}: {slot.text}" for slot in slots)
            case 4:
                return f"{rng.choice(['note', 'add', 'book', 'log', 'x'])}({', '.join(map(repr, values))})"
            case 5:
                return values[0]
            case 6:
                return " ".join(value.upper() if rng.random() < 0.3 else value for value in values)
            case 7:
                tag = rng.choice([word.upper(), word[:3].upper(), word[:1].upper(), word.lower(), word.title()])
                return f"{tag}{rng.choice([' ', ' ', ': ', '=', '|', ';', ' > '])}{between.join(values)}"
            case 8:
                return f"{word.lower()} {rng.choice(['added', 'noted', 'list', 'ok', 'no. 4', 'saved'])}: {values[0]}"
            case 9:
                return rng.choice(
                    [f"{len(slots)} {word.lower()}", f"{word.lower()}: ok", f"{word.title()} ✓", "1 more"]
                )
            case _:
                return f"[{rng.randrange(100)}] " + " - ".join(values)

    def told(self, value: str, slots: Sequence[_Slot]) -> str:
        """The answer to a question: a value, perhaps with more around it."""
        rng, other = self._rng, slots[0].text if slots else "x"
        forms = [value, value, value, f"{value}.", f"{other}: {value}", f"{other} | {value}", f"→ {value}"]
        forms += [
            json.dumps({"of": other, "value": value}, ensure_ascii=False),
            f"It is {value}.",
            f"{other} ⇒ {value}",
        ]
        return rng.choice(forms)

    def prose(self) -> str:
        """A short text, as an answer that is to be used as a whole."""
        rng = self._rng
        texts = [
            self.filled(self.one(name)).text
            for name in rng.choices(["openings", "neg", "openings"], k=rng.choice((1, 1, 2)))
        ]
        text = ". ".join(text[:1].upper() + text[1:] for text in texts).rstrip(".") + "."
        return rng.choice([text, text, f"# {text}", f"Subject: {text}", f"- {text}"])

    def marked(
        self, template: str, words: Mapping[str, str], kinds: Mapping[str, MarkKind], *, without: Sequence[str]
    ) -> tuple[str, list[Mark]]:
        """A template with ``<n>`` and the like filled by words, each of which is a mark."""
        # Values first: their places do not matter, those of the marks do.
        filled = self.filled(_MARKED.sub(lambda m: f"\0{m[1]}\0", template), without=without).text
        text, marks = "", list[Mark]()
        for i, piece in enumerate(filled.split("\0")):
            if i % 2 and piece in words:
                marks.append(Mark(len(text), len(text) + len(words[piece]), kinds[piece]))
                text += words[piece]
            else:
                text += piece
        if self._rng.random() < 0.4 and (not marks or marks[0].start > 0):
            text = text[:1].lower() + text[1:]
        if self._rng.random() < 0.2 and text[-1:] not in ".?!":
            text += self._rng.choice(".!?")
        return text, marks

    def referring(self) -> Referring:
        """An example of any kind, without what was said before it all."""
        kind = self._rng.choices(list(_KINDS), list(_KINDS.values()))[0]
        made: Referring | None = None
        while made is None:
            made = getattr(self, f"_{kind}")()
        return made

    def _form(self, kind: str, *, plain: bool) -> tuple[str, str] | None:
        """Words that refer to a value of a kind and ``n`` or ``a``, by whether they stand for a noun or an adverb.

        Args:
            plain: only words that say which kind of value they mean.
        """
        forms = [(way, word) for way in "na" for word in self._data["refs"][kind][way]]
        forms = [(way, word) for way, word in forms if not plain or word not in self._data["generic"]]
        fitting = [t for t in self._data["follow"][kind] if any(f"<{way}>" in t for way, _ in forms)]
        return self._rng.choice(forms) if forms and fitting else None

    def _follow(self, kind: str, way: str, word: str, without: Sequence[str]) -> tuple[str, list[Mark]] | None:
        fitting = [t for t in self._data["follow"][kind] if f"<{way}>" in t]
        if not fitting:
            return None
        text, marks = self.marked(self._rng.choice(fitting), {way: word}, {way: "value"}, without=without)
        return text, [replace(mark, of=kind, adverb=way == "a") for mark in marks]

    def _value(self) -> Referring | None:
        opening = self.opening()
        counts = [slot.kind for slot in opening.slots]
        slots = [slot for slot in opening.slots if counts.count(slot.kind) == 1]
        mains = [slot for slot in slots if slot.main]
        if not slots:
            return None
        slot = self._rng.choice(mains if mains and self._rng.random() < 0.6 else slots)
        form = self._form(slot.kind, plain=not slot.main)
        followed = form and self._follow(slot.kind, *form, without=[one.text for one in opening.slots])
        if not form or not followed:
            return None
        meant = (slot.whole,) if form[0] == "a" else (slot.text,)
        said = self.exchange(opening)
        return Referring((said,), *_frozen(followed, meant), (_values(opening),))

    def _asked(self) -> Referring | None:
        kind = self._rng.choice(list(self._data["asks"]))
        asked = self._cased(self.filled(self._rng.choice(self._data["asks"][kind])))
        value = self.value(kind, [slot.text for slot in asked.slots])
        form = self._form(kind, plain=False)
        taken = [value, *(slot.text for slot in asked.slots)]
        followed = form and self._follow(kind, *form, without=taken)
        if not followed or value in asked.text:
            return None
        values = (*_values(asked), Value(value, kind, main=True))
        return Referring((Said(asked.text, self.told(value, asked.slots)),), *_frozen(followed, (value,)), (values,))

    def _text(self) -> Referring | None:
        asked = self._cased(self.filled(self.one("texts")))
        answer = self.prose()
        form = self._form("text", plain=False)
        followed = form and self._follow("text", *form, without=[slot.text for slot in asked.slots])
        values = (*_values(asked), Value(answer, "text", main=True))
        if not followed:
            return None
        return Referring((Said(asked.text, answer),), *_frozen(followed, (answer,)), (values,))

    def _counted(self) -> Referring | None:
        rng = self._rng
        which = rng.choice(list(self._data["ord"]))
        kind: MarkKind = "last" if which == "9" else "counted"
        of = rng.choice(["item", "place", "person", "city"])
        items = list[str]()
        for _ in range(rng.choice((3, 3, 4, 4, 5))):
            items.append(self.value(of, items))
        values = tuple(Value(item, of) for item in items)
        if rng.random() < 0.7:
            asked, answer = self.filled(self.one("list_ask")).text, listed(items, rng)
        else:
            opening = self.filled(self.one("list_open"))
            items = [slot.text for slot in opening.slots]
            asked, answer = opening.text, rng.choice([listed(items, rng), "Done.", self.answer(opening)])
            values = _values(opening)
        word = rng.choice(self._data["ord"][which])
        text, marks = self.marked(self.one("ord_follow"), {"o": word}, {"o": kind}, without=items)
        place = -1 if which == "9" else int(which) - 1
        meant = (items[place],) if place < len(items) else ()
        return Referring((Said(asked, answer),), text, tuple(marks), (meant,) * len(marks), (values,))

    def _same(self) -> Referring | None:
        opening, rng = self.opening(), self._rng
        slots = [slot for slot in opening.slots if slot.kind != "text"]
        if not slots:
            return None
        template = self.one("same") if rng.random() < 0.9 else self.one("same_bare")
        chosen = rng.sample(slots, min(template.count("<N>"), len(slots)))
        of_kind = self._data["same_of"].get(chosen[0].kind) if len(chosen) == 1 else None
        if of_kind and rng.random() < 0.5:
            template = rng.choice(of_kind)
        if len(chosen) < template.count("<N>"):
            return None
        text, marks, meant = "", list[Mark](), list[tuple[str, ...]]()
        pieces = template.split("<N>")
        for i, piece in enumerate(pieces):
            if piece.strip():
                marks.append(Mark(len(text), len(text) + len(piece.rstrip()), "same"))
                meant.append(())
            text += piece
            if i < len(chosen):
                new = self.value(chosen[i].kind, [slot.text for slot in opening.slots])
                marks.append(Mark(len(text), len(text) + len(new), "new", chosen[i].kind))
                meant.append((chosen[i].text,))
                text += new
        if rng.random() < 0.4:
            text = text[:1].upper() + text[1:]
        said = self.exchange(opening)
        return Referring((said,), text, tuple(marks), tuple(meant), (_values(opening),))

    def _nothing(self) -> Referring | None:
        rng = self._rng
        opening = self.opening()
        said = self.exchange(opening)
        if rng.random() < 0.25:  # words that refer, and nothing there that they could mean
            kind = rng.choice([kind for kind in self._data["follow"] if kind not in ("text", "count")])
            form = self._form(kind, plain=False)
            followed = form and self._follow(kind, *form, without=())
            if not followed:
                return None
            light = rng.choice(background.chat_for_fitting())
            return Referring((Said(light, rng.choice(["OK", "Done.", "Hm.", "42"])),), *_frozen(followed, ()), ((),))
        message = self._cased(self.filled(self.one("neg" if rng.random() < 0.7 else "openings"))).text
        return Referring((said,), message, values=(_values(opening),))


def _values(filled: _Filled) -> tuple[Value, ...]:
    return tuple(slot.value for slot in filled.slots)


def listed(items: Sequence[str], rng: random.Random) -> str:
    """Items as answers list them."""
    match rng.randrange(6):
        case 0:
            return "\n".join(f"- {item}" for item in items)
        case 1:
            return "\n".join(f"{i}. {item}" for i, item in enumerate(items, start=1))
        case 2:
            return ", ".join(items)
        case 3:
            return json.dumps(list(items), ensure_ascii=False)
        case 4:
            return "\n".join(items)
        case _:
            return "; ".join(items)


def _frozen(
    followed: tuple[str, list[Mark]], meant: tuple[str, ...]
) -> tuple[str, tuple[Mark, ...], tuple[tuple[str, ...], ...]]:
    text, marks = followed
    return text, tuple(marks), (meant,) * len(marks)


def material() -> dict[str, Any]:
    """Frames and values by language."""
    data: dict[str, Any] = json.loads(
        resources.files("tokmem_desk.background").joinpath("references.json").read_text("utf-8")
    )
    return data


def referring_messages(count: int, seed: int = 0) -> list[Referring]:
    """Examples of all kinds, most with more that was said before."""
    rng = random.Random(seed)
    languages = {name: _Language(data, rng) for name, data in material().items()}
    chat = background.chat_for_fitting()
    found = []
    for _ in range(count):
        language = languages[rng.choices(list(_LANGUAGES), list(_LANGUAGES.values()))[0]]
        made = language.referring()
        earlier, values = list[Said](), list[tuple[Value, ...]]()
        for _ in range(rng.choice((0, 0, 0, 1, 2))):
            opening = language.opening()
            earlier.append(language.exchange(opening))
            values.append(_values(opening))
            if rng.random() < 0.3:
                earlier[-1] = Said(rng.choice(chat), language.prose())
                values[-1] = (Value(earlier[-1].answer, "text", main=True),)
        later = [Said(rng.choice(chat), rng.choice(_SMALL_TALK))] if made.marks and rng.random() < 0.15 else []
        said = (*earlier, *made.said, *later)
        of_said = (*values, *made.values, *((),) * len(later))
        found.append(Referring(said, made.message, made.marks, made.meant, of_said))
    return found
