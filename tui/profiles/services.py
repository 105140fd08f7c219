"""What the Profiles screen and the locked screen ask of the app beyond what every room does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from profiles.encryption.file_encryption import ProfileKey
from profiles.registry.registry import ProfileInfo
from tui.kit.services import AppServices


class Profiles(Protocol):
    """Opens, renames and erases profiles."""

    async def open(self, name: str, key: ProfileKey | None = None, *, stay: bool = False) -> bool:
        """Go on with another profile; a training of the one that is left goes on.

        Args:
            name: the profile.
            key: of one with a passphrase; without it the person is asked.
            stay: do not restart the program.

        Returns:
            False when the person gave no passphrase; everything is as it was then.

        Raises:
            TokmemError: it cannot be opened; the present one stays open then.
        """
        ...

    async def rename(self, name: str, new: str) -> None:
        """Give a profile another name; the open one is opened again under it.

        Raises:
            BusyError: an answer or a training of it is not over.
            TokmemError: the new name is not allowed, or taken.
        """
        ...

    async def erase(self, name: str) -> None:
        """Erase a profile for good; after the open one, another is opened.

        Raises:
            BusyError: a training of it runs, or it is open in another program.
        """
        ...

    def next_after(self, infos: list[ProfileInfo], name: str) -> str | None:
        """The profile to open when ``name`` is erased: one that needs no passphrase."""
        ...

    def training_elsewhere(self) -> str | None:
        """The profile in which a training runs that is not the open one."""
        ...


class Passphrases(Protocol):
    """Gives profiles passphrases, and takes them away."""

    def refuse_if_at_work(self, name: str) -> None:
        """For changes of a profile that nothing may be working on.

        Raises:
            BusyError: an answer or a training of it is not over.
        """
        ...

    async def add(self, name: str, passphrase: str, show: Callable[[str], Awaitable[object]]) -> None:
        """Encrypt a profile; the open one is open again afterwards.

        Args:
            name: the profile.
            passphrase: for it.
            show: shows the recovery key, and returns when the person has it.

        Raises:
            TokmemError: it could not be encrypted, or the unencrypted files could not be erased.
        """
        ...

    async def remove(self, name: str, key: ProfileKey) -> None:
        """Decrypt a profile; the open one is open again afterwards.

        Raises:
            TokmemError: it could not be decrypted.
        """
        ...


class Locks(Protocol):
    """Locks and unlocks the open profile."""

    def lock(self) -> None:
        """Close the open profile, forget its key, and ask for its passphrase.

        Raises:
            BusyError: an answer is on its way.
        """
        ...

    async def unlock(self, name: str, key: ProfileKey) -> None:
        """Open a profile from the locked screen.

        Raises:
            TokmemError: it cannot be opened.
        """
        ...


class ProfileServices(AppServices, Protocol):
    """See the module."""

    @property
    def profiles(self) -> Profiles:
        """Opens, renames and erases profiles."""
        ...

    @property
    def passphrases(self) -> Passphrases:
        """Gives profiles passphrases, and takes them away."""
        ...

    @property
    def locks(self) -> Locks:
        """Locks and unlocks the open profile."""
        ...
