"""A comparison without a folder: the table of the same comparison in a folder, with shared experts, and no file."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest

from comparison_problems import FEW, TINY, compare_in, counted, without_costs
from omnidistill.core.errors import InputError
from omnidistill.data.featureset import FeatureSet
from omnidistill.experiments.comparison import Compared, compare
from small_runs import features, packed

SILENT: dict[str, Any] = {"device": "cpu", "progress": False}


@pytest.fixture(scope="module")
def data() -> FeatureSet:
    return features()


@pytest.fixture(scope="module")
def compared(data: FeatureSet) -> Compared:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a temporary folder is made")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "mkdtemp", refuse)
        return compare(data, config=FEW, **SILENT)


def test_it_is_the_comparison_of_a_folder(data: FeatureSet, compared: Compared, tmp_path: Path) -> None:
    stored = compare_in(packed(tmp_path / "SET", data), FEW, tmp_path / "C")
    assert without_costs(compared.content) == without_costs(stored.content)
    assert compared.file(".md") is None
    assert stored.file(".md") == tmp_path / "C" / "comparison.md"


def test_it_tells_itself(compared: Compared, tmp_path: Path) -> None:
    assert repr(compared).startswith("Compared(comparison on ")
    assert compared.table().startswith("| Method |")
    assert compared.to_json()["lines"]
    saved = compared.save(tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        f"comparison.{end}" for end in ("json", "md", "csv", "tex")
    }
    assert saved.file(".svg") is None


def test_methods_by_name_with_settings_as_a_dict(data: FeatureSet) -> None:
    settings = {setting.partition("=")[0]: setting.partition("=")[2] for setting in TINY[:2]}
    small = {"heads.width": 8, "heads.num_epochs": 2, "distill.max_steps": 16, "distill.learning_rates": [0.3]}
    assert settings == {"heads.width": "8", "heads.num_epochs": "2"}
    few = {**small, "evaluate.max_epochs": 2, "evaluate.learning_rates": [1.0], "evaluate.batch_size": 16}
    with counted() as calls:
        made = compare(data, "apm", sizes=8, seeds=[0], num_students=2, baselines=[], settings=few, **SILENT)
    assert calls == [("apm", 0)]
    assert {row.method for row in made.content.rows} >= {"apm", "zero-shot", "full"}


def test_shared_experts_are_trained_once(data: FeatureSet, monkeypatch: pytest.MonkeyPatch) -> None:
    from omnidistill.experiments.comparison import result_store

    calls: list[int] = []
    original = result_store.load_or_train_experts
    monkeypatch.setattr(result_store, "load_or_train_experts", lambda *given: calls.append(1) or original(*given))
    assert compare(data, config=FEW, **SILENT).failures == {}
    assert len(calls) == 1  # one method of two seeds reads them


def test_what_needs_a_folder_or_is_no_device_is_one_line(data: FeatureSet) -> None:
    class Elsewhere:
        here = False

        def at_once(self, helpers: int = 0) -> int:
            return 2

        def run(self, *given: Any, **more: Any) -> Any:
            raise AssertionError

        def __enter__(self) -> Elsewhere:
            return self

        def __exit__(self, *error: object) -> None: ...

    with pytest.raises(InputError, match="engine: an engine with several processes needs an output folder"):
        compare(data, config=FEW, engine=Elsewhere(), **SILENT)
    with pytest.raises(InputError, match="device='cuda:x': unknown device"):
        compare(data, config=FEW, device="cuda:x", progress=False)
