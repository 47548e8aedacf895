"""Membership inference: how well an attacker who has a synthetic set can tell its training rows from other rows.

An attack computes a score for every real row. The attacker guesses that rows with high scores are training rows. There
are two kinds of attack:

    loss          minus the InfoNCE loss of the real row, with heads trained on the set (temperature 0.07)
    nearest row   cosine similarity to the most similar synthetic row; it is averaged over modalities

The loss is averaged over all ordered pairs of modalities. The negatives of a row are all rows of other groups, from the
training and the test split.

The score of a group is the mean over its rows. The AUC is the probability that a random training group has a higher
score than a random test group; guessing has an AUC of 0.5. Its interval is a bootstrap over groups (95 %, percentiles).

Two loss attacks with other heads serve as references. One uses heads trained on all rows. The other is a control with
the initial heads, which were trained on neither split. If the AUC of the control is far from 0.5, the splits differ in
a way that has nothing to do with the set.

An AUC of 0.5 does not prove that a set is private: stronger attacks exist (Carlini et al. 2022, arXiv 2112.03570), and
an average over groups may hide a few exposed groups.

Reference: Yeom et al. (2018), "Privacy risk in machine learning: analyzing the connection to overfitting",
arXiv 1709.01604.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Annotated

import torch
from jaxtyping import Float, Float64
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from omnidistill.core.streams import Streams
from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation import DistilledSet
from omnidistill.evaluation.intervals import Interval
from omnidistill.io.artifacts import JsonContent
from omnidistill.models.heads import Heads, embed, shared_groups

LABELS = {
    "loss": "loss attack",
    "nearest_row": "nearest-row attack",
    "loss_full": "loss attack on heads trained on all rows",
    "loss_initial": "control: loss attack on the initial heads",
}
"""Name of each attack in tables."""

_TEMPERATURE = 0.07
_MOST_ROWS = 2000  # of each split
_RESAMPLES = 1000


class Membership(JsonContent):
    """How well membership attacks on a set distinguish training groups from test groups.

    Attributes:
        members: number of training groups.
        others: number of test groups.
        auc: area under the ROC curve of each attack in `LABELS`, in [0, 1], with its 95 % bootstrap interval.
    """

    members: Annotated[int, Field(ge=1)]
    others: Annotated[int, Field(ge=1)]
    auc: Mapping[str, Interval]

    def lines(self) -> list[str]:
        """Return the result as text, one attack per line."""
        groups = f"{self.members:,} training and {self.others:,} test groups"
        head = f"membership attacks on {groups} (AUC with 95 % interval; guessing: 0.5)"
        named = ((LABELS.get(name, name), each) for name, each in self.auc.items())
        return [head, *(f"  {each.mean:.3f} [{each.low:.3f}, {each.high:.3f}]  {label}" for label, each in named)]


def measure_membership(
    sets: Sequence[DistilledSet],
    heads: Mapping[str, Sequence[Heads]],
    train: FeatureSet,
    test: FeatureSet,
    seed: int = 0,
) -> Membership:
    """Measure how well attacks on a set distinguish its training rows from test rows.

    Args:
        sets: the set, or one set per pair of modalities.
        heads: {name of a loss attack: list of heads}. The attack scores a row by the loss of these heads on the row.
            The list has one entry for all modalities, or one entry per pair of modalities.
        train: the training rows of the set.
        test: rows that were not used for the set.
        seed: seed for the bootstrap, and for drawing about 2,000 rows of each split if there are more.
    """
    generator = Streams(seed)["membership"]
    members, others = (_some_groups(split, generator) for split in (train, test))
    features = {name: torch.cat([members.features[name], others.features[name]]) for name in members.modalities}
    codes = torch.cat([members.group_codes, others.group_codes + int(members.group_codes.max()) + 1])
    num_members, resample = (
        int(members.group_codes.max()) + 1,
        int(torch.randint(2**62, (1,), generator=generator, device="cpu")),
    )
    scores = {name: -_losses(parts, features, codes) for name, parts in heads.items()}
    scores["nearest_row"] = _nearest_row(sets, features)
    auc = {}
    for name in (each for each in LABELS if each in scores):
        groups = _group_means(scores[name].cpu().double(), codes.cpu())
        draws = torch.Generator(device="cpu").manual_seed(resample)  # the same groups for every attack
        auc[name] = auc_interval(groups[:num_members], groups[num_members:], draws)
    return Membership(members=num_members, others=len(groups) - num_members, auc=auc)


def auc_interval(members: Float64[Tensor, " m"], others: Float64[Tensor, " n"], generator: torch.Generator) -> Interval:
    """Return the AUC of an attack with its 95 % bootstrap interval. Members and non-members are resampled separately.

    Args:
        members: scores of training groups (members).
        others: scores of test groups (non-members).
        generator: draws the resamples.
    """
    higher = (members.unsqueeze(1) > others).double() + (members.unsqueeze(1) == others).double() / 2
    counts = [_resampled(len(each), generator) for each in (members, others)]
    draws = ((counts[0] @ higher) * counts[1]).sum(1) / (len(members) * len(others))
    low, high = torch.quantile(draws, torch.tensor([0.025, 0.975], dtype=draws.dtype, device="cpu")).tolist()
    return Interval(float(higher.mean()), low, high)


def _resampled(count: int, generator: torch.Generator) -> Float64[Tensor, "r n"]:
    """Draw bootstrap resamples of `count` groups, and return how often each group occurs in each of them."""
    drawn = torch.randint(count, (_RESAMPLES, count), generator=generator, device="cpu")
    counts = torch.zeros(drawn.shape, dtype=torch.float64, device="cpu")
    return counts.scatter_add_(1, drawn, torch.ones_like(counts))


def _some_groups(split: FeatureSet, generator: torch.Generator) -> FeatureSet:
    """Return the rows of random groups: as many groups as fit into `_MOST_ROWS` rows, but at least two."""
    codes = split.group_codes.cpu()
    sizes = torch.bincount(codes)
    order = torch.randperm(len(sizes), generator=generator, device="cpu")
    fits = sizes[order].cumsum(0) <= _MOST_ROWS
    fits[:2] = True
    return split.select(torch.isin(codes, order[fits]).nonzero().flatten())


def _losses(parts: Sequence[Heads], features: Mapping[str, Float[Tensor, "n _"]], codes: Tensor) -> Float[Tensor, " n"]:
    """Return the InfoNCE loss of each row, averaged over ordered pairs of modalities.

    Negatives are the rows of other groups.
    """
    same = shared_groups(codes).bool().fill_diagonal_(False)
    embeddings = [embed(part, features) for part in parts]
    losses = []
    for query, gallery in permutations(features, 2):
        of_pair = next(each for each in embeddings if query in each and gallery in each)
        logits = of_pair[query] @ of_pair[gallery].mT / _TEMPERATURE
        losses.append(logits.masked_fill(same, -torch.inf).logsumexp(1) - logits.diagonal())
    return torch.stack(losses).mean(0)


def _nearest_row(sets: Sequence[DistilledSet], features: Mapping[str, Float[Tensor, "n _"]]) -> Float[Tensor, " n"]:
    """Return the cosine similarity of each real row to its nearest synthetic row.

    The cosine similarity of two rows is the mean over modalities.
    """
    units, best = {name: normalize(x, dim=1) for name, x in features.items()}, []
    for distilled in sets:
        rows = {name: normalize(x[: distilled.size], dim=1) for name, x in distilled.rows().items()}
        cosines = torch.stack([units[name] @ x.to(units[name]).mT for name, x in rows.items()])
        best.append(cosines.mean(0).amax(1))
    return torch.stack(best).amax(0)


def _group_means(scores: Float64[Tensor, " n"], codes: Tensor) -> Float64[Tensor, " g"]:
    means = torch.zeros(int(codes.max()) + 1, dtype=torch.float64, device="cpu")
    return means.scatter_reduce_(0, codes, scores, "mean", include_self=False)
