"""``train``: train procedures and activate them."""

from __future__ import annotations

import argparse

from tokmem_desk.errors import NotFoundError
from tui.cli.context import Context
from tui.cli.exit_codes import ExitCode
from tui.cli.parsing import PRESETS, Parser, whole_number
from tui.cli.scorecards import advice_lines, scorecard_table
from tui.cli.training import train_and_activate

ROUTERS = ("token", "discriminant")


def arguments(parser: Parser) -> None:
    """What can be typed behind ``train``."""
    parser.add_argument("names", metavar="NAME", nargs="*")
    parser.add_argument("--preset", choices=PRESETS, help="how long it may take (default: normal)")
    parser.add_argument("--span", metavar="K", type=whole_number, help="embeddings in a memory (default: the preset's)")
    parser.add_argument("--router", choices=ROUTERS, help="how a memory is chosen (default: discriminant)")


def run(context: Context, options: argparse.Namespace) -> int:
    """Train the named procedures, or all that are new or changed."""
    store, console = context.store, context.console
    names = [store.procedures.get(name).name for name in dict.fromkeys(options.names)]
    if not store.procedures.list():
        raise NotFoundError(
            f"The profile {context.profile.name} has no procedures yet.",
            next_step="Add one: tokmem-desk proc add NAME --pairs FILE",
        )
    backbone = context.engine.load()
    console.say(f"{backbone['id']} on {backbone['device']} ({backbone['reason']})")
    names = names or store.procedures.to_train(backbone["fingerprint"])
    facts = {"backbone": backbone["id"], "fingerprint": backbone["fingerprint"]}
    if not names:
        console.say("Nothing to train: every procedure is as it was when it was trained.")
        console.result({**facts, "cancelled": False, "trained": []}, "")
        return ExitCode.OK
    result = train_and_activate(context, names)
    trained = result["trained"]
    console.result({**facts, **result}, scorecard_table(trained) if trained else "")
    for line in advice_lines(trained):
        console.say(f"note: {line}")
    if result["cancelled"]:
        kept = f"kept the best so far of {', '.join(one['name'] for one in trained)}" if trained else "nothing was kept"
        console.say(f"Stopped; {kept}.")
        return ExitCode.INTERRUPTED
    return ExitCode.OK
