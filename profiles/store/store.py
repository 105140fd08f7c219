"""The store of one profile: its parts, over one SQLite file.

Safe across processes: each method of a part is one short transaction, and ``revision`` tells others that something
changed. Open one ``ProfileStore`` per thread and process.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from profiles.database.connection import LOCK_SECONDS, Database, DatabaseOwner
from profiles.database.migrations import PROFILE_STEPS
from profiles.encryption.file_encryption import ProfileKey
from profiles.encryption.keyring import Keyring
from profiles.encryption.profile_files import ProfileFiles
from profiles.store.banks import Banks
from profiles.store.base import Row
from profiles.store.chats import Chats
from profiles.store.commands import Commands
from profiles.store.consents import Consents
from profiles.store.corrections import Corrections
from profiles.store.feedback import Feedback
from profiles.store.garbage import Garbage
from profiles.store.habits import Habits
from profiles.store.jobs import Jobs
from profiles.store.memories import Memories
from profiles.store.messages import Messages
from profiles.store.pairs import Pairs
from profiles.store.plans import Plans
from profiles.store.procedures import Procedures
from profiles.store.router_rows import RouterRows
from profiles.store.scrubbing import Scrubber
from profiles.store.tokens import TokenDigests
from profiles.store.undo import UndoLog
from profiles.store.verdicts import Verdicts
from profiles.store.versions import Versions
from tokmem_desk.errors import LockedError, TokmemError

DATABASE_NAME = "profile.sqlite"
MEMORY_FOLDER_NAME = "memories"
BACKUP_FOLDER_NAME = "backups"


class ProfileStore(DatabaseOwner):
    """One profile, open. What is in it is reached through its parts, such as ``store.pairs`` or ``store.jobs``.

    Args:
        folder: the profile's folder; made, 0700, when it is not there.
        lock_seconds: how long a call waits for another process before it raises BusyError.
        key: of a locked profile, see ``Keyring``; of no use to another one.

    Raises:
        LockedError: the profile is locked and there is no key, or a wrong one.
        IncompatibleError: a newer tokmem-desk wrote the database.
        StorageError: the database is damaged, or the disk refuses; the text names the file and its newest backup.
        BusyError: another process holds the database.
    """

    def __init__(self, folder: Path, *, lock_seconds: float = LOCK_SECONDS, key: ProfileKey | None = None) -> None:
        locked = Keyring(folder).exists
        if locked and key is None:
            raise LockedError("This profile is locked.", next_step="Give its passphrase.")
        memories = folder / MEMORY_FOLDER_NAME
        self.folder = folder
        self.files = ProfileFiles(key if locked else None)
        """Reads and writes what of the profile lies outside its database."""
        self.database_file = folder / DATABASE_NAME
        self._database = database = Database(
            self.database_file,
            PROFILE_STEPS,
            backups=folder / BACKUP_FOLDER_NAME,
            # Memories without a database mean that the database was lost: never look like a new profile then.
            expect_data=memories.is_dir() and any(memories.iterdir()),
            lock_seconds=lock_seconds,
            key=self.files.key,
        )
        self.scrubber = scrubber = Scrubber(database)
        self.procedures = Procedures(database)
        self.plans = Plans(database, self.procedures, memories)
        self.pairs = Pairs(database)
        self.versions = Versions(database, scrubber)
        self.memories = Memories(database, self.files, memories, scrubber)
        self.undo = UndoLog(database, memories, scrubber)
        self.garbage = Garbage(database, memories, scrubber)
        self.router_rows = RouterRows(database)
        self.banks = Banks(database, memories)
        self.chats = Chats(database, scrubber)
        self.messages = Messages(database)
        self.corrections = Corrections(database)
        self.feedback = Feedback(database)
        self.verdicts = Verdicts(database)
        self.habits = Habits(database)
        self.jobs = Jobs(database, memories)
        self.commands = Commands(database)
        self.consents = Consents(database)
        self.tokens = TokenDigests(database)
        with contextlib.suppress(TokmemError):
            scrubber.run(only_promised=True)

    def close(self) -> None:
        """Close the database; only ``close`` may be called after that.

        What was deleted for good, and could not leave the files while others read them, is tried once more.
        """
        if not self._database.closed:
            with contextlib.suppress(TokmemError):
                self.consents.record()
                self.scrubber.run(only_promised=True)
        super().close()

    @property
    def revision(self) -> int:
        """Grows with every change that can alter routes or answers, by any process."""
        row = self._database.row("SELECT value FROM meta WHERE key = 'revision'")
        return int(row["value"]) if row is not None else 0

    @property
    def locked(self) -> bool:
        """True when everything in this profile is encrypted on the disk."""
        return self.files.key is not None

    @property
    def read_only(self) -> bool:
        """True where the disk cannot be written to: everything can be read, and every change is refused."""
        return self._database.read_only

    def rows(self, query: str) -> list[Row]:
        """The rows of a query of this package's own that belongs to no single part."""
        return self._database.rows(query)

    @property
    def name(self) -> str:
        """The name under which the profile was opened last; the registry knows better if the two differ."""
        row = self._database.row("SELECT value FROM meta WHERE key = 'name'")
        return "" if row is None else str(row["value"])

    def set_name(self, name: str) -> None:
        """Keep the profile's name with its data, so that a lost registry can be rebuilt."""
        with self._database.writing() as connection:
            connection.execute("UPDATE meta SET value = ? WHERE key = 'name'", (name,))

    def backup(self) -> Path:
        """Copy the database into the profile's ``backups`` folder and return the copy's path."""
        return self._database.backup("profile-copy.sqlite")

    def damage(self) -> list[str]:
        """What a full check of the database finds wrong; an empty list is good."""
        return self._database.damage()

    def held_by_others(self) -> bool:
        """True when another process or thread has this profile open."""
        return self._database.held_by_others()
