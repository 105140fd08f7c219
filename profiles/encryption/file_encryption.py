"""The key of a locked profile, and files encrypted with it: authenticated encryption by the package ``cryptography``.

Everything is derived from one random key: the database's own key and a fresh key for every file, so that no key ever
encrypts two texts. Knows no file and no passphrase; those are in ``keyring``.
"""

from __future__ import annotations

import hmac
import os
import secrets

from tokmem_desk.errors import LockedError, StorageError

KEY_BYTES = 32
_MAGIC = b"TOKMEM-SEALED-1\n"
_SALT_BYTES = 32
_NONCE_BYTES = 12
_LARGEST = 2**31 - 1 - 16
"""Bytes that one call of AES-GCM takes here, less its tag."""


class ProfileKey:
    """The random key of one locked profile.

    Args:
        data: 32 bytes; copied, so that the caller may overwrite its own.

    Raises:
        LockedError: it has another length, so it is no such key.
    """

    __slots__ = ("_data",)

    def __init__(self, data: bytes | bytearray) -> None:
        if len(data) != KEY_BYTES:
            raise LockedError("This is no key of a profile.", next_step="Give the passphrase again.")
        self._data = bytearray(data)

    @classmethod
    def new(cls) -> ProfileKey:
        """A key that nobody has had before."""
        return cls(secrets.token_bytes(KEY_BYTES))

    @classmethod
    def from_text(cls, text: str) -> ProfileKey:
        """The key that ``text()`` wrote.

        Raises:
            LockedError: it is none.
        """
        try:
            return cls(bytes.fromhex(text))
        except ValueError:
            raise LockedError("This is no key of a profile.", next_step="Give the passphrase again.") from None

    def __repr__(self) -> str:
        return "ProfileKey(…)"  # never into a log or a traceback

    def copy(self) -> ProfileKey:
        """The same key, which stays when this one is forgotten."""
        return ProfileKey(self._data)

    def text(self) -> str:
        """The key as hexadecimal digits, for the pipe to the engine and nothing else."""
        return bytes(self._data).hex()

    def raw(self) -> bytes:
        """The key itself, to be wrapped."""
        return bytes(self._data)

    def forget(self) -> None:
        """Overwrite the key in memory; this object opens nothing any more.

        As far as Python allows: copies that libraries made stay until their memory is used again.
        """
        self._data[:] = bytes(len(self._data))

    def database_key(self) -> str:
        """The database's key in the form that SQLCipher takes."""
        return f"x'{_derived(bytes(self._data), b'', b'tokmem-desk database', KEY_BYTES).hex()}'"

    def encrypt_file(self, name: str, data: bytes) -> bytes:
        """Encrypt bytes so that only this key opens them, and only under this name.

        Raises:
            StorageError: more than about 2 GiB.
        """
        if len(data) > _LARGEST:
            raise StorageError(f"{name} is too large to be encrypted ({len(data)} bytes).")
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        salt = os.urandom(_SALT_BYTES)
        key, nonce = self._file_key(salt)
        return _MAGIC + salt + AESGCM(key).encrypt(nonce, data, _MAGIC + name.encode())

    def decrypt_file(self, name: str, encrypted: bytes) -> bytes:
        """The bytes that ``encrypt_file`` took under that name.

        Raises:
            StorageError: they were changed, cut, moved from another name, or encrypted with another key.
        """
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        if not is_encrypted(encrypted):
            raise StorageError(f"{name} is not encrypted, though its profile is locked.", next_step=_DAMAGED)
        begin = len(_MAGIC) + _SALT_BYTES
        key, nonce = self._file_key(encrypted[len(_MAGIC) : begin])
        try:
            return AESGCM(key).decrypt(nonce, memoryview(encrypted)[begin:], _MAGIC + name.encode())
        except InvalidTag:
            raise StorageError(f"{name} was changed since it was written.", next_step=_DAMAGED) from None

    def authenticated(self, purpose: bytes, data: bytes) -> bytes:
        """A code over ``data`` that only this key makes; HMAC-SHA-256 with a key of its own for each purpose."""
        return hmac.digest(_derived(bytes(self._data), b"", purpose, KEY_BYTES), data, "sha256")

    def _file_key(self, salt: bytes) -> tuple[bytes, bytes]:
        derived = _derived(bytes(self._data), salt, b"tokmem-desk file", KEY_BYTES + _NONCE_BYTES)
        return derived[:KEY_BYTES], derived[KEY_BYTES:]


_DAMAGED = "Train the procedure again, or put the file back from your own backup."


def is_encrypted(data: bytes) -> bool:
    """True for what ``ProfileKey.encrypt_file`` made."""
    return data.startswith(_MAGIC) and len(data) >= len(_MAGIC) + _SALT_BYTES + 16


def _derived(key: bytes, salt: bytes, purpose: bytes, length: int) -> bytes:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(algorithm=hashes.SHA256(), length=length, salt=salt, info=purpose).derive(key)
