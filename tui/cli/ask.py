"""``ask``: one message, one answer, streamed; or many messages of a file."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tokmem_desk.errors import (
    ContextLengthError,
    EngineError,
    GenerationError,
    InterruptedByUser,
    NotFoundError,
    UsageError,
    did_you_mean,
)
from tokmem_desk.generation.answer_segment import AnswerSegment
from tokmem_desk.procedures import AUTO_ROUTE, NONE_ROUTE
from tui.chat.session import ChatSession, system_turns
from tui.chat.text_files import read_text_file, with_files
from tui.chat.turns import WITHOUT_HISTORY
from tui.cli.batch import Batch, Journal, read_batch, with_answer
from tui.cli.chats import LAST, conversation_id
from tui.cli.clipboard import CopiedAnswer, pasted_text
from tui.cli.console import Console, percent
from tui.cli.context import Context
from tui.cli.exit_codes import ExitCode
from tui.cli.parsing import Parser, continue_option, positive_number, system_option, whole_number
from tui.cli.plan_answers import plan_answering, whole_answer, with_decisions
from tui.cli.run_calls import run_calls
from tui.cli.texts import message_of, system_prompt_of
from tui.engine_client.protocol import Candidate, Message
from tui.kit.words import duration
from tui.shared.doubt import between_words, doubt_words
from tui.shared.plan_words import heading

RUNNERS_UP = 3


def arguments(parser: Parser) -> None:
    """What can be typed behind ``ask``."""
    parser.add_argument("text", metavar="TEXT", nargs="*", help="the message; '-' reads it from stdin")
    parser.add_argument(
        "--batch", metavar="FILE", help="answer many messages: JSON lines or a CSV table, '-' for stdin; see --out"
    )
    parser.add_argument("--column", metavar="NAME", help="of --batch: the column or key with the message")
    parser.add_argument(
        "--into", metavar="NAME", default="response", help="of --batch: the column or key for the answer (response)"
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        type=Path,
        help="of --batch: where to write; the same command goes on if it was stopped",
    )
    parser.add_argument("--route", metavar="ROUTE", default="auto", help="auto, none, or a procedure's name")
    parser.add_argument(
        "--attach",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="a text file that goes behind the message; may be given several times",
    )
    system_option(parser)
    parser.add_argument("--sample", action="store_true", help="draw the answer instead of taking the likeliest words")
    parser.add_argument("--seed", metavar="N", type=whole_number, help="makes --sample repeatable")
    parser.add_argument(
        "--run",
        action="store_true",
        help="hand the answer to its procedure's command, after asking (--yes: without; see 'proc command')",
    )
    parser.add_argument(
        "--paste", action="store_true", help="what is on the clipboard goes behind the message, or is it"
    )
    parser.add_argument("--copy", action="store_true", help="put the answer onto the clipboard")
    parser.add_argument("--max-tokens", metavar="N", type=positive_number, help="longest answer, in tokens")
    parser.add_argument(
        "--as-typed", action="store_true", help="fill in nothing that words as 'it' or 'the second one' refer to"
    )
    continue_option(parser, "go on with the conversation used last, and keep message and answer in it")


def run(context: Context, options: argparse.Namespace) -> int:
    """Answer one message, or many from a file."""
    if bool(options.text or options.paste) == (options.batch is not None):
        raise UsageError("Give either a message (TEXT) or --batch FILE.", next_step="See: tokmem-desk ask --help")
    if options.batch is not None:
        return _batch(context, options)
    if options.out is not None or options.column is not None:
        raise UsageError("--out and --column belong to --batch.", next_step="See: tokmem-desk ask --help")
    files = [read_text_file(path) for path in options.attach]
    text = with_files(_message(options), files)
    check_route(context, options.route)
    going_on = conversation_id(context.store, LAST) if options.go_on else None
    system_prompt = None if options.system is None else system_prompt_of(options.system)
    backbone = context.engine.load(fit=False)
    if going_on is not None:
        session = ChatSession(
            context.store,
            context.engine.link,
            context.profile.name,
            runs_commands=options.run,
            command_seconds=context.settings.number("command_seconds"),
            fingerprint=backbone["fingerprint"],
        )
        session.open(going_on)
        if system_prompt is not None:
            session.set_system_prompt(system_prompt)
        turn = session.ask(text, options.route)
        turn.fills_in = not options.as_typed
        answer = session.answer(turn, again=options.sample, seed=options.seed, max_tokens=options.max_tokens)
        events = context.engine.drive(answer, session.stop)
        events = with_decisions(
            context, events, lambda run, said: context.engine.drive(session.go_on(turn, run.id, said), session.stop)
        )
    else:
        fields = {"sample": options.sample, "seed": options.seed, "max_tokens": options.max_tokens}
        events = asked_once(
            context,
            text,
            options.route,
            system_prompt,
            runs_commands=options.run,
            fills_in=not options.as_typed,
            **fields,
        )
    copied = CopiedAnswer()
    finish = partial(run_calls, context) if options.run else None
    code = show_answer(context.console, copied.watching(events) if options.copy else events, finish)
    copied.copy(context.console)
    return code


def asked_once(
    context: Context,
    text: str,
    route: str,
    system_prompt: str | None = None,
    *,
    runs_commands: bool = False,
    sample: bool = False,
    seed: int | None = None,
    max_tokens: int | None = None,
    fills_in: bool = True,
) -> Iterator[Message]:
    """The events of one answer without a conversation; the engine must be loaded.

    Args:
        system_prompt: None takes the profile's.
        fills_in: whether what words refer to is put in their place.
    """
    answering = plan_answering(context, runs_commands=runs_commands)
    told = context.store.chats.system_prompt if system_prompt is None else system_prompt
    asked = answering.asked(
        text,
        route,
        conversation=system_turns(told),
        sample=sample,
        seed=seed,
        max_tokens=max_tokens,
        **({} if fills_in else {"references": False}),
    )
    events = context.engine.drive(asked, answering.cancel)
    return with_decisions(
        context, events, lambda run, said: context.engine.drive(answering.go_on(run, said), answering.cancel)
    )


def _message(options: argparse.Namespace) -> str:
    """What was typed, with what is on the clipboard behind it where that is wanted."""
    typed = [message_of(options.text)] if options.text else []
    return "\n\n".join([*typed, *([pasted_text()] if options.paste else [])])


def _batch(context: Context, options: argparse.Namespace) -> int:
    """Answer the messages of a file, one after the other."""
    if options.attach or options.go_on or options.run or options.copy:
        raise UsageError("--batch takes no --attach, --continue, --run or --copy.", next_step="Ask those one by one.")
    batch = read_batch(options.batch, options.column)
    check_route(context, options.route)
    with_answer(batch.rows[0], {"response": "", "route": "", "probability": 0}, options.into)
    system_prompt = None if options.system is None else system_prompt_of(options.system)
    told = context.store.chats.system_prompt if system_prompt is None else system_prompt
    fields: dict[str, Any] = {
        "route": options.route, "sample": options.sample, "seed": options.seed, "max_tokens": options.max_tokens,
        "conversation": system_turns(told),
    }  # fmt: skip
    answering = _Batch(context, batch, fields, options.into)
    if options.out is None:
        context.engine.load()
        if not context.console.json_output:
            context.console.data(batch.heading([options.into, "route", "probability"]), end="")
        return answering.run({}, lambda place, answer: answering.show(place, answer))
    journal = Journal(options.out, batch, fields)
    with journal.open() as add:
        if journal.answers:
            context.console.say(f"{len(journal.answers)} of {len(batch.rows)} messages were answered before.")
        context.engine.load()
        code = answering.run(dict(journal.answers), add)
    if code == ExitCode.INTERRUPTED:
        context.console.say("The same command goes on where this one stopped.")
        return code
    if code == ExitCode.OK:
        lines = [answering.line(place, journal.answers[place]) for place in range(len(batch.rows))]
        journal.finish(options.out, batch.heading([options.into, "route", "probability"]) + "".join(lines))
        context.console.say(f"Wrote {options.out}: {len(lines)} answers.")
    return code


class _Batch:
    """Answers the rows of a file.

    Args:
        fields: of each request.
        into: the column for the answer.
    """

    def __init__(self, context: Context, batch: Batch, fields: Mapping[str, Any], into: str) -> None:
        self._context, self._batch, self._fields, self._into = context, batch, fields, into

    def run(self, known: Mapping[int, Any], take: Callable[[int, dict[str, Any]], None]) -> int:
        """Answer all rows that are not known; those that the model cannot answer are named and left open."""
        console, failed = self._context.console, 0
        for place, message in enumerate(self._batch.messages):
            if place in known:
                continue
            console.progress(f"Answering message {place + 1} of {len(self._batch.rows)}")
            try:
                answer = whole_answer(self._context, message, **self._fields)
            except InterruptedByUser:
                return ExitCode.INTERRUPTED
            except (ContextLengthError, GenerationError) as caught:
                failed += 1
                console.end_progress()
                console.say(f"  message {place + 1}: {caught}")
                continue
            take(place, {name: answer[name] for name in ("response", "route", "probability")})
        console.end_progress()
        if failed:
            console.say(f"{failed} of {len(self._batch.rows)} messages could not be answered.")
        return ExitCode.FAILED if failed else ExitCode.OK

    def line(self, place: int, answer: Mapping[str, Any]) -> str:
        """A row with its answer, as the file has rows."""
        return self._batch.line(with_answer(self._batch.rows[place], answer, self._into))

    def show(self, place: int, answer: Mapping[str, Any]) -> None:
        """Print a row with its answer."""
        console = self._context.console
        console.end_progress()
        if console.json_output:
            console.json(with_answer(self._batch.rows[place], answer, self._into))
        else:
            console.data(self.line(place, answer), end="")


class _Shown:
    """The text of an answer on stdout, as it comes; calls wait until they are whole."""

    def __init__(self, console: Console, *, as_calls: bool) -> None:
        self._console, self._as_calls = console, as_calls
        self._at_line_start = True
        self._call: str | None = None
        self._held = ""

    def begin(self, route: Message) -> None:
        """Begin a segment."""
        self.end()
        self._call = route["route"] if self._as_calls and route.get("call") else None

    def add(self, text: str) -> None:
        """Add text of the segment."""
        if self._call is not None:
            self._held += text
        elif text:
            self._console.data(text, end="")
            self._at_line_start = text.endswith("\n")

    def end(self) -> None:
        """End the segment; an unfinished call is shown as its text."""
        name, text = self._call, self._held.strip()
        self._call, self._held = None, ""
        if name is not None and text:
            self.add((call_words(name, text) or text) + "\n")

    def close(self) -> None:
        """End the answer, so that what comes next begins on a new line."""
        self.end()
        if not self._at_line_start:
            self.add("\n")


def show_answer(
    console: Console,
    events: Iterable[Message],
    finish: Callable[[dict[str, Any]], int] | None = None,
    *,
    as_calls: bool = False,
) -> int:
    """Print an answer as it comes: the routes to stderr, the text to stdout; with ``--json`` one object at the end.

    Args:
        finish: may add to the finished result before it is shown as JSON, and returns an exit code.
        as_calls: for readers, not for programs: ``name(argument="value")`` instead of a call's JSON.

    Returns:
        The exit code: interrupted when the answer was cut short by Ctrl-C, failed where it does not fit its schema.
    """
    result: dict[str, Any] | None = None
    began = time.monotonic()
    shown = _Shown(console, as_calls=as_calls)
    try:
        for event in events:
            match event["event"]:
                case "route":
                    console.end_progress()
                    shown.begin(event)
                    step = f"{event['place']}  " if event.get("place") else ""
                    chip = route_chip(event["route"], event["probability"], event["candidates"])
                    console.say(f"{step}{event['route']}" if step else chip, style="bold")
                case "progress" if event.get("phase") == "plan":
                    console.end_progress()
                    console.say(event["text"], style="dim")
                case "progress" if event.get("phase") == "problem":
                    console.end_progress()
                    console.say(event["text"])
                case "progress" if event.get("phase") == "read":
                    words = str(event["text"])
                    console.progress(f"{words[:1].upper()}{words[1:]}, {duration(time.monotonic() - began)}")
                case "token" if not console.json_output:
                    shown.add(event["text"])
                case "done":
                    result = event["result"]
    finally:
        shown.close()
    if result is None:
        raise EngineError("The engine ended the request without an answer.", next_step="Try again.")
    # Who is asked about a command reads it there.
    if finish is None and (between := between_words(result.get("ambiguous"))):
        console.say(f"({between} --route {result['ambiguous'][1]} asks that one.)", style="dim")
    for segment in result["segments"]:
        if segment["problem"]:
            console.say(segment["problem"], style="dim")
        if finish is None and (doubt := doubt_words(AnswerSegment.from_dict(segment))):
            console.say(f"({doubt})", style="dim")
    for plan in result.get("plans", ()):
        how = f" · tokmem-desk plan go-on {plan['run']}" if plan["status"] == "waiting" and plan["run"] > 0 else ""
        words = f": {plan['words']}" if plan["words"] and plan["status"] != "failed" else ""
        console.say(f"({heading(plan)}{words}{how})", style="dim")
    if result["stopped"] == "length":
        console.say("(cut: this is the longest answer; --max-tokens allows a longer one)", style="dim")
    if result.get("without_history"):
        console.say(f"({WITHOUT_HISTORY})", style="dim")
    if result["stopped"] == "repeats":
        console.say("(ended: the model was repeating itself)", style="dim")
    code: int = ExitCode.INTERRUPTED if result["stopped"] == "cancelled" else ExitCode.OK
    if finish is not None and code == ExitCode.OK:
        code = finish(result)
    if code == ExitCode.OK and any(segment["problem"] for segment in result["segments"]):
        code = ExitCode.FAILED
    if console.json_output:
        console.json(result)
    return code


def call_words(name: str, text: str) -> str | None:
    """``add_task(text="buy milk", due="friday")``; None where the text is no object, as when it was cut."""
    try:
        arguments = json.loads(text)
    except ValueError:
        return None
    if not isinstance(arguments, Mapping):
        return None
    values = ", ".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in arguments.items())
    return f"{name}({values})"


def route_chip(route: str, probability: float, candidates: Iterable[Candidate]) -> str:
    """``[route contact_card 97 %]  then none 2 %, mood_log 1 %``: the figures are of the route, not of the answer."""
    others = [one for one in candidates if one["route"] != route][:RUNNERS_UP]
    chip = f"[route {route} {percent(probability)}]"
    rest = ", ".join(f"{one['route']} {percent(one['probability'])}" for one in others)
    return f"{chip}  then {rest}" if rest else chip


def check_route(context: Context, route: str) -> None:
    """Find a slip in a route's name before the model is loaded.

    Raises:
        NotFoundError: no procedure is called so.
    """
    names = [record.name for record in context.store.procedures.list()]
    if route not in (*names, AUTO_ROUTE, NONE_ROUTE):
        raise NotFoundError(
            f"There is no procedure {route!r}.{did_you_mean(route, [*names, AUTO_ROUTE, NONE_ROUTE])}",
            next_step="See: tokmem-desk proc list",
        )
