"""What stands in a conversation: a question, its answer with everything known about it, and how both are read and kept.

Reads what the store and the engine give; writes nothing, asks nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any, cast

from profiles.store.feedback import AnswerFeedback
from profiles.store.messages import MessageRecord, MessageStatus, Rating
from profiles.store.verdicts import REJECTED
from tokmem_desk.errors import BadInputError, did_you_mean
from tokmem_desk.generation.answer_segment import SEGMENT_BREAK, AnswerSegment, AnswerValue, all_right
from tokmem_desk.procedures import AUTO_ROUTE, NONE_ROUTE
from tokmem_desk.references.filled import FilledIn
from tui.engine_client.protocol import AskResult, Candidate, Context, Message, Timing

_PREFIX = re.compile(r"@(\S*)(?:\s+|$)")


WITHOUT_HISTORY = "answered without the history: it was repeating an earlier answer"

LEAST_SECONDS = 0.1
"""Least time of writing that a speed is told of: times are shown in tenths of a second, and less is noise."""

ENDINGS = {"length": "cut at its greatest length", "repeats": "ended: it was repeating itself"}
"""Why an answer that nobody stopped is not whole, in words."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """A doubtful value of an answer, and the segment it stands in."""

    segment: AnswerSegment
    value: AnswerValue


@dataclass(slots=True)
class Answer:
    """What came back; grows while it streams."""

    text: str = ""
    route: str | None = None
    probability: float | None = None
    candidates: Sequence[Candidate] = ()
    forced: bool = False
    between: tuple[str, str] | None = None
    """The two routes that the message lies between, the taken one first, until the person has chosen."""
    guest: bool = False
    """Its procedure came with somebody else's bank, and nobody has accepted it yet."""
    timing: Timing | None = None
    status: MessageStatus = "complete"
    cut: str = ""
    """Why the answer ended before its end: a key of ``ENDINGS``."""
    without_history: bool = False
    """It was about to repeat an earlier answer, and was begun anew without the conversation."""
    message_id: int | None = None
    correction_id: int | None = None
    corrected_from: str | None = None
    """The route that the person called wrong."""
    span: int = 0
    """What the memory took of the context, in tokens."""
    context: Context | None = None
    rating: Rating | None = None
    pair_id: int | None = None
    pair_procedure: str | None = None
    """Of the example pair that was made of it."""
    original: str | None = None
    """What the model said, where the person has written something else."""
    segments: list[AnswerSegment] = field(default_factory=list)
    """One for each request of the message; ``route`` and its like on top are those of the first."""

    plans: list[dict[str, Any]] = field(default_factory=list)
    """The plans that were done for it, each as ``tui.shared.plan_runs`` tells of a run."""

    rejected: list[list[str]] = field(default_factory=list)
    """Answers that a procedure gave before and the person had replaced: route and text of each."""

    chosen_from: list[AnswerSegment] | None = None
    """The segments as the model gave them, where the person has put other values in."""

    @property
    def sure(self) -> float | None:
        """The probability that the whole answer is right; None where a part does not say so of itself."""
        return all_right(self.segments)

    @property
    def doubts(self) -> list[Doubt]:
        """The values that a person should look at, in their order; none in an answer that a person has written."""
        if self.original is not None or self.status != "complete" or self.plans:  # a plan went on with its values
            return []
        # What a further step of a chain went on with is past mending: that step says how sure it is.
        last = [
            segment
            for segment, after in zip_longest(self.segments, self.segments[1:])
            if after is None or not after.follows
        ]
        return [Doubt(segment, value) for segment in last for value in segment.doubtful_values]

    @property
    def filled(self) -> list[FilledIn]:
        """What was put in the place of words of the message."""
        return [one for segment in self.segments for one in segment.filled]

    @property
    def has_parts(self) -> bool:
        """True when the answer is to be shown in parts: it has several, and nobody has written another one."""
        return len(self.segments) > 1 and self.original is None

    calling: bool = False
    """True while the arguments of a call are being written."""

    @property
    def has_calls(self) -> bool:
        """True when the answer is to be shown as calls or with what came of running a command, not as text alone."""
        return any(segment.arguments is not None or segment.problem or segment.run for segment in self.segments)

    @property
    def tokens_per_second(self) -> float | None:
        """Speed after the first token; None where it cannot be told, as of an answer that was copied in no time."""
        if self.timing is None or self.timing["tokens"] < 2:
            return None
        seconds = self.timing["total"] - self.timing["first_token"]
        return (self.timing["tokens"] - 1) / seconds if seconds >= LEAST_SECONDS else None

    def rejected_when_replaced(self, again: bool) -> list[list[str]]:
        """What ``rejected`` is of the answer that takes the place of this one.

        Args:
            again: another answer is wanted, by the same route.
        """
        asked_again = again and self.status == "complete" and self.route not in (None, NONE_ROUTE)
        if not asked_again or len(self.segments) > 1 or self.plans or not self.text.strip():
            return self.rejected
        return [*self.rejected, [str(self.route), self.text]]

    @property
    def taught(self) -> bool:
        """True when something came of it that can be taken back, or was filled in."""
        given = (self.corrected_from, self.pair_id, self.rating, self.chosen_from)
        return any(one is not None for one in given) or bool(self.filled)


@dataclass(slots=True, eq=False, weakref_slot=True)
class Turn:
    """A question and its answer. The same words said twice are two turns."""

    question: str
    route: str = AUTO_ROUTE
    """``auto``, or the route that the person asked for."""
    question_id: int | None = None
    answer: Answer = field(default_factory=Answer)
    lost: bool = False
    """The program ended before the answer came, or in the middle of it; nothing is on its way."""
    fills_in: bool = True
    """Whether what words of the question refer to is put in their place; false once the person took it back."""

    @property
    def message(self) -> str:
        """The question as it was answered: with what its words refer to, where it is a single request."""
        segments = self.answer.segments
        return segments[0].part if len(segments) == 1 and segments[0].filled else self.question


def split_route(text: str, names: Iterable[str]) -> tuple[str, str]:
    """Split ``@name message`` into route and message; without a prefix the route is ``auto``.

    Raises:
        BadInputError: there is no procedure of that name, or no message behind it.
    """
    found = _PREFIX.match(text)
    if found is None:
        return AUTO_ROUTE, text
    name, message = found.group(1), text[found.end() :].strip()
    known = [*names, NONE_ROUTE]
    if name not in known:
        raise BadInputError(
            f"There is no procedure {name!r}.{did_you_mean(name, known)}",
            next_step="Put a space before the @ to send it as it is.",
        )
    if not message:
        raise BadInputError(f"There is no message behind @{name}.")
    return name, message


def is_shown(turn: Turn) -> bool:
    """Whether the model sees a turn later on. Nobody said a failed answer, and a bad one is not to be gone on with."""
    return bool(turn.answer.text) and turn.answer.status != "failed" and turn.answer.rating != "bad"


def take_event(answer: Answer, event: Message) -> None:
    """Bring an answer up to date with one event."""
    match event["event"]:
        case "route":
            if event.get("segment", 0) == 0:
                answer.segments = []
                answer.route, answer.probability = event["route"], event["probability"]
                answer.candidates, answer.forced = event["candidates"], bool(event.get("forced"))
                answer.guest = bool(event.get("guest"))
                answer.between = None
            answer.segments.append(
                AnswerSegment(
                    event["route"],
                    event["probability"],
                    event.get("part", ""),
                    follows=event.get("follows", ""),
                    typed=event.get("typed", ""),
                    filled=[one for one in map(FilledIn.from_dict, event.get("filled", ())) if one is not None],
                    place=event.get("place", "0" if event.get("plan") else ""),
                )
            )
            answer.calling = bool(event.get("call"))
        case "token":
            answer.text += event["text"]
            if answer.segments:
                answer.segments[-1].response += event["text"]
        case "done":
            result = cast(AskResult, event["result"])
            answer.text, answer.timing = result["response"], result["timing"]
            answer.route, answer.probability = result["route"], result["probability"]
            answer.candidates = result["candidates"]
            if "ambiguous" in result and answer.correction_id is None:
                answer.between = (result["ambiguous"][0], result["ambiguous"][1])
            answer.status = "stopped" if result["stopped"] == "cancelled" else "complete"
            answer.cut = result["stopped"] if result["stopped"] in ENDINGS else ""
            answer.span, answer.context = result["span"], result["context"]
            answer.without_history = bool(result.get("without_history"))
            answer.segments = [AnswerSegment.from_dict(fields) for fields in result["segments"]]
            answer.plans = [dict(plan) for plan in event["result"].get("plans", ())]
            answer.calling = False


def settle(answer: Answer, doubt: Doubt, text: str) -> None:
    """Put a text in the place of a doubtful value, which is doubtful no more.

    The text of the answer, the values behind it, and the arguments of a call follow.

    Args:
        doubt: of this answer.
        text: what stands there from now on; the same text keeps it.
    """
    if answer.chosen_from is None:
        answer.chosen_from = answer.segments
    segments = []
    for segment in answer.segments:
        if segment is not doubt.segment:
            segments.append(segment)
            continue
        more = len(text) - (doubt.value.end - doubt.value.start)
        response = segment.response[: doubt.value.start] + text + segment.response[doubt.value.end :]
        values = [
            replace(value, end=value.end + more, text=text, probability=1.0, others=())
            if value is doubt.value
            else replace(value, start=value.start + more, end=value.end + more)
            if value.start >= doubt.value.end
            else value
            for value in segment.values
        ]
        arguments = segment.arguments
        if arguments is not None:
            with suppress(ValueError):
                arguments = json.loads(response)
        # What the person has looked at is as right as the rest of it.
        probability = None if segment.answer_probability is None else min(value.probability for value in values)
        segments.append(
            replace(segment, response=response, values=values, arguments=arguments, answer_probability=probability)
        )
    answer.segments = segments
    answer.text = SEGMENT_BREAK.join(segment.response for segment in segments)


def unsettle(answer: Answer) -> None:
    """The answer as the model gave it."""
    if answer.chosen_from is not None:
        answer.segments, answer.chosen_from = answer.chosen_from, None
        answer.text = SEGMENT_BREAK.join(segment.response for segment in answer.segments)


def turns_of(records: Sequence[MessageRecord], feedback: Mapping[int, AnswerFeedback]) -> list[Turn]:
    """Stored messages as turns. A question without an answer keeps an empty, failed one."""
    turns: list[Turn] = []
    for record in records:
        details = record.details or {}
        if record.role == "user":
            route = str(details.get("route") or AUTO_ROUTE)
            turns.append(Turn(record.content, route, record.id, Answer(status="failed"), lost=True))
        elif turns:
            given = feedback.get(record.id, AnswerFeedback())
            turns[-1].answer = Answer(
                text=record.content,
                route=record.route,
                probability=record.probability,
                candidates=cast(Sequence[Candidate], record.candidates or ()),
                forced=bool(details.get("forced")),
                timing=cast(Timing | None, record.timing),
                status=record.status,
                # Older ones are kept with a bare yes.
                cut="length" if details.get("cut") is True else details.get("cut") or "",
                without_history=bool(details.get("without_history")),
                message_id=record.id,
                correction_id=given.correction_id,
                corrected_from=given.wrong_route,
                span=int(details.get("span") or 0),
                context=cast(Context | None, details.get("context")),
                rating=record.rating,
                pair_id=given.pair_id,
                pair_procedure=given.pair_procedure,
                original=details.get("original"),
                segments=_stored_segments(details),
                plans=[dict(plan) for plan in details.get("plans") or ()],
                rejected=[list(map(str, one)) for one in details.get(REJECTED) or ()],
            )
            turns[-1].lost = record.status == "failed"
    return turns


def kept_segments(answer: Answer) -> list[dict[str, Any]] | None:
    """The segments as they are stored: None where they say no more than the text and its route."""
    says_more = (
        answer.has_calls
        or answer.plans
        or any(segment.answer_probability is not None or segment.filled for segment in answer.segments)
    )
    if not says_more or answer.original is not None:
        return None
    return [segment.as_dict() for segment in answer.segments]


def said_parts(answer: Answer) -> list[list[str]]:
    """The requests of a message as they were read, each with what was answered; empty where the turn says as much."""
    if answer.original is not None or not any(segment.filled for segment in answer.segments):
        return []
    return [[segment.part, segment.response] for segment in answer.segments]


def kept_parts(answer: Answer) -> list[dict[str, Any]] | None:
    """What is stored of the segments of an answer that is shown in parts; None for any other."""
    if not answer.has_parts:
        return None
    return [
        {
            "route": s.route,
            "probability": s.probability,
            "text": s.response,
            **({"follows": s.follows} if s.follows else {}),
        }
        for s in answer.segments
    ]


def _stored_segments(details: Mapping[str, Any]) -> list[AnswerSegment]:
    """The segments of a stored answer: whole where it has calls, else route and text of each part."""
    if details.get("segments"):
        return [AnswerSegment.from_dict(fields) for fields in details["segments"]]
    return [AnswerSegment.from_dict({**part, "response": part.get("text", "")}) for part in details.get("parts") or ()]


def records_of(turn: Turn) -> list[MessageRecord]:
    """A turn of a conversation that is kept nowhere, as messages."""
    answer = turn.answer
    asked = {} if turn.route == AUTO_ROUTE else {"route": turn.route}
    details = {"span": answer.span, "original": answer.original, "segments": kept_segments(answer)}
    candidates = tuple(dict(one) for one in answer.candidates)
    return [
        MessageRecord(0, 0, "user", turn.question, "complete", "", None, None, None, None, asked),
        MessageRecord(
            0, 0, "assistant", answer.text, answer.status, "", answer.route, answer.probability, candidates,
            cast(dict[str, Any] | None, answer.timing), details, answer.rating,
        ),
    ]  # fmt: skip
