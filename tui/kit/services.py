"""What the rooms of the app may ask of the app around them.

Rooms see the app through these protocols and never import it, so that no room depends on the shell. A room that needs
more of the app than all others do adds that in a protocol of its own, which extends ``AppServices``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, cast

from textual.dom import DOMNode
from textual.signal import Signal
from textual.worker import Worker

from tokmem_desk.errors import TokmemError
from tui.engine_client.link import EngineLink, EngineState

if TYPE_CHECKING:
    from profiles.files.paths import AppPaths
    from profiles.settings.settings import Settings
    from profiles.store.store import ProfileStore
    from tui.kit.key_gate import KeyGate


class QueuedTraining(Protocol):
    """A training that waits, runs, or has ended and is not decided about."""

    @property
    def name(self) -> str:
        """The procedure's name."""
        ...


class Trainings(Protocol):
    """The open profile's queue of trainings, to read only."""

    @property
    def jobs(self) -> Sequence[QueuedTraining]:
        """All jobs, in the order of the queue."""
        ...

    @property
    def running(self) -> bool:
        """Whether one runs now."""
        ...

    @property
    def text(self) -> str:
        """The state of the queue in a few words; empty where there is nothing to say."""
        ...


class ListedScreen(Protocol):
    """What the header needs to know of a screen."""

    @property
    def mode(self) -> str:
        """Its name."""
        ...

    @property
    def key(self) -> str:
        """The key that goes there; empty if there is none."""
        ...

    @property
    def title(self) -> str:
        """In its tab."""
        ...


class AppServices(Protocol):
    """What every room may use of the app."""

    # What everything works on

    @property
    def paths(self) -> AppPaths:
        """The folders and files of the program."""
        ...

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        ...

    @property
    def profile(self) -> str:
        """Name of the open profile, also while it is locked."""
        ...

    @property
    def locked(self) -> bool:
        """Whether the data of the profile cannot be reached now. ``store`` is closed then."""
        ...

    @property
    def store(self) -> ProfileStore:
        """The open profile's data."""
        ...

    # The engine

    @property
    def link(self) -> EngineLink:
        """The way to the engine."""
        ...

    @property
    def model(self) -> str:
        """The backbone as the settings name it."""
        ...

    @property
    def fingerprint(self) -> str | None:
        """Fingerprint of the loaded backbone; before one is loaded, of the one that was used last."""
        ...

    def load_engine(self) -> object:
        """Load the model, asking before any download."""
        ...

    # Training

    @property
    def trainings(self) -> Trainings:
        """The open profile's queue of trainings."""
        ...

    def train(self, names: Sequence[str], preset: str | None = None, *, show: bool = True) -> None:
        """Put trainings into the queue, and show that.

        Args:
            names: of the procedures.
            preset: how long to take; the settings' one without it.
            show: go to the Train screen.
        """
        ...

    # News

    @property
    def engine_changed(self) -> Signal[EngineState]:
        """The engine began, continued or ended loading, or it died."""
        ...

    @property
    def jobs_changed(self) -> Signal[int]:
        """A training made a step, began or ended, or another queue is open."""
        ...

    @property
    def store_changed(self) -> Signal[int]:
        """Procedures, pairs or memories may have changed; carries the store's revision."""
        ...

    def announce_store(self) -> None:
        """Tell every screen that procedures, pairs or memories may have changed."""
        ...

    # What is shown

    @property
    def key_gate(self) -> KeyGate:
        """Keeps keys for the dialog that was asked for."""
        ...

    @property
    def screen_list(self) -> Sequence[ListedScreen]:
        """The screens of the app."""
        ...

    def open_procedure(self, name: str) -> None:
        """Show one procedure on its screen."""
        ...

    def notify(self, message: str, *, markup: bool = True) -> None:
        """Show a notice in a corner of the screen, for a while."""
        ...

    def show_error(self, error: TokmemError) -> None:
        """Show an error: what happened, what is safe and what to do next. The app goes on."""
        ...

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Show the error of a worker, if it ended with one. Screens and dialogs pass the events of their workers on."""
        ...


def services(node: DOMNode) -> AppServices:
    """The app around a widget or a screen, as rooms see it."""
    return cast(AppServices, node.app)
