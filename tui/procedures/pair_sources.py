"""Where pairs come from besides the keyboard: files, the clipboard, chats, drafts, samples. And memories out and in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from profiles.pair_files.lint import repeated_sentence
from profiles.pair_files.pairs_file import PairsFile
from profiles.pair_files.pasted import is_table
from tokmem_desk.procedures import ExamplePair, Procedure
from tui.procedures.drafter import drafter
from tui.procedures.drafts import DraftsDialog
from tui.procedures.from_chat import FromChatDialog
from tui.procedures.from_text import FromTextDialog
from tui.procedures.host import ProceduresHost
from tui.procedures.import_pairs import ImportChoice, ImportDialog
from tui.procedures.samples import sample_files


class PairSources:
    """Brings pairs into the profile, each time after a look at them.

    Args:
        host: the screen.
    """

    def __init__(self, host: ProceduresHost) -> None:
        self._host = host

    def add_samples(self) -> None:
        """Add the sample procedures that are not there."""
        host = self._host
        missing = [file for file in sample_files() if file.procedure_name and file.procedure_name not in host.names]
        for file in missing:
            host.tokmem.store.procedures.add(_procedure(file, str(file.procedure_name)), source="sample")
        host.changed()
        if missing:
            host.notify(f"Added {len(missing)} sample procedures. t trains one, F4 all of them.")
        else:
            host.notify("The samples are here already.")

    async def import_file(self) -> None:
        """Read pairs, or memories, from a file, after a look at what is in it."""
        host = self._host
        choice = await host.ask(ImportDialog(host.names))
        if isinstance(choice, Path):
            await host.tokmem.import_memories(choice, host.names, host.changed)
        else:
            self._take_import(choice)

    async def export(self) -> None:
        """Write memories into a file for somebody else."""
        host = self._host
        trained = [line.record.name for line in host.lines if line.memory is not None]
        if not trained:
            host.notify("Nothing is trained yet: there is no memory to export.")
            return
        line = host.selected
        await host.tokmem.export_memories(line.record.name if line else "", trained)

    def is_importable(self, text: str) -> bool:
        """Whether a pasted text is a table or JSON; the person is told if not."""
        if is_table(text) or text.lstrip()[:1] in ("{", "["):
            return True
        self._host.notify(
            "That is no table. Copy two columns in a spreadsheet and paste them here.", severity="warning"
        )
        return False

    async def paste(self, text: str) -> bool:
        """Take pairs from a pasted text, after a look at them. False when the person does not want them."""
        line = self._host.selected
        into = None if line is None else line.record.name
        choice = await self._host.ask(ImportDialog(self._host.names, pasted=text, into=into))
        self._take_import(choice if isinstance(choice, ImportChoice) else None)
        return isinstance(choice, ImportChoice)

    def _take_import(self, choice: ImportChoice | None) -> None:
        if choice is None:
            return
        host, store, source = self._host, self._host.tokmem.store, choice.path.name
        repeated = ""
        if choice.name in host.names:
            parts = choice.file.parts
            present = [one.pair for part in parts for one in store.pairs.list(choice.name, part)]
            repeated = repeated_sentence((pair for pairs in parts.values() for pair in pairs), present)
            store.pairs.add_parts(choice.name, choice.file.parts, source)
        else:
            store.procedures.add(_procedure(choice.file, choice.name), source=source)
        host.changed(choice.name)
        words = filter(
            None, (f"Imported {choice.file.count} pairs into {choice.name}.", repeated, "^z takes them out.")
        )
        host.notify(" ".join(words), markup=False)

    async def take_from_chat(self, into: str = "") -> None:
        """Make pairs of a conversation.

        Args:
            into: the procedure to offer first.
        """
        host, store = self._host, self._host.tokmem.store
        conversations = [record for record in store.chats.list(limit=100) if record.message_count]
        if not conversations:
            host.notify("There is no conversation yet. F2 begins one.")
            return
        chosen = await host.ask(FromChatDialog(conversations, store.messages.list, host.names, into))
        if chosen is None:
            return
        if chosen.name in host.names:
            store.pairs.add(chosen.name, chosen.pairs, source="chat")
        else:
            store.procedures.add(Procedure(chosen.name, tuple(chosen.pairs)), source="chat")
        host.changed(chosen.name)
        host.notify(f"Saved {len(chosen.pairs)} pairs to {chosen.name}. ^z takes them out.", markup=False)

    async def take_text(self) -> None:
        """Make a procedure of a text: of its own examples, or of what the model suggests and the person takes."""
        host = self._host
        choice = await host.ask(FromTextDialog(host.names))
        if choice is None:
            return
        app, skill, name = host.tokmem, choice.skill, choice.name

        def begin(pairs: tuple[ExamplePair, ...]) -> None:
            procedure = Procedure(name, pairs, description=skill.description, output_schema=skill.output_schema)
            app.store.procedures.add(procedure, source=choice.source)
            host.changed(name)

        def take(pairs: Sequence[ExamplePair]) -> None:
            if name not in host.names:
                begin(tuple(pairs))
                return
            app.store.pairs.add(name, pairs, source="drafted")
            host.changed(name)

        if skill.pairs:
            begin(skill.pairs)
            words = [f"Took {len(skill.pairs)} examples of the text into {name}.", *skill.notes]
            host.notify(" ".join(words), markup=False)
            return
        of_text: dict[str, Any] = {"text": skill.text, "schema": skill.output_schema, "known": []}
        async with drafter(app) as writing:
            await host.ask(DraftsDialog(name, writing, app.profile, take, of_text))

    async def take_drafts(self) -> None:
        """Let the model suggest pairs for the procedure under the cursor."""
        host, line = self._host, self._host.selected
        if line is None:
            return
        name, app = line.record.name, host.tokmem

        def take(pairs: Sequence[ExamplePair]) -> None:
            app.store.pairs.add(name, pairs, source="drafted")
            host.changed(name)

        async with drafter(app) as writing:
            await host.ask(DraftsDialog(name, writing, app.profile, take))


def _procedure(file: PairsFile, name: str) -> Procedure:
    """What a file holds, as a procedure of that name."""
    return Procedure(
        name,
        tuple(file.pairs),
        tuple(file.held_out),
        file.description or "",
        file.pattern,
        file.output_schema,
        file.reads_conversation,
    )
