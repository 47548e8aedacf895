"""The matching loss of a result is that of its set, and its table names the iteration of the set."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation import Distillation
from omnidistill.experiments.run import DistillResult, distill, matching_loss
from omnidistill.io.tracking import MetricsRecord
from omnidistill.report.run_curves import kept_iteration
from small_runs import features

SILENT = {"device": "cpu", "progress": False}


@pytest.fixture(scope="module")
def data() -> FeatureSet:
    return features()


@pytest.fixture(scope="module")
def result(data: FeatureSet) -> DistillResult:
    return distill(data, preset="smoke", settings={"heads.width": 8}, **SILENT)


def part_of(result: DistillResult, iteration: int | None, num_iterations: int = 40) -> Distillation:
    """Return a part whose log has the losses k, split over two modalities, in record k + 1."""
    log = [MetricsRecord(0, {"validation": 0.1})]
    log += [MetricsRecord(k + 1, {"loss/a": 0.25 * k, "loss/b": 0.75 * k}) for k in range(num_iterations)]
    distilled = replace(result.set, provenance=replace(result.set.provenance, iteration=iteration))
    return Distillation(distilled, 1.0, tuple(log))


@pytest.mark.parametrize(
    ("iteration", "mean"),
    [(0, 0.0), (3, 3.0), (19, 18.5), (29, 28.0), (39, 37.5), (40, 37.5), (None, 37.5)],
)
def test_the_matching_loss_is_that_of_the_returned_set(
    iteration: int | None, mean: float, result: DistillResult
) -> None:
    """The mean over the last tenth of the records up to the loss of the set of the iteration, which is k."""
    assert matching_loss(part_of(result, iteration)) == pytest.approx(mean)


@pytest.mark.parametrize(
    ("iteration", "score", "kept"),
    [(7, 0.5, 7), (None, 0.5, 10), (None, 0.75, None), (None, 0.3, None), (None, None, None)],
)
def test_a_set_without_an_iteration_has_the_first_one_with_its_validation_score(
    iteration: int | None, score: float | None, kept: int | None, result: DistillResult
) -> None:
    log = [MetricsRecord(k, {"validation": value}) for k, value in ((0, 0.25), (10, 0.5), (20, 0.5), (None, 0.75))]
    record = replace(result.set.provenance, iteration=iteration, validation=score)
    assert kept_iteration(Distillation(replace(result.set, provenance=record), 1.0, tuple(log))) == kept


def test_the_table_names_the_iteration_of_the_set(result: DistillResult) -> None:
    record, part = result.set.provenance, result.parts[0]
    loss = matching_loss(part)
    assert f"matching loss {loss:.3f} (rank floor" in result.table()
    assert f"best     iteration {record.iteration} of 6, validation score {record.validation:.3f}" in result.table()
    tree = json.loads(json.dumps(result.to_json()))["sets"][0]
    assert (tree["iteration"], tree["matching_loss"]) == (record.iteration, loss)


def test_a_set_that_was_not_chosen_has_no_best_iteration(data: FeatureSet) -> None:
    settings = {"heads.width": 8, "distill.validate_every": 0}
    assert "best " not in distill(data, preset="smoke", settings=settings, **SILENT).table()
