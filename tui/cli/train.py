"""``train``: train procedures and activate them."""

from __future__ import annotations

import argparse
from importlib.util import find_spec

from tokmem_desk.errors import NotFoundError, UsageError
from tui.cli.cluster_training import agree_to_send, train_on_cluster
from tui.cli.context import Context
from tui.cli.exit_codes import ExitCode
from tui.cli.parsing import PRESETS, Parser, positive_number, whole_number
from tui.cli.scorecards import advice_lines, scorecard_table
from tui.cli.training import train_and_activate

ROUTERS = ("token", "discriminant")


def arguments(parser: Parser) -> None:
    """What can be typed behind ``train``."""
    parser.add_argument("names", metavar="NAME", nargs="*")
    parser.add_argument("--preset", choices=PRESETS, help="how long it may take (default: normal)")
    parser.add_argument("--span", metavar="K", type=whole_number, help="embeddings in a memory (default: the preset's)")
    parser.add_argument("--router", choices=ROUTERS, help="how a memory is chosen (default: discriminant)")
    parser.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="train side by side on workers of the Ray cluster at HOST:PORT that this computer belongs to; 'auto' "
        "finds it, 'local' makes one of this computer",
    )
    parser.add_argument(
        "--workers", metavar="N", type=positive_number, help="of a cluster: how many (default: as many as fit)"
    )
    parser.add_argument("--worker-cpus", metavar="N", type=_share, help="processor cores of each worker (default: 1)")
    parser.add_argument(
        "--worker-gpus",
        metavar="N",
        type=_share,
        help="cards of each worker, 0.5 for half of one (default: 1 where there are cards)",
    )


def _share(text: str) -> float:
    """A number of 0 or more, which may be a part of one."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 0 or more")
    return number


def run(context: Context, options: argparse.Namespace) -> int:
    """Train the named procedures, or all that are new or changed."""
    store, console = context.store, context.console
    names = [store.procedures.get(name).name for name in dict.fromkeys(options.names)]
    if not store.procedures.list():
        raise NotFoundError(
            f"The profile {context.profile.name} has no procedures yet.",
            next_step="Add one: tokmem-desk proc add NAME --pairs FILE",
        )
    given = {"workers": options.workers, "cpus": options.worker_cpus, "gpus": options.worker_gpus}
    workers = {name: value for name, value in given.items() if value is not None}
    if workers and options.cluster is None:
        raise UsageError("Workers belong to a cluster.", next_step="Say which one: --cluster local")
    if options.cluster is not None and find_spec("ray") is None:
        raise UsageError(
            "Training on a cluster needs Ray, which is not installed.",
            next_step="Install it beside tokmem-desk: pip install 'tokmem-desk[cluster]'",
        )
    backbone = context.engine.load()
    console.say(f"{backbone['id']} on {backbone['device']} ({backbone['reason']})")
    names = names or store.procedures.to_train(backbone["fingerprint"])
    facts = {"backbone": backbone["id"], "fingerprint": backbone["fingerprint"]}
    if not names:
        console.say("Nothing to train: every procedure is as it was when it was trained.")
        console.result({**facts, "cancelled": False, "trained": []}, "")
        return ExitCode.OK
    if options.cluster is None:
        result = train_and_activate(context, names)
    else:
        agree_to_send(context, options.cluster, len(names))
        result = train_on_cluster(context, names, {"address": options.cluster, **workers})
    trained = result["trained"]
    console.result({**facts, **result}, scorecard_table(trained) if trained else "")
    for line in advice_lines(trained):
        console.say(f"note: {line}")
    if result["cancelled"]:
        kept = f"kept the best so far of {', '.join(one['name'] for one in trained)}" if trained else "nothing was kept"
        console.say(f"Stopped; {kept}.")
        return ExitCode.INTERRUPTED
    return ExitCode.OK
