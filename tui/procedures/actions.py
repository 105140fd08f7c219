"""What can be done with a procedure as a whole: the dialogs of the Procedures screen, and what comes of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from textual import events, work
from textual.widgets import Input, TextArea

from profiles.pair_files.pairs_file import PairsFile
from profiles.pair_files.pasted import is_table
from tokmem_desk.errors import TokmemError
from tokmem_desk.procedures import ExamplePair, Procedure
from tui.engine_client.protocol import Overlap
from tui.kit.base import AppScreen
from tui.kit.confirm import ConfirmDialog
from tui.kit.error_dialogs import shows_errors
from tui.procedures.drafts import DraftsDialog
from tui.procedures.edit_procedure import ProcedureDialog
from tui.procedures.edit_tool import ToolDialog
from tui.procedures.from_chat import ChatPairs, FromChatDialog
from tui.procedures.group import GroupDialog
from tui.procedures.import_pairs import ImportChoice, ImportDialog
from tui.procedures.samples import sample_files
from tui.procedures.services import ProcedureServices
from tui.procedures.threshold_dialog import StandingDialog
from tui.procedures.versions import VersionsDialog
from tui.shared.overview import ProcedureLine


class ProcedureActions(AppScreen):
    """The part of the Procedures screen that acts on the procedure under the cursor."""

    @property
    def tokmem(self) -> ProcedureServices:
        """The app, as far as this room uses it."""
        return cast(ProcedureServices, self.app)

    @property
    def lines(self) -> Sequence[ProcedureLine]:
        """All procedures."""
        raise NotImplementedError

    @property
    def selected(self) -> ProcedureLine | None:
        """The procedure under the cursor."""
        raise NotImplementedError

    @property
    def overlap(self) -> Overlap | None:
        """Of the procedure under the cursor, as far as it is known."""
        raise NotImplementedError

    def changed(self, name: str | None = None) -> None:
        """Something was changed here: tell everyone, and go to a procedure."""
        raise NotImplementedError

    def write_pairs(self) -> None:
        """Let the person write a pair of the procedure under the cursor."""
        raise NotImplementedError

    @property
    def _names(self) -> set[str]:
        return {line.record.name for line in self.lines}

    @work(exit_on_error=False)
    async def action_add_procedure(self) -> None:
        """Name a new procedure, then write its first pairs."""
        made = await self.app.push_screen_wait(ProcedureDialog("A new procedure", self._names))
        if made is None:
            return
        self.tokmem.store.procedures.add(Procedure(made[0], (), description=made[1]), source="by hand")
        self.changed(made[0])
        self.call_after_refresh(self.write_pairs)

    @work(exit_on_error=False)
    async def action_edit_procedure(self) -> None:
        """Change name and description."""
        line = self.selected
        if line is None:
            return
        record = line.record
        taken = self._names - {record.name}
        dialog = ProcedureDialog("Name and description", taken, name=record.name, description=record.description)
        made = await self.app.push_screen_wait(dialog)
        if made is None:
            return
        self.tokmem.store.procedures.rename(record.name, made[0])
        self.tokmem.store.procedures.set_description(made[0], made[1])
        self.changed(made[0])

    @work(exit_on_error=False)
    async def action_edit_tool(self) -> None:
        """Change the form of its answers, what it sees, and its command."""
        line = self.selected
        if line is None:
            return
        name, store = line.record.name, self.tokmem.store
        before = store.commands.get(name)
        draft = await self.app.push_screen_wait(ToolDialog(line.record, before))
        if draft is None:
            return
        store.procedures.set_schema(name, draft.schema)
        store.procedures.set_reads_conversation(name, draft.reads_conversation)
        if draft.template is None:
            store.commands.remove(name)
        elif before is None or before.template != draft.template:
            store.commands.set(name, draft.template)
        elif before.allowed is not None and not draft.always_allowed:
            store.commands.allow(name, None)
        self.changed(name)

    @work(exit_on_error=False)
    async def action_delete_procedure(self) -> None:
        """Delete after asking."""
        line = self.selected
        if line is None:
            return
        name = line.record.name
        count = line.record.pair_count + line.record.held_out_count
        what = f"Its {count} pairs and its memories go. ^z brings them back."
        if await self.app.push_screen_wait(ConfirmDialog(f"Delete {name}?", what, "Delete", danger=True)):
            self.tokmem.store.procedures.remove(name)
            self.changed()
            self.notify(f"Deleted {name}. ^z brings it back.", markup=False)

    @shows_errors
    def action_toggle_procedure(self) -> None:
        """Let the procedure take messages, or not."""
        line = self.selected
        if line is not None:
            self.tokmem.store.procedures.set_enabled(line.record.name, not line.record.enabled)
            self.changed()

    @shows_errors
    def action_toggle_group(self) -> None:
        """Let all procedures of the group take messages, or none of them."""
        line = self.selected
        if line is None:
            return
        group = line.record.group
        if not group:
            self.notify(f"{line.record.name} is in no group. g puts it into one.", markup=False)
            return
        enabled = not line.record.enabled
        members = [one.record.name for one in self.lines if one.record.group == group]
        for name in members:
            self.tokmem.store.procedures.set_enabled(name, enabled)
        self.changed()
        self.notify(f"{len(members)} of {group} are {'on' if enabled else 'off'} now.", markup=False)

    @work(exit_on_error=False)
    async def action_group(self) -> None:
        """Put the procedure into a group."""
        line = self.selected
        if line is None:
            return
        record = line.record
        group = await self.app.push_screen_wait(
            GroupDialog(record.name, record.group, self.tokmem.store.procedures.groups())
        )
        if group is not None:
            self.tokmem.store.procedures.set_group(record.name, group)
            self.changed(record.name)

    @shows_errors
    def action_samples(self) -> None:
        """Add the sample procedures that are not there."""
        added = [one for one in sample_files() if one.procedure_name and one.procedure_name not in self._names]
        for sample in added:
            self.tokmem.store.procedures.add(as_procedure(sample, str(sample.procedure_name)), source="sample")
        self.changed()
        if added:
            self.notify(f"Added {len(added)} sample procedures. t trains one, F4 all of them.")
        else:
            self.notify("The samples are here already.")

    # Pairs from elsewhere

    @work(exit_on_error=False)
    async def action_import(self) -> None:
        """Read pairs, or memories, from a file, after a look at what is in it."""
        choice = await self.app.push_screen_wait(ImportDialog(self._names))
        if isinstance(choice, Path):
            await self.tokmem.import_memories(choice, self._names, self.changed)
        else:
            self._import(choice)

    @work(exit_on_error=False)
    async def action_export(self) -> None:
        """Write memories into a file for somebody else."""
        trained = [line.record.name for line in self.lines if line.memory is not None]
        if not trained:
            self.notify("Nothing is trained yet: there is no memory to export.")
            return
        line = self.selected
        await self.tokmem.export_memories(line.record.name if line else "", trained)

    def on_paste(self, event: events.Paste) -> None:
        """A table that was copied in a spreadsheet is offered for import."""
        if isinstance(self.focused, Input | TextArea):
            return
        event.stop()
        if is_table(event.text) or event.text.lstrip()[:1] in ("{", "["):
            self._paste(event.text)
        else:
            self.notify("That is no table. Copy two columns in a spreadsheet and paste them here.", severity="warning")

    @work(exit_on_error=False)
    async def _paste(self, text: str) -> None:
        line = self.selected
        into = None if line is None else line.record.name
        choice = await self.app.push_screen_wait(ImportDialog(self._names, pasted=text, into=into))
        self._import(choice if isinstance(choice, ImportChoice) else None)

    def _import(self, choice: ImportChoice | None) -> None:
        if choice is None:
            return
        store, source = self.tokmem.store, choice.path.name
        if choice.name in self._names:
            store.pairs.add_parts(choice.name, choice.file.parts, source)
        else:
            store.procedures.add(as_procedure(choice.file, choice.name), source=source)
        self.changed(choice.name)
        self.notify(f"Imported {choice.file.count} pairs into {choice.name}. ^z takes them out.", markup=False)

    @work(exit_on_error=False)
    async def action_from_chat(self, into: str = "") -> None:
        """Make pairs of a conversation."""
        store = self.tokmem.store
        conversations = [one for one in store.chats.list(limit=100) if one.message_count]
        if not conversations:
            self.notify("There is no conversation yet. F2 begins one.")
            return
        dialog = FromChatDialog(conversations, store.messages.list, self._names, into)
        self._take_chat(await self.app.push_screen_wait(dialog))

    def _take_chat(self, chosen: ChatPairs | None) -> None:
        if chosen is None:
            return
        if chosen.name in self._names:
            self.tokmem.store.pairs.add(chosen.name, chosen.pairs, source="chat")
        else:
            self.tokmem.store.procedures.add(Procedure(chosen.name, tuple(chosen.pairs)), source="chat")
        self.changed(chosen.name)
        self.notify(f"Saved {len(chosen.pairs)} pairs to {chosen.name}. ^z takes them out.", markup=False)

    @work(exit_on_error=False)
    async def action_drafts(self) -> None:
        """Let the model suggest pairs."""
        line = self.selected
        if line is None:
            return
        name = line.record.name

        def take(pair: ExamplePair) -> None:
            self.tokmem.store.pairs.add(name, [pair], source="drafted")
            self.changed(name)

        await self.app.push_screen_wait(DraftsDialog(name, self.tokmem.link, self.tokmem.profile, take))

    # Looking closer

    @work(exit_on_error=False)
    async def action_versions(self) -> None:
        """Look at what the procedure was, and go back to it."""
        line = self.selected
        if line is None:
            return
        store, name, fingerprint = self.tokmem.store, line.record.name, self.tokmem.fingerprint or ""
        versions = store.versions.list(name)
        memories = {memory.id: memory.version for memory in store.memories.list(name)}
        present = versions[0].number
        dialog = VersionsDialog(
            name,
            versions,
            memories,
            fingerprint,
            lambda number: store.versions.diff(name, number, present, fingerprint),
        )
        number = await self.app.push_screen_wait(dialog)
        if number is not None:
            text = store.versions.roll_back(name, number)
            self.changed(name)
            self.notify(f"{text[:1].upper()}{text[1:]}. ^z takes that back.", markup=False)

    @work(exit_on_error=False)
    async def action_standing(self) -> None:
        """See how it stands among the others, and move its threshold."""
        line = self.selected
        if line is None:
            return
        record, app = line.record, self.tokmem
        if not record.pair_count:
            self.notify("It has no pairs yet.")
            return
        dialog = StandingDialog(record.name, record.threshold, app.link, app.profile, self.overlap)
        chosen = await self.app.push_screen_wait(dialog)
        if chosen is not None:
            app.store.procedures.set_threshold(record.name, None if chosen == "auto" else float(chosen))
            self.changed(record.name)

    @shows_errors
    def action_train(self) -> None:
        """Train the procedure under the cursor."""
        line = self.selected
        if line is not None:
            self.tokmem.train([line.record.name])

    @shows_errors
    def action_undo(self) -> None:
        """Take the last change back."""
        try:
            text = self.tokmem.store.undo.take_back()
        except TokmemError as caught:
            self.notify(caught.message, markup=False)
            return
        self.changed()
        self.notify(f"Taken back: {text}.", markup=False)


def as_procedure(file: PairsFile, name: str) -> Procedure:
    """What was read as a procedure of that name."""
    return Procedure(
        name,
        tuple(file.pairs),
        tuple(file.held_out),
        file.description or "",
        file.pattern,
        file.output_schema,
        file.reads_conversation,
    )
