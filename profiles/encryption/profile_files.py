"""Files of a profile outside its database: as they are, or encrypted where the profile is locked.

Every file that holds something personal is written and read here, so that no place can forget the lock.
"""

from __future__ import annotations

import os
from pathlib import Path

from profiles.encryption.file_encryption import ProfileKey, is_encrypted
from profiles.files.atomic import storage_error, write_bytes
from tokmem_desk.errors import LockedError
from tokmem_desk.system.file_checks import read_plain


class ProfileFiles:
    """Writes and reads for one profile.

    Args:
        key: of a locked profile; None leaves files as they are.
    """

    def __init__(self, key: ProfileKey | None) -> None:
        self.key = key

    def write(self, path: Path, data: bytes) -> None:
        """Put ``data`` at ``path``, all of it or nothing; of a locked profile no plain byte reaches the disk.

        Raises:
            StorageError: the disk refused.
        """
        write_bytes(path, data if self.key is None else self.key.encrypt_file(path.name, data))

    def write_loose(self, path: Path, data: bytes) -> None:
        """As ``write``, into a new file that is not fsynced; the caller must sync it.

        Raises:
            StorageError: the disk refused.
        """
        try:
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(data if self.key is None else self.key.encrypt_file(path.name, data))
        except OSError as caught:
            raise storage_error(f"{path} could not be written", caught) from caught

    def read(self, path: Path) -> bytes:
        """What ``write`` put there.

        Raises:
            OSError: the file cannot be read.
            StorageError: it was changed since, or belongs under another name.
            LockedError: it is encrypted and there is no key.
        """
        data = read_plain(path)  # a pipe in its place would keep everybody waiting
        if self.key is not None:
            return self.key.decrypt_file(path.name, data)
        if is_encrypted(data):
            raise LockedError(f"{path.name} is encrypted.", next_step="Give the profile's passphrase.")
        return data
