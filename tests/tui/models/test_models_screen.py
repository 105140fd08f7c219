"""The Models screen: verdicts with their sums, fetching with pause and resume, choosing, unloading, removing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, SelectionList

from profiles.files.paths import AppPaths
from tests.tui.driving import SIZES, ready, texts, until
from tests.tui.scripted_engine import make_model
from tokmem_desk.models.catalogue import ADAPTED, ADAPTER_FILE, CATALOGUE, DEFAULT_ID, GIB
from tokmem_desk.models.hardware_fit import Machine
from tokmem_desk.models.store import ModelStore
from tui.kit.confirm import ConfirmDialog
from tui.kit.failure import FailureDialog
from tui.models import screen as models_module
from tui.models.dialogs import ChangeModelDialog, ModelNameDialog
from tui.models.model_view import ModelTable
from tui.models.screen import ModelsScreen
from tui.shell.app import TokmemApp
from tui.training.screen import TrainScreen

pytestmark = pytest.mark.asyncio
MakeApp = Callable[..., TokmemApp]
QWEN = "Qwen/Qwen2.5-0.5B-Instruct"
ADAPTED_ID = DEFAULT_ID + ADAPTED


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Always the same computer."""
    found = Machine(cores=4, processor="some processor", memory_bytes=6 * GIB, free_bytes=4 * GIB)
    monkeypatch.setattr(models_module, "look_at_machine", lambda: found)


@pytest.fixture
def default_is_here(paths: AppPaths) -> None:
    """The default model is converted."""
    make_model(ModelStore(paths.models), "default")


async def models(pilot: Pilot[None], model_id: str = "") -> TokmemApp:
    """F8, the cursor on a model."""
    app = await ready(pilot)
    await pilot.press("f8")
    await until(pilot, lambda: isinstance(app.screen, ModelsScreen) and bool(table(app).row_count), "rows")
    if model_id:
        table(app).select(model_id)
        await pilot.pause()
    return app


def table(app: TokmemApp) -> ModelTable:
    """The list."""
    return app.screen.query_one(ModelTable)


def cell(app: TokmemApp, model_id: str, column: str) -> str:
    """A cell's text."""
    return str(table(app).get_cell(model_id, column))


@pytest.mark.parametrize("size", [*SIZES, (160, 50)])
async def test_verdicts_with_their_sums(make_app: MakeApp, default_is_here: None, size: tuple[int, int]) -> None:
    async with make_app().run_test(size=size) as pilot:
        app = await models(pilot)
        assert next(str(key.value) for key in table(app).rows) == DEFAULT_ID
        assert table(app).row_count == len(CATALOGUE) + 1, "the default model has an adapted form"
        assert cell(app, DEFAULT_ID, "sign") == "●" and cell(app, DEFAULT_ID, "fit") == "✓ fits"
        assert cell(app, "Qwen/Qwen2.5-3B-Instruct", "fit") == "~ tight"
        assert cell(app, "Qwen/Qwen2.5-7B-Instruct", "fit") == "✗ too big"
        await until(pilot, lambda: "100 MiB measured" in texts(app, "#machine"), "measured memory")
        assert "4 cores" in texts(app, "#machine") and "4.0 GiB free" in texts(app, "#machine")
        table(app).select("Qwen/Qwen2.5-7B-Instruct")
        await until(pilot, lambda: "more memory than this computer can give" in texts(app, "ModelDetails"))
        assert "8.0 GiB" in texts(app, "ModelDetails") and "Apache-2.0" in texts(app, "ModelDetails")
        assert "100 MiB" in texts(app, "ModelDetails"), "what unloading frees counts"


async def test_pull_asks_first_and_reports(make_app: MakeApp, default_is_here: None, paths: AppPaths) -> None:
    async with make_app("--fetch-waits-at", "50").run_test(size=(120, 40)) as pilot:
        app = await models(pilot, QWEN)
        await pilot.press("p")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        assert "Apache-2.0" in texts(app) and "Download: 954 MiB" in texts(app) and "Disk: about" in texts(app)
        await pilot.press("escape")
        assert app.downloads.current is None
        await pilot.press("p")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("enter")
        await until(pilot, lambda: "downloading 50%" in texts(app, "ModelDetails"), "progress")
        assert "477 MiB of 954 MiB" in texts(app, "ModelDetails") and cell(app, QWEN, "sign") == "↓"
        await pilot.press("escape")
        await until(pilot, lambda: "paused at 50%" in texts(app, "ModelDetails"), "paused")
        assert app.downloads.current is not None and app.link.state.phase == "ready", (
            "the loaded model is not disturbed"
        )


async def test_pull_goes_on_after_a_pause_and_ends(make_app: MakeApp, default_is_here: None, paths: AppPaths) -> None:
    async with make_app("--fetch-waits-at", "30").run_test(size=(80, 24)) as pilot:
        app = await models(pilot, QWEN)
        await pilot.press("p")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("enter")
        await until(
            pilot, lambda: app.downloads.current is not None and app.downloads.current.fraction == 0.3, "some of it"
        )
        await pilot.press("escape")
        await until(pilot, lambda: app.downloads.current is not None and app.downloads.current.state == "paused")
        await pilot.press("p")
        await until(
            pilot, lambda: app.downloads.current is not None and app.downloads.current.state == "done", "the rest"
        )
        await until(pilot, lambda: cell(app, QWEN, "sign") == "◉")
        assert ModelStore(paths.models).is_ready(QWEN)
        assert app.downloads.current is not None and app.downloads.current._client is not None
        client = app.downloads.current._client
        await until(pilot, lambda: not client.running, "its engine has ended")


async def test_pull_that_fails_says_so_in_place(make_app: MakeApp, default_is_here: None) -> None:
    async with make_app("--fetch-fails").run_test(size=(80, 24)) as pilot:
        app = await models(pilot, QWEN)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("enter")
        await until(pilot, lambda: "could not be reached" in texts(app, "ModelDetails"), "the error")
        assert "Check the network" in texts(app, "ModelDetails")
        assert isinstance(app.screen, ModelsScreen), "no dialog: it is said where it happened"


async def test_offline_says_so_and_fetches_nothing(make_app: MakeApp, default_is_here: None) -> None:
    async with make_app(offline=True).run_test(size=(80, 24)) as pilot:
        app = await models(pilot, QWEN)
        assert "Offline" in texts(app, "#machine") and "cannot be fetched" in texts(app, "ModelDetails")
        await pilot.press("p")
        await until(pilot, lambda: isinstance(app.screen, FailureDialog))
        assert "downloads are off" in texts(app)


async def test_use_another_model(make_app: MakeApp, default_is_here: None, paths: AppPaths) -> None:
    make_model(ModelStore(paths.models), QWEN)
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await models(pilot, QWEN)
        before = app.link.client
        await pilot.press("enter")
        await until(
            pilot,
            lambda: app.link.state.phase == "ready" and (app.link.state.backbone or {}).get("id") == QWEN,
            "the other one",
        )
        assert not before.running and f'model = "{QWEN}"' in paths.config_file.read_text()
        await until(pilot, lambda: cell(app, QWEN, "sign") == "●")


async def test_too_big_is_asked_about(make_app: MakeApp, default_is_here: None, paths: AppPaths) -> None:
    big = "Qwen/Qwen2.5-7B-Instruct"
    make_model(ModelStore(paths.models), big)
    async with make_app().run_test(size=(80, 24)) as pilot:
        app = await models(pilot, big)
        await pilot.press("u")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        assert "too big" in str(app.screen.query_one(".dialog").border_title) and "8.0 GiB" in texts(app)
        await pilot.press("enter")
        assert app.model == "default", "the focus is on the harmless answer"
        await pilot.press("u")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.click("#yes")
        await until(pilot, lambda: app.model == big, "loaded anyway")


async def test_unload_ends_the_process_and_load_starts_one(make_app: MakeApp, default_is_here: None) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        app = await models(pilot)
        await pilot.press("o")
        await until(pilot, lambda: not app.link.client.running and app.link.state.phase == "off", "unloaded")
        await until(pilot, lambda: "nothing; the next message loads" in texts(app, "#machine"))
        await pilot.press("l")
        await until(pilot, lambda: app.link.state.phase == "ready", "loaded")


async def test_idle_model_is_unloaded(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    async with make_app().run_test() as pilot:
        app = await ready(pilot)
        app.engine.tend()
        await pilot.pause()
        assert app.link.client.running
        app.link._last_use -= 31 * 60
        app.engine.tend()
        await until(pilot, lambda: not app.link.client.running, "unloaded after half an hour")


async def test_remove_asks_and_frees(make_app: MakeApp, default_is_here: None, paths: AppPaths) -> None:
    make_model(ModelStore(paths.models), QWEN)
    async with make_app().run_test(size=(80, 24)) as pilot:
        app = await models(pilot, QWEN)
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        assert "293 KiB are freed" in texts(app)
        await pilot.click("#yes")
        await until(pilot, lambda: not ModelStore(paths.models).is_ready(QWEN), "removed")
        await until(pilot, lambda: cell(app, QWEN, "sign") == "○")


async def test_another_model_by_path_or_id(make_app: MakeApp, default_is_here: None, tmp_path: Path) -> None:
    async with make_app("--fetch-waits-at", "0").run_test(size=(80, 24)) as pilot:
        app = await models(pilot)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, ModelNameDialog))
        for typed, fault in (("", "Nothing is named"), (str(tmp_path / "no.gguf"), "There is no model at")):
            app.screen.query_one(Input).value = typed
            await pilot.press("enter")
            await until(pilot, lambda: fault in texts(app, "#fault"), fault)  # noqa: B023
        app.screen.query_one(Input).value = "qwen2.5-0.5b-instruct"
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ModelsScreen) and table(app).selected_id == QWEN)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, ModelNameDialog))
        app.screen.query_one(Input).value = "someone/else"
        await pilot.press("enter")
        await until(
            pilot,
            lambda: (
                app.downloads.current is not None
                and app.downloads.current.running
                and "someone/else" in table(app).rows
            ),
        )
        await pilot.press("escape")


def row_ids(app: TokmemApp) -> list[str]:
    """The models in the list, from the top."""
    return [str(key.value) for key in table(app).rows]


@pytest.mark.parametrize("size", SIZES)
async def test_an_adapted_form_stands_below_its_model(
    make_app: MakeApp, default_is_here: None, paths: AppPaths, size: tuple[int, int]
) -> None:
    make_model(ModelStore(paths.models), QWEN)
    async with make_app().run_test(size=size) as pilot:
        app = await models(pilot, ADAPTED_ID)
        assert row_ids(app)[:3] == [DEFAULT_ID, ADAPTED_ID, QWEN] and QWEN + ADAPTED not in row_ids(app)
        assert "for research" in cell(app, ADAPTED_ID, "name") and cell(app, ADAPTED_ID, "sign") == "◉"
        await until(pilot, lambda: "comes with the program" in texts(app, "ModelDetails"), "where it is from")
        assert "Plain chat is worse" in texts(app, "ModelDetails")
        assert app.screen.check_action("pull", ()) is False


async def test_use_the_adapted_form_and_train_for_it(
    make_app: MakeApp, default_is_here: None, taught: None, paths: AppPaths
) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await models(pilot, ADAPTED_ID)
        assert app.profile is not None and app.store.procedures.to_train(app.fingerprint or "") == []
        await pilot.press("u")
        await until(pilot, lambda: isinstance(app.screen, ChangeModelDialog), "what becomes of the procedures")
        await pilot.click("#use")
        await until(
            pilot,
            lambda: app.link.state.phase == "ready" and (app.link.state.backbone or {}).get("id") == ADAPTED_ID,
            "the adapted form",
        )
        assert f'model = "{ADAPTED_ID}"' in paths.config_file.read_text()
        await until(pilot, lambda: cell(app, ADAPTED_ID, "sign") == "●" and cell(app, DEFAULT_ID, "sign") == "◉")
        assert row_ids(app)[:2] == [DEFAULT_ID, ADAPTED_ID], "in use, and below its model all the same"
        await pilot.press("f4")
        await until(pilot, lambda: isinstance(app.screen, TrainScreen))
        choice = app.screen.query_one(SelectionList)
        await until(pilot, lambda: set(choice.selected) == {"todo_line", "mood_log"}, "offered for training, not begun")
        assert not app.trainings.running
        await pilot.press("f8")
        table(app).select(DEFAULT_ID)
        await pilot.press("u")
        await until(pilot, lambda: app.link.state.phase == "ready" and app.model == DEFAULT_ID, "back")


@pytest.mark.parametrize("size", SIZES)
async def test_procedures_move_to_the_new_model_and_stay_on_the_old(
    make_app: MakeApp, default_is_here: None, taught: None, size: tuple[int, int]
) -> None:
    async with make_app().run_test(size=size) as pilot:
        app = await models(pilot, ADAPTED_ID)
        before = app.fingerprint
        assert before is not None
        await pilot.press("u")
        await until(pilot, lambda: isinstance(app.screen, ChangeModelDialog), "what becomes of the procedures")
        assert "mood_log, todo_line" in texts(app) and "The memories on" in texts(app)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, ModelsScreen))
        assert app.model == "default" and app.fingerprint == before, "Esc changes nothing"
        await pilot.press("u")
        await until(pilot, lambda: isinstance(app.screen, ChangeModelDialog))
        await pilot.press("enter")
        await until(pilot, lambda: len(app.trainings.in_state("undecided")) == 2, "both learned", 60)
        assert (app.link.state.backbone or {}).get("id") == ADAPTED_ID
        assert {one.procedure for one in app.store.memories.all_active(before)} == {"mood_log", "todo_line"}
        assert app.store.memories.all_active(app.fingerprint or "") == [], "nothing answers unasked"


async def test_removing_an_adapted_form_leaves_its_model(
    make_app: MakeApp, default_is_here: None, paths: AppPaths
) -> None:
    store = ModelStore(paths.models)
    own = store.folder / DEFAULT_ID / ADAPTER_FILE
    own.write_bytes(bytes(2048))
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await models(pilot, ADAPTED_ID)
        await until(pilot, lambda: "made on this computer" in texts(app, "ModelDetails"))
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        assert "The model stays" in texts(app)
        await pilot.press("enter")
        assert own.exists(), "the focus is on the harmless answer"
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.click("#yes")
        await until(pilot, lambda: not own.exists(), "removed")
        assert store.is_ready(DEFAULT_ID)
        await until(pilot, lambda: "comes with the program" in texts(app, "ModelDetails"), "the shipped one again")
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, FailureDialog))
        assert "comes with the program and cannot be removed" in texts(app)
        assert store.is_ready(DEFAULT_ID)


async def test_an_adapter_that_went_while_it_is_chosen(
    make_app: MakeApp, default_is_here: None, paths: AppPaths
) -> None:
    make_model(ModelStore(paths.models), QWEN)
    own = ModelStore(paths.models).folder / QWEN.lower().replace("/", "--") / ADAPTER_FILE
    own.write_bytes(bytes(2048))
    async with make_app(model=QWEN + ADAPTED).run_test(size=(120, 40)) as pilot:
        app = await models(pilot, QWEN + ADAPTED)
        assert cell(app, QWEN + ADAPTED, "sign") == "●" and row_ids(app)[:2] == [QWEN, QWEN + ADAPTED]
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.click("#yes")
        await until(pilot, lambda: f"adapt --model {QWEN}" in texts(app, "ModelDetails"), "what to do")
        await until(pilot, lambda: app.link.state.phase == "off", "unloaded")
        assert app.screen.check_action("pull", ()) is False and app.screen.check_action("remove", ()) is False
        await pilot.press("u")
        await until(pilot, lambda: isinstance(app.screen, FailureDialog))
        assert "has not been adapted yet" in texts(app)


async def test_removing_a_model_says_that_its_adapter_goes_and_unloads_the_adapted_form(
    make_app: MakeApp, default_is_here: None, paths: AppPaths
) -> None:
    own = ModelStore(paths.models).folder / DEFAULT_ID / ADAPTER_FILE
    own.write_bytes(bytes(2048))
    async with make_app(model=ADAPTED_ID).run_test(size=(120, 40)) as pilot:
        app = await models(pilot, DEFAULT_ID)
        await until(pilot, lambda: app.link.state.phase == "ready", "loaded")
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        assert "The adapter that was made for it on this computer goes too" in texts(app)
        await pilot.click("#yes")
        await until(pilot, lambda: not own.exists() and app.link.state.phase == "off", "removed and unloaded")
        await until(pilot, lambda: "not on this computer" in texts(app, "ModelDetails"))
        table(app).select(ADAPTED_ID)
        await until(pilot, lambda: app.screen.check_action("pull", ()) is True, "to be fetched again")
