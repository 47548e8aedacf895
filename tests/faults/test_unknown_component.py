"""Runs and sets that need a component of a package that is not installed: one line that names both, exit code 2."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from omnidistill.core.errors import InputError
from omnidistill.distillation import DistilledSet
from omnidistill.io.artifacts.artifact import _checksum
from small_runs import SMALL, Outcome, cli, packed

VANISHED = {"kind": "vanished", "package": "some-package"}
HINT = "install the package 'some-package', which provides it"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    packed(folder / "SET")
    assert cli("distill", folder / "SET", *SMALL, "-o", folder / "RUN").code == 0
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made / "RUN", tmp_path / "RUN")


def refused(outcome: Outcome, *parts: str) -> None:
    assert (outcome.code, outcome.out) == (2, ""), outcome
    assert outcome.err.startswith("omnidistill: ")
    assert outcome.err.count("\n") == 1
    for part in parts:
        assert part in outcome.err, outcome.err


def set_in_run(run: Path, key: str, value: Any) -> None:
    """Change a setting that run.json records."""
    state = json.loads((run / "run.json").read_text("utf-8"))
    *parents, leaf = key.split(".")
    section = state["config"]
    for name in parents:
        section = section[name]
    section[leaf] = value
    (run / "run.json").write_text(json.dumps(state), "utf-8")


def set_in_manifest(folder: Path, field: str, value: Any) -> None:
    """Change a field of the specification of a set, with the checksum that belongs to it."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text("utf-8"))
    manifest["meta"][field] = value
    manifest["sha256"] = _checksum(manifest)
    path.write_text(json.dumps(manifest), "utf-8")


COMPONENTS = {
    "distill": "method",
    "distill.student": "objective",
    "distill.similarity": "similarity",
    "distill.storage": "storage",
    "distill.optimiser": "optimiser",
    "distill.outer": "outer objective",
    "experts.objective": "objective",
}


@pytest.mark.parametrize("key", COMPONENTS)
def test_a_run_of_an_unknown_component(key: str, run: Path, tmp_path: Path) -> None:
    set_in_run(run, key, VANISHED)
    for command in (("evaluate", run), ("report", run), ("inspect", run)):
        refused(cli(*command), f"{run}/run.json", key, f"{COMPONENTS[key]} 'vanished' is not installed", HINT)
    assert cli("export", run, "-o", tmp_path / "rows.npz").code == 0, "the set describes itself and needs no settings"


@pytest.mark.parametrize("field", ["objective", "similarity", "storage", "recipe"])
def test_a_set_of_an_unknown_component(field: str, run: Path, tmp_path: Path) -> None:
    set_in_manifest(run / "distilled", field, VANISHED)
    place = f"{run / 'distilled'}/manifest.json: {field} 'vanished' is not installed; installed: "
    refused(cli("evaluate", run), place, HINT)
    refused(cli("export", run / "distilled", "-o", tmp_path / "rows.npz"), place, HINT)
    with pytest.raises(InputError, match=field):
        DistilledSet.load(run / "distilled")
    assert not (tmp_path / "rows.npz").exists()


def test_without_a_package_the_nearest_name_is_suggested(run: Path) -> None:
    set_in_run(run, "distill.student", {"kind": "hoppa"})
    refused(cli("evaluate", run), "objective 'hoppa' is not installed", "did you mean 'hopa'?")
    set_in_run(run, "distill.student", {"kind": "hopa"})
    set_in_manifest(run / "distilled", "objective", {"kind": "hoppa"})
    refused(cli("evaluate", run), "objective 'hoppa' is not installed", "did you mean 'hopa'?")


def test_a_run_of_an_unknown_component_is_not_resumed(made: Path, run: Path) -> None:
    set_in_run(run, "distill.outer", VANISHED)
    refused(cli("distill", made / "SET", *SMALL, "-o", run, "--resume"), "run.json", HINT)
