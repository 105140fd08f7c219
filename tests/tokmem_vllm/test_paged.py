"""Blocks whose layout nobody told: found by writing into them, read and changed token by token."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tokmem_desk.errors import IncompatibleError
from tokmem_vllm.paged import Places

HEADS, BLOCK, SIZE = 2, 8, 6
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def packed(keys: Tensor, values: Tensor, cache: Tensor, slots: Tensor) -> None:
    """Keys transposed in groups of four tokens, values row by row behind all keys."""
    flat = cache.view(cache.shape[0], HEADS, -1)
    for token, slot in enumerate(slots.tolist()):
        block, place = divmod(slot, BLOCK)
        group, inner = divmod(place, 4)
        for column in range(SIZE):
            flat[block, :, group * 4 * SIZE + column * 4 + inner] = keys[token, :, column]
            flat[block, :, BLOCK * SIZE + place * SIZE + column] = values[token, :, column]


def beside(keys: Tensor, values: Tensor, cache: Tensor, slots: Tensor) -> None:
    """Each token's key and value side by side."""
    for token, slot in enumerate(slots.tolist()):
        cache[slot // BLOCK, :, slot % BLOCK] = torch.cat([keys[token], values[token]], dim=-1)


def cache_of(blocks: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.zeros(blocks, HEADS, BLOCK, 2 * SIZE, dtype=dtype)


@pytest.mark.parametrize("write", [packed, beside])
@pytest.mark.parametrize("dtype", DTYPES)
def test_tokens_are_found_where_the_backend_put_them(write, dtype) -> None:
    places = Places.found_by(write, cache_of(2, dtype), SIZE)
    cache = cache_of(5, dtype)
    keys, values = (torch.randn(13, HEADS, SIZE).to(dtype) for _ in range(2))
    blocks = torch.tensor([3, 1])
    slots = torch.tensor([int(blocks[t // BLOCK]) * BLOCK + t % BLOCK for t in range(13)])
    write(keys, values, cache, slots)
    found_keys, found_values = places.read(cache, blocks, 13)
    assert torch.equal(found_keys, keys.transpose(0, 1))
    assert torch.equal(found_values, values.transpose(0, 1))


@pytest.mark.parametrize("write", [packed, beside])
def test_what_is_written_is_what_the_backend_would_have_written(write) -> None:
    places = Places.found_by(write, cache_of(2), SIZE)
    cache, backends = cache_of(4), cache_of(4)
    keys, values = (torch.randn(11, HEADS, SIZE) for _ in range(2))
    slots = torch.tensor([(2 if t < BLOCK else 0) * BLOCK + t % BLOCK for t in range(3, 14)])
    write(keys, values, backends, slots)
    places.write(cache, torch.tensor([2, 0]), 3, keys.transpose(0, 1), values.transpose(0, 1))
    assert torch.equal(cache, backends)


def test_tokens_in_front_and_other_blocks_stay() -> None:
    places = Places.found_by(packed, cache_of(2), SIZE)
    cache = torch.randn(4, HEADS, BLOCK, 2 * SIZE)
    before = cache.clone()
    places.write(cache, torch.tensor([1, 3]), 5, torch.ones(HEADS, 4, SIZE), torch.ones(HEADS, 4, SIZE))
    assert torch.equal(cache[[0, 2]], before[[0, 2]])
    was, now = (torch.cat(places.read(one, torch.tensor([1, 3]), 16)) for one in (before, cache))
    changed = (was != now).any(dim=-1).any(dim=0)
    assert changed.nonzero()[:, 0].tolist() == [5, 6, 7, 8]


def _nothing(keys: Tensor, values: Tensor, cache: Tensor, slots: Tensor) -> None:
    pass


def _rounds(keys: Tensor, values: Tensor, cache: Tensor, slots: Tensor) -> None:
    beside((keys / 8).round() * 8, values, cache, slots)


def _shares(keys: Tensor, values: Tensor, cache: Tensor, slots: Tensor) -> None:
    beside(keys, values, cache, slots // 2 * 2)


def _elsewhere(keys: Tensor, values: Tensor, cache: Tensor, slots: Tensor) -> None:
    beside(keys, values, cache, slots - BLOCK)


@pytest.mark.parametrize("write", [_nothing, _rounds, _shares, _elsewhere])
def test_a_layout_that_is_not_understood_is_refused(write) -> None:
    with pytest.raises(IncompatibleError, match="layout of this engine's cache is not understood"):
        Places.found_by(write, cache_of(2), SIZE)
