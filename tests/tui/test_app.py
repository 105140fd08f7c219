"""What all screens share: starting, loading, help, palette, report, errors, quitting."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.command import CommandPalette
from textual.pilot import Pilot
from textual.widgets import Input

from profiles.files.paths import AppPaths
from tests.tui.driving import SIZES, ask, chat, ready, texts, turn_texts, until
from tests.tui.scripted_engine import FINGERPRINT
from tokmem_desk.errors import StorageError
from tui.chat.screen import ChatScreen
from tui.kit.ask_line import LineDialog
from tui.kit.busy import BusyDialog
from tui.kit.confirm import ConfirmDialog
from tui.kit.failure import FailureDialog
from tui.kit.progress import Progress
from tui.procedures.screen import ProceduresScreen
from tui.shell.app import TokmemApp
from tui.shell.help import HelpDialog
from tui.shell.report import ReportDialog
from tui.training.screen import TrainScreen

pytestmark = pytest.mark.asyncio
MakeApp = Callable[..., TokmemApp]


def app_of(pilot: Pilot[None]) -> TokmemApp:
    """The app, typed."""
    assert isinstance(pilot.app, TokmemApp)
    return pilot.app


@pytest.mark.parametrize("size", SIZES)
async def test_screens_and_header(make_app: MakeApp, size: tuple[int, int]) -> None:
    async with make_app().run_test(size=size) as pilot:
        app = await ready(pilot)
        for key, screen in (("f3", ProceduresScreen), ("f4", TrainScreen), ("f2", ChatScreen)):
            await pilot.press(key)
            await until(pilot, lambda screen=screen: isinstance(app.screen, screen))  # type: ignore[misc]
            for word in ("default", "Tiny-Instruct", "cpu bf16") if size[0] > 80 else ("default",):
                assert word in texts(app, "#status")
        await pilot.click("#tab-train")
        await until(pilot, lambda: isinstance(app.screen, TrainScreen))


async def test_first_frame_does_not_wait_for_the_engine(make_app: MakeApp) -> None:
    async with make_app("--load-delay", "600").run_test() as pilot:
        app = app_of(pilot)
        await until(pilot, lambda: isinstance(app.screen, ChatScreen))
        assert app.link.state.phase in ("off", "loading")
        await until(pilot, lambda: "loading" in texts(app, "#status"))
        await pilot.press("h", "i")
        assert chat(app).query_one("#prompt").has_focus


async def test_app_imports_no_torch() -> None:
    probe = (
        "import sys; import tui.shell.app; print([name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    root = Path(__file__).parents[2]
    found = subprocess.run([sys.executable, "-c", probe], cwd=root, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("key", ["f2", "f3", "f4"])
async def test_help_names_the_keys_of_the_focus(make_app: MakeApp, taught: None, key: str) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        await pilot.press(key)
        await pilot.press("f1")
        await until(pilot, lambda: isinstance(app.screen, HelpDialog))
        words = {"f2": "New line", "f3": "Import", "f4": "Train"}
        assert words[key] in texts(app, "#keys")
        await pilot.press("f1")
        await until(pilot, lambda: not isinstance(app.screen, HelpDialog))


async def test_a_key_of_a_screen_closes_what_lies_above(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        for key, screen in (("f3", ProceduresScreen), ("f3", ProceduresScreen), ("f2", ChatScreen)):
            await pilot.press("f1")
            await until(pilot, lambda: isinstance(app.screen, HelpDialog))
            await pilot.press(key)
            await until(pilot, lambda screen=screen: isinstance(app.screen, screen))  # type: ignore[misc]
            assert all(len(app.get_screen_stack(mode)) == 1 for mode in ("chat", "procedures"))
        app.push_screen(LineDialog("A line", "That is typed.", "half a", "Save"))
        await until(pilot, lambda: isinstance(app.screen, LineDialog))
        await pilot.press("f3")
        await until(pilot, lambda: isinstance(app.screen, ProceduresScreen))
        await pilot.press("f2")
        await until(pilot, lambda: isinstance(app.screen, LineDialog), "what was typed waits")
        assert app.screen.query_one(Input).value == "half a"


async def test_palette_holds_the_actions(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        commands = {command.title for command in app.get_system_commands(app.screen)}
        assert {"Chat", "Procedures", "Train", "Temporary chat", "New", "Debug report", "Quit", "Help"} <= commands
        await pilot.press("ctrl+p")
        await until(pilot, lambda: isinstance(app.screen, CommandPalette))
        await pilot.press(*"Procedures")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ProceduresScreen))


async def test_report_holds_no_text_of_chats(make_app: MakeApp, taught: None, home: Path) -> None:
    async with make_app().run_test() as pilot:
        app = await ready(pilot)
        await ask(pilot, "a private word")
        await pilot.press("f12")
        await until(pilot, lambda: isinstance(app.screen, ReportDialog))
        report = texts(app, "#report")
        assert "textual 8" in report
        assert str(home) in report
        assert FINGERPRINT in report
        assert "private" not in report
        await pilot.press("c")
        assert app.clipboard == report
        await pilot.press("escape")


async def test_download_is_asked_for(make_app: MakeApp) -> None:
    async with make_app("--needs-download").run_test() as pilot:
        app = app_of(pilot)
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        assert "92 MB" in texts(app)
        await pilot.press("enter")
        await until(pilot, lambda: app.link.state.phase == "ready")


async def test_download_can_be_declined(make_app: MakeApp) -> None:
    async with make_app("--needs-download").run_test() as pilot:
        app = app_of(pilot)
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, ChatScreen))
        assert app.link.state.phase == "failed"


async def test_offline_says_what_is_missing(make_app: MakeApp) -> None:
    async with make_app("--needs-download", offline=True).run_test() as pilot:
        app = app_of(pilot)
        await until(pilot, lambda: isinstance(app.screen, FailureDialog))
        assert "not on this machine" in texts(app)


async def test_model_that_does_not_load(make_app: MakeApp) -> None:
    async with make_app("--refuse").run_test() as pilot:
        app = app_of(pilot)
        await until(pilot, lambda: isinstance(app.screen, FailureDialog))
        assert "no causal language model" in texts(app)
        await pilot.press("enter", "f3")
        await until(pilot, lambda: isinstance(app.screen, ProceduresScreen))


async def test_damaged_profile_is_a_sentence(make_app: MakeApp, taught: None, paths: AppPaths) -> None:
    database = next(paths.profiles.glob("*/profile.sqlite"))
    database.write_bytes(b"not a database at all, but long enough to be one" * 100)
    app = make_app()
    async with app.run_test() as pilot:
        await until(pilot, lambda: isinstance(app.screen, FailureDialog))
        assert "profile.sqlite" in texts(app)
        await pilot.press("enter")
        await until(pilot, lambda: app.return_code is not None)
    assert app.return_code == 1


async def test_unexpected_errors_surface(make_app: MakeApp) -> None:
    async with make_app().run_test() as pilot:
        app = await ready(pilot)

        async def broken() -> None:
            raise ZeroDivisionError("a fault")

        app.run_worker(broken(), exit_on_error=False)
        await until(pilot, lambda: isinstance(app.screen, FailureDialog))
        assert "ZeroDivisionError: a fault" in texts(app)
        await pilot.press("c")
        assert "a fault" in app.clipboard
        await pilot.press("enter", "f12")
        await until(pilot, lambda: isinstance(app.screen, ReportDialog))
        assert "Traceback" in texts(app, "#report")


async def test_unexpected_errors_of_dialogs_surface(make_app: MakeApp) -> None:
    async with make_app().run_test() as pilot:
        app = await ready(pilot)

        async def broken() -> None:
            raise ZeroDivisionError("a fault")

        await pilot.press("f1")
        await until(pilot, lambda: isinstance(app.screen, HelpDialog))
        app.screen.run_worker(broken(), exit_on_error=False)
        await until(pilot, lambda: isinstance(app.screen, FailureDialog))
        assert "ZeroDivisionError: a fault" in texts(app)


async def test_an_unexpected_error_ends_the_dialog_over_its_work(make_app: MakeApp) -> None:
    async with make_app().run_test() as pilot:
        app = await ready(pilot)

        async def broken(progress: Progress) -> list[str]:
            raise ZeroDivisionError("a fault")

        app.push_screen(BusyDialog("At work", broken))
        await until(pilot, lambda: isinstance(app.screen, FailureDialog))
        assert "ZeroDivisionError: a fault" in texts(app)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ChatScreen), "nothing is left over it")


async def test_a_lasting_disk_error_is_shown_once(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    def failures() -> int:
        return sum(isinstance(screen, FailureDialog) for screen in app.screen_stack)

    def broken(*_: object) -> None:
        raise StorageError("The disk reports an error.")

    async with make_app().run_test() as pilot:
        app = await ready(pilot)
        for _ in range(2):
            with monkeypatch.context() as patch:
                patch.setattr(app.store.jobs, "list_open", broken)
                for _ in range(3):
                    app._look_outside()
                    await pilot.pause()
                assert failures() == 1 and "The disk reports an error." in texts(app)
                await pilot.press("enter")
                await until(pilot, lambda: failures() == 0, "closed")
                app._look_outside()
                await pilot.pause()
                assert failures() == 0, "nor is it shown again once it was read"
            app._look_outside()


async def test_quit_ends_the_engine(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test() as pilot:
        await ready(pilot)
        assert app.link.client.running
        await pilot.press("ctrl+q")
    assert not app.link.client.running


async def test_theme_of_the_settings(make_app: MakeApp) -> None:
    async with make_app(theme="nord").run_test() as pilot:
        app = await ready(pilot)
        assert app.theme == "nord"
    async with make_app().run_test() as pilot:
        app = await ready(pilot)
        assert app.theme == "tokmem-dark"


async def test_no_color(make_app: MakeApp, taught: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with make_app().run_test() as pilot:
        app = await ready(pilot)
        await ask(pilot, "I need to buy milk")
        assert "◆ todo_line" in turn_texts(app)
