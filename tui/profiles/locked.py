"""The screen of a locked profile: its name and a field for the passphrase. It shows nothing of the contents."""

from __future__ import annotations

from typing import ClassVar, cast

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import Screen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option
from textual.worker import Worker

from profiles.registry.registry import ProfileInfo, ProfileRegistry
from tui.kit.error_dialogs import shows_errors
from tui.kit.key_footer import KeyFooter
from tui.profiles.services import ProfileServices
from tui.profiles.unlock_form import UnlockForm


class LockedScreen(Screen[None]):
    """The screen."""

    CSS_PATH = "locked.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+r", "recovery", "Recovery key", priority=True),
        Binding("escape", "others", "Another profile"),
        Binding("ctrl+q", "app.quit", "Quit", key_display="^q"),
    ]

    @property
    def tokmem(self) -> ProfileServices:
        """The app, as far as this room uses it."""
        return cast(ProfileServices, self.app)

    def compose(self) -> ComposeResult:
        with Vertical(id="box"):
            yield Static(Content("tokmem-desk"), id="name")
            yield Static(Content(f"▣ {self.tokmem.profile} is locked"), id="title")
            yield UnlockForm(self.tokmem.paths, self.tokmem.profile)
            yield Static(id="note", markup=False)
            yield OptionList(id="profiles", markup=False)
        yield KeyFooter()

    def on_mount(self) -> None:
        """Hide the list of other profiles until it is asked for."""
        self.query_one("#profiles").display = False
        self.query_one("#note").display = False

    def wait(self, text: str) -> None:
        """Ask for nothing: another process is about to start, and will ask."""
        self.query_one(UnlockForm).display = False
        self._note(text)

    def ask(self, text: str) -> None:
        """Ask for the passphrase, with a line below; nothing where that is empty."""
        form = self.query_one(UnlockForm)
        if not form.display:
            form.display = True
            form.query_one("#passphrase").focus()
        self._note(text)

    def _note(self, text: str) -> None:
        place = self.query_one("#note", Static)
        place.update(Content(text))
        place.display = bool(text)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Errors are shown like those of the app."""
        self.tokmem.on_worker_state_changed(event)

    @work(group="unlock-profile", exclusive=True, exit_on_error=False)
    async def on_unlock_form_opened(self, event: UnlockForm.Opened) -> None:
        """Open the profile."""
        await self.tokmem.locks.unlock(self.query_one(UnlockForm).profile, event.key)

    def action_recovery(self) -> None:
        """By the recovery key, or by the passphrase again."""
        self.query_one(UnlockForm).toggle_recovery()

    @shows_errors
    def action_others(self) -> None:
        """Show the other profiles, or hide them again."""
        options = self.query_one("#profiles", OptionList)
        if options.display:
            options.display = False
            self.query_one("#passphrase").focus()
            return
        with ProfileRegistry(self.tokmem.paths) as registry:
            infos = [info for info in registry.list() if info.name != self.tokmem.profile]
        options.clear_options()
        options.add_options([Option(_line(info), id=info.name) for info in infos])
        if not infos:
            self.notify("There is no other profile.")
            return
        options.display, options.highlighted = True, 0
        options.focus()

    @work(group="unlock-profile", exclusive=True, exit_on_error=False)
    async def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Go on with that one."""
        if event.option_id is not None and await self.tokmem.profiles.open(event.option_id):
            self.app.switch_mode("chat")
            self.tokmem.load_engine()


def _line(info: ProfileInfo) -> Content:
    return Content(f"{'▣' if info.locked else '□'} {info.name}{'  locked' if info.locked else ''}")
