"""The best on all rows: the candidate with the highest validation score, unchanged, under a label that names it."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from omnidistill.evaluation.baselines import Setting, baselines
from omnidistill.evaluation.baselines.best_all_rows import BestAllRows
from omnidistill.evaluation.protocol import EvaluateConfig
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.evaluation.validation import run_of, validation_score
from omnidistill.training.experts.epochs import stack_runs
from small_runs import features, small_heads

NAMES = ("full", "cca", "cca-infonce", "cca-stacked")
CONFIG = EvaluateConfig(num_seeds=2, max_epochs=3, learning_rates=(0.05, 0.5), batch_size=24)


@pytest.fixture(scope="module")
def setting() -> Setting:
    here = Setting(features().development(), small_heads(features()), CONFIG, 0)
    fitted: dict[str, TrainedHeads] = {}
    for name in NAMES:
        fitted[name] = baselines.build(name).fit(dataclasses.replace(here, fitted=fitted))
    return dataclasses.replace(here, fitted=fitted)


def score(row: TrainedHeads, setting: Setting) -> float:
    """The mean over runs, one after the other."""
    each = [validation_score(run_of(row.heads, run), setting.data.validation, row.bias) for run in range(row.num_runs)]
    return sum(each) / len(each)


def test_it_is_the_candidate_that_validates_best(setting: Setting) -> None:
    found = BestAllRows().fit(setting)
    scores = {name: score(setting.fitted[name], setting) for name in NAMES}
    assert len(set(scores.values())) > 1
    assert found.settings["validation"] == pytest.approx(scores)
    chosen = setting.fitted[str(found.settings["baseline"])]
    assert scores[str(found.settings["baseline"])] == max(scores.values())
    assert all(torch.equal(found.heads[name], matrix) for name, matrix in chosen.heads.items())
    assert (found.bias, found.bytes, found.settings["settings"]) == (chosen.bias, chosen.bytes, chosen.settings)


@pytest.mark.parametrize(
    ("better", "title"),
    [
        ("full", "InfoNCE"),
        ("cca", "ridge CCA"),
        ("cca-infonce", "InfoNCE from CCA"),
        ("cca-stacked", "CCA + initial heads"),
    ],
)
def test_the_label_names_the_choice(better: str, title: str, setting: Setting) -> None:
    """Every other candidate is replaced by heads that map all modalities to noise."""
    noise = {name: torch.randn(8, m.shape[1], generator=torch.Generator().manual_seed(9)) for name, m in
             setting.start.items()}  # fmt: skip
    poor = TrainedHeads("poor", (stack_runs(noise, 1),), 0, 0.0, {})
    fitted = {name: setting.fitted[name] if name == better else poor for name in NAMES}
    found = BestAllRows().fit(dataclasses.replace(setting, fitted=fitted))
    assert found.settings["baseline"] == better
    assert found.label == f"best on all rows ({title})"


def test_equal_scores_leave_infonce(setting: Setting) -> None:
    fitted = dict.fromkeys(NAMES, setting.fitted["cca"])
    assert BestAllRows().fit(dataclasses.replace(setting, fitted=fitted)).settings["baseline"] == "full"


def test_its_costs_are_those_of_every_candidate_once(setting: Setting) -> None:
    """The costs of `cca-infonce` and `cca-stacked` include those of `cca`, which count once."""
    counts = {"full": (7, 10.0), "cca": (3, 2.0), "cca-infonce": (8, 6.0), "cca-stacked": (5, 2.5)}
    fitted = {
        name: dataclasses.replace(setting.fitted[name], num_evaluated=number, seconds=seconds)
        for name, (number, seconds) in counts.items()
    }
    found = BestAllRows().fit(dataclasses.replace(setting, fitted=fitted))
    assert found.num_evaluated == 7 + 3 + 5 + 2
    assert 10.0 + 2.0 + 4.0 + 0.5 < found.seconds < 10.0 + 2.0 + 4.0 + 0.5 + 60


def test_it_is_chosen_without_the_test_split(setting: Setting) -> None:
    """Other validation rows can change the choice, so nothing else is looked at."""
    generator = torch.Generator().manual_seed(0)
    validation = setting.data.validation
    noise = {name: torch.randn(x.shape, generator=generator) for name, x in validation.features.items()}
    other = dataclasses.replace(setting.data, validation=dataclasses.replace(validation, features=noise))
    here, there = BestAllRows().fit(setting), BestAllRows().fit(dataclasses.replace(setting, data=other))
    assert here.settings["validation"] != there.settings["validation"]
