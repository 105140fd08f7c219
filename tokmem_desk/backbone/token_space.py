"""What a message's tokens look like to small networks: a fixed projection of their hidden states.

Fitted once per backbone on text that ships with the program, like the router's space: it depends on no user.
``splitting`` and ``reading`` put small networks on top, which mark tokens.

Letters: b batch, t tokens, f hidden states of a token over the layers used, k projected dimensions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from tokmem_desk.backbone.fingerprint import digest_of

DIMENSIONS = 192
IGNORED = -100
_CLIP = 6.0
_SAMPLE = 20_000
_VERSION = 1


@dataclass(frozen=True)
class TokenSpace:
    """A backbone's projection.

    Attributes:
        layers: indices of the hidden states that are read (0 is the embedding); those the router pools.
        centre, std: [f] float32, mean and standard deviation of token states.
        projection: [f x k] float32.
        fingerprint: digest of the backbone it was fitted on.
    """

    layers: tuple[int, ...]
    centre: Tensor
    std: Tensor
    projection: Tensor
    fingerprint: str

    @cached_property
    def digest(self) -> str:
        """Of this very fit; a network trained over another one cannot be used."""
        recipe = json.dumps([_VERSION, self.layers, self.fingerprint, list(self.projection.shape)])
        return digest_of(recipe, self.centre, self.std, self.projection)

    def project(self, tokens: Tensor) -> Tensor:
        """[t x k] float32 of [t x f] hidden states."""
        return ((tokens.float() - self.centre) / self.std).clamp(-_CLIP, _CLIP) @ self.projection

    def to(self, device: torch.device) -> TokenSpace:
        """The same space on another device."""
        return replace(
            self,
            centre=self.centre.to(device),
            std=self.std.to(device),
            projection=self.projection.to(device),
        )


def fit_space(states: Sequence[Tensor], layers: tuple[int, ...], fingerprint: str) -> TokenSpace:
    """Principal directions of tokens' standardised hidden states.

    Args:
        states: per text [t x f] hidden states on the CPU.
        layers: indices of the layers that the states are of.
        fingerprint: digest of the backbone that the states are of.
    """
    step = max(1, sum(len(s) for s in states) // _SAMPLE)
    sample = torch.cat([s[::step] for s in states]).float()
    centre, std = sample.mean(dim=0), sample.std(dim=0) + 1e-3
    scaled = ((sample - centre) / std).clamp(-_CLIP, _CLIP)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        _, values, directions = torch.pca_lowrank(scaled, min(DIMENSIONS, *scaled.shape), niter=2)
    # Variance one on average, so that one set of rates fits the networks of any backbone.
    projection = directions / (values.pow(2).mean() / len(scaled)).sqrt()
    return TokenSpace(layers, centre, std, projection, fingerprint)


class TokenNetwork(nn.Module):
    """Marks tokens: two convolutions, the second dilated, see six tokens to either side and more."""

    def __init__(self, dimensions: int, marks: int, *, channels: int, near: int, dropout: float) -> None:
        super().__init__()
        self._dropout = dropout
        self.enter = nn.Linear(dimensions, channels)
        self.near = nn.Conv1d(channels, channels, near, padding=near // 2)
        self.far = nn.Conv1d(channels, channels, 5, padding=4, dilation=2)
        self.leave = nn.Linear(channels, marks)

    def forward(self, projected: Tensor) -> Tensor:
        """[b x t x marks] logits of [b x t x k] projected tokens."""

        def drop(x: Tensor) -> Tensor:
            return F.dropout(x, self._dropout, self.training)

        x = F.relu(self.enter(drop(projected))).transpose(1, 2)
        x = x + F.relu(self.near(drop(x)))
        x = x + F.relu(self.far(drop(x)))
        marks: Tensor = self.leave(drop(x).transpose(1, 2))
        return marks


def train_network(
    network: TokenNetwork,
    projected: Sequence[Tensor],
    marks: Sequence[Tensor],
    *,
    epochs: int,
    batch_size: int,
    rate: float,
    weight_decay: float,
    seed: int = 0,
) -> Iterator[float]:
    """Cross-entropy of marks; yields the share done, leaves the network frozen and in eval mode. Takes seconds.

    Args:
        projected: per text [t x k].
        marks: per text [t] long; ``IGNORED`` where a token teaches nothing.
    """
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=weight_decay)
    steps = epochs * -(-len(projected) // batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min((step + 1) / max(1.0, 0.06 * steps), (steps - step) / steps)
    )
    network.train()
    for epoch in range(epochs):
        # Whoever drives this may run other things in between: each epoch has random numbers of its own.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1000 * seed + epoch)
            order = torch.randperm(len(projected)).tolist()
            for start in range(0, len(order), batch_size):
                rows = order[start : start + batch_size]
                inputs = pad_sequence([projected[i] for i in rows], batch_first=True)
                targets = pad_sequence([marks[i] for i in rows], batch_first=True, padding_value=IGNORED)
                logits = network(inputs).flatten(0, 1)
                loss = F.cross_entropy(logits, targets.flatten().to(inputs.device), ignore_index=IGNORED)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                schedule.step()
        yield (epoch + 1) / epochs
    network.requires_grad_(False).eval()
