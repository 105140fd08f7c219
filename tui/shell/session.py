"""The state that the controllers share: the open profile, with its store, its settings and its queue."""

from __future__ import annotations

from dataclasses import dataclass

from textual.signal import Signal

from profiles.files.paths import AppPaths
from profiles.settings.settings import Settings
from profiles.store.store import ProfileStore
from tui.shared.overview import last_fingerprint
from tui.training.queue import TrainQueue


@dataclass(frozen=True, slots=True)
class OpenProfile:
    """A profile whose store is open."""

    name: str
    store: ProfileStore
    trainings: TrainQueue


class Session:
    """See the module.

    Args:
        paths: where everything is.
        settings: of all profiles, until one is open.
        store_changed: tells the screens of changes in the store.
    """

    def __init__(self, paths: AppPaths, settings: Settings, store_changed: Signal[int]) -> None:
        self.paths = paths
        self.settings = settings
        """In force: of the open profile, or of all where none was open yet."""
        self.profile = ""
        """Name of the open profile, also while it is locked."""
        self.locked = True
        """Whether no profile's data can be reached: before the first one is open, and after locking."""
        self.locking = False
        """Whether the open profile is being locked at this moment."""
        self.fingerprint: str | None = None
        """Of the backbone that the profile was used with last."""
        self._store_changed = store_changed
        self._revision = 0
        self._current: OpenProfile | None = None

    @property
    def current(self) -> OpenProfile:
        """The profile that everything works on; its store is closed while ``locked``.

        Raises:
            AttributeError: none was open yet.
        """
        if self._current is None:
            raise AttributeError("no profile was opened yet")
        return self._current

    @property
    def store(self) -> ProfileStore:
        """The data of the open profile."""
        return self.current.store

    @property
    def trainings(self) -> TrainQueue:
        """The queue of the open profile."""
        return self.current.trainings

    @property
    def is_training(self) -> bool:
        """Whether this app works on the queue of the open profile."""
        return self._current is not None and self._current.trainings.working

    def set_current(self, profile: OpenProfile) -> None:
        """Make a profile the one that everything works on."""
        self._current, self.profile, self.locked = profile, profile.name, False
        self._revision, self.fingerprint = profile.store.revision, last_fingerprint(profile.store)
        self.settings = self.settings.for_profile(self.paths, profile.store.folder)

    def announce_store(self) -> None:
        """Tell every screen that procedures, pairs or memories may differ."""
        self._revision = self.store.revision
        self._store_changed.publish(self._revision)

    def announce_outside_changes(self) -> None:
        """Tell every screen if another program has changed the profile since the last announcement."""
        if self.store.revision != self._revision:
            self.announce_store()
