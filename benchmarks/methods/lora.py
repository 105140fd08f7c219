"""LoRA baselines: adapters on the query and value projections of the same 4-bit backbone.

An adapted backbone is a backbone of its own, so a second ``Backbone`` over the same modules answers (what the first
has cached stays right). When a method is done, the adapters' layers are taken out and the weights are compared with
what they were.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F

from benchmarks.methods.base import Context, Learned, Reply
from benchmarks.methods.prompts import answer_plainly
from tokmem_desk.backbone.backbone import Backbone
from tokmem_desk.backbone.fingerprint import WeightsIdentity, identify_weights
from tokmem_desk.errors import IncompatibleError
from tokmem_desk.procedures import ExamplePair, Procedure

if TYPE_CHECKING:
    from benchmarks.settings import Values

_TARGETS = ("q_proj", "v_proj")
_WARMUP = 0.1
_CLIP_NORM = 1.0
_STRETCH = 8
_IGNORED = -100


class Adapters:
    """LoRA layers in a backbone's model: put in, trained, switched, taken out again."""

    def __init__(self, backbone: Backbone, settings: Values) -> None:
        """Remember the weights; no layer is put in yet."""
        self._backbone = backbone
        self._settings = settings
        self._weights = identify_weights(backbone.model)
        self._peft: Any = None
        self.parameters_per_adapter = 0

    def add(self, name: str, seed: int) -> None:
        """Put a fresh adapter in and make it the active one.

        Raises:
            IncompatibleError: the model has no projections of the usual names.
        """
        from peft import LoraConfig, get_peft_model

        config = LoraConfig(
            r=int(self._settings["rank"]),
            lora_alpha=int(self._settings["alpha"]),
            target_modules=list(_TARGETS),
            lora_dropout=0.0,
            task_type="CAUSAL_LM",
        )
        torch.manual_seed(seed)
        try:
            if self._peft is None:
                self._peft = get_peft_model(self._backbone.model, config, adapter_name=name)
            else:
                self._peft.add_adapter(name, config)
        except ValueError as error:
            raise IncompatibleError(f"LoRA cannot be put on {self._backbone.model_id} ({error}).") from error
        self._peft.set_adapter(name)
        self.parameters_per_adapter = sum(p.numel() for p in self._trainable())

    def take_up(self, name: str) -> None:
        """Make an adapter the active one again, to train it further after a ``view`` has frozen everything."""
        self._peft.set_adapter(name)

    def _trainable(self) -> list[torch.nn.Parameter]:
        return [p for p in self._peft.parameters() if p.requires_grad]

    def train(self, pairs: Sequence[Sequence[ExamplePair]], seed: int) -> int:
        """Train the active adapter.

        Args:
            pairs: the pairs of each epoch.

        Returns:
            Steps taken.
        """
        size = int(self._settings["batch_size"])
        steps = sum(math.ceil(len(epoch) / size) for epoch in pairs)
        parameters = self._trainable()
        optimiser = torch.optim.AdamW(parameters, lr=float(self._settings["learning_rate"]), weight_decay=0.0)
        rise = max(1, round(_WARMUP * steps))
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda step: min((step + 1) / rise, max(0.0, (steps - step) / max(1, steps - rise)))
        )
        for number, epoch in enumerate(pairs):
            for batch in _batches(self._backbone, epoch, size, f"{seed}/{number}"):
                optimiser.zero_grad(set_to_none=True)
                with self._backbone.training():
                    _loss(self._backbone, batch).backward()
                torch.nn.utils.clip_grad_norm_(parameters, _CLIP_NORM)
                optimiser.step()
                schedule.step()
        return steps

    def view(self, name: str) -> Backbone:
        """The backbone as adapted by one adapter; valid until another is chosen."""
        self._peft.set_adapter(name)
        plain = self._backbone
        unnamed = WeightsIdentity("", "", "")
        name = f"{plain.model_id}+lora"
        return Backbone(plain.model, plain.tokenizer, plain.device, name, plain.licence, unnamed, plain.traits)

    def remove(self) -> None:
        """Take the layers out.

        Raises:
            IncompatibleError: the backbone's weights are not what they were.
        """
        if self._peft is None:
            return
        self._peft.unload()
        self._peft = None
        if hasattr(self._backbone.model, "peft_config"):
            del self._backbone.model.peft_config
        self._backbone.model.requires_grad_(False)
        if identify_weights(self._backbone.model) != self._weights:
            raise IncompatibleError("LoRA changed the backbone's weights; figures taken after it would be wrong.")


def _encoded(backbone: Backbone, pair: ExamplePair) -> tuple[list[int], list[int]]:
    query, response = backbone.format.query(pair.input), backbone.format.response(pair.response)
    backbone.check_length(len(query) + len(response))
    return query, response


def _batches(
    backbone: Backbone, pairs: Sequence[ExamplePair], size: int, seed: str
) -> list[list[tuple[list[int], list[int]]]]:
    """Shuffled batches; within stretches, samples of like length stand together, so that little is padding."""
    samples = [_encoded(backbone, pair) for pair in pairs]
    rng = random.Random(seed)
    rng.shuffle(samples)
    stretch = size * _STRETCH
    ordered: list[tuple[list[int], list[int]]] = []
    for start in range(0, len(samples), stretch):
        ordered += sorted(samples[start : start + stretch], key=lambda s: len(s[0]) + len(s[1]))
    batches = [ordered[start : start + size] for start in range(0, len(ordered), size)]
    rng.shuffle(batches)
    return batches


def _loss(backbone: Backbone, batch: Sequence[tuple[list[int], list[int]]]) -> torch.Tensor:
    """Mean cross-entropy of the responses and their ends, on whole sequences."""
    width = max(len(query) + len(response) - 1 for query, response in batch)
    ids = torch.full((len(batch), width), backbone.format.end_id)
    labels = torch.full((len(batch), width), _IGNORED)
    present = torch.zeros(len(batch), width, dtype=torch.long)
    for row, (query, response) in enumerate(batch):
        length = len(query) + len(response) - 1
        ids[row, :length] = torch.tensor([*query, *response[:-1]])
        labels[row, len(query) - 1 : length] = torch.tensor(response)
        present[row, :length] = 1
    device = backbone.torch_device
    hidden = backbone.run_embeddings(backbone.embed_ids(ids.to(device)), present.to(device))
    labels = labels.to(device)
    picked = labels != _IGNORED
    return F.cross_entropy(backbone.logits(hidden[picked]), labels[picked])


class Adapted(Learned):
    """A backbone with adapters; ``of`` names the adapter of each procedure."""

    def __init__(self, context: Context, adapters: Adapters, of: dict[str, str], settings: dict[str, Any]) -> None:
        super().__init__(
            trained_parameters=adapters.parameters_per_adapter * len(set(of.values())),
            settings={**settings, "targets": list(_TARGETS), "adapters": len(set(of.values()))},
        )
        self._adapters, self._of = adapters, of
        self._active = ""
        self._view = context.backbone

    def answer(self, route: str, messages: Sequence[str], limit: int) -> list[Reply]:
        name = self._of[route]
        if name != self._active:
            self._view, self._active = self._adapters.view(name), name
        return answer_plainly(self._view, messages, limit)

    def close(self) -> None:
        self._adapters.remove()


def learn_lora(context: Context, procedures: Sequence[Procedure], seed: int) -> Learned:
    """One adapter per procedure; where procedures arrive one after the other, one that learns them in turn."""
    return _learn(context, procedures, seed, context.settings["lora"], shared=context.sequential, replay=0.0)


def learn_lora_replay(context: Context, procedures: Sequence[Procedure], seed: int) -> Learned:
    """One adapter that learns the procedures in turn and sees earlier pairs again in every epoch."""
    settings = context.settings["lora-replay"]
    return _learn(context, procedures, seed, settings, shared=True, replay=float(settings["replay"]))


def _learn(
    context: Context, procedures: Sequence[Procedure], seed: int, settings: Values, *, shared: bool, replay: float
) -> Learned:
    adapters = Adapters(context.backbone, settings)
    of: dict[str, str] = {}
    seconds: dict[str, float] = {}
    earlier: list[ExamplePair] = []
    steps = 0
    rng = random.Random(f"replay/{seed}")
    try:
        for place, procedure in enumerate(procedures):
            began = time.perf_counter()
            name = "a0" if shared else f"a{place}"
            if name not in of.values():
                adapters.add(name, seed + place)
            of[procedure.name] = name
            again = min(len(earlier), round(replay * len(procedure.pairs)))
            epochs = [[*procedure.pairs, *rng.sample(earlier, again)] for _ in range(int(settings["epochs"]))]
            steps += adapters.train(epochs, seed)
            earlier += procedure.pairs
            seconds[procedure.name] = time.perf_counter() - began
    except BaseException:
        adapters.remove()
        raise
    learned = Adapted(context, adapters, of, {**settings, "steps": steps})
    learned.seconds = seconds
    return learned
