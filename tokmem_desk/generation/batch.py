"""Answer many messages in one batch, each under its own memory: for evaluation, drafts and benchmarks.

Uses the stored weights throughout. The caller has chosen the routes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from tokmem_desk.errors import GenerationError
from tokmem_desk.generation.beam import WIDTH, BeamSearch, search_width
from tokmem_desk.generation.constrained import constraint_of
from tokmem_desk.generation.decoding import PROCEDURE_TOKENS
from tokmem_desk.generation.extraction import can_extract, extract
from tokmem_desk.memory.steering import join_memories

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
    answers = [""] * len(messages)
    reading = [i for i, memory in enumerate(memories) if memory is not None and can_extract(backbone, memory)]
    copied: set[int] = set()
    for start in range(0, len(reading), rows_at_once):
        rows = reading[start : start + rows_at_once]
        space = backbone.token_space
        assert space is not None
        done = backbone.prefill(
            [backbone.format.query(messages[i]) for i in rows], keep_states=False, token_layers=space.layers
        )
        for place, i in enumerate(rows):
            memory = memories[i]
            assert memory is not None
            schema = schemas[i] if schemas else None
            response = extract(backbone, memory, messages[i], done.row(place), limit=max_tokens, schema=schema)
            if response is not None:
                answers[i] = response.text
                copied.add(i)
    others = [i for i in range(len(messages)) if i not in copied]
    queries = [backbone.format.query(messages[i]) for i in others]
    texts = answer_batch(
        backbone,
        queries,
        [memories[i] for i in others],
        schemas=[schemas[i] for i in others] if schemas else (),
        texts=[messages[i] for i in others],
        max_tokens=max_tokens,
        rows_at_once=rows_at_once,
    )
    for i, text in zip(others, texts, strict=True):
        answers[i] = text
    return answers


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
    answers = [""] * len(messages)
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
            texts = _answer_part(
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
            for i, text in zip(members, texts, strict=True):
                answers[i] = text
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
) -> list[str]:
    done = backbone.prefill(queries)
    batch = join_memories(backbone, done.states, [None if m is None else m.steering for m in memories])
    if row_count:
        inputs = torch.stack([backbone.embed_rows(m.steering.rows) for m in memories if m is not None])
        last = backbone.extend(batch, inputs)[:, -1]
    else:
        last = done.last_hidden
    searches = []
    for row_of_batch in zip(memories, schemas, said, strict=True):
        constraint = constraint_of(backbone, *row_of_batch)
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
    return [text.split(stop_text)[0].rstrip() if stop_text and not row_count else text for text in texts]
