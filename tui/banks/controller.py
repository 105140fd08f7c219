"""Export and import of banks in the app, from what the person chose to the result. Draws nothing.

Files are read and written in a thread; the store is used in the app's own. If the profile is left meanwhile, nothing
of it is changed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from profiles.store.banks import Conflict, Incoming, Placement
from tokmem_desk.bank.container import SUFFIX
from tokmem_desk.bank.reader import OpenBank, open_bank
from tokmem_desk.bank.writer import ExportBank
from tokmem_desk.errors import BusyError
from tui.banks.transfer import (
    chain_arrivals,
    choose,
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
from tui.banks.words import arrived_plans
from tui.engine_client.protocol import BackboneInfo
from tui.kit.progress import Progress
from tui.kit.services import AppServices

if TYPE_CHECKING:
    from profiles.store.store import ProfileStore


@dataclass(frozen=True, slots=True)
class ExportWish:
    """What to export, and how."""

    path: Path
    names: Sequence[str]
    """Empty: all that are trained."""
    with_pairs: bool
    licence: str
    passphrase: str | None


@dataclass(frozen=True, slots=True)
class ImportWish:
    """What to import, and how."""

    path: Path
    conflict: Conflict
    retrain: bool
    """Take the pairs alone; they are to be trained here."""
    passphrase: str | None


async def export_bank(app: AppServices, wish: ExportWish) -> ExportBank:
    """Write a bank file, and return what is in it.

    Raises:
        TokmemError: there is nothing to export, the engine failed, or the disk refuses.
    """
    store, backbone = app.store, await _backbone(app)
    memories = choose(store, backbone["fingerprint"], wish.names)
    names = [one.procedure for one in memories]
    probed = await _result(app, "bank_probes", names=names, with_pairs=wish.with_pairs)
    _same_profile(app, store)
    title = wish.path.name.removesuffix(SUFFIX)
    bank = prepare_export(store, title, memories, probed, with_pairs=wish.with_pairs, licence=wish.licence)
    await asyncio.to_thread(write_export, wish.path, bank, wish.passphrase)
    return bank


async def import_bank(app: AppServices, wish: ImportWish, progress: Progress) -> list[str]:
    """Take a bank in and return the procedures' names here; with ``retrain`` they are not trained yet.

    Raises:
        InterruptedByUser: it was stopped; nothing was imported.
        TokmemError: it is damaged, does not fit, or its probes came out otherwise; nothing was imported.
    """
    store, backbone = app.store, await _backbone(app)
    with contextlib.ExitStack() as stack:
        progress.tell(f"Reading {wish.path.name}", None)
        opening = open_bank(wish.path, lambda _: wish.passphrase or "")
        bank = await asyncio.to_thread(stack.enter_context, opening)
        _same_profile(app, store)
        placements = plan(bank, store, wish.conflict)
        verdict = verdict_of(bank, backbone["identity"])
        if verdict.kind != "fits" and not wish.retrain:
            raise refusal(bank, verdict)
        if not any(place.new_name for place in placements):
            return []
        progress.check()
        folder = stack.enter_context(store.banks.quarantine())
        if wish.retrain:
            return _take_in(app, bank, placements, incoming(bank, placements, None), folder)
        fields = await asyncio.to_thread(stage, bank, placements, store, folder, backbone["router"], progress)
        checked = await _result(app, "bank_check", progress, **fields)
        progress.check()
        if checked["cancelled"]:
            raise BusyError("The engine stopped looking at the memories; nothing was imported.")
        refuse_failed(checked)
        for sentence in overlap_sentences(checked, placements):
            app.notify(f"{sentence} In doubt your own goes first.", markup=False)
        _same_profile(app, store)
        progress.tell(f"Taking {len(checked['files'])} memories in", None)
        return _take_in(app, bank, placements, incoming(bank, placements, checked["files"]), folder)


def _take_in(
    app: AppServices, bank: OpenBank, placements: Sequence[Placement], coming: Incoming, folder: Path
) -> list[str]:
    """Take everything in, say what becomes of plans and chains, and return the new names."""
    names = app.store.banks.add(coming, folder)
    for sentence in arrived_plans(plan_arrivals(bank, placements, app.store), chain_arrivals(bank, placements)):
        app.notify(sentence, markup=False)
    return names


async def _backbone(app: AppServices) -> BackboneInfo:
    """The backbone in use, loaded."""
    if app.link.state.phase != "ready" or app.link.state.backbone is None:
        await app.link.load(app.profile)
    backbone = app.link.state.backbone
    assert backbone is not None
    return backbone


async def _result(app: AppServices, op: str, progress: Progress | None = None, **fields: Any) -> dict[str, Any]:
    result: dict[str, Any] = {"cancelled": True}
    request = app.link.submit(op, profile=app.profile, **fields)
    if progress is not None:
        progress.request = request
    async for event in app.link.events(request):
        if event["event"] == "done":
            result = dict(event["result"])
        elif progress is not None and event["event"] == "progress":
            progress.tell(str(event.get("text") or ""), event.get("fraction"))
    return result


def _same_profile(app: AppServices, store: ProfileStore) -> None:
    if app.store is not store:
        raise BusyError("The profile was changed meanwhile; nothing was done.", next_step="Go back to it, then again.")
