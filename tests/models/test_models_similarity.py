from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.models.similarities import (
    Diagonal,
    FixedIdentity,
    Full,
    LowRank,
    SharedGroups,
    Similarity,
)

Normal = Callable[..., Tensor]
KINDS: list[Similarity] = [FixedIdentity(), LowRank(rank=3, alpha=0.5), Diagonal(), Full(), SharedGroups()]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("similarity", KINDS)
def test_starts_as_the_identity(similarity: Similarity) -> None:
    tensors = similarity.init(6, generator())
    assert torch.equal(similarity.targets(tensors, torch.arange(6)), torch.eye(6))


def moved(similarity: Similarity, normal: Normal) -> dict[str, Tensor]:
    tensors = similarity.init(6, generator())
    if isinstance(similarity, SharedGroups):
        return {"groups": torch.tensor([4, 0, 4, 2, 0, 4], dtype=tensors["groups"].dtype)}
    return {name: x.double() + normal(*x.shape, seed=k) for k, (name, x) in enumerate(tensors.items())}


def dense(similarity: Similarity, tensors: dict[str, Tensor]) -> Tensor:
    """S entry by entry, from its definition."""
    s = torch.zeros(6, 6, dtype=torch.float64)
    for i in range(6):
        for j in range(6):
            match similarity:
                case FixedIdentity():
                    s[i, j] = float(i == j)
                case SharedGroups():
                    s[i, j] = float(tensors["groups"][i] == tensors["groups"][j])
                case Diagonal():
                    s[i, j] = tensors["diagonal"][i] if i == j else 0
                case Full():
                    s[i, j] = tensors["matrix"][i, j]
                case LowRank(rank=rank, alpha=alpha):
                    s[i, j] = alpha / rank * sum(tensors["left"][i, k] * tensors["right"][j, k] for k in range(rank))
                    s[i, j] += tensors["diagonal"][i] if i == j else 0
    return s


@pytest.mark.parametrize("similarity", KINDS)
def test_targets_are_the_submatrix_of_each_batch(similarity: Similarity, normal: Normal) -> None:
    tensors = moved(similarity, normal)
    whole = dense(similarity, tensors)
    batches = torch.tensor([[[0, 3, 5], [4, 1, 0]], [[2, 3, 1], [5, 4, 3]]])
    found = similarity.targets(tensors, batches)
    assert found.shape == (2, 2, 3, 3)
    for run in range(2):
        for t in range(2):
            rows = batches[run, t]
            torch.testing.assert_close(found[run, t].double(), whole[rows][:, rows])


@pytest.mark.parametrize("similarity", [LowRank(rank=3, alpha=0.5), Diagonal(), Full()])
def test_gradient_reaches_each_visited_entry_and_no_other(similarity: Similarity, normal: Normal) -> None:
    tensors = {name: x.requires_grad_() for name, x in moved(similarity, normal).items()}
    names = list(tensors)

    def targets(*values: Tensor) -> Tensor:
        return similarity.targets(dict(zip(names, values, strict=True)), torch.tensor([[0, 3], [3, 5]]))

    assert torch.autograd.gradcheck(targets, tuple(tensors.values()))
    gradients = torch.autograd.grad((targets(*tensors.values()) * normal(2, 2, 2)).sum(), list(tensors.values()))
    for gradient in gradients:
        assert not gradient[[1, 2, 4]].any()
        assert gradient[[0, 3, 5]].any(-1).all() if gradient.ndim > 1 else gradient[[0, 3, 5]].all()


def test_low_rank_moves_its_right_factor_first() -> None:
    """Left is random, right zero: S = I, and left has no gradient until right moves."""
    similarity = LowRank(rank=2)
    tensors = {name: x.requires_grad_() for name, x in similarity.init(5, generator()).items()}
    assert {name: tuple(x.shape) for name, x in tensors.items()} == {
        "diagonal": (5,),
        "left": (5, 2),
        "right": (5, 2),
    }
    weights = torch.arange(25.0).view(5, 5)
    (similarity.targets(tensors, torch.arange(5)) * weights).sum().backward()
    assert not tensors["left"].grad.any()  # type: ignore[union-attr]
    assert tensors["right"].grad.all()  # type: ignore[union-attr]


def test_initial_draw_is_standard_normal_and_the_generator_decides_it() -> None:
    first, again, other = (LowRank(rank=10).init(2000, generator(seed))["left"] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert abs(first.mean()) < 0.03
    assert abs(first.std() - 1) < 0.03


def test_rows_beyond_the_groups_are_views_in_groups_of_their_own() -> None:
    groups = torch.tensor([4, 7, 4], dtype=torch.int32)
    once = torch.tensor([[1.0, 0, 1], [0, 1, 0], [1, 0, 1]])
    found = SharedGroups().targets({"groups": groups}, torch.arange(9))
    assert torch.equal(found, torch.block_diag(once, once, once))
    batches = torch.tensor([[8, 0, 6], [3, 5, 2]])
    for batch, targets in zip(batches, SharedGroups().targets({"groups": groups}, batches), strict=True):
        assert torch.equal(targets, found[batch][:, batch])


def test_rank_larger_than_the_set_is_refused() -> None:
    assert LowRank(rank=4).init(4, generator())["left"].shape == (4, 4)
    with pytest.raises(InputError, match=r"similarity\.rank = 5.*4 synthetic rows"):
        LowRank(rank=5).init(4, generator())


def test_a_configuration_names_a_similarity() -> None:
    assert LowRank(rank=7, alpha=0.25) == LowRank(rank=7, alpha=0.25)
    assert Full() == Full()
    assert FixedIdentity() == FixedIdentity()
    assert Diagonal() == Diagonal()
    assert SharedGroups() == SharedGroups()


def test_what_is_stored_a_row() -> None:
    """A number each; that of the diagonal is learned, that of the group is not."""
    (diagonal,), (groups,) = Diagonal().init(6, generator()).values(), SharedGroups().init(6, generator()).values()
    assert (tuple(diagonal.shape), diagonal.dtype) == ((6,), torch.float32)
    assert (tuple(groups.shape), groups.dtype) == ((6,), torch.int32)


@pytest.mark.parametrize("similarity", [kind for kind in KINDS if not isinstance(kind, LowRank)])
def test_only_low_rank_factors_are_drawn(similarity: Similarity) -> None:
    draw = generator()
    before = draw.get_state()
    similarity.init(6, draw)
    assert torch.equal(draw.get_state(), before)
