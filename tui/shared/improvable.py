"""Which procedures can be improved from verdicts, and why one cannot. Reads the store; no model."""

from __future__ import annotations

from profiles.store.store import ProfileStore
from tokmem_desk.errors import BadInputError, BusyError, IncompatibleError
from tokmem_desk.procedures import AnswerVerdict

FEWEST = 6
"""Verdicts on as many messages: fewer leave too little to learn from and to measure on."""


def check_improvable(store: ProfileStore, name: str, fingerprint: str) -> list[AnswerVerdict]:
    """The verdicts that a procedure's memory can be improved with, used ones among them.

    Raises:
        NotFoundError: no procedure of that name.
        BadInputError: no memory, no verdicts, too few of them, or none that wait.
        IncompatibleError: its memory is of another model.
    """
    verdicts, memory = store.verdicts.of(name), store.memories.active(name, fingerprint)
    if memory is None:
        if any(one.status == "active" for one in store.memories.list(name)):
            raise IncompatibleError(
                f"The memory of {name!r} is of another model than the one in use.",
                next_step=f"Use that model, or train it on this one: tokmem-desk train {name}",
            )
        raise BadInputError(
            f"{name!r} has no memory that could be improved.", next_step=f"Train it first: tokmem-desk train {name}"
        )
    if not store.pairs.list(name):
        raise BadInputError(
            f"{name!r} came without its pairs, and would forget what they taught.",
            next_step="Add pairs of your own and train it.",
        )
    if not verdicts:
        raise BadInputError(
            f"Nobody has said yet what the answers of {name!r} are worth.",
            next_step="Mark answers in the chat with + or -, or correct them with p.",
        )
    waiting = store.verdicts.unlearned(memory.id, verdicts)
    if not waiting:
        raise BadInputError(
            f"All verdicts on {name!r} have been used.", next_step="Mark or correct further answers in the chat."
        )
    if (messages := len({one.input for one in verdicts})) < FEWEST:
        raise BadInputError(
            f"There are verdicts on {messages} of the messages of {name!r}; from {FEWEST} on they can be learned from.",
            next_step="Mark or correct more answers in the chat.",
        )
    return verdicts


def refuse_queued(store: ProfileStore, name: str) -> None:
    """Leave a training that waits or runs alone: it would be replaced.

    Raises:
        BusyError: there is one.
    """
    if any(job.procedure == name and job.state in ("queued", "running", "paused") for job in store.jobs.list_open()):
        raise BusyError(
            f"A training of {name!r} is in the queue already; corrected answers are learned there too.",
            next_step="Let it end first, or take it out of the queue.",
        )
