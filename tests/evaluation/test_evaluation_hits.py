"""Averages of hits, and hits that do not fit together."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from omnidistill.core.errors import InputError, NotFiniteError
from omnidistill.evaluation.hits import check_hits, mean_hits, mean_unit

HITS = (torch.rand(2, 8, 3, generator=torch.Generator().manual_seed(0)) < 0.5).double()


def test_the_mean_unit_has_the_mean_hits_of_its_runs() -> None:
    [unit] = mean_unit([HITS])
    assert unit.shape == (1, 8, 3)
    assert mean_hits([unit]).tolist() == pytest.approx(HITS.mean((0, 1)).tolist())


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (HITS, HITS[:, :7], r"'b' have shape \(2, 7, 3\)"),
        (HITS, HITS[:, :, :2], r"'b' have shape \(2, 8, 2\)"),
        (HITS[:0], HITS, r"'a' have shape \(0, 8, 3\)"),
        (HITS[:, :0], HITS[:, :0], "at least one query per direction"),
    ],
)
def test_hits_of_other_queries_are_refused(a: Tensor, b: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_hits({"a": [a], "b": [b]}, [torch.arange(a.shape[1])])


def test_hits_that_are_not_finite_are_refused() -> None:
    bad = HITS.clone()
    bad[1, 3, 0] = float("nan")
    with pytest.raises(NotFiniteError, match="'full'"):
        check_hits({"zero": [HITS], "full": [bad]}, [torch.arange(8)])
