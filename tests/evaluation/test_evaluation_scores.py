"""The table of scores: recall equals a plain count, and gain retained is defined only if there is a gain."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

from omnidistill.core.errors import InputError
from omnidistill.data.featureset import FeatureSet
from omnidistill.evaluation.hits import mean_unit
from omnidistill.evaluation.protocol import EvaluateConfig
from omnidistill.evaluation.run_scores import RowScores
from omnidistill.evaluation.scores import Scoring, rank_runs, score_rows
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.models.heads import Heads
from omnidistill.models.objectives import InfoNCE
from omnidistill.training.experts.epochs import stack_runs, train_epochs
from small_runs import features, small_heads

CUT_OFFS = {"R@1": 1, "R@5": 5, "R@10": 10}


def trained(num_epochs: int, num_runs: int = 3, rate: float = 0.5) -> dict[str, torch.Tensor]:
    data, heads = features().split("train"), stack_runs(small_heads(features()), num_runs)
    rates = torch.full((num_runs,), rate)
    for _ in train_epochs(InfoNCE(), heads, data, rates, batch_size=16, num_epochs=num_epochs, seed=0, purpose="test"):
        pass
    return heads


def row(heads: Mapping[str, torch.Tensor], label: str = "", num_bytes: int = 7) -> TrainedHeads:
    return TrainedHeads(label, (dict(heads),), num_bytes, 1.5, {"chosen": label})


@pytest.fixture(scope="module")
def rows() -> dict[str, TrainedHeads]:
    start = stack_runs(small_heads(features()), 1)
    half = trained(3)
    return {
        "zero_shot": row(start, "start"),
        "random": row(trained(1), "random"),
        "distilled": row(half, "set"),
        "full": row(trained(15), "all"),
        "full_own": row(trained(15, 4), "all, own"),
    }


@pytest.fixture(scope="module")
def unseen() -> FeatureSet:
    return features().split("test")


def as_json(scores: Mapping[str, RowScores]) -> dict[str, dict[str, Any]]:
    """The rows as scores.json has them."""
    return {name: row.to_json() for name, row in scores.items()}


@pytest.fixture(scope="module")
def scores(rows: dict[str, TrainedHeads], unseen: FeatureSet) -> dict[str, dict[str, Any]]:
    return as_json(score_rows(rows, unseen))


def counted(heads: Heads, test: FeatureSet) -> dict[str, dict[str, float]]:
    """Recall by sorting cosines in numpy."""
    groups = np.array(test.groups)
    embeddings = {}
    for name, matrix in heads.items():
        outputs = test.features[name].double().numpy() @ matrix.double().numpy().T
        embeddings[name] = outputs / np.linalg.norm(outputs, axis=1, keepdims=True)
    table = {}
    for query, gallery in itertools.permutations(heads, 2):
        order = np.argsort(-(embeddings[query] @ embeddings[gallery].T), axis=1)
        positive = groups[order] == groups[:, None]
        table[f"{query}->{gallery}"] = {at: float(positive[:, :k].any(1).mean()) for at, k in CUT_OFFS.items()}
    return table


def test_recall_is_what_counting_gives(
    rows: dict[str, TrainedHeads], scores: dict[str, dict[str, Any]], unseen: FeatureSet
) -> None:
    """By direction and K: mean and sample standard deviation over the runs, which are those of the row."""
    for name, found in rows.items():
        num_runs = len(found.heads["a"])
        tables = [counted({m: found.heads[m][run] for m in found.heads}, unseen) for run in range(num_runs)]
        assert scores[name]["recall"].keys() == {*tables[0], "mean"}
        for at in CUT_OFFS:
            over_directions = [np.mean([table[direction][at] for direction in table]) for table in tables]
            expected = {direction: [table[direction][at] for table in tables] for direction in tables[0]}
            for direction, values in {**expected, "mean": over_directions}.items():
                spread = scores[name]["recall"][direction][at]
                assert spread["mean"] == pytest.approx(np.mean(values), abs=1e-6), (name, direction, at)
                deviation = np.std(values, ddof=1) if num_runs > 1 else 0.0
                assert spread["std"] == pytest.approx(deviation, abs=1e-6), (name, direction, at)


def test_label_settings_bytes_and_seconds_are_passed_on(
    rows: dict[str, TrainedHeads], scores: dict[str, dict[str, Any]]
) -> None:
    assert list(scores) == list(rows)
    for name, found in rows.items():
        assert scores[name]["label"] == found.label
        assert scores[name]["settings"] == {"chosen": found.label}
        assert (scores[name]["bytes"], scores[name]["seconds"]) == (7, 1.5)


def test_gains_are_shares_of_what_all_rows_gain(scores: dict[str, dict[str, Any]]) -> None:
    def mean(name: str, at: str) -> float:
        return float(scores[name]["recall"]["mean"][at]["mean"])

    for at in ("R@5", "R@10"):
        assert mean("full", at) > mean("zero_shot", at) + 0.1
        for name in scores:
            gain = scores[name]["gain_retained"][at]
            share = (mean(name, at) - mean("zero_shot", at)) / (mean("full", at) - mean("zero_shot", at))
            assert gain["mean"] == pytest.approx(share, abs=1e-9)
            assert gain["low"] <= gain["mean"] + 1e-9
            assert gain["high"] >= gain["mean"] - 1e-9
        own = scores["distilled"]["gain_retained_own"][at]["mean"]
        gained = mean("distilled", at) - mean("zero_shot", at)
        assert own == pytest.approx(gained / (mean("full_own", at) - mean("zero_shot", at)))
    assert scores["zero_shot"]["gain_retained"]["R@10"]["mean"] == 0
    assert scores["full"]["gain_retained"]["R@10"]["mean"] == 1
    assert [name for name in scores if "gain_retained_own" in scores[name]] == ["distilled"]


def test_gains_are_also_shares_of_what_the_best_on_all_rows_gains(
    rows: dict[str, TrainedHeads], scores: dict[str, dict[str, Any]], unseen: FeatureSet
) -> None:
    """With its interval, for every row; without such a row there is no share of it, and nothing else changes."""
    assert not any("gain_retained_best" in row for row in scores.values())
    best = row(trained(30, 1), "best")
    found = score_rows({**rows, "best": best}, unseen)
    for name, scored in found.items():
        if name != "best":
            assert scored.evolve(gain_retained_best=None).to_json() == scores[name]
        for at in CUT_OFFS:
            means = [found[each].recall["mean"][at].mean for each in ("zero_shot", name, "best")]
            gain = scored.gain_of_best(at)
            assert gain is not None
            assert gain.mean == pytest.approx((means[1] - means[0]) / (means[2] - means[0]), abs=1e-9)
            assert gain.low <= gain.mean + 1e-9
            assert gain.high >= gain.mean - 1e-9
            assert scored.to_json()["gain_retained_best"][at]["mean"] == gain.mean
    other = [found["distilled"].gain(at) != found["distilled"].gain_of_best(at) for at in CUT_OFFS]
    assert all(other)
    nothing = score_rows({**rows, "best": rows["zero_shot"]}, unseen)["distilled"]
    assert nothing.gain_retained_best == dict.fromkeys(CUT_OFFS)
    assert nothing.gain_retained == found["distilled"].gain_retained


def test_differences_are_paired_with_random_rows_and_the_start(scores: dict[str, dict[str, Any]]) -> None:
    for other in ("random", "zero_shot"):
        reported = {name for name in scores if f"difference_to_{other}" in scores[name]}
        assert reported == set(scores) - {"zero_shot", other}
        for name in reported:
            for at, found in scores[name][f"difference_to_{other}"].items():
                means = [scores[one]["recall"]["mean"][at]["mean"] for one in (name, other)]
                assert found["mean"] == pytest.approx(means[0] - means[1], abs=1e-9)
                assert found["low"] <= found["mean"] + 1e-9 <= found["high"] + 2e-9


def test_the_set_covers_queries_only_and_baselines_cover_their_runs(
    rows: dict[str, TrainedHeads], scores: dict[str, dict[str, Any]], unseen: FeatureSet
) -> None:
    assert scores["distilled"]["coverage"] == {"variation": "queries only", "number": 1}
    assert scores["random"]["coverage"] == {"variation": "queries and runs", "number": 3}
    assert scores["zero_shot"]["coverage"] == {"variation": "queries only", "number": 1}
    scoring = Scoring.of(unseen, EvaluateConfig())
    hits = {name: scoring.hits(rank_runs(row, unseen)) for name, row in rows.items()}
    expected = scoring.gain(hits["zero_shot"], hits["full"], mean_unit(hits["distilled"]))
    assert scores["distilled"]["gain_retained"]["R@10"] == vars(expected["R@10"])


@pytest.mark.parametrize("gain", ["none", "harm", "noise"])
def test_without_gain_there_is_no_share(gain: str, rows: dict[str, TrainedHeads], unseen: FeatureSet) -> None:
    """All rows do not improve recall, or reduce it, or the gain cannot be distinguished from noise."""
    start, best = rows["zero_shot"], rows["full"]
    full = {
        "none": start,
        "harm": row({name: -matrix if name == "a" else matrix for name, matrix in start.heads.items()}),
        "noise": row({name: matrix + 1e-4 * best.heads[name][:1] for name, matrix in start.heads.items()}),
    }[gain]
    scores = as_json(score_rows({**rows, "full": full, "full_own": full}, unseen))
    for name in scores:
        assert scores[name]["gain_retained"] == dict.fromkeys(CUT_OFFS), name
    assert scores["distilled"]["gain_retained_own"] == dict.fromkeys(CUT_OFFS)


def test_scores_do_not_depend_on_the_order_of_data_or_table_rows(
    rows: dict[str, TrainedHeads], scores: dict[str, dict[str, Any]], unseen: FeatureSet
) -> None:
    order = torch.randperm(len(unseen), generator=torch.Generator().manual_seed(0))
    shuffled = as_json(score_rows(dict(reversed(rows.items())), unseen.select(order)))
    for name in rows:
        for direction, recall in scores[name]["recall"].items():
            for at, spread in recall.items():
                assert shuffled[name]["recall"][direction][at]["mean"] == pytest.approx(spread["mean"])
    assert as_json(score_rows(rows, unseen)) == scores


def test_metrics_are_those_that_were_asked_for(rows: dict[str, TrainedHeads], unseen: FeatureSet) -> None:
    usual = score_rows(rows, unseen)["full"]
    assert list(usual.recall["mean"]) == ["R@1", "R@5", "R@10"]
    assert list(usual.metrics["mean"]) == ["MedR", "MnR", "MRR", "mAP", "nDCG@10"]
    chosen = score_rows(rows, unseen, EvaluateConfig(metrics=("mAP", "R@7")))["full"]
    assert list(chosen.recall["mean"]) == ["R@7"]
    assert chosen.metrics["a->b"] == {"mAP": usual.metrics["a->b"]["mAP"]}
    runs = rank_runs(rows["full"], unseen)
    expected = [float(run["a", "b"].precision.mean()) for run in runs]
    assert chosen.metrics["a->b"]["mAP"].mean == pytest.approx(np.mean(expected))
    assert usual.metrics["mean"]["MnR"].mean == pytest.approx(
        np.mean([float(ranking.ranks().mean()) for run in runs for ranking in run.values()])
    )


def test_a_cut_off_beyond_the_gallery_is_refused_if_named_and_undefined_if_not(
    rows: dict[str, TrainedHeads], unseen: FeatureSet
) -> None:
    few = unseen.select(range(8))
    scoring = Scoring.of(few, EvaluateConfig())
    assert (scoring.levels, scoring.undefined) == (("R@1", "R@5"), ("R@10",))
    assert list(score_rows(rows, few)["full"].recall["mean"]) == ["R@1", "R@5"]
    with pytest.raises(InputError, match=r"metrics: R@9 is undefined, because the gallery of 'a' has only 8 items"):
        score_rows(rows, few, EvaluateConfig(metrics=("R@9",)))
    with pytest.raises(ValueError, match="unknown metric 'R@0'; use R@K"):
        EvaluateConfig(metrics=("R@0",))
