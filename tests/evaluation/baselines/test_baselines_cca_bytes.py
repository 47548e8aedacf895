"""Ridge CCA heads in the bytes of a set: those of ridge CCA, rounded as they are stored, and chosen after rounding."""

from __future__ import annotations

import pytest
import torch

from omnidistill.evaluation.baselines import Allowance, Setting
from omnidistill.evaluation.baselines.cca_bytes import CcaBytes, CcaBytes4Bit, CcaBytesCoded
from omnidistill.evaluation.baselines.compact_heads import compact_bytes
from omnidistill.evaluation.baselines.ridge_cca import RidgeCca
from omnidistill.evaluation.protocol import EvaluateConfig
from omnidistill.evaluation.validation import validation_score
from omnidistill.training.closed_form import accumulate_moments, ridge_cca_heads
from small_runs import features, small_heads

DATA = features()


def setting(baseline: CcaBytes, rank: int) -> Setting:
    num_bytes = compact_bytes(baseline.storage, DATA.widths, rank, DATA.preprocessing) + 4 * 3
    return Setting(DATA.development(), small_heads(DATA), EvaluateConfig(), 0, Allowance(2, num_bytes))


@pytest.mark.parametrize("baseline", [CcaBytes(), CcaBytes4Bit(), CcaBytesCoded()], ids=str)
@pytest.mark.parametrize("rank", [3, 8])
def test_heads_are_stored_ridge_cca_heads_of_the_choice_that_validates_best(baseline: CcaBytes, rank: int) -> None:
    here = setting(baseline, rank)
    result, scores, stored = baseline.fit(here), {}, {}
    for pairing in ("groups", "rows"):
        moments = accumulate_moments(here.data.train, pairing)
        for ridge in baseline.ridges:
            heads, _ = ridge_cca_heads(moments, rank, ridge)
            loaded = baseline.storage.load(baseline.storage.store(heads))
            stored[pairing, ridge] = {name: loaded[name] for name in heads}
            scores[pairing, ridge] = validation_score(stored[pairing, ridge], here.data.validation)
    chosen = result.settings["pairing"], result.settings["ridge"]
    assert scores[chosen] == max(scores.values()) > min(scores.values())
    assert result.num_evaluated == len(scores)
    assert result.bias is None
    for name, matrix in stored[chosen].items():
        assert torch.equal(result.heads[name], matrix[None])
        assert matrix.shape == (rank, DATA.widths[name])
    assert here.allowance is not None
    assert result.bytes == here.allowance.bytes - 4 * 3


def test_in_float32_and_with_the_rank_of_the_heads_it_is_ridge_cca() -> None:
    here = setting(CcaBytes(), 8)
    one, other = CcaBytes().fit(here), RidgeCca().fit(here)
    assert one.settings == other.settings
    assert all(torch.equal(one.heads[name], matrix) for name, matrix in other.heads.items())
