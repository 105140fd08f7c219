"""The figures of the README and of the page of results are those of the files that they link to."""

from __future__ import annotations

import json

from tests.cli.conftest import ROOT

README = (ROOT / "README.md").read_text("utf-8")
RESULTS = ROOT / "benchmarks" / "results"
PAGE = (ROOT / "docs" / "results.md").read_text("utf-8")


def methods_of(name: str) -> dict[str, dict[str, float]]:
    """The metrics of each method in a file of results."""
    methods = json.loads((RESULTS / f"{name}.json").read_text("utf-8"))["methods"]
    return {method: made["metrics"] for method, made in methods.items()}


def thousandths(value: float) -> str:
    """As the pages write shares: ``.788``."""
    return f"{value:.3f}".removeprefix("0")


def test_beside_the_prompt():
    methods = json.loads((RESULTS / "personal.json").read_text("utf-8"))["methods"]
    ours, prompt, lora = (methods[name]["metrics"] for name in ("ours", "icl", "lora"))
    # Seconds compare within one run only.
    timed = json.loads((RESULTS / "personal-time.json").read_text("utf-8"))
    seconds = {
        name: method["metrics"]["train_seconds"] / len(method["per_procedure"])
        for name, method in timed["methods"].items()
    }
    for text in (
        f"| **{ours['rouge_l']:.2f}** | {prompt['rouge_l']:.2f} | {lora['rouge_l']:.2f} |".replace("0.", "."),
        f"| **{ours['form_valid']:.0%}** | {prompt['form_valid']:.0%} | {lora['form_valid']:.0%} |".replace("%", " %"),
        f"| **{ours['prompt_tokens']:.0f}** | {prompt['prompt_tokens']:.0f} | 0 |",
        f"| **{seconds['ours']:.0f}** | 0 | {seconds['lora']:.0f} |",
        f"| {ours['known_recall']:.0%}, no false alarm".replace("%", " %"),
        (
            f"answers {ours['exact_match']:.0%} are right to the letter "
            f"(pairs in the prompt: {prompt['exact_match']:.0%}, LoRA: {lora['exact_match']:.0%})"
        ).replace("%", " %"),
    ):
        assert text in README, text
    assert ours["false_trigger_rate"] == 0


def test_speed():
    speed = json.loads((RESULTS / "speed.json").read_text("utf-8"))
    first, device = speed["first_token"], speed["device"]
    routing = f"{first['route_seconds']:.3f} s of it"
    assert f"The first word comes after {first['routed_seconds']:.2f} s; routing takes {routing}." in README
    chat, training = device["memory_mb"] / 1000, device["training_peak_mb"] / 1000
    assert f"{chat:.1f} GB of RAM in chat, {training:.1f} GB while\ntraining" in README


def test_page_of_results_personal_procedures():
    for name, made in methods_of("personal").items():
        if name not in {"ours", "lora", "rag", "icl"}:
            continue
        routed = made.get("e2e_rouge_l")
        row = (
            f"(`{name}`) | {thousandths(made['rouge_l'])} | {made['exact_match']:.0%} | {made['form_valid']:.0%} | "
            f"{'cannot route' if routed is None else thousandths(routed)} | {made['prompt_tokens']:.0f} |"
        ).replace("%", " %")
        assert row in PAGE, row
    gemma = {name: thousandths(made["rouge_l"]) for name, made in methods_of("personal-gemma").items()}
    assert f"memory {gemma['ours']}, LoRA {gemma['lora']}, pairs in the prompt {gemma['icl']}" in PAGE


def test_page_of_results_forms_of_both_halves():
    now, before = (
        {source["source"]: source for source in json.loads((RESULTS / f"{name}.json").read_text("utf-8"))["sources"]}
        for name in ("forms-halves", "forms-halves-before")
    )
    for folder, name in (("procedures", "twenty of our own"), ("personal", "fifteen visible")):
        for half, shown in (("chooses", "chose"), ("looked at", "looked at")):
            new, old = now[f"{folder}, {half}"], before[f"{folder}, {half}"]
            fixed = f"{thousandths(old['fixed'])} | {thousandths(new['fixed'])}"
            row = f"| {name} | {shown} | {new['accepted']:.0%} | {fixed} | {old['bits']:.1f} | {new['bits']:.1f} |"
            assert row.replace("%", " %") in PAGE, row


def test_page_of_results_many_tasks():
    ten, forty = methods_of("atomic"), methods_of("atomic-40")
    for count, made, lora in (
        (10, ten, f"{thousandths(ten['lora']['rouge_l'])} (route given)"),
        (40, forty, "not run"),
    ):
        figures = " | ".join(thousandths(made[name]["e2e_rouge_l"]) for name in ("ours", "rag", "tokmem"))
        assert f"| {count} | {figures} | {lora} |" in PAGE


def test_page_of_results_routing():
    sweep = json.loads((RESULTS / "routing.json").read_text("utf-8"))["sweep"]
    methods = next(entry["methods"] for entry in sweep if entry["setting"].get("shots") == 20)
    keys = ("routing_accuracy", "none_auroc", "known_recall", "false_trigger_rate", "chat_false_trigger_rate")
    for name in ("ours", "minilm-discriminant", "minilm-nearest", "token"):
        row = " | ".join(thousandths(methods[name]["metrics"][key]) for key in keys)
        assert f"| {row} |" in PAGE, name


def test_page_of_results_several_requests():
    sweep = json.loads((RESULTS / "compositional.json").read_text("utf-8"))["sweep"]
    for entry in sweep:
        if "calls" in entry["setting"] and entry["setting"]["calls"] in (1, 4, [2, 3]):
            ours, lora = (entry["methods"][name]["metrics"] for name in ("ours", "lora"))
            figures = " | ".join(thousandths(ours[key]) for key in ("tool_f1", "argument_f1"))
            others = " | ".join(thousandths(lora[key]) for key in ("tool_f1", "argument_f1"))
            assert f"| {figures} | " in PAGE
            assert f" | {others} |" in PAGE
