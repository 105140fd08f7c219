"""Baseline routers: right on clear cases, unsure where nothing is near."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.routers import Scorer, calibrate, discriminant, nearest, tfidf

pytest.importorskip("sklearn")

NAMES = ["apples", "pears", "plums"]
SHOTS = 10


def _clusters(seed: int, each: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    rng = np.random.default_rng(seed)
    centres = np.eye(3, 8)
    points = np.repeat(centres, each, axis=0) + 0.1 * rng.normal(size=(3 * each, 8))
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("scorer", [nearest, discriminant])
def test_vectors_are_told_apart_and_strangers_are_none(scorer: Scorer) -> None:
    labels = np.repeat(np.arange(3), SHOTS)
    rng = np.random.default_rng(9)
    strangers = rng.normal(size=(60, 8)) * np.array([0, 0, 0, 1, 1, 1, 1, 1])
    strangers = (strangers / np.linalg.norm(strangers, axis=1, keepdims=True)).astype(np.float32)
    router = calibrate(scorer, _clusters(0, SHOTS), labels, NAMES, strangers[:40])
    ranked = router.rank(_clusters(1, 4))
    assert [r[0][0] for r in ranked] == [name for name in NAMES for _ in range(4)]
    assert all(sum(p for _, p in r) == pytest.approx(1) for r in ranked)
    assert all(r[0][0] == "none" for r in router.rank(strangers[40:]))


def test_words_are_told_apart() -> None:
    texts = np.array([f"{word} {i} please" for word in ("apple", "pear", "plum") for i in range(SHOTS)], dtype=object)
    chat = np.array([f"hello there {i}" for i in range(20)], dtype=object)
    router = calibrate(tfidf, texts, np.repeat(np.arange(3), SHOTS), NAMES, chat)
    assert [r[0][0] for r in router.rank(np.array(["a pear", "an apple"], dtype=object))] == ["pears", "apples"]


@pytest.mark.parametrize("scorer", [nearest, discriminant])
def test_one_route_with_one_text_works(scorer: Scorer) -> None:
    vectors = _clusters(0, 1)
    router = calibrate(scorer, vectors[:1], np.array([0]), NAMES[:1], vectors[1:])
    assert {name for name, _ in router.rank(vectors[:1])[0]} == {"apples", "none"}
