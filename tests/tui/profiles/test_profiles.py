"""The Profiles screen: cards, going from one to another, making, renaming, erasing."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from textual.pilot import Pilot
from textual.widgets import Button, Input

from profiles.files.paths import AppPaths
from profiles.files.process_locks import process_lock
from profiles.registry.registry import ProfileRegistry
from profiles.store.store import ProfileStore
from profiles.store.undo import KEPT_ENTRIES
from tests.tui.conftest import MOOD
from tests.tui.driving import SIZES, ask, ready, texts, until
from tokmem_desk.errors import BusyError
from tui.chat.screen import ChatScreen
from tui.kit.failure import FailureDialog
from tui.procedures.screen import ProceduresScreen
from tui.profiles.dialogs import EraseDialog, ProfileNameDialog
from tui.profiles.profile_card import ProfileCard
from tui.profiles.screen import ProfilesScreen
from tui.shell.app import TokmemApp

pytestmark = pytest.mark.asyncio
MakeApp = Callable[..., TokmemApp]


@pytest.fixture
def family(paths: AppPaths, taught: None) -> None:
    """Three profiles; anna has a procedure of her own."""
    with ProfileRegistry(paths) as registry:
        for name in ("anna", "work"):
            registry.create(name)
        with registry.open("anna") as store:
            store.procedures.add(MOOD)


async def profiles(pilot: Pilot[None]) -> TokmemApp:
    """F5, with its cards drawn."""
    app = await ready(pilot)
    await pilot.press("f5")
    await until(pilot, lambda: isinstance(app.screen, ProfilesScreen) and bool(focused(app)), "cards")
    return app


def cards(app: TokmemApp) -> list[str]:
    """The names on the cards, in order."""
    return [card.profile for card in app.screen.query(ProfileCard)]


def focused(app: TokmemApp) -> str:
    """The name on the card that has the focus."""
    return app.focused.profile if isinstance(app.focused, ProfileCard) else ""


def names(paths: AppPaths) -> list[str]:
    """What the registry lists."""
    with ProfileRegistry(paths) as registry:
        return [info.name for info in registry.list()]


@pytest.mark.parametrize("size", SIZES)
async def test_cards_say_what_each_one_has(make_app: MakeApp, family: None, size: tuple[int, int]) -> None:
    async with make_app().run_test(size=size) as pilot:
        app = await profiles(pilot)
        assert cards(app) == ["anna", "default", "work"]
        assert focused(app) == "default"
        words = texts(app, "ProfileCard").splitlines()
        assert "2 procedures" in words and "1 procedure" in words and "empty" in words
        assert "no passphrase" in texts(app, "ProfileCard") and "used just now" in words
        assert app.screen.query(ProfileCard)[1].has_class("-open")


async def test_arrows_go_over_the_grid(make_app: MakeApp, family: None) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        app = await profiles(pilot)
        for key, name in (
            ("left", "anna"), ("left", "anna"), ("down", "work"), ("up", "anna"), ("right", "default"), ("l", "work"),
            ("h", "default"), ("k", "default"), ("j", "default"),
        ):  # fmt: skip
            await pilot.press(key)
            assert focused(app) == name, key


async def test_switching_keeps_the_engine_and_shows_nothing_of_the_other(make_app: MakeApp, family: None) -> None:
    async with make_app().run_test(size=(160, 50)) as pilot:
        app = await ready(pilot)
        await ask(pilot, "a secret of the default profile")
        pid, store = app.link.client.pid, app.store
        await profiles(pilot)
        await pilot.press("left", "enter")
        await until(pilot, lambda: app.profile == "anna" and "anna" in texts(app, "#status"), "switched")
        assert app.link.client.pid == pid and app.link.state.phase == "ready"
        with pytest.raises(Exception, match="closed"):
            store.chats.list()
        await pilot.press("f3")
        await until(pilot, lambda: isinstance(app.screen, ProceduresScreen))
        assert [record.name for record in app.store.procedures.list()] == ["mood_log"]
        await pilot.press("f2")
        await until(pilot, lambda: isinstance(app.screen, ChatScreen))
        assert "secret" not in texts(app)
        turn = await ask(pilot, "I need to buy milk")
        assert turn.answer.route == "none", "the other profile's memories must not answer here"
        await pilot.press("f5", "right", "enter")
        await until(pilot, lambda: app.profile == "default")
        await pilot.press("f2")
        await until(pilot, lambda: isinstance(app.screen, ChatScreen) and "secret" in texts(app), "own chat again")


async def test_the_open_profile_is_the_one_of_the_next_start(make_app: MakeApp, family: None) -> None:
    async with make_app().run_test() as pilot:
        app = await profiles(pilot)
        await pilot.press("left", "enter")
        await until(pilot, lambda: app.profile == "anna")
    async with make_app().run_test() as pilot:
        assert (await ready(pilot)).profile == "anna"


async def test_enter_on_the_open_one_goes_to_the_chat(make_app: MakeApp, family: None) -> None:
    async with make_app().run_test() as pilot:
        app = await profiles(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ChatScreen))


async def test_add_refuses_bad_and_taken_names(make_app: MakeApp, family: None, paths: AppPaths) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        app = await profiles(pilot)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, ProfileNameDialog))
        for typed, fault in (("", "cannot name a profile"), ("-x", "cannot name"), ("ANNA", "already")):
            app.screen.query_one("#name", Input).value = typed
            await pilot.press("ctrl+s")
            await until(pilot, lambda: fault in texts(app, "#fault"), fault)  # noqa: B023
        app.screen.query_one("#name", Input).value = "Jörg Groß"
        await pilot.press("enter")
        await until(pilot, lambda: focused(app) == "Jörg Groß", "the new card")
        assert names(paths) == ["Jörg Groß", "anna", "default", "work"]
        assert app.profile == "default", "making one does not go there"


async def test_rename_the_open_one(make_app: MakeApp, family: None, paths: AppPaths) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await profiles(pilot)
        await pilot.press("e")
        await until(pilot, lambda: isinstance(app.screen, ProfileNameDialog))
        app.screen.query_one("#name", Input).value = "me"
        await pilot.press("enter")
        await until(pilot, lambda: app.profile == "me" and "me" in texts(app, "#status"), "renamed")
        assert names(paths) == ["anna", "me", "work"]
        await pilot.press("f2")
        await until(pilot, lambda: isinstance(app.screen, ChatScreen))
        assert (await ask(pilot, "I need to buy milk")).answer.route == "todo_line"


async def test_erase_wants_the_name(make_app: MakeApp, family: None, paths: AppPaths) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        app = await profiles(pilot)
        await pilot.press("left", "d")
        await until(pilot, lambda: isinstance(app.screen, EraseDialog))
        assert "1 procedure" in texts(app, ".going") and "2 example pairs" in texts(app, ".going")
        assert app.screen.query_one("#yes", Button).disabled
        await pilot.press(*"ann", "enter")
        assert isinstance(app.screen, EraseDialog), "half a name erases nothing"
        await pilot.press("a")
        assert not app.screen.query_one("#yes", Button).disabled
        await pilot.press("enter")
        await until(pilot, lambda: cards(app) == ["default", "work"], "erased")
        assert names(paths) == ["default", "work"]
        assert len(list(paths.profiles.iterdir())) == 2


async def test_erase_can_be_left(make_app: MakeApp, family: None, paths: AppPaths) -> None:
    async with make_app().run_test() as pilot:
        app = await profiles(pilot)
        await pilot.press("delete")
        await until(pilot, lambda: isinstance(app.screen, EraseDialog))
        await pilot.press(*"default", "escape")
        await until(pilot, lambda: isinstance(app.screen, ProfilesScreen))
        assert "default" in names(paths)


async def test_erase_the_open_one_goes_on_with_another(make_app: MakeApp, family: None, paths: AppPaths) -> None:
    async with make_app().run_test() as pilot:
        app = await profiles(pilot)
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, EraseDialog))
        assert "anna is opened instead" in texts(app)
        await pilot.press(*"default", "enter")
        await until(pilot, lambda: app.profile == "anna" and cards(app) == ["anna", "work"], "erased")
        assert names(paths) == ["anna", "work"]


async def test_erase_the_only_one_leaves_an_empty_one(make_app: MakeApp, taught: None, paths: AppPaths) -> None:
    async with make_app().run_test() as pilot:
        app = await profiles(pilot)
        assert "One profile so far" in texts(app)
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, EraseDialog))
        await pilot.press(*"default", "enter")
        await until(pilot, lambda: app.profile == "default-2", "a new one")
        assert names(paths) == ["default-2"] and not app.store.procedures.list()


async def test_a_running_training_keeps_its_profile(
    make_app: MakeApp, paths: AppPaths, seed: Callable[[Callable[[ProfileStore], None]], None]
) -> None:
    def teach(store: ProfileStore) -> None:
        store.procedures.add(MOOD)

    seed(teach)
    with ProfileRegistry(paths) as registry:
        registry.create("anna")
    async with make_app("--steps", "6", "--wait-at-step", "4").run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        await pilot.press("f4", "t")
        await until(pilot, lambda: app.trainings.current is not None, "training")
        trainings = app.trainings
        await profiles(pilot)
        assert "training now" in texts(app, "ProfileCard")
        await pilot.press("left", "enter")
        await until(pilot, lambda: app.profile == "anna")
        assert app.profiles.training_elsewhere() == "default" and trainings.working
        await pilot.press("right", "d")
        # Keys that were typed before the action had failed are dropped.
        await until(pilot, lambda: isinstance(app.screen, FailureDialog) and not app.key_gate.is_waiting)
        assert "A training runs in 'default'" in texts(app)
        await pilot.press("enter")
        await until(pilot, lambda: not isinstance(app.screen, FailureDialog))
        await pilot.press("enter")
        await until(pilot, lambda: app.profile == "default")
        assert app.trainings is trainings, "back to the same training"
        await trainings.stop()
        await until(pilot, lambda: not trainings.working, "ended")
        assert len(app.store.memories.list("mood_log")) == 1


async def test_opening_deletes_what_no_undo_can_bring_back(
    make_app: MakeApp, taught: None, seed: Callable[[Callable[[ProfileStore], None]], None]
) -> None:
    def remove(store: ProfileStore) -> None:
        for memory in store.memories.list("mood_log"):
            os.utime(store.memories.folder / memory.file, (0, 0))
        store.procedures.remove("mood_log")
        for number in range(KEPT_ENTRIES):
            store.procedures.set_description("todo_line", f"wording {number}")

    seed(remove)
    async with make_app().run_test() as pilot:
        app = await ready(pilot)
        kept = app.store.rows("SELECT 1 FROM version_pairs WHERE procedure_id NOT IN (SELECT id FROM procedures)")
        assert kept == []
        files = [path.name for path in app.store.memories.folder.iterdir()]
        assert files == [memory.file for memory in app.store.memories.list("todo_line")]


async def test_a_second_window_on_one_profile_is_told_of(
    make_app: MakeApp, taught: None, paths: AppPaths, notices: list[str]
) -> None:
    with ProfileRegistry(paths) as registry:
        registry.create("anna")
        folders = {name: paths.profile_folder(registry.info(name).id) for name in ("default", "anna")}
    guard = process_lock(folders["default"] / "app.guard", BusyError("held"), seconds=0)
    with guard:
        async with make_app().run_test() as pilot:
            app = await ready(pilot)
            await until(pilot, lambda: "default is open in another window too" in " ".join(notices))
            notices.clear()
            await app.profiles.open("anna")
            assert "another window" not in " ".join(notices)
            with pytest.raises(BusyError), process_lock(folders["anna"] / "app.guard", BusyError("held"), seconds=0):
                pass
    with process_lock(folders["anna"] / "app.guard", BusyError("held"), seconds=0):
        pass
