"""The memory that answers so far, measured beside the one that was just trained.

Both answer the held-out pairs that neither has learned: what is held out now may have been learned before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from profiles.store.store import ProfileStore
from tokmem_desk import background
from tokmem_desk.generation.recall import Bank, route_messages
from tokmem_desk.procedures import NONE_ROUTE, ExamplePair, Procedure
from tokmem_desk.templates.json_schema import read_schema
from trainer.evaluate import Answered, answer_pairs
from trainer.metrics import score_answers
from tui.engine.held_out import active_holdout, inputs_of

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.memory.memory import Memory


@dataclass(frozen=True, slots=True)
class PreviousMemory:
    """The memory that a procedure answered with before this training.

    Attributes:
        name: of the procedure.
        version: of the memory.
        pairs: held-out pairs that it did not learn, at least one.
        bank: with it, and with whatever else may answer.
        known: False for a memory from before the choice was kept: then it may have learned some of them.
    """

    name: str
    version: int
    memory: Memory
    pairs: tuple[ExamplePair, ...]
    bank: Bank
    known: bool = True


def unlearned(
    store: ProfileStore, name: str, fingerprint: str, held_out: Sequence[ExamplePair]
) -> tuple[int, tuple[ExamplePair, ...], bool] | None:
    """The version of the active memory, the held-out pairs that it did not learn, and whether that is known for sure.

    None when there are no such pairs.
    """
    record, then = store.memories.active(name, fingerprint), active_holdout(store, name, fingerprint)
    if record is None or then is None:
        return None
    choice, known = then
    learned, _ = inputs_of(choice)
    fresh = tuple(pair for pair in held_out if pair.input not in learned)
    return (record.version, fresh, known) if fresh else None


def measure_previous(
    backbone: Backbone,
    previous: PreviousMemory,
    procedure: Procedure,
    now_answers: Sequence[str],
    now_bank: Bank,
) -> Iterator[float | dict[str, Any]]:
    """Measure the earlier memory; yields the share done, then the scorecard's ``before``.

    Args:
        procedure: its schema holds these answers too, as it does at recall.
        now_answers: what the new memory says to ``previous.pairs``.
        now_bank: the bank with the new memory.
    """
    answered: Answered | None = None
    schema = None if procedure.output_schema is None else read_schema(procedure.output_schema)
    for step in answer_pairs(backbone, previous.pairs, previous.memory, procedure.pattern, schema):
        if isinstance(step, Answered):
            answered = step
        else:
            yield step
    assert answered is not None
    now = score_answers(list(now_answers), previous.pairs, procedure.pattern)
    messages = [pair.input for pair in previous.pairs]
    chat = background.chat_for_measuring()
    yield {
        "version": previous.version,
        "held_out": len(previous.pairs),
        **({} if previous.known else {"held_out_known": False}),
        "exact_match": answered.scores.exact_match,
        "rouge_l": answered.scores.rouge_l,
        **_routing(backbone, previous.bank, previous.name, messages, chat),
        "now": {
            "exact_match": now.exact_match,
            "rouge_l": now.rouge_l,
            **_routing(backbone, now_bank, previous.name, messages, chat),
        },
    }


def _routing(
    backbone: Backbone, bank: Bank, name: str, messages: Sequence[str], chat: Sequence[str]
) -> dict[str, float]:
    mine = route_messages(backbone, bank, messages)
    others = route_messages(backbone, bank, chat)
    return {
        "routing_accuracy": sum(routed.route == name for routed in mine) / len(mine),
        "false_trigger_rate": sum(routed.route != NONE_ROUTE for routed in others) / max(1, len(others)),
    }
