"""What procedures share of their inputs' spread: exact sums, and better separation."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tokmem_desk.memory.router_statistics import (
    LOW_RANK_ROWS,
    PooledCovariance,
    RouterStatistics,
    low_rank_scatter,
    own_space,
    shared_whitening,
)

K = 16


def inputs(seed: int, count: int, scale: float = 1.0) -> Tensor:
    drawn = torch.randn(count, K, generator=torch.Generator().manual_seed(seed)) * scale
    return drawn / drawn.norm(dim=1, keepdim=True)


def test_a_sketch_of_few_inputs_is_their_scatter() -> None:
    vectors = inputs(0, LOW_RANK_ROWS + 1)
    residual = vectors - vectors.mean(dim=0)
    rows = low_rank_scatter(vectors)
    assert torch.allclose(rows.T @ rows, residual.T @ residual, atol=5e-3)


def test_a_sketch_of_many_inputs_holds_the_largest_directions() -> None:
    for count in (K - 4, K + 20):
        vectors = inputs(2, count)
        residual = (vectors - vectors.mean(dim=0)).double()
        scatter = residual.T @ residual
        largest = torch.linalg.eigvalsh(scatter)[-LOW_RANK_ROWS:]
        rows = low_rank_scatter(vectors).double()
        assert torch.allclose(torch.linalg.eigvalsh(rows @ rows.T), largest, atol=2e-2)
        assert torch.linalg.eigvalsh(scatter - rows.T @ rows).min() > -2e-2, "what is left is a scatter too"


def test_one_input_has_no_spread() -> None:
    assert shared_whitening([RouterStatistics.of(inputs(1, 1), "")], K) is None
    assert shared_whitening([], K) is None


@settings(max_examples=40, deadline=None)
@given(order=st.permutations(range(7)), leave=st.sets(st.integers(0, 6), max_size=5))
def test_the_sum_knows_no_order_and_no_one_who_left(order: list[int], leave: set[int]) -> None:
    bank = [RouterStatistics.of(inputs(10 + i, 3 + i), "") for i in range(7)]
    stay = [i for i in range(7) if i not in leave]
    shared = PooledCovariance(K)
    for i in order:
        shared.add(bank[i])
    for i in sorted(leave):
        shared.remove(bank[i])
    whitening, expected = shared.whitening(), shared_whitening([bank[i] for i in stay], K)
    assert whitening is not None and expected is not None and torch.equal(whitening, expected)


def test_what_all_procedures_vary_in_no_longer_counts() -> None:
    """Two procedures differ along axis 1 a little; both vary along axis 0 a lot."""
    generator = torch.Generator().manual_seed(5)

    def drawn(side: float, count: int) -> Tensor:
        vectors = 0.1 * torch.randn(count, K, generator=generator)
        vectors[:, 0] += 2.0 * torch.randn(count, generator=generator)
        vectors[:, 1] += side
        return vectors / vectors.norm(dim=1, keepdim=True)

    bank = [RouterStatistics.of(drawn(side, 4), "") for side in (-0.6, 0.6)]
    means = torch.stack([one.mean for one in bank])
    bank += [RouterStatistics.of(drawn(0.0, 20), "") for _ in range(60)]
    messages = torch.cat([drawn(-0.6, 200), drawn(0.6, 200)])
    truth = torch.tensor([0] * 200 + [1] * 200)

    def accuracy(whitening: Tensor | None) -> float:
        chosen = (own_space(messages, whitening) @ own_space(means, whitening).T).argmax(dim=1)
        return float((chosen == truth).float().mean())

    assert accuracy(shared_whitening(bank, K)) > accuracy(None) + 0.02
