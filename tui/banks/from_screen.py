"""Export and import of memories with their dialogs, from the key to the message at the end."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from textual.app import App

from tui.banks.controller import export_bank, import_bank
from tui.banks.dialogs import BankDialog, ExportDialog
from tui.banks.words import exported_steps
from tui.kit.busy import BusyDialog
from tui.kit.services import AppServices


async def import_memories(
    screens: App[Any],
    app: AppServices,
    path: Path,
    taken: Collection[str],
    changed: Callable[[str | None], object],
) -> None:
    """Take memories in, after a look at what is in the file.

    Args:
        screens: shows the dialogs.
        app: whose profile takes them.
        path: the file or folder.
        taken: names of the profile's procedures.
        changed: called once they are there, with the first one's name.

    Raises:
        TokmemError: nothing was imported.
    """
    backbone = app.link.state.backbone
    wish = await screens.push_screen_wait(BankDialog(path, taken, backbone["identity"] if backbone else None))
    if wish is None:
        return
    names = await screens.push_screen_wait(
        BusyDialog(f"Importing {path.name}", lambda progress: import_bank(app, wish, progress))
    )
    if names is None:
        return
    changed(names[0] if names else None)
    if wish.retrain:
        app.train(names)
    else:
        app.notify(
            f"Imported {len(names)} procedures; their test messages came out right. ^z takes that back.", markup=False
        )


async def export_memories(screens: App[Any], app: AppServices, selected: str, trained: Sequence[str]) -> None:
    """Write memories into a file for somebody else.

    Args:
        screens: shows the dialog.
        app: whose profile has them.
        selected: the procedure under the cursor.
        trained: names that can be exported.

    Raises:
        TokmemError: nothing was written.
    """
    wish = await screens.push_screen_wait(ExportDialog(selected, trained))
    if wish is None:
        return
    bank = await export_bank(app, wish)
    meant = [name for name in app.store.plans.steps() if not wish.names or name in wish.names]
    said = f"Exported {len(bank.procedures)} procedures to {wish.path}. {exported_steps(bank, meant)}"
    app.notify(said.rstrip(), markup=False)
