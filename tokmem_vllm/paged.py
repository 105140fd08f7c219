"""Read and write keys and values of single tokens in a paged cache whose layout is not known.

Backends lay their blocks out as their kernels like it: on a processor keys stand packed, transposed in small groups.
So no layout is assumed. ``Places.found_by`` has the backend's own code write numbered tokens into an empty block, and
looks where each number went; from then on tokens are read and written by index.

Letters: b blocks, n tokens of a block, k key-value heads, e head size, c numbers of one block and head, t tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tokmem_desk.errors import IncompatibleError

Write = Callable[[Tensor, Tensor, Tensor, Tensor], None]
"""The backend's own. It takes keys and values [t x k x e] each, the cache [b x k x n x c/n], and [t] slots, which are
block · n + place."""

_BASE = 128
"""Numbers below it are exact in every dtype of a cache, also in bfloat16."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where the numbers of a token stand among those of its block and head.

    Attributes:
        keys: [n x e] long, index among the c numbers.
        values: [n x e] long.
    """

    keys: Tensor
    values: Tensor

    @property
    def block_size(self) -> int:
        return self.keys.shape[0]

    @classmethod
    def found_by(cls, write: Write, cache: Tensor, head_size: int) -> Places:
        """Look where a backend puts things.

        Args:
            write: the backend's.
            cache: [2 x k x n x c/n] zeros of the engine's dtype and shape: a cache of two blocks, written into here.
            head_size: e of keys and of values.

        Raises:
            IncompatibleError: numbers do not come out as they went in, or not each at a place of its own.
        """
        _, heads, block, _ = cache.shape
        count = 2 * block * head_size
        numbers = torch.arange(count).view(2, block, head_size)
        digits = []
        # Written digit by digit, each one more than zero, since short dtypes hold no large numbers.
        for power in range(3):
            digit = numbers // _BASE**power % _BASE
            cache.zero_()
            given = (digit + 1).to(cache.dtype)[:, :, None].expand(2, block, heads, head_size).contiguous()
            write(given[0], given[1], cache, torch.arange(block, 2 * block))
            digits.append(cache[1].reshape(heads, -1).double())
        if bool(cache[0].any()) or any(bool((digit != digit[0]).any()) for digit in digits):
            raise _unreadable("heads or blocks are not alike")
        held = sum((digit[0] - 1) * _BASE**power for power, digit in enumerate(digits))
        assert isinstance(held, Tensor)
        written = torch.stack([digit[0] >= 1 for digit in digits]).all(dim=0)
        where = torch.full((count,), -1)
        seen = held[written].round().long()
        if len(seen) != count or bool((seen < 0).any()) or bool((seen >= count).any()):
            raise _unreadable("not every number is found again")
        where[seen] = written.nonzero()[:, 0]
        if bool((where < 0).any()):
            raise _unreadable("some numbers share a place")
        keys, values = where.view(2, block, head_size)
        return cls(keys, values)

    def read(self, cache: Tensor, blocks: Tensor, tokens: int) -> tuple[Tensor, Tensor]:
        """[k x t x e] keys and values of the first ``tokens`` tokens in these blocks; copies.

        Args:
            cache: [b x k x n x c/n].
            blocks: [⌈t / n⌉ or more] long, in the order of the tokens.
        """
        flat = cache.reshape(cache.shape[0], cache.shape[1], -1)[blocks]
        found = []
        for places in (self.keys, self.values):
            part = flat[:, :, places.flatten()].view(len(blocks), cache.shape[1], *places.shape)
            found.append(part.transpose(0, 1).reshape(cache.shape[1], -1, places.shape[1])[:, :tokens].contiguous())
        return found[0], found[1]

    def write(self, cache: Tensor, blocks: Tensor, start: int, keys: Tensor, values: Tensor) -> None:
        """Put tokens in their place; nothing else in these blocks changes.

        Args:
            cache: [b x k x n x c/n], changed in place.
            blocks: long, of the whole request, in the order of its tokens.
            start: place of the first token in the request.
            keys: [k x t x e].
            values: [k x t x e].
        """
        tokens = torch.arange(start, start + keys.shape[1])
        flat = cache.view(cache.shape[0], cache.shape[1], -1)
        block, place = blocks[tokens // self.block_size], tokens % self.block_size
        for places, given in ((self.keys, keys), (self.values, values)):
            index = places[place]  # [t x e]
            heads = torch.arange(cache.shape[1])
            flat[block[None, :, None], heads[:, None, None], index[None]] = given.to(cache.dtype)


def _unreadable(why: str) -> IncompatibleError:
    return IncompatibleError(
        f"The layout of this engine's cache is not understood: {why}.",
        next_step="Use a version of vLLM and an attention backend that the documentation names.",
    )
