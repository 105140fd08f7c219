"""Queries that need several functions, to their calls.

The folder holds ``tools.json``, ``single_train``, ``multi_train``, ``single_test`` and ``multi_test``
(docs/benchmarks.md). One entry of the sweep per number of calls, and one for the numbers that occur in training, which
stands last. ``--turns`` sets the length of the mixed conversation, ``--rounds N`` measures what is
forgotten when functions arrive in N rounds, ``--ablations`` what each part is worth.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import settings
from benchmarks.calls import METHODS
from benchmarks.calls.base import CallLearner, CallMethod, Calls
from benchmarks.calls.data import CallData, CallExample, conversation, load_calls
from benchmarks.calls.scores import score_calls, score_conversation
from benchmarks.calls.variants import ABLATIONS, ROUNDS, rounds_of
from benchmarks.methods import Context
from benchmarks.models import load
from benchmarks.options import Options, add_method_options, make_parser, positive, run_program, say
from benchmarks.peaks import Peak, peak_memory
from benchmarks.result import Metrics, ResultFile, Run

_TRAINED_COUNTS = (2, 3)
"""Numbers of calls whose tests together are the last entry of the sweep."""


@dataclass(frozen=True, slots=True)
class CallOptions(Options):
    """What only this benchmark asks for.

    Attributes:
        turns: length of the mixed conversation.
        rounds: rounds in which functions arrive; None leaves that out.
        ablations: measure what each part is worth.
    """

    turns: int = 200
    rounds: int | None = None
    ablations: bool = False


def parse(arguments: Sequence[str] | None) -> CallOptions:
    """Read the command line."""
    parser = make_parser("compositional", __doc__)
    add_method_options(parser, list(METHODS))
    parser.add_argument("--turns", type=positive, default=200, metavar="N", help="turns of the mixed conversation")
    parser.add_argument("--rounds", type=positive, metavar="N", help="let functions arrive in N rounds")
    parser.add_argument("--ablations", action="store_true", help="measure what each part is worth")
    parser.add_argument("--chat", type=Path, help="messages that ask for no call (default: ../personal/chat.json)")
    options = parser.parse_args(arguments)
    return CallOptions(**vars(options))


class _Sweep:
    """Runs by setting; the numbers of calls that occur in training stand last."""

    def __init__(self, result: ResultFile, trained: Sequence[int]) -> None:
        self._result = result
        self._last = {"calls": list(trained)}
        self._entries: list[tuple[dict[str, Any], dict[str, list[Run]]]] = []

    def add(self, setting: dict[str, Any], method: str, run: Run) -> None:
        """Keep one run and write what there is."""
        known = next((runs for s, runs in self._entries if s == setting), None)
        if known is None:
            known = {}
            self._entries.append((setting, known))
        known.setdefault(method, []).append(run)
        for entry in sorted(self._entries, key=lambda entry: entry[0] == self._last):
            self._result.add(*entry)


def run(options: CallOptions) -> None:
    """Run all settings and write the result.

    Raises:
        TokmemError: the data or the model cannot be used.
    """
    data = load_calls(options.data, options.chat, pairs=options.pairs, limit=options.limit)
    if options.names:
        data = data.only(options.names)
    loaded = load(options)
    context = Context(loaded, settings.chosen("compositional", loaded.backbone.model_id), sequential=True)
    head = {
        "benchmark": "compositional",
        "backbone": loaded.facts,
        "data": {
            "folder": options.data.name,
            "functions": len(data.tools),
            "single": len(data.single),
            "composed": len(data.composed),
            "tests": {str(count): len(examples) for count, examples in data.tests.items()},
            "pairs": options.pairs,
            "limit": options.limit,
        },
        "seeds": list(range(options.seeds)),
    }
    trained = [count for count in data.tests if count in _TRAINED_COUNTS] or sorted(data.tests)[-1:]
    with ResultFile(options.out, head) as result:
        sweep = _Sweep(result, trained)
        methods: dict[str, CallLearner] = {name: METHODS[name] for name in options.methods}
        if options.ablations:
            methods |= {name: learn for name, learn in ABLATIONS.items() if name.split("-")[0] in methods}
        for seed in range(options.seeds):
            for name, learn in methods.items():
                _measure(name, learn, context, data, seed, options, trained, sweep, result)
            if options.rounds:
                _measure_rounds(context, data, seed, options, sweep)


def _measure(
    name: str,
    learn: CallLearner,
    context: Context,
    data: CallData,
    seed: int,
    options: CallOptions,
    trained: Sequence[int],
    sweep: _Sweep,
    result: ResultFile,
) -> None:
    """One method with one seed, on every test and in the conversation."""
    say(f"{name}, seed {seed}: learning {len(data.tools)} functions")
    turns = conversation(data, options.turns, seed) if data.chat else []
    answers: dict[int, list[Calls]] = {}
    seconds: dict[int, float] = {}
    talk: Metrics = {}
    with peak_memory(str(context.backbone.torch_device)) as peak:
        method = learn(context, data, seed)
        try:
            for count, examples in data.tests.items():
                answers[count], seconds[count] = _answer(method, examples)
                _say(
                    f"{count} call{'s' if count > 1 else ''}", score_calls(answers[count], [e.calls for e in examples])
                )
            if turns:
                got, query_seconds = _answer(method, turns)
                talk = {**score_conversation(got, [list(e.calls) for e in turns]), "query_seconds": query_seconds}
                _say(f"{len(turns)} turns", talk)
        finally:
            method.close()
    for count, examples in data.tests.items():
        sweep.add({"calls": count}, name, _run(method, answers[count], examples, seconds[count], peak))
        result.predict(
            {"method": name, "seed": seed, "query": e.query, "calls": [[c.tool, c.arguments] for c in calls]}
            for e, calls in zip(examples, answers[count], strict=True)
        )
    if talk:
        sweep.add({"turns": len(turns)}, name, Run(talk, settings=method.settings))
    together = [(e, calls) for count in trained for e, calls in zip(data.tests[count], answers[count], strict=True)]
    run = _run(method, [calls for _, calls in together], [e for e, _ in together], None, peak)
    _say(f"{' and '.join(map(str, trained))} calls", run.metrics)
    sweep.add({"calls": list(trained)}, name, run)


def _answer(method: CallMethod, examples: Sequence[CallExample]) -> tuple[list[Calls], float]:
    """Answers, and seconds a query."""
    began = time.perf_counter()
    answers = method.answer([example.query for example in examples])
    return answers, (time.perf_counter() - began) / len(examples)


def _run(
    method: CallMethod, answers: Sequence[Calls], examples: Sequence[CallExample], seconds: float | None, peak: Peak
) -> Run:
    metrics: Metrics = {
        **score_calls(answers, [example.calls for example in examples]),
        "trained_parameters": method.trained_parameters,
        "prompt_tokens": method.prompt_tokens,
        "train_seconds": method.seconds,
        "query_seconds": seconds,
        "peak_memory_mb": peak.mb,
    }
    per_function: dict[str, Metrics] = {}
    for name in dict.fromkeys(call.tool for example in examples for call in example.calls):
        got = [[call for call in calls if call.tool == name] for calls in answers]
        wanted = [[call for call in example.calls if call.tool == name] for example in examples]
        per_function[name] = score_calls(got, wanted)
    return Run(metrics, per_function, method.settings)


def _measure_rounds(context: Context, data: CallData, seed: int, options: CallOptions, sweep: _Sweep) -> None:
    """What becomes of the functions of the first round while others arrive."""
    assert options.rounds is not None
    rounds = rounds_of(data, options.rounds, seed)
    first = [e for e in data.tests.get(1, ()) if e.calls[0].tool in rounds[0].tools]
    for name, learn in ROUNDS.items():
        if name.removesuffix("-no-renormalisation") not in options.methods or not first:
            continue
        for place, method in enumerate(learn(context, rounds, seed), start=1):
            answers, seconds = _answer(method, first)
            run = _run(method, answers, first, seconds, Peak())
            _say(f"{name}, after round {place}, functions of round 1", run.metrics)
            sweep.add({"round": place, "rounds": len(rounds), "functions": "of round 1"}, name, run)


def _say(what: str, metrics: Metrics) -> None:
    shown = ("tool_f1", "argument_f1", "call_list_exact", "wrong_or_missing", "wrong_or_missing_high")
    say(f"  {what}: " + "  ".join(f"{key} {metrics[key]:.3f}" for key in shown if metrics.get(key) is not None))


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    return run_program(lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
