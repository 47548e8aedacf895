"""Small feature sets for the selectors, and references that share only the data type with the package.

References are loops in float64; gradients come from autograd, with heads of its own for every row.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, permutations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from omnidistill.data.featureset import FeatureSet
from omnidistill.data.preprocessing import Preprocessing
from omnidistill.methods.selectors import RowSelector, selectors
from omnidistill.models.heads import Heads

TAU = 0.07
ROW_SELECTORS = [name for name in selectors.names() if issubclass(selectors.get(name), RowSelector)]
"""Names of the selectors that choose real rows; the others average rows."""
WIDTHS = {"a": 7, "b": 5, "c": 6, "d": 4}


def choose(
    name: str,
    train: FeatureSet,
    heads: Heads,
    size: int,
    generator: torch.Generator | None = None,
    trajectory: Sequence[Heads] | None = None,
) -> list[int]:
    """Return the row numbers that the selector of this name chooses."""
    selector = selectors.build(name)
    assert isinstance(selector, RowSelector)
    return selector.rows(train, heads, size, generator or torch.Generator(), trajectory).tolist()


def feature_set(
    features: dict[str, Tensor], groups: list[str] | None = None, ids: list[str] | None = None
) -> FeatureSet:
    """Return unchanged training rows; without `groups` every row is its own group."""
    n = len(next(iter(features.values())))
    return FeatureSet(
        features={name: x.float() for name, x in features.items()},
        ids=tuple(ids or [f"row-{i}" for i in range(n)]),
        groups=tuple(groups or [f"group-{i}" for i in range(n)]),
        splits=("train",) * n,
        pairing=None,
        preprocessing=Preprocessing(standardise=False, epsilon=1e-5, means={}),
        provenance={},
    )


def random_problem(num_modalities: int, num_rows: int, seed: int, rows_per_group: int = 1) -> tuple[FeatureSet, Heads]:
    """Rows of a latent that all modalities share, with noise, and heads (width 4) that recover it to some degree."""
    generator = torch.Generator().manual_seed(seed)
    latent = torch.randn(num_rows, 4, generator=generator)
    features, heads = {}, {}
    for name, p in list(WIDTHS.items())[:num_modalities]:
        mixing = torch.randn(4, p, generator=generator)
        features[name] = latent @ mixing + 0.3 * torch.randn(num_rows, p, generator=generator)
        heads[name] = torch.linalg.pinv(mixing).T + 0.05 * torch.randn(4, p, generator=generator)
    return feature_set(features, [f"group-{i // rows_per_group}" for i in range(num_rows)]), heads


def planted_clusters(num_modalities: int, sizes: list[int], seed: int) -> tuple[FeatureSet, Heads, list[int]]:
    """Tight clusters around well separated directions, heads that keep them apart, and the cluster of every row."""
    generator = torch.Generator().manual_seed(seed)
    cluster = [c for c, size in enumerate(sizes) for _ in range(size)]
    features, heads = {}, {}
    for m in range(num_modalities):
        directions = torch.linalg.qr(torch.randn(12, 12, generator=generator)).Q[: len(sizes)]
        features[f"m{m}"] = directions[cluster] + 0.03 * torch.randn(len(cluster), 12, generator=generator)
        heads[f"m{m}"] = torch.linalg.qr(torch.randn(12, 12, generator=generator)).Q
    return feature_set(features), heads, cluster


def trajectory_from(heads: Heads, num_snapshots: int, seed: int) -> list[Heads]:
    """Heads that jump about, so that rows are learnt and forgotten."""
    generator = torch.Generator().manual_seed(seed)
    jumps = [
        {name: w + 0.2 * torch.randn(w.shape, generator=generator) for name, w in heads.items()}
        for _ in range(num_snapshots - 1)
    ]
    return [heads, *jumps]


def reference_embeddings(train: FeatureSet, heads: Heads) -> list[Tensor]:
    """z of every modality, n x d, float64."""
    embeddings = []
    for name, x in train.features.items():
        y = x.double() @ heads[name].double().T
        embeddings.append(y / (y**2).sum(1, keepdim=True).sqrt())
    return embeddings


def reference_kernel(train: FeatureSet, heads: Heads) -> Tensor:
    """k(i, j): the mean over modalities of the cosine."""
    z = reference_embeddings(train, heads)
    return sum((x @ x.T for x in z), torch.zeros(())) / len(z)


def reference_targets(train: FeatureSet) -> Tensor:
    n = len(train)
    same = torch.tensor([[float(train.groups[i] == train.groups[j]) for j in range(n)] for i in range(n)]).double()
    return same / same.sum(1, keepdim=True)


def reference_row_gradients(train: FeatureSet, heads: Heads) -> Tensor:
    """n x (sum_m d p_m): the gradient of full-batch InfoNCE with respect to a copy of all heads that one row has to
    itself.
    """
    n, targets = len(train), reference_targets(train)
    own = {name: w.double().expand(n, *w.shape).clone().requires_grad_() for name, w in heads.items()}
    z = []
    for name, x in train.features.items():
        y = torch.einsum("ndp,np->nd", own[name], x.double())
        z.append(y / (y**2).sum(1, keepdim=True).sqrt())
    loss = torch.zeros((), dtype=torch.float64)
    for m, k in combinations(range(len(z)), 2):
        logits = z[m] @ z[k].T / TAU
        loss = loss + (cross_entropy(logits, targets) + cross_entropy(logits.T, targets)) / 2
    gradients = torch.autograd.grad(loss, [own[name] for name in train.modalities])
    return torch.cat([g.flatten(1) for g in gradients], dim=1)


def reference_el2n(train: FeatureSet, heads: Heads) -> Tensor:
    """The norm of the gradients of every row's own losses with respect to its logits, one row and direction a time."""
    z, targets = reference_embeddings(train, heads), reference_targets(train)
    squares = torch.zeros(len(train), dtype=torch.float64)
    for m, k in permutations(range(len(z)), 2):
        for i in range(len(train)):
            logits = (z[k] @ z[m][i] / TAU).requires_grad_()
            (error,) = torch.autograd.grad(cross_entropy(logits, targets[i]), logits)
            squares[i] += (error**2).sum()
    return squares.sqrt()


def allowed_rows(groups: tuple[str, ...], chosen: list[int]) -> list[int]:
    """The rows not chosen whose group has got the fewest among the groups with such rows."""
    left = [i for i in range(len(groups)) if i not in chosen]
    given = {i: sum(groups[j] == groups[i] for j in chosen) for i in left}
    fewest = min(given.values())
    return [i for i in left if given[i] == fewest]
