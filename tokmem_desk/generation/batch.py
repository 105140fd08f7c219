"""Answer many messages in one batch, each under its own memory: for evaluation, drafts and benchmarks.

Uses the stored weights throughout. The caller has chosen the routes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from tokmem_desk.errors import GenerationError
from tokmem_desk.generation.beam import WIDTH, BeamSearch, search_width
from tokmem_desk.generation.confidence import Signals, copied_signals, generated_signals
from tokmem_desk.generation.constrained import constraint_of, reads_tokens
from tokmem_desk.generation.decoding import PROCEDURE_TOKENS
from tokmem_desk.generation.extraction import can_extract, extract
from tokmem_desk.generation.trace import NO_TRACE, Trace, trace_of
from tokmem_desk.memory.steering import join_memories
from tokmem_desk.templates.answer_values import value_places

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.memory.memory import Memory
    from tokmem_desk.templates.json_schema import OutputSchema


def answer_messages(
    backbone: Backbone,
    messages: Sequence[str],
    memories: Sequence[Memory | None],
    *,
    max_tokens: int,
    rows_at_once: int,
    schemas: Sequence[OutputSchema | None] = (),
) -> list[str]:
    """Answers to messages, each under its own memory: read where it has an extractor, else see ``answer_batch``."""
    answers = answer_messages_judged(
        backbone, messages, memories, max_tokens=max_tokens, rows_at_once=rows_at_once, schemas=schemas
    )
    return [text for text, _ in answers]


def answer_messages_judged(
    backbone: Backbone,
    messages: Sequence[str],
    memories: Sequence[Memory | None],
    *,
    max_tokens: int,
    rows_at_once: int,
    schemas: Sequence[OutputSchema | None] = (),
) -> list[tuple[str, Signals | None]]:
    """The same answers, each with what is known of its being right; None without a memory."""
    answers: list[tuple[str, Signals | None]] = [("", None)] * len(messages)
    reading = [i for i, memory in enumerate(memories) if memory is not None and can_extract(backbone, memory)]
    copied: set[int] = set()
    for start in range(0, len(reading), rows_at_once):
        rows = reading[start : start + rows_at_once]
        space = backbone.token_space
        assert space is not None
        done = backbone.prefill(
            [backbone.format.query(messages[i]) for i in rows], keep_states=False, token_space=space
        )
        for place, i in enumerate(rows):
            memory = memories[i]
            assert memory is not None
            schema = schemas[i] if schemas else None
            response = extract(backbone, memory, messages[i], done.row(place), limit=max_tokens, schema=schema)
            if response is not None:
                places = value_places(None, messages[i], response.text)
                answers[i] = (response.text, copied_signals(response.logs, response.others, places))
                copied.add(i)
    others = [i for i in range(len(messages)) if i not in copied]
    queries = [backbone.format.query(messages[i]) for i in others]
    traces = answer_batch_traced(
        backbone,
        queries,
        [memories[i] for i in others],
        schemas=[schemas[i] for i in others] if schemas else (),
        texts=[messages[i] for i in others],
        max_tokens=max_tokens,
        rows_at_once=rows_at_once,
    )
    for i, trace in zip(others, traces, strict=True):
        memory = memories[i]
        held = memory is not None and not (schemas and schemas[i] is not None)
        signals = None if memory is None else batch_signals(backbone, memory if held else None, messages[i], trace)
        answers[i] = (trace.text, signals)
    return answers


def batch_signals(backbone: Backbone, memory: Memory | None, message: str, trace: Trace) -> Signals:
    """What is known of the being right of an answer that ``answer_batch_traced`` gave.

    Args:
        memory: whose form held the answer; None where none did.
    """
    places = value_places(None if memory is None else memory.answer_template, message, trace.text)
    return generated_signals(trace, places, backbone.format.decode)


@torch.no_grad()
def answer_batch(
    backbone: Backbone,
    messages: Sequence[Sequence[int]],
    memories: Sequence[Memory | None],
    *,
    schemas: Sequence[OutputSchema | None] = (),
    texts: Sequence[str] = (),
    max_tokens: int = PROCEDURE_TOKENS,
    rows_at_once: int = 16,
    between: Callable[[], None] = lambda: None,
    width: int = WIDTH,
) -> list[str]:
    """Answers to many queries, each under its own memory (None: the untrained backbone).

    Decodes greedily; by beam search where a template holds the answer, as in ``segment``.

    The arguments are those of ``answer_batch_traced``.
    """
    traces = answer_batch_traced(
        backbone,
        messages,
        memories,
        schemas=schemas,
        texts=texts,
        max_tokens=max_tokens,
        rows_at_once=rows_at_once,
        between=between,
        width=width,
    )
    return [trace.text for trace in traces]


@torch.no_grad()
def answer_batch_traced(
    backbone: Backbone,
    messages: Sequence[Sequence[int]],
    memories: Sequence[Memory | None],
    *,
    schemas: Sequence[OutputSchema | None] = (),
    texts: Sequence[str] = (),
    max_tokens: int = PROCEDURE_TOKENS,
    rows_at_once: int = 16,
    between: Callable[[], None] = lambda: None,
    width: int = WIDTH,
) -> list[Trace]:
    """Answers to many queries as ``answer_batch`` gives them, with how sure the model was of each token.

    For evaluation: stored weights throughout, several queries in a batch.

    Args:
        messages: token ids of each query.
        memories: one per query; a batch may mix them.
        schemas: one per query where answers must fit one; none of them when empty.
        texts: the message of each query, which answers under a memory with a form are held to; free when empty.
        between: called after every token, so that others get a turn.
        width: of the beam search.
    """
    order = sorted(range(len(messages)), key=lambda i: len(messages[i]))
    answers = [NO_TRACE] * len(messages)
    forms = schemas or [None] * len(messages)
    said: Sequence[str | None] = texts or [None] * len(messages)
    for start in range(0, len(order), rows_at_once):
        rows = order[start : start + rows_at_once]
        # A batch has one number of input rows; plain queries and memories of other shapes go apart.
        by_rows: dict[int, list[int]] = {}
        for i in rows:
            memory = memories[i]
            by_rows.setdefault(0 if memory is None else memory.steering.rows.shape[0], []).append(i)
        for count, members in by_rows.items():
            traces = _answer_part(
                backbone,
                [messages[i] for i in members],
                [memories[i] for i in members],
                [forms[i] for i in members],
                [said[i] for i in members],
                count,
                max_tokens,
                between,
                width,
            )
            for i, trace in zip(members, traces, strict=True):
                answers[i] = trace
    return answers


def _answer_part(
    backbone: Backbone,
    queries: Sequence[Sequence[int]],
    memories: Sequence[Memory | None],
    schemas: Sequence[OutputSchema | None],
    said: Sequence[str | None],
    row_count: int,
    max_tokens: int,
    between: Callable[[], None],
    width: int,
) -> list[Trace]:
    done = backbone.prefill(queries, token_space=backbone.token_space if any(map(reads_tokens, memories)) else None)
    batch = join_memories(backbone, done.states, [None if m is None else m.steering for m in memories])
    if row_count:
        inputs = torch.stack([backbone.embed_rows(m.steering.rows) for m in memories if m is not None])
        last = backbone.extend(batch, inputs)[:, -1]
    else:
        last = done.last_hidden
    searches = []
    for place, row_of_batch in enumerate(zip(memories, schemas, said, strict=True)):
        seen = done.tokens[place] if done.tokens else None
        constraint = constraint_of(backbone, *row_of_batch, tokens=seen)
        beams = search_width(backbone, constraint, width)
        searches.append(BeamSearch(constraint, backbone.format.stop_ids, width=beams))
    for _ in range(max_tokens):
        logits = backbone.logits(last)
        rows: list[int] = []
        tokens: list[tuple[int, ...]] = []
        start = 0
        for search in searches:
            end = start + search.growing
            try:
                grown = search.advance(logits[start:end])
            except GenerationError:  # the answer is measured as far as it came
                search.stop()
                grown = []
            rows += [start + answer.row for answer in grown]
            tokens += [answer.tokens for answer in grown]
            start = end
        between()
        if not rows:
            break
        batch.select(rows)
        last = backbone.extend(batch, backbone.embed_ids(torch.tensor(tokens, device=last.device)))[:, -1]
    texts = [backbone.format.decode(list(search.best.ids)) for search in searches]
    stop_text = backbone.format.stop_text
    if stop_text and not row_count:
        texts = [text.split(stop_text)[0].rstrip() for text in texts]
    return [trace_of(search, text) for search, text in zip(searches, texts, strict=True)]
