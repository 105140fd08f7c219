"""The lock of a profile: its random key, wrapped by a passphrase and by a recovery key.

The passphrase goes through Argon2id, so that guessing is slow wherever the file is taken to; changing it wraps the same
key anew and rewrites no data. Wrong passphrases are counted in the lock's own file, ``lock.json`` in the profile's
folder: each makes the next one wait longer, also after a restart, and who deletes the count deletes the way in. A file
that was tampered with is refused before anything is computed from it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import math
import os
import secrets
import stat
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

from profiles.encryption.file_encryption import KEY_BYTES, ProfileKey
from profiles.files.atomic import storage_error, write_text
from profiles.files.process_locks import SUFFIX, process_lock
from tokmem_desk.errors import BadInputError, BusyError, IncompatibleError, LockedError, StorageError

LOCK_NAME = "lock.json"
ATTEMPTS_NAME = "lock-attempts.json"
"""Where the count was before it was in the lock's file; read once more, then removed."""
TRIAL_LOCK_NAME = f"lock{SUFFIX}"

SHORTEST_PASSPHRASE = 8
"""Characters."""

FREE_FAILURES = 3
LONGEST_WAIT = 300.0
"""Seconds."""

TRIAL_LOCK_SECONDS = 30.0
"""How long to wait for another process that tries a passphrase."""

_VERSION = 1
_SALT_BYTES = 16
_NONCE_BYTES = 12
_RECOVERY_BYTES = 20
_MEMORY_KIB, _ITERATIONS, _LANES = 65_536, 3, 4
"""Argon2id as RFC 9106 recommends it where 2 GiB are too much: 64 MiB, three passes, four lanes."""
_MOST_MEMORY_KIB, _MOST_ITERATIONS, _MOST_LANES = 262_144, 12, 16
"""Four times of what this program asks for. A file that asks for more is damaged, or wants to use up this machine's
memory."""
_LARGEST_FILE = 16_384
"""Bytes; a lock has about 900."""
_SALTS = range(8, 65)
"""How long a salt may be: Argon2 takes none below 8 bytes."""
_WRAPPED_BYTES = KEY_BYTES + 16
"""The key and its tag."""

# Crockford's: no I, L, O, U, which look like other signs on paper.
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_STANDARD = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_READ_AS = str.maketrans({"O": "0", "I": "1", "L": "1", "U": "V"})


class Keyring:
    """The lock in one profile's folder.

    Args:
        folder: the profile's.
        clock: seconds since 1970, replaced in tests.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._clock = clock

    @property
    def exists(self) -> bool:
        """True when the profile is locked."""
        return (self._folder / LOCK_NAME).is_file()

    def create(self, key: ProfileKey, passphrase: str) -> str:
        """Write the lock and return the recovery key, which is shown once and kept nowhere.

        Raises:
            BadInputError: the passphrase is too short.
            StorageError: the disk refused.
        """
        recovery = secrets.token_bytes(_RECOVERY_BYTES)
        self._write(
            {
                "format": "tokmem-lock",
                "version": _VERSION,
                "passphrase": _passphrase_slot(key, checked_passphrase(passphrase)),
                "recovery": _recovery_slot(key, recovery),
            }
        )
        return _recovery_text(recovery)

    def open(self, passphrase: str) -> ProfileKey:
        """The profile's key.

        Raises:
            LockedError: the passphrase is wrong.
            BusyError: too many wrong ones came before; the text says how long to wait.
            StorageError, IncompatibleError: the lock's file cannot be used.
        """
        with self._one_trial():
            fields = self._read()
            self._refuse_haste(fields)
            slot = fields["passphrase"]
            failures, last = self._attempts(fields)
            # Counted before the trial: killing the program must not give a free one.
            self._note_attempts(fields, failures + 1, self._clock())
            try:
                key = _unwrap(slot, _passphrase_secret(passphrase, slot), b"passphrase")
            except LockedError:
                wait = _wait_after(failures + 1)
                step = f"The next try is possible in {math.ceil(wait)} s." if wait else "Try again."
                raise LockedError("That is not the passphrase of this profile.", next_step=step) from None
            except BaseException:
                self._note_attempts(fields, failures, last)
                raise
            self._note_attempts(fields, 0, 0.0)
            return key

    def open_with_recovery(self, recovery: str) -> ProfileKey:
        """The profile's key, by the recovery key. Nobody guesses 160 random bits, so this is also a way past the wait.

        Raises:
            BadInputError: it has not the form of a recovery key.
            LockedError: it belongs to another profile, or was replaced.
            StorageError, IncompatibleError: the lock's file cannot be used.
        """
        slot = self._read()["recovery"]
        try:
            key = _unwrap(slot, _recovery_secret(_recovery_bytes(recovery), slot), b"recovery")
        except LockedError:
            raise LockedError(
                "That is not the recovery key of this profile.", next_step="Use the one shown last for this profile."
            ) from None
        with self._one_trial():
            self._note_attempts(self._read(), 0, 0.0)
        return key

    def change(self, key: ProfileKey, *, passphrase: str | None = None, new_recovery: bool = False) -> str | None:
        """Wrap the same key anew; no data is rewritten.

        Args:
            key: the profile's key.
            passphrase: the new one; None keeps the old one.
            new_recovery: replace the recovery key too.

        Returns:
            The new recovery key, or None when the old one stays.

        Raises:
            BadInputError: the passphrase is too short.
            StorageError: the disk refused; the old ones hold.
        """
        with self._one_trial():
            fields = self._read()
            recovery = secrets.token_bytes(_RECOVERY_BYTES) if new_recovery else None
            if passphrase is not None:
                fields["passphrase"] = _passphrase_slot(key, checked_passphrase(passphrase))
            if recovery is not None:
                fields["recovery"] = _recovery_slot(key, recovery)
            self._write(fields)
        return None if recovery is None else _recovery_text(recovery)

    def seconds_to_wait(self) -> float:
        """How long until the next passphrase may be tried; 0 for now."""
        try:
            return self._wait(self._read())
        except (LockedError, StorageError, IncompatibleError):  # whoever tries hears of it
            return 0.0

    def _wait(self, fields: dict[str, Any]) -> float:
        failures, last = self._attempts(fields)
        wait = _wait_after(failures)
        # A clock that was set back must not make the wait longer.
        return max(0.0, min(wait, last + wait - self._clock()))

    def _refuse_haste(self, fields: dict[str, Any]) -> None:
        wait = self._wait(fields)
        if wait > 0:
            raise BusyError(
                "Too many wrong passphrases were given for this profile.",
                next_step=f"Try again in {math.ceil(wait)} s, or use the recovery key.",
            )

    def _one_trial(self) -> contextlib.AbstractContextManager[None]:
        """One trial at a time, whatever the number of processes."""
        busy = BusyError("Another tokmem-desk is opening this profile.", next_step="Try again.")
        return process_lock(self._folder / TRIAL_LOCK_NAME, busy, seconds=TRIAL_LOCK_SECONDS)

    def _attempts(self, fields: dict[str, Any]) -> tuple[int, float]:
        """Failures in a row, and the moment of the last one."""
        found = [_attempts_in(fields["attempts"], self._file)] if "attempts" in fields else [(0, 0.0)]
        older = self._folder / ATTEMPTS_NAME
        try:
            found.append(_attempts_in(_parsed(older), older))
        except FileNotFoundError:
            pass
        except (OSError, ValueError):
            found.append(_damaged_attempts(older))
        return max(found)

    def _note_attempts(self, fields: dict[str, Any], failures: int, last: float) -> None:
        if failures or "attempts" in fields:
            fields["attempts"] = {"failures": failures, "last": last}
            self._write(fields)
        with contextlib.suppress(OSError):  # it only ever adds to the wait
            (self._folder / ATTEMPTS_NAME).unlink(missing_ok=True)

    @property
    def _file(self) -> Path:
        return self._folder / LOCK_NAME

    def _write(self, fields: dict[str, Any]) -> None:
        write_text(self._file, json.dumps(fields, indent=1))

    def _read(self) -> dict[str, Any]:
        """The lock's fields, each of the form and size that this program writes; nothing is computed before that."""
        file = self._file
        damaged = StorageError(
            f"The lock {file} is damaged.", next_step="Put it back from a backup: without it the profile stays closed."
        )
        try:
            fields = _parsed(file)
        except FileNotFoundError:
            raise LockedError("This profile is not locked.", next_step="Look at the list of profiles again.") from None
        except OSError as caught:
            raise storage_error(f"The lock {file} could not be read", caught) from caught
        except ValueError:
            raise damaged from None
        if (
            not isinstance(fields, dict)
            or fields.get("format") != "tokmem-lock"
            or not _is_whole(fields.get("version"))
        ):
            raise damaged
        if fields["version"] > _VERSION:
            raise IncompatibleError(f"{file} was written by a newer version.", next_step="Update tokmem-desk.")
        try:
            for name in ("passphrase", "recovery"):
                slot = fields[name]
                sizes = len(_bytes(slot, "salt")), len(_bytes(slot, "nonce")), len(_bytes(slot, "wrapped"))
                if sizes[0] not in _SALTS or sizes[1:] != (_NONCE_BYTES, _WRAPPED_BYTES):
                    raise damaged
            if not _is_bearable(fields["passphrase"]):
                raise damaged
        except (KeyError, TypeError, ValueError):
            raise damaged from None
        return fields


def _parsed(file: Path) -> Any:
    """What stands in a small JSON file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no JSON, is too large or too deep, or is no plain file.
    """
    # A pipe in its place would be waited for.
    with open(os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise ValueError("no file")
        data = stream.read(_LARGEST_FILE + 1)
    if len(data) > _LARGEST_FILE:
        raise ValueError("too large")
    try:
        return json.loads(data.decode("utf-8"), parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("too deep") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _is_whole(value: object) -> bool:
    return type(value) is int and value >= 1


def _attempts_in(value: Any, file: Path) -> tuple[int, float]:
    failures = value.get("failures") if isinstance(value, dict) else None
    last = value.get("last") if isinstance(value, dict) else None
    if isinstance(failures, bool) or not isinstance(failures, int) or failures < 0:
        return _damaged_attempts(file)
    if isinstance(last, bool) or not isinstance(last, (int, float)) or not 0 <= last < 1e15:
        return _damaged_attempts(file)
    return failures, float(last)


def _damaged_attempts(file: Path) -> tuple[int, float]:
    """Who damages the count must not gain by it, nor lose the profile: one wait from when that was done."""
    try:
        return FREE_FAILURES, file.stat().st_mtime
    except OSError:
        return FREE_FAILURES, 0.0


def checked_passphrase(passphrase: str) -> str:
    """The passphrase, if it may be one.

    Raises:
        BadInputError: it is too short.
    """
    if len(passphrase) < SHORTEST_PASSPHRASE:
        raise BadInputError(
            f"A passphrase needs at least {SHORTEST_PASSPHRASE} characters.",
            next_step="Four or five words that do not belong together are easy to keep in mind.",
        )
    return passphrase


def passphrase_key(passphrase: str, salt: bytes, *, memory_kib: int, iterations: int, lanes: int) -> bytes:
    """32 bytes from a passphrase by Argon2id; the same letters typed on any keyboard give the same bytes."""
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    text = unicodedata.normalize("NFC", passphrase).encode("utf-8", "surrogatepass")
    derivation = Argon2id(salt=salt, length=KEY_BYTES, iterations=iterations, lanes=lanes, memory_cost=memory_kib)
    return derivation.derive(text)


def _wait_after(failures: int) -> float:
    """Seconds between a failure and the next trial: none at first, then doubling."""
    if failures < FREE_FAILURES:
        return 0.0
    return min(LONGEST_WAIT, 2.0 ** min(20, failures - FREE_FAILURES + 1))


def _passphrase_slot(key: ProfileKey, passphrase: str) -> dict[str, Any]:
    slot: dict[str, Any] = {
        "kdf": "argon2id",
        "salt": _text(os.urandom(_SALT_BYTES)),
        "memory_kib": _MEMORY_KIB,
        "iterations": _ITERATIONS,
        "lanes": _LANES,
    }
    return slot | _wrap(key, _passphrase_secret(passphrase, slot), b"passphrase")


def _recovery_slot(key: ProfileKey, recovery: bytes) -> dict[str, Any]:
    slot = {"kdf": "hkdf-sha256", "salt": _text(os.urandom(_SALT_BYTES))}
    return slot | _wrap(key, _recovery_secret(recovery, slot), b"recovery")


def _passphrase_secret(passphrase: str, slot: dict[str, Any]) -> bytes:
    return passphrase_key(
        passphrase,
        _bytes(slot, "salt"),
        memory_kib=int(slot["memory_kib"]),
        iterations=int(slot["iterations"]),
        lanes=int(slot["lanes"]),
    )


def _recovery_secret(recovery: bytes, slot: dict[str, Any]) -> bytes:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    derivation = HKDF(
        algorithm=hashes.SHA256(), length=KEY_BYTES, salt=_bytes(slot, "salt"), info=b"tokmem-desk recovery"
    )
    return derivation.derive(recovery)


def _wrap(key: ProfileKey, secret: bytes, purpose: bytes) -> dict[str, str]:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = os.urandom(_NONCE_BYTES)
    return {"nonce": _text(nonce), "wrapped": _text(AESGCM(secret).encrypt(nonce, key.raw(), purpose))}


def _unwrap(slot: dict[str, Any], secret: bytes, purpose: bytes) -> ProfileKey:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        return ProfileKey(AESGCM(secret).decrypt(_bytes(slot, "nonce"), _bytes(slot, "wrapped"), purpose))
    except (InvalidTag, ValueError):
        raise LockedError("Wrong key.") from None


def _is_bearable(slot: dict[str, Any]) -> bool:
    """Whether the work that a slot asks for is work that this program would have asked for."""
    memory, iterations, lanes = slot["memory_kib"], slot["iterations"], slot["lanes"]
    return (
        slot["kdf"] == "argon2id"
        and all(map(_is_whole, (memory, iterations, lanes)))
        and 1 <= iterations <= _MOST_ITERATIONS
        and 1 <= lanes <= _MOST_LANES
        and 8 * lanes <= memory <= _MOST_MEMORY_KIB
    )


def _recovery_text(recovery: bytes) -> str:
    """Eight groups of four signs."""
    signs = base64.b32encode(recovery).decode("ascii").translate(str.maketrans(_STANDARD, _ALPHABET))
    return "-".join(signs[at : at + 4] for at in range(0, len(signs), 4))


def recovery_signs(text: str) -> str:
    """The signs of a recovery key, or of a part of one, as they count: without dashes, however they were written."""
    return "".join(sign for sign in text.upper() if sign.isalnum()).translate(_READ_AS)


def _recovery_bytes(text: str) -> bytes:
    signs = recovery_signs(text)
    if len(signs) != _RECOVERY_BYTES * 8 // 5 or not set(signs) <= set(_ALPHABET):
        raise BadInputError(
            "A recovery key is eight groups of four letters and digits.", next_step="Compare it with what you noted."
        )
    return base64.b32decode(signs.translate(str.maketrans(_ALPHABET, _STANDARD)))


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _bytes(slot: dict[str, Any], name: str) -> bytes:
    return base64.b64decode(slot[name], validate=True)
