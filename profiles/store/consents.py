"""Which consents hold, kept apart from the profile that they are in.

A profile's database says which commands may run unasked. Whoever puts yesterday's copy of it back would bring back what
was taken away since. So each change of a consent is counted, and the list of profiles keeps the count and a seal over
all consents: an older copy, or one that was changed, has another count or another seal, and its consents do not hold.

The seal of a locked profile is made with its key, that of a plain one with a random secret of this installation, which
lies in the folder ``state``, away from the data. Whoever puts back everything together is not noticed.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass

from profiles.database.connection import Database
from profiles.database.migrations import REGISTRY_STEPS
from profiles.encryption.file_encryption import ProfileKey
from profiles.files.atomic import storage_error
from profiles.files.paths import AppPaths, private_folder
from tokmem_desk.errors import TokmemError
from tokmem_desk.system.disk import remove_stale

SECRET_NAME = "consents.key"  # noqa: S105 - a file's name
_SECRET_BYTES = 32
_PURPOSE = b"tokmem-desk consents"
_GLANCES, _GLANCE_SECONDS = 5, 0.05

OLDER = (
    "You once allowed this command to run unasked. The profile's database is an older copy than the one used last, so "
    "that consent does not hold: you are asked anew."
)
UNKNOWN = (
    "You once allowed this command to run unasked, but this computer has no record of that consent: it was given to an "
    "earlier tokmem-desk, or elsewhere. You are asked anew."
)
CHANGED = (
    "You once allowed this command to run unasked, but this computer's record of it does not fit the profile: one "
    "of the two was changed, put back from a copy, or not written to the end. You are asked anew."
)


@dataclass(frozen=True, slots=True)
class GivenConsents:
    """All consents of a profile at one moment."""

    epoch: int
    """How many changes there have been."""
    given: tuple[tuple[str, str], ...]
    """Procedure and digest of each."""

    def text(self) -> bytes:
        """What is sealed."""
        return json.dumps([self.epoch, sorted(self.given)]).encode()


@dataclass(frozen=True, slots=True)
class Record:
    """What the list of profiles says about a profile's consents."""

    epoch: int
    seal: str | None
    """None: no consent was ever given here."""


class ConsentBook:
    """The record of one profile's consents in the list of profiles; outlives the list that made it.

    Args:
        paths: where the list and the installation's secret are.
        profile_id: the profile.
        key: of a locked one.
    """

    def __init__(self, paths: AppPaths, profile_id: str, key: ProfileKey | None) -> None:
        self._paths = paths
        self._profile_id = profile_id
        self._key = key

    def record(self) -> Record:
        """What is recorded.

        Raises:
            TokmemError: it cannot be read.
        """
        with self._list() as database:
            row = database.row("SELECT consent_epoch, consent_seal FROM profiles WHERE id = ?", (self._profile_id,))
        return Record(0, None) if row is None else Record(row["consent_epoch"], row["consent_seal"])

    def fault(self, found: GivenConsents, record: Record) -> str | None:
        """Why the consents found in a profile do not hold; None where they do.

        Raises:
            TokmemError: the installation's secret cannot be read.
        """
        if record.seal is None:
            return UNKNOWN
        if found.epoch < record.epoch:
            return OLDER
        if found.epoch != record.epoch or not hmac.compare_digest(self._seal(found), record.seal):
            return CHANGED
        return None

    def keep(self, present: GivenConsents) -> bool:
        """Make the present consents the ones that hold; False where a later state is recorded already.

        Raises:
            TokmemError: the record cannot be written.
        """
        seal = self._seal(present)
        with self._list() as database, database.writing() as connection:
            kept = connection.execute(
                "UPDATE profiles SET consent_epoch = ?, consent_seal = ? WHERE id = ? AND consent_epoch <= ?",
                (present.epoch, seal, self._profile_id, present.epoch),
            )
            return kept.rowcount > 0

    def _seal(self, consents: GivenConsents) -> str:
        if self._key is not None:
            return self._key.authenticated(_PURPOSE, consents.text()).hex()
        return hmac.new(self._secret(), _PURPOSE + consents.text(), hashlib.sha256).hexdigest()

    def _secret(self) -> bytes:
        """This installation's own; made when first asked for."""
        file = private_folder(self._paths.state) / SECRET_NAME
        try:
            with contextlib.suppress(FileNotFoundError):
                data = file.read_bytes()
                if len(data) == _SECRET_BYTES:
                    return data
                file.unlink()  # cut short: a new one, under which nothing given so far holds
            remove_stale(file)
            fresh = file.with_name(f".{SECRET_NAME}.{secrets.token_hex(4)}.part")
            with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
                stream.write(secrets.token_bytes(_SECRET_BYTES))
                stream.flush()
                os.fsync(stream.fileno())
            try:
                with contextlib.suppress(FileExistsError):  # another process was faster: its secret holds
                    os.link(fresh, file)
            finally:
                fresh.unlink()
            return file.read_bytes()
        except OSError as caught:
            raise storage_error(f"{file} could not be used", caught) from caught

    @contextlib.contextmanager
    def _list(self) -> Iterator[Database]:
        database = Database(self._paths.registry_file, REGISTRY_STEPS, backups=self._paths.data / "backups")
        try:
            yield database
        finally:
            database.close()


class Consents:
    """Holds the consents of a profile against their record.

    Args:
        database: the profile's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._book: ConsentBook | None = None
        """None in a store that no list has opened: there consents are believed as they stand."""
        self._kept_epoch = 0
        self._keeping = False

    def check(self, book: ConsentBook, record: Record, *, trusted: bool = False) -> None:
        """Hold the consents against their record, now and with every change; those that do not fit are taken back.

        Args:
            book: where the record is kept.
            record: what it says.
            trusted: they were checked a moment ago, under another key: record them anew.
        """
        found = self._given()
        fault = None
        if found.given and not trusted:
            try:
                fault = book.fault(found, record)
                for _ in range(_GLANCES):
                    if fault is None or found.epoch <= record.epoch:
                        break
                    time.sleep(_GLANCE_SECONDS)  # another process may just be between its change and its record
                    found, record = self._given(), book.record()
                    fault = book.fault(found, record)
            except TokmemError as caught:  # a record that cannot be read proves nothing
                fault = f"{CHANGED} ({caught.message})"
        self._book, self._database.after_commit = book, self.record
        self._kept_epoch = found.epoch if fault is None and found.epoch == record.epoch else -1
        if fault is not None:
            with self._database.writing() as connection:
                connection.execute(
                    "UPDATE commands SET withheld = ?, allowed = NULL WHERE allowed IS NOT NULL", (fault,)
                )
        elif trusted and found.given:
            self._kept_epoch = -1
            self.record()
        elif (
            found.epoch > record.epoch
        ):  # a program that took the last consent back was cut off before it recorded that
            self.record()

    def record(self) -> None:
        """After every commit: record the consents where they have changed."""
        if self._book is None or self._keeping:
            return
        row = self._database.row("SELECT value FROM meta WHERE key = 'consent_epoch'")
        if row is None or int(row["value"]) == self._kept_epoch:
            return
        self._keeping = True
        try:
            present = self._given()
            if not self._book.keep(present):
                # This is an older copy, of which nothing given before holds: count on from where the record is.
                later = self._book.record().epoch + 1
                with self._database.writing() as connection:
                    connection.execute("UPDATE meta SET value = max(value, ?) WHERE key = 'consent_epoch'", (later,))
                present = self._given()
                self._book.keep(present)
            self._kept_epoch = present.epoch
        except TokmemError:
            # The next commit and the closing try again. Until then nothing holds that the record does not know.
            pass
        finally:
            self._keeping = False

    def _given(self) -> GivenConsents:
        rows = self._database.rows(
            """
            SELECT m.value AS epoch, p.uuid, c.allowed FROM meta m
            LEFT JOIN commands c ON c.allowed IS NOT NULL LEFT JOIN procedures p ON p.id = c.procedure_id
            WHERE m.key = 'consent_epoch'
            """
        )
        given = tuple((str(row["uuid"]), str(row["allowed"])) for row in rows if row["allowed"] is not None)
        return GivenConsents(int(rows[0]["epoch"]) if rows else 0, given)
