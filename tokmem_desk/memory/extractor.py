"""Responses that are read off the message instead of generated.

Many procedures answer with a JSON object whose values stand word for word in the message: the arguments of a
call, the fields of a form. For them a small network over the message's own tokens marks which words are which
value. It learns from the same pairs in seconds, never invents a value, and its answer is valid JSON by
construction. How it is trained is in ``trainer.extractor``, and where it answers in
``tokmem_desk.generation.extraction``: it takes no part in the join of a batch.

No torch at the head, see ``steering_part``.

Letters: t tokens, f hidden states of a token over the layers used, s slots.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from tokmem_desk.errors import BadInputError
from tokmem_desk.memory.steering_part import KeyShapes, SteeringPart, StoredTensor

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from tokmem_desk.backbone.token_space import TokenNetwork
    from tokmem_desk.memory.slot_values import Slot
    from tokmem_desk.memory.spans import MarkedMessage
    from tokmem_desk.memory.stored_tensors import StoredTensors
    from tokmem_desk.templates.json_schema import OutputSchema

CHANNELS, NEAR, DROPOUT = 96, 3, 0.3
"""Size of the network."""

_QUITE_SURE = -0.1
"""Log probability of a slot's words below which other words are looked for, in nats."""

_OTHERS, _LOOKED_AT = 4, 16
"""How many other words are named, and how many of the likeliest are looked at for them."""


@dataclass(frozen=True, slots=True)
class MarkedValues:
    """What was read off a message.

    Attributes:
        values: the object.
        logs: log probability that a slot's words are these and no others, or that it has none, in nats; by its name.
        others: the likeliest other words for a slot that is not quite sure, as JSON; by its name.
    """

    values: dict[str, Any]
    logs: dict[str, float]
    others: dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class Extractor(SteeringPart):
    """Copies the values of one procedure's responses out of the message. In files it is called ``reader``.

    Its network is trained by ``trainer.extractor``, apart from the kinds that steer the model.

    Attributes:
        constants: keys that every pair has with the same value.
        order: keys in the order of the response; None puts them in the order of the message.
        compact: no blanks behind commas and colons.
        network: marks 0 for no slot, 1 + 2i for the first token of slot i, 2 + 2i for its further ones.
        space: digest of the token space it was trained over.
        alone: its memory's steering was not trained: there is no other way to answer. Else the steering answers where
            there is a conversation to read, since values may stand there.
    """

    name = "extractor"
    tensor_names = ("reader",)
    field = "reader"
    settings_field = ("reader", "reader_form")
    optional_field = False

    slots: tuple[Slot, ...]
    constants: dict[str, Any]
    order: tuple[str, ...] | None
    compact: bool
    network: TokenNetwork
    space: str
    alone: bool = True

    def extract(
        self,
        message: str,
        places: Sequence[tuple[int, int]],
        tokens: Tensor,
        schema: OutputSchema | None = None,
    ) -> dict[str, Any] | None:
        """The object for a message; None where no words of it make one that fits the schema.

        Args:
            message: stripped.
            places: [start, end) of each of its t tokens, see ``mark``.
            tokens: [t x k] float32, see ``mark``.
            schema: what the object must fit.
        """
        marked = self.mark(message, places, tokens, schema)
        return None if marked is None else marked.values

    def mark(
        self,
        message: str,
        places: Sequence[tuple[int, int]],
        tokens: Tensor,
        schema: OutputSchema | None = None,
    ) -> MarkedValues | None:
        """The object for a message, and how likely each of its values is.

        Args:
            places: [start, end) of each token in the stripped message, see ``ChatFormat.places``.
            tokens: [t x k] float32 tokens in the token space that it was trained in, see ``Backbone.prefill``.
            schema: what the object must fit.

        Returns:
            The object; None where no words of the message make one that fits the schema.
        """
        import torch

        from tokmem_desk.memory.slot_values import read_spans
        from tokmem_desk.memory.spans import MarkedMessage

        with torch.no_grad():
            scores = torch.log_softmax(self.network(tokens[None])[0], dim=-1).cpu()
        marked = MarkedMessage(
            message.strip(),
            places,
            scores,
            numbers=[index for index, slot in enumerate(self.slots) if slot.kind == "number"],
            inner=[index for index, slot in enumerate(self.slots) if slot.inner],
        )
        if schema is None:
            values, spans = read_spans(marked, self.slots)
        else:
            values, spans = read_spans(marked, self.slots, schema.required, schema.allows)
        logs = {
            slot.name: marked.log_of(index, [span for span in spans if span.slot == index])
            for index, slot in enumerate(self.slots)
        }
        values = {**self.constants, **values}
        if self.order is not None:
            values = {name: values[name] for name in self.order if name in values}
        if schema is not None and schema.fault_of(values) is not None:
            return None
        others = {
            slot.name: _other_values(marked, index, slot, values.get(slot.name), schema)
            for index, slot in enumerate(self.slots)
            if logs[slot.name] < _QUITE_SURE
        }
        return MarkedValues(values, logs, others)

    def response(self, arguments: dict[str, Any]) -> str:
        """The object as the pairs write it."""
        return write(arguments, compact=self.compact)

    def detached(self) -> Self:
        return self

    def to(self, device: torch.device) -> Self:
        """The same extractor, its network moved in place."""
        self.network.to(device)
        return self

    def stored(self) -> dict[str, Tensor]:
        return {"reader": self.weights()}

    @classmethod
    def read(cls, stored: StoredTensors) -> Self | None:
        weights = stored.raw("reader")
        if weights is None and "reader" not in stored.settings:
            return None
        try:
            if weights is None:
                raise ValueError("its weights are missing")
            return cls.rebuild(stored.settings["reader"], weights.float())
        except (KeyError, TypeError, ValueError, OverflowError, RuntimeError) as error:
            raise BadInputError(
                f"The extractor in {stored.source} is damaged ({error}).", next_step="Train the procedure again."
            ) from error

    @classmethod
    def stored_tensors(cls, hidden_size: int, key_shapes: KeyShapes) -> tuple[StoredTensor, ...]:
        return (StoredTensor("reader"),)

    def weights(self) -> Tensor:
        """[w] float32: the network's weights in one row."""
        import torch

        return torch.cat([weight.detach().float().flatten() for weight in self.network.state_dict().values()])

    def describe(self) -> dict[str, Any]:
        """Everything but the network's weights, as JSON values."""
        return {
            "dimensions": self.network.enter.in_features,
            "slots": [[slot.name, slot.kind, slot.always_list] for slot in self.slots],
            "single": [slot.name for slot in self.slots if slot.single],
            "inner": [slot.name for slot in self.slots if slot.inner],
            "constants": self.constants,
            "order": None if self.order is None else list(self.order),
            "compact": self.compact,
            "space": self.space,
            "alone": self.alone,
        }

    @classmethod
    def rebuild(cls, facts: dict[str, Any], weights: Tensor) -> Self:
        """The inverse of ``describe`` and ``weights``.

        Raises:
            KeyError, TypeError, ValueError, OverflowError, RuntimeError: they do not fit.
        """
        import torch

        from tokmem_desk.memory.slot_values import Slot

        # Files of before have neither: there a slot may hold several values, and values may end within a word.
        single, inner = set(facts.get("single", ())), facts.get("inner")
        slots = tuple(
            Slot(str(name), str(kind), bool(many), name in single, inner is None or name in inner)
            for name, kind, many in facts["slots"]
        )
        dimensions = int(facts["dimensions"])
        # Facts of somebody else's file must not be able to ask for all memory.
        with torch.device("meta"):
            wanted = sum(weight.numel() for weight in new_network(dimensions, len(slots)).state_dict().values())
        if weights.numel() != wanted:
            raise ValueError(f"{weights.numel()} weights instead of {wanted}")
        network = new_network(dimensions, len(slots))
        state = network.state_dict()
        parts = weights.split([weight.numel() for weight in state.values()])
        if not bool(torch.isfinite(weights).all()):
            raise ValueError("values that are not finite")
        network.load_state_dict(
            {name: part.view_as(weight) for (name, weight), part in zip(state.items(), parts, strict=True)}
        )
        order = None if facts["order"] is None else tuple(str(name) for name in facts["order"])
        network.requires_grad_(False).eval()
        constants, compact, space = dict(facts["constants"]), bool(facts["compact"]), str(facts["space"])
        return cls(slots, constants, order, compact, network, space, bool(facts.get("alone", True)))


def _other_values(
    marked: MarkedMessage, index: int, slot: Slot, value: object, schema: OutputSchema | None
) -> list[str]:
    """The likeliest other words for a slot that the schema allows there, as JSON."""
    from tokmem_desk.memory.slot_values import number_of

    if isinstance(value, list):
        return []
    found: dict[str, None] = {}
    for span in marked.others(index)[:_LOOKED_AT]:
        other = number_of(marked.text(span)) if slot.kind == "number" else marked.text(span)
        if other != value and (schema is None or schema.allows(slot.name, other)):
            found[json.dumps(other, ensure_ascii=False)] = None
    return [*found][:_OTHERS]


def new_network(dimensions: int, slots: int) -> TokenNetwork:
    """An untrained network for that many slots."""
    from tokmem_desk.backbone.token_space import TokenNetwork

    return TokenNetwork(dimensions, 1 + 2 * slots, channels=CHANNELS, near=NEAR, dropout=DROPOUT)


def write(arguments: dict[str, Any], *, compact: bool) -> str:
    """An object as an extractor writes it; ``compact`` is without blanks behind commas and colons."""
    return json.dumps(arguments, ensure_ascii=False, separators=(",", ":") if compact else None)
