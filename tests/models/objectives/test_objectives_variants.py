"""HoPA's ablations and the plain BCE: closed forms against autograd, and each against its own definition."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from omnidistill.models.objectives import Hopa, PairwiseWbce
from omnidistill.testing import check_objective

Normal = Callable[..., Tensor]

VARIANTS = {
    "without L_mod": Hopa(modality_term="none"),
    "single mode": Hopa(modality_term="single"),
    "infonce of the proxy": Hopa(instance_term="infonce"),
    "rank-2 proxy": Hopa(proxy_rank=2),
    "plain bce": PairwiseWbce(reduction="plain"),
    "epsilon": Hopa(epsilon=0.01),
    "pairs with epsilon": PairwiseWbce(epsilon=0.01),
}


@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "rank-2 proxy"])
def test_contract(name: str) -> None:
    check_objective(VARIANTS[name])


def pair(normal: Normal) -> tuple[Tensor, Tensor]:
    outputs = 2 * normal(1, 4, 7) + normal(3, 4, 7, seed=1)
    return outputs.requires_grad_(), torch.eye(4, dtype=torch.float64)


@pytest.mark.parametrize("name", VARIANTS)
def test_gradient_is_that_of_the_value(normal: Normal, name: str) -> None:
    outputs, targets = pair(normal)
    (expected,) = torch.autograd.grad(VARIANTS[name].value(outputs, targets), outputs)
    torch.testing.assert_close(VARIANTS[name].gradient(outputs, targets), expected)
    assert torch.autograd.gradcheck(lambda y: VARIANTS[name].gradient(y, targets), (outputs,))


def singular(outputs: Tensor) -> tuple[Tensor, Tensor]:
    unit = outputs / outputs.norm(dim=-1, keepdim=True)
    _, sigma, right = torch.linalg.svd(unit.transpose(0, 1), full_matrices=False)
    return sigma, right


def test_single_mode_is_the_mean_leading_singular_value(normal: Normal) -> None:
    outputs, targets = pair(normal)
    sigma, _ = singular(outputs)
    value = Hopa(modality_term="single", lambda_ins=0.0).value(outputs, targets)
    torch.testing.assert_close(value, -sigma[:, 0].mean())


def test_terms_add_up(normal: Normal) -> None:
    outputs, targets = pair(normal)
    whole = Hopa().value(outputs, targets)
    parts = Hopa(lambda_ins=0.0).value(outputs, targets) + Hopa(modality_term="none").value(outputs, targets)
    torch.testing.assert_close(whole, parts)


def test_rank_2_proxy_adds_the_second_mode(normal: Normal) -> None:
    outputs, targets = pair(normal)
    _, right = singular(outputs)
    unit = outputs / outputs.norm(dim=-1, keepdim=True)
    signs = torch.sign(torch.einsum("mbd,bkd->bk", unit, right))[:, :2, None]
    v = signs * right[:, :2]
    s = torch.einsum("ikd,jkd->ij", v, v) / 0.2
    losses = torch.nn.functional.binary_cross_entropy_with_logits(s, targets, reduction="none")
    expected = losses[targets > 0.5].mean() + losses[targets <= 0.5].mean()
    torch.testing.assert_close(Hopa(modality_term="none", proxy_rank=2).value(outputs, targets), expected)


def test_plain_bce_is_the_mean_over_all_pairs(normal: Normal) -> None:
    outputs, targets = pair(normal)
    unit = outputs / outputs.norm(dim=-1, keepdim=True)
    expected = sum(
        torch.nn.functional.binary_cross_entropy_with_logits(unit[m] @ unit[n].T / 0.07, targets)
        for m, n in ((0, 1), (0, 2), (1, 2))
    )
    torch.testing.assert_close(PairwiseWbce(reduction="plain").value(outputs, targets), expected)
