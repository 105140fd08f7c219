"""Find the form that all answers of a procedure share, in its example pairs alone.

What is taken for certain must hold for every pair and would also have been found without it: a value of a closed set
has been seen twice, a way of writing values has been used twice, a layout occurs twice. Text that stands everywhere
divides answers into fields; each field becomes the narrowest part that passes. Where nothing passes, the field is free
text, and where nothing at all is shared there is no form.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations

from tokmem_desk.procedures import ExamplePair
from tokmem_desk.templates.cues import find_cues
from tokmem_desk.templates.message_values import ANY_CAPITALS, SPELLINGS, WAYS, spelled_at, written
from tokmem_desk.templates.patterns import plain_pattern
from tokmem_desk.templates.rows import can_have_rows, find_rule
from tokmem_desk.templates.single_use import sequences, takes_once
from tokmem_desk.templates.synthesis import computed, constant_of
from tokmem_desk.templates.template import CLASSES, AnswerTemplate, Part, joined
from tokmem_desk.templates.tokens import tokens_of

LEAST_PAIRS = 6
"""With fewer pairs no template is induced."""

_MOST_PAIRS = 200
"""At most so many pairs make a template; more pairs change nothing."""
_MOST_ASKED = 1000
"""At most so many further pairs test it."""
_REFUSED = 0.01
"""Share of those that it may refuse."""

_ENOUGH = 16
"""With fewer values only the text around them is taken for certain."""

_MOST_CHOICES = 16
_MOST_LAYOUTS = 6
_LONGEST_LAYOUT = 20
_SEEN_ONCE = 0.1
"""Share of values whose layout no other value has, at most; so often a new one must be expected."""

_TWICE = 2
_OFTEN = 3
"""How often the values of a closed set have been seen, on average."""
_FEWER = 1 / 4
"""Share of pairs in which some sequences would be left out because the message has not the values of them."""
_QUARTERS = 4
_MISSED = 1 / 12
"""Share of values that a part may miss when it is made without them; made with all of them it misses about half."""
_LONG_NUMBER, _LONGEST_PREFIX = 7, 4
"""Digits of a number that may begin with the same digits always, and most of those."""
_CASES = ("small", "capital", "title", "first capital", "first small")

Values = Sequence[tuple[str, str]]
"""Messages, and what stands in a field of their answers."""


def induce_form(pairs: Sequence[ExamplePair]) -> AnswerTemplate | None:
    """The form of the responses, or None when they share none (or there are too few)."""
    values = [(pair.input, pair.response) for pair in _some(pairs, _MOST_PAIRS)]
    if len(values) < LEAST_PAIRS or any(not answer.strip() for _, answer in values):
        return None
    form = _form(values)
    if form is None or all(part.kind == "free" for part in form.parts):
        return None
    # The parts were chosen one by one, so the whole is tested again.
    if not all(form.accepts(message, answer) for message, answer in values):
        return None
    others = _some(pairs, _MOST_ASKED) if len(pairs) > _MOST_PAIRS else []
    refused = sum(not form.accepts(pair.input, pair.response) for pair in others)
    if refused > _REFUSED * len(others):
        return None
    return replace(form, once=_once(form, values))


def _once(form: AnswerTemplate, values: Values) -> bool:
    """Whether answers take several values and none takes the same words of its message twice."""
    lines = sequences(form)
    several = form.repeated or any(sum(part.kind == "taken" for part in line) > 1 for line in lines)
    if len(values) < _ENOUGH or not several or not any(part.kind == "taken" for line in lines for part in line):
        return False
    return all(takes_once(form, message, answer) for message, answer in values)


def _some(pairs: Sequence[ExamplePair], most: int) -> Sequence[ExamplePair]:
    """At most so many of the pairs, drawn at random, since neighbours in a file are often alike."""
    return pairs if len(pairs) <= most else random.Random(most).sample(list(pairs), most)


def _form(values: Values) -> AnswerTemplate | None:
    if parts := _fields(values):
        return AnswerTemplate(parts)
    if shapes := _shapes(values):
        return AnswerTemplate((shapes,))
    if len({answer.count("\n") for _, answer in values}) > 1:
        lines = [(message, line) for message, answer in values for line in answer.split("\n")]
        if all(line for _, line in lines) and (parts := _fields(lines)):
            return AnswerTemplate(_in_rows(parts, values), repeated=True)
        return None
    part = _part(values, following="")
    return AnswerTemplate((part,)) if part.kind != "free" else None


def _in_rows(parts: tuple[Part, ...], values: Values) -> tuple[Part, ...]:
    """The parts of a line, those that stand beside each other in messages as one part with a rule."""
    for first, last in combinations(range(len(parts)), 2):
        some = parts[first : last + 1]
        if not can_have_rows(some):
            continue
        answers = []
        for message, answer in values:
            found = [_values_in(parts, message, line) for line in answer.split("\n")]
            answers.append((message, [(one[first], one[last]) for one in found if one]))
        if (rule := find_rule(some, answers)) is not None:
            row = Part("forms", forms=(some,), rows=rule)
            return (*parts[:first], row, *parts[last + 1 :])
    return parts


def _values_in(parts: Sequence[Part], message: str, line: str) -> tuple[str, ...]:
    """What stands in each part of a line; nothing where it has not that form."""
    found = plain_pattern(joined(f"({part.pattern(message)})" for part in parts)).fullmatch(line)
    return () if found is None else tuple(found.groups())


def _shapes(values: Values) -> Part | None:
    """One of several forms, where the first words of answers are a closed set: each has a form of its own.

    Answers such as commands of a few programs share nothing but that.
    """
    kinds: dict[str, list[tuple[str, str]]] = {}
    for message, answer in values:
        kinds.setdefault(tokens_of(answer)[0], []).append((message, answer))
    first = _choice([(message, kind) for kind, members in kinds.items() for message, _ in members])
    if len(values) < _ENOUGH or not 1 < len(kinds) <= _MOST_LAYOUTS or first is None or first.kind != "choice":
        return None
    # Every member begins with the word of its kind, so there is always something that all of them share.
    return Part("forms", forms=tuple(_fields(kinds[kind]) for kind in sorted(kinds)))


def _fields(values: Values) -> tuple[Part, ...]:
    """Parts between the texts that stand in every answer; none when there are no such texts."""
    anchors = _anchors([tokens_of(answer) for _, answer in values])
    if not anchors:
        return ()
    columns: list[list[tuple[str, str]]] = [[] for _ in range(len(anchors) + 1)]
    for message, answer in values:
        rest = tokens_of(answer)
        for place, anchor in enumerate(anchors):
            at = rest.index(anchor)
            columns[place].append((message, "".join(rest[:at])))
            rest = rest[at + 1 :]
        columns[-1].append((message, "".join(rest)))
    parts: list[Part] = []
    for place, column in enumerate(columns):
        parts += _trimmed(column, _behind(columns, anchors, place))
        for anchor in anchors[place : place + 1]:
            parts += _fixed(anchor, [message for message, _ in values])
    return _joined(parts)


def _behind(columns: Sequence[Values], anchors: Sequence[str], place: int) -> str:
    """The text that always stands behind a field."""
    text = ""
    for anchor, column in zip(anchors[place:], columns[place + 1 :], strict=True):
        text += anchor
        if any(value for _, value in column):
            return text + _common([value for _, value in column])
    return text


def _anchors(answers: Sequence[list[str]]) -> list[str]:
    """Tokens that occur equally often in every answer and in one order; those that break the order are left out."""
    counts = [Counter(answer) for answer in answers]
    steady = {token for token, count in counts[0].items() if all(other[token] == count for other in counts)}
    while steady:
        rows = [[token for token in answer if token in steady] for answer in answers]
        if all(row == rows[0] for row in rows):
            return rows[0]
        # Leave out the token that most often disagrees with the first row.
        wrong = Counter(token for row in rows for a, b in zip(row, rows[0], strict=True) if a != b for token in (a, b))
        steady.discard(max(sorted(wrong), key=lambda token: (not token.isalnum(), wrong[token])))
    return []


def _trimmed(column: Values, following: str) -> list[Part]:
    """The parts of a field: what all its values begin and end with is text."""
    texts = [text for _, text in column]
    if not any(texts):
        return []
    head = _common(texts)
    tail = _common([text[len(head) :][::-1] for text in texts])[::-1]
    inner = [(message, text[len(head) : len(text) - len(tail)]) for message, text in column]
    messages = [message for message, _ in column]
    parts = _fixed(head, messages)
    if any(text for _, text in inner):
        part = _part(inner, tail + following)
        parts += part.forms[0] if part.kind == "forms" and len(part.forms) == 1 else (part,)
    return [*parts, *_fixed(tail, messages)]


def _fixed(text: str, messages: Sequence[str]) -> list[Part]:
    """The parts of a text that stands in every answer: its numbers may be values that all pairs happen to share."""
    parts = []
    for token in tokens_of(text):
        way = constant_of([(message, token) for message in messages]) if token.isdecimal() else None
        parts.append(Part("text", (token,)) if way is None else Part("computed", (token,), (way,)))
    return list(_joined(parts))


def _common(texts: Sequence[str]) -> str:
    """What all texts begin with, up to the end of a token."""
    rows = [tokens_of(text) for text in texts]
    shared = ""
    for tokens in zip(*rows, strict=False):
        if len(set(tokens)) > 1:
            break
        shared += tokens[0]
    return shared


def _part(column: Values, following: str) -> Part:
    """The narrowest part that all values of a field pass."""
    texts = [text for _, text in column]
    if not all(texts):
        filled = [(message, text) for message, text in column if text]
        if len(texts) - len(filled) < _TWICE or len(filled) < _TWICE:
            return _free(texts, following)
        part = _part(filled, following)
        if part.kind == "free":
            return _free(texts, following)
        inner = part.forms[0] if part.kind == "forms" and len(part.forms) == 1 else (part,)
        return _held(column, Part("forms", forms=(inner, ())))
    if found := _computed(column):
        return found
    if len(column) < _ENOUGH:
        return _proved(column, (_spelled_in_message,)) or _free(texts, following)
    if closed := _choice(column):
        return _decided(column, closed)
    if found := _prefixed(column) or _signed(column):
        return found
    tokens = [tokens_of(text) for text in texts]
    if peeled := _peeled(column, tokens, following):
        return peeled
    kinds = {_class(token) for one in tokens for token in one}
    if all(len(one) == 1 for one in tokens) and len(kinds) == 1:
        return _run(column, kinds.pop())
    taken = _proved(column, (_spelled_in_message, _spelled_in_any_capitals))
    return taken or _layouts(column) or _free(texts, following)


def _prefixed(column: Values) -> Part | None:
    """A long number that begins with the same digits in every pair, a country's for instance, the rest computed."""
    texts = [text for _, text in column]
    if not all(text.isdecimal() and len(text) >= _LONG_NUMBER for text in texts):
        return None
    for count in range(_LONGEST_PREFIX, 0, -1):
        if len({text[:count] for text in texts}) > 1:
            continue
        if (rest := _computed([(message, text[count:]) for message, text in column])) is not None:
            return Part("forms", forms=((Part("text", (texts[0][:count],)), rest),))
    return None


def _signed(column: Values) -> Part | None:
    """A field with a sign in front of some of its values, as in ``~20`` beside ``20``: a value, and whether it has one.

    A value that is the same wherever nothing is computed may have signs alone, such as ``--``.
    """
    for sign, _ in Counter(tokens_of(text)[0] for _, text in column).most_common():
        signed = sum(text.startswith(sign) and text != sign for _, text in column)
        if sign.isalnum() or sign.isspace() or signed < _TWICE or len(column) - signed < _TWICE:
            continue
        bare = [(message, text.removeprefix(sign) or text) for message, text in column]
        value = _computed(bare) or _proved(bare, (_spelled_in_message,))
        if value is None:
            continue
        has = [(message, sign if text.startswith(sign) and text != sign else "") for message, text in column]
        return Part("forms", forms=((_decided(has, Part("choice", ("", sign))), value),))
    return None


def _peeled(column: Values, tokens: Sequence[list[str]], following: str) -> Part | None:
    """A field of several tokens, the first or the last of which is computed."""
    if min(map(len, tokens)) < _TWICE:
        return None
    for last in (True, False):
        ends = [one[-1] if last else one[0] for one in tokens]
        if len({_class(end) for end in ends}) > 1:
            continue
        end = _computed([(message, text) for (message, _), text in zip(column, ends, strict=True)])
        if end is None:
            continue
        rest = [
            (message, "".join(one[:-1] if last else one[1:])) for (message, _), one in zip(column, tokens, strict=True)
        ]
        parts = _trimmed(rest, "" if last else following)
        return Part("forms", forms=((*parts, end) if last else (end, *parts),))
    return None


def _proved(column: Values, makers: Sequence[Callable[[Values], Part | None]]) -> Part | None:
    """The first part that also expects values it was not made from: each quarter of them from the other three."""
    for make in makers:
        part = make(column)
        if part is None:
            continue
        missed = 0
        for quarter in range(_QUARTERS):
            seen = [one for place, one in enumerate(column) if place % _QUARTERS != quarter]
            guess = make(seen) if seen else None
            unseen = [one for place, one in enumerate(column) if place % _QUARTERS == quarter]
            missed += sum(guess is None or not _stands(guess, *one) for one in unseen)
        if missed <= _MISSED * len(column):
            return part
    return None


def _stands(part: Part, message: str, text: str) -> bool:
    return AnswerTemplate((part,)).accepts(message, text)


def _computed(column: Values) -> Part | None:
    found = computed(column)
    return None if found is None else Part("computed", found.default, found.programs)


def _choice(column: Values) -> Part | None:
    """A closed set; where its values also stand in messages, another one of their kind may stand there too."""
    counts = Counter(text for _, text in column)
    if len(counts) > _MOST_CHOICES or min(counts.values()) < _TWICE or len(column) < _OFTEN * len(counts):
        return None
    ways = [way for way in _spellings(list(counts)) if 2 * sum(_spelled(way)(*one) for one in column) > len(column)]
    if len(counts) > 1 and ways:
        return Part(
            "taken", tuple(sorted(counts)), tuple(ways[:1]), tokens=max(len(tokens_of(text)) for text in counts)
        )
    return Part("choice", tuple(sorted(counts)))


def _decided(column: Values, closed: Part) -> Part:
    """A closed set, its values chosen by words of the message where these decide them."""
    cues = find_cues(column) if closed.kind == "choice" else None
    return closed if cues is None else Part("computed", closed.values, (str(cues),))


def _spellings(texts: Sequence[str]) -> list[str]:
    """Spellings in the order in which they explain such texts: one that makes all of them so comes first."""
    makes_so = [way for way in _CASES if all(SPELLINGS[way][0](text) == text for text in texts)]
    return [*makes_so, *(way for way in SPELLINGS if way not in makes_so and way != ANY_CAPITALS)]


def _spelled_in_message(column: Values) -> Part | None:
    return _taken(column, _spellings([text for _, text in column]), _spelled)


def _spelled_in_any_capitals(column: Values) -> Part | None:
    return _taken(column, [ANY_CAPITALS], _spelled)


def _written_from_message(column: Values) -> Part | None:
    return _taken(column, WAYS, _written)


def _spelled(way: str) -> Callable[[str, str], bool]:
    return lambda message, text: any(spelled_at(message, text, way))


def _written(way: str) -> Callable[[str, str], bool]:
    return lambda message, text: any(text == value for _, value in written(message, way))


def _taken(column: Values, ways: Sequence[str], has: Callable[[str], Callable[[str, str], bool]]) -> Part | None:
    """Values that the message holds, or that were seen twice."""
    left, used = list(column), []
    while left:
        found = {way: [one for one in left if has(way)(*one)] for way in ways}
        best = max(ways, key=lambda way: len(found[way]))
        if len(found[best]) < _TWICE:
            break
        used.append(best)
        left = [one for one in left if one not in found[best]]
    # What was seen once makes a part no surer, but it may be: a day as a word among days in digits.
    odd = [one for one in left if Counter(text for _, text in left)[one[1]] < _TWICE]
    if len(odd) <= _MISSED * len(column):
        for one in odd:
            if way := next((way for way in ways if has(way)(*one)), None):
                used.append(way)
                left.remove(one)
    others = Counter(text for _, text in left)
    if not used or len(column) - len(left) < len(column) / 2 or any(count < _TWICE for count in others.values()):
        return None
    used = list(dict.fromkeys(used))
    longest = max(len(tokens_of(text)) for _, text in column)
    return Part("taken", tuple(sorted(others)), tuple(used), 2 * longest if longest > 1 else 1)


def _layouts(column: Values) -> Part | None:
    """One of few sequences of runs and signs."""
    groups: dict[tuple[str, ...], list[tuple[str, list[str]]]] = {}
    for message, text in column:
        tokens = tokens_of(text)
        groups.setdefault(tuple(_class(token) for token in tokens), []).append((message, tokens))
    short = all(len(layout) <= _LONGEST_LAYOUT for layout in groups)
    once = sum(len(members) < _TWICE for members in groups.values())
    # Words in a row are prose, of which a layout that was seen once says nothing.
    expected = _SEEN_ONCE * len(column) if all("[0-9]" in layout for layout in groups) else 0
    if not short or len(groups) > _MOST_LAYOUTS or once > expected:
        return None
    pools: dict[tuple[str, ...], list[tuple[str, str]]] = {}
    for layout, members in groups.items():
        for place in range(len(layout)):
            for key in _pool_keys(layout, place):
                pools.setdefault(key, []).extend((message, tokens[place]) for message, tokens in members)
    forms = []
    for layout, members in groups.items():
        parts = []
        for place in range(len(layout)):
            own = [(message, tokens[place]) for message, tokens in members]
            part = _run(own, layout[place])
            if part.kind == "run":
                alike = [pools[key] for key in _pool_keys(layout, place)]
                pooled = (_computed(pool) or _proved(pool, (_written_from_message,)) for pool in alike)
                part = next((found for found in pooled if found is not None), part)
            parts.append(part)
        forms.append(_joined(parts))
    return _held(column, Part("forms", forms=tuple(sorted(forms, key=lambda form: -len(form)))))


def _held(column: Values, part: Part) -> Part:
    """One of several sequences, none of which is expected where the message has not the values of it.

    Only where that would have left out some in several pairs, and never the right one.
    """
    held = replace(part, held=True)
    fewer = sum(len(held.possible(message)) < len(part.forms) for message, _ in column)
    return held if fewer >= _FEWER * len(column) and all(_stands(held, *one) for one in column) else part


def _pool_keys(layout: Sequence[str], place: int) -> list[tuple[str, ...]]:
    """What a token of a layout is probably like in other layouts: those behind the same sign, those of its class."""
    if layout[place] not in CLASSES:
        return []
    before = layout[place - 1].strip() if place else ""
    return [(layout[place], before), (layout[place],)]


def _class(token: str) -> str:
    return next((one for one in CLASSES if re.fullmatch(f"{one}+", token)), token)


def _run(column: Values, kind: str) -> Part:
    """One token of a layout."""
    texts = [text for _, text in column]
    if kind not in CLASSES or (len(set(texts)) == 1 and len(texts) >= LEAST_PAIRS):
        return Part("text", (texts[0],))
    if part := _computed(column):
        return part
    if closed := _choice(column):
        return _decided(column, closed)
    if found := _proved(column, (_written_from_message, _spelled_in_message)):
        return found
    lengths = set(map(len, texts))
    return Part(
        "run", (kind,), least=min(lengths) if len(lengths) == 1 else 1, most=max(lengths) * min(2, len(lengths))
    )


def _free(texts: Sequence[str], following: str) -> Part:
    """Anything on one line, without the first sign behind the field that it never holds: it cannot run past that."""
    signs = [sign for sign in following.split("\n")[0] if not sign.isalnum()]
    ends = [sign for sign in signs if not any(sign in text for text in texts)]
    return Part("free", tuple(ends[:1]), least=int(all(texts)))


def _joined(parts: Sequence[Part]) -> tuple[Part, ...]:
    """Neighbouring texts as one."""
    joined: list[Part] = []
    for part in parts:
        if part.kind == "text" and joined and joined[-1].kind == "text":
            joined[-1] = Part("text", (joined[-1].values[0] + part.values[0],))
        else:
            joined.append(part)
    return tuple(joined)
