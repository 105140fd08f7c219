"""Which form of memory each family of models gets, and whether the numbers are the model's own.

Tiny random models (``family_variants``), float32, on the CPU: nothing is downloaded. For each: the form and the
reason; how far logits behind a joined batch, its gradient and its samples alone are from one pass over the whole; and
what a few steps of training do to the loss. ``--variants a,b`` takes some only.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.family_variants import VARIANTS, Variant, build
from benchmarks.options import run_program, say
from profiles.files.atomic import write_text

if TYPE_CHECKING:
    from torch import Tensor

    from tokmem_desk.backbone.backbone import Backbone

_MESSAGES = ("Paid 12.50 for lunch on 3 May", "Thanks", "What is the weather today?")
_ANSWERS = ("- lunch 12.50", "-", "sun")
_STEPS = 4
RIGHT = 1e-3
"""Largest relative distance that counts as the model's own numbers."""


@dataclass(slots=True)
class Measured:
    """What was found of one variant.

    Attributes:
        whole: relative distance of logits under rows, in a batch, from those of whole passes.
        text: the same where the keys and values of a text stand for a memory's; None where there are none.
        gradient: relative distance of the rows' gradient from that of whole passes.
        batch: relative distance of a query's last state in a batch from that of the query alone.
        loss: nats per token before and after a few steps.
        seconds: of processor time, to load and to measure.
        error: why it could not be loaded or run; empty where it could.
    """

    form: str = ""
    reruns: bool = False
    carries_state: bool = False
    reason: str = ""
    whole: float | None = None
    text: float | None = None
    gradient: float | None = None
    batch: float | None = None
    loss: tuple[float, float] | None = None
    seconds: float = 0.0
    error: str = ""

    @property
    def right(self) -> bool:
        """All numbers are the model's own, and it learns."""
        distances = (self.whole, self.gradient, self.batch, 0.0 if self.text is None else self.text)
        learns = self.loss is not None and self.loss[1] < self.loss[0]
        return not self.error and learns and all(one is not None and one <= RIGHT for one in distances)

    def as_dict(self) -> dict[str, Any]:
        return {
            **{name: getattr(self, name) for name in self.__slots__}, "right": self.right,
            "seconds": round(self.seconds, 2),
        }  # fmt: skip


@dataclass(slots=True)
class Tokenizer:
    """The one tokenizer of all variants, made when it is first needed."""

    _made: list[Any] = field(default_factory=list)

    def get(self) -> Any:
        if not self._made:
            from tests.tiny_models import tiny_tokenizer

            self._made.append(tiny_tokenizer())
        return self._made[0]


TOKENIZER = Tokenizer()


def load(name: str, variant: Variant) -> Backbone:
    """A variant as the program loads a model.

    Raises:
        TokmemError: it is refused.
    """
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.system.device import DeviceChoice

    tokenizer = TOKENIZER.get()
    model = build(variant, len(tokenizer))
    return Backbone(model, tokenizer, DeviceChoice("cpu", "float32", "a benchmark of tiny models"), name)


def measure(name: str, variant: Variant) -> Measured:
    """Load a variant and compare what it gives with passes over the whole."""
    began = time.process_time()
    measured = Measured()
    try:
        backbone = load(name, variant)
        measured.form = "layers" if backbone.rotates_keys else "rows"
        measured.reruns = backbone.layout.recurrent
        traits = getattr(backbone, "traits", None)
        if traits is not None:
            measured.reason, measured.carries_state = traits.reason, traits.carries_state
        measured.batch = batch_distance(backbone)
        measured.whole, measured.gradient = rows_distance(backbone)
        if backbone.rotates_keys and not measured.carries_state:
            measured.text = text_distance(backbone)
        measured.loss = train(backbone)
    except Exception as error:  # noqa: BLE001 - whatever a family raises is a finding
        measured.error = f"{type(error).__name__}: {error}"
    measured.seconds = time.process_time() - began
    return measured


def _distance(ours: Tensor, theirs: Tensor) -> float:
    return float((ours.float() - theirs.float()).norm() / theirs.float().norm().clamp_min(1e-9))


def batch_distance(backbone: Backbone) -> float:
    """The worst of several queries of different lengths."""
    queries = [backbone.format.query(message) for message in _MESSAGES]
    together = backbone.prefill(queries)
    alone = [backbone.prefill([query]) for query in queries]
    worst = max(_distance(t, a.last_hidden[0]) for t, a in zip(together.last_hidden, alone, strict=True))
    for state, one in zip(together.states, alone, strict=True):
        pairs = zip((*state.keys, *state.values), (*one.states[0].keys, *one.states[0].values), strict=True)
        worst = max([worst, *(_distance(ours, theirs) for ours, theirs in pairs)])
    return worst


def rows_distance(backbone: Backbone) -> tuple[float, float]:
    """Of logits under rows and of the rows' gradient, for a batch of queries, from one whole pass each."""
    import torch

    from tokmem_desk.memory.steering import Steering, join_memories

    start = backbone.input_rows[torch.tensor([40, 41])].float()
    queries = [backbone.format.query(message) for message in _MESSAGES]
    answer = torch.tensor([backbone.format.encode_text("- lunch 12.50")])
    states = backbone.prefill(queries).states
    ours, theirs = (start.clone().requires_grad_() for _ in range(2))
    block = Steering.of(ours)
    batch = join_memories(backbone, states, [block] * len(queries))
    inputs = torch.cat([backbone.embed_rows(ours), backbone.embed_ids(answer)[0]])
    logits = backbone.logits(backbone.extend(batch, inputs[None].expand(len(queries), -1, -1)))
    weights = torch.linspace(-3.0, 3.0, logits[0].numel()).view_as(logits[0]).sin()
    (logits * weights).sum().backward()
    worst = 0.0
    for row, query in enumerate(queries):
        parts = [backbone.embed_ids(torch.tensor(query)), backbone.embed_rows(theirs), backbone.embed_ids(answer)[0]]
        whole = torch.cat(parts)[None]
        hidden = backbone.run_embeddings(whole, torch.ones(whole.shape[:2], dtype=torch.long))
        expected = backbone.logits(hidden[0, len(query) :])
        (expected * weights).sum().backward()
        worst = max(worst, _distance(logits[row].detach(), expected.detach()))
    assert ours.grad is not None and theirs.grad is not None
    return worst, _distance(ours.grad, theirs.grad)


def text_distance(backbone: Backbone) -> float:
    """Of logits behind a query and a memory that is the keys and values of a text, from a pass over all three."""
    import torch

    from tokmem_desk.memory.steering import Steering, join_memories

    query = backbone.format.query(_MESSAGES[0])
    middle, answer = backbone.format.encode_text("a blue card, "), backbone.format.encode_text("- lunch 12.50")
    whole = torch.tensor([[*query, *middle, *answer]])
    with torch.no_grad():
        cache = backbone.layout.new_cache()
        hidden = backbone.run_ids(whole[:, : len(query) + len(middle)], cache).last_hidden_state
        state = backbone.layout.cut(cache, [len(query) + len(middle)])[0]
        expected = backbone.logits(backbone.run_ids(whole, None).last_hidden_state[0, hidden.shape[1] :])
        places = torch.arange(len(query), len(query) + len(middle))
        keys = tuple(
            backbone.rotate(k[..., -len(middle) :, :].float(), places[-k.shape[-2] :], g, back=True)
            for g, k in enumerate(state.keys)
        )
        block = Steering.of(
            backbone.input_rows[:1].float(), keys, tuple(v[..., -len(middle) :, :] for v in state.values)
        )
        batch = join_memories(backbone, backbone.prefill([query]).states, [block])
        ours = backbone.logits(backbone.extend(batch, backbone.embed_ids(torch.tensor([answer])))[0])
    return _distance(ours, expected)


def train(backbone: Backbone) -> tuple[float, float]:
    """Nats per token before and after a few steps on three pairs, in the form that the model gets."""
    import torch

    from trainer.config import TrainConfig
    from trainer.objective import TrainableMemories, response_loss

    form = "layers" if backbone.rotates_keys else "rows"
    config = replace(TrainConfig(), form="layers" if form == "layers" else "rows", span=3, lens_rank=2)
    text = backbone.format.encode_text("Turn the note into a table row, please.")
    memories = TrainableMemories(backbone, config, [text])
    states = backbone.prefill([backbone.format.query(message) for message in _MESSAGES]).states
    answers = [backbone.format.response(answer) for answer in _ANSWERS]
    optimiser = torch.optim.Adam(memories.parameters(), lr=0.05)
    losses = []
    for _ in range(_STEPS):
        optimiser.zero_grad()
        found = response_loss(backbone, states, memories.steering() * len(states), answers)
        loss = found.total / found.tokens
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    return losses[0], losses[-1]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.families", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.json", help="where the result goes")
    parser.add_argument("--variants", type=_names, default=tuple(VARIANTS), metavar="A,B", help="some of them only")
    given = parser.parse_args(arguments)
    return run_program(lambda: run(given.variants, given.out))


def _names(text: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(","))
    unknown = [name for name in names if name not in VARIANTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)} is none of {', '.join(VARIANTS)}")
    return names


def run(names: Sequence[str], out: Path) -> None:
    """Measure variants and write the result."""
    import torch
    import transformers

    transformers.utils.logging.set_verbosity_error()
    found = {}
    for name in names:
        measured = measure(name, VARIANTS[name])
        found[name] = measured.as_dict()
        sort = "rerun" if measured.reruns else measured.form or "refused"
        say(f"{name:16} {sort:8} {'right' if measured.right else 'WRONG'} {measured.error or measured.reason}")
    counts = {
        "variants": len(found),
        "layers_and_right": sum(one["form"] == "layers" and one["right"] for one in found.values()),
        "rows_and_right": sum(one["form"] == "rows" and not one["reruns"] and one["right"] for one in found.values()),
        "reruns_and_right": sum(one["reruns"] and one["right"] for one in found.values()),
        "refused": sum(bool(one["error"]) for one in found.values()),
        "wrong": sum(not one["right"] and not one["error"] for one in found.values()),
    }
    libraries = {"transformers": transformers.__version__, "torch": torch.__version__}
    document = {"benchmark": "families", "libraries": libraries, "counts": counts, "variants": found}
    write_text(out, json.dumps(document, indent=1) + "\n")
    say(json.dumps(counts))


if __name__ == "__main__":
    raise SystemExit(main())
