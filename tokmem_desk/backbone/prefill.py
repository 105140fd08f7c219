"""Run queries through the backbone: like lengths together, what they share in front once.

Produces one ``QueryState`` per query, its last hidden state and its raw routing features. Knows nothing of
memories, routes or conversations. ``Backbone`` owns one ``QueryRunner``.

Letters: b batch, s tokens, d hidden size, f raw features.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tokmem_desk.backbone.kv_state import QueryState
from tokmem_desk.errors import OutOfMemoryError
from tokmem_desk.system.device import is_out_of_memory

if TYPE_CHECKING:
    from tokmem_desk.backbone.forward import ForwardModel

_PREFILL_TOKENS = 4096
"""Tokens of one prefill pass, padding included: bounds the memory of its activations."""

_LIKE_LENGTH = 1.6
"""Queries run together while the longest is at most this many times as long as the shortest: little padding."""

_SHARED_PREFIX_AT_LEAST = 8
"""Shorter shared prefixes are not worth a pass of their own."""

_PREFIXES_KEPT = 8


@dataclass(frozen=True, slots=True)
class Prefilled:
    """Result of running queries, in their order.

    Attributes:
        states: cached keys and values of each query (empty when not asked for).
        last_hidden: [b x d] float32, final state (after the final norm) at the last query position.
        pooled: [b x f] float32 raw routing features, or None when no layers were asked for.
        tokens: per query [t x f] hidden states of the message's own tokens, compute dtype; empty unless asked for.
    """

    states: list[QueryState]
    last_hidden: Tensor
    pooled: Tensor | None
    tokens: list[Tensor] = field(default_factory=list)

    def row(self, i: int) -> Prefilled:
        """One query alone."""
        return Prefilled(
            self.states[i : i + 1],
            self.last_hidden[i : i + 1],
            None if self.pooled is None else self.pooled[i : i + 1],
            self.tokens[i : i + 1],
        )


@dataclass(frozen=True, slots=True)
class _Ran:
    """One query of a pass, in the terms of ``Prefilled``."""

    hidden: Tensor
    state: QueryState | None
    pooled: Tensor | None
    tokens: Tensor | None


class QueryRunner:
    """Runs queries of one backbone. Callers hold no gradient and have checked the lengths."""

    def __init__(self, backbone: ForwardModel) -> None:
        self._backbone = backbone
        self._prefixes: OrderedDict[tuple[int, ...], QueryState] = OrderedDict()

    def run(
        self,
        queries: Sequence[Sequence[int]],
        *,
        keep_states: bool,
        feature_layers: Sequence[int],
        token_layers: Sequence[int] = (),
    ) -> Prefilled:
        """See ``Backbone.prefill``."""
        done: dict[int, _Ran] = {}
        for part in self._parts(queries, keep_states=keep_states):
            try:
                ran = self._run_part([queries[i] for i in part], keep_states, feature_layers, token_layers)
            except (RuntimeError, MemoryError) as error:
                _refuse_too_much(error)
                raise
            done.update(zip(part, ran, strict=True))
        rows = [done[i] for i in range(len(queries))]
        return Prefilled(
            states=[row.state for row in rows if row.state is not None],
            last_hidden=torch.stack([row.hidden for row in rows]),
            pooled=torch.stack([row.pooled for row in rows if row.pooled is not None]) if feature_layers else None,
            tokens=[row.tokens for row in rows if row.tokens is not None],
        )

    def extend_state(self, state: QueryState, ids: Sequence[int]) -> Prefilled:
        """See ``Backbone.extend_state``."""
        if self._backbone.layout.recurrent:
            return self.run([[*state.ids, *ids]], keep_states=True, feature_layers=())
        batch = self._backbone.layout.join([state], [None])
        inputs = self._backbone.embed_ids(torch.tensor([list(ids)], device=self._backbone.torch_device))
        try:
            # In parts, for the same bound on activations.
            for start in range(0, len(ids), _PREFILL_TOKENS):
                hidden = self._backbone.extend(batch, inputs[:, start : start + _PREFILL_TOKENS])
        except (RuntimeError, MemoryError) as error:
            _refuse_too_much(error)
            raise
        longer = self._backbone.layout.cut(batch.cache, [state.length + len(ids)])
        return Prefilled(longer, hidden[:, -1].float(), None)

    def prefix_state(self, prefix: tuple[int, ...]) -> QueryState:
        """Keys and values of ids that many queries start with; the last few are kept."""
        found = self._prefixes.get(prefix)
        if found is None:
            cache = self._backbone.layout.new_cache()
            self._backbone.run_ids(torch.tensor([prefix], device=self._backbone.torch_device), cache)
            found = self._backbone.layout.cut(cache, [len(prefix)])[0]
            self._prefixes[prefix] = found
            if len(self._prefixes) > _PREFIXES_KEPT:
                self._prefixes.popitem(last=False)
        self._prefixes.move_to_end(prefix)
        return found

    def _parts(self, queries: Sequence[Sequence[int]], *, keep_states: bool) -> list[list[int]]:
        """Places of queries that run together."""
        layout = self._backbone.layout
        window = layout.smallest_window
        # A running state ends behind the last token, so none may be padding.
        all_equal = keep_states and bool(layout.running) and not layout.pads_left
        parts: list[list[int]] = []
        for i in sorted(range(len(queries)), key=lambda i: len(queries[i])):
            length = len(queries[i])
            # Right padding would push keys out of a sliding window: such queries run among equals.
            equal_only = all_equal or (window is not None and length >= window)
            part = parts[-1] if parts else None
            fits = part is not None and (len(part) + 1) * length <= _PREFILL_TOKENS
            if (
                part is not None
                and fits
                and length <= _LIKE_LENGTH * len(queries[part[0]])
                and (not equal_only or len(queries[part[0]]) == length)
            ):
                part.append(i)
            else:
                parts.append([i])
        return parts

    def _run_part(
        self,
        queries: Sequence[Sequence[int]],
        keep_states: bool,
        feature_layers: Sequence[int],
        token_layers: Sequence[int],
    ) -> list[_Ran]:
        backbone = self._backbone
        layers = bool(feature_layers or token_layers)
        anew = backbone.layout.recurrent
        # Running states all end with the last column: then padding stands in front, where no prefix can stand.
        to_the_left = bool(backbone.layout.running) and keep_states and len({len(query) for query in queries}) > 1
        prefix = () if anew or to_the_left else self._shared_prefix(queries, head_only=layers)
        state = self.prefix_state(prefix) if prefix else None
        n = len(prefix)
        lengths = [len(query) - n for query in queries]
        width = max(lengths)
        starts = [width - length if to_the_left else 0 for length in lengths]
        ids = torch.full((len(queries), width), backbone.format.end_id)
        for row, query in enumerate(queries):
            ids[row, starts[row] : starts[row] + lengths[row]] = torch.tensor(query[n:])
        ids = ids.to(backbone.torch_device)
        places = torch.arange(width, device=ids.device)[None] - torch.tensor(starts, device=ids.device)[:, None]
        present = (places >= 0) & (places < torch.tensor(lengths, device=ids.device)[:, None])
        if state is not None:
            batch = backbone.layout.join([state] * len(queries), [None] * len(queries))
            cache = batch.cache
            mask = torch.cat([batch.mask, present.long()], dim=1)
        else:
            cache = None if anew else backbone.layout.new_cache()
            mask = present.long()
        positions = n + places.clamp_min(0)
        output = backbone.run_ids(ids, cache, mask=mask, positions=positions, every_layer=layers)
        stacks = [_active(hidden, backbone.active_input) for hidden in output.hidden_states] if layers else []
        cut = []
        if keep_states and cache is None:
            cut = [QueryState((), (), len(query), tuple(query)) for query in queries]
        elif keep_states:
            cut = backbone.layout.cut(cache, [n + length for length in lengths], ends_together=to_the_left)
        tail = len(backbone.format.tail_ids)
        ran = []
        for row, (length, shift) in enumerate(zip(lengths, starts, strict=True)):
            last = shift + length - 1
            hidden = output.last_hidden_state[row, last].float()
            # The message alone: what stands before it and after it is the same in every query.
            start = shift + max(0, len(backbone.format.head_ids) - n)
            end = max(start + 1, shift + length - tail)
            pooled = tokens = None
            if token_layers:
                tokens = torch.cat([stacks[layer][row, start:end] for layer in token_layers], dim=-1)
            if feature_layers:
                vectors = [hidden]
                for layer in feature_layers:
                    stack = stacks[layer][row]
                    vectors += [stack[start:end].float().mean(dim=0), stack[last].float()]
                pooled = torch.cat(vectors)
            ran.append(_Ran(hidden, cut[row] if keep_states else None, pooled, tokens))
        return ran

    def _shared_prefix(self, queries: Sequence[Sequence[int]], *, head_only: bool) -> tuple[int, ...]:
        """Ids that all queries start with; at least the layout's head, and never a whole query.

        Args:
            head_only: no part of a message, whose tokens' hidden states are wanted: features must not depend on
                what runs beside a query.
        """
        head = tuple(self._backbone.format.head_ids)
        if len(queries) == 1 or head_only:
            starts = all(tuple(query[: len(head)]) == head and len(query) > len(head) for query in queries)
            return head if starts and len(head) >= _SHARED_PREFIX_AT_LEAST else ()
        # In lexical order, what the first and the last share is shared by all between.
        lowest, highest = min(queries, key=tuple), max(queries, key=tuple)
        limit = min(len(query) for query in queries) - 1
        n = 0
        while n < limit and lowest[n] == highest[n]:
            n += 1
        window = self._backbone.layout.smallest_window
        if n < _SHARED_PREFIX_AT_LEAST or (window is not None and n >= window):
            return ()
        return tuple(lowest[:n])


def _active(hidden: Tensor, index: int) -> Tensor:
    """[b x s x d] of a layer's states; some models keep several versions of them, of which one is read."""
    return hidden if hidden.dim() == 3 else hidden[index]


def _refuse_too_much(error: Exception) -> None:
    """Say it in words where an error means that memory ran out."""
    if is_out_of_memory(error):
        raise OutOfMemoryError(
            "Reading the messages did not fit into the memory.",
            next_step="Close other programs, or choose a smaller model.",
        ) from error
