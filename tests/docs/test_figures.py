"""The figures on the README's first screen are those of the results that it links to."""

from __future__ import annotations

import json

from tests.cli.conftest import ROOT

README = (ROOT / "README.md").read_text("utf-8")
RESULTS = ROOT / "benchmarks" / "results"


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
        f"are {ours['exact_match']:.0%} ({prompt['exact_match']:.0%}, {lora['exact_match']:.0%})".replace("%", " %"),
    ):
        assert text in README, text
    assert ours["false_trigger_rate"] == 0


def test_speed():
    speed = json.loads((RESULTS / "speed.json").read_text("utf-8"))
    first, device = speed["first_token"], speed["device"]
    assert f"To the first word {first['routed_seconds']:.2f} s, of which {first['route_seconds']:.3f} s is" in README
    chat, training = device["memory_mb"] / 1000, device["training_peak_mb"] / 1000
    assert f"{chat:.1f} GB of memory in chat, {training:.1f} GB while training" in README
