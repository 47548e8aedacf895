"""Nearest items and moves equal a plain search over all rows, and can be computed from a run folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from omnidistill.data.datasets import open_reference
from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation import DistilledSet, Provenance
from omnidistill.report.heatmap import shrink, strongest_pairs
from omnidistill.report.instances import trace_instances
from omnidistill.report.similarity_view import similarity_view
from small_runs import features, packed, run_distill, small_config

SIZE = 8


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[DistilledSet, FeatureSet]:
    folder = tmp_path_factory.mktemp("run")
    reference = str(packed(folder / "SET", features()))
    run = run_distill(reference, small_config(f"distill.size={SIZE}"), folder / "RUN")
    return run.distilled(), open_reference(reference).split("train")


def test_nearest_items_are_those_of_a_plain_search_each_of_another_group(
    made: tuple[DistilledSet, FeatureSet],
) -> None:
    distilled, train = made
    rows = distilled.rows()
    for instance in trace_instances(distilled, train, first=5):
        for name, trace in instance.traces.items():
            row = rows[name][instance.index - 5]
            cosines = {
                group: max(
                    (float(torch.cosine_similarity(row, x, dim=0)), id)
                    for x, id, g in zip(train.features[name], train.ids, train.groups, strict=True)
                    if g == group
                )
                for group in set(train.groups)
            }
            expected = sorted(cosines.values(), reverse=True)[: len(trace.nearest)]
            assert [near.id for near in trace.nearest] == [id for _, id in expected]
            assert [near.cosine for near in trace.nearest] == pytest.approx([c for c, _ in expected], abs=1e-5)
            assert len({near.group for near in trace.nearest}) == len(trace.nearest) == 3


def test_a_row_moved_from_the_real_row_that_it_began_as(made: tuple[DistilledSet, FeatureSet]) -> None:
    distilled, train = made
    instances = trace_instances(distilled, train)
    assert [instance.start for instance in instances] == list(distilled.provenance.initial_ids)
    for instance in instances:
        start = train.ids.index(instance.start)
        for name, trace in instance.traces.items():
            row, real = distilled.rows()[name][instance.index], train.features[name][start]
            assert trace.move.cosine == pytest.approx(float(torch.cosine_similarity(row, real, dim=0)), abs=1e-5)
            assert trace.move.distance == pytest.approx(float((row - real).norm() / real.norm()), rel=1e-4)
    unmoved = replace(
        distilled,
        tensors={
            **distilled.tensors,
            **{
                f"rows/{m}": train.features[m][[train.ids.index(i) for i in distilled.provenance.initial_ids]]
                for m in train.modalities
            },
        },
    )
    for instance in trace_instances(unmoved, train):
        assert all(
            trace.move.distance == 0 and trace.nearest[0].id == instance.start for trace in instance.traces.values()
        )


def test_a_row_stays_if_its_nearest_items_are_of_the_group_of_its_initial_row(
    made: tuple[DistilledSet, FeatureSet],
) -> None:
    """The items of a group may be copies, for example images with several captions, so any of them may be found."""
    distilled, train = made
    first = train.ids.index(distilled.provenance.initial_ids[0])
    twin = next(row for row in range(len(train)) if row != first and train.groups[row] == train.groups[first])
    rows = {f"rows/{name}": x[:SIZE].clone() for name, x in distilled.rows().items()}
    for name, x in train.features.items():
        rows[f"rows/{name}"][0] = x[twin]
    instance = trace_instances(replace(distilled, tensors={**distilled.tensors, **rows}), train)[0]
    assert {trace.nearest[0].id for trace in instance.traces.values()} == {train.ids[twin]} != {instance.start}
    assert instance.stays
    other = {name: replace(trace, nearest=trace.nearest[1:]) for name, trace in instance.traces.items()}
    assert not replace(instance, traces=other).stays
    assert not replace(instance, start=None, start_group=None).stays


def test_rows_that_began_as_none_have_no_move(made: tuple[DistilledSet, FeatureSet]) -> None:
    distilled, train = made
    for instance in trace_instances(replace(distilled, provenance=Provenance()), train):
        assert instance.start is None
        assert all(trace.move is None for trace in instance.traces.values())


def test_the_strongest_pairs_of_the_similarity_are_numbered_as_instances(made: tuple[DistilledSet, FeatureSet]) -> None:
    distilled, _ = made
    matrix = distilled.similarity()
    view = similarity_view(distilled, first=5)
    assert view is not None
    off = (matrix - matrix.diagonal().diag()).abs()
    (row, column, value), *_ = view.pairs
    assert abs(value) == pytest.approx(float(off.max())) == pytest.approx(view.scale)
    assert float(matrix[row - 5, column - 5]) == pytest.approx(value)
    assert view.picture is not None


@pytest.mark.parametrize("kind", ["identity", "diagonal"])
def test_a_matrix_without_pairs_is_one_sentence_and_one_that_was_not_learned_is_nothing(
    tmp_path: Path, kind: str
) -> None:
    reference = str(packed(tmp_path / "SET", features(2)))
    config = small_config("distill.size=4", f"distill.similarity.kind={kind}")
    view = similarity_view(run_distill(reference, config, tmp_path / "RUN").distilled())
    if kind == "identity":
        assert view is None
    else:
        assert view is not None
        assert "is diagonal: no row matches another row" in view.sentence
        assert (view.picture, view.pairs) == (None, ())


def test_blocks_keep_the_entry_of_largest_magnitude() -> None:
    matrix = torch.zeros(50, 70)
    matrix[31, 64], matrix[2, 3] = -3.0, 2.0
    small = shrink(matrix, 20)
    assert small.shape == (17, 18)
    assert sorted(small[small != 0].tolist()) == [-3.0, 2.0]
    assert small[31 // 3, 64 // 4] == -3.0
    assert torch.equal(shrink(matrix, 70), matrix)


def test_pairs_leave_out_the_diagonal_and_zeros() -> None:
    matrix = torch.tensor([[9.0, 0.5, 0.0], [-0.75, 9.0, 0.0], [0.0, 0.25, 9.0]])
    assert strongest_pairs(matrix, 8) == [(1, 0, -0.75), (0, 1, 0.5), (2, 1, 0.25)]
