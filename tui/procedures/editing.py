"""Changes to a procedure as a whole: name, form, command, group, threshold, versions, on and off, deletion, undo."""

from __future__ import annotations

from typing import cast

from tokmem_desk.errors import TokmemError
from tokmem_desk.procedures import Procedure
from tokmem_desk.templates.learned_schema import learned_schema
from tui.engine_client.protocol import Overlap, Scorecard, Trained
from tui.kit.confirm import ConfirmDialog
from tui.procedures.chain import ChainDialog
from tui.procedures.edit_procedure import ProcedureDialog
from tui.procedures.edit_tool import ToolDialog
from tui.procedures.group import GroupDialog
from tui.procedures.host import ProceduresHost
from tui.procedures.plan_steps import StepsDialog
from tui.procedures.scorecard_dialog import ScorecardDialog
from tui.procedures.threshold_dialog import ThresholdDialog
from tui.procedures.versions import VersionsDialog
from tui.shared.scorecard import is_whole
from tui.shared.undone import stranded_memories


class ProcedureEditing:
    """Acts on the procedure under the cursor.

    Args:
        host: the screen.
    """

    def __init__(self, host: ProceduresHost) -> None:
        self._host = host

    async def add(self) -> bool:
        """Name a new procedure and go to it; False when the person gave no name."""
        host = self._host
        draft = await host.ask(ProcedureDialog("A new procedure", host.names))
        if draft is None:
            return False
        name, description = draft
        host.tokmem.store.procedures.add(Procedure(name, (), description=description), source="by hand")
        host.changed(name)
        return True

    async def edit(self) -> None:
        """Change name and description."""
        host, line = self._host, self._host.selected
        if line is None:
            return
        record = line.record
        taken = host.names - {record.name}
        draft = await host.ask(
            ProcedureDialog("Name and description", taken, name=record.name, description=record.description)
        )
        if draft is None:
            return
        name, description = draft
        host.tokmem.store.procedures.rename(record.name, name)
        host.tokmem.store.procedures.set_description(name, description)
        host.changed(name)

    async def edit_tool(self) -> None:
        """Change the form of its answers, what it sees, and its command."""
        host, line = self._host, self._host.selected
        if line is None:
            return
        name, store = line.record.name, host.tokmem.store
        command = store.commands.get(name)
        pairs = [one.pair for one in store.pairs.list(name)]
        draft = await host.ask(ToolDialog(line.record, command, learned_schema(pairs)))
        if draft is None:
            return
        store.procedures.set_schema(name, draft.schema)
        store.procedures.set_reads_conversation(name, draft.reads_conversation)
        if draft.template is None:
            store.commands.remove(name)
        elif command is None or command.template != draft.template:
            store.commands.set(name, draft.template)
        elif command.allowed is not None and not draft.always_allowed:
            store.commands.allow(name, None)
        host.changed(name)

    async def delete(self) -> None:
        """Delete after asking."""
        host, line = self._host, self._host.selected
        if line is None:
            return
        name = line.record.name
        count = line.record.pair_count + line.record.held_out_count
        what = f"Its {count} pairs and its memories go. ^z brings them back."
        if await host.ask(ConfirmDialog(f"Delete {name}?", what, "Delete", danger=True)):
            host.tokmem.store.procedures.remove(name)
            host.changed()
            host.notify(f"Deleted {name}. ^z brings it back.", markup=False)

    def toggle(self) -> None:
        """Let the procedure take messages, or not."""
        host, line = self._host, self._host.selected
        if line is not None:
            host.tokmem.store.procedures.set_enabled(line.record.name, not line.record.enabled)
            host.changed()

    def toggle_group(self) -> None:
        """Let all procedures of the group take messages, or none of them."""
        host, line = self._host, self._host.selected
        if line is None:
            return
        group = line.record.group
        if not group:
            host.notify(f"{line.record.name} is in no group. g puts it into one.", markup=False)
            return
        enabled = not line.record.enabled
        members = [member.record.name for member in host.lines if member.record.group == group]
        for name in members:
            host.tokmem.store.procedures.set_enabled(name, enabled)
        host.changed()
        host.notify(f"{len(members)} of {group} are {'on' if enabled else 'off'} now.", markup=False)

    async def set_group(self) -> None:
        """Put the procedure into a group."""
        host, line = self._host, self._host.selected
        if line is None:
            return
        record = line.record
        group = await host.ask(GroupDialog(record.name, record.group, host.tokmem.store.procedures.groups()))
        if group is not None:
            host.tokmem.store.procedures.set_group(record.name, group)
            host.changed(record.name)

    async def set_then(self, offered: str | None = None) -> None:
        """Choose which procedure goes on with the answers of this one.

        Args:
            offered: stands in the field already; None: the present one does.
        """
        host, line = self._host, self._host.selected
        if line is None:
            return
        store, name = host.tokmem.store, line.record.name
        others = [record.name for record in store.procedures.list() if record.name != name]
        present = store.procedures.following().get(name, "")
        shown = present if offered is None else offered
        dialog = ChainDialog(name, shown, others, lambda following: store.procedures.set_then(name, following))
        following = await host.ask(dialog)
        if following is not None and following != present:
            host.changed(name)
            host.notify(f"{name} → {following}" if following else f"{name} ends its chain.", markup=False)

    async def set_plan_steps(self) -> None:
        """Show and change the steps of a plan, make it one, or make it none."""
        host, line = self._host, self._host.selected
        if line is None:
            return
        store, name = host.tokmem.store, line.record.name
        present = store.plans.steps().get(name)
        dialog = StepsDialog(
            name, present or "", lambda steps: store.plans.set_steps(name, steps), is_taught=present == ""
        )
        steps = await host.ask(dialog)
        if steps is not None:
            host.changed(name)
            words = f"{name} is a plan. @{name} in the chat does it." if steps else f"{name} is no plan any more."
            host.notify(words, markup=False)

    async def show_versions(self) -> None:
        """Look at earlier versions of the procedure, and go back to one."""
        host, line = self._host, self._host.selected
        if line is None:
            return
        store, name, fingerprint = host.tokmem.store, line.record.name, host.tokmem.fingerprint or ""
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
        number = await host.ask(dialog)
        if number is not None:
            text = store.versions.roll_back(name, number)
            host.changed(name)
            host.notify(f"{text[:1].upper()}{text[1:]}. ^z takes that back.", markup=False)

    async def set_threshold(self, overlap: Overlap | None) -> None:
        """Choose from which probability on the procedure answers.

        Args:
            overlap: of the procedure under the cursor; None lets the dialog ask the engine.
        """
        host, line = self._host, self._host.selected
        if line is None:
            return
        record, app = line.record, host.tokmem
        if not record.pair_count:
            host.notify("It has no pairs yet.")
            return
        chosen = await host.ask(ThresholdDialog(record.name, record.threshold, app.link, app.profile, overlap))
        if chosen is not None:
            app.store.procedures.set_threshold(record.name, None if chosen == "auto" else float(chosen))
            host.changed(record.name)

    def train(self) -> None:
        """Train the procedure under the cursor."""
        line = self._host.selected
        if line is not None:
            self._host.tokmem.train([line.record.name])

    async def show_scorecard(self) -> None:
        """Show how good the active memory is, as its training has measured it."""
        host, line = self._host, self._host.selected
        if line is None:
            return
        memory = line.memory
        if memory is None or not is_whole(memory.scorecard):
            text = (
                "It has no memory yet: t trains it."
                if memory is None
                else "This memory came without a whole scorecard."
            )
            host.notify(text)
            return
        trained = Trained(name=line.record.name, memory_id=memory.id, scorecard=cast(Scorecard, memory.scorecard))
        await host.ask(ScorecardDialog(trained, memory.version))

    def undo(self) -> None:
        """Take the last change back."""
        app = self._host.tokmem
        touched = app.store.undo.changed_procedures()
        try:
            text = app.store.undo.take_back()
        except TokmemError as caught:
            self._host.notify(caught.message, markup=False)
            return
        self._host.changed()
        said = [f"Taken back: {text}."]
        for one in stranded_memories(app.store, touched, app.fingerprint):
            back = "" if one.version is None else f"; v goes back to #{one.version}, where {one.earlier}"
            said.append(f"{one.sentence} t trains it anew{back}.")
        self._host.notify(" ".join(said), markup=False)
