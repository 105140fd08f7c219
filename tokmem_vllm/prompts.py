"""The two requests of an answer, as vLLM takes them: see ``wishes``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tokmem_vllm.steered import computed_tokens
from tokmem_vllm.wishes import Wish, message_key

if TYPE_CHECKING:
    from tokmem_desk.memory.memory import Memory
    from tokmem_vllm.model_facts import ModelFacts


def reading_wish(person: str, ids: Sequence[int]) -> Wish:
    """Of the request that reads a message."""
    return Wish(person, message_key(person, ids))


def answering_wish(person: str, ids: Sequence[int], digest: str, memory: Memory) -> Wish:
    """Of the request that answers it."""
    return Wish(person, message_key(person, ids), digest, memory.steering.rows.shape[0])


def answering_prompt(facts: ModelFacts, ids: Sequence[int], memory: Memory) -> Tensor:
    """[(q + m + r) x d] embeddings: zeros where vLLM computes nothing, then what the model reads of the rows."""
    rows = (memory.steering.rows * facts.embedding_scale).to(facts.dtype)
    ahead = torch.zeros(computed_tokens(len(ids), memory), facts.hidden_size, dtype=facts.dtype)
    return torch.cat([ahead, rows])
