"""The parts of a crossed table: settings, models, mismatched pairs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from omnidistill.core.errors import InputError
from omnidistill.experiments.config import load_comparison
from omnidistill.experiments.config.budgets import resolve_size
from omnidistill.experiments.crossed.crossed_models import Model, expanded, network
from omnidistill.experiments.crossed.crossed_plan import plan
from omnidistill.experiments.crossed.crossed_settings import CrossedSettings, SetEntry, load_crossed
from omnidistill.experiments.crossed.mismatch import mismatched
from small_runs import features


def test_the_shipped_table_has_random_rows_of_every_size() -> None:
    shipped = load_crossed()
    assert all(shipped.control(entry) for entry in shipped.sets if entry.preset != "random")
    assert {entry.preset for entry in shipped.sets} >= {"anchor-coded", "compact", "group-means", "lors", "hopa"}
    assert shipped.config(shipped.sets[2]).distill.storage.bits == 4  # type: ignore[attr-defined]


def test_choosing_a_set_keeps_the_random_rows_of_its_size() -> None:
    names = [entry.name for entry in load_crossed(sets=["hopa"]).sets]
    assert names == ["hopa 100 rows", "random 100 rows"]
    assert [entry.name for entry in load_crossed(sets=["compact 1%"]).sets] == ["compact 1%", "random 1%"]


def test_settings_of_sets_apply_to_those_that_have_them() -> None:
    loaded = load_crossed(sets=["compact"], settings=["distill.iterations=7", "heads.width=16", "ridges=[1.0]"], seed=3)
    compact, random = (loaded.config(entry) for entry in loaded.sets)
    assert (compact.distill.iterations, loaded.ridges, compact.seed) == (7, (1.0,), 3)  # type: ignore[attr-defined]
    assert compact.heads.width == random.heads.width == 16


def test_a_file_of_the_user(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('kind = "crossed"\nsets = [{ preset = "random", size = 8 }]\nmodels = ["own"]\n')
    assert load_crossed(file) == CrossedSettings(sets=(SetEntry(preset="random", size=8),), models=("own",))
    with pytest.raises(InputError, match="describes a crossed table; use the function 'crossed'"):
        load_comparison(file)
    file.write_text('sets = [{ preset = "random" }, { preset = "random" }]\n')
    with pytest.raises(InputError, match="'random 100 rows' is listed twice"):
        load_crossed(file)


def test_models_by_name() -> None:
    assert expanded(["mlp", "own", "mlp-2"]) == (
        Model("mlp-2", "mlp", 2),
        Model("mlp-3", "mlp", 3),
        Model("own", "own"),
    )
    assert [Model.parse(name).width(256) for name in ("own", "seed-3", "width-64", "random", "random-32", "mlp-3")] == [
        *(256, 256, 64, 256, 32, 256)
    ]
    assert len(expanded(["linear"])) == 8


def test_networks_are_drawn_from_the_stream_alone() -> None:
    def drawn(seed: int) -> torch.Tensor:
        built = network({"a": 4, "b": 5}, 6, 3, 2, torch.Generator().manual_seed(seed), torch.device("cpu"))
        assert built["b"](torch.zeros(1, 5)).shape == (1, 2)
        return torch.cat([parameter.flatten() for parameter in built["a"].parameters()])

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))
    assert len(drawn(1)) == 6 * 5 + 6 * 7 + 2 * 7
    assert drawn(1)[:24].abs().max() <= 0.5  # 1 / sqrt(4)


def test_works_are_planned_once_and_a_set_comes_before_its_models() -> None:
    data = features(2)
    settings = CrossedSettings(
        sets=(SetEntry(preset="anchor", size=6), SetEntry(preset="random", size=6)),
        models=("mlp-2", "own", "seed-1", "random"),
    )
    works, cells = plan(settings, {entry.name: resolve_size(settings.config(entry), data) for entry in settings.sets})
    assert len(set(works)) == len(works)
    assert {cell.work for cell in cells} <= set(works)
    for name in ("anchor 6 rows", "random 6 rows"):
        assert next(work for work in works if work.source == name).recipe == "set"
    shown = [work.model.is_network for work in works]
    assert shown == sorted(shown), "networks come last"
    anchor = [work for work in works if work.recipe == "anchor"]
    assert [work.model.name for work in anchor] == ["any-256", "any-256"]  # one per set


@pytest.mark.parametrize("positives", [1, 2, 3])
def test_mismatched_groups_lose_their_own_rows(positives: int) -> None:
    data = features(3, positives_per_group=positives)
    wrong = mismatched(data, 0.5, seed=4)
    for name in ("a", "b"):
        assert torch.equal(wrong.features[name], data.features[name])
    moved = (wrong.features["c"] != data.features["c"]).any(1)
    train = [row for row, split in enumerate(data.splits) if split == "train"]
    groups = list(dict.fromkeys(data.groups[row] for row in train))
    affected = {data.groups[row] for row in train if moved[row]}
    assert len(affected) == round(len(groups) / 2)
    assert not any(bool(moved[row]) for row, split in enumerate(data.splits) if split != "train")
    assert all(bool(moved[row]) for row in train if data.groups[row] in affected)
    places = {tuple(x.tolist()): data.groups[row] for row, x in enumerate(data.features["c"])}
    taken = [places[tuple(wrong.features["c"][row].tolist())] for row in train if data.groups[row] in affected]
    assert sorted(set(taken)) == sorted(affected)
    own = [data.groups[row] for row in train if data.groups[row] in affected]
    assert sum(a == b for a, b in zip(taken, own, strict=True)) <= positives  # only if the last group is smaller
    smaller = mismatched(data, 0.25, seed=4)
    assert {
        g for r, g in enumerate(data.groups) if (smaller.features["c"][r] != data.features["c"][r]).any()
    } < affected
    assert mismatched(data, 0.0, seed=4) is data
