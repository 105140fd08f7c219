"""What nothing needs any more: memory files without an owner, versions and jobs of procedures that are gone."""

from __future__ import annotations

import time
from pathlib import Path

from profiles.database.connection import Database
from profiles.files.atomic import storage_error
from profiles.files.erasing import erase_file
from profiles.store.forgetting import forget_lost_jobs
from profiles.store.memories import files_of_memories
from profiles.store.scrubbing import Scrubber, owe_scrub
from profiles.store.undo import files_of_undos, procedures_kept_for_undo
from profiles.store.version_notes import forget_removed

GARBAGE_AGE_SECONDS = 3600.0
"""A file without a row is left alone this long: another process may be about to add the row."""


class Garbage:
    """Deletes what neither a row nor an undo needs.

    Args:
        database: the profile's.
        memories: their folder.
        scrubber: takes deleted bytes out of the database's files.
    """

    def __init__(self, database: Database, memories: Path, scrubber: Scrubber) -> None:
        self._database = database
        self._memories = memories
        self._scrubber = scrubber

    def collect(self, age_seconds: float = GARBAGE_AGE_SECONDS) -> int:
        """Delete memory files that neither a memory nor an undo needs, and return how many.

        Versions of procedures that no undo can bring back go too.

        Args:
            age_seconds: younger files stay, since their row may be about to be written.

        Raises:
            StorageError: the folder could not be read, or a file not be deleted.
        """
        # An undo may hold megabytes: it is read only where something has lost its owner.
        if self._database.row("SELECT 1 FROM versions WHERE procedure_id NOT IN (SELECT id FROM procedures)"):
            with self._database.writing() as connection:
                kept = procedures_kept_for_undo(connection)
                forget_removed(connection, kept)
                forget_lost_jobs(connection, kept)
                owe_scrub(connection)
        self._scrubber.run()
        if not self._memories.is_dir():
            return 0
        # Listed before the rows are read: a file that gets its row in between is not in danger.
        oldest = time.time() - age_seconds
        try:
            files = [path for path in self._memories.iterdir() if path.is_file()]
        except OSError as caught:
            raise storage_error(f"{self._memories} could not be read", caught) from caught
        with self._database.reading():
            names = files_of_memories(self._database)
            if any(path.name not in names for path in files):
                names |= files_of_undos(self._database)
        removed = 0
        for path in files:
            try:
                if path.name not in names and path.stat().st_mtime < oldest:
                    erase_file(path)
                    removed += 1
            except FileNotFoundError:  # another process was faster
                continue
            except OSError as caught:
                raise storage_error(f"{path} could not be deleted", caught) from caught
        return removed
