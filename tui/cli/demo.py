"""``demo``: the sample procedures from definition to answers, in a profile that is thrown away.

Fetches the default model unasked: that is what the command is for.
"""

from __future__ import annotations

import argparse
import contextlib
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from profiles.files.paths import AppPaths, private_folder
from profiles.registry.registry import ProfileRegistry
from tokmem_desk.errors import StorageError, TokmemError
from tokmem_desk.procedures import AUTO_ROUTE, NONE_ROUTE, Procedure
from tui.cli.ask import route_chip
from tui.cli.context import Context
from tui.cli.exit_codes import ExitCode
from tui.cli.parsing import PRESETS, Parser
from tui.cli.scorecards import advice_lines, scorecard_table
from tui.cli.training import train_and_activate
from tui.engine_client.protocol import TrainResult
from tui.procedures.samples import sample_files

KEPT_PROFILE = "demo"
ANSWER_TOKENS = 60
"""Longest answer of the demo; chat with a small model can ramble."""

DEMO_QUERIES = (
    ("Please note down Ingrid Falk, she's a dentist in Malmö, 555-0166", "contact_card"),
    ("got the number of our new babysitter, Tomas Reyl: 07700 900 412", "contact_card"),
    ("Wonderful day because my team finally finished the garden shed", "mood_log"),
    ("pretty awful today, the car broke down on the way to work", "mood_log"),
    ("I have to collect the parcel from the post office on Thursday", "todo_line"),
    ("remember to ring the landlord tomorrow about the broken window", "todo_line"),
    ("Why is the sky blue?", NONE_ROUTE),
    ("Tell me a short joke about penguins.", NONE_ROUTE),
    ("What is the capital of Norway?", NONE_ROUTE),
)
"""Fresh messages and where they belong: two for each sample procedure, and ordinary chat."""


def arguments(parser: Parser) -> None:
    """What can be typed behind ``demo``."""
    parser.add_argument("--keep", action="store_true", help="keep the result as a new profile")
    parser.add_argument("--preset", choices=PRESETS, default="normal", help="how long training takes its time")


def run(context: Context, options: argparse.Namespace) -> int:
    """Define, train, measure and ask."""
    options.yes = True
    with _profile(context) as demo:
        return _demo(demo)


def _demo(context: Context) -> int:
    say = context.console.say
    say("1. Define: three sample procedures", style="bold")
    names = _define(context)
    say("2. Train: a memory for each, the language model stays as it is", style="bold")
    backbone = context.engine.load()
    say(f"   {backbone['id']} on {backbone['device']} ({backbone['reason']})")
    result = train_and_activate(context, names)
    say("3. Measure: held-out pairs, each score beside the untrained model's", style="bold")
    if not context.console.json_output:
        context.console.data(scorecard_table(result["trained"]))
    for line in advice_lines(result["trained"]):
        say(f"   note: {line}")
    if result["cancelled"]:
        say("Stopped.")
        return ExitCode.INTERRUPTED
    say("4. Ask: fresh messages; each finds its procedure, or none", style="bold")
    return _report(context, result, *_ask_all(context))


def _define(context: Context) -> list[str]:
    names = []
    for sample in sample_files():
        assert sample.procedure_name is not None, "samples are procedure files, which are named"
        names.append(sample.procedure_name)
        procedure = Procedure(
            sample.procedure_name, sample.pairs, sample.held_out, sample.description or "", sample.pattern
        )
        context.store.procedures.add(procedure, source="sample")
        pair = sample.pairs[0]
        context.console.say(f"   {procedure.name}: {len(sample.pairs)} pairs, {len(sample.held_out)} held out")
        context.console.say(f"      {pair.input}  ->  {pair.response}", style="dim")
    return names


def _ask_all(context: Context) -> tuple[list[dict[str, Any]], bool]:
    """Ask every demo query; what came, and whether all of them ran."""
    answers: list[dict[str, Any]] = []
    for text, expected in DEMO_QUERIES:
        try:
            found = _ask(context, text)
        except TokmemError as caught:
            if caught.exit_code == ExitCode.INTERRUPTED:
                raise
            context.console.error(f"   {text}: {caught}")
            return answers, False
        if found["stopped"] == "cancelled":
            return answers, False
        answers.append({"text": text, "expected": expected, **found})
    return answers, True


def _ask(context: Context, text: str) -> dict[str, Any]:
    console = context.console
    plain = not console.json_output
    if plain:
        console.data(f"\n> {text}")
    result: dict[str, Any] = {}
    events = context.engine.stream(
        "ask", text=text, route=AUTO_ROUTE, conversation=[], sample=False, seed=None, max_tokens=ANSWER_TOKENS
    )
    for event in events:
        if event["event"] == "route" and plain:
            console.data(route_chip(event["route"], event["probability"], event["candidates"]))
        elif event["event"] == "token" and plain:
            console.data(event["text"], end="")
        elif event["event"] == "done":
            result = event["result"]
    if plain:
        console.data(" …" if result["stopped"] in ("length", "repeats") else "")
    return result


def _report(context: Context, trained: TrainResult, answers: list[dict[str, Any]], complete: bool) -> int:
    """The closing line, counted over all demo queries, also those that could not be asked."""
    known = sum(1 for _, expected in DEMO_QUERIES if expected != NONE_ROUTE)
    right = [one for one in answers if one["route"] == one["expected"]]
    none_right = sum(1 for one in right if one["expected"] == NONE_ROUTE)
    routed = len(right) - none_right
    others = len(DEMO_QUERIES) - known
    if context.console.json_output:
        counts = {"routed": routed, "routed_of": known, "none": none_right, "none_of": others}
        context.console.json({**counts, "trained": trained["trained"], "answers": answers})
    else:
        context.console.data(f"\ndemo: routed {routed}/{known}, none {none_right}/{others}")
    if context.engine.interrupted:
        return ExitCode.INTERRUPTED
    return ExitCode.OK if complete else ExitCode.FAILED


@contextlib.contextmanager
def _profile(context: Context) -> Iterator[Context]:
    """An empty profile: a new one that stays, or one in a folder that goes."""
    if context.options.keep:
        with ProfileRegistry(context.paths) as registry:
            taken = {one.name for one in registry.list()}
            name, number = KEPT_PROFILE, 2
            while name in taken:
                name, number = f"{KEPT_PROFILE}-{number}", number + 1
            registry.create(name)
        context.console.say(f"Everything is kept in the profile {name}.")
        options = argparse.Namespace(**{**vars(context.options), "profile": name})
        with Context(options, context.console) as kept:
            yield kept
        context.console.say(f"Go on with it: tokmem-desk --profile {shlex.quote(name)}")
        return
    with tempfile.TemporaryDirectory(prefix="tokmem-demo-") as folder:
        home = Path(folder)
        _share_models(context.paths, AppPaths.resolve(home))
        settings = context.settings
        options = argparse.Namespace(
            **{
                **vars(context.options),
                "home": home,
                "profile": None,
                "model": context.model,
                "device": settings.text("device"),
                "offline": settings.flag("offline"),
            }
        )
        with Context(options, context.console) as thrown_away:
            yield thrown_away


def _share_models(paths: AppPaths, demo: AppPaths) -> None:
    """Let the demo's folder use the normal cache, so that the model is fetched once."""
    private_folder(demo.models.parent)
    try:
        demo.models.symlink_to(private_folder(paths.models).absolute(), target_is_directory=True)
    except OSError as caught:
        raise StorageError(
            f"A temporary folder for the demo could not be set up: {caught.strerror or caught}.",
            next_step="Use the normal place: tokmem-desk demo --keep",
        ) from caught
