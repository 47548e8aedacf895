"""Real rows under the recipe "anchor": the ridge solution of random rows or group means, compared with numpy."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation import DistilledSet, SetSpec
from omnidistill.evaluation.baselines import Allowance, Setting
from omnidistill.evaluation.baselines.real_rows_anchor import GroupMeansAnchor, RandomAnchor, RealRowsAnchor
from omnidistill.evaluation.protocol import EvaluateConfig
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.models.objectives import InfoNCE
from omnidistill.models.similarities import FixedIdentity
from omnidistill.models.storages import RowStorage
from omnidistill.training.recipes.anchor_regression import Anchor
from small_runs import features, shipped, small_heads

BOTH = (RandomAnchor(), GroupMeansAnchor())


def setting(rows: int, data: FeatureSet | None = None) -> Setting:
    data = data or features()
    return Setting(data.development(), small_heads(data), EvaluateConfig(num_seeds=3), 0, Allowance(rows, 1))


def remembered(
    baseline: RealRowsAnchor, rows: int, monkeypatch: pytest.MonkeyPatch
) -> tuple[TrainedHeads, list[object]]:
    """Fit the baseline, and return its result and the rows that it drew."""
    drawn: list[object] = []
    draw = type(baseline).rows

    def remember(*arguments: object) -> object:
        drawn.append(draw(*arguments))  # type: ignore[arg-type]
        return drawn[-1]

    monkeypatch.setattr(type(baseline), "rows", remember)
    return baseline.fit(setting(rows)), drawn


@pytest.mark.parametrize("baseline", BOTH, ids=str)
def test_heads_are_the_ridge_solution_of_the_rows_of_each_run(
    baseline: RealRowsAnchor, monkeypatch: pytest.MonkeyPatch
) -> None:
    result, drawn = remembered(baseline, 6, monkeypatch)
    train = features().split("train")
    assert len(drawn) == 2 + 3  # two samples to choose with, and one per run
    for run, rows in enumerate(drawn[2:]):
        for name, x in rows.items():  # type: ignore[attr-defined]
            matrix = x.double().numpy()
            kernel = matrix @ matrix.T
            ridge = float(result.settings["ridge"]) * np.trace(kernel) / 6  # type: ignore[arg-type]
            expected = np.linalg.solve(kernel + ridge * np.eye(6), matrix)
            np.testing.assert_allclose(result.heads[name][run].numpy(), expected, rtol=1e-4, atol=1e-6)
    firsts = {tuple(rows["a"][:, 0].tolist()) for rows in drawn}  # type: ignore[index]
    assert len(firsts) == len(drawn)
    for rows in drawn:
        for name, x in rows.items():  # type: ignore[attr-defined]
            real = train.features[name]
            if isinstance(baseline, GroupMeansAnchor):
                real = torch.stack([real[train.group_codes == code].mean(0) for code in train.group_codes.unique()])
            distances = torch.cdist(x.double(), real.double())
            assert float(distances.amin(1).max()) < 1e-5
            assert len(set(distances.argmin(1).tolist())) == 6


@pytest.mark.parametrize("baseline", BOTH, ids=str)
def test_bytes_are_those_of_a_set_of_these_rows(baseline: RealRowsAnchor, tmp_path: Path) -> None:
    data, result = features(), baseline.fit(setting(6))
    recipe = Anchor(ridges=(0.1, 0.1, 0.1))
    spec = SetSpec(data.widths, 6, RowStorage(), FixedIdentity(), InfoNCE(), recipe)
    rows = {f"rows/{name}": torch.ones(6, width) for name, width in data.widths.items()}
    DistilledSet(rows, spec, data.preprocessing).save(tmp_path)
    assert result.bytes == shipped(tmp_path)


@pytest.mark.parametrize("baseline", BOTH, ids=str)
def test_the_ridge_follows_validation_and_two_rows_are_the_fewest(baseline: RealRowsAnchor) -> None:
    here = setting(6)
    noise = {name: torch.flip(x, [0]) for name, x in here.data.validation.features.items() if name == "a"}
    other = dataclasses.replace(here.data.validation, features={**here.data.validation.features, **noise})
    changed = baseline.fit(dataclasses.replace(here, data=dataclasses.replace(here.data, validation=other)))
    result = baseline.fit(here)
    same = all(torch.equal(result.heads[name], matrix) for name, matrix in changed.heads.items())
    assert same == (changed.settings == result.settings)
    assert [baseline.applies(setting(rows)) for rows in (1, 2)] == [False, True]


def test_there_are_at_most_as_many_means_as_groups() -> None:
    result = GroupMeansAnchor(ridges=(0.1,)).fit(setting(50))
    assert result.settings["rows"] == 32
    assert result.heads["a"].shape == (3, 32, 12)
