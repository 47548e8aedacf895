"""Which heads rank a direction: those of the first part that has both its modalities, with the bias added."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.data.featureset import FeatureSet
from omnidistill.evaluation.scores import rank_runs
from omnidistill.evaluation.trained_heads import TrainedHeads
from small_runs import features

RUNS, WIDTH = 3, 5


@pytest.fixture(scope="module")
def unseen() -> FeatureSet:
    return features().split("test")


def heads(names: str, seed: int) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    widths = features().widths
    return {name: torch.randn(RUNS, WIDTH, widths[name], generator=draw) for name in names}


def ranks(
    part: dict[str, Tensor], run: int, query: str, gallery: str, test: FeatureSet, bias: dict[str, Tensor] | None = None
) -> list[float]:
    """One more than the number of rows of other groups that score above the best of the query's own."""
    embeddings = {}
    for name in (query, gallery):
        outputs = test.features[name].double() @ part[name][run].double().mT
        outputs = outputs if bias is None else outputs + bias[name].double()
        embeddings[name] = (outputs / outputs.norm(dim=1, keepdim=True)).numpy()
    scores = embeddings[query] @ embeddings[gallery].T
    own = np.array(test.groups)[:, None] == np.array(test.groups)
    best = np.where(own, scores, -np.inf).max(1, keepdims=True)
    counts: list[float] = (1.0 + ((scores > best) & ~own).sum(1)).tolist()
    return counts


def test_heads_of_pairs_rank_each_direction_by_its_pair(unseen: FeatureSet) -> None:
    parts = (heads("ab", 0), heads("ac", 1), heads("bc", 2))
    found = rank_runs(TrainedHeads("pairs", parts, 0, 0.0, {}), unseen)
    assert len(found) == RUNS
    for run, measured in enumerate(found):
        assert list(measured) == list(itertools.permutations("abc", 2))
        for part in parts:
            for query, gallery in itertools.permutations(part):
                assert measured[query, gallery].ranks().tolist() == ranks(part, run, query, gallery, unseen)
    assert not torch.equal(found[0]["a", "c"].ranks(), found[1]["a", "c"].ranks())


def test_the_first_part_that_has_both_modalities_is_used(unseen: FeatureSet) -> None:
    first, second = heads("ab", 3), heads("abc", 4)
    (measured, *_) = rank_runs(TrainedHeads("overlapping", (first, second), 0, 0.0, {}), unseen)
    for query, gallery in itertools.permutations("abc", 2):
        part = first if {query, gallery} == {"a", "b"} else second
        assert measured[query, gallery].ranks().tolist() == ranks(part, 0, query, gallery, unseen)
    assert ranks(second, 0, "a", "b", unseen) != ranks(first, 0, "a", "b", unseen)


def test_a_bias_is_added_before_outputs_are_normalised(unseen: FeatureSet) -> None:
    part, draw = heads("abc", 5), torch.Generator().manual_seed(6)
    bias = {name: 2 * torch.randn(WIDTH, generator=draw) for name in "abc"}
    found = rank_runs(TrainedHeads("biased", (part,), 0, 0.0, {}, bias=bias), unseen)
    plain = rank_runs(TrainedHeads("plain", (part,), 0, 0.0, {}), unseen)
    for run in range(RUNS):
        for query, gallery in itertools.permutations("abc", 2):
            assert found[run][query, gallery].ranks().tolist() == ranks(part, run, query, gallery, unseen, bias)
            assert found[run][query, gallery].ranks().tolist() != plain[run][query, gallery].ranks().tolist()


def test_heads_of_pairs_are_not_heads_for_all_modalities(unseen: FeatureSet) -> None:
    trained = TrainedHeads("LoRS (pairs)", (heads("ab", 0), heads("ac", 1), heads("bc", 2)), 0, 0.0, {})
    with pytest.raises(InputError, match=r"heads of 'LoRS \(pairs\)': every pair of modalities has separate heads"):
        trained.heads  # noqa: B018
    assert trained.num_runs == RUNS
    whole = heads("abc", 7)
    assert TrainedHeads("one", (whole,), 0, 0.0, {}).heads is whole
