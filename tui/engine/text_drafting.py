"""The ``draft_from_text`` request: pairs for a procedure of which there is only a text that says what to do.

The model first writes messages that somebody could send, then answers each with the text as its system prompt. What is
of no use is counted and not sent. Nothing is stored; the person decides.
"""

from __future__ import annotations

import difflib
import random
import re
from collections import Counter
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Literal

from profiles.store.pair_rules import pair_fault
from tokmem_desk.backbone.chat_format import Turn
from tokmem_desk.errors import ContextLengthError, UsageError
from tokmem_desk.generation.continuation import next_line
from tokmem_desk.generation.decoding import Chooser, Sampling, step
from tokmem_desk.procedures import ExamplePair
from tokmem_desk.templates.json_schema import OutputSchema, read_schema
from tui.engine.drafting import ATTEMPTS_PER_DRAFT, MOST_DRAFTS

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tui.engine.request import Request

Refusal = Literal["double", "empty", "long", "repeats", "form"]
"""Why a draft was not sent: it was there before, has no text, does not end in time or fit, says the input or the
instructions again, or has not the form that the schema asks for."""

ANSWER_TOKENS = 256
"""Longest drafted answer; a quarter of a small context."""

SHOWN_LINES = 8
_ALIKE = 0.9
_TEMPERATURE = 0.9
_TOP_P = 0.95
_MARKS = re.compile(r"^\s*(?:[-*•–]|\(?\d{1,3}[.):]|(?:message|user|input)\s*\d*:)\s*", re.IGNORECASE)
_QUOTES = {'"': '"', "“": "”", "«": "»", "'": "'"}
_REQUEST = (
    "An assistant has these instructions:\n\n{text}\n\n"
    "Write messages that people send to this assistant, one on each line: each a whole example of what it is given, "
    "with all details. No answers."
)


def draft_from_text(request: Request, backbone: Backbone) -> Iterator[None]:
    """Send ``draft`` events with ``input``, ``response`` and ``fits``; ends with ``done``.

    Raises:
        UsageError: ``count`` is no number of drafts.
        ContextLengthError: the instructions leave no room for a message and its answer.
    """
    text, count = request.text("text"), request.fields.get("count", 8)
    if not isinstance(count, int) or not 1 <= count <= MOST_DRAFTS:
        raise UsageError(f"{count} is no number of drafts.", next_step=f"Ask for 1 to {MOST_DRAFTS}.")
    schema = request.fields.get("schema")
    answers = _Answers(backbone, text, None if schema is None else read_schema(str(schema)))
    chance = random.Random(request.fields.get("seed"))
    lines = [str(line) for line in request.fields.get("known") or ()]
    refused: Counter[Refusal] = Counter()
    known = {_plain(line) for line in lines}
    made = attempts = 0
    while made < count and attempts < count * ATTEMPTS_PER_DRAFT and not request.cancelled.is_set():
        attempts += 1
        message = yield from _message(backbone, text, lines, chance, request)
        if request.cancelled.is_set():
            break
        fault = _message_fault(message, text, known)
        response = ""
        if fault is None:
            known.add(_plain(message))
            fault, response = yield from answers.to(message, request)
        if request.cancelled.is_set():
            break
        if fault is not None:
            refused[fault] += 1
            yield
            continue
        made += 1
        lines.append(message)
        request.emit("draft", input=message, response=response, fits=None if answers.schema is None else True)
        yield
    result = {"drafted": made, "attempts": attempts, "refused": dict(refused), "cancelled": request.cancelled.is_set()}
    request.emit("done", result=result)


def _message(
    backbone: Backbone, text: str, lines: list[str], chance: random.Random, request: Request
) -> Generator[None, None, str]:
    """One more message; empty where none came."""
    shown = chance.sample(lines, min(SHOWN_LINES, len(lines)))
    sampling = Sampling(_TEMPERATURE, _TOP_P, chance.randrange(2**31))
    written = ""
    for done in next_line(
        backbone,
        shown,
        sampling,
        request=_REQUEST.format(text=text),
        may_end=True,
        cancelled=request.cancelled.is_set,
    ):
        if done is not None:
            written = done
        yield
    return plain_line(written)


def plain_line(line: str) -> str:
    """A line without the mark of a list before it and quotes around it."""
    line = _MARKS.sub("", line).strip()
    if len(line) > 1 and _QUOTES.get(line[0]) == line[-1] and line[0] not in line[1:-1]:
        line = line[1:-1].strip()
    return line


def _message_fault(message: str, text: str, known: set[str]) -> Refusal | None:
    """Why a message is of no use. One that ends in a colon announces others."""
    if not message or message.endswith(":"):
        return "empty"
    if _plain(message) in known:
        return "double"
    return (
        "repeats"
        if goes_in_circles(message) or any(alike(message, line) for line in (_REQUEST, *text.split("\n")))
        else None
    )


class _Answers:
    """Answers under the instructions.

    Args:
        text: the instructions.
        schema: what answers must fit.
    """

    def __init__(self, backbone: Backbone, text: str, schema: OutputSchema | None) -> None:
        self._backbone, self._text, self.schema = backbone, text, schema
        self._seen: Counter[str] = Counter()
        self._limit = min(ANSWER_TOKENS, backbone.context_length // 4)
        # Behind the instructions stand messages, and at another time a message and its answer.
        backbone.check_length(len(backbone.format.query(_REQUEST.format(text=text))), 2 * self._limit)

    def to(self, message: str, request: Request) -> Generator[None, None, tuple[Refusal | None, str]]:
        """Yields after each token; returns why the answer is of no use, and the answer."""
        backbone = self._backbone
        ids = backbone.format.conversation([Turn("system", self._text), Turn("user", message)])
        try:
            backbone.check_length(len(ids), self._limit)
        except ContextLengthError:
            return "long", ""
        prefilled = backbone.prefill([ids])
        batch, logits = backbone.layout.join(prefilled.states, [None]), backbone.logits(prefilled.last_hidden)[0]
        chooser = Chooser(Sampling(), greedy=True)
        written: list[int] = []
        while (token := chooser.pick(logits)) not in backbone.format.stop_ids:
            written.append(token)
            if len(written) >= self._limit or request.cancelled.is_set():
                return "long", ""
            yield
            logits = step(backbone, batch, token)
        response = backbone.format.decode(written).strip()
        return self._fault(message, response), response

    def _fault(self, message: str, response: str) -> Refusal | None:
        if pair_fault(ExamplePair(message, response)) is not None:
            return "empty"
        if alike(message, response) or alike(self._text, response) or goes_in_circles(response):
            return "repeats"
        if self.schema is not None:
            return None if self.schema.fault(response) is None else "form"
        # A long answer that comes again says nothing about its message; a short one may be a class.
        self._seen[_plain(response)] += 1
        return "double" if len(response) > 80 and self._seen[_plain(response)] > 1 else None


def alike(one: str, other: str) -> bool:
    """Whether two texts say the same words but for a few letters."""
    one, other = _plain(one), _plain(other)
    if one == other:
        return True
    matcher = difflib.SequenceMatcher(None, one[:2000], other[:2000], autojunk=False)
    return min(len(one), len(other)) > 12 and matcher.quick_ratio() > _ALIKE and matcher.ratio() > _ALIKE


def goes_in_circles(text: str) -> bool:
    """Whether most of a text is made of three words that come three times or more, as small models write."""
    words = _plain(text).split()
    threes = Counter(zip(words, words[1:], words[2:], strict=False))
    repeated = sum(count for count in threes.values() if count > 2)
    return 2 * repeated >= max(len(threes), 1)


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[^\w\s]", " ", text.lower()).split()) or text.strip()
