"""One cell or reference: what is kept of it is what its students did, and what several cells may share they share."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import pytest
import torch
from omnidistill.evaluation.equal_bytes import equal_bytes_line
from omnidistill.evaluation.line import Line
from omnidistill.evaluation.lines import distilled_line, zero_shot_line

from comparison_problems import tiny
from omnidistill.core.errors import InputError
from omnidistill.data.featureset import FeatureSet, prepare
from omnidistill.data.planted import planted
from omnidistill.evaluation import validation as choosing
from omnidistill.evaluation.scores import line_ranks
from omnidistill.experiments.comparison.cells import Place, Result, judged_of, load_result, make_cell, make_reference
from omnidistill.experiments.comparison.plan import AnyCell, Cell, ReferenceCell, plan_cells, plan_references
from omnidistill.experiments.run import Run, open_run
from omnidistill.io.artifacts import load_artifact
from omnidistill.io.tracking import SilentProgress
from omnidistill.models.heads import save_heads
from small_runs import ROWS, contents, packed, small_heads

METHODS = ("herding", "apm", "forgetting", "lors", "mtt", "lors-separate", "hopa")
SIZED = ("random", "low-rank", "equal-bytes", "equal-bytes-4-bit")
REFERENCES = ("zero-shot", "full", "full-hopa", "full-pairwise-wbce", "cca", *SIZED)
WIDTHS = {"text": 12, "audio": 14, "image": 16}  # not in the order of the alphabet


@dataclass(frozen=True)
class Made:
    """Every cell and reference, made once, and how many students each cell compared."""

    place: Place
    cells: Mapping[str, Cell]
    references: Mapping[str, ReferenceCell]
    compared: Mapping[str, int]

    def run(self, method: str) -> Run:
        return open_run(self.place.folder / "cells" / self.cells[method].folder / "run")

    @property
    def test(self) -> FeatureSet:
        return self.place.data.split("test")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("cells")
    data = prepare(planted(WIDTHS, ROWS, latent=6, positives_per_group=2))
    place = Place(str(packed(folder / "SET", data)), data, small_heads(data), folder / "C")
    save_heads(place.start, place.folder / "heads", {})
    comparison = tiny(*METHODS, references=REFERENCES)
    cells = plan_cells(comparison, data)
    compared = {}
    score = choosing.mean_score
    with pytest.MonkeyPatch.context() as patch:
        for cell in cells:
            calls: list[int] = []
            patch.setattr(choosing, "mean_score", lambda *given, calls=calls: calls.append(1) or score(*given))
            make_cell(place, cell, "omnidistill compare ...", SilentProgress())
            compared[cell.method] = len(calls)
    references = plan_references(comparison, cells[0].config.evaluate, data)
    for reference in references:
        make_reference(place, reference)
    return Made(place, {cell.method: cell for cell in cells}, {cell.name: cell for cell in references}, compared)


def same_ranks(found: Result, line: Line, test: FeatureSet) -> None:
    expected = line_ranks(line, test)
    assert len(found.ranks) == len(expected)
    for one, other in zip(found.ranks, expected, strict=True):
        assert list(one) == list(permutations(test.modalities, 2))
        assert all(torch.equal(ranks, other[pair]) for pair, ranks in one.items())


@pytest.mark.parametrize("method", METHODS)
def test_a_kept_result_is_how_students_of_the_set_rank_the_test_split(method: str, made: Made) -> None:
    cell, sets = made.cells[method], made.run(method).sets()
    assert len(sets) == (3 if method == "lors-separate" else 1)
    found = load_result(made.place, cell)
    same_ranks(found, distilled_line(sets, made.place.start, cell.config.evaluate, seed=0), made.test)
    assert found.meta["bytes"] == sum(each.bytes for each in sets)
    assert found.meta["size"] == 8


def test_references_are_kept_as_they_were_trained(made: Made) -> None:
    found = {name: load_result(made.place, cell) for name, cell in made.references.items()}
    same_ranks(found["zero-shot"], zero_shot_line(made.place.start), made.test)
    assert {name: len(result.ranks) for name, result in found.items()} == {
        name: 1 if name in ("zero-shot", "cca") else 2 for name in REFERENCES
    }
    assert {name: result.meta["size"] for name, result in found.items()} == {
        name: 8 if name in SIZED else None for name in REFERENCES
    }
    labels = {name: result.meta["label"] for name, result in found.items()}
    assert labels["full-hopa"] == "all rows, HoPA"
    assert labels["full-pairwise-wbce"] == "all rows, pairwise wBCE"
    assert len(set(labels.values())) == len(REFERENCES)


def test_the_line_of_equal_bytes_is_cut_from_the_full_run_that_was_kept(made: Made) -> None:
    artifact = load_artifact(made.place.result(made.references["full"]), "result")
    heads = {name: artifact.tensors[f"heads/{name}"] for name in WIDTHS}
    full = Line("full", (heads,), 0, 0.0, {})
    same_ranks(load_result(made.place, made.references["full"]), full, made.test)
    num_bytes = 4 * 8 * sum(WIDTHS.values())
    cut = load_result(made.place, made.references["equal-bytes"])
    same_ranks(cut, equal_bytes_line(full, made.place.start, num_bytes), made.test)
    assert 0 < cut.meta["bytes"] <= num_bytes


def test_the_line_of_equal_bytes_at_a_budget_has_all_of_it(made: Made, tmp_path: Path) -> None:
    """Also where a size is known: a float32 row more would weigh less than the budget allows."""
    full = made.references["full"]
    shutil.copytree(made.place.result(full), tmp_path / "references" / full.folder)
    place = replace(made.place, folder=tmp_path)
    budget = 4 * (3 * 8 + sum(WIDTHS.values())) * 2 + 3  # factors of rank 2 for three 8-wide heads
    cell = ReferenceCell("equal-bytes", None, full.evaluate, full.seed, budget)
    make_reference(place, cell)
    artifact = load_artifact(place.result(full), "result")
    line = Line("full", ({name: artifact.tensors[f"heads/{name}"] for name in WIDTHS},), 0, 0.0, {})
    found = load_result(place, cell)
    same_ranks(found, equal_bytes_line(line, place.start, budget), made.test)
    assert (found.meta["bytes"], found.meta["label"]) == (budget - 3, "heads of equal bytes (rank 2)")


# what is shared


def test_equal_expert_settings_share_one_shelf_and_others_do_not(made: Made) -> None:
    """By data, heads, settings and seed of the experts, not by method."""
    place, data, start = made.place, made.place.data, made.place.start
    config = {name: cell.config for name, cell in made.cells.items()}
    shelf = place.experts(data, start, config["lors"])
    assert shelf == place.experts(data, start, config["mtt"]) == place.experts(data, start, config["forgetting"])
    pairs = [data.only(pair) for pair in combinations(data.modalities, 2)]
    (later,) = plan_cells(tiny("lors", seeds=(1,)), data)
    others = [
        place.experts(data, start, config["hopa"]),
        place.experts(data, start, later.config),
        place.experts(data, small_heads(data, seed=1), config["lors"]),
        *(place.experts(pair, {name: start[name] for name in pair.modalities}, config["lors"]) for pair in pairs),
    ]
    assert len({shelf, *others}) == 1 + len(others)
    used = {shelf, others[0], *others[-3:]}
    assert set((place.folder / "experts").iterdir()) == used
    assert not list(place.folder.glob("cells/*/run/**/experts"))


def test_shared_experts_count_in_full_for_every_method(made: Made) -> None:
    seconds = {name: load_result(made.place, cell).meta["seconds"] for name, cell in made.cells.items()}
    assert all(set(stages) == {"experts", "distill", "students"} for stages in seconds.values())
    assert seconds["lors"]["experts"] == seconds["mtt"]["experts"] == seconds["forgetting"]["experts"] > 0
    assert seconds["apm"]["experts"] == seconds["herding"]["experts"] == 0
    assert all(stages["distill"] > 0 and stages["students"] > 0 for stages in seconds.values())


def test_a_second_cell_of_a_method_has_the_experts_of_the_smallest_seed(made: Made, tmp_path: Path) -> None:
    shutil.copytree(made.place.folder, tmp_path / "C")
    place = replace(made.place, folder=tmp_path / "C")
    before = contents(place.folder / "experts")
    cell = plan_cells(tiny("hopa", seeds=(1, 0)), place.data)[0]
    assert cell.config.seed == 1
    make_cell(place, cell, "", SilentProgress())
    assert contents(place.folder / "experts") == before
    assert not torch.equal(
        load_result(place, cell).ranks[0]["text", "audio"],
        load_result(place, made.cells["hopa"]).ranks[0]["text", "audio"],
    )


# what it took


@pytest.mark.parametrize("method", METHODS)
def test_every_student_that_validation_compared_is_counted(method: str, made: Made) -> None:
    """Students are scored once each, all runs of one together."""
    assert made.compared[method] > 1
    assert judged_of(made.run(method)) == made.compared[method]
    assert load_result(made.place, made.cells[method]).meta["judged"] == made.compared[method]


def test_memory_is_that_of_the_process(made: Made) -> None:
    every: list[AnyCell] = [*made.cells.values(), *made.references.values()]
    peaks = [load_result(made.place, cell).meta["peak_bytes"] for cell in every]
    assert all(peak is None or peak > 2**24 for peak in peaks)


# on disk


def truncated(result: Path) -> None:
    (tensors,) = result.glob("tensors-*.safetensors")
    tensors.write_bytes(tensors.read_bytes()[:-3])


def altered(result: Path) -> None:
    text = (result / "manifest.json").read_text()
    (result / "manifest.json").write_text(text.replace('"size": 8', '"size": 9'))


@pytest.mark.parametrize("damage", [truncated, altered])
def test_a_damaged_result_is_told_by_its_place(damage: Any, made: Made, tmp_path: Path) -> None:
    shutil.copytree(made.place.folder, tmp_path / "C")
    place = replace(made.place, folder=tmp_path / "C")
    for cell in (made.cells["apm"], made.references["random"]):
        damage(place.result(cell))
        with pytest.raises(InputError, match=str(place.result(cell))):
            load_result(place, cell)


def test_a_result_without_its_manifest_is_none(made: Made, tmp_path: Path) -> None:
    place, cell = replace(made.place, folder=tmp_path), made.cells["apm"]
    assert made.place.has(cell)
    assert not place.has(cell)
    shutil.copytree(made.place.result(cell), place.result(cell), ignore=shutil.ignore_patterns("manifest.json"))
    assert not place.has(cell)


def test_a_cell_cut_before_its_result_keeps_its_set(made: Made, tmp_path: Path) -> None:
    shutil.copytree(made.place.folder, tmp_path / "C")
    place, cell = replace(made.place, folder=tmp_path / "C"), made.cells["hopa"]
    ranks = load_result(place, cell).ranks
    shutil.rmtree(place.result(cell))
    run = place.folder / "cells" / cell.folder / "run"
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file() and path.name != ".lock"}
    make_cell(place, cell, "", SilentProgress())
    assert all(path.stat().st_mtime_ns == time for path, time in before.items() if path.name != "timings.json")
    again = load_result(place, cell).ranks
    assert all(torch.equal(ranks[0][pair], again[0][pair]) for pair in ranks[0])
