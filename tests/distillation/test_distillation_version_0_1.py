"""Settings and sets of version 0.1 under today's names."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from omnidistill.core.errors import InputError
from omnidistill.distillation import DistilledSet, SetSpec
from omnidistill.distillation.outer import ShortcutObjective, TaskObjective, TrajectoryObjective
from omnidistill.distillation.version_0_1 import RENAMED, upgraded_config, upgraded_set
from omnidistill.evaluation.paper_protocol import sgd_recipe
from omnidistill.experiments.config import has_setting, parse_config
from omnidistill.io.artifacts import load_artifact, save_artifact
from omnidistill.methods.learn import Learn
from omnidistill.models.similarities import FixedIdentity, LowRank, SharedGroups
from omnidistill.models.storages import RowStorage

GOLDEN = Path(__file__).parents[1] / "golden" / "v0_1"
SETS = ("RUN-float", "RUN-bits", "RUN-select", "RUN-covmatch", "RUN-apm", "RUN-task")
WIDTHS = {"a": 12, "b": 14, "c": 16}
Json = dict[str, Any]


def manifest(run: str) -> Json:
    meta: Json = json.loads((GOLDEN / run / "distilled" / "manifest.json").read_text("utf-8"))["meta"]
    return meta


def upgraded(distill: Json) -> Json:
    tree: Json = upgraded_config({"method": "m", "distill": distill})
    assert tree.keys() == {"method", "distill"}
    result: Json = tree["distill"]
    return result


# settings


def test_trajectory_became_learn_with_an_outer_objective() -> None:
    old = {
        "kind": "trajectory",
        "size": 8,
        "target": "shortcut",
        "num_expert_epochs": 2,
        "max_start_epoch": 3,
        "own_share": 0.5,
        "task_weight": 0.1,
        "task": {"rows": 20, "tau": 0.2},
    }
    task = {"kind": "task", "rows": 20, "tau": 0.2}
    assert upgraded(old) == {
        "kind": "learn",
        "size": 8,
        "outer": {
            "kind": "shortcut",
            "num_expert_epochs": 2,
            "max_start_epoch": 3,
            "own_share": 0.5,
            "task_weight": 0.1,
            "task": task,
        },
    }
    assert upgraded({"kind": "trajectory"}) == {"kind": "learn", "outer": {"kind": "trajectory"}}


def test_task_became_learn_with_the_task_loss() -> None:
    old = {"kind": "task", "task": {"rows": 20, "tau": 0.2}, "order": "fixed"}
    assert upgraded(old) == {"kind": "learn", "outer": {"kind": "task", "rows": 20, "tau": 0.2}, "order": "fixed"}
    assert upgraded({"kind": "task"}) == {"kind": "learn", "outer": {"kind": "task"}}


@pytest.mark.parametrize(
    "old", [{"kind": "select", "selector": "herding"}, {"kind": "covmatch", "rho": 2.0}, {"kind": "apm"}], ids=str
)
def test_other_methods_kept_their_settings(old: Json) -> None:
    assert upgraded(old) == old


@pytest.mark.parametrize(("views", "today"), [(0, "auto"), (1, 1), (5, 5)])
def test_zero_views_became_auto(views: int, today: int | str) -> None:
    new = upgraded({"kind": "apm", "storage": {"bits": 4, "views": views}})
    assert new["storage"] == {"kind": "rows", "bits": 4, "views": today}


@pytest.mark.parametrize("run", SETS)
def test_upgraded_settings_are_valid_and_stay_as_they_are(run: str) -> None:
    old = manifest(run)["config"]
    before = copy.deepcopy(old)
    new = upgraded_config(old)
    assert old == before
    assert upgraded_config(new) == new
    config = parse_config(new, run)
    assert upgraded_config(config.model_dump(mode="json")) == config.model_dump(mode="json")
    for name in ("seed", "method", "heads", "experts", "evaluate"):
        assert new[name] == old[name]


@pytest.mark.parametrize(
    ("run", "outer"),
    [
        ("RUN-float", TrajectoryObjective(num_expert_epochs=1, max_start_epoch=2)),
        ("RUN-bits", TrajectoryObjective(task_weight=0.1)),
        ("RUN-task", TaskObjective()),
    ],
)
def test_outer_objectives_of_version_0_1(run: str, outer: TrajectoryObjective | TaskObjective) -> None:
    config = parse_config(upgraded_config(manifest(run)["config"]), run)
    assert isinstance(config.distill, Learn)
    assert config.distill.outer == outer
    assert not isinstance(config.distill.outer, ShortcutObjective)


def test_settings_without_a_method_are_returned_unchanged() -> None:
    for tree in ({}, {"seed": 3}, {"heads": {"width": 8}}):
        assert upgraded_config(tree) == tree


def test_renamed_settings_exist() -> None:
    config = parse_config({}, "today")
    today = {name.removesuffix(".kind") for name in RENAMED.values()}  # a kind is the name of the component there
    assert all(has_setting(config, name) for name in today)
    assert not any(has_setting(config, name) for name in RENAMED)


# sets


def opened(run: str) -> tuple[SetSpec, Json, DistilledSet]:
    artifact = load_artifact(GOLDEN / run / "distilled", "distilled")
    spec, provenance = upgraded_set(artifact.meta, artifact.tensors, run)
    return SetSpec.from_json(spec, run), provenance, DistilledSet.load(GOLDEN / run / "distilled")


SIMILARITIES = {
    "RUN-float": LowRank(rank=2),
    "RUN-bits": FixedIdentity(),
    "RUN-select": SharedGroups(),
    "RUN-covmatch": FixedIdentity(),
    "RUN-apm": FixedIdentity(),
    "RUN-task": LowRank(rank=2),
}


@pytest.mark.parametrize("run", SETS)
def test_a_set_of_version_0_1_has_a_specification(run: str) -> None:
    old = manifest(run)
    spec, _, loaded = opened(run)
    assert loaded.spec == spec
    assert dict(spec.modalities) == WIDTHS
    assert list(spec.modalities) == old["modalities"]
    assert spec.size == old["config"]["distill"]["size"]
    assert spec.storage == (RowStorage(bits=4, views=16) if run == "RUN-bits" else RowStorage())
    assert spec.similarity == SIMILARITIES[run]
    assert spec.objective.model_dump(mode="json") == old["config"]["distill"]["student"]
    assert spec.recipe.model_dump(mode="json") == {"kind": "sgd", **old["recipe"]}
    assert spec.preprocessing == old["preprocessing"]
    assert {name: x.shape[1] for name, x in loaded.rows().items()} == WIDTHS


@pytest.mark.parametrize("run", SETS)
def test_a_set_of_version_0_1_has_its_provenance(run: str) -> None:
    old = manifest(run)
    _, provenance, loaded = opened(run)
    assert loaded.provenance.method == provenance["method"] == old["config"]["method"]
    assert loaded.provenance.config == old["config"]
    assert loaded.provenance.initial_ids == tuple(old["initial_ids"])
    for name, value in old["provenance"].items():
        found = loaded.provenance.to_json()[name]
        assert found == value, name


def test_the_set_that_it_continued_from_is_recorded() -> None:
    artifact = load_artifact(GOLDEN / "RUN-float" / "distilled", "distilled")
    begun = {"method": "HoPA", "rows": "0123"}
    meta = {**artifact.meta, "provenance": {**artifact.meta["provenance"], "begun": begun}}
    _, provenance = upgraded_set(meta, artifact.tensors, "manifest.json")
    assert provenance["initial_set"] == begun
    assert "begun" not in provenance


@pytest.mark.parametrize("run", ["RUN-float", "RUN-bits"])
def test_a_set_that_is_saved_again_has_todays_form(run: str, tmp_path: Path) -> None:
    *_, loaded = opened(run)
    loaded.save(tmp_path)
    assert load_artifact(tmp_path, "distilled").meta["schema"] == 1
    again = DistilledSet.load(tmp_path)
    assert replace(again.spec, preprocessing={}) == replace(loaded.spec, preprocessing={})
    assert again.provenance == loaded.provenance
    for name, mean in loaded.preprocessing.means.items():
        assert torch.equal(again.preprocessing.means[name], mean)
    assert sgd_recipe(again).step_sizes == tuple(manifest(run)["recipe"]["step_sizes"])
    assert all(torch.equal(rows, loaded.rows()[name]) for name, rows in again.rows().items())
    assert torch.equal(again.similarity(), loaded.similarity())


def test_widths_are_found_without_means() -> None:
    """Rows of few bits pack their numbers; sets whose features were not centred have no mean either."""
    artifact = load_artifact(GOLDEN / "RUN-bits" / "distilled", "distilled")
    tensors = {name: tensor for name, tensor in artifact.tensors.items() if not name.startswith("mean/")}
    spec, _ = upgraded_set(artifact.meta, tensors, "manifest.json")
    assert spec["modalities"] == WIDTHS


def test_open_views_are_resolved() -> None:
    artifact = load_artifact(GOLDEN / "RUN-bits" / "distilled", "distilled")
    meta = copy.deepcopy(artifact.meta)
    meta["config"]["distill"]["storage"]["views"] = 0
    spec, _ = upgraded_set(meta, artifact.tensors, "manifest.json")
    assert spec["storage"] == {"kind": "rows", "bits": 4, "views": 16}


def test_a_set_without_a_storage_has_float_rows(tmp_path: Path) -> None:
    """Sets written before storages existed have float rows."""
    artifact = load_artifact(GOLDEN / "RUN-float" / "distilled", "distilled")
    meta = copy.deepcopy(artifact.meta)
    del meta["config"]["distill"]["storage"]
    save_artifact(tmp_path, "distilled", artifact.tensors, meta)
    old = DistilledSet.load(tmp_path)
    assert old.spec.storage == RowStorage()
    assert all(torch.equal(rows, opened("RUN-float")[2].rows()[name]) for name, rows in old.rows().items())


@pytest.mark.parametrize("field", ["recipe", "config", "preprocessing", "modalities", "provenance", "initial_ids"])
def test_a_manifest_without_a_field_is_refused_by_name(field: str, tmp_path: Path) -> None:
    artifact = load_artifact(GOLDEN / "RUN-float" / "distilled", "distilled")
    meta = {key: value for key, value in artifact.meta.items() if key != field}
    save_artifact(tmp_path, "distilled", artifact.tensors, meta)
    with pytest.raises(InputError, match=rf"manifest\.json.*'{field}'.*distil again"):
        DistilledSet.load(tmp_path)
