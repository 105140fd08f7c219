"""The programs that answers may be handed to, and what the person allowed to run unasked.

Nothing here runs anything. A consent never comes back by itself, and a command only where the person goes back to a
version that had it (``profiles.store.versions``), which asks before each run. Neither is ever exported.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from profiles.database.connection import Database
from profiles.store.base import now, procedure_id_of
from profiles.store.table import JSON_LIST, Stored, Table
from profiles.store.version_notes import note_version
from tokmem_desk.errors import NotFoundError
from tokmem_desk.templates.command_line import check_template

_SELECT = "SELECT c.*, p.name FROM commands c JOIN procedures p ON p.id = c.procedure_id"


@dataclass(frozen=True, slots=True)
class CommandRecord:
    """The program that a procedure's answers may be handed to."""

    procedure: Annotated[str, Stored("name", computed=True)]
    template: Annotated[tuple[str, ...], JSON_LIST]
    """The program and its arguments, with slots (``tokmem_desk.templates.command_line``)."""
    allowed: str | None
    """Digest of what may run unasked, or None: ask each time."""
    created: str
    withheld: str | None = None
    """Why a consent that was given once does not hold, for the person to read; None where there is nothing to tell."""


COMMANDS = Table("commands", CommandRecord)


class Commands:
    """Keeps the programs that answers may be handed to.

    Args:
        database: the profile's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def by_name(self) -> dict[str, CommandRecord]:
        """The commands of all procedures that have one, by name."""
        return {row["name"]: COMMANDS.record(row) for row in self._database.rows(_SELECT)}

    def get(self, name: str) -> CommandRecord | None:
        """A procedure's command, or None.

        Raises:
            NotFoundError: there is no procedure of that name.
        """
        row = self._database.row(f"{_SELECT} WHERE c.procedure_id = ?", (procedure_id_of(self._database, name),))
        return None if row is None else COMMANDS.record(row)

    def set(self, name: str, template: Sequence[str]) -> CommandRecord:
        """Give a procedure a command; each run will be asked about.

        Raises:
            NotFoundError: there is no procedure of that name.
            BadInputError: the template cannot be used.
        """
        with self._database.writing() as connection:
            key = procedure_id_of(self._database, name)
            row = connection.execute("SELECT output_schema FROM procedures WHERE id = ?", (key,)).fetchone()
            schema = row["output_schema"]
            check_template(template, None if schema is None else json.loads(schema))
            connection.execute(
                """
                INSERT INTO commands (procedure_id, template, allowed, created) VALUES (?, ?, NULL, ?)
                ON CONFLICT (procedure_id) DO UPDATE SET template = excluded.template, allowed = NULL,
                    withheld = NULL, created = excluded.created
                """,
                (key, json.dumps(list(template)), now()),
            )
            note_version(connection, key, "edit", f"changed the command of {name}")
        found = self.get(name)
        assert found is not None
        return found

    def remove(self, name: str) -> bool:
        """Take a procedure's command away; False when it had none.

        Raises:
            NotFoundError: there is no procedure of that name.
        """
        with self._database.writing() as connection:
            key = procedure_id_of(self._database, name)
            done = connection.execute("DELETE FROM commands WHERE procedure_id = ?", (key,))
            if done.rowcount:
                note_version(connection, key, "edit", f"removed the command of {name}")
        return done.rowcount > 0

    def allow(self, name: str, digest: str | None) -> CommandRecord:
        """Let a command run unasked as long as its digest stays the same; None asks each time again.

        Raises:
            NotFoundError: there is no procedure of that name, or it has no command.
        """
        with self._database.writing() as connection:
            connection.execute(
                "UPDATE commands SET allowed = ?, withheld = NULL WHERE procedure_id = ?",
                (digest, procedure_id_of(self._database, name)),
            )
        found = self.get(name)
        if found is None:
            raise NotFoundError(
                f"{name!r} has no command.", next_step=f"Give it one: tokmem-desk proc command {name} -- PROGRAM ..."
            )
        return found
