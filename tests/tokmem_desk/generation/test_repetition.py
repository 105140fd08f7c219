"""An answer that is an earlier one over again: found while it grows, before anything of it is shown."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import torch

from tests.tokmem_desk.generation.test_recall import collect, token_bank
from tokmem_desk.backbone.chat_format import Turn
from tokmem_desk.generation import segment as answering
from tokmem_desk.generation.decoding import Chooser, Sampling, own_sampling
from tokmem_desk.generation.recall import Answer, recall
from tokmem_desk.generation.repetition import SURE_LETTERS, RepetitionWatch, answers_to_other_questions

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

MORNING = "To translate 'Good Morning' into German, you would say 'Guten Morgen'. It is used until about noon."


def watched(answer: str, earlier: list[str]) -> tuple[RepetitionWatch, str, int]:
    """Feed an answer word by word; returns the watch, what it let through, and after how many letters it knew."""
    watch, shown, used = RepetitionWatch(earlier), "", 0
    for word in answer.split(" "):
        piece = word if not used else f" {word}"
        used += len(piece)
        shown += watch.add(piece)
        if watch.found:
            return watch, shown, used
    watch.end()
    return watch, shown + ("" if watch.found else watch.release()), used


@pytest.mark.parametrize(
    "answer",
    [
        MORNING,
        MORNING.replace("German", "French"),
        MORNING.replace("'", '"').upper(),
        "To translate “Good  Morning” to German you would say Guten Morgen!",
        MORNING[:70] + " and something else altogether",
    ],
)
def test_the_same_again_is_found_before_anything_is_shown(answer: str) -> None:
    watch, shown, used = watched(answer, ["Something else was said first.", MORNING])
    assert watch.found and shown == ""
    assert used <= 2 * SURE_LETTERS


@pytest.mark.parametrize(
    ("answer", "earlier"),
    [
        ("The capital of Sweden is Stockholm.", ["The capital of Norway is Oslo, a city at the sea."]),
        ("The capital of Sweden is Stockholm.", [MORNING]),
        ("Yes.", ["Yes."]),
        ("Oslo", ["Oslo"]),
        ("To translate a book takes a year, and longer where it is verse.", [MORNING]),
        ("", [MORNING]),
        ("42", []),
        ("😀 …", ["😀 …"]),
    ],
)
def test_other_answers_pass_whole(answer: str, earlier: list[str]) -> None:
    watch, shown, _ = watched(answer, earlier)
    assert not watch.found and shown == answer


def test_a_short_whole_answer_said_again_is_found_at_its_end() -> None:
    watch, shown, _ = watched("In Norwegian: hei på deg", ["In Norwegian: hei på deg"])
    assert watch.found and shown == ""


def test_a_question_asked_again_may_have_its_answer_again() -> None:
    said = [("What is the capital of Norway?", "Oslo it is."), ("And of Sweden?", "Stockholm it is.")]
    assert answers_to_other_questions(said, "what is the capital of norway") == ["Stockholm it is."]
    assert answers_to_other_questions(said, "Who are you?") == ["Oslo it is.", "Stockholm it is."]


def test_a_repeated_answer_is_given_without_the_history(
    tiny_backbone: Callable[..., Backbone], monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = tiny_backbone("llama")
    bank = token_bank(backbone, ["one"], None, "hello")
    history = [Turn("system", "Be kind."), Turn("user", "first question"), Turn("assistant", "first answer")]

    def told(turns: list[Turn], *, shuns: bool) -> tuple[str, Answer]:
        _, streamed, answer = collect(
            recall(backbone, bank, "hello", route="none", conversation=turns, max_tokens=40, shuns_repeats=shuns)
        )
        assert answer.response.strip() == streamed.strip()
        return streamed, answer

    with_history, _ = told(history, shuns=False)
    alone, plain = told(history[:1], shuns=False)
    assert with_history != alone
    same, answer = told(history, shuns=True)
    assert same == with_history and not answer.without_history, "nothing repeats here"
    monkeypatch.setattr(answering, "answers_to_other_questions", lambda said, question: [with_history + " and more"])
    monkeypatch.setattr(
        "tokmem_desk.generation.repetition.letters_of", lambda text: text
    )  # a tiny model says few letters
    fresh, answer = told(history, shuns=True)
    assert fresh == alone and answer.without_history
    assert answer.timing.tokens == plain.timing.tokens and answer.prompt_tokens == plain.prompt_tokens
    assert answer.turns_cut == 0


def test_a_model_that_brings_its_own_sampling() -> None:
    qwen = SimpleNamespace(do_sample=True, temperature=0.7, top_p=0.8, top_k=20, repetition_penalty=1.1)
    assert own_sampling(qwen, 3) == Sampling(0.7, 0.8, 3, 20, 0.0, 1.1)
    assert own_sampling(SimpleNamespace(do_sample=False, temperature=0.7)) is None
    assert own_sampling(None) is None
    odd = SimpleNamespace(do_sample=True, temperature=float("nan"), top_p="x", top_k=-3, min_p=True)
    assert own_sampling(odd) == Sampling(1.0, 1.0, None)


def test_top_k_min_p_and_the_penalty_shape_the_draw() -> None:
    logits = torch.tensor([3.0, 2.9, 2.8, -1.0])

    def drawn(sampling: Sampling, before: tuple[int, ...] = ()) -> set[int]:
        chooser = Chooser(sampling, greedy=False)
        return {chooser.pick(logits, before) for _ in range(200)}

    assert drawn(Sampling(1.0, 1.0, 1, top_k=2)) == {0, 1}
    assert drawn(Sampling(1.0, 1.0, 1, min_p=0.5)) == {0, 1, 2}
    assert drawn(Sampling(1.0, 1.0, 1, top_k=1, repetition_penalty=2.0), (0, 1)) == {2}
    assert logits.tolist() == pytest.approx([3.0, 2.9, 2.8, -1.0]), "the caller's logits stay as they are"
