"""Where a passphrase comes from: a file, a variable of the environment, or a person at the terminal."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from profiles.encryption.keyring import checked_passphrase
from profiles.files.atomic import storage_error
from profiles.registry.registry import ProfileRegistry
from tokmem_desk.errors import BadInputError, LockedError, NotFoundError, UsageError
from tui.process.passphrase_variables import NEW_PASSPHRASE_VARIABLE, PASSPHRASE_VARIABLE

if TYPE_CHECKING:
    from profiles.encryption.file_encryption import ProfileKey
    from profiles.files.paths import AppPaths
    from tui.cli.console import Console

TRIALS = 3
"""How often a person is asked before the command gives up."""


def profile_key(paths: AppPaths, console: Console, name: str, file: Path | None) -> ProfileKey:
    """The key of a locked profile, by its passphrase.

    Args:
        paths: where profiles are.
        console: whom to ask.
        name: the profile.
        file: holds the passphrase, where the command line named one.

    Raises:
        LockedError: the passphrase is wrong, or there is none and nobody to ask.
        BusyError: too many wrong ones were given.
    """
    with ProfileRegistry(paths) as registry:
        given = _given(file, PASSPHRASE_VARIABLE)
        if given is not None:
            return registry.locks.key(name, given)
        if not console.can_ask:
            raise LockedError(
                f"The profile {name!r} is locked, and there is no terminal to ask for its passphrase.",
                next_step=f"Give --passphrase-file FILE, or set {PASSPHRASE_VARIABLE}.",
            )
        for left in reversed(range(TRIALS)):
            try:
                return registry.locks.key(name, console.ask_secret(f"Passphrase of the profile {name}: "))
            except LockedError as caught:
                if not left:
                    raise
                console.error(str(caught))
    raise AssertionError("the last trial returns or raises")


def can_ask_or_read(console: Console, file: Path | None) -> bool:
    """Whether ``profile_key`` has something to try."""
    given = file is not None or bool(os.environ.get(PASSPHRASE_VARIABLE))
    return given or console.can_ask


def recovered_key(paths: AppPaths, console: Console, name: str, file: Path | None) -> ProfileKey:
    """The key of a locked profile, by its recovery key from a file or the terminal.

    Args:
        paths: where profiles are.
        console: whom to ask.
        name: the profile.
        file: holds the recovery key, where the command line named one.

    Raises:
        LockedError: it is another profile's, or there is none and nobody to ask.
        BadInputError: it is no recovery key.
    """
    if file is not None:
        given = first_line(file)
    elif console.can_ask:
        given = console.ask_secret(f"Recovery key of the profile {name}: ")
    else:
        raise LockedError("There is no terminal to ask for the recovery key.", next_step="Give --recovery-file FILE.")
    with ProfileRegistry(paths) as registry:
        return registry.locks.key_by_recovery(name, given)


def new_passphrase(console: Console, name: str, file: Path | None, variable: str) -> str:
    """A passphrase that somebody chose just now; a person types it twice.

    Args:
        console: whom to ask.
        name: the profile.
        file: holds it, where the command line named one.
        variable: of the environment that may hold it.

    Raises:
        BadInputError: it is too short, or was not typed twice alike.
        UsageError: there is none, and nobody to ask.
    """
    given = _given(file, variable)
    if given is not None:
        return checked_passphrase(given)
    if not console.can_ask:
        option = "--new-passphrase-file" if variable == NEW_PASSPHRASE_VARIABLE else "--passphrase-file"
        raise UsageError("There is no terminal to ask for a passphrase.", next_step=f"Give {option} FILE.")
    passphrase = checked_passphrase(console.ask_secret(f"New passphrase for the profile {name}: "))
    if console.ask_secret("The same again: ") != passphrase:
        raise BadInputError("These were two different passphrases.", next_step="Nothing was changed. Try again.")
    return passphrase


def _given(file: Path | None, variable: str) -> str | None:
    if file is not None:
        return first_line(file)
    return os.environ.get(variable) or None


def first_line(file: Path) -> str:
    """The first line of a file that holds a passphrase.

    Raises:
        NotFoundError: there is no such file.
        BadInputError: there is no text in it.
        StorageError: it cannot be read.
    """
    try:
        lines = file.read_text("utf-8-sig").splitlines()
    except FileNotFoundError:
        raise NotFoundError(f"There is no file {file}.", next_step="Check the path.") from None
    except UnicodeDecodeError:
        raise BadInputError(
            f"{file} is not UTF-8 text.", next_step="Write the passphrase into its first line."
        ) from None
    except OSError as caught:
        raise storage_error(f"{file} could not be read", caught) from caught
    if not lines or not lines[0]:
        raise BadInputError(f"The first line of {file} is empty.", next_step="Write the passphrase there.")
    return lines[0]
