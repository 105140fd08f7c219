"""Profiles: list them, show what is in each, open, make, rename, lock and erase them."""

from __future__ import annotations

from typing import ClassVar, cast

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, ItemGrid, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from profiles.registry.contents import ProfileContents, contents, contents_of
from profiles.registry.registry import ProfileInfo, ProfileRegistry
from tokmem_desk.errors import BusyError
from tui.kit.base import AppScreen
from tui.kit.key_gate import asks
from tui.kit.words import size
from tui.profiles.dialogs import EraseDialog, ProfileNameDialog
from tui.profiles.lock_dialogs import LockMenuDialog, NewPassphraseDialog, RecoveryKeyDialog, UnlockDialog
from tui.profiles.profile_card import ProfileCard, ProfileDetails, holdings
from tui.profiles.services import ProfileServices

LEAD = "Each profile has its own procedures, memories and chats. All share the one loaded model."
ALONE = "One profile so far. a makes another, for somebody else or for another part of your life."


class ProfilesScreen(AppScreen):
    """The cards of all profiles, and the details of the one under the cursor."""

    MODE = "profiles"
    CSS_PATH = "screen.tcss"
    AUTO_FOCUS = None
    HELP_TEXT = (
        "A card for each profile; Enter goes on with it at once, the model stays loaded. What one profile learns or "
        "says is never seen in another. Erasing asks for the name, says what goes, and cannot be undone."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "add", "Add"),
        Binding("e", "rename", "Rename"),
        Binding("p", "passphrase", "Passphrase"),
        Binding("d,delete", "erase", "Erase", key_display="d"),
        Binding("right,l", "move(1, 0)", "Next", show=False),
        Binding("left,h", "move(-1, 0)", "Previous", show=False),
        Binding("down,j", "move(0, 1)", "Below", show=False),
        Binding("up,k", "move(0, -1)", "Above", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._infos: list[ProfileInfo] = []
        self._contents: dict[str, ProfileContents | None] = {}
        self._selected = ""

    @property
    def tokmem(self) -> ProfileServices:
        """The app, as far as this room uses it."""
        return cast(ProfileServices, self.app)

    def body(self) -> ComposeResult:
        with Horizontal(id="both"):
            with VerticalScroll(id="left", can_focus=False):
                yield Static(Content(LEAD), classes="lead")
                yield ItemGrid(id="cards", min_column_width=32)
            with VerticalScroll(id="right", can_focus=False):
                yield ProfileDetails()

    async def begin(self) -> None:
        """Draw what there is."""
        self._selected = self.tokmem.profile
        await self._load()

    # News from the app

    def on_screen_resume(self) -> None:
        """Read again: sizes and times may have changed."""
        self._load_again()

    def on_store_changed(self) -> None:
        self._load_again()

    @work(group="load", exclusive=True, exit_on_error=False)
    async def _load_again(self) -> None:
        await self._load()

    def on_jobs_changed(self) -> None:
        self._draw()

    async def _load(self) -> None:
        """Read the list and count what is in each."""
        if not self.is_mounted or not self.is_current:
            return
        with ProfileRegistry(self.tokmem.paths) as registry:
            self._infos = registry.list()
        self._contents = {info.name: self._count(info) for info in self._infos}
        grid = self.query_one("#cards", ItemGrid)
        missing = len(self._infos) - len(self.query(ProfileCard))
        if missing > 0:
            await grid.mount_all([ProfileCard() for _ in range(missing)])
        elif missing < 0:
            for card in list(self.query(ProfileCard))[missing:]:
                await card.remove()
        self._draw()
        self._focus_selected()

    def _count(self, info: ProfileInfo) -> ProfileContents | None:
        if info.name == self.tokmem.profile and info.locked and not self.tokmem.locked:
            return contents_of(self.tokmem.store)
        return contents(self.tokmem.paths.profile_folder(info.id))

    def _draw(self) -> None:
        cards = list(self.query(ProfileCard))
        if len(cards) != len(self._infos):
            return  # the list is being read anew
        training = self.tokmem.profile if self.tokmem.trainings.running else self.tokmem.profiles.training_elsewhere()
        for card, info in zip(cards, self._infos, strict=True):
            card.show(
                info,
                self._contents[info.name],
                is_open=info.name == self.tokmem.profile,
                training=info.name == training,
            )
        self.query_one(".lead", Static).update(Content(LEAD if len(self._infos) > 1 else ALONE))
        self._draw_details()

    def _draw_details(self) -> None:
        info = self._info
        if info is not None:
            folder = self.tokmem.paths.profile_folder(info.id)
            self.query_one(ProfileDetails).show(info, self._contents[info.name], folder)

    @property
    def _info(self) -> ProfileInfo | None:
        return next((info for info in self._infos if info.name == self._selected), None)

    # Moving

    def _focus_selected(self) -> None:
        if self._info is None:
            self._selected = self.tokmem.profile
        card = next((card for card in self.query(ProfileCard) if card.profile == self._selected), None)
        if card is not None:
            card.focus()

    def on_profile_card_highlighted(self, event: ProfileCard.Highlighted) -> None:
        """Show what is in it."""
        self._selected = event.name
        self._draw_details()

    def action_move(self, across: int, down: int) -> None:
        """Go to the card beside, above or below."""
        cards = list(self.query(ProfileCard))
        at = next((place for place, card in enumerate(cards) if card.has_focus), None)
        if at is None:
            self._focus_selected()
            return
        columns = sum(1 for card in cards if card.region.y == cards[0].region.y)
        target = at + across + down * columns
        if 0 <= target < len(cards):
            cards[target].focus()

    # What can be done

    @asks
    @work(group="profile", exclusive=True, exit_on_error=False)
    async def on_profile_card_chosen(self, event: ProfileCard.Chosen) -> None:
        """Go on with that profile."""
        if event.name == self.tokmem.profile:
            self.app.switch_mode("chat")
            return
        if not await self.tokmem.profiles.open(event.name):
            return
        self.show_header()
        await self._load()
        self.notify(f"This is {event.name} now. F2 to chat.", markup=False)

    @asks
    @work(exit_on_error=False)
    async def action_add(self) -> None:
        """Make an empty profile."""
        name = await self.app.push_screen_wait(ProfileNameDialog("A new profile", self._names))
        if name is None:
            return
        with ProfileRegistry(self.tokmem.paths) as registry:
            registry.create(name)
        self._selected = name
        await self._load()
        self.notify(f"Made {name}. Enter goes there.", markup=False)

    @asks
    @work(exit_on_error=False)
    async def action_rename(self) -> None:
        """Give the profile under the cursor another name; its data stay where they are."""
        info = self._info
        if info is None:
            return
        name = await self.app.push_screen_wait(
            ProfileNameDialog(f"Another name for {info.name}", self._names - {info.name}, info.name)
        )
        if name is None or name == info.name:
            return
        await self.tokmem.profiles.rename(info.name, name)
        self._selected = name
        self.show_header()
        await self._load()

    @asks
    @work(exit_on_error=False)
    async def action_erase(self) -> None:
        """Erase the profile under the cursor after its name was typed."""
        info = self._info
        if info is None:
            return
        if self._is_training(info.name):
            raise BusyError(f"A training runs in {info.name!r}.", next_step="Stop it first, or wait for its end.")
        found = self._contents[info.name]
        folder = self.tokmem.paths.profile_folder(info.id)
        going = [*(holdings(found) if found else ["everything in it, which cannot be counted"])]
        going.append(f"{size(info.bytes)} in {folder}")
        if info.name != self.tokmem.profile:
            after = "The other profiles stay as they are."
        elif (other := self.tokmem.profiles.next_after(self._infos, info.name)) is not None:
            after = f"{other} is opened instead."
        else:
            after = "An empty profile is made instead."
        if not await self.app.push_screen_wait(EraseDialog(info.name, going, after)):
            return
        await self.tokmem.profiles.erase(info.name)
        self._selected = self.tokmem.profile
        self.show_header()
        await self._load()
        self.notify(f"{info.name} is erased.", markup=False)

    @asks
    @work(group="passphrase", exclusive=True, exit_on_error=False)
    async def action_passphrase(self) -> None:
        """Give the profile under the cursor a passphrase; change it, remove it, or lock now where it has one."""
        info = self._info
        if info is None:
            return
        self.tokmem.passphrases.refuse_if_at_work(info.name)
        if info.locked:
            await self._change_lock(info)
        else:
            await self._add_lock(info)
        if not self.tokmem.locked:
            await self._load()

    async def _add_lock(self, info: ProfileInfo) -> None:
        passphrase = await self.app.push_screen_wait(
            NewPassphraseDialog(
                f"A passphrase for {info.name}",
                "Everything in the profile is encrypted: chats, pairs and memories. The passphrase is asked for at the "
                "start, and after a while without a key pressed.",
            )
        )
        if passphrase is None:
            return
        self.notify(f"Encrypting {info.name} …", markup=False)

        async def show(recovery: str) -> None:
            await self.app.push_screen_wait(RecoveryKeyDialog(info.name, recovery))

        await self.tokmem.passphrases.add(info.name, passphrase, show)

    async def _change_lock(self, info: ProfileInfo) -> None:
        is_open = info.name == self.tokmem.profile
        wish = await self.app.push_screen_wait(LockMenuDialog(info.name, is_open))
        if wish == "lock":
            self.tokmem.locks.lock()
            return
        if wish is None:
            return
        # Whoever changes the lock must know the passphrase, also where the profile is open.
        key = await self.app.push_screen_wait(UnlockDialog(self.tokmem.paths, info.name))
        if key is None:
            return
        if wish == "remove":
            await self.tokmem.passphrases.remove(info.name, key)
            self.notify(f"{info.name} has no passphrase now.", markup=False)
            return
        passphrase = await self.app.push_screen_wait(
            NewPassphraseDialog(f"Another passphrase for {info.name}", "The recovery key stays as it is.")
        )
        if passphrase is None:
            return
        with ProfileRegistry(self.tokmem.paths) as registry:
            registry.locks.change_passphrase(info.name, key, passphrase)
        self.notify(f"The passphrase of {info.name} is changed.", markup=False)

    @property
    def _names(self) -> set[str]:
        return {info.name for info in self._infos}

    def _is_training(self, name: str) -> bool:
        if name == self.tokmem.profile:
            return self.tokmem.trainings.running
        return self.tokmem.profiles.training_elsewhere() == name
