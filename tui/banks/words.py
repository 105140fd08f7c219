"""What is in a bank file, as text for people and as an object for programs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from tokmem_desk.bank.jsonl import BankPlan
from tokmem_desk.bank.manifest import BankProcedure
from tokmem_desk.bank.reader import OpenBank
from tokmem_desk.bank.readme import UNKNOWN_LICENCE
from tokmem_desk.bank.writer import ExportBank
from tokmem_desk.memory.extractor import Extractor
from tokmem_desk.memory.input_rows import InputRows
from tokmem_desk.memory.kv_positions import KVPositions
from tui.banks.transfer import PlanArrival
from tui.kit.words import size

_SHOWN = 12


def exported_steps(bank: ExportBank, wanted: Collection[str]) -> str:
    """What whoever exports is told of plans and chains; empty where there are none.

    Args:
        bank: that was written.
        wanted: names of the plans that were meant to go along.
    """
    names = {one.uuid: one.name for one in bank.procedures}
    said = []
    plans = [one for one in bank.plans if one.steps is not None]
    if plans:
        said.append(f"Steps are inside, word for word: {', '.join(names[one.procedure] for one in plans)}.")
    said += [
        f"{names[one.procedure]} names {', '.join(outside)}, which {_is(outside)} not in the file."
        for one in plans
        if (outside := _outside(one, names))
    ]
    said += [f"{names[one.then]} goes on with answers of {names[one.procedure]}." for one in bank.plans if one.then]
    sent = {names[one.procedure] for one in plans}
    if left := [name for name in wanted if name not in sent]:
        said.append(f"Not in the file, since they have no memory: {', '.join(left)}. Send their steps as text.")
    return " ".join(said)


def arrived_plans(plans: Sequence[PlanArrival], chains: Sequence[tuple[str, str]]) -> list[str]:
    """What whoever imports is told of plans and chains, a sentence each."""
    said = []
    for one in plans:
        said.append(f"{one.name} is a plan, and off until you have read its steps and switch it on.")
        if one.missing:
            shown = ", ".join(one.missing)
            said.append(f"{one.name} names {shown}, which {_is(one.missing)} not here: it does nothing until then.")
        if one.renamed:
            shown = ", ".join(f"{old} is called {new} here" for old, new in one.renamed.items())
            said.append(f"Answers of {one.name} may name procedures as the file does: {shown}.")
    return said + [f"{then} goes on with answers of {name}." for name, then in chains]


def _is(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def reveals(bank: OpenBank) -> list[str]:
    """What somebody who has the file can read from it, one sentence each."""
    names = "Names, descriptions, patterns and scores of its procedures stand in it as plain text."
    if bank.source.protected:
        names = "Without the passphrase nothing can be read; with it, all of the following."
    said = [
        names,
        "A memory can reveal what it was trained on: whoever has the model can ask it, and its answers may hold "
        "parts of the example pairs.",
        "The numbers that find it tell roughly what its messages are about.",
    ]
    if bank.pairs is not None:
        said.append("The example pairs are inside, word for word, and test messages made of some of them.")
    else:
        said.append("The example pairs are not inside; the test messages are some that ship with the program.")
    if any(one.span_of(Extractor).count for one in bank.manifest.procedures):
        said.append("Readers are inside: they hold the fixed words of the answers.")
    if bank.corrections:
        said.append(f"{len(bank.corrections)} corrections are inside, with the messages they are about.")
    if any(one.steps for one in bank.plans):
        said.append("Steps of plans are inside, word for word.")
    return said


def bank_object(bank: OpenBank) -> dict[str, Any]:
    """The answer of ``bank inspect --json``."""
    manifest = bank.manifest
    names = {one.uuid: one.name for one in manifest.procedures}
    return {
        "file": bank.name,
        "format": manifest.version,
        "title": manifest.title,
        "created": manifest.created,
        "bytes": bank.size,
        "protected": bank.source.protected,
        "licence": manifest.licence or None,
        "backbone": {
            "id": manifest.backbone.model_id,
            "fingerprint": manifest.backbone.digest,
            "quantization": manifest.backbone.quantization,
            "licence": manifest.backbone_licence or None,
        },
        "procedures": [_procedure(one, bank) for one in manifest.procedures],
        "probes": len(bank.probes),
        "pairs": bank.pairs is not None,
        "corrections": len(bank.corrections),
        "plans": [
            {"name": names[one.procedure], "steps": one.steps, "outside": _outside(one, names)}
            for one in bank.plans
            if one.steps is not None
        ],
        "chains": [{"name": names[one.procedure], "then": names[one.then]} for one in bank.plans if one.then],
        "reveals": reveals(bank),
    }


def bank_facts(bank: OpenBank) -> list[tuple[str, list[str]]]:
    """What is in a bank: headings, each with its lines."""
    manifest = bank.manifest
    unknown = f"{UNKNOWN_LICENCE}: ask its maker before you pass it on"
    protected = ", under a passphrase" if bank.source.protected else ""
    procedures = [_line(one) for one in manifest.procedures[:_SHOWN]]
    if len(manifest.procedures) > _SHOWN:
        procedures.append(f"and {len(manifest.procedures) - _SHOWN} more")
    return [
        ("file", [f"{bank.name}, {size(bank.size)}, format {manifest.version}{protected}"]),
        ("made", [f"{manifest.created[:10]} for {manifest.backbone.model_id} ({manifest.backbone.quantization})"]),
        (
            "licence",
            [
                f"of the file: {manifest.licence or unknown}",
                f"of the model: {manifest.backbone_licence or UNKNOWN_LICENCE}",
            ],
        ),
        ("procedures", [f"{len(manifest.procedures)}", *procedures]),
        *([("plans", _plan_lines(bank))] if bank.plans else []),
        ("reveals", reveals(bank)),
    ]


def bank_words(bank: OpenBank) -> str:
    """The answer of ``bank inspect``: headings at the left."""
    return "\n".join(
        f"{heading if not at else '':<13}{line}" for heading, lines in bank_facts(bank) for at, line in enumerate(lines)
    )


def _plan_lines(bank: OpenBank) -> list[str]:
    """The steps of each plan, to be read before anybody says yes to them, and the chains."""
    names = {one.uuid: one.name for one in bank.manifest.procedures}
    lines = []
    for one in bank.plans[:_SHOWN]:
        if one.steps is not None:
            lines.append(f"{names[one.procedure]}:" if one.steps else f"{names[one.procedure]}: its answers are steps")
            lines += [f"  {line}" for line in one.steps.splitlines()]
        if outside := _outside(one, names):
            lines.append(f"  ({', '.join(outside)}: not in this file)")
        if one.then:
            lines.append(f"{names[one.procedure]} → {names[one.then]}")
    if len(bank.plans) > _SHOWN:
        lines.append(f"and {len(bank.plans) - _SHOWN} more")
    return lines


def _outside(one: BankPlan, names: Mapping[str, str]) -> list[str]:
    """What the steps of a plan name and the bank has not."""
    return [name for name, identity in one.names.items() if identity not in names]


def _line(one: BankProcedure) -> str:
    facts = [f"{one.pair_count} pairs"]
    if isinstance(one.scores.get("rouge_l"), float):
        facts.append(f"answers {one.scores['rouge_l']:.0%} alike")
    about = f": {' '.join(one.description.split())[:60]}" if one.description else ""
    return f"{one.name} ({', '.join(facts)}){about}"


def _procedure(one: BankProcedure, bank: OpenBank) -> dict[str, Any]:
    pairs = None if bank.pairs is None else bank.pairs[one.uuid]
    return {
        "name": one.name,
        "uuid": one.uuid,
        "description": one.description,
        "trained_on_pairs": one.pair_count,
        "pairs_inside": 0 if pairs is None else len(pairs.train) + len(pairs.held_out),
        "span": one.span_of(InputRows).count + one.span_of(KVPositions).count,
        "scores": one.scores,
    }
