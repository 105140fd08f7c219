"""One LoRA adapter over all functions: queries, single and composed, to their calls as text."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarks.calls.base import CallMethod, Calls, longest_answer, parse_calls
from benchmarks.calls.data import CallData
from benchmarks.calls.prompts import as_pair
from benchmarks.methods.lora import Adapters
from benchmarks.methods.prompts import answer_plainly

if TYPE_CHECKING:
    from benchmarks.methods import Context

_NAME = "calls"


class Lora(CallMethod):
    """The adapted backbone; learns further rounds on top of earlier ones."""

    def __init__(self, context: Context, seed: int) -> None:
        super().__init__(settings={**context.settings["lora"], "backbone": "plain, with this method's adapter"})
        self._seed = seed
        self._adapters = Adapters(context.backbone, context.settings["lora"])
        self._adapters.add(_NAME, seed)
        self.trained_parameters = self._adapters.parameters_per_adapter
        self._limit = 0
        self._backbone = context.backbone

    def learn(self, data: CallData) -> None:
        """Train on single and composed queries."""
        began = time.perf_counter()
        self._adapters.take_up(_NAME)
        examples = (*data.single, *data.composed)
        self._limit = max(
            self._limit, longest_answer(examples, lambda text: len(self._backbone.format.encode_text(text)))
        )
        pairs = [as_pair(example) for example in examples]
        self._adapters.train([pairs] * int(self.settings["epochs"]), self._seed)
        self.seconds += time.perf_counter() - began

    def answer(self, queries: Sequence[str]) -> list[Calls]:
        view = self._adapters.view(_NAME)
        return [parse_calls(reply.text) for reply in answer_plainly(view, queries, self._limit)]

    def close(self) -> None:
        self._adapters.remove()


def learn_lora(context: Context, data: CallData, seed: int) -> CallMethod:
    learned = Lora(context, seed)
    try:
        learned.learn(data)
    except BaseException:
        learned.close()
        raise
    return learned
