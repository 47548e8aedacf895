"""A crossed table: every result is computed once, from the development splits, and compared with the right ones."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from crossed_problems import SETS, TINY, Made, crossed_of
from omnidistill.core.errors import InputError
from omnidistill.data.featureset import FeatureSet
from omnidistill.evaluation.baselines import Setting, baselines
from omnidistill.evaluation.directions import mean_recall, rank_heads
from omnidistill.experiments.crossed import SetEntry, crossed, train_on_set, works
from omnidistill.experiments.crossed.crossed_models import network, outputs_of_modules, recall_of
from omnidistill.experiments.crossed.crossed_settings import TeacherEntry
from omnidistill.experiments.run import open_run
from omnidistill.models.heads import Heads, load_heads
from omnidistill.report.crossed_content import CrossedContent
from omnidistill.training.recipes.anchor_regression import Anchor
from small_runs import NoteRecorder, contents, features

ANCHOR, COMPACT, RANDOM = "anchor 8 rows", "compact 8 rows", "random 8 rows"


def own_heads(made: Made) -> Heads:
    return load_heads(made.folder / "heads", made.data.widths)[0]


def the_set(made: Made, name: str) -> Any:
    (folder,) = made.folder.glob(f"crossed/sets/{name}-8-rows-set-own-{12 * '[0-9a-f]'}")
    return open_run(folder).distilled()


def recalls(heads: Heads, data: FeatureSet) -> dict[str, float]:
    return {f"R@{k}": value for k, value in mean_recall(rank_heads(heads, data.split("test"))).items()}


def test_every_combination_that_makes_sense_has_a_cell(made: Made) -> None:
    cells = [cell for cell in made.table.content.cells if cell.part == "table"]
    places = {(cell.recipe, cell.set, cell.column) for cell in cells}
    linear = ("own", "seed-1", "width-4", "width-12", "random")
    models = {
        "own": (*linear, "mlp-2"),
        "sgd": (*linear, "mlp-2"),
        "anchor": linear,
        "stacked": linear[:-1],
        "map": ("mlp-2",),
    }
    expected = {
        (recipe, name, model) for recipe in models for name in (ANCHOR, COMPACT, RANDOM) for model in models[recipe]
    }
    assert places == expected
    assert len(cells) == len(expected)
    assert not made.table.failures
    assert all(cell.recall is not None and cell.error is None for cell in made.table.content.cells)


def test_own_recipe_is_the_recipe_of_the_set(made: Made) -> None:
    compact, anchor, start = the_set(made, "compact"), the_set(made, "anchor"), own_heads(made)
    assert made.cell("table", COMPACT, "own", "own").recall == recalls(compact.train(start), made.data)
    assert made.cell("table", ANCHOR, "own", "own").recall == recalls(anchor.train(width=8), made.data)
    assert made.cell("table", ANCHOR, "own", "width-4").recall == recalls(anchor.train(width=4), made.data)


def test_ridge_is_the_one_that_validates_best(made: Made) -> None:
    rows = the_set(made, "random")
    cell = made.cell("table", RANDOM, "anchor", "own")
    by_ridge = {ridge: rows.train(width=8, recipe=Anchor(ridges=(ridge,) * 3)) for ridge in (0.1, 1.0)}

    def score(ridge: float) -> float:
        return sum(mean_recall(rank_heads(by_ridge[ridge], made.data.split("validation"))).values())

    best = max(by_ridge, key=score)
    assert cell.settings == {"ridge": best}
    assert cell.recall == recalls(by_ridge[best], made.data)


def test_stacked_heads_have_the_width_of_the_model(made: Made) -> None:
    cell, rows = made.cell("table", ANCHOR, "stacked", "own"), the_set(made, "anchor")
    recipe = rows.recipe.evolve(ridges=(cell.settings["ridge"],) * 3, weight=cell.settings["weight"])
    heads = rows.train(own_heads(made), width=8, recipe=recipe)
    assert heads["a"].shape == (8, 12)
    assert cell.recall == recalls(heads, made.data)


def test_equal_widths_share_the_result_of_recipes_without_a_start(made: Made) -> None:
    for name, recipe in ((ANCHOR, "own"), (ANCHOR, "anchor"), (COMPACT, "anchor")):
        cells = [made.cell("table", name, recipe, model) for model in ("own", "seed-1", "random")]
        assert all(cell.any_start for cell in cells)
        assert cells[0].recall == cells[1].recall == cells[2].recall
    assert not made.cell("table", COMPACT, "own", "own").any_start
    stored = list(made.folder.glob("crossed/results/anchor-8-rows-own-any-8-*"))
    assert len([path for path in stored if "ridge" not in path.name]) == 2  # all pairs, and half of them mismatched


def test_improvement_is_over_random_rows_under_the_same_recipe(made: Made) -> None:
    same = ((COMPACT, "own", "own"), (ANCHOR, "sgd", "random"), (ANCHOR, "map", "mlp-2"))
    pairs = [(each, (RANDOM, *each[1:])) for each in same]
    pairs += [((ANCHOR, "own", "own"), (RANDOM, "anchor", "own")), ((ANCHOR, "own", "mlp-2"), (RANDOM, "map", "mlp-2"))]
    for place, other in pairs:
        cell, random = made.cell("table", *place), made.cell("table", *other)
        assert cell.improvement == {k: cell.recall[k] - random.recall[k] for k in cell.recall}
        assert random.improvement is None


def test_gain_is_a_share_of_what_the_same_model_gains_from_all_rows(made: Made) -> None:
    start, settings = own_heads(made), SETS.evaluate.evolve(max_epochs=2, learning_rates=(1.0,), batch_size=16)
    fitted = baselines.build("full").fit(Setting(made.data.development(), start, settings, 0))
    runs = [recalls({name: matrix[run] for name, matrix in fitted.heads.items()}, made.data) for run in range(2)]
    full = {k: (runs[0][k] + runs[1][k]) / 2 for k in runs[0]}
    zero, cell = recalls(start, made.data), made.cell("table", COMPACT, "sgd", "own")
    for k in full:
        assert cell.gain_retained[k] == pytest.approx((cell.recall[k] - zero[k]) / (full[k] - zero[k]), abs=1e-12)
    references = {each.model: each for each in made.table.content.references}
    assert references["own"].zero == references["random"].zero == references["width-12"].zero == zero
    assert references["width-4"].zero != zero  # cut to its width
    assert references["own"].full == pytest.approx(full)


def test_the_zero_point_of_a_network_is_its_initialisation(made: Made) -> None:
    references = {each.model: each for each in made.table.content.references}
    generator = works.Streams(0)["crossed/mlp-2"]
    drawn = network(made.data.widths, 8, 2, 8, generator, torch.device("cpu"))
    assert [tuple(p.shape) for p in drawn["a"].parameters()] == [(8, 12), (8,), (8, 8), (8,)]
    assert references["mlp-2"].zero == recall_of(outputs_of_modules(drawn), made.data.split("test"))


def test_robustness_changes_one_thing(made: Made) -> None:
    compact, start = the_set(made, "compact"), own_heads(made)
    recipe = compact.recipe
    changed = {
        "own recipe": recipe,
        "learning rate x 2": recipe.evolve(step_sizes=tuple(2 * size for size in recipe.step_sizes)),
        "steps x 2": recipe.evolve(num_steps=2 * recipe.num_steps),
        "shuffled batches": recipe.evolve(order=None),
    }
    for column, each in changed.items():
        expected = recalls(compact.train(start, recipe=each), made.data)
        assert made.cell("robustness", COMPACT, "own", column).recall == expected
    columns = {
        name: {cell.column for cell in made.table.content.cells if cell.part == "robustness" and cell.set == name}
        for name in (ANCHOR, COMPACT, RANDOM)
    }
    rates = {"own recipe", "learning rate x 1/2", "learning rate x 2", "steps x 1/2", "steps x 2"}
    assert columns[COMPACT] == rates | {"shuffled batches", "views off"}  # 8 rows have views, and a fixed order
    assert columns[RANDOM] == rates
    assert columns[ANCHOR] == {"own recipe", "ridges x 1/2", "ridges x 2"}


def test_mismatched_pairs_have_sets_and_references_of_their_own(made: Made) -> None:
    for name, recipe in ((ANCHOR, "own"), ("all rows", "cca"), ("all rows", "infonce")):
        clean, wrong = (made.cell("mismatch", name, recipe, share) for share in ("0%", "50%"))
        assert sum(clean.recall.values()) > sum(wrong.recall.values())
    assert made.cell("mismatch", ANCHOR, "own", "0%").recall == made.cell("table", ANCHOR, "own", "own").recall


def test_resuming_trains_nothing_again(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shutil.copytree(made.folder, tmp_path / "C")
    before = contents(folder / "crossed")

    def forbidden(*_: Any, **__: Any) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(works.Worker, "measure", forbidden)
    again = crossed_of(made.data, folder=folder, resume=True, command="omnidistill compare ...")
    assert again.to_json() == made.table.to_json()
    assert contents(folder / "crossed") == before


def test_only_missing_results_are_computed(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, done = shutil.copytree(made.folder, tmp_path / "C"), list[str]()
    (missing,) = folder.glob("crossed/results/compact-8-rows-sgd-own-*.json")
    measure = works.Worker.measure

    def noted(worker: works.Worker, work: Any, progress: Any) -> Any:
        done.append(work.title)
        return measure(worker, work, progress)

    missing.unlink()
    monkeypatch.setattr(works.Worker, "measure", noted)
    again = crossed_of(made.data, folder=folder, resume=True)
    assert done == ["compact 8 rows / sgd / own"]
    cells = [[(cell.column, cell.recall) for cell in each.content.cells] for each in (again, made.table)]
    assert cells[0] == cells[1]
    crossed_of(made.data, folder=folder, resume=True, settings=[*TINY, "max_steps=8"], recipes=["sgd"], models=["own"])
    assert done[1:] == [f"{name} / sgd / own" for name in (ANCHOR, COMPACT, RANDOM)], "and leave all others as they are"


def test_networks_learn_with_the_step_size_of_the_settings(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results with another step size are other results, and are computed even where those of the first are stored."""
    folder = shutil.copytree(made.folder, tmp_path / "C")
    used, recipe = set(), train_on_set.MapRegression
    monkeypatch.setattr(train_on_set, "MapRegression", lambda **each: used.add(each["learning_rate"]) or recipe(**each))
    choice: dict[str, Any] = {"recipes": ["map"], "models": ["mlp-2"], "parts": ["table"]}
    table = crossed_of(made.data, folder=folder, resume=True, settings=[*TINY, "map_learning_rate=0.5"], **choice)
    assert used == {0.5}
    cells = [cell for cell in made.table.content.cells if (cell.recipe, cell.column) == ("map", "mlp-2")]
    assert [cell.set for cell in table.content.cells] == [cell.set for cell in cells]
    assert [cell.recall for cell in table.content.cells] != [cell.recall for cell in cells]


def test_a_failure_is_reported_and_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, choice = (
        features(2),
        {"sets": ["random"], "models": ["own"], "parts": ["table"], "recipes": ["anchor", "own"]},
    )

    def broken(*_: Any) -> None:
        raise ValueError("no\nheads")

    with monkeypatch.context() as patch:
        patch.setattr(works.train_on_set, "by_anchors", broken)
        first = crossed_of(data, folder=tmp_path / "C", **choice)
    assert first.failures == {"random 8 rows / anchor / any-8": "ValueError no heads"}
    assert "failed" in first.table()
    assert "ValueError no heads" in first.table()
    second = crossed_of(data, folder=tmp_path / "C", resume=True, **choice)
    assert not second.failures
    assert "failed" not in second.table()


def test_the_test_split_is_only_scored(made: Made) -> None:
    """With other test rows, everything that is trained and chosen is the same, and all recalls differ."""
    noise = torch.randn(made.data.features["a"].shape, generator=torch.Generator().manual_seed(1))
    test = torch.tensor([split == "test" for split in made.data.splits])[:, None]
    changed = {**made.data.features, "a": torch.where(test, noise, made.data.features["a"])}
    choice: dict[str, Any] = {"models": ["own", "mlp-2"], "sets": ["anchor"], "parts": ["table"]}
    other = crossed_of(replace(made.data, features=changed), **choice)
    for cell in other.content.cells:
        same = made.cell("table", cell.set, cell.recipe, cell.column)
        assert cell.settings == same.settings
        assert cell.recall != same.recall


def test_progress_names_the_work_and_the_remaining_time(tmp_path: Path) -> None:
    labels: list[str] = []

    class Recorder(NoteRecorder):
        def start(self, total: int, label: str, done: int = 0, seconds: float = 0.0) -> None:
            labels.append(label)

    crossed_of(features(2), sets=["random"], models=["own"], parts=["table"], recipes=["own"], progress=Recorder())
    assert any(label.startswith("1/4 initial / start / any-8: ") for label in labels)
    assert any(label.startswith("3/4 (about ") and " random 8 rows / set / own: " in label for label in labels)
    assert any("left) random 8 rows / own / own: train" in label for label in labels)


# what is stored and shown


def test_the_files_have_the_content_and_the_page(made: Made) -> None:
    tree = json.loads((made.folder / "crossed.json").read_text("utf-8"))
    assert tree == made.table.to_json()
    assert CrossedContent.from_json(tree, "crossed.json").to_json() == tree
    assert (made.folder / "crossed.md").read_text("utf-8") == made.table.table() + "\n"
    page = (made.folder / "crossed.html").read_text("utf-8")
    assert page == made.table.page()
    assert page.count('<table class="heat">') == 5
    assert page.count("<script") == 1  # the one of all pages


def test_the_table_has_all_numbers(made: Made) -> None:
    lines = made.table.table().splitlines()
    cell = made.cell("table", ANCHOR, "own", "own")
    recall = "/".join(f"{100 * cell.recall[k]:.1f}" for k in ("R@1", "R@5", "R@10"))
    rows = [line.split(" | ") for line in lines if line.startswith(f"| own | {ANCHOR}")]
    assert rows[1][2] == f"{recall}="
    assert rows[2][2] == "/".join(f"{100 * cell.improvement[k]:+.1f}" for k in ("R@1", "R@5", "R@10"))
    assert rows[0][2] == "/".join(f"{100 * cell.gain_retained[k]:.0f}" for k in ("R@1", "R@5", "R@10"))
    assert "| recipe | set | own | seed-1 | width-4 | width-12 | random | mlp-2 |" in lines
    assert any(line.startswith("| stacked |") and line.endswith("| – | – |") for line in lines)


# what is refused


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sets": ["anchr"]}, "sets: unknown set 'anchr'; did you mean 'anchor'?"),
        ({"recipes": ["sdg"]}, "recipes: unknown recipe 'sdg'; did you mean 'sgd'?"),
        (
            {"models": ["mlp"], "recipes": ["anchor"], "parts": ["table"]},
            "recipes: none of these training recipes applies to the chosen",
        ),
        ({"models": ["width-0"]}, "unknown model 'width-0'; choose from own, seed-K, width-D, random, random-D"),
        ({"models": ["mlp-1"]}, "unknown model 'mlp-1'"),
        ({"parts": ["all"]}, "parts: unknown part 'all'"),
        ({"settings": ["max_step=8"]}, "max_step"),
        ({"settings": ["distill.nothing=8"]}, "none of the synthetic sets in this table has this setting"),
    ],
)
def test_what_does_not_exist_is_one_line(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=r"^[^\n]*$") as caught:
        crossed(features(2), **{"config": SETS, "progress": False, "device": "cpu", **arguments})
    assert message in str(caught.value)


def test_a_folder_of_other_data_is_refused(made: Made) -> None:
    with pytest.raises(InputError, match="comparison on different data"):
        crossed_of(features(2), folder=made.folder, resume=True)
    with pytest.raises(InputError, match="already contains a comparison"):
        crossed_of(made.data, folder=made.folder)


def test_networks_learn_from_heads_in_the_bytes_of_a_set() -> None:
    """The teacher is the baseline at this budget; random rows under the same recipe are the control."""
    data = features(3)
    config = SETS.evolve(
        sets=(SetEntry(preset="random", size="60%"),),
        teachers=(TeacherEntry(baseline="cca-bytes", size="60%"),),
        models=("own", "mlp-2"),
        recipes=("map",),
        parts=("table",),
    )
    settings = [text for text in TINY if not text.startswith(("experts", "distill"))]
    table = crossed_of(data, config=config, settings=settings)
    assert not table.failures
    (random, taught) = table.content.cells
    assert (taught.set, taught.recipe, taught.column) == ("cca-bytes 60%", "map", "mlp-2")
    assert taught.recall is not None
    assert taught.settings["rank"] >= 2
    assert taught.improvement == {k: taught.recall[k] - random.recall[k] for k in taught.recall}
    assert taught.gain_retained is not None
    assert "cca-bytes 60%" in table.table()
    assert "cca-bytes 60%" in table.page()
    assert [each.name for each in table.content.sets] == ["random 60%"]
    assert "failed" not in table.table()


def test_a_teacher_needs_heads_that_fit_in_a_budget() -> None:
    with pytest.raises(InputError, match="teachers: baseline 'full' does not compute heads that fit in a size budget"):
        SETS.evolve(teachers=(TeacherEntry(baseline="full"),))
    config = SETS.evolve(
        teachers=(TeacherEntry(baseline="cca-bytes", size="1B"),), models=("mlp-2",), recipes=("map",), parts=("table",)
    )
    table = crossed_of(features(3), config=config)
    assert "its heads need more than 1 bytes; use a larger size budget" in " ".join(table.failures.values())
