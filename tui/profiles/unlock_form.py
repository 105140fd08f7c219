"""The form for a passphrase, which the locked screen and the dialog share. It is checked in a thread."""

from __future__ import annotations

from textual import work
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static
from textual.worker import Worker, WorkerState, get_current_worker

from profiles.encryption.file_encryption import ProfileKey
from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from tokmem_desk.errors import TokmemError
from tui.kit.services import services


class UnlockForm(Vertical):
    """Asks until the passphrase or the recovery key is right.

    Args:
        paths: where the profiles are.
        profile: the locked one.
    """

    DEFAULT_CSS = """
    UnlockForm {
        height: auto;
        .label { color: $muted; height: auto; }
        #fault { color: $text-error; height: auto; display: none; }
    }
    """

    class Opened(Message):
        """The right one was given."""

        def __init__(self, key: ProfileKey) -> None:
            super().__init__()
            self.key = key

    def __init__(self, paths: AppPaths, profile: str) -> None:
        super().__init__()
        self._paths, self.profile = paths, profile
        self._by_recovery = False

    def compose(self) -> ComposeResult:
        yield Static(classes="label", id="what", markup=False)
        yield Input(password=True, id="passphrase")
        yield Static(id="fault", markup=False)

    def on_mount(self) -> None:
        """Ask for the passphrase."""
        self._draw()

    def toggle_recovery(self) -> None:
        """Ask for the recovery key instead, or for the passphrase again."""
        self._by_recovery = not self._by_recovery
        self._draw()

    def _draw(self) -> None:
        what = "Recovery key" if self._by_recovery else "Passphrase"
        self.query_one("#what", Static).update(Content(f"{what} of {self.profile}"))
        field = self.query_one("#passphrase", Input)
        field.value, field.password = "", not self._by_recovery
        self._say("")
        field.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Hide what was wrong with the last one as soon as another is typed."""
        if event.value:
            self._say("")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Try it."""
        event.stop()
        self.submit()

    def submit(self) -> None:
        """Try what was typed."""
        field = self.query_one("#passphrase", Input)
        if field.disabled:
            return
        if not field.value:
            self._say("Nothing was typed.")
            return
        field.disabled = True
        self._say("Trying …", fault=False)
        self._try(field.value)

    @work(thread=True, group="unlock", exclusive=True, exit_on_error=False)
    def _try(self, typed: str) -> None:
        fault, key = "", None
        try:
            with ProfileRegistry(self._paths) as registry:
                if self._by_recovery:
                    key = registry.locks.key_by_recovery(self.profile, typed)
                else:
                    key = registry.locks.key(self.profile, typed)
        except TokmemError as caught:
            fault = f"{caught.message} {caught.next_step}".strip()
        if not get_current_worker().is_cancelled:
            self.app.call_from_thread(self._tried, key, fault)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Show an unexpected error as those of the app's own workers are shown, and enable the field again."""
        if event.state is WorkerState.ERROR:
            self._tried(None, "It could not be tried.")
        services(self).on_worker_state_changed(event)

    def _tried(self, key: ProfileKey | None, fault: str) -> None:
        field = self.query_one("#passphrase", Input)
        field.disabled, field.value = False, ""
        if key is not None:
            self._say("")
            self.post_message(self.Opened(key))
            return
        self._say(fault)
        field.focus()

    def _say(self, words: str, *, fault: bool = True) -> None:
        place = self.query_one("#fault", Static)
        place.update(Content(f"! {words}" if words and fault else words))
        place.display = bool(words)
