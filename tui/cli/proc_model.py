"""``proc threshold``, ``proc draft`` and ``--overlap``: what needs the model."""

from __future__ import annotations

import argparse
from typing import Any, cast

from tokmem_desk.errors import InterruptedByUser
from tui.cli.console import table
from tui.cli.context import Context
from tui.cli.drafting import drafting_context
from tui.cli.exit_codes import ExitCode
from tui.cli.parsing import Actions, Parser, positive_number, whole_number
from tui.engine_client.protocol import Effect, Overlap
from tui.procedures.overlap_words import LEVELS, counts_at, overlap_sentences
from tui.shared.draft_words import is_good


def add_model_actions(actions: Actions) -> None:
    """What can be typed behind ``proc`` that asks the model."""
    limiting = actions.add("threshold", threshold, "how sure the router must be for this procedure")
    limiting.add_argument("name", metavar="NAME")
    limiting.add_argument(
        "value",
        metavar="VALUE|auto",
        nargs="?",
        type=_threshold,
        help="0 to 1, or auto: the most probable route answers; without it the effect of several is shown",
    )
    limiting.add_argument("--effect", action="store_true", help="show the effect after setting it (loads the model)")
    drafting = actions.add("draft", draft, "let the model write pairs like those of a procedure (JSONL)")
    drafting.add_argument("name", metavar="NAME")
    drafting.add_argument(
        "--count", metavar="N", type=positive_number, default=5, help="how many (default: 5, at most 50)"
    )
    drafting.add_argument("--seed", metavar="N", type=whole_number, help="the same drafts every time")
    drafting.add_argument(
        "--good",
        action="store_true",
        help="only those with the form that the pairs share and the same answer when asked twice",
    )


def overlap_option(parser: Parser) -> None:
    parser.add_argument(
        "--overlap", action="store_true", help="say which of its pairs would go to other procedures (loads the model)"
    )


def _threshold(text: str) -> float | str:
    if text == "auto":
        return text
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a probability from 0 to 1 nor 'auto'")
    return value


def threshold(context: Context, options: argparse.Namespace) -> int:
    """Set how probable a procedure must be to answer, show what that does, or both."""
    record = context.store.procedures.get(options.name)
    measures = options.value is None or options.effect
    if measures:  # load first: where the model is missing, nothing has changed yet
        context.engine.load()
    if options.value is not None:
        value = None if options.value == "auto" else float(options.value)
        record = context.store.procedures.set_threshold(record.name, value)
        words = (
            "auto: the most probable route answers" if value is None else f"{value:.2f}; below it plain chat answers"
        )
        context.console.say(f"The threshold of {record.name} is {words}.")
    effect: Effect | None = None
    if measures:
        effect = cast(Effect, context.engine.result("effect", name=record.name))
    context.console.result(_object(record.name, record.threshold, effect), "" if effect is None else _table(effect))
    return ExitCode.OK


def draft(context: Context, options: argparse.Namespace) -> int:
    """Print drafted pairs, one JSON object a line; nothing is stored."""
    name = context.store.procedures.get(options.name).name
    engine = drafting_context(context).engine
    engine.load(fit=False)
    done: dict[str, Any] = {}
    left_out = 0
    for event in engine.stream("draft", name=name, count=options.count, seed=options.seed):
        if event["event"] == "draft":
            if options.good and not is_good(event.get("fits"), event.get("sure")):
                left_out += 1
            else:
                context.console.json({"input": event["input"], "response": event["response"]})
        elif event["event"] == "done":
            done = event["result"]
    if done.get("cancelled"):
        raise InterruptedByUser("Stopped; what was drafted so far is above.")
    doubtful = f" {left_out} of them are doubtful and left out." if left_out else ""
    context.console.say(
        f"Drafted {done.get('drafted', 0)} pairs.{doubtful} Nothing is stored: read and correct them, then"
    )
    context.console.say(f"tokmem-desk proc import {name} --pairs FILE")
    return ExitCode.OK


def say_overlap(context: Context, name: str) -> Overlap:
    """Ask the engine where the pairs of a procedure would go, and say it."""
    found = cast(Overlap, context.engine.result("overlap", name=name))
    for sentence in overlap_sentences(found) or [f"No pair of {name} would go to another procedure."]:
        context.console.say(f"  note: {sentence}")
    return found


def _object(name: str, threshold: float | None, effect: Effect | None) -> dict[str, Any]:
    return {
        "name": name,
        "threshold": threshold,
        "effect": None if effect is None else [_level(effect, level) for level in _levels(effect)],
        "measured_on": None if effect is None else effect["measured_on"],
    }


def _level(effect: Effect, level: float) -> dict[str, Any]:
    found = counts_at(effect, level)
    return {
        "threshold": level,
        "own": found.own,
        "own_of": effect["own"]["of"],
        "others": found.others,
        "others_of": sum(other["of"] for other in effect["others"]),
        "chat": found.chat,
        "chat_of": effect["chat"]["of"],
    }


def _levels(effect: Effect) -> list[float]:
    return sorted({*LEVELS, effect["threshold"] or 0.0})


def _table(effect: Effect) -> str:
    now = effect["threshold"] or 0.0
    rows = []
    for level in _levels(effect):
        one = _level(effect, level)
        counts = [f"{one[key]} of {one[f'{key}_of']}" for key in ("own", "others", "chat")]
        rows.append(("auto" if not level else f"{level:.2f}", *counts, "now" if level == now else ""))
    names = ", ".join(other["name"] for other in effect["others"])
    own = f"own ({'held out' if effect['measured_on'] == 'held_out' else 'left out'})"
    headings = ("threshold", own, f"of {names}" if names else "of others", "ordinary chat", "")
    return table(headings, rows, right=(1, 2, 3))
