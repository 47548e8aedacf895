"""One cell or baseline: what is stored is what its students did, and cells share what they can."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import pytest
import torch

from comparison_problems import tiny
from omnidistill.core.errors import InputError
from omnidistill.data.featureset import FeatureSet, prepare
from omnidistill.data.planted import planted
from omnidistill.distillation.shipped_bytes import heads_bytes
from omnidistill.evaluation import validation as choosing
from omnidistill.evaluation.baselines import Allowance, Baseline, Setting, baselines
from omnidistill.evaluation.distilled_row import train_on_sets
from omnidistill.evaluation.scores import rank_runs
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.experiments.comparison.cells import (
    ComparisonContext,
    Result,
    fit_baseline,
    load_result,
    num_compared_students,
    run_cell,
)
from omnidistill.experiments.comparison.plan import AnyCell, BaselineCell, Cell, plan_baselines, plan_cells
from omnidistill.experiments.comparison.result_store import FolderStore
from omnidistill.experiments.run import Run, open_run
from omnidistill.io.artifacts import save_artifact
from omnidistill.io.tracking import SilentProgress
from small_runs import ROWS, contents, small_heads

METHODS = ("herding", "apm", "forgetting", "lors", "mtt", "lors-separate", "hopa")
SIZED = ("random", "low-rank", "equal-bytes", "equal-bytes-4-bit")
NAMES = ("zero-shot", "full", "full-hopa", "full-pairwise-wbce", "cca", *SIZED)
WIDTH = 10
"""Of the heads; above the 8 rows of a set, so that a rank of 8 restricts them."""
WIDTHS = {"text": 12, "audio": 14, "image": 16}  # not in the order of the alphabet


@dataclass(frozen=True)
class Made:
    """Every cell and baseline, created once, and how many students each cell compared."""

    place: ComparisonContext
    cells: Mapping[str, Cell]
    baselines: Mapping[str, BaselineCell]
    compared: Mapping[str, int]

    @property
    def store(self) -> FolderStore:
        assert isinstance(self.place.store, FolderStore)
        return self.place.store

    def run(self, method: str) -> Run:
        return open_run(self.store.run_folder(self.cells[method]))

    def moved(self, folder: Path) -> tuple[ComparisonContext, FolderStore]:
        """The same inputs with another folder."""
        store = FolderStore(folder)
        return replace(self.place, store=store), store

    @property
    def test(self) -> FeatureSet:
        return self.place.data.split("test")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("cells")
    data = prepare(planted(WIDTHS, ROWS, latent=6, positives_per_group=2))
    place = ComparisonContext(data, small_heads(data, WIDTH), FolderStore(folder / "C"))
    own = [{"kind": "full-own", "objective": kind} for kind in ("hopa", "pairwise-wbce")]
    comparison = tiny(*METHODS, baselines=["zero-shot", "full", *own, "cca", *SIZED])
    cells = plan_cells(comparison, data)
    compared = {}
    score = choosing.mean_score
    with pytest.MonkeyPatch.context() as patch:
        for cell in cells:
            calls: list[int] = []
            patch.setattr(choosing, "mean_score", lambda *given, calls=calls: calls.append(1) or score(*given))
            run_cell(place, cell, "omnidistill compare ...", SilentProgress())
            compared[cell.method] = len(calls)
    fitted = plan_baselines(comparison, cells[0].config.evaluate, cells, data, place.start)
    for baseline in sorted(fitted, key=lambda cell: cell.name != "full"):
        fit_baseline(place, baseline)
    return Made(place, {cell.method: cell for cell in cells}, {cell.name: cell for cell in fitted}, compared)


def same_ranks(found: Result, row: TrainedHeads, test: FeatureSet) -> None:
    expected = rank_runs(row, test)
    assert len(found.rankings) == len(expected)
    for one, other in zip(found.rankings, expected, strict=True):
        assert list(one) == list(permutations(test.modalities, 2))
        assert all(torch.equal(ranking.packed(), other[pair].packed()) for pair, ranking in one.items())


@pytest.mark.parametrize("method", METHODS)
def test_a_kept_result_is_how_students_of_the_set_rank_the_test_split(method: str, made: Made) -> None:
    cell, sets = made.cells[method], made.run(method).sets()
    assert len(sets) == (3 if method == "lors-separate" else 1)
    found = load_result(made.place, cell)
    same_ranks(found, train_on_sets(sets, made.place.start, cell.config.evaluate, seed=0), made.test)
    assert found.meta["bytes"] == sum(each.bytes for each in sets)
    assert found.meta["size"] == 8


def test_baselines_are_stored_as_they_were_trained(made: Made) -> None:
    found = {name: load_result(made.place, cell) for name, cell in made.baselines.items()}
    evaluate, development = made.baselines["cca"].evaluate, made.place.data.development()
    setting = Setting(development, made.place.start, evaluate, made.baselines["cca"].seed)
    for name in ("zero-shot", "cca"):
        same_ranks(found[name], made.baselines[name].baseline.fit(setting), made.test)
    assert {name: len(result.rankings) for name, result in found.items()} == {
        name: 1 if name in ("zero-shot", "cca") else 2 for name in NAMES
    }
    assert {name: result.meta["size"] for name, result in found.items()} == {
        name: 8 if name in SIZED else None for name in NAMES
    }
    labels = {name: result.meta["label"] for name, result in found.items()}
    assert labels["full-hopa"] == "all rows, HoPA"
    assert labels["full-pairwise-wbce"] == "all rows, pairwise wBCE"
    assert len(set(labels.values())) == len(NAMES)


def stored_full(place: ComparisonContext, full: BaselineCell) -> TrainedHeads:
    tensors, _ = place.store.load(full)
    return TrainedHeads("full", ({name: tensors[f"heads/{name}"] for name in WIDTHS},), 0, 0.0, {})


def cut_to(num_bytes: int, made: Made, full: TrainedHeads) -> TrainedHeads:
    """The trained heads, cut to these bytes."""
    cell, baseline = made.baselines["full"], baselines.build("equal-bytes")
    allowance = Allowance(0, num_bytes)
    setting = Setting(made.place.data.development(), made.place.start, cell.evaluate, 0, allowance, {"full": full})
    return baseline.fit(setting)


def test_heads_of_equal_bytes_are_cut_from_the_full_run_that_was_stored(made: Made) -> None:
    full = stored_full(made.place, made.baselines["full"])
    same_ranks(load_result(made.place, made.baselines["full"]), full, made.test)
    num_bytes = max(load_result(made.place, cell).meta["bytes"] for cell in made.cells.values())
    cut = load_result(made.place, made.baselines["equal-bytes"])
    same_ranks(cut, cut_to(num_bytes, made, full), made.test)
    assert 0 < cut.meta["bytes"] <= num_bytes
    assert num_bytes == load_result(made.place, made.cells["lors-separate"]).meta["bytes"]


def test_heads_of_equal_bytes_at_a_budget_have_all_of_it(made: Made, tmp_path: Path) -> None:
    """Also where a size is known: a float32 row more would take fewer bytes than the budget allows."""
    full = made.baselines["full"]
    shutil.copytree(made.store.result_folder(full), tmp_path / "baselines" / full.folder / "ranking")
    place, _ = made.moved(tmp_path)
    factors = {f"{name}/left": torch.zeros(2, WIDTH) for name in WIDTHS}
    factors |= {f"{name}/right": torch.zeros(2, width) for name, width in WIDTHS.items()}
    budget = heads_bytes(factors, made.place.data.preprocessing, bits=32) + 3  # of rank 2 for three heads
    equal = baselines.build("equal-bytes")
    cell = BaselineCell(equal, full.evaluate, full.seed, None, budget, Allowance(8, budget))
    fit_baseline(place, cell)
    found = load_result(place, cell)
    same_ranks(found, cut_to(budget, made, stored_full(place, full)), made.test)
    assert (found.meta["bytes"], found.meta["label"]) == (budget - 3, "heads of equal bytes (rank 2)")


def test_results_of_version_0_1_are_computed_again(made: Made, tmp_path: Path) -> None:
    """They contain expected ranks, from which hits under ties do not follow; the runs beside them are kept."""
    (place, store), cell = made.moved(tmp_path), made.baselines["cca"]
    for folder in ("references", "baselines"):
        save_artifact(tmp_path / folder / cell.folder, "result", {"text->audio": torch.ones(1, 3)}, {"size": None})
    assert not store.has(cell)
    fit_baseline(place, cell)
    assert load_result(place, cell).rankings[0]["text", "audio"].packed().shape[1] == 5


class WrongShape(Baseline):
    """Heads of another width than the features."""

    kind = "wrong-shape"

    def fit(self, setting: Setting) -> TrainedHeads:
        heads = {name: torch.zeros(1, WIDTH, 3) for name in setting.start}
        return TrainedHeads("wrong", (heads,), 0, 0.0, {})


def test_a_baseline_that_returns_heads_of_another_shape_is_an_error(made: Made, tmp_path: Path) -> None:
    cell = BaselineCell(WrongShape(), made.baselines["cca"].evaluate, 0)
    message = r"baseline 'wrong-shape': .* shape \(1, 10, 3\) .* 'text'; return .* shape \(runs, output width, 12\)"
    with pytest.raises(InputError, match=message):
        fit_baseline(made.moved(tmp_path)[0], cell)


# what is shared


def test_equal_expert_settings_share_one_buffer_and_others_do_not(made: Made) -> None:
    """By data, heads, settings and seed of the experts, not by method."""
    store, data, start = made.store, made.place.data, made.place.start
    config = {name: cell.config for name, cell in made.cells.items()}
    folder_of = store.experts_folder
    buffer = folder_of(data, start, config["lors"])
    assert buffer == folder_of(data, start, config["mtt"]) == folder_of(data, start, config["forgetting"])
    pairs = [data.only(pair) for pair in combinations(data.modalities, 2)]
    (later,) = plan_cells(tiny("lors", seeds=(1,)), data)
    others = [
        folder_of(data, start, config["hopa"]),
        folder_of(data, start, later.config),
        folder_of(data, small_heads(data, WIDTH, seed=1), config["lors"]),
        *(folder_of(pair, {name: start[name] for name in pair.modalities}, config["lors"]) for pair in pairs),
    ]
    assert len({buffer, *others}) == 1 + len(others)
    used = {buffer, others[0], *others[-3:]}
    assert set((store.folder / "experts").iterdir()) == used
    assert not list(store.folder.glob("cells/*/run/**/experts"))


def test_shared_experts_count_in_full_for_every_method(made: Made) -> None:
    seconds = {name: load_result(made.place, cell).meta["seconds"] for name, cell in made.cells.items()}
    assert all(set(stages) == {"experts", "distill", "students"} for stages in seconds.values())
    assert seconds["lors"]["experts"] == seconds["mtt"]["experts"] == seconds["forgetting"]["experts"] > 0
    assert seconds["apm"]["experts"] == seconds["herding"]["experts"] == 0
    assert all(stages["distill"] > 0 and stages["students"] > 0 for stages in seconds.values())


def test_a_second_cell_of_a_method_has_the_experts_of_the_smallest_seed(made: Made, tmp_path: Path) -> None:
    shutil.copytree(made.store.folder, tmp_path / "C")
    place, store = made.moved(tmp_path / "C")
    before = contents(store.folder / "experts")
    cell = plan_cells(tiny("hopa", seeds=(1, 0)), place.data)[0]
    assert cell.config.seed == 1
    run_cell(place, cell, "", SilentProgress())
    assert contents(store.folder / "experts") == before
    assert not torch.equal(
        load_result(place, cell).rankings[0]["text", "audio"].packed(),
        load_result(place, made.cells["hopa"]).rankings[0]["text", "audio"].packed(),
    )


# what it took


@pytest.mark.parametrize("method", METHODS)
def test_every_student_that_validation_compared_is_counted(method: str, made: Made) -> None:
    """Students are scored once each, all runs of one together."""
    assert made.compared[method] > 1
    run = made.run(method)
    assert num_compared_students(run.result(made.place.data)) == made.compared[method]
    assert load_result(made.place, made.cells[method]).meta["judged"] == made.compared[method]


def test_memory_is_that_of_the_process(made: Made) -> None:
    every: list[AnyCell] = [*made.cells.values(), *made.baselines.values()]
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
    shutil.copytree(made.store.folder, tmp_path / "C")
    place, store = made.moved(tmp_path / "C")
    for cell in (made.cells["apm"], made.baselines["random"]):
        damage(store.result_folder(cell))
        with pytest.raises(InputError, match=str(store.result_folder(cell))):
            load_result(place, cell)


def test_a_result_without_its_manifest_is_none(made: Made, tmp_path: Path) -> None:
    (_, store), cell = made.moved(tmp_path), made.cells["apm"]
    assert made.store.has(cell)
    assert not store.has(cell)
    kept = shutil.ignore_patterns("manifest.json")
    shutil.copytree(made.store.result_folder(cell), store.result_folder(cell), ignore=kept)
    assert not store.has(cell)


def test_a_cell_cut_before_its_result_keeps_its_set(made: Made, tmp_path: Path) -> None:
    shutil.copytree(made.store.folder, tmp_path / "C")
    (place, store), cell = made.moved(tmp_path / "C"), made.cells["hopa"]
    before_cut = load_result(place, cell).rankings
    shutil.rmtree(store.result_folder(cell))
    run = store.run_folder(cell)
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file() and path.name != ".lock"}
    run_cell(place, cell, "", SilentProgress())
    assert all(path.stat().st_mtime_ns == time for path, time in before.items() if path.name != "timings.json")
    again = load_result(place, cell).rankings
    assert all(torch.equal(ranking.packed(), again[0][pair].packed()) for pair, ranking in before_cut[0].items())
