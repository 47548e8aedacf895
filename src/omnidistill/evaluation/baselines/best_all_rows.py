"""The best heads trained on all rows. A distilled set is not expected to score higher.

There are four candidates: InfoNCE from the initial heads, ridge CCA, InfoNCE from the CCA heads, and CCA heads stacked
on the initial heads. The baseline `best` is the candidate with the highest validation score. Its heads are not trained
again. Usually InfoNCE is best with many rows, and CCA with few rows. Stacked heads are best if the initial heads
contain knowledge that cannot be learned from the rows.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import ClassVar

from omnidistill.core.device import moved
from omnidistill.evaluation.baselines.baseline import Baseline, Setting, baselines
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.evaluation.validation import mean_score

_TITLES = {
    "full": "InfoNCE",
    "cca": "ridge CCA",
    "cca-infonce": "InfoNCE from CCA",
    "cca-stacked": "CCA + initial heads",
}
"""The candidates, in the order of preference if scores are equal."""


@baselines.register("best")
class BestAllRows(Baseline):
    """The best of four kinds of heads trained on all rows by InfoNCE or ridge CCA, chosen on validation."""

    needs: ClassVar[tuple[str, ...]] = tuple(_TITLES)

    def fit(self, setting: Setting) -> TrainedHeads:
        """Return the heads of the baseline in `needs` that has the highest validation score, averaged over its runs."""
        started_at, fitted = time.monotonic(), setting.fitted
        scores = {name: _score(fitted[name], setting) for name in _TITLES}
        choice = max(scores, key=lambda name: scores[name])
        chosen, cca = fitted[choice], fitted["cca"]
        derived = [fitted["cca-infonce"], fitted["cca-stacked"]]  # their costs include those of `cca`
        return replace(
            chosen,
            label=f"best on all rows ({_TITLES[choice]})",
            seconds=sum(each.seconds for each in (fitted["full"], *derived))
            - cca.seconds
            + (time.monotonic() - started_at),
            settings={"baseline": choice, "validation": scores, "settings": dict(chosen.settings)},
            num_evaluated=sum(each.num_evaluated for each in (fitted["full"], *derived)) - cca.num_evaluated,
        )


def _score(row: TrainedHeads, setting: Setting) -> float:
    validation = setting.data.validation
    bias = None if row.bias is None else moved(row.bias, validation.device)
    return mean_score(moved(row.heads, validation.device), validation, bias)
