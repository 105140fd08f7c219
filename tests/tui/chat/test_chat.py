"""Chat: asking, routes, stopping, queueing, correcting, history."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from textual.widgets import Input, Static, TextArea

from tests.tui.driving import SIZES, ask, chat, last_view, line, ready, texts, turn_texts, until
from tui.chat.choose_route import RouteDialog
from tui.chat.history import ConversationList, HistoryPanel
from tui.chat.prompt import Prompt
from tui.chat.transcript import EmptyChat, Transcript
from tui.chat.turn_view import TurnView
from tui.kit.confirm import ConfirmDialog
from tui.kit.edit_pair import PairDialog
from tui.kit.failure import FailureDialog
from tui.procedures.screen import ProceduresScreen
from tui.shell.app import TokmemApp
from tui.shell.debug_report import report
from tui.shell.report import ReportDialog

pytestmark = pytest.mark.asyncio
MakeApp = Callable[..., TokmemApp]


@pytest.mark.parametrize("size", SIZES)
async def test_message_goes_to_its_procedure(make_app: MakeApp, taught: None, size: tuple[int, int]) -> None:
    async with make_app().run_test(size=size) as pilot:
        app = await ready(pilot)
        await pilot.press(*"I", "space", *"need", "space", *"to", "space", *"buy", "space", *"milk", "enter")
        await until(pilot, lambda: not chat(app).busy)
        turn = chat(app).session.turns[-1]
        assert (turn.answer.route, turn.answer.text) == ("todo_line", "( ) buy milk due:mon")
        assert "◆ todo_line route 96%" in last_view(app).text
        assert "( ) buy milk due:mon" in turn_texts(app)


async def test_the_steps_of_a_chain_are_shown_and_kept(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        turn = await ask(pilot, "buy milk >> feeling fine")
        first, second = turn.answer.segments
        assert (first.follows, second.follows) == ("", first.route)
        await until(pilot, lambda: f"→ ◆ {second.route}" in turn_texts(app))
        conversation = chat(app).session.conversation_id
        assert conversation is not None
        chat(app).session.open(conversation)
        assert [segment.follows for segment in chat(app).session.turns[-1].answer.segments] == ["", first.route]


async def test_several_requests_are_shown_each_with_its_route(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test() as pilot:
        app = await ready(pilot)
        turn = await ask(pilot, "buy milk && feeling fine")
        first, second = (segment.route for segment in turn.answer.segments)
        assert turn.answer.route == first != second
        shown = turn_texts(app)
        assert "done buy milk" in shown and f"◆ {second} route 90%" in shown and "done feeling fine" in shown
        conversation = chat(app).session.conversation_id
        assert conversation is not None
        chat(app).session.open(conversation)
        again = chat(app).session.turns[-1].answer
        kept = [(segment.route, segment.probability, segment.response) for segment in again.segments]
        assert kept == [(segment.route, segment.probability, segment.response) for segment in turn.answer.segments]
        assert again.text == "done buy milk\ndone feeling fine"


async def test_plain_chat_gets_the_conversation(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test() as pilot:
        await ready(pilot)
        await ask(pilot, "hello there")
        turn = await ask(pilot, "and again")
        assert turn.answer.route == "none"
        assert turn.answer.text == "You said: and again (2 messages before)"


async def test_markdown_and_markup_survive(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test() as pilot:
        app = await ready(pilot)
        turn = await ask(pilot, "!markdown [/INST] [bold]x")
        assert "print('[/INST]')" in turn.answer.text
        assert "[/INST] [bold]x" in turn_texts(app)


async def test_newline_keys(make_app: MakeApp) -> None:
    async with make_app().run_test() as pilot:
        app = await ready(pilot)
        await pilot.press("a", "ctrl+j", "b", "shift+enter", "c")
        assert chat(app).query_one(Prompt).text == "a\nb\nc"
        assert chat(app).query_one(Prompt).size.height == 3


async def test_forced_route(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test() as pilot:
        app = await ready(pilot)
        turn = await ask(pilot, "@mood_log I need to buy milk")
        assert (turn.answer.route, turn.answer.forced) == ("mood_log", True)
        assert "your choice" in last_view(app).text
        turn = await ask(pilot, "@none I need to buy milk")
        assert turn.answer.route == "none"


async def test_unknown_route_keeps_the_input(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test() as pilot:
        app = await ready(pilot)
        chat(app).query_one(Prompt).take("@tudo_line milk")
        await pilot.press("enter")
        await until(pilot, lambda: "Did you mean 'todo_line'" in line(app))
        assert chat(app).query_one(Prompt).text == "@tudo_line milk"
        assert not chat(app).session.turns
        await pilot.press("x")
        await until(pilot, lambda: "Did you mean" not in line(app))


async def test_completion_of_names(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test() as pilot:
        app = await ready(pilot)
        await pilot.press("at", "t")
        await until(pilot, lambda: "@todo_line" in line(app))
        await pilot.press("tab")
        assert chat(app).query_one(Prompt).text == "@todo_line "


async def test_escape_stops_and_keeps_the_partial(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test() as pilot:
        app = await ready(pilot)
        chat(app).query_one(Prompt).take("!slow please")
        await pilot.press("enter")
        await until(pilot, lambda: "word5" in chat(app).session.turns[-1].answer.text)
        # Not press(): the pilot waits for a quiet screen first, and a stream is never quiet.
        app.simulate_key("escape")
        await until(pilot, lambda: not chat(app).busy)
        answer = chat(app).session.turns[-1].answer
        assert answer.status == "stopped"
        assert answer.text.startswith("word0 word1")
        assert "word19999" not in answer.text
        assert "stopped" in last_view(app).text
        conversation = app.store.chats.list()[0]
        assert app.store.messages.list(conversation.id)[-1].status == "stopped"


async def test_a_long_message_says_how_far_it_is_read_and_escape_stops_that(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test() as pilot:
        app = await ready(pilot)
        chat(app).query_one(Prompt).take("!long text")
        await pilot.press("enter")
        await until(pilot, lambda: re.search(r"reading [\d,]+ of 200,000 tokens", last_view(app).text))
        app.simulate_key("escape")
        await until(pilot, lambda: not chat(app).busy)
        answer = chat(app).session.turns[-1].answer
        assert (answer.status, answer.text, answer.route) == ("stopped", "", None)
        assert last_view(app).text.splitlines()[-1].strip() == "stopped"
        chat(app).query_one(Prompt).take("hello")
        await pilot.press("enter")
        await until(pilot, lambda: "(0 messages before)" in chat(app).session.turns[-1].answer.text)
    async with make_app().run_test() as pilot:
        app = await ready(pilot)
        assert turn_texts(app).splitlines()[1].strip() == "stopped", "kept with the chat"


async def test_an_answer_that_went_in_circles_says_so(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test() as pilot:
        app = await ready(pilot)
        chat(app).query_one(Prompt).take("!circles please")
        await pilot.press("enter")
        await until(pilot, lambda: not chat(app).busy and chat(app).session.turns[-1].answer.status == "complete")
        assert "repeating itself" in last_view(app).text
    async with make_app().run_test() as pilot:
        app = await ready(pilot)
        assert "repeating itself" in last_view(app).text, "kept with the chat"


async def test_messages_queue_while_busy(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test() as pilot:
        app = await ready(pilot)
        prompt = chat(app).query_one(Prompt)
        prompt.take("!slow one")
        await pilot.press("enter")
        await until(pilot, lambda: "word1" in chat(app).session.turns[-1].answer.text)
        prompt.take("I need to buy milk")
        await pilot.press("enter")
        await until(pilot, lambda: "1 waiting" in line(app))
        await pilot.press("escape")
        await until(pilot, lambda: not chat(app).busy)
        assert [turn.answer.status for turn in chat(app).session.turns] == ["stopped", "complete"]
        assert chat(app).session.turns[-1].answer.text == "( ) buy milk due:mon"


async def test_keys_on_a_message(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        await ask(pilot, "I need to buy milk")
        await pilot.press("up")
        assert isinstance(app.focused, TurnView)
        await pilot.press("c")
        assert app.clipboard == "( ) buy milk due:mon"
        await pilot.press("enter")
        assert "mood_log" in last_view(app).text
        await pilot.press("r")
        await until(pilot, lambda: chat(app).session.turns[-1].answer.text.startswith("Once more."))
        await until(pilot, lambda: not chat(app).busy)
        assert len(app.store.messages.list(app.store.chats.list()[0].id)) == 2
        await pilot.press("g")
        await until(pilot, lambda: isinstance(app.screen, ProceduresScreen))
        await until(pilot, lambda: "todo_line" in texts(app, "#about"))


async def test_edit_and_continue(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test() as pilot:
        app = await ready(pilot)
        await ask(pilot, "first")
        await ask(pilot, "second")
        await pilot.press("up", "up", "e")
        prompt = chat(app).query_one(Prompt)
        assert prompt.text == "first"
        assert "Editing" in line(app)
        await pilot.press("!", "enter")
        await until(pilot, lambda: len(chat(app).session.turns) == 1 and not chat(app).busy)
        assert next(message.content for message in app.store.messages.list(app.store.chats.list()[0].id)) == "first!"
        assert len(chat(app).query(TurnView)) == 1


async def test_escape_leaves_editing(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test() as pilot:
        app = await ready(pilot)
        await ask(pilot, "first")
        await pilot.press("up", "e", "escape")
        assert chat(app).query_one(Prompt).text == ""
        assert len(chat(app).session.turns) == 1


async def test_wrong_route_is_kept_and_rerun(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test() as pilot:
        app = await ready(pilot)
        await ask(pilot, "I need to buy milk")
        await pilot.press("up", "w")
        await until(pilot, lambda: isinstance(app.screen, RouteDialog))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, type(chat(app))) and not chat(app).busy)
        correction = app.store.corrections.list()[0]
        assert (correction.text, correction.wrong_route, correction.right_route) == (
            "I need to buy milk",
            "todo_line",
            "mood_log",
        )
        await until(pilot, lambda: chat(app).session.turns[-1].answer.route == "mood_log")
        assert "corrected from todo_line" in last_view(app).text
        await pilot.press("u")
        await until(pilot, lambda: not app.store.corrections.list())
        await until(pilot, lambda: chat(app).session.turns[-1].answer.route == "todo_line")


async def test_answer_becomes_a_pair(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        await ask(pilot, "I need to buy milk")
        await pilot.press("up", "s")
        await until(pilot, lambda: isinstance(app.screen, PairDialog))
        app.screen.query_one("#response", TextArea).load_text("( ) buy oat milk due:mon")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: len(app.store.pairs.list("todo_line")) == 9)
        assert app.store.pairs.list("todo_line")[-1].response == "( ) buy oat milk due:mon"


async def test_crash_is_shown_and_survived(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test() as pilot:
        app = await ready(pilot)
        chat(app).query_one(Prompt).take("!crash now please")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, FailureDialog))
        shown = texts(app)
        assert "ended unexpectedly (exit code 3)" in shown
        assert "scripted crash" not in shown and "last words" not in shown
        assert "on disk" in shown
        assert "starts anew" in shown
        await pilot.press("enter")
        await pilot.press("f12")
        await until(pilot, lambda: isinstance(app.screen, ReportDialog))
        assert "RuntimeError: scripted crash" in texts(app)
        await pilot.press("escape")
        assert app.store.messages.list(app.store.chats.list()[0].id)[-1].status == "failed"
        turn = await ask(pilot, "I need to buy milk")
        assert turn.answer.status == "complete"
        # Also once another engine runs, the report has the log of the one that ended.
        assert "scripted crash" in report(app, app.size, app.errors.recent)


async def test_engine_error_is_shown_in_place(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test() as pilot:
        app = await ready(pilot)
        await ask(pilot, "this is !oom indeed")
        assert "Not enough memory" in turn_texts(app)
        assert not isinstance(app.screen, FailureDialog)


async def test_a_memory_that_cannot_be_used_is_told_once(
    make_app: MakeApp, taught: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(TokmemApp, "notify", lambda self, message, **_: told.append(message))
    async with make_app("--problem", "The memory of 'mood_log' is damaged.").run_test() as pilot:
        await ready(pilot)
        await ask(pilot, "hello there")
        turn = await ask(pilot, "and again")
        assert turn.answer.status == "complete"
    assert told == ["The memory of 'mood_log' is damaged."]


async def test_conversations(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        await ask(pilot, "about apples")
        await pilot.press("ctrl+n")
        assert chat(app).query_one(EmptyChat).display
        await ask(pilot, "about pears")
        assert [record.title for record in app.store.chats.list()] == ["about pears", "about apples"]
        await pilot.press("ctrl+r")
        assert isinstance(app.focused, Input)
        await pilot.press(*"apples", "enter")
        await until(pilot, lambda: chat(app).query_one(ConversationList).option_count == 1)
        await pilot.press("down", "enter")
        await until(pilot, lambda: chat(app).session.turns[0].question == "about apples")
        await pilot.press("ctrl+r")
        await pilot.press("ctrl+r")
        assert not chat(app).query_one(HistoryPanel).display


async def test_deleting_a_conversation_asks(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        await ask(pilot, "about apples")
        chat(app).query_one(ConversationList).focus()
        await pilot.press("home", "d")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("tab", "enter")
        await until(pilot, lambda: not app.store.chats.list())
        assert chat(app).query_one(EmptyChat).display


async def test_last_conversation_is_resumed(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test() as pilot:
        await ready(pilot)
        await ask(pilot, "I need to buy milk")
    async with make_app().run_test() as pilot:
        app = await ready(pilot)
        assert chat(app).session.turns[0].answer.text == "( ) buy milk due:mon"
        assert "( ) buy milk" in turn_texts(app)


async def test_temporary_chat_is_kept_nowhere(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test() as pilot:
        app = await ready(pilot)
        await chat(app).action_new(temporary=True)
        assert "Temporary" in line(app)
        await ask(pilot, "a secret")
        assert not app.store.chats.list()


async def test_empty_chat_offers_examples(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test() as pilot:
        app = await ready(pilot)
        chat(app).query_one("#examples").focus()
        await pilot.press("end", "enter")
        assert chat(app).query_one(Prompt).text == "I need to call the dentist on Friday"


async def test_route_dialog_puts_the_prefix(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test() as pilot:
        app = await ready(pilot)
        chat(app).query_one(Prompt).take("milk")
        await pilot.press("ctrl+t")
        await until(pilot, lambda: isinstance(app.screen, RouteDialog))
        await pilot.press("j", "enter")
        await until(pilot, lambda: not isinstance(app.screen, RouteDialog))
        assert chat(app).query_one(Prompt).text == "@todo_line milk"


async def test_stream_is_followed_only_at_the_end(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        for _ in range(5):
            await ask(pilot, "!markdown again")
        transcript = chat(app).query_one(Transcript)
        assert transcript.at_end
        chat(app).query_one(Prompt).take("!slow story")
        await pilot.press("enter")
        await until(pilot, lambda: "word3" in chat(app).session.turns[-1].answer.text)
        assert transcript.at_end
        await pilot.press("pageup", "pageup")
        await until(pilot, lambda: not transcript.at_end)
        await until(pilot, lambda: chat(app).query_one("#below", Static).display)
        await pilot.press("ctrl+end")
        await until(pilot, lambda: transcript.at_end)
        await until(pilot, lambda: not chat(app).query_one("#below", Static).display)
        await pilot.press("escape")
        await until(pilot, lambda: not chat(app).busy)


async def test_loading_is_shown_and_messages_wait(make_app: MakeApp, taught: None) -> None:
    app = make_app("--load-delay", "1.5")
    async with app.run_test() as pilot:
        await until(pilot, lambda: hasattr(app, "link") and "Loading the model" in line(app))
        turn = await ask(pilot, "I need to buy milk")
        assert turn.answer.text == "( ) buy milk due:mon"


async def test_fast_typing_keeps_its_order(make_app: MakeApp, taught: None) -> None:
    """Keys that arrive in one piece, as from a paste or a script, make one message after the other."""
    async with make_app().run_test() as pilot:
        app = await ready(pilot)
        for key in [*"first", "enter", *"second", "ctrl+j", *"line", "enter", *"rest"]:
            app.simulate_key(key)
        await until(pilot, lambda: len(chat(app).session.turns) == 2 and not chat(app).busy)
        assert [turn.question for turn in chat(app).session.turns] == ["first", "second\nline"]
        assert chat(app).query_one(Prompt).text == "rest"
