"""Run queries through the backbone: like lengths together, what they share in front once, long ones in parts.

Produces one ``QueryState`` per query, its last hidden state and its raw routing features. Features are gathered pass by
pass, so that of a long query no more hidden states are held than those of one pass. Knows nothing of
memories, routes or conversations. ``Backbone`` owns one ``QueryRunner``.

Letters: b batch, s tokens, d hidden size, f raw features, k dimensions of the token space.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from tokmem_desk.backbone.query_state import QueryState
from tokmem_desk.errors import OutOfMemoryError
from tokmem_desk.system.device import is_out_of_memory, trim_memory

if TYPE_CHECKING:
    from tokmem_desk.backbone.forward import ForwardModel
    from tokmem_desk.backbone.token_space import TokenSpace

_PREFILL_TOKENS = 2048
"""Tokens of one prefill pass over several queries, padding included: bounds the memory of its activations."""

_PART_TOKENS = 512
"""Tokens of one pass over a part of a long query. With less a pass is mostly the unpacking of weights; with more its
hidden states need more memory, and whoever stops the reading waits longer."""

_LIKE_LENGTH = 1.6
"""Queries run together while the longest is at most this many times as long as the shortest: little padding."""

_SHARED_PREFIX_AT_LEAST = 8
"""Shorter shared prefixes are not worth a pass of their own."""

_PREFIXES_KEPT = 8

_LEAST_COUNTED = 1e-6
"""Of the weights of a message's tokens together: a message without tokens has a mean of zero."""


@dataclass(frozen=True, slots=True)
class Prefilled:
    """Result of running queries, in their order.

    Attributes:
        states: cached keys and values of each query (empty when not asked for).
        last_hidden: [b x d] float32, final state (after the final norm) at the last query position.
        pooled: [b x f] float32 raw routing features, or None when no layers were asked for.
        tokens: per query [t x f] hidden states of the message's own tokens, compute dtype, or [t x k] float32 ones in
            a token space; empty unless asked for.
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


Reading = Generator[int, None, Prefilled]
"""A prefill pass by pass: yields how many tokens have been read after each pass, and returns what came of all."""

_Result = TypeVar("_Result")


def finish(steps: Generator[object, None, _Result]) -> _Result:
    """Run a generator to its end and take its result."""
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            result: _Result = ended.value
            return result


def counted_from(before: int, passes: Generator[int, None, _Result]) -> Generator[int, None, _Result]:
    """The same passes, with ``before`` tokens read already."""
    while True:
        try:
            yield before + next(passes)
        except StopIteration as ended:
            result: _Result = ended.value
            return result


class QueryRunner:
    """Runs queries of one backbone. Callers hold no gradient and have checked the lengths."""

    def __init__(self, backbone: ForwardModel) -> None:
        self._backbone = backbone
        self._prefixes: OrderedDict[tuple[int, ...], QueryState] = OrderedDict()

    def read(
        self,
        queries: Sequence[Sequence[int]],
        *,
        keep_states: bool,
        feature_layers: Sequence[int],
        token_layers: Sequence[int] = (),
        token_space: TokenSpace | None = None,
        tokens_alone: bool = False,
        lower_layers: bool = False,
    ) -> Reading:
        """See ``Backbone.prefill_steps``."""
        wanted = _Wanted(
            tuple(feature_layers),
            tuple(token_layers),
            token_space,
            self._backbone.active_input,
            tokens_alone,
            lower_layers or tokens_alone,
        )
        if lower_layers and (keep_states or not wanted.any_layer):
            raise ValueError("keys and values of all layers, or nothing at all, cannot be had from some layers")
        if tokens_alone:
            if keep_states or feature_layers or not wanted.of_tokens:
                raise ValueError("nothing but tokens can be had without what stands behind the message")
            behind = len(self._backbone.format.tail_ids)
            queries = [query[: len(query) - behind] for query in queries]
        done: dict[int, _Ran] = {}
        before = 0
        for part in self._parts(queries, keep_states=keep_states):
            passes = self._run_part([queries[i] for i in part], keep_states, wanted)
            ran = yield from counted_from(before, _in_words(passes))
            done.update(zip(part, ran, strict=True))
            before += sum(len(queries[i]) for i in part)
        rows = [done[i] for i in range(len(queries))]
        return Prefilled(
            states=[row.state for row in rows if row.state is not None],
            last_hidden=torch.stack([row.hidden for row in rows]),
            pooled=torch.stack([row.pooled for row in rows if row.pooled is not None]) if feature_layers else None,
            tokens=[row.tokens for row in rows if row.tokens is not None],
        )

    def extend_state(self, state: QueryState, ids: Sequence[int]) -> Reading:
        """See ``Backbone.extend_state_steps``."""
        if self._backbone.layout.recurrent:
            return (yield from self.read([[*state.ids, *ids]], keep_states=True, feature_layers=()))
        return (yield from _in_words(self._extend(state, ids)))

    def _extend(self, state: QueryState, ids: Sequence[int]) -> Reading:
        reserve = state.length + len(ids) if len(ids) > _PART_TOKENS else 0
        batch = self._backbone.layout.join([state], [None], reserve=reserve)
        hidden = torch.empty(0)
        for start in range(0, len(ids), _PART_TOKENS):
            part = ids[start : start + _PART_TOKENS]
            inputs = self._backbone.embed_ids(torch.tensor([list(part)], device=self._backbone.torch_device))
            hidden = self._backbone.extend(batch, inputs)[:, -1].float()
            yield start + len(part)
        longer = self._backbone.layout.cut(batch.cache, [state.length + len(ids)], release=True)
        return Prefilled(longer, hidden, None)

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
        self, queries: Sequence[Sequence[int]], keep_states: bool, wanted: _Wanted
    ) -> Generator[int, None, list[_Ran]]:
        """Run queries together, one long query in several passes; yields the tokens read so far."""
        backbone = self._backbone
        anew = backbone.layout.recurrent
        # Running states all end with the last column: then padding stands in front, where no prefix can stand.
        to_the_left = bool(backbone.layout.running) and keep_states and len({len(query) for query in queries}) > 1
        prefix = () if anew or to_the_left else self._shared_prefix(queries, head_only=wanted.any_layer)
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
        present = ((places >= 0) & (places < torch.tensor(lengths, device=ids.device)[:, None])).long()
        # What stands beside others has no more tokens than one pass has; what begins anew has no cache to go on from.
        step = _PART_TOKENS if len(queries) == 1 and not anew else width
        reserve = n + width if step < width else 0
        if state is not None:
            batch = backbone.layout.join([state] * len(queries), [None] * len(queries), reserve=reserve)
            cache = batch.cache
            mask = torch.cat([batch.mask, present], dim=1)
        else:
            cache = None if anew else backbone.layout.new_cache(reserve)
            mask = present
        positions = n + places.clamp_min(0)
        head = max(0, len(backbone.format.head_ids) - n)
        tail = 0 if wanted.tokens_alone else len(backbone.format.tail_ids)
        depth = backbone.least_depth((*wanted.feature_layers, *wanted.of_tokens)) if wanted.lower_layers else None
        weights = self._backbone.token_weights
        counted = torch.ones(ids.shape, device=ids.device) if weights is None else weights.to(ids.device)[ids]
        gathered = [
            _Gathered(wanted, shift, length, head, tail, counted[row])
            for row, (length, shift) in enumerate(zip(lengths, starts, strict=True))
        ]
        for first in range(0, width, step):
            end = min(width, first + step)
            # Layers without keys look at the new tokens alone.
            seen = mask[:, : n + end] if backbone.layout.groups or not first else present[:, first:end]
            output = backbone.run_ids(
                ids[:, first:end],
                cache,
                mask=seen,
                positions=positions[:, first:end],
                every_layer=wanted.any_layer,
                depth=depth,
            )
            for row, one in enumerate(gathered):
                one.take(output, row, first)
            del output
            yield sum(n + min(length, max(0, end - shift)) for length, shift in zip(lengths, starts, strict=True))
        if step < width:
            # Beside keys and values each part needs more for its attention than the one before.
            trim_memory()
        states: Sequence[QueryState | None] = [None] * len(queries)
        if keep_states and cache is None:
            states = [QueryState((), (), len(query), tuple(query)) for query in queries]
        elif keep_states:
            ends = [n + length for length in lengths]
            states = backbone.layout.cut(cache, ends, ends_together=to_the_left, release=True)
        return [one.result(kept) for one, kept in zip(gathered, states, strict=True)]

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


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is asked for beside states; see ``Backbone.prefill``.

    Attributes:
        active: which version of a layer's states is read, where the model keeps several.
        tokens_alone: nothing else is wanted than states of the message's tokens.
        lower_layers: no layer above those that are read has to run.
    """

    feature_layers: tuple[int, ...]
    token_layers: tuple[int, ...]
    token_space: TokenSpace | None
    active: int
    tokens_alone: bool = False
    lower_layers: bool = False

    @property
    def of_tokens(self) -> tuple[int, ...]:
        """Layers whose states of tokens are read."""
        return self.token_layers if self.token_space is None else self.token_space.layers

    @property
    def any_layer(self) -> bool:
        """Whether hidden states of layers are read at all."""
        return bool(self.feature_layers or self.token_layers or self.token_space)


class _Gathered:
    """What one query's passes have given so far.

    Args:
        wanted: what to gather.
        shift: columns of padding in front of the query.
        length: its tokens that run.
        head, tail: how many of these belong to the layout before and behind the message. What stands there is the same
            in every query; features are of the message alone.
        weights: [columns] float32, how much each column counts in the mean over the message.
    """

    def __init__(self, wanted: _Wanted, shift: int, length: int, head: int, tail: int, weights: Tensor) -> None:
        self._wanted, self._weights = wanted, weights
        self._last = shift + length - 1
        self._start = shift + head
        self._end = max(self._start + 1, shift + length - tail)
        self._hidden: Tensor | None = None
        self._sums: dict[int, Tensor] = {}
        self._plain_sums: dict[int, Tensor] = {}
        self._counted, self._tokens_read = 0.0, 0
        self._lasts: dict[int, Tensor] = {}
        self._tokens: list[Tensor] = []

    def take(self, output: Any, row: int, first: int) -> None:
        """Take in one pass.

        Args:
            output: of the decoder, with the hidden states of all layers where they are wanted.
            row: of this query.
            first: the column that the pass began with.
        """
        columns = output.last_hidden_state.shape[1]
        ends_here = first <= self._last < first + columns
        if ends_here:
            self._hidden = output.last_hidden_state[row, self._last - first].float()
        if not self._wanted.any_layer:
            return
        stacks = output.hidden_states
        # A slice beyond the columns is empty.
        own = slice(max(0, self._start - first), max(0, self._end - first))
        weights = self._weights[first : first + columns][own]
        for layer in self._wanted.feature_layers:
            states = self._active(stacks[layer])[row]
            of_message = states[own].float()
            for sums, total in ((self._sums, weights @ of_message), (self._plain_sums, of_message.sum(dim=0))):
                sums[layer] = sums[layer] + total if layer in sums else total
            if ends_here:
                self._lasts[layer] = states[self._last - first].float()
        self._counted += float(weights.sum())
        self._tokens_read += len(weights)
        space = self._wanted.token_space
        layers = self._wanted.of_tokens
        if layers:
            tokens = torch.cat([self._active(stacks[layer])[row, own] for layer in layers], dim=-1)
            self._tokens.append(tokens if space is None else space.project(tokens))

    def result(self, state: QueryState | None) -> _Ran:
        """What all passes have given."""
        assert self._hidden is not None, "the last token has not been run"
        vectors = [self._hidden]
        for layer, total in self._sums.items():
            weighted = total / max(_LEAST_COUNTED, self._counted)
            vectors += [weighted, self._lasts[layer], self._plain_sums[layer] / max(1, self._tokens_read)]
        pooled = torch.cat(vectors) if self._wanted.feature_layers else None
        return _Ran(self._hidden, state, pooled, torch.cat(self._tokens) if self._tokens else None)

    def _active(self, hidden: Tensor) -> Tensor:
        """[b x s x d] of a layer's states; some models keep several versions of them, of which one is read."""
        return hidden if hidden.dim() == 3 else hidden[self._wanted.active]


def _in_words(steps: Generator[int, None, _Result]) -> Generator[int, None, _Result]:
    """The same steps; where memory runs out it is said in words.

    Raises:
        OutOfMemoryError: it did.
    """
    while True:
        try:
            done = next(steps)
        except StopIteration as ended:
            result: _Result = ended.value
            return result
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                raise OutOfMemoryError(
                    "Reading the messages did not fit into the memory.",
                    next_step="Close other programs, or choose a smaller model.",
                ) from error
            raise
        yield done
