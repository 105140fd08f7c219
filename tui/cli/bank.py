"""``bank``: export memories into a file, look at such a file, import one."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from profiles.store.banks import Placement
from tokmem_desk.bank.container import SUFFIX
from tokmem_desk.bank.reader import OpenBank, open_bank
from tokmem_desk.errors import BadInputError, ConflictError, InterruptedByUser, UsageError
from tui.banks.transfer import (
    Verdict,
    chain_arrivals,
    choose,
    conflicts,
    export_path,
    incoming,
    overlap_sentences,
    plan,
    plan_arrivals,
    prepare_export,
    refusal,
    refuse_failed,
    stage,
    verdict_of,
    write_export,
)
from tui.banks.words import arrived_plans, bank_object, bank_words, exported_steps
from tui.cli.context import Context
from tui.cli.exit_codes import ExitCode
from tui.cli.parsing import Parser
from tui.cli.passphrase import first_line
from tui.cli.training import train_and_activate
from tui.engine_client.protocol import BackboneInfo
from tui.kit.words import size
from tui.shared.overview import last_fingerprint

CONFLICTS = ("rename", "replace", "skip")


def arguments(parser: Parser) -> None:
    """What can be typed behind ``bank``."""
    actions = parser.actions()
    exporting = actions.add("export", export, "write memories into a file for somebody else")
    exporting.add_argument("file", metavar="FILE", help="NAME.tokmem")
    exporting.add_argument("names", metavar="NAME", nargs="*", help="default: all that are trained for this model")
    exporting.add_argument("--with-pairs", action="store_true", help="put the example pairs and corrections in, too")
    exporting.add_argument(
        "--licence", metavar="TEXT", default="", help="under which others may use it, as in CC-BY-4.0"
    )
    exporting.add_argument("--force", action="store_true", help="write over a file that is there")
    exporting.add_argument("--passphrase", action="store_true", help="ask for a passphrase that protects the file")
    importing = actions.add("import", import_bank, "take the procedures of a file in")
    importing.add_argument("--dry-run", action="store_true", help="check everything, change nothing")
    importing.add_argument("--on-conflict", choices=CONFLICTS, help="what to do where a name is taken")
    importing.add_argument("--retrain", action="store_true", help="take only its pairs, and train them here")
    inspecting = actions.add("inspect", inspect, "say what is in a file, and what it can reveal")
    for action in (importing, inspecting):
        action.add_argument("file", metavar="FILE", type=Path, help="NAME.tokmem, or a folder with the files of one")
    for action in (exporting, importing, inspecting):
        action.add_argument(
            "--bank-passphrase-file", metavar="FILE", type=Path, help="read the file's passphrase from this one"
        )


def export(context: Context, options: argparse.Namespace) -> int:
    """Write memories into a bank file."""
    path, console, store = export_path(options.file), context.console, context.store
    if path.is_dir():
        raise UsageError(f"{path} is a folder.", next_step="Name a file in it.")
    if path.exists() and not options.force:
        raise ConflictError(f"{path} is there already.", next_step="Choose another name, or write over it: --force")
    names = [store.procedures.get(name).name for name in options.names]
    passphrase = _new_passphrase(context, options)
    backbone = context.engine.load()
    memories = choose(store, backbone["fingerprint"], names)
    console.progress(f"Probing {len(memories)} memories")
    probed = context.engine.result(
        "bank_probes", names=[one.procedure for one in memories], with_pairs=options.with_pairs
    )
    console.end_progress()
    title = path.name.removesuffix(SUFFIX)
    made = prepare_export(store, title, memories, probed, with_pairs=options.with_pairs, licence=options.licence)
    manifest = write_export(path, made, passphrase)
    written = path.stat().st_size
    value = {
        "file": str(path),
        "bytes": written,
        "procedures": manifest.names,
        "backbone": manifest.backbone.model_id,
        "fingerprint": manifest.backbone.digest,
        "probes": len(probed["probes"]),
        "pairs": options.with_pairs,
        "protected": passphrase is not None,
    }
    shown = ", ".join(manifest.names[:8]) + (f" and {len(manifest.names) - 8} more" if len(manifest.names) > 8 else "")
    console.say(f"Exported {shown} to {path} ({size(written)}).")
    console.say(
        "The example pairs are inside."
        if options.with_pairs
        else "The example pairs are not inside, but a memory can reveal parts of what it was trained on."
    )
    if said := exported_steps(made, [name for name in store.plans.steps() if not names or name in names]):
        console.say(said)
    console.result(value, "")
    return ExitCode.OK


def inspect(context: Context, options: argparse.Namespace) -> int:
    """Say what is in a bank file; needs no model."""
    with open_bank(options.file, _asker(context, options)) as bank:
        last = last_fingerprint(context.store)
        fits = None if last is None else last == bank.manifest.backbone.digest
        value = {**bank_object(bank), "fits_last_model": fits, "conflicts": conflicts(bank, context.store)}
        text = bank_words(bank)
        if fits is not None:
            text += (
                f"\nmodel here   {'the same as the one used last' if fits else 'another one than the one used last'}"
            )
        context.console.result(value, text)
    return ExitCode.OK


def import_bank(context: Context, options: argparse.Namespace) -> int:
    """Take a bank in: all of it or nothing, and only when its probes pass here."""
    with open_bank(options.file, _asker(context, options)) as bank:
        console = context.console
        console.say(bank_words(bank))
        placements = plan(bank, context.store, options.on_conflict)
        backbone = context.engine.load()
        verdict = verdict_of(bank, backbone["identity"])
        if verdict.reason:
            console.say(verdict.reason)
        retrain = options.retrain or _wants_retraining(context, options, verdict)
        if verdict.kind != "fits" and not retrain:
            raise refusal(bank, verdict)
        if retrain:
            return _retrain(context, options, bank, placements, backbone, verdict)
        checked = _run(context, bank, placements, backbone, dry_run=options.dry_run)
    _report(context, options, bank, placements, verdict, checked)
    return ExitCode.OK


def _run(
    context: Context, bank: OpenBank, placements: Sequence[Placement], backbone: BackboneInfo, *, dry_run: bool
) -> Mapping[str, Any]:
    """Stage, probe, and unless it is a rehearsal take in; returns the engine's verdict."""
    store, console = context.store, context.console
    with store.banks.quarantine() as folder:
        console.progress(f"Staging {len(placements)} memories")
        fields = stage(bank, placements, store, folder, backbone["router"])
        checked: dict[str, Any] | None = None
        for event in context.engine.stream("bank_check", **fields):
            if event["event"] == "done":
                checked = event["result"]
            elif event["event"] == "progress" and event.get("fraction") is not None:
                console.progress(f"Running probes {event['fraction']:.0%}")
        console.end_progress()
        if checked is None or checked["cancelled"]:
            raise InterruptedByUser("Stopped; nothing was imported.")
        refuse_failed(checked)
        for sentence in overlap_sentences(checked, placements):
            console.say(sentence)
        if not dry_run and any(place.new_name for place in placements):
            store.banks.add(incoming(bank, placements, checked["files"]), folder)
            context.tidy()
    return checked


def _retrain(
    context: Context,
    options: argparse.Namespace,
    bank: OpenBank,
    placements: Sequence[Placement],
    backbone: BackboneInfo,
    verdict: Verdict,
) -> int:
    """Take the pairs alone and train them on the backbone in use."""
    store = context.store
    coming = incoming(bank, placements, None)
    names = [one.name for one in coming.procedures if one.pairs]
    if not options.dry_run:
        with store.banks.quarantine() as folder:
            store.banks.add(coming, folder)
        context.tidy()
        context.console.say(f"Took in the pairs of {', '.join(names) or 'nothing'}; training them now.")
        if names:
            result = train_and_activate(context, names)
            if result["cancelled"]:
                context.console.say("Stopped. What is not trained yet: tokmem-desk train")
                return ExitCode.INTERRUPTED
    _report(context, options, bank, placements, verdict, None)
    return ExitCode.OK


def _report(
    context: Context,
    options: argparse.Namespace,
    bank: OpenBank,
    placements: Sequence[Placement],
    verdict: Verdict,
    checked: Mapping[str, Any] | None,
) -> None:
    console = context.console
    plans, chains = plan_arrivals(bank, placements, context.store), chain_arrivals(bank, placements)
    entries = [{"name": one.name, "as": one.new_name or None, "action": one.action} for one in placements]
    value = {
        "file": str(options.file),
        "dry_run": options.dry_run,
        "verdict": verdict.kind,
        "reason": verdict.reason or None,
        "retrained": checked is None,
        "procedures": entries,
        "probes": None if checked is None else {"run": len(checked["probes"]), "passed": len(checked["probes"])},
        "space_turned": bool(checked and checked["turned"]),
        "overlap": list((checked or {}).get("overlap") or ()),
        "plans": [{"name": one.name, "taught": one.taught, "missing": list(one.missing)} for one in plans],
        "chains": [{"name": name, "then": then} for name, then in chains],
    }
    for one in placements:
        if one.action != "add":
            words = {"skip": "left out: the name is taken", "replace": "takes the place of the present one"}
            console.say(f"  {one.name}: {words.get(one.action, f'is called {one.new_name} here')}")
    count = sum(1 for one in placements if one.new_name)
    what = f"{count} procedure{'' if count == 1 else 's'}"
    if checked is not None:
        console.say(f"All {len(checked['probes'])} probes passed.")
    if options.dry_run:
        console.say(f"Nothing was changed; without --dry-run {what} would be imported.")
    else:
        console.say(f"Imported {what} into {context.profile.name}. To take that back: tokmem-desk proc undo")
        if checked is not None and count:
            console.say("In doubt your own procedures go before them, until you say: tokmem-desk proc accept NAME")
    for sentence in arrived_plans(plans, chains):
        console.say(sentence)
    if plans:
        console.say("To read them: tokmem-desk plan steps NAME. To switch one on: tokmem-desk proc enable NAME")
    console.result(value, "")


def _wants_retraining(context: Context, options: argparse.Namespace, verdict: Verdict) -> bool:
    """Offer to train the pairs here, where somebody can answer."""
    if verdict.kind != "retrain" or options.dry_run:
        return False
    if context.options.yes:
        return True
    if not context.console.can_ask:
        return False
    if context.console.quiet:  # else it has been said
        context.console.tell(verdict.reason)
    return context.console.ask("Its pairs are inside. Train its procedures here?")


# --- passphrases -----------------------------------------------------------------------------------


def _new_passphrase(context: Context, options: argparse.Namespace) -> str | None:
    """The passphrase to protect an export with, typed twice; None for none."""
    if options.bank_passphrase_file is not None:
        return first_line(options.bank_passphrase_file)
    if not options.passphrase:
        return None
    console = context.console
    if not console.can_ask:
        raise UsageError("Nobody is there to type a passphrase.", next_step="Give --bank-passphrase-file FILE.")
    passphrase = console.ask_secret("Passphrase for the file: ")
    if console.ask_secret("Once more: ") != passphrase:
        raise UsageError("These were two different passphrases.", next_step="Nothing was written; try again.")
    return passphrase


def _asker(context: Context, options: argparse.Namespace) -> Any:
    """Gets the passphrase of a protected file."""

    def ask(name: str) -> str:
        if options.bank_passphrase_file is not None:
            return first_line(options.bank_passphrase_file)
        if not context.console.can_ask:
            raise BadInputError(f"{name} is protected by a passphrase.", next_step="Give --bank-passphrase-file FILE.")
        return context.console.ask_secret(f"Passphrase of {name}: ")

    return ask
