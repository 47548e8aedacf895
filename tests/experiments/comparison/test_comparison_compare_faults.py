"""What fails in a comparison is told and tried again, what cannot be is refused; no choice has seen a test row."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from comparison_problems import FEW, Made, compare_in, counted, line_of, tiny, without_costs
from omnidistill.core.errors import InputError
from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation import Distillation
from omnidistill.evaluation.baselines.all_rows import AllRows
from omnidistill.io.artifacts import load_artifact, save_artifact
from omnidistill.methods import Method, Task, methods
from omnidistill.methods.apm import Apm
from omnidistill.models.heads import save_heads
from small_runs import contents, features, packed, small_heads

# what fails


def no_luck(*_: Any) -> Any:
    raise RuntimeError("no\nluck")


def too_large(*_: Any) -> Any:
    raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4000 bytes")


def test_a_method_that_fails_is_told_and_tried_again(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Apm, "run", no_luck)
        failed = made.compare(tmp_path / "C", FEW)
    assert [name.rpartition("-")[0] for name in failed.failures] == ["apm-n8-s0", "apm-n8-s1"]
    assert set(failed.failures.values()) == {"RuntimeError no luck"}
    line = line_of(failed.content, "apm@8")
    assert line["failures"] == [{"seed": seed, "error": "RuntimeError no luck"} for seed in (0, 1)]
    assert [line[key] for key in ("recall", "gain_retained", "seconds", "bytes", "choices")] == [None] * 5
    assert line_of(failed.content, "hopa@8")["recall"] == line_of(made.compared.content, "hopa@8")["recall"]
    assert "APM, 8 rows, seed 1: RuntimeError no luck" in failed.table()
    with counted() as calls:
        again = made.compare(tmp_path / "C", FEW, resume=True)
    assert calls == [("apm", 0), ("apm", 1)]
    assert again.failures == {}
    assert without_costs(again.content) == without_costs(made.compared.content)


def test_the_seeds_that_do_not_fail_count(made: Made, copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for result in copied.glob("cells/apm-n8-s1-*"):
        shutil.rmtree(result)
    monkeypatch.setattr(Apm, "run", too_large)
    line = line_of(made.compare(copied, FEW, resume=True).content, "apm@8")
    assert line["failures"] == [{"seed": 1, "error": "out of memory"}]
    assert line["recall"]["mean"] != line_of(made.compared.content, "apm@8")["recall"]["mean"]


def test_students_that_diverge_are_a_failure_in_plain_words(made: Made, tmp_path: Path) -> None:
    wild = {"preset": "hopa", "settings": ["distill.optimiser.rows=1e30"], "label": "wild"}
    compared = made.compare(tmp_path / "C", tiny(wild, "apm", baselines=[]))
    ((name, error),) = compared.failures.items()
    assert name.startswith("hopa-")
    assert "NaN or Inf" in error
    assert "Error" not in error
    assert [line["label"] for line in compared.content.to_json()["lines"] if line["failures"]] == ["wild"]


def test_a_baseline_that_fails_is_told_too(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the full run no gain can be told, and nothing can be cut from it."""
    monkeypatch.setattr(AllRows, "fit", no_luck)
    compared = made.compare(tmp_path / "C", tiny("apm", seeds=(4,), baselines=["equal-bytes"]))
    full, cut = compared.failures
    assert full.startswith("full-s4-")
    assert cut.startswith("equal-bytes-n8-s4-")
    assert line_of(compared.content, "full")["failures"] == [{"seed": 4, "error": "RuntimeError no luck"}]
    assert line_of(compared.content, "apm@8")["recall"] is not None
    assert all(line["gain_retained"] is None for line in compared.content.to_json()["lines"])


def test_a_damaged_result_ends_it_with_the_place(made: Made, copied: Path) -> None:
    (manifest,) = copied.glob("cells/hopa-n8-s1-*/ranking/manifest.json")
    manifest.write_text("{")
    with pytest.raises(InputError, match=str(manifest)):
        made.compare(copied, FEW, resume=True)


# the test split


def test_no_method_is_given_test_rows(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[str] = set()

    def looking(run: Callable[[Method, Task], Distillation]) -> Callable[[Method, Task], Distillation]:
        def looked(method: Method, task: Task) -> Distillation:
            for rows in vars(task.development).values():
                seen.update(rows.splits)
            return run(method, task)

        return looked

    for kind in methods.names():
        monkeypatch.setattr(methods.get(kind), "run", looking(methods.get(kind).run))
    assert made.compare(tmp_path / "C", tiny("hopa", "prototypes", "covmatch", "apm", baselines=[])).failures == {}
    assert seen == {"heads", "train", "validation"}


def test_other_test_rows_change_scores_and_nothing_else(made: Made, tmp_path: Path) -> None:
    test = torch.tensor([split == "test" for split in made.data.splits])
    other = replace(
        made.data, features={m: torch.where(test[:, None], -x.flip(0), x) for m, x in made.data.features.items()}
    )
    packed(tmp_path / "SET", other)
    compared = compare_in(tmp_path / "SET", FEW, tmp_path / "C")
    assert compared.failures == {}
    assert compared.content.heads == made.compared.content.heads
    for folder in (
        "heads",
        "experts",
        *(f"cells/{path.name}/run/distilled" for path in (made.folder / "C/cells").iterdir()),
    ):
        assert tensors(tmp_path / "C" / folder) == tensors(made.folder / "C" / folder) != {}
    kept = [
        load_artifact(next((place / "C/baselines").glob("full-*")) / "ranking", "ranking")
        for place in (tmp_path, made.folder)
    ]
    assert all(torch.equal(kept[0].tensors[f"heads/{m}"], kept[1].tensors[f"heads/{m}"]) for m in made.data.modalities)
    assert not torch.equal(kept[0].tensors["a->b"], kept[1].tensors["a->b"])


def tensors(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in contents(folder).items() if name.endswith(".safetensors")}


# refused


def other_data(made: Made, folder: Path) -> FeatureSet:
    return features(3, seed=9)


def other_test_rows(made: Made, folder: Path) -> FeatureSet:
    return made.data.select(range(len(made.data) - 2))


@pytest.mark.parametrize("changed", [other_data, other_test_rows])
def test_a_folder_over_other_data(changed: Callable[[Made, Path], FeatureSet], made: Made, copied: Path) -> None:
    packed(copied.parent / "OTHER", changed(made, copied))
    before = contents(copied)
    with pytest.raises(InputError, match="different data; choose another folder"):
        compare_in(copied.parent / "OTHER", FEW, copied, resume=True)
    assert contents(copied) == before


def test_a_folder_is_not_gone_on_in_without_being_told(made: Made, copied: Path) -> None:
    before = contents(copied)
    with pytest.raises(InputError, match="resume=True"):
        made.compare(copied, FEW)
    with pytest.raises(InputError, match=r"heads\.width = 8.*another folder"):
        made.compare(copied, tiny("apm", settings=["heads.num_epochs=2", "heads.width=9"]), resume=True)
    assert contents(copied) == before


def test_a_folder_of_something_else(made: Made, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        made.compare(tmp_path, FEW, resume=True)
    assert set(contents(tmp_path)) == {"notes.txt"}


@pytest.mark.parametrize("missing", ["train", "validation", "test"])
def test_a_missing_split_is_told_at_once(missing: str, made: Made, tmp_path: Path) -> None:
    keep = [row for row, split in enumerate(made.data.splits) if split != missing]
    packed(tmp_path / "SET", made.data.select(keep))
    with pytest.raises(InputError, match=f"split '{missing}'"):
        compare_in(tmp_path / "SET", FEW, tmp_path / "C")
    assert not (tmp_path / "C").exists()


def test_what_cannot_be_leaves_nothing(made: Made, tmp_path: Path) -> None:
    save_heads(small_heads(features(2)), tmp_path / "H", {})
    with pytest.raises(InputError, match="no head for modality 'c'"):
        made.compare(tmp_path / "C", FEW, heads=tmp_path / "H")
    with pytest.raises(InputError, match="size 65"):
        made.compare(tmp_path / "C", FEW.evolve(sizes=(65,)))
    assert not (tmp_path / "C").exists()


def test_a_damaged_result_is_found_before_anything_runs(
    made: Made, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (lost,) = copied.glob("cells/apm-n8-s1-*")
    shutil.rmtree(lost)
    (damaged,) = copied.glob("cells/apm-n8-s0-*/ranking")
    stored = load_artifact(damaged, "ranking")
    monkeypatch.setattr(Apm, "run", pytest.fail)
    for meta in ({}, {**stored.meta, "judged": "many"}, {**stored.meta, "seconds": [1]}):
        save_artifact(damaged, "ranking", stored.tensors, meta)
        with pytest.raises(InputError, match=f"{damaged}: invalid content"):
            made.compare(copied, FEW, resume=True)
    save_artifact(damaged, "ranking", {"x": next(iter(stored.tensors.values()))}, stored.meta)
    with pytest.raises(InputError, match="is damaged, or was written by another version"):
        made.compare(copied, FEW, resume=True)
