"""The paper's method: tied memory rows that follow one another in one sequence.

On the plain backbone, or on the adapted one.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.calls.base import CallMethod, Calls, arguments_text, longest_answer, parse_arguments
from benchmarks.calls.data import Call, CallData
from benchmarks.options import say
from profiles.files.atomic import write_bytes
from tokmem_desk.paper.adapter import Adapter, adapted
from tokmem_desk.paper.chain import Chain, answer_chains
from trainer.paper.adaptation import Adaptation, AdaptationConfig
from trainer.paper.chain import ChainConfig, ChainExample, ChainTraining

if TYPE_CHECKING:
    from torch import Tensor

    from benchmarks.methods import Context
    from tokmem_desk.backbone.backbone import Backbone

_ROWS_AT_ONCE = 12
PRIOR = 1.0
"""Nats added to memory logits at the end of a segment."""


@dataclass(frozen=True, slots=True)
class Form:
    """What an ablation takes away."""

    eop: bool = True
    prior: float = PRIOR
    renormalised: bool = True


class Chained(CallMethod):
    """Memory rows for functions; later rounds freeze earlier rows."""

    def __init__(
        self,
        context: Context,
        backbone: Backbone,
        eop: Tensor | None,
        form: Form,
        seed: int,
        told: str,
        layers: Adapter | None = None,
    ) -> None:
        values = context.settings["tokmem"]
        super().__init__(settings={**values, "eop": form.eop, "prior": form.prior, "backbone": told})
        self._backbone, self._eop, self._form, self._seed = backbone, eop, form, seed
        self._config = ChainConfig(
            epochs=int(values["epochs"]),
            batch_size=int(values["batch_size"]),
            learning_rate=float(values["learning_rate"]),
            eop=form.eop,
            seed=seed,
        )
        self._chain: Chain | None = None
        self._limit = 0
        self._layers = layers

    def learn(self, data: CallData) -> None:
        """Learn the functions that are new."""
        began = time.perf_counter()
        known = self._chain.names if self._chain is not None else ()
        new = [name for name in data.tools if name not in known]
        place = {name: i for i, name in enumerate((*known, *new))}
        examples = [
            ChainExample(e.query, tuple((place[call.tool], arguments_text(call)) for call in e.calls))
            for e in (*data.single, *data.composed)
        ]
        encode = self._backbone.format.encode_text
        self._limit = max(self._limit, longest_answer((*data.single, *data.composed), lambda t: len(encode(t))))
        training = ChainTraining(self._backbone, new, examples, self._config, earlier=self._chain, eop=self._eop)
        for _ in training:
            pass
        self._chain = training.chain(renormalised=self._form.renormalised)
        self.trained_parameters = self._chain.table.numel()
        self.seconds += time.perf_counter() - began

    def close(self) -> None:
        if self._layers is not None:
            self._layers.remove()
            self._layers = None

    def answer(self, queries: Sequence[str]) -> list[Calls]:
        assert self._chain is not None
        ids = [self._backbone.format.query(query) for query in queries]
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        found: list[Calls] = [[] for _ in queries]
        for start in range(0, len(order), _ROWS_AT_ONCE):
            part = order[start : start + _ROWS_AT_ONCE]
            chains = answer_chains(
                self._backbone,
                [ids[i] for i in part],
                self._chain,
                prior=self._form.prior,
                max_tokens=self._limit,
            )
            for i, segments in zip(part, chains, strict=True):
                found[i] = [Call(name, parse_arguments(text)) for name, text in segments]
        return found


def learn_adapted(context: Context, data: CallData, seed: int) -> CallMethod:
    """On a backbone adapted to chains; the adapter is made once per backbone and settings, and kept."""
    plain = context.backbone
    config = AdaptationConfig(examples=int(context.settings["tokmem"]["auxiliary_examples"]))
    folder = context.loaded.cache / "adapters"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{plain.fingerprint.digest[:16]}-{config.examples}.safetensors"
    if not file.is_file():
        run = Adaptation(plain, config)
        try:
            for progress in run:
                if progress.step % 50 == 0:
                    say(f"  adapting: step {progress.step} of {progress.steps}, loss {progress.loss:.3f}")
        finally:
            run.close()
        assert run.result is not None
        write_bytes(file, run.result)
    layers = Adapter(plain)
    try:
        backbone = adapted(plain, file.read_bytes(), layers)
        learned = Chained(
            context, backbone, backbone.eop, Form(), seed, f"adapted on {config.examples} requests", layers
        )
        learned.learn(data)
    except BaseException:
        layers.remove()
        raise
    return learned


def learn_chain(context: Context, data: CallData, seed: int) -> CallMethod:
    learned = start_chain(context, seed)
    learned.learn(data)
    return learned


def start_chain(context: Context, seed: int, form: Form | None = None) -> Chained:
    """Nothing learned yet, on the plain backbone."""
    return Chained(context, context.backbone, None, form or Form(), seed, "plain")
