"""What every command works with: paths, settings, the profile, the engine; each made when first asked for."""

from __future__ import annotations

import argparse
import contextlib
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from tokmem_desk.errors import BadInputError, TokmemError
from tui.cli.console import Console

if TYPE_CHECKING:
    from profiles.encryption.file_encryption import ProfileKey
    from profiles.registry.registry import ProfileInfo
    from profiles.settings.settings import Settings
    from profiles.store.store import ProfileStore
    from tokmem_desk.models.store import ModelStore
    from tui.cli.engine_session import EngineSession


class Context:
    """One run of the command line. Use as a context manager: it closes what was opened.

    Args:
        options: as parsed.
        console: where text goes.
        paths: replaces what ``--home`` and the environment say.
    """

    def __init__(self, options: argparse.Namespace, console: Console, paths: AppPaths | None = None) -> None:
        self.options = options
        self.console = console
        self.paths = paths or AppPaths.resolve(options.home)
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    @cached_property
    def settings(self) -> Settings:
        """The settings in force; options of the command line win.

        Raises:
            BadInputError: a file of settings cannot be used.
        """
        from profiles.settings.settings import Settings

        given: dict[str, Any] = {
            name: getattr(self.options, name, None)
            for name in ("model", "device", "offline", "preset", "span", "router")
        }
        return Settings.load(self.paths, given, profile_folder=self.paths.profile_folder(self.profile.id))

    @cached_property
    def profile(self) -> ProfileInfo:
        """The profile in use: the named one, or the active one.

        Raises:
            NotFoundError: there is none of that name.
        """
        with ProfileRegistry(self.paths) as registry:
            return registry.info(self.options.profile) if self.options.profile else registry.active()

    @cached_property
    def key(self) -> ProfileKey | None:
        """What opens the profile in use; None where it has no lock.

        Raises:
            LockedError: the passphrase is wrong, or there is none and nobody to ask.
            BusyError: too many wrong ones were given.
        """
        if not self.profile.locked:
            return None
        from tui.cli.passphrase import profile_key

        return profile_key(self.paths, self.console, self.profile.name, self.options.passphrase_file)

    @cached_property
    def store(self) -> ProfileStore:
        """The profile's store, open until the command ends."""
        key = self.key
        with ProfileRegistry(self.paths) as registry:
            return self._stack.enter_context(registry.open(self.profile.name, key=key))

    @cached_property
    def models(self) -> ModelStore:
        """The prepared models."""
        from tokmem_desk.models.store import ModelStore

        return ModelStore(self.paths.models, offline=self.settings.flag("offline"))

    @property
    def model(self) -> str:
        """The backbone in use, as a person named it."""
        return self.settings.text("model")

    @cached_property
    def engine(self) -> EngineSession:
        """The engine, not started yet; ended with the command."""
        from tui.cli.engine_session import EngineSession

        session = EngineSession(
            self.paths,
            self.settings,
            self.models,
            self.console,
            profile=self.profile.name,
            key=lambda: self.key,
            home=self.options.home,
            agreed=self.options.yes,
        )
        return self._stack.enter_context(session)

    def tidy(self) -> None:
        """Delete what of the profile no undo can bring back; what cannot be deleted now goes the next time."""
        from profiles.store.checkpoints import drop_lost_checkpoints

        with contextlib.suppress(TokmemError):
            self.store.garbage.collect()
            drop_lost_checkpoints(self.paths, self.store)

    def agree(self, question: str) -> None:
        """Go on with something that deletes for good only with consent.

        Raises:
            BadInputError: nobody agreed.
        """
        if self.options.yes:
            return
        if not self.console.can_ask:
            raise BadInputError("This deletes for good.", next_step="Agree with --yes.")
        if not self.console.ask(question):
            raise BadInputError("Nothing was deleted.")

    def with_model(self, model: str) -> Context:
        """The same context for another backbone; closed together with this one."""
        options = argparse.Namespace(**{**vars(self.options), "model": model})
        return self._stack.enter_context(Context(options, self.console, self.paths))
