"""Where everything lives on this machine, and folders that only their owner can read.

The one module that decides a location. Resolving changes nothing on the disk: folders are made, 0700, by whoever is
about to write into them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from platformdirs import PlatformDirs

from profiles.files.atomic import storage_error
from tokmem_desk.system.disk import typed_path

HOME_VARIABLE = "TOKMEM_HOME"
_APP = "tokmem-desk"


@dataclass(frozen=True, slots=True)
class AppPaths:
    """Every path of the app. Profiles hold private data; the cache can be deleted at any time."""

    config_file: Path
    data: Path
    state: Path
    cache: Path

    @classmethod
    def resolve(cls, home: Path | None = None, environ: Mapping[str, str] | None = None) -> AppPaths:
        """Choose the roots: ``home``, else ``TOKMEM_HOME``, else the platform's own folders.

        Args:
            home: the value of ``--home``.
            environ: replaces ``os.environ``.

        Raises:
            UsageError: a path that cannot be.
        """
        moved_to = home or _from_environment(os.environ if environ is None else environ)
        if moved_to is not None:
            root = typed_path(moved_to).absolute()
            return cls(root / "config.toml", root / "data", root / "state", root / "cache")
        folders = PlatformDirs(_APP, appauthor=False)
        return cls(
            folders.user_config_path / "config.toml",
            folders.user_data_path,
            folders.user_state_path,
            folders.user_cache_path,
        )

    @property
    def profiles(self) -> Path:
        """One folder per profile, named by its id."""
        return self.data / "profiles"

    @property
    def registry_file(self) -> Path:
        """The list of profiles and which one is active."""
        return self.data / "registry.sqlite"

    @property
    def models(self) -> Path:
        """Fetched and converted backbones."""
        return self.cache / "models"

    @property
    def fitted(self) -> Path:
        """What was fitted to backbones. Memories are of use with that very fit only, so it is data and no cache."""
        return self.data / "fitted"

    @property
    def logs(self) -> Path:
        """The engine's log files."""
        return self.state / "logs"

    @property
    def checkpoints(self) -> Path:
        """What an interrupted training resumes from."""
        return self.state / "checkpoints"

    def profile_folder(self, profile_id: str) -> Path:
        """The folder of one profile."""
        return self.profiles / profile_id


def private_folder(folder: Path) -> Path:
    """Make ``folder`` and its missing parents, each 0700, and return it.

    A folder that is there already keeps its mode: it may be the user's own choice.

    Raises:
        StorageError: a file is in the way, or there is no permission or space.
    """
    missing = []
    step = folder
    while not step.is_dir() and step != step.parent:
        missing.append(step)
        step = step.parent
    try:
        for part in reversed(missing):
            part.mkdir(mode=0o700, exist_ok=True)
    except OSError as caught:
        raise storage_error(f"The folder {folder} could not be made", caught) from caught
    return folder


def _from_environment(environ: Mapping[str, str]) -> Path | None:
    value = environ.get(HOME_VARIABLE, "").strip()
    return Path(value) if value else None
