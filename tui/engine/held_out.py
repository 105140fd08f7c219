"""The holdout of a procedure: pairs that are kept from its training and measure its memory.

The choice is made once, before a training, and kept: with the checkpoint while the training goes on, and with the
memory afterwards (``MemoryTable.held_out_choice``), wherever that goes. So renaming a procedure, importing it under
another name or adding pairs changes nothing about what an earlier memory learned. Pairs that came later were not
learned, but nobody held them out: they measure a memory only where none of its own are left.

Nothing that was learned ever measures. A procedure with too few pairs to hold some out is not measured, and its
scorecard says so: with a few pairs each one counts for the answers, and one or two held out would tell nothing. Pairs
that came from the chat are never held out either: what a person has corrected is to be learned.

Older memories have no stored choice. It is then derived again from the procedure's name and its pairs, which may be
wrong after a renaming; ``Measured.known`` is False for such figures.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from profiles.store.feedback import CHAT_SOURCE
from profiles.store.memories import HeldOutChoice
from profiles.store.store import ProfileStore
from tokmem_desk.procedures import ExamplePair, Procedure
from tui.kit.verdict import HOLDOUT_FROM


@dataclass(frozen=True, slots=True)
class Holdout:
    """A procedure ready for training, and what measures it.

    Attributes:
        procedure: with the pairs to learn.
        held_out: what measures it, none of them learned; empty where none could be held out.
        source: ``test`` for the procedure's own test pairs, ``split`` for some of its pairs, ``none`` without any.
    """

    procedure: Procedure
    held_out: tuple[ExamplePair, ...]
    source: Literal["test", "split", "none"]

    @property
    def kept_out(self) -> tuple[ExamplePair, ...]:
        """The pairs that were taken from those to learn."""
        return self.held_out if self.source == "split" else ()

    @property
    def whole(self) -> tuple[ExamplePair, ...]:
        """All train pairs, those to learn first."""
        return (*self.procedure.pairs, *self.kept_out)


@dataclass(frozen=True, slots=True)
class Measured:
    """Pairs that measure a memory, and whether it is known that it did not learn them."""

    pairs: tuple[ExamplePair, ...]
    known: bool


def choose_holdout(
    procedure: Procedure, earlier: Collection[str] = (), corrected: Collection[str] = frozenset()
) -> Holdout:
    """Choose what to measure on: the procedure's own test pairs, else a sixth of its pairs, else nothing.

    The choice depends on the name and the pairs alone; and each pair's place on itself alone, so that a pair more
    changes little of it and later trainings can be compared with earlier ones. Pairs of one input stay together.

    Args:
        earlier: inputs that an earlier training held out; they come first.
        corrected: inputs that are never held out, see ``corrected_inputs``.
    """
    if tests := _unlearned_tests(procedure):
        return Holdout(procedure, tests, "test")
    if len(procedure.pairs) < HOLDOUT_FROM:
        return Holdout(procedure, (), "none")
    known, pairs = frozenset(earlier), _in_order(procedure, procedure.name)
    free = [pair for pair in pairs if pair.input not in corrected]
    ordered = [*(p for p in free if p.input in known), *(p for p in free if p.input not in known)]
    return _held_apart(procedure, pairs, {pair.input for pair in ordered[: min(32, max(2, len(pairs) // 6))]})


def corrected_inputs(store: ProfileStore, name: str) -> frozenset[str]:
    """The inputs of a procedure's pairs that came from the chat: corrections, which are always learned.

    Raises:
        NotFoundError: no procedure of that name.
    """
    return frozenset(pair.input for pair in store.pairs.list(name) if pair.source == CHAT_SOURCE)


def restore_holdout(
    procedure: Procedure, name: str, digests: Collection[str], corrected: Collection[str] = frozenset()
) -> Holdout:
    """The choice that an unfinished training began with, where its pairs are still the same.

    Args:
        name: of the procedure at that time.
        digests: ``input_digest`` of the inputs that were held out; empty where none were, or nothing was noted.
        corrected: as ``choose_holdout`` takes them; of use where nothing was noted.
    """
    if _unlearned_tests(procedure) or not digests:
        holdout = choose_holdout(replace(procedure, name=name), corrected=corrected)
        return replace(holdout, procedure=replace(holdout.procedure, name=procedure.name))
    known = frozenset(digests)
    chosen = {pair.input for pair in procedure.pairs if input_digest(pair.input) in known}
    return _held_apart(procedure, _in_order(procedure, name), chosen)


def input_digest(text: str) -> str:
    """SHA-256 of a held-out input, as checkpoints store it."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def measured(store: ProfileStore, name: str, fingerprint: str) -> Measured:
    """What measures the active memory of a procedure on a backbone: pairs that are still there and it did not learn.

    None where it had too few pairs to hold any out and none came since.

    Raises:
        NotFoundError: no procedure of that name.
    """
    procedure, record = store.procedures.with_pairs(name), store.memories.active(name, fingerprint)
    choice = None if record is None else store.memories.held_out_choice(record.id)
    if record is None or choice is None:
        if not procedure.held_out:
            return Measured(choose_holdout(procedure).held_out, known=False)
        # Which of its pairs it learned is not known; that it learned no other pair is.
        seen = {pair.input for pair in store.memories.pairs(record.id)} if record is not None else set()
        return Measured(tuple(pair for pair in procedure.held_out if pair.input not in seen), known=True)
    learned, held_out = inputs_of(choice)
    if tests := tuple(pair for pair in procedure.held_out if pair.input not in learned):
        return Measured(tests, known=True)
    own = tuple(pair for pair in procedure.pairs if pair.input in held_out)
    later = tuple(pair for pair in procedure.pairs if pair.input not in learned)
    return Measured(own or later, known=True)


def active_holdout(store: ProfileStore, name: str, fingerprint: str) -> tuple[HeldOutChoice, bool] | None:
    """The pairs that the active memory learned and those held out, and whether that is known or derived.

    Returns:
        None without an active memory.

    Raises:
        NotFoundError: no procedure of that name.
    """
    record = store.memories.active(name, fingerprint)
    if record is None:
        return None
    choice = store.memories.held_out_choice(record.id)
    if choice is not None:
        return choice, True
    holdout = choose_holdout(
        Procedure(name, store.memories.pairs(record.id), store.procedures.with_pairs(name).held_out)
    )
    return HeldOutChoice(holdout.procedure.pairs, holdout.kept_out), False


def inputs_of(choice: HeldOutChoice) -> tuple[frozenset[str], frozenset[str]]:
    """The inputs that were learned, and those that were held out and not learned in another pair."""
    learned = frozenset(pair.input for pair in choice.learned)
    return learned, frozenset(pair.input for pair in choice.held_out) - learned


def _unlearned_tests(procedure: Procedure) -> tuple[ExamplePair, ...]:
    """Its own test pairs, but for those whose input is among the pairs to learn."""
    learned = {pair.input for pair in procedure.pairs}
    return tuple(pair for pair in procedure.held_out if pair.input not in learned)


def _in_order(procedure: Procedure, name: str) -> list[ExamplePair]:
    """Its pairs in an order that depends on ``name`` and each pair alone."""
    return sorted(procedure.pairs, key=lambda pair: hashlib.sha256(f"{name}\0{pair.input}".encode()).digest())


def _held_apart(procedure: Procedure, pairs: Sequence[ExamplePair], chosen: Collection[str]) -> Holdout:
    rest = tuple(pair for pair in pairs if pair.input not in chosen)
    held_out = tuple(pair for pair in pairs if pair.input in chosen)
    if not rest or not held_out:  # all of one input, or all corrected
        return Holdout(procedure, (), "none")
    return Holdout(replace(procedure, pairs=rest), held_out, "split")
