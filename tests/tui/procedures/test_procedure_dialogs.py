"""The dialogs of the Procedures screen: import and paste, versions, threshold, drafts, pairs from a chat."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from textual import events
from textual.pilot import Pilot
from textual.widgets import Button, Input, OptionList, Select, TextArea

from profiles.store.store import ProfileStore
from tests.tui.driving import ask, ready, texts, until
from tests.tui.procedures.test_procedures import MakeApp, at_once, grid, open_procedures, pairs, rows
from tokmem_desk.procedures import ExamplePair, Procedure
from tui.kit.edit_pair import PairDialog
from tui.kit.failure import FailureDialog
from tui.kit.ticks import Tick, TickList
from tui.procedures.drafts import DraftsDialog
from tui.procedures.edit_tool import ToolDialog
from tui.procedures.from_chat import FromChatDialog
from tui.procedures.import_pairs import ImportDialog
from tui.procedures.overlap_words import counts_at, overlap_sentences
from tui.procedures.scorecard_dialog import ScorecardDialog
from tui.procedures.screen import ProceduresScreen
from tui.procedures.threshold_dialog import ThresholdDialog
from tui.procedures.versions import VersionsDialog
from tui.shell.app import TokmemApp

__all__ = ["at_once"]
Seed = Callable[[Callable[[ProfileStore], None]], None]


async def open_dialog(pilot: Pilot[None], app: TokmemApp, key: str, kind: type) -> None:
    """Press a key and wait for its dialog."""
    await pilot.press(key)
    await until(pilot, lambda: isinstance(app.screen, kind), kind.__name__)


async def closed(pilot: Pilot[None], app: TokmemApp) -> None:
    """Wait for the screen below."""
    await until(pilot, lambda: isinstance(app.screen, ProceduresScreen), "dialog closed")


async def read_file(pilot: Pilot[None], app: TokmemApp, path: Path) -> None:
    """Type a path and press Enter."""
    await open_dialog(pilot, app, "i", ImportDialog)
    app.screen.query_one("#path", Input).value = str(path)
    await pilot.press("enter")


def choices(app: TokmemApp) -> tuple[object, object]:
    """The chosen columns."""
    return tuple(app.screen.query_one(key, Select).value for key in ("#map-input", "#map-response"))  # type: ignore[return-value]


async def test_import_with_bad_rows(make_app: MakeApp, tmp_path: Path) -> None:
    file = tmp_path / "Cash book.csv"
    file.write_text('input,response\ncoffee 3,"[/INST] coffee | 3"\n,empty\ntea 2,tea | 2\n', encoding="utf-8")
    async with make_app().run_test(size=(80, 24)) as pilot:
        app = await open_procedures(pilot)
        await read_file(pilot, app, file)
        await until(pilot, lambda: "2 pairs to learn from" in texts(app, "#found"))
        assert "line 3" in texts(app, "#found")
        assert str(app.screen.query_one("#import", Button).label) == "^s Import the other 2 pairs"
        assert app.screen.query_one("#name", Input).value == "cash_book"
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ProceduresScreen) and rows(app)[0][:2] == ["cash_book", "2"])
        assert app.store.pairs.list("cash_book")[0].source == "Cash book.csv"


async def test_one_undo_takes_out_both_parts_of_an_import(make_app: MakeApp, taught: None, tmp_path: Path) -> None:
    file = tmp_path / "mood_log.json"
    file.write_text(
        json.dumps({"train": [{"input": "a", "response": "b"}], "test": [{"input": "c", "response": "d"}]}), "utf-8"
    )
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await open_procedures(pilot)
        before = app.store.procedures.with_pairs("mood_log")
        await read_file(pilot, app, file)
        await until(pilot, lambda: "1 pairs to learn from" in texts(app, "#found"))
        app.screen.query_one("#name", Input).value = "mood_log"
        app.screen.query_one("#import", Button).press()
        await closed(pilot, app)
        assert len(app.store.pairs.table("mood_log")) == len(before.pairs) + 2
        await pilot.press("ctrl+z")
        await until(pilot, lambda: app.store.procedures.with_pairs("mood_log") == before, "both taken out")


async def test_import_errors_stay_in_place(make_app: MakeApp, tmp_path: Path) -> None:
    async with make_app().run_test() as pilot:
        app = await open_procedures(pilot)
        await read_file(pilot, app, tmp_path / "nothing.csv")
        await until(pilot, lambda: "nothing.csv" in texts(app, "#fault"))
        assert isinstance(app.screen, ImportDialog)
        await pilot.press("escape")
        await closed(pilot, app)


async def test_an_unexpected_error_of_reading_surfaces(
    make_app: MakeApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr("tui.procedures.import_pairs.read_pairs_file", broken)
    async with make_app().run_test() as pilot:
        app = await open_procedures(pilot)
        await read_file(pilot, app, tmp_path / "any.csv")
        await until(pilot, lambda: isinstance(app.screen, FailureDialog))
        assert "ZeroDivisionError: a fault" in texts(app)


async def test_values_that_are_no_text_are_asked_about_once(make_app: MakeApp, tmp_path: Path) -> None:
    file = tmp_path / "scores.jsonl"
    rows_of_file = [{"input": "great", "response": 1}, {"input": "bad", "response": 0}]
    file.write_text("\n".join(json.dumps(row) for row in [*rows_of_file, {"input": "so", "response": "so"}]), "utf-8")
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await open_procedures(pilot)
        await read_file(pilot, app, file)
        await until(pilot, lambda: "2 rows cannot be used" in texts(app, "#found"))
        assert app.screen.query_one("#as-written").display
        app.screen.query_one("#as-written", Button).press()
        await until(pilot, lambda: "3 pairs to learn from" in texts(app, "#found"))
        assert "2 rows have numbers" in texts(app, "#found") and not app.screen.query_one("#as-written").display
        # Where every row is like that, the dialog begins with it and says so.
        file.write_text("\n".join(map(json.dumps, rows_of_file)), "utf-8")
        app.screen.query_one("#path", Input).focus()
        await pilot.press("enter")
        await until(pilot, lambda: "2 pairs to learn from" in texts(app, "#found"))
        assert "2 rows have numbers" in texts(app, "#found") and choices(app) == ("input", "response")


async def test_columns_are_guessed_shown_and_chosen(make_app: MakeApp, tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_text("id,Question,Answer\n1,a,b\n2,c,d\n", encoding="utf-8")
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await open_procedures(pilot)
        await read_file(pilot, app, file)
        await until(pilot, lambda: "2 pairs to learn from" in texts(app, "#found"))
        assert choices(app) == ("question", "answer")
        app.screen.query_one("#map-input", Select).value = "id"
        await until(pilot, lambda: "1 → b" in texts(app, "#found"))
        app.screen.query_one("#map-response", Select).value = "id"
        await until(pilot, lambda: "cannot be the same column" in texts(app, "#fault"))
        app.screen.query_one("#map-response", Select).value = "question"
        await until(pilot, lambda: "1 → a" in texts(app, "#found"))
        app.screen.query_one("#name", Input).value = "mapped"
        app.screen.query_one("#import", Button).press()
        await closed(pilot, app)
        assert pairs(app, "mapped") == [("1", "a"), ("2", "c")]


async def test_columns_nobody_can_guess_are_asked_for(make_app: MakeApp, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"left": "a", "right": "b"}) + "\n", encoding="utf-8")
    async with make_app().run_test() as pilot:
        app = await open_procedures(pilot)
        await read_file(pilot, app, file)
        await until(pilot, lambda: bool(app.screen.query_one("#mapping").display))
        assert not app.screen.query_one("#import").display
        app.screen.query_one("#map-input", Select).value = "left"
        app.screen.query_one("#map-response", Select).value = "right"
        await until(pilot, lambda: "1 pairs to learn from" in texts(app, "#found"))


async def test_a_chat_file_is_recognised(make_app: MakeApp, tmp_path: Path) -> None:
    file = tmp_path / "chat.jsonl"
    talk = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    file.write_text(json.dumps({"messages": talk}) + "\n", encoding="utf-8")
    async with make_app().run_test() as pilot:
        app = await open_procedures(pilot)
        await read_file(pilot, app, file)
        await until(pilot, lambda: "Read as chat messages" in texts(app, "#found"))


async def test_a_template_is_written_and_never_over_a_file(make_app: MakeApp, tmp_path: Path) -> None:
    async with make_app().run_test() as pilot:
        app = await open_procedures(pilot)
        await open_dialog(pilot, app, "i", ImportDialog)
        app.screen.query_one("#path", Input).value = str(tmp_path)
        await pilot.press("ctrl+t")
        written = tmp_path / "pairs_template.csv"
        await until(pilot, written.exists)
        await pilot.press("ctrl+t")
        await until(pilot, lambda: "already" in texts(app, "#fault"))
        await pilot.press("enter")
        await until(pilot, lambda: "2 pairs to learn from" in texts(app, "#found"))


async def test_a_pasted_table_is_taken(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await open_procedures(pilot)
        await pilot.press("right")
        app.post_message(events.Paste("no table"))
        await pilot.pause()
        assert isinstance(app.screen, ProceduresScreen)
        app.post_message(events.Paste('a\t"two\r\nlines"\r\nlonely\t\r\nb\tc'))
        await until(pilot, lambda: isinstance(app.screen, ImportDialog))
        await until(pilot, lambda: "2 pairs to learn from" in texts(app, "#found"))
        assert "line 3: the response is empty" in texts(app, "#found")
        assert choices(app) == ("1", "2") and app.screen.query_one("#name", Input).value == "mood_log"
        await pilot.press("enter")
        await closed(pilot, app)
        assert pairs(app, "mood_log")[2:] == [("a", "two\nlines"), ("b", "c")]
        await pilot.press("ctrl+z")
        await until(pilot, lambda: len(pairs(app, "mood_log")) == 2)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.focused, TextArea))
        app.post_message(events.Paste("plain words"))
        await until(pilot, lambda: isinstance(app.focused, TextArea) and app.focused.text == "plain words")
        app.focused.clear()


async def test_a_table_pasted_into_a_cell_is_offered_as_rows(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        app = await open_procedures(pilot)
        await pilot.press("right", "a")
        await until(pilot, lambda: isinstance(app.focused, TextArea))
        app.post_message(events.Paste("x\ty"))
        await until(pilot, lambda: isinstance(app.screen, ImportDialog))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.focused, TextArea) and app.focused.text == "x\ty", "as text")
        assert isinstance(app.focused, TextArea)
        app.focused.clear()
        app.post_message(events.Paste("x\ty\nv\tw"))
        await until(pilot, lambda: isinstance(app.screen, ImportDialog))
        await until(pilot, lambda: "2 pairs to learn from" in texts(app, "#found"))
        await pilot.press("enter")
        await closed(pilot, app)
        await until(pilot, lambda: pairs(app, "mood_log")[2:] == [("x", "y"), ("v", "w")], "as rows")


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_the_scorecard_of_a_memory_can_be_opened_again(
    make_app: MakeApp, taught: None, size: tuple[int, int]
) -> None:
    async with make_app().run_test(size=size) as pilot:
        app = await open_procedures(pilot)
        assert app.store.jobs.list_open() == [], "its training is long over"
        for _ in range(2):
            await open_dialog(pilot, app, "m", ScorecardDialog)
            await until(pilot, lambda: "pairs learned in" in texts(app, "#scorecard"))
            assert "found it" in texts(app, "#scorecard")
            await pilot.press("escape")
            await closed(pilot, app)
        app.store.procedures.add(Procedure("fresh", (ExamplePair("a", "b"),)))
        app.announce_store()
        app.open_procedure("fresh")
        await until(pilot, lambda: selected_name(app) == "fresh")
        await pilot.press("m")
        await until(pilot, lambda: any("no memory yet" in one.message for one in app._notifications))
        assert isinstance(app.screen, ProceduresScreen), "there is nothing to show yet"


def selected_name(app: TokmemApp) -> str:
    """The procedure under the cursor."""
    assert isinstance(app.screen, ProceduresScreen)
    return "" if app.screen.selected is None else app.screen.selected.record.name


async def test_versions_are_compared_and_gone_back_to(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await open_procedures(pilot)
        app.store.pairs.add("mood_log", [ExamplePair("[/INST] new", "x"), ExamplePair("newer", "y")])
        procedures_before = app.store.procedures.with_pairs("mood_log")
        await open_dialog(pilot, app, "v", VersionsDialog)
        await until(pilot, lambda: "+ [/INST] new → x" in texts(app, "#changes"))
        await pilot.press("k")
        await until(pilot, lambda: "present version" in texts(app, "#changes"))
        await pilot.press("r", "enter")
        assert isinstance(app.screen, VersionsDialog), "there is no way back to the present"
        await pilot.press("j", "j")
        await until(pilot, lambda: "- memory: none" in texts(app, "#changes"))
        await pilot.press("k", "r")
        await closed(pilot, app)
        await until(pilot, lambda: len(pairs(app, "mood_log")) == 2)
        await until(pilot, lambda: "● trained, v1" in rows(app)[0])
        await pilot.press("ctrl+z")
        await until(pilot, lambda: app.store.procedures.with_pairs("mood_log") == procedures_before)
        await open_dialog(pilot, app, "v", VersionsDialog)
        await pilot.press("escape")
        await closed(pilot, app)


async def test_the_threshold_is_moved_with_its_effect(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await open_procedures(pilot)
        await open_dialog(pilot, app, "w", ThresholdDialog)
        await until(pilot, lambda: "5 of 6" in texts(app, "#effect"))
        assert "2 of 100" in texts(app, "#effect") and "auto" in texts(app, "#slider")
        await pilot.press(*["right"] * 13)
        assert "65%" in texts(app, "#slider")
        assert "4 of 6" in texts(app, "#effect") and "1 of 4" in texts(app, "#effect")
        await pilot.press("l", "h", "full_stop", "full_stop", "comma", "left")
        assert "61%" in texts(app, "#slider")
        await pilot.press("enter")
        await closed(pilot, app)
        assert app.store.procedures.get("mood_log").threshold == 0.61
        await until(pilot, lambda: "answers from 61% on" in texts(app, "#about"))
        await open_dialog(pilot, app, "w", ThresholdDialog)
        await pilot.press("a", "enter")
        await closed(pilot, app)
        assert app.store.procedures.get("mood_log").threshold is None
        await open_dialog(pilot, app, "w", ThresholdDialog)
        await pilot.press("right", "escape")
        await closed(pilot, app)
        assert app.store.procedures.get("mood_log").threshold is None


async def open_drafts(pilot: Pilot[None]) -> tuple[TokmemApp, DraftsDialog]:
    """The app with the dialog of drafts, which asks for the first ones by itself."""
    app = await open_procedures(pilot)
    await open_dialog(pilot, app, "p", DraftsDialog)
    dialog = app.screen
    assert isinstance(dialog, DraftsDialog)
    return app, dialog


async def test_drafts_are_taken_changed_or_dropped(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app, dialog = await open_drafts(pilot)
        await until(pilot, lambda: len(dialog.drafts) == 5 and "m asks for more" in texts(app, "#busy"))
        assert len(pairs(app, "mood_log")) == 2, "nothing is stored unasked"
        await pilot.press("a")
        await until(pilot, lambda: pairs(app, "mood_log")[2:] == [("drafted 1", "answer 1")])
        await pilot.press("d", "e")
        await until(pilot, lambda: isinstance(app.screen, PairDialog))
        app.screen.query_one("#response", TextArea).load_text("corrected")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: pairs(app, "mood_log")[3:] == [("drafted 3", "corrected")])
        assert [draft.state for draft in dialog.drafts] == ["taken", "dropped", "taken", "new", "new"]
        assert "2 taken" in texts(app, "#busy")
        await pilot.press("k", "j", "m")
        await until(pilot, lambda: len(dialog.drafts) == 10)
        await pilot.press("escape")
        await closed(pilot, app)
        assert len(pairs(app, "mood_log")) == 4
        assert [pair.source for pair in app.store.pairs.list("mood_log")][2:] == ["drafted", "drafted"]
        await pilot.press("ctrl+z")
        await until(pilot, lambda: len(pairs(app, "mood_log")) == 3)


async def test_all_that_speaks_for_itself_is_taken_in_one_step(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app, dialog = await open_drafts(pilot)
        await until(pilot, lambda: len(dialog.drafts) == 5 and "m asks for more" in texts(app, "#busy"))
        await pilot.press("d", "A")
        assert [draft.state for draft in dialog.drafts] == ["dropped", "new", "taken", "new", "new"]
        assert pairs(app, "mood_log")[2:] == [("drafted 3", "answer 3")], "neither of an odd form nor unsure"
        await pilot.press("m")
        await until(pilot, lambda: len(dialog.drafts) == 10 and "m asks for more" in texts(app, "#busy"))
        await pilot.press("A")
        assert len(pairs(app, "mood_log")) == 5
        await pilot.press("escape")
        await closed(pilot, app)
        await pilot.press("ctrl+z")
        await until(pilot, lambda: len(pairs(app, "mood_log")) == 3)


async def test_a_larger_model_that_is_here_writes_drafts_in_an_engine_of_its_own(
    make_app: MakeApp, taught: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.procedures.drafter._other_model", lambda app: "gemma-3-270m")
    async with make_app().run_test(size=(120, 40)) as pilot:
        app, dialog = await open_drafts(pilot)
        assert "Written by Gemma 3 270M" in texts(app, "DraftsDialog Static")
        await until(pilot, lambda: len(dialog.drafts) == 20)
        other = dialog._drafter.link
        assert other is not app.link and other.client.running
        await pilot.press("escape")
        await closed(pilot, app)
        await until(pilot, lambda: not other.client.running)


async def test_drafting_can_be_stopped(make_app: MakeApp, taught: None) -> None:
    async with make_app("--token-delay", "1.0").run_test() as pilot:
        app, dialog = await open_drafts(pilot)
        await until(pilot, lambda: bool(dialog.drafts))
        await pilot.press("s")
        await until(pilot, lambda: "m asks for more" in texts(app, "#busy"))
        assert len(dialog.drafts) < 5
        await pilot.press("escape")
        await closed(pilot, app)


async def test_pairs_from_a_conversation(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        await ask(pilot, "I need to buy milk")
        await ask(pilot, "and [/INST] a joke")
        await pilot.press("f3")
        await open_dialog(pilot, app, "c", FromChatDialog)
        ticks = app.screen.query_one(TickList)
        await until(pilot, lambda: ticks.option_count == 2)
        await pilot.press("down", "space")
        await until(pilot, lambda: ticks.selected == ["0"])
        app.screen.query_one("#take", Button).press()
        await until(pilot, lambda: "cannot name" in texts(app, "#fault"))
        app.screen.query_one("#name", Input).value = "from_chat"
        await pilot.press("enter")
        await closed(pilot, app)
        await until(pilot, lambda: "from_chat" in [row[0] for row in rows(app)])
        assert pairs(app, "from_chat") == [("I need to buy milk", "( ) buy milk due:mon")]
        await open_dialog(pilot, app, "c", FromChatDialog)
        app.screen.query_one(TickList).deselect_all()
        app.screen.query_one("#name", Input).value = "mood_log"
        await until(pilot, lambda: "whose pairs stay" in texts(app, "#name-label"))
        app.screen.query_one("#take", Button).press()
        await until(pilot, lambda: "Tick at least one" in texts(app, "#fault"))
        app.screen.query_one(TickList).select_all()
        app.screen.query_one("#take", Button).press()
        await closed(pilot, app)
        assert len(pairs(app, "mood_log")) == 4


async def test_without_a_conversation_there_is_nothing_to_take(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test() as pilot:
        app = await open_procedures(pilot)
        await pilot.press("c")
        await until(pilot, lambda: any("no conversation" in one.message for one in app._notifications))


async def test_keys_on_nothing_do_nothing(make_app: MakeApp) -> None:
    async with make_app().run_test() as pilot:
        app = await open_procedures(pilot)
        await pilot.press("w", "o", "x", "v", "p", "g", "G", "e", "d", "t", "space")
        assert isinstance(app.screen, ProceduresScreen) and len(grid(app).rows) == 0


async def test_an_engine_that_does_not_load_is_told_in_place(make_app: MakeApp, taught: None) -> None:
    async with make_app("--refuse").run_test() as pilot:
        app = pilot.app
        assert isinstance(app, TokmemApp)
        await until(pilot, lambda: hasattr(app, "link") and app.link.state.phase == "failed")
        await until(pilot, lambda: len(app.screen_stack) > 1)
        await pilot.press("escape", "f3")
        await closed(pilot, app)
        await open_dialog(pilot, app, "w", ThresholdDialog)
        await until(pilot, lambda: "Choose another model" in texts(app, "#effect"))
        await pilot.press("escape")
        await closed(pilot, app)
        await open_dialog(pilot, app, "p", DraftsDialog)
        await until(pilot, lambda: "Choose another model" in texts(app, "#busy"))
        assert app.screen.query_one(OptionList).option_count == 0


def test_words_and_counts() -> None:
    effect = {
        "name": "x",
        "threshold": None,
        "measured_on": "held_out",
        "own": {"of": 3, "taken": [0.9, 0.9, 0.5]},
        "others": [{"name": "y", "of": 2, "taken": [0.7]}, {"name": "z", "of": 2, "taken": []}],
        "chat": {"of": 9, "taken": []},
    }
    counted = [counts_at(effect, level) for level in (None, 0.5, 0.51, 0.9, 0.91)]  # type: ignore[arg-type]
    assert [(one.own, one.others, one.chat) for one in counted] == [
        (3, 1, 0),
        (3, 1, 0),
        (2, 1, 0),
        (2, 0, 0),
        (0, 0, 0),
    ]
    told = overlap_sentences(
        {
            "name": "x",
            "pairs": 24,
            "own": 18,
            "none": 2,
            "none_pairs": [1, 2],
            "to": [{"name": "expenses", "count": 4, "pairs": [3, 4, 5, 6]}],
            "from": [{"name": "expenses", "count": 3, "of": 24}, {"name": "other", "count": 1, "of": 9}],
        }
    )
    assert told == [
        "Overlaps expenses: 4 of 24 pairs would go there, and 3 of 24 of its pairs would come here.",
        "Overlaps other: 1 of 9 of its pairs would come here.",
        "2 of 24 pairs would be taken for ordinary chat: they are unlike the others.",
    ]


@pytest.mark.parametrize("agreed", [True, False])
async def test_fields_that_all_answers_have_are_offered(make_app: MakeApp, tmp_path: Path, agreed: bool) -> None:
    things = ("tea", "rope", "ink", "oil", "soap")
    orders = [(f"buy {n} {what}", json.dumps({"what": what, "count": n})) for n, what in enumerate(things)]
    file = tmp_path / "orders.jsonl"
    file.write_text("".join(json.dumps({"input": text, "response": answer}) + "\n" for text, answer in orders), "utf-8")
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await open_procedures(pilot)
        await read_file(pilot, app, file)
        await until(pilot, lambda: app.screen.query_one("#fields", Tick).display)
        tick = app.screen.query_one("#fields", Tick)
        assert str(tick.label) == "Answers always have the fields what (text), count (whole number)"
        tick.value = agreed
        app.screen.query_one("#import", Button).press()
        await closed(pilot, app)
        schema = app.store.procedures.get("orders").output_schema
        if agreed:
            assert schema is not None and list(json.loads(schema)["properties"]) == ["what", "count"]
            return
        assert schema is None
        await until(pilot, lambda: "o can hold them to that" in texts(app, "#findings"))
        await open_dialog(pilot, app, "o", ToolDialog)
        app.screen.query_one("#fields", Button).press()
        await until(pilot, lambda: '"count"' in app.screen.query_one("#schema", TextArea).text)
        await pilot.press("ctrl+s")
        await closed(pilot, app)
        assert app.store.procedures.get("orders").output_schema is not None
        await read_file(pilot, app, file)
        await until(pilot, lambda: app.screen.query_one("#import", Button).display)
        assert (
            app.screen.query_one("#name", Input).value == "orders" and not app.screen.query_one("#fields", Tick).display
        )
