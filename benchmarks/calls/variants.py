"""Methods with a part taken away, and methods to which functions arrive in rounds."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.calls.base import CallLearner, CallMethod
from benchmarks.calls.chains import Form, start_chain
from benchmarks.calls.data import CallData
from benchmarks.calls.lora import Lora
from benchmarks.calls.ours import learn_requests

if TYPE_CHECKING:
    from benchmarks.methods import Context


def _chain(context: Context, data: CallData, seed: int, form: Form) -> CallMethod:
    learned = start_chain(context, seed, form)
    learned.learn(data)
    return learned


ABLATIONS: dict[str, CallLearner] = {
    "ours-whole-message": partial(learn_requests, split=False),
    "ours-single-pairs-only": partial(learn_requests, composed=False),
    "tokmem-no-eop": partial(_chain, form=Form(eop=False)),
    "tokmem-no-prior": partial(_chain, form=Form(prior=0.0)),
}


def rounds_of(data: CallData, count: int, seed: int) -> list[CallData]:
    """What each round brings: its functions are new, composed queries need no later one."""
    names = list(data.tools)
    random.Random(f"rounds/{seed}").shuffle(names)
    size = -(-len(names) // count)
    rounds = []
    for start in range(0, len(names), size):
        known, new = data.only(names[: start + size]), set(names[start : start + size])
        rounds.append(
            replace(
                known,
                single=tuple(e for e in known.single if e.calls[0].tool in new),
                composed=tuple(e for e in known.composed if new & {call.tool for call in e.calls}),
            )
        )
    return rounds


InRounds = Callable[["Context", Sequence[CallData], int], Iterator[CallMethod]]
"""Learns one round after the other; yields the method after each."""


def _ours(context: Context, rounds: Sequence[CallData], seed: int) -> Iterator[CallMethod]:
    """Each function is on its own: learning those of a round touches no other, so learning all so far is the same."""
    for place in range(len(rounds)):
        so_far = replace(
            rounds[place],
            single=tuple(e for r in rounds[: place + 1] for e in r.single),
            composed=(),
        )
        yield learn_requests(context, so_far, seed, composed=False)


def _lora(context: Context, rounds: Sequence[CallData], seed: int) -> Iterator[CallMethod]:
    learned = Lora(context, seed)
    try:
        for data in rounds:
            learned.learn(data)
            yield learned
    finally:
        learned.close()


def _chains(context: Context, rounds: Sequence[CallData], seed: int, form: Form) -> Iterator[CallMethod]:
    learned = start_chain(context, seed, form)
    for data in rounds:
        learned.learn(data)
        yield learned


ROUNDS: dict[str, InRounds] = {
    "lora": _lora,
    "tokmem": partial(_chains, form=Form()),
    "tokmem-no-renormalisation": partial(_chains, form=Form(renormalised=False)),
    "ours": _ours,
}
