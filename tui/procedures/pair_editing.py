"""Changes to single pairs of the procedure under the cursor: write, change, delete, hold out.

Undo is one key, so nothing here asks first.
"""

from __future__ import annotations

import contextlib
from functools import partial

from profiles.store.pairs import PairRecord
from tokmem_desk.errors import BadInputError
from tokmem_desk.procedures import ExamplePair
from tui.kit.edit_pair import PairDialog
from tui.procedures.host import ProceduresHost
from tui.procedures.messages import PairTextWanted, PairWanted, PairWritten
from tui.procedures.pair_panel import PairPanel
from tui.procedures.pair_rows import CellPart


class PairEditing:
    """Stores what the panel of pairs asks for, and answers it there.

    Args:
        host: the screen.
    """

    def __init__(self, host: ProceduresHost) -> None:
        self._host = host

    def keep_unsaved(self, panel: PairPanel) -> None:
        """Store the cell that is being edited, if its text can be stored."""
        if panel.open_text is not None:
            with contextlib.suppress(BadInputError):
                self._store_text(*panel.open_text)

    def replace_text(self, panel: PairPanel, event: PairTextWanted) -> None:
        """Store what was written in a cell. The panel says why not, if it cannot be stored."""
        try:
            self._store_text(event.pair_id, event.part, event.text)
        except BadInputError as caught:
            panel.refused(caught.message, event.then)
            return
        self._host.changed()
        panel.saved(event.then)

    def add(self, panel: PairPanel, event: PairWritten) -> None:
        """Store a new pair. The panel says why not, if it cannot be stored."""
        line = self._host.selected
        if line is None:
            return
        pair = ExamplePair(event.input, event.response)
        try:
            self._host.tokmem.store.pairs.add(line.record.name, [pair], source="by hand")
        except BadInputError as caught:
            panel.refused(caught.message)
            return
        panel.written(event.another)
        self._host.changed()

    def act(self, panel: PairPanel, event: PairWanted) -> None:
        """Delete a pair, hold it out or not any more, or edit it in a window."""
        line = self._host.selected
        if line is None:
            return
        store, pair = self._host.tokmem.store, panel.pairs.find(event.pair_id or 0)
        if event.action == "large":
            self._host.in_background(partial(self._edit_in_window, line.record.name, pair), asks=True)
        elif pair is not None and event.action == "delete":
            store.pairs.delete(pair.id)
            self._host.changed()
            self._host.notify("Deleted the pair. ^z brings it back.")
        elif pair is not None:
            store.pairs.update(pair.id, part="train" if pair.part == "held_out" else "held_out")
            self._host.changed()

    def _store_text(self, pair_id: int, part: CellPart, text: str) -> None:
        """Replace one text of a stored pair.

        Raises:
            BadInputError: the text is empty or unusable.
        """
        texts = {part: text}
        self._host.tokmem.store.pairs.update(pair_id, input=texts.get("input"), response=texts.get("response"))

    async def _edit_in_window(self, name: str, pair: PairRecord | None) -> None:
        """Edit a pair in a window, or write new ones one after the other."""
        while True:
            title = f"A new pair of {name}" if pair is None else f"A pair of {name}"
            dialog = PairDialog(
                title,
                [name],
                input="" if pair is None else pair.input,
                response="" if pair is None else pair.response,
                offer_another=pair is None,
            )
            draft = await self._host.ask(dialog)
            if draft is None:
                return
            store = self._host.tokmem.store
            if pair is not None:
                store.pairs.update(pair.id, input=draft.input, response=draft.response)
            else:
                store.pairs.add(name, [ExamplePair(draft.input, draft.response)], source="by hand")
            self._host.changed(name)
            if not draft.another:
                return
