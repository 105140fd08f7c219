"""Values of closed sets are counted with choosers and without, on test messages and on pairs that were left out."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from benchmarks import closed_sets
from benchmarks.models import Loaded
from tokmem_desk.memory.memory import Memory
from trainer.config import TrainConfig

KINDS = {"green": ("leek", "bean", "kale"), "sweet": ("plum", "pear", "fig")}


@pytest.fixture
def sorted_goods(tmp_path: Path) -> Path:
    """Things whose kind stands in no message, a number that does."""
    rng = random.Random(0)
    pairs = []
    for number in range(36):
        kind = ("green", "sweet")[number % 2]
        thing, amount = rng.choice(KINDS[kind]), rng.randint(2, 99)
        pairs.append({"input": f"{amount} of {thing} {thing}", "response": f"{amount};{kind}"})
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "goods.json").write_text(json.dumps({"name": "goods", "train": pairs[:30], "test": pairs[30:]}))
    return folder


def test_choosers_are_counted_by_their_power_on_pairs_that_were_left_out(
    sorted_goods: Path, tmp_path: Path, loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closed_sets, "load", lambda _options: loaded)
    monkeypatch.setattr(closed_sets, "our_config", lambda *_: TrainConfig(span=3, epochs=1))
    used: list[float | None] = []
    answered = closed_sets._answered

    def noting(context: Any, memory: Memory, form: Any, procedure: Any) -> dict[str, Any]:
        kept = memory.answer_template
        assert kept is not None
        used.append(kept.choosers[0].power if kept.choosers else None)
        return answered(context, memory, form, procedure)

    monkeypatch.setattr(closed_sets, "_answered", noting)
    asked = ["--data", str(sorted_goods), "--out", str(tmp_path / "sets.json")]
    assert closed_sets.main(asked) == 0
    document = json.loads((tmp_path / "sets.json").read_text())
    row = document["procedures"]["goods"]
    assert row["choosers"] == 1 and row["of"] == 6 and not document["left_out"]
    assert list(document["halves"]["chooses"]) == ["procedures", "of", "with", "without"]
    assert closed_sets.main([*asked, "--left-out", "--powers", "1,16"]) == 0
    document = json.loads((tmp_path / "sets.json").read_text())
    row, sums = document["procedures"]["goods"], document["halves"]["chooses"]
    assert row["of"] == 10 and document["left_out"], "a third of the thirty pairs"
    assert list(sums)[2:] == ["without", "power 1", "power 16"]
    assert used == [2.0, None, None, 1.0, 16.0], "with and without; then without and by each power"
