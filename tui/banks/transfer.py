"""Export and import of banks: the steps that the command line and the app share. Draws nothing, loads no torch.

The engine works between the steps (``bank_probes``, ``bank_check``), and each caller asks it in its own way. An export
is ``choose``, ``prepare_export``, ``write_export``; an import is ``plan``, ``stage``, ``incoming``.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from profiles.files.atomic import replacing
from profiles.files.paths import private_folder
from profiles.store.banks import (
    Conflict,
    Incoming,
    IncomingCorrection,
    IncomingMemory,
    IncomingProcedure,
    Placement,
    place_names,
)
from profiles.store.memories import IMPORTED_FROM, MemoryRecord
from profiles.store.store import ProfileStore
from tokmem_desk.bank.container import SUFFIX
from tokmem_desk.bank.jsonl import BankCorrection, BankPlan, PairSet, probe_of
from tokmem_desk.bank.manifest import Manifest
from tokmem_desk.bank.reader import OpenBank
from tokmem_desk.bank.writer import ExportBank, ExportProcedure, write_bank
from tokmem_desk.errors import (
    BadInputError,
    ConflictError,
    IncompatibleError,
    NotFoundError,
    UsageError,
)
from tokmem_desk.plans.steps import procedures_of, read_steps
from tokmem_desk.procedures import NONE_ROUTE, ExamplePair
from tokmem_desk.system.disk import typed_path
from tui.kit.progress import Progress

_PACKAGES = ("tokmem-desk", "torch", "transformers", "bitsandbytes")
_SHOWN_REASONS = 3


# --- export -------------------------------------------------------------------------------------------


def choose(store: ProfileStore, fingerprint: str, names: Sequence[str]) -> list[MemoryRecord]:
    """The memories to export: those of the named procedures, or all that answer on this backbone.

    Raises:
        NotFoundError: no procedure of that name; or nothing is trained.
        UsageError: a named one has no memory for this backbone.
    """
    active = {one.procedure: one for one in store.memories.all_active(fingerprint, enabled_only=False)}
    for name in names:
        if store.procedures.get(name).name not in active:
            raise UsageError(
                f"{name!r} has no memory for this model yet.", next_step=f"Train it: tokmem-desk train {name}"
            )
    if not active:
        raise NotFoundError("Nothing is trained for this model yet.", next_step="First: tokmem-desk train")
    return [active[name] for name in dict.fromkeys(names)] if names else list(active.values())


def export_path(text: str) -> Path:
    """The path of a bank to write: with the ending of banks, unless another one was given.

    Raises:
        UsageError: a path that cannot be.
    """
    path = typed_path(text)
    return path if path.suffix or path.is_dir() else path.with_name(f"{path.name}{SUFFIX}")


def prepare_export(
    store: ProfileStore,
    title: str,
    memories: Sequence[MemoryRecord],
    probed: Mapping[str, Any],
    *,
    with_pairs: bool,
    licence: str = "",
) -> ExportBank:
    """Put together what ``write_export`` writes.

    Args:
        title: of the bank.
        memories: as chosen.
        probed: the result of the engine's ``bank_probes`` for them.
    """
    return ExportBank(
        title=title,
        procedures=_procedures(store, memories, probed.get("fresh") or {}, with_pairs=with_pairs),
        probes=[probe_of(fields) for fields in probed["probes"]],
        recipe=probed["recipe"],
        licence=licence,
        backbone_licence=str(probed.get("licence") or ""),
        configuration=probed["configuration"],
        calibration=probed["calibration"],
        anchors=base64.b64decode(probed["anchors"]),
        corrections=_corrections(store, memories) if with_pairs else (),
        plans=_plans(store, memories),
        generator=_generator(),
    )


def write_export(path: Path, bank: ExportBank, passphrase: str | None = None) -> Manifest:
    """Write a bank file, whole or not at all. Needs no thread of the store's: it reads files only.

    Raises:
        TokmemError: a memory cannot be read, or the disk refuses; ``path`` is as it was.
    """
    if not path.parent.is_dir():
        private_folder(path.parent)
    with replacing(path) as temporary, temporary.open("wb") as target:
        return write_bank(target, bank, passphrase)


def _procedures(
    store: ProfileStore, memories: Sequence[MemoryRecord], fresh: Mapping[str, str], *, with_pairs: bool
) -> list[ExportProcedure]:
    records = {record.name: record for record in store.procedures.list()}
    found = []
    for memory in memories:
        record = records[memory.procedure]
        pairs, learned = None, None
        if with_pairs:
            whole = store.procedures.with_pairs(record.name)
            pairs = PairSet(whole.pairs, whole.held_out)
            learned = _learned(store, memory, whole.pairs)
        new = fresh.get(record.name)

        def load(file: str = memory.file, new: str | None = new) -> bytes:
            return store.memories.read(file) if new is None else base64.b64decode(new)

        found.append(
            ExportProcedure(
                uuid=record.uuid,
                name=record.name,
                load=load,
                description=record.description,
                pattern=record.pattern,
                threshold=record.threshold,
                version=memory.version,
                pair_count=memory.pair_count,
                pairs_digest=memory.pairs_digest,
                scorecard=memory.scorecard,
                trained=memory.created,
                pairs=pairs,
                output_schema=record.output_schema,
                reads_conversation=record.reads_conversation,
                group=record.group,
                learned=learned,
            )
        )
    return found


def _learned(store: ProfileStore, memory: MemoryRecord, pairs: Sequence[ExamplePair]) -> tuple[int, ...] | None:
    """The places of the pairs that a memory learned; a pair with the input of one that it learned counts as learned."""
    choice = store.memories.held_out_choice(memory.id)
    if choice is None:
        return None
    known = {pair.input for pair in choice.learned}
    return tuple(place for place, pair in enumerate(pairs) if pair.input in known)


def _corrections(store: ProfileStore, memories: Sequence[MemoryRecord]) -> list[BankCorrection]:
    """Corrections between exported routes; others would name procedures that are not exported."""
    names = {memory.procedure for memory in memories} | {NONE_ROUTE}
    return [
        BankCorrection(one.text, one.wrong_route, one.right_route)
        for one in store.corrections.list()
        if one.right_route in names and one.wrong_route in names
    ]


def _plans(store: ProfileStore, memories: Sequence[MemoryRecord]) -> list[BankPlan]:
    """Steps of exported plans, and chains between exported procedures."""
    records = {record.name: record for record in store.procedures.list()}
    names = [memory.procedure for memory in memories]
    exported = {records[name].uuid for name in names}
    present, found = store.plans.steps(), []
    for name in names:
        steps = present.get(name)
        # Looked up for plans alone: it reads the list of all procedures.
        called = store.plans.called(name) if steps else {}
        if steps and not _whole(steps, called):
            steps, called = None, {}
        then = records[name].then_uuid if records[name].then_uuid in exported else ""
        if steps is not None or then:
            found.append(BankPlan(records[name].uuid, steps, called, then))
    return found


def _whole(steps: str, called: Collection[str]) -> bool:
    """Whether steps can be read, and all that they name is known; an older program may have written others."""
    try:
        return {*procedures_of(read_steps(steps))} - {NONE_ROUTE} == set(called)
    except BadInputError:
        return False


def _generator() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


# --- import --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a bank can be used with a backbone."""

    kind: Literal["fits", "retrain", "refused"]
    """``retrain``: made for another backbone, with the pairs to train it here."""
    reason: str
    """A sentence; empty when it fits without a remark."""


def verdict_of(bank: OpenBank, identity: Mapping[str, Any]) -> Verdict:
    """Compare a bank's backbone with the one in use.

    Args:
        identity: the fingerprint of the backbone in use, as ``Fingerprint.as_dict`` gives it.
    """
    made_for = bank.manifest.backbone.as_dict()
    if made_for["digest"] == identity["digest"]:
        soft = [key for key in ("revision", "compute_dtype") if made_for[key] != identity[key]]
        words = {"revision": "another revision of the same files", "compute_dtype": f"{made_for['compute_dtype']}"}
        remark = (
            f"It was made with {' and '.join(words[key] for key in soft)}; its test messages will tell." if soft else ""
        )
        return Verdict("fits", remark)
    names = {
        "config_sha256": "shape",
        "tokenizer_sha256": "way of cutting texts",
        "layout_sha256": "form of a conversation",
        "embedding_sha256": "table of words",
        "weights_sha256": "weights",
        "quantization": f"number format ({made_for['quantization']} there, {identity['quantization']} here)",
    }
    differ = [words for key, words in names.items() if made_for[key] != identity[key]]
    reason = f"It was made for {made_for['model_id']}, and the model here is {identity['model_id']}"
    reason += f": {', '.join(differ)} {'differs' if len(differ) == 1 else 'differ'}." if differ else "."
    return Verdict("retrain" if _trainable(bank) else "refused", reason)


def _trainable(bank: OpenBank) -> bool:
    return bank.pairs is not None and any(pairs.train for pairs in bank.pairs.values())


def refusal(bank: OpenBank, verdict: Verdict) -> IncompatibleError:
    """The error for a bank of another backbone that is not to be trained here."""
    model = bank.manifest.backbone.model_id
    if verdict.kind == "retrain":
        step = "Its pairs are inside: --retrain trains its procedures here. Or switch to that model: "
    else:
        step = "Its pairs are not inside, so it cannot be trained here. Switch to that model: "
    return IncompatibleError(verdict.reason, next_step=f"{step}tokmem-desk model use {model}")


def plan(bank: OpenBank, store: ProfileStore, conflict: Conflict | None) -> list[Placement]:
    """Decide what becomes of each procedure.

    Raises:
        ConflictError: names are taken and nobody said what to do then.
    """
    taken = {record.name for record in store.procedures.list()}
    shared = conflicts(bank, store)
    if shared and conflict is None:
        shown = ", ".join(shared[:5]) + (f" and {len(shared) - 5} more" if len(shared) > 5 else "")
        raise ConflictError(
            f"There {'is a procedure' if len(shared) == 1 else 'are procedures'} of the same name here: {shown}.",
            next_step="Say what to do: --on-conflict rename, replace or skip.",
        )
    return place_names(bank.manifest.names, taken, conflict or "rename")


def conflicts(bank: OpenBank, store: ProfileStore) -> list[str]:
    """Names that both the bank and the profile have."""
    taken = {record.name for record in store.procedures.list()}
    return [name for name in bank.manifest.names if name in taken]


def stage(
    bank: OpenBank,
    placements: Sequence[Placement],
    store: ProfileStore,
    folder: Path,
    router: str,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Put a bank's memories into quarantine and return the fields of the engine's ``bank_check``.

    All memories of the bank are staged, those to be left out too: the probes were made with all of them.

    Args:
        router: digest of the router in use.
        progress: is told of each memory, and may stop it.

    Raises:
        InterruptedByUser: it was stopped.
        TokmemError: the file changed since it was checked, or the disk refuses.
    """
    memories: list[dict[str, Any]] = []
    for one, place in zip(bank.manifest.procedures, placements, strict=True):
        if progress is not None:
            progress.check()
            progress.tell("Looking at the memories", len(memories) / len(placements))
        file = store.memories.write(bank.memory(one, place.new_name or None), folder)
        memories.append(
            {"uuid": one.uuid, "name": one.name, "file": file, "action": place.action, "pairs": one.pair_count}
        )
    # Statistics of another router are made anew from the pairs, where there are some.
    pairs = {} if bank.manifest.router.digest == router else bank.pairs or {}
    return {
        "folder": folder.name,
        "memories": memories,
        "probes": [probe.as_dict() for probe in bank.probes],
        "anchors": base64.b64encode(bank.anchors()).decode(),
        "inputs": {uuid: [pair.input for pair in some.train] for uuid, some in pairs.items()},
    }


def refuse_failed(checked: Mapping[str, Any]) -> None:
    """Stop an import whose probes came out otherwise here.

    Raises:
        IncompatibleError: names the first of them.
    """
    failed = [one for one in checked["probes"] if not one["passed"]]
    if not failed:
        return
    shown = "; ".join(f"{one['procedure']}: {one['reason']}" for one in failed[:_SHOWN_REASONS])
    raise IncompatibleError(
        f"{len(failed)} of {len(checked['probes'])} test messages came out otherwise on this computer ({shown}). "
        "Nothing was imported.",
        next_step="If its pairs are inside, --retrain trains its procedures here.",
    )


def overlap_sentences(checked: Mapping[str, Any], placements: Sequence[Placement]) -> list[str]:
    """What the bank would take from the person's own procedures, a sentence for each that loses something."""
    names = {place.name: place.new_name or place.name for place in placements}
    return [
        f"{one['count']} of {one['of']} messages of your {one['name']!r} would go to "
        f"{names.get(one['to'], one['to'])!r} of this file."
        for one in checked.get("overlap") or ()
    ]


@dataclass(frozen=True, slots=True)
class PlanArrival:
    """What becomes of one plan of a bank.

    Attributes:
        name: in the profile.
        taught: its answers are its steps.
        missing: what its steps name and is not there.
        renamed: procedures of the bank that are called otherwise here, by name in the bank; of a taught plan alone,
            since the steps of others follow by themselves.
    """

    name: str
    taught: bool
    missing: tuple[str, ...]
    renamed: Mapping[str, str]


def plan_arrivals(bank: OpenBank, placements: Sequence[Placement], store: ProfileStore) -> list[PlanArrival]:
    """What becomes of the plans of a bank that are taken in; the same before the import and after it."""
    there = {record.uuid for record in store.procedures.list()}
    places = {one.uuid: place for one, place in zip(bank.manifest.procedures, placements, strict=True)}
    there |= {identity for identity, place in places.items() if place.new_name}
    renamed = {place.name: place.new_name for place in placements if place.action == "rename"}
    return [
        PlanArrival(
            places[one.procedure].new_name,
            not one.steps,
            tuple(name for name, identity in one.names.items() if identity not in there),
            {} if one.steps else renamed,
        )
        for one in bank.plans
        if one.steps is not None and places[one.procedure].new_name
    ]


def chain_arrivals(bank: OpenBank, placements: Sequence[Placement]) -> list[tuple[str, str]]:
    """Chains that come along: a procedure, and the one that goes on with its answers, by names in the profile."""
    names = {one.uuid: place.new_name for one, place in zip(bank.manifest.procedures, placements, strict=True)}
    links = ((names[one.procedure], names.get(one.then, "")) for one in bank.plans)
    return [(name, then) for name, then in links if name and then]


def incoming(bank: OpenBank, placements: Sequence[Placement], files: Mapping[str, str] | None) -> Incoming:
    """What the store is to take in.

    Args:
        files: of the memories, by uuid, as ``bank_check`` returned them; None brings the pairs alone.

    Raises:
        BadInputError: there are no pairs to bring alone.
    """
    if files is None and not _trainable(bank):
        raise BadInputError(f"{bank.name} holds no pairs to train.", next_step="Ask for an export with pairs.")
    new_names = {place.name: place.new_name for place in placements if place.new_name} | {NONE_ROUTE: NONE_ROUTE}
    plans = {one.procedure: one for one in bank.plans}
    found = []
    for one, place in zip(bank.manifest.procedures, placements, strict=True):
        if place.action == "skip":
            continue
        does = plans.get(one.uuid, BankPlan(one.uuid))
        pairs = (bank.pairs or {}).get(one.uuid, PairSet((), ()))
        memory = None
        if files is not None:
            memory = IncomingMemory(
                files[one.uuid],
                bank.manifest.backbone.digest,
                one.pair_count,
                one.pairs_digest,
                {**one.settings, IMPORTED_FROM: bank.name},
                # What only a training here could say.
                {**one.scores, "seconds": 0.0, "steps": one.scores.get("steps", 0), "advice": []},
                one.learned,
            )
        found.append(
            IncomingProcedure(
                uuid=one.uuid,
                name=place.new_name,
                description=one.description,
                pattern=one.pattern,
                threshold=one.threshold,
                replaces=place.action == "replace",
                pairs=pairs.train,
                held_out=pairs.held_out,
                memory=memory,
                output_schema=one.output_schema,
                reads_conversation=one.reads_conversation,
                group=one.group,
                steps=does.steps,
                step_uuids=does.names,
                then_uuid=does.then,
            )
        )
    corrections = [
        IncomingCorrection(one.text, new_names[one.wrong], new_names[one.right])
        for one in bank.corrections
        if one.wrong in new_names and one.right in new_names
    ]
    return Incoming(bank.name, found, corrections)
