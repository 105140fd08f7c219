"""What goes over the pipe between a client and the engine: one JSON object a line.

A request is ``{"id", "op", ...}``; every answer to it is ``{"id", "event", ...}``, and the last one is ``done`` or
``error``. The classes below name the fields for readers and for the type checker; on the pipe they are plain
objects. Knows no process, no model and no screen.
"""

from __future__ import annotations

import json
from typing import Any, Literal, NotRequired, TypedDict

from tokmem_desk.errors import EngineError

Message = dict[str, Any]
"""A request or an event as it stands on the pipe."""

CancelHow = Literal["keep", "pause", "drop"]
"""What a cancelled training leaves: the best so far, a checkpoint to go on from, or nothing."""

HUB_GONE = 69
"""Exit code of a relay that finds no hub (EX_UNAVAILABLE of sysexits.h)."""

LINE_LIMIT = 64 * 1024 * 1024
"""Longest line in bytes; a conversation or a confusion table is far below it."""


class Candidate(TypedDict):
    """One route and its probability."""

    route: str
    probability: float


class Timing(TypedDict):
    """Seconds since the request, and the number of tokens answered."""

    prefill: float
    route: float
    first_token: float
    total: float
    tokens: int


class Context(TypedDict):
    """How full the model's context was, in tokens, and how many of the conversation's oldest messages did not fit."""

    tokens: int
    length: int
    messages_cut: int


class AskResult(TypedDict):
    """The result of ``ask``; ``candidates`` best first, ``none`` among them; ``route`` is that of the first segment.

    ``span`` is what the memory took of the context, in tokens; 0 in plain chat.
    """

    route: str
    probability: float
    candidates: list[Candidate]
    ambiguous: NotRequired[list[str]]
    """The two routes that the message lies between, the taken one first; where the choice is not clear."""
    response: str
    timing: Timing
    segments: list[Message]
    """Each as ``tokmem_desk.generation.answer_segment.AnswerSegment`` reads and writes it."""
    stopped: Literal["end", "length", "repeats", "cancelled"]
    span: int
    context: Context
    prompt_tokens: int
    """Positions before the first token of the answer, those of a memory included."""
    answer_probability: NotRequired[float]
    """That the whole response is right to the letter; where every segment says so of itself."""
    without_history: NotRequired[bool]
    """True where plain chat was about to repeat an earlier answer, and was answered without the conversation."""
    tokens: NotRequired[list[Message]]
    """Of the response, each as ``tokmem_desk.generation.token_log.LoggedToken``; where they were asked for and all
    of it was generated."""


class BackboneInfo(TypedDict):
    """The result of ``load``."""

    id: str
    fingerprint: str
    family: str
    device: str
    dtype: str
    reason: str
    parameters: int
    licence: str
    span_default: int
    router: str
    """Digest of the router's configuration."""
    prior: str | None
    """Digest of what new memories start from; None where their own pairs are all there is."""
    identity: dict[str, Any]
    """The backbone's whole fingerprint."""
    form: NotRequired[Literal["layers", "rows"]]
    """What memories of this model are: keys and values in every layer and a row, or rows alone."""
    memories: NotRequired[str]
    """The same for people, with the reason where it is not the first."""
    recomputes: NotRequired[bool]
    """True where every message runs from its beginning, because the model's cache cannot be cut."""


class TrainSample(TypedDict):
    """A held-out pair and what the memory makes of it so far."""

    input: str
    expected: str
    got: str


class Scores(TypedDict):
    """How right the answers are, both 0 to 1."""

    exact_match: float
    rouge_l: float


class PromptScores(Scores):
    """The demonstrations in the prompt instead of a memory; ``tokens`` is what they cost in each query."""

    tokens: int


class RoutedScores(Scores):
    """Answers given the right route, and how often that route is found."""

    routing_accuracy: float
    false_trigger_rate: float


class PreviousScores(RoutedScores):
    """The memory that answered so far, on ``held_out`` pairs that neither it nor the new one learned; ``now`` is the
    new one on the same pairs.
    """

    version: int
    held_out: int
    held_out_known: NotRequired[bool]
    """False for a memory from before it was kept what it learned: it may have learned some of the pairs."""
    now: RoutedScores


class ElsewhereScores(Scores):
    """The active memory of another backbone, measured on the same ``held_out`` pairs when it was trained."""

    backbone: str
    version: int
    held_out: int


class Confusion(TypedDict):
    """``counts[i][j]``: queries of ``labels[i]`` that were routed to ``labels[j]``."""

    labels: list[str]
    counts: list[list[int]]


class ScoreSample(TypedDict):
    """A held-out pair answered by the memory and by the untrained backbone."""

    input: str
    expected: str
    got: str
    base: str


class MetVerdicts(TypedDict):
    """How many of the held-out verdicts answers meet, and how near they come to what was wanted, 0 to 1."""

    right: float
    alike: float


class VerdictScores(TypedDict):
    """What became of verdicts: ``before`` and ``now`` are on ``held_out`` of them, which took no part until then."""

    learned: int
    held_out: int
    before: MetVerdicts
    now: MetVerdicts


class Scorecard(TypedDict, total=False):
    """What a training achieved, on pairs it did not train on.

    A training that was stopped is not measured: then only ``seconds``, ``steps`` and ``advice`` are there. One with too
    few pairs to hold any out has ``held_out`` 0 and source ``none``, says what it does to ordinary chat, and nothing of
    its answers: no ``exact_match``, ``rouge_l``, ``base`` or ``samples``.
    """

    pairs: int
    held_out: int
    held_out_source: Literal["test", "split", "none"]
    routing_accuracy: float
    false_trigger_rate: float
    exact_match: float
    rouge_l: float
    form_valid: float | None
    base: Scores
    before: PreviousScores | None
    elsewhere: ElsewhereScores
    """Only for the first memory on this backbone, where there is one to compare with on another."""
    prompt: PromptScores | None
    confusion: Confusion
    samples: list[ScoreSample]
    faults: dict[str, int]
    """How many answers are wrong in which way, see ``tui.kit.verdict.FAULTS``; older scorecards have none."""
    advice: list[str]
    seconds: float
    """Of learning."""
    measuring_seconds: float
    """Of measuring; older scorecards have none."""
    verdicts: VerdictScores
    """Only of a memory that was improved from verdicts on answers."""
    span: int
    steps: int


class Trained(TypedDict):
    """One procedure of a finished training; the memory is a candidate in the store."""

    name: str
    memory_id: str
    scorecard: Scorecard


class TrainResult(TypedDict):
    """The result of ``train``; ``trained`` is empty where it was paused or dropped."""

    cancelled: bool
    trained: list[Trained]


class Going(TypedDict):
    """Pairs of a procedure that would go to another one; ``pairs`` are their places among its train pairs."""

    name: str
    count: int
    pairs: list[int]


class Coming(TypedDict):
    """Pairs of another procedure, ``of`` that were looked at, that would come to this one."""

    name: str
    count: int
    of: int


# "from" is a word of the language, so this one is written as a call.
Overlap = TypedDict(
    "Overlap",
    {
        "name": str,
        "pairs": int,
        "own": int,
        "none": int,
        "none_pairs": list[int],
        "to": list[Going],
        "from": list[Coming],
    },
)
"""The result of ``overlap``: of ``pairs`` looked at, how many stay, how many are taken for chat, where others go."""


class Taken(TypedDict):
    """Of ``of`` messages those that go to a procedure without a threshold: their probabilities, highest first."""

    of: int
    taken: list[float]


class TakenFrom(Taken):
    """The same for the pairs of another procedure."""

    name: str


class Effect(TypedDict):
    """The result of ``effect``, from which the effect of any threshold can be counted."""

    name: str
    threshold: float | None
    measured_on: Literal["held_out", "left_out"]
    own: Taken
    others: list[TakenFrom]
    chat: Taken


def cancel_how(message: Message) -> CancelHow:
    """What a ``cancel`` asks for; anything unknown keeps what there is."""
    match message.get("how"):
        case "pause":
            return "pause"
        case "drop":
            return "drop"
        case _:
            return "keep"


def encode(message: Message) -> bytes:
    """One line, newline included. Text may hold anything but halves of surrogate pairs, which become ``?``."""
    text = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace") + b"\n"


def decode(line: bytes) -> Message:
    """Read one line.

    Raises:
        EngineError: it is no JSON object.
    """
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as caught:  # RecursionError: thousands of brackets within one another
        raise EngineError(f"The engine sent a line that is not JSON: {line[:80]!r}") from caught
    if not isinstance(message, dict):
        raise EngineError(f"The engine sent a line that is not an object: {line[:80]!r}")
    return message


def whole_number(message: Message, name: str) -> int:
    """A field that numbers a request.

    Raises:
        EngineError: it is missing, or no whole number.
    """
    value = message.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise EngineError(f"The field {name!r} of a request must be a whole number, not {str(value)[:80]!r}.")
    return value


def operation_name(message: Message) -> str:
    """What a request asks for.

    Raises:
        EngineError: it does not say so in a text.
    """
    value = message.get("op")
    if not isinstance(value, str):
        raise EngineError(f"The field 'op' of a request must be a text, not {str(value)[:80]!r}.")
    return value
