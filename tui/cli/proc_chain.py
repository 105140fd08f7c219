"""``proc then``: let one procedure go on with the answers of another."""

from __future__ import annotations

import argparse

from tokmem_desk.errors import UsageError
from tokmem_desk.procedures import MAX_CHAIN
from tui.cli.changed import changed
from tui.cli.context import Context
from tui.cli.exit_codes import ExitCode
from tui.cli.parsing import Actions


def add_chain_actions(actions: Actions) -> None:
    """What can be typed behind ``proc`` about chains."""
    chaining = actions.add("then", then, "let another procedure go on with the answers of this one")
    chaining.add_argument("name", metavar="NAME")
    chaining.add_argument(
        "following", metavar="NEXT", nargs="?", help="its message is the answer; without it the chain is shown"
    )
    chaining.add_argument("--end", action="store_true", help="nothing goes on with its answers any more")


def then(context: Context, options: argparse.Namespace) -> int:
    """Set, end or show a chain."""
    procedures = context.store.procedures
    if options.end and options.following is not None:
        raise UsageError("--end and NEXT say different things.", next_step="Leave out one of the two.")
    record = procedures.get(options.name)
    if options.following is not None or options.end:
        procedures.set_then(record.name, options.following)
    chain = steps_from(procedures.following(), record.name)
    words = " → ".join(name or "(removed)" for name in chain)
    if len(chain) == 1:
        words = f"Nothing goes on with answers of {record.name}"
    if options.following is None and not options.end:
        context.console.result({"action": "proc then", "names": chain}, f"{words}.")
        return ExitCode.OK
    return changed(context, "proc then", chain, f"{words}.")


def steps_from(following: dict[str, str], name: str) -> list[str]:
    """The names of a chain from one procedure on; an empty one stands for a procedure that was removed."""
    chain = [name]
    while chain[-1] in following and len(chain) < MAX_CHAIN:
        chain.append(following[chain[-1]])
    return chain
