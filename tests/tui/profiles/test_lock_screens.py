"""Profiles with a passphrase: adding it, the locked screen, locking by key and by time, changing, removing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from tests.tui.driving import ask, ready, texts, until
from tests.tui.profiles.test_profiles import cards, names, profiles
from tui.chat.prompt import Prompt
from tui.chat.screen import ChatScreen
from tui.kit.ask_line import LineDialog
from tui.kit.failure import FailureDialog
from tui.process.restart import Handover
from tui.profiles.lock_dialogs import LockMenuDialog, NewPassphraseDialog, RecoveryKeyDialog, UnlockDialog
from tui.profiles.locked import LockedScreen
from tui.profiles.screen import ProfilesScreen
from tui.shell.app import TokmemApp

pytestmark = pytest.mark.asyncio
MakeApp = Callable[..., TokmemApp]
PASSPHRASE = "correct horse"


@pytest.fixture
def locked(paths: AppPaths, taught: None) -> str:
    """The default profile has a passphrase, anna has none; returns the recovery key."""
    with ProfileRegistry(paths) as registry:
        registry.create("anna")
        return registry.locks.add("default", PASSPHRASE)


def app_of(pilot: Pilot[None]) -> TokmemApp:
    """The app, typed."""
    assert isinstance(pilot.app, TokmemApp)
    return pilot.app


async def unlocked(pilot: Pilot[None]) -> TokmemApp:
    """Type the passphrase on the locked screen."""
    app = app_of(pilot)
    await until(pilot, lambda: isinstance(app.screen, LockedScreen), "locked screen")
    await pilot.press(*(key if key != " " else "space" for key in PASSPHRASE), "enter")
    await until(pilot, lambda: isinstance(app.screen, ChatScreen) and not app.locked, "unlocked")
    return await ready(pilot)


async def test_start_asks_for_the_passphrase(make_app: MakeApp, locked: str) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        app = app_of(pilot)
        await until(pilot, lambda: isinstance(app.screen, LockedScreen))
        assert "default is locked" in texts(app) and app.screen.query_one("#passphrase", Input).password
        assert not app.link.client.running
        for key in ("f3", "f5", "f12", "ctrl+p"):
            await pilot.press(key)
        assert isinstance(app.screen, LockedScreen), "no key leads past the lock"
        await pilot.press(*"wrong", "enter")
        await until(pilot, lambda: "not the passphrase" in texts(app, "#fault"), "refused")
        await pilot.press("enter")
        assert "Nothing was typed" in texts(app, "#fault")
        await unlocked(pilot)
        assert (await ask(pilot, "I need to buy milk")).answer.route == "todo_line"


async def test_an_unexpected_error_gives_the_field_back(
    make_app: MakeApp, locked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a fault")

    async with make_app().run_test() as pilot:
        app = app_of(pilot)
        await until(pilot, lambda: isinstance(app.screen, LockedScreen))
        with monkeypatch.context() as patch:
            patch.setattr("profiles.registry.locks.ProfileLocks.key", broken)
            await pilot.press(*"wrong", "enter")
            await until(pilot, lambda: isinstance(app.screen, FailureDialog))
        assert "ZeroDivisionError: a fault" in texts(app)
        await pilot.press("enter")
        await unlocked(pilot)


async def test_the_recovery_key_opens_too(make_app: MakeApp, locked: str) -> None:
    async with make_app().run_test() as pilot:
        app = app_of(pilot)
        await until(pilot, lambda: isinstance(app.screen, LockedScreen))
        await pilot.press("ctrl+r")
        assert "Recovery key" in texts(app, "#what")
        app.screen.query_one("#passphrase", Input).value = locked
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ChatScreen) and not app.locked)


async def test_another_profile_from_the_locked_screen(make_app: MakeApp, locked: str) -> None:
    async with make_app().run_test() as pilot:
        app = app_of(pilot)
        await until(pilot, lambda: isinstance(app.screen, LockedScreen))
        await pilot.press("escape")
        await until(pilot, lambda: bool(app.screen.query_one("#profiles").display))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ChatScreen) and app.profile == "anna", "anna is open")


async def test_locking_now_leaves_nothing_on_the_screen(make_app: MakeApp, locked: str) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await unlocked(pilot)
        await ask(pilot, "a secret word")
        store = app.store
        await profiles(pilot)
        assert "passphrase; open now" in texts(app, "ProfileCard") and "2 procedures" in texts(app, "ProfileCard")
        await pilot.press("p")
        await until(pilot, lambda: isinstance(app.screen, LockMenuDialog))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, LockedScreen))
        with pytest.raises(Exception, match="closed"):
            store.chats.list()
        await until(pilot, lambda: not app.link.client.running, "the engine ends, with all that it remembers")
        await unlocked(pilot)
        await until(pilot, lambda: "a secret word" in texts(app), "the chat is back")


async def test_idle_time_locks(make_app: MakeApp, locked: str) -> None:
    async with make_app().run_test() as pilot:
        app = await unlocked(pilot)
        app._look_outside()
        await pilot.pause()
        assert not app.locked
        app.idle_clock.last_input -= 16 * 60
        app._look_outside()
        await until(pilot, lambda: isinstance(app.screen, LockedScreen), "locked after a quarter of an hour")
        await unlocked(pilot)


async def test_a_passphrase_is_added_and_the_recovery_key_shown_once(
    make_app: MakeApp, taught: None, paths: AppPaths
) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        app = await profiles(pilot)
        await pilot.press("p")
        await until(pilot, lambda: isinstance(app.screen, NewPassphraseDialog))
        for first, second, fault in (("short", "short", "8"), ("long enough", "other words", "not the same")):
            app.screen.query_one("#first", Input).value = first
            app.screen.query_one("#second", Input).value = second
            await pilot.press("ctrl+s")
            await until(pilot, lambda: fault in texts(app, "#fault"), fault)  # noqa: B023
        app.screen.query_one("#first", Input).value = PASSPHRASE
        app.screen.query_one("#second", Input).value = PASSPHRASE
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, RecoveryKeyDialog), "encrypted")
        recovery = texts(app, "#recovery")
        await pilot.press("ctrl+c")
        assert app.clipboard == recovery
        for keys, said in (
            (("enter",), "not its last group"),
            (("escape",), "not shown again"),
            ((*recovery[:4].lower(), "enter"), "not its last group"),
            (("ctrl+q",), "once more quits"),
        ):
            await pilot.press(*keys)
            await until(pilot, lambda: said in texts(app, "#fault"), said)  # noqa: B023
            assert isinstance(app.screen, RecoveryKeyDialog) and texts(app, "#recovery") == recovery
        app.screen.query_one("#group", Input).clear()
        await pilot.press(*recovery[-4:].lower())
        assert not app.screen.query_one("#fault").has_class("-shown"), "a fault goes when it is mended"
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ProfilesScreen))
        await until(pilot, lambda: "passphrase; open now" in texts(app, "ProfileCard") and not app.locked)
        await pilot.press("f2")
        await until(pilot, lambda: isinstance(app.screen, ChatScreen))
        assert (await ask(pilot, "I need to buy milk")).answer.route == "todo_line"
    with ProfileRegistry(paths) as registry:
        assert registry.info("default").locked
        registry.locks.key_by_recovery("default", recovery)


async def test_the_recovery_key_can_be_saved_to_a_file_instead(
    make_app: MakeApp, taught: None, paths: AppPaths, tmp_path: Path
) -> None:
    recovery = "ABCD-EFGH-JKMN-PQRS"
    closed: list[None] = []
    async with make_app().run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        app.push_screen(RecoveryKeyDialog("default", recovery), closed.append)
        await until(pilot, lambda: isinstance(app.screen, RecoveryKeyDialog))
        file = tmp_path / "key.txt"
        for name, said in ((tmp_path / "none" / "key.txt", "no folder"), (tmp_path, "there already")):
            await pilot.press("ctrl+s")
            await until(pilot, lambda: isinstance(app.screen, LineDialog), "asks where to")
            app.screen.query_one(Input).value = str(name)
            await pilot.press("enter")
            await until(pilot, lambda: said in texts(app, "#fault"), said)  # noqa: B023
            await pilot.press("escape")
            await until(pilot, lambda: isinstance(app.screen, RecoveryKeyDialog), "still there")
        assert not closed
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, LineDialog), "asks where to")
        app.screen.query_one(Input).value = str(file)
        await pilot.press("enter")
        await until(pilot, lambda: closed == [None], "goes on")
        assert file.read_text().splitlines()[0] == recovery and file.stat().st_mode & 0o077 == 0


async def test_switching_to_a_locked_one_asks_and_may_be_left(make_app: MakeApp, locked: str, paths: AppPaths) -> None:
    with ProfileRegistry(paths) as registry:
        registry.switch("anna")
    async with make_app().run_test(size=(80, 24)) as pilot:
        app = await profiles(pilot)
        assert "▣ locked" in texts(app, "ProfileCard") and cards(app) == ["anna", "default"]
        await pilot.press("right", "enter")
        await until(pilot, lambda: isinstance(app.screen, UnlockDialog))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, ProfilesScreen))
        assert app.profile == "anna" and not app.locked
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, UnlockDialog))
        app.screen.query_one("#passphrase", Input).value = PASSPHRASE
        await pilot.press("enter")
        await until(pilot, lambda: app.profile == "default", "switched")


async def test_changing_and_removing(make_app: MakeApp, locked: str, paths: AppPaths) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        app = await unlocked(pilot)
        await profiles(pilot)
        for button in ("#change", "#remove"):
            await pilot.press("p")
            await until(pilot, lambda: isinstance(app.screen, LockMenuDialog))
            await pilot.click(button)
            await until(pilot, lambda: isinstance(app.screen, UnlockDialog), "asks even though it is open")
            app.screen.query_one("#passphrase", Input).value = PASSPHRASE if button == "#change" else "another horse"
            await pilot.press("enter")
            if button == "#change":
                await until(pilot, lambda: isinstance(app.screen, NewPassphraseDialog))
                for field in ("#first", "#second"):
                    app.screen.query_one(field, Input).value = "another horse"
                await pilot.press("ctrl+s")
            await until(pilot, lambda: isinstance(app.screen, ProfilesScreen))
        await until(pilot, lambda: "▣" not in texts(app, "ProfileCard") and not app.locked, "no passphrase any more")
    with ProfileRegistry(paths) as registry:
        assert not registry.info("default").locked
    assert names(paths) == ["anna", "default"]


async def test_nothing_is_left_behind_the_lock(make_app: MakeApp, locked: str) -> None:
    """No screen, message, error, clipboard or key; and the engine forgets."""
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await unlocked(pilot)
        await ask(pilot, "I need to buy milk on Monday")
        app.copy_to_clipboard("milk")
        app.notify("about milk")
        app.errors.recent.append("milk was spilt")
        store, key = app.store, app.store.files.key
        assert key is not None
        await pilot.press("ctrl+l")
        await until(pilot, lambda: key.raw() == bytes(32), "the key is overwritten")
        with pytest.raises(Exception, match="closed"):
            store.procedures.list()
        assert {mode for mode, stack in app._screen_stacks.items() if stack} <= {"_default", "locked"}
        assert app.clipboard == "" and not app._notifications and not app.errors.recent
        await until(pilot, lambda: not app.link.client.running, "the engine forgets by ending")
        await unlocked(pilot)
        assert len(app.store.chats.list()) == 1


async def test_a_running_training_goes_on_behind_the_lock(make_app: MakeApp, locked: str) -> None:
    async with make_app("--wait-at-step", "4").run_test(size=(80, 24)) as pilot:
        app = await unlocked(pilot)
        app.train(["todo_line"], "quick")
        await until(pilot, lambda: app.trainings.running, "training")
        store, trainings = app.store, app.trainings
        app.idle_clock.last_input -= 3600
        app._look_outside()
        await until(pilot, lambda: isinstance(app.screen, LockedScreen), "locked although it trains")
        (app.paths.config_file.parent / "go-on").touch()
        await until(pilot, lambda: not trainings.working, "its end")
        await until(pilot, lambda: not app.open_profiles.left, "closed after its end")
        with pytest.raises(Exception, match="closed"):
            store.procedures.list()
        await unlocked(pilot)
        assert len(app.store.memories.list("todo_line")) == 2
        assert [job.state for job in app.trainings.jobs] == ["undecided"], "it waits for a decision behind the lock too"


async def test_a_training_left_behind_does_not_open_the_profile_to_others(make_app: MakeApp, locked: str) -> None:
    async with make_app("--wait-at-step", "4").run_test(size=(80, 24)) as pilot:
        app = await unlocked(pilot)
        app.train(["todo_line"], "quick")
        await until(pilot, lambda: app.trainings.running, "training")
        app.run_worker(app.profiles.open("anna"))
        await until(pilot, lambda: app.profile == "anna", "the other profile")
        app.run_worker(app.profiles.open("default"))
        await until(pilot, lambda: isinstance(app.screen, UnlockDialog), "its passphrase is asked for")
        assert app.profile == "anna"


async def test_a_training_that_ends_while_the_passphrase_is_typed(make_app: MakeApp, locked: str) -> None:
    async with make_app("--wait-at-step", "4").run_test(size=(80, 24)) as pilot:
        app = await unlocked(pilot)
        app.train(["todo_line"], "quick")
        await until(pilot, lambda: app.trainings.running, "training")
        await app.profiles.open("anna")
        app.run_worker(app.profiles.open("default"))
        await until(pilot, lambda: isinstance(app.screen, UnlockDialog), "its passphrase is asked for")
        (app.paths.config_file.parent / "go-on").touch()
        await until(pilot, lambda: not app.open_profiles.left, "the training ends, and its store is closed")
        app.screen.query_one("#passphrase", Input).value = PASSPHRASE
        await pilot.press("enter")
        await until(pilot, lambda: app.profile == "default", "back in it")
        app._look_outside()
        assert [job.state for job in app.trainings.jobs] == ["undecided"]


async def test_what_was_not_sent_comes_back(make_app: MakeApp, locked: str, paths: AppPaths) -> None:
    text = "half a thought,\nand more"
    async with make_app().run_test() as pilot:
        app = await unlocked(pilot)
        app.screen.query_one(Prompt).take(text)
        app.locks.lock()
        app = await unlocked(pilot)
        assert app.screen.query_one(Prompt).text == text
        await app.profiles.open("anna")
        app.switch_mode("chat")
        await until(pilot, lambda: isinstance(app.screen, ChatScreen) and app.screen.is_mounted)
        assert app.screen.query_one(Prompt).text == "", "another person does not see it"
        app.screen.query_one(Prompt).take("mine")
        await pilot.press("ctrl+q")
    with ProfileRegistry(paths) as registry, registry.open("anna") as store:
        assert store.chats.take_unsent() == "mine" and store.chats.take_unsent() == ""
        registry.switch("default")
    async with make_app().run_test() as pilot:
        app = await unlocked(pilot)
        assert app.screen.query_one(Prompt).text == text
        await pilot.press("ctrl+o")
        app.screen.query_one(Prompt).take("whispered")
        app.locks.lock()
        app = await unlocked(pilot)
        assert app.screen.query_one(Prompt).text == "", "a temporary chat leaves nothing"


async def test_a_lock_asks_for_a_new_process(make_app: MakeApp, locked: str, paths: AppPaths) -> None:
    app = make_app()
    app.restarts.enabled = True
    async with app.run_test() as pilot:
        await unlocked(pilot)
        app.screen.query_one(Prompt).take("half a thought")
        app.idle_clock.last_input -= 16 * 60
        app._look_outside()
        await until(pilot, lambda: app.restarts.wish is not None, "the wish after idle time")
    assert app.restarts.wish == Handover("default", None) and not app.link.client.running
    again = make_app()
    again.restarts.enabled = True
    async with again.run_test() as pilot:
        await unlocked(pilot)
        assert again.screen.query_one(Prompt).text == "half a thought", "kept in the profile, not in the process"
        await again.profiles.open("anna")
        assert again.restarts.wish == Handover("anna", None), "leaving a profile with a passphrase is locking it"


async def test_a_profile_without_a_passphrase_is_left_without_ado(make_app: MakeApp, locked: str) -> None:
    app = make_app()
    app.restarts.enabled = True
    async with app.run_test() as pilot:
        await unlocked(pilot)
        key = app.store.files.key
        assert key is not None
        own = key.copy()
        await app.profiles.rename("default", "renamed")
        assert app.restarts.wish is None and app.profile == "renamed", "renaming is no leaving"
        await app.profiles.open("anna", stay=True)
        app.restarts.wish = None
        await app.profiles.open("renamed", own)
        assert app.restarts.wish is None and app.engine.exclusive, "an engine that no other app shares"


async def test_the_next_process_opens_the_profile_that_was_chosen(make_app: MakeApp, locked: str) -> None:
    with ProfileRegistry(make_app().paths) as registry:
        key = registry.locks.key("default", PASSPHRASE)
        registry.switch("anna")
    app = make_app()
    restarted = TokmemApp(app.paths, app.settings, app.engine._factory, handover=Handover("default", key))
    async with restarted.run_test() as pilot:
        await until(pilot, lambda: isinstance(restarted.screen, ChatScreen) and not restarted.locked, "open at once")
        await ready(pilot)
        assert restarted.profile == "default" and restarted.engine.exclusive
        assert (await ask(pilot, "I need to buy milk")).answer.route == "todo_line"


async def test_a_model_that_loads_does_not_hold_up_a_lock(make_app: MakeApp, locked: str) -> None:
    async with make_app("--load-delay", "600").run_test() as pilot:
        app = app_of(pilot)
        await until(pilot, lambda: isinstance(app.screen, LockedScreen))
        app.screen.query_one("#passphrase", Input).value = PASSPHRASE
        await pilot.press("enter")
        await until(pilot, lambda: not app.locked and app.link.state.phase == "loading" and app.link.client.running)
        await pilot.press("ctrl+l")
        await until(pilot, lambda: app.locked and not app.link.client.running, "the engine ends")
        await until(pilot, lambda: isinstance(app.screen, LockedScreen) and not app.session.locking)
        assert not app.errors.recent, "and nobody hears that it did"


async def test_a_lock_by_hand_sets_a_training_aside(make_app: MakeApp, locked: str) -> None:
    async with make_app("--wait-at-step", "4").run_test(size=(80, 24)) as pilot:
        app = await unlocked(pilot)
        app.train(["todo_line"], "quick")
        await until(pilot, lambda: app.trainings.current is not None and app.trainings.current.progress.train_step >= 3)
        store, trainings = app.store, app.trainings
        await pilot.press("ctrl+l")
        await until(pilot, lambda: not trainings.working and not app.link.client.running, "halted, the engine ended")
        with pytest.raises(Exception, match="closed"):
            store.procedures.list()
        (app.paths.config_file.parent / "go-on").touch()
        await unlocked(pilot)
        await until(
            pilot, lambda: [job.state for job in app.trainings.jobs] == ["undecided"], "it has gone on by itself"
        )


async def test_what_a_training_kept_is_forgotten_in_a_pause(make_app: MakeApp, locked: str) -> None:
    app = make_app("--wait-at-step", "4")
    app.restarts.enabled = True
    async with app.run_test(size=(80, 24)) as pilot:
        await unlocked(pilot)
        app.train(["todo_line"], "quick")
        await until(pilot, lambda: app.trainings.running, "training")
        await app.profiles.open("anna")
        assert app.restarts.wish is None, "the training goes on"
        (app.paths.config_file.parent / "go-on").touch()
        await until(pilot, lambda: not app.open_profiles.left, "its end")
        app._look_outside()
        assert app.restarts.wish is None, "not while somebody types"
        await until(pilot, lambda: not app.link.busy and not app.link.training, "at rest")
        app.idle_clock.last_input -= 3600
        app._look_outside()
        assert app.restarts.wish == Handover("anna", None)
