"""The contract checks of objectives and similarities pass correct components and name what a broken one does wrong."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from omnidistill.models.objectives import Hopa, InfoNCE, Objective, PairwiseWbce
from omnidistill.models.similarities import Diagonal, FixedIdentity, Full, LowRank, SharedGroups, Similarity
from omnidistill.testing import check_objective, check_similarity


@pytest.mark.parametrize(
    "objective",
    [
        Hopa(),
        Hopa(tau_mod=0.1, tau_ins=0.1, lambda_ins=0.2, reduction="mean"),
        PairwiseWbce(),
        PairwiseWbce(tau=0.2, anchor=1, reduction="sum"),
        InfoNCE(),
        InfoNCE(tau=0.2, anchor=0),
    ],
)
def test_built_in_objectives_keep_the_contract(objective: Objective) -> None:
    check_objective(objective)


def test_the_numbers_of_modalities_can_be_chosen() -> None:
    check_objective(Hopa(), num_modalities=(6,))


class Attraction(Objective):
    """1/2 sum_ij S_ij ||mean_i - mean_j||^2 of the modalities' mean outputs: correct, and unlike the built-in ones."""

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        means = outputs.mean(-3)
        squares = (means.unsqueeze(-2) - means.unsqueeze(-3)).square().sum(-1)
        return (targets * squares).sum((-2, -1)) / 2

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        means, weights = outputs.mean(-3), targets + targets.mT
        pulls = weights.sum(-1, keepdim=True) * means - weights @ means
        return (pulls / outputs.shape[-3]).unsqueeze(-3).expand_as(outputs)


def test_an_objective_of_a_user_passes() -> None:
    check_objective(Attraction())


class Broken(Objective):
    """HoPA with one violated requirement."""

    how: str
    right: Objective = Hopa()

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        value = self.right.value(outputs, targets)
        match self.how:
            case "sums runs":
                return value + 1e-3 * value.sum()
            case "weights instances":
                weights = torch.arange(outputs.shape[-2], dtype=outputs.dtype)
                return value + 1e-2 * (outputs.square().sum((-3, -1)) * weights).sum(-1)
            case "value per instance":
                return value.unsqueeze(-1)
            case "not finite at zero":
                return value + 1e-9 * outputs.square().sum(-1).log().square().sum((-2, -1))
            case _:
                return value

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        gradient = self.right.gradient(outputs, targets)
        match self.how:
            case "scaled":
                return 1.001 * gradient
            case "detached":
                return gradient.detach()
            case "detached targets":
                return self.right.gradient(outputs, targets.detach())
            case "in place":
                outputs.data.mul_(1.5)
                return gradient
            case "float32":
                return gradient.float()
            case "one modality":
                return gradient[..., :1, :, :]
            case "weights instances":
                weights = torch.arange(outputs.shape[-2], dtype=outputs.dtype)
                return gradient + 2e-2 * outputs * weights[:, None]
            case "not finite at zero":
                squares = outputs.square().sum(-1, keepdim=True)
                return gradient + 4e-9 * outputs * squares.log() / squares
            case "mixes runs":
                return gradient + (1e-3 * (gradient.sum(0, keepdim=True) - gradient) if gradient.ndim > 3 else 0)
            case _:
                return gradient


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("scaled", "gradient is not the derivative of value"),
        ("detached", "gradient is not differentiable.*detached from the outputs"),
        ("detached targets", "gradient is not differentiable"),
        ("in place", "modified its arguments in place"),
        ("float32", r"gradient is torch.float32, but outputs are torch.float64"),
        ("one modality", r"gradient has shape \(1, 4, 5\), but the outputs have \(2, 4, 5\)"),
        ("value per instance", r"value for one run has shape \(1,\), not \(\)"),
        ("weights instances", "permuting instances changes the value"),
        ("sums runs", "gradient is not the derivative of value"),
        ("mixes runs", r"gradient with leading dimensions \(4,\) differs from the result for each run alone"),
        ("not finite at zero", r"a zero output.*(value|gradient) is not finite"),
    ],
)
def test_a_broken_objective_is_named(how: str, message: str) -> None:
    with pytest.raises(AssertionError, match=f"(?s){message}"):
        check_objective(Broken(how=how), num_modalities=(2,))


def test_an_objective_with_mixed_values_is_named() -> None:
    class Mixed(Broken):
        def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
            value = self.right.value(outputs, targets)
            return value + 1e-3 * (value.sum() - value)

    with pytest.raises(
        AssertionError, match=r"value with leading dimensions \(4,\) differs from the result for each run alone"
    ):
        check_objective(Mixed(how="values mixed"), num_modalities=(3,))


@pytest.mark.parametrize(
    "similarity", [FixedIdentity(), LowRank(), LowRank(rank=3, alpha=2.0), Diagonal(), Full(), SharedGroups()]
)
def test_built_in_similarities_keep_the_contract(similarity: Similarity) -> None:
    check_similarity(similarity)


def test_fixed_tensors_need_no_gradient_but_belong_to_the_submatrices() -> None:
    class Mixed(SharedGroups):
        """Fixed groups with learned weights."""

        def init(self, num_rows: int, generator: torch.Generator) -> dict[str, Tensor]:
            return {**super().init(num_rows, generator), "weight": torch.ones(1)}

        def targets(self, tensors: Mapping[str, Tensor], batches: Tensor) -> Tensor:
            return tensors["weight"] * super().targets(tensors, batches)

    class Blind(Mixed):
        """A similarity that ignores the requested rows."""

        def targets(self, tensors: Mapping[str, Tensor], batches: Tensor) -> Tensor:
            first = torch.arange(batches.shape[-1]).expand(batches.shape)
            return super().targets(tensors, first)

    check_similarity(Mixed())
    with pytest.raises(AssertionError, match=r"targets for batches of shape .* are not the submatrices"):
        check_similarity(Blind())


class BrokenSimilarity(Similarity):
    """The full matrix with one violated requirement."""

    how: str

    def init(self, num_rows: int, generator: torch.Generator) -> dict[str, Tensor]:
        match self.how:
            case "starts elsewhere":
                return {"matrix": torch.eye(num_rows) + 0.01}
            case "global randomness":
                torch.randn(1)
            case "integers":
                return {"matrix": torch.eye(num_rows, dtype=torch.int64)}
            case "own randomness":
                noise = torch.Generator()
                noise.seed()
                return {"matrix": torch.eye(num_rows) + 1e-6 * torch.randn(num_rows, num_rows, generator=noise)}
        return {"matrix": torch.eye(num_rows)}

    def targets(self, tensors: Mapping[str, Tensor], batches: Tensor) -> Tensor:
        found = tensors["matrix"][batches.unsqueeze(-1), batches.unsqueeze(-2)]
        match self.how:
            case "first batch only":
                return found[..., :1, :, :].expand_as(found) if batches.ndim > 1 else found
            case "detached":
                return found.detach()
        return found


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("starts elsewhere", "the initial similarity is not the identity"),
        ("integers", r"targets are torch.int64, not floating point"),
        ("own randomness", "init returned different 'matrix' for generators with equal seeds"),
        ("first batch only", r"targets for batches of shape \(2, 3\) are not the submatrices"),
        ("detached", "targets are not differentiable with respect to matrix"),
    ],
)
def test_a_broken_similarity_is_named(how: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_similarity(BrokenSimilarity(how=how))


def test_a_similarity_that_draws_globally_is_named() -> None:
    state = torch.get_rng_state()
    with pytest.raises(AssertionError, match="init used torch's global random state"):
        check_similarity(BrokenSimilarity(how="global randomness"))
    torch.set_rng_state(state)
