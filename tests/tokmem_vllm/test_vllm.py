"""The connector in vLLM itself. It runs where vLLM is installed: see docs/scale.md for that environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed; it wants an environment of its own")

from tests.tokmem_vllm import small_model
from tokmem_vllm.bank_service import put_memory
from tokmem_vllm.offline import Vllm
from tokmem_vllm.prompts import answering_prompt, answering_wish, reading_wish
from tokmem_vllm.wishes import reader_of

TOKENS = 12
SHORT, LONG = [5, 60, 61, 62, 63, 7, 8, 9, 70, 71], [5, *range(20, 110)]


class House:
    """An engine, people and their memories."""

    def __init__(self, folder: Path) -> None:
        self.model = small_model.save(folder / "model")
        self.banks = folder / "banks"
        self.memories = {
            (person, put_memory(str(self.banks), person, small_model.file_of(one))): one
            for person, seeds in {"anna": (0, 1), "ben": (2, 3)}.items()
            for one in map(small_model.memory, seeds)
        }
        # Few blocks: many answers at once do not fit, and some are pre-empted.
        self.engine = Vllm(folder / "model", self.banks, block_size=32, num_gpu_blocks_override=24)

    def questions(self) -> list[tuple[str, str, list[int]]]:
        return [(person, digest, ids) for person, digest in self.memories for ids in (SHORT, LONG)]

    def right(self, question: tuple[str, str, list[int]]) -> list[int]:
        person, digest, ids = question
        return small_model.expected(self.model, ids, self.memories[person, digest], TOKENS)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    return House(tmp_path_factory.mktemp("vllm"))


def test_each_answer_of_one_batch_is_that_of_its_own_memory(house: House) -> None:
    questions = house.questions()
    answers = house.engine.answer(questions, [], TOKENS)
    assert answers == [house.right(question) for question in questions]
    assert len({tuple(answer) for answer in answers}) == len(answers)


def test_an_answer_comes_again_from_the_prefix_cache(house: House) -> None:
    question = house.questions()[1]
    first, second = (house.engine.answer([question], [], TOKENS) for _ in range(2))
    assert first == second == [house.right(question)]


def test_answers_that_lost_their_place_come_back_under_their_own_memory(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vllm.v1.core.sched.scheduler import Scheduler

    lost: list[str] = []
    preempt = Scheduler._preempt_request

    def counted(self: Scheduler, request: Any, *rest: Any, **more: Any) -> None:
        lost.append(request.request_id)
        preempt(self, request, *rest, **more)

    monkeypatch.setattr(Scheduler, "_preempt_request", counted)
    questions = house.questions() * 4
    answers = house.engine.answer(questions, [], 60)
    assert lost
    for question, answer in zip(questions, answers, strict=True):
        assert answer[:TOKENS] == house.right(question)


def test_plain_requests_beside_answers_are_what_they_were(house: House) -> None:
    def plain() -> list[list[int]]:
        return [list(one.outputs[0].token_ids) for one in house.engine.plain([SHORT, LONG], [8, 8])]

    before = plain()
    house.engine.answer(house.questions(), [], TOKENS)
    assert plain() == before


def _failed(output: Any) -> bool:
    return output.outputs[0].finish_reason == "error" or not output.outputs[0].token_ids


def test_a_request_that_cannot_be_served_fails_alone(house: House) -> None:
    engine, (question, *_) = house.engine, house.questions()
    person, digest, ids = question
    engine.read([question])
    memory = house.memories[person, digest]
    good = answering_wish(person, ids, digest, memory)
    prompt = answering_prompt(engine._facts, ids, memory)
    others = answering_wish("ben", ids, digest, memory)
    never = answering_wish(person, [9, 9, 9], digest, memory)
    gone = answering_wish(person, ids, "0" * 64, memory)
    asked = [
        (good.salt, good.as_params()),
        (others.salt, others.as_params()),  # ben asks under anna's memory
        (never.salt, never.as_params()),  # a message that nobody has read
        (gone.salt, gone.as_params()),  # a memory that is not there
        ("of somebody else", good.as_params()),  # blocks that would be shared
        (good.salt, {"tokmem": {"person": "../anna"}}),
        (good.salt, {"tokmem": "anna"}),
    ]
    outputs = engine.llm.generate(
        [{"prompt_embeds": prompt, "cache_salt": salt} for salt, _ in asked],
        [engine._settings([], TOKENS, extra_args={"kv_transfer_params": params}) for _, params in asked],
        use_tqdm=False,
    )
    assert [_failed(output) for output in outputs] == [False] + [True] * 6
    assert list(outputs[0].outputs[0].token_ids) == house.right(question)
    assert engine.answer([question], [], TOKENS) == [house.right(question)]


def test_a_prompt_of_words_is_no_answer(house: House) -> None:
    engine, (question, *_) = house.engine, house.questions()
    person, digest, ids = question
    wish = answering_wish(person, ids, digest, house.memories[person, digest])
    (output,) = engine.llm.generate(
        [{"prompt_token_ids": ids, "cache_salt": wish.salt}],
        [engine._settings([], 2, extra_args={"kv_transfer_params": wish.as_params()})],
        use_tqdm=False,
    )
    assert _failed(output)


def test_reading_is_an_ordinary_request(house: House) -> None:
    engine = house.engine
    wish = reading_wish("anna", LONG)
    read, plain = (
        engine.llm.generate([{"prompt_token_ids": LONG}], [engine._settings([], 4, **more)], use_tqdm=False)[0]
        for more in ({"extra_args": {"kv_transfer_params": wish.as_params()}}, {})
    )
    assert list(read.outputs[0].token_ids) == list(plain.outputs[0].token_ids)
    assert reader_of(read.kv_transfer_params) == small_model.PRINT.digest, "which model has read it"
    assert plain.kv_transfer_params is None
