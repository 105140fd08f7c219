"""``proc improve``: what was said of a procedure's answers, learned by its memory."""

from __future__ import annotations

import argparse
from typing import Any

from tokmem_desk.errors import BadInputError
from tui.cli.context import Context
from tui.cli.exit_codes import ExitCode
from tui.cli.parsing import Actions
from tui.cli.training import train_and_activate
from tui.engine_client.protocol import Trained
from tui.kit.verdict import verdict_of
from tui.kit.words import count
from tui.shared.improvable import check_improvable, refuse_queued


def add_improve_actions(actions: Actions) -> None:
    """What can be typed behind ``proc improve``."""
    improving = actions.add("improve", improve, "learn from what you said of answers: corrected, good, bad")
    improving.add_argument("names", metavar="NAME", nargs="*", help="all with verdicts that wait, unless given")


def improve(context: Context, options: argparse.Namespace) -> int:
    """Improve memories from verdicts; each stays as it is where pairs and verdicts do not both agree."""
    store, console = context.store, context.console
    given = [store.procedures.get(name).name for name in dict.fromkeys(options.names)]
    backbone = context.engine.load()
    fingerprint = backbone["fingerprint"]
    waiting = store.verdicts.waiting(fingerprint)
    names = given or _possible(context, waiting, fingerprint)
    for name in given:
        check_improvable(store, name, fingerprint)
    for name in names:
        refuse_queued(store, name)
    facts = {"backbone": backbone["id"], "fingerprint": fingerprint, "waiting": waiting}
    if not names:
        if not waiting:
            console.say("No verdicts wait. Mark answers in the chat with + or -, or correct them with p.")
        console.result({**facts, "cancelled": False, "improved": []}, "")
        return ExitCode.OK
    result = train_and_activate(context, names, improve=True, activates=lambda one: verdict_of(one["scorecard"]).usable)
    improved = [_object(one) for one in result["trained"]]
    lines = [f"{one['name']}: {one['sentence']}" for one in improved]
    console.result({**facts, "cancelled": result["cancelled"], "improved": improved}, "\n".join(lines))
    for one in result["trained"]:
        if verdict_of(one["scorecard"]).usable:
            console.say(f"{one['name']} answers so from now on. To take it back: tokmem-desk proc undo")
        else:
            console.say(f"The memory of {one['name']} stays as it was.")
            for proposal in verdict_of(one["scorecard"]).proposals:
                console.say(f"note: {proposal}")
    if result["cancelled"]:
        console.say("Stopped; memories that were not finished stay as they were.")
        return ExitCode.INTERRUPTED
    return ExitCode.OK


def _possible(context: Context, waiting: dict[str, int], fingerprint: str) -> list[str]:
    """Those of the procedures with verdicts that can be improved; of the others it is said why not.

    Raises:
        BadInputError: there is one procedure only, and it cannot.
    """
    names = []
    for name, verdicts in waiting.items():
        try:
            check_improvable(context.store, name, fingerprint)
            names.append(name)
        except BadInputError as caught:
            if len(waiting) == 1:
                raise
            context.console.say(f"{name}, {count(verdicts, 'verdict')}: {caught.message}")
    return names


def _object(one: Trained) -> dict[str, Any]:
    card = one["scorecard"]
    return {
        "name": one["name"],
        "kept": verdict_of(card).usable,
        "sentence": verdict_of(card).sentence,
        "memory_id": one["memory_id"],
        "verdicts": card.get("verdicts"),
        "scorecard": card,
    }
