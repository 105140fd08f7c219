"""Plans over functions, to the list of calls that they end with: by depth, with conditions, values handed on.

The folder is one of ``compositional``. Plans are made by program: the first step answers a held-out query, and each
further one a held-out query in which one value is that of the step before; a condition over that step's values decides
between two such steps. One entry of the sweep per depth (procedures that answer), one for all, last. ``ours`` learns
single queries alone and lets the program decide; the other methods see the plan's text and the message, and learn from
such pairs. ``half`` 0 are the plans that settings may be chosen on, 1 those that are looked at.
"""

from __future__ import annotations

import argparse
import itertools
import random
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import settings
from benchmarks.calls import METHODS
from benchmarks.calls.base import CallMethod, arguments_text, parse_arguments
from benchmarks.calls.data import Call, CallData, CallExample, load_calls
from benchmarks.calls.ours import Ours
from benchmarks.calls.scores import normalised, score_calls
from benchmarks.methods import Context
from benchmarks.models import load
from benchmarks.options import Options, add_method_options, make_parser, numbers, positive, run_program, say
from benchmarks.peaks import peak_memory
from benchmarks.result import Metrics, ResultFile, Run
from tokmem_desk.generation.recall import Answer, recall
from tokmem_desk.plans.walk import Call as Next
from tokmem_desk.plans.walk import Checked, Finished, PlanTask, StepAnswer, walk

DEPTHS = (1, 2, 3, 4, 5)
TODAY = "2026-11-30"
_PLAIN = re.compile(r"[\w' .-]{2,40}")
_TAUGHT_PLANS = 60
"""Plans that the other methods learn from, made of training queries."""


@dataclass(frozen=True, slots=True)
class PlanOptions(Options):
    """What only this benchmark asks for.

    Attributes:
        plans: of each depth.
        depths: those of this part of a run; ``benchmarks.merge`` joins parts.
    """

    plans: int = 40
    depths: tuple[int, ...] = DEPTHS


@dataclass(frozen=True, slots=True)
class PlanExample:
    """A plan, a message, and what is right.

    Attributes:
        steps: the plan's text.
        message: what the plan is asked.
        calls: the calls of the steps that are to be done, in order.
        taken: what each condition that is met comes to.
        half: 0 or 1.
    """

    steps: str
    message: str
    calls: tuple[Call, ...]
    taken: tuple[bool, ...]
    half: int

    @property
    def query(self) -> str:
        """What a method gets that reads plans."""
        return f"{self.steps}\n\n{self.message}"


def make_plans(examples: Sequence[CallExample], depth: int, count: int, seed: int) -> list[PlanExample]:
    """Plans of one depth over single queries with their calls."""
    rng = random.Random(f"plans/{depth}/{seed}")
    usable = [example for example in examples if _slots(example)]
    return [_plan(rng, usable, depth, place % 2) for place in range(count)]


def _plan(rng: random.Random, usable: Sequence[CallExample], depth: int, half: int) -> PlanExample:
    first = rng.choice(usable)
    lines = [f"s1 = {_name(first.calls[0])}: {{message}}"]
    calls, taken = [first.calls[0]], []
    for level in range(2, depth + 1):
        before = calls[-1]
        slot = rng.choice(_slots_of(before))
        test, holds = _condition(rng, before, level - 1)
        options = [_handed(rng, rng.choice(usable), str(before.arguments[slot]), f"{{s{level - 1}.{slot}}}")
                   for _ in range(2)]  # fmt: skip
        (yes, when_yes), (no, when_no) = options
        lines += [
            f"if {test}", f"  s{level} = {_name(when_yes)}: {yes}", "else", f"  s{level} = {_name(when_no)}: {no}",
        ]  # fmt: skip
        calls.append(when_yes if holds else when_no)
        taken.append(holds)
    return PlanExample("\n".join(lines), first.query, tuple(calls), tuple(taken), half)


def _condition(rng: random.Random, call: Call, level: int) -> tuple[str, bool]:
    """A condition over a call's values, and whether it holds; one in two does."""
    holds = rng.random() < 0.5
    numbers = [slot for slot in _slots_of(call) if str(call.arguments[slot]).isdecimal()]
    if numbers:
        slot = rng.choice(numbers)
        number, operator = int(call.arguments[slot]), rng.choice(("<", ">="))
        above = holds == (operator == "<")
        bound = number + rng.randint(1, 5) if above else number - rng.randint(0, 2)
        return f"{{s{level}.{slot}}} {operator} {bound}", number < bound if operator == "<" else number >= bound
    slot = rng.choice(_slots_of(call))
    others: list[str] = rng.sample(("tomorrow", "nearby", "jazz", "a song", "five stars", "Bern"), 2)
    value = str(call.arguments[slot])
    if rng.random() < 0.5:
        listed = rng.sample([value, *others] if holds else others, 2 + holds)
        return f"{{s{level}.{slot}}} in {', '.join(listed)}", holds
    wanted = value if holds else others[0]
    return f"{{s{level}.{slot}}} = {wanted}", holds


def _handed(rng: random.Random, example: CallExample, value: str, reference: str) -> tuple[str, Call]:
    """A query in which one value is another one, as a step's text, and its call."""
    [call] = example.calls
    slot = rng.choice(_slots(example))
    text = example.query.replace(str(call.arguments[slot]), reference, 1)
    return text, Call(call.tool, {**call.arguments, slot: value})


def _slots_of(call: Call) -> list[str]:
    """The slots of a call whose values are plain texts."""
    return [
        slot for slot, value in call.arguments.items()
        if isinstance(value, str) and _PLAIN.fullmatch(value) and value.strip() == value
    ]  # fmt: skip


def _slots(example: CallExample) -> list[str]:
    """Those of a query in which each stands once, in a text that has no braces."""
    if len(example.calls) != 1 or re.search(r"[{}\n]", example.query):
        return []
    found = _slots_of(example.calls[0])
    return [slot for slot in found if example.query.count(str(example.calls[0].arguments[slot])) == 1]


def _name(call: Call) -> str:
    return call.tool.lower()


class Planned:
    """Memories that answer, and the program that decides."""

    def __init__(self, method: Ours, tools: Sequence[str]) -> None:
        self.method = method
        self._tools = {tool.lower(): tool for tool in tools}

    def do(self, example: PlanExample) -> tuple[list[Call], list[bool]]:
        """The calls of a plan, and what its conditions came to."""
        task = PlanTask("plan", example.message, {"plan": example.steps}, TODAY)
        answers: dict[str, StepAnswer] = {}
        calls: list[Call] = []
        while True:
            events = walk(task, answers)
            last = events[-1]
            if isinstance(last, Finished) or not isinstance(last, Next):
                return calls, [event.taken for event in events if isinstance(event, Checked)]
            tool = self._tools[last.procedure]
            arguments = self._answer(tool, last.text)
            calls.append(Call(tool, arguments))
            answers[last.place] = StepAnswer(arguments_text(calls[-1]), arguments)

    def _answer(self, tool: str, text: str) -> dict[str, Any]:
        longest = 2 * len(self.method.backbone.format.query(text))
        steps = recall(self.method.backbone, self.method.bank, text, route=tool, max_tokens=longest)
        [answer] = [event for event in steps if isinstance(event, Answer)]
        return parse_arguments(answer.response)


def measure_plans(
    got: Sequence[Sequence[Call]], taken: Sequence[Sequence[bool]] | None, examples: Sequence[PlanExample]
) -> Metrics:
    """How right the calls of plans are.

    ``steps_exact``: the functions, in order. ``call_list_exact``: with all values. ``branches_right``: of the
    conditions that are to be met, those that came to what is right; only where a program decides.
    """
    wanted = [example.calls for example in examples]
    exact = [[call.tool for call in g] == [call.tool for call in w] for g, w in zip(got, wanted, strict=True)]
    scores: Metrics = {**score_calls(got, wanted), "steps_exact": sum(exact) / len(exact)}
    conditions = sum(len(example.taken) for example in examples)
    if taken is not None and conditions:
        pairs = ((g, w) for one, example in zip(taken, examples, strict=True)
                 for g, w in itertools.zip_longest(one[: len(example.taken)], example.taken))  # fmt: skip
        scores["branches_right"] = sum(g == w for g, w in pairs) / conditions
        scores["branches_right_given_value"] = _given_value(got, taken, examples)
    return scores


def _given_value(
    got: Sequence[Sequence[Call]], taken: Sequence[Sequence[bool]], examples: Sequence[PlanExample]
) -> float:
    """Of the conditions whose step was answered right, those that came to what is right: the program's own share."""
    right = total = 0
    for calls, decided, example in zip(got, taken, examples, strict=True):
        for place, wanted in enumerate(example.taken):
            if place < len(calls) and _same(calls[place], example.calls[place]):
                total += 1
                right += place < len(decided) and decided[place] == wanted
    return right / total if total else 1.0


def _same(a: Call, b: Call) -> bool:
    def form(call: Call) -> tuple[str, dict[str, str]]:
        return call.tool, {slot: normalised(value) for slot, value in call.arguments.items()}

    return form(a) == form(b)


def parse(arguments: Sequence[str] | None) -> PlanOptions:
    """Read the command line."""
    parser = make_parser("plans", __doc__)
    add_method_options(parser, ["icl", "lora", "ours"])
    parser.add_argument("--plans", type=positive, default=40, metavar="N", help="plans of each depth")
    parser.add_argument("--depths", type=_depths, default=DEPTHS, metavar="N[,N]", help="default: 1,2,3,4,5")
    parser.add_argument("--chat", type=Path, help="taken by the data, of no use here")
    fields = vars(parser.parse_args(arguments))
    fields.pop("chat")
    return PlanOptions(**fields)


def _depths(text: str) -> tuple[int, ...]:
    found = numbers(text)
    if not found or not set(found) <= set(DEPTHS):
        raise argparse.ArgumentTypeError(f"{text} has other depths than {DEPTHS[0]} to {DEPTHS[-1]}")
    return tuple(sorted(set(found)))


def run(options: PlanOptions) -> None:
    """Run all depths and write the result.

    Raises:
        TokmemError: the data or the model cannot be used.
    """
    data = load_calls(options.data, None, pairs=options.pairs, limit=options.limit)
    loaded = load(options)
    context = Context(loaded, settings.chosen("compositional", loaded.backbone.model_id), sequential=True)
    head = {
        "benchmark": "plans",
        "backbone": loaded.facts,
        "data": {"folder": options.data.name, "functions": len(data.tools), "plans": options.plans,
                 "pairs": options.pairs, "single": len(data.single)},
        "seeds": list(range(options.seeds)),
    }  # fmt: skip
    entries: list[tuple[dict[str, Any], dict[str, list[Run]]]] = []
    with ResultFile(options.out, head) as result:
        for seed in range(options.seeds):
            tests = {depth: make_plans(data.tests[1], depth, options.plans, seed) for depth in options.depths}
            for name in options.methods:
                for setting, scored in _measure(name, context, data, tests, seed):
                    known = next((runs for one, runs in entries if one == setting), None)
                    if known is None:
                        known = {}
                        entries.append((setting, known))
                    known.setdefault(name, []).append(scored)
                for entry in entries:
                    result.add(*entry)


def _measure(
    name: str, context: Context, data: CallData, tests: dict[int, list[PlanExample]], seed: int
) -> Iterator[tuple[dict[str, Any], Run]]:
    """One method: runs by setting, those of each depth and half, and all of the half that is looked at last."""
    taught = [make_plans(data.single, depth, _TAUGHT_PLANS // len(DEPTHS), seed + 1) for depth in DEPTHS]
    composed = tuple(CallExample(plan.query, plan.calls) for some in taught for plan in some)
    learned = data if name == "ours" else CallData(
        data.tools, data.parameters, data.single, composed, data.tests, data.chat
    )  # fmt: skip
    say(f"{name}, seed {seed}: learning {len(data.tools)} functions")
    with peak_memory(str(context.backbone.torch_device)) as peak:
        method = METHODS[name](context, learned, seed)
        try:
            answered: list[tuple[int, PlanExample, list[Call], list[bool] | None]] = []
            began = time.perf_counter()
            for depth, plans in tests.items():
                answered += [(depth, *one) for one in _answers(method, data, plans)]
                say(f"  depth {depth}: {_words([one for one in answered if one[0] == depth])}")
            seconds = (time.perf_counter() - began) / len(answered)
        finally:
            method.close()
    parts: list[tuple[dict[str, Any], list[Any]]] = [
        ({"depth": depth, "half": half}, [one for one in answered if one[0] == depth and one[1].half == half])
        for depth in tests for half in (0, 1)
    ]  # fmt: skip
    if set(tests) == set(DEPTHS):
        parts += [({"depth": "all", "half": half}, [one for one in answered if one[1].half == half]) for half in (0, 1)]
    for setting, some in parts:
        if some:
            costs: Metrics = {"train_seconds": method.seconds, "query_seconds": seconds, "peak_memory_mb": peak.mb,
                              "prompt_tokens": method.prompt_tokens}  # fmt: skip
            yield setting, Run({**_scores(some), **costs}, settings=method.settings)


def _answers(
    method: CallMethod, data: CallData, plans: Sequence[PlanExample]
) -> list[tuple[PlanExample, list[Call], list[bool] | None]]:
    if isinstance(method, Ours):
        planned = Planned(method, list(data.tools))
        return [(plan, *planned.do(plan)) for plan in plans]
    answers = method.answer([plan.query for plan in plans])
    return [(plan, list(calls), None) for plan, calls in zip(plans, answers, strict=True)]


def _scores(some: Sequence[tuple[int, PlanExample, list[Call], list[bool] | None]]) -> Metrics:
    decided = [one[3] for one in some if one[3] is not None]
    return measure_plans([one[2] for one in some], decided or None, [one[1] for one in some])


def _words(some: Sequence[tuple[int, PlanExample, list[Call], list[bool] | None]]) -> str:
    return "  ".join(f"{key} {value:.3f}" for key, value in _scores(some).items() if isinstance(value, float))


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    return run_program(lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
