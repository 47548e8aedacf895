from __future__ import annotations

import json
import sys
from importlib import metadata
from importlib.abc import MetaPathFinder
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement

from omnidistill.core import doctor
from omnidistill.core.doctor import Examination, examine
from small_runs import cli


@pytest.fixture(scope="module")
def found() -> Examination:
    return examine()


def test_it_tells_versions_extras_devices_speed_and_disk(found: Examination) -> None:
    facts = found.facts
    assert facts["versions"]["torch"] == metadata.version("torch")
    assert set(facts["extras"]) >= {"parquet", "media", "encoders", "ray", "hub", "trackers"}
    assert "dev" not in facts["extras"]
    assert facts["devices"]["torch threads"] == torch.get_num_threads()
    assert facts["devices"]["cores"] >= 1
    assert all(speed > 0 for speed in facts["product GFLOP/s"].values())
    assert "GB free" in facts["disk"]["here"]
    assert json.loads(json.dumps(found.content()))["broken"] == []
    assert found.lines()[-1].startswith("ready")


def test_a_missing_extra_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    version = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "pyarrow" else version(name))
    extras = examine().facts["extras"]
    assert extras["parquet"] == "pyarrow is missing: pip install 'omnidistill[parquet]'"
    assert extras["hub"] == "pyarrow is missing: pip install 'omnidistill[hub]'"  # made of another extra


def test_what_is_needed_and_too_old_is_broken_and_the_code_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    version = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: "1.9" if name == "numpy" else version(name))
    outcome = cli("doctor")
    assert outcome.code == 1
    assert "broken   numpy 1.9 does not satisfy >=2.0: pip install 'numpy>=2.0'" in outcome.out
    assert "ready" not in outcome.out.splitlines()[-1]


class NoTorch(MetaPathFinder):
    def find_spec(self, name: str, *_: object) -> None:
        if name == "torch":
            raise OSError("libcudart: cannot open")


def test_a_torch_that_does_not_load_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setattr(sys, "meta_path", [NoTorch(), *sys.meta_path])
    assert examine().broken == ["torch cannot be loaded (libcudart: cannot open): reinstall it"]


def test_a_full_disk_and_too_many_threads_are_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        doctor.shutil, "disk_usage", lambda place: doctor.shutil._ntuple_diskusage(10**10, 9 * 10**9, 10**9)
    )
    monkeypatch.setattr(doctor, "cores", lambda: 0)
    warnings = examine().warnings
    assert any("only 1.0 GB are free" in line for line in warnings)
    assert any("set OMP_NUM_THREADS=0" in line for line in warnings)


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "not-to-be-seen")
    monkeypatch.setenv("HF_ENDPOINT", "https://me:secret@hub.example/path?key=1")
    environment = examine().facts["environment"]
    assert (environment["HF_TOKEN"], environment["HF_ENDPOINT"]) == ("set", "https://hub.example")


def test_json_is_one_object_and_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = cli("doctor", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    assert {"versions", "extras", "devices", "disk", "warnings"} <= set(json.loads(outcome.out))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("requirement", "installed", "line"),
    [
        ("mkdocs>=1.6,<2", "2.0.1", "mkdocs 2.0.1 does not satisfy <2,>=1.6"),
        ("mkdocs>=1.6,<2", "1.5.9", "mkdocs 1.5.9 does not satisfy <2,>=1.6"),
        ("mkdocs>=1.6,<2", None, "mkdocs is missing"),
        ("mkdocs>=1.6,<2", "1.6.0", None),
        ("torch>=2.6", "2.13.0+cpu", None),
        ("torch>=2.6", "2.14.0.dev20261101", None),
        ("torch!=2.7", "2.7", "torch 2.7 does not satisfy !=2.7"),
    ],
)
def test_versions_are_compared_with_both_bounds(
    requirement: str, installed: str | None, line: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_version", lambda name: installed)
    assert doctor._unfit(Requirement(requirement)) == line


def test_requirements_are_those_of_the_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    requirements = [
        "torch>=2.6",
        "tomli; python_version < '3.0'",
        "mkdocs<2; extra == 'docs'",
        "omnidistill[docs,media]; extra == 'all'",
        "av>=14; extra == 'media'",
    ]
    monkeypatch.setattr(metadata, "requires", lambda name: requirements)
    monkeypatch.setattr(doctor, "_version", lambda name: None)
    assert [each.name for each in doctor._requirements()] == ["torch"]
    assert list(doctor._missing("all")) == ["mkdocs is missing", "av is missing"]
