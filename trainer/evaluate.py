"""Measure memories: answers beside the untrained backbone and beside a prompt that holds the pairs.

Generators of progress, like training, so that chat gets its turn; the last thing they yield is the result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tokmem_desk.backbone.chat_format import Turn
from tokmem_desk.generation.batch import answer_messages_judged
from tokmem_desk.generation.confidence import SHIFT_SETTING, Signals, map_of, shift_of
from tokmem_desk.generation.recall import answer_batch
from tokmem_desk.generation.single import answer_single
from trainer.metrics import AnswerScores, exact_match, score_answers

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.memory.memory import Memory
    from tokmem_desk.procedures import ExamplePair, Procedure
    from tokmem_desk.templates.json_schema import OutputSchema

ROWS_AT_ONCE = 12
_PROMPT_PAIRS = 12
_LONGEST_FACTOR = 2
"""An answer may be this many times as long as the longest right one, and a little; beyond it only costs time."""


@dataclass(frozen=True, slots=True)
class Answered:
    """Answers to pairs, in order, their scores, and what is known of the being right of each.

    Attributes:
        signals: None for answers without a memory.
    """

    answers: list[str]
    scores: AnswerScores
    signals: list[Signals | None]


@dataclass(frozen=True, slots=True)
class PromptAnswered:
    """The same with demonstrations in the prompt; ``tokens`` is what they cost in each query."""

    answers: list[str]
    scores: AnswerScores
    tokens: int
    demonstrations: int


def answer_tokens(backbone: Backbone, pairs: Sequence[ExamplePair]) -> int:
    """Most tokens worth generating when measuring on these pairs."""
    return 8 + _LONGEST_FACTOR * max(len(backbone.format.response(p.response)) for p in pairs)


def answer_pairs(
    backbone: Backbone,
    pairs: Sequence[ExamplePair],
    memory: Memory | None,
    pattern: str | None,
    schema: OutputSchema | None = None,
) -> Iterator[float | Answered]:
    """Answer the inputs of pairs one by one, as the chat does; yields shares, then the result.

    Without a memory the untrained backbone answers, in batches. With a schema answers are held to it, as at recall.
    """
    if memory is None:
        yield from answer_pairs_in_batches(backbone, pairs, None, pattern, schema)
        return
    limit = answer_tokens(backbone, pairs)
    answers: list[str] = []
    signals: list[Signals | None] = []
    for pair in pairs:
        answer, known = answer_single(backbone, memory, pair.input, schema=schema, max_tokens=limit)
        answers.append(answer)
        signals.append(known)
        yield len(answers) / len(pairs)
    yield Answered(answers, score_answers(answers, pairs, pattern), signals)


def answer_pairs_in_batches(
    backbone: Backbone,
    pairs: Sequence[ExamplePair],
    memory: Memory | None,
    pattern: str | None,
    schema: OutputSchema | None = None,
) -> Iterator[float | Answered]:
    """The same in less time, for answers that nobody will look for in the chat; see ``generation.single``."""
    limit = answer_tokens(backbone, pairs)
    answers: list[str] = []
    signals: list[Signals | None] = []
    for start in range(0, len(pairs), ROWS_AT_ONCE):
        part = pairs[start : start + ROWS_AT_ONCE]
        messages = [p.input for p in part]
        schemas = [schema] * len(part)
        judged = answer_messages_judged(
            backbone, messages, [memory] * len(part), schemas=schemas, max_tokens=limit, rows_at_once=ROWS_AT_ONCE
        )
        answers += [text for text, _ in judged]
        signals += [known for _, known in judged]
        yield len(answers) / len(pairs)
    yield Answered(answers, score_answers(answers, pairs, pattern), signals)


def with_shift(memory: Memory, pairs: Sequence[ExamplePair], answered: Answered) -> Memory:
    """The memory, which knows from its answers to pairs that it did not learn how far to trust the next ones."""
    known = [
        (signals, exact_match(answer, pair.accepted) == 1)
        for signals, answer, pair in zip(answered.signals, answered.answers, pairs, strict=True)
        if signals is not None
    ]
    if not known:
        return memory
    odds = [map_of(signals).whole_odds(signals) for signals, _ in known]
    shift = shift_of(odds, [right for _, right in known], map_of(known[0][0]).spread)
    return replace(memory, settings={**memory.settings, SHIFT_SETTING: round(shift, 3)})


def demonstration_query(
    backbone: Backbone, procedure: Procedure, message: str, limit: int = _PROMPT_PAIRS
) -> tuple[list[int], int]:
    """A query with example pairs as earlier turns of the conversation; as many as fit half the context.

    Returns the token ids and the number of demonstrations.
    """
    count = min(limit, len(procedure.pairs))
    while True:
        turns: list[Turn] = []
        for pair in procedure.pairs[:count]:
            turns += [Turn("user", pair.input), Turn("assistant", pair.response)]
        ids = backbone.format.conversation([*turns, Turn("user", message)])
        if len(ids) <= backbone.context_length // 2 or count == 0:
            return ids, count
        count -= 1


def answer_from_prompt(
    backbone: Backbone, procedure: Procedure, pairs: Sequence[ExamplePair]
) -> Iterator[float | PromptAnswered]:
    """Answer with the procedure's pairs in the prompt: what a person would do without this program."""
    limit = answer_tokens(backbone, pairs)
    answers: list[str] = []
    tokens, shown = 0, 0
    for start in range(0, len(pairs), ROWS_AT_ONCE):
        part = pairs[start : start + ROWS_AT_ONCE]
        built = [demonstration_query(backbone, procedure, p.input) for p in part]
        shown = built[0][1]
        tokens = len(built[0][0]) - len(backbone.format.query(part[0].input))
        answers += answer_batch(backbone, [ids for ids, _ in built], [None] * len(part), max_tokens=limit)
        yield len(answers) / len(pairs)
    yield PromptAnswered(answers, score_answers(answers, pairs, procedure.pattern), tokens, shown)


def advice(
    procedure: Procedure, memory: AnswerScores, prompt: AnswerScores | None, routing_accuracy: float | None, span: int
) -> list[str]:
    """Plain sentences about what the figures mean and what would help."""
    sentences: list[str] = []
    if prompt is not None and prompt.rouge_l >= memory.rouge_l:
        sentences.append(
            "Pasting the pairs into the prompt answers at least as well as this memory "
            f"({prompt.rouge_l:.0%} alike against {memory.rouge_l:.0%})."
        )
    if memory.rouge_l < 0.6 or (prompt is not None and prompt.rouge_l >= memory.rouge_l):
        if len(procedure.pairs) < 24:
            sentences.append(f"More pairs would help most: there are {len(procedure.pairs)}, try 24.")
        else:
            sentences.append(f"Try the preset 'thorough', a longer memory (now {span} places), or a bigger model.")
    sentences += contradictions(procedure)
    if routing_accuracy is not None and routing_accuracy < 0.9:
        sentences.append("Some of its messages go elsewhere: add pairs that look like what you really type.")
    return sentences


def contradictions(procedure: Procedure) -> list[str]:
    """A sentence about the first two pairs that answer one input differently; none where no pairs do."""
    seen: dict[str, str] = {}
    for pair in procedure.pairs:
        known = seen.setdefault(pair.input.strip().lower(), pair.response.strip())
        if known != pair.response.strip():
            return [f"Two pairs answer the same input differently: {pair.input[:60]!r}. Keep one of them."]
    return []
