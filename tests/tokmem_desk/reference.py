"""What the plain model computes, without any of our caching: the yardstick of the tests beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

TOLERANCE = {"rtol": 1e-4, "atol": 2e-5}
"""float32, hidden states of size about 1."""


def random_ids(backbone: Backbone, length: int, seed: int) -> list[int]:
    """``length`` token ids that are no special tokens."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(4, backbone.vocabulary_size, (length,), generator=generator).tolist()


@torch.no_grad()
def full_hidden(backbone: Backbone, ids: Sequence[int]) -> Tensor:
    """[s x d] final hidden states of one whole sequence, run alone."""
    output = backbone.model.get_decoder()(input_ids=torch.tensor([list(ids)]), use_cache=False)
    return output.last_hidden_state[0].float()


@torch.no_grad()
def full_logits(backbone: Backbone, ids: Sequence[int]) -> Tensor:
    """[s x v] logits of one whole sequence, run alone."""
    return backbone.model(input_ids=torch.tensor([list(ids)]), use_cache=False).logits[0].float()
